"""What is around the cars of a race: obstacles, bot cars and the other cars of their world; and who ran into whom."""

import math
from dataclasses import dataclass

import numpy as np

from contract.config import RaceConfig
from contract.protocols import Simulator
from contract.state import STEP_S, BoolArray, FloatArray, IntArray, ObjectKind, Poses, TrackObjects
from contract.vehicle import FRONT_POINT_X_M, LENGTH_M, WIDTH_M
from simapp.bots import Bots
from simapp.contact import collision_outlines, overlaps
from simapp.objects import Course
from simapp.road import Track

CLEAR_AHEAD_M, CLEAR_BESIDE_M = 0.2, 0.04
"""Room that a car needs around it where it is put down."""
STEP_BACK_M = 0.25
ROUNDING = 1e-9


@dataclass(slots=True)
class Neighbours:
    """Everything near K cars after a step: S places a car, those of the course first, then the other cars.

    objects (K, S); distance_m and offset_m (K, S) on the centre line, of the places' middles
    """

    objects: TrackObjects
    distance_m: FloatArray
    offset_m: FloatArray


class NearbyObjects:
    """The objects of all worlds, kept moving, and the contacts of the cars with them and with each other.

    Who touches something is charged for anything that stands, and for a moving car only if that one's front point is
    further along the lap: one that is hit from behind is not (rollout_agent_ctrl.py `_check_for_episode_termination`).
    """

    def __init__(
        self, simulator: Simulator, track: Track, race: RaceConfig, is_reversed: bool, colours: IntArray
    ) -> None:
        """`colours` (N,) are what cars of one world see each other in; InputError where the objects do not fit."""
        worlds = simulator.worlds
        self._simulator, self._track, self._colours = simulator, track, colours
        self._course = Course(track, race, is_reversed)
        count = int(worlds.max()) + 1
        self._objects = TrackObjects.none(count, self._course.places)
        self._bots = Bots(track, race, count)
        self._rivals = rivals_of(worlds)
        places = self._objects.places + self._rivals.shape[1]
        self._standing = self._objects.places - self._bots.count
        self._pushed = np.zeros((len(worlds), places), np.bool_)  # by whom each car is run into
        self._halt_s = race.penalty_seconds if race.bots_halt else None
        self._halted = np.zeros(count, np.int64)  # steps for which the world's bots still stand

    @property
    def empty(self) -> bool:
        """Nothing to see or hit: a time trial."""
        return self._pushed.size == 0

    def stands(self, place: int) -> bool:
        """Whether a place of a neighbours is an obstacle, and no car."""
        return place < self._standing

    def furnish(self, world: int, random: np.random.Generator, keep_clear_m: tuple[float, ...]) -> None:
        """Lay out the course of a world for an episode that begins at these centre-line distances."""
        one = np.array([world])
        row = self._course.objects(random, keep_clear_m)
        self._objects.put(one, row)
        self._bots.start(world, row, random)
        self._halted[world] = 0
        self._simulator.furnish(one, row)

    def advance(self, cars: IntArray) -> None:
        """Let the bot cars of these cars' worlds drive one step; when one has run up behind a car, all of its world
        stand for penalty_seconds (bot_cars_agent_ctrl.py `judge_action`), or it waits alone."""
        if not self._bots.count:
            return
        worlds = np.unique(self._simulator.worlds[cars])
        blocked = np.zeros((len(self._objects.kind), self._objects.places), np.bool_)
        np.logical_or.at(blocked, self._simulator.worlds, self._pushed[:, : self._objects.places])
        if self._halt_s is None:
            self._bots.step(worlds, self._objects, blocked[worlds])
        else:
            rams = worlds[blocked[worlds].any(axis=1) & (self._halted[worlds] == 0)]
            # and then they drive a step, whoever is in their way
            self._halted[rams] = max(math.ceil(self._halt_s / STEP_S - ROUNDING), 1) + 1
            stands = self._halted[worlds] > 1
            self._halted[worlds] = np.maximum(self._halted[worlds] - 1, 0)
            self._bots.stand(worlds[stands], self._objects)
            self._bots.step(worlds[~stands], self._objects, np.zeros_like(blocked[worlds[~stands]]))
        self._simulator.furnish(worlds, self._objects.of(worlds))

    def around(self, cars: IntArray) -> TrackObjects:
        """What the cars (indices, (K,)) may meet: (K, S)."""
        return around(self._simulator, self._objects, self._rivals, self._colours, cars)

    def around_cars(self, cars: IntArray) -> Neighbours:
        """Where everything around the cars (indices, (K,)) is now."""
        objects = self.around(cars)
        distance_m, offset_m = self._track.along(objects.x_m.ravel(), objects.y_m.ravel())
        shape = objects.kind.shape
        return Neighbours(objects, distance_m.reshape(shape), offset_m.reshape(shape))

    def course_of(self, neighbours: Neighbours | None) -> TrackObjects | None:
        """The neighbours' objects of the course (K, M), without the other cars; None where there are none."""
        places = self._objects.places
        return neighbours.objects.first(places) if neighbours is not None and places else None

    @property
    def has_obstacles(self) -> bool:
        """Whether something stands in the worlds."""
        return self._standing > 0

    def obstacles(self, car: int) -> TrackObjects:
        """What stands in the car's world: (1, obstacles)."""
        return self._objects.of(self._simulator.worlds[car : car + 1]).first(self._standing)

    def charges(
        self, cars: IntArray, neighbours: Neighbours, front_m: FloatArray, runs: BoolArray, solid: BoolArray
    ) -> IntArray:
        """(K,) the place that each car has run into, or -1.

        front_m   (K,) centre-line distances of the cars' front points
        runs      (K,) which of the cars drive: who is held runs into nothing
        solid     (N,) which of all cars may be run into
        """
        state, objects = self._simulator.cars, neighbours.objects
        poses = Poses(state.x_m[cars], state.y_m[cars], state.heading_rad[cars])
        touching = self._overlapping(poses, objects, 0.0, 0.0) & runs[:, np.newaxis]
        if self._rivals.size:
            touching[:, self._objects.places :] &= solid[self._rivals[cars]]
        charged = touching
        if touching[:, self._standing :].any():
            x_m = objects.x_m + FRONT_POINT_X_M * np.cos(objects.heading_rad)
            y_m = objects.y_m + FRONT_POINT_X_M * np.sin(objects.heading_rad)
            fronts_m = self._track.along(x_m.ravel(), y_m.ravel())[0].reshape(x_m.shape)
            further = self._track.shortest_way(fronts_m - front_m[:, np.newaxis]) > 0.0
            charged = touching & (further | (np.arange(further.shape[1]) < self._standing))
        self._pushed[cars] = touching & ~charged
        return np.where(charged.any(axis=1), charged.argmax(axis=1), -1)

    def forget(self, car: int) -> None:
        """The car was put elsewhere: who pushed it has room again."""
        self._pushed[car] = False

    def free_place(self, car: int, distance_m: float, offset_m: float = 0.0) -> tuple[float, float]:
        """The wanted place (centre-line distance, offset to the left), else another lane, else further back."""
        if self.empty:
            return distance_m, offset_m
        objects, closed = self.around(np.array([car])), self._track.closed
        distance_m = distance_m if closed else max(distance_m, 0.0)
        # Back and never ahead: a car that is put down must not gain progress. Half a lap is as far as back goes.
        for back in range(int(0.5 * self._track.length_m / STEP_BACK_M)):
            distance = distance_m - back * STEP_BACK_M
            if distance < 0.0 and not closed:
                break
            if self._is_free(distance, offset_m, objects):
                return distance, offset_m
            left_m, right_m = lane_offsets(self._track, distance)
            for offset in (right_m, left_m) if offset_m > 0 else (left_m, right_m):
                if self._is_free(distance, offset, objects):
                    return distance, offset
        return distance_m, offset_m  # a road that is full is no reason to stop a training

    def _is_free(self, distance_m: float, offset_m: float, objects: TrackObjects) -> bool:
        """Whether a car has room there among the objects (1, S)."""
        pose = self._track.pose_at(distance_m, offset_m)
        return not self._overlapping(pose, objects, 2 * CLEAR_AHEAD_M, 2 * CLEAR_BESIDE_M).any()

    def _overlapping(self, poses: Poses, objects: TrackObjects, longer_m: float, wider_m: float) -> BoolArray:
        """(K, S) whether cars at the poses, that much longer and wider, overlap the objects."""
        size = np.full(len(poses.x_m), LENGTH_M + longer_m), np.full(len(poses.x_m), WIDTH_M + wider_m)
        return overlaps(
            (poses.x_m, poses.y_m, poses.heading_rad, *size),
            (objects.x_m, objects.y_m, objects.heading_rad, *collision_outlines(objects)),
        )


