"""Boxes and cars in the frames, against rays (tests/camera_reference.py) and the pinhole's formulas."""

import itertools

import numpy as np
import pytest
import shapely
from shapely.affinity import rotate, translate

from contract.state import FloatArray, ObjectKind, TrackObjects, UInt8Array
from contract.vehicle import (
    BOX_HEIGHT_M,
    BOX_LENGTH_M,
    BOX_WIDTH_M,
    CAR_COLORS,
    HEIGHT_M,
    LENGTH_M,
    STEREO_BASE_M,
    WIDTH_M,
)
from simapp.camera import Camera
from simapp.camera.bodies import LOOKS, REACH_M, looks_of, tables
from simapp.camera.look import CAR_RGB, GREY
from simapp.camera.pinhole import front_camera
from simapp.camera.rasterise import draw_bodies
from simapp.tracks import Track
from tests.camera_picture import render_rgb
from tests.camera_reference import World, cast_objects, lens_and_rays, shrink

BOX, CAR = ObjectKind.box, ObjectKind.car
Row = tuple[ObjectKind, float, float, float, int]
"""kind, x, y, heading, colour"""


def street() -> Track:
    """A straight road east, from the origin."""
    x, y = np.linspace(0.0, 8.0, 9), np.zeros(9)
    return Track("street", np.column_stack([x, y, x, y + 0.5, x, y - 0.5]))


def row_of(*rows: Row) -> TrackObjects:
    objects = TrackObjects.none(1, len(rows))
    for m, (kind, x, y, heading, colour) in enumerate(rows):
        objects.kind[0, m], objects.colour[0, m] = kind, colour
        objects.x_m[0, m], objects.y_m[0, m], objects.heading_rad[0, m] = x, y, heading
    return objects


@pytest.fixture(scope="module")
def camera() -> Camera:
    return Camera(street())


def see(
    camera: Camera, objects: TrackObjects | None, x: float = 1.0, y: float = 0.0, heading: float = 0.0
) -> UInt8Array:
    frame: UInt8Array = camera.render(np.array([x]), np.array([y]), np.array([heading]), objects=objects)[0]
    return frame


def paint(
    objects: TrackObjects, ground: int, lens: tuple[float, float] = (1.0, 0.0), heading: float = 0.0
) -> FloatArray:
    """The objects alone, before an even ground."""
    frame = np.full((1, 120, 160), ground, np.uint8)
    draw_bodies(
        np.array([[*lens, np.cos(heading), np.sin(heading)]]),
        np.array([front_camera().numbers]),
        np.ones(1),
        looks_of(objects),
        objects.x_m,
        objects.y_m,
        objects.heading_rad,
        tables(),
        REACH_M,
        (-20.0, -20.0, 20.0, 20.0, 1.0),
        frame,
    )
    return np.asarray(frame[0], dtype=np.float64)


def covered(objects: TrackObjects, lens: tuple[float, float] = (1.0, 0.0)) -> FloatArray:
    """Share of each pixel that objects hide, from what shows through of black and white."""
    return np.asarray(1.0 - (paint(objects, 255, lens) - paint(objects, 0, lens)) / 255.0)


SCENES: dict[str, list[Row]] = {
    "boxes in both lanes, near and far": [(BOX, 2.2, 0.2, 0.1, 0), (BOX, 3.2, -0.2, -0.3, 0), (BOX, 6.0, 0.2, 0.0, 0)],
    "a car close ahead": [(CAR, 1.55, -0.05, 0.2, 3)],
    "a car before a box": [(CAR, 1.9, 0.1, -0.4, 5), (BOX, 2.4, 0.0, 0.5, 0)],
    "a box amid a row of cars": [
        *[(CAR, 2.0 + 0.6 * i, 0.32 * (-1) ** i, 0.2 * i, i) for i in range(5)],
        (BOX, 2.3, 0.02, 0.8, 0),
    ],
    "a box beside the lens, partly behind it": [(BOX, 1.2, 0.24, 0.15, 0)],
    "a box ten centimetres ahead": [(BOX, 1.4, -0.12, 0.4, 0)],
    "a long side that passes the lens": [(CAR, 1.3, -0.16, 0.05, 4), (BOX, 1.9, 0.3, 0.0, 0)],
    "two that almost touch, the farther middle in front": [(BOX, 1.95, 0.36, 1.55, 0), (CAR, 1.85, 0.03, 0.1, 2)],
}


