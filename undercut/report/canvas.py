"""Pictures that are drawn once and come out twice: as SVG in the reader's own light or dark, and as PNG."""

import html
import io
import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import matplotlib as mpl
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.backends.backend_svg import FigureCanvasSVG
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from undercut.figures.road import FIELD, LABEL

INK, MUTED, GRID = "#24292f", "#6e7782", "#d9dee4"
TRAINING, EVALUATION, OTHER = "#3b6fb6", "#d9772b", "#4d8f55"
RUNS = (TRAINING, EVALUATION, OTHER, "#9a5fb0", "#b8394e", "#3a9ca6", "#8a6d3b", "#707070")
"""Colours of several runs in one picture."""
WRONG = "#e02424"
THEMED = {
    INK: "--ink",
    MUTED: "--muted",
    GRID: "--grid",
    FIELD: "--field",
    LABEL: "--label",
    **{RUNS[i]: f"--c{i}" for i in range(len(RUNS))},
}
"""Colours that the page's style sheet chooses, and the variables by which it does."""

WIDTH_IN = 4.7
"""Of a picture that fills one column; a phone shows it at about three quarters of its size."""
_DPI = 150
STYLE: Any = {
    "font.size": 10.0,
    "text.color": INK,
    "axes.edgecolor": MUTED,
    "axes.labelcolor": MUTED,
    "axes.linewidth": 0.8,
    "xtick.color": MUTED,
    "ytick.color": MUTED,
    "axes.facecolor": "none",
    "grid.color": GRID,
    "grid.linewidth": 0.8,
    "legend.frameon": False,
    "legend.fontsize": 9.0,
    "text.parse_math": False,  # names may have dollar signs
    "svg.fonttype": "none",
    "svg.hashsalt": "undercut",
}
"""Matplotlib's, for `rc_context`."""


@dataclass(frozen=True, slots=True)
class Picture:
    """A picture in a report: `caption` says what every number in it means."""

    name: str
    title: str
    caption: str
    svg: str
    png: bytes


def picture(
    name: str,
    title: str,
    caption: str,
    draw: Callable[[Figure], None],
    height_in: float = 3.0,
    width_in: float = WIDTH_IN,
) -> Picture:
    """Let `draw` fill a figure and take it as both."""
    with mpl.rc_context(STYLE):
        figure = Figure(figsize=(width_in, height_in), dpi=_DPI, layout="constrained", facecolor="none")
        raster: Any = FigureCanvasAgg(figure)
        draw(figure)
        # each file is drawn once: savefig would draw it, and find its layout, once more for either
        layout = figure.get_layout_engine()
        assert layout is not None
        layout.execute(figure)
        figure.set_layout_engine("none")
        vector, pixels = io.StringIO(), io.BytesIO()
        lines: Any = FigureCanvasSVG(figure)
        lines.print_svg(vector, metadata=dict.fromkeys(("Date", "Creator", "Format", "Type")))
        figure.set_facecolor("white")
        raster.print_png(pixels, metadata={"Software": None})
    return Picture(name, title, caption, _inline(vector.getvalue(), name, title), pixels.getvalue())


def plain(axes: Axes, ylabel: str = "", xlabel: str = "", whole_x: bool = False) -> None:
    """A grid behind, no box around."""
    axes.grid(visible=True)
    axes.set_axisbelow(True)
    axes.spines[["top", "right"]].set_visible(False)
    axes.set(xlabel=xlabel, ylabel=ylabel)
    if whole_x:
        axes.xaxis.set_major_locator(MaxNLocator(integer=True))


_SVG = re.compile(r"<svg\b[^>]*?viewBox=\"([^\"]+)\"[^>]*>", re.DOTALL)
_TAG = re.compile(r"<(?!image)[^>]*>")
_NUMBER = re.compile(r"-?\d+\.\d{3,}")


def _inline(svg: str, name: str, title: str) -> str:
    """Matplotlib's SVG for the inside of a page: no prologue, no name spaces, ids of its own, the page's colours and
    font, and hundredths of a point."""
    head = _SVG.search(svg)
    assert head is not None
    body = svg[head.end() :]
    body = re.sub(r"<metadata>.*?</metadata>", "", body, flags=re.DOTALL)
    body = re.sub(r"<!--.*?-->", "", body, flags=re.DOTALL)
    body = re.sub(r'\bid="', f'id="{name}-', body)
    body = body.replace("url(#", f"url(#{name}-").replace('href="#', f'href="#{name}-').replace("xlink:href", "href")
    body = re.sub(r"(font: [^;\"]*?px) [^;\"]*", r"\1 var(--font)", body)
    body = re.sub(r"font-family: [^;\"]*", "font-family: var(--font)", body)
    for colour, variable in THEMED.items():
        body = body.replace(colour, f"var({variable})")
    body = re.sub(
        r'<style type="text/css">.*?</style>|<defs>\s*</defs>| transform="rotate\(-0 [^"]*"', "", body, flags=re.DOTALL
    )
    body = _TAG.sub(lambda tag: _NUMBER.sub(lambda number: f"{float(number[0]):.2f}", tag[0]), body)
    body = re.sub(r"\n\s*", "\n", body)
    return f'<svg viewBox="{head[1]}" role="img" aria-label="{html.escape(title)}">{body.strip()}'
