"""Bot cars: they follow their lanes at BOT_CAR_SPEED, change lanes now and then, and wait behind what is in the way.

As in AWS's simulator a bot's speed is that of its place along the centre line, so bots keep their distances in bends
and during lane changes, and at the end of an open road they come in again at its start.
"""

import math

import numpy as np
from numba import njit

from contract.config import RaceConfig
from contract.state import STEP_S, BoolArray, FloatArray, IntArray, TrackObjects
from simapp.contact import outlines
from simapp.lanes import Lanes, lane_pose
from simapp.road import Track

GAP_M = 0.08
"""Room that a waiting bot leaves ahead; more in bends, where the inner lane is shorter than the centre line."""
SIDE_GAP_M = 0.02
"""TrackObjects nearer than this sideways are in the way."""

_NONE = -1.0


class Bots:
    """The bot cars of W worlds: the last NUMBER_OF_BOT_CARS places of each world's objects."""

    def __init__(self, track: Track, race: RaceConfig, worlds: int) -> None:
        self._track, self._lanes = track, Lanes.of(track)
        self.count = race.number_of_bot_cars
        """Bots a world."""
        self._worlds = worlds
        self._pace = np.array(
            [
                race.bot_car_speed,
                STEP_S,
                race.lower_lane_change_time if race.is_lane_change else math.inf,
                race.upper_lane_change_time if race.is_lane_change else math.inf,
                race.lane_change_distance if race.is_lane_change else 0.0,
                race.min_distance_between_bot_cars,
                GAP_M,
                SIDE_GAP_M,
                self._lanes.squeeze,
            ]
        )
        self._allocate(0)

    def _allocate(self, places: int) -> None:
        shape = (self._worlds, places)
        self._distance_m, self._fraction, self._side = (np.zeros(shape) for _ in range(3))
        self._changed_m = np.full(shape, _NONE)  # travelled since the lane change began
        self._wait_s = np.zeros(shape)
        self._sizes = np.zeros((*shape, 2))
        self._draws = np.zeros(shape, np.int64)
        self._seeds = np.zeros(self._worlds, np.uint64)

    def start(self, world: int, objects: TrackObjects, random: np.random.Generator) -> None:
        """A new episode of a world whose objects (1, M) stand on their lanes; `random` is of its lane changes."""
        if not self.count:
            return
        if objects.places != self._distance_m.shape[1]:
            self._allocate(objects.places)
        self._seeds[world] = random.integers(0, 2**64, dtype=np.uint64)
        self._distance_m[world], fraction = self._places(objects)
        self._side[world] = np.where(fraction < 0.0, -1.0, 1.0)
        is_bot = np.arange(objects.places) >= objects.places - self.count
        self._fraction[world] = np.where(is_bot, self._side[world], fraction)
        self._changed_m[world], self._draws[world], self._wait_s[world] = _NONE, 0, _NONE
        length_m, width_m = outlines(objects)
        self._sizes[world, :, 0], self._sizes[world, :, 1] = length_m[0], width_m[0]

    def step(self, worlds: IntArray, objects: TrackObjects, blocked: BoolArray) -> None:
        """Move the bots of some worlds (K,) by STEP_S in `objects` (all W worlds); a `blocked` (K, M) one stands."""
        if not self.count:
            return
        _drive(
            worlds,
            blocked,
            objects.places - self.count,
            self._lanes.nodes,
            self._lanes.length_m,
            self._pace,
            self._seeds,
            (self._distance_m, self._fraction, self._side, self._changed_m, self._wait_s, self._draws, self._sizes),
            (objects.x_m, objects.y_m, objects.heading_rad, objects.speed_mps),
        )

    def stand(self, worlds: IntArray, objects: TrackObjects) -> None:
        """The bots of some worlds (K,) stand for a step, and so do their times to change lanes."""
        objects.speed_mps[worlds, objects.places - self.count :] = 0.0

    def _places(self, objects: TrackObjects) -> tuple[FloatArray, FloatArray]:
        """Centre-line distance and fraction of the way from the lanes' middle to the left one of each object, (M,)."""
        x_m, y_m = objects.x_m[0], objects.y_m[0]
        where = self._track.project(x_m, y_m)
        distance = where.distance_m
        middle, half = self._lanes.middle_and_half(distance)
        fraction = (where.offset_m - middle) / half
        # the lanes' smooth normals differ a little from the polyline's; what bots start from must be where they are
        for _ in range(8):
            x, y, heading = self._lanes.poses(distance, fraction)
            dx, dy = x_m - x, y_m - y
            distance = distance + dx * np.cos(heading) + dy * np.sin(heading)
            fraction = fraction + (dy * np.cos(heading) - dx * np.sin(heading)) / half
        return distance % self._lanes.length_m, fraction


