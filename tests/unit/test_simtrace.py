"""Simtraces: the contract's text, there and back, and real files of DeepRacer."""

import csv
import io
import itertools
import math
import re
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from contract.errors import InputError
from contract.rollout import Rollout
from contract.simtrace import COLUMNS, end_time_s, from_csv, log_lines, read_csv, to_csv
from contract.state import STEP_DTYPE, STEP_S, EpisodeStatus
from tests.conftest import SHARED_REFERENCE
from tests.unit.synthetic import drive

HEADER = (
    "episode,steps,X,Y,yaw,steer,throttle,action,reward,done,all_wheels_on_track,progress,closest_waypoint,track_len,"
    "tstamp,episode_status,pause_duration"
)
REFERENCE = SHARED_REFERENCE / "simtraces"
REAL_FILES = sorted(REFERENCE.glob("*/*.csv"))


def _three_steps(actions: Sequence[object], end: EpisodeStatus) -> Rollout:
    steps = np.zeros(3, STEP_DTYPE)
    steps["x_m"], steps["y_m"] = (1.5, 1.625, 1.75), -0.5
    steps["heading_rad"] = (0.0, math.pi / 2, -math.pi)
    steps["steering_rad"] = (0.0, 0.5, -0.5)
    steps["speed_mps"], steps["reward"] = (1.0, 2.0, 0.1), (1.0, 0.001, 1e-5)
    steps["progress_pct"], steps["closest_waypoint"] = (0.5, 1.25, 100.0), (1, 2, 3)
    steps["all_wheels_on_track"] = (True, True, False)
    steps["status"] = (EpisodeStatus.prepare, EpisodeStatus.in_progress, end)
    steps["time_s"] = (0.25, 0.5, 2.75)
    steps["pause_s"] = (0.0, 0.0, 2.0)
    return Rollout(7, 0, {}, {}, np.array(actions), steps, truncated=False)


def test_text_is_the_contracts() -> None:
    text = to_csv([_three_steps([6, 0, 13], EpisodeStatus.lap_complete)], 17.709159380834848, 100.0)
    assert text.splitlines() == [
        HEADER,
        "7,1.0,1.5,-0.5,0.0,0.0,1.0,6,1.0,False,True,0.5,1,17.709159380834848,100.25,prepare,0.0",
        "7,2.0,1.625,-0.5,90.0,28.64788975654116,2.0,0,0.001,False,True,1.25,2,17.709159380834848,100.5,in_progress,0.0",
        "7,3.0,1.75,-0.5,-180.0,-28.64788975654116,0.1,13,1e-05,True,False,100.0,3,17.709159380834848,102.75,lap_complete,2.0",
    ]
    assert text.endswith(",2.0\n")


def test_continuous_actions_are_written_in_brackets() -> None:
    rows = to_csv([_three_steps([[0.5, -1.0], [0, 1], [1.25, 0.1]], EpisodeStatus.off_track)], 10.0, 0.0).splitlines()
    assert [row.split(",")[7] for row in rows[1:]] == ["[0.5 -1.0]", "[0.0 1.0]", "[1.25 0.1]"]


def test_log_lines_carry_the_same_row_with_a_whole_step_number() -> None:
    rollouts = [_three_steps([6, 0, 13], EpisodeStatus.crashed)]
    lines = log_lines(to_csv(rollouts, 10.0, 0.0), "x.csv")
    assert lines[0] == "SIM_TRACE_LOG:7,1,1.5,-0.5,0.0,0.0,1.0,6,1.0,False,True,0.5,1,10.0,0.25,prepare,0.0"
    cells = [line.removeprefix("SIM_TRACE_LOG:").split(",") for line in lines]
    rows = [row.split(",") for row in to_csv(rollouts, 10.0, 0.0).splitlines()[1:]]
    assert [row[2:] for row in cells] == [row[2:] for row in rows]
    assert [row[1] for row in cells] == ["1", "2", "3"]


@pytest.mark.parametrize("continuous", [True, False])
def test_a_file_as_log_lines_has_the_lines_of_the_log(continuous: bool) -> None:
    rollouts = [drive(i, EpisodeStatus.off_track, length=4, continuous=continuous) for i in range(2)]
    text = to_csv(rollouts, 10.0, 5.0)
    rows = [line.replace(".0,", ",", 1) for line in text.splitlines()[1:]]
    assert log_lines(text, "x.csv") == [f"SIM_TRACE_LOG:{row}" for row in rows]
    assert log_lines(text.replace("\n", "\n\n \n"), "x.csv") == log_lines(text, "x.csv")
    assert log_lines(to_csv([], 10.0, 0.0), "x.csv") == []


