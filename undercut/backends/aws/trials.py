"""A sweep's trials as jobs in AWS, each on machines of its own, with one limit of cost for all of them."""

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress

from contract.errors import UndercutError
from undercut.backends.aws import cost, follow
from undercut.backends.aws.jobs import JobRecord, JobState, Launcher, records
from undercut.backends.aws.launchers import still_running
from undercut.backends.aws.launching import NO_ROOM, SHORTEST_S, attempts, begin, first_free, plan_of, pull
from undercut.backends.aws.session import CloudError, CloudSession
from undercut.backends.aws.settings import CloudSettings
from undercut.backends.backend import Say
from undercut.sweep.backend import TrialLostError

PULL_S = 60.0
"""Between two times that a job's files are brought: what the pruner looks at."""


class BudgetSpentError(Exception):
    """No further trial can be paid for; those that are there stay, and the sweep goes on with a higher limit."""


class CloudTrials:
    """`TrialBackend`: a training job a trial. A job that runs when its sweep dies goes on in AWS and is taken up again.

    `settings.max_cost` is of the whole sweep: each job gets a share of what is left, and AWS keeps to that share also
    when this machine is off.
    """

    shares_this_machine = False

    def __init__(self, settings: CloudSettings, machines: int, say: Say, pull_s: float = PULL_S) -> None:
        """`machines` jobs run at once."""
        self._settings, self._machines, self._say, self._pull_s = settings, machines, say, pull_s
        self._changed = threading.Lock()
        self._held: dict[str, float] = {}
        """What jobs that run may still cost, by their runs."""
        self.spent = 0.0
        """US dollars of jobs that have ended, by AWS's record of them."""

    def estimate(self, trials: int) -> list[str]:
        """What the whole sweep costs at most, in words."""
        plan = plan_of(self._settings, CloudSession(self._settings).region, "train", ["trial"])
        each = cost.estimate(plan)
        most = trials * each.total
        limit = self._settings.max_cost
        kept = f"; stopped at ${limit:.2f}, by --max-cost" if 0 < limit < most else ""
        hours = plan.max_runtime_s / 3600
        machines = " + ".join(f"{one.count} x {one.instance_type}" for one in plan.groups)
        tries = f", up to {plan.attempts} times" if plan.attempts > 1 else ""
        return [
            f"{trials} jobs of {machines}, {hours:g} h at most each{tries}: at most ${most:.2f}{kept}; {each.dated}"
        ]

    def run(self, name: str, is_wanted: Callable[[], bool]) -> None:
        with self._share(name) as share:
            record, session, starter = self._taken_up(name) or self._launched(name, share)
            state = self._followed(record, starter, is_wanted)
            record = record.changed(ended=True)
            starter.tidy(record)
            self._bring(record)
            dollars = cost.actual(record.plan, state.description or {}).total
            with self._changed:
                self.spent += dollars
            self._say(f"{name}: {state.phase}; it did cost about ${dollars:.2f}, all together ${self.spent:.2f}")
        if state.phase == "failed":
            if state.no_capacity:
                raise TrialLostError(f"{name}: AWS had no machine to give")
            raise follow.unwatched_failure(session, starter, record, state)

    @contextmanager
    def _share(self, name: str) -> Iterator[float]:
        """What this job may cost, taken from the sweep's limit while it runs; 0: no limit."""
        limit = self._settings.max_cost
        with self._changed:
            left = limit - self.spent - sum(self._held.values())
            share = left / max(self._machines - len(self._held), 1) if limit else 0.0
            self._held[name] = share
        try:
            yield share
        finally:
            with self._changed:
                del self._held[name]

    def _taken_up(self, name: str) -> tuple[JobRecord, CloudSession, Launcher] | None:
        """The run's job that an earlier sweep left running."""
        for record in records():
            if record.plan.runs == (name,) and (found := still_running(record)):
                self._say(f"{name}: goes on with {record.job}")
                return found
        return None

    def _launched(self, name: str, share: float) -> tuple[JobRecord, CloudSession, Launcher]:
        def launch(session: CloudSession) -> tuple[JobRecord, CloudSession, Launcher]:
            settings = session.settings.model_copy(update={"max_cost": share})
            plan = plan_of(settings, session.region, "train", [name])
            if self._settings.max_cost and share < cost.least(plan, SHORTEST_S):
                what = f"${self.spent:.2f} of ${self._settings.max_cost:.2f} are spent"
                raise BudgetSpentError(f"{what}, and what is left pays for no job of {SHORTEST_S // 60} minutes")
            record, starter = begin(session, plan, lambda line: None)
            return record, session, starter

        try:
            return first_free(attempts(self._settings), launch, lambda line: None)
        except CloudError as error:
            if error.code not in NO_ROOM:
                raise
            raise TrialLostError(str(error)) from None

    def _followed(self, record: JobRecord, starter: Launcher, is_wanted: Callable[[], bool]) -> JobState:
        pulled_s, stopped = time.monotonic(), False
        while True:
            state = starter.state(record)
            if state.ended:
                return state
            if time.monotonic() - pulled_s > self._pull_s:
                self._bring(record)
                pulled_s = time.monotonic()
            if not stopped and not is_wanted():
                starter.stop(record)
                stopped = True
            time.sleep(record.plan.settings.poll_s)

    def _bring(self, record: JobRecord) -> None:
        with suppress(UndercutError, KeyError):  # a job that never began has written nothing
            pull(record)
