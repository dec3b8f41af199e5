"""Figures of matplotlib as PNG: how each begins, how its axes look, and its bytes."""

import io

from matplotlib.axes import Axes
from matplotlib.figure import Figure


def new_figure(width_in: float, height_in: float, title: str = "", dpi: int = 110) -> Figure:
    """White, laid out by itself, with a title at its upper left."""
    figure = Figure(figsize=(width_in, height_in), dpi=dpi, facecolor="white", layout="constrained")
    if title:
        figure.suptitle(title, fontsize=15, fontweight="bold", x=0.01, ha="left")
    return figure


def tidy(*several: Axes) -> None:
    """No box around, and a faint grid behind."""
    for axes in several:
        axes.spines[["top", "right"]].set_visible(False)
        axes.grid(color="#dddddd", linewidth=0.6)
        axes.set_axisbelow(True)


def png_of(figure: Figure) -> bytes:
    """The same bytes for the same figure: nothing about the software that drew it."""
    png = io.BytesIO()
    figure.savefig(png, format="png", metadata={"Software": None})
    return png.getvalue()
