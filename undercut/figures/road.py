"""The road from above, as every picture of a track draws it."""

import functools
import math
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib import colormaps
from matplotlib.axes import Axes
from matplotlib.collections import LineCollection, PolyCollection
from matplotlib.colors import Colormap, LinearSegmentedColormap, Normalize, to_rgb

from contract.state import FloatArray, UInt8Array
from simapp.scene.scenery import MAP_HEIGHT_M
from simapp.tracks import Track
from simapp.worlds import World
from simapp.worlds.above import from_above

FIELD, ROAD, EDGE, CENTRE, START, LABEL = "#cfdcc8", "#343b44", "#ffffff", "#e0923a", "#ffffff", "#2f3640"
_LABEL_EVERY = 10
_MAP_PX = 1400
"""Along the longer side of an imported world's picture."""


def limits(points: FloatArray) -> tuple[float, float, float, float]:
    """xmin, xmax, ymin, ymax of a map that shows the points (K, 2) with a margin."""
    low, high = points.min(axis=0), points.max(axis=0)
    margin = 0.05 * float((high - low).max()) + 0.25
    return float(low[0]) - margin, float(high[0]) + margin, float(low[1]) - margin, float(high[1]) + margin


def track_limits(track: Track) -> tuple[float, float, float, float]:
    """`limits` of a track's edges."""
    return limits(np.concatenate([track.inner, track.outer]))


def draw_road(axes: Axes, track: Track, waypoints: bool = False) -> None:
    """Draw the field, the road, its lines, the start and the driving direction, true to scale and with room around.

    `waypoints` adds their indices, and the axes in metres.
    """
    xmin, xmax, ymin, ymax = track_limits(track)
    axes.set(xlim=(xmin, xmax), ylim=(ymin, ymax), aspect="equal", facecolor=FIELD)
    if track.world is not None:
        picture, extent = _world_from_above(track.world, (xmin, xmax, ymin, ymax))
        axes.imshow(picture, extent=extent, origin="lower", aspect="equal", interpolation="antialiased", zorder=0)
        axes.set(xlim=(xmin, xmax), ylim=(ymin, ymax))
    else:
        _draw_built_in(axes, track)
    _draw_start(axes, track)
    if waypoints:
        _label_waypoints(axes, track)
        axes.set(xlabel="x (m)", ylabel="y (m)")
    else:
        axes.set(xticks=[], yticks=[])


@functools.lru_cache(4)
def _world_from_above(
    folder: Path, limits_m: tuple[float, float, float, float]
) -> tuple[UInt8Array, tuple[float, float, float, float]]:
    """A picture of an imported world, its first row in the south, and where it lies: xmin, xmax, ymin, ymax."""
    xmin, xmax, ymin, ymax = limits_m
    texel_m = max(xmax - xmin, ymax - ymin) / _MAP_PX
    rows, columns = math.ceil((ymax - ymin) / texel_m), math.ceil((xmax - xmin) / texel_m)
    world = World.load(folder)
    low = world.triangles[:, :, 2].min(axis=1) < MAP_HEIGHT_M
    field = 255.0 * np.asarray(to_rgb(FIELD))
    picture = from_above(world, low, (xmin, ymin), texel_m, (rows, columns), field)
    return picture, (xmin, xmin + columns * texel_m, ymin, ymin + rows * texel_m)


def _draw_built_in(axes: Axes, track: Track) -> None:
    inner, outer = track.inner, track.outer
    quads = np.stack([inner[:-1], inner[1:], outer[1:], outer[:-1]], axis=1)
    # the edge in the road's own colour hides the hairlines between neighbouring quads
    axes.add_collection(PolyCollection(list(quads), facecolor=ROAD, edgecolor=ROAD, linewidth=0.6, zorder=1))
    for edge in (inner, outer):
        axes.plot(*edge.T, color=EDGE, linewidth=1.5, zorder=2, solid_joinstyle="round")
    axes.plot(*track.centre.T, color=CENTRE, linewidth=1.0, dashes=(5, 5), zorder=2)


