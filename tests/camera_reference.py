"""What the camera should see, worked out the slow way and apart from its code: rays through every pixel of a 640x480
picture, the ground's shapes from shapely, then Pillow's antialiased resize, as the real pipeline does.

Shared with the camera are only what a world *is*: sizes, colours, the texture tile, and the pinhole's four numbers.
"""

import itertools
import math

import numpy as np
import shapely
from numpy.typing import NDArray
from PIL import Image
from scipy.ndimage import gaussian_filter
from scipy.spatial.transform import Rotation
from shapely.ops import substring

from contract.state import FloatArray, ObjectKind, TrackObjects, UInt8Array
from simapp.camera import bodies, ground, look
from simapp.camera.pinhole import Pinhole
from simapp.tracks import Track

Mask = NDArray[np.bool_]


class World:
    """A closed track's world, answered point by point."""

    def __init__(self, track: Track) -> None:
        quads = np.stack([track.inner[:-1], track.inner[1:], track.outer[1:], track.outer[:-1]], axis=1)
        road = shapely.union_all(shapely.make_valid(np.asarray(shapely.polygons(quads))), grid_size=1e-9)
        edges = shapely.union_all([shapely.LineString(track.inner), shapely.LineString(track.outer)])
        centre = shapely.LineString(track.centre)
        period = centre.length / round(centre.length / ground.DASH_PERIOD_M)
        length = ground.DASH_LENGTH_M / ground.DASH_PERIOD_M * period
        starts = np.arange(round(centre.length / period)) * period
        dashes = [
            substring(centre, s, s + length).buffer(ground.DASH_WIDTH_M / 2, cap_style="flat", quad_segs=32)
            for s in starts
        ]
        self._shapes = [
            road,
            shapely.intersection(road, edges.buffer(ground.LINE_WIDTH_M, quad_segs=64)),
            shapely.union_all(dashes),
        ]
        for shape in self._shapes:
            shapely.prepare(shape)
        xmin, ymin, xmax, ymax = road.bounds
        margin = look.WALL_MARGIN_M
        self.room_m = (xmin - margin, ymin - margin, xmax + margin, ymax + margin)
        self._look = look.textures()

    def ground_grey(self, x_m: FloatArray, y_m: FloatArray) -> FloatArray:
        """Grey of ground points (P,)."""
        row, column = np.floor(y_m * 1000).astype(int) % look.TILE_MM, np.floor(x_m * 1000).astype(int) % look.TILE_MM
        grey = (look.FIELD_RGB @ look.GREY) * self._look.field[row, column].astype(np.float64)
        tones = (
            (look.ASPHALT_RGB @ look.GREY) * self._look.asphalt[row, column],
            (look.LINE_RGB @ look.GREY) * self._look.line[row, column],
            np.full(x_m.shape, look.DASH_RGB @ look.GREY),
        )
        for shape, tone in zip(self._shapes, tones, strict=True):
            inside = shapely.contains_xy(shape, x_m, y_m)
            grey[inside] = tone[inside]
        return np.asarray(grey)

    def picture(self, camera: Pinhole, x_m: float, y_m: float, heading_rad: float, width: int = 640) -> FloatArray:
        """Grey picture (3/4 width, width), one ray through each pixel's middle."""
        lens, rays = lens_and_rays(camera, x_m, y_m, heading_rad, width)
        grey = np.full(rays.shape[:2], look.SKY_RGB @ look.GREY)
        nearest = np.full(rays.shape[:2], np.inf)
        for wall, (coordinate, at) in enumerate(((0, 2), (1, 3), (0, 0), (1, 1))):
            with np.errstate(divide="ignore", invalid="ignore"):
                reach = (self.room_m[at] - lens[coordinate]) / rays[..., coordinate]
            hit = (reach > 0) & (reach < nearest)
            nearest[hit] = reach[hit]
            below_top = hit & (lens[2] + reach * rays[..., 2] <= look.WALL_HEIGHT_M)
            grey[hit] = look.SKY_RGB @ look.GREY
            grey[below_top] = look.WALLS_RGB[wall] @ look.GREY
        with np.errstate(divide="ignore"):
            reach = np.where(rays[..., 2] < 0, -lens[2] / rays[..., 2], np.inf)
        below = reach < nearest
        spots = lens[:2] + reach[below][:, None] * rays[below][:, :2]
        grey[below] = self.ground_grey(spots[:, 0], spots[:, 1])
        return grey

    def frame(
        self, camera: Pinhole, x_m: float, y_m: float, heading_rad: float, objects: TrackObjects | None = None
    ) -> FloatArray:
        """The network's (120, 160) frame: 640x480 rounded to bytes, then the antialiased bilinear resize, unrounded."""
        picture = self.picture(camera, x_m, y_m, heading_rad)
        if objects is not None:
            seen = cast_objects(*lens_and_rays(camera, x_m, y_m, heading_rad, 640), objects)
            picture = np.where(np.isnan(seen), picture, seen)
        return shrink(np.rint(picture.clip(0, 255)))


