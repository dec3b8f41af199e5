"""What the lidar sees of an imported world, against shapely's geometry."""

import json
import math
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from shapely import LineString, MultiLineString, Point

from contract.metadata import ModelMetadata
from contract.state import FloatArray, TrackObjects
from simapp.lidar import Lidar
from simapp.lidar.standing import Outlines, cut_at, meet_outlines
from simapp.worlds.common import Paint, common_world
from simapp.worlds.form import World
from tests.support import circle

HEIGHT_M, REACH_M = 0.2, 12.0
CORNER = st.tuples(st.floats(-4.0, 4.0), st.floats(-4.0, 4.0), st.floats(-0.5, 1.0))
TRIANGLES = st.lists(st.tuples(CORNER, CORNER, CORNER), min_size=1, max_size=12)


def world_of(triangles: FloatArray) -> World:
    """Only these triangles (N, 3, 3)."""
    base = common_world(circle(), Paint(walls_m=None, start_line=False))
    count = len(triangles)
    normals = np.tile(np.array([0.0, 0.0, 1.0], np.float32), (count, 3, 1))
    uv, material = np.zeros((count, 3, 2), np.float32), np.zeros(count, np.int32)
    return replace(base, triangles=triangles.astype(np.float32), normals=normals, uv=uv, material=material)


@settings(max_examples=30, deadline=None)
@given(triangles=TRIANGLES, x=st.floats(-5.0, 5.0), y=st.floats(-5.0, 5.0), turn=st.floats(-4.0, 4.0))
def test_rays_meet_the_outlines_where_geometry_says(
    triangles: list[tuple[tuple[float, float, float], ...]], x: float, y: float, turn: float
) -> None:
    corners = np.array(triangles, np.float32).astype(np.float64)
    segments = cut_at(corners, HEIGHT_M)
    outlines = Outlines.of(world_of(corners), HEIGHT_M)
    angles = np.linspace(-3.0, 3.0, 16)
    found = np.empty((1, 16))
    fan = np.stack([np.cos(angles), np.sin(angles)])
    meet_outlines(np.array([[x], [y], [turn]]), 0.0, fan, REACH_M, outlines.arrays, found)
    seen = MultiLineString([s.reshape(2, 2).tolist() for s in segments])
    wrong = 0
    for angle, reading in zip((angles + turn).tolist(), found[0].tolist(), strict=True):
        ray = LineString([(x, y), (x + REACH_M * math.cos(angle), y + REACH_M * math.sin(angle))])
        hit = ray.intersection(seen)
        expected = REACH_M if hit.is_empty else min(REACH_M, hit.distance(Point(x, y)))
        wrong += abs(expected - reading) > 1e-6
    assert wrong <= 1, "but for a ray that grazes an end all agree"


def test_cuts_lie_on_both_the_triangle_and_the_height() -> None:
    rng = np.random.default_rng(0)
    corners = rng.uniform(-1.0, 1.0, (200, 3, 3))
    segments = cut_at(corners, 0.1)
    above = (corners[..., 2] > 0.1).sum(axis=1)
    crossing = corners[(above > 0) & (above < 3)]
    assert len(segments) == len(crossing) > 50
    for triangle, segment in zip(crossing, segments, strict=True):
        for point in segment.reshape(2, 2):
            # barycentric coordinates of the point at that height
            weights = np.linalg.solve(np.vstack([triangle.T[:2], np.ones(3)]), [*point, 1.0])
            assert weights.min() > -1e-6
            assert weights @ triangle[:, 2] == pytest.approx(0.1, abs=1e-6)


def test_the_walls_of_a_world_are_where_it_has_them_and_not_where_the_built_in_room_has(tmp_path: Path) -> None:
    actions = [{"steering_angle": angle, "speed": 1.0} for angle in (-20, 20)]
    sensor = ["FRONT_FACING_CAMERA", "LIDAR"]
    metadata = ModelMetadata.parse(json.dumps({"action_space": actions, "sensor": sensor, "version": 4}))
    track = circle()
    common_world(track, Paint(walls_m=2.0)).save(tmp_path / "circle")
    lidar = Lidar(replace(track, world=tmp_path / "circle"), metadata)
    xmin, ymin, xmax, ymax = track.bounds
    x, y = np.array([0.5 * (xmin + xmax)]), np.array([0.5 * (ymin + ymax)])
    seed, frame = np.zeros(1, np.uint64), np.zeros(1, np.int64)
    ranges = lidar.ranges(x, y, np.zeros(1), TrackObjects.none(1), seed, frame, noise_m=0.0)
    # straight to the left and to the right, past the middle of the square room's walls
    straight = ranges[0].min()
    assert straight == pytest.approx(ymax - float(y[0]) + 2.0, abs=0.06)
