"""The racing line of a track and a car: found once, proved in the simulator, and kept in the user's cache."""

import hashlib
import importlib.util
import json
import math
from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import numpy as np

from contract.car import Car
from contract.errors import InputError, UndercutError
from contract.host import cache_folder
from contract.metadata import ModelMetadata
from contract.state import STEP_DTYPE, STEP_S, EpisodeStatus, FloatArray
from contract.stores.local import write_file
from contract.vehicle import FRONT_POINT_X_M
from simapp.builtin import BuiltinSimulator
from simapp.race import Race, RaceRules
from simapp.tracks import Track, heading_difference
from undercut.line.corridor import Corridor, corridor_of
from undercut.line.driver import EFFORTS, Driver, Reference, centre_x_m
from undercut.line.optimum import GRIP_TRIED, WHEELS, NoOptimumError, Optimum, initial, rim_gain, solve
from undercut.line.profile import RacingLine

# --- The proof of a lap -----------------------------------------------------------------------------------------------

ENOUGH = 1.01
"""A lap this near to its limit is not tried to be bettered."""
LAPS = 2
"""Of a flying start: the first begins at speed, on the line; the last is timed."""


@dataclass(frozen=True, slots=True)
class Replay:
    """A lap that was driven, or tried.

    lap_s  from line to line; None where the rules of a race ended the drive
    rows   (T,) of STEP_DTYPE, the last lap's
    """

    lap_s: float | None
    rows: np.ndarray


def replay(track: Track, line: RacingLine) -> Replay:
    """Follow the line with its car in a flying lap: the fastest of several drivers' laps."""
    best = Replay(None, np.zeros(0, STEP_DTYPE))
    for effort in EFFORTS:
        driven = _driven(track, line, effort)
        if best.lap_s is None or (driven.lap_s is not None and driven.lap_s < best.lap_s):
            best = driven
        if best.lap_s is not None and best.lap_s <= ENOUGH * line.limit_s:
            break
    return best


def standing_lap_s(track: Track, line: RacingLine) -> float | None:
    """The fastest of the drivers' laps from a standstill on the start line, in the middle of the road, as evaluations
    and races begin and time them; None where the rules ended all of them."""
    laps = [_from_standstill(track, line, effort) for effort in EFFORTS]
    return min((lap_s for lap_s in laps if lap_s is not None), default=None)


def _from_standstill(track: Track, line: RacingLine, effort: tuple[float, float]) -> float | None:
    simulator, reference, race = _cast(track, line)
    race.start(0, 0.0, 0.0, 0.0, line_m=0.0)
    driver = Driver(reference, line.car, effort)
    while not (outcome := race.step(np.array([0]), driver.controls(simulator.cars, 0))).over[0]:
        pass
    last = outcome.rows[0]
    return float(last["time_s"]) if int(last["status"]) == EpisodeStatus.lap_complete else None


def _cast(track: Track, line: RacingLine) -> tuple[BuiltinSimulator, Reference, Race]:
    """The simulator with the line's car, the lap to follow, and a race that gives up after three laps' time."""
    simulator = BuiltinSimulator(track, [_MODEL], car=line.car)
    race = Race(simulator, track, RaceRules(int(3.0 * line.limit_s / STEP_S) + 60), [_nothing])
    return simulator, Reference.of(line), race


def _driven(track: Track, line: RacingLine, effort: tuple[float, float]) -> Replay:
    simulator, reference, race = _cast(track, line)
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


# --- The racing line of a track and a car -----------------------------------------------------------------------------

METHOD = 3
"""Counted up when the same question gets another answer, so that lines of before are found anew."""
REPLAY_MARGINS_M = (0.0, 0.01, 0.03, 0.06)
"""How much further inside a lap is tried that the rules do not let pass: at the limit a millimetre decides."""
MAX_MARGIN_M = 1.0


def racing_line(
    track: Track,
    car: Car,
    margin_m: float = 0.0,
    wheels: str = "one",
    doing: Callable[[str], None] = lambda text: None,
) -> RacingLine:
    """The line from the cache, or found and kept there. `doing` is called with what is being done.

    InputError for an open track, a road too narrow or an argument out of range; UndercutError without CasADi and when
    no lap is found.
    """
    check(margin_m, wheels)
    kept = kept_line(track, car, margin_m, wheels)
    if kept is not None:
        return kept
    if not has_optimiser():
        raise UndercutError(
            "the fastest lap is found with CasADi, which is not installed",
            "the racing line needs the extra `line`",
            "pip install 'undercut[line]', in a checkout: uv sync --inexact --extra line",
        )
    found = find_line(track, car, margin_m, wheels, doing)
    write_file(_path(track, car, margin_m, wheels), found.to_bytes())
    return found


