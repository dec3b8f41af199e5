"""The frames of a video of a lap: what the policy saw, what it looked at, and what it said."""

from collections.abc import Iterator

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from contract.metadata import DiscreteActions
from contract.state import CAMERA_HEIGHT, CAMERA_WIDTH, UInt8Array
from undercut.figures.inspection import CHOSEN, OTHER, SPEED, STEERING, InspectedLap, heat_over

_ZOOM, _PANEL, _MARGIN = 4, 280, 14  # pixels
_INK, _FAINT, _PAPER = "#222222", "#dddddd", "#ffffff"


def saliency_frames(lap: InspectedLap, title: str) -> Iterator[UInt8Array]:
    """(480, 920, 3) a step: the camera's picture with the heat map, and beside it the policy's outputs as bars."""
    width, height = CAMERA_WIDTH * _ZOOM, CAMERA_HEIGHT * _ZOOM
    large, small = ImageFont.load_default(17), ImageFont.load_default(13)
    distance_m = lap.distance_m
    for step in range(len(lap.steps)):
        page = Image.new("RGB", (width + _PANEL, height), _PAPER)
        picture = Image.fromarray(heat_over(lap.frames[step], lap.maps[step]))
        page.paste(picture.resize((width, height), Image.Resampling.BICUBIC), (0, 0))
        draw = ImageDraw.Draw(page)
        left, top = width + _MARGIN, _MARGIN
        draw.text((left, top), title, fill=_INK, font=small)
        draw.text((left, top + 24), f"{lap.command(step)}", fill=_INK, font=large)
        clock = f"{distance_m[step]:.1f} of {lap.track.length_m:.1f} m   {lap.steps['time_s'][step]:.1f} s"
        draw.text((left, top + 48), clock, fill=_INK, font=small)
        room = _PANEL - 2 * _MARGIN
        share = min(distance_m[step] / lap.track.length_m, 1.0)
        draw.rectangle((left, top + 70, left + room, top + 76), fill=_FAINT)
        draw.rectangle((left, top + 70, left + room * share, top + 76), fill=_INK)
        _draw_bars(draw, lap, step, (left, top + 96, room, height - top - 96 - _MARGIN), small)
        yield np.asarray(page)


def _draw_bars(
    draw: ImageDraw.ImageDraw,
    lap: InspectedLap,
    step: int,
    place: tuple[int, int, int, int],
    font: ImageFont.ImageFont | ImageFont.FreeTypeFont,
) -> None:
    """One horizontal bar an output; `place` is left, top, width, height."""
    left, top, width, height = place
    outputs, labels = lap.outputs[step], lap.labels
    discrete = isinstance(lap.actions, DiscreteActions)
    pitch = min(height / len(outputs), 40.0)
    words = pitch >= 14.0
    begin = left + (96 if words else 0)
    room = width - (96 if words else 0)
    for i, value in enumerate(outputs.tolist()):
        y = top + i * pitch
        if words:
            draw.text((left, y + 0.5 * pitch - 8), labels[i], fill=_INK, font=font)
        box = (begin, y + 0.18 * pitch, begin + room, y + 0.82 * pitch)
        draw.rectangle(box, fill=_FAINT)
        if discrete:
            colour = CHOSEN if i == lap.chosen[step] else OTHER
            ends = (begin, begin + room * value)
        else:
            colour = (STEERING, SPEED)[i]
            middle = begin + room / 2
            reach = middle + room / 2 * min(max(value, -1.0), 1.0) * (-1.0 if i == 0 else 1.0)  # left is left
            ends = (min(middle, reach), max(middle, reach))
        draw.rectangle((ends[0], box[1], ends[1], box[3]), fill=colour)
