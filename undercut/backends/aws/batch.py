"""Launcher: simulators in AWS Batch, on EC2 spare capacity as its queue has it, next to a SageMaker trainer."""

from collections.abc import Sequence
from typing import Any

from contract.host import STORE
from undercut.backends.aws.jobs import TAG, Capabilities, Images, JobRecord, JobState, LogSource
from undercut.backends.aws.plan import JobPlan
from undercut.backends.aws.resources import Resources
from undercut.backends.aws.sagemaker import SageMakerLauncher, longest_s
from undercut.backends.aws.settings import LauncherName

LOG_GROUP = "/aws/batch/job"
WORKER = ("undercut-job", "worker")
ATTEMPTS = 5
"""Batch starts a simulator again whose machine was taken back."""


class BatchLauncher(SageMakerLauncher):
    """A training job of one machine, and an array of Batch jobs that drive for it. Simulators may go and come: the
    numbers do not depend on them."""

    name: LauncherName = "batch"
    can = Capabilities(
        works=("train",),
        spot=True,
        simulators=(1, 20),
        needs=("batch_queue", "subnets", "security_groups"),
    )

    def launch(self, record: JobRecord, resources: Resources, images: Images) -> JobRecord:
        definition = self._session.call(
            "batch", "RegisterJobDefinition", **definition_of(record.plan, resources, images)
        )
        submission = submission_of(record.plan, resources, str(definition["jobDefinitionArn"]))
        simulators = self._session.call("batch", "SubmitJob", **submission)
        record = record.changed(others=(str(simulators["jobId"]),))
        return self._trained(record, resources, images, rollouts="redis").changed(launched=True)

    def state(self, record: JobRecord) -> JobState:
        """The trainer's; while that is absent, whether simulators are left."""
        state = super().state(record)
        if state.phase == "absent" and any(job["status"] not in ("SUCCEEDED", "FAILED") for job in self._jobs(record)):
            return JobState("starting", "simulators only")
        return state

    def stop(self, record: JobRecord) -> None:
        super().stop(record)
        self.tidy(record)

    def tidy(self, record: JobRecord) -> None:
        """Simulators outlive an interrupted trainer; of one that has ended for good they are stopped here."""
        for job in self._jobs(record):
            if job["status"] not in ("SUCCEEDED", "FAILED"):
                self._session.call("batch", "TerminateJob", jobId=job["jobId"], reason="the trainer has ended")
            self._session.call(
                "batch", "DeregisterJobDefinition", jobDefinition=job["jobDefinition"], absent=("does not exist",)
            )

    def logs(self, record: JobRecord) -> Sequence[LogSource]:
        streams = [
            LogSource(_log_group(job), str(job["container"]["logStreamName"]), f"simulator {job['jobId'][:8]}")
            for job in self._children(record)
            if job.get("container", {}).get("logStreamName")
        ]
        return [*super().logs(record), *streams]

    def _jobs(self, record: JobRecord) -> list[dict[str, Any]]:
        return self._asked_of(list(record.others))

    def _children(self, record: JobRecord) -> list[dict[str, Any]]:
        """Each simulator's own job: those of an array have their number behind its id."""
        count = sum(group.count for group in record.plan.groups if group.service == "batch")
        ids = [f"{one}:{number}" for one in record.others for number in range(count)]
        return self._asked_of(ids if count > 1 else list(record.others))

    def _asked_of(self, ids: list[str]) -> list[dict[str, Any]]:
        if not ids:
            return []
        found: list[dict[str, Any]] = self._session.call("batch", "DescribeJobs", jobs=ids)["jobs"]
        return found


def _log_group(job: dict[str, Any]) -> str:
    """The stack's, by what the job was told, else Batch's own."""
    return str(job["container"].get("logConfiguration", {}).get("options", {}).get("awslogs-group", LOG_GROUP))


def definition_of(plan: JobPlan, resources: Resources, images: Images) -> dict[str, Any]:
    """RegisterJobDefinition's request."""
    settings = plan.settings
    environment = {
        STORE: str(resources.address),
        "AWS_REGION": plan.region,
        "TRAINING_JOB_NAME": plan.job,
    }
    logging = {"logDriver": "awslogs", "options": {"awslogs-group": resources.log_group}}
    return {
        "jobDefinitionName": plan.job,
        "type": "container",
        "platformCapabilities": ["EC2"],
        "containerProperties": {
            "image": images.simapp,
            "command": list(WORKER),
            "jobRoleArn": resources.role_arn,
            "environment": [{"name": name, "value": value} for name, value in environment.items()],
            "resourceRequirements": [
                {"type": "VCPU", "value": str(settings.batch_vcpus)},
                {"type": "MEMORY", "value": str(settings.batch_memory_mb)},
            ],
            "privileged": False,
            **({"logConfiguration": logging} if resources.log_group else {}),
        },
        "retryStrategy": {
            "attempts": ATTEMPTS,
            "evaluateOnExit": [
                {"onStatusReason": "Host EC2*", "action": "RETRY"},  # its machine was taken back
                {"onReason": "*", "action": "EXIT"},
            ],
        },
        "timeout": {"attemptDurationSeconds": longest_s(plan)},
        "tags": {TAG: plan.runs[0]},
        "propagateTags": True,
    }


def submission_of(plan: JobPlan, resources: Resources, definition: str) -> dict[str, Any]:
    """SubmitJob's request: one job, or an array of them."""
    count = sum(group.count for group in plan.groups if group.service == "batch")
    return {
        "jobName": plan.job,
        "jobQueue": resources.batch_queue,
        "jobDefinition": definition,
        "tags": {TAG: plan.runs[0]},
        **({"arrayProperties": {"size": count}} if count > 1 else {}),
    }
