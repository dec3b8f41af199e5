"""The proof of a lap: it is driven in the built-in simulator, under the rules of a race."""

from dataclasses import dataclass

import numpy as np

from contract.metadata import ModelMetadata
from contract.state import STEP_DTYPE, STEP_S, EpisodeStatus
from simapp.builtin import BuiltinSimulator
from simapp.race import Race, RaceRules
from simapp.tracks import Track, heading_difference
from undercut.line.driver import EFFORTS, Driver, Reference
from undercut.line.profile import RacingLine

ENOUGH = 1.01
"""A lap this near to its limit is not tried to be bettered."""
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


def replay(track: Track, line: RacingLine) -> Replay:
    """Follow the line with its car: the fastest of several drivers' laps."""
    best = Replay(None, np.zeros(0, STEP_DTYPE))
    for effort in EFFORTS:
        driven = _driven(track, line, effort)
        if best.lap_s is None or (driven.lap_s is not None and driven.lap_s < best.lap_s):
            best = driven
        if best.lap_s is not None and best.lap_s <= ENOUGH * line.limit_s:
            break
    return best


def _driven(track: Track, line: RacingLine, effort: tuple[float, float]) -> Replay:
    simulator = BuiltinSimulator(track, [_MODEL], car=line.car)
    reference = Reference.of(line)
    race = Race(simulator, track, RaceRules(int(3.0 * line.limit_s / STEP_S) + 60), [_nothing])
    x, y, heading = reference.first_pose(line.car)
    distance, offset = track.along([x], [y])
    pose = track.pose_at(distance, offset)
    turn = float(heading_difference(heading, pose.heading_rad)[0])
    race.start(0, float(distance[0]), float(offset[0]), turn, line_m=0.0)
    driver = Driver(reference, line.car, effort)
    one, laps, rows = np.array([0]), 0, list[np.void]()
    while True:
        outcome = race.step(one, driver.controls(simulator.cars, 0))
        rows.append(outcome.rows[0])
        if len(rows) == 1 and laps == 0:
            reference.push(simulator.cars, 0, line.car)  # it was held for one step
        if not outcome.over[0]:
            continue
        laps += 1
        if int(outcome.rows["status"][0]) != EpisodeStatus.lap_complete:
            return Replay(None, np.array(rows))
        if laps == LAPS:
            return Replay(_timed(rows), np.array(rows))
        rows = []
        race.carry_on(0)


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