@pytest.mark.parametrize("name", SCENES)
def test_objects_are_where_rays_meet_them(camera: Camera, name: str) -> None:
    """Over the same ground: 0.6 grey levels off on average where objects are, half of it rounding, and 10 at worst."""
    objects = row_of(*SCENES[name])
    plain, frame = see(camera, None).astype(float), see(camera, objects)
    seen = cast_objects(*lens_and_rays(camera.pinhole, 1.0, 0.0, 0.0, 640), objects)
    cover = shrink(~np.isnan(seen))
    expected = plain * (1.0 - cover) + shrink(np.nan_to_num(seen))
    touched = cover > 0.0
    assert touched.sum() > 100
    error = abs(frame - expected)[touched]
    assert error.mean() < 0.6 and error.max() < 10.0, (error.mean(), error.max())


def test_nearer_objects_hide_farther_ones_in_any_arrangement(camera: Camera) -> None:
    """Crowds of objects that do not overlap; a wrong order would be off by tens of levels."""
    rng, crowds = np.random.default_rng(8), 0
    while crowds < 6:
        rows: list[Row] = []
        outlines: list[shapely.Polygon] = []
        for _ in range(30):
            kind = (BOX, CAR)[rng.integers(2)]
            x, y, heading = rng.uniform(1.3, 2.6), rng.uniform(-0.6, 0.6), rng.uniform(-np.pi, np.pi)
            length, width = (BOX_LENGTH_M, BOX_WIDTH_M) if kind == BOX else (LENGTH_M, WIDTH_M)
            outline = shapely.box(-length / 2, -width / 2, length / 2, width / 2)
            outline = translate(rotate(outline, heading, (0, 0), use_radians=True), x, y)
            lens = shapely.Point(1.0 + camera.pinhole.ahead_m, 0.0)
            if not any(outline.intersects(other) for other in [*outlines, lens]):
                rows.append((kind, x, y, heading, int(rng.integers(len(CAR_COLORS)))))
                outlines.append(outline)
        objects = row_of(*rows)
        seen = cast_objects(*lens_and_rays(camera.pinhole, 1.0, 0.0, 0.0, 640), objects)
        expected = see(camera, None) * (1.0 - shrink(~np.isnan(seen))) + shrink(np.nan_to_num(seen))
        error = abs(see(camera, objects) - expected)
        assert error.mean() < 0.6 and error.max() < 20.0, (crowds, error.mean(), error.max())
        crowds += 1


def test_objects_and_ground_together_come_near_the_slow_picture() -> None:
    """Tolerance as for the empty road: 1.5 grey levels on average."""
    track = street()
    camera, world = Camera(track), World(track)
    for name in ("a box amid a row of cars", "a box ten centimetres ahead"):
        objects = row_of(*SCENES[name])
        expected = world.frame(camera.pinhole, 1.0, 0.05, -0.1, objects)
        assert abs(see(camera, objects, 1.0, 0.05, -0.1) - expected).mean() < 1.5


def test_pixels_beside_a_silhouette_keep_their_bits(camera: Camera) -> None:
    for rows in SCENES.values():
        objects = row_of(*rows)
        seen = cast_objects(*lens_and_rays(camera.pinhole, 1.0, 0.0, 0.0, 320), objects)
        # rays a quarter of a pixel apart may miss a sliver
        beside = shrink(~np.isnan(seen)) == 0.0
        beside[1:] &= beside[:-1].copy()
        beside[:-1] &= beside[1:].copy()
        beside[:, 1:] &= beside[:, :-1].copy()
        beside[:, :-1] &= beside[:, 1:].copy()
        assert beside.sum() > 1000
        np.testing.assert_array_equal(see(camera, objects)[beside], see(camera, None)[beside])


