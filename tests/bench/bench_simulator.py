"""Car-steps a second of the built-in simulator with camera, rules and a Python reward, on one core; frames alone too.

python tests/bench/bench_simulator.py
"""

import json
import os
import time
from pathlib import Path
from statistics import median

import numpy as np

from contract.metadata import ModelMetadata
from contract.state import Controls
from simapp.builtin import BuiltinSimulator
from simapp.race import Race, RaceRules
from simapp.reward import RewardFunction
from simapp.tracks import load_track
from tests.bench.record import write_result

CARS, STEPS, REPEATS = 20, 500, 9
REWARD = Path(__file__).parents[2] / "rewards" / "follow_center_line.py"
METADATA = Path(__file__).parents[2] / "actions" / "default.json"
TRACKS = ("paddock", "grand_tour")


def measure(track_name: str) -> dict[str, float]:
    """Medians over REPEATS of STEPS steps of CARS cars that steer at random and are put back when they leave."""
    track = load_track(track_name)
    simulator = BuiltinSimulator(track, [ModelMetadata.load(METADATA)] * CARS)
    reward = RewardFunction.load(REWARD)
    rules = RaceRules(max_steps=10**9, resets=10**9)
    race = Race(simulator, track, rules, [reward.instance() for _ in range(CARS)])
    for car in range(CARS):
        race.start(car, car / CARS * track.length_m)
    cars, rng = np.arange(CARS), np.random.default_rng(0)

    def drive() -> None:
        simulator.observe(cars)
        race.step(cars, Controls(rng.uniform(-0.3, 0.3, CARS), np.full(CARS, 1.5)))

    def look() -> None:
        simulator.observe(cars)

    return {"car_steps_per_s": rate(drive), "frames_per_s": rate(look)}


def rate(step: object) -> float:
    """Car-steps a second: the median over repeats."""
    assert callable(step)
    step()  # compiles
    rates = []
    for _ in range(REPEATS):
        began = time.perf_counter()
        for _ in range(STEPS):
            step()
        rates.append(CARS * STEPS / (time.perf_counter() - began))
    return round(median(rates))


def main() -> None:
    os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})
    payload = {"cars": CARS, "tracks": {name: measure(name) for name in TRACKS}, "target_car_steps_per_s": 5_000}
    print(json.dumps(payload, indent=2))
    write_result(
        "simulator",
        payload,
        f"one process pinned to one core, {CARS} cars, median of {REPEATS} times {STEPS} steps; every car-step renders "
        "a 160x120 frame, drives, judges and calls rewards/follow_center_line.py; frames: rendering alone",
    )


if __name__ == "__main__":
    main()
