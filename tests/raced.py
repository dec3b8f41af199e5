"""Races driven by hand round a circle, with what stands there, and outlines for shapely."""

import math
from typing import Any

import numpy as np
from shapely import Polygon

from contract.config import RaceConfig
from contract.rollout import Rollout
from contract.state import Controls, EpisodeStatus, ObjectKind
from contract.vehicle import LENGTH_M, WIDTH_M
from simapp.race import Race, RaceRules
from tests.support import RADIUS_M, BlindSimulator, circle, keep_lane, outline
from tests.support import WIDTH_M as ROAD_M

LANE_M = ROAD_M / 4
LAP_M = circle().length_m
CRASHED = EpisodeStatus.crashed
TRAINING = RaceRules(max_steps=2_000)
SIZES = {ObjectKind.box: (0.5, 0.4), ObjectKind.car: (LENGTH_M, WIDTH_M)}
"""Lengths and widths by which crashes are judged."""


def config(kind: str = "OBJECT_AVOIDANCE", **keys: Any) -> RaceConfig:
    return RaceConfig.model_validate({"race_type": kind, **keys})


def boxes(*positions: tuple[float, int], **keys: Any) -> RaceConfig:
    return config(object_positions=positions, **keys)


def race(rules: RaceRules, objects: RaceConfig, cars_in_world: int = 1, reward: Any = lambda params: 1.0) -> Race:
    simulator = BlindSimulator(cars_in_world, np.zeros(cars_in_world, np.int64))
    return Race(simulator, circle(), rules, [reward] * cars_in_world, config=objects)


def follow(it: Race, cars: list[int], offset_m: float | list[float], speed_mps: float | list[float]) -> Controls:
    state = it.simulator.cars
    wanted = np.broadcast_to(np.asarray(offset_m, dtype=np.float64), len(cars))
    steering = keep_lane(state.x_m[cars], state.y_m[cars], state.heading_rad[cars], wanted)
    return Controls(steering, np.array(np.broadcast_to(np.asarray(speed_mps, dtype=np.float64), len(cars))))


def car_outline(it: Race, car: int, longer_m: float = 0.0, wider_m: float = 0.0) -> Polygon:
    state = it.simulator.cars
    pose = float(state.x_m[car]), float(state.y_m[car]), float(state.heading_rad[car])
    return outline(*pose, LENGTH_M + longer_m, WIDTH_M + wider_m)


def object_outlines(it: Race) -> list[Polygon]:
    """Of what stands and drives in car 0's world, other cars aside, by what the simulator was told to show."""
    assert isinstance(it.simulator, BlindSimulator)
    objects = it.simulator.objects[0]
    shapes = []
    for m, kind in enumerate(objects.kind[0].tolist()):
        x, y, heading = float(objects.x_m[0, m]), float(objects.y_m[0, m]), float(objects.heading_rad[0, m])
        shapes.append(outline(x, y, heading, *SIZES[ObjectKind(kind)]))
    return shapes


def placed(it: Race, car: int) -> tuple[float, float]:
    """Centre-line distance and offset of the car's base_link, by the circle's own geometry."""
    x, y = it.simulator.cars.x_m[car], it.simulator.cars.y_m[car]
    return math.atan2(y, x) % (2 * math.pi) / (2 * math.pi) * LAP_M, RADIUS_M - math.hypot(x, y)


def lap(it: Race, offset_of: Any, speed: float, limit: int = 2_000) -> Rollout:
    """Drive car 0 to the end of its episode; `offset_of(rows)` gives the lane from what has happened so far."""
    rows: list[np.ndarray] = []
    for _ in range(limit):
        outcome = it.step(np.array([0]), follow(it, [0], offset_of(rows), speed))
        rows.append(outcome.rows[0])
        if outcome.over[0]:
            break
    return Rollout(0, 0, {}, {}, np.zeros(len(rows), np.int64), np.stack(rows), bool(outcome.truncated[0]))


def names_of(driven: Rollout) -> list[str]:
    return [EpisodeStatus(int(status)).name for status in driven.steps["status"]]
