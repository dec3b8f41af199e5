"""A rollout: one finished episode, as it goes from a simulator to the trainer."""

import functools
import operator
from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np

from contract.state import EpisodeStatus, FloatArray, IntArray, Observations, TrackObjects


@dataclass(slots=True)
class Rollout:
    """One episode of T steps.

    observations   sensor name -> (T, ...), what the policy saw before each action (see state.Observations);
                   empty for evaluations, unless they were to be inspected
    final          sensor name -> (...), what it would see next: the bootstrap state of a truncated episode
    actions        (T,) int64 of action indices, or (T, 2) float64 in [-1, 1] as [steering, speed], before clipping
    steps          (T,) of contract.state.STEP_DTYPE
    truncated      ended by a step limit, not by the race rules: its value is bootstrapped, never zero
    objects         (T, M), what stood and drove on the road after each step, other racers aside; of evaluations, for
                   videos. None: nothing, or not known
    ticks          (T,) int64, steps of the race's common clock when each step was driven; None for a car on its own
    """

    episode: int
    iteration: int
    observations: Observations
    final: Observations
    actions: IntArray | FloatArray
    steps: np.ndarray
    truncated: bool
    objects: TrackObjects | None = None
    ticks: IntArray | None = None

    @property
    def rewards(self) -> FloatArray:
        return np.asarray(self.steps["reward"], dtype=np.float64)

    @property
    def status(self) -> EpisodeStatus:
        return EpisodeStatus(int(self.steps["status"][-1]))

    @property
    def progress_pct(self) -> float:
        return float(self.steps["progress_pct"][-1])

    @property
    def time_s(self) -> float:
        return float(self.steps["time_s"][-1])

    def __len__(self) -> int:
        return len(self.steps)


def added(values: Iterable[float]) -> float:
    """The sum of floats one after the other, as DeepRacer adds up rewards. Python's own sum rounds otherwise since
    3.12: the same run would leave other numbers."""
    return functools.reduce(operator.add, values, 0.0)