@njit(cache=True, nogil=True, error_model="numpy")
def _uniform(seed, bot, draw):  # type: ignore[no-untyped-def]
    """Random number in [0, 1) that depends on the three numbers alone (SplitMix64's finaliser)."""
    z = seed + np.uint64(0x9E3779B97F4A7C15) * np.uint64(1024 * draw + bot + 1)
    z = (z ^ (z >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    z = (z ^ (z >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return float((z ^ (z >> np.uint64(31))) >> np.uint64(11)) * 2.0**-53


@njit(cache=True, nogil=True, error_model="numpy")
def _may_go(w, b, first, half, change, length_m, pace, state):  # type: ignore[no-untyped-def]
    """Whether bot b of world w has room for its next step; with `change` whether it may begin to change lanes."""
    speed, step_s, _, _, change_m, spacing_m, gap_m, side_gap_m, squeeze = pace
    distance, fraction, side, changed, _, _, sizes = state
    here = fraction[w, b]
    changing = changed[w, b] >= 0.0
    other = -side[w, b]
    low = min(here, other) if change or changing else here
    high = max(here, other) if change or changing else here
    for m in range(distance.shape[1]):
        if m == b or sizes[w, m, 0] <= 0.0:
            continue
        ahead = (distance[w, m] - distance[w, b]) % length_m
        beside = 0.5 * (sizes[w, m, 1] + sizes[w, b, 1]) + side_gap_m
        its_low = its_high = fraction[w, m]
        if changed[w, m] >= 0.0:
            its_low, its_high = -1.0, 1.0
        if (its_low - high) * half >= beside or (low - its_high) * half >= beside:
            continue
        need = (0.5 * (sizes[w, m, 0] + sizes[w, b, 0]) + gap_m) / squeeze
        if change:
            in_target = (its_low - other) * half < beside and (other - its_high) * half < beside
            behind = length_m - ahead
            if m >= first:
                clear, back = max(change_m + need, spacing_m), spacing_m
            else:
                # past an obstacle there must be room to change back
                clear, back = change_m + need, need
                if in_target:
                    clear += change_m
            if ahead < clear or (in_target and behind < back):
                return False
        else:
            if m < first and not changing:
                need += change_m  # stop where the lane can still be changed
            if ahead < need + speed * step_s and ahead < 0.5 * length_m:
                return False
    return True


@njit(cache=True, nogil=True, error_model="numpy")
def _drive(worlds, blocked, first, nodes, length_m, pace, seeds, state, out):  # type: ignore[no-untyped-def]
    """Move the bots of each world in turn, each seeing where those before it have got to."""
    speed, step_s, lower_s, upper_s, change_m = pace[0], pace[1], pace[2], pace[3], pace[4]
    distance, fraction, side, changed, wait_s, draws, _ = state
    x_m, y_m, heading_rad, speed_mps = out
    for k in range(worlds.size):
        w = worlds[k]
        for b in range(first, distance.shape[1]):
            if change_m > 0.0 and changed[w, b] < 0.0:
                if wait_s[w, b] < 0.0:
                    wait_s[w, b] = lower_s + (upper_s - lower_s) * _uniform(seeds[w], b, draws[w, b])
                    draws[w, b] += 1
                wait_s[w, b] = max(wait_s[w, b] - step_s, 0.0)
            speed_mps[w, b] = 0.0
            if blocked[k, b]:
                continue
            _, _, _, half = lane_pose(nodes, length_m, distance[w, b], 0.0, 0.0)
            due = change_m > 0.0 and changed[w, b] < 0.0 and wait_s[w, b] == 0.0
            if due and _may_go(w, b, first, half, True, length_m, pace, state):
                changed[w, b] = 0.0
            if not _may_go(w, b, first, half, False, length_m, pace, state):
                continue
            speed_mps[w, b] = speed
            distance[w, b] = (distance[w, b] + speed * step_s) % length_m
            fraction[w, b], slope = side[w, b], 0.0
            if changed[w, b] >= 0.0:
                changed[w, b] += speed * step_s
                share = changed[w, b] / change_m
                if share < 1.0:
                    # the cubic that begins and ends along the road
                    fraction[w, b] *= 1.0 - 2.0 * share * share * (3.0 - 2.0 * share)
                    slope = -side[w, b] * 12.0 * share * (1.0 - share) / change_m
                else:
                    side[w, b] = -side[w, b]
                    fraction[w, b] = side[w, b]
                    changed[w, b] = wait_s[w, b] = -1.0
            x, y, heading, _ = lane_pose(nodes, length_m, distance[w, b], fraction[w, b], slope)
            x_m[w, b], y_m[w, b] = x, y
            heading_rad[w, b] = (heading + math.pi) % (2.0 * math.pi) - math.pi
