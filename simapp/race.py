"""Race rules over a Simulator: progress, how episodes end, resets with penalties, and the racer's reward.

Rules by contract ("Episode rules"). Off track means that no wheel is on the road. A training episode ends at the first
rule that is broken or at a complete lap; in an evaluation the car is put back at its last valid progress, or behind
what it ran into, the penalty is added to its clock, and the lap goes on until its resets are used up.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from contract.config import RaceConfig
from contract.protocols import Simulator
from contract.state import STEP_DTYPE, STEP_S, BoolArray, Controls, EpisodeStatus, FloatArray, IntArray, Poses, Things
from contract.vehicle import FRONT_AXLE_X_M, FRONT_POINT_X_M, FRONT_WHEEL_Y_M, REAR_AXLE_X_M, REAR_WHEEL_Y_M
from simapp.params import RaceState, RewardParams
from simapp.reward_service.service import ServiceReward, score_all
from simapp.surroundings import Surroundings, Survey, width_at
from simapp.tracks import Track

IMMOBILE_M = 0.0003
PATIENCE_STEPS = 15
"""A car that moves IMMOBILE_M or less, or whose progress falls, this many steps running is immobilised or reversed."""

MOST_TIMES_BACK = 5
"""A policy that repeats itself would run into one thing for ever from the place where it is put back. So each further
time it is put back `reset_behind_m` further, up to this many times of it."""

PIT_M = 0.7
"""Distance between the road's bounds and parked cars, and between those: inside the walls, and further out than a car
gets that leaves the road at top speed."""

_WHEELS = np.array(
    [
        (FRONT_AXLE_X_M, FRONT_WHEEL_Y_M),
        (FRONT_AXLE_X_M, -FRONT_WHEEL_Y_M),
        (REAR_AXLE_X_M, REAR_WHEEL_Y_M),
        (REAR_AXLE_X_M, -REAR_WHEEL_Y_M),
    ]
)

Reward = Callable[[dict[str, object]], float]
TIME_TRIAL = RaceConfig()


@dataclass(frozen=True, slots=True)
class RaceRules:
    """max_steps cuts an episode short (`time_up`); the others are for evaluations.

    A car that is alone in its world is put back at once. With `pit_stops` it spends its penalty seconds in the pit,
    beside the walls, while the other cars of its world drive on.
    """

    max_steps: int
    resets: int = 0
    off_track_penalty_s: float = 0.0
    collision_penalty_s: float = 0.0
    reset_behind_m: float = 1.0
    pit_stops: bool = False


@dataclass(slots=True)
class _PitStop:
    """A penalty being sat out: steps left, and where to go back to the track."""

    steps: int
    distance_m: float
    offset_m: float


@dataclass(slots=True)
class StepOutcome:
    """What a step did to K cars: `rows` (K,) of STEP_DTYPE, `over` (K,) the episode ended, `truncated` (K,) by time.

    `things` (K, M) is the course as it was when the cars were judged, other racers aside; None where nothing is.
    """

    rows: np.ndarray
    over: BoolArray
    truncated: BoolArray
    things: Things | None = None


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
    ) -> None:
        """`rewards` holds one callable a car, so that no two cars share a racer's globals.

        `is_reversed` tells rewards that the track is driven against its own order (REVERSE_DIR); `config` says what is
        on the track; `colours` (N,), indices into CAR_COLORS, are what cars of one world see each other in.
        """
        self.num_cars = num_cars = len(rewards)
        self.simulator, self.track, self.rules = simulator, track, rules
        colours = np.zeros(num_cars, np.int64) if colours is None else colours
        self.surroundings = Surroundings(simulator, track, config, is_reversed, colours)
        self._rewards, self._params = rewards, RewardParams(track, is_reversed)
        self._asks_outside = any(isinstance(reward, ServiceReward) for reward in rewards)
        self._travelled_m: FloatArray = np.zeros(num_cars)  # along the centre line since the start; may fall
        self._valid_m: FloatArray = np.zeros(
            num_cars
        )  # the front point's centre-line position when a wheel was last on the road
        self._time_s: FloatArray = np.zeros(num_cars)
        self._pause_s: FloatArray = np.zeros(num_cars)
        self._last_m: FloatArray = np.zeros(num_cars)
        self._last_x_m: FloatArray = np.zeros(num_cars)
        self._last_y_m: FloatArray = np.zeros(num_cars)
        self._steps: IntArray = np.zeros(num_cars, np.int64)
        self._idle_steps: IntArray = np.zeros(num_cars, np.int64)
        self._falling_steps: IntArray = np.zeros(num_cars, np.int64)
        self._resets: IntArray = np.zeros(num_cars, np.int64)
        self._hit: IntArray = np.zeros(num_cars, np.int64)  # the place (Survey) run into last, and how often running
        self._times_hit: IntArray = np.zeros(num_cars, np.int64)
        self._pit: dict[int, _PitStop] = {}

    def furnish(self, car: int, random: np.random.Generator, *starts_m: float) -> None:
        """Lay out the obstacles and bot cars of the car's world anew, for cars that start at these distances."""
        self.surroundings.furnish(int(self.simulator.worlds[car]), random, starts_m)

    def start(self, car: int, distance_m: float, offset_m: float = 0.0, turn_rad: float = 0.0) -> None:
        """Begin an episode of the car at a centre-line distance, left of it by offset_m, turned left by turn_rad.

        Where something stands in the way it starts in another lane, or further back, as in AWS's simulator.
        """
        distance_m, offset_m = self.surroundings.free_place(car, distance_m, offset_m)
        self._put(car, distance_m, offset_m, turn_rad)
        # progress counts from base_link's place, and is measured at the front point (as real simtraces begin at 0.79 %)
        self._travelled_m[car] = self.track.shortest_way(np.array([self._last_m[car] - distance_m]))[0]
        self._new_clock(car)

    def has_completed_lap(self, car: int) -> bool:
        """Whether the car has just crossed the line at the end of its lap."""
        return bool(self._travelled_m[car] >= self.track.length_m)

    def carry_on(self, car: int) -> None:
        """Begin the next lap of a car that has just completed one, as it drives (IS_CONTINUOUS)."""
        self._travelled_m[car] -= self.track.length_m
        self._new_clock(car)

    def finish(self, car: int) -> None:
        """Take the car off the track for good: into the pit."""
        self._put_in_pit(car)

    def waiting(self, car: int) -> bool:
        """Whether the car sits out a penalty in the pit and must not be stepped."""
        return car in self._pit

    def wait(self) -> None:
        """One step of everybody's time in the pit; who has sat out the penalty goes back to the track."""
        for car, stop in list(self._pit.items()):
            if stop.steps > 0:
                stop.steps -= 1
            else:
                del self._pit[car]
                self._put_back(car, stop.distance_m, stop.offset_m)

    def _new_clock(self, car: int) -> None:
        for counter in (self._time_s, self._pause_s, self._steps, self._resets, self._times_hit):
            counter[car] = 0

    def step(self, cars: IntArray, controls: Controls) -> StepOutcome:
        """Drive the cars (indices, (K,)) for one step under the controls (K,), judge and reward them."""
        self.simulator.step(cars, controls)
        self.surroundings.advance(cars)
        self._steps[cars] += 1
        self._time_s[cars] += STEP_S
        x_m, y_m, heading_rad = self._front_points(cars)
        where = self.track.project(x_m, y_m)
        moved = self.track.shortest_way(where.distance_m - self._last_m[cars])
        self._travelled_m[cars] += moved
        wheels_on = self._wheels_on_road(cars)
        survey = None if self.surroundings.empty else self.surroundings.survey(cars)
        hits = np.full(len(cars), -1) if survey is None else self.surroundings.charges(cars, survey)
        status = self._judge(cars, x_m, y_m, moved, wheels_on, hits >= 0)
        progress_pct = np.clip(100.0 * self._travelled_m[cars] / self.track.length_m, 0.0, 100.0)
        progress_pct[status == EpisodeStatus.lap_complete] = 100.0

        rows = np.zeros(len(cars), STEP_DTYPE)
        rows["x_m"], rows["y_m"], rows["heading_rad"] = x_m, y_m, heading_rad
        rows["steering_rad"] = self.simulator.cars.commanded_steering_rad[cars]
        rows["speed_mps"] = self.simulator.cars.commanded_speed_mps[cars]
        rows["progress_pct"], rows["closest_waypoint"] = progress_pct, where.nearest_waypoint
        rows["all_wheels_on_track"], rows["status"] = wheels_on.all(axis=1), status
        rows["time_s"], rows["pause_s"] = self._time_s[cars], self._pause_s[cars]
        params = self._params.build(RaceState(rows, where, self._steps[cars], survey))
        if self._asks_outside:
            rows["reward"] = score_all([self._rewards[car] for car in cars.tolist()], params)
        else:
            rows["reward"] = [self._rewards[car](told) for car, told in zip(cars.tolist(), params, strict=True)]

        self._last_m[cars], self._last_x_m[cars], self._last_y_m[cars] = where.distance_m, x_m, y_m
        on_road = wheels_on.any(axis=1)
        self._valid_m[cars[on_road]] = where.distance_m[on_road]
        truncated = status == EpisodeStatus.time_up
        over = (status >= EpisodeStatus.lap_complete) & (status <= EpisodeStatus.time_up)
        for k in np.flatnonzero(over & ~truncated & (status != EpisodeStatus.lap_complete)):
            if self._resets[cars[k]] < self.rules.resets:
                over[k] = False
                self._penalise(int(cars[k]), survey, int(k), int(hits[k]))
        return StepOutcome(rows, over, truncated, self.surroundings.course_of(survey))

    def _judge(
        self,
        cars: IntArray,
        x_m: FloatArray,
        y_m: FloatArray,
        moved: FloatArray,
        wheels_on: BoolArray,
        crashed: BoolArray,
    ) -> IntArray:
        """EpisodeStatus of each car after its step, (K,); the first broken rule wins."""
        idle = np.hypot(x_m - self._last_x_m[cars], y_m - self._last_y_m[cars]) <= IMMOBILE_M
        self._idle_steps[cars] = np.where(idle, self._idle_steps[cars] + 1, 0)
        self._falling_steps[cars] = np.where(moved < 0.0, self._falling_steps[cars] + 1, 0)
        rules = [
            (self._travelled_m[cars] >= self.track.length_m, EpisodeStatus.lap_complete),
            (crashed, EpisodeStatus.crashed),
            (~wheels_on.any(axis=1), EpisodeStatus.off_track),
            (self._idle_steps[cars] >= PATIENCE_STEPS, EpisodeStatus.immobilized),
            (self._falling_steps[cars] >= PATIENCE_STEPS, EpisodeStatus.reversed),
            (self._steps[cars] >= self.rules.max_steps, EpisodeStatus.time_up),
            (self._steps[cars] == 1, EpisodeStatus.prepare),
        ]
        broken, outcome = zip(*rules, strict=True)
        return np.select(broken, [int(s) for s in outcome], int(EpisodeStatus.in_progress)).astype(np.int64)

    def _penalise(self, car: int, survey: Survey | None, k: int, hit: int) -> None:
        """Evaluation: the penalty on the car's clock, and back to where it was last on the road, or behind what it hit
        and in the other lane."""
        self._resets[car] += 1
        if survey is not None and hit >= 0:
            penalty_s = self.rules.collision_penalty_s
            running = self._times_hit[car] if hit == self._hit[car] else 0
            self._hit[car], self._times_hit[car] = hit, min(running + 1, MOST_TIMES_BACK)
            distance_m = float(survey.distance_m[k, hit] - self.rules.reset_behind_m * self._times_hit[car])
            lane_m = 0.25 * width_at(self.track, distance_m)
            offset_m = -lane_m if survey.offset_m[k, hit] > 0.0 else lane_m
        else:
            penalty_s = self.rules.off_track_penalty_s
            distance_m, offset_m = float(self._valid_m[car]) - FRONT_POINT_X_M, 0.0
        self._time_s[car] += penalty_s
        self._pause_s[car] += penalty_s
        if self.rules.pit_stops:
            self._put_in_pit(car)
            self._pit[car] = _PitStop(round(penalty_s / STEP_S), distance_m, offset_m)
        else:
            self._put_back(car, distance_m, offset_m)

    def _put_back(self, car: int, distance_m: float, offset_m: float) -> None:
        was_m = self._last_m[car]
        self._put(car, *self.surroundings.free_place(car, distance_m, offset_m))
        self._travelled_m[car] += self.track.shortest_way(np.array([self._last_m[car] - was_m]))[0]

    def _put_in_pit(self, car: int) -> None:
        """Beside the south wall, where no road is; the front point's last place on the track is kept."""
        xmin, ymin, *_ = self.track.bounds
        slot = int(np.count_nonzero(self.simulator.worlds[:car] == self.simulator.worlds[car]))
        self.simulator.place(
            np.array([car]), Poses(np.array([xmin + PIT_M * (slot + 1)]), np.array([ymin - PIT_M]), np.zeros(1))
        )
        self.surroundings.forget(car)

    def _put(self, car: int, distance_m: float, offset_m: float, turn_rad: float = 0.0) -> None:
        pose = self.track.pose_at(np.array([distance_m]), np.array([offset_m]))
        pose.heading_rad = pose.heading_rad + turn_rad
        one = np.array([car])
        self.simulator.place(one, pose)
        x_m, y_m, _ = self._front_points(one)
        self._last_x_m[car], self._last_y_m[car] = x_m[0], y_m[0]
        self._last_m[car] = self.track.project(x_m, y_m).distance_m[0]
        self._valid_m[car] = self._last_m[car]
        self._idle_steps[car] = self._falling_steps[car] = 0
        self.surroundings.forget(car)

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
