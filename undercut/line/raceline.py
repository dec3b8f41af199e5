"""The racing line of a track and a car: found once, proved in the simulator, and kept in the user's cache."""

import hashlib
import importlib.util
import json
import math
import os
import secrets
from collections.abc import Callable
from dataclasses import asdict, replace
from pathlib import Path

import numpy as np

from contract.car import Car
from contract.errors import InputError, UndercutError
from contract.state import FloatArray
from contract.vehicle import FRONT_POINT_X_M
from simapp.tracks import Track
from undercut.line.corridor import Corridor, corridor_of
from undercut.line.driver import centre_x_m
from undercut.line.optimum import GRIP_TRIED, WHEELS, NoOptimumError, Optimum, initial, rim_gain, solve
from undercut.line.profile import RacingLine
from undercut.line.replay import replay

METHOD = 2
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
    """The line from the cache, or found and kept there. `doing` is told what is being done.

    InputError for an open track, a road too narrow or an argument out of range; UndercutError without CasADi and when
    no lap is found.
    """
    check(margin_m, wheels)
    kept = kept_line(track, car, margin_m, wheels)
    if kept is not None:
        return kept
    if not has_optimiser():
        raise UndercutError(
            "the fastest lap is found with CasADi, which is not installed\n"
            "  rule: the racing line needs the extra `line`\n"
            "  fix:  pip install 'undercut[line]', in a checkout: uv sync --inexact --extra line"
        )
    found = find_line(track, car, margin_m, wheels, doing)
    path = _path(track, car, margin_m, wheels)
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(f".{path.name}.{secrets.token_hex(4)}")
    partial.write_bytes(found.to_bytes())
    partial.replace(path)
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
            return replace(line, replay_s=driven.lap_s, replay_margin_m=more_m)
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
    cache = Path(os.environ.get("XDG_CACHE_HOME") or "~/.cache").expanduser()
    return cache / "undercut" / "lines" / f"{digest[:32]}.npz"
