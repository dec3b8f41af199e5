"""A SageMaker job's inputs: hyperparameters, channels and variables, as SageMaker and AWS's guidance write them."""

import json
import os
import re
import shutil
import sys
from pathlib import Path

import pytest

from contract import artifacts
from contract.errors import InputError
from contract.stores.local import LocalStore
from simapp.reward_service.service import RewardService
from tests.conftest import REPO
from undercut.backends.aws import sagemaker_job
from undercut.backends.aws.job_run import Folders, config_of, open_or_create, run_store
from undercut.backends.aws.sagemaker_job import FAILURE_CHARACTERS, main, set_variables, settings_of
from undercut.runs.run import DEFAULT_METADATA, DEFAULT_REWARD

GUIDANCE = {
    "s3_bucket": "deepracer",
    "s3_prefix": "deepracer-run",
    "aws_region": "us-east-1",
    "model_metadata_s3_key": "deepracer-run/model/model_metadata.json",
    "reward_function_s3_source": "deepracer-run/customer_reward_function.py",
    "batch_size": "64",
    "num_epochs": "10",
    "stack_size": "1",
    "lr": "0.0003",
    "exploration_type": "Categorical",
    "e_greedy_value": "1",
    "epsilon_steps": "10000",
    "beta_entropy": "0.01",
    "discount_factor": "0.999",
    "loss_type": "Huber",
    "num_episodes_between_training": "20",
    "max_sample_count": "0",
    "sampling_frequency": "1",
}
"""The notebook's hyperparameters."""


