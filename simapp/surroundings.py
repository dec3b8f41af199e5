"""What is around the cars of a race: obstacles, bot cars and the other cars of their world; and who ran into whom."""

from dataclasses import dataclass

import numpy as np

from contract.config import RaceConfig
from contract.protocols import Simulator
from contract.state import BoolArray, FloatArray, IntArray, Poses, ThingKind, Things
from contract.vehicle import LENGTH_M, WIDTH_M
from simapp.bots import Bots
from simapp.contact import outlines, overlaps
from simapp.things import Course
from simapp.tracks import Track

CLEAR_AHEAD_M, CLEAR_BESIDE_M = 0.2, 0.04
"""Room that a car needs around it where it is put down."""
STEP_BACK_M = 0.25


@dataclass(slots=True)
class Survey:
    """Everything near K cars after a step: S places a car, those of the course first, then the other cars.

    things (K, S); distance_m and offset_m (K, S) on the centre line, of the places' middles
    """

    things: Things
    distance_m: FloatArray
    offset_m: FloatArray


class Surroundings:
    """The things of all worlds, kept moving, and the contacts of the cars with them and with each other.

    Who is in contact with something is charged once, when it begins: for anything that stands, and for a moving car
    only if that one's middle is further along the lap: a car that is hit from behind is not (contract: crashed).
    """

    def __init__(
        self, simulator: Simulator, track: Track, race: RaceConfig, is_reversed: bool, colours: IntArray
    ) -> None:
        """`colours` (N,) are what cars of one world see each other in; InputError where the things do not fit."""
        worlds = simulator.worlds
        self._simulator, self._track, self._colours = simulator, track, colours
        self._course = Course(track, race, is_reversed)
        count = int(worlds.max()) + 1
        self._things = Things.none(count, self._course.places)
        self._bots = Bots(track, race, count)
        self._rivals = rivals_of(worlds)
        places = self._things.places + self._rivals.shape[1]
        self._stands = np.arange(places) < self._things.places - self._bots.count
        self._touching = np.zeros((len(worlds), places), np.bool_)
        self._charged = np.zeros((len(worlds), places), np.bool_)

    @property
    def empty(self) -> bool:
        """Nothing to see or hit: a time trial."""
        return self._touching.size == 0

    def furnish(self, world: int, random: np.random.Generator, keep_clear_m: tuple[float, ...]) -> None:
        """Lay out the course of a world for an episode that begins at these centre-line distances."""
        one = np.array([world])
        row = self._course.things(random, keep_clear_m)
        self._things.put(one, row)
        self._bots.start(world, row, random)
        self._simulator.furnish(one, row)

    def advance(self, cars: IntArray) -> None:
        """Let the bot cars of these cars' worlds drive one step; one that has run up behind a car waits."""
        if not self._bots.count:
            return
        worlds = np.unique(self._simulator.worlds[cars])
        blocked = np.zeros((len(self._things.kind), self._things.places), np.bool_)
        hit_from_behind = (self._touching & ~self._charged)[:, : self._things.places]
        np.logical_or.at(blocked, self._simulator.worlds, hit_from_behind)
        self._bots.step(worlds, self._things, blocked[worlds])
        self._simulator.furnish(worlds, self._things.of(worlds))

    def around(self, cars: IntArray) -> Things:
        """What the cars (indices, (K,)) may meet: (K, S)."""
        return around(self._simulator, self._things, self._rivals, self._colours, cars)

    def survey(self, cars: IntArray) -> Survey:
        """Where everything around the cars (indices, (K,)) is now."""
        things = self.around(cars)
        where = self._track.project(things.x_m.ravel(), things.y_m.ravel())
        shape = things.kind.shape
        return Survey(things, where.distance_m.reshape(shape), where.offset_m.reshape(shape))

    def course_of(self, survey: Survey | None) -> Things | None:
        """The survey's things of the course (K, M), without the other cars; None where there are none."""
        places = self._things.places
        return survey.things.first(places) if survey is not None and places else None

    def charges(self, cars: IntArray, survey: Survey) -> IntArray:
        """(K,) the place that each car has just run into, or -1."""
        state, things = self._simulator.cars, survey.things
        x_m, y_m = state.x_m[cars], state.y_m[cars]
        touching = self._overlapping(Poses(x_m, y_m, state.heading_rad[cars]), things, 0.0, 0.0)
        began = touching & ~self._touching[cars]
        middle_m = self._track.project(x_m, y_m).distance_m
        behind_it = self._track.shortest_way(survey.distance_m - middle_m[:, None]) >= 0.0
        charged = np.where(began, self._stands | behind_it, self._charged[cars]) & touching
        self._touching[cars], self._charged[cars] = touching, charged
        new = charged & began
        return np.where(new.any(axis=1), new.argmax(axis=1), -1)

    def forget(self, car: int) -> None:
        """The car was put elsewhere: what it touched before is over."""
        self._touching[car] = self._charged[car] = False

    def free_place(self, car: int, distance_m: float, offset_m: float = 0.0) -> tuple[float, float]:
        """The wanted place (centre-line distance, offset to the left), else another lane, else further back."""
        if self.empty:
            return distance_m, offset_m
        things, closed = self.around(np.array([car])), self._track.closed
        distance_m = distance_m if closed else max(distance_m, 0.0)
        for back in range(int(0.5 * self._track.length_m / STEP_BACK_M)):
            distance = distance_m - back * STEP_BACK_M
            if distance < 0.0 and not closed:
                break
            if self._is_free(distance, offset_m, things):
                return distance, offset_m
            lane = 0.25 * width_at(self._track, distance)
            for offset in (-lane, lane) if offset_m > 0 else (lane, -lane):
                if self._is_free(distance, offset, things):
                    return distance, offset
        return distance_m, offset_m

    def _is_free(self, distance_m: float, offset_m: float, things: Things) -> bool:
        """Whether a car has room there among the things (1, S)."""
        pose = self._track.pose_at(distance_m, offset_m)
        return not self._overlapping(pose, things, 2 * CLEAR_AHEAD_M, 2 * CLEAR_BESIDE_M).any()

    def _overlapping(self, poses: Poses, things: Things, longer_m: float, wider_m: float) -> BoolArray:
        """(K, S) whether cars at the poses, that much longer and wider, overlap the things."""
        size = np.full(len(poses.x_m), LENGTH_M + longer_m), np.full(len(poses.x_m), WIDTH_M + wider_m)
        return overlaps(
            (poses.x_m, poses.y_m, poses.heading_rad, *size),
            (things.x_m, things.y_m, things.heading_rad, *outlines(things)),
        )