def _draw_start(axes: Axes, track: Track) -> None:
    start = np.stack([track.inner[0], track.outer[0]])
    axes.plot(*start.T, color=START, linewidth=4.0, solid_capstyle="butt", zorder=3)
    pose = track.pose_at([0.1])
    ahead = np.array([np.cos(pose.heading_rad[0]), np.sin(pose.heading_rad[0])])
    tip = track.centre[0] + 0.7 * track.widths_m[0] * ahead
    arrow = {"arrowstyle": "-|>", "color": START, "linewidth": 1.5, "shrinkA": 0, "shrinkB": 0}
    axes.annotate("", xy=tuple(tip), xytext=tuple(track.centre[0]), arrowprops=arrow, zorder=3)
    outward = track.outer[0] - track.centre[0]
    offset = 16.0 * outward / np.hypot(*outward)
    label: dict[str, Any] = {"fontsize": 9, "fontweight": "bold", "color": LABEL, "ha": "center", "va": "center"}
    axes.annotate("start", xy=tuple(track.outer[0]), xytext=tuple(offset), textcoords="offset points", **label)


def _label_waypoints(axes: Axes, track: Track) -> None:
    size = float(np.ptp(track.outer, axis=0).max())
    placed = [track.outer[0]]  # where the start's label is
    # a loop's last row is row 0 again and would print over it; row 0 has the start's label
    for i in range(_LABEL_EVERY, len(track.route) - 1, _LABEL_EVERY):
        away = (track.outer[i] - track.centre[i]) / np.hypot(*(track.outer[i] - track.centre[i]))
        beside = [track.outer[i] + 0.02 * size * away, track.inner[i] - 0.02 * size * away]
        # outside, but where the road comes back there is another label or the road itself
        rooms = [_room(spot, track, np.array(placed), 0.035 * size) for spot in beside]
        spot = beside[int(np.argmax(rooms))]
        placed.append(spot)
        axes.plot(*track.centre[i], marker="o", markersize=3.5, color=EDGE, zorder=3)
        axes.text(spot[0], spot[1], str(i), fontsize=8, ha="center", va="center", clip_on=True)


def _room(spot: FloatArray, track: Track, taken: FloatArray, enough_m: float) -> float:
    """How far a point is from all the points that are taken, `enough_m` at most, and half as far from the road."""
    where = track.project(spot[:1], spot[1:])
    off_road_m = float(abs(where.offset_m[0]) - 0.5 * where.width_m[0])
    return min(enough_m, float(np.hypot(*(taken - spot).T).min()), 2.0 * off_road_m)


def pieces_of(points: FloatArray) -> FloatArray:
    """(K - 1, 2, 2) between points (K, 2), each to the next."""
    return np.stack([points[:-1], points[1:]], axis=1)


def paint(
    axes: Axes, pieces: FloatArray, values: FloatArray, scale: Normalize, colours: Colormap | str, width: float = 2.2
) -> LineCollection:
    """Draw pieces (S, 2, 2) of a path, each in the colour of its value (S,)."""
    collection = LineCollection(
        list(pieces), cmap=colours, norm=scale, linewidths=width, capstyle="round", zorder=5.0, array=values
    )
    axes.add_collection(collection)
    return collection


def bright(name: str) -> Colormap:
    """A colour map without its dark end, which would sink into the road."""
    return LinearSegmentedColormap.from_list(name, colormaps[name](np.linspace(0.35, 1.0, 256)))


def draw_sectors(axes: Axes, track: Track, count: int, start_m: float = 0.0) -> None:
    """Number the equal sectors of a lap, the first of which begins at the centre-line distance `start_m`."""
    ends = 0.5 * float(np.mean(track.widths_m)) * np.array([-1.0, 1.0])
    box = {"boxstyle": "circle,pad=0.25", "facecolor": "white", "edgecolor": "none"}
    for sector in range(count):
        edge, middle = (track.pose_at(start_m + (sector + part) / count * track.length_m) for part in (0.0, 0.5))
        sine, cosine = np.sin(edge.heading_rad[0]), np.cos(edge.heading_rad[0])
        axes.plot(edge.x_m[0] - ends * sine, edge.y_m[0] + ends * cosine, color=EDGE, linewidth=2.0, zorder=2.5)
        x, y = middle.x_m[0], middle.y_m[0]
        axes.text(x, y, str(sector + 1), ha="center", va="center", fontsize=9, bbox=box, zorder=7)
