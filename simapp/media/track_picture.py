"""A picture of a track from above: what `undercut tracks show` writes."""

import math
from pathlib import Path

import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.patches import Polygon

from simapp.tracks import Track

_ROAD, _FIELD, _EDGE, _CENTRE = "#4a5560", "#6f9a5b", "#ffffff", "#f5a623"
_LONG_SIDE_IN = 10.0
_LABEL_EVERY = 10


def draw_track(axes: Axes, track: Track, labels: bool = True) -> None:
    """Draw the road, its lines, the start and the driving direction; `labels` adds waypoint indices and the axes."""
    axes.set_aspect("equal")
    axes.set_facecolor(_FIELD)
    inner, outer, centre = track.inner, track.outer, track.centre
    for i in range(len(centre) - 1):
        quad = np.stack([inner[i], inner[i + 1], outer[i + 1], outer[i]])
        # the edge in the road's own colour hides the hairline between neighbouring quads
        axes.add_patch(Polygon(quad, closed=True, facecolor=_ROAD, edgecolor=_ROAD, linewidth=0.6))
    for edge in (inner, outer):
        axes.plot(edge[:, 0], edge[:, 1], color=_EDGE, linewidth=1.5, solid_joinstyle="round")
    axes.plot(centre[:, 0], centre[:, 1], color=_CENTRE, linewidth=1.2, dashes=(5, 4))
    axes.plot(*np.stack([inner[0], outer[0]]).T, color="#e0312d", linewidth=3.0)
    start = track.pose_at([0.1])
    width = float(track.widths_m[0])
    reach = 0.8 * width
    x, y, heading = start.x_m[0], start.y_m[0], start.heading_rad[0]
    axes.annotate(
        "",
        xy=(x + reach * math.cos(heading), y + reach * math.sin(heading)),
        xytext=(x, y),
        arrowprops={"arrowstyle": "-|>", "color": "#e0312d", "linewidth": 2.0, "mutation_scale": 18},
    )
    xmin, ymin, xmax, ymax = track.bounds
    margin = 0.05 * max(xmax - xmin, ymax - ymin) + 0.2
    axes.set_xlim(xmin - margin, xmax + margin)
    axes.set_ylim(ymin - margin, ymax + margin)
    if labels:
        _label_waypoints(axes, track)
        axes.set_xlabel("x [m]")
        axes.set_ylabel("y [m]")
    else:
        axes.set_xticks([])
        axes.set_yticks([])


def _label_waypoints(axes: Axes, track: Track) -> None:
    # a loop's last row is row 0 again and would print over it
    for i in range(0, len(track.route) - 1, _LABEL_EVERY):
        away = track.outer[i] - track.centre[i]
        spot = track.outer[i] + away / np.hypot(*away) * 0.02 * max(np.ptp(track.outer, axis=0))
        axes.plot(*track.centre[i], marker="o", markersize=3.5, color=_EDGE)
        axes.text(spot[0], spot[1], str(i), fontsize=8, ha="center", va="center", clip_on=True)


def title_of(track: Track) -> str:
    """Name, lap or road length, and width (or its range) of the track."""
    narrow, wide = float(track.widths_m.min()), float(track.widths_m.max())
    width = f"{narrow:.2f} m" if wide - narrow < 0.01 else f"{narrow:.2f} to {wide:.2f} m"
    return f"{track.name}: {'lap' if track.closed else 'open,'} {track.length_m:.2f} m, road {width} wide"


def save_track_picture(track: Track, path: Path) -> None:
    """Write a PNG of the track, its longer side 10 inches at 120 dpi, through a temporary file in the same folder."""
    xmin, ymin, xmax, ymax = track.bounds
    width, height = xmax - xmin, ymax - ymin
    scale = (_LONG_SIDE_IN - 1.0) / max(width, height)
    size = (max(scale * width, 4.5) + 1.0, max(scale * height, 1.5) + 1.2)
    figure = Figure(figsize=size, layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.add_subplot()
    draw_track(axes, track)
    axes.set_title(title_of(track))
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(f".{path.name}.partial")
    figure.savefig(partial, format="png", dpi=120)
    partial.replace(path)
