"""What is known of a run from the files it left: its episodes, its updates, its track, and what is missing."""

from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass, field
from enum import StrEnum

import numpy as np

from contract.car import Car
from contract.config import RaceConfig
from contract.metadata import ContinuousActions, DiscreteActions
from contract.state import BROKEN, STEP_DTYPE, EpisodeStatus, FloatArray, IntArray
from simapp.tracks import Track
from undercut.analysis.limit import Limit


class Kind(StrEnum):
    """What an episode was driven for; `artifacts.parse_any_simtrace` uses the same words."""

    training = "training"
    check = "training_evaluation"
    evaluation = "evaluation"

    @property
    def words(self) -> str:
        return "evaluation in training" if self is Kind.check else self.value


EVALUATIONS = (Kind.evaluation, Kind.check)


@dataclass(frozen=True, slots=True)
class Episode:
    """One episode, known from its metrics, its simtrace, or both.

    number          within its kind, from 0; metrics files count training episodes from 1
    iteration       that it was driven in; of an evaluation apart, that of its file
    reward          sum over its steps; a whole number where only the metrics know it
    completion_pct  of the lap; whole per cent where only the metrics know it
    time_s          simulated, penalties included
    steps           (T,) of contract.state.STEP_DTYPE; none where there is no simtrace
    numbers         (T,) of the steps, from 1; a gap is a row that the file lacks
    actions         (T,) int64 of action indices, or (T, 2) float64
    track_length_m  as the simtrace says, 0 without one
    worker          that drove it, where there are several
    own_number      that its worker gave it, from 0
    """

    kind: Kind
    number: int
    iteration: int
    reward: float
    completion_pct: float
    time_s: float
    outcome: EpisodeStatus
    steps: np.ndarray = field(default_factory=lambda: np.zeros(0, STEP_DTYPE))
    numbers: IntArray = field(default_factory=lambda: np.zeros(0, np.int64))
    actions: IntArray | FloatArray = field(default_factory=lambda: np.zeros(0, np.int64))
    track_length_m: float = 0.0
    worker: int | None = None
    own_number: int = 0

    @property
    def complete(self) -> bool:
        """Whether the lap was completed. AWS's evaluation metrics say "In progress" of complete laps."""
        return self.outcome == EpisodeStatus.lap_complete or self.completion_pct >= 100.0

    @property
    def resets(self) -> int:
        """How often the car was put back on the road."""
        return int(np.isin(self.steps["status"][:-1], BROKEN).sum())

    @property
    def title(self) -> str:
        """For example "training 134" or "evaluation 3 of iteration 12", numbered from 1; of several workers also how
        the worker's own files number it."""
        if self.kind is Kind.check:
            return f"evaluation {self.number + 1} of iteration {self.iteration}"
        of = "" if self.worker is None else f" (worker {self.worker}: {self.own_number + 1})"
        return f"{self.kind} {self.number + 1}{of}"


@dataclass(frozen=True, slots=True)
class RunLog:
    """Everything of one run that could be read.

    updates   columns by name, (I,) each, among them "iteration"; NaN where a number is missing
    car       that was driven, None where no file says it
    limit     the fastest lap that it can drive on the track, None where nobody has asked for it
    track     None where it is not known or not here; `track_name` is its name as the run has it
    problems  in words: what is missing or damaged, and what that prevents
    """

    name: str
    source: str
    episodes: tuple[Episode, ...]
    updates: dict[str, FloatArray]
    track: Track | None = None
    track_name: str = ""
    is_reversed: bool | None = None
    actions: DiscreteActions | ContinuousActions | None = None
    race: RaceConfig | None = None
    car: Car | None = None
    limit: Limit | None = None
    facts: tuple[tuple[str, str], ...] = ()
    problems: tuple[str, ...] = ()

    def of(self, *kinds: Kind) -> list[Episode]:
        """Episodes of these kinds, in their order."""
        return [episode for episode in self.episodes if episode.kind in kinds]

    def traced(self, *kinds: Kind) -> list[Episode]:
        """Episodes of these kinds that have steps on the log's track, or on any where the track is not known."""
        return [episode for episode in self.of(*kinds) if len(episode.steps) and self._fits(episode)]

    def _fits(self, episode: Episode) -> bool:
        return self.track is None or same_length(episode.track_length_m, self.track.length_m)

    @property
    def iterations(self) -> list[int]:
        """Iterations that anything is known of, ascending."""
        updated = [int(number) for number in self.updates.get("iteration", ())]
        return sorted({episode.iteration for episode in self.of(Kind.training, Kind.check)} | set(updated))

    def laps(self) -> list[Episode]:
        """The episodes that say how well it drives in the end: the evaluation's, else those of the last evaluation in
        training, else of the last iteration of training; those with steps where there are some."""
        for kind in (Kind.evaluation, Kind.check, Kind.training):
            found = self.traced(kind) or self.of(kind)
            if found and kind is not Kind.evaluation:
                last = max(episode.iteration for episode in found)
                found = [episode for episode in found if episode.iteration == last]
            if found:
                return found
        return []

    def update(self, name: str, iteration: int) -> float | None:
        """One number of an iteration's update."""
        if name not in self.updates:
            return None
        at = np.flatnonzero(self.updates["iteration"] == iteration)
        value = float(self.updates[name][at[-1]]) if len(at) else np.nan
        return value if np.isfinite(value) else None


def same_length(a_m: float, b_m: float) -> bool:
    """Whether two lap lengths are of one track: within 1 %."""
    return abs(a_m - b_m) <= 0.01 * max(a_m, b_m)


def fastest(episodes: Iterable[Episode], count: int) -> list[Episode]:
    """The best of them: complete laps by their time, then the others by how far they came."""
    ranked = sorted(episodes, key=lambda lap: (not lap.complete, lap.time_s if lap.complete else -lap.completion_pct))
    return ranked[:count]


def rows_of(episodes: Sequence[Episode]) -> np.ndarray:
    """All their steps in one array of STEP_DTYPE."""
    return np.concatenate([episode.steps for episode in episodes]) if episodes else np.zeros(0, STEP_DTYPE)


def actions_of(episodes: Collection[Episode]) -> IntArray | FloatArray:
    """All their actions in one array, those of the first episode's sort."""
    if not episodes:
        return np.zeros(0, np.int64)
    dimensions = next(iter(episodes)).actions.ndim
    return np.concatenate([episode.actions for episode in episodes if episode.actions.ndim == dimensions])
