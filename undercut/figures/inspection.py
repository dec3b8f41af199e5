"""Pictures of what a policy does on a lap and what it looks at."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from matplotlib import colormaps
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from numpy.typing import NDArray

from contract.metadata import ContinuousActions, DiscreteActions
from contract.state import CAMERA_HEIGHT, CAMERA_WIDTH, FloatArray, UInt8Array
from simapp.tracks import Track
from undercut.analysis.places import SECTORS, binned, command_label, shares_by_sector
from undercut.figures.png import new_figure, png_of, tidy
from undercut.figures.road import draw_road, draw_sectors

CHOSEN, OTHER, STEERING, SPEED = "#d9772b", "#3b6fb6", "#3b6fb6", "#4d8f55"
_FAINT = "#eeeeee"
_DPI = 110
_SHEET_COLUMNS, _SHEET_ROWS = 4, 3
_CELL_IN, _GAP_IN, _ROW_IN, _BARS_IN = 3.1, 0.25, 3.85, 0.75
_LEFT_IN, _TITLE_IN = 0.3, 0.85
_NAMED_BARS = 7
"""With more actions than this, bars are numbered."""


@dataclass(frozen=True, slots=True)
class InspectedLap:
    """A lap of T steps and what the policy said at each.

    steps      (T,) of contract.state.STEP_DTYPE, each as it was after the decision
    frames     (T, 120, 160) what it saw before; the left one of stereo cameras
    maps       (T, 120, 160) float32, 0 to 1: how much the decision hung on each place of the frame
    outputs    (T, A) probabilities, or (T, 2) of continuous [steering, speed] in -1 to 1
    chosen     (T,) the action taken; 0 for continuous ones
    """

    track: Track
    actions: DiscreteActions | ContinuousActions
    steps: np.ndarray
    frames: UInt8Array
    maps: NDArray[np.float32]
    outputs: FloatArray
    chosen: NDArray[np.int64]

    @property
    def before(self) -> np.ndarray:
        """(T,) the steps' rows as they were when each decision was taken; the first one is its own."""
        return self.steps[np.r_[0, : len(self.steps) - 1]]

    @property
    def distance_m(self) -> FloatArray:
        """(T,) where on the lap each decision was taken, from its start on."""
        progress = np.r_[0.0, self.steps["progress_pct"][:-1]]
        return np.asarray(progress / 100.0 * self.track.length_m)

    @property
    def labels(self) -> list[str]:
        return action_labels(self.actions)

    def command(self, step: int) -> str:
        """Steering and speed that were commanded, to read."""
        row = self.steps[step]
        return command_label(float(np.degrees(row["steering_rad"])), float(row["speed_mps"]))


def action_labels(actions: DiscreteActions | ContinuousActions) -> list[str]:
    """One a policy's output."""
    if isinstance(actions, ContinuousActions):
        return ["steering", "speed"]
    pairs = zip(actions.steering_deg.tolist(), actions.speed_mps.tolist(), strict=True)
    return [command_label(steering, speed) for steering, speed in pairs]


def heat_over(frame: UInt8Array, heat: NDArray[np.float32]) -> UInt8Array:
    """(H, W) grey with a heat map (H, W) of 0 to 1 on it, (H, W, 3): hotter is redder and hides more."""
    grey = np.repeat(frame[..., None].astype(np.float64) / 255.0, 3, axis=-1)
    colour = colormaps["turbo"](0.45 + 0.5 * heat)[..., :3]
    weight = (0.75 * np.clip(heat, 0.0, 1.0) ** 0.8)[..., None]
    return np.asarray(np.round(255.0 * (grey * (1.0 - weight) + colour * weight)), dtype=np.uint8)


