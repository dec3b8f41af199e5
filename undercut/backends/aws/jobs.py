"""Jobs in the cloud: the record that each leaves in `cloud/`, what launchers can do, and how a job stands."""

import re
import secrets
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, Protocol

from pydantic import TypeAdapter

from contract.errors import InputError
from contract.fields import Strict, parse_json, text_of, validated
from contract.stores.local import LocalStore
from undercut.backends.aws.plan import JobPlan, Work
from undercut.backends.aws.resources import Resources
from undercut.backends.aws.settings import LauncherName

FOLDER = "cloud/"
"""Of the working directory: one JSON for each job."""
NAME_PREFIX = "undercut-"
TAG = "undercut:run"
Phase = Literal["starting", "running", "stopping", "stopped", "done", "failed", "absent"]
ENDED: tuple[Phase, ...] = ("stopped", "done", "failed", "absent")


@dataclass(frozen=True, slots=True)
class JobState:
    """How a job stands: AWS's own word for it in `detail`, why it failed in `reason`, its whole answer in
    `description`."""

    phase: Phase
    detail: str = ""
    reason: str = ""
    description: dict[str, Any] | None = None

    @property
    def ended(self) -> bool:
        return self.phase in ENDED

    @property
    def no_capacity(self) -> bool:
        """Whether AWS had no machine of this type to give."""
        return self.phase == "failed" and "capacityerror" in self.reason.lower().replace(" ", "")


@dataclass(frozen=True, slots=True)
class LogSource:
    """A log group and what the names of the job's streams begin with; `who` stands before lines of others than the
    trainer."""

    group: str
    prefix: str
    who: str = ""


@dataclass(frozen=True, slots=True)
class Images:
    """Where a registry has our images, by digest."""

    trainer: str
    simapp: str = ""


class JobRecord(Strict):
    """One job, written before it is launched: whatever happens then, it can be found, stopped and paid for."""

    plan: JobPlan
    bucket: str
    prefix: str
    created_s: float
    launched: bool = False
    ended: bool = False
    hourly: float = 0.0
    """US dollars that it costs while it runs, as estimated."""
    others: tuple[str, ...] = ()
    """Further jobs that belong to it: ids of AWS Batch, ARNs of RoboMaker."""

    @property
    def job(self) -> str:
        return self.plan.job

    def save(self) -> "JobRecord":
        LocalStore(Path()).put(f"{FOLDER}{self.job}.json", (self.model_dump_json(indent=2) + "\n").encode())
        return self

    def changed(self, **values: object) -> "JobRecord":
        """With other values, saved."""
        return self.model_copy(update=values).save()


_RECORD = TypeAdapter(JobRecord)


def records() -> list[JobRecord]:
    """Of this working directory, newest first; InputError for a file that is none."""
    store = LocalStore(Path())
    fix = "delete the file, if the job is over: `undercut cloud status` asks AWS as well"
    found = [
        validated(_RECORD, parse_json(text_of(store.get(key), key), key, fix), key, fix)
        for key in store.list(FOLDER)
        if key.endswith(".json")
    ]
    return sorted(found, key=lambda record: record.created_s, reverse=True)


def record_of(name: str) -> JobRecord:
    """The job of that name, or the newest one of the run of that name."""
    known = records()
    for record in known:
        if name in (record.job, *record.plan.runs):
            return record
    known_runs = ", ".join(dict.fromkeys(run for record in known for run in record.plan.runs)) or "none"
    raise InputError(
        "job", name, f"a job or run that was launched from this folder: {known_runs}", "undercut cloud status"
    )


def job_name(run: str) -> str:
    """A new name for a job of the run: at most 63 letters, digits and dashes."""
    plain = re.sub(r"[^A-Za-z0-9]+", "-", run).strip("-")[:28].rstrip("-") or "run"
    return f"{NAME_PREFIX}{plain}-{time.strftime('%Y%m%d-%H%M%S', time.gmtime())}-{secrets.token_hex(2)}"


# --- launchers -------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Capabilities:
    """What a launcher can do, so that an impossible job fails before it costs anything."""

    works: tuple[Work, ...]
    spot: bool
    simulators: tuple[int, int]
    """Fewest and most machines that only drive."""
    needs: tuple[Literal["subnets", "security_groups", "batch_queue", "training_queue", "simapp_repository"], ...] = ()
    """Of Resources."""
    longest_s: int = 5 * 24 * 3600


class Launcher(Protocol):
    """One way to run a job in AWS."""

    name: LauncherName
    can: Capabilities

    def launch(self, record: JobRecord, resources: Resources, images: Images) -> JobRecord:
        """Start everything of the job, or nothing: what was started is stopped again when a part cannot be."""

    def state(self, record: JobRecord) -> JobState:
        """How the job stands; "absent" when AWS knows none of that name."""

    def stop(self, record: JobRecord) -> None:
        """Ask AWS to stop all parts. Those that have ended, or never began, are fine."""

    def tidy(self, record: JobRecord) -> None:
        """Remove what the job was made with and nothing needs any more; it has ended. Twice is fine."""

    def logs(self, record: JobRecord) -> Sequence[LogSource]:
        """Where its parts write; the trainer's comes first."""


def check(plan: JobPlan, can: Capabilities, resources: Resources) -> None:
    """InputError when the launcher cannot do this job."""
    who, settings = f"launcher {plan.launcher}", plan.settings
    if plan.work not in can.works:
        rule = f"{who} can {', '.join(can.works)}"
        raise InputError("launcher", f"{plan.launcher} for {plan.work}", rule, "take --launcher sagemaker")
    if plan.spot and settings.keep_alive_minutes:
        rule = "SageMaker keeps machines of on-demand jobs alone (warm pools)"
        raise InputError("keep_alive_minutes", settings.keep_alive_minutes, rule, "leave out --spot, or set it to 0")
    if plan.spot and not can.spot:
        raise InputError("--spot", True, f"{who} has no spare capacity to take", "leave it out")
    fewest, most = can.simulators
    if not fewest <= settings.simulators <= most and plan.work == "train":
        fix = f"give --simulators {fewest}" if settings.simulators < fewest else f"at most --simulators {most}"
        raise InputError(
            "--simulators", settings.simulators, f"{who} takes {fewest} to {most} machines that drive", fix
        )
    if plan.max_runtime_s > can.longest_s:
        rule = f"{who} runs for at most {can.longest_s // 60} minutes"
        raise InputError(
            "--max-runtime-minutes", plan.max_runtime_s / 60, rule, "take less; a run can go on in a next job"
        )
    if bool(resources.subnets) != bool(resources.security_groups):
        fix = "give both, or neither"
        raise InputError("subnets and security_groups", resources.subnets, "a VPC is named by both", fix)
    for need in can.needs:
        if not getattr(resources, need):
            rule = f"{who} needs it: its simulators and the trainer reach each other in one VPC"
            if need not in ("subnets", "security_groups"):
                rule = f"{who} needs it"
            raise InputError(need, "", rule, f"give {need} in cloud.yaml, or take --launcher sagemaker")
