"""The built-in simulator's lidar: poses in, the three lidar sensors' values out.

A horizontal fan of rays from the mast on the car (contract: vehicle and camera); they see boxes, cars and walls.
"""

import math

import numpy as np
from numpy.typing import NDArray

from contract.metadata import LIDAR_RAYS, LIDARS, ModelMetadata
from contract.state import FloatArray, IntArray, ObjectKind, TrackObjects
from contract.vehicle import BASE_LINK_HEIGHT_M, BOX_HEIGHT_M, HEIGHT_M
from simapp.camera.look import WALL_MARGIN_M
from simapp.contact import outlines
from simapp.lidar.kernel import cast_rays
from simapp.lidar.standing import Outlines, meet_outlines
from simapp.road import Track
from simapp.worlds.form import World

MOUNT_X_M, MOUNT_Z_M = 0.02913, 0.16145
"""The lidar's place in base_link."""
RAY_ANGLES_RAD = math.pi + np.linspace(-2.618, 2.618, LIDAR_RAYS)
"""Of each ray from the car's heading, left positive. The mount is turned by pi: the first ray points 30 degrees left of
ahead, the next ones go round by the left, the back and the right, and the last points 30 degrees right of ahead. What
is straight ahead stays unseen, as in AWS's simulator.
"""
MIN_RANGE_M, MAX_RANGE_M = 0.15, 12.0
NOISE_M = 0.01
"""Standard deviation of each ray's noise."""
LIDAR_CLIP_M = 1.0
SECTORS, SECTOR_CLIP_M = 8, 0.5

_SEEN = np.zeros(len(ObjectKind), np.bool_)
_SEEN[ObjectKind.box] = BOX_HEIGHT_M > BASE_LINK_HEIGHT_M + MOUNT_Z_M
_SEEN[ObjectKind.car] = HEIGHT_M > BASE_LINK_HEIGHT_M + MOUNT_Z_M


class Lidar:
    """What the lidar of a car with this metadata sees on a track; without a lidar `scan` gives nothing."""

    def __init__(self, track: Track, metadata: ModelMetadata) -> None:
        xmin, ymin, xmax, ymax = track.bounds
        margin = WALL_MARGIN_M if track.world is None else MAX_RANGE_M
        self.room_m = np.array([xmin - margin, ymin - margin, xmax + margin, ymax + margin])
        """The walls: xmin, ymin, xmax, ymax; in an imported world, which has walls of its own, out of reach."""
        self._outlines: Outlines | None = None
        self.sensors = tuple(name for name in metadata.sensors if name in LIDARS)
        self._config = metadata.lidar_config
        self._fan = np.stack([np.cos(RAY_ANGLES_RAD), np.sin(RAY_ANGLES_RAD)])
        if self.sensors and track.world is not None:
            self._outlines = Outlines.of(World.load(track.world), BASE_LINK_HEIGHT_M + MOUNT_Z_M)

    def scan(
        self,
        x_m: FloatArray,
        y_m: FloatArray,
        heading_rad: FloatArray,
        objects: TrackObjects,
        seed: NDArray[np.uint64],
        frame: IntArray,
    ) -> dict[str, NDArray[np.float32]]:
        """Sensor name -> (K, values) float32 for base_link poses (K,) among objects (K, M).

        LIDAR          (K, 64) metres, 0.15..1.0
        SECTOR_LIDAR   (K, 8) 1 where something is nearer than 0.5 m
        DISCRETIZED_SECTOR_LIDAR  (K, num_sectors * num_values_per_sector) one-hot distance of the nearest object in
                       each sector in steps of clipping_dist / num_values_per_sector, all 0 beyond clipping_dist

        Values are in the rays' order. The noise depends on (seed, frame, ray) alone, so an episode repeats.
        """
        if not self.sensors:
            return {}
        ranges = self.ranges(x_m, y_m, heading_rad, objects, seed, frame)
        return {name: self._values(name, ranges).astype(np.float32) for name in self.sensors}

    def ranges(
        self,
        x_m: FloatArray,
        y_m: FloatArray,
        heading_rad: FloatArray,
        objects: TrackObjects,
        seed: NDArray[np.uint64],
        frame: IntArray,
        noise_m: float = NOISE_M,
    ) -> FloatArray:
        """The rays' readings (K, 64) in metres, 0.15..12, in the order of RAY_ANGLES_RAD."""
        poses = np.stack([np.asarray(values, dtype=np.float64) for values in (x_m, y_m, heading_rad)])
        length_m, width_m = outlines(objects)
        length_m = np.where(_SEEN[objects.kind], length_m, 0.0)
        boxes = np.stack([objects.x_m, objects.y_m, objects.heading_rad, length_m, width_m])
        out = np.empty((poses.shape[1], LIDAR_RAYS))
        limits = (MOUNT_X_M, MIN_RANGE_M, MAX_RANGE_M, noise_m)
        walls = np.zeros((0, 0))
        if self._outlines is not None:
            walls = np.empty(out.shape)
            meet_outlines(poses, MOUNT_X_M, self._fan, MAX_RANGE_M, self._outlines.arrays, walls)
        cast_rays(
            poses,
            boxes,
            self.room_m,
            walls,
            self._fan,
            limits,
            np.ascontiguousarray(seed, dtype=np.uint64),
            np.ascontiguousarray(frame, dtype=np.int64),
            out,
        )
        return out

    def _values(self, name: str, ranges: FloatArray) -> FloatArray:
        if name == "LIDAR":
            return np.minimum(ranges, LIDAR_CLIP_M)
        if name == "SECTOR_LIDAR":
            return np.asarray(_nearest(ranges, SECTORS) < SECTOR_CLIP_M, dtype=np.float64)
        config = self._config
        nearest = _nearest(ranges, config.num_sectors)
        step_m = config.clipping_dist / config.num_values_per_sector
        which = np.minimum(np.floor(nearest / step_m), config.num_values_per_sector - 1)
        hot = which[..., None] == np.arange(config.num_values_per_sector)
        hot &= (nearest < config.clipping_dist)[..., None]
        return np.asarray(hot.reshape(len(ranges), -1), dtype=np.float64)


def _nearest(ranges: FloatArray, sectors: int) -> FloatArray:
    """(K, sectors) the smallest reading of each sector of neighbouring rays."""
    return np.asarray(ranges.reshape(len(ranges), sectors, -1).min(axis=2))
