"""Randomised conditions: each acts on what it names, repeats from its seed, and is nothing at its nominal value."""

from collections.abc import Mapping

import numpy as np
import pytest
from scipy.ndimage import binary_erosion, gaussian_filter
from scipy.stats import kurtosis

from contract.conditions import Conditions, RandomizationConfig
from contract.state import FloatArray, ObjectKind, TrackObjects, UInt8Array
from simapp.camera import Camera
from simapp.camera.effects import STAIN_STRENGTH, changed, finish_frames, stain_tile
from simapp.camera.kernel import render_frames
from simapp.camera.look import ASPHALT_RGB, FIELD_RGB, GREY, LINE_RGB
from simapp.camera.pinhole import Pinhole, front_camera
from simapp.camera.plan import scan_plan
from simapp.tracks import Track
from tests.camera_picture import render_rgb, stains_at
from tests.camera_reference import World

POSE = (1.0, 0.05, 0.1)


@pytest.fixture(scope="module")
def street() -> Track:
    """A straight road east, from the origin."""
    x, y = np.linspace(0.0, 8.0, 9), np.zeros(9)
    return Track("street", np.column_stack([x, y, x, y + 0.5, x, y - 0.5]))


@pytest.fixture(scope="module")
def camera(street: Track) -> Camera:
    return Camera(street)


@pytest.fixture(scope="module")
def world(street: Track) -> World:
    return World(street)


def changed_by(values: Mapping[str, float], seed: int = 0) -> Conditions:
    """Nominal conditions of one car but for some values."""
    conditions = Conditions.nominal(1)
    conditions.seed[:] = seed
    for name, value in values.items():
        getattr(conditions, name)[:] = value
    return conditions


def under(*, seed: int = 0, **values: float) -> Conditions:
    return changed_by(values, seed)


def see(
    camera: Camera,
    conditions: Conditions | None,
    frame: int = 0,
    objects: TrackObjects | None = None,
    left_m: float = 0.0,
) -> UInt8Array:
    x, y, heading = (np.array([value]) for value in POSE)
    count = np.array([frame])
    seen = camera.render(x, y, heading, objects=objects, left_m=left_m, conditions=conditions, frame=count)
    return np.asarray(seen[0])


def a_box() -> TrackObjects:
    objects = TrackObjects.none(1, 1)
    objects.kind[:], objects.x_m[:], objects.y_m[:] = ObjectKind.box, 2.2, 0.2
    return objects


def surfaces(world: World, pinhole: Pinhole) -> dict[str, FloatArray]:
    """Which whole pixels (120, 160) show one surface, away from its edges."""
    grey = world.picture(pinhole, *POSE, width=160)
    is_ground = np.arange(120)[:, None] > 40
    masks = {"walls": ~is_ground & (grey < 30)}
    for name, rgb, spread in (("asphalt", ASPHALT_RGB, 16), ("field", FIELD_RGB, 12), ("lines", LINE_RGB, 30)):
        masks[name] = is_ground & (abs(grey - rgb @ GREY) < spread)
    return {name: binary_erosion(mask, np.ones((3, 3))) for name, mask in masks.items()}


def test_nominal_conditions_change_no_bit(camera: Camera) -> None:
    plain = see(camera, None, objects=a_box())
    np.testing.assert_array_equal(see(camera, Conditions.nominal(1), 7, objects=a_box()), plain)
    np.testing.assert_array_equal(see(camera, under(seed=5), 7, objects=a_box()), plain)


@pytest.mark.parametrize(
    ("name", "factor"), [("asphalt", 0.7), ("asphalt", 1.4), ("field", 0.6), ("lines", 0.8), ("walls", 4.0)]
)
def test_a_tone_acts_on_its_surface_alone(camera: Camera, world: World, name: str, factor: float) -> None:
    plain, toned = see(camera, None).astype(float), see(camera, changed_by({name: factor}))
    for surface, mask in surfaces(world, camera.pinhole).items():
        assert mask.sum() > 20, surface
        ratio = toned[mask].mean() / plain[mask].mean()
        assert ratio == pytest.approx(factor if surface == name else 1.0, rel=0.03), surface
    # an object keeps its own tone
    before = see(camera, None, objects=a_box())
    box = binary_erosion(before != plain, np.ones((3, 3)), iterations=2)
    assert box.sum() > 200
    np.testing.assert_array_equal(see(camera, changed_by({name: factor}), objects=a_box())[box], before[box])


def test_light_acts_on_all_that_is_seen_and_ends_at_white(camera: Camera) -> None:
    plain = see(camera, None, objects=a_box()).astype(float)
    for factor in (0.6, 1.05):
        lit = see(camera, under(light=factor), objects=a_box())
        assert abs(lit - plain * factor).max() <= 0.5 * factor + 1.0
    # what is mixed of white and something else is mixed after the white was cut off
    lit = see(camera, under(light=1.8), objects=a_box())
    assert abs(lit - np.minimum(plain * 1.8, 255.0)).mean() < 1.0
    walls_only = see(camera, under(light=3.0, walls=15.0)).astype(int)
    assert walls_only.max() == 255 and walls_only[:20].mean() > 100