def kept_line(track: Track, car: Car, margin_m: float = 0.0, wheels: str = "one") -> RacingLine | None:
    """The line if it was found before, on this machine, by this method."""
    try:
        return RacingLine.from_bytes(_path(track, car, margin_m, wheels).read_bytes())
    except (OSError, ValueError):
        return None


def has_optimiser() -> bool:
    """Whether CasADi is installed."""
    return importlib.util.find_spec("casadi") is not None


def check(margin_m: float, wheels: str) -> None:
    """InputError for what no lap can be asked for."""
    if not (math.isfinite(margin_m) and 0.0 <= margin_m <= MAX_MARGIN_M):
        raise InputError(
            "--margin", margin_m, f"0 to {MAX_MARGIN_M:g} m that the wheels keep from the edge", "0 is the rules' own"
        )
    if wheels not in WHEELS:
        raise InputError(
            "--wheels", wheels, "one wheel on the road, which the rules ask for, or all", f"{' or '.join(WHEELS)}"
        )


def find_line(
    track: Track, car: Car, margin_m: float, wheels: str, doing: Callable[[str], None] = lambda text: None
) -> RacingLine:
    """Search for the line and drive it, whatever the cache has."""
    doing("a line to begin with")
    corridor = corridor_of(track, margin_m)
    doing(f"fastest lap, {len(corridor.x_m)} points")
    lap = solve(corridor, car, margin_m, wheels)
    line = _made(track, corridor, lap, car, margin_m, wheels)
    for more_m in REPLAY_MARGINS_M:
        doing("driving it in the simulator")
        followed = line
        if more_m > 0.0:
            try:
                inside = solve(corridor, car, margin_m + more_m, wheels, lap)
            except NoOptimumError:
                break
            followed = _made(track, corridor, inside, car, margin_m + more_m, wheels)
        driven = replay(track, followed)
        if driven.lap_s is not None:
            standing_s = standing_lap_s(track, followed)
            return replace(line, replay_s=driven.lap_s, replay_margin_m=more_m, standing_s=standing_s)
    return line


def _made(track: Track, corridor: Corridor, lap: Optimum, car: Car, margin_m: float, wheels: str) -> RacingLine:
    heading = corridor.heading_rad + lap.column("xi")
    ahead = FRONT_POINT_X_M - centre_x_m(car)
    points = corridor.points(lap.column("n")) + ahead * np.column_stack([np.cos(heading), np.sin(heading)])
    # rows begin where that point passes the start line: a few before the centre of mass does
    distance, offset = track.along(points[:, 0], points[:, 1])
    first = int(np.argmin(distance))
    order = (first + np.arange(len(points))) % len(points)
    x, y = points[order].T.copy()
    return RacingLine(
        track=track.name,
        length_m=track.length_m,
        car=car,
        margin_m=margin_m,
        wheels=wheels,
        limit_s=lap.lap_s,
        start_s=initial(corridor, car, GRIP_TRIED[0]).lap_s,
        replay_s=None,
        replay_margin_m=0.0,
        standing_s=None,
        x_m=x,
        y_m=y,
        heading_rad=heading[order] + np.where(order < first, _turn(heading, corridor), 0.0),
        distance_m=np.maximum.accumulate(distance[order]),
        offset_m=offset[order],
        speed_mps=np.hypot(lap.column("u"), lap.column("v"))[order],
        command_mps=(lap.column("rim") / rim_gain(car))[order],
        command_rad=lap.column("command")[order],
        steering_rad=lap.column("delta")[order],
        time_s=np.concatenate([[0.0], np.cumsum(np.diff(lap.time_s)[order])]),
    )


def _turn(heading: FloatArray, corridor: Corridor) -> float:
    """What a lap adds to the heading: 2 pi, to the left or to the right."""
    turn = float(heading[-1] - heading[0]) + corridor.spacing_m * float(corridor.curvature[-1])
    return math.copysign(2.0 * math.pi, turn)


def _path(track: Track, car: Car, margin_m: float, wheels: str) -> Path:
    constants = {key: value for key, value in asdict(car).items() if key != "name"}
    asked = json.dumps([METHOD, constants, margin_m, wheels], sort_keys=True)
    digest = hashlib.sha256(asked.encode() + np.ascontiguousarray(track.route, "<f8").tobytes()).hexdigest()
    return cache_folder("lines") / f"{digest[:32]}.npz"
