"""The front camera's geometry, world and promises; how near it comes to slow rendering is in test_camera_quality."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from scipy.ndimage import gaussian_filter, map_coordinates
from scipy.spatial.transform import Rotation

from contract.state import FloatArray, UInt8Array
from simapp.camera import Camera
from simapp.camera.backdrop import Room
from simapp.camera.ground import LINE_WIDTH_M
from simapp.camera.kernel import STRIP, WALL_CLEARANCE_M, look_up_line, place_line, render_frames
from simapp.camera.look import GREY, SKY_RGB, WALL_HEIGHT_M, WALL_MARGIN_M, WALLS_RGB, textures
from simapp.camera.pinhole import NOSE_UP_RAD, front_camera
from simapp.camera.plan import WEIGHT_ONE, scan_plan
from simapp.camera.pyramid import Pyramid
from simapp.tracks import Track, load_track
from tests.camera_picture import render_rgb
from tests.support import ring

HALF_WIDTH_M, LENGTH_M = 0.5, 8.0
NORTH, EAST, SOUTH, WEST = np.pi / 2, 0.0, -np.pi / 2, np.pi


def street(tilt_m: float = 0.0) -> Track:
    """A straight road east, from the origin; it may drift sideways."""
    x, y = np.linspace(0.0, LENGTH_M, 9), np.linspace(0.0, tilt_m, 9)
    return Track("street", np.column_stack([x, y, x, y + HALF_WIDTH_M, x, y - HALF_WIDTH_M]))


def mirrored(track: Track) -> Track:
    """North and south exchanged; inner stays left."""
    return Track("mirrored", track.route[:, [0, 1, 4, 5, 2, 3]] * [1, -1, 1, -1, 1, -1])


@pytest.fixture(scope="module")
def on_street() -> Camera:
    return Camera(street())


@pytest.fixture(scope="module")
def paddock() -> Track:
    return load_track("paddock")


@pytest.fixture(scope="module")
def on_paddock(paddock: Track) -> Camera:
    return Camera(paddock)


def see(camera: Camera, x: float, y: float, heading: float) -> UInt8Array:
    frame: UInt8Array = camera.render(np.array([x]), np.array([y]), np.array([heading]))[0]
    return frame


def some_poses(track: Track, count: int) -> tuple[FloatArray, FloatArray, FloatArray]:
    rng = np.random.default_rng(3)
    poses = track.pose_at(rng.uniform(0, track.length_m, count), rng.uniform(-0.5, 0.5, count))
    return poses.x_m, poses.y_m, poses.heading_rad + rng.normal(0, 0.6, count)


# The pinhole


def test_lens_is_where_the_contracts_chain_of_mounts_puts_it() -> None:
    """base_link leaning back, the mount at (0.091711, 0, 0.080023) pitched 0.2618, the lens at (0.044755, 0, 0.04)."""
    body = Rotation.from_euler("y", -NOSE_UP_RAD)
    mount = body * Rotation.from_euler("y", 0.2618)
    lens = np.array([0, 0, 0.023249]) + body.apply([0.091711, 0, 0.080023]) + mount.apply([0.044755, 0, 0.04])
    axis = mount.apply([1.0, 0.0, 0.0])
    camera = front_camera()
    np.testing.assert_allclose([camera.ahead_m, camera.height_m], lens[[0, 2]], atol=1e-12)
    assert camera.pitch_rad == pytest.approx(-np.arcsin(axis[2]), abs=1e-12)


def test_projection_agrees_with_rotating_points_into_the_optical_frame() -> None:
    camera = front_camera()
    points = np.random.default_rng(0).uniform([0.2, -1, 0], [5, 1, 1], (200, 3))
    # optical frame: z along the axis, x right, y down
    optical = Rotation.from_euler("y", -camera.pitch_rad).apply(points - [0, 0, camera.height_m])
    focal = 80 / np.tan(1.13 / 2)
    column, row = camera.project(*points.T)
    np.testing.assert_allclose(column, 80 - focal * optical[:, 1] / optical[:, 0], atol=1e-9)
    np.testing.assert_allclose(row, 60 - focal * optical[:, 2] / optical[:, 0], atol=1e-9)


@given(column=st.floats(0, 160), row=st.floats(31, 120))
def test_ground_is_the_inverse_of_projection(column: float, row: float) -> None:
    camera = front_camera()
    ahead, left = camera.ground(np.array(column), np.array(row))
    back = camera.project(ahead, left, np.array(0.0))
    np.testing.assert_allclose(back, (column, row), atol=1e-9)


def test_what_cannot_be_seen_is_nan() -> None:
    camera = front_camera()
    assert np.isnan(camera.project(np.array(-1.0), np.array(0.0), np.array(0.0))).all()
    assert np.isnan(camera.ground(np.array(80.0), np.array(camera.horizon_row - 1))).all()


# Known objects at the places that the pinhole formula gives


@pytest.mark.parametrize(("y", "heading"), [(0.0, 0.0), (0.15, 0.1), (-0.2, -0.3), (0.1, 0.45)])
def test_edge_lines_stand_in_the_columns_that_the_pinhole_gives(on_street: Camera, y: float, heading: float) -> None:
    frame = see(on_street, 1.0, y, heading).astype(float)
    camera = on_street.pinhole
    columns = np.arange(0.0, 160.0, 0.02)
    line, field, asphalt, checked = 212.0, 134.0, 53.0, 0
    for row in range(42, 118, 3):
        ahead, left = camera.ground(columns, np.array(row + 0.5))
        north = y + (camera.ahead_m + ahead) * np.sin(heading) + left * np.cos(heading)
        for at, low in (
            (HALF_WIDTH_M, field),
            (-HALF_WIDTH_M, field),
            (HALF_WIDTH_M - LINE_WIDTH_M, asphalt),
            (LINE_WIDTH_M - HALF_WIDTH_M, asphalt),
        ):
            expected = columns[np.argmin(abs(north - at))]
            if not 6 < expected < 154 or 76 < expected < 84:
                continue
            near = np.arange(int(expected) - 5, int(expected) + 6)
            values = frame[row, near] - (line + low) / 2
            crossing = np.flatnonzero(values[:-1] * values[1:] <= 0)
            found = near[crossing] + 0.5 + values[crossing] / (values[crossing] - values[crossing + 1])
            assert abs(found - expected).min() < 0.5, (row, at)
            checked += 1
    assert checked >= 12


def test_a_wall_ahead_begins_and_ends_at_the_rows_of_its_base_and_top(on_street: Camera) -> None:
    sky, wall, camera = SKY_RGB @ GREY, WALLS_RGB[0] @ GREY, on_street.pinhole

    def row_of(x: float, height: float) -> float:
        away = LENGTH_M + WALL_MARGIN_M - x - camera.ahead_m
        return float(camera.project(np.array(away), np.array(0.0), np.array(height))[1])

    # a share of a column is a height in rows
    far = see(on_street, 1.0, 0.0, EAST)[:20, 80]
    assert ((far - wall) / (sky - wall)).sum() == pytest.approx(row_of(1.0, WALL_HEIGHT_M), abs=0.05)
    near = see(on_street, 7.6, 0.0, EAST)[30:60, 80]
    field = near[-6:].mean()
    assert ((field - near) / (field - wall)).sum() == pytest.approx(row_of(7.6, 0.0) - 30, abs=0.3)


@pytest.mark.parametrize(("heading", "wall"), [(EAST, 0), (NORTH, 1), (WEST, 2), (SOUTH, 3)])
def test_each_wall_has_its_shade(on_street: Camera, heading: float, wall: int) -> None:
    frame = see(on_street, LENGTH_M / 2, 0.0, heading)
    assert abs(frame[22, 80] - WALLS_RGB[wall] @ GREY) <= 1


def test_a_corner_of_the_room_is_an_upright_line_at_its_place(on_street: Camera) -> None:
    camera, heading = on_street.pinhole, 0.25
    frame = see(on_street, 5.0, 0.0, heading).astype(float)
    lens = np.array([5.0 + camera.ahead_m * np.cos(heading), camera.ahead_m * np.sin(heading)])
    dx, dy = np.array([LENGTH_M + WALL_MARGIN_M, HALF_WIDTH_M + WALL_MARGIN_M]) - lens
    ahead, left = dx * np.cos(heading) + dy * np.sin(heading), dy * np.cos(heading) - dx * np.sin(heading)
    north, east = WALLS_RGB[1] @ GREY, WALLS_RGB[0] @ GREY
    for height in (0.3, 0.6, 0.8):
        column, row = camera.project(ahead, left, np.array(height))
        middle = frame[int(row)] - (north + east) / 2
        last = np.flatnonzero(middle < 0)[-1]  # the darker north wall is on the left
        found = last + 0.5 + middle[last] / (middle[last] - middle[last + 1])
        assert found == pytest.approx(float(column), abs=0.5)


def test_a_mirrored_track_from_a_mirrored_pose_gives_the_mirrored_picture(paddock: Track, on_paddock: Camera) -> None:
    """But for the textures, which do not turn over with the track, and the walls' shades."""
    x, y, heading = some_poses(paddock, 12)
    ours = on_paddock.render(x, y, heading)[:, 45:].astype(float)
    theirs = Camera(mirrored(paddock)).render(x, -y, -heading)[:, 45:, ::-1].astype(float)
    smooth = [gaussian_filter(frames, (0, 2.5, 2.5)) for frames in (ours, theirs, ours[:, :, ::-1])]
    assert abs(smooth[0] - smooth[1]).mean() < 1.5
    assert abs(smooth[0] - smooth[2]).mean() > 15


