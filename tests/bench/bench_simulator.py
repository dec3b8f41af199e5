"""Car-steps a second of the built-in simulator with camera, rules and a Python reward, on one core; frames alone too,
and what obstacles, bot cars and other sensors cost.

python tests/bench/bench_simulator.py
"""

import json
import os
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np

from contract.config import RaceConfig
from contract.metadata import ModelMetadata
from contract.state import Controls
from simapp.builtin import BuiltinSimulator
from simapp.race import TIME_TRIAL, Race, RaceRules
from simapp.reward import RewardFunction
from simapp.tracks import load_track
from tests.bench.record import write_result

CARS, STEPS, REPEATS = 20, 300, 7
REWARD = Path(__file__).parents[2] / "rewards" / "follow_center_line.py"
METADATA = Path(__file__).parents[2] / "actions" / "default.json"
TRACKS = ("paddock", "grand_tour")
RACES_ON = "grand_tour"
BOXES = RaceConfig(race_type="OBJECT_AVOIDANCE", number_of_obstacles=6, randomize_obstacle_locations=True)
BOTS = RaceConfig(race_type="HEAD_TO_BOT", number_of_bot_cars=6, randomize_bot_car_locations=True, is_lane_change=True)
SCENES: dict[str, tuple[RaceConfig, tuple[str, ...]]] = {
    "6 boxes": (BOXES, ("FRONT_FACING_CAMERA",)),
    "6 bot cars": (BOTS, ("FRONT_FACING_CAMERA",)),
    "stereo": (TIME_TRIAL, ("STEREO_CAMERAS",)),
    "lidar": (TIME_TRIAL, ("FRONT_FACING_CAMERA", "LIDAR")),
    "stereo, lidar, 6 boxes": (BOXES, ("STEREO_CAMERAS", "LIDAR")),
    "stereo, sector lidar, 6 bot cars": (BOTS, ("STEREO_CAMERAS", "SECTOR_LIDAR")),
}
"""What is raced, and with which sensors; compared to a time trial with the front camera."""


def driving(track_name: str, config: RaceConfig, sensors: tuple[str, ...]) -> tuple[Callable[[], None], ...]:
    """A step of CARS cars that steer at random and are put back when they leave or crash; and a look alone."""
    track = load_track(track_name)
    model = ModelMetadata.parse(json.dumps({**json.loads(METADATA.read_text()), "sensor": sensors}))
    simulator = BuiltinSimulator(track, [model] * CARS)
    reward = RewardFunction.load(REWARD)
    rules = RaceRules(max_steps=10**9, resets=10**9)
    race = Race(simulator, track, rules, [reward.instance() for _ in range(CARS)], config=config)
    for car in range(CARS):
        race.furnish(car, np.random.default_rng(car), car / CARS * track.length_m)
        race.start(car, car / CARS * track.length_m)
    cars, rng = np.arange(CARS), np.random.default_rng(0)

    def drive() -> None:
        simulator.observe(cars)
        race.step(cars, Controls(rng.uniform(-0.3, 0.3, CARS), np.full(CARS, 1.5)))

    def look() -> None:
        simulator.observe(cars)

    return drive, look


def rates(steps: Mapping[str, Callable[[], None]]) -> dict[str, list[float]]:
    """Car-steps a second of each, one after the other in each of REPEATS rounds, so that they share the machine's
    moods."""
    for step in steps.values():
        step()  # compiles
    found: dict[str, list[float]] = {name: [] for name in steps}
    for _ in range(REPEATS):
        for name, step in steps.items():
            began = time.process_time()
            for _ in range(STEPS):
                step()
            found[name].append(CARS * STEPS / (time.process_time() - began))
    return found


def measure(track_name: str) -> dict[str, int]:
    drive, look = driving(track_name, TIME_TRIAL, ("FRONT_FACING_CAMERA",))
    found = rates({"car_steps_per_s": drive, "frames_per_s": look})
    return {name: round(median(values)) for name, values in found.items()}


def compare() -> dict[str, dict[str, float]]:
    """Rates of SCENES, and their medians over the rounds as a part of the time trial's in the same round."""
    steps = {"time trial": driving(RACES_ON, TIME_TRIAL, ("FRONT_FACING_CAMERA",))[0]}
    steps |= {name: driving(RACES_ON, *scene)[0] for name, scene in SCENES.items()}
    found = rates(steps)
    alone = found["time trial"]
    return {
        name: {
            "car_steps_per_s": round(median(values)),
            "of_time_trial": round(median(a / b for a, b in zip(values, alone, strict=True)), 3),
        }
        for name, values in found.items()
    }


def main() -> None:
    os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})
    payload: dict[str, Any] = {
        "cars": CARS,
        "tracks": {name: measure(name) for name in TRACKS},
        "target_car_steps_per_s": 5_000,
        "races_on": RACES_ON,
        "races": compare(),
        "target_of_time_trial_with_6_objects": 0.5,
    }
    print(json.dumps(payload, indent=2))
    write_result(
        "simulator",
        payload,
        f"one process pinned to one core, {CARS} cars, median of {REPEATS} times {STEPS} steps by the process's CPU "
        "time; every car-step renders a 160x120 frame, drives, judges and calls rewards/follow_center_line.py; frames: "
        "rendering alone; races: in turn in each round, ratios within the round",
    )


if __name__ == "__main__":
    main()
