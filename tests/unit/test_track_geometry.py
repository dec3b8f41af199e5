"""The Track's geometry against shapely, closed forms, hand-worked numbers and its own symmetries."""

import csv
import math

import numpy as np
import pytest
import shapely
from hypothesis import given, settings
from hypothesis import strategies as st

from contract.state import FloatArray
from simapp.road.kernels import BOUNDARY_M
from simapp.tracks import Track, available_tracks, heading_difference, load_track
from tests.conftest import SHARED_REFERENCE

PUBLIC = sorted((SHARED_REFERENCE / "tracks").glob("*.npy"))
SHIPPED = available_tracks()


def circle(radius: float = 2.0, width: float = 0.8, rows: int = 121) -> Track:
    angle = np.linspace(0.0, 2.0 * np.pi, rows)
    angle[-1] = 0.0
    unit = np.column_stack([np.cos(angle), np.sin(angle)])
    return Track("circle", np.hstack([radius * unit, (radius - width / 2) * unit, (radius + width / 2) * unit]))


def street(length: float = 4.0, width: float = 1.0, rows: int = 5) -> Track:
    x = np.linspace(0.0, length, rows)
    zero = np.zeros(rows)
    return Track("street", np.column_stack([x, zero, x, zero + width / 2, x, zero - width / 2]))


def points_around(track: Track, count: int, seed: int, margin: float = 0.7) -> tuple[FloatArray, FloatArray]:
    rng = np.random.default_rng(seed)
    xmin, ymin, xmax, ymax = track.bounds
    return rng.uniform(xmin - margin, xmax + margin, count), rng.uniform(ymin - margin, ymax + margin, count)


def moved(track: Track, angle: float, dx: float, dy: float) -> Track:
    turn = np.array([[math.cos(angle), -math.sin(angle)], [math.sin(angle), math.cos(angle)]])
    route = np.hstack([track.route[:, i : i + 2] @ turn.T + (dx, dy) for i in (0, 2, 4)])
    if track.closed:  # a product of matrices may round the equal rows differently
        route[-1] = route[0]
    return Track(track.name, route)


def any_tracks() -> list[Track]:
    return [load_track(name) for name in SHIPPED] + [load_track(str(path)) for path in PUBLIC]


@pytest.mark.parametrize("track", any_tracks(), ids=lambda track: track.name)
def test_projection_agrees_with_shapely(track: Track) -> None:
    x, y = points_around(track, 400, seed=1)
    line, points = shapely.LineString(track.centre), shapely.points(x, y)
    seen = track.project(x, y)
    assert track.length_m == pytest.approx(line.length, abs=1e-9)
    np.testing.assert_allclose(np.abs(seen.offset_m), shapely.distance(line, points), atol=1e-9)
    # far from the road two stretches may be equally near: both are right, so compare the points found, not lengths
    foot = shapely.line_interpolate_point(line, seen.distance_m)
    np.testing.assert_allclose(shapely.distance(foot, points), shapely.distance(line, points), atol=1e-9)
    near = np.abs(seen.offset_m) < 0.3
    apart = np.abs(seen.distance_m - shapely.line_locate_point(line, points))[near]
    np.testing.assert_allclose(np.minimum(apart, track.length_m - apart) if track.closed else apart, 0.0, atol=1e-9)
    starts = np.concatenate([[0.0], np.cumsum(np.hypot(*np.diff(track.centre, axis=0).T))])
    assert np.all(starts[seen.behind] <= seen.distance_m + 1e-12)
    assert np.all(seen.distance_m <= starts[seen.ahead] + 1e-12)
    assert np.all(seen.ahead == seen.behind + 1)


