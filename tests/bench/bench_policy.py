"""The policy that drives rollouts: float32 against bfloat16, in turns, by the number of cars side by side.

    python -m tests.bench.bench_policy [--rounds 15]

An untrained SHALLOW network on frames of noise: time does not depend on either. Result: results/policy.json. Takes half
a minute.
"""

import argparse
import json
import time
from statistics import median
from typing import Any

import numpy as np

from contract.config import Precision
from contract.hyperparameters import Hyperparameters
from simapp.policy import FrozenPolicy
from tests.bench.record import write_result
from tests.stock_coach import CAMERA, episode, metadata
from trainer.coach import CoachAgent

CARS = (1, 5, 8, 20, 64)
PRECISIONS: tuple[Precision, ...] = ("float32", "bfloat16")
CALLS = 5


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=15)
    options = parser.parse_args()
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
    payload = {"steps": rows, "largest_probability_difference": float(np.abs(said[0] - said[1]).max())}
    print(json.dumps(payload, indent=2))
    write_result("policy", payload, "one process, in turns, a step of so many cars; medians, ratios of paired rounds")


if __name__ == "__main__":
    main()
