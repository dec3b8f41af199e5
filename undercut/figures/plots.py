"""The two pictures of a run: how training went, and where the evaluation laps drove."""

from collections.abc import Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.collections import LineCollection
from matplotlib.colors import Normalize
from matplotlib.figure import Figure
from matplotlib.layout_engine import ConstrainedLayoutEngine
from matplotlib.lines import Line2D
from matplotlib.patches import Polygon
from matplotlib.ticker import AutoLocator, MaxNLocator

from contract.metrics import TrainingRow, whole_pct
from contract.state import BROKEN, EpisodeStatus, FloatArray, TrackObjects
from contract.vehicle import MAX_SPEED_MPS
from simapp.contact import outlines
from simapp.tracks import Track
from trainer.iterations import IterationRow
from undercut.analysis.joining import Iterations, by_iteration
from undercut.analysis.measures import driven
from undercut.figures.png import png_of, tidy
from undercut.figures.road import bright, draw_road, paint, pieces_of, track_limits

_TRAINING, _EVALUATION, _LOSS = "#3b6fb6", "#d9772b", "#4d8f55"
_CROSS = "#e02424"
_MAX_LISTED_LAPS = 12
_FULL_LAP_PCT = 100


def training_plot(rows: Sequence[TrainingRow], updates: Sequence[IterationRow], title: str) -> bytes:
    """PNG of reward, completion, entropy and losses by iteration, with the training steps above. `updates` are from
    the run's first iteration on.

    An iteration begins at a training row of trial 1; evaluation rows belong to the iteration that they follow.
    """
    figure = Figure(figsize=(12.0, 7.8), dpi=110, facecolor="white")
    figure.set_layout_engine(ConstrainedLayoutEngine(rect=(0.01, 0.01, 0.98, 0.93)))
    figure.suptitle(title, fontsize=15, fontweight="bold", x=0.02, y=0.985, ha="left", va="top")
    grid = figure.subplots(2, 2, sharex=True)
    reward, completion, entropy, loss = grid.flat
    trained, evaluated = by_iteration(rows)

    _episodes(reward, trained, "reward_score", _TRAINING, "training")
    _episodes(reward, evaluated, "reward_score", _EVALUATION, "evaluation")
    reward.set(title="Reward of an episode", ylabel="reward")
    _episodes(completion, trained, "completion_percentage", _TRAINING, "training")
    _episodes(completion, evaluated, "completion_percentage", _EVALUATION, "evaluation")
    completion.axhline(_FULL_LAP_PCT, color="#999999", linewidth=0.8, zorder=0)
    completion.set(title="Completion of the lap", ylabel="%", ylim=(0, 105))

    def curve(name: str) -> list[float]:
        return [getattr(update, name) for update in updates]

    iterations = np.arange(len(updates))
    entropy.plot(iterations, curve("entropy"), color=_TRAINING, linewidth=1.8)
    entropy.set(title="Policy entropy", ylabel="nats", xlabel="iteration")
    loss.plot(iterations, curve("value_loss"), color=_LOSS, linewidth=1.8, label="value loss")
    loss.set(title="Losses", xlabel="iteration")
    loss.set_ylabel("value loss", color=_LOSS)
    surrogate = loss.twinx()
    # dashed: two iterations' lines lie one on the other where both losses rise or both fall
    surrogate.plot(iterations, curve("policy_loss"), "--", color=_EVALUATION, linewidth=1.8, label="policy loss")
    surrogate.set_ylabel("policy loss", color=_EVALUATION)
    surrogate.spines[["top", "left"]].set_visible(False)

    tidy(*grid.flat)
    for axes in grid.flat:
        axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    for axes in (reward, completion):
        if rows:
            axes.legend(loc="best", framealpha=0.8, edgecolor="none", fontsize=9)
        _steps_above(axes, [update.steps for update in updates])
    return png_of(figure)


def lap_plot(track: Track, laps: Sequence[np.ndarray], title: str, objects: TrackObjects | None = None) -> bytes:
    """PNG of the road and the paths of laps, coloured by the speed driven, with the lap times beside.

    laps    (T,) of contract.state.STEP_DTYPE each, for example `rollout.steps`; resets break the path, and a cross
            marks where the car went off the road, crashed, turned round or stood still
    objects  (1, M) what stood on the track all the time
    """
    figure, axes, legend_axes, scale_axes = _lap_page(track)
    axes.set_title(title, fontsize=15, fontweight="bold", loc="left", pad=10)
    draw_road(axes, track)
    axes.xaxis.set_major_locator(AutoLocator())
    axes.yaxis.set_major_locator(AutoLocator())

    if objects is not None:
        _draw_objects(axes, objects)
    paths = [driven_path(lap) for lap in laps]
    speeds = np.concatenate([speed for _, speed in paths]) if paths else np.zeros(0)
    low, high = map(float, np.quantile(speeds, (0.01, 0.99))) if len(speeds) else (0.0, MAX_SPEED_MPS)
    colours, scale = bright("viridis"), Normalize(low, max(high, low + 0.1))
    for pieces, speed in paths:
        paint(axes, pieces, speed, scale, colours, width=1.8)
    for lap in laps:
        broken = lap[np.isin(lap["status"], BROKEN)]
        axes.plot(broken["x_m"], broken["y_m"], "x", color=_CROSS, markersize=9, markeredgewidth=2.5, zorder=6)
    bar = figure.colorbar(LineCollection([], cmap=colours, norm=scale), cax=scale_axes, orientation="horizontal")
    bar.set_label("speed (m/s)")
    _list_laps(legend_axes, laps)
    return png_of(figure)


