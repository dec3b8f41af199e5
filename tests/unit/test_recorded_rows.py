"""The rules on recorded drives of AWS's simulator: a car that stands where the recorded one stood, row by row."""

import math
from pathlib import Path

import numpy as np
import pytest

from contract.simtrace import Trace, from_csv
from contract.state import Controls, EpisodeStatus
from contract.vehicle import FRONT_POINT_X_M
from simapp.race import Race, RaceRules
from simapp.tracks import Track, load_track
from tests.conftest import SHARED_REFERENCE
from tests.support import BlindSimulator

FILES = sorted((SHARED_REFERENCE / "simtraces").glob("*-reinvent_base/*.csv"))
PAUSED = SHARED_REFERENCE / "simtraces/droa-Spain_track-evaluation/0-iteration.csv"
ONE = np.array([0])


def check_drives(track: Track, trace: Trace) -> np.ndarray:
    """Rows of a car that is put where the recorded one was, (T,): rules and geometry are ours, the drive is theirs."""
    steps, simulator = trace.steps, BlindSimulator(1)
    race = Race(simulator, track, RaceRules(10**6), [lambda params: 0.0])
    front_m = track.project(steps["x_m"][:1], steps["y_m"][:1]).distance_m[0]
    start = (front_m / track.length_m - steps["progress_pct"][0] / 100.0) % 1.0
    assert start * 20 == pytest.approx(round(start * 20), abs=1e-3)  # a round robin of 5 % of the lap
    race.start(0, round(start * 20) / 20 * track.length_m)
    cars, rows = simulator.cars, []
    for step in steps:
        heading = float(step["heading_rad"])
        cars.x_m[0] = step["x_m"] - FRONT_POINT_X_M * math.cos(heading)
        cars.y_m[0] = step["y_m"] - FRONT_POINT_X_M * math.sin(heading)
        cars.heading_rad[0] = heading
        rows.append(race.step(ONE, Controls(step["steering_rad"][None], step["speed_mps"][None])).rows[0])
    return np.stack(rows)


@pytest.mark.skipif(not FILES, reason="the recorded simtraces lie beside the checkout, and are not there")
@pytest.mark.parametrize("path", FILES[::4], ids=lambda path: f"{path.parent.name}-{path.stem}")
def test_every_recorded_row_is_judged_as_aws_judged_it(path: Path) -> None:
    track = load_track(str(SHARED_REFERENCE / "tracks/reinvent_base.npy"))
    for trace in from_csv(path.read_text(), path.name):
        rows, steps = check_drives(track, trace), trace.steps
        np.testing.assert_allclose(rows["progress_pct"], steps["progress_pct"], rtol=0, atol=1e-6)
        np.testing.assert_array_equal(rows["closest_waypoint"], steps["closest_waypoint"])
        assert [EpisodeStatus(s).name for s in rows["status"].tolist()] == [
            EpisodeStatus(s).name for s in steps["status"].tolist()
        ]
        # a few last rows of complete laps (3 of 33,658 rows) say False of a car whose wheels are 0.15 m and more within
        # the edges: their simulator read the wheels' places when the car had been put elsewhere already
        differ = np.flatnonzero(rows["all_wheels_on_track"] != steps["all_wheels_on_track"])
        assert differ.tolist() in ([], [len(steps) - 1])
        assert not len(differ) or steps["status"][-1] == EpisodeStatus.lap_complete


@pytest.mark.skipif(not PAUSED.is_file(), reason="the recorded simtraces lie beside the checkout, and are not there")
def test_a_recorded_reset_has_the_rows_that_ours_has() -> None:
    """tests/unit/test_race.py has the same sequence of a scripted car: off_track, pauses to 0, in_progress there."""
    (trace,) = from_csv(PAUSED.read_text(), PAUSED.name)
    steps = trace.steps
    (left,) = np.flatnonzero(steps["status"] == EpisodeStatus.off_track)
    paused = np.flatnonzero(steps["status"] == EpisodeStatus.pause)
    assert paused.tolist() == list(range(left + 1, left + 1 + len(paused)))
    assert len(paused) in (30, 31)  # 2 s of steps that their machine made a little shorter than 1/15 s
    assert (steps["reward"][paused] == 0.0).all()
    assert (np.diff(steps["pause_s"][left : paused[-1] + 1]) < 0.0).all()
    assert abs(steps["pause_s"][paused[-1]]) < 0.01
    assert steps["status"][paused[-1] + 1] == EpisodeStatus.in_progress
    assert np.array_equal(trace.numbers, np.arange(1, len(steps) + 1))  # pauses are steps
