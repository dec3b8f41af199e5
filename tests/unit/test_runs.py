"""A run on disk: what a resume keeps, and what it carries along."""

import os
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner

from contract import artifacts
from contract.config import RunConfig
from contract.errors import InputError
from contract.params import read_evaluation_params, read_training_params
from contract.stores.local import LocalStore
from tests.conftest import REPO
from tests.minio_server import MinioServer
from tests.support import ring
from trainer.checkpoints import Checkpoints
from undercut.api import prepare
from undercut.cli.main import app
from undercut.runs.run import RacerFiles, Run, default_hyperparameters, run_names
from undercut.runs.workspace import run_place, workspace

FILES = (
    REPO / "rewards" / "follow_center_line.py",
    REPO / "actions" / "default.json",
    REPO / "actions" / "hyperparameters.json",
)
CARRIED = {"SAGEMAKER_SHARED_S3_BUCKET": "some-bucket", "NUM_WORKERS": "4"}


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Run:
    monkeypatch.chdir(tmp_path)
    return Run.create(RunConfig(name="a"), *FILES, CARRIED)


def _carried(run: Run) -> dict[str, object]:
    text = run.store.get(artifacts.TRAINING_PARAMS).decode()
    return {key: value for key, value in read_training_params(text, "x").carried.items() if key in CARRIED}


def test_keys_without_an_effect_are_carried_along(run: Run) -> None:
    assert _carried(run) == CARRIED
    again = Run.open("a").remake(run.config)
    assert _carried(again) == CARRIED
    changed = Run.open("a").remake(run.config, {"NUM_WORKERS": "2"})
    assert _carried(changed) == {**CARRIED, "NUM_WORKERS": "2"}


def test_an_evaluations_own_parameters_are_written_beside_the_runs_config(run: Run) -> None:
    driven = RunConfig.build(run.config.model_dump() | {"track": "paddock_cw", "car_color": "Red"}, "test")
    run.write_evaluation_params(driven, {"AWS_REGION": "eu-west-1"})
    read = read_evaluation_params(run.store.get(artifacts.EVALUATION_PARAMS).decode(), "x")
    assert (read.values["track"], read.values["car_color"]) == ("paddock_cw", "Red")
    assert read.carried["AWS_REGION"] == "eu-west-1"
    assert Run.open("a").config == run.config


@pytest.mark.parametrize(
    "change",
    [
        {"race": {"race_type": "HEAD_TO_BOT", "number_of_bot_cars": 2}},
        {"enable_domain_randomization": True},
        {"randomization": {"light": (1.0, 1.0)}},
        {"seed": 5},
    ],
)
def test_a_resumed_run_keeps_what_decides_its_numbers(run: Run, change: dict[str, object]) -> None:
    changed = RunConfig.build(run.config.model_dump() | change, "test")
    with pytest.raises(InputError, match=f"run a: {next(iter(change))}"):
        run.remake(changed)
    assert Run.open("a").config == run.config


def test_a_run_that_has_learned_nothing_begins_again_with_other_files(run: Run, tmp_path: Path) -> None:
    """And keeps what is not given anew; once it has a checkpoint it is what it was."""
    (tmp_path / "helper.py").write_text("PAID = 0.5\n")
    (tmp_path / "first.py").write_text("import helper\ndef reward_function(params):\n    return params['sped']\n")
    (tmp_path / "second.py").write_text("def reward_function(params):\n    return 2.0\n")
    (tmp_path / "hyper.json").write_text('{"batch_size": 128}')
    place = run_place("b")
    first = prepare(place, RunConfig(name="b"), tmp_path / "first.py", None, tmp_path / "hyper.json")
    place.put(artifacts.ITERATIONS, b"[]")
    other = first.config.model_copy(update={"seed": 7})
    with pytest.raises(InputError, match="a changed file"):
        prepare(place, other, tmp_path / "second.py")
    prepare(place, other, tmp_path / "second.py", begins_again=True)
    again = Run.open("b")
    assert again.files.reward.instance()({}) == 2.0
    assert (again.config.seed, again.files.hyperparameters.batch_size) == (7, 128)
    assert not place.exists("helper.py")
    assert not place.exists(artifacts.ITERATIONS)
    Checkpoints(place).save(0, 100, {"index": b"none"}, b"graph", 50.0, {})
    with pytest.raises(InputError, match="a changed file"):
        prepare(place, other, tmp_path / "first.py", begins_again=True)


