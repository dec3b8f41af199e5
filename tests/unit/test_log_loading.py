"""Logs of damaged runs and of folders from elsewhere: what is whole is used, the rest is named."""

import json
import math
import shutil
import warnings
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from contract import artifacts
from contract.errors import InputError, InputWarning
from contract.state import EpisodeStatus
from contract.stores.local import LocalStore
from simapp.tracks import Track
from tests import recorded
from tests.conftest import SHARED_REFERENCE
from tests.support import circle, ring
from tests.unit.log_support import copy, load, store
from undercut.analysis.findings import findings
from undercut.analysis.loading import load_folder, load_run
from undercut.analysis.log import Kind, rows_of
from undercut.analysis.places import SECTORS, LapScale, action_use, exits

__all__ = ["copy", "store"]

# --- damage ----------------------------------------------------------------------------------------------------------


def test_metrics_cut_in_the_middle_give_the_rows_before(copy: LocalStore) -> None:
    path = copy.root / artifacts.TRAINING_METRICS
    text = path.read_text()
    path.write_text(text[: len(text) // 2])
    log = load(copy)
    assert any("training_metrics.json line 1" in it and "used" in it for it in log.problems)
    whole = load(LocalStore(copy.root))
    assert len(log.of(Kind.training)) == len(whole.of(Kind.training)), "the simtraces know the rest"


def test_a_simtrace_with_half_a_last_line_keeps_the_others(copy: LocalStore, store: LocalStore) -> None:
    key = artifacts.training_simtrace(1)
    path = copy.root / key
    lines = path.read_text().splitlines()
    path.write_text("\n".join(lines)[:-50])
    log = load(copy)
    (problem,) = log.problems
    assert f"{key} line {len(lines)}" in problem
    assert [len(it.steps) for it in log.of(Kind.training)][:-1]
    cut = log.of(Kind.training)[2 * recorded.EPISODES - 1]
    whole = load(store).of(Kind.training)[2 * recorded.EPISODES - 1]
    assert len(cut.steps) == len(whole.steps) - 1
    assert (cut.outcome, round(cut.reward)) == (whole.outcome, round(whole.reward)), "the metrics know its end"


def test_missing_iterations_and_evaluation_are_named(copy: LocalStore) -> None:
    copy.delete(artifacts.training_simtrace(1))
    for key in (artifacts.EVALUATION_METRICS, artifacts.evaluation_simtrace()):
        copy.delete(key)
    log = load(copy)
    assert any("no simtraces of training iteration 1:" in it for it in log.problems)
    assert any("undercut evaluate oval" in it for it in log.problems)
    middle = [it for it in log.of(Kind.training) if it.iteration == 1]
    assert len(middle) == recorded.EPISODES
    assert not any(len(it.steps) for it in middle)
    assert all(it.completion_pct > 0 for it in middle), "the metrics still tell"


@pytest.mark.parametrize(
    ("key", "content", "told"),
    [
        (artifacts.RUN_CONFIG, b"{", "run.json"),
        (artifacts.RUN_CONFIG, None, "run.json is missing"),
        (artifacts.MODEL_METADATA, b"[]", "model_metadata.json"),
        (artifacts.MODEL_METADATA, None, "model_metadata.json is missing"),
        (artifacts.ITERATIONS, b'[{"iteration": 0, "entropy": 1.5}, {"iter', "iterations.json line 1"),
        (artifacts.DIAGNOSTICS, b"iteration,entropy\n0,1.5\nx,2\n", "diagnostics.csv row 2"),
        (artifacts.TRAINING_METRICS, b"", "training_metrics.json line 1"),
        (artifacts.EVALUATION_METRICS, b'{"metrics": [{"trial": 1}]}', "evaluation_metrics.json metrics.0."),
        (artifacts.training_simtrace(2), b"", "2-iteration.csv is empty"),
        (artifacts.training_simtrace(2), b"a,b\n1,2\n", "2-iteration.csv line 1"),
        (artifacts.training_simtrace(2), b"\xff\xfe\x00", "2-iteration.csv line 1"),
        (artifacts.evaluation_simtrace(), b"\n\n", "0-iteration.csv is empty"),
    ],
)
def test_a_damaged_file_is_named_and_the_rest_is_used(
    copy: LocalStore, key: str, content: bytes | None, told: str
) -> None:
    if content is None:
        copy.delete(key)
    else:
        copy.put(key, content)
    log = load(copy)
    assert any(told in it for it in log.problems), log.problems
    assert log.of(Kind.training)
    assert findings(log)


def test_a_track_that_is_not_here_leaves_the_paths(copy: LocalStore) -> None:
    log = load_run(copy, "oval", [])
    assert log.track is None
    assert any("'circle' is not here" in it for it in log.problems)
    assert LapScale.of(log).sectors(rows_of(log.of(Kind.training))).max() < SECTORS


def test_another_track_of_that_name_is_not_taken_for_it(copy: LocalStore) -> None:
    np.save(copy.root.parent / "tracks" / "circle.npy", 1.5 * circle().route)
    log = load(copy)
    assert log.track is None
    assert any("another track" in it for it in log.problems)


# --- logs from elsewhere ---------------------------------------------------------------------------------------------


def test_a_folder_from_elsewhere_finds_its_track_by_its_shape(store: LocalStore, tmp_path: Path) -> None:
    """As DeepRacer-for-Cloud lays them out, with the oldest header and an unknown column, and no run.json."""
    folder = tmp_path / "model"
    for i in range(recorded.ITERATIONS):
        rows = pd.read_csv(store.root / artifacts.training_simtrace(i), dtype=str).drop(columns="pause_duration")
        target = folder / "training-simtrace" / f"{i}-iteration.csv"
        target.parent.mkdir(parents=True, exist_ok=True)
        rows.assign(worker="0").to_csv(target, index=False)
    shutil.copytree(store.root.parent / "tracks", tmp_path / "tracks")
    crossed = ring()
    crossed[30, 2:4] = 1.04 * crossed[30, :2]
    np.save(tmp_path / "tracks" / "another.npy", crossed)
    (folder / "metrics").mkdir()
    shutil.copy(store.root / artifacts.TRAINING_METRICS, folder / "metrics" / "TrainingMetrics.json")
    with warnings.catch_warnings():
        warnings.simplefilter("error", InputWarning)  # of another track
        (log,) = load_folder(LocalStore(folder), "model", [tmp_path / "tracks"])
    assert (log.name, log.track and log.track.name, log.is_reversed) == ("model", "circle", False)
    ours = load(store)
    assert [it.reward for it in log.of(Kind.training)] == [it.reward for it in ours.of(Kind.training)]
    # no metadata: actions are named by what they commanded
    use = action_use(log, log.traced(Kind.training), LapScale.of(log))
    assert use is not None
    assert use.labels[0] == "-30° 2.0 m/s"


def test_a_track_against_its_own_direction_is_turned_over(store: LocalStore, tmp_path: Path) -> None:
    tracks = tmp_path / "tracks"
    tracks.mkdir()
    np.save(tracks / "there.npy", circle().reversed().route)
    (log,) = load_folder(LocalStore(store.root / "iteration-data" / "training" / "training-simtrace"), "x", [tracks])
    assert log.track is not None
    assert log.is_reversed
    rows = rows_of(log.of(Kind.training))
    agree = log.track.project(rows["x_m"], rows["y_m"]).nearest_waypoint == rows["closest_waypoint"]
    assert agree.mean() > 0.99


def test_a_folder_without_logs_and_a_wrong_track_are_refused(store: LocalStore, tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("x")
    with pytest.raises(InputError, match=r"iteration\.csv"):
        load_folder(LocalStore(tmp_path), "x", [])
    big = Track("big", 2.0 * circle().route)
    with pytest.raises(InputError, match=r"whose lap is 18\.85 m"):
        load_folder(LocalStore(store.root / "iteration-data"), "x", [], big)


def test_several_models_in_a_folder_are_several_logs(store: LocalStore, tmp_path: Path) -> None:
    for name in ("alpha-one", "beta-two"):
        shutil.copytree(store.root / "iteration-data", tmp_path / "traces" / name / "iteration-data")
    shutil.copy(store.root / artifacts.TRAINING_METRICS, tmp_path / "beta-training_metrics.json")
    logs = load_folder(LocalStore(tmp_path), "x", [])
    assert [log.name for log in logs] == ["alpha-one", "beta-two"]
    assert ["no metrics file" in "".join(log.problems) for log in logs] == [True, False]


def test_entropy_comes_from_log_lines_where_there_is_nothing_else(store: LocalStore, tmp_path: Path) -> None:
    shutil.copytree(store.root / "iteration-data", tmp_path / "m")
    line = "Policy training> Surrogate loss={}, KL divergence={}, Entropy={}, training epoch={}, learning_rate=0.0003\n"
    values = [(-0.1, 0.01, 2.6, 0), (-0.2, 0.02, 2.5, 1), (-0.3, 0.03, 2.4, 0), (-0.4, 0.04, 2.3, 1)]
    (tmp_path / "m" / "training.log").write_text("starting\n" + "".join(line.format(*it) for it in values))
    (log,) = load_folder(LocalStore(tmp_path / "m"), "m", [])
    assert log.updates["entropy"].tolist() == [2.5, 2.3]
    assert log.updates["policy_loss"].tolist() == [-0.2, -0.4]


@pytest.mark.skipif(
    not SHARED_REFERENCE.is_dir(), reason="recorded files of real runs lie beside the checkout, not here"
)
def test_recorded_runs_of_the_console_and_drfc(tmp_path: Path) -> None:
    for name in ("console-reinvent_base", "drfc-reinvent_base"):
        shutil.copytree(SHARED_REFERENCE / "simtraces" / name, tmp_path / name)
    shutil.copytree(SHARED_REFERENCE / "metrics", tmp_path / "metrics")
    console, drfc = load_folder(LocalStore(tmp_path), "reference", [SHARED_REFERENCE / "tracks"])
    assert [log.track and log.track.name for log in (console, drfc)] == ["reinvent_base", "reinvent_base"]
    content = json.loads((SHARED_REFERENCE / "metrics" / "console-training_metrics.json").read_text())
    rows = pd.DataFrame(content["metrics"])
    training = rows[rows["phase"] == "training"]
    mine = console.of(Kind.training)
    assert [it.number + 1 for it in mine] == training["episode"].tolist()
    assert [round(it.reward) for it in mine] == training["reward_score"].tolist()
    assert [math.floor(it.completion_pct) for it in mine] == training["completion_percentage"].tolist()
    assert [round(1000 * it.time_s) for it in mine] == training["elapsed_time_in_milliseconds"].tolist()
    complete = training[training["episode_status"] == "Lap complete"]
    assert [it.number + 1 for it in mine if it.complete] == complete["episode"].tolist()
    assert [it.time_s for it in drfc.of(Kind.evaluation)] == [14.325, 13.99, 13.944]
    assert len(exits(console.traced(Kind.training))) == sum(
        it.outcome is EpisodeStatus.off_track for it in console.traced(Kind.training)
    )
