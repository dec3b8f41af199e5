"""Who drives what: orders, the workers that share them, and which episodes are still missing. No I/O and no clock.

The rules:
- An episode counts once: the first whole rollout of a missing episode of an open order. An order's name is a digest of
  job, policy and what is asked for, so a rollout by another policy, of another run or of an order that is closed is
  stale and dropped, and a second rollout of an episode is the same as the first.
- A worker holds one task, a share of one order. What it has not delivered when it asks for the next one, leaves, dies
  or is not heard of for a lease goes back to the others.
- Training orders are shared evenly among the workers at hand; an evaluation goes whole to one, beside the next
  iteration's training.
"""

import hashlib
import json
import math
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field

from contract.errors import RewardError, TrainingError, UndercutError, WireError
from contract.protocols import Phase, RolloutOrder
from contract.rollout import Rollout
from contract.wire import (
    Alive,
    Delivery,
    Failed,
    Leaving,
    Ready,
    RolloutRules,
    Task,
    WorkerMessage,
    read_worker_message,
    rollout_of,
)

LEASE_S = 20.0
"""Without a sign of life for so long, a worker has lost what it was to drive."""
STALL_S = 900.0
"""Nor does it keep it when it drives no step for so long; loading the job and the first compilation count too."""
MAX_ATTEMPTS = 10
"""Workers that may lose one episode before training stops: it may be the episode that kills them."""
MAX_REFUSED = 3
"""Broken rollouts that one worker may send before it gets no more work."""


@dataclass(slots=True)
class _Open:
    """An order under way. `unclaimed` and those in the workers' tasks are the missing ones."""

    digest: str
    policy: str
    order: RolloutOrder
    unclaimed: set[int]
    missing: set[int]
    rollouts: dict[int, Rollout] = field(default_factory=dict)
    attempts: Counter[int] = field(default_factory=Counter)


@dataclass(slots=True)
class _Worker:
    name: str
    host: str
    pid: int
    number: int
    heard_s: float
    moved_s: float
    steps: int = 0
    refused: int = 0
    is_waiting: bool = False
    order: str | None = None
    """Of its task, with the task's episodes that are not delivered yet, and the task's message."""
    episodes: set[int] = field(default_factory=set)
    task: bytes = b""

    def __str__(self) -> str:
        return f"worker {self.name[:8]} (process {self.pid} on {self.host})"


