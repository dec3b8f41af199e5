"""From a run of this folder to a job in the cloud, and back."""

import contextlib
import shlex
import signal
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TypeVar

from contract import artifacts
from contract.config import check_run_name
from contract.errors import InputError
from contract.host import S3Address
from contract.protocols import Place
from trainer.checkpoints import Checkpoints
from undercut.backends.aws import cost, follow, needs, resources
from undercut.backends.aws.images import images_of
from undercut.backends.aws.jobs import Images, JobRecord, Launcher, check, job_name
from undercut.backends.aws.launchers import launcher
from undercut.backends.aws.plan import InstanceGroup, JobPlan, Work
from undercut.backends.aws.resources import Resources
from undercut.backends.aws.sagemaker import LOG_GROUP
from undercut.backends.aws.session import CloudError, CloudSession
from undercut.backends.aws.settings import CloudSettings
from undercut.backends.backend import Say
from undercut.cli.copying import copy_between
from undercut.runs.params_files import load_params, load_race
from undercut.runs.run import Run
from undercut.runs.workspace import RUNS_PREFIX, bucket_place, workspace

SHORTEST_S = 600
"""A job that may run for less would end before it has done anything."""
NO_ROOM = ("CapacityError", "ResourceLimitExceeded", "InsufficientCapacityException", follow.NO_CAPACITY)
"""Codes of errors that another type of machine, or another region, may not have."""
RACES = "races"
PARAMS = "--params"
_T = TypeVar("_T")


def plan_of(
    settings: CloudSettings, region: str, work: Work, runs: Sequence[str], arguments: Sequence[str] = ()
) -> JobPlan:
    """What the settings ask for. `max_cost` shortens how long the job may run."""
    groups = [InstanceGroup("trainer", settings.instance_type, 1)]
    if settings.simulators and work == "train":
        kind = settings.simulator_type or settings.instance_type
        service = "sagemaker" if settings.launcher == "queue" else settings.launcher
        name = kind if service == "sagemaker" else kind.removeprefix("ml.")
        groups.append(InstanceGroup("simulators", name, settings.simulators, service))
    if len({group.instance_type for group in groups}) == 1 and len(groups) > 1 and groups[1].service == "sagemaker":
        groups = [InstanceGroup("trainer", settings.instance_type, 1 + settings.simulators)]
    return JobPlan(
        job=job_name(runs[0]),
        work=work,
        runs=tuple(runs),
        region=region,
        launcher=settings.launcher,
        groups=tuple(groups),
        settings=settings,
        max_runtime_s=int(settings.max_runtime_minutes * 60),
        volume_gb=settings.volume_gb,
        spot=settings.spot,
        arguments=tuple(arguments),
        attempts=settings.queue_attempts if settings.launcher == "queue" else 1,
        streams=settings.simulators if settings.launcher == "robomaker" and work == "train" else 0,
    )


def within_cost(plan: JobPlan) -> tuple[JobPlan, cost.Estimate]:
    """The plan with a run time that its limit of cost allows, and its estimate. InputError when that is too short."""
    estimate = cost.estimate(plan)
    limit = plan.settings.max_cost
    if limit and not cost.prices().knows(plan.region):
        rule = f"a limit is kept by prices, and {cost.PRICES.name} has none of {plan.region}"
        known = ", ".join(cost.prices().regions)
        raise InputError("--max-cost", limit, rule, f"take one of {known}, or add {plan.region} to {cost.PRICES.name}")
    if limit and estimate.total > limit:
        fixed = max(estimate.total - estimate.hourly * plan.most_s / 3600, 0.0)
        affordable_s = int((limit - fixed) / estimate.hourly * 3600 / plan.attempts)
        if affordable_s < SHORTEST_S:
            minutes = f"the limit leaves {affordable_s / 60:.1f} minutes"
            rule = f"{minutes}, and a job takes about 5 to start and has to finish an iteration"
            raise InputError("--max-cost", limit, rule, "allow more, or take a smaller --instance-type or --spot")
        plan = replace(plan, max_runtime_s=affordable_s)
        estimate = cost.estimate(plan)
    return plan, estimate


def attempts(settings: CloudSettings) -> Iterator[CloudSettings]:
    """The settings with each instance type in turn, in each region in turn: the stated list."""
    for where in dict.fromkeys((CloudSession(settings).region, *settings.fallback_regions)):
        for kind in dict.fromkeys((settings.instance_type, *settings.fallback_instance_types)):
            yield settings.model_copy(update={"region": where, "instance_type": kind})


def first_free(tries: Iterable[CloudSettings], work: Callable[[CloudSession], _T], say: Say) -> _T:
    """What `work` gives with the first settings for which AWS has a machine. CloudError when it has none."""
    refused = CloudError(
        "AWS had no machine to give", "one of the list is free", "give another --instance-type", NO_ROOM[0]
    )
    for chosen in tries:
        session = CloudSession(chosen)
        try:
            return work(session)
        except CloudError as error:
            if error.code not in NO_ROOM:
                raise
            refused = error
            say(f"{chosen.instance_type} in {session.region}: {error.code}; going on with the next of the list")
    raise refused


