"""What a job stands on in the account, by the stack's outputs and the settings that go before them."""

from dataclasses import dataclass
from typing import Any

from contract.errors import InputError
from contract.host import S3Address
from contract.protocols import Place
from undercut.backends.aws.session import CloudSession
from undercut.runs.workspace import RUNS_PREFIX, bucket_place


@dataclass(frozen=True, slots=True)
class Resources:
    """Of one region. What is empty is not there."""

    region: str
    bucket: str
    prefix: str
    role_arn: str
    trainer_repository: str = ""
    simapp_repository: str = ""
    subnets: tuple[str, ...] = ()
    security_groups: tuple[str, ...] = ()
    batch_queue: str = ""
    training_queue: str = ""
    """Of AWS Batch, for training jobs of SageMaker."""
    kinesis_stream: str = ""
    log_group: str = ""
    """Of Batch jobs; the other services have groups of their own."""

    @property
    def address(self) -> S3Address:
        """Where runs/ and races/ lie: UNDERCUT_STORE of the job."""
        return S3Address(self.bucket, self.prefix)

    def store(self) -> Place:
        return bucket_place(self.address)

    def run_prefix(self, run: str) -> str:
        """The key below which the run's files lie."""
        return "/".join(part for part in (self.prefix, RUNS_PREFIX.rstrip("/"), run) if part)


def stack_of(session: CloudSession, name: str = "") -> dict[str, Any] | None:
    """What CloudFormation says of the stack of that name or id, by default the settings'; None where there is none."""
    name = name or session.settings.stack
    answer = session.call("cloudformation", "DescribeStacks", StackName=name, absent=("does not exist",))
    found: list[dict[str, Any]] = answer.get("Stacks", [])
    return found[0] if found else None


def stack_outputs(session: CloudSession) -> dict[str, str]:
    """The stack's outputs; {} when there is no stack of that name."""
    stack = stack_of(session) or {}
    return {one["OutputKey"]: one["OutputValue"] for one in stack.get("Outputs", [])}


def find(session: CloudSession) -> Resources:
    """InputError when bucket or role are neither in the settings nor made by `undercut cloud up`."""
    settings = session.settings
    told = {} if settings.bucket and settings.role_arn and settings.trainer_image else stack_outputs(session)

    def several(key: str) -> tuple[str, ...]:
        return tuple(part for part in told.get(key, "").split(",") if part)

    found = Resources(
        region=session.region,
        bucket=settings.bucket or told.get("Bucket", ""),
        prefix=settings.prefix,
        role_arn=settings.role_arn or told.get("RoleArn", ""),
        trainer_repository=told.get("TrainerRepository", ""),
        simapp_repository=told.get("SimappRepository", ""),
        subnets=settings.subnets or several("Subnets"),
        security_groups=settings.security_groups or several("SecurityGroups"),
        batch_queue=settings.batch_queue or told.get("BatchQueue", ""),
        training_queue=settings.training_queue or told.get("TrainingQueue", ""),
        kinesis_stream=settings.kinesis_stream or told.get("KinesisStream", ""),
        log_group=told.get("LogGroup", ""),
    )
    for key, value in (("bucket", found.bucket), ("role_arn", found.role_arn)):
        if not value:
            rule = f"it is made by `undercut cloud up` (stack {settings.stack} in {session.region}), or named by hand"
            fix = f"undercut cloud up --region {session.region}, or give {key} in cloud.yaml"
            raise InputError(key, "", rule, fix)
    return found
