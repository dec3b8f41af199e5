"""Laps of one policy in two simulators: where their paths part, by numbers and as a picture."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from contract.state import FloatArray
from simapp.tracks import Track
from undercut.figures.png import new_figure, png_of
from undercut.figures.road import draw_road, track_limits

GRID_M = 0.05
PARTED_M = 0.15
"""Two paths have parted where they are this far from each other."""
COLOURS = ("#2f6fb0", "#d1495b")


@dataclass(frozen=True, slots=True)
class PathDifference:
    """Of two laps from one start: how far apart the cars' paths were, across the road, along the lap.

    gap_m   (G,) every GRID_M from the start line on; NaN where one of the laps never came by
    parted  centre-line distance in metres at which the gap first reached PARTED_M, None where it never did
    """

    gap_m: FloatArray
    mean_m: float
    most_m: float
    parted_at_m: float | None


def path_difference(track: Track, one: np.ndarray, other: np.ndarray) -> PathDifference:
    """Of two laps, (T,) of contract.state.STEP_DTYPE each."""
    gap = np.abs(_offsets(track, one) - _offsets(track, other))
    known = gap[np.isfinite(gap)]
    parted = np.flatnonzero(gap >= PARTED_M)
    return PathDifference(
        gap_m=gap,
        mean_m=float(known.mean()) if known.size else float("nan"),
        most_m=float(known.max()) if known.size else float("nan"),
        parted_at_m=float(parted[0] * GRID_M) if parted.size else None,
    )


def _offsets(track: Track, lap: np.ndarray) -> FloatArray:
    """Left of the centre line (G,) at each place of the grid: the mean of the steps beside it, between steps a line."""
    where = track.project(lap["x_m"], lap["y_m"])
    grid = np.arange(0.0, track.length_m, GRID_M)
    order = np.argsort(where.distance_m, kind="stable")
    distance, offset = where.distance_m[order], where.offset_m[order]
    found = np.interp(grid, distance, offset)
    # further from any step than a fast car's step is long: this lap did not come by here
    nearest = np.clip(np.searchsorted(distance, grid), 1, len(distance) - 1) if len(distance) > 1 else 0
    apart = np.minimum(np.abs(distance[nearest] - grid), np.abs(distance[np.maximum(nearest - 1, 0)] - grid))
    return np.where(apart <= 0.5, found, np.nan)


def comparison_plot(
    track: Track,
    laps: Sequence[Sequence[np.ndarray]],
    names: Sequence[str],
    differences: Sequence[PathDifference],
    title: str,
) -> bytes:
    """PNG of the laps of two simulators over each other on the road, and of the gap between them along the lap."""
    xmin, xmax, ymin, ymax = track_limits(track)
    width = 9.0
    height = width * (ymax - ymin) / (xmax - xmin)
    figure = new_figure(width + 1.0, height + 3.6)
    road, gaps = figure.subplots(2, 1, height_ratios=(height, 2.4))
    road.set_title(title, fontsize=14, fontweight="bold", loc="left")
    draw_road(road, track)
    for driven, name, colour in zip(laps, names, COLOURS, strict=True):
        for number, lap in enumerate(driven):
            jump = np.hypot(np.diff(lap["x_m"]), np.diff(lap["y_m"])) > 0.5  # a reset
            x, y = (np.insert(lap[key], np.flatnonzero(jump) + 1, np.nan) for key in ("x_m", "y_m"))
            road.plot(x, y, color=colour, linewidth=1.6, alpha=0.85, zorder=4, label=name if number == 0 else None)
    road.legend(loc="best", framealpha=0.9)
    grid = np.arange(0.0, track.length_m, GRID_M)
    for number, difference in enumerate(differences, 1):
        gaps.plot(grid, difference.gap_m, linewidth=1.2, alpha=0.8, label=f"lap {number}")
    gaps.axhline(PARTED_M, color="#888888", linewidth=1.0, dashes=(4, 3))
    gaps.text(track.length_m, PARTED_M, f" parted: {PARTED_M} m", va="bottom", ha="right", fontsize=9, color="#555555")
    gaps.set(xlabel="along the lap (m)", ylabel="between the paths (m)", xlim=(0.0, track.length_m))
    gaps.set_ylim(bottom=0.0)
    gaps.spines[["top", "right"]].set_visible(False)
    if len(differences) <= 10:
        gaps.legend(loc="upper left", ncols=5, fontsize=8, framealpha=0.8)
    return png_of(figure)
