"""The gap to the limit: laps whose losses are known by hand."""

import math
from dataclasses import replace

import numpy as np
import pytest

from contract.state import STEP_DTYPE, STEP_S, EpisodeStatus, FloatArray
from contract.vehicle import FRONT_POINT_X_M
from simapp.tracks import Track
from tests.line_support import kidney, ring
from undercut.analysis.gap import CAUSES, best_gap_of, gap_of
from undercut.analysis.limit import Limit
from undercut.line.limits import gap_line, gap_values, limit_of
from undercut.line.raceline import replay

RADIUS_M, SPEED_MPS = 2.0, 3.0


def circle_limit(count: int = 200) -> tuple[Track, Limit]:
    """A limit that drives the centre line of a ring at one speed."""
    track = ring(RADIUS_M, 1.0)
    angle = 2.0 * math.pi * np.arange(count) / count
    lap_s = 2.0 * math.pi * RADIUS_M / SPEED_MPS
    x, y = RADIUS_M * np.cos(angle), RADIUS_M * np.sin(angle)
    along = track.length_m * np.arange(count) / count
    return track, Limit(lap_s, along, x, y, np.full(count, SPEED_MPS), lap_s * np.arange(count + 1) / count)


def lap(radius_m: float, speeds: FloatArray, begin_rad: float = 0.0) -> np.ndarray:
    """Steps of a lap on a circle at speeds (T,), begun at an angle, as AWS's simulator logs the front point."""
    ahead = FRONT_POINT_X_M / RADIUS_M
    angle = begin_rad + ahead + np.concatenate([[0.0], np.cumsum(speeds * STEP_S / radius_m)])
    angle = angle[: int(np.argmax(angle >= begin_rad + 2.0 * math.pi)) + 1]
    assert angle[-1] >= begin_rad + 2.0 * math.pi
    rows = np.zeros(len(angle), STEP_DTYPE)
    rows["x_m"], rows["y_m"] = radius_m * np.cos(angle), radius_m * np.sin(angle)
    rows["status"] = EpisodeStatus.in_progress
    rows["status"][-1] = EpisodeStatus.lap_complete
    rows["time_s"] = STEP_S * np.arange(1, len(angle) + 1)
    return rows


@pytest.mark.parametrize("begin_rad", [0.0, 1.0, 4.5])
def test_less_speed_on_the_same_line_is_lost_by_speed(begin_rad: float) -> None:
    track, limit = circle_limit()
    steps = lap(RADIUS_M, np.full(500, 0.5 * SPEED_MPS), begin_rad)
    gap = gap_of(steps, limit, track)
    assert gap is not None
    assert gap.lap_s == pytest.approx(2.0 * limit.lap_s, abs=0.1)
    assert gap.by_cell.sum() == pytest.approx(gap.lost_s, abs=1e-9) and gap.by_sector.sum() == pytest.approx(gap.lost_s)
    assert gap.by_cause["speed"] == pytest.approx(gap.lost_s, abs=0.06)
    assert gap.by_cause["line"] == pytest.approx(0.0, abs=0.03)
    assert gap.by_sector.sum(axis=1) == pytest.approx(gap.lost_s / 10.0, abs=0.08)


def test_a_longer_way_at_the_same_speed_is_lost_by_the_line() -> None:
    track, limit = circle_limit()
    gap = gap_of(lap(RADIUS_M + 0.3, np.full(500, SPEED_MPS)), limit, track)
    assert gap is not None
    assert gap.by_cause["line"] == pytest.approx(2.0 * math.pi * 0.3 / SPEED_MPS, abs=0.03)
    assert gap.by_cause["speed"] == pytest.approx(0.0, abs=0.08)


def test_slowing_down_is_lost_by_braking_where_it_happens() -> None:
    track, limit = circle_limit()
    speeds = np.full(500, SPEED_MPS)
    speeds[20:30] = np.linspace(SPEED_MPS, 1.0, 10)
    speeds[30:40] = np.linspace(1.0, SPEED_MPS, 10)
    gap = gap_of(lap(RADIUS_M, speeds), limit, track)
    assert gap is not None
    lost = float(np.sum((SPEED_MPS - speeds[20:40]) * STEP_S / SPEED_MPS))
    assert gap.lost_s == pytest.approx(lost, abs=0.09)
    assert gap.by_cause["braking"] == pytest.approx(0.5 * lost, abs=0.12)
    place = (FRONT_POINT_X_M + float(np.sum(speeds[:30])) * STEP_S) / track.length_m
    assert int(gap.by_sector.sum(axis=1).argmax()) in {int(10 * place) - 1, int(10 * place)}


def test_laps_that_are_none_have_no_gap() -> None:
    track, limit = circle_limit()
    whole = lap(RADIUS_M, np.full(500, SPEED_MPS))
    cut, reset, short = whole.copy(), whole.copy(), whole[-20:].copy()
    cut["status"][-1] = EpisodeStatus.off_track
    reset["status"][10] = EpisodeStatus.off_track
    assert [gap_of(steps, limit, track) for steps in (cut, reset, short, whole[:0])] == [None] * 4
    slow = lap(RADIUS_M, np.full(500, 0.8 * SPEED_MPS))
    best = best_gap_of([cut, slow, whole], limit, track)
    assert best is not None and best.lap_s == pytest.approx(float(whole["time_s"][-1]))


@pytest.mark.slow
def test_the_lap_that_proves_the_limit_is_next_to_it_everywhere() -> None:
    track, line = kidney()
    driven = replay(track, line)
    gap = gap_of(driven.rows, limit_of(line), track)
    assert gap is not None and driven.lap_s is not None
    # rows end at a whole step
    assert gap.lap_s == pytest.approx(driven.lap_s, abs=2 * STEP_S)
    assert abs(gap.by_cause["line"]) < 0.1
    assert np.abs(gap.by_sector.sum(axis=1)).max() < 0.12
    told = gap_values(gap)
    assert told["ratio"] == pytest.approx(gap.lap_s / line.limit_s) and len(told["sectors"]) == 10
    assert sum(told["lost_by"].values()) == pytest.approx(told["lost_s"]) and set(told["lost_by"]) == set(CAUSES)
    assert f"{gap.ratio:.2f} of the limit" in gap_line(gap)
    assert told["start_s"] == 0.0 and "standstill" not in gap_line(gap), "it was at speed when it passed the line"


def test_a_lap_from_a_standstill_says_what_the_start_costs_any_car() -> None:
    track, limit = circle_limit()
    limit = replace(limit, standing_s=limit.lap_s + 0.5)
    # 4 m/s2 from a standstill: half of the time until SPEED_MPS is lost
    speeds = np.minimum(4.0 * STEP_S * np.arange(500), SPEED_MPS)
    gap = gap_of(lap(RADIUS_M, speeds), limit, track)
    assert gap is not None and gap.start_s == pytest.approx(0.5)
    assert gap.lost_s == pytest.approx(0.5 * SPEED_MPS / 4.0, abs=0.15)
    assert "(0.50 s by the start from a standstill)" in gap_line(gap)
