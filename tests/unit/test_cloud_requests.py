"""What launchers ask AWS for: a request fits AWS's own model of it (botocore's validator), and says what it should."""

import contextlib
import dataclasses
import json
import os
import re
import threading
from functools import lru_cache
from pathlib import Path
from typing import Any

import botocore.session
import pytest
import redis
from botocore.loaders import Loader
from botocore.model import ServiceModel
from botocore.validate import ParamValidator

from contract.config import RunConfig
from contract.errors import ChannelError, InputError
from contract.host import MEET_S, REDIS_PASSWORD_FILE, REDIS_URL
from contract.stores.local import LocalStore
from tests.cloud_support import small_run
from tests.docker_engine import free_port, until
from tests.patience import PATIENCE_S
from undercut.backends.aws import batch, cost, robomaker, sagemaker, service_jobs
from undercut.backends.aws.jobs import Images, JobRecord, check, job_name
from undercut.backends.aws.launching import attempts, plan_of, race_name, within_cost
from undercut.backends.aws.plan import JobPlan
from undercut.backends.aws.rendezvous import Hosts, Meeting, drive, serving
from undercut.backends.aws.resources import Resources
from undercut.backends.aws.sagemaker_job import within
from undercut.backends.aws.session import MODELS
from undercut.backends.aws.settings import CloudSettings

RESOURCES = Resources(
    region="us-east-1",
    bucket="undercut-runs",
    prefix="deepracer",
    role_arn="arn:aws:iam::123456789012:role/undercut-job",
    subnets=("subnet-0123456789abcdef0",),
    security_groups=("sg-0123456789abcdef0",),
    batch_queue="undercut-simulators",
    log_group="/undercut/undercut",
)
IMAGES = Images("123456789012.dkr.ecr.us-east-1.amazonaws.com/undercut-trainer@sha256:" + "0" * 64, "simapp")
SETTINGS: list[dict[str, Any]] = [
    {},
    {"spot": True, "workers": 4, "max_runtime_minutes": 90},
    {"simulators": 3},
    {"simulators": 2, "simulator_type": "ml.c5.xlarge", "kms_key": "alias/mine"},
]


@lru_cache
def model(service: str) -> ServiceModel:
    if service == "robomaker":
        loader = Loader(extra_search_paths=[str(MODELS)])
    else:
        loader = botocore.session.Session().get_component("data_loader")
    return ServiceModel(loader.load_service_model(service, "service-2"), service)


def fits(service: str, operation: str, request: dict[str, Any]) -> None:
    """Botocore's validator finds nothing, and every pattern of the model is kept, which botocore does not look at."""
    shape = model(service).operation_model(operation).input_shape
    report = ParamValidator().validate(request, shape)
    assert not report.has_errors(), report.generate_report()
    _patterns(shape, request, operation)


def _patterns(shape: Any, value: Any, place: str) -> None:
    if shape.type_name == "structure":
        for name, one in value.items():
            _patterns(shape.members[name], one, f"{place}.{name}")
    elif shape.type_name == "list":
        for one in value:
            _patterns(shape.member, one, place)
    elif shape.type_name == "map":
        for name, one in value.items():
            _patterns(shape.key, name, f"{place}: key")
            _patterns(shape.value, one, f"{place}.{name}")
    elif shape.type_name == "string":
        pattern, longest = shape.metadata.get("pattern"), shape.metadata.get("max")
        if pattern and "\\p" not in pattern:
            assert re.fullmatch(pattern.replace("(?:", "(?:"), value), (place, value, pattern)
        assert longest is None or len(value) <= int(longest), (place, value)


def plan(**settings: Any) -> JobPlan:
    return plan_of(CloudSettings.load(settings, {}), "us-east-1", "train", ["my.run_1"])


@pytest.mark.parametrize("settings", SETTINGS)
def test_sagemakers_request_fits_its_model(settings: dict[str, Any], tmp_path: Path) -> None:
    made = plan(**settings)
    request = sagemaker.request(made, RESOURCES, IMAGES.trainer)
    fits("sagemaker", "CreateTrainingJob", request)
    assert request["HyperParameters"]["s3_prefix"] == "deepracer/runs/my.run_1"
    assert request["Environment"]["UNDERCUT_STORE"] == "s3://undercut-runs/deepracer"
    text = json.dumps(request)
    assert not re.search(r"password|secret|AKIA", text, re.I)
    # and the job is found again by what was written of it
    record = JobRecord(plan=made, bucket="b", prefix="", created_s=1.0)
    assert JobRecord.model_validate_json(record.model_dump_json()) == record


