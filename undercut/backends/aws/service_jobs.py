"""Launcher: a SageMaker training job that waits its turn in a job queue of AWS Batch, as a service job. Batch starts it
when the queue's service environment has room, waits for machines that AWS has not to give, and tries it again after
errors of SageMaker's own (AWS Batch's guide, "Service jobs"). No scheduler of ours.
"""

import json
from collections.abc import Sequence
from typing import Any

from undercut.backends.aws import resources as account
from undercut.backends.aws.jobs import TAG, Capabilities, Images, JobRecord, JobState, LogSource, Phase
from undercut.backends.aws.plan import JobPlan
from undercut.backends.aws.resources import Resources
from undercut.backends.aws.sagemaker import LOG_GROUP, SageMakerLauncher, longest_s, request
from undercut.backends.aws.settings import LauncherName

KIND = "SAGEMAKER_TRAINING"
RETRIED = "Received status from SageMaker: InternalServerError*"
"""What another try may help against. A reward that raises would only do it again, and be paid for again."""
_PHASES: dict[str, Phase] = {
    **dict.fromkeys(("SUBMITTED", "PENDING", "RUNNABLE", "SCHEDULED", "STARTING"), "starting"),
    "RUNNING": "running",
    "SUCCEEDED": "done",
    "FAILED": "failed",
}
_WAITS = ("SUBMITTED", "PENDING", "RUNNABLE")
_BILLED, _RAN = "BillableTimeInSeconds", "TrainingTimeInSeconds"


class QueueLauncher(SageMakerLauncher):
    """One service job. Each of its tries is a training job of its own, which goes on with the run in the bucket."""

    name: LauncherName = "queue"
    can = Capabilities(works=("train", "evaluate", "race"), spot=True, simulators=(0, 20), needs=("training_queue",))

    def launch(self, record: JobRecord, resources: Resources, images: Images) -> JobRecord:
        made = submission_of(record.plan, resources, images.trainer)
        submitted = self._session.call("batch", "SubmitServiceJob", **made)
        return record.changed(others=(str(submitted["jobId"]),), launched=True)

    def state(self, record: JobRecord) -> JobState:
        """Batch's word while it waits, then that of the training job of its last try; what is billed is of all."""
        told = self._told(record)
        if not told:
            return JobState("absent")
        status, reason = str(told["status"]), str(told.get("statusReason", ""))
        tries = self._tries(told)
        description: dict[str, Any] = {}
        if tries and status not in _WAITS:
            described = [self.described(name) for name in tries]
            description = {**next((one for one in reversed(described) if one), {})}
            for key in (_BILLED, _RAN):
                seconds = [one[key] for one in described if one.get(key) is not None]
                if seconds:
                    description[key] = sum(seconds)
        phase, detail = _PHASES.get(status, "running"), str(description.get("SecondaryStatus") or status)
        if status == "FAILED" and (told.get("isTerminated") or description.get("TrainingJobStatus") == "Stopped"):
            phase = "stopped"
        elif told.get("isTerminated") and phase not in ("done", "failed"):
            phase = "stopping"
        return JobState(phase, detail, str(description.get("FailureReason") or reason), description)

    def stop(self, record: JobRecord) -> None:
        told = self._told(record)
        if told and _PHASES.get(str(told["status"])) not in ("done", "failed"):
            why = "stopped by undercut"
            self._session.call("batch", "TerminateServiceJob", jobId=str(told["jobId"]), reason=why, absent=_GONE)

    def logs(self, record: JobRecord) -> Sequence[LogSource]:
        return [LogSource(LOG_GROUP, f"{name}/") for name in self._tries(self._told(record))]

    def _told(self, record: JobRecord) -> dict[str, Any]:
        """DescribeServiceJob's answer; {} when Batch knows of none. A launch whose answer was lost is found by name."""
        ids = list(record.others)
        if not ids:
            queue = account.find(self._session).training_queue
            named = [{"name": "JOB_NAME", "values": [record.job]}]
            found = self._session.call("batch", "ListServiceJobs", jobQueue=queue, filters=named, absent=_GONE)
            ids = [str(one["jobId"]) for one in found.get("jobSummaryList", []) if one["jobName"] == record.job]
        if not ids:
            return {}
        return self._session.call("batch", "DescribeServiceJob", jobId=ids[0], absent=_GONE)

    def _tries(self, told: dict[str, Any]) -> list[str]:
        """Names of the training jobs, in their order."""
        latest = told.get("latestAttempt")
        attempts = [*told.get("attempts", []), *([latest] if latest else [])]
        arns = [str(one["serviceResourceId"]["value"]) for one in attempts if one.get("serviceResourceId")]
        return list(dict.fromkeys(arn.rpartition("/")[2] for arn in arns))


_GONE = ("not found", "does not exist", "ResourceNotFound")


def submission_of(plan: JobPlan, resources: Resources, image: str) -> dict[str, Any]:
    """SubmitServiceJob's request: CreateTrainingJob's as its payload."""
    return {
        "jobName": plan.job,
        "jobQueue": resources.training_queue,
        "serviceJobType": KIND,
        "serviceRequestPayload": json.dumps(request(plan, resources, image)),
        "retryStrategy": {
            "attempts": plan.attempts,
            "evaluateOnExit": [
                {"action": "RETRY", "onStatusReason": RETRIED},
                {"action": "EXIT", "onStatusReason": "*"},
            ],
        },
        "timeoutConfig": {"attemptDurationSeconds": longest_s(plan)},
        "clientToken": plan.job,
        "tags": {TAG: plan.runs[0]},
    }
