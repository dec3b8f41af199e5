"""Pictures of a track: what `undercut tracks show` and `undercut worlds show` write."""

from pathlib import Path

import numpy as np
from matplotlib.figure import Figure

from contract.state import FloatArray, UInt8Array
from contract.stores.local import write_file
from simapp.tracks import Track
from undercut.figures.png import new_figure, png_of
from undercut.figures.road import LABEL, draw_road, track_limits

_LONG_SIDE_IN = 10.0


def title_of(track: Track) -> str:
    """Name, lap or road length, and width (or its range) of the track."""
    narrow, wide = float(track.widths_m.min()), float(track.widths_m.max())
    width = f"{narrow:.2f} m" if wide - narrow < 0.01 else f"{narrow:.2f} to {wide:.2f} m"
    return f"{track.name}: {'lap' if track.closed else 'open,'} {track.length_m:.2f} m, road {width} wide"


def track_figure(track: Track) -> Figure:
    """The track with its waypoints, its longer side 10 inches at 120 dpi."""
    xmin, xmax, ymin, ymax = track_limits(track)
    width, height = xmax - xmin, ymax - ymin
    scale = (_LONG_SIDE_IN - 1.0) / max(width, height)
    size = (max(scale * width, 4.5) + 1.0, max(scale * height, 1.5) + 1.2)
    figure = new_figure(*size, dpi=120)
    axes = figure.add_subplot()
    draw_road(axes, track, waypoints=True)
    axes.set_title(title_of(track))
    return figure


def save_track_picture(track: Track, path: Path) -> None:
    """Write `track_figure` as a PNG."""
    write_file(path, png_of(track_figure(track)))


def save_world_picture(track: Track, poses: FloatArray, frames: UInt8Array, path: Path) -> None:
    """Write a PNG of the track from above and of what a car's camera sees: frames (K, 120, 160) from poses (K, 3), each
    with its number on the map."""
    figure = new_figure(13.0, 7.5, dpi=120)
    grid = figure.add_gridspec(1, 2, width_ratios=(1.25, 1.0))
    left, right = figure.add_subfigure(grid[0, 0]), figure.add_subfigure(grid[0, 1])
    plan = left.add_subplot()
    draw_road(plan, track)
    plan.set_title(title_of(track))
    xmin, xmax, ymin, ymax = track_limits(track)
    span, rows = max(xmax - xmin, ymax - ymin), -(-len(frames) // 2)
    for k, (axes, pose, frame) in enumerate(zip(right.subplots(rows, 2).flat, poses, frames, strict=True), 1):
        axes.imshow(frame, cmap="gray", vmin=0, vmax=255)
        axes.set(xticks=[], yticks=[])
        axes.set_xlabel(str(k), labelpad=2)
        ahead = 0.09 * span * np.array([np.cos(pose[2]), np.sin(pose[2])])
        arrow = {"arrowstyle": "simple,head_width=0.9,head_length=0.8,tail_width=0.25", "fc": "white", "ec": LABEL}
        plan.annotate("", xy=tuple(pose[:2] + ahead), xytext=tuple(pose[:2]), arrowprops=arrow, zorder=5)
        box = {"boxstyle": "circle,pad=0.25", "facecolor": "white", "edgecolor": LABEL}
        plan.text(float(pose[0]), float(pose[1]), str(k), ha="center", va="center", fontsize=9, bbox=box, zorder=6)
    write_file(path, png_of(figure))
