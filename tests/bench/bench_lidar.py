"""Lidar scans a second on one core, and what bot cars cost: python -m tests.bench.bench_lidar"""

import argparse
import json
import os
import statistics
import time
from collections.abc import Callable

import numpy as np

from contract.config import RaceConfig
from contract.metadata import LIDARS, ModelMetadata
from contract.state import TrackObjects
from simapp.bots import Bots
from simapp.lidar import Lidar
from simapp.objects import Course
from simapp.tracks import load_track
from tests.bench.record import write_result

METHOD = (
    "Lidar.scan of 20 cars at random along paddock among 6 boxes and 6 other cars each, 64 rays; Bots.step of 20 "
    "worlds with 6 bots that change lanes; the process pinned to one core; medians of the repeats"
)
CARS, WORLDS, OBJECTS = 20, 20, 6


def seconds(work: Callable[[], object], repeats: int) -> float:
    """Median time of one call."""
    work()
    taken = []
    for _ in range(repeats):
        start = time.perf_counter()
        work()
        taken.append(time.perf_counter() - start)
    return statistics.median(taken)


def scans_per_s(sensor: str, repeats: int) -> int:
    track, random = load_track("paddock"), np.random.default_rng(0)
    actions = [{"steering_angle": angle, "speed": 1.0} for angle in (-20, 20)]
    metadata = {"action_space": actions, "sensor": ["FRONT_FACING_CAMERA", sensor], "version": 4}
    lidar = Lidar(track, ModelMetadata.parse(json.dumps(metadata)))
    race = RaceConfig(
        race_type="HEAD_TO_BOT",
        number_of_obstacles=OBJECTS,
        number_of_bot_cars=OBJECTS,
        min_distance_between_obstacles=1.0,
        min_distance_between_bot_cars=1.0,
    )
    objects = Course(track, race).objects(random).of(np.zeros(CARS, np.int64))
    poses = track.pose_at(random.uniform(0.0, track.length_m, CARS))
    seed, frame = np.arange(CARS, dtype=np.uint64), np.arange(CARS)
    taken = seconds(lambda: lidar.scan(poses.x_m, poses.y_m, poses.heading_rad, objects, seed, frame), repeats)
    return round(CARS / taken)


def bots_step_us(repeats: int) -> float:
    track = load_track("paddock")
    race = RaceConfig(race_type="HEAD_TO_BOT", number_of_bot_cars=OBJECTS, is_lane_change=True, bot_car_speed=1.0)
    course, bots, objects = Course(track, race), Bots(track, race, WORLDS), TrackObjects.none(WORLDS, OBJECTS)
    for world in range(WORLDS):
        random = np.random.default_rng(world)
        row = course.objects(random)
        objects.put(np.array([world]), row)
        bots.start(world, row, random)
    worlds, blocked = np.arange(WORLDS), np.zeros((WORLDS, OBJECTS), np.bool_)
    return round(1e6 * seconds(lambda: bots.step(worlds, objects, blocked), repeats), 1)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--repeats", type=int, default=1000)
    options = parser.parse_args()
    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, {max(os.sched_getaffinity(0))})
    payload = {
        "scans_per_s": {sensor: scans_per_s(sensor, options.repeats) for sensor in LIDARS},
        "bots_step_us": bots_step_us(options.repeats),
        "cars": CARS,
        "worlds": WORLDS,
        "repeats": options.repeats,
    }
    print(json.dumps(payload, indent=2))
    print(write_result("lidar", payload, METHOD))


if __name__ == "__main__":
    main()
