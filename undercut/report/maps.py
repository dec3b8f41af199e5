"""Pictures on the track: paths, where time is spent and reward earned, where it goes wrong, and what is done where."""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.collections import LineCollection
from matplotlib.colorbar import Colorbar
from matplotlib.colors import BoundaryNorm, Colormap, LinearSegmentedColormap, ListedColormap, LogNorm, Normalize
from matplotlib.figure import Figure

from contract.state import EpisodeStatus, FloatArray
from undercut.analysis.log import Episode, Kind, RunLog, rows_of
from undercut.analysis.measures import driven
from undercut.analysis.places import SECTORS, ActionUse, HeatMaps, exits, heat_maps
from undercut.figures.inspection import draw_shares
from undercut.figures.road import FIELD, bright, draw_road, draw_sectors, limits, paint, pieces_of, track_limits
from undercut.report.canvas import INK, MUTED, WIDTH_IN, WRONG, Picture, picture, plain

EXIT_LOOKS = {
    EpisodeStatus.off_track: ("left the road", "x", WRONG),
    EpisodeStatus.crashed: ("crashed", "P", "#f2b01e"),
    EpisodeStatus.immobilized: ("stood still", "s", "#7fd1ff"),
    EpisodeStatus.reversed: ("turned round", "v", "#d69bff"),
}
_PAST, _LATE = 0.35, 1.0
_MAX_COLOURS = 20


class Map:
    """The map of one log: its extent, and the road or, where that is not known, all the cars' paths."""

    def __init__(self, log: RunLog) -> None:
        self.log = log
        self.rows = rows_of(log.traced(*Kind))
        points = np.column_stack([self.rows["x_m"], self.rows["y_m"]])
        self.limits = track_limits(log.track) if log.track else limits(points)

    def draw(self, axes: Axes, faint: bool = True) -> None:
        """`faint` draws the paths where there is no road."""
        if self.log.track is not None:
            draw_road(axes, self.log.track)
        else:
            xmin, xmax, ymin, ymax = self.limits
            axes.set(xlim=(xmin, xmax), ylim=(ymin, ymax), aspect="equal", xticks=[], yticks=[], facecolor=FIELD)
            if faint:
                look: dict[str, Any] = {"markersize": 1.2, "alpha": 0.35, "markeredgewidth": 0, "rasterized": True}
                axes.plot(self.rows["x_m"], self.rows["y_m"], "o", color=MUTED, **look)
        axes.spines[:].set_visible(False)

    def height_in(self, below_in: float = 0.62) -> float:
        """Of a picture with the map at its own proportions and so much room below, within reason."""
        xmin, xmax, ymin, ymax = self.limits
        return float(np.clip(WIDTH_IN * (ymax - ymin) / (xmax - xmin), 1.2, 5.6)) + below_in


def path_pictures(log: RunLog, laps: Sequence[Episode], what: str) -> list[Picture]:
    """Paths of the laps, coloured by what the car did on the way. `what` names the laps."""
    if not laps:
        return []
    place = Map(log)
    moves = [driven(lap.steps) for lap in laps]

    def after(name: str) -> FloatArray:
        return np.concatenate([lap.steps[name][1:][move] for lap, (move, _) in zip(laps, moves, strict=True)])

    speeds = np.concatenate([speed for _, speed in moves])
    pictures = []
    for name, title, label, values, caption in (
        ("path_speed", "Speed driven", "m/s", speeds, "Distance by time from one step to the next."),
        ("path_throttle", "Speed commanded", "m/s", after("speed_mps"), "The throttle: what the policy asked for."),
        ("path_reward", "Reward", "reward of a step", after("reward"), "What each step earned."),
    ):
        colours = bright("viridis" if name != "path_reward" else "plasma")
        draw = _paths(place, laps, moves, values, colours, _middle(values), label)
        pictures.append(picture(name, title, f"{what}. {caption}", draw, place.height_in()))
    return [*pictures, _steering_path(place, laps, moves, after("steering_rad"), what)]


def speed_picture(log: RunLog, laps: Sequence[Episode], name: str, title: str, caption: str) -> Picture:
    """Paths of the laps, at least one, coloured by the speed driven."""
    place, moves = Map(log), [driven(lap.steps) for lap in laps]
    speeds = np.concatenate([speed for _, speed in moves])
    draw = _paths(place, laps, moves, speeds, bright("viridis"), _middle(speeds), "m/s")
    return picture(name, title, caption, draw, place.height_in())


