"""Where obstacles and bot cars stand when an episode starts."""

import math
import warnings
from dataclasses import dataclass

import numpy as np

from contract.config import RaceConfig
from contract.errors import InputError, InputWarning
from contract.state import FloatArray, IntArray, ObjectKind, TrackObjects
from contract.vehicle import CAR_COLORS
from simapp.contact import outlines, overlaps
from simapp.lanes import Lanes
from simapp.road import Track

END_M = 1.0
"""Evenly spaced objects stand from the minimum distance to so far before the end of the lap, as in AWS's simulator."""
MIN_SPACING_M = 0.5
"""Least minimum distance between objects: a car is 0.32 m long, and its lane is shorter in bends."""
CLEAR_M = 1.0
"""What is drawn at random keeps this far from cars about to start."""
_SWEEPS = 8
"""How often each random place is drawn anew, from a packed row to well mixed."""
_ROUNDING_M = 1e-9


@dataclass(frozen=True, slots=True)
class _Sort:
    """Obstacles or bots, with the names of their keys for messages."""

    name: str
    count: int
    spacing_m: float
    is_random: bool
    count_key: str
    spacing_key: str
    spacing_unit_m: float = 1.0
    """What the spacing key counts in."""


class Course:
    """The obstacles and bot cars of a race on a track; InputError when they do not fit.

    OBJECT_POSITIONS go before number and randomisation of the obstacles, and stand exactly where they say: their
    fractions count in the driving direction, and the inner lane is the same one either way, as in newer sources of
    AWS's simulator. Other obstacles, and bots by keys of their own, are spaced evenly in alternating lanes or drawn at
    random; along the centre line, and across the seam of a lap, they keep their sort's minimum distance, and an
    obstacle and a bot the larger one. The numbers decide, not RACE_TYPE: the guidance keeps TIME_TRIAL there.
    """

    def __init__(self, track: Track, race: RaceConfig, is_reversed: bool = False) -> None:
        """`track` as it is driven; `is_reversed` says that it was turned round for that (REVERSE_DIR)."""
        self._track, self._lanes = track, Lanes.of(track)
        # an open road's inner lane is the left one in its own direction
        inner_is_left = not is_reversed if track.direction == "open" else track.direction == "ccw"
        self._inner = 1.0 if inner_is_left else -1.0
        fixed = race.object_positions
        obstacles = _Sort(
            "obstacles",
            len(fixed) or race.number_of_obstacles,
            _obstacle_spacing_m(track, race),
            race.randomize_obstacle_locations and not fixed,
            "NUMBER_OF_OBSTACLES",
            "MIN_DISTANCE_BETWEEN_OBSTACLES",
            1.0 if race.obstacle_distance_in == "metres" else 0.01 * track.length_m,
        )
        bots = _Sort(
            "bot cars",
            race.number_of_bot_cars,
            race.min_distance_between_bot_cars,
            race.randomize_bot_car_locations,
            "NUMBER_OF_BOT_CARS",
            "MIN_DISTANCE_BETWEEN_BOT_CARS",
        )
        self._sorts = (obstacles, bots)
        _check_needs(race, obstacles, bots)
        counts = [sort.count for sort in self._sorts]
        self.places = sum(counts)
        """TrackObjects in each world: obstacles, then bots."""
        spacing_m = np.repeat([sort.spacing_m for sort in self._sorts], counts)
        self._gaps_m = np.maximum(spacing_m[:, None], spacing_m[None, :])
        self._is_random = np.repeat([sort.is_random for sort in self._sorts], counts).astype(bool)
        self._kind = np.repeat([ObjectKind.car if race.is_obstacle_bot_car else ObjectKind.box, ObjectKind.car], counts)
        self._lane = np.concatenate([np.where(np.arange(count) % 2 == 0, 1.0, -1.0) for count in counts])
        self._distance_m = np.zeros(self.places)
        if self.places:
            self._furnish(race)

    def objects(self, random: np.random.Generator, keep_clear_m: tuple[float, ...] = ()) -> TrackObjects:
        """TrackObjects (1, M) at the start of an episode: obstacles, then bots.

        What is drawn at random stays CLEAR_M from cars about to start at the centre-line distances `keep_clear_m`, if
        the track has room for that. The rest never moves: there the cars have to start beside it.
        """
        distance_m, lane = self._distance_m.copy(), self._lane.copy()
        moving = np.flatnonzero(self._is_random)
        if len(moving):
            cars = np.array(keep_clear_m, dtype=np.float64)
            # A start for the sampling below. Where there is no room beside the cars about to start, objects may stand
            # before them: a track that is full is no reason to stop a training.
            if not self._pack(distance_m, moving, ~self._is_random, cars):
                cars = np.empty(0)
                distance_m = self._distance_m.copy()
            # Gibbs sampling: each place is drawn uniformly from what the others leave. Its limit is uniform over all
            # arrangements that keep the distances; drawing whole arrangements and throwing bad ones away has the same
            # limit, and takes for ever on a full track.
            for _ in range(_SWEEPS):
                for i in random.permutation(moving):
                    others = np.ones(self.places, np.bool_)
                    others[i] = False
                    free = self._free(i, distance_m, others, cars)
                    distance_m[i] = _at_measure(free, random.random())
            lane[moving] = random.choice(np.array([1.0, -1.0]), len(moving))
        return self._stand(distance_m, lane)

    def fixed(self) -> TrackObjects:
        """The obstacles (1, M) that stand in the same place in every episode."""
        objects = self._stand(self._distance_m, self._lane)
        stays = ~self._is_random & (np.arange(self.places) < self._sorts[0].count)
        objects.kind[0, ~stays] = ObjectKind.nothing
        return objects

    def _furnish(self, race: RaceConfig) -> None:
        """Place what never moves, and check that the rest fits."""
        length_m = self._track.length_m
        done = np.zeros(self.places, np.bool_)
        if race.object_positions:
            for i, (fraction, lane) in enumerate(race.object_positions):
                if not 0.0 <= fraction <= 1.0:
                    raise InputError(
                        f"OBJECT_POSITIONS[{i}]",
                        f"{fraction:g}, {lane}",
                        "a position is a fraction of the lap from 0 to 1, and a lane",
                        f"write the distance divided by the lap's {length_m:.2f} m",
                    )
                along = fraction * length_m
                self._distance_m[i] = along % length_m if self._track.closed else along
                self._lane[i], done[i] = lane, True
            self._check_positions(race)
        # Each sort by itself first: the message can then say which number is too large, and what would fit.
        for sort in self._sorts:
            self._check_room(sort, len(race.object_positions) if sort is self._sorts[0] else 0)
        even = ~self._is_random & ~done
        # Evenly is what the keys ask for. Where fixed places leave no even spacing, packing from the start still
        # keeps all minimum distances.
        if not self._space_evenly(done, even):
            self._distance_m[even] = 0.0
            self._require(self._pack(self._distance_m, np.flatnonzero(even), done, np.empty(0)))
        self._require(self._pack(self._distance_m, np.flatnonzero(self._is_random), ~self._is_random, np.empty(0)))
        self._warn_of_blocked_start(done)

    def _warn_of_blocked_start(self, placed: np.ndarray) -> None:
        """AWS's default of 2 per cent puts the first obstacle there. `placed` are those of OBJECT_POSITIONS."""
        obstacles = self._sorts[0]
        if obstacles.count == 0 or obstacles.is_random or placed.any():
            return
        first_m = float(self._distance_m[: obstacles.count].min())
        if first_m < CLEAR_M:
            enough = math.ceil(2.0 * CLEAR_M / obstacles.spacing_unit_m)
            unit = "per cent of the lap" if obstacles.spacing_unit_m != 1.0 else "m"
            warnings.warn(
                f"{obstacles.spacing_key}: the first obstacle on {self._track.name} stands {first_m:.2f} m past the "
                f"line, where a car that starts runs into it, in each evaluation; set it to {enough} or more ({unit})",
                InputWarning,
                stacklevel=2,
            )

    def _space_evenly(self, done: np.ndarray, even: np.ndarray) -> bool:
        """Put objects at equal distances, or as near to there as others leave room; False where they do not fit."""
        first, done = 0, done.copy()
        for sort in self._sorts:
            wanted_m = np.linspace(sort.spacing_m, self._track.length_m - END_M, sort.count)
            for i in range(sort.count):
                if not even[first + i]:
                    continue
                free = self._free(first + i, self._distance_m, done, np.empty(0))
                if not len(free):
                    return False
                inside = np.clip(wanted_m[i], free[:, 0], free[:, 1])
                self._distance_m[first + i] = inside[np.argmin(np.abs(inside - wanted_m[i]))]
                done[first + i] = True
            first += sort.count
        return True

    def _pack(self, distance_m: FloatArray, todo: IntArray, done: np.ndarray, cars: FloatArray) -> bool:
        """Put each object at the first free place, in `distance_m`; False where they do not fit."""
        done = done.copy()
        for i in todo:
            free = self._free(i, distance_m, done, cars)
            if not len(free):
                return False
            distance_m[i], done[i] = free[0, 0], True
        return True

    def _free(self, i: int, distance_m: FloatArray, others: np.ndarray, cars: FloatArray) -> FloatArray:
        """Stretches (n, 2) of the centre line where object i may stand, given others and cars, in order."""
        length_m = self._track.length_m
        low, high = 0.0, length_m
        if not self._track.closed:
            low, high = float(self._gaps_m[i, i]), length_m - END_M
        middle = np.concatenate([distance_m[others], cars])
        reach = np.concatenate([self._gaps_m[i, others], np.full(len(cars), CLEAR_M)])
        starts, ends = middle - reach, middle + reach
        # The lap is a circle: a neighbour just before the start line also blocks what lies just after it.
        if self._track.closed:
            starts = np.concatenate([starts - length_m, starts, starts + length_m])
            ends = np.concatenate([ends - length_m, ends, ends + length_m])
        # Free is what lies between the end of all blocked stretches so far and the start of the next one. The running
        # maximum serves where one stretch lies within another.
        order = np.argsort(starts)
        begins = np.maximum(np.maximum.accumulate(np.concatenate([[low], ends[order]])), low)
        stops = np.minimum(np.concatenate([starts[order], [high]]), high)
        free = begins <= stops + _ROUNDING_M
        stretches = np.column_stack([begins, np.maximum(stops, begins)])[free & (begins < high + _ROUNDING_M)]
        return np.asarray(stretches)

    def _stand(self, distance_m: FloatArray, lane: FloatArray) -> TrackObjects:
        objects = TrackObjects.none(1, self.places)
        objects.kind[0] = self._kind
        stands = np.arange(self.places) < self._sorts[0].count
        # Obstacles stand in the lanes of the track; bots stand where they will drive, on the smooth lines of Lanes.
        left = lane * self._inner
        x_m, y_m, heading_rad = self._lanes.poses(distance_m, left)  # where bots drive
        there = self._track.lane_pose(distance_m, left > 0.0)
        objects.x_m[0] = np.where(stands, there.x_m, x_m)
        objects.y_m[0] = np.where(stands, there.y_m, y_m)
        heading_rad = np.where(stands, there.heading_rad, heading_rad)
        objects.heading_rad[0] = (heading_rad + math.pi) % (2.0 * math.pi) - math.pi
        cars = self._kind == ObjectKind.car
        objects.colour[0, cars] = np.arange(int(cars.sum())) % len(CAR_COLORS)
        return objects

    def _check_positions(self, race: RaceConfig) -> None:
        """OBJECT_POSITIONS may be nearer than the minimum distance, but not in each other."""
        count = len(race.object_positions)
        stood = self._stand(self._distance_m, self._lane)
        length_m, width_m = (values[0, :count] for values in outlines(stood))
        boxes = (stood.x_m[0, :count], stood.y_m[0, :count], stood.heading_rad[0, :count], length_m, width_m)
        hits = overlaps(boxes, tuple(np.tile(values, (count, 1)) for values in boxes))
        pairs = np.argwhere(np.triu(hits, 1))
        if len(pairs):
            a, b = pairs[0].tolist()
            shown = ["{:g}, {}".format(*race.object_positions[i]) for i in (a, b)]
            need = length_m[a] / self._track.length_m
            raise InputError(
                f"OBJECT_POSITIONS[{b}]",
                shown[1],
                f"obstacles do not overlap; this one stands in OBJECT_POSITIONS[{a}] ({shown[0]})",
                f"move it on by more than {need:.3f} ({length_m[a]:.2f} m of {self._track.length_m:.2f} m), "
                "or take the other lane",
            )

    def _check_room(self, sort: _Sort, fixed: int) -> None:
        """Raise when so many of one sort cannot keep their minimum distance on this track."""
        if sort.count == fixed:
            return
        if sort.spacing_m < MIN_SPACING_M:
            raise InputError(
                sort.spacing_key,
                sort.spacing_m,
                f"{sort.name} stand at least {MIN_SPACING_M} m apart, or they would stand in each other",
                f"write {MIN_SPACING_M} or more",
            )
        ends_m = 0.0 if sort.is_random and self._track.closed else END_M
        room_m = self._track.length_m - ends_m
        if sort.count * sort.spacing_m > room_m + _ROUNDING_M:
            most = int(room_m // sort.spacing_m)
            at_end = f" and {END_M:g} m stays free at its end" if ends_m else ""
            raise InputError(
                sort.count_key,
                sort.count,
                f"{sort.count} {sort.name} at least {sort.spacing_m:g} m apart need "
                f"{sort.count * sort.spacing_m:.2f} m; {self._track.name} is {self._track.length_m:.2f} m long{at_end}",
                f"set {sort.count_key} to {most} at most, or {sort.spacing_key} to "
                f"{math.floor(100.0 * room_m / sort.count / sort.spacing_unit_m) / 100.0:g} at most",
            )

    def _require(self, fits: bool) -> None:
        """Raise unless everything together found room."""
        if fits:
            return
        obstacles, bots = self._sorts
        gap_m = max(obstacles.spacing_m, bots.spacing_m)
        raise InputError(
            f"{obstacles.count_key} and {bots.count_key}",
            f"{obstacles.count} and {bots.count}",
            f"obstacles keep {obstacles.spacing_m:g} m from each other, bot cars {bots.spacing_m:g} m and an obstacle "
            f"and a bot car {gap_m:g} m; together they have no room on {self._track.name}, "
            f"{self._track.length_m:.2f} m long",
            f"set fewer of them, or smaller minimum distances: {self.places} objects fit in any order if both are "
            f"at most {math.floor(100.0 * (self._track.length_m - END_M) / (2 * self.places)) / 100.0:g} m",
        )


def _obstacle_spacing_m(track: Track, race: RaceConfig) -> float:
    if race.obstacle_distance_in == "metres":
        return race.min_distance_between_obstacles
    return max(0.01 * race.min_distance_between_obstacles * track.length_m, MIN_SPACING_M)


def _check_needs(race: RaceConfig, obstacles: _Sort, bots: _Sort) -> None:
    """Raise when a race type lacks what it is about, or keys contradict each other."""
    needs = {"OBJECT_AVOIDANCE": obstacles, "HEAD_TO_BOT": bots}.get(race.race_type)
    if needs and not needs.count:
        rule = f"{race.race_type} is a race with {needs.name}"
        raise InputError(needs.count_key, 0, rule, f"set {needs.count_key}, for example to 6, or RACE_TYPE: TIME_TRIAL")
    if bots.count and race.is_lane_change and race.bot_car_speed == 0.0:
        raise InputError(
            "BOT_CAR_SPEED",
            race.bot_car_speed,
            "bot cars that change lanes (IS_LANE_CHANGE) drive",
            "set BOT_CAR_SPEED, for example to 0.2, or IS_LANE_CHANGE: False",
        )


def _at_measure(stretches: FloatArray, share: float) -> float:
    """The place with `share` (0..1) of all the stretches (n, 2) before it."""
    lengths = stretches[:, 1] - stretches[:, 0]
    ends = np.cumsum(lengths)
    want = share * ends[-1]
    which = min(int(np.searchsorted(ends, want, side="right")), len(ends) - 1)
    return float(min(stretches[which, 1] - (ends[which] - want), stretches[which, 1]))
