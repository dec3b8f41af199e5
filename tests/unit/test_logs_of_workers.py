"""Logs of several workers and of several evaluations: kept apart, and counted together."""

import json
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from typer.testing import CliRunner

from contract import metrics, simtrace
from contract.rollout import Rollout
from contract.state import EpisodeStatus
from tests.others import (
    ITERATIONS,
    LENGTH_M,
    PER_ITERATION,
    as_worker,
    load,
    worker_files,
    write,
)
from undercut.analysis.log import Episode, Kind
from undercut.analysis.measures import iteration_table
from undercut.analysis.workers import counted_together
from undercut.cli.main import app
from undercut.interchange.importing import WorkersFiles

# --- workers ---------------------------------------------------------------------------------------------------------


def test_workers_are_kept_apart_and_counted_together(tmp_path: Path, driven: list[Rollout]) -> None:
    own = [as_worker(driven[::2]), as_worker(driven[1::2])]
    for worker in (0, 1):
        write(tmp_path / "mine", **worker_files(own[worker], worker, 2))
    (log,) = load(tmp_path / "mine")
    found = log.of(Kind.training)
    assert [it.number for it in found] == list(range(len(driven)))
    assert [(it.worker, it.own_number) for it in found[:4]] == [(0, 0), (1, 0), (0, 1), (1, 1)]
    for episode, rollout in zip(found, driven, strict=True):
        assert len(episode.steps) == len(rollout)
        assert episode.reward == pytest.approx(rollout.steps["reward"].sum())
        assert episode.time_s == pytest.approx(rollout.time_s, abs=0.001), "its own worker's clock"
        assert episode.outcome == rollout.status
    table = iteration_table(log)
    assert [row.episodes for row in table] == [2 * PER_ITERATION] * ITERATIONS
    assert [row.steps for row in table] == [
        sum(map(len, driven[i * 2 * PER_ITERATION : (i + 1) * 2 * PER_ITERATION])) for i in range(ITERATIONS)
    ]
    assert found[1].title == "training 2 (worker 1: 1)"


@pytest.mark.parametrize("lost", ["1/training-simtrace/1-iteration.csv", "metrics/TrainingMetrics_1.json"])
def test_what_one_worker_has_lost_is_not_anothers(tmp_path: Path, driven: list[Rollout], lost: str) -> None:
    own = [as_worker(driven[::2]), as_worker(driven[1::2])]
    for worker in (0, 1):
        write(tmp_path / "mine", **worker_files(own[worker], worker, 2))
    (tmp_path / "mine" / lost).unlink()
    (log,) = load(tmp_path / "mine")
    table = iteration_table(log)
    assert [row.episodes for row in table] == [2 * PER_ITERATION] * ITERATIONS
    assert [it.outcome for it in log.of(Kind.training)] == [it.status for it in driven]
    assert ("no metrics of worker 1" in "".join(log.problems)) == ("metrics" in lost)


def test_one_iteration_as_in_the_bug_report(tmp_path: Path) -> None:
    """Two workers, an episode each: a lap in 10 s, and 2 s to where the road is left."""
    head = ",".join(simtrace.COLUMNS)
    for worker, steps, progress, end in ((0, 150, 100.0, "lap_complete"), (1, 30, 20.0, "off_track")):
        lines = [head]
        for i in range(1, steps + 1):
            status = "prepare" if i == 1 else end if i == steps else "in_progress"
            lines.append(
                f"0,{i}.0,{i * 0.1:.2f},0.0,0.0,0.0,1.0,0,{float(i > 1)},{i == steps},True,{progress * i / steps:.4f},"
                f"{i % 100},17.7,{i / 15:.4f},{status},0.0"
            )
        row = metrics.TrainingRow(
            steps - 1, 0, 0, 1000 * steps // 15, 1, 1, "training", int(progress), end.replace("_", " ").capitalize()
        )
        name = "TrainingMetrics_1" if worker else "TrainingMetrics"
        content = metrics.training_metrics_json([row], "progress")
        write(
            tmp_path / "logs",
            **{f"{worker}/training-simtrace/0-iteration.csv": "\n".join(lines), f"metrics/{name}.json": content},
        )
    told = CliRunner().invoke(app, ["logs", str(tmp_path / "logs"), "--json"])
    [row] = json.loads(told.output)["logs"][0]["iterations"]
    assert (row["episodes"], row["steps"], row["complete"], row["best_lap_s"]) == (2, 180, 1, 10.0)


