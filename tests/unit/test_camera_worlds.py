"""The camera in imported worlds, against a slow and exact renderer (tests/world_reference.py) and recorded frames."""

import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from contract.conditions import Conditions, RandomizationConfig
from contract.state import CAMERA_HEIGHT, CAMERA_WIDTH, FloatArray, ObjectKind, TrackObjects, UInt8Array
from simapp.camera import Camera
from simapp.camera.backdrop import OpenWorld
from simapp.camera.mixing import COLUMNS, LINES, PAD
from simapp.camera.pinhole import front_camera
from simapp.camera.scenery import tones_of
from simapp.camera.sky import sky_grey
from simapp.camera.standing import hidden_rows
from simapp.camera.textures import textures_of
from simapp.tracks import Track, load_track
from simapp.worlds.common import Paint, common_world
from simapp.worlds.copies import opened, worlds_in
from simapp.worlds.form import Material, World, WorldPicture
from simapp.worlds.importer import import_world
from tests.camera_reference import ssim
from tests.conftest import REPO
from tests.support import ring
from tests.world_reference import WorldReference
from undercut.figures.views import line_errors

RECORDED = REPO.parent / "shared" / "reference" / "worlds"


def board(x: float, y: float, width: float, low: float, high: float, turn: float) -> FloatArray:
    """Two triangles (2, 3, 3) of an upright rectangle whose front looks along `turn`."""
    along = np.array([-np.sin(turn), np.cos(turn), 0.0]) * width / 2
    middle = np.array([x, y, 0.0])
    a, b = middle - along + [0, 0, low], middle + along + [0, 0, low]
    c, d = middle + along + [0, 0, high], middle - along + [0, 0, high]
    return np.stack([[a, b, c], [a, c, d]])


def with_boards(
    world: World, *boards: FloatArray, pixels: UInt8Array, **looks: bool | float | tuple[float, ...]
) -> World:
    """The world with textured boards in it."""
    triangles = np.concatenate(boards)
    cross = np.cross(triangles[:, 1] - triangles[:, 0], triangles[:, 2] - triangles[:, 0])
    normals = np.repeat((cross / np.linalg.norm(cross, axis=1, keepdims=True))[:, None], 3, axis=1)
    uv = np.tile(np.array([[[0, 1], [1, 1], [1, 0]], [[0, 1], [1, 0], [0, 0]]], np.float32), (len(boards), 1, 1))
    material = Material("board", picture=len(world.pictures), **looks)  # type: ignore[arg-type]
    kind = np.full(len(triangles), len(world.materials), np.int32)
    return replace(
        world,
        triangles=np.concatenate([world.triangles, triangles]).astype(np.float32),
        normals=np.concatenate([world.normals, normals]).astype(np.float32),
        uv=np.concatenate([world.uv, uv]),
        material=np.concatenate([world.material, kind]),
        materials=(*world.materials, material),
        pictures=(*world.pictures, WorldPicture.of("board.png", pixels)),
    )


def checks(size: int = 64, holes: bool = False) -> UInt8Array:
    """A chequered picture; `holes` makes its dark squares transparent."""
    rows, columns = np.indices((size, size)) // (size // 4)
    light = (rows + columns) % 2 == 1
    grey = np.where(light, 210, 60).astype(np.uint8)
    alpha = np.where(light | (not holes), 255, 0).astype(np.uint8)
    return np.stack([grey, grey, grey, alpha], axis=-1)


@pytest.fixture(scope="module")
def track() -> Track:
    """A small one: the ground along it is baked twice here."""
    return Track("ring", ring(121, 1.5, 0.8))


@pytest.fixture(scope="module")
def world(track: Track) -> World:
    """A ring of road within walls, a board beside it, another one behind that, and one across the road."""
    xmin, ymin, xmax, ymax = track.bounds
    x, y = 0.5 * (xmin + xmax), 0.5 * (ymin + ymax)
    boards = [board(x + 0.2 * i, y + 0.1 * i, 0.8, 0.0, 0.4 + 0.3 * i, turn) for i, turn in enumerate((0.0, 0.6, 3.0))]
    return with_boards(common_world(track), *boards, pixels=checks(), ambient=(0.4, 0.4, 0.4))


