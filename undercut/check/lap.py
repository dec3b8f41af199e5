"""A simulated lap for a reward function: on the line, beside it, off the road, the wrong way, and into a box.

The cars are those of the built-in simulator, under its rules and with the actions of the racer's metadata, but nobody
looks through their cameras: a driver who knows the road steers them.
"""

import contextlib
import io
import math
import signal
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from types import FrameType
from typing import Any

import numpy as np

from contract.config import RaceConfig
from contract.errors import RewardError
from contract.metadata import ContinuousActions, ModelMetadata
from contract.state import Controls, EpisodeStatus
from contract.vehicle import WHEELBASE_M
from simapp.builtin import BuiltinSimulator
from simapp.race import Race, RaceRules
from simapp.reward_source import RewardSource
from simapp.tracks import Track, heading_difference

CALL_LIMIT_S = 5.0
"""A call that takes longer is taken for one that never returns."""
LOOKAHEAD_M = 0.5
CLEAR_M = 1.2
"""This far before something on the road the driver changes lanes."""
PAST_M = 0.5
"""And this far past it back again."""
LONGEST_LAP_S = 120.0
ASIDE_STEPS = 60
"""Most steps of the drives that are no lap."""
BOXES: RaceConfig = RaceConfig(race_type="OBJECT_AVOIDANCE", object_positions=((0.1, 1), (0.6, -1)))


class RecordingParams(dict[str, Any]):
    """Params that write down which keys are read; `seen` and `absent` are shared by all calls."""

    def __init__(self, values: dict[str, Any], seen: set[str], absent: set[str]) -> None:
        super().__init__(values)
        self._known, self._seen, self._absent = frozenset(values), seen, absent

    def _read(self, key: Any) -> None:
        if key in self._known:
            self._seen.add(key)
        elif isinstance(key, str) and not dict.__contains__(self, key):
            self._absent.add(key)

    def __getitem__(self, key: Any) -> Any:
        self._read(key)
        return super().__getitem__(key)

    def get(self, key: Any, default: Any = None) -> Any:
        self._read(key)
        return super().get(key, default)

    def pop(self, key: Any, *default: Any) -> Any:
        self._read(key)
        return super().pop(key, *default)

    def __iter__(self) -> Iterator[str]:
        # also what dict(params) and **params go through: whoever copies all may read all
        self._seen.update(self._known)
        return super().__iter__()

    def items(self) -> Any:
        self._seen.update(self._known)
        return super().items()

    def values(self) -> Any:
        self._seen.update(self._known)
        return super().values()


@dataclass(slots=True)
class TrialDrive:
    """One drive and what the reward function said on it, step by step.

    status     how it ended; None where the reward function failed
    params     as they were given, one a step
    rewards    as many, or one less when the last call failed
    """

    name: str
    status: EpisodeStatus | None = None
    params: list[dict[str, Any]] = field(default_factory=list)
    rewards: list[float] = field(default_factory=list)
    printed: str = ""
    failure: str = ""


@dataclass(slots=True)
class Trial:
    """All drives with one copy of the reward function."""

    drives: list[TrialDrive]
    read: set[str]
    """Params that were read."""
    absent: set[str]
    """Keys that were looked up and are no params."""
    again: list[float] | None = None
    """What a fresh copy returned for the same params in the same order; None where one failed."""
    seconds: list[float] = field(default_factory=list)
    """Of each of these calls."""

    def named(self, name: str) -> TrialDrive:
        return next(drive for drive in self.drives if drive.name == name)


TURNS = 0.7
"""A car turns so much as its wheels' angle says: it has neither differential nor Ackermann geometry."""


