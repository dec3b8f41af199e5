"""All 27 params of cars anywhere on odd roads against a second implementation, from the contract, with shapely."""

import bisect
import math
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from shapely import LinearRing, Point, Polygon

from contract.config import RaceConfig
from contract.state import Controls, FloatArray, Poses
from simapp.race import Race, RaceRules
from simapp.tracks import Track
from tests.support import BlindSimulator

WHEELS = ((0.082311, 0.079601), (0.082311, -0.079601), (-0.081663, 0.08105), (-0.081663, -0.08105))


def road(kind: str) -> FloatArray:
    """Route files as racers have them, (W, 6): an ellipse, 0.7 m wide."""
    turns = np.linspace(0.0, 2.0 * np.pi, 61)

    def edge(offset: FloatArray | float, slide: float) -> FloatArray:
        t = turns + slide * np.sin(turns) ** 2
        normal = np.column_stack([3.0 * np.cos(t), 4.0 * np.sin(t)])
        normal /= np.linalg.norm(normal, axis=1)[:, None]
        return np.asarray(np.column_stack([4.0 * np.cos(t), 3.0 * np.sin(t)]) + np.reshape(offset, (-1, 1)) * normal)

    slide = 0.05 if kind == "skewed" else 0.0
    inner, outer = np.full(61, -0.35), np.full(61, 0.35)
    if kind == "crossed":
        inner[20:24], outer[20:24] = 0.06, 0.45
    if kind == "lopsided":
        inner, outer = inner + 0.15, outer + 0.15
    route = np.hstack([edge(0.0, 0.0), edge(inner, -slide), edge(outer, slide)])
    if kind == "clockwise":
        route = route[::-1].copy()  # the inner edge stays the geometric inside
    if kind == "mirrored":
        route = (route * [1, -1, 1, -1, 1, -1])[::-1].copy()
    route[-1] = route[0]
    return np.asarray(route)


KINDS = ("plain", "skewed", "crossed", "lopsided", "clockwise", "mirrored")


class Reference:
    """The contract's words in shapely and plain loops; nothing of simapp. `route` as in the file."""

    def __init__(self, route: FloatArray, reverse: bool) -> None:
        rows = route[::-1] if reverse else route
        self.centre, self.inner, self.outer = (LinearRing(rows[:-1, i : i + 2]) for i in (0, 2, 4))
        self.points = [(float(x), float(y)) for x, y in rows[:, :2]]
        self.is_ccw, self.reverse = self.centre.is_ccw, reverse
        self.starts = [0.0]
        for (ax, ay), (bx, by) in zip(self.points, self.points[1:], strict=False):
            self.starts.append(self.starts[-1] + math.hypot(bx - ax, by - ay))
        edges = sorted((Polygon(self.inner), Polygon(self.outer)), key=lambda it: it.area)
        self.road = Polygon(edges[1].exterior, [edges[0].exterior])

    def params(self, x: float, y: float, heading: float) -> dict[str, Any]:
        """Of a car whose base_link is there."""
        cos, sin = math.cos(heading), math.sin(heading)
        front = Point(x + 0.14 * cos, y + 0.14 * sin)
        distance = self.centre.project(front)
        foot = self.centre.interpolate(distance)
        near_in, near_out = (edge.interpolate(edge.project(foot)) for edge in (self.inner, self.outer))
        ahead = bisect.bisect_right(self.starts, distance)
        wheels = [Point(x + a * cos - b * sin, y + a * sin + b * cos) for a, b in WHEELS]
        self.edge_m = min(self.road.boundary.distance(wheel) for wheel in wheels)
        self.side_m = near_in.distance(front) - near_out.distance(front)
        inside = [self.road.contains(wheel) for wheel in wheels]
        return {
            "all_wheels_on_track": all(inside),
            "is_offtrack": not any(inside),
            "x": front.x,
            "y": front.y,
            "heading": math.degrees(math.atan2(sin, cos)),
            "distance_from_center": foot.distance(front),
            "projection_distance": distance,
            "closest_waypoints": [ahead - 1, ahead],
            "is_left_of_center": (self.side_m < 0.0) ^ (not self.is_ccw),
            "track_width": near_in.distance(near_out),
            "track_length": self.centre.length,
            "waypoints": self.points,
            "is_reversed": self.reverse,
        }


