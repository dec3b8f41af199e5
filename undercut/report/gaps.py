"""The gap of the best lap to the fastest possible one: on the track, along the lap, and sector by sector."""

from typing import Any

import numpy as np
from matplotlib.colors import LinearSegmentedColormap, TwoSlopeNorm
from matplotlib.figure import Figure

from contract.state import FloatArray
from undercut.analysis.gap import CAUSES, Gap, best_gap
from undercut.analysis.log import Episode, RunLog
from undercut.analysis.places import SECTORS
from undercut.figures.road import draw_sectors, paint, pieces_of
from undercut.report.canvas import EVALUATION, MUTED, TRAINING, WRONG, Picture, picture, plain
from undercut.report.maps import Map

_COLOURS = {"line": TRAINING, "braking": WRONG, "speed": EVALUATION}
_LOSSES = LinearSegmentedColormap.from_list("losses", ["#2f9bff", "#ffffff", "#ffb347", "#ff3b30"])


def gap_pictures(log: RunLog) -> list[Picture]:
    """None where the limit is not known or no lap is clean."""
    found = best_gap(log)
    if found is None:
        return []
    lap, gap = found
    return [_on_track(log, lap, gap), _along(gap)]


def _on_track(log: RunLog, lap: Episode, gap: Gap) -> Picture:
    assert log.track is not None and log.limit is not None
    track, limit, place = log.track, log.limit, Map(log)
    count = len(gap.by_cell)
    edges = np.linspace(0.0, track.length_m, count + 1)
    points = _points_at(track.along(lap.steps["x_m"], lap.steps["y_m"])[0], lap.steps, edges, track.length_m)
    rate = 1000.0 * gap.by_cell.sum(axis=1) / (edges[1] - edges[0])

    def draw(figure: Figure) -> None:
        axes = figure.subplots()
        place.draw(axes)
        look: dict[str, Any] = {"color": "#7fd1ff", "linewidth": 1.2, "zorder": 5}
        axes.plot(np.append(limit.x_m, limit.x_m[0]), np.append(limit.y_m, limit.y_m[0]), label="fastest line", **look)
        top = max(float(np.quantile(rate, 0.98)), 20.0)
        scale = TwoSlopeNorm(0.0, -0.5 * top, top)
        driven = paint(axes, pieces_of(points), rate, scale, _LOSSES, width=3.0)
        draw_sectors(axes, track, SECTORS)
        bar = figure.colorbar(driven, ax=axes, orientation="horizontal", pad=0.02, shrink=0.8, aspect=35)
        bar.set_label("lost, milliseconds a metre of the centre line")

    caption = (
        f"{lap.title}, {gap.lap_s:.2f} s, against the limit of {gap.limit_s:.2f} s: red loses time, blue gains it. The "
        "thin line is the fastest one. The start from a standstill counts as a loss."
    )
    return picture("gap_map", "Where time is lost", caption, draw, place.height_in())


def _points_at(distance: FloatArray, steps: np.ndarray, edges: FloatArray, length_m: float) -> FloatArray:
    """(E, 2) places of a lap at distances along the centre line."""
    way = np.unwrap(distance, period=length_m)
    way -= length_m * np.round(way[0] / length_m)
    rising = np.concatenate([[True], np.diff(np.maximum.accumulate(way)) > 0.0])
    return np.column_stack([np.interp(edges, way[rising], steps[name][rising]) for name in ("x_m", "y_m")])


def _along(gap: Gap) -> Picture:
    def draw(figure: Figure) -> None:
        axes = figure.subplots()
        sectors = np.arange(1, SECTORS + 1)
        above, below = np.zeros(SECTORS), np.zeros(SECTORS)
        for cause, values in zip(CAUSES, gap.by_sector.T, strict=True):
            base = np.where(values >= 0.0, above, below)
            axes.bar(sectors, values, 0.7, bottom=base, color=_COLOURS[cause], label=cause)
            above += np.maximum(values, 0.0)
            below += np.minimum(values, 0.0)
        total = gap.by_sector.sum(axis=1)
        axes.plot(sectors, total, "D", color=MUTED, markersize=4, label="in all")
        axes.axhline(0.0, color=MUTED, linewidth=0.8)
        axes.legend(loc="best", ncols=2)
        axes.set_xticks(sectors)
        plain(axes, "seconds lost", "sector")

    caption = (
        "By what is lost in each tenth of the lap: a longer way, counted at the limit's speed; slowing down; and less "
        "speed otherwise. Below 0 the lap gains."
    )
    return picture("gap_sectors", "What time is lost by", caption, draw)
