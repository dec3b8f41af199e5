"""The images as SageMaker and RoboMaker start them, on the local engine."""

import io
import json
import subprocess
import tarfile
import threading
from pathlib import Path

import pytest

from tests.docker_engine import built_image, docker, job_folders, until
from undercut.runs.run import DEFAULT_METADATA, DEFAULT_REWARD

pytestmark = [pytest.mark.docker, pytest.mark.slow, pytest.mark.timeout(3600)]

SHORT = {
    "name": "cloud",
    "training": {"max_iterations": 1, "min_eval_trials": 1, "max_episode_steps": 40},
    "evaluation": {"number_of_trials": 1, "number_of_resets": 0, "max_lap_steps": 60},
}
JOB = {
    "run_config": json.dumps(SHORT),
    "num_epochs": "3",
    "num_episodes_between_training": "5",
    "sagemaker_region": '"us-east-1"',
}
FILES = {"reward_function.py": DEFAULT_REWARD, "model_metadata.json": DEFAULT_METADATA}


@pytest.fixture(scope="module")
def trainer() -> str:
    return built_image("trainer")


def as_sagemaker(image: str, ml: Path, *options: str) -> "subprocess.CompletedProcess[str]":
    """docker run IMAGE train, with the job's folders and name, as SageMaker's documentation has it."""
    mounts = ("--volume", f"{ml}:/opt/ml", "--env", "TRAINING_JOB_NAME=my-job", "--network", "none")
    return docker("run", "--rm", *mounts, *options, image, "train", check=False)


def test_a_training_job_leaves_the_cars_bundle_for_model_tar_gz(trainer: str, tmp_path: Path) -> None:
    ml = job_folders(tmp_path / "ml", JOB, FILES)
    run = as_sagemaker(trainer, ml)
    assert run.returncode == 0, run.stdout + run.stderr
    assert not (ml / "output" / "failure").exists()
    kept = ml / "checkpoints" / "cloud"
    with tarfile.open(fileobj=io.BytesIO((kept / "train-output/cloud/output/model.tar.gz").read_bytes())) as tar:
        for member in tar.getmembers():
            content = tar.extractfile(member)
            assert content is not None and (ml / "model" / member.name).read_bytes() == content.read()
    assert (ml / "model" / "agent" / "model.pb").stat().st_size > 10**6
    assert (ml / "model" / "reward_function.py").read_bytes() == DEFAULT_REWARD.read_bytes()
    # lines that the guidance's metric definitions match
    assert "Training> Name=main_level/agent" in run.stdout and "Policy training> Surrogate loss=" in run.stdout
    # nothing was written as root
    assert {path.stat().st_uid for path in kept.rglob("*")} == {10001}


def test_a_job_that_cannot_be_done_says_why_in_the_failure_file(trainer: str, tmp_path: Path) -> None:
    reward = tmp_path / "broken.py"
    reward.write_text("def reward_function(params):\n    return params['sped']\n")
    ml = job_folders(tmp_path / "ml", JOB, {**FILES, "reward_function.py": reward})
    run = as_sagemaker(trainer, ml)
    assert run.returncode == 1, run.stdout + run.stderr
    failure = (ml / "output" / "failure").read_text()
    assert "sped" in failure and len(failure) <= 1024
    assert not list((ml / "model").iterdir())


def test_a_job_that_is_stopped_keeps_what_is_finished(trainer: str, tmp_path: Path) -> None:
    long = {**SHORT, "training": {**SHORT["training"], "max_iterations": 500, "clean_evaluations": 0}}  # type: ignore[dict-item]
    ml = job_folders(tmp_path / "ml", {**JOB, "run_config": json.dumps(long)}, FILES)
    ended: list[subprocess.CompletedProcess[str]] = []
    name = f"stopped-{tmp_path.name}"
    job = threading.Thread(target=lambda: ended.append(as_sagemaker(trainer, ml, "--name", name)))
    job.start()
    until("a first iteration", (ml / "checkpoints/cloud/model/deepracer_checkpoints.json").exists)
    docker("stop", "--time", "120", name)  # what StopTrainingJob and a spot interruption do
    job.join(180)
    assert ended and ended[0].returncode == 0, ended
    assert (ml / "model" / "agent" / "model.pb").exists()
    assert not (ml / "output" / "failure").exists()


def test_a_wrong_hyperparameter_fails_at_once(trainer: str, tmp_path: Path) -> None:
    ml = job_folders(tmp_path / "ml", {**JOB, "batchsize": "64"}, FILES)
    run = as_sagemaker(trainer, ml)
    assert run.returncode == 1
    assert "batch_size" in (ml / "output" / "failure").read_text()


@pytest.fixture(scope="module")
def simapp() -> str:
    return built_image("simapp")


def test_the_simulators_image_is_robomakers_kind(simapp: str, trainer: str) -> None:
    for image in (simapp, trainer):
        config = json.loads(docker("inspect", "--format", "{{json .Config}}", image).stdout)
        assert not config.get("Volumes") and not config.get("ExposedPorts") and not config.get("Cmd")
    assert json.loads(docker("inspect", "--format", "{{json .Config}}", simapp).stdout)["User"] == "10001:10001"


def test_a_launch_command_runs_on_a_read_only_root(simapp: str) -> None:
    contained = ("--read-only", "--tmpfs", "/tmp", "--cap-drop", "ALL", "--security-opt", "no-new-privileges")
    run = docker("run", "--rm", *contained, simapp, "/bin/bash", "-c", "id -u && undercut worker", check=False)
    assert run.stdout.splitlines()[0] == "10001"
    assert run.returncode == 2 and "UNDERCUT_REDIS_URL" in run.stderr


def test_the_kernels_come_compiled(simapp: str) -> None:
    compile_again = (
        "ls /opt/undercut/kernels/*/*.nbi | wc -l; python -m simapp.kernels; find $NUMBA_CACHE_DIR -newer /proc/1"
    )
    run = docker("run", "--rm", simapp, "bash", "-c", compile_again)
    lines = run.stdout.splitlines()
    assert int(lines[0]) > 30
    assert not [line for line in lines[1:] if line.endswith(".nbc")], "kernels of the same CPU were compiled again"