@pytest.mark.parametrize(
    ("away", "side", "turn"), [(1.0, 0.2, 0.0), (2.5, -0.4, 0.7), (0.7, 0.0, -0.4), (5.0, 0.5, 1.2)]
)
def test_a_boxs_silhouette_is_the_hull_of_its_projected_corners(away: float, side: float, turn: float) -> None:
    cover = covered(row_of((BOX, 1.0 + away, side, turn, 0)))
    corners = np.array(list(itertools.product([-0.5, 0.5], [-0.5, 0.5], [0, 1]))) * [
        BOX_LENGTH_M,
        BOX_WIDTH_M,
        BOX_HEIGHT_M,
    ]
    cos, sin = np.cos(turn), np.sin(turn)
    ahead, left = away + corners[:, 0] * cos - corners[:, 1] * sin, side + corners[:, 0] * sin + corners[:, 1] * cos
    column, row = front_camera().project(ahead, left, corners[:, 2])
    hull = shapely.MultiPoint(np.column_stack([column, row])).convex_hull
    shown = shapely.intersection(hull, shapely.box(0, 0, 160, 120))
    assert cover.sum() == pytest.approx(shown.area, rel=0.01)
    if hull.within(shapely.box(1, 1, 159, 119)):
        rows, columns = np.mgrid[:120, :160] + 0.5
        centre = (cover * columns).sum() / cover.sum(), (cover * rows).sum() / cover.sum()
        np.testing.assert_allclose(centre, hull.centroid.coords[0], atol=0.03)


def test_a_box_behind_a_box_shows_nothing_through_it(camera: Camera) -> None:
    front, hidden = (BOX, 2.0, 0.0, 0.0, 0), (CAR, 2.9, 0.05, 0.4, 5)
    np.testing.assert_array_equal(see(camera, row_of(hidden, front)), see(camera, row_of(front)))
    assert (see(camera, row_of(hidden)) != see(camera, None)).sum() > 50


def test_nothing_behind_the_lens_or_outside_of_the_room_is_seen(camera: Camera) -> None:
    plain = see(camera, None)
    around = [(BOX, 1.0 + 0.6 * np.cos(a), 0.6 * np.sin(a), a, 0) for a in np.linspace(1.4, 4.9, 9)]
    outside = [(CAR, 9.5, 0.0, 0.0, 1), (BOX, 3.0, 5.0, 0.0, 0)]
    np.testing.assert_array_equal(see(camera, row_of(*around)), plain)
    np.testing.assert_array_equal(see(camera, row_of(*outside)), plain)
    np.testing.assert_array_equal(see(camera, TrackObjects.none(1, 3)), plain)
    np.testing.assert_array_equal(see(camera, TrackObjects.none(1)), plain)


def test_the_places_order_does_not_matter(camera: Camera) -> None:
    rng = np.random.default_rng(2)
    for rows in SCENES.values():
        expected = see(camera, row_of(*rows))
        for _ in range(4):
            shuffled = [rows[i] for i in rng.permutation(len(rows))]
            np.testing.assert_array_equal(see(camera, row_of((ObjectKind.nothing, 0, 0, 0, 0), *shuffled)), expected)


def test_objects_in_the_mirror_look_mirrored(camera: Camera) -> None:
    for rows in SCENES.values():
        ours = paint(row_of(*rows), 100, (1.0, 0.1), 0.2)
        theirs = paint(row_of(*[(k, x, -y, -h, c) for k, x, y, h, c in rows]), 100, (1.0, -0.1), -0.2)
        assert abs(ours - theirs[:, ::-1]).max() <= 1
        # the road is its own mirror image, but for its texture
        whole = see(camera, row_of(*rows), 1.0, 0.1, 0.2).astype(float)
        other = see(camera, row_of(*[(k, x, -y, -h, c) for k, x, y, h, c in rows]), 1.0, -0.1, -0.2)[:, ::-1]
        assert abs(whole - other)[50:].mean() < 5


def test_two_lenses_see_a_disparity_of_focal_length_times_base_over_depth() -> None:
    pinhole, away = front_camera(), 1.3
    objects = row_of((BOX, 1.0 + away + BOX_LENGTH_M / 2, 0.0, 0.0, 0))
    left, right = (covered(objects, (1.0, y)) for y in (STEREO_BASE_M / 2, -STEREO_BASE_M / 2))
    sin, cos = np.sin(pinhole.pitch_rad), np.cos(pinhole.pitch_rad)
    for row in (20, 30, 40):
        depth = away / (cos - (row + 0.5 - 60) / pinhole.focal_px * sin)
        # the left edge is left of the middle by as much as is covered there
        edges = [80 - cover[row, :80].sum() for cover in (left, right)]
        assert edges[0] - edges[1] == pytest.approx(pinhole.focal_px * STEREO_BASE_M / depth, abs=0.05)