def test_log_lines_have_the_known_columns_in_their_order() -> None:
    columns = ["wall_clock", "note", *reversed(COLUMNS), "obstacle_crash_counter"]
    cells = dict(zip(COLUMNS, [*ROW.split(","), "4.5"], strict=True))
    cells |= {"wall_clock": "1700.25", "note": "x", "obstacle_crash_counter": "3"}
    text = ",".join(columns) + "\n" + ",".join(cells[name] for name in columns)
    assert log_lines(text, "x.csv") == [f"SIM_TRACE_LOG:{ROW.replace('1.0', '1', 1)},4.5,3,1700.25"]
    # an older file lacks pause_duration
    (line,) = log_lines(f"{HEADER.removesuffix(',pause_duration')}\n{ROW}\n", "x.csv")
    assert line == f"SIM_TRACE_LOG:{ROW.replace('1.0', '1', 1)}"


def test_log_lines_of_a_broken_file_name_its_line() -> None:
    with pytest.raises(InputError, match="17 values as in the header; it has 16") as error:
        log_lines(f"{HEADER}\n\n{ROW},0.0\n{ROW}\n", "x.csv")
    assert error.value.where == "x.csv line 4"
    with pytest.raises(InputError, match="the header of a simtrace"):
        log_lines(ROW, "x.csv")


def test_an_episode_that_goes_on_after_a_penalty_is_done_at_its_end_only() -> None:
    rough = _three_steps([6, 0, 13], EpisodeStatus.lap_complete)
    rough.steps["status"][:2] = EpisodeStatus.off_track, EpisodeStatus.crashed
    rows = list(csv.DictReader(io.StringIO(to_csv([rough], 10.0, 0.0))))
    assert [(row["episode_status"], row["done"]) for row in rows] == [
        *(("off_track", "False"), ("crashed", "False"), ("lap_complete", "True")),
    ]


def test_each_episode_has_the_length_of_its_own_track() -> None:
    rollouts = [drive(i, EpisodeStatus.off_track, length=2) for i in (3, 4, 5)]
    rows = list(csv.DictReader(io.StringIO(to_csv(rollouts, [10.0, 20.0, 30.0], 0.0))))
    assert [row["track_len"] for row in rows] == ["10.0", "10.0", "20.0", "20.0", "30.0", "30.0"]


@pytest.mark.parametrize("end", [status for status in EpisodeStatus if status.is_over])
def test_episode_status_begins_with_prepare_and_ends_done(end: EpisodeStatus) -> None:
    rows = list(csv.DictReader(io.StringIO(to_csv([drive(0, end, length=5)], 10.0, 0.0))))
    assert [row["episode_status"] for row in rows] == ["prepare", *["in_progress"] * 3, end.name]
    assert [row["done"] for row in rows] == ["False"] * 4 + ["True"]


def test_an_aborted_episode_is_not_done() -> None:
    assert not from_csv(to_csv([drive(0, EpisodeStatus.in_progress)], 10.0, 0.0), "x")[0].done


def test_an_episode_of_one_step_shows_its_end() -> None:
    row = to_csv([drive(0, EpisodeStatus.off_track, length=1)], 10.0, 0.0).splitlines()[1].split(",")
    assert (row[9], row[15]) == ("True", "off_track")


def test_episodes_follow_each_other_in_simulated_time() -> None:
    rollouts = [drive(i, EpisodeStatus.off_track, length=3 + i) for i in range(4)]
    stamps = [float(row["tstamp"]) for row in csv.DictReader(io.StringIO(to_csv(rollouts, 10.0, 50.0)))]
    np.testing.assert_allclose(np.diff([50.0, *stamps]), STEP_S, rtol=1e-9)
    assert stamps[-1] == end_time_s(rollouts, 50.0)
    later = to_csv(rollouts[2:], 10.0, end_time_s(rollouts[:2], 50.0))
    assert later.splitlines()[1:] == to_csv(rollouts, 10.0, 50.0).splitlines()[8:], "one file or two: the same rows"


