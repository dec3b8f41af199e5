"""A picture of a track from above: what `undercut tracks show` writes."""

from pathlib import Path

from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from simapp.tracks import Track
from undercut.figures.road import draw_road, track_limits

_LONG_SIDE_IN = 10.0


def title_of(track: Track) -> str:
    """Name, lap or road length, and width (or its range) of the track."""
    narrow, wide = float(track.widths_m.min()), float(track.widths_m.max())
    width = f"{narrow:.2f} m" if wide - narrow < 0.01 else f"{narrow:.2f} to {wide:.2f} m"
    return f"{track.name}: {'lap' if track.closed else 'open,'} {track.length_m:.2f} m, road {width} wide"


def save_track_picture(track: Track, path: Path) -> None:
    """Write a PNG of the track, its longer side 10 inches at 120 dpi, through a temporary file in the same folder."""
    xmin, xmax, ymin, ymax = track_limits(track)
    width, height = xmax - xmin, ymax - ymin
    scale = (_LONG_SIDE_IN - 1.0) / max(width, height)
    size = (max(scale * width, 4.5) + 1.0, max(scale * height, 1.5) + 1.2)
    figure = Figure(figsize=size, layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.add_subplot()
    draw_road(axes, track, waypoints=True)
    axes.set_title(title_of(track))
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(f".{path.name}.partial")
    figure.savefig(partial, format="png", dpi=120)
    partial.replace(path)
