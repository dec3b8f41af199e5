"""The corridor: edges where geometry has them, the line of least curvature, and the quadratic programme behind it."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.optimize import lsq_linear
from scipy.sparse import csc_matrix
from shapely.geometry import LinearRing, LineString

from contract.errors import InputError
from simapp.tracks import Track, heading_difference, load_track
from tests.line_support import ring
from undercut.line.corridor import corridor_of, least_squares_in_bounds


def test_a_ring_stays_a_ring_between_its_edges() -> None:
    corridor = corridor_of(ring(2.0, 1.0), 0.1)
    radius = np.hypot(corridor.x_m, corridor.y_m)
    assert radius == pytest.approx(1.6, abs=0.01)  # of circles the shortest
    assert (corridor.left_m - corridor.right_m) == pytest.approx(1.0, abs=0.06)
    assert radius - corridor.left_m == pytest.approx(1.5, abs=0.06)
    assert corridor.spacing_m * len(radius) == pytest.approx(2.0 * np.pi * radius.mean(), rel=0.01)


@pytest.mark.parametrize("name", ["paddock", "clover", "needle"])
def test_edges_are_where_the_normals_meet_them(name: str) -> None:
    track = load_track(name)
    corridor = corridor_of(track, 0.0)
    inner, outer = LinearRing(track.inner[:-1]), LinearRing(track.outer[:-1])
    for offset, edge in ((corridor.left_m, inner), (corridor.right_m, outer)):
        for k in range(0, len(offset), 7):
            point = corridor.points(offset)[k]
            assert edge.distance(LineString([point, point + 1e-9])) < 1e-6


@pytest.mark.parametrize("name", ["paddock", "clover", "switchback", "grand_tour"])
def test_the_line_stays_within_the_edges_and_bends_less_than_the_centre_line(name: str) -> None:
    track = load_track(name)
    corridor = corridor_of(track, 0.1)
    assert (corridor.left_m > 0.08).all() and (corridor.right_m < -0.08).all()
    least = np.sum(corridor.curvature**2) * corridor.spacing_m
    assert least < _bending(track)
    assert corridor.length_m < track.length_m
    # the first point is abreast of the start line
    distance = track.shortest_way(track.along(corridor.x_m[:1], corridor.y_m[:1])[0])
    assert abs(float(distance[0])) < 0.05


def _bending(track: Track) -> float:
    """Integral of the squared curvature of the centre line, from its waypoints' turns."""
    steps = np.diff(track.centre, axis=0)
    turns = heading_difference(np.roll(np.arctan2(*steps.T[::-1]), -1), np.arctan2(*steps.T[::-1]))
    lengths = np.hypot(*steps.T)
    return float(np.sum(turns**2 / (0.5 * (lengths + np.roll(lengths, -1)))))


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 10_000), st.integers(2, 25))
def test_quadratic_programmes_are_solved_as_scipy_solves_them(seed: int, size: int) -> None:
    random = np.random.default_rng(seed)
    matrix = random.normal(size=(size + 3, size)) + 0.1 * np.eye(size + 3, size)
    target = random.normal(size=size + 3)
    low = random.normal(size=size) - 0.5
    high = low + random.uniform(0.01, 1.5, size=size)
    mine = least_squares_in_bounds(csc_matrix(matrix.T @ matrix), -matrix.T @ target, low, high)
    theirs = lsq_linear(matrix, target, (low, high), tol=1e-12).x
    cost = [float(np.sum((matrix @ x - target) ** 2)) for x in (mine, theirs)]
    assert cost[0] <= cost[1] + 1e-6 * (1.0 + cost[1])
    assert (mine >= low).all() and (mine <= high).all()


def test_an_open_road_has_no_lap() -> None:
    with pytest.raises(InputError, match="a lap needs a closed track"):
        corridor_of(load_track("drag_strip"), 0.0)


def test_a_road_too_narrow_for_car_and_margin_is_told_with_its_row() -> None:
    with pytest.raises(InputError, match=r"needs 1\.196 m"):
        corridor_of(ring(2.0, 1.0), 0.5)
