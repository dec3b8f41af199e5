"""PPO update: stock rl_coach against ours, in turns, on the same episodes.

    python -m tests.bench.bench_update [--steps 2000] [--epochs 10] [--rounds 1] [--options]

With --options it measures the options of the update (contract.learning) instead, in bfloat16 and against it without
any, and SAC with its critic on the state against SAC without. Result: results/update_options.json.

Each side runs in a process of its own, since the first TensorFlow session settles a process's threads: rl_coach's one,
ours on all usable cores, once in each precision, and once in float32 with TensorFlow's own gradient of dense layers
("before"). They work in turns of some seconds, and the others stand still: so what else the machine does meets all
alike. Before the timing, all train on the same minibatches from the same weights,
and the losses are compared. Result: results/update.json, with medians of the rounds' ratios, CPU seconds and the load.
The full size takes about five minutes on an idle machine.
"""

import argparse
import json
import os
import select
import signal
import subprocess
import sys
import tempfile
import time
from contextlib import nullcontext
from dataclasses import replace
from pathlib import Path
from statistics import median
from typing import Any
from unittest.mock import patch

import numpy as np

from contract.config import Precision
from contract.hyperparameters import Hyperparameters
from contract.learning import CRITIC_STATE, CRITIC_STATE_SIZE, LearningConfig
from contract.metadata import ModelMetadata
from contract.rollout import Rollout
from tests.bench.record import write_result
from tests.stock_coach import StockAgent, episode, metadata, stock_minibatches
from trainer.agents import CoachAgent, make_agent

TARGET_RATIO = 0.33
TARGET_STATE_RATIO = 0.6
OURS = ("float32", "before", "bfloat16")
PLAIN, PLAIN_SAC = "bfloat16", "sac"
OPTIONS = {
    "critic=state": LearningConfig(critic="state"),
    "mirror=true": LearningConfig(mirror=True),
    "smoothness=1": LearningConfig(smoothness=1.0),
    "anneal_steps=30000": LearningConfig(anneal_steps=30_000),
    "critic=state, smoothness=1, mirror=true": LearningConfig(critic="state", smoothness=1.0, mirror=True),
    "sac, critic=state": LearningConfig(critic="state"),
}
EPISODE_STEPS = 100
CHECK_EPISODES = 3
SLICE_S = 3.0
SEED = 1


class _Stock:
    def __init__(self, hyperparameters: Hyperparameters) -> None:
        self._agent = StockAgent(metadata(), hyperparameters, SEED)
        self._start = self._agent.weights()

    def check(self, rollouts: list[Any], weights: Path) -> list[list[float]]:
        with np.load(weights) as arrays:
            self._start = [arrays[name] for name in sorted(arrays.files)]
        self.prepare(rollouts)
        self._agent.train(shuffle_seed=0)
        return self._agent.losses

    def prepare(self, rollouts: list[Any]) -> None:
        self._agent.set_weights(self._start)  # all rounds are of the same work
        self._agent.store(rollouts)

    def update(self, rollouts: list[Any], number: int) -> None:
        self._agent.train(shuffle_seed=number)


class _Ours:
    def __init__(self, hyperparameters: Hyperparameters, side: str) -> None:
        self._hyperparameters = hyperparameters
        precision: Precision = "bfloat16" if side == PLAIN or side in OPTIONS else "float32"
        learning = OPTIONS.get(side, LearningConfig())
        with patch("trainer.coach.shim_tf._dense_gradient", lambda v1: "MatMul") if side == "before" else nullcontext():
            self._agent = make_agent(model_of(side), hyperparameters, SEED, None, None, precision, learning)
        self._start = self._agent.save()

    def check(self, rollouts: list[Any], weights: Path) -> list[list[float]]:
        assert isinstance(self._agent, CoachAgent)
        online = self._agent._ppo.online
        values = online.sess.run(online.weights)
        np.savez(weights, **{f"{i:03}": value for i, value in enumerate(values)})
        data = self._agent._dataset(rollouts)
        settings = self._hyperparameters
        epochs = stock_minibatches(len(data), settings.batch_size, settings.num_epochs, 0)
        return [self._agent._ppo.minibatch(data, batch, "check")[:4] for epoch in epochs for batch in epoch]

    def prepare(self, rollouts: list[Any]) -> None:
        self._agent.restore(self._start)

    def update(self, rollouts: list[Any], number: int) -> None:
        self._agent.train(rollouts, number)