@pytest.fixture(scope="module")
def camera(track: Track, world: World) -> Camera:
    return Camera(track, world)


def poses_of(track: Track, count: int, seed: int = 1) -> tuple[FloatArray, FloatArray, FloatArray]:
    rng = np.random.default_rng(seed)
    pose = track.pose_at(rng.uniform(0.0, track.length_m, count), rng.uniform(-0.2, 0.2, count))
    return pose.x_m, pose.y_m, pose.heading_rad + rng.normal(0.0, 0.8, count)


def sky(heading_rad: float) -> FloatArray:
    """The sky's greys (480, 640)."""
    camera = front_camera().resized(640, 480)
    column, row = np.meshgrid(np.arange(640) + 0.5, np.arange(480) + 0.5)
    left, down = (320 - column) / camera.focal_px, (row - 240) / camera.focal_px
    sin, cos = np.sin(camera.pitch_rad), np.cos(camera.pitch_rad)
    ahead, up = cos - down * sin, -(sin + down * cos)
    return sky_grey(np.arctan2(up, np.hypot(ahead, left)), heading_rad + np.arctan2(left, ahead))


def test_frames_are_those_of_the_exact_renderer(camera: Camera, track: Track, world: World) -> None:
    reference = WorldReference(world)
    x, y, heading = poses_of(track, 4)
    frames = camera.render(x, y, heading)
    exact = [
        reference.frame(front_camera(), *pose, sky(pose[2]))
        for pose in zip(x.tolist(), y.tolist(), heading.tolist(), strict=True)
    ]
    likeness = [ssim(frame, other) for frame, other in zip(frames, exact, strict=True)]
    assert np.median(likeness) > 0.96 and min(likeness) > 0.93, likeness
    assert max(np.abs(frame - other).mean() for frame, other in zip(frames, exact, strict=True)) < 4.0


def test_a_frame_does_not_depend_on_the_others_or_on_who_came_first(track: Track, world: World, camera: Camera) -> None:
    x, y, heading = poses_of(track, 9, seed=2)
    together = camera.render(x, y, heading)
    fresh = Camera(track, world)
    for k in (7, 3, 8, 0):
        np.testing.assert_array_equal(fresh.render(x[k : k + 1], y[k : k + 1], heading[k : k + 1])[0], together[k])
    np.testing.assert_array_equal(camera.render(x, y, heading, threads=2), together)


DRAWN = """
import hashlib, numpy as np
from simapp.camera import Camera
from simapp.tracks import Track
from tests.support import ring
from simapp.worlds.common import common_world
track = Track("ring", ring(121, 1.5, 0.8))
pose = track.pose_at(np.linspace(0.0, track.length_m, 6), np.linspace(-0.2, 0.2, 6))
for camera in (Camera(track), Camera(track, common_world(track))):
    print(hashlib.sha256(camera.render(pose.x_m, pose.y_m, pose.heading_rad + np.arange(6)).tobytes()).hexdigest())
"""


@pytest.mark.slow
def test_frames_are_the_same_bits_on_a_cpu_of_another_kind(tmp_path: Path) -> None:
    """As numba compiles for one without any vector instructions but the oldest."""
    other = {"NUMBA_CPU_NAME": "generic", "NUMBA_CPU_FEATURES": "", "NUMBA_CACHE_DIR": str(tmp_path)}
    here, there = (
        subprocess.run(
            [sys.executable, "-c", DRAWN], cwd=REPO, env=os.environ | more, capture_output=True, text=True, check=True
        ).stdout.split()
        for more in ({}, other)
    )
    assert len(here) == 2 and here == there


@given(st.integers(0, 2**32 - 1), st.integers(0, CAMERA_HEIGHT))
def test_rows_are_hidden_where_all_their_samples_are(seed: int, row: int) -> None:
    """Each row is mixed from lines 2 r to 2 r + 3 and one sample left and right of the picture."""
    rng = np.random.default_rng(seed)
    samples = np.ones((LINES, COLUMNS), np.int32)
    for line in rng.integers(0, LINES, rng.integers(0, 4)):
        samples[line, rng.integers(0, COLUMNS)] = 0
    touched = samples.any(axis=1).astype(np.int64)
    mixed = samples[:, PAD - 1 : PAD + 2 * CAMERA_WIDTH + 1]
    hidden = [bool((mixed[2 * r : 2 * r + 4] > 0).all()) for r in range(CAMERA_HEIGHT)]
    above, below = row, row
    while above > 0 and hidden[above - 1]:
        above -= 1
    while below < CAMERA_HEIGHT and hidden[below]:
        below += 1
    found = hidden_rows(samples.reshape(-1), touched, row)
    assert (found[0], min(found[1], CAMERA_HEIGHT)) == (above, below)