def saliency_sheet(lap: InspectedLap, title: str) -> bytes:
    """PNG: frames evenly spread over the lap with their heat maps and what the policy said, and where they are."""
    shown = _spread_over(lap.distance_m, _SHEET_COLUMNS * _SHEET_ROWS)
    right_in = _LEFT_IN + _SHEET_COLUMNS * (_CELL_IN + _GAP_IN)
    page_in = (right_in + 5.3, _TITLE_IN + _SHEET_ROWS * _ROW_IN)
    figure = Figure(figsize=page_in, dpi=_DPI, facecolor="white")
    figure.suptitle(title, fontsize=16, fontweight="bold", x=_LEFT_IN / page_in[0], y=0.985, ha="left", va="top")

    def place(left: float, top: float, width: float, height: float) -> Axes:
        """Axes by inches from the page's top left."""
        box = (left / page_in[0], 1.0 - (top + height) / page_in[1], width / page_in[0], height / page_in[1])
        return figure.add_axes(box)

    frame_in = _CELL_IN * CAMERA_HEIGHT / CAMERA_WIDTH
    for number, step in enumerate(shown, start=1):
        row, column = divmod(number - 1, _SHEET_COLUMNS)
        left, top = _LEFT_IN + column * (_CELL_IN + _GAP_IN), _TITLE_IN + row * _ROW_IN
        axes = place(left, top, _CELL_IN, frame_in)
        axes.imshow(heat_over(lap.frames[step], lap.maps[step]), interpolation="bilinear", aspect="equal")
        where = f"{number}   {lap.distance_m[step]:.1f} m   {lap.command(step)}"
        axes.set_title(where, fontsize=11, loc="left", pad=3)
        axes.axis("off")
        _bars(place(left, top + frame_in + 0.06, _CELL_IN, _BARS_IN), lap, step)
    plan = place(right_in, _TITLE_IN, 5.0, 4.6)
    draw_road(plan, lap.track)
    plan.axis("off")
    at = lap.before[shown]
    plan.plot(lap.steps["x_m"], lap.steps["y_m"], color="#ffffff", linewidth=1.0, alpha=0.8)
    plan.scatter(at["x_m"], at["y_m"], s=150, color=CHOSEN, zorder=5, edgecolors="white")
    for number, row in enumerate(at, start=1):
        middle: dict[str, Any] = {"ha": "center", "va": "center", "color": "white", "fontsize": 8, "zorder": 6}
        plan.annotate(str(number), (row["x_m"], row["y_m"]), **middle)
    scale = place(right_in + 0.1, _TITLE_IN + 5.5, 3.6, 0.2)
    ramp = np.linspace(0.0, 1.0, 160, dtype=np.float32)[None]
    scale.imshow(heat_over(np.full(ramp.shape, 110, np.uint8), ramp), aspect="auto", extent=(0.0, 1.0, 0.0, 1.0))
    scale.set_yticks([])
    scale.set_xticks([0.0, 1.0], ["nothing", "most"], fontsize=9)
    scale.set_title("How much the decision hangs on a place,\neach frame on its own scale", fontsize=11, loc="left")
    key = place(right_in + 0.1, _TITLE_IN + 6.2, 4.9, 4.4)
    key.axis("off")
    key.text(0.0, 1.0, _key(lap), fontsize=11 if lap.actions.size <= 12 else 8, va="top", linespacing=1.4)
    return png_of(figure)


def _key(lap: InspectedLap) -> str:
    """What the bars are."""
    if isinstance(lap.actions, ContinuousActions):
        return "Bars: steering (left is left) and speed,\nfrom one end of their ranges to the other"
    lines = ["Bars: probability of each action, the one taken in orange"]
    if lap.actions.size > _NAMED_BARS:
        lines += [f"{index}   {label}" for index, label in enumerate(lap.labels)]
    return "\n".join(lines)


def actions_plot(lap: InspectedLap, title: str) -> bytes:
    """PNG: what the policy said and what it commanded, over the lap."""
    figure = new_figure(14.0, 8.0, title)
    outputs, steering, speed = figure.subplots(3, 1, sharex=True, height_ratios=[2.2, 1.0, 1.0])
    distance_m = lap.distance_m
    if isinstance(lap.actions, DiscreteActions):
        count = lap.actions.size
        edges = np.r_[distance_m, distance_m[-1] + 0.05]
        outputs.pcolormesh(
            np.maximum.accumulate(edges), np.arange(count + 1) - 0.5, lap.outputs.T, cmap="Blues", vmin=0.0, vmax=1.0
        )
        outputs.plot(distance_m, lap.chosen, ".", color=CHOSEN, markersize=4, label="taken")
        outputs.set_yticks(range(count), lap.labels, fontsize=9 if count <= 12 else 6)
        outputs.set_title("Probability of each action (darker: likelier)", loc="left", fontsize=11)
    else:
        for values, colour, name in zip(lap.outputs.T, (STEERING, SPEED), lap.labels, strict=True):
            outputs.plot(distance_m, values, color=colour, linewidth=1.4, label=name)
        outputs.axhspan(-1.0, 1.0, color="#eeeeee", zorder=0)
        outputs.set_title("What the policy says; the grey band is the action space, beyond is clipped", loc="left")
    outputs.legend(loc="upper right", fontsize=9, framealpha=0.9)
    steering.plot(distance_m, np.degrees(lap.steps["steering_rad"]), color=STEERING, linewidth=1.2, drawstyle="steps")
    steering.set_ylabel("steering (°)\nleft is up", fontsize=10)
    speed.plot(distance_m, lap.steps["speed_mps"], color=SPEED, linewidth=1.2, drawstyle="steps")
    speed.set(
        ylabel="speed (m/s)",
        xlabel="distance along the lap (m)",
        ylim=(0.0, 1.15 * float(lap.steps["speed_mps"].max())),
    )
    tidy(steering, speed)
    outputs.spines[["top", "right"]].set_visible(False)
    outputs.set_xlim(0.0, lap.track.length_m)
    return png_of(figure)


def _bars(axes: Axes, lap: InspectedLap, step: int) -> None:
    draw_bars(axes, lap.actions, lap.outputs[step], int(lap.chosen[step]))