def test_every_evaluation_has_its_own_metrics(tmp_path: Path, laps: list[Rollout]) -> None:
    """As deepracer-for-cloud names them, by when they began; one was never finished, and one has no simtrace."""
    parts = {"20240101120000": laps[:2], "20240102120000": laps[2:3], "20240103120000": laps[3:]}
    for stamp, its in parts.items():
        its = as_worker(its)
        rows = metrics.evaluation_metrics_json(metrics.evaluation_rows(its))
        if stamp != "20240102120000":
            write(tmp_path / "m", **{f"metrics/evaluation/evaluation-{stamp}.json": rows})
        if stamp != "20240103120000":
            key = f"evaluation-{stamp}/evaluation-simtrace/0-iteration.csv"
            write(tmp_path / "m", **{key: simtrace.to_csv(its, LENGTH_M, 5.0)})
    (log,) = load(tmp_path / "m")
    found = log.of(Kind.evaluation)
    assert [it.number for it in found] == [0, 1, 2, 3]
    by_time = sorted(round(it.time_s, 2) for it in found)
    assert by_time == sorted(round(lap.time_s, 2) for lap in laps)
    assert sorted(len(it.steps) for it in found) == sorted([0, *(len(lap) for lap in laps[:3])])
    for it in found:
        if len(it.steps):
            [lap] = [lap for lap in laps[:3] if np.array_equal(lap.steps["x_m"], it.steps["x_m"])]
            assert it.time_s == pytest.approx(lap.time_s, abs=0.001)


def test_an_import_writes_the_files_of_one_worker(driven: list[Rollout]) -> None:
    told = WorkersFiles()
    for worker in (0, 1):
        for key, text in worker_files(as_worker(driven[worker::2]), worker, 2).items():
            if key.endswith(".csv"):
                told.add(worker, int(key.rpartition("/")[2].split("-")[0]), text)
            else:
                told.rows[worker] = metrics.parse_training_metrics(text, key)
    rows = told.together()
    assert [row.episode for row in rows] == list(range(1, len(driven) + 1))
    assert [row.trial for row in rows] == [*range(1, 2 * PER_ITERATION + 1)] * ITERATIONS
    assert [row.episode_status for row in rows] == [it.status.title for it in driven]
    traces = [trace for _, text in sorted(told.files().items()) for trace in simtrace.from_csv(text, "x")]
    assert [trace.episode for trace in traces] == list(range(len(driven)))
    for trace, rollout in zip(traces, driven, strict=True):
        np.testing.assert_array_equal(trace.steps["x_m"], rollout.steps["x_m"])


Shapes = st.dictionaries(st.integers(0, 4), st.lists(st.integers(0, 3), min_size=1, max_size=4), min_size=1, max_size=4)


@given(Shapes)
@settings(max_examples=100, deadline=None)
def test_counting_together_keeps_every_episode_in_its_iteration(shape: dict[int, list[int]]) -> None:
    """`shape`: worker -> how many episodes it drove in each iteration."""
    told = {
        worker: [
            Episode(Kind.training, number, iteration, 0.0, 0.0, 1.0, EpisodeStatus.off_track)
            for number, iteration in enumerate(i for i, count in enumerate(counts) for _ in range(count))
        ]
        for worker, counts in shape.items()
    }
    found = counted_together(told)
    assert [it.number for it in found] == list(range(sum(map(sum, shape.values()))))
    assert sorted((it.worker, it.own_number) for it in found) == sorted(
        (worker, it.number) for worker, its in told.items() for it in its
    )
    assert [it.iteration for it in found] == sorted(it.iteration for it in found)
    for worker, its in told.items():
        mine = [it for it in found if it.worker == worker]
        assert [(it.own_number, it.iteration) for it in mine] == [(it.number, it.iteration) for it in its]
