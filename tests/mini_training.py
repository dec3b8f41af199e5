"""A training small enough to be killed many times: the real loop, journal, channel and worker around an agent and a
driver that only count. Run as a program it is one of the two processes:

    python -m tests.mini_training trainer REDIS_JSON FOLDER ITERATIONS [RUN]
    python -m tests.mini_training worker REDIS_JSON [MEMORY_MB]

With MEMORY_MB the worker may have that much more memory than it begins with, and takes all of it in its first task.
"""

import json
import resource
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from unittest.mock import patch

import numpy as np

from contract.channels.redis import RedisChannel, RedisWorkerEnd
from contract.config import TrainingConfig
from contract.host import RedisAddress
from contract.hyperparameters import Hyperparameters
from contract.protocols import Phase, RolloutOrder, RolloutSource, UpdateReport
from contract.rollout import Rollout
from contract.state import STEP_DTYPE, STEP_S, EpisodeStatus
from contract.stores.local import LocalStore
from contract.wire import Job, RolloutRules
from simapp.worker import Worker
from trainer.journal import RunJournal
from trainer.learn import Iteration, learn
from trainer.remote import RemoteRollouts

RULES = RolloutRules({"CAMERA": (40, 40, 1)}, actions=5, most_steps=60)
RUN = "mini"
JOB = Job("1.0", RUN, {"run.json": b"{}"})
HYPERPARAMETERS = Hyperparameters(num_episodes_between_training=8)
LEASE_S, HEARTBEAT_S = 4.0, 0.5


class CountingAgent:
    """Its only weight is made of everything that it was given, so that one wrong bit in one rollout shows."""

    def __init__(self, run: str) -> None:
        self.weight = sum(run.encode())

    def train(self, rollouts: Sequence[Rollout], iteration: int, steps: int = 0) -> UpdateReport:
        for rollout in rollouts:
            frames = int(rollout.observations["CAMERA"].astype(np.int64).sum())
            self.weight = (self.weight * 31 + rollout.episode + frames + int(rollout.rewards.sum())) % 1_000_003
        row = {"surrogate_loss": 0.1, "kl_divergence": 0.01, "entropy": 1.0, "value_loss": 0.2}
        return UpdateReport(0.1, 0.2, 1.0, 0.01, 1, [row])

    def export(self) -> bytes:
        return f"{self.weight:07d}".encode() * 1000

    def save(self) -> dict[str, bytes]:
        return {"data": self.export()}

    def restore(self, files: dict[str, bytes]) -> None:
        self.weight = int(files["data"][:7])


class CountingDriver:
    """Rollouts that are a function of policy and episode; each takes `pause_s`."""

    def __init__(
        self, pause_s: float = 0.0, count: Callable[[int], None] = lambda steps: None, greedy: bool = False
    ) -> None:
        self._pause_s, self._count, self._greedy = pause_s, count, greedy

    def announce(self, policy: bytes, *orders: RolloutOrder) -> None:
        pass

    def collect(self, policy: bytes, order: RolloutOrder) -> list[Rollout]:
        return [self._drive(int(policy[:7]), order, episode) for episode in order.episodes]

    def _drive(self, weight: int, order: RolloutOrder, episode: int) -> Rollout:
        time.sleep(self._pause_s)
        if self._greedy:
            self._kept = [np.ones(1_000_000) for _ in range(1_000_000)]
        random = np.random.default_rng([weight, episode, order.phase == Phase.training])
        steps = np.zeros(int(random.integers(20, 60)), STEP_DTYPE)
        self._count(len(steps))
        steps["reward"] = random.integers(0, 100, len(steps))
        steps["time_s"] = np.arange(1, len(steps) + 1) * STEP_S
        steps["status"] = EpisodeStatus.in_progress
        steps["status"][-1] = EpisodeStatus.off_track
        seen = {"CAMERA": random.integers(0, 256, (len(steps), 40, 40, 1), np.uint8)}
        final = {"CAMERA": random.integers(0, 256, (40, 40, 1), np.uint8)}
        actions = random.integers(0, 5, len(steps))
        training = order.phase == Phase.training
        return Rollout(episode, order.iteration, seen if training else {}, final, actions, steps, truncated=False)


class Quiet:
    """A session that nobody watches."""

    def elapsed_s(self) -> float:
        return 0.0

    def interrupted(self) -> bool:
        return False

    def iteration(self, done: Iteration) -> None:
        print(f"iteration {done.before.iteration}", flush=True)


def train(source: RolloutSource, folder: Path, iterations: int, run: str = RUN) -> str:
    """TensorBoard's files are left out: the TensorFlow that writes them takes ten seconds to import."""
    journal = RunJournal(LocalStore(folder), run, 10.0, "progress", 3e-4)
    config = TrainingConfig(max_iterations=iterations, max_steps=10**9, min_eval_trials=2, clean_evaluations=0)
    with patch("trainer.diagnostics.event_file", lambda *_, **__: b"none"):
        return learn(CountingAgent(run), source, journal, config, HYPERPARAMETERS, Quiet())


def contents(folder: Path) -> dict[str, bytes]:
    """All files of a run but time stamps."""
    files = {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}
    pointers = json.loads(files.pop("model/deepracer_checkpoints.json"))
    for pointer in pointers.values():
        pointer.pop("time_stamp")
    return {**files, "pointers": json.dumps(pointers).encode()}


def address_json(address: RedisAddress) -> str:
    return json.dumps([address.host, address.port, str(address.password_file)])


def _address(text: str) -> RedisAddress:
    host, port, password = json.loads(text)
    return RedisAddress(host, port, 0, "default", tls=False, password_file=Path(password))


def _say(text: str) -> None:
    print(text, flush=True)


def main() -> None:
    role, address, *rest = sys.argv[1:]
    if role == "worker":
        if rest:
            pages = int(Path("/proc/self/statm").read_text().split()[0])
            most = pages * resource.getpagesize() + int(rest[0]) * 2**20
            resource.setrlimit(resource.RLIMIT_AS, (most, most))
        Worker(
            lambda name: RedisWorkerEnd(_address(address), name, patience_s=60.0),
            lambda job, count: CountingDriver(0.01, count, bool(rest)),
            JOB.version,
            _say,
            idle_limit_s=300.0,
            heartbeat_s=HEARTBEAT_S,
        ).run()
        return
    run = rest[2] if len(rest) > 2 else RUN
    channel = RedisChannel(_address(address), run, patience_s=60.0)
    source = RemoteRollouts(channel, replace(JOB, run=run), RULES, _say, expected=2, lease_s=LEASE_S)
    try:
        print("ended:", train(source, Path(rest[0]), int(rest[1]), run), flush=True)
    finally:
        source.close()


if __name__ == "__main__":
    main()