# Promises to callers


def test_frames_are_the_same_bits_for_any_company_and_thread_count(paddock: Track, on_paddock: Camera) -> None:
    poses = some_poses(paddock, 23)
    together = on_paddock.render(*poses)
    assert together.shape == (23, 120, 160)
    assert len(np.unique(together.reshape(23, -1), axis=0)) == 23
    alone = [see(on_paddock, *(values[i] for values in poses)) for i in range(23)]
    np.testing.assert_array_equal(together, alone)
    for threads in (2, 3, 40):
        np.testing.assert_array_equal(together, on_paddock.render(*poses, threads=threads))
    np.testing.assert_array_equal(together[::-1], on_paddock.render(poses[0][::-1], poses[1][::-1], poses[2][::-1]))


def test_a_world_is_a_function_of_its_track(
    paddock: Track, on_paddock: Camera, monkeypatch: pytest.MonkeyPatch
) -> None:
    poses = some_poses(paddock, 4)
    with monkeypatch.context() as patch:
        patch.setattr(Room, "of", Room.drawn)
        anew = Camera(paddock)
    assert anew.backdrop is not on_paddock.backdrop
    np.testing.assert_array_equal(on_paddock.render(*poses), anew.render(*poses))


def test_cameras_on_one_road_share_its_picture() -> None:
    one, same = (Camera(Track("ring", ring(41, 0.8, 0.4))) for _ in range(2))
    other, open_one = Camera(Track("ring", ring(41, 0.8, 0.5))), Camera(Track("ring", ring(41, 0.8, 0.4)[:-4]))
    assert one.backdrop is same.backdrop
    assert len({id(it.backdrop) for it in (one, other, open_one)}) == 3


