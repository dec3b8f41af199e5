"""Time-trial rules over a Simulator: progress, how episodes end, resets with penalties, and the racer's reward.

Rules by contract ("Episode rules"). Off track means that no wheel is on the road. A training episode ends at the first
rule that is broken or at a complete lap; in an evaluation the car is put back on the centre line at its last valid
progress, the penalty is added to its clock, and the lap goes on until its resets are used up.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from contract.protocols import Simulator
from contract.state import STEP_DTYPE, STEP_S, BoolArray, Controls, EpisodeStatus, FloatArray, IntArray
from contract.vehicle import FRONT_AXLE_X_M, FRONT_POINT_X_M, FRONT_WHEEL_Y_M, REAR_AXLE_X_M, REAR_WHEEL_Y_M
from simapp.params import RaceState, RewardParams
from simapp.tracks import Track

IMMOBILE_M = 0.0003
PATIENCE_STEPS = 15
"""A car that moves IMMOBILE_M or less, or whose progress falls, this many steps running is immobilised or reversed."""

_WHEELS = np.array(
    [
        (FRONT_AXLE_X_M, FRONT_WHEEL_Y_M),
        (FRONT_AXLE_X_M, -FRONT_WHEEL_Y_M),
        (REAR_AXLE_X_M, REAR_WHEEL_Y_M),
        (REAR_AXLE_X_M, -REAR_WHEEL_Y_M),
    ]
)

Reward = Callable[[dict[str, object]], float]


@dataclass(frozen=True, slots=True)
class RaceRules:
    """max_steps cuts an episode short (`time_up`); resets and the penalty are for evaluations."""

    max_steps: int
    resets: int = 0
    penalty_s: float = 0.0


@dataclass(slots=True)
class StepOutcome:
    """What a step did to K cars: `rows` (K,) of STEP_DTYPE, `over` (K,) the episode ended, `truncated` (K,) by time."""

    rows: np.ndarray
    over: BoolArray
    truncated: BoolArray


class Race:
    """The race of N cars, each with an episode, a reward function and a clock of its own."""

    def __init__(
        self, simulator: Simulator, track: Track, rules: RaceRules, rewards: list[Reward], is_reversed: bool = False
    ) -> None:
        """`rewards` holds one callable a car, so that no two cars share a racer's globals.

        `is_reversed` tells rewards that the track is driven against its own order (REVERSE_DIR).
        """
        self.num_cars = num_cars = len(rewards)
        self.simulator, self.track, self.rules = simulator, track, rules
        self._rewards, self._params = rewards, RewardParams(track, is_reversed)
        self._travelled_m: FloatArray = np.zeros(num_cars)  # along the centre line since the start; may fall
        self._valid_m: FloatArray = np.zeros(
            num_cars
        )  # the front point's centre-line position when a wheel was last on the road
        self._time_s: FloatArray = np.zeros(num_cars)
        self._last_m: FloatArray = np.zeros(num_cars)
        self._last_x_m: FloatArray = np.zeros(num_cars)
        self._last_y_m: FloatArray = np.zeros(num_cars)
        self._steps: IntArray = np.zeros(num_cars, np.int64)
        self._idle_steps: IntArray = np.zeros(num_cars, np.int64)
        self._falling_steps: IntArray = np.zeros(num_cars, np.int64)
        self._resets: IntArray = np.zeros(num_cars, np.int64)

    def start(self, car: int, distance_m: float, offset_m: float = 0.0, turn_rad: float = 0.0) -> None:
        """Begin an episode of the car at a centre-line distance, left of it by offset_m, turned left by turn_rad."""
        self._put(car, distance_m, offset_m, turn_rad)
        for counter in (self._time_s, self._steps, self._resets):
            counter[car] = 0
        # progress counts from base_link's place, and is measured at the front point (as real simtraces begin at 0.79 %)
        self._travelled_m[car] = self._wrap(np.array([self._last_m[car] - distance_m]))[0]

    def step(self, cars: IntArray, controls: Controls) -> StepOutcome:
        """Drive the cars (indices, (K,)) for one step under the controls (K,), judge and reward them."""
        self.simulator.step(cars, controls)
        self._steps[cars] += 1
        self._time_s[cars] += STEP_S
        x_m, y_m, heading_rad = self._front_points(cars)
        where = self.track.project(x_m, y_m)
        moved = self._wrap(where.distance_m - self._last_m[cars])
        self._travelled_m[cars] += moved
        wheels_on = self._wheels_on_road(cars)
        status = self._judge(cars, x_m, y_m, moved, wheels_on)
        progress_pct = np.clip(100.0 * self._travelled_m[cars] / self.track.length_m, 0.0, 100.0)
        progress_pct[status == EpisodeStatus.lap_complete] = 100.0

        rows = np.zeros(len(cars), STEP_DTYPE)
        rows["x_m"], rows["y_m"], rows["heading_rad"] = x_m, y_m, heading_rad
        rows["steering_rad"] = self.simulator.cars.commanded_steering_rad[cars]
        rows["speed_mps"] = self.simulator.cars.commanded_speed_mps[cars]
        rows["progress_pct"], rows["closest_waypoint"] = progress_pct, where.nearest_waypoint
        rows["all_wheels_on_track"], rows["status"] = wheels_on.all(axis=1), status
        rows["time_s"] = self._time_s[cars]
        params = self._params.build(RaceState(rows, where, self._steps[cars]))
        rows["reward"] = [self._rewards[car](told) for car, told in zip(cars.tolist(), params, strict=True)]

        self._last_m[cars], self._last_x_m[cars], self._last_y_m[cars] = where.distance_m, x_m, y_m
        on_road = wheels_on.any(axis=1)
        self._valid_m[cars[on_road]] = where.distance_m[on_road]
        truncated = status == EpisodeStatus.time_up
        over = (status >= EpisodeStatus.lap_complete) & (status <= EpisodeStatus.time_up)
        for k in np.flatnonzero(over & ~truncated & (status != EpisodeStatus.lap_complete)):
            if self._resets[cars[k]] < self.rules.resets:
                over[k] = False
                self._put_back(int(cars[k]))
        return StepOutcome(rows, over, truncated)

    def _judge(
        self, cars: IntArray, x_m: FloatArray, y_m: FloatArray, moved: FloatArray, wheels_on: BoolArray
    ) -> IntArray:
        """EpisodeStatus of each car after its step, (K,); the first broken rule wins."""
        idle = np.hypot(x_m - self._last_x_m[cars], y_m - self._last_y_m[cars]) <= IMMOBILE_M
        self._idle_steps[cars] = np.where(idle, self._idle_steps[cars] + 1, 0)
        self._falling_steps[cars] = np.where(moved < 0.0, self._falling_steps[cars] + 1, 0)
        rules = [
            (self._travelled_m[cars] >= self.track.length_m, EpisodeStatus.lap_complete),
            (~wheels_on.any(axis=1), EpisodeStatus.off_track),
            (self._idle_steps[cars] >= PATIENCE_STEPS, EpisodeStatus.immobilized),
            (self._falling_steps[cars] >= PATIENCE_STEPS, EpisodeStatus.reversed),
            (self._steps[cars] >= self.rules.max_steps, EpisodeStatus.time_up),
            (self._steps[cars] == 1, EpisodeStatus.prepare),
        ]
        broken, outcome = zip(*rules, strict=True)
        return np.select(broken, [int(s) for s in outcome], int(EpisodeStatus.in_progress)).astype(np.int64)

    def _put_back(self, car: int) -> None:
        """Evaluation: back on the centre line where the car was last on the road, with the penalty on its clock."""
        self._resets[car] += 1
        self._time_s[car] += self.rules.penalty_s
        was_m = self._last_m[car]
        self._put(car, float(self._valid_m[car]) - FRONT_POINT_X_M)
        self._travelled_m[car] += self._wrap(np.array([self._last_m[car] - was_m]))[0]

    def _put(self, car: int, distance_m: float, offset_m: float = 0.0, turn_rad: float = 0.0) -> None:
        pose = self.track.pose_at(np.array([distance_m]), np.array([offset_m]))
        pose.heading_rad = pose.heading_rad + turn_rad
        one = np.array([car])
        self.simulator.place(one, pose)
        x_m, y_m, _ = self._front_points(one)
        self._last_x_m[car], self._last_y_m[car] = x_m[0], y_m[0]
        self._last_m[car] = self.track.project(x_m, y_m).distance_m[0]
        self._valid_m[car] = self._last_m[car]
        self._idle_steps[car] = self._falling_steps[car] = 0

    def _front_points(self, cars: IntArray) -> tuple[FloatArray, FloatArray, FloatArray]:
        state = self.simulator.cars
        heading = state.heading_rad[cars]
        return (
            state.x_m[cars] + FRONT_POINT_X_M * np.cos(heading),
            state.y_m[cars] + FRONT_POINT_X_M * np.sin(heading),
            heading,
        )

    def _wheels_on_road(self, cars: IntArray) -> BoolArray:
        """(K, 4) front left, front right, rear left, rear right."""
        state = self.simulator.cars
        cos, sin = np.cos(state.heading_rad[cars])[:, None], np.sin(state.heading_rad[cars])[:, None]
        x_m = state.x_m[cars][:, None] + cos * _WHEELS[:, 0] - sin * _WHEELS[:, 1]
        y_m = state.y_m[cars][:, None] + sin * _WHEELS[:, 0] + cos * _WHEELS[:, 1]
        return self.track.on_road(x_m, y_m)

    def _wrap(self, moved_m: FloatArray) -> FloatArray:
        """The short way round a closed track; open tracks do not wrap."""
        if not self.track.closed:
            return moved_m
        half = 0.5 * self.track.length_m
        return (moved_m + half) % self.track.length_m - half
