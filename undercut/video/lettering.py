"""Text and panels over video frames, from glyphs that are drawn once."""

from functools import lru_cache
from pathlib import Path

import matplotlib
import numpy as np
from PIL import Image, ImageDraw, ImageFont

from contract.state import FloatArray, UInt8Array

Rgb = tuple[int, int, int]
_FONTS = Path(matplotlib.get_data_path()) / "fonts" / "ttf"
"""DejaVu comes with matplotlib, and has letters of most languages."""


@lru_cache(16)
def _font(size_px: int, bold: bool) -> ImageFont.FreeTypeFont:
    return ImageFont.truetype(_FONTS / ("DejaVuSans-Bold.ttf" if bold else "DejaVuSans.ttf"), size_px)


@lru_cache(4096)
def _glyph(letter: str, size_px: int, bold: bool) -> tuple[UInt8Array, int]:
    """A letter's coverage (height, width) on a line of text, and how far the next letter stands from it."""
    font = _font(size_px, bold)
    ascent, descent = font.getmetrics()
    advance = max(round(font.getlength(letter)), 1)
    picture = Image.new("L", (advance + 2, ascent + descent))
    ImageDraw.Draw(picture).text((0, 0), letter, fill=255, font=font)
    return np.asarray(picture), advance


@lru_cache(1024)
def text_mask(text: str, size_px: int, bold: bool = False) -> UInt8Array:
    """Coverage (height, width) of a line of text, 0..255."""
    glyphs = [_glyph(letter, size_px, bold) for letter in text if letter.isprintable()] or [_glyph(" ", size_px, bold)]
    line = np.zeros((len(glyphs[0][0]), sum(advance for _, advance in glyphs) + 2), np.uint8)
    at = 0
    for mask, advance in glyphs:
        place = line[:, at : at + mask.shape[1]]
        np.maximum(place, mask, out=place)
        at += advance
    return line


def text_width(text: str, size_px: int, bold: bool = False) -> int:
    """Pixels that a line of text takes."""
    return int(text_mask(text, size_px, bold).shape[1])


def shortened(text: str, size_px: int, bold: bool, most_px: int) -> str:
    """The text, or its beginning and an ellipsis, at most so many pixels wide."""
    if text_width(text, size_px, bold) <= most_px:
        return text
    while text and text_width(text + "…", size_px, bold) > most_px:
        text = text[:-1]
    return text.rstrip() + "…"


def write(frame: UInt8Array, text: str, left: int, top: int, size_px: int, rgb: Rgb, bold: bool = False) -> None:
    """A line of text into a frame (H, W, 3); what lies outside is cut off."""
    _blend(frame, text_mask(text, size_px, bold), left, top, np.array(rgb, np.float64))


@lru_cache(64)
def _panel(width: int, height: int, corner_px: int, alpha: float) -> UInt8Array:
    """Coverage of a rounded rectangle."""
    fine = 4
    picture = Image.new("L", (width * fine, height * fine))
    box = (0, 0, width * fine - 1, height * fine - 1)
    ImageDraw.Draw(picture).rounded_rectangle(box, corner_px * fine, fill=round(255 * alpha))
    return np.asarray(picture.resize((width, height), Image.Resampling.BOX))


def panel(
    frame: UInt8Array,
    left: int,
    top: int,
    width: int,
    height: int,
    rgb: Rgb = (12, 16, 22),
    alpha: float = 0.62,
    corner_px: int = 6,
) -> None:
    """A translucent rounded rectangle into a frame (H, W, 3)."""
    _blend(frame, _panel(width, height, corner_px, alpha), left, top, np.array(rgb, np.float64))


def _blend(frame: UInt8Array, mask: UInt8Array, left: int, top: int, rgb: FloatArray) -> None:
    """Mix a colour into a frame (H, W, 3) by a mask's coverage 0..255, its upper left corner at (left, top)."""
    first_row, first_column = max(-top, 0), max(-left, 0)
    covered = mask[first_row : max(frame.shape[0] - top, 0), first_column : max(frame.shape[1] - left, 0)]
    rows, columns = top + first_row, left + first_column
    below = frame[rows : rows + covered.shape[0], columns : columns + covered.shape[1]]
    share = covered[:, :, None] / 255.0
    below[:] = below + (rgb - below) * share + 0.5