def test_frames_go_where_the_caller_wants_them(on_street: Camera) -> None:
    store = np.zeros((5, 120, 160), np.uint8)
    still = np.zeros(3)
    assert on_street.render(still, still, still, out=store[1:4]) is not None
    np.testing.assert_array_equal(store[1], see(on_street, 0.0, 0.0, 0.0))
    assert not store[[0, 4]].any()
    assert on_street.render(still[:0], still[:0], still[:0]).shape == (0, 120, 160)


def test_a_car_far_off_the_field_sees_from_the_nearest_place_in_the_room(on_street: Camera) -> None:
    rng = np.random.default_rng(1)
    x, y, heading = rng.uniform(-1, 1, (3, 64)) * np.array([[1e4], [1e4], [50.0]])
    frames = on_street.render(x, y, heading)
    xmin, ymin, xmax, ymax = on_street.room_m
    ahead = on_street.pinhole.ahead_m
    lens_x = np.clip(x + ahead * np.cos(heading), xmin + WALL_CLEARANCE_M, xmax - WALL_CLEARANCE_M)
    lens_y = np.clip(y + ahead * np.sin(heading), ymin + WALL_CLEARANCE_M, ymax - WALL_CLEARANCE_M)
    inside = on_street.render(lens_x - ahead * np.cos(heading), lens_y - ahead * np.sin(heading), heading)
    # the lens goes out and back again, so a sample in a thousand may round to the other side
    assert abs(frames.astype(int) - inside).max() <= 1
    assert (frames == inside).mean() > 0.999
    assert len({frame.tobytes() for frame in frames}) > 30  # some look at one bare wall


