"""What a racer sees while training and after an evaluation."""

import signal
import threading
import time
from collections.abc import Sequence

import numpy as np
from rich.console import Console
from rich.status import Status
from rich.table import Table

from contract.config import TrainingConfig
from contract.metrics import whole_pct
from contract.protocols import Phase, RolloutOrder, RolloutSource
from contract.rollout import Rollout
from contract.state import EpisodeStatus
from trainer.learn import Iteration
from undercut.runs.live import LiveSession
from undercut.runs.statistics import LapStatistics
from undercut.terminal import say

HEADER = " iter   steps  steps/s   reward  progress  evaluation  laps  entropy     time  at most"


class TrainingView:
    """`trainer.learn.Session` on a terminal: one line an iteration, and a status line of what happens now."""

    def __init__(self, console: Console, config: TrainingConfig, live: LiveSession) -> None:
        self._console, self._config, self._live = console, config, live
        self._status: Status = console.status("starting")
        self._began_s = self._iteration_began_s = time.monotonic()
        self._steps = 0
        self._interrupted = False

    def __enter__(self) -> "TrainingView":
        self._earlier_handler = signal.signal(signal.SIGINT, self._on_ctrl_c)
        self._status.start()
        self._console.print(HEADER, style="bold", soft_wrap=True)
        return self

    def __exit__(self, *_: object) -> None:
        signal.signal(signal.SIGINT, self._earlier_handler)
        self._status.stop()

    def _on_ctrl_c(self, *_: object) -> None:
        if self._interrupted:
            raise KeyboardInterrupt
        self._interrupted = True
        # by a thread: this may interrupt the console in the middle of a line, which would then be shown twice
        text = "finishing and saving this iteration; Ctrl-C again stops at once and drops it"
        threading.Thread(target=self._console.print, args=(text,)).start()

    def interrupted(self) -> bool:
        return self._interrupted

    def elapsed_s(self) -> float:
        return time.monotonic() - self._began_s

    def doing(self, what: str) -> None:
        self._status.update(what)
        self._live.doing(what)

    def iteration(self, done: Iteration) -> None:
        """Print the line of a finished iteration."""
        now = time.monotonic()
        steps = done.after.steps - done.before.steps
        self._steps += steps
        rate = steps / max(now - self._iteration_began_s, 1e-9)
        self._iteration_began_s = now
        complete = sum(lap.status == EpisodeStatus.lap_complete for lap in done.evaluation)
        say(
            self._console,
            f"{done.before.iteration:5d} {done.after.steps:7d} {rate:8.0f} {mean_reward(done.training):8.1f} "
            f"{mean_progress(done.training):8.1f}% {mean_progress(done.evaluation):10.1f}%  "
            f"{complete:2d}/{len(done.evaluation):<2d} {done.update.entropy:8.3f} "
            f"{clock(self.elapsed_s()):>8s} {clock(self._time_left_s(done)):>8s}",
        )

    def _time_left_s(self, done: Iteration) -> float:
        """Until the steps or iterations are used up at the pace of this session; clean laps end it sooner."""
        per_step = self.elapsed_s() / max(self._steps, 1)
        left = max(self._config.max_steps - done.after.steps, 0) * per_step
        iterations = self._config.max_iterations - done.after.iteration
        return min(left, iterations * (done.after.steps / done.after.iteration) * per_step)


class NarratedRollouts:
    """A RolloutSource that tells the view what is going on, and shows the rollouts to `undercut view`."""

    def __init__(self, source: RolloutSource, view: TrainingView, live: LiveSession) -> None:
        self._source, self._view, self._live = source, view, live

    def announce(self, policy: bytes, *orders: RolloutOrder) -> None:
        self._source.announce(policy, *orders)

    def collect(self, policy: bytes, order: RolloutOrder) -> list[Rollout]:
        self._view.doing(f"iteration {order.iteration}: driving {order.count} {order.phase.value} episodes")
        rollouts = self._source.collect(policy, order)
        self._live.show(order, rollouts)
        if order.phase == Phase.training:
            self._view.doing(f"iteration {order.iteration}: learning from {sum(map(len, rollouts))} steps")
        return rollouts


def lap_table(laps: Sequence[Rollout], title: str) -> Table:
    """Time, completion and what went wrong, lap by lap."""
    table = Table(title=title)
    for column in ("lap", "time", "completion", "off track", "crashed", "ended as"):
        table.add_column(column, justify="right" if column != "ended as" else "left")
    for number, lap in enumerate(laps, 1):
        counts = [int((lap.steps["status"] == it).sum()) for it in (EpisodeStatus.off_track, EpisodeStatus.crashed)]
        row = (f"{lap.time_s:.3f} s", f"{whole_pct(lap.progress_pct)} %", *map(str, counts), lap.status.title)
        table.add_row(str(number), *row)
    return table


def statistics_line(laps: LapStatistics) -> str:
    """Lap time and completion with their 95 % intervals, in one or two lines."""
    low, high = laps.completion_interval
    line = (
        f"{laps.complete} of {laps.laps} laps complete (95 % interval {100 * low:.0f} to {100 * high:.0f} %), "
        f"{laps.resets_a_lap:.2f} resets a lap"
    )
    if laps.lap_time_interval_s is None or laps.deviation_s is None:
        return line
    low, high = laps.lap_time_interval_s
    return (
        f"{line}\nlap time {laps.mean_lap_time_s:.3f} s (95 % interval {low:.3f} to {high:.3f} s), "
        f"deviation {laps.deviation_s:.3f} s, best {laps.best_lap_time_s:.3f} s"
    )


def mean_reward(rollouts: Sequence[Rollout]) -> float:
    """Mean of the episodes' reward sums."""
    return float(np.mean([rollout.rewards.sum() for rollout in rollouts]))


def mean_progress(rollouts: Sequence[Rollout]) -> float:
    """Mean of the episodes' progress in percent."""
    return float(np.mean([rollout.progress_pct for rollout in rollouts]))


def clock(seconds: float) -> str:
    """m:ss or h:mm:ss."""
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02d}:{rest:02d}" if hours else f"{minutes}:{rest:02d}"
