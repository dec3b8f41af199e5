"""Oriented boxes against shapely's polygons."""

import math

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st
from shapely import Polygon, affinity, box

from contract.state import ObjectKind, TrackObjects
from contract.vehicle import BOX_LENGTH_M, BOX_WIDTH_M, LENGTH_M, WIDTH_M
from simapp.contact import outlines, overlaps

PLACE = st.floats(-0.5, 0.5)
ANGLE = st.floats(-7.0, 7.0)
SIZE = st.floats(0.01, 0.6)
BOX = st.tuples(PLACE, PLACE, ANGLE, SIZE, SIZE)


def polygon(x: float, y: float, heading: float, length: float, width: float) -> Polygon:
    flat = box(-length / 2, -width / 2, length / 2, width / 2)
    return affinity.translate(affinity.rotate(flat, heading, origin=(0, 0), use_radians=True), x, y)


@settings(max_examples=80)
@given(st.lists(BOX, min_size=2, max_size=5))
def test_overlap_as_polygons_do(boxes: list[tuple[float, ...]]) -> None:
    values = np.array(boxes).T
    hits = overlaps(tuple(values), tuple(np.tile(row, (len(boxes), 1)) for row in values))
    for k, one in enumerate(boxes):
        for m, other in enumerate(boxes):
            a, b = polygon(*one), polygon(*other)
            if a.intersection(b).area > 1e-9:
                assert hits[k, m]
            if a.distance(b) > 1e-9:
                assert not hits[k, m]


def test_bumper_to_bumper() -> None:
    ahead = np.array([[LENGTH_M + 1e-6, LENGTH_M - 1e-6]])
    still, size = np.zeros((1, 2)), (np.full((1, 2), LENGTH_M), np.full((1, 2), WIDTH_M))
    one = np.zeros(1), np.zeros(1), np.zeros(1), np.array([LENGTH_M]), np.array([WIDTH_M])
    assert overlaps(one, (ahead, still, still, *size)).tolist() == [[False, True]]
    # crosswise the other one is as long as it is wide
    across = still + math.pi / 2
    assert overlaps(one, (ahead - (LENGTH_M - WIDTH_M) / 2, still, across, *size)).tolist() == [[False, True]]


def test_what_is_not_there_is_never_hit() -> None:
    objects = TrackObjects.none(1, 3)
    objects.kind[0] = [ObjectKind.nothing, ObjectKind.box, ObjectKind.car]
    length, width = outlines(objects)
    assert length.tolist() == [[0.0, BOX_LENGTH_M, LENGTH_M]] and width.tolist() == [[0.0, BOX_WIDTH_M, WIDTH_M]]
    one = np.zeros(1), np.zeros(1), np.zeros(1), np.ones(1), np.ones(1)
    hits = overlaps(one, (objects.x_m, objects.y_m, objects.heading_rad, length, width))
    assert hits.tolist() == [[False, True, True]]
