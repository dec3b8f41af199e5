"""Pictures of a racing line: the line on the road and its profiles, and where laps lose time against it."""

import numpy as np
from matplotlib.colors import Normalize

from simapp.tracks import Track
from undercut.figures.png import new_figure, png_of, tidy
from undercut.figures.road import draw_road, paint, pieces_of, track_limits
from undercut.line.profile import RacingLine

_WIDTH_IN = 11.0
_DRIVEN, _COMMANDED = "#3b6fb6", "#d9772b"


def line_picture(track: Track, line: RacingLine, title: str) -> bytes:
    """PNG of the line on the road, coloured by speed, above its speed and steering along the lap."""
    xmin, xmax, ymin, ymax = track_limits(track)
    map_in = float(np.clip(_WIDTH_IN * (ymax - ymin) / (xmax - xmin), 2.5, 9.0))
    figure = new_figure(_WIDTH_IN, map_in + 4.0)
    road, speed, steering = figure.subplots(3, 1, height_ratios=[map_in, 1.7, 1.7])
    draw_road(road, track)
    road.set_title(title, loc="left")
    points = np.column_stack([np.append(line.x_m, line.x_m[0]), np.append(line.y_m, line.y_m[0])])
    scale = Normalize(float(line.speed_mps.min()), max(float(line.speed_mps.max()), float(line.speed_mps.min()) + 0.1))
    coloured = paint(road, pieces_of(points), line.speed_mps, scale, "turbo", width=3.0)
    figure.colorbar(coloured, ax=road, label="m/s", shrink=0.7, pad=0.01)
    speed.plot(line.distance_m, line.command_mps, color=_COMMANDED, linewidth=1.0, label="commanded")
    speed.plot(line.distance_m, line.speed_mps, color=_DRIVEN, linewidth=1.8, label="driven")
    speed.set(ylabel="speed (m/s)", ylim=(0.0, None))
    speed.legend(loc="lower right", fontsize=8, ncols=2)
    steering.plot(line.distance_m, np.degrees(line.command_rad), color=_COMMANDED, linewidth=1.2)
    steering.axhline(0.0, color="#999999", linewidth=0.8)
    steering.set(ylabel="steering (degrees, left +)", xlabel="along the centre line (m)", ylim=(-32, 32))
    tidy(speed, steering)
    speed.set_xlim(0.0, track.length_m)
    return png_of(figure)