@pytest.mark.parametrize(
    ("instance_type", "has_own_disk"),
    [
        *(("ml.c6i.4xlarge", False), ("ml.m5.large", False), ("ml.p3.2xlarge", False), ("ml.g4dn.xlarge", True)),
        *(("ml.g5.xlarge", True), ("ml.m5d.large", True), ("ml.c6id.large", True), ("ml.p4d.24xlarge", True)),
    ],
)
def test_a_key_is_not_given_for_disks_that_machines_bring(instance_type: str, has_own_disk: bool) -> None:
    """SageMaker refuses VolumeKmsKeyId for types with local storage; the output is encrypted by it all the same."""
    request = sagemaker.request(plan(kms_key="alias/mine", instance_type=instance_type), RESOURCES, IMAGES.trainer)
    assert ("VolumeKmsKeyId" not in request["ResourceConfig"]) is has_own_disk
    assert request["OutputDataConfig"]["KmsKeyId"] == "alias/mine"


def test_tags_of_ones_own_and_machines_that_are_kept() -> None:
    request = sagemaker.request(plan(tags=("team=red", "cost centre=7"), keep_alive_minutes=30), RESOURCES, "image")
    fits("sagemaker", "CreateTrainingJob", request | {"AlgorithmSpecification": {"TrainingInputMode": "File"}})
    assert request["Tags"][1:] == [{"Key": "team", "Value": "red"}, {"Key": "cost centre", "Value": "7"}]
    assert request["ResourceConfig"]["KeepAlivePeriodInSeconds"] == 1800
    assert "KeepAlivePeriodInSeconds" not in sagemaker.request(plan(), RESOURCES, "image")["ResourceConfig"]
    with pytest.raises(InputError, match="keep_alive_minutes"):
        check(plan(keep_alive_minutes=5, spot=True), sagemaker.SageMakerLauncher.can, RESOURCES)


def test_a_job_knows_its_time_and_leaves_some_for_its_last_evaluation(tmp_path: Path) -> None:
    request = sagemaker.request(plan(max_runtime_minutes=60), RESOURCES, IMAGES.trainer)
    assert request["HyperParameters"]["max_runtime_s"] == "3600"
    run = small_run("mine", tmp_path)
    assert within(run, 3600).config.training.max_minutes == 48
    assert within(run, 900).config.training.max_minutes == 10
    assert within(run, 0) is run
    own = RunConfig.build({**run.config.model_dump(), "training": {"max_minutes": 5.0}}, "test")
    assert within(dataclasses.replace(run, config=own), 3600).config.training.max_minutes == 5


def test_machines_of_one_type_are_one_group_and_of_two_types_two() -> None:
    same = sagemaker.request(plan(simulators=3), RESOURCES, IMAGES.trainer)["ResourceConfig"]
    assert (same["InstanceType"], same["InstanceCount"]) == ("ml.c6i.4xlarge", 4)
    two = sagemaker.request(plan(simulators=2, simulator_type="ml.c5.xlarge"), RESOURCES, IMAGES.trainer)
    assert [one["InstanceGroupName"] for one in two["ResourceConfig"]["InstanceGroups"]] == ["trainer", "simulators"]
    assert "InstanceType" not in two["ResourceConfig"]


def test_spare_capacity_has_a_place_for_checkpoints_and_time_to_wait() -> None:
    request = sagemaker.request(plan(spot=True, max_runtime_minutes=60), RESOURCES, IMAGES.trainer)
    assert request["EnableManagedSpotTraining"]
    assert request["StoppingCondition"] == {"MaxRuntimeInSeconds": 3600, "MaxWaitTimeInSeconds": 7200}
    assert request["CheckpointConfig"]["LocalPath"] == "/opt/ml/checkpoints"