def _steps_arrays(length: int) -> st.SearchStrategy[np.ndarray]:
    finite = st.floats(-1e6, 1e6, allow_subnormal=False)
    fields = {
        name: hnp.arrays(np.float64, length, elements=finite)
        for name in ("x_m", "y_m", "speed_mps", "reward", "progress_pct", "pause_s")
    }
    fields["heading_rad"] = hnp.arrays(np.float64, length, elements=st.floats(-math.pi, math.pi))
    fields["steering_rad"] = hnp.arrays(np.float64, length, elements=st.floats(-1.0, 1.0))
    fields["closest_waypoint"] = hnp.arrays(np.int32, length, elements=st.integers(0, 500))
    fields["all_wheels_on_track"] = hnp.arrays(np.bool_, length)
    fields["status"] = hnp.arrays(np.uint8, length, elements=st.sampled_from([int(s) for s in EpisodeStatus]))

    def build(values: dict[str, np.ndarray]) -> np.ndarray:
        steps = np.zeros(length, STEP_DTYPE)
        for name, value in values.items():
            steps[name] = value
        steps["time_s"] = STEP_S * np.arange(1, length + 1)
        return steps

    return st.fixed_dictionaries(fields).map(build)


@settings(max_examples=60, deadline=None)
@given(st.integers(1, 6).flatmap(_steps_arrays), st.booleans(), st.floats(0.0, 1e5), st.integers(0, 10**6))
def test_round_trip(steps: np.ndarray, continuous: bool, start_time_s: float, episode: int) -> None:
    length = len(steps)
    random = np.random.default_rng(episode)
    actions = random.normal(size=(length, 2)) if continuous else random.integers(0, 30, length)
    rollout = Rollout(episode, 0, {}, {}, actions, steps, truncated=False)
    (trace,) = from_csv(to_csv([rollout], 17.7, start_time_s), "x.csv")
    assert trace.episode == episode
    assert trace.track_length_m == 17.7
    assert trace.done == rollout.status.is_over
    np.testing.assert_array_equal(trace.actions, actions)
    assert trace.actions.dtype == actions.dtype
    np.testing.assert_array_equal(trace.timestamps_s, start_time_s + steps["time_s"])
    exact = ("x_m", "y_m", "speed_mps", "reward", "progress_pct", "closest_waypoint", "all_wheels_on_track", "pause_s")
    for name in exact:
        np.testing.assert_array_equal(trace.steps[name], steps[name], name)
    for name in ("heading_rad", "steering_rad"):
        np.testing.assert_allclose(trace.steps[name], steps[name], rtol=1e-14, atol=1e-300, err_msg=name)
    np.testing.assert_allclose(trace.steps["time_s"], steps["time_s"], atol=1e-10)


@pytest.mark.parametrize("turns", [-3, -1, 1, 2])
def test_yaw_is_wrapped(turns: int) -> None:
    rollout = _three_steps([0, 0, 0], EpisodeStatus.off_track)
    rollout.steps["heading_rad"] = 1.0 + 2.0 * math.pi * turns
    (trace,) = from_csv(to_csv([rollout], 10.0, 0.0), "x")
    np.testing.assert_allclose(trace.steps["heading_rad"], 1.0)


@given(st.floats(-20.0, 20.0) | st.sampled_from([-math.pi, math.pi, -3.15, 3.15]))
def test_yaw_is_the_same_direction_within_half_a_turn(heading_rad: float) -> None:
    rollout = _three_steps([0, 0, 0], EpisodeStatus.off_track)
    rollout.steps["heading_rad"] = heading_rad
    yaw = float(next(csv.DictReader(io.StringIO(to_csv([rollout], 10.0, 0.0))))["yaw"])
    assert -180.0 <= yaw <= 180.0
    assert math.remainder(math.radians(yaw) - heading_rad, 2.0 * math.pi) == pytest.approx(0.0, abs=1e-12)
    if abs(heading_rad) <= math.pi:
        assert yaw == math.degrees(heading_rad)


def _by_episode(rows: list[dict[str, str]]) -> list[list[dict[str, str]]]:
    return [list(found) for _, found in itertools.groupby(rows, key=lambda row: row["episode"])]


@pytest.mark.skipif(not REAL_FILES, reason="the recorded simtraces lie beside the checkout, and are not there")
@pytest.mark.parametrize("path", REAL_FILES, ids=lambda path: f"{path.parent.name}-{path.stem}")
def test_real_files_are_read_and_written_alike(path: Path) -> None:
    """Against the csv module's reading of the same file: every column but the clock, which had gaps there."""
    text = path.read_text()
    traces = from_csv(text, str(path))
    real = list(csv.DictReader(io.StringIO(text)))
    assert len(traces) == len({row["episode"] for row in real})
    assert [trace.done for trace in traces] == [rows[-1]["done"] == "True" for rows in _by_episode(real)]
    rollouts = [Rollout(trace.episode, 0, {}, {}, trace.actions, trace.steps, truncated=False) for trace in traces]
    ours = list(csv.DictReader(io.StringIO(to_csv(rollouts, traces[0].track_length_m, 0.0))))
    assert list(ours[0]) == list(real[0])[: len(COLUMNS)]
    for column in ("episode", "steps", "X", "Y", "throttle", "action", "reward", "done", "all_wheels_on_track"):
        assert [row[column] for row in ours] == [row[column] for row in real], column
    for column in ("closest_waypoint", "track_len", "episode_status", "pause_duration"):
        assert [row[column] for row in ours] == [row[column] for row in real], column
    for column in ("yaw", "steer", "progress"):
        np.testing.assert_allclose(
            [float(row[column]) for row in ours], [float(row[column]) for row in real], rtol=1e-13, err_msg=column
        )


