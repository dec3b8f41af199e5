"""The lidar against shapely's geometry, and its three sensors against their definitions."""

import json
import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from scipy import stats
from shapely import LineString, Polygon, affinity, box, unary_union

from contract.metadata import ModelMetadata
from contract.state import FloatArray, IntArray, ObjectKind, TrackObjects
from contract.vehicle import BOX_LENGTH_M, BOX_WIDTH_M, LENGTH_M, WIDTH_M
from simapp.lidar import Lidar
from simapp.tracks import Track, load_track
from tests.support import circle

SIZES = {ObjectKind.box: (BOX_LENGTH_M, BOX_WIDTH_M), ObjectKind.car: (LENGTH_M, WIDTH_M)}
OBJECT = st.tuples(st.sampled_from(list(ObjectKind)), st.floats(-2.0, 2.0), st.floats(-2.0, 2.0), st.floats(-3.2, 3.2))
POSE = st.tuples(st.floats(-2.5, 2.5), st.floats(-2.5, 2.5), st.floats(-7.0, 7.0))


def lidar(*sensors: str, track: Track | None = None, config: dict[str, float] | None = None) -> Lidar:
    actions = [{"steering_angle": angle, "speed": 1.0} for angle in (-20, 20)]
    text = {"action_space": actions, "sensor": ["FRONT_FACING_CAMERA", *sensors], "version": 4}
    if config:
        text["lidar_config"] = config
    return Lidar(track or circle(), ModelMetadata.parse(json.dumps(text)))


def row(objects: list[tuple[int, float, float, float]], worlds: int = 1) -> TrackObjects:
    out = TrackObjects.none(worlds, len(objects))
    for i, (kind, x, y, heading) in enumerate(objects):
        out.kind[:, i], out.x_m[:, i], out.y_m[:, i], out.heading_rad[:, i] = kind, x, y, heading
    return out


def clean(sensor: Lidar, poses: list[tuple[float, float, float]], objects: TrackObjects) -> FloatArray:
    x, y, heading = np.array(poses, dtype=np.float64).T
    return sensor.ranges(x, y, heading, objects, *keys(len(poses)), noise_m=0.0)


def keys(count: int, frame: int = 0) -> tuple[NDArray[np.uint64], IntArray]:
    return np.zeros(count, np.uint64), np.full(count, frame)


def traced(
    sensor: Lidar, pose: tuple[float, float, float], objects: list[tuple[int, float, float, float]]
) -> FloatArray:
    """Ray by ray, from the contract's numbers."""
    shapes: list[Polygon] = []
    for kind, x, y, heading in objects:
        if kind != ObjectKind.nothing:
            length, width = SIZES[ObjectKind(kind)]
            flat = box(-length / 2, -width / 2, length / 2, width / 2)
            shapes.append(affinity.translate(affinity.rotate(flat, heading, (0, 0), use_radians=True), x, y))
    room = box(*sensor.room_m)
    seen = unary_union([room.exterior, *shapes])
    x, y, heading = pose
    x, y = x + 0.02913 * math.cos(heading), y + 0.02913 * math.sin(heading)
    out = []
    for i in range(64):
        angle = heading + math.pi - 2.618 + i * 2 * 2.618 / 63
        ray = LineString([(x, y), (x + 40 * math.cos(angle), y + 40 * math.sin(angle))])
        hit = ray.intersection(seen)
        out.append(hit.distance(LineString([(x, y), (x, y)])) if not hit.is_empty else math.inf)
    return np.clip(out, 0.15, 12.0)


@settings(max_examples=25)
@given(pose=POSE, objects=st.lists(OBJECT, min_size=1, max_size=4))
def test_rays_as_geometry_says(
    pose: tuple[float, float, float], objects: list[tuple[int, float, float, float]]
) -> None:
    sensor = lidar("LIDAR")
    wrong = np.abs(clean(sensor, [pose], row(objects))[0] - traced(sensor, pose, objects)) > 1e-6
    assert wrong.sum() <= 1, "but for a ray that grazes a corner all agree"


def test_a_box_behind_and_the_gap_ahead() -> None:
    sensor = lidar("LIDAR")
    behind, ahead = row([(ObjectKind.box, -0.6, 0.0, 0.0)]), row([(ObjectKind.box, 0.6, 0.0, 0.0)])
    origin = [(0.0, 0.0, 0.0)]
    back = clean(sensor, origin, behind)[0]
    assert back[31] == pytest.approx((0.6 - BOX_LENGTH_M / 2 + 0.02913) / math.cos(2.618 / 63), abs=1e-12)
    assert (back < 1.0).sum() == (np.abs(math.pi - sensor_angles()) < math.atan2(0.2, 0.47913)).sum()
    # the fan leaves 30 degrees either side of the nose: a box 0.6 m ahead is not seen
    assert np.array_equal(clean(sensor, origin, ahead), clean(sensor, origin, row([])))


