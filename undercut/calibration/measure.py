"""How far cars stray from a recording: by time ahead and by commanded speed."""

import dataclasses
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np
from scipy.optimize import least_squares

from contract.car import Car
from contract.conditions import Conditions
from contract.errors import InputError
from contract.simtrace import Trace
from contract.state import BoolArray, CarBatch, Controls, FloatArray, Poses
from contract.vehicle import FRONT_POINT_X_M, REAR_AXLE_X_M, WHEELBASE_M
from simapp.vehicle import Makes, drive_cars, place_cars
from undercut.calibration.pieces import AHEAD, PAST, Pieces, cut
from undercut.calibration.recordings import SHORTEST, DrivenLog

# --- Replays of recorded commands, open loop --------------------------------------------------------------------------

FITTED: dict[str, tuple[float, float]] = {
    "friction": (0.1, 2.0),
    "slide_mps": (0.05, 1.0),
    "gyration_m": (0.06, 0.4),
    "speed_lag_s": (0.0, 0.6),
    "steering_lag_s": (0.005, 0.6),
    "steering_gain": (0.3, 1.6),
    "steering_offset_deg": (-6.0, 6.0),
    "latency_steps": (0.0, 1.9),
}
"""What a recording can say, least and most; the rest of a car is its description's."""
_TYPICAL = (0.5, 0.2, 0.15, 0.1, 0.1, 1.0, 3.0, 0.5)
SPREAD_M = {5: 0.05, 10: 0.10, 15: 0.15}
"""Rows ahead that the fits look at, and errors there that weigh the same; larger ones weigh less than squared."""


def replay(pieces: Pieces, car: Car) -> FloatArray:
    """Path (K, AHEAD, 2) of the front point.

    No later row is looked at: the start is a parabola through the rows before, wheels and late commands are those that
    the commands before bring about.
    """
    count = len(pieces)
    state, cars, nominal = CarBatch.zeros(count), np.arange(count), Conditions.nominal(count)
    makes = Makes.of_cars([car] * count)
    place_cars(state, cars, Poses(*(np.zeros(count) for _ in range(3))))

    def step(row: int) -> None:
        drive_cars(state, cars, Controls(*pieces.commands[:, row].T), makes, nominal, pieces.rows_s[:, row])

    for row in range(PAST):
        step(row)
    pose, rate = pieces.start()
    cos, sin = np.cos(pose[:, 2]), np.sin(pose[:, 2])
    state.x_m[:], state.y_m[:] = pose[:, 0] - FRONT_POINT_X_M * cos, pose[:, 1] - FRONT_POINT_X_M * sin
    state.heading_rad[:], state.yaw_rate_rps[:] = pose[:, 2], rate[:, 2]
    state.speed_mps[:] = rate[:, 0] * cos + rate[:, 1] * sin
    centre_x_m = REAR_AXLE_X_M + car.centre * WHEELBASE_M
    state.sideways_mps[:] = rate[:, 1] * cos - rate[:, 0] * sin - rate[:, 2] * (FRONT_POINT_X_M - centre_x_m)
    path = np.empty((count, AHEAD, 2))
    for ahead in range(AHEAD):
        step(PAST + ahead)
        path[:, ahead, 0] = state.x_m + FRONT_POINT_X_M * np.cos(state.heading_rad)
        path[:, ahead, 1] = state.y_m + FRONT_POINT_X_M * np.sin(state.heading_rad)
    return path


def fit(pieces: Pieces, start: Car, names: tuple[str, ...] = tuple(FITTED)) -> Car:
    """`start` with the constants `names` at which it strays least from the pieces."""
    rows = np.array(list(SPREAD_M))
    scale = np.array(list(SPREAD_M.values()))[:, np.newaxis]
    low, high = np.array([FITTED[name] for name in names]).T

    def car(values: FloatArray) -> Car:
        changed: dict[str, Any] = dict(zip(names, map(float, values), strict=True))
        return dataclasses.replace(start, **changed)

    def residuals(values: FloatArray) -> FloatArray:
        off = replay(pieces, car(values))[:, rows - 1] - pieces.poses[:, PAST + rows, :2]
        return np.asarray(off / scale).ravel()

    found = least_squares(
        residuals,
        np.clip([getattr(start, name) for name in names], low + 1e-3 * (high - low), high - 1e-3 * (high - low)),
        bounds=(low, high),
        x_scale=[_TYPICAL[list(FITTED).index(name)] for name in names],
        loss="soft_l1",
        diff_step=0.01,
        max_nfev=40,
    )
    return car(np.round(found.x, 4))


# --- How far cars stray from a recording ------------------------------------------------------------------------------

HORIZONS = {"1/3 s": 5, "2/3 s": 10, "1 s": AHEAD}
"""Rows ahead that errors are told for."""
SPEEDS_MPS = (0.0, 1.0, 1.5, 2.0, 2.5, 3.0, 4.0)
"""Bounds of the ranges of commanded speed."""
MAX_PIECES = 2500
"""Of a recording; further ones say the same."""
FIT_PIECES = 500
CLEARLY = 0.9
"""Another reading of the rows is taken where it strays less than this share of the usual one's error."""


