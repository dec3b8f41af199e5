"""The racing line of a track and a car: found once, proved in the simulator, and kept in the user's cache."""

import hashlib
import importlib.util
import io
import json
import math
import os
import secrets
from collections.abc import Callable
from dataclasses import asdict, dataclass, fields
from pathlib import Path

import numpy as np

from contract.car import Car
from contract.errors import InputError, UndercutError
from contract.state import FloatArray
from contract.vehicle import FRONT_POINT_X_M, REAR_AXLE_X_M, WHEELBASE_M
from simapp.tracks import Track
from undercut.line.corridor import Corridor, corridor_of
from undercut.line.optimum import WHEELS, NoOptimumError, Optimum, initial, rim_gain, solve
from undercut.line.replay import Replay, replay

METHOD = 1
"""Counted up when the same question gets another answer, so that lines of before are found anew."""
REPLAY_MARGINS_M = (0.0, 0.01, 0.03, 0.06)
"""How much further inside a lap is tried that the rules do not let pass: at the limit a millimetre decides."""
MAX_MARGIN_M = 1.0


@dataclass(frozen=True, slots=True)
class RacingLine:
    """N points of a lap, in driving order from the start line on; each array (N,) unless it says otherwise.

    limit_s        the lap's time: the least that the car needs, in a flying lap
    start_s        of the line of least curvature at two thirds of the grip, where the search began
    replay_s       a lap that followed it in the simulator, under the rules of a race; None: none was clean
    replay_margin_m  by which the followed line lies further inside
    x_m, y_m       of the point that reward functions see, 0.14 m ahead of base_link
    heading_rad    of the car, not wrapped
    distance_m     of that point along the centre line, from 0 to the lap's length, rising
    offset_m       of that point to the left of the centre line
    speed_mps      of the car
    command_mps    commanded speed, for a car of 0.1 to 4 m/s
    command_rad    commanded steering, left positive
    steering_rad   angle of the wheels
    time_s         (N + 1,) since the first point; the last is limit_s
    """

    track: str
    length_m: float
    car: Car
    margin_m: float
    wheels: str
    limit_s: float
    start_s: float
    replay_s: float | None
    replay_margin_m: float
    x_m: FloatArray
    y_m: FloatArray
    heading_rad: FloatArray
    distance_m: FloatArray
    offset_m: FloatArray
    speed_mps: FloatArray
    command_mps: FloatArray
    command_rad: FloatArray
    steering_rad: FloatArray
    time_s: FloatArray

    def to_bytes(self) -> bytes:
        """An .npz file of everything."""
        plain = {name: getattr(self, name) for name in _PLAIN} | {"car": asdict(self.car)}
        arrays = {name: getattr(self, name) for name in _ARRAYS}
        content = io.BytesIO()
        np.savez_compressed(content, told=np.frombuffer(json.dumps(plain).encode(), np.uint8), **arrays)
        return content.getvalue()

    @classmethod
    def from_bytes(cls, content: bytes) -> "RacingLine":
        """Of `to_bytes`; ValueError for anything else."""
        try:
            with np.load(io.BytesIO(content), allow_pickle=False) as kept:
                plain = json.loads(kept["told"].tobytes())
                car = Car(**plain.pop("car"))
                return cls(**plain, car=car, **{name: np.asarray(kept[name], np.float64) for name in _ARRAYS})
        except Exception as problem:  # numpy's and zlib's readers raise what they like
            raise ValueError(f"no racing line: {problem}") from problem


_ARRAYS = (
    *("x_m", "y_m", "heading_rad", "distance_m", "offset_m", "speed_mps", "command_mps", "command_rad"),
    *("steering_rad", "time_s"),
)
_PLAIN = tuple(item.name for item in fields(RacingLine) if item.name not in (*_ARRAYS, "car"))


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
    doing("line of least curvature")
    corridor = corridor_of(track, margin_m)
    doing(f"fastest lap, {len(corridor.x_m)} points")
    lap = solve(corridor, car, margin_m, wheels)
    driven, driven_margin = Replay(None, np.zeros(0)), 0.0
    for driven_margin in REPLAY_MARGINS_M:
        doing("driving it in the simulator")
        followed = lap
        if driven_margin > 0.0:
            try:
                followed = solve(corridor, car, margin_m + driven_margin, wheels, lap)
            except NoOptimumError:
                break
        driven = replay(track, corridor, followed, car)
        if driven.lap_s is not None:
            break
    return _made(track, corridor, lap, car, margin_m, wheels, driven.lap_s, driven_margin)


def _made(
    track: Track,
    corridor: Corridor,
    lap: Optimum,
    car: Car,
    margin_m: float,
    wheels: str,
    replay_s: float | None,
    replay_margin_m: float,
) -> RacingLine:
    heading = corridor.heading_rad + lap.column("xi")
    ahead = FRONT_POINT_X_M - (REAR_AXLE_X_M + car.centre * WHEELBASE_M)
    points = corridor.points(lap.column("n")) + ahead * np.column_stack([np.cos(heading), np.sin(heading)])
    # rows begin where that point passes the start line: a few before the centre of mass does
    distance, offset = track.along(points[:, 0], points[:, 1])
    first = int(np.argmin(distance))
    order = (first + np.arange(len(points))) % len(points)
    steps = np.diff(lap.time_s)
    along = np.maximum.accumulate(distance[order])
    turned = heading[order] + np.where(np.arange(len(order)) >= len(points) - first, _turn(heading, corridor), 0.0)
    return RacingLine(
        track.name,
        track.length_m,
        car,
        margin_m,
        wheels,
        lap.lap_s,
        initial(corridor, car).lap_s,
        replay_s,
        replay_margin_m,
        *points[order].T.copy(),
        turned,
        along,
        offset[order],
        np.hypot(lap.column("u"), lap.column("v"))[order],
        (lap.column("rim") / rim_gain(car))[order],
        lap.column("command")[order],
        lap.column("delta")[order],
        np.concatenate([[0.0], np.cumsum(steps[order])]),
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