def test_wrong_arguments_are_refused(on_street: Camera) -> None:
    one, two = np.zeros(1), np.zeros(2)
    with pytest.raises(ValueError, match=r"\(1,\), \(2,\), \(1,\)"):
        on_street.render(one, two, one)
    with pytest.raises(ValueError, match="not finite"):
        on_street.render(one, one, np.array([np.nan]))
    with pytest.raises(ValueError, match=r"uint8 \(2, 120, 160\)"):
        on_street.render(two, two, two, out=np.empty((1, 120, 160), np.uint8))
    with pytest.raises(ValueError, match="contiguous"):
        on_street.render(two, two, two, out=np.empty((2, 120, 320), np.uint8)[..., ::2])


def test_the_colour_picture_shows_what_the_network_sees(on_paddock: Camera, paddock: Track) -> None:
    for pose in zip(*some_poses(paddock, 3), strict=True):
        picture = render_rgb(on_paddock, *pose, width=320, height=240)
        assert picture.shape == (240, 320, 3)
        small = (picture @ GREY).reshape(120, 2, 160, 2).mean(axis=(1, 3))
        assert abs(small - see(on_paddock, *pose)).mean() < 2.5


def test_one_signature_serves_arrays_in_any_layout(on_paddock: Camera, paddock: Track) -> None:
    """What was compiled ahead must be all that is ever needed."""
    x, y, heading = some_poses(paddock, 4)
    x.setflags(write=False)
    on_paddock.render(x[::2], y[:2].astype(np.float32), heading[:2], threads=2)
    assert len(render_frames.signatures) == 1


def test_a_long_course_fits_in_memory() -> None:
    camera = Camera(load_track("grand_tour"))
    assert camera.memory_bytes < 100e6


# The parts


def test_lookups_are_bilinear() -> None:
    """Against scipy, on noise, along lines in every direction, strips' borders included."""
    rng = np.random.default_rng(5)
    rows, columns = 90, 5 * STRIP + 3
    grey = rng.integers(0, 256, (rows, columns)).astype(np.uint8)
    level = Pyramid.of(grey, 0.002, 1)
    index, texels, out = np.empty(160, np.int32), np.empty(160, np.uint32), np.empty(160, np.uint16)
    for _ in range(40):
        ends = rng.uniform(0.0, [[columns - 1.01], [rows - 1.01]], (2, 2))
        start, step = ends[:, 0], (ends[:, 1] - ends[:, 0]) / 160
        fixed = [np.int32(value * 65536) for value in (*start, *step)]
        strip = np.int32(rows * (STRIP + 1))
        u_max, v_max = (np.int32(((size - 1) << 16) - 1) for size in (columns, rows))
        u0, v0, du, dv = fixed
        place_line(level.pairs, np.int32(0), strip, u_max, v_max, u0, v0, du, dv, index)
        look_up_line(level.pairs, index, u0, v0, du, dv, texels, out)
        u, v = (fixed[i] / 65536 + np.arange(160) * (fixed[2 + i] / 65536) for i in range(2))
        # fractions have eight bits: at most 255 / 256 off in either direction
        np.testing.assert_allclose(out / 256, map_coordinates(grey.astype(float), [v, u], order=1), atol=2.0)