ROW = "0,1.0,1.5,0.5,0.0,10.0,1.0,6,1.0,False,True,0.5,1,17.7,5.0,prepare"


@pytest.mark.parametrize(
    ("columns", "values"),
    [
        ("", ""),
        (",pause_duration", ",4.5"),
        (",pause_duration,obstacle_crash_counter", ",4.5,0"),
        (",pause_duration,obstacle_crash_counter,wall_clock", ",4.5,0,1700000000.25"),
    ],
)
def test_older_and_newer_headers_are_read(columns: str, values: str) -> None:
    (trace,) = from_csv(f"{','.join(COLUMNS[:-1])}{columns}\n{ROW}{values}\n", "x.csv")
    assert trace.steps["x_m"] == [1.5]
    assert trace.timestamps_s == [5.0]
    assert trace.steps["pause_s"] == [4.5 if columns else 0.0]


def _broken(column: str, value: str) -> str:
    cells = dict(zip(COLUMNS, [*ROW.split(","), "0.0"], strict=True))
    good = ",".join(cells.values())
    return "\n".join([HEADER, good, ",".join({**cells, column: value}.values())]) + "\n"


@pytest.mark.parametrize(
    ("column", "value", "rule"),
    [
        ("X", "abc", "a finite number"),
        ("Y", "nan", "a finite number"),
        ("yaw", "", "a finite number"),
        ("tstamp", "inf", "a finite number"),
        ("pause_duration", "long", "a finite number"),
        ("episode", "1.5", "a whole number"),
        ("closest_waypoint", "2.5", "a whole number"),
        ("action", "x", "a finite number"),
        ("action", "[1 2 3]", "an action index, or two numbers"),
        ("action", "[1 b]", "an action index, or two numbers"),
        ("action", "[1 nan]", "an action index, or two numbers"),
        ("action", "[0.5 0.5]", "all actions of an episode"),
        ("done", "true", "True or False"),
        ("all_wheels_on_track", "1", "True or False"),
        ("episode_status", "flying", "one of prepare, in_progress"),
        ("track_len", "17,7", "17 values as in the header; it has 18"),
    ],
)
def test_a_broken_value_is_named_with_its_line_and_rule(column: str, value: str, rule: str) -> None:
    with pytest.raises(InputError) as error:
        from_csv(_broken(column, value), "5-iteration.csv")
    assert error.value.where.startswith("5-iteration.csv line 3")
    assert rule in error.value.rule
    if "values as" not in rule:
        assert column in error.value.where


def test_a_cut_off_file_is_named_with_its_line() -> None:
    text = to_csv([drive(0, EpisodeStatus.off_track, length=5)], 10.0, 0.0)
    with pytest.raises(InputError, match="cut off") as error:
        from_csv(text[:-30], "5-iteration.csv")
    assert error.value.where == "5-iteration.csv line 6"


@pytest.mark.parametrize("text", ["", "\n", "a,b,c\n1,2,3\n", HEADER.replace("yaw", "heading")])
def test_a_file_that_is_no_simtrace_is_refused(text: str) -> None:
    with pytest.raises(InputError, match="the header of a simtrace") as error:
        from_csv(text, "other.csv")
    assert error.value.where == "other.csv line 1"


def test_a_header_alone_is_an_empty_trace() -> None:
    assert from_csv(to_csv([], 10.0, 0.0), "x") == []


# --- damaged files ---------------------------------------------------------------------------------------------------


def test_a_damaged_file_gives_its_whole_rows_and_names_the_others() -> None:
    rollouts = [drive(i, EpisodeStatus.off_track, length=5) for i in range(3)]
    lines = to_csv(rollouts, 10.0, 0.0).splitlines()
    lines[4] = lines[4].replace(",in_progress", ",flying")
    lines[9] = lines[9][:40]
    lines.insert(12, "")
    traces, problems = read_csv("\n".join(lines) + "\n\n", "x.csv")
    assert [problem.where for problem in problems] == ["x.csv line 5 episode_status", "x.csv line 10"]
    assert [len(trace.steps) for trace in traces] == [4, 4, 5]
    assert traces[0].numbers.tolist() == [1, 2, 3, 5]
    assert traces[1].numbers.tolist() == [1, 2, 3, 5]
    np.testing.assert_array_equal(traces[2].steps["x_m"], rollouts[2].steps["x_m"])


