"""A sweep's shards as jobs in AWS: each machine has a fixed share of the trials, side by side, and its own journal in
the bucket. One estimate, one limit of cost and one stop for all of them."""

import contextlib
import time
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

from contract.errors import InputError, UndercutError
from contract.host import S3Address
from undercut.backends.aws import cost, follow, resources
from undercut.backends.aws.jobs import JobRecord, JobState, Launcher, job_name, records
from undercut.backends.aws.launchers import still_running
from undercut.backends.aws.launching import NO_ROOM, attempts, begin, first_free, plan_of
from undercut.backends.aws.plan import JobPlan
from undercut.backends.aws.resources import Resources
from undercut.backends.aws.session import CloudError, CloudSession
from undercut.backends.aws.settings import CloudSettings
from undercut.backends.aws.trials import PULL_S
from undercut.backends.backend import Say
from undercut.runs.workspace import bucket_place
from undercut.sweep.shards import Shard, shards_of
from undercut.sweep.spec import Sweep
from undercut.sweep.storage import same_shares
from undercut.sweep.transfer import Fetcher, is_done, send

SHARD = "--shard"


@dataclass(slots=True)
class _Running:
    """A shard's job."""

    shard: Shard
    record: JobRecord
    session: CloudSession
    starter: Launcher


class CloudShards:
    """So many machines, of which each does its share of a sweep. Jobs that run when this process dies go on in AWS; the
    same call takes them up, and goes on with shards whose jobs have ended before their trials."""

    def __init__(
        self,
        sweep: Sweep,
        path: Path,
        settings: CloudSettings,
        machines: int,
        parallel: int,
        say: Say,
        pull_s: float = PULL_S,
    ) -> None:
        """`path` is the sweep's file, `parallel` how many trials each machine has at once, 0: as its cores allow.
        `settings.max_cost` is of all machines together. InputError where the sweep was begun in other shards."""
        same_shares(sweep.name, machines)
        if settings.launcher != "sagemaker":
            rule = "a shard is a job of SageMaker"
            raise InputError("launcher", settings.launcher, rule, "leave it out, or leave --shards out")
        # a journal is in one bucket
        self._settings = settings.model_copy(update={"fallback_regions": ()})
        self._sweep, self._path = sweep, path
        self._machines, self._parallel, self._say, self._pull_s = machines, parallel, say, pull_s
        self._running: list[_Running] = []
        self._tries: dict[Shard, Iterator[CloudSettings]] = {}
        self._failures: list[UndercutError] = []
        self.spent = 0.0
        """US dollars of jobs of this call that have ended, by AWS's record of them."""

    def run(self) -> None:
        """Until every trial has come to its end, or no job runs any more; Ctrl-C stops all of them, and brings what
        they have. UndercutError when one failed or was stopped before its trials were done."""
        there = resources.find(CloudSession(self._settings)).store()
        fetcher = Fetcher(self._sweep.name, there, self._say)
        fetcher.fetch()
        left = [it for it in shards_of(self._machines) if not is_done(self._sweep, it) and it.share(self._sweep.trials)]
        taken = [found for found in map(self._taken_up, left) if found is not None]
        new = [it for it in left if it not in [one.shard for one in taken]]
        held = sum(cost.estimate(one.record.plan).total for one in taken)
        for line in self.estimate(len(new), held):
            self._say(line)
        self._running += taken
        try:
            share = self._share(len(new), held) if new else 0.0
            for shard in new:
                self._launched(shard, share)
            self._follow(fetcher, is_stopping=False)
        except KeyboardInterrupt:
            self._say("stopping all machines; their trials save their iterations")
            self._stop()
            self._follow(fetcher, is_stopping=True)
            raise
        except BaseException:
            self._stop()
            raise
        finally:
            fetcher.fetch(unfinished=True)
        if self._failures:
            raise self._failures[0]
        undone = [
            it for it in shards_of(self._machines) if it.share(self._sweep.trials) and not is_done(self._sweep, it)
        ]
        if undone:
            what = f"{len(undone)} of {self._machines} shards have ended before their trials"
            rule = "a job may run for --max-cost's share and max_runtime_minutes of cloud.yaml"
            raise CloudError(what, rule, "the same command goes on with them, with a higher --max-cost if that was it")

    def estimate(self, count: int, held: float = 0.0) -> list[str]:
        """What so many new machines cost at most together, in words, `held` more by those that run already."""
        if not count:
            return []
        session = CloudSession(self._settings)
        each = cost.estimate(self._plan(self._settings, session.region, Shard(1, self._machines)))
        most, limit = count * each.total + held, self._settings.max_cost
        kept = f"; stopped at ${limit:.2f}, by --max-cost" if 0 < limit < most else ""
        hours = self._settings.max_runtime_minutes / 60
        machines = f"{count} shards of {self._settings.instance_type}, {hours:g} h at most each"
        return [f"{machines}: at most ${most:.2f}{kept}; {each.dated}"]

    def _share(self, count: int, held: float) -> float:
        """What each of so many new jobs may cost; 0: no limit. InputError when nothing is left for them."""
        limit = self._settings.max_cost
        if limit and limit <= held:
            rule = f"the shards that run may cost ${held:.2f} of it already"
            raise InputError("--max-cost", limit, rule, "allow more, or wait for them")
        return (limit - held) / count if limit else 0.0

    def _plan(self, settings: CloudSettings, region: str, shard: Shard, key: str = "") -> JobPlan:
        name, trials = self._sweep.name, shard.share(self._sweep.trials)
        arguments = (key, SHARD, str(shard), "--parallel", str(self._parallel))
        plan = plan_of(settings, region, "sweep", [name], arguments)
        return replace(plan, job=job_name(f"{name}-{shard.folder}"), trials=trials)

    def _taken_up(self, shard: Shard) -> _Running | None:
        """The shard's job that an earlier call left running."""
        for record in of_sweep(self._sweep.name):
            if shard_of(record) == shard and (found := still_running(record)):
                self._say(f"shard {shard}: goes on with {record.job}")
                return _Running(shard, *found)
        return None

    def _launched(self, shard: Shard, share: float) -> None:
        """Launch it on the next machine of the list that AWS has, or keep the error where it has none: other shards
        go on."""

        def bring(plan: JobPlan, there: Resources) -> JobPlan:
            key = send(self._sweep, self._path, there.store(), [shard])
            return replace(plan, arguments=(key, *plan.arguments[1:]))

        def launch(session: CloudSession) -> None:
            plan = self._plan(session.settings.model_copy(update={"max_cost": share}), session.region, shard)
            record, starter = begin(session, plan, lambda line: None, bring)
            minutes = record.plan.max_runtime_s / 60
            self._say(f"shard {shard}: {record.plan.trials} trials by {record.job}, {minutes:.0f} minutes at most")
            self._running.append(_Running(shard, record, session, starter))

        tries = self._tries.setdefault(shard, attempts(self._settings))
        try:
            first_free(tries, launch, lambda line: self._say(f"shard {shard}: {line}"))
        except CloudError as error:
            if error.code not in NO_ROOM:
                raise
            self._say(f"shard {shard}: {str(error).splitlines()[0]}")
            self._failures.append(error)

    def _follow(self, fetcher: Fetcher, is_stopping: bool) -> None:
        """Until all jobs have ended; what they find comes meanwhile."""
        pulled_s = time.monotonic()
        while self._running:
            for one in list(self._running):
                state = one.starter.state(one.record)
                if state.ended:
                    self._running.remove(one)
                    self._ended(one, state, is_stopping)
            if time.monotonic() - pulled_s > self._pull_s:
                with contextlib.suppress(KeyError):  # changed while it was looked at
                    fetcher.fetch()
                pulled_s = time.monotonic()
            if self._running:
                time.sleep(self._settings.poll_s)

    def _ended(self, one: _Running, state: JobState, is_stopping: bool) -> None:
        record = one.record.changed(ended=True)
        one.starter.tidy(record)
        dollars = cost.actual(record.plan, state.description or {}).total
        self.spent += dollars
        told = f"it did cost about ${dollars:.2f}, all together ${self.spent:.2f}"
        self._say(f"shard {one.shard}: {state.phase}; {told}")
        if state.phase != "failed" or is_stopping:
            return
        if state.no_capacity:
            self._launched(one.shard, record.plan.settings.max_cost)
            return
        self._failures.append(follow.unwatched_failure(one.session, one.starter, record, state))

    def _stop(self) -> None:
        for one in self._running:
            one.starter.stop(one.record)


def of_sweep(name: str) -> list[JobRecord]:
    """Jobs of shards of the sweep that were launched from this folder, the newest first."""
    return [it for it in records() if it.plan.work == "sweep" and it.plan.runs == (name,)]


def shard_of(record: JobRecord) -> Shard:
    """By the job's own arguments."""
    arguments = record.plan.arguments
    return Shard.parse(arguments[arguments.index(SHARD) + 1])


def fetch(name: str, say: Say) -> None:
    """Bring what the shards of the sweep of that name have found so far."""
    for bucket, prefix in dict.fromkeys((it.bucket, it.prefix) for it in of_sweep(name)):
        Fetcher(name, bucket_place(S3Address(bucket, prefix)), say).fetch()
