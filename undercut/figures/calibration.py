"""Recorded paths beside replayed ones, and how far those stray, as one picture."""

from collections.abc import Sequence
from itertools import pairwise

import numpy as np

from contract.state import STEP_S
from simapp.tracks import Track
from undercut.calibration.measure import SPEEDS_MPS, Measured
from undercut.calibration.pieces import AHEAD, PAST
from undercut.figures.png import new_figure, png_of, tidy
from undercut.figures.road import draw_road, limits

COLOURS = ("#2f6fb0", "#d1495b", "#2a9d5c", "#8e5bb5")
RECORDED = "#111111"
SHOWN = 24
"""Replays on the map."""


def calibration_plot(found: Sequence[Measured], track: Track | None, title: str) -> bytes:
    """PNG: replays of the first recording on a map, errors by time ahead and by commanded speed of all of them."""
    figure = new_figure(15.0, 7.0, dpi=100)
    cells = figure.add_gridspec(2, 2, width_ratios=(1.25, 1.0))
    road = figure.add_subplot(cells[:, 0])
    road.set_title(title, fontsize=13, fontweight="bold", loc="left")
    first = found[0]
    names = list(first.paths)
    pieces = first.pieces
    if track is not None:
        draw_road(road, track)
    else:
        xmin, xmax, ymin, ymax = limits(pieces.poses[:, PAST:, :2].reshape(-1, 2))
        road.set(xlim=(xmin, xmax), ylim=(ymin, ymax), aspect="equal", xlabel="x (m)", ylabel="y (m)")
    some = np.unique(np.linspace(0, len(pieces) - 1, SHOWN).astype(int))
    ground = "#f4f4f4" if track is not None else RECORDED
    for k in some:
        label = k == some[0]
        x, y = pieces.poses[k, PAST:, 0], pieces.poses[k, PAST:, 1]
        road.plot(x, y, color=ground, linewidth=3.5, zorder=4, label="recorded" if label else None)
        for name, colour in zip(names, COLOURS, strict=False):
            path = np.concatenate([pieces.poses[k, PAST : PAST + 1, :2], first.paths[name][k]])
            road.plot(*path.T, color=colour, linewidth=1.6, zorder=5, label=name if label else None)
    road.legend(loc="best", framealpha=0.9, facecolor="#9aa3ad" if track is not None else "white")

    ahead, speeds = figure.add_subplot(cells[0, 1]), figure.add_subplot(cells[1, 1])
    times = STEP_S * np.arange(1, AHEAD + 1)
    errors = {name: np.concatenate([one.pieces.errors_m(one.paths[name]) for one in found]) for name in names}
    speed = np.concatenate([one.pieces.speed_mps for one in found])
    ranges = list(pairwise(SPEEDS_MPS))
    width = 0.8 / len(names)
    for place, (name, colour) in enumerate(zip(names, COLOURS, strict=False)):
        low, middle, high = np.percentile(errors[name], [25, 50, 75], axis=0)
        ahead.fill_between(times, low, high, color=colour, alpha=0.18, linewidth=0)
        ahead.plot(times, middle, color=colour, linewidth=2.0, label=f"{name}: {middle[-1]:.3f} m after 1 s")
        for position, (least, most) in enumerate(ranges):
            inside = (speed >= least) & ((speed < most) | (most == SPEEDS_MPS[-1]))
            if inside.any():
                at = position + (place - (len(names) - 1) / 2) * width
                speeds.bar(at, np.median(errors[name][inside, -1]), width * 0.92, color=colour)
    ahead.set(xlabel="seconds ahead", ylabel="median distance (m)", xlim=(0.0, times[-1]), ylim=(0.0, None))
    ahead.set_title("from the recorded path; shaded: the middle half", fontsize=10, loc="left")
    ahead.legend(loc="upper left", fontsize=9)
    speeds.set_xticks(range(len(ranges)), [f"{least:g} to {most:g}" for least, most in ranges])
    speeds.set(xlabel="commanded speed (m/s), mean of the second", ylabel="after 1 s (m)")
    tidy(ahead, speeds)
    return png_of(figure)
