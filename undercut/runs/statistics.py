"""What many laps say about a model: lap times and completion with their 95 % confidence intervals."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy import stats

from contract.rollout import Rollout
from contract.state import EpisodeStatus

CONFIDENCE = 0.95


@dataclass(frozen=True, slots=True)
class LapStatistics:
    """Of N laps. Times are of complete laps, penalties included; None where too few laps were complete.

    lap_time_interval_s   of the mean: Student's t
    completion_interval   of the share of complete laps: Wilson's score interval
    """

    laps: int
    complete: int
    mean_lap_time_s: float | None
    deviation_s: float | None
    lap_time_interval_s: tuple[float, float] | None
    best_lap_time_s: float | None
    completion_interval: tuple[float, float]
    mean_progress_pct: float
    resets_a_lap: float


def lap_statistics(laps: Sequence[Rollout]) -> LapStatistics:
    """Statistics of at least one lap."""
    times = np.array([lap.time_s for lap in laps if lap.status == EpisodeStatus.lap_complete])
    mean = float(times.mean()) if times.size else None
    deviation = float(times.std(ddof=1)) if times.size > 1 else None
    interval = None
    if mean is not None and deviation is not None:
        margin = float(stats.t.ppf(0.5 + CONFIDENCE / 2, times.size - 1)) * deviation / math.sqrt(times.size)
        interval = (mean - margin, mean + margin)
    broken = (EpisodeStatus.crashed, EpisodeStatus.off_track, EpisodeStatus.immobilized, EpisodeStatus.reversed)
    resets = sum(int(np.isin(lap.steps["status"][:-1], broken).sum()) for lap in laps)
    return LapStatistics(
        laps=len(laps),
        complete=times.size,
        mean_lap_time_s=mean,
        deviation_s=deviation,
        lap_time_interval_s=interval,
        best_lap_time_s=float(times.min()) if times.size else None,
        completion_interval=wilson(times.size, len(laps)),
        mean_progress_pct=float(np.mean([lap.progress_pct for lap in laps])),
        resets_a_lap=resets / len(laps),
    )


def wilson(successes: int, trials: int) -> tuple[float, float]:
    """Wilson's score interval of a proportion at CONFIDENCE (E. B. Wilson, 1927)."""
    interval = stats.binomtest(successes, trials).proportion_ci(CONFIDENCE, "wilson")
    return float(interval.low), float(interval.high)
