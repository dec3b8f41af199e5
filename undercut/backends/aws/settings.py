"""Settings of the cloud: where and with what a job runs there. Host settings: none of them is part of a RunConfig.

They come from options, the environment (UNDERCUT_CLOUD_REGION, ...) and `cloud.yaml` of the working directory, in this
order, one by one. Credentials are boto3's own (AWS_PROFILE, a role, ...), and stand in none of these.
"""

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal, Self, get_origin

import yaml
from pydantic import Field, ValidationError

from contract.errors import InputError
from contract.fields import Strict, broken_rule, read_text
from contract.host import CLOUD_PREFIX, switch
from contract.yamlfile import UNREADABLE

FILE = "cloud.yaml"
LauncherName = Literal["sagemaker", "robomaker", "batch", "queue"]
_S3_NAME = r"^$|^[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]$"
_INSTANCE = r"^(ml\.)?[a-z0-9-]+\.[a-z0-9-]+$"
Tag = Annotated[str, Field(pattern=r"^[^=]{1,128}=[^=]{0,256}$")]
S3Name = Annotated[str, Field(pattern=_S3_NAME)]
InstanceType = Annotated[str, Field(pattern=_INSTANCE)]


class CloudSettings(Strict):
    """Where and with what a job runs. What is empty comes from the stack's outputs, else from AWS's own settings."""

    region: str = Field(default="", pattern=r"^$|^[a-z]{2}(-[a-z]+)+-\d$", description="empty: AWS_REGION or profile")
    fallback_regions: tuple[str, ...] = Field(default=(), description="where capacity is looked for after `region`")
    account: str = Field(default="", pattern=r"^$|^\d{12}$", description="jobs are refused in any other account")
    stack: str = Field(default="undercut", pattern=r"^[A-Za-z][A-Za-z0-9-]{0,60}$", description="of CloudFormation")
    bucket: str = Field(default="", pattern=_S3_NAME, description="of runs")
    prefix: str = Field(default="", pattern=r"^$|^[\w.-]+(/[\w.-]+)*$", description="below which runs/ lies")
    role_arn: str = Field(default="", pattern=r"^$|^arn:aws[\w-]*:iam::\d{12}:role/.+$", description="of jobs")
    launcher: LauncherName = Field(default="sagemaker", description="what runs the job")
    instance_type: InstanceType = Field(default="ml.c6i.4xlarge", description="of the trainer")
    fallback_instance_types: tuple[InstanceType, ...] = Field(
        default=("ml.c5.4xlarge", "ml.m5.4xlarge"), description="where the one before has no capacity, in this order"
    )
    simulators: int = Field(default=0, ge=0, le=20, description="instances that only drive, over Redis")
    simulator_type: str = Field(default="", pattern=rf"^$|{_INSTANCE}", description="of those; empty: instance_type")
    workers: int = Field(default=0, ge=0, le=256, description="processes that drive beside the trainer")
    spot: bool = Field(default=False, description="spare capacity; an interrupted job goes on from its checkpoint")
    max_runtime_minutes: float = Field(default=240.0, ge=1, le=5 * 24 * 60, description="the job is stopped after it")
    max_wait_minutes: float = Field(default=0.0, ge=0, description="spot: wait and run together; 0: twice the runtime")
    max_cost: float = Field(default=0.0, ge=0, description="US dollars that a job may cost; 0: no limit")
    keep_alive_minutes: float = Field(
        default=0.0, ge=0, le=60, description="SageMaker keeps the machines so long for a next job, which you pay for"
    )
    tags: tuple[Tag, ...] = Field(default=(), description="of jobs, each as key=value")
    volume_gb: int = Field(default=30, ge=1, le=16_384, description="disk of each instance")
    subnets: tuple[str, ...] = Field(default=(), description="of a VPC; empty: none")
    security_groups: tuple[str, ...] = ()
    check_rights: bool = Field(default=True, description="the role's rights are looked at before a launch")
    reward_functions: tuple[str, ...] = Field(default=(), description="Lambda functions that jobs may ask for rewards")
    read_buckets: tuple[S3Name, ...] = Field(
        default=(), description="other buckets that jobs may begin from a model of"
    )
    remote_debug: bool = Field(default=False, description="lets you into a job's container: aws ssm start-session")
    kms_key: str = Field(default="", description="encrypts disks and output; empty: AWS's own key")
    batch_queue: str = Field(default="", description="AWS Batch job queue of the simulators")
    training_queue: str = Field(
        default="",
        pattern=r"^$|^[A-Za-z0-9_:/-]+$",
        description="queue: AWS Batch job queue of type SAGEMAKER_TRAINING",
    )
    queue_attempts: int = Field(default=3, ge=1, le=10, description="queue: tries of a job, with the first one")
    batch_vcpus: int = Field(default=4, ge=1, le=256)
    batch_memory_mb: int = Field(default=8_192, ge=1_024)
    kinesis_stream: str = Field(default="", description="robomaker: Kinesis Video stream of the camera")
    trainer_image: str = Field(default="", description="in a registry; empty: ours is pushed to ECR")
    simapp_image: str = ""
    poll_s: float = Field(default=5.0, gt=0, le=600, description="between two looks at a job")
    log_days: int = Field(default=30, ge=1, description="CloudWatch keeps logs so long")

    @classmethod
    def load(
        cls,
        options: Mapping[str, Any] | None = None,
        environment: Mapping[str, str] | None = None,
        folder: Path | None = None,
    ) -> Self:
        """Options that are None count as not given. InputError names option, variable or key of cloud.yaml."""
        values: dict[str, Any] = {}
        places: dict[str, str] = {}
        path = (folder or Path()) / FILE
        if path.exists():
            for key, value in _yaml_of(path).items():
                values[key], places[key] = value, f"{path}: {key}"
        for name, value in sorted((os.environ if environment is None else environment).items()):
            if name.startswith(CLOUD_PREFIX) and value.strip():
                key = _key(name)
                values[key], places[key] = _plain(name, value.strip()), f"environment: {name}"
        for key, value in (options or {}).items():
            if value is not None:
                values[key], places[key] = value, f"--{key.replace('_', '-')}"
        try:
            return cls.model_validate(values)
        except ValidationError as error:
            broken = broken_rule(error, cls)
            key = broken.key[0]
            raise InputError(places.get(key, key), broken.value, broken.rule, broken.fix) from None


def _key(name: str) -> str:
    return name.removeprefix(CLOUD_PREFIX).lower()


def _plain(name: str, text: str) -> Any:
    """An environment variable's value: lists are separated by commas."""
    field = CloudSettings.model_fields.get(_key(name))
    kind = field.annotation if field else str
    if kind is bool:
        return switch(name, text)
    if get_origin(kind) is tuple:
        return tuple(part.strip() for part in text.split(",") if part.strip())
    return text


def _yaml_of(path: Path) -> dict[str, Any]:
    try:
        found = yaml.safe_load(read_text(path, FILE))
    except UNREADABLE as error:
        raise InputError(str(path), str(error), "the file is YAML", "see the line that it names") from None
    if found is None:
        return {}
    if not isinstance(found, dict):
        raise InputError(str(path), found, "a mapping: one `key: value` a line", "region: us-east-1")
    return {str(key): tuple(value) if isinstance(value, list) else value for key, value in found.items()}