def _draw_objects(axes: Axes, objects: TrackObjects) -> None:
    for x, y, heading, length, width in zip(
        objects.x_m[0], objects.y_m[0], objects.heading_rad[0], *(size[0] for size in outlines(objects)), strict=True
    ):
        corner = np.array([[length, width], [-length, width], [-length, -width], [length, -width]]) / 2
        turn = np.array([[np.cos(heading), np.sin(heading)], [-np.sin(heading), np.cos(heading)]])
        outline = corner @ turn + [x, y]
        axes.add_patch(Polygon(outline, facecolor="#b98a5a", edgecolor="black", linewidth=1.0, zorder=5))


def _lap_page(track: Track) -> tuple[Figure, Axes, Axes, Axes]:
    """A figure laid out in inches: the track at its own proportions, and axes for the lap list and the colour scale."""
    xmin, xmax, ymin, ymax = track_limits(track)
    width_m, height_m = xmax - xmin, ymax - ymin
    inches_per_m = min(8.2 / width_m, 9.0 / height_m)
    map_in = (width_m * inches_per_m, height_m * inches_per_m)
    page_in = (map_in[0] + 3.8, max(map_in[1] + 1.3, 4.6))
    figure = Figure(figsize=page_in, dpi=110, facecolor="white")

    def place(left: float, bottom: float, width: float, height: float) -> Axes:
        return figure.add_axes((left / page_in[0], bottom / page_in[1], width / page_in[0], height / page_in[1]))

    axes = place(0.8, page_in[1] - 0.65 - map_in[1], *map_in)
    axes.set(xlabel="x (m)", ylabel="y (m)")
    beside = map_in[0] + 1.05
    legend_axes = place(beside, 1.2, 2.5, page_in[1] - 1.85)
    legend_axes.axis("off")
    return figure, axes, legend_axes, place(beside, 0.65, 2.4, 0.18)


def _episodes(axes: Axes, iterations: Iterations, name: str, colour: str, label: str) -> None:
    """Episodes as dots, their mean as a line."""
    dots = [(i, getattr(row, name)) for i, rows in enumerate(iterations) for row in rows]
    means = [(i, np.mean([getattr(row, name) for row in rows])) for i, rows in enumerate(iterations) if rows]
    if dots:
        axes.plot(*zip(*dots, strict=True), "o", color=colour, markersize=3, alpha=0.25, markeredgewidth=0)
        axes.plot(*zip(*means, strict=True), color=colour, linewidth=2.2, label=f"{label}, mean")


def _steps_above(axes: Axes, steps: Sequence[int]) -> None:
    """A second x axis with round numbers of steps, placed between the iterations that they fall between."""
    if len(steps) < 2:
        return
    round_steps = np.asarray(MaxNLocator(6).tick_values(steps[0], steps[-1]))
    ticks = round_steps[(round_steps >= steps[0]) & (round_steps <= steps[-1])]
    above = axes.secondary_xaxis("top")
    above.set_xticks(np.interp(ticks, steps, np.arange(len(steps))), [f"{tick:,.0f}" for tick in ticks])
    above.tick_params(labelsize=8, colors="#666666")
    above.spines["top"].set_color("#bbbbbb")
    above.set_xlabel("training steps", fontsize=8, color="#666666")


def driven_path(lap: np.ndarray) -> tuple[FloatArray, FloatArray]:
    """Pieces (S, 2, 2) between a lap's steps and their speeds (S,), without the jumps of resets."""
    moves, speeds_mps = driven(lap)
    return pieces_of(np.column_stack([lap["x_m"], lap["y_m"]]))[moves], speeds_mps


def _list_laps(axes: Axes, laps: Sequence[np.ndarray]) -> None:
    lines = [f"lap {number:2d}   {_outcome(lap)}" for number, lap in enumerate(laps, start=1)]
    if len(lines) > _MAX_LISTED_LAPS:
        lines[_MAX_LISTED_LAPS:] = [f"and {len(lines) - _MAX_LISTED_LAPS} more"]
    times_s = [float(lap["time_s"][-1]) for lap in laps if lap["status"][-1] == EpisodeStatus.lap_complete]
    summary = f"{len(times_s)} of {len(laps)} laps complete"
    if times_s:
        summary += f"\nbest {min(times_s):.2f} s, mean {np.mean(times_s):.2f} s"
    legend = axes.legend(
        [Line2D([], [], linestyle="none")] * len(lines),
        lines,
        title=summary,
        loc="upper left",
        bbox_to_anchor=(0.0, 1.0),
        borderpad=0,
        borderaxespad=0,
        frameon=False,
        handlelength=0,
        handletextpad=0,
        prop={"family": "monospace", "size": 9},
        alignment="left",
    )
    legend.get_title().set_fontweight("bold")


def _outcome(lap: np.ndarray) -> str:
    status = EpisodeStatus(int(lap["status"][-1]))
    if status is EpisodeStatus.lap_complete:
        resets = int(np.isin(lap["status"], BROKEN).sum())
        return f"{lap['time_s'][-1]:6.2f} s" + (f"  {resets} resets" if resets else "")
    return f"{status.title.lower()} at {whole_pct(lap['progress_pct'][-1])} %"