def test_batchs_requests_fit_its_model() -> None:
    made = plan(launcher="batch", simulators=3)
    definition = batch.definition_of(made, RESOURCES, IMAGES)
    fits("batch", "RegisterJobDefinition", definition)
    fits("batch", "SubmitJob", batch.submission_of(made, RESOURCES, "arn:aws:batch:us-east-1:1:job-definition/a:1"))
    variables = {one["name"]: one["value"] for one in definition["containerProperties"]["environment"]}
    assert variables["TRAINING_JOB_NAME"] == made.job
    assert batch.submission_of(made, RESOURCES, "d")["arrayProperties"] == {"size": 3}
    assert "arrayProperties" not in batch.submission_of(plan(launcher="batch", simulators=1), RESOURCES, "d")
    # what a simulator may take holds the time that the trainer may come in and its whole run, with spare capacity too
    spare = sagemaker.request(plan(launcher="batch", simulators=3, spot=True), RESOURCES, "i", "redis")
    stopping, attempt = spare["StoppingCondition"], definition["timeout"]["attemptDurationSeconds"]
    assert stopping["MaxWaitTimeInSeconds"] == attempt == stopping["MaxRuntimeInSeconds"] + MEET_S
    trainer = sagemaker.request(made, RESOURCES, IMAGES.trainer, rollouts="redis")
    assert trainer["ResourceConfig"]["InstanceCount"] == 1 and trainer["HyperParameters"]["rollouts"] == "redis"


def test_service_jobs_fit_their_model_and_hold_a_training_job_that_fits_its_own() -> None:
    made = plan(launcher="queue", training_queue="trainings", queue_attempts=4, max_runtime_minutes=90, spot=True)
    there = dataclasses.replace(RESOURCES, training_queue="trainings")
    request = service_jobs.submission_of(made, there, IMAGES.trainer)
    fits("batch", "SubmitServiceJob", request)
    payload = json.loads(request["serviceRequestPayload"])
    fits("sagemaker", "CreateTrainingJob", payload)
    assert payload == sagemaker.request(made, there, IMAGES.trainer)
    assert request["retryStrategy"]["attempts"] == 4 and request["retryStrategy"]["evaluateOnExit"][-1] == {
        "action": "EXIT",
        "onStatusReason": "*",
    }
    stopping = payload["StoppingCondition"]
    assert request["timeoutConfig"]["attemptDurationSeconds"] == stopping["MaxWaitTimeInSeconds"]
    for operation, asked in (
        ("DescribeServiceJob", {"jobId": "1"}),
        ("TerminateServiceJob", {"jobId": "1", "reason": "x"}),
        ("ListServiceJobs", {"jobQueue": "q", "filters": [{"name": "JOB_NAME", "values": ["x"]}]}),
    ):
        fits("batch", operation, asked)
    with pytest.raises(InputError, match=r"training_queue(.|\n)*cloud\.yaml"):
        check(made, service_jobs.QueueLauncher.can, RESOURCES)


def test_a_queues_tries_are_all_within_the_limit_of_cost() -> None:
    """So often as Batch may begin it, for as long as each may run."""
    once = plan(max_runtime_minutes=240)
    made = plan(launcher="queue", training_queue="q", queue_attempts=4, max_runtime_minutes=240)
    machine = cost.estimate(once).lines[0][2]
    assert cost.estimate(made).lines[0][2] == pytest.approx(4 * machine)
    limited, estimate = within_cost(
        dataclasses.replace(made, settings=made.settings.model_copy(update={"max_cost": 4.0}))
    )
    assert 3.9 < estimate.total <= 4.0
    assert limited.max_runtime_s * 4 * machine / (240 * 60) < 4.0


def test_robomakers_requests_fit_its_model_and_the_guidance() -> None:
    made = plan(launcher="robomaker", simulators=2)
    fits("robomaker", "CreateSimulationApplication", robomaker.application_of(made, IMAGES))
    request = robomaker.simulation_of(made, RESOURCES, "arn:aws:robomaker:us-east-1:1:simulation-application/a/1", 1)
    fits("robomaker", "CreateSimulationJob", request)
    # what the guidance's notebook sets
    assert request.keys() >= {
        *("clientRequestToken", "outputLocation", "maxJobDurationInSeconds", "iamRole", "failureBehavior"),
        *("simulationApplications", "vpcConfig"),
    }
    (application,) = request["simulationApplications"]
    assert application.keys() >= {
        *("application", "applicationVersion", "launchConfig", "uploadConfigurations"),
        *("useDefaultUploadConfigurations", "tools"),
    }
    assert application["launchConfig"]["environmentVariables"].keys() >= {
        *("S3_YAML_NAME", "SAGEMAKER_SHARED_S3_PREFIX", "SAGEMAKER_SHARED_S3_BUCKET", "KINESIS_VIDEO_STREAM_NAME"),
        *("APP_REGION", "MODEL_METADATA_FILE_S3_KEY", "ROLLOUT_IDX"),
    }
    fits("kinesisvideo", "CreateStream", {"StreamName": robomaker.stream_name(made, 1), "MediaType": "video/h264"})


