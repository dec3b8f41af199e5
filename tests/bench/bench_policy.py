"""The policy that drives rollouts, by the number of cars side by side: in either precision, and what exactness costs.

    python -m tests.bench.bench_policy [--rounds 15] [--caps "" AVX2 SSE41]

An untrained SHALLOW network on frames of noise: time does not depend on either. Under each cap of oneDNN's instructions
a process of its own drives in turns with the batch sizes whose places all agree (simapp/blocks.py), and with those of
before, multiples of 8 (bfloat16: 4) whose last rows may differ; bfloat16 where the cap leaves it. Beside them rl_coach
as released, which asks for one frame at a time, on one thread, in a process of its own just before and after. Result:
results/policy.json. Takes two minutes.
"""

import argparse
import json
import os
import subprocess
import sys
import time
from statistics import median
from typing import Any

import numpy as np

from contract.config import Precision
from contract.hyperparameters import Hyperparameters
from contract.runtime import bfloat16_is_barred
from simapp.blocks import Blocks
from simapp.policy import FrozenPolicy
from tests.bench.record import write_result
from tests.stock_coach import CAMERA, StockAgent, episode, metadata
from trainer.agents import CoachAgent

CARS = (1, 5, 8, 20, 64)
PRECISIONS: dict[Precision, int] = {"float32": 8, "bfloat16": 4}
"""And what batches were padded to a multiple of before."""
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


def padded(multiple: int) -> Blocks:
    """Batch sizes as they were before: the next multiple, up to 64 frames."""
    return Blocks(tuple(range(multiple, 65, multiple)))


def under_cap(rounds: int) -> dict[str, Any]:
    """In this process: milliseconds and ratios by the number of cars."""
    pb = CoachAgent(metadata(), Hyperparameters(), seed=1).export()
    policies: dict[str, FrozenPolicy] = {}
    kinds = [kind for kind in PRECISIONS if kind == "float32" or not bfloat16_is_barred()]
    for kind in kinds:
        multiple = PRECISIONS[kind]
        for side in ("exact", "before"):
            policies[f"{kind}_{side}"] = policy = FrozenPolicy(pb, metadata(), precision=kind)
            if side == "before":
                policy._blocks = padded(multiple)
    frames = episode(1, max(CARS), metadata()).observations[CAMERA]
    rows: list[dict[str, Any]] = []
    for cars in CARS:
        seen = {CAMERA: frames[:cars]}
        walls: dict[str, list[float]] = {side: [] for side in policies}
        for _ in range(rounds + 1):
            for side, policy in policies.items():
                began = time.perf_counter()
                for _ in range(CALLS):
                    policy.distribution(seen)
                walls[side].append((time.perf_counter() - began) / CALLS)
        settled = {side: values[1:] for side, values in walls.items()}  # the first round compiles the kernels
        row: dict[str, Any] = {"cars": cars}
        row |= {f"{side}_ms": round(median(values) * 1e3, 2) for side, values in settled.items()}
        for name, one, other in (
            ("exact_of_before_float32", "float32_exact", "float32_before"),
            ("exact_of_before_bfloat16", "bfloat16_exact", "bfloat16_before"),
            ("bfloat16_of_float32", "bfloat16_exact", "float32_exact"),
        ):
            if not {one, other} <= policies.keys():
                continue
            row[name] = round(median(a / b for a, b in zip(settled[one], settled[other], strict=True)), 3)
        rows.append(row)
    said = [np.asarray(policies[f"{kind}_exact"].distribution({CAMERA: frames}).probabilities) for kind in kinds]
    return {
        "batch_sizes": {kind: policies[f"{kind}_exact"]._blocks.sizes for kind in kinds},
        "largest_probability_difference_of_precisions": float(np.abs(said[0] - said[-1]).max()),
        "steps": rows,
    }


def in_child(cap: str, *arguments: str) -> Any:
    """What this program prints last in a process of its own under a cap of instructions."""
    command = [sys.executable, "-m", "tests.bench.bench_policy", *arguments]
    environment = {**os.environ, "ONEDNN_MAX_CPU_ISA": cap}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=True)
    return json.loads(done.stdout.splitlines()[-1])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--caps", nargs="+", default=["", "AVX2", "SSE41"], help="of oneDNN's instructions; '' is none")
    parser.add_argument("--child", choices=["stock", "cap"], help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.child:
        print(json.dumps(stock_ms() if options.child == "stock" else under_cap(options.rounds)))
        return
    before = in_child("", "--child", "stock")
    caps = {cap or "none": in_child(cap, "--child", "cap", "--rounds", str(options.rounds)) for cap in options.caps}
    stock = 0.5 * (before + in_child("", "--child", "stock"))
    first = next(iter(caps.values()))
    payload = {
        "caps": caps,
        "stock_wall_ms_a_frame": round(stock, 2),
        "float32_wall_a_frame_of_stock": {
            str(row["cars"]): round(row["float32_exact_ms"] / row["cars"] / stock, 3) for row in first["steps"]
        },
    }
    print(json.dumps(payload, indent=2))
    write_result(
        "policy", payload, "a process a cap, in turns, a step of so many cars; medians, ratios of paired rounds"
    )


if __name__ == "__main__":
    main()