def width_at(track: Track, distance_m: float) -> float:
    """The road's width at a centre-line distance."""
    pose = track.pose_at(distance_m)
    return float(track.project(pose.x_m, pose.y_m).width_m[0])


def rivals_of(worlds: IntArray) -> IntArray:
    """(N, R) the other cars of each car's world, in order; every world has as many cars as every other."""
    members = [np.flatnonzero(worlds == world) for world in worlds]
    if len({len(member) for member in members}) > 1:
        raise ValueError(f"worlds {worlds.tolist()} hold different numbers of cars")
    return np.stack([member[member != car] for car, member in enumerate(members)]).astype(np.int64)


def around(simulator: Simulator, things: Things, rivals: IntArray, colours: IntArray, cars: IntArray) -> Things:
    """Things (W, M) and other cars (`rivals` (N, R)) of the worlds of some cars (indices, (K,)): (K, M + R)."""
    found = things.of(simulator.worlds[cars])
    others = rivals[cars]
    return found.beside(cars_as_things(simulator, others, colours)) if others.size else found


def cars_as_things(simulator: Simulator, cars: IntArray, colours: IntArray) -> Things:
    """Cars (K, R) as others see them."""
    state = simulator.cars
    return Things(
        kind=np.full(cars.shape, ThingKind.car, np.uint8),
        x_m=state.x_m[cars],
        y_m=state.y_m[cars],
        heading_rad=state.heading_rad[cars],
        speed_mps=state.speed_mps[cars],
        colour=colours[cars].astype(np.uint8),
    )