def model_of(side: str) -> ModelMetadata:
    """The model that a side trains."""
    if not side.startswith("sac"):
        return metadata()
    return ModelMetadata.parse(json.dumps(metadata(continuous=True).raw | {"training_algorithm": "sac"}))


def with_state(rollout: Rollout) -> Rollout:
    """With a state of noise for a critic that reads it, and actions within their range."""
    states = np.random.default_rng(rollout.episode).normal(0.0, 0.5, (len(rollout) + 1, CRITIC_STATE_SIZE))
    states = states.astype(np.float32)
    seen, final = rollout.observations | {CRITIC_STATE: states[:-1]}, rollout.final | {CRITIC_STATE: states[-1]}
    actions: Any = np.clip(rollout.actions, -0.99, 0.99) if rollout.actions.ndim == 2 else rollout.actions
    return replace(rollout, observations=seen, final=final, actions=actions)


def _worker(side: str, steps: int, epochs: int) -> None:
    """Answer each line of stdin, `check FILE` with losses, `update NUMBER` with CPU seconds after a line when ready."""
    hyperparameters = Hyperparameters(num_epochs=epochs)
    agent = _Stock(hyperparameters) if side == "stock" else _Ours(hyperparameters, side)
    rollouts = [episode(i, EPISODE_STEPS, metadata()) for i in range(steps // EPISODE_STEPS)]
    print("ready", flush=True)
    for line in sys.stdin:
        command, argument = line.split()
        if command == "check":
            print(json.dumps(np.asarray(agent.check(rollouts[:CHECK_EPISODES], Path(argument))).tolist()), flush=True)
        else:
            agent.prepare(rollouts)
            print("ready", flush=True)
            began = time.process_time()
            agent.update(rollouts, int(argument))
            print(json.dumps(time.process_time() - began), flush=True)


class _Process:
    """A worker, which stands still unless it is asked something."""

    def __init__(self, side: str, steps: int, epochs: int) -> None:
        command = [sys.executable, "-m", "tests.bench.bench_update", "--worker", side]
        command += ["--steps", str(steps), "--epochs", str(epochs)]
        self._process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        self._answer()

    def check(self, weights: str) -> Any:
        self._write(f"check {weights}")
        return json.loads(self._answer())

    def begin(self, number: int) -> None:
        """Have it prepare an update and stop before it."""
        self._write(f"update {number}")
        self._answer()
        self._process.send_signal(signal.SIGSTOP)

    def _write(self, request: str) -> None:
        assert self._process.stdin is not None
        self._process.stdin.write(request + "\n")
        self._process.stdin.flush()

    def go_on(self, seconds: float) -> tuple[float, Any]:
        """Let it work for so long at most: the seconds that it worked, and its answer if that has come."""
        assert self._process.stdout is not None
        began = time.perf_counter()
        self._process.send_signal(signal.SIGCONT)
        ready, _, _ = select.select([self._process.stdout], [], [], seconds)
        worked = time.perf_counter() - began
        if ready:
            return worked, json.loads(self._answer())
        self._process.send_signal(signal.SIGSTOP)
        return worked, None

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


def one_round(workers: dict[str, _Process], number: int) -> dict[str, dict[str, float]]:
    """Every worker's update, in slices by turns: wall and CPU seconds. What else the machine does while they last, all
    of them meet alike."""
    walls, cpus = dict.fromkeys(workers, 0.0), dict[str, float]()
    for worker in workers.values():
        worker.begin(number)
    while len(cpus) < len(workers):
        for side in [side for side in workers if side not in cpus]:
            worked, answer = workers[side].go_on(SLICE_S)
            walls[side] += worked
            if answer is not None:
                cpus[side] = answer
    return {side: {"wall_s": round(walls[side], 2), "cpu_s": round(cpus[side], 2)} for side in workers}


def compare_options(steps: int, epochs: int, count: int) -> None:
    """What each option of the update costs, of the update without any: by turns in this process."""
    hyperparameters = Hyperparameters(num_epochs=epochs)
    rounds: dict[str, list[dict[str, float]]] = {}
    for side in OPTIONS:
        plain = PLAIN_SAC if side.startswith("sac") else PLAIN
        agents = {name: _Ours(hyperparameters, name) for name in (plain, side)}
        rollouts = [with_state(episode(i, EPISODE_STEPS, model_of(side))) for i in range(steps // EPISODE_STEPS)]
        rounds[side] = []
        for number in range(count + 1):
            took = {}
            for name, agent in agents.items():
                agent.prepare(rollouts)
                wall, cpu = time.perf_counter(), time.process_time()
                agent.update(rollouts, number)
                took[name] = (time.perf_counter() - wall, time.process_time() - cpu)
            ratios = [round(mine / theirs, 3) for mine, theirs in zip(took[side], took[plain], strict=True)]
            if number:  # the first one warms up
                rounds[side].append({"wall": ratios[0], "cpu": ratios[1], "plain_cpu_s": round(took[plain][1], 2)})
        print(json.dumps({side: rounds[side]}), flush=True)
    payload = {
        "steps": steps,
        "epochs": epochs,
        "batch_size": Hyperparameters().batch_size,
        "rounds": rounds,
        "wall_ratio": {side: median(it["wall"] for it in found) for side, found in rounds.items()},
        "cpu_ratio": {side: median(it["cpu"] for it in found) for side, found in rounds.items()},
        "target": {"critic=state": TARGET_STATE_RATIO},
    }
    print(json.dumps(payload, indent=2))
    write_result("update_options", payload, "by turns in one process on the same random episodes; medians of ratios")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--steps", type=int, default=2000)
    parser.add_argument("--epochs", type=int, default=10)
    parser.add_argument("--rounds", type=int, default=1)
    parser.add_argument("--options", action="store_true")
    parser.add_argument("--worker", choices=["stock", *OURS], help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.worker:
        _worker(options.worker, options.steps, options.epochs)
        return
    if options.options:
        compare_options(options.steps, options.epochs, options.rounds)
        return

    workers = {side: _Process(side, options.steps, options.epochs) for side in (*OURS, "stock")}
    with tempfile.TemporaryDirectory() as folder:
        weights = str(Path(folder) / "weights.npz")  # written by ours, read by stock
        losses = {side: np.array(worker.check(weights)) for side, worker in workers.items()}  # and a warm-up
    rounds, loads = [], []
    for number in range(1, options.rounds + 1):
        loads.append([round(os.getloadavg()[0], 1)])
        rounds.append(one_round(workers, number))
        loads[-1].append(round(os.getloadavg()[0], 1))
        print(json.dumps({"load": loads[-1], **rounds[-1]}), flush=True)

    def ratios(kind: str) -> dict[str, list[float]]:
        return {side: [round(it[side][kind] / it["stock"][kind], 3) for it in rounds] for side in OURS}

    wall, cpu = ratios("wall_s"), ratios("cpu_s")
    for worker in workers.values():
        worker.close()
    payload = {
        "steps": options.steps,
        "epochs": options.epochs,
        "batch_size": Hyperparameters().batch_size,
        "rounds": rounds,
        "load_before_and_after": loads,
        "wall_ratios": wall,
        "wall_ratio": {side: median(wall[side]) for side in OURS},
        "cpu_ratio": {side: median(cpu[side]) for side in OURS},
        "target_wall_ratio": TARGET_RATIO,
        "compared_minibatches": len(losses["stock"]),
        "largest_loss_difference": {side: float(np.abs(losses[side] - losses["stock"]).max()) for side in OURS},
    }
    print(json.dumps(payload, indent=2))
    write_result(
        "update",
        payload,
        f"processes in turns of {SLICE_S:g} s on the same random episodes, stopped in between; stock: 1 thread as "
        "released; ours: all usable cores; medians of the rounds' ratios",
    )


if __name__ == "__main__":
    main()
