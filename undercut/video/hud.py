"""What videos tell in words and bars: who drives, lap, time, speed, resets, penalties, and what just happened."""

import math
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import matplotlib
import numpy as np
from PIL import Image, ImageDraw, ImageFont

from contract.metrics import whole_pct
from contract.state import EpisodeStatus, UInt8Array
from contract.vehicle import MAX_SPEED_MPS, MAX_STEERING_RAD
from undercut.video.footage import Moment

# --- Text and panels over video frames ------------------------------------------------------------------------------

Rgb = tuple[int, int, int]
_FONTS = Path(matplotlib.get_data_path()) / "fonts" / "ttf"
"""DejaVu comes with matplotlib, and has letters of most languages."""


@lru_cache(16)
def _font(size_px: int, bold: bool) -> ImageFont.FreeTypeFont:
    return ImageFont.truetype(_FONTS / ("DejaVuSans-Bold.ttf" if bold else "DejaVuSans.ttf"), size_px)


@lru_cache(1024)
def text_mask(text: str, size_px: int, bold: bool = False) -> Image.Image:
    """Coverage of a line of text, in grey."""
    font, line = _font(size_px, bold), "".join(filter(str.isprintable, text)) or " "
    picture = Image.new("L", (math.ceil(font.getlength(line)) + 2, sum(font.getmetrics())))
    ImageDraw.Draw(picture).text((0, 0), line, fill=255, font=font)
    return picture


def text_width(text: str, size_px: int, bold: bool = False) -> int:
    """Pixels that a line of text takes."""
    return text_mask(text, size_px, bold).width


def shortened(text: str, size_px: int, bold: bool, most_px: int) -> str:
    """The text, or its beginning and an ellipsis, at most so many pixels wide."""
    if text_width(text, size_px, bold) <= most_px:
        return text
    while text and text_width(text + "…", size_px, bold) > most_px:
        text = text[:-1]
    return text.rstrip() + "…"


def write(picture: Image.Image, text: str, left: int, top: int, size_px: int, rgb: Rgb, bold: bool = False) -> None:
    """A line of text into a picture; what lies outside is cut off."""
    picture.paste(rgb, (left, top), text_mask(text, size_px, bold))


@lru_cache(64)
def _panel(width: int, height: int, corner_px: int, alpha: float) -> Image.Image:
    """Coverage of a rounded rectangle."""
    fine = 4
    picture = Image.new("L", (width * fine, height * fine))
    box = (0, 0, width * fine - 1, height * fine - 1)
    ImageDraw.Draw(picture).rounded_rectangle(box, corner_px * fine, fill=round(255 * alpha))
    return picture.resize((width, height), Image.Resampling.BOX)


def panel(
    picture: Image.Image,
    left: int,
    top: int,
    width: int,
    height: int,
    rgb: Rgb = (12, 16, 22),
    alpha: float = 0.62,
    corner_px: int = 6,
) -> None:
    """A translucent rounded rectangle into a picture."""
    picture.paste(rgb, (left, top), _panel(width, height, corner_px, alpha))


# --- What videos tell in words and bars -------------------------------------------------------------------------------

TOP_PX, BOTTOM_PX = 56, 54
"""Of a picture 640 wide: what the HUD takes above and below."""
_WHITE: Rgb = (255, 255, 255)
_SOFT: Rgb = (196, 204, 214)
_BAR: Rgb = (86, 96, 108)
_SPEED: Rgb = (88, 196, 255)
_DONE: Rgb = (126, 211, 94)
_ALERT: Rgb = (196, 38, 38)
_FINE: Rgb = (28, 128, 58)


