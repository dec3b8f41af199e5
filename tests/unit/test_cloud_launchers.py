"""Batch and RoboMaker launchers over HTTP: what they begin, they also end."""

import json
import urllib.request
from typing import Any

import pytest

from tests.aws_server import ACCOUNT, REGION, Fault
from tests.cloud_support import Here, Network, here, small_run
from undercut.backends.aws import jobs

__all__ = ["here"]
pytestmark = pytest.mark.slow

BATCH = ("--launcher", "batch", "--simulators", "1", "--simulator-type", "c5.xlarge")


@pytest.fixture
def network(here: Here, monkeypatch: pytest.MonkeyPatch) -> Here:
    for name, value in Network.made(here.server).variables().items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("UNDERCUT_CLOUD_INSTANCE_TYPE", "ml.c5.xlarge")
    small_run("mine", here.folder)

    def runs(request: dict[str, Any]) -> None:
        here.server.job(request["TrainingJobName"]).secondary_status = "Training"

    here.server.started = runs
    return here


def trainer(here: Here) -> Any:
    (name,) = {request["TrainingJobName"] for request in here.server.asked("CreateTrainingJob")}
    return here.server.job(name)


def streams(here: Here) -> list[str]:
    return [one["StreamName"] for one in here.server.client("kinesisvideo").list_streams()["StreamInfoList"]]


def test_robomakers_jobs_are_begun_and_ended_with_all_that_they_were_made_with(network: Here) -> None:
    network.cloud("train", "mine", "--launcher", "robomaker", "--simulators", "2", "--detach")
    (record,) = jobs.records()
    assert len(record.others) == 2 and record.launched
    asked = [one["simulationApplications"][0]["launchConfig"] for one in network.server.asked("CreateSimulationJob")]
    assert [one["environmentVariables"]["ROLLOUT_IDX"] for one in asked] == ["0", "1"]
    assert streams(network) == [f"dr-kvs-{record.job}-0", f"dr-kvs-{record.job}-1"]
    assert trainer(network).training_job_status == "InProgress"
    network.cloud("stop", "mine")
    assert trainer(network).training_job_status == "Stopped" and not streams(network)
    left = [one.get("status") for one in network.server.robomaker.values()]
    assert left == ["Canceled", "Canceled"]  # and the application is deleted
    network.cloud("stop", "mine")


def test_robomakers_end_is_said_when_aws_refuses(network: Here) -> None:
    network.server.faults["CreateSimulationApplication"] = Fault("AccessDeniedException", "no longer", 403)
    error, output = network.refused("train", "mine", "--launcher", "robomaker", "--simulators", "1")
    assert "2025-09-10" in error and "AWS_ENDPOINT_URL_ROBOMAKER" in error and "--launcher sagemaker or batch" in error
    assert not network.server.asked("CreateTrainingJob") and "nothing is left running" in output


def test_a_launch_that_breaks_off_half_way_ends_what_it_began(network: Here) -> None:
    network.server.faults["CreateSimulationJob"] = Fault("InvalidParameterException", "no such subnet", 400)
    error, output = network.refused("train", "mine", "--launcher", "robomaker", "--simulators", "2")
    assert "no such subnet" in error
    assert trainer(network).training_job_status == "Stopped" and not streams(network)
    assert not network.server.robomaker and "nothing is left running" in output


@pytest.fixture
def queue(network: Here, monkeypatch: pytest.MonkeyPatch) -> Here:
    """A queue of AWS Batch whose jobs need no containers."""
    plain = json.dumps({"batch": {"use_docker": False}}).encode()
    ask = urllib.request.Request(f"{network.server.endpoint}/moto-api/config", plain, method="POST")
    urllib.request.urlopen(ask, timeout=30).read()
    iam, batch = network.server.client("iam"), network.server.client("batch")
    role = iam.create_role(RoleName="batch", AssumeRolePolicyDocument="{}")["Role"]["Arn"]
    made = batch.create_compute_environment(
        computeEnvironmentName="here", type="UNMANAGED", state="ENABLED", serviceRole=role
    )
    order = [{"order": 1, "computeEnvironment": made["computeEnvironmentArn"]}]
    batch.create_job_queue(jobQueueName="simulators", state="ENABLED", priority=1, computeEnvironmentOrder=order)
    monkeypatch.setenv("UNDERCUT_CLOUD_BATCH_QUEUE", "simulators")
    return network


def test_batchs_simulators_are_begun_and_ended_with_the_trainer(queue: Here) -> None:
    queue.cloud(
        "train", "mine", "--launcher", "batch", "--simulators", "1", "--simulator-type", "c5.xlarge", "--detach"
    )
    (record,) = jobs.records()
    (simulators,) = queue.server.client("batch").describe_jobs(jobs=list(record.others))["jobs"]
    assert simulators["jobName"] == record.job
    assert trainer(queue).hyper_parameters["rollouts"] == "redis"
    assert record.job in queue.cloud("status")
    queue.cloud("stop", "mine")
    assert trainer(queue).training_job_status == "Stopped"
    (simulators,) = queue.server.client("batch").describe_jobs(jobs=list(record.others))["jobs"]
    assert simulators["status"] in ("FAILED", "SUCCEEDED")


def test_batch_without_its_trainer_ends_its_simulators(queue: Here) -> None:
    said = f"User: arn:aws:iam::{ACCOUNT}:user/me is not authorized to perform: sagemaker:CreateTrainingJob"
    queue.server.faults["CreateTrainingJob"] = Fault("AccessDeniedException", said, 400)
    error, output = queue.refused("train", "mine", *BATCH)
    assert "sagemaker:CreateTrainingJob" in error and "nothing is left running" in output
    (record,) = jobs.records()
    (simulators,) = queue.server.client("batch").describe_jobs(jobs=list(record.others))["jobs"]
    assert simulators["status"] in ("FAILED", "SUCCEEDED") and REGION in simulators["jobArn"]
