"""Metrics files: hand-worked rows, real files there and back."""

import csv
import io
import json

import pytest

from contract.errors import InputError
from contract.metrics import (
    EvaluationRow,
    TrainingRow,
    evaluation_metrics_json,
    evaluation_rows,
    parse_evaluation_metrics,
    parse_training_metrics,
    salvage_evaluation_metrics,
    salvage_training_metrics,
    training_evaluation_rows,
    training_metrics_json,
    training_rows,
    up_to_episode,
)
from contract.rollout import Rollout
from contract.simtrace import end_time_s, from_csv, to_csv
from contract.state import EpisodeStatus
from tests.conftest import SHARED_REFERENCE
from tests.unit.synthetic import drive
from undercut.runs.progress import lap_table

REFERENCE = SHARED_REFERENCE / "metrics"
needs_reference = pytest.mark.skipif(
    not REFERENCE.is_dir(), reason="the recorded metrics lie beside the checkout, and are not there"
)


def _run(iterations: int) -> list[TrainingRow]:
    """An iteration is 3 training episodes, then 2 of evaluation."""
    rows: list[TrainingRow] = []
    time_s = 10.0
    for i in range(iterations):
        trained = [drive(3 * i + k, EpisodeStatus.off_track, length=30 + k, progress_pct=39.9) for k in range(3)]
        rows += training_rows(trained, time_s)
        time_s = end_time_s(trained, time_s)
        laps = [drive(k, EpisodeStatus.lap_complete, length=150, progress_pct=100.0, reward=1.01) for k in range(2)]
        rows += training_evaluation_rows(laps, time_s, after=rows[-1])
        time_s = end_time_s(laps, time_s)
    return rows


def test_rows_of_the_first_iteration_by_hand() -> None:
    rows = _run(1)
    # 30 steps of 0.75 make 22.5, which rounds to even; 30 steps are 2 s, 31 are 2.0667 s
    assert rows[0] == TrainingRow(22, 12000, 10000, 2000, 1, 1, "training", 39, "Off track")
    assert rows[1] == TrainingRow(23, 14067, 12000, 2067, 2, 2, "training", 39, "Off track")
    assert rows[2].start_time == 14067
    # an evaluation repeats episode and trial of the training episode before it
    assert rows[3] == TrainingRow(152, 26200, 16200, 10000, 3, 3, "evaluation", 100, "Lap complete")
    assert rows[4] == TrainingRow(152, 36200, 26200, 10000, 3, 3, "evaluation", 100, "Lap complete")


def test_episodes_run_on_and_trials_begin_anew() -> None:
    rows = _run(3)
    trained = [(row.episode, row.trial) for row in rows if row.phase == "training"]
    assert trained == [(1, 1), (2, 2), (3, 3), (4, 1), (5, 2), (6, 3), (7, 1), (8, 2), (9, 3)]
    starts = [row.start_time for row in rows]
    assert starts == sorted(starts)


@pytest.mark.parametrize(
    ("status", "title"),
    [
        (EpisodeStatus.in_progress, "In progress"),
        (EpisodeStatus.lap_complete, "Lap complete"),
        (EpisodeStatus.off_track, "Off track"),
        (EpisodeStatus.crashed, "Crashed"),
        (EpisodeStatus.immobilized, "Immobilized"),
        (EpisodeStatus.reversed, "Reversed"),
        (EpisodeStatus.time_up, "Time Up"),
        (EpisodeStatus.prepare, "Prepare"),
        (EpisodeStatus.pause, "Pause"),
        (EpisodeStatus.park, "Park"),
    ],
)
def test_status_is_spelled_as_in_the_contract(status: EpisodeStatus, title: str) -> None:
    assert training_rows([drive(0, status)], 0.0)[0].episode_status == title


def test_only_a_whole_lap_is_100_per_cent() -> None:
    assert training_rows([drive(0, EpisodeStatus.off_track, progress_pct=99.99)], 0.0)[0].completion_percentage == 99