@dataclass(frozen=True, slots=True)
class Hud:
    """`title` is the racer's name, `subtitle` the leaderboard's, the model's, or what is shown; `racers` drive."""

    title: str
    subtitle: str = ""
    racers: int = 1

    def draw(self, frame: UInt8Array, moment: Moment) -> None:
        """Draw over a frame (H, W, 3), in proportion to its width."""
        picture = Image.fromarray(frame)
        self._who(picture)
        self._when(picture, moment)
        self._how(picture, moment)
        if moment.banner:
            _banner(picture, moment.banner)
        frame[:] = np.asarray(picture)

    def _who(self, picture: Image.Image) -> None:
        px = _Scale(picture)
        most = px(330)
        title = shortened(self.title, px(17), True, most)
        subtitle = shortened(self.subtitle, px(12), False, most)
        width = max(text_width(title, px(17), True), text_width(subtitle, px(12))) + px(20)
        panel(picture, px(8), px(8), width, px(44 if subtitle else 30))
        write(picture, title, px(18), px(11), px(17), _WHITE, bold=True)
        if subtitle:
            write(picture, subtitle, px(18), px(33), px(12), _SOFT)

    def _when(self, picture: Image.Image, moment: Moment) -> None:
        px = _Scale(picture)
        time = clock(moment.time_s)
        lap = f"Lap {moment.lap}/{moment.laps}"
        if moment.place:
            lap += f"   P{moment.place}/{self.racers}"
        width = max(text_width(time, px(21), True), text_width(lap, px(12))) + px(20)
        left = picture.width - width - px(8)
        panel(picture, left, px(8), width, px(44))
        right = picture.width - px(17)
        write(picture, time, right - text_width(time, px(21), True), px(9), px(21), _WHITE, bold=True)
        write(picture, lap, right - text_width(lap, px(12)), px(34), px(12), _SOFT)

    def _how(self, picture: Image.Image, moment: Moment) -> None:
        px = _Scale(picture)
        top = picture.height - px(50)
        panel(picture, px(8), top, px(384), px(42))
        write(picture, f"{moment.speed_mps:.2f}", px(18), top + px(4), px(18), _WHITE, bold=True)
        write(picture, "m/s", px(64), top + px(9), px(12), _SOFT)
        _bar(picture, px(18), top + px(30), px(72), 0.0, moment.speed_mps / MAX_SPEED_MPS, _SPEED)
        write(picture, "steering", px(112), top + px(9), px(12), _SOFT)
        turn = 0.5 - 0.5 * moment.steering_rad / MAX_STEERING_RAD
        _bar(picture, px(106), top + px(30), px(72), min(turn, 0.5), max(turn, 0.5), _SPEED)
        write(picture, f"{whole_pct(moment.progress_pct)} %", px(196), top + px(6), px(15), _WHITE, bold=True)
        _bar(picture, px(196), top + px(30), px(72), 0.0, moment.progress_pct / 100.0, _DONE)
        resets = f"{moment.resets} resets" if moment.resets != 1 else "1 reset"
        write(picture, resets, px(288), top + px(6), px(13), _WHITE if moment.resets else _SOFT, bold=moment.resets > 0)
        penalty = f"+{moment.penalty_s:.1f} s penalty"
        write(picture, penalty, px(288), top + px(23), px(12), _WHITE if moment.penalty_s else _SOFT)


class _Scale:
    """Pixels of a picture 640 wide -> pixels of this one."""

    def __init__(self, picture: Image.Image) -> None:
        self._scale = float(picture.width / 640.0)

    def __call__(self, pixels: float) -> int:
        return max(round(pixels * self._scale), 1)


def clock(time_s: float) -> str:
    """0:07.350, to the thousandth."""
    thousandths = round(max(time_s, 0.0) * 1000)
    return f"{thousandths // 60000}:{thousandths // 1000 % 60:02d}.{thousandths % 1000:03d}"


def _bar(picture: Image.Image, left: int, top: int, width: int, first: float, last: float, rgb: Rgb) -> None:
    """A bar that is filled between two shares of its width."""
    high = max(round(5 * picture.width / 640.0), 2)
    picture.paste(_BAR, (left, top, left + width, top + high))
    begin, end = (left + round(width * min(max(share, 0.0), 1.0)) for share in (first, last))
    picture.paste(rgb, (begin, top, max(end, begin + 2), top + high))


def _banner(picture: Image.Image, text: str) -> None:
    px = _Scale(picture)
    rgb = _ALERT
    if text.startswith(EpisodeStatus.lap_complete.title):
        rgb = _FINE
    width = text_width(text, px(22), True) + px(36)
    left, top = (picture.width - width) // 2, px(72)
    panel(picture, left, top, width, px(40), rgb, 0.88, px(8))
    write(picture, text, left + px(18), top + px(6), px(22), _WHITE, bold=True)
