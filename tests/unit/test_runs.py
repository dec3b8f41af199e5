"""A run on disk: what a resume keeps, and what it carries along."""

from pathlib import Path

import pytest

from contract import artifacts
from contract.config import RunConfig
from contract.errors import InputError
from contract.params import read_evaluation_params, read_training_params
from scripts.runs import RacerFiles, Run, default_hyperparameters
from tests.conftest import REPO

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
