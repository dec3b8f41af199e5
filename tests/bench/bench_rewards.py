"""What a step's rewards take by a program, against a Python function in the simulator's process.

    python -m tests.bench.bench_rewards [--rounds 15]

The params are those of 1 and 20 cars on paddock; the shipped Perl and JavaScript programs and a function in Python are
asked in turns, in one process. Result: results/rewards.json. Takes a few seconds.
"""

import argparse
import json
import shutil
import time
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np

from contract.metadata import ModelMetadata
from simapp.builtin import BuiltinSimulator
from simapp.race import Race, RaceRules
from simapp.reward_service.service import score_all
from simapp.reward_source import load_reward
from simapp.tracks import load_track
from tests.bench.record import write_result

ROOT = Path(__file__).resolve().parents[2]
REWARDS = {
    "python": ROOT / "rewards" / "follow_center_line.py",
    "perl": ROOT / "rewards" / "programs" / "perl.yaml",
    "node": ROOT / "rewards" / "programs" / "node.yaml",
}
CARS, STEPS = 20, 20


def params_of(cars: int) -> list[list[dict[str, Any]]]:
    """The params of STEPS steps of so many cars."""
    told: list[dict[str, Any]] = []

    def listen(params: dict[str, Any]) -> float:
        told.append(params)
        return 1.0

    metadata, track = ModelMetadata.load(ROOT / "actions" / "default.json"), load_track("paddock", [])
    race = Race(BuiltinSimulator(track, [metadata] * cars), track, RaceRules(1000), [listen] * cars)
    for car in range(cars):
        race.start(car, 0.5 * car)
    for _ in range(STEPS):
        race.step(np.arange(cars), metadata.actions.controls(np.full(cars, 2)))
    return [told[step * cars : (step + 1) * cars] for step in range(STEPS)]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=15)
    options = parser.parse_args()
    here = {name: path for name, path in REWARDS.items() if name == "python" or shutil.which(name)}
    rows = []
    for cars in (1, CARS):
        steps = params_of(cars)
        rewards = {name: [source.instance() for _ in range(cars)] for name, source in _loaded(here).items()}
        times: dict[str, list[float]] = {name: [] for name in here}
        for _ in range(options.rounds + 1):
            for name, mine in rewards.items():
                began_s = time.perf_counter()
                for told in steps:
                    score_all(mine, [dict(one) for one in told])
                times[name].append((time.perf_counter() - began_s) / STEPS)
        settled = {name: median(values[1:]) for name, values in times.items()}  # programs start in the first round
        row: dict[str, Any] = {"cars": cars} | {f"{name}_us": round(value * 1e6, 1) for name, value in settled.items()}
        for name in list(here)[1:]:
            ratios = [there / python for there, python in zip(times[name][1:], times["python"][1:], strict=True)]
            row[f"{name}_ratio"] = round(median(ratios), 1)
        rows.append(row)
    print(json.dumps(rows, indent=2))
    write_result("rewards", {"steps": rows}, "one process, in turns; medians of a step, ratios of paired rounds")


def _loaded(paths: dict[str, Path]) -> dict[str, Any]:
    return {name: load_reward(path) for name, path in paths.items()}


if __name__ == "__main__":
    main()
