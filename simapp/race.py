"""Race rules over a Simulator: progress, how episodes end, resets with penalties, and the racer's reward.

The rules are those of AWS's simulator (agent_ctrl/rollout_agent_ctrl.py and reset/rules of deepracer-simapp). A step is
judged by the pose that the car has when it begins, with the command that it is given there; then the car moves. The
first step of an episode is `prepare`: the car is held and the reward function is not called. Off track means that no
wheel is on the road. A training episode ends at the first rule that is broken or at a complete lap; in an evaluation
the car is put back, held for the penalty's seconds while others cannot hit it (`pause`), and drives on until its resets
are used up.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from contract.config import EvaluationConfig, RaceConfig
from contract.learning import CRITIC_STATE
from contract.protocols import Simulator
from contract.state import (
    BROKEN,
    STEP_DTYPE,
    STEP_S,
    BoolArray,
    Controls,
    EpisodeStatus,
    FloatArray,
    IntArray,
    Observations,
    Poses,
    TrackObjects,
)
from contract.vehicle import FRONT_POINT_X_M
from simapp.critic_state import critic_state
from simapp.nearby import NearbyObjects
from simapp.params import RaceState, RewardParams, wheels_on_road
from simapp.reward_service.service import ServiceReward, score_all
from simapp.road import Track

IMMOBILE_M = 0.0003
PATIENCE_STEPS = 15
"""A car that moves IMMOBILE_M or less this many steps running is immobilised."""

NEAR_M = 1.0
"""An obstacle nearer than this, along the centre line, to where a car would be put back is in its way (constants.py
CLOSEST_OBJ_GAP)."""

PARK_M = 0.7
"""Distance between the road's bounds and parked cars, and between those: inside the walls, and further out than a car
gets that leaves the road at top speed."""

Reward = Callable[[dict[str, object]], float]
TIME_TRIAL = RaceConfig()
_ROUNDING = 1e-9
_RUN, _COMPLETE, _TIME_UP = (
    int(it) for it in (EpisodeStatus.in_progress, EpisodeStatus.lap_complete, EpisodeStatus.time_up)
)
"""The first is the phase of a car that drives; the others are EpisodeStatus.prepare and EpisodeStatus.pause."""


@dataclass(frozen=True, slots=True)
class RaceRules:
    """max_steps cuts a lap short (`time_up`); the others are for evaluations.

    resets                 that a car has; with none left, a broken rule ends its episode
    ..._penalty_s          that a broken rule costs; reverse None: as much as leaving the road
    reset_behind_m         behind an obstacle that is near where the car is put back
    mercy_after            the reset at one and the same obstacle that puts the car reset_ahead_m past it; 0: none does
    duration_s             of the whole race, all its laps (`time_up`); 0: no limit
    """

    max_steps: int
    resets: int = 0
    off_track_penalty_s: float = 0.0
    collision_penalty_s: float = 0.0
    reset_behind_m: float = 1.0
    reverse_penalty_s: float | None = None
    immobilized_penalty_s: float = 0.0
    mercy_after: int = 0
    reset_ahead_m: float = 1.0
    duration_s: float = 0.0

    @classmethod
    def of(cls, config: EvaluationConfig, max_steps: int, resets: int) -> "RaceRules":
        """The rules of an evaluation's keys."""
        return cls(
            max_steps,
            resets,
            config.off_track_penalty,
            config.collision_penalty,
            config.reset_behind_dist,
            config.reverse_penalty,
            config.immobilized_penalty,
            config.max_resets_after_crash if config.mercy_reset else 0,
            config.reset_ahead_dist,
            config.race_duration_s,
        )

    def penalty_s(self, status: int) -> float:
        """What breaking this rule costs."""
        off_track_s = self.off_track_penalty_s
        return {
            EpisodeStatus.crashed: self.collision_penalty_s,
            EpisodeStatus.off_track: off_track_s,
            EpisodeStatus.immobilized: self.immobilized_penalty_s,
            EpisodeStatus.reversed: off_track_s if self.reverse_penalty_s is None else self.reverse_penalty_s,
        }[EpisodeStatus(status)]