# --- the run goes there and comes back -------------------------------------------------------------------------------


def needed_runs(name: str, place: Place) -> list[str]:
    """The run, and before it the one it begins from, while it has no checkpoint; InputError where that is no run."""
    config = Run.open(name, place.below(RUNS_PREFIX + name)).config
    if not config.pretrained or Checkpoints(place.below(RUNS_PREFIX + name)).last() is not None:
        return [name]
    if config.pretrained.startswith("s3://"):
        return [name]
    if not place.below(RUNS_PREFIX + config.pretrained).exists(artifacts.RUN_CONFIG):
        rule = "a job in the cloud begins from a run or from s3://bucket/prefix, not from a file of this machine"
        fix = f"undercut import {shlex.quote(config.pretrained)}, then name the run that it makes"
        raise InputError(f"run {name}: pretrained", config.pretrained, rule, fix)
    return [config.pretrained, name]


def bring(names: Sequence[str], there: Resources) -> None:
    """Bring the bucket's runs up to date with those here. A run that is only there is fine."""
    here = workspace()
    for name in names:
        check_run_name(name, "RUN")
        if here.below(RUNS_PREFIX + name).exists(artifacts.RUN_CONFIG):
            for one in needed_runs(name, here):
                copy_between(one, here, there.store())
        elif not there.store().below(RUNS_PREFIX + name).exists(artifacts.RUN_CONFIG):
            known = ", ".join(there.store().folders(RUNS_PREFIX)) or "none"
            rule = f"a run of this folder or of {there.address} (there are: {known})"
            raise InputError("run", name, rule, f"undercut train {name} --backend cloud makes one and trains it there")


def with_params(plan: JobPlan, there: Resources) -> JobPlan:
    """The plan with the YAML of `--params` in the bucket, where the job reads it. InputError when it is not right."""
    words = [
        part for word in plan.arguments for part in (word.split("=", 1) if word.startswith(f"{PARAMS}=") else [word])
    ]
    if PARAMS not in words[:-1]:
        return plan
    at = words.index(PARAMS) + 1
    path = Path(words[at])
    if plan.work == "race":
        load_race(path, list(plan.runs))
    else:
        load_params(path, "EVALUATION")
    key = f"jobs/{plan.job}/{path.name}"
    there.store().put(key, path.read_bytes())
    return replace(plan, arguments=(*words[:at], str(there.address.below(key)), *words[at + 1 :]))


def pull(record: JobRecord) -> list[str]:
    """Bring what the job wrote to this folder; returns the places."""
    there, here = bucket_place(S3Address(record.bucket, record.prefix)), workspace()
    if record.plan.work == "race":
        path = f"{RACES}/{race_name(record.plan.arguments)}"
        source = there.below(path)
        for key in source.list(""):
            here.below(path).put(key, source.get(key))
        return [path]
    if record.plan.work == "sweep":
        from undercut.sweep.shards import SWEEPS  # Optuna is an extra
        from undercut.sweep.transfer import Fetcher

        (name,) = record.plan.runs
        Fetcher(name, there, lambda line: None).fetch(unfinished=True)
        return [f"{SWEEPS}/{name}"]
    for run in record.plan.runs:
        copy_between(run, there, here)
    return [f"{RUNS_PREFIX}{run}" for run in record.plan.runs]


def race_name(arguments: Sequence[str]) -> str:
    """Of `undercut race`'s arguments: --name, by default "race"."""
    for one, following in zip(arguments, [*arguments[1:], ""], strict=True):
        if one == "--name":
            return following
        if one.startswith("--name="):
            return one.partition("=")[2]
    return "race"


# --- launching -------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Ready:
    """All that a launch takes."""

    plan: JobPlan
    there: Resources
    images: Images
    hourly: float
    """US dollars, as estimated."""


def bring_runs(plan: JobPlan, there: Resources) -> JobPlan:
    """Bring the plan's runs, and the YAML of `--params`."""
    bring(plan.runs, there)
    return with_params(plan, there)


Bring = Callable[[JobPlan, Resources], JobPlan]
"""Brings what a job needs to the bucket; returns the plan as it is then."""


def prepared(
    session: CloudSession, plan: JobPlan, starter: Launcher, say: Say, bring_there: Bring = bring_runs
) -> Ready:
    """Check, estimate, bring, push: in this order, so that what cannot be done costs nothing."""
    account = session.account()
    there = resources.find(session)
    check(plan, starter.can, there)
    wanted = needs.needs_of(plan, there, account)
    for line in needs.look(session, plan, there, wanted):
        say(line)
    plan, estimate = within_cost(replace(plan, asks_lambda=bool(wanted.functions)))
    for line in announced(plan, estimate):
        say(line)
    plan = bring_there(plan, there)
    return Ready(plan, there, images_of(session, plan, there, say), estimate.hourly)


