"""Rollouts from workers at the other end of a channel."""

import hashlib
import socket
import threading
import time
from collections.abc import Callable, Sequence

from contract.errors import ChannelError, UndercutError
from contract.protocols import RolloutOrder, TrainerEnd
from contract.rollout import Rollout
from contract.wire import Job, RolloutRules
from trainer.dispatch import LEASE_S, Dispatcher

_POLL_S = 0.25


class RemoteRollouts:
    """`RolloutSource` whose episodes workers drive. A thread listens to them, also while the trainer trains.

    `say` hears of workers that come and go, from that thread. `worker_patience_s` is how long it may have none.
    """

    def __init__(
        self,
        end: TrainerEnd,
        job: Job,
        rules: RolloutRules,
        say: Callable[[str], None],
        expected: int = 1,
        worker_patience_s: float = 600.0,
        lease_s: float = LEASE_S,
    ) -> None:
        self._end, self._worker_patience_s = end, worker_patience_s
        self._job = end.publish(job.to_bytes())
        self._book = Dispatcher(self._job, job.version, rules, say, time.monotonic(), expected, lease_s)
        self._changed = threading.Condition()
        self._policies: set[str] = set()
        self._failure: UndercutError | None = None
        self._closing = False
        self._listener = threading.Thread(target=self._listen, name="rollouts", daemon=True)
        self._listener.start()

    @property
    def book(self) -> Dispatcher:
        """Counts of what was taken and dropped; to be read, from any thread."""
        return self._book

    def announce(self, policy: bytes, *orders: RolloutOrder) -> None:
        self._announce(policy, orders)

    def _announce(self, policy: bytes, orders: Sequence[RolloutOrder]) -> list[str]:
        """The orders' names. Policies that no open order needs any more are withdrawn."""
        digest = hashlib.sha256(policy).hexdigest()
        if digest not in self._policies:
            self._end.publish(policy)
        with self._changed:
            names = [self._book.open(digest, order) for order in orders]
            unused = self._policies - self._book.policies - {digest}
            self._policies = self._policies - unused | {digest}
        for old in unused:
            self._end.withdraw(old)
        self._hand_out()
        return names

    def collect(self, policy: bytes, order: RolloutOrder) -> list[Rollout]:
        (name,) = self._announce(policy, [order])
        with self._changed:
            while self._book.missing(name):
                self._check()
                self._changed.wait(_POLL_S)
            return self._book.close(name)

    def process_died(self, pid: int) -> None:
        """Give what a worker process of this machine had to the others."""
        with self._changed:
            self._book.process_died(socket.gethostname(), pid)
        self._hand_out()

    def fail(self, error: UndercutError) -> None:
        """Let whoever waits for rollouts hear of this error."""
        with self._changed:
            self._failure = self._failure or error
            self._changed.notify_all()

    def close(self) -> None:
        """Drop what is still ordered, and leave the channel."""
        with self._changed:
            self._book.close_all()
            self._closing = True
        self._listener.join(30.0)
        self._end.close()

    def _check(self) -> None:
        failure = self._failure or self._book.failure
        if failure is not None:
            raise failure
        if not self._listener.is_alive():
            raise ChannelError("the thread that listens to workers has died")
        alone_s = time.monotonic() - self._book.last_worker_s
        if alone_s > self._worker_patience_s:
            raise ChannelError(
                f"no worker drives: none has been here for {alone_s:.0f} s",
                f"training needs at least one within {self._worker_patience_s:g} s",
                "start `undercut worker` with the same UNDERCUT_REDIS_URL, or train with --workers 1",
            )

    def _listen(self) -> None:
        try:
            while not self._closing:
                message = self._end.receive(_POLL_S)
                with self._changed:
                    if message is None:
                        self._book.tick(time.monotonic())
                    else:
                        self._book.hear(message, time.monotonic())
                    self._changed.notify_all()
                self._hand_out()
        except UndercutError as error:
            self.fail(error)
        except Exception as error:  # a fault of ours: training stops with it instead of waiting for ever
            self.fail(ChannelError(f"listening to workers failed: {type(error).__name__}: {error}"))
            raise

    def _hand_out(self) -> None:
        with self._changed:
            letters = self._book.assign(time.monotonic())
        for worker, task in letters:
            self._end.send(worker, task)