def test_tables_have_the_per_cents_of_the_metrics() -> None:
    laps = [drive(k, EpisodeStatus.off_track, progress_pct=pct) for k, pct in enumerate((26.6, 99.99, 0.5))]
    metrics = [f"{row.completion_percentage} %" for row in evaluation_rows(laps)]
    assert metrics == ["26 %", "99 %", "0 %"]
    assert list(lap_table(laps, "laps").columns[2].cells) == metrics


def test_a_resume_keeps_what_came_before_the_checkpoint() -> None:
    assert up_to_episode(_run(5), 9) == _run(3)
    assert up_to_episode(_run(5), 0) == []


def test_evaluation_counts_what_happened_on_the_way() -> None:
    clean = drive(0, EpisodeStatus.lap_complete, length=150, progress_pct=100.0)
    rough = drive(1, EpisodeStatus.lap_complete, length=300, progress_pct=100.0)
    rough.steps["status"][[50, 120]] = EpisodeStatus.off_track
    rough.steps["status"][200] = EpisodeStatus.crashed
    rough.steps["time_s"][51:] += 2.0  # a penalty
    given_up = drive(2, EpisodeStatus.off_track, length=90, progress_pct=61.5)
    given_up.steps["status"][30] = EpisodeStatus.immobilized
    given_up.steps["status"][60] = EpisodeStatus.reversed
    assert evaluation_rows([clean, rough, given_up]) == [
        EvaluationRow(100, 10000, 0, 10000, "Lap complete", 0, 0, 0, 0, 0, 1),
        EvaluationRow(100, 32000, 10000, 22000, "Lap complete", 1, 0, 2, 0, 3, 2),
        EvaluationRow(61, 38000, 32000, 6000, "Off track", 0, 1, 1, 1, 3, 3),
    ]


@needs_reference
@pytest.mark.parametrize("name", ["console-training_metrics.json", "drfc-TrainingMetrics.json"])
def test_real_training_metrics_come_back_byte_for_byte(name: str) -> None:
    text = (REFERENCE / name).read_text()
    assert training_metrics_json(parse_training_metrics(text, name), "progress") == text


def test_rewards_are_added_up_one_after_the_other() -> None:
    """In any Python: 1 is lost beside 1e16, which a compensated sum would keep."""
    rollout = drive(0, EpisodeStatus.off_track, length=4)
    rollout.steps["reward"] = [1e16, 1.0, -1e16, 3.0]
    assert training_rows([rollout], 0.0)[0].reward_score == 3


@needs_reference
@pytest.mark.parametrize(("run", "name"), [("console", "console-training_metrics"), ("drfc", "drfc-TrainingMetrics")])
def test_rows_made_from_real_simtraces_are_the_real_rows(run: str, name: str) -> None:
    """Reward, completion, status and numbering; a real clock had gaps, so times are left out."""

    def essence(row: TrainingRow) -> tuple[object, ...]:
        return (row.episode, row.trial, row.reward_score, row.completion_percentage, row.episode_status)

    real = parse_training_metrics((REFERENCE / f"{name}.json").read_text(), name)
    recorded = {row.episode: essence(row) for row in real if row.phase == "training"}
    files = sorted((REFERENCE.parent / "simtraces" / f"{run}-reinvent_base").glob("*.csv"))
    assert files
    for path in files:
        traces = from_csv(path.read_text(), str(path))
        rollouts = [Rollout(trace.episode, 0, {}, {}, trace.actions, trace.steps, truncated=False) for trace in traces]
        rows = training_rows(rollouts, 0.0)
        assert [essence(row) for row in rows] == [recorded[row.episode] for row in rows]


@needs_reference
def test_real_evaluation_metrics_come_back_byte_for_byte() -> None:
    text = (REFERENCE / "drfc-EvaluationMetrics.json").read_text()
    assert evaluation_metrics_json(parse_evaluation_metrics(text, "x")) == text


