"""The videos' renderer against closed-form projections, and what it must show."""

import functools
import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from contract.errors import InputError
from contract.state import FloatArray, ObjectKind, TrackObjects, UInt8Array
from contract.vehicle import CAR_COLORS
from simapp.camera import Camera
from simapp.camera.look import CAR_RGB, DASH_RGB
from simapp.scene import VIEWS, Bodies, SceneRenderer, followed
from simapp.scene.views import CHASES
from tests.camera_picture import render_rgb
from tests.support import RADIUS_M, circle

TRACK = circle()


@functools.cache
def renderer() -> SceneRenderer:
    return SceneRenderer(TRACK)


def car(x_m: float, y_m: float, heading_rad: float, colour: str = "Red", steering_rad: float = 0.0) -> Bodies:
    return Bodies.cars([x_m], [y_m], [heading_rad], [steering_rad], [CAR_COLORS.index(colour)])


def box(x_m: float, y_m: float) -> Bodies:
    one = TrackObjects.none(1, 1)
    one.kind[:], one.x_m[:], one.y_m[:] = ObjectKind.box, x_m, y_m
    return Bodies.of_objects(one)


def changed(one: UInt8Array, two: UInt8Array) -> FloatArray:
    """Rows and columns (P, 2) of the pixels that differ clearly."""
    return np.argwhere(np.abs(one.astype(int) - two).max(axis=2) > 24).astype(np.float64)


def seen_by(view: str, body: Bodies, point: tuple[float, float, float]) -> tuple[float, float]:
    """Column and row of a world point by rotation matrices, without the renderer's own formulas."""
    chase = CHASES[view]
    yaw = float(body.heading_rad[0])
    ahead = np.array([math.cos(yaw), math.sin(yaw), 0.0])
    target = np.array([body.x_m[0], body.y_m[0], chase.height_m]) + chase.ahead_m * ahead
    look = math.cos(chase.pitch_rad) * ahead - math.sin(chase.pitch_rad) * np.array([0.0, 0.0, 1.0])
    eye = target - chase.distance_m * look
    right = np.cross(look, [0.0, 0.0, 1.0])
    right /= np.linalg.norm(right)
    down = np.cross(look, right)
    away = np.array(point) - eye
    focal = 320.0 / math.tan(chase.hfov_rad / 2)
    depth = float(away @ look)
    return 320.0 + focal * float(away @ right) / depth, 240.0 + focal * float(away @ down) / depth


@pytest.mark.parametrize("view", sorted(CHASES))
@pytest.mark.parametrize("angle", [0.0, 1.1, 4.0])
def test_a_box_stands_where_a_pinhole_would_see_it(view: str, angle: float) -> None:
    x, y = RADIUS_M * math.cos(angle), RADIUS_M * math.sin(angle)
    heading = angle + math.pi / 2
    driver = car(x, y, heading)
    at = np.array([x, y]) + 0.9 * np.array([math.cos(heading), math.sin(heading)])
    at += 0.4 * np.array([-math.sin(heading), math.cos(heading)])
    placed = box(*at)
    placed.heading_rad[:] = heading
    with_box = renderer().render(view, driver.beside(placed))
    where = changed(with_box, renderer().render(view, driver))
    corners = [
        seen_by(view, driver, (*(at + a * 0.2 * np.array([c, s]) + b * 0.2 * np.array([-s, c])), z))
        for c, s in [(math.cos(heading), math.sin(heading))]
        for a in (-1, 1)
        for b in (-1, 1)
        for z in (0.0, 0.3)
    ]
    columns, rows = np.array(corners).T
    assert where[:, 0].min() == pytest.approx(max(rows.min(), 0.0), abs=1.5)
    # its shadow may reach beyond it, on one side
    assert where[:, 1].min() <= max(columns.min(), 0.0) + 1.5
    assert where[:, 1].max() >= min(columns.max(), 639.0) - 1.5
    column, row = seen_by(view, driver, (*at, 0.3))
    lid = with_box[round(row), round(column)].astype(int)
    assert lid[0] > lid[1] > lid[2] > 100  # tape


