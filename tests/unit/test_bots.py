"""Bot cars on their lanes: speed, lane changes, queues, and that nobody drives into anybody."""

import math
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from contract.config import RaceConfig
from contract.state import STEP_S, FloatArray, TrackObjects
from contract.vehicle import LENGTH_M
from simapp.bots import Bots
from simapp.contact import outlines, overlaps
from simapp.objects import Course
from simapp.tracks import Track, heading_difference, load_track
from tests.support import circle

STRIP, OVAL = load_track("drag_strip"), load_track("first_oval")


class World:
    """Worlds full of bots, driven step by step."""

    def __init__(self, track: Track, seeds: list[int], **keys: Any) -> None:
        config = RaceConfig.model_validate({"race_type": "HEAD_TO_BOT", **keys})
        self.bots = Bots(track, config, len(seeds))
        self.course = Course(track, config)
        self.objects = TrackObjects.none(len(seeds), self.course.places)
        for world, seed in enumerate(seeds):
            self.start(world, seed)

    def start(self, world: int, seed: int) -> None:
        random = np.random.default_rng(seed)
        row = self.course.objects(random)
        self.objects.put(np.array([world]), row)
        self.bots.start(world, row, random)

    def step(self, worlds: list[int] | None = None, blocked: tuple[int, ...] = ()) -> None:
        chosen = np.arange(len(self.objects.kind)) if worlds is None else np.array(worlds)
        held = np.zeros((len(chosen), self.objects.places), np.bool_)
        held[:, list(blocked)] = True
        self.bots.step(chosen, self.objects, held)

    def poses(self) -> FloatArray:
        return np.stack([self.objects.x_m, self.objects.y_m, self.objects.heading_rad])

    def overlapping(self) -> int:
        boxes = (self.objects.x_m, self.objects.y_m, self.objects.heading_rad, *outlines(self.objects))
        each = [
            overlaps(tuple(v[:, i] for v in boxes), boxes).sum() - len(self.objects.kind)
            for i in range(len(boxes[0][0]))
        ]
        return int(sum(each))


def test_speed_is_exact_on_a_straight() -> None:
    world = World(STRIP, [0], number_of_bot_cars=2, bot_car_speed=0.7)
    x, y = world.objects.x_m.copy(), world.objects.y_m.copy()
    for step in range(1, 21):
        world.step()
        np.testing.assert_allclose(
            np.hypot(world.objects.x_m - x, world.objects.y_m - y), step * 0.7 * STEP_S, rtol=1e-9
        )
    np.testing.assert_allclose(world.objects.heading_rad, STRIP.pose_at(1.0).heading_rad[0], atol=1e-12)
    assert (world.objects.speed_mps == 0.7).all()


def test_a_circle_is_driven_at_the_centre_lines_speed() -> None:
    world = World(circle(), [0], number_of_bot_cars=4, bot_car_speed=1.0)
    angle, radius = (f(world.objects.y_m, world.objects.x_m) for f in (np.arctan2, np.hypot))
    for _ in range(30):
        world.step()
    turned = heading_difference(np.arctan2(world.objects.y_m, world.objects.x_m), angle)
    np.testing.assert_allclose(turned, 30 * STEP_S / 3.0, rtol=2e-3)
    np.testing.assert_allclose(np.hypot(world.objects.y_m, world.objects.x_m), radius, rtol=2e-4)


@pytest.mark.parametrize("track", [OVAL, OVAL.reversed(), circle(), load_track("harbour")])
def test_paths_are_smooth_and_cars_point_where_they_go(track: Track) -> None:
    keys = {"is_lane_change": True, "lower_lane_change_time": 0.5, "upper_lane_change_time": 2.0}
    world = World(track, [1, 2], number_of_bot_cars=4, bot_car_speed=0.5, **keys)
    before, sides = world.poses(), set[float]()
    for _ in range(300):
        world.step()
        now = world.poses()
        gone, turn = np.hypot(*(now - before)[:2]), heading_difference(now[2], before[2])
        moving = world.objects.speed_mps > 0.0
        assert (gone[~moving] == 0.0).all()
        assert ((gone[moving] > 0.6 * 0.5 * STEP_S) & (gone[moving] < 1.6 * 0.5 * STEP_S)).all()
        assert np.abs(turn).max() < 0.25
        course = np.arctan2(now[1] - before[1], now[0] - before[0])
        # the road's polyline has corners, which the heading rounds
        assert np.abs(heading_difference(course, before[2] + turn / 2)[moving]).max() < 0.12
        offset = track.project(now[0].ravel(), now[1].ravel())
        assert (4 * np.abs(offset.offset_m) < 1.05 * offset.width_m).all()
        sides |= set(np.sign(offset.offset_m).tolist())
        before = now
    assert sides >= {-1.0, 1.0}


