"""The policy that drives rollouts: float32 against bfloat16, in turns, by the number of cars side by side.

    python -m tests.bench.bench_policy [--rounds 15]

An untrained SHALLOW network on frames of noise: time does not depend on either. Beside them rl_coach as released, which
asks for one frame at a time, on one thread, in a process of its own just before and after. Result: results/policy.json.
Takes a minute.
"""

import argparse
import json
import subprocess
import sys
import time
from statistics import median
from typing import Any

import numpy as np

from contract.config import Precision
from contract.hyperparameters import Hyperparameters
from simapp.policy import FrozenPolicy
from tests.bench.record import write_result
from tests.stock_coach import CAMERA, StockAgent, episode, metadata
from trainer.coach import CoachAgent

CARS = (1, 5, 8, 20, 64)
PRECISIONS: tuple[Precision, ...] = ("float32", "bfloat16")
CALLS = 5


def stock_ms(calls: int = 200) -> float:
    """Wall milliseconds of what rl_coach's act loop asks its network for each step, without its exploration."""
    agent = StockAgent(metadata(), Hyperparameters(), seed=1)
    frames = episode(1, 20, metadata()).observations[CAMERA]
    times = []
    for call in range(calls):
        state = {CAMERA: frames[call % len(frames)]}
        began = time.perf_counter()
        agent.online.predict(agent.agent.prepare_batch_for_inference(state, "main"))
        times.append((time.perf_counter() - began) * 1e3)
    return median(times[10:])


def measured_stock() -> float:
    """In a process of its own, since TensorFlow's threads belong to the process."""
    command = [sys.executable, "-m", "tests.bench.bench_policy", "--stock"]
    return float(subprocess.run(command, capture_output=True, text=True, check=True).stdout.split()[-1])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--stock", action="store_true", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.stock:
        print(stock_ms())
        return
    before = measured_stock()
    pb = CoachAgent(metadata(), Hyperparameters(), seed=1).export()
    policies = {kind: FrozenPolicy(pb, metadata(), precision=kind) for kind in PRECISIONS}
    frames = episode(1, max(CARS), metadata()).observations[CAMERA]
    rows: list[dict[str, Any]] = []
    for cars in CARS:
        seen = {CAMERA: frames[:cars]}
        walls: dict[str, list[float]] = {kind: [] for kind in PRECISIONS}
        cpus: dict[str, list[float]] = {kind: [] for kind in PRECISIONS}
        for _ in range(options.rounds + 1):
            for kind, policy in policies.items():
                wall, cpu = time.perf_counter(), time.process_time()
                for _ in range(CALLS):
                    policy.distribution(seen)
                walls[kind].append((time.perf_counter() - wall) / CALLS)
                cpus[kind].append((time.process_time() - cpu) / CALLS)
        row: dict[str, Any] = {"cars": cars}
        for name, times in (("wall", walls), ("cpu", cpus)):
            settled = {kind: values[1:] for kind, values in times.items()}  # the first round compiles the kernels
            row |= {f"{kind}_{name}_ms": round(median(values) * 1e3, 2) for kind, values in settled.items()}
            ratios = [low / full for low, full in zip(settled["bfloat16"], settled["float32"], strict=True)]
            row[f"{name}_ratio"] = round(median(ratios), 3)
        rows.append(row)
    said = [np.asarray(policy.distribution({CAMERA: frames}).probabilities) for policy in policies.values()]
    stock = 0.5 * (before + measured_stock())
    of_stock = {str(row["cars"]): round(row["float32_wall_ms"] / row["cars"] / stock, 3) for row in rows}
    payload = {
        "steps": rows,
        "stock_wall_ms_a_frame": round(stock, 2),
        "float32_wall_a_frame_of_stock": of_stock,
        "largest_probability_difference": float(np.abs(said[0] - said[1]).max()),
    }
    print(json.dumps(payload, indent=2))
    write_result("policy", payload, "one process, in turns, a step of so many cars; medians, ratios of paired rounds")


if __name__ == "__main__":
    main()