def test_columns_beyond_the_known_ones_and_in_another_order_are_no_trouble() -> None:
    text = to_csv([drive(0, EpisodeStatus.off_track, length=4)], 10.0, 0.0)
    rows = list(csv.DictReader(io.StringIO(text)))
    changed = io.StringIO()
    writer = csv.DictWriter(changed, ["worker", *reversed(COLUMNS), "note"], lineterminator="\n")
    writer.writeheader()
    writer.writerows({**row, "worker": "1", "note": "x"} for row in rows)
    (trace,) = from_csv(changed.getvalue(), "x.csv")
    (plain,) = from_csv(text, "x.csv")
    np.testing.assert_array_equal(trace.steps, plain.steps)
    assert trace.timestamps_s.tolist() == plain.timestamps_s.tolist()


def test_a_column_that_is_there_twice_is_refused() -> None:
    with pytest.raises(InputError, match="the header of a simtrace"):
        from_csv(f"{HEADER},X\n{ROW},0.0,7\n", "x.csv")


@pytest.mark.parametrize("value", [2**31 - 1, 1 - 2**31])
def test_the_largest_whole_numbers_are_read(value: int) -> None:
    trace = from_csv(_broken("closest_waypoint", str(value)), "x.csv")[0]
    assert trace.steps["closest_waypoint"].tolist() == [1, value]


@pytest.mark.parametrize(
    ("column", "value"),
    [("closest_waypoint", "1e30"), ("closest_waypoint", str(2**31)), ("episode", "-1e300"), ("steps", "1e12")],
)
def test_a_number_that_no_array_holds_is_named(column: str, value: str) -> None:
    with pytest.raises(InputError, match="a whole number") as error:
        from_csv(_broken(column, value), "x.csv")
    assert error.value.where == f"x.csv line 3 {column}"


_CELLS = st.one_of(
    st.sampled_from(
        ["", "nan", "inf", "-1e308", "1e308", "True", "False", "[0.5 0.5]", "[", "]", "[nan 1]", "crashed", "0"]
    ),
    st.floats().map(str),
    st.integers().map(str),
    st.text(max_size=8),
)
_HEADERS = st.sampled_from(
    [COLUMNS[:-1], COLUMNS, [*COLUMNS, "obstacle_crash_counter", "wall_clock"], ["extra", *COLUMNS]]
)


@settings(max_examples=150)
@given(_HEADERS, st.lists(st.tuples(st.integers(0, 19), st.integers(0, 18), _CELLS), max_size=12), st.integers(0, 4000))
def test_whatever_stands_in_a_file_it_is_read_or_named(
    header: list[str], changes: list[tuple[int, int, str]], kept: int
) -> None:
    """Old and new headers, broken cells anywhere, cut anywhere: rows or errors with the line, and nothing else."""
    rows = csv.DictReader(
        io.StringIO(to_csv([drive(i, EpisodeStatus.off_track, length=5) for i in range(4)], 10.0, 0.0))
    )
    table = [[row.get(name, "0") for name in header] for row in rows]
    for row, column, cell in changes:
        table[row][column % len(header)] = cell
    text = "\n".join(",".join(row) for row in [header, *table])
    text = text[: len(text) - kept]
    traces, problems = read_csv(text, "x.csv")
    lines = text.splitlines()
    read = sum(len(trace.steps) for trace in traces)
    assert all(re.match(r"x\.csv line \d+", problem.where) for problem in problems)
    if not (problems and problems[0].where == "x.csv line 1"):
        assert read + len(problems) == sum(bool(line.strip()) for line in lines[1:])
    for trace in traces:
        assert np.isfinite(trace.timestamps_s).all()
        assert all(np.isfinite(trace.steps[name]).all() for name in STEP_DTYPE.names or ())
        assert len(trace.numbers) == len(trace.actions) == len(trace.steps) > 0


@settings(max_examples=80)
@given(st.text(max_size=300))
def test_any_text_is_a_trace_or_named(text: str) -> None:
    traces, problems = read_csv(text, "x.csv")
    assert bool(traces) != bool(problems)
    assert all(problem.where.startswith("x.csv line") for problem in problems)