def test_lane_changes_keep_their_times_and_length() -> None:
    keys = {"is_lane_change": True, "lower_lane_change_time": 1.0, "upper_lane_change_time": 3.0}
    speed, change_m = 0.6, 0.9
    world = World(
        circle(), list(range(12)), number_of_bot_cars=1, bot_car_speed=speed, lane_change_distance=change_m, **keys
    )
    radius = []
    for _ in range(450):
        world.step()
        radius.append(np.hypot(world.objects.x_m, world.objects.y_m)[:, 0])
    in_lane = np.abs(np.abs(np.array(radius) - 3.0) - 0.2) < 6e-4
    waits: list[float] = []
    changes: list[float] = []
    for lane in in_lane.T:
        edges = np.flatnonzero(np.diff(lane.astype(int)))
        lengths = np.diff(edges)
        # a stretch begins in or out of a lane as the step after its edge
        for edge, length in zip(edges, lengths, strict=False):
            (waits if lane[edge + 1] else changes).append(length * STEP_S)
    assert len(waits) > 60
    # one step of rounding, and the ends of a change are within 0.6 mm of the lane
    slack = 3 * STEP_S
    assert min(waits) >= 1.0 - slack and max(waits) <= 3.0 + 2 * slack
    assert np.std(waits) == pytest.approx(2.0 / math.sqrt(12.0), rel=0.25)
    np.testing.assert_allclose(changes, change_m / speed, atol=slack)


@settings(max_examples=8)
@given(
    name=st.sampled_from(["first_oval", "switchback", "needle", "harbour", "drag_strip"]),
    seed=st.integers(0, 2**32),
    is_lane_change=st.booleans(),
    speed=st.sampled_from([0.2, 1.0, 3.0]),
    parked=st.booleans(),
)
def test_nobody_drives_into_anybody(name: str, seed: int, is_lane_change: bool, speed: float, parked: bool) -> None:
    track = load_track(name)
    count = min(5, int((track.length_m - 1.0) / 4.0))
    world = World(
        track,
        [seed, seed + 1],
        number_of_obstacles=count,
        number_of_bot_cars=count,
        randomize_obstacle_locations=True,
        randomize_bot_car_locations=True,
        is_obstacle_bot_car=parked,
        is_lane_change=is_lane_change,
        bot_car_speed=speed,
    )
    random = np.random.default_rng(seed)
    for _ in range(80):
        held = tuple(np.flatnonzero(random.random(world.objects.places) < 0.1).tolist())
        for _ in range(5):
            world.step(blocked=held)
        assert world.overlapping() == 0


def test_bots_get_past_boxes_when_they_may_change_lanes() -> None:
    keys: dict[str, Any] = {"number_of_obstacles": 4, "number_of_bot_cars": 2, "randomize_obstacle_locations": True}
    keys["obstacle_distance_in"] = "metres"  # boxes in both lanes half a metre apart would leave no way
    world = World(OVAL, [3, 4, 5], is_lane_change=True, bot_car_speed=1.0, **keys)
    driven = np.zeros((3, 2))
    for _ in range(1200):
        world.step()
        driven += world.objects.speed_mps[:, 4:] * STEP_S
    assert (driven > OVAL.length_m).all()


def test_a_blocked_bot_waits_and_holds_up_those_behind_it() -> None:
    world = World(circle(), [0], number_of_bot_cars=6, min_distance_between_bot_cars=1.0, bot_car_speed=1.0)
    lane = np.hypot(world.objects.x_m[0], world.objects.y_m[0]) < 3.0
    held = world.poses()[:, 0, 2]
    for _ in range(300):
        world.step(blocked=(2,))
    assert np.array_equal(world.poses()[:, 0, 2], held)
    # everybody in its lane queues up behind it, the others drive on
    assert world.objects.speed_mps[0].tolist() == [0.0 if same else 1.0 for same in lane == lane[2]]
    behind = np.hypot(*(world.poses()[:2, 0, 0] - held[:2]))
    assert LENGTH_M < behind < LENGTH_M + 0.25
    for _ in range(10):
        world.step()
    assert (world.objects.speed_mps == 1.0).all()