def test_every_sensor_and_algorithm_is_taken(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for name in ("stereo_lidar_shallow_single_speed", "front_shallow_continuous_sac"):
        made = Run.create(RunConfig(name=name), FILES[0], REPO / "actions" / f"{name}.json", FILES[2])
        assert Run.open(name).files.metadata.sensors == made.files.metadata.sensors


def test_e_greedy_needs_discrete_actions(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "hyper.json").write_text('{"exploration_type": "e-greedy"}')
    metadata = REPO / "actions" / "front_shallow_continuous_ppo.json"
    with pytest.raises(InputError, match=r"hyper\.json: exploration_type.*\n.*needs discrete"):
        Run.create(RunConfig(name="t"), FILES[0], metadata, tmp_path / "hyper.json")
    assert not Run.exists("t")


def test_each_algorithm_has_hyperparameters_of_its_own() -> None:
    for name, algorithm in (("default", "clipped_ppo"), ("front_shallow_continuous_sac", "sac")):
        metadata = REPO / "actions" / f"{name}.json"
        loaded = RacerFiles.load(FILES[0], metadata, default_hyperparameters(metadata))
        assert loaded.metadata.algorithm == algorithm


def test_a_run_keeps_its_own_track_and_the_modules_beside_its_reward(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """So that it opens where the racer's folders are not."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "tracks").mkdir()
    np.save(tmp_path / "tracks" / "mine.npy", ring())
    (tmp_path / "reward.py").write_text(
        "from tuning.speed import BEST\ndef reward_function(params):\n    return BEST\n"
    )
    (tmp_path / "tuning").mkdir()
    (tmp_path / "tuning" / "speed.py").write_text("BEST = 2.5\n")
    made = Run.create(RunConfig(name="a", track="mine_cw"), tmp_path / "reward.py", *FILES[1:])
    route, helper = made.track().route, tmp_path / "tuning" / "speed.py"
    made.same_files(tmp_path / "reward.py", None, None)
    helper.write_text("BEST = 3.5\n")
    with pytest.raises(InputError, match=r"run a: tuning/speed\.py"):
        made.same_files(tmp_path / "reward.py", None, None)
    for path in (tmp_path / "reward.py", helper, tmp_path / "tracks" / "mine.npy"):
        path.unlink()
    opened = Run.open("a")
    assert np.array_equal(opened.track().route, route)
    assert opened.files.reward.instance()({}) == 2.5


def test_runs_are_listed_newest_first_and_without_what_is_none(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert run_names() == []
    for age_s, name in enumerate(("c", "a", "b")):
        made = Run.create(RunConfig(name=name), *FILES)
        os.utime(made.store.where(artifacts.RUN_CONFIG), (1e9 - age_s, 1e9 - age_s))
    LocalStore(tmp_path).put("runs/none/model/model_0.pb", b"")
    assert run_names() == ["c", "a", "b"]


def test_a_run_that_was_never_driven_is_listed_without_numbers(run: Run) -> None:
    shown = CliRunner().invoke(app, ["runs"]).output
    (row,) = [line for line in shown.splitlines() if "│ a " in line]
    assert [cell.strip() for cell in row.strip("│").split("│")] == ["a", run.config.track, "0", "0", "-", "-"]


@pytest.mark.minio
def test_a_run_in_a_bucket_opens_from_its_files(
    tmp_path: Path, minio: MinioServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    for name, value in minio.environment().items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("UNDERCUT_STORE", minio.empty_store().where())
    (tmp_path / "reward.py").write_text("import speed\ndef reward_function(params):\n    return speed.BEST\n")
    (tmp_path / "speed.py").write_text("BEST = 2.5\n")
    np.save(tmp_path / "mine.npy", ring())
    with workspace().locked("runs/a") as place:
        Run.create(RunConfig(name="a", track="mine.npy"), tmp_path / "reward.py", *FILES[1:], CARRIED, place)
    for name in ("reward.py", "speed.py", "mine.npy"):
        (tmp_path / name).unlink()
    opened = Run.open("a")
    assert opened.store.where() == f"{workspace().where()}/runs/a"
    assert opened.files.reward.instance()({}) == 2.5
    assert np.array_equal(opened.track().route, ring())
    assert _carried(opened) == CARRIED
    assert run_names() == ["a"]
    with pytest.raises(InputError, match=r"a run in s3://undercut/.*/runs/ \(there are: a\)"):
        Run.open("b")
    assert list(tmp_path.iterdir()) == []