def test_a_lens_to_the_left_is_a_car_to_the_left(camera: Camera) -> None:
    objects, heading, left = row_of(*SCENES["a car before a box"]), 0.15, 0.03
    pose = np.array([1.0]), np.array([0.05]), np.array([heading])
    ours = camera.render(*pose, objects=objects, left_m=left)[0].astype(int)
    x, y = 1.0 - left * np.sin(heading), 0.05 + left * np.cos(heading)
    assert abs(ours - see(camera, objects, x, y, heading)).max() <= 1
    assert abs(ours - camera.render(*pose, objects=objects, left_m=-left)[0]).max() > 50


def test_frames_with_objects_are_the_same_bits_for_any_company_and_thread_count(camera: Camera) -> None:
    rng = np.random.default_rng(4)
    count, places = 12, 6
    x, y, heading = rng.uniform(0, 5, count), rng.uniform(-0.5, 0.5, count), rng.normal(0, 0.5, count)
    objects = TrackObjects.none(count, places)
    objects.kind[:] = rng.integers(0, 3, (count, places))
    objects.colour[:] = rng.integers(0, len(CAR_COLORS), (count, places))
    objects.x_m[:], objects.y_m[:] = rng.uniform(0, 8, (count, places)), rng.uniform(-0.5, 0.5, (count, places))
    objects.heading_rad[:] = rng.uniform(-3, 3, (count, places))
    together = camera.render(x, y, heading, objects=objects)
    alone = [camera.render(x[[i]], y[[i]], heading[[i]], objects=objects.of(np.array([i])))[0] for i in range(count)]
    np.testing.assert_array_equal(together, alone)
    np.testing.assert_array_equal(together, camera.render(x, y, heading, objects=objects, threads=5))
    assert (together != camera.render(x, y, heading)).any(axis=(1, 2)).sum() > 8


def test_bodies_have_the_contracts_outlines_heights_and_colours() -> None:
    def extent(look: int) -> FloatArray:
        bounds = np.array([[b.x_m, b.y_m, b.z_m] for b in LOOKS[look]])
        return np.asarray(bounds[..., 1].max(axis=0) - bounds[..., 0].min(axis=0))

    np.testing.assert_allclose(extent(0), [BOX_LENGTH_M, BOX_WIDTH_M, BOX_HEIGHT_M])
    shells = []
    for look, name in enumerate(CAR_COLORS, start=1):
        np.testing.assert_allclose(extent(look), [LENGTH_M, WIDTH_M, HEIGHT_M])
        shells.append(LOOKS[look][1].rgb @ GREY)
        assert shells[-1] == CAR_RGB[name] @ GREY
        for below, above in itertools.pairwise(LOOKS[look]):
            assert below.z_m[1] == above.z_m[0]  # what the drawing order rests on
    assert len(set(shells)) == len(CAR_COLORS)


def test_the_colour_picture_shows_the_same_objects(camera: Camera) -> None:
    for rows in list(SCENES.values())[2:4]:
        small = render_rgb(camera, 1.0, 0.0, 0.1, 160, 120, objects=row_of(*rows), left_m=0.03) @ GREY
        frame = camera.render(np.array([1.0]), np.zeros(1), np.array([0.1]), objects=row_of(*rows), left_m=0.03)[0]
        assert abs(small - frame).mean() < 2.5


def test_wrong_objects_are_refused(camera: Camera) -> None:
    with pytest.raises(ValueError, match=r"\(2, 1\).*\(1, M\)"):
        see(camera, TrackObjects.none(2, 1))
    strange = row_of((BOX, 2.0, 0.0, 0.0, 0))
    strange.kind[:] = 3
    with pytest.raises(ValueError, match="kind 3"):
        see(camera, strange)
    with pytest.raises(ValueError, match="colour 7"):
        see(camera, row_of((CAR, 2.0, 0.0, 0.0, 7)))
    with pytest.raises(ValueError, match="heading_rad of an object is not finite"):
        see(camera, row_of((CAR, 2.0, 0.0, np.inf, 0)))


def test_one_signature_serves_objects_in_any_layout(camera: Camera) -> None:
    objects = row_of((CAR, 2.0, 0.0, 0.0, 2), (BOX, 3.0, 0.0, 0.0, 0))
    see(camera, TrackObjects(*(getattr(objects, name)[:, ::-1] for name in objects.__slots__)))
    assert len(draw_bodies.signatures) == 1