@pytest.mark.parametrize("track", any_tracks(), ids=lambda track: track.name)
def test_road_agrees_with_shapely(track: Track) -> None:
    x, y = points_around(track, 1000, seed=2)
    inner, outer = track.inner, track.outer
    quads = [
        shapely.Polygon([inner[i], inner[i + 1], outer[i + 1], outer[i]])
        for i in range(len(inner) - 1)
        if not np.array_equal(track.route[i], track.route[i + 1])
    ]
    assert all(quad.is_valid for quad in quads)
    road = shapely.union_all(quads)
    points = shapely.points(x, y)
    clear = np.asarray(shapely.distance(road.boundary, points)) > 2 * BOUNDARY_M
    assert clear.sum() > 990
    inside = track.on_road(x, y)
    np.testing.assert_array_equal(inside[clear], np.asarray(shapely.contains(road, points))[clear])
    assert 0.02 < inside.mean() < 0.98


@pytest.mark.parametrize("track", any_tracks(), ids=lambda track: track.name)
def test_edges_and_seams_are_road(track: Track) -> None:
    for line in (track.inner, track.outer, track.centre):
        middles = 0.5 * (line[:-1] + line[1:])
        assert track.on_road(line[:, 0], line[:, 1]).all()
        assert track.on_road(middles[:, 0], middles[:, 1]).all()
    # along the seams between quads
    for part in (0.1, 1 / 3, 0.77):
        seam = track.inner + part * (track.outer - track.inner)
        assert track.on_road(seam[:, 0], seam[:, 1]).all()


def test_self_touching_road() -> None:
    # two lanes side by side, joined by a U-turn of radius half the width: the inner edge shrinks to one point
    bend = np.linspace(-np.pi / 2, np.pi / 2, 13)
    turn = np.column_stack([np.cos(bend), np.sin(bend)])
    pieces = [np.array([[-2.0, -0.5], [-1.0, -0.5]]), 0.5 * turn, np.array([[-1.0, 0.5], [-2.0, 0.5]])]
    inner = np.vstack([[[-2.0, 0.0], [-1.0, 0.0]], 0.0 * turn, [[-1.0, 0.0], [-2.0, 0.0]]])
    outer = np.vstack([[[-2.0, -1.0], [-1.0, -1.0]], turn, [[-1.0, 1.0], [-2.0, 1.0]]])
    track = Track("u_turn", np.hstack([np.vstack(pieces), inner, outer]))
    assert track.on_road([-1.5, 0.0, 0.9, -1.5, -1.5], [0.0, 0.0, 0.0, 0.99, -0.99]).all()
    assert not track.on_road([0.0, -1.5, -2.1, 1.01], [1.01, 1.01, 0.0, 0.0]).any()


def test_hand_worked_street() -> None:
    track = street()
    assert (track.closed, track.length_m, track.direction, track.min_radius_m) == (False, 4.0, "open", math.inf)
    assert track.bounds == (0.0, -0.5, 4.0, 0.5)
    seen = track.project([0.25, 1.0, 2.75, 4.0, 5.0, -1.0], [0.1, -0.2, 0.0, 0.3, 0.0, 0.0])
    np.testing.assert_allclose(seen.distance_m, [0.25, 1.0, 2.75, 4.0, 4.0, 0.0])
    np.testing.assert_allclose(seen.offset_m, [0.1, -0.2, 0.0, 0.3, 1.0, 1.0])
    assert seen.behind.tolist() == [0, 1, 2, 3, 3, 0]
    assert seen.ahead.tolist() == [1, 2, 3, 4, 4, 1]
    assert seen.nearest_waypoint.tolist() == [0, 1, 3, 4, 4, 0]
    np.testing.assert_allclose(seen.heading_rad, 0.0)
    np.testing.assert_allclose(seen.width_m, 1.0)
    on = track.on_road([0.0, 4.0, 4.0 + 1e-6, 2.0, 2.0, 2.0], [0.5, -0.5, 0.0, 0.5, 0.5 + 1e-6, -0.2])
    assert on.tolist() == [True, True, False, True, False, True]
    clipped = track.pose_at([-1.0, 9.0])
    np.testing.assert_allclose(clipped.x_m, [0.0, 4.0])


