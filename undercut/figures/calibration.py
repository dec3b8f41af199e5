"""Recorded paths beside replayed ones, and how far those stray, as one picture."""

from collections.abc import Sequence
from itertools import pairwise

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from contract.state import STEP_S
from simapp.tracks import Track
from undercut.calibration.measure import SPEEDS_MPS, Measured
from undercut.calibration.pieces import AHEAD, PAST
from undercut.figures.png import new_figure, png_of, tidy
from undercut.figures.road import draw_road, limits

COLOURS = ("#2f6fb0", "#d1495b", "#2a9d5c", "#8e5bb5")
RECORDED = "#111111"
SHOWN, MOST = 24, 12
"""Replays on a map, and recordings."""


def calibration_plot(found: Sequence[Measured], tracks: Sequence[Track | None]) -> bytes:
    """PNG of `calibration_figure`."""
    return png_of(calibration_figure(found, tracks))


def calibration_figure(found: Sequence[Measured], tracks: Sequence[Track | None]) -> Figure:
    """A row a recording, as the tables are: its replays on a map, errors by time ahead and by commanded speed.

    `tracks` are those that the recordings were driven on, None where that is not known.
    """
    shown = found[:MOST]
    rows = len(shown)
    figure = new_figure(15.0, 7.0 if rows == 1 else 5.0 * rows, dpi=100)
    if len(found) > rows:
        figure.suptitle(f"the first {rows} of {len(found)} recordings; the tables have all", fontsize=12)
    cells = figure.add_gridspec(2 * rows, 2, width_ratios=(1.25, 1.0))
    most_m = [0.0, 0.0]
    charts = []
    for row, (one, track) in enumerate(zip(shown, tracks, strict=False)):
        road = figure.add_subplot(cells[2 * row : 2 * row + 2, 0])
        road.set_title(one.recording.name, fontsize=13, fontweight="bold", loc="left")
        _draw_replays(road, one, track)
        pair = figure.add_subplot(cells[2 * row, 1]), figure.add_subplot(cells[2 * row + 1, 1])
        _draw_errors(*pair, one)
        tidy(*pair)
        most_m = [max(most, axes.get_ylim()[1]) for most, axes in zip(most_m, pair, strict=True)]
        charts.append(pair)
    for pair in charts:  # rows are compared with each other
        for axes, most in zip(pair, most_m, strict=True):
            axes.set_ylim(0.0, most)
    return figure


def _draw_replays(road: Axes, one: Measured, track: Track | None) -> None:
    pieces = one.pieces
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
        for (name, replayed), colour in zip(one.paths.items(), COLOURS, strict=False):
            path = np.concatenate([pieces.poses[k, PAST : PAST + 1, :2], replayed[k]])
            road.plot(*path.T, color=colour, linewidth=1.6, zorder=5, label=name if label else None)
    road.legend(loc="best", framealpha=0.9, facecolor="#9aa3ad" if track is not None else "white")


def _draw_errors(ahead: Axes, speeds: Axes, one: Measured) -> None:
    times = STEP_S * np.arange(1, AHEAD + 1)
    speed, ranges = one.pieces.speed_mps, list(pairwise(SPEEDS_MPS))
    width = 0.8 / len(one.paths)
    for place, ((name, path), colour) in enumerate(zip(one.paths.items(), COLOURS, strict=False)):
        errors = one.pieces.errors_m(path)
        low, middle, high = np.percentile(errors, [25, 50, 75], axis=0)
        ahead.fill_between(times, low, high, color=colour, alpha=0.18, linewidth=0)
        ahead.plot(times, middle, color=colour, linewidth=2.0, label=f"{name}: {middle[-1]:.3f} m after 1 s")
        for position, (least, most) in enumerate(ranges):
            inside = (speed >= least) & ((speed < most) | (most == SPEEDS_MPS[-1]))
            if inside.any():
                at = position + (place - (len(one.paths) - 1) / 2) * width
                speeds.bar(at, np.median(errors[inside, -1]), width * 0.92, color=colour)
    ahead.set(xlabel="seconds ahead", ylabel="median distance (m)", xlim=(0.0, times[-1]), ylim=(0.0, None))
    ahead.set_title("from the recorded path; shaded: the middle half", fontsize=10, loc="left")
    ahead.legend(loc="upper left", fontsize=9)
    speeds.set_xticks(range(len(ranges)), [f"{least:g} to {most:g}" for least, most in ranges])
    speeds.set(
        xlabel="commanded speed (m/s), mean of the second", ylabel="after 1 s (m)", xlim=(-0.5, len(ranges) - 0.5)
    )
