"""Pictures of a racing line: the line on the road and its profiles, and where laps lose time against it."""

from dataclasses import dataclass
from typing import Any

import numpy as np
from matplotlib import colormaps
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.collections import LineCollection
from matplotlib.colors import Normalize
from matplotlib.figure import Figure

from contract.state import FloatArray
from simapp.tracks import Track
from undercut.figures.png import png_of
from undercut.figures.road import draw_road, track_limits

_WIDTH_IN = 11.0
_DRIVEN, _COMMANDED, _REPLAY = "#3b6fb6", "#d9772b", "#e02424"


@dataclass(frozen=True, slots=True)
class LineProfile:
    """A lap, (K,) each: points, distance along the centre line, speed, and the commands."""

    x_m: FloatArray
    y_m: FloatArray
    distance_m: FloatArray
    speed_mps: FloatArray
    command_mps: FloatArray
    command_deg: FloatArray


def line_picture(track: Track, line: LineProfile, title: str, driven: FloatArray | None = None) -> bytes:
    """PNG of the line on the road, coloured by speed, above its speed and steering along the lap. `driven` (R, 2) are
    points of a lap that followed it."""
    xmin, xmax, ymin, ymax = track_limits(track)
    map_in = float(np.clip(_WIDTH_IN * (ymax - ymin) / (xmax - xmin), 2.5, 9.0))
    figure = Figure(figsize=(_WIDTH_IN, map_in + 4.0), dpi=110, layout="constrained", facecolor="white")
    FigureCanvasAgg(figure)
    road, speed, steering = figure.subplots(3, 1, height_ratios=[map_in, 1.7, 1.7])
    draw_road(road, track)
    road.set_title(title, loc="left")
    points = np.column_stack([np.append(line.x_m, line.x_m[0]), np.append(line.y_m, line.y_m[0])])
    scale = Normalize(float(line.speed_mps.min()), max(float(line.speed_mps.max()), float(line.speed_mps.min()) + 0.1))
    coloured = paint(road, points, line.speed_mps, scale, "turbo")
    figure.colorbar(coloured, ax=road, label="m/s", shrink=0.7, pad=0.01)
    if driven is not None:
        look: dict[str, Any] = {"markersize": 2.2, "color": _REPLAY, "linestyle": "", "zorder": 6}
        road.plot(*driven.T, "o", label="driven in the simulator, step by step", **look)
        road.legend(loc="best", fontsize=8)
    speed.plot(line.distance_m, line.command_mps, color=_COMMANDED, linewidth=1.0, label="commanded")
    speed.plot(line.distance_m, line.speed_mps, color=_DRIVEN, linewidth=1.8, label="driven")
    speed.set(ylabel="speed (m/s)", ylim=(0.0, None))
    speed.legend(loc="lower right", fontsize=8, ncols=2)
    steering.plot(line.distance_m, line.command_deg, color=_COMMANDED, linewidth=1.2)
    steering.axhline(0.0, color="#999999", linewidth=0.8)
    steering.set(ylabel="steering (degrees, left +)", xlabel="along the centre line (m)", ylim=(-32, 32))
    for axes in (speed, steering):
        axes.set_xlim(0.0, track.length_m)
        axes.grid(color="#dddddd", linewidth=0.6)
        axes.spines[["top", "right"]].set_visible(False)
    return png_of(figure)


def paint(axes: Axes, points: FloatArray, values: FloatArray, scale: Normalize, colours: str) -> LineCollection:
    """Draw a path through points (K + 1, 2), each piece in the colour of its value (K,)."""
    pieces = np.stack([points[:-1], points[1:]], axis=1)
    look: dict[str, Any] = {"linewidth": 3.0, "zorder": 5, "capstyle": "round"}
    collection = LineCollection(list(pieces), cmap=colormaps[colours], norm=scale, **look)
    collection.set_array(values)
    axes.add_collection(collection)
    return collection