def test_closed_form_circle() -> None:
    track = circle()
    rng = np.random.default_rng(3)
    angle, radius = rng.uniform(0.0, 2 * np.pi, 500), rng.uniform(1.0, 3.0, 500)
    seen = track.project(radius * np.cos(angle), radius * np.sin(angle))
    # 120 chords lie within radius * (1 - cos(pi / 120)) = 0.7 mm of the circle; left of it is its inside
    np.testing.assert_allclose(seen.offset_m, 2.0 - radius, atol=7e-4)
    # outside the circle, a point beside a waypoint is up to half a chord's angle away from its foot
    apart = heading_difference(2 * np.pi * seen.distance_m / track.length_m, angle)
    assert np.abs(apart).max() < np.pi / 120
    assert np.abs(heading_difference(seen.heading_rad, angle + np.pi / 2)).max() < 0.06
    # from chord to chord across the road: 0.8 m at the corners, and its cosine between them
    np.testing.assert_array_less(seen.width_m, 0.8 + 1e-12)
    np.testing.assert_array_less(0.8 * math.cos(np.pi / 120) - 1e-12, seen.width_m)
    assert track.length_m == pytest.approx(4 * np.pi, rel=2e-4)
    assert track.min_radius_m == pytest.approx(2.0, rel=2e-4)
    assert (track.direction, track.reversed().direction) == ("ccw", "cw")


def test_the_width_is_from_edge_point_to_edge_point_nearest_to_the_centre() -> None:
    """Hand-worked: from (1, 0) the nearest points of edges that open by 1 : 2 are (0.6, 0.8) and (0.6, -0.8)."""
    rows = np.array([[0.0, 0, 0, 0.5, 0, -0.5], [2.0, 0, 2, 1.5, 2, -1.5]])
    seen = Track("funnel", rows).project([1.0, 1.0, 1.0], [0.0, 0.3, -0.3])
    foot = np.array([1.0, 0.0]) - (1.0 - 2 * 0.0 + 1.0) / 5.0 * np.array([1.0, -2.0])
    assert abs(foot[1] - 0.5 - 0.5 * foot[0]) < 1e-12  # on the edge y = 0.5 + x / 2
    assert seen.width_m == pytest.approx([2 * foot[1]] * 3)
    assert seen.is_left.tolist() == [False, True, False]


@st.composite
def skewed_rings(draw: st.DrawFn) -> Track:
    """A loop whose edge rows slide along the edges, away from the rows of the centre line, and come back."""
    rows = draw(st.integers(24, 90))
    slides = [draw(st.floats(-0.05, 0.05)) for _ in range(2)]
    halves = [draw(st.floats(0.3, 0.45)) for _ in range(2)]
    turns = np.linspace(0.0, 2.0 * np.pi, rows)

    def edge(offset: float, slide: float) -> FloatArray:
        t = turns + slide * np.sin(turns) ** 2
        normal = np.column_stack([3.0 * np.cos(t), 4.0 * np.sin(t)])
        normal /= np.linalg.norm(normal, axis=1)[:, None]
        return np.asarray(np.column_stack([4.0 * np.cos(t), 3.0 * np.sin(t)]) + offset * normal)

    route = np.hstack([edge(0.0, 0.0), edge(-halves[0], slides[0]), edge(halves[1], slides[1])])
    route[-1] = route[0]
    track = Track("skewed", route)
    return track.reversed() if draw(st.booleans()) else track