def test_round_trip_of_our_own() -> None:
    rows = _run(4)
    text = training_metrics_json(rows, "progress")
    assert parse_training_metrics(text, "x") == rows
    assert {key: value for key, value in json.loads(text).items() if key != "metrics"} == {
        "version": 2.0,
        "best_model_metric": "progress",
    }
    trials = evaluation_rows([drive(0, EpisodeStatus.crashed)], 5.0)
    assert parse_evaluation_metrics(evaluation_metrics_json(trials), "x") == trials


@pytest.mark.parametrize(
    ("change", "where"),
    [
        (lambda row: row.pop("trial"), "training_metrics.json metrics.1.trial"),
        (lambda row: row.update(reward_score="much"), "training_metrics.json metrics.1.reward_score"),
        (lambda row: row.update(episode=1.5), "training_metrics.json metrics.1.episode"),
    ],
)
def test_a_broken_row_is_named(change: object, where: str) -> None:
    content = json.loads(training_metrics_json(_run(1), "progress"))
    change(content["metrics"][1])  # type: ignore[operator]
    with pytest.raises(InputError) as error:
        parse_training_metrics(json.dumps(content), "training_metrics.json")
    assert error.value.where == where


@pytest.mark.parametrize("text", ["", '{"metrics": [', "[]", '{"version": 2.0}', '{"metrics": {}}'])
def test_a_file_that_is_no_metrics_is_refused(text: str) -> None:
    with pytest.raises(InputError, match=r"training_metrics\.json"):
        parse_training_metrics(text, "training_metrics.json")


@pytest.mark.parametrize("value", [2**53, -(2**53)])
def test_whole_numbers_are_what_a_float_holds_exactly(value: int) -> None:
    content = json.loads(training_metrics_json(_run(1), "progress"))
    content["metrics"][1]["reward_score"] = value
    assert parse_training_metrics(json.dumps(content), "m.json")[1].reward_score == value
    content["metrics"][1]["reward_score"] = value + (1 if value > 0 else -1)
    with pytest.raises(InputError, match="reward_score"):
        parse_training_metrics(json.dumps(content), "m.json")


def test_what_others_write_beside_the_rows_is_no_trouble() -> None:
    text = training_metrics_json(_run(1), "progress")
    assert parse_training_metrics(
        text.replace('"version"', '"spread": NaN, "version": 1, "version"'), "m.json"
    ) == _run(1)


def test_of_a_damaged_file_the_rows_before_the_damage_are_left_and_their_problems_named() -> None:
    rows = _run(1)
    content = json.loads(training_metrics_json(rows, "progress"))
    content["metrics"][1]["trial"] = None
    text = json.dumps(content)
    assert salvage_training_metrics(training_metrics_json(rows, "progress"), "m.json") == (rows, [])
    found, problems = salvage_training_metrics(text[: text.rindex("{") + 9], "m.json")
    assert found == [rows[0], *rows[2:4]]
    assert [problem.where for problem in problems] == ["m.json line 1", "m.json metrics.1.trial"]
    trials = evaluation_rows([drive(0, EpisodeStatus.crashed)])
    assert salvage_evaluation_metrics(evaluation_metrics_json(trials), "m.json") == (trials, [])


def test_steps_run_on_in_laps_that_begin_as_the_car_drives() -> None:
    """IS_CONTINUOUS: one `prepare` at the start of the race, and steps that are counted on; each lap is an episode."""
    laps = [drive(i, EpisodeStatus.lap_complete, length=3) for i in range(3)]
    laps[1].steps["status"][0] = EpisodeStatus.in_progress
    rows = list(csv.DictReader(io.StringIO(to_csv(laps, 10.0, 0.0))))
    assert [row["episode"] for row in rows] == [*"000111222"]
    assert [float(row["steps"]) for row in rows] == [1, 2, 3, 4, 5, 6, 1, 2, 3]
    # AWS's simulator logs no end of a lap that another follows without a stop
    assert [row["episode_status"] for row in rows[2::3]] == ["in_progress", "lap_complete", "lap_complete"]
    assert [row["done"] for row in rows[2::3]] == ["False", "True", "True"]