class _Driver:
    """Pure pursuit of a line beside the centre line, with the actions that the metadata has."""

    def __init__(self, track: Track, metadata: ModelMetadata | None) -> None:
        self._track, self._actions = track, metadata.actions if metadata else None

    def controls(self, race: Race, offset_m: float, step: int) -> Controls:
        cars = race.simulator.cars
        where = self._track.project(cars.x_m[:1], cars.y_m[:1])
        goal = self._track.pose_at(where.distance_m + LOOKAHEAD_M, np.array([offset_m]))
        bearing = np.arctan2(goal.y_m - cars.y_m[:1], goal.x_m - cars.x_m[:1])
        turn = float(heading_difference(bearing, cars.heading_rad[:1])[0])
        return self.nearest(math.degrees(math.atan(2.0 * WHEELBASE_M * math.sin(turn) / LOOKAHEAD_M) / TURNS), step)

    def nearest(self, wanted_deg: float, step: int) -> Controls:
        """The action whose steering is nearest; speeds take turns, so that each is seen."""
        if self._actions is None:
            return _controls(max(-30.0, min(30.0, wanted_deg)), 1.0)
        if isinstance(self._actions, ContinuousActions):
            (left, right), (slow, fast) = self._actions.steering_deg, self._actions.speed_mps
            return _controls(min(right, max(left, wanted_deg)), slow + (fast - slow) * (step % 3) / 2.0)
        away = np.abs(self._actions.steering_deg - wanted_deg)
        best = np.flatnonzero(away <= away.min() + 1e-9)
        action = int(best[step % len(best)])
        return _controls(float(self._actions.steering_deg[action]), float(self._actions.speed_mps[action]))


def _controls(steering_deg: float, speed_mps: float) -> Controls:
    return Controls(np.array([math.radians(steering_deg)]), np.array([speed_mps]))


def drive_lap(
    function: RewardSource,
    track: Track,
    metadata: ModelMetadata | None,
    race: RaceConfig | None = None,
    is_reversed: bool = False,
) -> Trial:
    """Every drive with one copy of the function, then its calls again with another. `race` is what is on the track."""
    race = race or RaceConfig()
    trial = Trial([], set(), set())
    reward = _Spied(function.instance(), trial)
    boxes = race if race.number_of_obstacles or race.number_of_bot_cars or race.object_positions else BOXES
    width_m = float(track.widths_m.min())
    length_m = track.length_m
    own, by_hand = _Driver(track, metadata), _Driver(track, None)
    turned_out = own.nearest(-30.0, 0)

    def outwards(raced: Race, step: int) -> Controls:
        return turned_out

    def line(driver: _Driver, offset: Callable[[Race, int], float]) -> Callable[[Race, int], Controls]:
        return lambda raced, step: driver.controls(raced, offset(raced, step), step)

    def centre(raced: Race, step: int) -> float:
        """The centre line, and the other lane where something is ahead."""
        if raced.nearby.empty:
            return 0.0
        neighbours, cars = raced.nearby.around_cars(np.array([0])), raced.simulator.cars
        gaps = (neighbours.distance_m[0] + PAST_M - track.project(cars.x_m[:1], cars.y_m[:1]).distance_m) % length_m
        nearest = int(gaps.argmin())
        return (
            -math.copysign(0.33 * width_m, neighbours.offset_m[0, nearest]) if gaps[nearest] < CLEAR_M + PAST_M else 0.0
        )

    def weave(raced: Race, step: int) -> float:
        return 0.45 * width_m * math.sin(step / 8.0)

    def lane(raced: Race, step: int) -> float:
        return 0.25 * width_m * (1 if track.direction != "cw" else -1)

    empty = RaceConfig() if boxes is BOXES else race
    lap_steps = int(LONGEST_LAP_S * 15)
    _drive(trial, "lap", reward, track, metadata, empty, is_reversed, 0.0, line(own, centre), lap_steps)
    if trial.drives[-1].status not in (EpisodeStatus.lap_complete, None):  # too fast, or not enough steering
        by_centre = line(by_hand, centre)
        _drive(trial, "lap by hand", reward, track, metadata, empty, is_reversed, 0.0, by_centre, lap_steps)
    aside = (
        ("weaving", empty, 0.5 * length_m, 0.0, line(own, weave), 2 * ASIDE_STEPS),
        ("off the road", empty, 0.25 * length_m, 0.0, outwards, ASIDE_STEPS),
        ("wrong way", empty, 0.75 * length_m, math.pi, lambda raced, step: _controls(0.0, 1.0), ASIDE_STEPS),
        ("into a box", boxes, max(0.0, 0.1 * length_m - 1.5), 0.0, line(by_hand, lane), 2 * ASIDE_STEPS),
    )
    for name, objects, start_m, turn_rad, driver, steps in aside:
        if "TimeoutError" in trial.drives[-1].failure:
            break  # the others would wait as long
        _drive(trial, name, reward, track, metadata, objects, is_reversed, start_m, driver, steps, turn_rad)
    _repeat(trial, function)
    return trial