def lens_and_rays(
    camera: Pinhole, x_m: float, y_m: float, heading_rad: float, width: int
) -> tuple[FloatArray, FloatArray]:
    """The lens (3,) and a ray through each pixel's middle (3/4 width, width, 3) of a picture from a base_link pose."""
    height = width * 3 // 4
    focal = width / 2 / math.tan(camera.hfov_rad / 2)
    column, row = np.meshgrid(np.arange(width) + 0.5, np.arange(height) + 0.5)
    # the optical axis, its right and its down, as unit vectors of the world
    sin, cos = math.sin(camera.pitch_rad), math.cos(camera.pitch_rad)
    forward = np.array([math.cos(heading_rad), math.sin(heading_rad), 0.0])
    axis = cos * forward - np.array([0.0, 0.0, sin])
    down = -sin * forward - np.array([0.0, 0.0, cos])
    right = np.array([math.sin(heading_rad), -math.cos(heading_rad), 0.0])
    rays = axis * focal + right * (column - width / 2)[..., None] + down * (row - height / 2)[..., None]
    return np.array([x_m, y_m, 0.0]) + camera.ahead_m * forward + np.array([0.0, 0.0, camera.height_m]), rays


def cast_objects(lens: FloatArray, rays: FloatArray, objects: TrackObjects) -> FloatArray:
    """Grey (H, W) of the nearest face that looks at the lens and a ray meets, of objects (1, M); NaN where none."""
    grey, nearest = np.full(rays.shape[:2], np.nan), np.full(rays.shape[:2], np.inf)
    for m in np.flatnonzero(objects.kind[0]):
        is_car = objects.kind[0, m] == ObjectKind.car
        turn = Rotation.from_euler("z", -objects.heading_rad[0, m]).as_matrix()
        eye = turn @ (lens - [objects.x_m[0, m], objects.y_m[0, m], 0.0])
        local = rays @ turn.T
        for block in bodies.LOOKS[1 + objects.colour[0, m] if is_car else 0]:
            bounds = np.array([block.x_m, block.y_m, block.z_m])
            for axis, side in itertools.product(range(3), range(2)):
                if (eye[axis] - bounds[axis, side]) * (2 * side - 1) <= 0:
                    continue
                with np.errstate(divide="ignore"):
                    reach = (bounds[axis, side] - eye[axis]) / local[..., axis]
                hit = (reach > 0) & (reach < nearest)
                for other in {0, 1, 2} - {axis}:
                    at = eye[other] + np.where(hit, reach, 0.0) * local[..., other]
                    hit &= (at >= bounds[other, 0]) & (at <= bounds[other, 1])
                nearest[hit] = reach[hit]
                grey[hit] = block.rgb @ look.GREY * bodies.SHADES[3 if axis == 2 and side == 0 else axis]
    return grey


def shrink(picture: FloatArray) -> FloatArray:
    """The antialiased bilinear resize to (120, 160)."""
    return np.asarray(
        Image.fromarray(picture.astype(np.float32)).resize((160, 120), Image.Resampling.BILINEAR), dtype=np.float64
    )


def boxes(picture: FloatArray) -> FloatArray:
    """Means of 4x4 pixels: the plain supersampled frame."""
    height, width = picture.shape
    return np.asarray(picture.reshape(height // 4, 4, width // 4, 4).mean(axis=(1, 3)))


def ssim(a: FloatArray | UInt8Array, b: FloatArray | UInt8Array) -> float:
    """Mean structural similarity (Wang et al. 2004: Gaussian window of sigma 1.5, K1 0.01, K2 0.03, range 255)."""
    a, b = np.asarray(a, dtype=np.float64), np.asarray(b, dtype=np.float64)
    c1, c2 = (0.01 * 255) ** 2, (0.03 * 255) ** 2

    def blur(values: FloatArray) -> FloatArray:
        return np.asarray(gaussian_filter(values, 1.5, truncate=3.5))

    mean_a, mean_b = blur(a), blur(b)
    var_a, var_b = blur(a * a) - mean_a**2, blur(b * b) - mean_b**2
    cov = blur(a * b) - mean_a * mean_b
    top = (2 * mean_a * mean_b + c1) * (2 * cov + c2)
    return float((top / ((mean_a**2 + mean_b**2 + c1) * (var_a + var_b + c2))).mean())