def test_the_front_view_is_what_the_cars_camera_sees() -> None:
    """Against the camera's own ray by ray picture, which shares no drawing code with it."""
    x, y, heading = RADIUS_M, 0.0, math.pi / 2
    placed = box(RADIUS_M - 0.3, 1.4)
    small_renderer = SceneRenderer(TRACK, 320, 240, renderer().ground)
    ours = small_renderer.render("front", car(x, y, heading).beside(placed))
    one = TrackObjects.none(1, 1)
    one.kind[:], one.x_m[:], one.y_m[:] = ObjectKind.box, placed.x_m, placed.y_m
    theirs = render_rgb(Camera(TRACK), x, y, heading, 320, 240, objects=one)
    sky_and_walls = 130  # rows that videos colour differently
    small = [picture[sky_and_walls:].reshape(22, 5, 64, 5, 3).mean(axis=(1, 3)) for picture in (ours, theirs)]
    assert np.median(np.abs(small[0] - small[1])) < 2.0
    assert np.quantile(np.abs(small[0] - small[1]), 0.9) < 12.0


def test_the_map_shows_points_where_its_plan_says() -> None:
    still = renderer().render("topview", car(0.0, 0.0, 0.0))
    for angle in (0.3, 2.0, 4.4):
        x, y = RADIUS_M * math.cos(angle), RADIUS_M * math.sin(angle)
        where = changed(renderer().render("topview", car(x, y, 0.0)), still)
        xmin, ymin, xmax, ymax = renderer().ground.room_m
        scale = min(640 / (xmax - xmin), 480 / (ymax - ymin))  # the room fits in, in the middle
        column, row = 320 + scale * (x - (xmin + xmax) / 2), 240 - scale * (y - (ymin + ymax) / 2)
        middle = where[np.hypot(where[:, 0] - row, where[:, 1] - column) < 30]
        assert (middle.min(axis=0) + middle.max(axis=0)) / 2 + 0.5 == pytest.approx([row, column], abs=3.0)


@given(angle=st.floats(0.0, 6.28), step_m=st.floats(0.3, 1.0))
def test_a_car_that_moves_right_in_the_world_moves_right_on_the_map(angle: float, step_m: float) -> None:
    x, y = RADIUS_M * math.cos(angle) - step_m / 2, RADIUS_M * math.sin(angle)
    before, after = (renderer().render("topview", car(at, y, 0.0, "Purple")) for at in (x, x + step_m))
    purple = [
        (p[..., 2].astype(int) - p[..., 1] > 60) & (p[..., 0].astype(int) - p[..., 1] > 20) for p in (before, after)
    ]
    columns = [float(np.argwhere(found)[:, 1].mean()) for found in purple]
    metres_per_px = renderer().plan.metres_per_px
    assert columns[1] - columns[0] == pytest.approx(step_m / metres_per_px, abs=1.5)


@pytest.mark.parametrize("view", ["topview", "45degree", "pip"])
@pytest.mark.parametrize("colour", CAR_COLORS)
def test_the_cars_colour_dominates_its_pixels(view: str, colour: str) -> None:
    driver = car(RADIUS_M, 0.0, math.pi / 2, colour)
    other = "White" if colour == "Black" else "Black"
    picture = renderer().render(view, driver)
    where = changed(picture, renderer().render(view, car(RADIUS_M, 0.0, math.pi / 2, other))).astype(int)
    assert len(where) > 100
    tones = picture[tuple(where.T)].astype(float)
    expected = np.array([CAR_RGB[name] for name in CAR_COLORS])
    # nearest shade of any car's colour: light changes brightness, not hue
    shade = np.linspace(0.5, 1.1, 7)[:, None, None] * expected
    nearest = np.abs(tones[:, None, None, :] - shade).sum(axis=3).min(axis=1).argmin(axis=1)
    votes = np.bincount(nearest, minlength=len(CAR_COLORS))
    greys = {"Black", "Grey", "White"}  # shades of one hue
    own = {CAR_COLORS.index(name) for name in (greys if colour in greys else {colour})}
    assert sum(votes[list(own)]) > 0.6 * len(where)


