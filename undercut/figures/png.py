"""Matplotlib's figures as PNG."""

import io

from matplotlib.figure import Figure


def png_of(figure: Figure) -> bytes:
    """The same bytes for the same figure: nothing about the software that drew it."""
    png = io.BytesIO()
    figure.savefig(png, format="png", metadata={"Software": None})
    return png.getvalue()