@pytest.mark.parametrize(
    "change",
    [
        {"camera_pitch_deg": 4.0},
        {"camera_height_m": 0.03},
        {"camera_fov": 1.1},
        {"camera_pitch_deg": -3.0, "camera_height_m": -0.02, "camera_fov": 0.9},
    ],
)
def test_another_pinhole_sees_what_rays_from_it_meet(camera: Camera, world: World, change: dict[str, float]) -> None:
    pinhole = front_camera()
    expected = Pinhole(
        pinhole.ahead_m,
        pinhole.height_m + change.get("camera_height_m", 0.0),
        pinhole.pitch_rad + np.radians(change.get("camera_pitch_deg", 0.0)),
        pinhole.hfov_rad * change.get("camera_fov", 1.0),
    )
    frame = see(camera, changed_by(change), objects=a_box())
    assert abs(frame - world.frame(expected, *POSE, a_box())).mean() < 1.5
    assert abs(frame - world.frame(pinhole, *POSE, a_box())).mean() > 3.0


def test_yaw_turns_the_view_about_the_lens(camera: Camera) -> None:
    turned = see(camera, under(camera_yaw_deg=5.0), objects=a_box()).astype(int)
    x, y, heading = POSE
    ahead, new = camera.pinhole.ahead_m, heading + np.radians(5.0)
    at = (x + ahead * (np.cos(heading) - np.cos(new)), y + ahead * (np.sin(heading) - np.sin(new)), new)
    x_m, y_m, heading_rad = (np.array([value]) for value in at)
    same = camera.render(x_m, y_m, heading_rad, objects=a_box())[0]
    assert abs(turned - same).max() <= 1
    assert abs(turned - see(camera, None, objects=a_box())).mean() > 3


@pytest.mark.parametrize("deviation", [0.3, 0.8, 2.0, 5.0])
def test_blur_is_a_gaussian(camera: Camera, deviation: float) -> None:
    plain = see(camera, None, objects=a_box()).astype(float)
    expected = gaussian_filter(plain, deviation, mode="nearest", radius=int(np.ceil(3 * deviation)))
    np.testing.assert_allclose(see(camera, under(blur_px=deviation), objects=a_box()), expected, atol=0.51)


@pytest.mark.parametrize("deviation", [0.8, 6.0, 20.0])
def test_noise_is_normal_with_the_asked_deviation(deviation: float) -> None:
    frames = np.full((4, 120, 160), 128, np.uint8)
    keys = np.arange(4, dtype=np.uint64) * np.uint64(0x123456789ABCDEF)
    finish_frames(np.zeros(4), np.full(4, deviation), keys, frames)
    noise = frames.astype(float) - 128.0
    # rounding to whole levels adds 1/12 to the variance
    assert noise.std() == pytest.approx(np.sqrt(deviation**2 + 1 / 12), rel=0.01)
    assert abs(noise.mean()) < 4 * deviation / np.sqrt(noise.size)
    assert abs(kurtosis(noise.ravel())) < 0.4  # a sum of four even digits has -0.3
    flat = noise.reshape(4, -1)
    assert abs(np.corrcoef(flat) - np.eye(4)).max() < 0.03
    for shift in (1, 2, 80, 160):  # neighbours, and the two pixels of one hash
        assert abs(np.corrcoef(flat[0, :-shift], flat[0, shift:])[0, 1]) < 0.03


def test_noise_repeats_from_seed_frame_and_lens_and_differs_for_any_other(camera: Camera) -> None:
    frames = {
        (seed, frame, left): see(camera, under(seed=seed, noise=5.0), frame, left_m=left)
        for seed in (0, 1, 2**63)
        for frame in (0, 1, 500)
        for left in (0.03, -0.03)
    }
    for (seed, frame, left), image in frames.items():
        np.testing.assert_array_equal(image, see(camera, under(seed=seed, noise=5.0), frame, left_m=left))
    noise = []
    for (_, _, left), image in frames.items():
        plain = see(camera, None, left_m=left)
        noise.append((image.astype(float) - plain)[50:].ravel())
    assert abs(np.corrcoef(noise) - np.eye(len(noise))).max() < 0.05