def begin(
    session: CloudSession, plan: JobPlan, say: Say, bring_there: Bring = bring_runs
) -> tuple[JobRecord, Launcher]:
    """Launch what is prepared. When this is broken off, nothing is left running: what was launched meanwhile is
    stopped."""
    starter = launcher(session, plan.launcher)
    ready = prepared(session, plan, starter, say, bring_there)
    there = ready.there
    record = JobRecord(
        plan=ready.plan, bucket=there.bucket, prefix=there.prefix, created_s=time.time(), hourly=ready.hourly
    ).save()
    try:
        record = starter.launch(record, there, ready.images)
    except BaseException:
        with _uninterrupted():
            left = undone(starter, record)
        say(left)
        raise
    say(f"launched {record.job} in {session.region}; Ctrl-C leaves it running: undercut cloud stop {plan.runs[0]}")
    for line in links(record):
        say(line)
    return record, starter


def links(record: JobRecord) -> list[str]:
    """The job's page in AWS's console and that of its log, and the way into its container where it has one."""
    region = record.plan.region
    console = f"https://{region}.console.aws.amazon.com"
    if record.plan.launcher == "queue":  # Batch names the training job of each try when it begins it
        return [f"  {console}/sagemaker/home?region={region}#/jobs: its training jobs, AWSBatch{record.job}..."]
    # CloudWatch's pages take a group and a filter with "/" as "$252F" and "=" as "$3D" (the console's own links)
    group = LOG_GROUP.replace("/", "$252F")
    filtered = f"$3FlogStreamNameFilter$3D{record.job}"
    lines = [
        f"  {console}/sagemaker/home?region={region}#/jobs/{record.job}",
        f"  {console}/cloudwatch/home?region={region}#logsV2:log-groups/log-group/{group}{filtered}",
    ]
    if record.plan.settings.remote_debug:
        lines.append(f"  aws ssm start-session --region {region} --target sagemaker-training-job:{record.job}_algo-1")
    return lines


def undone(starter: Launcher, record: JobRecord) -> str:
    """Stop what a launch that broke off may have begun; what is left, in words."""
    try:
        starter.stop(record)
        state = starter.state(record)
        if state.phase == "absent":
            time.sleep(record.plan.settings.poll_s)  # its request may still have been on the way
            starter.stop(record)
            state = starter.state(record)
    except Exception as error:
        return f"{record.job} may be running, since AWS could not be asked: undercut cloud stop {record.job}\n{error}"
    record.changed(ended=state.phase == "absent")
    return f"{record.job} was {'not launched' if state.phase == 'absent' else 'stopped'}: nothing is left running"


@contextlib.contextmanager
def _uninterrupted() -> Iterator[None]:
    """A second Ctrl-C waits until this is done; other threads do not hear of it anyway."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)


def announced(plan: JobPlan, estimate: cost.Estimate) -> list[str]:
    """What will be launched and what it will cost, before it is."""
    machines = ", ".join(f"{group.count} x {group.instance_type} ({group.name})" for group in plan.groups)
    spot = ", spare capacity" if plan.spot else ""
    tries = f", up to {plan.attempts} times" if plan.attempts > 1 else ""
    lines = [f"{plan.work} {', '.join(plan.runs)} by {plan.launcher} in {plan.region}: {machines}{spot}"]
    lines += [f"  {what:44s}{amount:>24s}  ${dollars:8.2f}" for what, amount, dollars in estimate.lines]
    most = (
        f"at most ${estimate.total:.2f} in {plan.max_runtime_s / 60:.0f} minutes{tries}, ${estimate.hourly:.2f} an hour"
    )
    return [*lines, f"  {most}{f'; prices of {estimate.dated}' if estimate.dated else ''}"]


def run(
    settings: CloudSettings, work: Work, runs: Sequence[str], arguments: Sequence[str], say: Say, detach: bool = False
) -> JobRecord:
    """A job from its launch to its files: other instance types and regions are tried, by the settings' lists, where AWS
    has no machine to give. CloudError when it fails."""

    def whole_job(session: CloudSession) -> JobRecord:
        record, starter = begin(session, plan_of(session.settings, session.region, work, runs, arguments), say)
        if not detach:
            finish(session, starter, record, say)
        return record

    return first_free(attempts(settings), whole_job, say)


def finish(session: CloudSession, starter: Launcher, record: JobRecord, say: Say) -> None:
    """Follow a job to its end and bring its files. CloudError when it failed."""
    try:
        followed = follow.follow(session, starter, record, say)
    except KeyboardInterrupt:
        run = record.plan.runs[0]
        say(f"{record.job} goes on in the cloud: undercut cloud watch {run} follows it, stop {run} ends it")
        raise
    record = record.changed(ended=True)
    starter.tidy(record)
    if followed.metrics.summary():
        say(f"metrics: {followed.metrics.summary()}")
    if followed.state.phase not in ("done", "stopped"):
        raise follow.failure(followed.state, followed.tail, record)
    for place in pull(record):
        say(f"brought {place}")
    say(f"it did cost about ${cost.actual(record.plan, followed.state.description or {}).total:.2f}")
