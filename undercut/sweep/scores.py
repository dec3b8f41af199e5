"""What a trial is judged by, from its run's own files of metrics."""

import itertools
from collections.abc import Sequence
from dataclasses import dataclass

from contract import artifacts
from contract.metrics import EvaluationRow, TrainingRow, parse_evaluation_metrics, parse_training_metrics
from contract.protocols import ObjectStore, Phase
from contract.state import EpisodeStatus
from undercut.sweep.spec import Objective
from undercut.sweep.storage import Direction

DIRECTIONS: dict[Objective, Direction] = {"lap_time": "minimize", "completion": "maximize", "reward": "maximize"}
UNITS: dict[Objective, str] = {"lap_time": "s", "completion": "%", "reward": ""}
_COMPLETE = EpisodeStatus.lap_complete.title


@dataclass(frozen=True, slots=True)
class Score:
    """How laps are judged. `longest_s` is the longest that a lap may take."""

    objective: Objective
    longest_s: float

    def of_laps(self, laps: Sequence[tuple[float, float, bool]]) -> float:
        """Of (seconds, per cent, whether complete) of each lap: the mean lap time, or the mean completion.

        A lap that is not complete counts as the longest that is allowed, and the share of it once more that is missing:
        so it is worse than any complete one, and the further the better.
        """
        if self.objective == "completion":
            return sum(pct for _, pct, _ in laps) / len(laps)
        times = [s if whole else self.longest_s * (2.0 - pct / 100.0) for s, pct, whole in laps]
        return sum(times) / len(times)

    def of_iterations(self, store: ObjectStore) -> list[float]:
        """Of the evaluation after each iteration so far."""
        if not store.exists(artifacts.TRAINING_METRICS):
            return []
        text = store.get(artifacts.TRAINING_METRICS).decode()
        rows = parse_training_metrics(text, artifacts.TRAINING_METRICS)
        return [self._of_rows(laps) for laps in evaluations(rows)]

    def _of_rows(self, rows: Sequence[TrainingRow]) -> float:
        if self.objective == "reward":
            return sum(row.reward_score for row in rows) / len(rows)
        return self.of_laps([_lap(row) for row in rows])

    def of_run(self, store: ObjectStore) -> float | None:
        """Of the evaluation at the end; None before it. AWS's metrics of it have no reward: that is the best of the
        evaluations between iterations."""
        if not store.exists(artifacts.EVALUATION_METRICS):
            return None
        if self.objective == "reward":
            return max(self.of_iterations(store), default=None)
        text = store.get(artifacts.EVALUATION_METRICS).decode()
        rows = parse_evaluation_metrics(text, artifacts.EVALUATION_METRICS)
        laps = [
            (row.elapsed_time_in_milliseconds / 1000, row.completion_percentage, row.episode_status) for row in rows
        ]
        return self.of_laps([(s, pct, status == _COMPLETE) for s, pct, status in laps])


def evaluations(rows: Sequence[TrainingRow]) -> list[list[TrainingRow]]:
    """The evaluation episodes of each iteration, which stand together behind its training episodes."""
    groups = itertools.groupby(rows, key=lambda row: row.phase)
    return [list(group) for phase, group in groups if phase == Phase.evaluation]


def _lap(row: TrainingRow | EvaluationRow) -> tuple[float, float, bool]:
    return row.elapsed_time_in_milliseconds / 1000, row.completion_percentage, row.episode_status == _COMPLETE
