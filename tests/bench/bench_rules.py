"""What race rules, reward params and a Python reward cost without pictures, on one core.

    python -m tests.bench.bench_rules [--rounds 7]

Result: results/rules.json. Takes a quarter of a minute.
"""

import argparse
import json
import os
import time
from collections.abc import Callable
from pathlib import Path
from statistics import median

import numpy as np

from contract.config import RaceConfig
from contract.state import STEP_DTYPE, Controls
from simapp.params import RaceState, RewardParams
from simapp.race import TIME_TRIAL, Race, RaceRules
from simapp.reward import RewardFunction
from simapp.tracks import load_track
from tests.bench.record import write_result
from tests.support import BlindSimulator

CARS, STEPS = 20, 200
REWARD = Path(__file__).parents[2] / "rewards" / "follow_center_line.py"
BOXES = RaceConfig(race_type="OBJECT_AVOIDANCE", number_of_obstacles=6)


def racing(config: RaceConfig) -> Callable[[], None]:
    """A step of CARS cars that steer at random and are put back, without a picture."""
    track, simulator = load_track("paddock"), BlindSimulator(CARS)
    reward = RewardFunction.load(REWARD)
    rewards = [reward.instance() for _ in range(CARS)]
    race = Race(simulator, track, RaceRules(max_steps=10**9, resets=10**9), rewards, config=config)
    for car in range(CARS):
        race.furnish(car, np.random.default_rng(car), car / CARS * track.length_m)
        race.start(car, car / CARS * track.length_m)
    cars, random = np.arange(CARS), np.random.default_rng(0)

    def step() -> None:
        race.step(cars, Controls(random.uniform(-0.3, 0.3, CARS), np.full(CARS, 1.5)))

    return step


def physics() -> Callable[[], None]:
    """The same cars without rules."""
    simulator, cars, random = BlindSimulator(CARS), np.arange(CARS), np.random.default_rng(0)
    return lambda: simulator.step(cars, Controls(random.uniform(-0.3, 0.3, CARS), np.full(CARS, 1.5)))


def params_alone() -> Callable[[], object]:
    """The 27 params of CARS cars, as dictionaries."""
    track = load_track("paddock")
    build, rows = RewardParams(track, False), np.zeros(CARS, STEP_DTYPE)
    pose = track.pose_at(np.linspace(0.0, track.length_m, CARS, endpoint=False))
    rows["x_m"], rows["y_m"], rows["heading_rad"] = pose.x_m, pose.y_m, pose.heading_rad
    where, nobody = track.project(pose.x_m, pose.y_m), np.zeros(CARS, np.bool_)
    state = RaceState(rows, where, np.ones(CARS, np.int64), None, nobody, nobody, np.zeros(CARS))
    return lambda: list(build.build(state))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=7)
    rounds = parser.parse_args().rounds
    os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})
    steps: dict[str, Callable[[], object]] = {
        "rules, params and reward": racing(TIME_TRIAL),
        "with 6 boxes": racing(BOXES),
        "driving alone": physics(),
        "params alone": params_alone(),
    }
    found: dict[str, list[float]] = {name: [] for name in steps}
    for turn in range(rounds + 1):
        for name, step in steps.items():
            began = time.process_time()
            for _ in range(STEPS if turn else 3):  # the first turn compiles
                step()
            if turn:
                found[name].append((time.process_time() - began) / STEPS / CARS * 1e6)
    payload = {
        "cars": CARS,
        "us_per_car_step": {name: round(median(values), 2) for name, values in found.items()},
        "car_steps_per_s": round(1e6 / median(found["rules, params and reward"])),
    }
    print(json.dumps(payload, indent=2))
    write_result(
        "rules",
        payload,
        f"one process pinned to one core, {CARS} cars without cameras, CPU time, median of {rounds} times {STEPS} "
        "steps, all in turn in each round; the reward is rewards/follow_center_line.py",
    )


if __name__ == "__main__":
    main()
