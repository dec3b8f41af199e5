"""The images as the batch launcher starts them: the trainer as SageMaker does, a simulator as AWS Batch does, with just
the variables that the launcher sets, on the local engine and moto's server."""

import json
import threading
from pathlib import Path

import pytest

from contract import artifacts
from tests.aws_server import BUCKET, REGION, ROLE
from tests.cloud_support import Here, here, small_run
from tests.docker_engine import built_image, docker, job_folders
from undercut.backends.aws import batch, sagemaker
from undercut.backends.aws.jobs import Images
from undercut.backends.aws.launching import bring, plan_of
from undercut.backends.aws.resources import Resources
from undercut.backends.aws.settings import CloudSettings
from undercut.runs.run import Run
from undercut.runs.sessions import summary

__all__ = ["here"]
pytestmark = [pytest.mark.docker, pytest.mark.slow, pytest.mark.timeout(3600)]


def test_trainer_and_simulator_find_each_other_and_finish_a_run(here: Here, tmp_path: Path) -> None:
    trainer, simapp = built_image("trainer"), built_image("simapp")
    small_run("mine", here.folder)
    settings = CloudSettings.load({"launcher": "batch", "simulators": 1, "instance_type": "ml.c5.xlarge"})
    plan = plan_of(settings, REGION, "train", ["mine"])
    resources = Resources(REGION, BUCKET, "", ROLE, batch_queue="queue")
    bring(["mine"], resources)
    request = sagemaker.request(plan, resources, trainer, rollouts="redis")
    container = batch.definition_of(plan, resources, Images(trainer, simapp))["containerProperties"]

    outside = {name: value for name, value in here.server.environment().items() if name.startswith("AWS_")}
    for name in ("AWS_CONFIG_FILE", "AWS_SHARED_CREDENTIALS_FILE"):
        outside[name] = "/dev/null"

    def variables(values: dict[str, str]) -> list[str]:
        return [part for name, value in {**outside, **values}.items() for part in ("--env", f"{name}={value}")]

    ml = job_folders(tmp_path / "ml", request["HyperParameters"], {})
    own = variables({**request["Environment"], "TRAINING_JOB_NAME": plan.job})
    simulator_s = variables({one["name"]: one["value"] for one in container["environment"]})
    ended: dict[str, tuple[int, str]] = {}

    def run(name: str, *arguments: str) -> None:
        done = docker("run", "--rm", "--network", "host", *arguments, check=False, timeout_s=3000)
        ended[name] = done.returncode, done.stdout + done.stderr

    machines = [
        threading.Thread(target=run, args=("simulator", *simulator_s, simapp, *container["command"])),
        threading.Thread(target=run, args=("trainer", *own, "--volume", f"{ml}:/opt/ml", trainer, "train")),
    ]
    for machine in machines:
        machine.start()
    for machine in machines:
        machine.join()
    assert {name: status for name, (status, _) in ended.items()} == {"simulator": 0, "trainer": 0}, json.dumps(ended)
    assert "at work" in ended["trainer"][1] and "the trainer has ended" in ended["simulator"][1]
    assert "secret-of-the-test" not in json.dumps(ended)
    here.ran("pull", "mine", "--from", f"s3://{BUCKET}")
    assert summary(Run.open("mine"))["iterations"] == 1
    assert (ml / "model" / "agent" / "model.pb").exists()
    assert Run.open("mine").store.exists(artifacts.EVALUATION_METRICS)
