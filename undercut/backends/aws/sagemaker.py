"""Launcher: a SageMaker training job, with simulators beside the trainer or on machines of their own."""

import json
import re
from collections.abc import Sequence
from typing import Any

from contract.host import MEET_S, STORE
from undercut.backends.aws.jobs import TAG, Capabilities, Images, JobRecord, JobState, LogSource, Phase
from undercut.backends.aws.plan import JobPlan
from undercut.backends.aws.resources import Resources
from undercut.backends.aws.session import CloudSession
from undercut.backends.aws.settings import LauncherName

LOG_GROUP = "/aws/sagemaker/TrainingJobs"
ABSENT = ("Requested resource not found", "Could not find training job", "ResourceNotFound")
ENDED = ("The request was rejected because the training job is in status",)
METRICS = (
    ("reward-training", "^Training>.*Total reward=(.*?),"),
    ("ppo-surrogate-loss", "^Policy training>.*Surrogate loss=(.*?),"),
    ("ppo-entropy", "^Policy training>.*Entropy=(.*?),"),
    ("reward-testing", "^Testing>.*Total reward=(.*?),"),
)
"""The guidance's metric definitions: name and regular expression."""
_OWN_DISKS = ("g4", "g5", "g6", "p4", "p5", "p6", "trn")
"""Families whose names do not say that they have disks, as m5d does."""
_PHASES: dict[str, Phase] = {
    "InProgress": "running",
    "Completed": "done",
    "Failed": "failed",
    "Stopping": "stopping",
    "Stopped": "stopped",
}
_STARTING = (
    "Starting",
    "Pending",
    "LaunchingMLInstances",
    "PreparingTrainingStack",
    "Downloading",
    "DownloadingTrainingImage",
)


class SageMakerLauncher:
    """One training job; `simulators` more machines make it a heterogeneous cluster with rollouts over Redis."""

    name: LauncherName = "sagemaker"
    can = Capabilities(works=("train", "evaluate", "race", "sweep"), spot=True, simulators=(0, 20))

    def __init__(self, session: CloudSession) -> None:
        self._session = session

    def launch(self, record: JobRecord, resources: Resources, images: Images) -> JobRecord:
        return self._trained(record, resources, images).changed(launched=True)

    def _trained(self, record: JobRecord, resources: Resources, images: Images, rollouts: str = "") -> JobRecord:
        """Start the training job alone."""
        made = request(record.plan, resources, images.trainer, rollouts)
        self._session.call("sagemaker", "CreateTrainingJob", **made)
        return record

    def described(self, name: str) -> dict[str, Any]:
        """DescribeTrainingJob's answer; {} when AWS knows none of that name."""
        return self._session.call("sagemaker", "DescribeTrainingJob", TrainingJobName=name, absent=ABSENT)

    def state(self, record: JobRecord) -> JobState:
        return state_of(self.described(record.job))

    def stop(self, record: JobRecord) -> None:
        self._session.call("sagemaker", "StopTrainingJob", TrainingJobName=record.job, absent=(*ABSENT, *ENDED))

    def tidy(self, record: JobRecord) -> None:
        """A training job leaves nothing beside its record."""

    def logs(self, record: JobRecord) -> Sequence[LogSource]:
        return [LogSource(LOG_GROUP, f"{record.job}/")]


def state_of(description: dict[str, Any]) -> JobState:
    """DescribeTrainingJob's answer in our words."""
    if not description:
        return JobState("absent")
    phase = _PHASES.get(description["TrainingJobStatus"], "running")
    detail = str(description.get("SecondaryStatus", ""))
    if phase == "running" and detail in _STARTING:
        phase = "starting"
    return JobState(
        phase, detail or description["TrainingJobStatus"], str(description.get("FailureReason", "")), description
    )