def lane_offsets(track: Track, distance_m: float) -> tuple[float, float]:
    """How far left of the centre line the left and the right lane are at a distance along it."""
    at = track.pose_at(distance_m)
    offsets = []
    for lane in track.lane_poses(distance_m):
        dx, dy = float(lane.x_m[0] - at.x_m[0]), float(lane.y_m[0] - at.y_m[0])
        to_left = dy * math.cos(at.heading_rad[0]) - dx * math.sin(at.heading_rad[0])
        offsets.append(math.copysign(math.hypot(dx, dy), to_left))
    return offsets[0], offsets[1]


def rivals_of(worlds: IntArray) -> IntArray:
    """(N, R) the other cars of each car's world, in order; every world has as many cars as every other."""
    members = [np.flatnonzero(worlds == world) for world in worlds]
    if len({len(member) for member in members}) > 1:
        raise ValueError(f"worlds {worlds.tolist()} hold different numbers of cars")
    return np.stack([member[member != car] for car, member in enumerate(members)]).astype(np.int64)


def around(
    simulator: Simulator, objects: TrackObjects, rivals: IntArray, colours: IntArray, cars: IntArray
) -> TrackObjects:
    """TrackObjects (W, M) and other cars (`rivals` (N, R)) of the worlds of some cars (indices, (K,)): (K, M + R)."""
    found = objects.of(simulator.worlds[cars])
    others = rivals[cars]
    return found.beside(cars_as_objects(simulator, others, colours)) if others.size else found


def cars_as_objects(simulator: Simulator, cars: IntArray, colours: IntArray) -> TrackObjects:
    """Cars (K, R) as others see them."""
    state = simulator.cars
    return TrackObjects(
        kind=np.full(cars.shape, ObjectKind.car, np.uint8),
        x_m=state.x_m[cars],
        y_m=state.y_m[cars],
        heading_rad=state.heading_rad[cars],
        speed_mps=state.speed_mps[cars],
        colour=colours[cars].astype(np.uint8),
    )