def draw_bars(
    axes: Axes, actions: DiscreteActions | ContinuousActions, outputs: FloatArray, chosen: int, faint: str = _FAINT
) -> None:
    """A policy's outputs (A,): of discrete actions upright, each against its whole range, the chosen one in its own
    colour; of continuous ones lying, so that left is left. The whole ranges are drawn in `faint`."""
    axes.tick_params(length=0, pad=1)
    axes.spines[:].set_visible(False)
    labels = action_labels(actions)
    if isinstance(actions, ContinuousActions):
        steering, speed = np.clip(outputs, -1.0, 1.0)
        axes.barh([1, 0], [2.0, 2.0], left=-1.0, color=faint, height=0.7)
        axes.barh([1, 0], [-steering, speed], color=[STEERING, SPEED], height=0.7)
        axes.axvline(0.0, color="#999999", linewidth=0.6)
        axes.set(xlim=(-1.5, 1.0), xticks=[], yticks=[])
        for y, label in zip((1, 0), labels, strict=True):
            axes.text(-1.04, y, label, ha="right", va="center", fontsize=8)
        return
    colours = [OTHER] * len(outputs)
    colours[chosen] = CHOSEN
    axes.set(ylim=(0.0, 1.0), yticks=[])
    axes.bar(range(len(outputs)), np.ones(len(outputs)), color=faint, width=0.8)
    axes.bar(range(len(outputs)), outputs, color=colours, width=0.8)
    if len(outputs) <= _NAMED_BARS:
        labels = [label.replace(" m/s", "").replace(" ", "\n") for label in labels]
    else:
        labels = [str(i) for i in range(len(outputs))]
    axes.set_xticks(range(len(outputs)), labels, fontsize=8 if len(outputs) <= 14 else 5.5)


def _spread_over(distance_m: FloatArray, count: int) -> list[int]:
    """Steps nearest to `count` places evenly spread from the lap's start to its end."""
    wanted = np.linspace(0.0, float(distance_m.max()), count, endpoint=False)
    return [int(np.abs(distance_m - place).argmin()) for place in wanted]


def action_use(laps: Sequence[InspectedLap]) -> tuple[FloatArray, list[str]]:
    """Share of the steps in each sector that took each action, (SECTORS, A), rows that were driven adding up to 1; and
    the actions' labels. Of continuous actions it is the commanded steering, in bins."""
    first = laps[0]
    if isinstance(first.actions, DiscreteActions):
        labels = first.labels
        taken = np.concatenate([lap.chosen for lap in laps])
    else:
        steering_deg = np.degrees(np.concatenate([lap.steps["steering_rad"] for lap in laps]))
        taken, labels = binned(steering_deg, *first.actions.steering_deg)
    place = np.concatenate([lap.distance_m for lap in laps]) / first.track.length_m
    sector = np.clip((place * SECTORS).astype(np.int64), 0, SECTORS - 1)
    return shares_by_sector(sector, taken, SECTORS, len(labels)), labels


def draw_shares(axes: Axes, shares: FloatArray, labels: Sequence[str], most: float = 1.0) -> None:
    """Shares (SECTORS, A) as a table of blues, the darkest at `most`, with their per cent."""
    edges = np.arange(SECTORS + 1), np.arange(len(labels) + 1) - 0.5
    axes.pcolormesh(*edges, shares.T, cmap="Blues", vmin=0.0, vmax=most, rasterized=True)
    for (sector, action), share in np.ndenumerate(shares):
        if share >= 0.005:
            look: dict[str, Any] = {"ha": "center", "va": "center", "fontsize": 9}
            colour = "#ffffff" if share > 0.55 * most else "#222222"
            axes.text(sector + 0.5, action, f"{100 * share:.0f}", color=colour, **look)
    axes.set_yticks(range(len(labels)), labels, fontsize=9)
    axes.set_xticks(np.arange(SECTORS) + 0.5, [str(sector + 1) for sector in range(SECTORS)])
    axes.tick_params(length=0)
    axes.spines[:].set_visible(False)


def action_use_plot(laps: Sequence[InspectedLap], title: str) -> bytes:
    """PNG: a histogram of the actions for each tenth of the lap, beside the track with these sectors."""
    shares, labels = action_use(laps)
    first = laps[0]
    track = first.track
    figure = new_figure(14.0, 0.34 * len(labels) + 4.6, title)
    table, plan = figure.subplots(1, 2, width_ratios=[1.6, 1.0])
    draw_shares(table, shares, labels)
    steps = sum(len(lap.steps) for lap in laps)
    laps_driven = "one lap" if len(laps) == 1 else f"{len(laps)} laps"
    table.set_title(f"% of the steps in each sector ({laps_driven}, {steps} steps)", loc="left", fontsize=11)
    table.set_xlabel("sector of the lap")
    draw_road(plan, track)
    plan.axis("off")
    row = first.steps[0]
    start_m = track.project([row["x_m"]], [row["y_m"]]).distance_m[0] - row["progress_pct"] / 100.0 * track.length_m
    draw_sectors(plan, track, SECTORS, float(start_m))
    return png_of(figure)
