"""`undercut.aws.estimator` in an environment with SageMaker's SDK: it asks moto's server for what `undercut cloud
train` asks for, but for what the SDK adds; and it tells nobody of it."""

import json
import os
import subprocess
from pathlib import Path
from typing import Any

import pytest
from uv import find_uv_bin

from contract import artifacts
from tests.aws_server import BUCKET, AwsServer
from tests.cloud_support import Here, Network, here, small_run
from tests.conftest import REPO
from tests.docker_engine import built_image, docker
from tests.proxy import Proxy
from tests.unit.test_cloud_requests import IMAGES, RESOURCES, SETTINGS, fits, plan
from undercut.backends.aws.estimator import arguments
from undercut.backends.aws.sagemaker import request
from undercut.runs.run import Run
from undercut.runs.sessions import summary

__all__ = ["here"]

PROGRAM = """
import json, sys
import sagemaker.telemetry.telemetry_logging as telemetry
from undercut.aws import estimator

told = []
telemetry._requests_helper = lambda *asked: told.append(asked)
job = estimator("mine", **json.loads(sys.argv[1]))
name = job.output_path.rpartition("/")[2]
job.fit(wait=False, job_name=name)
print(json.dumps({"kind": type(job).__mro__[0].__module__, "base": job.base_job_name, "telemetry": told}))
"""
ADDED = {"ProfilerConfig": {"DisableProfiler": True}}
"""What the SDK puts into a request of its own."""


@pytest.mark.parametrize("settings", SETTINGS)
def test_the_estimators_arguments_name_everything_of_the_request(settings: dict[str, Any]) -> None:
    made = request(plan(**settings), RESOURCES, IMAGES.trainer)
    told = arguments(made)
    assert told["base_job_name"] == "undercut-my-run-1"
    left = json.dumps([value for value in told.values() if value is not None], default=str)
    for value in leaves(made):
        assert json.dumps(value) in left or value == made["TrainingJobName"], value


def leaves(value: Any) -> list[Any]:
    if isinstance(value, dict):
        return [leaf for one in value.values() for leaf in leaves(one)]
    if isinstance(value, list):
        return [leaf for one in value for leaf in leaves(one)]
    return [value]


def test_without_the_sdk_it_says_where_to_get_it() -> None:
    from contract.errors import UndercutError
    from undercut.aws import estimator

    with pytest.raises(UndercutError, match=r"pip install 'undercut\[sagemaker\]'"):
        estimator("mine")


@pytest.fixture(scope="module")
def python(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Of an environment with undercut[sagemaker], built from this checkout."""
    folder = tmp_path_factory.mktemp("sdk") / "env"
    for words in (
        ["venv", "-q", "--python", "3.11", str(folder)],
        ["pip", "install", "-q", "--python", str(folder), f"{REPO}[sagemaker]"],
    ):
        done = subprocess.run([find_uv_bin(), *words], capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr
    return folder / "bin" / "python"


@pytest.mark.slow
def test_it_asks_for_what_we_ask_for(python: Path, here: Here) -> None:
    small_run("mine", here.folder)
    network = Network.made(here.server)
    vpc = {"subnets": list(network.subnets), "security_groups": [network.group]}
    every: tuple[dict[str, Any], ...] = (
        {},
        {"spot": True, "workers": 4, "max_cost": 1.0, "tags": ["team=red"]},
        {"simulators": 2, "simulator_type": "ml.c5.xlarge", "keep_alive_minutes": 5, **vpc},
    )
    for settings in every:
        told = asked_by_sdk(python, here.server, settings)
        assert told["kind"] == "sagemaker.estimator" and told["base"] == "undercut-mine" and told["telemetry"] == []
        # ours, by the command line's own code
        options = {f"UNDERCUT_CLOUD_{key.upper()}": value for key, value in settings.items()}
        with pytest.MonkeyPatch.context() as patch:
            for name, value in options.items():
                patch.setenv(name, ",".join(value) if isinstance(value, list) else str(value))
            here.cloud("train", "mine", "--detach")
        theirs, ours = here.server.asked("CreateTrainingJob")[-2:]
        fits("sagemaker", "CreateTrainingJob", theirs)
        name = theirs.pop("TrainingJobName")
        ours = json.loads(json.dumps(ours).replace(ours["TrainingJobName"], name))
        ours.pop("TrainingJobName")
        assert {key: value for key, value in theirs.items() if key not in ADDED} == without_defaults(ours)
        assert {key: theirs[key] for key in ADDED if key in theirs} == ADDED


LOCAL = """
import sys
from undercut.aws import estimator

job = estimator("mine", local=True, trainer_image=sys.argv[1])
job.fit()
"""


@pytest.mark.docker
@pytest.mark.slow
@pytest.mark.timeout(3600)
def test_local_mode_finishes_a_run_on_the_engine(python: Path, here: Here) -> None:
    """The SDK's own folders, variables and network; moto's server is what the container has for S3."""
    image = built_image("trainer")
    small_run("mine", here.folder)
    gateway = docker("network", "inspect", "bridge", "--format", "{{(index .IPAM.Config 0).Gateway}}").stdout.strip()
    # the server listens on the loopback alone
    with Proxy(int(here.server.endpoint.rpartition(":")[2]), gateway) as proxy:
        told = {**clean(), "AWS_ENDPOINT_URL": proxy.endpoint}  # the SDK tells the container the same
        done = subprocess.run([python, "-c", LOCAL, image], capture_output=True, text=True, check=False, env=told)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "Training> Name=main_level/agent" in done.stdout
    here.ran("pull", "mine", "--from", f"s3://{BUCKET}")
    run = Run.open("mine")
    assert summary(run)["iterations"] == 1 and run.store.exists(artifacts.EVALUATION_METRICS)


def without_defaults(request: dict[str, Any]) -> dict[str, Any]:
    """The SDK leaves out what is false anyway."""
    return {key: value for key, value in request.items() if value is not False}


def asked_by_sdk(python: Path, server: AwsServer, settings: dict[str, Any]) -> Any:
    """The request is in the server's calls; what the program printed."""
    done = subprocess.run(
        [python, "-c", PROGRAM, json.dumps(settings)], capture_output=True, text=True, check=False, env=clean()
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return json.loads(done.stdout.splitlines()[-1])


def clean() -> dict[str, str]:
    """This process's variables, but for those that bring its own packages along."""
    return {name: value for name, value in os.environ.items() if name not in ("PYTHONPATH", "VIRTUAL_ENV")}
