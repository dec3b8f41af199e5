"""A mirrored world gives mirrored observations: stereo cameras and lidar of the built-in simulator."""

import numpy as np
import pytest

from contract.metadata import ModelMetadata
from contract.state import ObjectKind, Observations, Poses, TrackObjects
from simapp.builtin import BuiltinSimulator
from simapp.lidar.lidar import NOISE_M
from simapp.tracks import Track, load_track
from tests.support import mirrored

CAMERA, CARS = "STEREO_CAMERAS", 12
MODEL = ModelMetadata.parse(
    '{"action_space": [{"steering_angle": -5, "speed": 1}, {"steering_angle": 5, "speed": 1}],'
    ' "sensor": ["STEREO_CAMERAS", "LIDAR"], "version": "5"}'
)
OVAL = load_track("first_oval")


def world() -> tuple[Poses, TrackObjects]:
    """Cars anywhere on the road, each with a box ahead of it and a parked car behind it, within the lidar's range."""
    random = np.random.default_rng(0)
    here = random.uniform(0.0, OVAL.length_m, CARS)
    poses = OVAL.pose_at(here, random.uniform(-0.3, 0.3, CARS))
    poses.heading_rad = poses.heading_rad + random.uniform(-0.6, 0.6, CARS)
    objects = TrackObjects.none(CARS, 2)
    for place, (kind, near_m, far_m) in enumerate(((ObjectKind.box, 0.5, 1.8), (ObjectKind.car, -0.8, -0.5))):
        there = OVAL.pose_at(here + random.uniform(near_m, far_m, CARS), random.uniform(-0.25, 0.25, CARS))
        objects.kind[:, place] = kind
        objects.x_m[:, place], objects.y_m[:, place] = there.x_m, there.y_m
        objects.heading_rad[:, place] = there.heading_rad + random.uniform(-0.3, 0.3, CARS)
    return poses, objects


def observed(track: Track, poses: Poses, objects: TrackObjects) -> Observations:
    simulator = BuiltinSimulator(track, [MODEL] * CARS)
    simulator.furnish(np.arange(CARS), objects)
    simulator.place(np.arange(CARS), poses)
    return simulator.observe(np.arange(CARS))


@pytest.mark.slow
def test_a_mirrored_world_gives_mirrored_observations() -> None:
    poses, objects = world()
    here = observed(OVAL, poses, objects)
    flipped = TrackObjects(
        objects.kind, objects.x_m, -objects.y_m, -objects.heading_rad, objects.speed_mps, objects.colour
    )
    there = observed(mirrored(OVAL), Poses(poses.x_m, -poses.y_m, -poses.heading_rad), flipped)

    # the asphalt's texture is not mirrored, everything else is: left to right, and the left eye to the right one
    frames, mirror = here[CAMERA].astype(float), there[CAMERA].astype(float)
    apart = np.abs(frames - mirror[:, :, ::-1, ::-1])
    assert (apart.mean(axis=(1, 2, 3)) < 8.0).all()
    assert (apart > 25.0).mean() < 1e-3
    assert (np.abs(frames - mirror).mean(axis=(1, 2, 3)) > 15.0).all()  # they are no mirror images themselves
    assert (np.abs(frames - mirror[:, :, ::-1]).mean(axis=(1, 2, 3)) > 7.0).all()  # and the eyes differ

    # each ray has noise of its own
    rays, mirror = here["LIDAR"], there["LIDAR"][:, ::-1]
    assert np.abs(rays - mirror).max() < 5 * np.sqrt(2) * NOISE_M
    assert np.abs(rays - there["LIDAR"]).max() > 0.3
    assert (rays < 0.9).any(axis=1).sum() > CARS // 2
