"""Slow colour pictures of the camera's world, ray by ray, for documents and comparisons."""

import math

import numpy as np

from contract.state import FloatArray, UInt8Array
from simapp.camera.ground import Road, coverage
from simapp.camera.look import (
    ASPHALT_RGB,
    DASH_RGB,
    FIELD_RGB,
    LINE_RGB,
    SKY_RGB,
    TILE_MM,
    WALL_HEIGHT_M,
    WALLS_RGB,
    Textures,
)
from simapp.camera.pinhole import Pinhole

_SAMPLES = 2
"""Rays per pixel and direction."""


def draw_picture(
    camera: Pinhole,
    road: Road,
    look: Textures,
    room_m: tuple[float, float, float, float],
    pose: tuple[float, float, float],
) -> UInt8Array:
    """Colour picture (camera.height, camera.width, 3) from base_link's x, y, heading."""
    fine = camera.resized(camera.width * _SAMPLES, camera.height * _SAMPLES)
    x, y, heading = pose
    cos, sin = math.cos(heading), math.sin(heading)
    lens = (x + camera.ahead_m * cos, y + camera.ahead_m * sin)
    column, row = np.meshgrid(np.arange(fine.width) + 0.5, np.arange(fine.height) + 0.5)
    right = (column - fine.width / 2) / fine.focal_px
    down = (row - fine.height / 2) / fine.focal_px
    ahead = math.cos(fine.pitch_rad) - down * math.sin(fine.pitch_rad)
    drop = math.sin(fine.pitch_rad) + down * math.cos(fine.pitch_rad)
    rays = np.stack([ahead * cos + right * sin, ahead * sin - right * cos, -drop], axis=-1)

    # the first wall that a ray meets, in units of the ray
    with np.errstate(divide="ignore", invalid="ignore"):
        to_x = np.where(rays[..., 0] > 0, room_m[2] - lens[0], room_m[0] - lens[0]) / rays[..., 0]
        to_y = np.where(rays[..., 1] > 0, room_m[3] - lens[1], room_m[1] - lens[1]) / rays[..., 1]
        to_ground = np.where(rays[..., 2] < 0, -camera.height_m / rays[..., 2], np.inf)
    wall = np.where(to_x < to_y, np.where(rays[..., 0] > 0, 0, 2), np.where(rays[..., 1] > 0, 1, 3))
    reach = np.minimum(to_x, to_y)
    colours = WALLS_RGB[wall]
    colours[camera.height_m + reach * rays[..., 2] > WALL_HEIGHT_M] = SKY_RGB
    ground = to_ground < reach
    spots = np.stack([lens[i] + to_ground[ground] * rays[..., i][ground] for i in range(2)], axis=-1)
    colours[ground] = ground_colours(spots, road, look)
    shape = (camera.height, _SAMPLES, camera.width, _SAMPLES, 3)
    picture: UInt8Array = np.rint(colours.reshape(shape).mean(axis=(1, 3))).clip(0, 255).astype(np.uint8)
    return picture


def ground_colours(points_m: FloatArray, road: Road, look: Textures) -> FloatArray:
    """Colours (P, 3), 0..255, of ground points (P, 2)."""
    covers = coverage(points_m, road)
    cells = np.floor(points_m * 1000).astype(np.int64) % TILE_MM
    index = (cells[:, 1], cells[:, 0])
    colours = FIELD_RGB * look.field[index][:, None].astype(np.float64)
    for cover, rgb in (
        (covers[:, 0], ASPHALT_RGB * look.asphalt[index][:, None]),
        (covers[:, 1], LINE_RGB * look.line[index][:, None]),
        (covers[:, 2], np.broadcast_to(DASH_RGB, colours.shape)),
    ):
        colours += (rgb - colours) * cover[:, None]
    return colours
