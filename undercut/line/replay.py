"""The proof of a lap: it is driven in the built-in simulator, under the rules of a race."""

import math
from dataclasses import dataclass

import numpy as np

from contract.car import Car
from contract.metadata import ModelMetadata
from contract.state import STEP_S, EpisodeStatus
from contract.vehicle import REAR_AXLE_X_M, WHEELBASE_M
from simapp.builtin import BuiltinSimulator
from simapp.race import Race, RaceRules
from simapp.tracks import Track
from undercut.line.corridor import Corridor
from undercut.line.driver import Driver, Reference
from undercut.line.optimum import STATES, Optimum, rim_gain

LAPS = 2
"""The first begins at speed, on the line; the last is timed."""


@dataclass(frozen=True, slots=True)
class Replay:
    """A lap that was driven, or tried.

    lap_s  from line to line; None where the rules of a race ended the drive
    rows   (T,) of STEP_DTYPE, the last lap's
    """

    lap_s: float | None
    rows: np.ndarray


def replay(track: Track, corridor: Corridor, lap: Optimum, car: Car) -> Replay:
    """Follow the lap."""
    simulator = BuiltinSimulator(track, [_MODEL], car=car)
    reference = Reference.of(corridor, lap, car)
    race = Race(simulator, track, RaceRules(int(3.0 * lap.lap_s / STEP_S) + 60), [_nothing])
    _begin(race, simulator, corridor, lap, car)
    driver = Driver(reference, car)
    one, laps, rows = np.array([0]), 0, list[np.void]()
    while True:
        outcome = race.step(one, driver.controls(simulator.cars, 0))
        rows.append(outcome.rows[0])
        if len(rows) == 1 and laps == 0:
            _push(simulator, lap, car)  # it was held for one step
        if not outcome.over[0]:
            continue
        laps += 1
        if int(outcome.rows["status"][0]) != EpisodeStatus.lap_complete:
            return Replay(None, np.array(rows))
        if laps == LAPS:
            return Replay(_timed(rows), np.array(rows))
        rows = []
        race.carry_on(0)


def _begin(race: Race, simulator: BuiltinSimulator, corridor: Corridor, lap: Optimum, car: Car) -> None:
    """Put the car on the lap's first point, at rest."""
    x, y = corridor.points(lap.column("n"))[0]
    heading = float(corridor.heading_rad[0] + lap.column("xi")[0])
    back = REAR_AXLE_X_M + car.centre * WHEELBASE_M
    x, y = float(x - back * math.cos(heading)), float(y - back * math.sin(heading))
    distance, offset = race.track.along([x], [y])
    pose = race.track.pose_at(distance, offset)
    race.start(0, float(distance[0]), float(offset[0]), heading - float(pose.heading_rad[0]), line_m=0.0)


def _push(simulator: BuiltinSimulator, lap: Optimum, car: Car) -> None:
    """Give the car the lap's first velocities and commands."""
    cars, first = simulator.cars, {name: float(lap.column(name)[0]) for name in STATES}
    cars.speed_mps[0], cars.sideways_mps[0], cars.yaw_rate_rps[0] = first["u"], first["v"], first["r"]
    cars.steering_rad[0], cars.rim_mps[0] = first["delta"], first["rim"]
    cars.commanded_speed_mps[0] = cars.earlier_speed_mps[0] = first["rim"] / rim_gain(car)
    cars.commanded_steering_rad[0] = cars.earlier_steering_rad[0] = first["command"]


def _timed(rows: list[np.void]) -> float:
    """Seconds from line to line, to a fraction of a step: the first row lies past the line by some of a step, and the
    line is passed again between the last two rows."""
    progress = [float(row["progress_pct"]) for row in rows]
    begun = progress[0] / (progress[1] - progress[0])
    ended = (100.0 - progress[-2]) / (progress[-2] - progress[-3])
    return STEP_S * (len(rows) - 2 + begun + ended)


def _nothing(params: dict[str, object]) -> float:
    return 0.0


_MODEL = ModelMetadata.parse(
    '{"action_space": {"steering_angle": {"low": -30, "high": 30}, "speed": {"low": 0.1, "high": 4}},'
    ' "action_space_type": "continuous"}',
    "replay",
)