@dataclass(frozen=True, slots=True)
class Measured:
    """A recording replayed: pieces as the recording's rows are to be read, and the paths of cars by name.

    rows    "1/15 s" or "time stamps": how long a row lasts
    actions "next": a row's action leads to the next row's pose, as in AWS's files; "same": to its own
    """

    recording: DrivenLog
    pieces: Pieces
    rows: str
    actions: str
    paths: Mapping[str, FloatArray]

    def errors_m(self, name: str, some: BoolArray | None = None) -> dict[str, float]:
        """Median of a car's distance from the recorded path at each horizon, in metres; of `some` pieces (K,)."""
        errors = self.pieces.errors_m(self.paths[name])
        return horizons(errors if some is None else errors[some])

    def summary(self) -> dict[str, Any]:
        """As `--json` says it."""
        speed = self.pieces.speed_mps
        by_speed = []
        for low, high in pairwise(SPEEDS_MPS):
            some = (speed >= low) & ((speed < high) | (high == SPEEDS_MPS[-1]))
            if some.any():
                errors = {name: self.errors_m(name, some) for name in self.paths}
                by_speed.append({"from_mps": low, "to_mps": high, "pieces": int(some.sum()), "errors_m": errors})
        errors = {name: self.errors_m(name) for name in self.paths}
        return {
            "recording": self.recording.name,
            "episodes": len(self.recording.traces),
            "steps": self.recording.rows,
            "pieces": len(self.pieces),
            "rows_last": self.rows,
            "action_leads_to": f"{self.actions} row",
            "nearest": min(errors, key=lambda name: errors[name]["1 s"]),
            "errors_m": errors,
            "by_speed": by_speed,
            "problems": list(self.recording.problems),
        }


def horizons(errors_m: FloatArray) -> dict[str, float]:
    """Medians of (K, AHEAD) errors at each horizon."""
    return {name: round(float(np.median(errors_m[:, rows - 1])), 4) for name, rows in HORIZONS.items()}


def measured(recording: DrivenLog, cars: Mapping[str, Car]) -> Measured:
    """Replay a recording with every car, read in the way in which the nearest car strays least after 1/3 s.

    Rows last 1/15 s unless the time stamps fit clearly better; a row's action leads to the next row, as in AWS's files,
    unless leading to its own fits clearly better, as in files of other simulators. InputError for a recording that is
    too short.
    """
    every = max(1, -(-recording.rows // MAX_PIECES))
    best: tuple[float, Measured] | None = None
    for actions in ("next", "same"):
        traces = recording.traces if actions == "next" else [_earlier_actions(trace) for trace in recording.traces]
        stamped = cut(traces, every)
        if not len(stamped):
            longest = max(len(trace.steps) for trace in recording.traces)
            raise InputError(
                recording.name,
                f"{len(recording.traces)} episodes, the longest of {longest} rows",
                f"a second of driving in a row after its start: {SHORTEST} rows without a reset or a gap",
                "give longer episodes",
            )
        for rows, pieces in (("1/15 s", stamped.steady()), ("time stamps", stamped)):
            paths = {name: replay(pieces, car) for name, car in cars.items()}
            found = Measured(recording, pieces, rows, actions, paths)
            error = min(found.errors_m(name)["1/3 s"] for name in cars)
            if best is None or error < CLEARLY * best[0]:
                best = error, found
    assert best is not None
    return best[1]


def _earlier_actions(trace: Trace) -> Trace:
    """The trace with each action moved to the row before, whose pose it starts from."""
    steps = trace.steps.copy()
    for name in ("steering_rad", "speed_mps"):
        steps[name][:-1] = trace.steps[name][1:]
    return dataclasses.replace(trace, steps=steps)


def pooled(found: Sequence[Measured]) -> Pieces:
    """The pieces of several recordings, whose episodes stay apart."""
    parts, first = [], 0
    for one in found:
        parts.append(dataclasses.replace(one.pieces, episode=one.pieces.episode + first))
        first += len(one.recording.traces)
    return Pieces(*(np.concatenate([getattr(part, name) for part in parts]) for name in Pieces.__slots__))


@dataclass(frozen=True, slots=True)
class Fitted:
    """A car fitted to half of the pieces, and what it and the car that it began from stray on the other half (m)."""

    car: Car
    pieces: int
    held_out: int
    errors_m: dict[str, float]
    before_m: dict[str, float]


def fitted(pieces: Pieces, start: Car, name: str) -> Fitted:
    """Fit to every other episode, or to the first half of a single one; the rest is held out."""
    episodes = np.unique(pieces.episode)
    if len(episodes) > 1:
        mine = np.isin(pieces.episode, episodes[::2])
    else:  # pieces overlap: a second between the halves is in neither
        mine = np.arange(len(pieces)) < len(pieces) // 2
    others = ~mine
    if len(episodes) == 1:
        others &= np.arange(len(pieces)) > len(pieces) // 2 + SHORTEST
    if mine.sum() < SHORTEST or others.sum() < 1:
        raise InputError(
            "--fit",
            f"{len(pieces)} pieces of a second",
            f"{SHORTEST} to fit to, and as many that are held out",
            "give more episodes",
        )
    some = np.flatnonzero(mine)
    car = fit(pieces.of(some[:: max(1, len(some) // FIT_PIECES)]), start)
    held = pieces.of(np.flatnonzero(others))
    return Fitted(
        dataclasses.replace(car, name=name),
        int(mine.sum()),
        len(held),
        horizons(held.errors_m(replay(held, car))),
        horizons(held.errors_m(replay(held, start))),
    )