def test_each_level_is_the_mean_of_the_one_below() -> None:
    grey = np.random.default_rng(6).integers(0, 256, (64, 96)).astype(np.uint8)
    pyramid = Pyramid.of(grey, 0.002, 4)
    for k in range(4):
        rows, columns, start = int(pyramid.rows[k]), int(pyramid.columns[k]), int(pyramid.starts[k])
        row, column = np.mgrid[:rows, :columns]
        place = start + column // STRIP * rows * (STRIP + 1) + row * (STRIP + 1) + column % STRIP
        size = 2**k
        mean = grey.reshape(rows, size, columns, size).mean(axis=(1, 3))
        np.testing.assert_allclose(pyramid.pairs[place] & 255, mean, atol=0.5 + 0.5 * k)
        assert pyramid.texels_m[k] == 0.002 * size
    with pytest.raises(ValueError, match="levels"):
        Pyramid.of(grey, 0.002, 7)


def test_rows_are_whole_means_of_lines_around_their_middle() -> None:
    camera = front_camera()
    plan = scan_plan(camera, 0.002 * np.exp2(np.arange(7.0)), 12.0)
    assert np.all(np.diff(plan.ahead_m) < 0)  # far to near
    rows = np.flatnonzero(plan.count)
    assert rows[-1] == 119 and np.all(np.diff(rows) == 1)
    _, positions = camera.project(plan.ahead_m, np.array(0.0), np.array(0.0))
    for row in rows[2:]:
        used = slice(plan.first[row], plan.first[row] + plan.count[row])
        weights = plan.weights[row, : plan.count[row]]
        assert weights.sum() == WEIGHT_ONE
        assert weights @ positions[used] / WEIGHT_ONE == pytest.approx(row + 0.5, abs=0.08)
        assert abs(positions[used] - (row + 0.5)).max() <= 1.0


@given(st.floats(-0.06, 0.06), st.floats(-0.01, 0.01), st.floats(5.0, 150.0))
@example(pitch_rad=0.027, height_m=0.0, farthest_m=150.0)
def test_every_line_is_on_the_ground_wherever_the_horizon_lies(
    pitch_rad: float, height_m: float, farthest_m: float
) -> None:
    """Domain randomisation turns the camera; in open worlds the farthest rows are within a pixel of the horizon."""
    plain = front_camera()
    camera = replace(plain, pitch_rad=plain.pitch_rad + pitch_rad, height_m=plain.height_m + height_m)
    plan = scan_plan(camera, 0.002 * np.exp2(np.arange(7.0)), farthest_m)
    assert np.isfinite(plan.ahead_m).all() and np.isfinite(plan.step_m).all()
    assert plan.ahead_m.min() > 0.0 and plan.ahead_m.max() < 4.2 * farthest_m
    assert plan.level.min() >= 0 and plan.level.max() <= 6


def test_textures_keep_the_colours_that_were_measured() -> None:
    for tile, deviation in ((textures().field, 0.035), (textures().asphalt, 0.125), (textures().line, 0.055)):
        assert tile.mean() == pytest.approx(1.0, abs=1e-4)
        assert tile.std() == pytest.approx(deviation, rel=0.02)