class Dispatcher:
    """The trainer's book of orders and workers. Times are seconds of any clock that runs evenly."""

    def __init__(
        self,
        job: str,
        version: str,
        rules: RolloutRules,
        say: Callable[[str], None],
        now_s: float,
        expected: int = 1,
        lease_s: float = LEASE_S,
    ) -> None:
        """`job` is the digest that workers fetch the job by; `say` hears of workers that come and go;
        `expected` workers share an order also while some are still on their way."""
        self._job, self._version, self._rules, self._say, self._expected = job, version, rules, say, expected
        self._orders: dict[str, _Open] = {}
        self._lease_s = lease_s
        self._workers: dict[str, _Worker] = {}
        self._elsewhere: dict[str, float] = {}
        """Workers that look for other trainers' work, and until when they are counted on."""
        self._unfit: set[str] = set()
        self._ticked_s = now_s
        self.last_worker_s = now_s
        self.failure: UndercutError | None = None
        self.stale = self.refused = self.counted = 0
        """Rollouts that were dropped as stale or repeated, that were refused as broken, and that were counted."""

    @property
    def workers(self) -> int:
        return sum(worker.refused < MAX_REFUSED for worker in self._workers.values())

    @property
    def policies(self) -> set[str]:
        """Digests of the policies that open orders need."""
        return {opened.policy for opened in self._orders.values()}

    def open(self, policy: str, order: RolloutOrder) -> str:
        """Begin an order, unless it is open already; returns its name."""
        asked = [order.phase.value, order.iteration, list(order.episodes), order.epsilon, order.trained]
        digest = hashlib.sha256(json.dumps([self._job, policy, asked]).encode()).hexdigest()
        if digest not in self._orders:
            episodes = set(order.episodes)
            self._orders[digest] = _Open(digest, policy, order, set(episodes), episodes)
        return digest

    def missing(self, digest: str) -> int:
        """Episodes of an open order that are still to come."""
        return len(self._orders[digest].missing)

    def close(self, digest: str) -> list[Rollout]:
        """End an order; its rollouts so far, in episode order."""
        rollouts = self._orders.pop(digest).rollouts
        return [rollouts[episode] for episode in sorted(rollouts)]

    def close_all(self) -> None:
        self._orders.clear()

    # --- what workers say

    def hear(self, data: bytes, now_s: float) -> None:
        """Take a message in; a broken one is counted and dropped."""
        try:
            message, body = read_worker_message(data, self._rules.most_bytes)
        except WireError as error:
            self._refuse(None, error)
            return
        worker = self._known(message, now_s)
        if worker is None:
            return
        if isinstance(message, Ready):
            self._ready(worker, message)
        elif isinstance(message, Alive):
            if message.steps != worker.steps:
                worker.steps, worker.moved_s = message.steps, now_s
        elif isinstance(message, Delivery):
            worker.moved_s = now_s
            try:
                self._deliver(worker, message, body)
            except WireError as error:
                self._refuse(worker, error)
        elif isinstance(message, Failed):
            if message.order in self._orders:
                self.failure = self.failure or _failure(message)
        elif isinstance(message, Leaving) and message.is_back:
            self._elsewhere[worker.name] = now_s + STALL_S
            self._drop(worker, "")
        elif isinstance(message, Leaving):
            self._drop(worker, f"has left: {message.why}")

    def _known(self, message: WorkerMessage, now_s: float) -> _Worker | None:
        worker = self._workers.get(message.worker)
        if worker is None and isinstance(message, Ready):
            if message.version != self._version:
                if message.worker not in self._unfit:
                    self._unfit.add(message.worker)
                    versions = f"version {message.version}, and this trainer is {self._version}"
                    self._say(f"worker {message.worker[:8]} on {message.host} gets no work: it is {versions}")
                return None
            worker = _Worker(message.worker, message.host, message.pid, 0, now_s, now_s)
            self._workers[message.worker] = worker
            if self._elsewhere.pop(message.worker, None) is None:
                self._say(f"{worker} has joined; {self.workers} at work")
        if worker is None and isinstance(message, Delivery):  # it drove for an earlier session, or was given up
            worker = _Worker(message.worker, "unknown", 0, message.number, now_s, now_s)
        if worker is not None:
            worker.heard_s = now_s
        return worker

    def _ready(self, worker: _Worker, message: Ready) -> None:
        if message.number > worker.number:
            self._release(worker)
            worker.number = message.number
        if message.number == worker.number:  # asked again: the answer may be lost
            worker.is_waiting = True

    def _deliver(self, worker: _Worker, delivery: Delivery, body: memoryview) -> None:
        opened = self._orders.get(delivery.order)
        if opened is None or delivery.episode not in opened.missing:
            self.stale += 1
            return
        if delivery.iteration != opened.order.iteration:
            raise WireError(f"rollout of iteration {delivery.iteration} for an order of {opened.order.iteration}")
        rollout = rollout_of(delivery, body, self._rules)
        if bool(rollout.observations) != (opened.order.phase == Phase.training):
            raise WireError(f"a {opened.order.phase.value} rollout with {len(rollout.observations)} sensors' frames")
        opened.rollouts[delivery.episode] = rollout
        opened.missing.discard(delivery.episode)
        opened.unclaimed.discard(delivery.episode)
        worker.episodes.discard(delivery.episode)
        self.counted += 1

    def _refuse(self, worker: _Worker | None, error: WireError) -> None:
        self.refused += 1
        self._say(f"refused from {worker or 'a worker'}: {error}")
        if worker is not None:
            worker.refused += 1
            if worker.refused == MAX_REFUSED:
                self._say(f"{worker} gets no more work: {MAX_REFUSED} of its rollouts were broken")

    # --- time

    def tick(self, now_s: float) -> None:
        """Take work back from workers that are silent; call it when no message waits.

        While the trainer itself was away (stopped, cut off from the channel) nobody could be heard, so that time counts
        for nobody.
        """
        away_s = now_s - self._ticked_s
        self._ticked_s = now_s
        if away_s > self._lease_s / 4:
            for worker in self._workers.values():
                worker.heard_s += away_s
                worker.moved_s += away_s
            self.last_worker_s += away_s
        self._elsewhere = {name: until_s for name, until_s in self._elsewhere.items() if until_s > now_s}
        if self.workers or self._elsewhere:
            self.last_worker_s = now_s
        for worker in list(self._workers.values()):
            if now_s - worker.heard_s > self._lease_s:
                self._drop(worker, f"has not been heard of for {self._lease_s:g} s")
            elif worker.order is not None and now_s - worker.moved_s > STALL_S:
                self._drop(worker, f"has not driven a step for {STALL_S:g} s; a reward function that loops does that")

    def process_died(self, host: str, pid: int) -> None:
        """Whoever started a worker knows sooner than its lease runs out."""
        for worker in list(self._workers.values()):
            if (worker.host, worker.pid) == (host, pid):
                self._drop(worker, "has died")

    def _drop(self, worker: _Worker, why: str) -> None:
        if self._workers.pop(worker.name, None) is not None:
            lost = len(worker.episodes)
            self._release(worker)
            if why:
                self._say(f"{worker} {why}" + (f"; its {lost} episodes go to others" if lost else ""))

    def _release(self, worker: _Worker) -> None:
        opened = self._orders.get(worker.order or "")
        if opened is not None:
            back = worker.episodes & opened.missing
            opened.unclaimed |= back
            worst = max(back, key=lambda episode: opened.attempts[episode], default=None)
            if worst is not None and opened.attempts[worst] >= MAX_ATTEMPTS:
                self.failure = self.failure or TrainingError(
                    f"episode {worst} of iteration {opened.order.iteration} was begun {MAX_ATTEMPTS} times and never "
                    f"delivered; the last to lose it is {worker}",
                    "an episode is given to another worker when one dies",
                    "read that worker's log; memory that runs out is the usual reason",
                )
        worker.order, worker.episodes, worker.task = None, set(), b""

    # --- what workers get

    def assign(self, now_s: float) -> list[tuple[str, bytes]]:
        """(worker, task) for those that wait, as far as there is work."""
        letters: list[tuple[str, bytes]] = []
        if self.failure is not None:
            return letters
        for worker in self._workers.values():
            if not worker.is_waiting or worker.refused >= MAX_REFUSED:
                continue
            if worker.order is None and not self._claim(worker):
                continue
            worker.is_waiting = False
            worker.moved_s = now_s
            letters.append((worker.name, worker.task))
        return letters

    def _claim(self, worker: _Worker) -> bool:
        opened = next((it for it in self._orders.values() if it.unclaimed), None)
        if opened is None:
            return False
        share = opened.order.count
        if opened.order.phase == Phase.training:
            at_hand = max(self.workers + len(self._elsewhere), self._expected)
            share = math.ceil(len(opened.order.episodes) / at_hand)
        episodes = tuple(sorted(opened.unclaimed)[:share])
        opened.unclaimed -= set(episodes)
        opened.attempts.update(episodes)
        order = opened.order
        worker.order, worker.episodes = opened.digest, set(episodes)
        worker.task = Task(
            number=worker.number,
            job=self._job,
            policy=opened.policy,
            order=opened.digest,
            phase=order.phase,
            iteration=order.iteration,
            first=order.first,
            count=order.count,
            epsilon=order.epsilon,
            trained=order.trained,
            episodes=episodes,
        ).to_bytes()
        return True


def _failure(message: Failed) -> UndercutError:
    """The error as the racer would see it in one process."""
    return RewardError(message.text) if message.error == "RewardError" else UndercutError(message.text)