def _drive(
    trial: Trial,
    name: str,
    reward: "_Spied",
    track: Track,
    metadata: ModelMetadata | None,
    objects: RaceConfig,
    is_reversed: bool,
    start_m: float,
    driver: Callable[[Race, int], Controls],
    steps: int,
    turn_rad: float = 0.0,
) -> None:
    """One drive to its end by the rules, after `steps`, or to where the reward function fails."""
    reward.drive = drive = TrialDrive(name)
    trial.drives.append(drive)
    simulator = BuiltinSimulator(track, [metadata] if metadata else [_PLAIN])
    race = Race(simulator, track, RaceRules(steps), [reward], is_reversed, objects)
    race.furnish(0, np.random.default_rng(0), start_m)
    race.start(0, start_m, 0.0, turn_rad)
    one, step = np.array([0]), 0
    printed = io.StringIO()
    with contextlib.redirect_stdout(printed), _limited():
        try:
            while True:
                outcome = race.step(one, driver(race, step))
                step += 1
                if outcome.over[0]:
                    drive.status = EpisodeStatus(int(outcome.rows["status"][0]))
                    break
        except RewardError as error:
            drive.failure = str(error)
    drive.printed = printed.getvalue()


_PLAIN = ModelMetadata.parse(
    '{"action_space": [{"steering_angle": -30, "speed": 1}, {"steering_angle": 30, "speed": 1}]}', "any"
)


class _Spied:
    """The reward function of a car, with what it was given and what it returned written down."""

    def __init__(self, function: Callable[[dict[str, Any]], float], trial: Trial) -> None:
        self._function, self._trial = function, trial
        self.drive = TrialDrive("")

    def __call__(self, params: dict[str, Any]) -> float:
        self.drive.params.append(_copied(params))
        _arm(CALL_LIMIT_S)
        value = self._function(RecordingParams(params, self._trial.read, self._trial.absent))
        _arm(0.0)
        self.drive.rewards.append(value)
        return value


def _repeat(trial: Trial, function: RewardSource) -> None:
    """The same calls with a fresh copy of the function and plain params: how long they take, and whether they agree."""
    fresh, again = function.instance(), []
    with contextlib.redirect_stdout(io.StringIO()), _limited():
        try:
            for drive in trial.drives:
                for params, _ in zip(drive.params, drive.rewards, strict=False):
                    copy = _copied(params)
                    _arm(CALL_LIMIT_S)
                    begun = time.perf_counter()
                    again.append(fresh(copy))
                    trial.seconds.append(time.perf_counter() - begun)
                    _arm(0.0)
        except RewardError:
            return
    trial.again = again


def _copied(params: dict[str, Any]) -> dict[str, Any]:
    return {key: value[:] if isinstance(value, list) else value for key, value in params.items()}


def _arm(seconds: float) -> None:
    signal.setitimer(signal.ITIMER_REAL, seconds)


@contextlib.contextmanager
def _limited() -> Iterator[None]:
    """While open, an armed timer that runs out raises TimeoutError inside of the racer's code."""

    def late(number: int, frame: FrameType | None) -> None:
        raise TimeoutError(f"a call took longer than {CALL_LIMIT_S:g} s: is there a loop without an end?")

    left = signal.setitimer(signal.ITIMER_REAL, 0.0)  # somebody else's, to be put back
    before = signal.signal(signal.SIGALRM, late)
    try:
        yield
    finally:
        _arm(0.0)
        signal.signal(signal.SIGALRM, before)
        signal.setitimer(signal.ITIMER_REAL, *left)
