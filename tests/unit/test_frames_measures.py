"""Brightness, blur and noise of frames against what was done to them, and distances against those of a tree."""

import functools
import itertools

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter
from scipy.spatial import cKDTree

from contract.conditions import RandomizationConfig
from simapp.camera import Camera
from tests.support import circle
from undercut.frames.covering import covers, found_ranges
from undercut.frames.measures import NEIGHBOUR, Looks, distances

random = np.random.default_rng(7)


@functools.cache
def camera() -> Camera:
    return Camera(circle())


def roads(count: int, seed: int) -> NDArray[np.uint8]:
    """What the simulator's camera sees from random places on a circle."""
    track, draw = camera().track, np.random.default_rng(seed)
    poses = track.pose_at(draw.uniform(0.0, track.length_m, count))
    return camera().render(poses.x_m, poses.y_m, poses.heading_rad + draw.normal(0.0, 0.15, count))


@pytest.fixture(scope="module")
def frames() -> NDArray[np.uint8]:
    return roads(20, seed=1)


def changed(frames: NDArray[np.uint8], light: float = 1.0, blur: float = 0.0, noise: float = 0.0) -> NDArray[np.uint8]:
    """By scipy and numpy alone."""
    found = frames * light
    if blur:
        found = gaussian_filter(found, (0.0, blur, blur), mode="nearest")
    found = found + noise * np.random.default_rng(8).standard_normal(frames.shape)
    return np.clip(np.round(found), 0, 255).astype(np.uint8)


def test_noise_of_an_even_frame_is_what_was_added() -> None:
    for deviation in (3.0, 8.0, 20.0):
        noisy = np.clip(np.round(120 + deviation * random.standard_normal((4, 120, 160))), 0, 255).astype(np.uint8)
        assert Looks.of(noisy).noise == pytest.approx(np.full(4, deviation), rel=0.1)


def test_brightness_is_the_mean_and_softness_knows_no_contrast() -> None:
    steps = np.zeros((1, 120, 160), np.uint8)
    steps[:, :, 80:] = 200
    looks = Looks.of(steps)
    assert looks.brightness == pytest.approx([100.0])
    faint = Looks.of((steps // 2 + 40).astype(np.uint8))
    assert faint.softness == pytest.approx(looks.softness, abs=1e-3)
    soft = [float(Looks.of(changed(steps, blur=blur)).softness[0]) for blur in (0.0, 0.8, 1.5, 3.0)]
    assert all(one < other for one, other in itertools.pairwise(soft))
    assert np.isnan(Looks.of(np.full((1, 120, 160), 90, np.uint8)).softness).all(), "no edge, no blur"


def test_a_gradient_is_no_noise() -> None:
    ramp = np.tile(np.linspace(20, 220, 160).astype(np.uint8), (1, 120, 1))
    assert Looks.of(ramp).noise[0] < 0.5


def test_distances_are_a_trees() -> None:
    mine = random.normal(size=(37, 16)).astype(np.float32)
    theirs = random.normal(size=(211, 16)).astype(np.float32)
    unit = [rows / np.linalg.norm(rows, axis=1, keepdims=True) for rows in (mine, theirs)]
    expected = cKDTree(unit[1]).query(unit[0], NEIGHBOUR)[0][:, -1]
    assert distances(mine, theirs) == pytest.approx(expected, abs=1e-5)
    assert distances(10.0 * mine, theirs) == pytest.approx(expected, abs=1e-5), "directions count, not lengths"


def test_frames_of_the_same_episode_are_no_neighbours() -> None:
    rows = random.normal(size=(60, 8)).astype(np.float32)
    twins = np.concatenate([rows, rows])
    apart = np.repeat([0, 1], 60)
    together = np.zeros(120, int)
    together[-30:] = 1
    assert distances(twins, twins, apart, apart).min() >= 0.0
    others = distances(twins, twins, together, together)
    expected = [distances(twins[[k]], twins[together != together[k]])[0] for k in range(120)]
    assert others == pytest.approx(np.array(expected), abs=1e-5)
    few = distances(rows[:3], rows[:3], np.arange(3), np.arange(3))
    assert np.isfinite(few).all(), "fewer neighbours than are asked for"


@pytest.mark.parametrize(
    ("light", "blur", "noise"),
    [
        (1.0, 0.0, 0.0),
        (0.7, 1.2, 6.0),
        *(pytest.param(*case, marks=pytest.mark.slow) for case in ((0.6, 0.0, 0.0), (1.0, 1.5, 0.0), (1.0, 0.0, 10.0))),
    ],
)
def test_ranges_are_what_was_done_to_the_frames(
    frames: NDArray[np.uint8], light: float, blur: float, noise: float
) -> None:
    """Other frames of the same road, changed by other code than the simulator's."""
    found = found_ranges(Looks.of(changed(roads(20, seed=2), light, blur, noise)), frames)
    middle = {name: float(np.mean(pair)) for name, pair in found.items()}
    assert middle["light"] == pytest.approx(light, abs=0.08)
    assert middle["blur_px"] == pytest.approx(blur, abs=0.35)
    assert middle["noise"] == pytest.approx(noise, abs=max(1.5, 0.25 * noise))


def test_a_range_of_light_is_found_as_a_range(frames: NDArray[np.uint8]) -> None:
    factors = np.linspace(0.4, 1.0, 20)
    mixed = np.concatenate(
        [changed(one[None], light=factor) for one, factor in zip(roads(20, 2), factors, strict=True)]
    )
    low, high = found_ranges(Looks.of(mixed), frames)["light"]
    assert 0.35 < low < 0.6 and 0.85 < high < 1.15


@pytest.mark.slow
def test_what_is_covered_now_and_would_be(frames: NDArray[np.uint8]) -> None:
    usual = Looks.of(frames)
    same = covers(Looks.of(roads(20, seed=3)), usual, frames, None)
    assert [it.field for it in same] == ["light", "blur_px", "noise"]
    assert all(it.covered > 0.85 and it.trained in ((1.0, 1.0), (0.0, 0.0)) for it in same)
    dark = covers(Looks.of(changed(roads(20, seed=3), light=0.5)), usual, frames, None)[0]
    assert dark.covered < 0.1 and dark.would_be > 0.85 and not dark.clipped
    assert dark.suggested[0] <= dark.needed[0] and dark.suggested[1] >= 1.0, "what was trained with stays"
    trained = RandomizationConfig(light=(0.9, 1.3))
    kept = covers(Looks.of(changed(roads(20, seed=3), light=0.5)), usual, frames, trained)[0]
    assert kept.trained == (0.9, 1.3) and kept.suggested[1] == 1.3
    black, *others = covers(Looks.of(np.zeros_like(frames)), usual, frames, None)
    RandomizationConfig(**{it.field: it.suggested for it in (black, *others)})
    assert black.clipped and black.suggested[0] == 0.05, "as far as run.json allows"