@settings(max_examples=60, deadline=None)
@given(track=skewed_rings(), seed=st.integers(0, 2**32 - 1))
def test_widths_sides_lanes_and_road_of_skewed_rows_by_shapely(track: Track, seed: int) -> None:
    x, y = points_around(track, 40, seed, margin=0.2)
    centre, left, right = (shapely.LinearRing(line[:-1]) for line in (track.centre, track.inner, track.outer))
    points = np.array([shapely.Point(at) for at in zip(x, y, strict=True)])
    feet = [shapely.line_interpolate_point(centre, shapely.line_locate_point(centre, point)) for point in points]
    near_left, near_right = (
        [shapely.line_interpolate_point(edge, shapely.line_locate_point(edge, foot)) for foot in feet]
        for edge in (left, right)
    )
    seen = track.project(x, y)
    apart = np.array([abs(float(shapely.distance(c, foot))) for c, foot in zip(points, feet, strict=True)])
    near = np.abs(seen.offset_m) < 1.0  # further off two stretches may be as near
    np.testing.assert_allclose(np.abs(seen.offset_m), apart, atol=1e-9)
    widths = shapely.distance(np.array(near_left), np.array(near_right))
    np.testing.assert_allclose(seen.width_m[near], widths[near], atol=1e-7)
    nearer = shapely.distance(np.array(near_left), points) - shapely.distance(np.array(near_right), points)
    clear = near & (np.abs(nearer) > 1e-7)
    np.testing.assert_array_equal(seen.is_left[clear], nearer[clear] < 0.0)
    outer, inner = sorted((shapely.Polygon(left), shapely.Polygon(right)), key=lambda it: -it.area)
    road = shapely.Polygon(outer.exterior, [inner.exterior])
    off_line = np.asarray(shapely.distance(road.boundary, points)) > 2 * BOUNDARY_M
    np.testing.assert_array_equal(
        track.on_road(x, y)[off_line], np.array([road.contains(it) for it in points])[off_line]
    )
    at = seen.distance_m[near]
    for is_left, edge in ((True, track.inner), (False, track.outer)):
        lane = shapely.LinearRing(0.5 * (edge + track.centre)[:-1])
        pose = track.lane_pose(at, is_left)
        placed = shapely.points(pose.x_m, pose.y_m)
        here = np.array([foot for foot, it in zip(feet, near, strict=True) if it])
        np.testing.assert_allclose(shapely.distance(lane, placed), 0.0, atol=1e-9)
        np.testing.assert_allclose(shapely.distance(placed, here), shapely.distance(lane, here), atol=1e-9)
        ahead = shapely.points(pose.x_m + 1e-5 * np.cos(pose.heading_rad), pose.y_m + 1e-5 * np.sin(pose.heading_rad))
        on = shapely.line_locate_point(lane, ahead) - shapely.line_locate_point(lane, placed)
        assert np.median(on) == pytest.approx(1e-5, rel=1e-3)


def test_the_start_line_of_a_loop() -> None:
    track = circle()
    last = len(track.route) - 1
    x, y = track.route[0, :2]
    at, before, after = (track.project([x], [y + shift]) for shift in (0.0, -1e-3, 1e-3))
    assert (at.distance_m[0], at.behind[0], at.ahead[0]) == (0.0, 0, 1)
    assert (before.behind[0], before.ahead[0], before.nearest_waypoint[0]) == (last - 1, last, last)
    assert before.distance_m[0] == pytest.approx(track.length_m - 1e-3, abs=1e-5)
    assert (after.behind[0], after.nearest_waypoint[0]) == (0, 0)


def test_every_waypoint_begins_its_own_segment() -> None:
    for track in any_tracks():
        moving = np.flatnonzero(np.any(track.centre[1:] != track.centre[:-1], axis=1))
        seen = track.project(track.centre[moving, 0], track.centre[moving, 1])
        assert seen.behind.tolist() == moving.tolist(), track.name


def test_a_corner_keeps_the_outside_on_its_side() -> None:
    # a left turn of 90 degrees at the middle waypoint: the outside of the corner is right of the line
    rows = [[0.0, 0, 0, 0.4, 0, -0.4], [2.0, 0, 1.6, 0.4, 2.4, -0.4], [2.0, 2, 1.6, 2, 2.4, 2]]
    seen = Track("corner", np.array(rows)).project([2.3, 2.1, 2.3], [-0.1, -0.3, -0.3])
    np.testing.assert_allclose(seen.offset_m, [-math.hypot(0.3, 0.1), -math.hypot(0.1, 0.3), -math.hypot(0.3, 0.3)])
    np.testing.assert_allclose(seen.distance_m, 2.0)