def test_a_low_wall_leaves_the_rows_above_it_alone() -> None:
    """It fills all rows from just below the horizon down; the ground behind it goes on to the horizon."""
    track = Track("ring", ring(121, 0.8, 0.6))
    pose = track.pose_at(np.zeros(1), np.zeros(1))
    x, y, turn = float(pose.x_m[0]), float(pose.y_m[0]), float(pose.heading_rad[0])
    pinhole, away, top = front_camera(), 0.6, 30.4
    ahead, high = pinhole.ahead_m + away, pinhole.height_m - (top - pinhole.horizon_row) * away / pinhole.focal_px
    wall = board(x + ahead * np.cos(turn), y + ahead * np.sin(turn), 6.0, 0.0, high, turn + np.pi)
    field = common_world(track, Paint(walls_m=None))
    walled = with_boards(field, wall, pixels=checks(), ambient=(0.4, 0.4, 0.4))
    without, frame = (
        Camera(track, it).render(pose.x_m, pose.y_m, pose.heading_rad)[0].astype(int) for it in (field, walled)
    )
    np.testing.assert_array_equal(frame[:30], without[:30])
    assert (frame[34:44] != without[34:44]).mean() > 0.9


def test_a_triangle_of_hardly_any_difference_has_one_tone(track: Track) -> None:
    """Its mean grey, and how much its greys differ in a fine and in a coarse picture of the texture."""
    pictures = np.zeros((3, 64, 64, 3), np.uint8)
    pictures[0] = 120
    pictures[1, ::2, ::2] = pictures[1, 1::2, 1::2] = 240  # chequers of one texel: even, seen from afar
    pictures[2, :32] = 200
    made = common_world(track)
    more = tuple(WorldPicture.of(f"{i}.png", it) for i, it in enumerate(pictures))
    known = len(made.pictures)
    used = [False] * known + [True] * 3
    looks = textures_of(replace(made, pictures=(*made.pictures, *more)), used, [False] * len(used), np.zeros(len(used)))
    uv = np.array([[[0, 1], [1, 1], [1, 0]]] * 3 + [[[0, 0.6], [0.1, 0.9], [0.1, 0.6]]], np.float64)
    factor = np.array([[1.0, 1.0, 1.0], [0.5, 0.5, 0.5], [1.0, 0.5, 1.0], [1.0, 1.0, 1.0]])
    tones = tones_of(uv, factor, np.array([known, known + 1, known + 2, -1]), looks.pairs, looks.starts, looks.sizes)
    np.testing.assert_allclose(tones[:, 0], [120, 60, 100 * 2.5 / 3, 255], atol=8)
    np.testing.assert_allclose(tones[:, 1], [0, 0, 200, 0], atol=1)
    np.testing.assert_allclose(tones[:, 2], [0, 0, 200, 0], atol=1)
    # a part of the lower half alone
    part = tones_of(uv[3:], factor[3:], np.array([known + 2]), looks.pairs, looks.starts, looks.sizes)
    np.testing.assert_array_equal(part, [[0, 0, 0]])


def test_what_stands_hides_objects_behind_it_and_not_before(camera: Camera, track: Track) -> None:
    """A box before the first board shows; one behind the board does not."""
    xmin, ymin, xmax, ymax = track.bounds
    middle = np.array([0.5 * (xmin + xmax), 0.5 * (ymin + ymax)])
    lens_ahead = camera.pinhole.ahead_m
    x, y, heading = np.array([middle[0] + 2.0]), np.array([middle[1]]), np.array([np.pi])
    plain = camera.render(x, y, heading)[0]

    def with_box(away: float) -> UInt8Array:
        objects = TrackObjects.none(1, 1)
        objects.kind[:], objects.x_m[:], objects.y_m[:] = ObjectKind.box, middle[0] + away, middle[1]
        frame: UInt8Array = camera.render(x, y, heading, objects=objects)[0]
        return frame

    assert lens_ahead < 1.0
    assert (with_box(0.8) != plain).sum() > 150
    np.testing.assert_array_equal(with_box(-0.9), plain)


