"""The launchers by name, and the jobs that they run."""

import json
import time
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from contract.errors import InputError
from contract.host import STORE, S3Address
from undercut.backends.aws.batch import BatchLauncher
from undercut.backends.aws.jobs import NAME_PREFIX, JobRecord, JobState, Launcher, record_of, records
from undercut.backends.aws.plan import InstanceGroup, JobPlan, Work, groups_of
from undercut.backends.aws.robomaker import RoboMakerLauncher
from undercut.backends.aws.sagemaker import SageMakerLauncher
from undercut.backends.aws.service_jobs import QueueLauncher
from undercut.backends.aws.session import CloudSession
from undercut.backends.aws.settings import CloudSettings, LauncherName


def launcher(session: CloudSession, name: LauncherName) -> Launcher:
    """The launcher of that name, in the session's region."""
    made: dict[LauncherName, type[Any]] = {
        "sagemaker": SageMakerLauncher,
        "robomaker": RoboMakerLauncher,
        "batch": BatchLauncher,
        "queue": QueueLauncher,
    }
    found: Launcher = made[name](session)
    return found


def opened(name: str) -> tuple[JobRecord, CloudSession, Launcher]:
    """The job, a session in its region, and its launcher; also one that AWS alone knows, by its whole name."""
    try:
        record = record_of(name)
    except InputError:
        settings = CloudSettings.load()
        session = CloudSession(settings)
        if not name.startswith(NAME_PREFIX):
            raise
        starter = SageMakerLauncher(session)
        if not (description := starter.described(name)):
            raise
        return adopted(description, session), session, starter
    session = CloudSession(record.plan.settings, record.plan.region)
    return record, session, launcher(session, record.plan.launcher)


def still_running(record: JobRecord) -> tuple[JobRecord, CloudSession, Launcher] | None:
    """A job of this folder that an earlier command left running; None, which is noted, of one that has ended."""
    if record.ended or not record.launched:
        return None
    found = opened(record.job)
    if found[2].state(record).ended:
        record.changed(ended=True)
        return None
    return found


def adopted(description: Mapping[str, Any], session: CloudSession) -> JobRecord:
    """The record of a job that was launched from another folder, by DescribeTrainingJob's answer; saved here, so that
    its files can be brought."""
    settings, given = session.settings, description.get("HyperParameters", {})
    work: Work = given.get("job", "train")
    run = str(given.get("s3_prefix", "")).rpartition("/")[2]
    runs = (run,) if work == "train" else tuple(json.loads(given.get("arguments", "[]"))[:1])
    store = S3Address.parse(description.get("Environment", {}).get(STORE, f"s3://{given.get('s3_bucket', '')}"), STORE)
    machines = description.get("ResourceConfig", {})
    plan = JobPlan(
        job=str(description["TrainingJobName"]),
        work=work,
        runs=runs or (run or "run",),
        region=session.region,
        launcher="sagemaker",
        groups=groups_of(description) or (InstanceGroup("trainer", "?", 1),),
        settings=settings,
        max_runtime_s=int(description.get("StoppingCondition", {}).get("MaxRuntimeInSeconds", 0)),
        volume_gb=int(machines.get("VolumeSizeInGB", 30)),
        spot=bool(description.get("EnableManagedSpotTraining", False)),
        arguments=tuple(json.loads(given.get("arguments", "[]"))[1:]) if work != "train" else (),
    )
    created = description.get("CreationTime")
    created_s = created.timestamp() if isinstance(created, datetime) else time.time()
    return JobRecord(plan=plan, bucket=store.bucket, prefix=store.prefix, created_s=created_s, launched=True).save()


@dataclass(frozen=True, slots=True)
class Row:
    """A job as `undercut cloud status` shows it."""

    job: str
    work: str
    runs: str
    region: str
    machines: str
    state: JobState
    stack: str = ""
    """Empty: not known."""

    @property
    def told(self) -> str:
        detail, reason = self.state.detail, self.state.reason
        return self.state.phase + (f" ({detail})" if detail else "") + (f": {reason}" if reason else "")

    def as_values(self) -> dict[str, str]:
        """For JSON."""
        row = {"job": self.job, "work": self.work, "runs": self.runs, "region": self.region, "machines": self.machines}
        return row | {"phase": self.state.phase, "detail": self.state.detail, "reason": self.state.reason}


def known(session: CloudSession) -> list[Row]:
    """Jobs that were launched from this folder, and those of undercut that AWS runs in the session's region and that
    this folder knows nothing of."""
    rows = []
    for record in records():
        plan = record.plan
        where = session if plan.region == session.region else CloudSession(plan.settings, plan.region)
        state = launcher(where, plan.launcher).state(record)
        if state.ended and not record.ended:
            record.changed(ended=True)
        machines = ", ".join(f"{group.count} x {group.instance_type}" for group in plan.groups)
        rows.append(Row(record.job, plan.work, ", ".join(plan.runs), plan.region, machines, state, plan.settings.stack))
    here = {row.job for row in rows}
    running = session.everything(
        "sagemaker", "ListTrainingJobs", "TrainingJobSummaries", NameContains=NAME_PREFIX, StatusEquals="InProgress"
    )
    for one in running:
        if one["TrainingJobName"] not in here:
            state = JobState("running", "from another folder")
            rows.append(Row(one["TrainingJobName"], "?", "?", session.region, "?", state))
    return rows