def _middle(values: FloatArray) -> Normalize:
    """A scale that a few extreme values do not stretch."""
    low, high = (float(it) for it in np.quantile(values, (0.01, 0.99))) if len(values) else (0.0, 1.0)
    return Normalize(low, max(high, low + 1e-3))


Moves = Sequence[tuple[np.ndarray, FloatArray]]


def _steering_path(place: Map, laps: Sequence[Episode], moves: Moves, steering_rad: FloatArray, what: str) -> Picture:
    """By action: of up to 20 steering commands each its colour, else along the range."""
    steering_deg = np.degrees(steering_rad)
    commands: FloatArray = np.unique(np.round(steering_deg, 1)).astype(np.float64)
    caption = f"{what}. The action: commanded steering in degrees, left is positive."
    colours: Colormap = bright("coolwarm")
    limit = max(float(np.abs(commands).max()), 1.0) if len(commands) else 30.0
    scale: Normalize = Normalize(-limit, limit)
    if 1 < len(commands) <= _MAX_COLOURS:
        edges = np.r_[commands[0] - 1.0, 0.5 * (commands[1:] + commands[:-1]), commands[-1] + 1.0]
        colours = ListedColormap(_left_and_right()(np.linspace(0.0, 1.0, len(commands))))
        scale = BoundaryNorm(edges, len(commands))
    else:
        colours = _left_and_right()
    draw = _paths(place, laps, moves, steering_deg, colours, scale, "degrees of steering", commands)
    return picture("path_action", "Action", caption, draw, place.height_in())


def _left_and_right() -> Colormap:
    """Orange to the right, white straight on, blue to the left."""
    return LinearSegmentedColormap.from_list("steering", ["#ff8c1a", "#ffd9a8", "#ffffff", "#a8d4ff", "#2f9bff"])


def _paths(
    place: Map,
    laps: Sequence[Episode],
    moves: Moves,
    values: FloatArray,
    colours: Colormap,
    scale: Normalize,
    label: str,
    ticks: FloatArray | None = None,
) -> Callable[[Figure], None]:
    def draw(figure: Figure) -> None:
        axes = figure.subplots()
        place.draw(axes)
        begin = 0
        for lap, (move, speeds) in zip(laps, moves, strict=True):
            pieces = pieces_of(np.column_stack([lap.steps["x_m"], lap.steps["y_m"]]))[move]
            paint(axes, pieces, values[begin : begin + len(speeds)], scale, colours)
            begin += len(speeds)
        _crosses(axes, rows_of(laps))
        bar = _scale(figure, axes, LineCollection([], cmap=colours, norm=scale), label)
        if ticks is not None and len(ticks) <= 9:
            bar.set_ticks(list(ticks), labels=[f"{tick:g}" for tick in ticks])
            bar.ax.minorticks_off()

    return draw


def _scale(figure: Figure, axes: Axes, of: ScalarMappable, label: str) -> Colorbar:
    bar = figure.colorbar(
        of, ax=axes, orientation="horizontal", fraction=0.05, pad=0.02, aspect=30, format=lambda value, _: f"{value:g}"
    )
    bar.outline.set_visible(False)
    bar.set_label(label)
    return bar


def _crosses(axes: Axes, rows: np.ndarray) -> None:
    for status, (label, marker, colour) in EXIT_LOOKS.items():
        at = rows[rows["status"] == status]
        if len(at):
            look: dict[str, Any] = {"markersize": 7, "markeredgewidth": 2.0, "zorder": 6, "linewidth": 0}
            axes.plot(at["x_m"], at["y_m"], marker=marker, color=colour, label=label, **look)


def heat_pictures(log: RunLog, episodes: Sequence[Episode], what: str) -> list[Picture]:
    """Where time is spent, and where reward is earned."""
    maps = heat_maps(rows_of(episodes))
    if maps is None:
        return []
    place = Map(log)
    seconds = np.where(maps.seconds > 0.0, maps.seconds, np.nan)
    least, most = float(np.nanmin(seconds)), float(np.nanmax(seconds))
    low, high = (float(it) for it in np.nanquantile(maps.reward, (0.02, 0.98)))
    time = _heat(place, maps, seconds, LogNorm(least, max(most, least * 1.01)), "inferno", "seconds")
    reward = _heat(place, maps, maps.reward, Normalize(low, max(high, low + 1e-3)), "plasma", "reward of a step")
    cells = f"Cells of {100 * (maps.x_m[1] - maps.x_m[0]):.0f} cm. {what}."
    spent = f"Simulated seconds that cars were in a cell, on a logarithmic scale. {cells}"
    earned, height_in = f"Mean reward of a step in a cell. {cells}", place.height_in()
    return [
        picture("heat_time", "Where time is spent", spent, time, height_in),
        picture("heat_reward", "Where reward is earned", earned, reward, height_in),
    ]


