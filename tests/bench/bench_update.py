"""PPO update: stock rl_coach against ours, in turns, on the same episodes.

    python -m tests.bench.bench_update [--steps 2000] [--epochs 10] [--rounds 1]

Each side runs in a process of its own, since the first TensorFlow session settles a process's threads: rl_coach's one,
ours on all usable cores, once in each precision. While one side works the others wait. Before the timing, all train on
the same minibatches from the same weights, and the losses are compared. Result: results/update.json. The full size
takes about five minutes. Ratios are of the fastest rounds: others' work, and hosts that at times put both threads on
one core, only ever add. CPU seconds are recorded too.
"""

import argparse
import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, Literal

import numpy as np

from contract.config import Precision
from contract.hyperparameters import Hyperparameters
from tests.bench.record import write_result
from tests.stock_coach import StockAgent, episode, metadata, stock_minibatches
from trainer.coach import CoachAgent

TARGET_RATIO = 0.33
OURS = ("float32", "bfloat16")
EPISODE_STEPS = 100
CHECK_EPISODES = 3
SEED = 1


class _Stock:
    def __init__(self, hyperparameters: Hyperparameters) -> None:
        self._agent = StockAgent(metadata(), hyperparameters, SEED)
        self._start = self._agent.weights()

    def check(self, rollouts: list[Any], weights: Path) -> list[list[float]]:
        with np.load(weights) as arrays:
            self._start = [arrays[name] for name in sorted(arrays.files)]
        self.update(rollouts, 0)
        return self._agent.losses

    def update(self, rollouts: list[Any], number: int) -> tuple[float, float]:
        self._agent.set_weights(self._start)  # rounds of training on noise would end in infinite divergences
        self._agent.store(rollouts)
        return _seconds(lambda: self._agent.train(shuffle_seed=number))


class _Ours:
    def __init__(self, hyperparameters: Hyperparameters, precision: Precision) -> None:
        self._hyperparameters = hyperparameters
        self._agent = CoachAgent(metadata(), hyperparameters, SEED, precision=precision)
        self._start = self._agent.save()

    def check(self, rollouts: list[Any], weights: Path) -> list[list[float]]:
        online = self._agent._ppo.online
        values = online.sess.run(online.weights)
        np.savez(weights, **{f"{i:03}": value for i, value in enumerate(values)})
        data = self._agent._dataset(rollouts)
        settings = self._hyperparameters
        epochs = stock_minibatches(len(data), settings.batch_size, settings.num_epochs, 0)
        return [self._agent._ppo.minibatch(data, batch, "check")[:4] for epoch in epochs for batch in epoch]

    def update(self, rollouts: list[Any], number: int) -> tuple[float, float]:
        self._agent.restore(self._start)
        return _seconds(lambda: self._agent.train(rollouts, number))


def _seconds(work: Callable[[], object]) -> tuple[float, float]:
    """Wall and CPU seconds."""
    wall, cpu = time.perf_counter(), time.process_time()
    work()
    return time.perf_counter() - wall, time.process_time() - cpu


def _worker(side: Literal["stock"] | Precision, steps: int, epochs: int) -> None:
    """Answer each line of stdin, `check FILE` or `update NUMBER`, with one JSON line."""
    hyperparameters = Hyperparameters(num_epochs=epochs)
    agent = _Stock(hyperparameters) if side == "stock" else _Ours(hyperparameters, side)
    rollouts = [episode(i, EPISODE_STEPS, metadata()) for i in range(steps // EPISODE_STEPS)]
    print("ready", flush=True)
    for line in sys.stdin:
        command, argument = line.split()
        if command == "check":
            print(json.dumps(np.asarray(agent.check(rollouts[:CHECK_EPISODES], Path(argument))).tolist()), flush=True)
        else:
            print(json.dumps(agent.update(rollouts, int(argument))), flush=True)


class _Process:
    def __init__(self, side: str, steps: int, epochs: int) -> None:
        command = [sys.executable, "-m", "tests.bench.bench_update", "--worker", side]
        command += ["--steps", str(steps), "--epochs", str(epochs)]
        self._process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        self._answer()

    def ask(self, request: str) -> Any:
        assert self._process.stdin is not None
        self._process.stdin.write(request + "\n")
        self._process.stdin.flush()
        return json.loads(self._answer())

    def _answer(self) -> str:
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        if not line:
            raise RuntimeError(f"the worker ended with code {self._process.wait()}")
        return line

    def close(self) -> None:
        assert self._process.stdin is not None
        self._process.stdin.close()
        self._process.wait()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--steps", type=int, default=2000)
    parser.add_argument("--epochs", type=int, default=10)
    parser.add_argument("--rounds", type=int, default=1)
    parser.add_argument("--worker", choices=["stock", *OURS], help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.worker:
        _worker(options.worker, options.steps, options.epochs)
        return

    workers = {side: _Process(side, options.steps, options.epochs) for side in (*OURS, "stock")}
    with tempfile.TemporaryDirectory() as folder:
        weights = str(Path(folder) / "weights.npz")  # written by ours, read by stock
        losses = {side: np.array(worker.ask(f"check {weights}")) for side, worker in workers.items()}  # and a warm-up
    walls: dict[str, list[float]] = {side: [] for side in workers}
    cpus: dict[str, list[float]] = {side: [] for side in workers}
    for number in range(1, options.rounds + 1):
        for side, worker in workers.items():
            wall, cpu = worker.ask(f"update {number}")
            walls[side].append(wall)
            cpus[side].append(cpu)
    for worker in workers.values():
        worker.close()
    payload = {
        "steps": options.steps,
        "epochs": options.epochs,
        "batch_size": Hyperparameters().batch_size,
        "wall_s": walls,
        "cpu_s": cpus,
        "wall_ratio": {side: min(walls[side]) / min(walls["stock"]) for side in OURS},
        "cpu_ratio": {side: min(cpus[side]) / min(cpus["stock"]) for side in OURS},
        "target_wall_ratio": TARGET_RATIO,
        "compared_minibatches": len(losses["stock"]),
        "largest_loss_difference": {side: float(np.abs(losses[side] - losses["stock"]).max()) for side in OURS},
    }
    print(json.dumps(payload, indent=2))
    write_result(
        "update",
        payload,
        "processes in turns on the same random episodes; stock: 1 thread as released; ours: all usable cores; "
        "ratios of the fastest rounds",
    )


if __name__ == "__main__":
    main()