@pytest.fixture
def folders(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Folders:
    """/opt/ml of a job with one channel that has the racer's files; variables of the job go with the test."""
    made = Folders(tmp_path / "ml")
    made.config.mkdir(parents=True)
    channel = made.data / "racer"
    channel.mkdir(parents=True)
    shutil.copy(DEFAULT_REWARD, channel / artifacts.REWARD_FUNCTION)
    shutil.copy(DEFAULT_METADATA, channel / "model_metadata.json")
    monkeypatch.setattr(os, "environ", {**os.environ, "TRAINING_JOB_NAME": "my-job-2026"})
    return made


def give(folders: Folders, **settings: str) -> dict[str, str]:
    (folders.config / "hyperparameters.json").write_text(json.dumps(settings))
    return settings_of(folders)


def test_the_guidances_hyperparameters_are_known(folders: Folders) -> None:
    assert give(folders, **GUIDANCE) == GUIDANCE
    assert run_store(folders, GUIDANCE, "my-job").where() == "s3://deepracer/deepracer-run"


def test_pythons_client_writes_json_and_settings_of_its_own(folders: Folders) -> None:
    given = {
        "batch_size": '"128"',
        "lr": "0.0003",
        "loss_type": '"Huber"',
        "sagemaker_program": '"training_worker.py"',
        "sagemaker_region": '"us-east-1"',
    }
    assert give(folders, **given) == {"batch_size": "128", "lr": "0.0003", "loss_type": "Huber"}


def test_an_unknown_hyperparameter_is_named_with_the_nearest(folders: Folders) -> None:
    with pytest.raises(InputError, match=r"(?s)batchsize.*batch_size"):
        give(folders, batchsize="64")


def test_training_hyperparameters_are_strings_and_become_the_runs(folders: Folders) -> None:
    run = open_or_create(folders, give(folders, batch_size="128", lr="0.0001", loss_type="mean squared error"))
    hyper = json.loads(run.store.get(artifacts.HYPERPARAMETERS))
    assert (hyper["batch_size"], hyper["lr"], hyper["loss_type"]) == (128, 0.0001, "mean squared error")
    assert run.config.name == "my-job-2026"
    assert run.store.get(artifacts.REWARD_FUNCTION) == DEFAULT_REWARD.read_bytes()


def test_a_channel_brings_the_program_that_rewards(folders: Folders) -> None:
    """As a run keeps it: reward/reward.json with its files, and a stub where reward_function.py is looked for."""
    channel = folders.data / "racer"
    service = RewardService.load(REPO / "rewards" / "programs" / "perl.yaml")
    for key, content in service.files().items():
        (channel / key).parent.mkdir(exist_ok=True)
        (channel / key).write_bytes(content)
    run = open_or_create(folders, give(folders))
    assert str(run.files.reward.path).endswith(artifacts.REWARD_DESCRIPTION)
    assert run.files.reward.files() == service.files()
    again = open_or_create(folders, give(folders))  # interrupted, and begun again
    assert again.files.reward.files() == service.files()


def test_run_config_is_the_whole_job(folders: Folders) -> None:
    config = {"name": "mine", "track": "switchback", "seed": 7, "training": {"max_iterations": 3}}
    run = open_or_create(folders, give(folders, run_config=json.dumps(config)))
    told = run.config
    assert (told.name, told.track, told.seed, told.training.max_iterations) == ("mine", "switchback", 7, 3)


def test_the_guidances_yaml_and_world(folders: Folders, tmp_path: Path) -> None:
    params = tmp_path / "training_params.yaml"
    shutil.copy(REPO / "actions" / "params" / "training_params.yaml", params)
    config = config_of({}, {"training_params.yaml": params}, "job")
    assert config.name == "job"
    turned = {"world_name": "paddock", "track_direction_clockwise": "true"}
    assert config_of(turned, {}, "job").track == "paddock_cw"
    assert (
        config_of({"world_name": "paddock_ccw", "track_direction_clockwise": "true"}, {}, "job").track == "paddock_ccw"
    )


def test_an_interrupted_job_goes_on_from_its_checkpoints(folders: Folders) -> None:
    settings = give(folders, batch_size="128")
    assert run_store(folders, settings, "a").where().startswith(str(folders.output / "data"))
    folders.checkpoints.mkdir()  # there where the job has a checkpoint location
    run = open_or_create(folders, settings)
    assert run.store.where() == str(folders.checkpoints / "my-job-2026")
    run.store.put("model/kept", b"of the first try")
    again = open_or_create(folders, settings)
    assert again.store.get("model/kept") == b"of the first try"
    with pytest.raises(InputError, match="resumed run keeps"):
        open_or_create(folders, give(folders, batch_size="64"))


def test_missing_files_are_named_with_where_they_were_looked_for(folders: Folders) -> None:
    (folders.data / "racer" / artifacts.REWARD_FUNCTION).unlink()
    with pytest.raises(InputError, match=r"(?s)reward_function\.py.*racer.*reward_function_s3_source"):
        open_or_create(folders, give(folders))


def test_variables_are_sagemakers(folders: Folders) -> None:
    resources = {"current_host": "algo-1", "hosts": ["algo-1"], "network_interface_name": "eth0"}
    (folders.config / "resourceconfig.json").write_text(json.dumps(resources))
    (folders.config / "inputdataconfig.json").write_text(json.dumps({"racer": {"TrainingInputMode": "File"}}))
    set_variables(folders, give(folders, lr="0.0001", aws_region="eu-west-1"))
    assert os.environ["SM_CHANNEL_RACER"] == str(folders.data / "racer")
    assert json.loads(os.environ["SM_CHANNELS"]) == ["racer"]
    assert json.loads(os.environ["SM_HPS"]) == {"lr": "0.0001", "aws_region": "eu-west-1"}
    assert (os.environ["SM_HP_LR"], os.environ["SM_MODEL_DIR"]) == ("0.0001", str(folders.model))
    assert os.environ["AWS_REGION"] == "eu-west-1"
    assert json.loads(os.environ["SM_RESOURCE_CONFIG"]) == resources


@pytest.mark.parametrize(
    ("settings", "expected"), [({"lr": "fast"}, r"lr.*'fast'"), ({"run_config": '{"name": "a", "trak": 1}'}, "trak")]
)
def test_a_failure_is_written_where_sagemaker_reads_it(
    folders: Folders,
    settings: dict[str, str],
    expected: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    give(folders, **settings)
    monkeypatch.setattr(sys, "argv", ["undercut-job", "train"])
    with pytest.raises(SystemExit) as ended:
        main(folders)
    failure = LocalStore(folders.output).get("failure").decode()
    assert ended.value.code == 1
    assert re.search(expected, failure) and len(failure) <= FAILURE_CHARACTERS
    assert failure[:60] in capsys.readouterr().err


def test_another_argument_than_train_is_a_usage_error(
    folders: Folders, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys, "argv", ["undercut-job", "serve"])
    with pytest.raises(SystemExit) as ended:
        main(folders)
    assert ended.value.code == 2 and "docker run IMAGE train" in capsys.readouterr().err
    assert not (folders.output / "failure").exists()


def test_a_programming_error_leaves_its_traceback_in_the_log(
    folders: Folders, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def fail(*_: object) -> None:
        raise ZeroDivisionError("by zero")

    monkeypatch.setattr(sagemaker_job, "set_variables", fail)
    monkeypatch.setattr(sys, "argv", ["undercut-job", "train"])
    with pytest.raises(SystemExit):
        main(folders)
    assert "Traceback" in capsys.readouterr().err
    assert LocalStore(folders.output).get("failure") == b"ZeroDivisionError: by zero"