def _heat(
    place: Map, maps: HeatMaps, values: FloatArray, scale: Normalize, colours: str, label: str
) -> Callable[[Figure], None]:
    def draw(figure: Figure) -> None:
        axes = figure.subplots()
        place.draw(axes, faint=False)
        cells = axes.pcolormesh(
            maps.x_m, maps.y_m, values, norm=scale, cmap=bright(colours), rasterized=True, zorder=2.5
        )
        _scale(figure, axes, cells, label)

    return draw


def exit_picture(log: RunLog, episodes: Sequence[Episode], what: str) -> Picture | None:
    """Where cars left the road, crashed, stood still or turned round; earlier iterations fainter."""
    if not episodes:
        return None
    place = Map(log)
    numbers = [episode.iteration for episode in episodes]
    first, span = min(numbers), max(max(numbers) - min(numbers), 1)

    def draw(figure: Figure) -> None:
        axes = figure.subplots()
        place.draw(axes)
        shown: dict[str, Any] = {}
        for episode in episodes:
            at = exits([episode])
            age = (episode.iteration - first) / span
            for status, (label, marker, colour) in EXIT_LOOKS.items():
                rows = at[at["status"] == status]
                if len(rows):
                    look: dict[str, Any] = {"markersize": 6, "markeredgewidth": 1.8, "zorder": 6, "linewidth": 0}
                    alpha = _PAST + (_LATE - _PAST) * age
                    (mark,) = axes.plot(rows["x_m"], rows["y_m"], marker, color=colour, alpha=alpha, **look)
                    shown[label] = mark
        if shown:
            figure.legend(list(shown.values()), list(shown), loc="outside lower center", ncols=len(shown))

    counts = exits(episodes)["status"]
    shares = ", ".join(
        f"{np.count_nonzero(counts == status)} {label}"
        for status, (label, *_) in EXIT_LOOKS.items()
        if np.any(counts == status)
    )
    caption = (
        f"{what}: {shares or 'nothing went wrong'}. Later iterations are stronger. The mark is the car's front point."
    )
    return picture("exits", "Where it goes wrong", caption, draw, place.height_in(0.4))


def action_pictures(log: RunLog, use: ActionUse, what: str) -> list[Picture]:
    """Use of the actions overall, by sector, and the sectors on the track."""
    count = len(use.labels)
    noun = "steering" if use.continuous else "action"

    def overall(figure: Figure) -> None:
        axes = figure.subplots()
        axes.barh(range(count), 100.0 * use.overall, color="#3b6fb6", height=0.75)
        for row, share in enumerate(use.overall):
            axes.text(100.0 * share, row, f" {100 * share:.1f}", va="center", fontsize=8, color=INK)
        axes.set_yticks(range(count), use.labels, fontsize=9)
        axes.set_xlim(0.0, 112.0 * float(use.overall.max()))
        plain(axes, "", "% of steps")
        axes.grid(visible=False, axis="y")

    def by_sector(figure: Figure) -> None:
        axes = figure.subplots()
        draw_shares(axes, use.by_sector, use.labels, max(float(use.by_sector.max()), 0.01))
        axes.set_xlabel("sector of the lap, from the start line")

    height = 1.1 + 0.24 * count
    all_told = f"Share of all {use.steps:,} steps with each {noun}. {what}."
    note = f"Of the steps in each tenth of the lap, the per cent with each {noun}; a column adds up to 100. {what}."
    pictures = [
        picture("actions", "Use of the actions", all_told, overall, height),
        picture("actions_by_sector", "Actions by sector", note, by_sector, height),
    ]
    track = log.track
    if track is not None:
        place = Map(log)

        def sectors(figure: Figure) -> None:
            axes = figure.subplots()
            place.draw(axes)
            draw_sectors(axes, track, SECTORS)

        caption = "Ten equal parts of the centre line, from the start line in driving direction."
        pictures.append(picture("sectors", "The sectors", caption, sectors, place.height_in(0.1)))
    return pictures
