"""A worker: asks the trainer for episodes, drives them, and sends the rollouts; again and again."""

import contextlib
import os
import secrets
import socket
import threading
import time
from collections.abc import Callable
from typing import Literal, Protocol

from contract.errors import ChannelError, RewardError, UndercutError, WireError
from contract.memory import DoesNotFitError
from contract.protocols import RolloutOrder, WorkerEnd
from contract.rollout import Rollout
from contract.wire import Alive, Failed, Job, Leaving, Ready, Task, read_task, rollout_to_bytes

HEARTBEAT_S = 2.0
ASK_AGAIN_S = 5.0
ASK_ANOTHER_S = 1.0
"""How long a trainer is asked for work before another one is."""
_POLL_S = 1.0


class EpisodeDriver(Protocol):
    """Drives episodes of one job."""

    def collect(self, policy: bytes, order: RolloutOrder) -> list[Rollout]: ...


class Worker:
    """Runs until `stop` is called, or no trainer has been there for `idle_limit_s`.

    `load` makes the driver of a job; the driver calls the given function after every step. `say` is told what happens.
    """

    def __init__(
        self,
        connect: Callable[[str], WorkerEnd],
        load: Callable[[Job, Callable[[int], None]], EpisodeDriver],
        version: str,
        say: Callable[[str], None],
        idle_limit_s: float,
        heartbeat_s: float = HEARTBEAT_S,
    ) -> None:
        self.name = secrets.token_hex(8)
        self._end = connect(self.name)
        self._load, self._version, self._say, self._idle_limit_s = load, version, say, idle_limit_s
        self._heartbeat_s = heartbeat_s
        self._number, self._steps = 1, 0
        self._job: tuple[str, EpisodeDriver] | None = None
        self._stop, self._ended = threading.Event(), threading.Event()

    def stop(self) -> None:
        """Finish the task in hand, deliver it, and leave."""
        self._stop.set()

    def run(self) -> None:
        """ChannelError when the channel is gone for good."""
        beating = threading.Thread(target=self._beat, name="heartbeat", daemon=True)
        beating.start()
        why = "told to stop"
        idle_since_s = time.monotonic()
        try:
            while not self._stop.is_set():
                task = self._ask()
                if task is not None:
                    self._do(task)
                    self._number += 1
                    idle_since_s = time.monotonic()
                elif time.monotonic() - idle_since_s > self._idle_limit_s:
                    why = f"no work for {self._idle_limit_s:g} s"
                    break
        except MemoryError:
            why = "out of memory"
            raise
        finally:
            self._ended.set()
            with contextlib.suppress(ChannelError):
                if self._end.attended():
                    self._end.send(Leaving(worker=self.name, number=self._number, why=why).to_bytes())
            self._end.close()

    def _ask(self) -> Task | None:
        """The next task, None when there is none for now: then the next trainer is asked, where there are several."""
        others = self._end.others()
        if not self._end.attended():
            if others:
                self._end.turn()
            else:
                self._stop.wait(_POLL_S)
            return None
        me = Ready(
            worker=self.name,
            number=self._number,
            host=socket.gethostname()[:200],
            pid=os.getpid(),
            version=self._version,
        )
        self._end.send(me.to_bytes())
        deadline_s = time.monotonic() + min(ASK_ANOTHER_S if others else ASK_AGAIN_S, 2.5 * self._heartbeat_s)
        while not self._stop.is_set() and (left_s := deadline_s - time.monotonic()) > 0:
            message = self._end.receive(min(left_s, _POLL_S))
            if message is not None:
                task = read_task(message)
                if task.number == self._number:  # or the answer to an earlier question, asked twice
                    return task
        if others and not self._stop.is_set():
            farewell = Leaving(worker=self.name, number=self._number, why="looks for other work", is_back=True)
            self._end.send(farewell.to_bytes())
            self._number += 1  # what that one may have sent meanwhile is no answer to what is asked when it comes again
            self._end.turn()
        return None

    def _do(self, task: Task) -> None:
        try:
            driver = self._driver(task.job)
            policy = self._end.fetch(task.policy)
            if driver is None or policy is None:
                self._say("a task whose job or policy is gone already; asking for another")
                self._stop.wait(2.0)
                return
            for rollout in driver.collect(policy, task.rollout_order()):
                self._end.send(rollout_to_bytes(rollout, self.name, self._number, task.order))
        except ChannelError:
            raise
        except DoesNotFitError as error:  # for this worker; the others may have room
            raise MemoryError(str(error)) from None
        except UndercutError as error:
            self._say(f"{type(error).__name__}: {error}")
            kind: Literal["RewardError", "UndercutError"] = (
                "RewardError" if isinstance(error, RewardError) else "UndercutError"
            )
            failed = Failed(
                worker=self.name, number=self._number, order=task.order, error=kind, text=str(error)[:100_000]
            )
            self._end.send(failed.to_bytes())

    def _driver(self, digest: str) -> EpisodeDriver | None:
        if self._job is None or self._job[0] != digest:
            blob = self._end.fetch(digest)
            if blob is None:
                return None
            job = Job.from_bytes(blob)
            if job.version != self._version:
                raise WireError(
                    f"the trainer is version {job.version}, this worker {self._version}: update one of them"
                )
            self._say(f"driving for run {job.run}")
            self._job = None  # the memory of the old one, before the new one takes its own
            self._job = digest, self._load(job, self._count)
        return self._job[1]

    def _count(self, steps: int) -> None:
        self._steps += steps

    def _beat(self) -> None:
        """Signs of life from a thread of their own; troubles with the channel are the main thread's to report."""
        while not self._ended.wait(self._heartbeat_s):
            with contextlib.suppress(ChannelError):
                if self._end.attended():
                    self._end.send(Alive(worker=self.name, number=self._number, steps=self._steps).to_bytes())