@dataclass(slots=True)
class StepOutcome:
    """What a step did to K cars: `rows` (K,) of STEP_DTYPE, `over` (K,) the episode ended, `truncated` (K,) by time.

    `objects` (K, M) is the course as it was when the cars were judged, other racers aside; None where nothing is.
    `params` (K) are those of the reward function, which were not told to it where the car was held.
    """

    rows: np.ndarray
    over: BoolArray
    truncated: BoolArray
    objects: TrackObjects | None
    params: list[dict[str, Any]]


@dataclass(slots=True)
class _Hurdle:
    """The obstacle that a car was last reset at, and how often running: for the mercy reset."""

    place: int = -1
    times: int = 0


class Race:
    """The race of N cars, each with an episode, a reward function and a clock of its own."""

    def __init__(
        self,
        simulator: Simulator,
        track: Track,
        rules: RaceRules,
        rewards: list[Reward],
        is_reversed: bool = False,
        config: RaceConfig = TIME_TRIAL,
        colours: IntArray | None = None,
        with_state: bool = False,
    ) -> None:
        """`rewards` holds one callable a car, so that no two cars share a racer's globals.

        `is_reversed` tells rewards that the track is driven against its own order (REVERSE_DIR); `config` says what is
        on the track; `colours` (N,), indices into CAR_COLORS, are what cars of one world see each other in. With
        `with_state` what is observed holds the simulator's state for a critic as well.
        """
        self._with_state = with_state
        self.num_cars = num_cars = len(rewards)
        self.simulator, self.track, self.rules = simulator, track, rules
        colours = np.zeros(num_cars, np.int64) if colours is None else colours
        self.nearby = NearbyObjects(simulator, track, config, is_reversed, colours)
        self._rewards, self._params = rewards, RewardParams(track, is_reversed, config.objects_heading_in == "radians")
        self._asks_outside = any(isinstance(reward, ServiceReward) for reward in rewards)
        self._reverse_steps = config.number_of_reverse_counts
        self._phase: IntArray = np.zeros(num_cars, np.int64)
        self._travelled_m, self._time_s, self._clock_s, self._pause_s = (np.zeros(num_cars) for _ in range(4))
        """Along the centre line since the start, which may fall; the lap's time; the simulator's; a pause's rest."""
        self._last_m = np.zeros(num_cars)
        """Centre-line distance of the front point at the last step."""
        self._last_x_m, self._last_y_m, self._drove_x_m, self._drove_y_m = (np.zeros(num_cars) for _ in range(4))
        """The place of base_link at the last step, and at the last one in which it was not held."""
        self._steps, self._lap_steps, self._idle_steps, self._falling_steps, self._resets = (
            np.zeros(num_cars, np.int64) for _ in range(5)
        )
        self._hurdles = [_Hurdle() for _ in range(num_cars)]

    def furnish(self, car: int, random: np.random.Generator, *starts_m: float) -> None:
        """Lay out the obstacles and bot cars of the car's world anew, for cars that start at these distances."""
        self.nearby.furnish(int(self.simulator.worlds[car]), random, starts_m)

    def start(
        self,
        car: int,
        distance_m: float,
        offset_m: float = 0.0,
        turn_rad: float = 0.0,
        clock_s: float = 0.0,
        line_m: float | None = None,
        beside: bool = True,
    ) -> None:
        """Begin an episode of the car at a centre-line distance, left of it by offset_m, turned left by turn_rad, when
        the simulator's clock (`sim_time`) stands at clock_s. Progress counts from `line_m`, by default from where it
        starts, and is negative behind that.

        Where something stands in the way it starts in another lane, or further back, unless `beside` is false.
        """
        if beside:
            distance_m, offset_m = self.nearby.free_place(car, distance_m, offset_m)
        pose = self.track.pose_at(distance_m, offset_m)
        pose.heading_rad = pose.heading_rad + turn_rad
        self._place(car, pose)
        one = np.array([car])
        # progress counts from base_link's place, and is measured at the front point (as real simtraces begin at 0.79 %)
        self._last_m[car] = self.track.project(*self._front_points(one)[:2]).distance_m[0]
        line_m = distance_m if line_m is None else line_m
        self._travelled_m[car] = self.track.shortest_way(np.array([self._last_m[car] - line_m]))[0]
        self._last_x_m[car], self._last_y_m[car] = pose.x_m[0], pose.y_m[0]
        self._drove_x_m[car], self._drove_y_m[car] = pose.x_m[0], pose.y_m[0]
        self._phase[car], self._hurdles[car] = EpisodeStatus.prepare, _Hurdle()
        self._clock_s[car] = clock_s
        for counter in (self._steps, self._resets, self._idle_steps, self._falling_steps):
            counter[car] = 0
        self._pause_s[car] = 0.0
        self._new_lap(car)

    def observe(self, cars: IntArray) -> Observations:
        """What the cars (indices, (K,)) see, and the state that a critic reads where it is told."""
        observations = self.simulator.observe(cars)
        if self._with_state:
            observations[CRITIC_STATE] = critic_state(
                self.track,
                self.simulator.cars,
                cars,
                self._front_points(cars),
                self._travelled_m[cars] / self.track.length_m,
                self._steps[cars],
                (self._phase[cars] != _RUN).astype(np.float64),
                None if self.nearby.empty else self.nearby.around_cars(cars),
            )
        return observations

    def has_completed_lap(self, car: int) -> bool:
        """Whether the car has just crossed the line at the end of its lap."""
        return bool(self._travelled_m[car] >= self.track.length_m)

    def carry_on(self, car: int) -> None:
        """Begin the next lap of a car that has just completed one, as it drives (IS_CONTINUOUS): with its own clock,
        while its steps and resets are counted on."""
        self._travelled_m[car] -= self.track.length_m
        self._new_lap(car)

    def _new_lap(self, car: int) -> None:
        self._time_s[car] = 0.0
        self._lap_steps[car] = 0

    def park(self, car: int, place: tuple[float, float] | None = None) -> None:
        """Take the car off the track for good: to a place (x, y), or beside the south wall, where no road is."""
        if place is None:
            xmin, ymin, *_ = self.track.bounds
            slot = int(np.count_nonzero(self.simulator.worlds[:car] == self.simulator.worlds[car]))
            place = xmin + PARK_M * (slot + 1), ymin - PARK_M
        self._place(car, Poses(np.array([place[0]]), np.array([place[1]]), np.zeros(1)))

    def step(self, cars: IntArray, controls: Controls) -> StepOutcome:
        """Judge and reward the cars (indices, (K,)) where they are, and let them drive for a step under the controls
        (K,); those that are held stay there."""
        self._steps[cars] += 1
        self._lap_steps[cars] += 1
        self._time_s[cars] += STEP_S
        phase = self._phase[cars]
        runs = phase == _RUN
        none_held = bool(runs.all())
        base_x_m, base_y_m = self.simulator.cars.x_m[cars], self.simulator.cars.y_m[cars]
        x_m, y_m, heading_rad = self._front_points(cars)
        where = self.track.project(x_m, y_m)
        moved = self.track.shortest_way(where.distance_m - self._last_m[cars])
        self._travelled_m[cars] += moved
        wheels_on = self._wheels_on_road(cars)
        off_track = np.asarray(~wheels_on.any(axis=1))
        nearby = self.nearby
        neighbours = None if nearby.empty else nearby.around_cars(cars)
        hits = np.full(len(cars), -1)
        if neighbours is not None:
            hits = nearby.charges(cars, neighbours, where.distance_m, runs, self._phase != EpisodeStatus.pause)
        crashed = np.asarray(hits >= 0)
        status = self._judge(cars, phase, moved, off_track, crashed)

        rows = np.zeros(len(cars), STEP_DTYPE)
        rows["x_m"], rows["y_m"], rows["heading_rad"] = x_m, y_m, heading_rad
        rows["steering_rad"], rows["speed_mps"] = controls.steering_rad, controls.speed_mps
        rows["progress_pct"] = np.minimum(100.0 * self._travelled_m[cars] / self.track.length_m, 100.0)
        rows["closest_waypoint"], rows["all_wheels_on_track"] = where.nearest_waypoint, wheels_on.all(axis=1)
        rows["status"], rows["time_s"] = status, self._time_s[cars]
        state = RaceState(rows, where, self._steps[cars], neighbours, crashed, off_track, self._clock_s[cars])
        params = self._params.build(state)
        rows["reward"] = self._scored(cars, params, runs)

        objects = nearby.course_of(neighbours)
        drives = runs
        if none_held and (status == _RUN).all():  # most steps, without what only the others need
            over, truncated = np.zeros((2, len(cars)), np.bool_)
        else:
            truncated = status == _TIME_UP
            over = (status >= _COMPLETE) & (status <= _TIME_UP)
            self._pause_s[cars] = np.maximum(self._pause_s[cars] - STEP_S, 0.0)
            self._pause_s[cars[self._pause_s[cars] < _ROUNDING]] = 0.0
            self._phase[cars[(self._pause_s[cars] == 0.0) & ~over]] = _RUN
            broken = (status >= min(BROKEN)) & (status <= max(BROKEN))
            for k in np.flatnonzero(over & broken & (self._resets[cars] < self.rules.resets)):
                over[k] = False
                self._put_back(int(cars[k]), int(status[k]), float(where.distance_m[k]), int(hits[k]))
            rows["pause_s"] = self._pause_s[cars]
            # held is also who has just been put back; whose episode is over drives on, into the next lap if there is
            # one
            drives = runs & ~(broken & ~over)

        self._last_m[cars] = where.distance_m
        self._last_x_m[cars], self._last_y_m[cars] = base_x_m, base_y_m
        ran = cars if none_held else cars[runs]
        self._drove_x_m[ran] = base_x_m if none_held else base_x_m[runs]
        self._drove_y_m[ran] = base_y_m if none_held else base_y_m[runs]
        self._clock_s[cars] += STEP_S
        if drives.all():
            self.simulator.step(cars, controls)
        elif drives.any():
            self.simulator.step(cars[drives], Controls(controls.steering_rad[drives], controls.speed_mps[drives]))
        nearby.advance(cars)
        return StepOutcome(rows, over, truncated, objects, params)

    def _scored(self, cars: IntArray, params: list[dict[str, Any]], runs: BoolArray) -> FloatArray:
        """The rewards (K,) of the cars: 0 for those that are held, whose functions are not called."""
        asked = cars.tolist()
        if not runs.all():
            asked, params = cars[runs].tolist(), [one for one, run in zip(params, runs.tolist(), strict=True) if run]
        if self._asks_outside:
            values: Any = score_all([self._rewards[car] for car in asked], params)
        else:
            values = [self._rewards[car](one) for car, one in zip(asked, params, strict=True)]
        rewards = np.zeros(len(cars))
        rewards[runs] = values
        return rewards

    def _judge(
        self, cars: IntArray, phase: IntArray, moved: FloatArray, off_track: BoolArray, crashed: BoolArray
    ) -> IntArray:
        """EpisodeStatus of each car's step, (K,); the first rule that says something wins (metrics/constants.py
        EpisodeStatus.get_episode_status). Who is held breaks no rule, but may be put down beyond the finishing line."""
        runs, state = phase == _RUN, self.simulator.cars
        way_m = np.hypot(state.x_m[cars] - self._last_x_m[cars], state.y_m[cars] - self._last_y_m[cars])
        self._idle_steps[cars] = np.where(runs & (way_m <= IMMOBILE_M), self._idle_steps[cars] + 1, 0)
        self._falling_steps[cars] = np.where(runs & (moved < 0.0), self._falling_steps[cars] + 1, 0)
        late = self._lap_steps[cars] >= self.rules.max_steps
        if self.rules.duration_s > 0.0:
            late |= (self._steps[cars] - 1) * STEP_S > self.rules.duration_s + _ROUNDING
        complete = (self._travelled_m[cars] >= self.track.length_m) & (phase != EpisodeStatus.prepare)
        status = phase.copy()
        # the first that says something wins, so it is written last
        status[self._falling_steps[cars] >= self._reverse_steps] = EpisodeStatus.reversed
        status[late] = _TIME_UP
        status[self._idle_steps[cars] >= PATIENCE_STEPS] = EpisodeStatus.immobilized
        status[runs & off_track] = EpisodeStatus.off_track
        status[runs & crashed] = EpisodeStatus.crashed
        status[complete] = _COMPLETE
        return status

    def _put_back(self, car: int, status: int, front_m: float, hit: int) -> None:
        """After a broken rule: the car is held for the penalty, where it is put back; after running into another car
        that is where it stands."""
        self._resets[car] += 1
        self._phase[car], self._pause_s[car] = EpisodeStatus.pause, self.rules.penalty_s(status)
        crashed = status == EpisodeStatus.crashed
        state = self.simulator.cars
        here = Poses(*(values[car : car + 1].copy() for values in (state.x_m, state.y_m, state.heading_rad)))
        if crashed and not self.nearby.stands(hit):
            self._place(car, here)
        elif crashed:
            self._place(car, self._way_back(car, front_m, float(here.x_m[0]), float(here.y_m[0])))
        else:
            last = float(self._last_m[car]), float(self._drove_x_m[car]), float(self._drove_y_m[car])
            self._place(car, self._way_back(car, *last))

    def _way_back(self, car: int, distance_m: float, x_m: float, y_m: float) -> Poses:
        """Where a car is put back that was at a centre-line distance, and at x, y: in the nearer lane there; with an
        obstacle near that place, behind the obstacle and in the other lane, or past it by mercy."""
        if self.nearby.has_obstacles:
            obstacles = self.nearby.obstacles(car)
            where = self.track.project(obstacles.x_m[0], obstacles.y_m[0])
            gaps = np.abs(self.track.shortest_way(where.distance_m - distance_m))
            nearest = int(gaps.argmin())
            if gaps[nearest] < NEAR_M:
                way_m = self._past(car, nearest)
                return self.track.lane_pose(float(where.distance_m[nearest]) + way_m, not where.is_left[nearest])
        left, right = self.track.lane_poses(distance_m)
        away = [float(np.hypot(lane.x_m[0] - x_m, lane.y_m[0] - y_m)) for lane in (left, right)]
        return left if away[0] < away[1] else right

    def _past(self, car: int, obstacle: int) -> float:
        """How far past the obstacle, behind it below 0, a car is put back that is reset at it now."""
        hurdle = self._hurdles[car]
        hurdle.times = hurdle.times + 1 if obstacle == hurdle.place else 1
        hurdle.place = obstacle
        if hurdle.times != self.rules.mercy_after:
            return -self.rules.reset_behind_m
        hurdle.times = 0
        return self.rules.reset_ahead_m

    def _place(self, car: int, pose: Poses) -> None:
        self.simulator.place(np.array([car]), pose)
        self.nearby.forget(car)

    def _front_points(self, cars: IntArray) -> tuple[FloatArray, FloatArray, FloatArray]:
        state = self.simulator.cars
        heading = state.heading_rad[cars]
        return (
            state.x_m[cars] + FRONT_POINT_X_M * np.cos(heading),
            state.y_m[cars] + FRONT_POINT_X_M * np.sin(heading),
            heading,
        )

    def _wheels_on_road(self, cars: IntArray) -> BoolArray:
        state = self.simulator.cars
        return wheels_on_road(self.track, state.x_m[cars], state.y_m[cars], state.heading_rad[cars])
