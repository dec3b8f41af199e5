"""The launchers by name, and the jobs that they run."""

from dataclasses import dataclass
from typing import Any

from undercut.backends.aws.batch import BatchLauncher
from undercut.backends.aws.jobs import NAME_PREFIX, JobRecord, JobState, Launcher, record_of, records
from undercut.backends.aws.robomaker import RoboMakerLauncher
from undercut.backends.aws.sagemaker import SageMakerLauncher
from undercut.backends.aws.session import CloudSession
from undercut.backends.aws.settings import LauncherName


def launcher(session: CloudSession, name: LauncherName) -> Launcher:
    """The launcher of that name, in the session's region."""
    made: dict[LauncherName, type[Any]] = {
        "sagemaker": SageMakerLauncher,
        "robomaker": RoboMakerLauncher,
        "batch": BatchLauncher,
    }
    found: Launcher = made[name](session)
    return found


def opened(name: str) -> tuple[JobRecord, CloudSession, Launcher]:
    """The job, a session in its region, and its launcher."""
    record = record_of(name)
    session = CloudSession(record.plan.settings, record.plan.region)
    return record, session, launcher(session, record.plan.launcher)


@dataclass(frozen=True, slots=True)
class Row:
    """A job as `undercut cloud status` shows it."""

    job: str
    work: str
    runs: str
    region: str
    machines: str
    state: JobState

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
        rows.append(Row(record.job, plan.work, ", ".join(plan.runs), plan.region, machines, state))
    here = {row.job for row in rows}
    running = session.everything(
        "sagemaker", "ListTrainingJobs", "TrainingJobSummaries", NameContains=NAME_PREFIX, StatusEquals="InProgress"
    )
    for one in running:
        if one["TrainingJobName"] not in here:
            state = JobState("running", "from another folder")
            rows.append(Row(one["TrainingJobName"], "?", "?", session.region, "?", state))
    return rows