def test_worlds_do_not_depend_on_each_other() -> None:
    keys = {"number_of_bot_cars": 3, "is_lane_change": True, "randomize_bot_car_locations": True, "bot_car_speed": 1.0}
    together, alone = World(OVAL, [1, 2, 3], **keys), World(OVAL, [2], **keys)
    for step in range(120):
        together.step([2, 1] if step % 2 else [1])
        alone.step()
    assert np.array_equal(together.poses()[:, 1], alone.poses()[:, 0])
    assert np.array_equal(together.poses()[:, 0], World(OVAL, [1], **keys).poses()[:, 0])
    # a new episode repeats an old one
    together.start(0, 2)
    for _ in range(120):
        together.step([0])
    assert np.array_equal(together.poses()[:, 0], alone.poses()[:, 0])


def test_mirrored_roads_are_driven_mirrored() -> None:
    flipped = Track("mirror", (OVAL.route * [1, -1, 1, -1, 1, -1])[:, [0, 1, 4, 5, 2, 3]])
    keys = {"number_of_bot_cars": 3, "is_lane_change": True, "lower_lane_change_time": 1.0, "bot_car_speed": 1.0}
    one, other = World(OVAL, [4], **keys), World(flipped, [4], **keys)
    for _ in range(200):
        one.step()
        other.step()
    np.testing.assert_allclose(other.objects.x_m, one.objects.x_m, atol=1e-8)
    np.testing.assert_allclose(other.objects.y_m, -one.objects.y_m, atol=1e-8)
    np.testing.assert_allclose(heading_difference(other.objects.heading_rad, -one.objects.heading_rad), 0.0, atol=1e-8)


def test_the_first_step_begins_where_the_bots_were_put() -> None:
    keys = {"number_of_bot_cars": 4, "randomize_bot_car_locations": True, "bot_car_speed": 0.01}
    world = World(load_track("harbour"), list(range(10)), **keys)
    before = world.poses()
    world.step()
    assert np.hypot(*(world.poses() - before)[:2]).max() < 2 * 0.01 * STEP_S


def test_nobody_cuts_in_within_the_minimum_distance() -> None:
    keys = {"is_lane_change": True, "lower_lane_change_time": 0.5, "upper_lane_change_time": 1.0}
    world = World(circle(), [0, 1], number_of_bot_cars=5, randomize_bot_car_locations=True, bot_car_speed=1.0, **keys)
    random, was_changing, begun = np.random.default_rng(0), np.zeros((2, 5), np.bool_), 0
    for step in range(900):
        if step % 15 == 0:
            held = tuple(np.flatnonzero(random.random(5) < 0.4).tolist())
        world.step(blocked=held)
        angle, radius = np.arctan2(world.objects.y_m, world.objects.x_m), np.hypot(world.objects.x_m, world.objects.y_m)
        changing = np.abs(np.abs(radius - 3.0) - 0.2) > 6e-4
        for w, b in np.argwhere(changing & ~was_changing):
            gaps = 3.0 * np.abs(heading_difference(angle[w], angle[w, b]))
            in_target = ((radius[w] - 3.0) * (radius[w, b] - 3.0) < 0.0) & ~changing[w]
            # it was seen a step or two after it began
            assert (gaps[in_target] > 2.0 - 3 * STEP_S).all()
            begun += 1
        was_changing = changing
    assert begun > 30


def test_each_bot_changes_lanes_at_a_time_of_its_own() -> None:
    keys = {"is_lane_change": True, "lower_lane_change_time": 1.0, "upper_lane_change_time": 5.0}
    world = World(circle(), [0, 1], number_of_bot_cars=4, **keys)
    lane, first = np.hypot(world.objects.x_m, world.objects.y_m), np.zeros((2, 4), np.int64)
    for step in range(1, 120):
        world.step()
        left = np.abs(np.hypot(world.objects.x_m, world.objects.y_m) - lane) > 1e-3
        first = np.where((first == 0) & left, step, first)
    assert (first >= 15).all()
    assert len(set(first.ravel().tolist())) >= 7