def test_what_is_nearer_hides_what_is_behind_it() -> None:
    driver = car(RADIUS_M, 0.0, math.pi / 2)
    ahead = box(RADIUS_M - 0.1, 0.6)
    hidden = car(RADIUS_M - 0.1, 1.0, math.pi / 2, "Blue")
    for order in (ahead.beside(hidden), hidden.beside(ahead)):
        alone = renderer().render("pip", driver.beside(ahead))
        both = renderer().render("pip", driver.beside(order))
        left, top = renderer()._inset_at
        alone[top:, left:] = both[top:, left:] = 0
        assert len(changed(alone, both)) < 40  # a mirror and a wheel at most


def test_front_wheels_steer() -> None:
    pictures = [renderer().render("45degree", car(RADIUS_M, 0.0, 0.0, steering_rad=turn)) for turn in (0.0, 0.5, -0.5)]
    for turned in pictures[1:]:
        where = changed(pictures[0], turned)
        assert 20 < len(where) < 1500
        _, middle = seen_by("45degree", car(RADIUS_M, 0.0, 0.0), (RADIUS_M, 0.0, 0.0))
        assert where[:, 0].max() < middle  # the front ones, and nothing else
    assert len(changed(pictures[1], pictures[2])) > 20


def test_every_view_draws_the_same_twice_and_fills_what_it_is_given() -> None:
    bodies = car(RADIUS_M, 0.0, math.pi / 2).beside(box(RADIUS_M, 1.0))
    trail = np.column_stack([np.full(20, RADIUS_M), np.linspace(-1.0, 0.0, 20)])
    for view in VIEWS:
        out = np.zeros((480, 640, 3), np.uint8)
        assert renderer().render(view, bodies, trail_m=trail, out=out) is out
        again = SceneRenderer(TRACK, ground=renderer().ground).render(view, bodies, trail_m=trail)
        assert np.array_equal(out, again)
        small = SceneRenderer(TRACK, 320, 240, renderer().ground).render(view, bodies)
        assert small.shape == (240, 320, 3)


def test_the_dashes_of_the_centre_line_are_seen_behind_the_car() -> None:
    picture = renderer().render("45degree", car(RADIUS_M, 0.0, math.pi / 2)).astype(float)
    assert (np.abs(picture - DASH_RGB).max(axis=2) < 20).sum() > 500


def test_the_chase_camera_follows_turns_and_jumps_with_resets() -> None:
    yaw = followed(None, 0.0, 0.0, 1.0, 0.0)
    assert yaw == 1.0
    turned = [yaw := followed(yaw, 0.0, 0.0, 2.0, 0.05) for _ in range(30)]
    assert np.all(np.diff([1.0, *turned]) > 0.0)
    assert turned[-1] == pytest.approx(2.0, abs=0.02)
    assert followed(3.1, 0.0, 0.0, -3.1, 0.05) > 3.1  # the short way round
    assert followed(1.0, 0.0, 0.0, -2.0, 1.5) == -2.0


def test_bad_arguments_are_refused_with_what_is_allowed() -> None:
    driver = car(0.0, 0.0, 0.0)
    with pytest.raises(InputError, match=r"'sideways'.*\n.*one of topview, 45degree, pip, front"):
        renderer().render("sideways", driver)
    with pytest.raises(ValueError, match="focus 1 of 1"):
        renderer().render("pip", driver, focus=1)
    with pytest.raises(ValueError, match="x_m of a body is not finite"):
        renderer().render("pip", car(math.nan, 0.0, 0.0))
    driver.colour[:] = 7
    with pytest.raises(ValueError, match="colour"):
        renderer().render("pip", driver)
    with pytest.raises(InputError, match="8x8"):
        SceneRenderer(TRACK, 8, 8, renderer().ground)