def request(plan: JobPlan, resources: Resources, image: str, rollouts: str = "") -> dict[str, Any]:
    """CreateTrainingJob's request. `rollouts` "redis": simulators come from elsewhere."""
    settings = plan.settings
    trainers = [group for group in plan.groups if group.service == "sagemaker"]
    if len(trainers) == 1:
        machines: dict[str, Any] = {"InstanceType": trainers[0].instance_type, "InstanceCount": trainers[0].count}
    else:
        machines = {
            "InstanceGroups": [
                {"InstanceGroupName": one.name, "InstanceType": one.instance_type, "InstanceCount": one.count}
                for one in trainers
            ]
        }
    several = sum(group.count for group in trainers) > 1
    stopping = {"MaxRuntimeInSeconds": plan.max_runtime_s}
    if plan.spot:
        stopping["MaxWaitTimeInSeconds"] = longest_s(plan)
    key = settings.kms_key
    own_disks = any(_has_own_disk(group.instance_type) for group in trainers)
    folder = resources.address.below(f"jobs/{plan.job}")
    made: dict[str, Any] = {
        "TrainingJobName": plan.job,
        "RoleArn": resources.role_arn,
        "AlgorithmSpecification": {
            "TrainingImage": image,
            "TrainingInputMode": "File",
            "MetricDefinitions": [{"Name": name, "Regex": regex} for name, regex in METRICS],
        },
        "HyperParameters": hyperparameters(plan, resources, rollouts),
        "OutputDataConfig": {"S3OutputPath": str(folder), **({"KmsKeyId": key} if key else {})},
        "ResourceConfig": {
            **machines,
            "VolumeSizeInGB": plan.volume_gb,
            **(
                {"KeepAlivePeriodInSeconds": int(settings.keep_alive_minutes * 60)}
                if settings.keep_alive_minutes
                else {}
            ),
            **({"VolumeKmsKeyId": key} if key and not own_disks else {}),
        },
        "StoppingCondition": stopping,
        "EnableManagedSpotTraining": plan.spot,
        "EnableInterContainerTrafficEncryption": several,
        "Environment": {STORE: str(resources.address), "AWS_REGION": plan.region},
        "Tags": [
            {"Key": TAG, "Value": plan.runs[0]},
            *({"Key": key, "Value": value} for key, _, value in (one.partition("=") for one in settings.tags)),
        ],
    }
    if plan.spot:  # an interrupted job goes on from the bucket; SageMaker asks for this place all the same
        made["CheckpointConfig"] = {"S3Uri": str(folder.below("checkpoints")), "LocalPath": "/opt/ml/checkpoints"}
    if settings.remote_debug:
        made["RemoteDebugConfig"] = {"EnableRemoteDebug": True}
    if resources.subnets:
        made["VpcConfig"] = {
            "Subnets": list(resources.subnets),
            "SecurityGroupIds": list(resources.security_groups),
        }
    return made


def longest_s(plan: JobPlan) -> int:
    """What a job may take from its launch on, waiting and running. Where simulators are jobs of their own (Batch,
    RoboMaker) no more than they wait for it beside its run."""
    if any(group.service != "sagemaker" for group in plan.groups):
        return plan.max_runtime_s + int(MEET_S)
    if not plan.spot:
        return plan.max_runtime_s
    return max(int(plan.settings.max_wait_minutes * 60) or 2 * plan.max_runtime_s, plan.max_runtime_s)


def _has_own_disk(instance_type: str) -> bool:
    """Whether machines of this type have disks of their own, which their hardware encrypts: SageMaker refuses a key for
    their volumes (VolumeKmsKeyId in the API's reference of ResourceConfig)."""
    family = instance_type.removeprefix("ml.").partition(".")[0]
    return family.startswith(_OWN_DISKS) or re.fullmatch(r"[a-z]+[0-9]+[a-z]*d[a-z]*", family) is not None


def hyperparameters(plan: JobPlan, resources: Resources, rollouts: str = "") -> dict[str, str]:
    """What the container reads: the run by its place in the bucket, under the guidance's names."""
    told = {"aws_region": plan.region}
    if plan.work != "train":
        return told | {"job": plan.work, "arguments": json.dumps([*plan.runs, *plan.arguments])}
    # by which the training leaves time for its last evaluation
    told["max_runtime_s"] = str(plan.max_runtime_s)
    told |= {"s3_bucket": resources.bucket, "s3_prefix": resources.run_prefix(plan.runs[0])}
    if plan.settings.workers:
        told["workers"] = str(plan.settings.workers)
    if rollouts:
        told["rollouts"] = rollouts
    return told
