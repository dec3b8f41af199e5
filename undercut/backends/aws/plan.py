"""What a job will use, before it is launched: what launchers launch and what the cost estimate is made of."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

from undercut.backends.aws.settings import CloudSettings, LauncherName

Work = Literal["train", "evaluate", "race", "sweep"]


@dataclass(frozen=True, slots=True)
class InstanceGroup:
    """So many machines of one type; SageMaker's begin with "ml.", those of AWS Batch do not."""

    name: str
    instance_type: str
    count: int
    service: Literal["sagemaker", "batch", "robomaker"] = "sagemaker"


def groups_of(description: Mapping[str, Any]) -> tuple[InstanceGroup, ...]:
    """The machines of a training job, by DescribeTrainingJob's answer; none where it does not say."""
    told = description.get("ResourceConfig", {})
    groups = told.get("InstanceGroups") or (
        [{"InstanceGroupName": "trainer", **told}] if "InstanceType" in told else []
    )
    return tuple(
        InstanceGroup(one["InstanceGroupName"], one["InstanceType"], one.get("InstanceCount", 1)) for one in groups
    )


@dataclass(frozen=True, slots=True)
class JobPlan:
    """One job. `job` is its name in AWS, `runs` the runs that it trains or drives, of a shard the sweep, `arguments`
    those of the command."""

    job: str
    work: Work
    runs: tuple[str, ...]
    region: str
    launcher: LauncherName
    groups: tuple[InstanceGroup, ...]
    settings: CloudSettings
    max_runtime_s: int
    volume_gb: int = 30
    spot: bool = False
    arguments: tuple[str, ...] = ()
    streams: int = 0
    """Kinesis Video streams."""
    attempts: int = 1
    """How often the job may be begun, by a queue, each time for as long as it may run."""
    trials: int = 0
    """Of a shard of a sweep, each a run of its own."""
    asks_lambda: bool = False
    """Whether a reward is a function of AWS Lambda."""

    @property
    def most_s(self) -> int:
        """Seconds that all its attempts together may run."""
        return self.max_runtime_s * self.attempts
