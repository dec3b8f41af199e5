"""What a league knows of its submissions, and how they rank. Everything here is a function of the files: same files,
same ranking, to the bit."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, Self

import numpy as np
from pydantic import Field, ValidationError

from contract.fields import Strict
from contract.metrics import EvaluationRow
from contract.rollout import Rollout
from contract.state import EpisodeStatus
from undercut.league.rules import LeagueFile, RankBy

State = Literal["driven", "refused", "failed"]
"""failed: by its process, its memory or its time; on another machine it may drive."""


class LeagueLap(Strict):
    """One lap. Times are simulated seconds, penalties included; `number` counts from 1 over all seeds."""

    number: int
    seed: int
    status: str
    complete: bool
    time_s: float
    progress_pct: float
    resets: int
    crashes: int

    @classmethod
    def of(cls, number: int, seed: int, lap: Rollout, row: EvaluationRow) -> Self:
        """`row` is the lap's in evaluation metrics."""
        return cls(
            number=number,
            seed=seed,
            status=lap.status.title,
            complete=lap.status == EpisodeStatus.lap_complete,
            time_s=lap.time_s,
            progress_pct=lap.progress_pct,
            resets=row.reset_count,
            crashes=row.crash_count,
        )


class SubmissionResult(Strict):
    """What came of one submission. `fingerprint` is of its file and of the rules: with another it counts no more."""

    name: str
    fingerprint: str
    state: State
    reason: str = ""
    model: dict[str, str | int] = Field(default={})
    version: int = 5
    laps: tuple[LeagueLap, ...] = ()

    @classmethod
    def parse(cls, content: bytes) -> Self | None:
        """None for what is none, such as an older version's: it is driven again."""
        try:
            return cls.model_validate_json(content)
        except ValidationError:
            return None

    def to_bytes(self) -> bytes:
        return (self.model_dump_json(indent=2) + "\n").encode()

    @property
    def times_s(self) -> list[float]:
        """Of complete laps."""
        return [lap.time_s for lap in self.laps if lap.complete]

    @property
    def best(self) -> LeagueLap:
        """The fastest complete lap, else the one that came furthest."""
        return min(self.laps, key=lambda lap: (not lap.complete, lap.time_s if lap.complete else -lap.progress_pct))

    @property
    def best_s(self) -> float | None:
        return min(self.times_s, default=None)

    @property
    def mean_s(self) -> float | None:
        return float(np.mean(self.times_s)) if self.times_s else None


@dataclass(frozen=True, slots=True)
class Place:
    """A line of the ranking. Gaps are seconds of what is ranked by (to the leader), and of the best lap (to the limit);
    None where there is no complete lap, or no limit. Equals share a place."""

    place: int
    result: SubmissionResult
    to_leader_s: float | None
    limit_s: float | None

    @property
    def to_limit_s(self) -> float | None:
        best_s = self.result.best_s
        return None if best_s is None or self.limit_s is None else best_s - self.limit_s

    @property
    def of_limit(self) -> float | None:
        """The best lap in limits."""
        best_s = self.result.best_s
        return None if best_s is None or self.limit_s is None else best_s / self.limit_s


@dataclass(frozen=True, slots=True)
class Standings:
    """A league's ranking, and who is not in it with the reason; how many were not driven by these rules yet."""

    rules: LeagueFile
    ranking: tuple[Place, ...]
    others: tuple[SubmissionResult, ...]
    waiting: int = 0

    @classmethod
    def of(
        cls,
        rules: LeagueFile,
        results: Sequence[SubmissionResult],
        limits_s: Mapping[int, float | None],
        waiting: int = 0,
    ) -> Self:
        """`limits_s` is the limit of the car that each version drives."""
        driven = sorted(
            (it for it in results if it.state == "driven"), key=lambda it: (*_rank(it, rules.rank_by), it.name)
        )
        ranking: list[Place] = []
        for number, result in enumerate(driven, 1):
            equal = ranking and _rank(ranking[-1].result, rules.rank_by) == _rank(result, rules.rank_by)
            place = ranking[-1].place if equal else number
            own, first = (_ranked_s(it, rules.rank_by) for it in (result, driven[0]))
            to_leader_s = None if own is None or first is None else own - first
            ranking.append(Place(place, result, to_leader_s, limits_s.get(result.version)))
        others = sorted((it for it in results if it.state != "driven"), key=lambda it: it.name)
        return cls(rules, tuple(ranking), tuple(others), waiting)

    def as_json(self) -> dict[str, Any]:
        """For `--json` and standings.json."""
        rules = self.rules
        return {
            "league": rules.title,
            "track": rules.track,
            "rank_by": rules.rank_by,
            "laps": rules.laps,
            "seeds": list(rules.seeds),
            "ranking": [_row(it) for it in self.ranking],
            "waiting": self.waiting,
            "not_ranked": [{"name": it.name, "state": it.state, "reason": it.reason} for it in self.others],
        }


def _ranked_s(result: SubmissionResult, rank_by: RankBy) -> float | None:
    return result.best_s if rank_by == "best_lap" else result.mean_s


def _rank(result: SubmissionResult, rank_by: RankBy) -> tuple[float, ...]:
    """Ascending. By the mean, who has completed more laps is ahead: leaving a lap out is no short cut."""
    best_s, mean_s = (math.inf if it is None else it for it in (result.best_s, result.mean_s))
    complete, progress = len(result.times_s), sum(lap.progress_pct for lap in result.laps)
    if rank_by == "best_lap":
        return best_s, mean_s, -complete, -progress
    return -complete, mean_s, best_s, -progress


def _row(place: Place) -> dict[str, Any]:
    result = place.result
    return {
        "place": place.place,
        "name": result.name,
        "best_lap_s": result.best_s,
        "mean_lap_s": result.mean_s,
        "laps": len(result.laps),
        "complete": len(result.times_s),
        "resets": sum(lap.resets for lap in result.laps),
        "crashes": sum(lap.crashes for lap in result.laps),
        "to_leader_s": place.to_leader_s,
        "limit_s": place.limit_s,
        "to_limit_s": place.to_limit_s,
        "model": result.model,
    }