def test_the_stated_list_of_types_and_regions() -> None:
    settings = CloudSettings.load(
        {"instance_type": "ml.a.b", "fallback_instance_types": ("ml.c.d",), "fallback_regions": ("eu-west-1",)}, {}
    )
    tried = [(one.region, one.instance_type) for one in attempts(settings)]
    assert tried == [(region, kind) for region in ("us-east-1", "eu-west-1") for kind in ("ml.a.b", "ml.c.d")]


@pytest.mark.parametrize("run", ["a", "my.run_1", "x" * 64, "9-_-"])
def test_names_of_jobs_are_sagemakers(run: str) -> None:
    assert re.fullmatch(r"[a-zA-Z0-9](-*[a-zA-Z0-9]){0,62}", job_name(run))
    assert job_name(run) != job_name(run)


def test_the_race_that_comes_back() -> None:
    assert race_name(["--laps", "1"]) == "race"
    assert race_name(["--name", "final"]) == race_name(["--laps", "2", "--name=final"]) == "final"


def test_who_trains_in_a_cluster() -> None:
    same = {"hosts": ["algo-1", "algo-2"], "current_host": "algo-2"}
    assert Hosts.of(same) == Hosts("algo-2", "algo-1", 2) and not Hosts.of(same).trains
    assert Hosts.of({}).trains
    groups = [
        {"instance_group_name": "simulators", "hosts": ["algo-1", "algo-2"]},
        {"instance_group_name": "trainer", "hosts": ["algo-3"]},
    ]
    mixed = {"hosts": ["algo-1", "algo-2", "algo-3"], "current_host": "algo-3", "instance_groups": groups}
    assert Hosts.of(mixed).trains
    groups[1]["instance_group_name"] = "learner"
    with pytest.raises(InputError, match="trainer"):
        Hosts.of(mixed)


def test_what_an_interrupted_trainer_left_does_not_count(tmp_path: Path) -> None:
    meeting = Meeting(LocalStore(tmp_path))
    assert meeting.address() is None
    first = {"start": "1", "hosts": ["a"], "port": 1, "password": "p"}
    meeting.announce(first)
    assert meeting.address() == first and not meeting.ended("1")
    meeting.close("1")
    assert meeting.address() is None and meeting.ended("1")
    meeting.announce({**first, "start": "2"})
    assert meeting.address() is not None and not meeting.ended("2")
    meeting.close("2", interrupted=True)
    assert meeting.ended("2") and meeting.interrupted("2") and not meeting.interrupted("1")


def test_a_simulator_says_how_long_it_waited_for_a_trainer(tmp_path: Path) -> None:
    with pytest.raises(ChannelError, match=r"(?s)left its address.*waited: 0 s"):
        drive(Meeting(LocalStore(tmp_path)), lambda line: None, patience_s=0.0)


@pytest.mark.redis
def test_simulators_of_batch_wait_for_an_interrupted_trainer(tmp_path: Path) -> None:
    """The trainer's container is told to stop twice, as spare capacity is taken back, and ends well the third time."""
    said: list[str] = []
    simulator = threading.Thread(
        target=drive, args=(Meeting(LocalStore(tmp_path)), said.append), kwargs={"outlives": True}
    )
    simulator.start()
    for start in range(3):
        # a start finds the simulator at work when a client of the server beside ours appears
        with contextlib.suppress(KeyboardInterrupt), serving(Meeting(LocalStore(tmp_path)), ["127.0.0.1"], free_port()):
            password = Path(os.environ[REDIS_PASSWORD_FILE]).read_text()
            server = redis.Redis.from_url(os.environ[REDIS_URL], password=password)
            until("a worker to come", lambda s=server: len(s.client_list()) > 1)  # type: ignore[misc]
            if start < 2:
                raise KeyboardInterrupt
    simulator.join(PATIENCE_S)
    assert not simulator.is_alive()
    assert [line.partition(":")[0] for line in said[1:]] == ["the trainer was interrupted"] * 2 + [
        "the trainer has ended"
    ]
