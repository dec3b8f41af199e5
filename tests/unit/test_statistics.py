"""Intervals of many laps against textbook numbers and scipy's own."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from contract.rollout import Rollout
from contract.state import EpisodeStatus
from tests.unit.synthetic import drive
from undercut.runs.statistics import lap_statistics, wilson

COMPLETE, CRASHED, OFF = EpisodeStatus.lap_complete, EpisodeStatus.crashed, EpisodeStatus.off_track


def lap(time_s: float, end: EpisodeStatus = COMPLETE, progress_pct: float = 100.0) -> Rollout:
    driven = drive(0, end, progress_pct=progress_pct)
    driven.steps["time_s"] = np.linspace(0.1, time_s, len(driven))
    return driven


def test_lap_times_by_a_textbook() -> None:
    # mean 10, deviation sqrt(10 / 4), t(0.975, 4) = 2.776 (any table)
    found = lap_statistics([lap(t) for t in (8.0, 9.0, 10.0, 11.0, 12.0)])
    assert (found.laps, found.complete, found.best_lap_time_s) == (5, 5, 8.0)
    assert found.mean_lap_time_s == pytest.approx(10.0)
    assert found.deviation_s == pytest.approx(math.sqrt(2.5))
    margin = 2.776 * math.sqrt(2.5) / math.sqrt(5)
    assert found.lap_time_interval_s == pytest.approx((10.0 - margin, 10.0 + margin), abs=1e-3)


@settings(max_examples=25)
@given(st.lists(st.floats(5.0, 60.0), min_size=2, max_size=30))
def test_the_interval_is_scipys(times: list[float]) -> None:
    found = lap_statistics([*(lap(t) for t in times), lap(3.0, CRASHED, 20.0)])
    assert found.lap_time_interval_s is not None
    sem = stats.sem(times)
    low, high = stats.t.interval(0.95, len(times) - 1, np.mean(times), sem) if sem > 0 else (np.mean(times),) * 2
    assert found.lap_time_interval_s == pytest.approx((low, high), rel=1e-6)
    assert found.best_lap_time_s == pytest.approx(min(times))
    assert found.complete == len(times) == found.laps - 1


@settings(max_examples=50)
@given(trials=st.integers(1, 200), share=st.floats(0.0, 1.0))
def test_wilson_is_scipys(trials: int, share: float) -> None:
    successes = round(share * trials)
    expected = stats.binomtest(successes, trials).proportion_ci(0.95, method="wilson")
    assert wilson(successes, trials) == pytest.approx((expected.low, expected.high), abs=1e-12)
    low, high = wilson(successes, trials)
    assert 0.0 <= low <= successes / trials + 1e-12
    assert successes / trials - 1e-12 <= high <= 1.0


def test_wilson_by_a_textbook() -> None:
    # R. G. Newcombe, Statistics in Medicine 17 (1998), table I: 81 of 263 and 0 of 20
    assert wilson(81, 263) == pytest.approx((0.2553, 0.3662), abs=5e-5)
    assert wilson(0, 20) == pytest.approx((0.0, 0.1611), abs=5e-5)


def test_what_too_few_complete_laps_leave_open() -> None:
    none = lap_statistics([lap(9.0, CRASHED, 30.0), lap(4.0, OFF, 10.0)])
    assert (none.complete, none.mean_lap_time_s, none.deviation_s) == (0, None, None)
    assert (none.lap_time_interval_s, none.best_lap_time_s) == (None, None)
    assert none.mean_progress_pct == 20.0
    assert none.completion_interval == wilson(0, 2)
    one = lap_statistics([lap(9.0)])
    assert (one.mean_lap_time_s, one.deviation_s, one.lap_time_interval_s) == (9.0, None, None)


def test_resets_are_what_was_driven_on_after() -> None:
    clean, twice, out = lap(9.0), lap(15.0), lap(5.0, CRASHED, 50.0)
    twice.steps["status"][[3, 10]] = CRASHED, OFF
    out.steps["status"][4] = EpisodeStatus.reversed
    assert lap_statistics([clean, twice, out]).resets_a_lap == pytest.approx(3 / 3)
    assert lap_statistics([clean]).resets_a_lap == 0.0
