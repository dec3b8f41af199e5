"""`undercut cloud train` against moto's server over HTTP: the run that was made here trains in a job's own process,
with the variables and folders that the launcher and SageMaker set, and comes back."""

import json
import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from typer.testing import CliRunner

from contract import artifacts
from contract.config import RunConfig
from contract.stores.local import LocalStore
from scripts.cli import app
from scripts.runs import DEFAULT_METADATA, DEFAULT_REWARD, Run
from scripts.training.sessions import summary
from scripts.workspace import bucket_place
from tests.aws_server import BUCKET, AwsServer, SageMaker, aws

pytestmark = [pytest.mark.slow, pytest.mark.timeout(1800)]

SMALL = {
    "seed": 3,
    "cars": 4,
    "training": {"max_iterations": 1, "min_eval_trials": 1, "max_episode_steps": 20, "clean_evaluations": 0},
    "evaluation": {"number_of_trials": 1, "number_of_resets": 0, "max_lap_steps": 20},
}
HOST_FIELDS: tuple[str, ...] = ()
"""Fields of run.json that may differ between here and the cloud: none. What differs from machine to machine is in the
environment (contract/host.py)."""


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[tuple[AwsServer, Path]]:
    """An AWS, and a working directory whose process talks to it."""
    with aws() as server:
        folder = tmp_path / "here"
        folder.mkdir()
        monkeypatch.chdir(folder)
        for name in list(os.environ):
            if name.startswith(("AWS_", "UNDERCUT_")):
                monkeypatch.delenv(name)
        for name, value in server.environment().items():
            monkeypatch.setenv(name, value)
        bucket_place.cache_clear()
        yield server, folder
        bucket_place.cache_clear()


def small_run(name: str, folder: Path) -> Run:
    """A run that is a minute's work at most, with a racer's helper module and a track of its own."""
    hyperparameters = folder / "small.json"
    hyperparameters.write_text(json.dumps({"num_episodes_between_training": 5, "num_epochs": 3, "batch_size": 32}))
    (folder / "helper.py").write_text("SHARE = 0.5\n")
    reward = folder / "my_reward.py"
    reward.write_text("import helper\n" + DEFAULT_REWARD.read_text())
    config = RunConfig.build({**SMALL, "name": name}, "test")
    return Run.create(config, reward, DEFAULT_METADATA, hyperparameters)


def cloud(*arguments: str) -> str:
    """The command line in this process; what it printed."""
    ran = CliRunner().invoke(app, ["cloud", *arguments], catch_exceptions=False)
    assert ran.exit_code == 0, ran.output
    return ran.output


def test_a_run_trains_there_comes_back_and_goes_on_in_both(here: tuple[AwsServer, Path], tmp_path: Path) -> None:
    server, folder = here
    sagemaker = SageMaker(server, tmp_path / "ml")
    given = small_run("mine", folder).store.get(artifacts.RUN_CONFIG)
    said = cloud("train", "mine")
    sagemaker.join()

    # golden: the job read the run that was made here, byte for byte
    read = server.client("s3").get_object(Bucket=BUCKET, Key="runs/mine/run.json")["Body"].read()
    assert read == given and HOST_FIELDS == ()
    # it came back whole
    mine = Run.open("mine")
    assert summary(mine)["iterations"] == 1 and summary(mine)["laps"] is not None
    assert mine.store.get(artifacts.RUN_CONFIG) == given
    assert mine.store.exists(artifacts.car_bundle("mine")) and mine.store.exists(artifacts.TRAINING_PLOT)
    assert "launched undercut-mine-" in said and "brought runs/mine" in said
    assert "reward-training" in said and "Training> Name" not in said
    assert "Training> Name=main_level/agent" in cloud("logs", "mine")
    # no secret in what was launched, recorded or said
    asked = json.dumps(server.asked("CreateTrainingJob"))
    record = next((folder / "cloud").glob("*.json")).read_text()
    for text in (asked, record, said):
        assert "secret-of-the-test" not in text and "AKIA" not in text

    # here: one more iteration; there: another one from where it stands
    longer = {**SMALL, "name": "mine", "training": {**SMALL["training"], "max_iterations": 2}}  # type: ignore[dict-item]
    ran = CliRunner().invoke(app, ["train", "mine", "--iterations", "2"], catch_exceptions=False)
    assert ran.exit_code == 0, ran.output
    assert RunConfig.build(longer, "test") == Run.open("mine").config
    CliRunner().invoke(app, ["train", "mine", "--iterations", "3", "--backend", "cloud"], catch_exceptions=False)
    sagemaker.join()
    assert summary(Run.open("mine"))["iterations"] == 3
    assert "Completed" in cloud("status")
    assert LocalStore(folder / "runs" / "mine").exists(artifacts.REWARD_FUNCTION)
