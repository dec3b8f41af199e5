"""The camera against slow, independent rendering of the same world (tests/camera_reference.py)."""

import functools

import numpy as np
import pytest

from simapp.camera import Camera
from simapp.tracks import load_track
from tests.camera_reference import World, boxes, ssim


@functools.cache
def camera_and_world(name: str) -> tuple[Camera, World]:
    track = load_track(name)
    return Camera(track), World(track)


@pytest.mark.parametrize("name", ["paddock", "grand_tour"])
def test_frames_come_near_640x480_rays_resized_as_the_real_camera_does(name: str) -> None:
    """Tolerance: 1.5 grey levels on average (2 in the worst frame), SSIM 0.98, bias 0.25."""
    camera, world = camera_and_world(name)
    track = camera.track
    assert camera.room_m == pytest.approx(world.room_m)
    rng = np.random.default_rng(11)
    count = 10
    poses = track.pose_at(rng.uniform(0, track.length_m, count), rng.uniform(-0.4, 0.4, count))
    heading = poses.heading_rad + rng.normal(0.0, 0.5, count)
    frames = camera.render(poses.x_m, poses.y_m, heading)
    errors, likeness = [], []
    for x, y, turn, frame in zip(poses.x_m, poses.y_m, heading, frames, strict=True):
        expected = world.frame(camera.pinhole, x, y, turn)
        errors.append(frame - expected)
        likeness.append(ssim(frame, expected))
    size = np.abs(errors).mean(axis=(1, 2))
    assert size.mean() < 1.5 and size.max() < 2.0, size
    assert np.mean(likeness) > 0.98, likeness
    assert abs(np.mean(errors)) < 0.25


def test_frames_come_near_plain_supersampling_too() -> None:
    """Tolerance against means of 4x4 rays, sharper than the real resize: 2 grey levels, SSIM 0.95."""
    camera, world = camera_and_world("paddock")
    track = camera.track
    poses = track.pose_at(np.linspace(0.5, track.length_m - 0.5, 6))
    frames = camera.render(poses.x_m, poses.y_m, poses.heading_rad)
    for x, y, turn, frame in zip(poses.x_m, poses.y_m, poses.heading_rad, frames, strict=True):
        expected = boxes(world.picture(camera.pinhole, x, y, turn))
        assert np.abs(frame - expected).mean() < 2.0
        assert ssim(frame, expected) > 0.95