@settings(max_examples=40, deadline=None)
@given(
    kind=st.sampled_from(KINDS),
    reverse=st.booleans(),
    start=st.integers(0, 19),
    places=st.lists(
        st.tuples(st.floats(0.0, 0.02), st.floats(-0.5, 0.5), st.floats(-3.1, 3.1)), min_size=3, max_size=6
    ),
    steering_deg=st.floats(-30.0, 30.0),
    speed=st.floats(0.1, 4.0),
)
def test_every_param_is_the_references(
    kind: str,
    reverse: bool,
    start: int,
    places: list[tuple[float, float, float]],
    steering_deg: float,
    speed: float,
) -> None:
    route = road(kind)
    given_track = Track(kind, route)
    track = given_track.reversed() if reverse else given_track
    reference = Reference(route, reverse)
    told: list[dict[str, Any]] = []

    def reward(params: dict[str, Any]) -> float:
        told.append(params)
        return 1.0

    simulator = BlindSimulator(1)
    race = Race(simulator, track, RaceRules(10**6, resets=10**6), [reward], reverse)
    race.start(0, start / 20 * track.length_m, clock_s=50.0)
    one, controls = np.array([0]), Controls(np.array([math.radians(steering_deg)]), np.array([speed]))
    race.step(one, controls)
    line_m, progress, step = start / 20 * track.length_m, 0.0, 1
    along = start / 20
    for ahead, offset, turn in places:
        along = (along + ahead) % 1.0
        pose = track.pose_at(along * track.length_m, offset)
        heading = float(pose.heading_rad[0]) + turn
        x, y = float(pose.x_m[0]), float(pose.y_m[0])
        simulator.place(one, Poses(pose.x_m, pose.y_m, np.array([heading])))
        expected = reference.params(x, y, heading)
        told.clear()
        row = race.step(one, controls).rows[0]
        step += 1
        # agent_ctrl/utils.py compute_current_prog, in the contract: from the start, and below 0 behind it
        now = (expected["projection_distance"] - line_m) / track.length_m * 100.0
        now += 100.0 * round((progress - now) / 100.0)
        progress = now
        if not told:  # held after leaving the road
            continue
        (params,) = told
        expected |= {
            "progress": min(progress, 100.0),
            "steps": step,
            "sim_time": 50.0 + (step - 1) / 15.0,
            "speed": speed,
            "steering_angle": steering_deg,
            "is_crashed": False,
            "closest_objects": [0, 0],
            "object_in_camera": False,
            **{f"objects_{name}": [] for name in ("location", "left_of_center", "speed", "heading")},
            **{f"objects_{name}": [] for name in ("distance_from_center", "distance")},
        }
        assert set(params) == set(expected)
        assert len(params) == 27
        for name, value in expected.items():
            if name in ("all_wheels_on_track", "is_offtrack") and reference.edge_m < 1e-6:
                continue
            if name == "is_left_of_center" and abs(reference.side_m) < 1e-6:
                continue
            if (
                name == "closest_waypoints"
                and min(abs(params["projection_distance"] - s) for s in reference.starts) < 1e-6
            ):
                continue
            if isinstance(value, float):
                assert params[name] == pytest.approx(value, abs=1e-6), name
            else:
                assert params[name] == value, name
        assert row["progress_pct"] == params["progress"]


POSITIONS: Any = ((0.1, 1), (0.45, -1), (0.8, 1))


@settings(max_examples=15, deadline=None)
@given(
    kind=st.sampled_from(KINDS),
    reverse=st.booleans(),
    at=st.floats(0.0, 1.0),
    offset=st.floats(-0.2, 0.2),
    turn=st.floats(-3.1, 3.1),
)
def test_params_of_objects_are_the_references(kind: str, reverse: bool, at: float, offset: float, turn: float) -> None:
    route = road(kind)
    given_track = Track(kind, route)
    track = given_track.reversed() if reverse else given_track
    reference = Reference(route, reverse)
    told: list[dict[str, Any]] = []

    def reward(params: dict[str, Any]) -> float:
        told.append(params)
        return 1.0

    simulator = BlindSimulator(1)
    config = RaceConfig(race_type="OBJECT_AVOIDANCE", object_positions=POSITIONS)
    race = Race(simulator, track, RaceRules(10**6), [reward], reverse, config)
    race.furnish(0, np.random.default_rng(0))
    race.start(0, 0.3 * track.length_m)
    one, still = np.array([0]), Controls(np.zeros(1), np.zeros(1))
    race.step(one, still)
    pose = track.pose_at(at * track.length_m, offset)
    heading = float(pose.heading_rad[0]) + turn
    simulator.place(one, Poses(pose.x_m, pose.y_m, np.array([heading])))
    race.step(one, still)
    (params,) = told
    here = reference.params(float(pose.x_m[0]), float(pose.y_m[0]), heading)["projection_distance"]
    rows = route[::-1] if reverse else route
    boxes = []
    for fraction, lane in POSITIONS:
        edge = rows[:, 2:4] if lane == 1 else rows[:, 4:6]
        middle = LinearRing(0.5 * (edge + rows[:, :2])[:-1])
        boxes.append(
            middle.interpolate(middle.project(reference.centre.interpolate(fraction * reference.centre.length)))
        )
    distances = [reference.centre.project(box) for box in boxes]
    for (x, y), box in zip(params["objects_location"], boxes, strict=True):
        assert (x, y) == pytest.approx((box.x, box.y), abs=1e-6)
    assert params["objects_distance"] == pytest.approx(distances, abs=1e-6)
    assert params["objects_distance_from_center"] == pytest.approx(
        [reference.centre.distance(box) for box in boxes], abs=1e-6
    )
    assert params["objects_speed"] == params["objects_heading"] == [0.0] * 3
    ahead = min(range(3), key=lambda i: (distances[i] - here) % reference.centre.length)
    behind = min(range(3), key=lambda i: (here - distances[i]) % reference.centre.length)
    assert params["closest_objects"] == [behind, ahead]
    inner = Polygon(reference.inner)
    inner_lane = [Polygon(reference.centre).symmetric_difference(inner).contains(box) for box in boxes]
    if kind != "crossed":
        assert params["objects_left_of_center"] == [it ^ (not reference.is_ccw) for it in inner_lane]