def sensor_angles() -> FloatArray:
    return np.asarray(math.pi + np.linspace(-2.618, 2.618, 64))


def test_the_fan_begins_left_of_the_nose_and_goes_round_by_the_left() -> None:
    left = row([(ObjectKind.box, 0.02913, 0.6, 0.0)])
    near = np.flatnonzero(clean(lidar("LIDAR"), [(0.0, 0.0, 0.0)], left)[0] < 1.0)
    assert near.max() < 32 and np.abs(sensor_angles()[near].mean() - math.pi / 2) < 0.05


def test_walls_and_the_far_limit() -> None:
    long = load_track("drag_strip")
    sensor = lidar("LIDAR", track=long)
    start = long.pose_at(0.5)
    ranges = clean(sensor, [(start.x_m[0], start.y_m[0], start.heading_rad[0] + math.pi)], row([]))[0]
    x, y = start.x_m[0] - 0.02913 * math.cos(start.heading_rad[0]), start.y_m[0]
    walls = np.abs(np.array([x, y, x, y]) - sensor.room_m)
    assert ranges.min() == pytest.approx(walls.min(), rel=1e-2)
    assert ranges.max() <= 12.0


@settings(max_examples=15)
@given(pose=POSE, objects=st.lists(OBJECT, min_size=1, max_size=3))
def test_mirrored_worlds_give_mirrored_scans(
    pose: tuple[float, float, float], objects: list[tuple[int, float, float, float]]
) -> None:
    sensor = lidar("LIDAR")
    flipped = row([(kind, x, -y, -heading) for kind, x, y, heading in objects])
    one = clean(sensor, [pose], row(objects))
    other = clean(sensor, [(pose[0], -pose[1], -pose[2])], flipped)
    assert (np.abs(one - other[:, ::-1]) > 1e-9).sum() <= 1


def test_noise_is_the_real_sensors_and_repeats() -> None:
    sensor = lidar("LIDAR")
    count = 200
    ring = np.linspace(0.0, 2.0 * np.pi, count)
    x, y, heading = 2.9 * np.cos(ring), 2.9 * np.sin(ring), 3.0 * ring
    nothing = TrackObjects.none(count)
    seed = np.arange(count, dtype=np.uint64)
    silent = sensor.ranges(x, y, heading, nothing, seed, np.zeros(count, np.int64), noise_m=0.0)
    noisy = sensor.ranges(x, y, heading, nothing, seed, np.zeros(count, np.int64))
    error = (noisy - silent).ravel() / 0.01
    assert stats.kstest(error, "norm").pvalue > 0.01
    assert abs(np.corrcoef(error[1:], error[:-1])[0, 1]) < 0.03
    later = sensor.ranges(x, y, heading, nothing, seed, np.ones(count, np.int64))
    assert abs(np.corrcoef(error, (later - silent).ravel())[0, 1]) < 0.03
    # a car's scan does not depend on who scans with it
    alone = sensor.ranges(x[7:8], y[7:8], heading[7:8], TrackObjects.none(1), seed[7:8], np.zeros(1, np.int64))
    assert np.array_equal(alone[0], noisy[7])


def test_the_three_sensors_are_what_is_defined() -> None:
    objects = row([(ObjectKind.box, -0.5, 0.2, 0.4), (ObjectKind.car, 0.1, -0.9, 1.0), (ObjectKind.car, 0.7, 0.7, 0.0)])
    config = {"num_sectors": 4, "num_values_per_sector": 5, "clipping_dist": 0.7}
    origin, frame = (np.zeros(1),) * 3, keys(1, 3)
    full = lidar("LIDAR").ranges(*origin, objects, *frame)[0]

    values = lidar("LIDAR").scan(*origin, objects, *frame)["LIDAR"]
    assert values.dtype == np.float32 and values.shape == (1, 64)
    np.testing.assert_array_equal(values[0], np.clip(full, 0.15, 1.0).astype(np.float32))

    sectors = lidar("SECTOR_LIDAR").scan(*origin, objects, *frame)["SECTOR_LIDAR"]
    expected = [float(min(full[8 * i : 8 * i + 8]) < 0.5) for i in range(8)]
    assert sectors.dtype == np.float32 and sectors.tolist() == [expected] and 0.0 < sum(expected) < 8.0

    steps = lidar("DISCRETIZED_SECTOR_LIDAR", config=config).scan(*origin, objects, *frame)
    hot = []
    for i in range(4):
        nearest = min(full[16 * i : 16 * i + 16])
        hot += [float(0.14 * j <= nearest < 0.14 * (j + 1)) for j in range(5)]
    assert steps["DISCRETIZED_SECTOR_LIDAR"].tolist() == [hot] and sum(hot) >= 2.0

    default = lidar("DISCRETIZED_SECTOR_LIDAR").scan(*origin, objects, *frame)["DISCRETIZED_SECTOR_LIDAR"]
    assert default.shape == (1, 64) and default.sum(axis=1) <= 8
    assert lidar().scan(*origin, objects, *frame) == {}