@pytest.mark.slow
def test_a_board_with_holes_lets_through_what_is_behind(track: Track, world: World) -> None:
    """In the middle of a hole the frame is as without the board, elsewhere it is the board's."""
    xmin, ymin, xmax, ymax = track.bounds
    middle = (0.5 * (xmin + xmax), 0.5 * (ymin + ymax))
    front = board(middle[0] + 1.0, middle[1], 0.8, 0.0, 0.8, 0.0)
    looks = {"is_cutout": True, "opacity": 0.9}
    pose = (np.array([middle[0] + 2.2]), np.array([middle[1]]), np.array([np.pi]))
    bare = Camera(track, world).render(*pose)[0].astype(int)
    holes = Camera(track, with_boards(world, front, pixels=checks(holes=True), **looks)).render(*pose)[0].astype(int)
    whole = Camera(track, with_boards(world, front, pixels=checks(), **looks)).render(*pose)[0].astype(int)
    covered = np.abs(whole - bare) > 12
    through = covered & (holes == bare)
    kept = covered & (np.abs(holes - whole) <= 1)
    assert covered.sum() > 1000
    assert 0.2 < through.sum() / covered.sum() < 0.6
    assert 0.2 < kept.sum() / covered.sum() < 0.7


def test_conditions_change_ground_scenery_and_sky(camera: Camera, track: Track) -> None:
    x, y, heading = poses_of(track, 1, seed=3)
    plain = camera.render(x, y, heading)[0].astype(float)
    dim = Conditions.nominal(1)
    dim.light[:] = 0.8
    darker = camera.render(x, y, heading, conditions=dim)[0].astype(float)
    np.testing.assert_allclose(darker, 0.8 * plain, atol=3.0)
    bright = Conditions.nominal(1)
    bright.light[:], bright.sky[:], bright.walls[:] = 1.4, 1.25, 4.0
    assert (camera.render(x, y, heading, conditions=bright)[0] >= plain - 1.0).all(), "white is the most"
    drawn = Conditions.drawn(RandomizationConfig(), np.random.default_rng(0))
    assert (camera.render(x, y, heading, conditions=drawn)[0] != plain).mean() > 0.5


def test_memory_is_what_is_baked_and_no_more(camera: Camera) -> None:
    assert camera.memory_bytes < 200e6
    backdrop = camera.backdrop
    assert isinstance(backdrop, OpenWorld)
    assert 0 < backdrop.pyramid.resident <= backdrop.pyramid.pairs.nbytes


WALLED = {"reinvent_base", "reInvent2019_track"}
SLOW = [pytest.param(name, marks=pytest.mark.slow) for name in ("reInvent2019_track", "2022_april_open", "Vegas_track")]
"""A room like that of reinvent_base, and cities: up to ten seconds each."""
NAMES = ("reinvent_base", "Bowtie_track", *SLOW)


@pytest.mark.skipif(
    not RECORDED.is_dir(), reason="Gazebo's frames belong beside the checkout, in ../shared/reference/worlds"
)
@pytest.mark.parametrize("name", NAMES)
def test_frames_are_those_that_gazebo_recorded(name: str, tmp_path: Path) -> None:
    with opened(RECORDED / "bundle") as folder:
        sources, _ = worlds_in(folder, "bundle")
        import_world(sources[name], tmp_path)
    camera = Camera(load_track(name, [tmp_path]))
    with np.load(RECORDED / "frames" / f"{name}.npz") as recorded:
        poses, theirs = recorded["poses"], recorded["grey"]
    mine = camera.render(*poses.T)
    likeness = [ssim(one, other) for one, other in zip(mine, theirs, strict=True)]
    assert np.median(likeness) >= (0.95 if name in WALLED else 0.90), likeness
    assert np.abs(mine.astype(float) - theirs).mean() <= 6.0
    errors = [e for one, other in zip(mine, theirs, strict=True) for e in line_errors(one, other)]
    assert len(errors) > 20 and np.median(np.abs(errors)) <= 1.0
    assert camera.memory_bytes < 300e6
