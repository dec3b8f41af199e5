"""Footage: which moments of a recording a video shows, and what it tells of them."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from contract.recording import Recording, of_traces
from contract.simtrace import from_csv, to_csv
from contract.state import STEP_S, EpisodeStatus, ObjectKind
from contract.vehicle import FRONT_POINT_X_M
from tests.recordings import RADIUS_M, TRACK, box_at, lap_steps, race, recording, with_reset
from tests.unit.synthetic import drive
from undercut.video.footage import END_S, HOLD_S, Moment, frame_count, moments

END = round(END_S * 15)


def shown(made: Recording, racer: int = 0, trials: list[int] | None = None) -> list[Moment]:
    found = list(moments(made, TRACK, racer, trials))
    assert frame_count(made, racer, trials) == len(found)
    return found


def places(found: list[Moment]) -> np.ndarray:
    return np.array([[m.bodies.x_m[m.focus], m.bodies.y_m[m.focus]] for m in found])


@given(st.integers(2, 60), st.floats(0.2, 4.0))
def test_every_step_is_a_frame_with_the_car_where_it_was(count: int, speed_mps: float) -> None:
    steps = lap_steps(count, speed_mps)
    found = shown(recording([steps]))
    assert len(found) == count + END
    driven = places(found[:count]) + FRONT_POINT_X_M * np.column_stack([
        np.cos(steps["heading_rad"]), np.sin(steps["heading_rad"])
    ])  # fmt: skip
    np.testing.assert_allclose(driven, np.column_stack([steps["x_m"], steps["y_m"]]), atol=1e-3)
    assert [m.time_s for m in found[:count]] == pytest.approx(steps["time_s"].tolist(), abs=1e-3)
    assert found[count // 2].speed_mps == pytest.approx(speed_mps, rel=0.02)
    assert not any(m.banner for m in found[:count])
    assert all(m.banner == f"Lap complete  {count / 15:.3f} s" for m in found[count:])
    assert [m.is_cut for m in found].index(True) == 0
    assert sum(m.is_cut for m in found) == 1


def test_a_penalty_holds_the_car_and_not_the_clock() -> None:
    steps = with_reset(lap_steps(60), 20, 2.0)
    found = shown(recording([steps]))
    assert len(found) == 60 + 30 + END
    held = found[21:51]
    assert [m.banner for m in held] == [f"Off track  {abs(2.0 - k / 15):.1f} s" for k in range(1, 31)]
    assert np.diff([m.time_s for m in held]) == pytest.approx(STEP_S, abs=0.01)
    assert {m.speed_mps for m in held[2:-2]} == {0.0}
    where = places(held)
    assert (where == where[0]).all()  # where it was put back to
    np.testing.assert_allclose(where[-1], places(found[51:52])[0], atol=0.12)
    assert sum(m.is_cut for m in found) == 2
    assert (found[20].resets, found[20].penalty_s) == (0, 0.0)
    assert found[55].resets == 1 and found[55].penalty_s == pytest.approx(2.0)
    assert found[55].banner == ""


def test_a_gap_in_the_rows_stops_the_picture_but_not_for_ever() -> None:
    steps = lap_steps(40)
    steps["time_s"][21:] += 60.0
    found = shown(recording([steps]))
    assert len(found) == 39 + round(HOLD_S * 15) + END
    assert found[-1].time_s == pytest.approx(40 / 15 + 60.0, abs=0.01)


def test_trials_choose_laps_and_keep_their_numbers() -> None:
    laps = [lap_steps(20), lap_steps(30), lap_steps(25, status=EpisodeStatus.crashed)]
    found = shown(recording(laps), trials=[1, 3])
    assert len(found) == 45 + 2 * END
    assert [(m.lap, m.laps) for m in (found[0], found[-1])] == [(1, 3), (3, 3)]
    assert found[-1].banner == "Crashed"
    assert found[-1].resets == 0  # it ended the lap


def test_objects_stand_beside_the_car() -> None:
    found = shown(recording([lap_steps(30)], [box_at(1.0, 30)]))
    assert all(m.bodies.kind.tolist() == [ObjectKind.car, ObjectKind.box] for m in found)
    assert found[3].bodies.x_m[1] == pytest.approx(RADIUS_M * np.cos(1.0))


def test_a_rival_is_where_it_was_at_that_moment() -> None:
    ahead, behind = lap_steps(40, 2.0), lap_steps(60, 1.2, -0.3)
    both = race([behind, ahead], [np.arange(60), np.arange(40)])
    found = shown(both)
    assert [len(m.bodies) for m in found[:60]] == [2] * 40 + [1] * 20  # it leaves when it is done
    other = np.array([[m.bodies.x_m[1], m.bodies.y_m[1]] for m in found[:40]])
    np.testing.assert_allclose(other, places(shown(both, 1)[:40]), atol=1e-6)
    assert found[30].place == 2
    assert shown(both, 1)[30].place == 1
    assert shown(recording([ahead]))[10].place == 0


def test_a_car_of_a_race_is_held_for_its_penalty_while_the_other_drives_on() -> None:
    mine = with_reset(lap_steps(40), 20, 2.0)
    both = race([mine, lap_steps(70, 1.0)], [np.arange(70), np.arange(70)])
    found = shown(both)
    assert len(found) == 70 + END
    assert {m.banner[:9] for m in found[21:51]} == {"Off track"}
    seen = shown(both, 1)
    # the other one sees it stand where it was put back
    assert seen[40].bodies.x_m[1] == pytest.approx(places(found[40:41])[0, 0])
    moved = np.hypot(*np.diff(places(seen[:70]), axis=0).T)
    assert moved == pytest.approx(1.0 / 15, abs=1e-3)


def test_a_simtrace_alone_gives_the_same_picture_of_the_car() -> None:
    driven = drive(0, EpisodeStatus.lap_complete)
    traces = from_csv(to_csv([driven], TRACK.length_m, 12.0), "test")
    made = recording([driven.steps])
    plain = Recording("run", "circle", False, TRACK.length_m, made.racers, tuple(of_traces(traces)))
    one, two = shown(made), shown(plain)
    assert len(one) == len(two)
    np.testing.assert_allclose(places(one), places(two), atol=1e-6)


def test_steps_of_a_simulator_that_ran_by_the_wall_clock_become_an_even_pace() -> None:
    """Real simtraces' steps lie 44 to 89 ms apart."""
    steps = lap_steps(200)
    stamps = np.cumsum(np.random.default_rng(1).uniform(0.044, 0.089, 200))
    even = np.interp(stamps, steps["time_s"], np.arange(200))
    for name in ("x_m", "y_m", "heading_rad", "progress_pct"):
        steps[name] = np.interp(even, np.arange(200), steps[name])
    steps["time_s"] = stamps
    found = shown(recording([steps]))[: -END - 1]
    moved = np.hypot(*np.diff(places(found)[:150], axis=0).T)
    assert moved == pytest.approx(1.5 / 15, rel=0.05)