@pytest.mark.parametrize("track", any_tracks(), ids=lambda track: track.name)
def test_reversed(track: Track) -> None:
    back = track.reversed()
    assert back.reversed().route.tobytes() == track.route.tobytes()
    assert back.closed == track.closed
    x, y = points_around(track, 200, seed=4)
    there, here = back.project(x, y), track.project(x, y)
    np.testing.assert_array_equal(back.on_road(x, y), track.on_road(x, y))
    # the fields below are those of the nearest centre point, and that one is unique only near the road
    near = np.flatnonzero((np.abs(here.offset_m) < 0.3) & (here.fraction > 1e-6) & (here.fraction < 1 - 1e-6))
    np.testing.assert_allclose(there.offset_m[near], -here.offset_m[near], atol=1e-9)
    np.testing.assert_allclose(there.distance_m[near], track.length_m - here.distance_m[near], atol=1e-9)
    np.testing.assert_array_equal(there.behind[near], len(track.route) - 1 - here.ahead[near])
    np.testing.assert_allclose(
        np.abs(heading_difference(there.heading_rad[near], here.heading_rad[near])), np.pi, atol=1e-9
    )
    np.testing.assert_allclose(there.width_m[near], here.width_m[near], atol=1e-9)


@settings(max_examples=40, deadline=None)
@given(
    name=st.sampled_from(SHIPPED),
    angle=st.floats(-math.pi, math.pi),
    dx=st.floats(-50, 50),
    dy=st.floats(-50, 50),
    seed=st.integers(0, 2**32 - 1),
)
def test_moving_and_turning_the_world_changes_nothing(name: str, angle: float, dx: float, dy: float, seed: int) -> None:
    track = load_track(name)
    rng = np.random.default_rng(seed)
    pose = track.pose_at(rng.uniform(0, track.length_m, 20), rng.uniform(-0.35, 0.35, 20))
    x, y = pose.x_m, pose.y_m
    there = moved(track, angle, dx, dy)
    x2, y2 = math.cos(angle) * x - math.sin(angle) * y + dx, math.sin(angle) * x + math.cos(angle) * y + dy
    a, b = track.project(x, y), there.project(x2, y2)
    np.testing.assert_allclose(b.offset_m, a.offset_m, atol=1e-9)
    along = np.abs(b.distance_m - a.distance_m)
    np.testing.assert_allclose(np.minimum(along, np.abs(track.length_m - along)), 0.0, atol=1e-8)
    inner = (a.fraction > 1e-6) & (a.fraction < 1 - 1e-6)
    np.testing.assert_array_equal(b.behind[inner], a.behind[inner])
    np.testing.assert_allclose(np.abs(heading_difference(b.heading_rad, a.heading_rad + angle))[inner], 0.0, atol=1e-9)
    clear = np.abs(np.abs(a.offset_m) - a.width_m / 2) > 0.05
    np.testing.assert_array_equal(there.on_road(x2, y2)[clear], track.on_road(x, y)[clear])


@settings(max_examples=60, deadline=None)
@given(name=st.sampled_from(SHIPPED), part=st.floats(0.0, 1.0, exclude_max=True), offset=st.floats(-0.25, 0.25))
def test_pose_and_projection_are_inverse(name: str, part: float, offset: float) -> None:
    track = load_track(name)
    distance = part * track.length_m
    pose = track.pose_at([distance], offset)
    seen = track.project(pose.x_m, pose.y_m)
    # rows turn by up to 0.25 rad: inside a bend a point belongs to the nearer of two segments, and is nearer to it
    along = abs(seen.distance_m[0] - distance)
    if track.closed:
        along = min(along, track.length_m - along)
    assert along <= 1e-9 + abs(offset) * math.tan(0.25)
    assert seen.offset_m[0] == pytest.approx(offset, abs=1e-9 + abs(offset) * (1.0 - math.cos(0.25)))
    line = track.pose_at([distance])
    foot = track.project(line.x_m, line.y_m)
    assert foot.offset_m[0] == pytest.approx(0.0, abs=1e-12)
    assert abs(heading_difference(foot.heading_rad, line.heading_rad)[0]) <= 0.25