def test_stains_lie_on_the_ground_of_the_world(camera: Camera) -> None:
    conditions, pinhole = under(seed=0x0123456789ABCDEF, texture=1.0), camera.pinhole
    plain, stained = see(camera, None).astype(float), see(camera, conditions).astype(float)
    np.testing.assert_array_equal(stained[:27], plain[:27])
    column, row = np.meshgrid(np.arange(8, 152, 4), np.arange(60, 118, 3))
    ahead, left = pinhole.ground(np.asarray(column + 0.5), np.asarray(row + 0.5))
    x, y, heading = POSE
    cos, sin = np.cos(heading), np.sin(heading)
    ahead = ahead + pinhole.ahead_m
    points = np.column_stack([(x + ahead * cos - left * sin).ravel(), (y + ahead * sin + left * cos).ravel()])
    expected = (plain[row, column].ravel() * stains_at(points, conditions)).clip(0, 255)
    assert abs(stained[row, column].ravel() - expected).mean() < 1.5
    assert abs(expected - plain[row, column].ravel()).mean() > 3
    tile = stain_tile()
    assert abs(tile).max() <= 1.0 and abs(tile.mean()) < 0.02 and 0.3 < tile.std() < 0.6
    # another seed, other stains
    other = see(camera, under(seed=99, texture=1.0)).astype(float)
    assert abs(other - stained)[50:].mean() > 2
    half = see(camera, under(seed=0x0123456789ABCDEF, texture=0.5)).astype(float)
    assert abs((half - plain) * 2 - (stained - plain))[60:].mean() < 1.2
    assert STAIN_STRENGTH < 1.0


def test_each_frame_depends_on_its_own_conditions_alone(camera: Camera) -> None:
    rng, count = np.random.default_rng(3), 9
    drawn = [Conditions.drawn(RandomizationConfig(), rng) for _ in range(count)]
    together = Conditions.nominal(count)
    for i, conditions in enumerate(drawn[:-1]):  # the last one stays nominal
        together.put(np.array([i]), conditions)
    x, y, heading = np.linspace(0.0, 4.0, count), np.full(count, 0.1), rng.normal(0, 0.2, count)
    objects = TrackObjects(*(np.repeat(getattr(a_box(), name), count, axis=0) for name in TrackObjects.__slots__))
    frame = np.arange(count)
    frames = camera.render(x, y, heading, objects=objects, conditions=together, frame=frame)
    for i in range(count):
        one = np.array([i])
        alone = camera.render(
            x[one], y[one], heading[one], objects=objects.of(one), conditions=together.of(one), frame=frame[one]
        )
        np.testing.assert_array_equal(alone[0], frames[i])
    np.testing.assert_array_equal(
        frames[-1], camera.render(x[-1:], y[-1:], heading[-1:], objects=objects.of(np.array([0])))[0]
    )
    for threads in (2, 4):
        again = camera.render(x, y, heading, threads=threads, objects=objects, conditions=together, frame=frame)
        np.testing.assert_array_equal(again, frames)


def test_the_colour_picture_is_under_the_same_conditions(camera: Camera) -> None:
    conditions = under(
        seed=7,
        light=0.8,
        asphalt=1.3,
        field=0.7,
        lines=1.1,
        walls=3.0,
        texture=0.7,
        camera_pitch_deg=1.0,
        camera_yaw_deg=-3.0,
    )
    conditions.camera_height_m[:], conditions.camera_fov[:] = 0.01, 1.05
    picture = render_rgb(camera, *POSE, 320, 240, objects=a_box(), left_m=0.03, conditions=conditions)
    small = (picture @ GREY).reshape(120, 2, 160, 2).mean(axis=(1, 3))
    assert abs(small - see(camera, conditions, objects=a_box(), left_m=0.03)).mean() < 2.5


def test_plans_of_all_pinholes_have_whole_rows() -> None:
    rng = np.random.default_rng(1)
    for _ in range(30):
        change = (rng.uniform(-10, 15), rng.uniform(-0.05, 0.2), rng.uniform(0.5, 1.5))
        plan = scan_plan(changed(front_camera(), change), 0.002 * np.exp2(np.arange(7.0)), 12.0)
        has_ground = plan.count > 0
        assert (plan.weights.sum(axis=1) == np.where(has_ground, 256, 0)).all()
        assert has_ground[-1] and (plan.first + plan.count <= plan.ahead_m.size).all()


def test_conditions_of_another_length_are_refused(camera: Camera) -> None:
    one = np.zeros(1)
    with pytest.raises(ValueError, match=r"conditions are \(2,\)"):
        camera.render(one, one, one, conditions=Conditions.nominal(2))
    with pytest.raises(ValueError, match=r"frame is \(3,\)"):
        camera.render(one, one, one, conditions=Conditions.nominal(1), frame=np.zeros(3, np.int64))


def test_one_signature_serves_all_conditions(camera: Camera) -> None:
    see(camera, Conditions.drawn(RandomizationConfig(), np.random.default_rng(0)), 3, a_box(), 0.03)
    assert len(finish_frames.signatures) == len(render_frames.signatures) == 1