def test_pose_wraps_on_a_loop_and_points_along_it() -> None:
    track = load_track("paddock")
    distance = np.array([0.05, 3.0, 17.0])
    for laps in (-1, 1, 7):
        a, b = track.pose_at(distance), track.pose_at(distance + laps * track.length_m)
        np.testing.assert_allclose(b.x_m, a.x_m, atol=1e-12)
        np.testing.assert_allclose(b.y_m, a.y_m, atol=1e-12)
        np.testing.assert_allclose(b.heading_rad, a.heading_rad)
    left = track.pose_at(distance, 0.2)
    turned = np.arctan2(left.y_m - a.y_m, left.x_m - a.x_m)
    np.testing.assert_allclose(heading_difference(turned, a.heading_rad), np.pi / 2)


def test_a_point_is_worked_out_alone() -> None:
    track = load_track("grand_tour")
    x, y = points_around(track, 3000, seed=5)
    whole, road = track.project(x, y), track.on_road(x, y)
    for k in (0, 1234, 2999):
        one = track.project(x[k], y[k])
        for field in ("distance_m", "offset_m", "behind", "ahead", "heading_rad", "width_m", "fraction"):
            assert getattr(one, field)[0] == getattr(whole, field)[k]
        assert bool(track.on_road(x[k], y[k])) == road[k]
    assert track.on_road(x.reshape(3, 1000), y.reshape(3, 1000)).tolist() == road.reshape(3, 1000).tolist()
    assert track.project([], []).distance_m.shape == (0,)


def test_arrays_are_read_only_and_inputs_checked() -> None:
    track = street()
    for array in (track.route, track.centre, track.inner, track.outer, track.widths_m):
        with pytest.raises(ValueError, match="read-only"):
            array[0] = 1.0
    with pytest.raises(ValueError, match=r"\(2,\) and \(3,\)"):
        track.project([1.0, 2.0], [1.0, 2.0, 3.0])
    with pytest.raises(ValueError, match=r"\(2,\) and \(3,\)"):
        track.on_road([1.0, 2.0], [1.0, 2.0, 3.0])


@given(a=st.floats(-100, 100), b=st.floats(-100, 100))
def test_heading_difference(a: float, b: float) -> None:
    difference = float(heading_difference(a, b))
    assert -math.pi <= difference < math.pi
    turns = (a - b - difference) / (2 * math.pi)
    assert turns == pytest.approx(round(turns), abs=1e-9)


def test_heading_difference_at_the_seam() -> None:
    assert heading_difference([0.0, math.pi, 3.0], [math.pi, 0.0, -3.0]) == pytest.approx(
        [-math.pi, -math.pi, 6.0 - 2 * math.pi]
    )
    assert float(heading_difference(-math.pi - 1e-16, 0.0)) == -math.pi
    assert float(heading_difference(-1e-17, math.pi)) < math.pi


@pytest.mark.skipif(not PUBLIC, reason="the shared reference files are not beside this checkout")
def test_nearest_waypoint_is_what_real_simtraces_log() -> None:
    track = load_track(str(SHARED_REFERENCE / "tracks" / "reinvent_base.npy"))
    files = sorted((SHARED_REFERENCE / "simtraces").glob("*-reinvent_base/*.csv"))
    assert len(files) > 5
    for path in files[::3]:
        with path.open() as file:
            rows = [(float(r["X"]), float(r["Y"]), int(r["closest_waypoint"])) for r in csv.DictReader(file)]
        x, y, logged = np.array(rows).T
        np.testing.assert_array_equal(track.project(x, y).nearest_waypoint, logged)
