"""Slow colour pictures of the camera's world, ray by ray: what its frames are held against, and eyes look at."""

import math
from dataclasses import dataclass

import numpy as np
from numba import njit

from contract.conditions import Conditions
from contract.state import FloatArray, TrackObjects, UInt8Array
from simapp.camera import Camera
from simapp.camera.bodies import LOOKS, SHADES, looks_of
from simapp.camera.effects import STAIN_TEXEL_M, Greys, changed, stain_tile, tones_of
from simapp.camera.ground import Road, _coverage_at
from simapp.camera.kernel import place_lenses
from simapp.camera.look import (
    ASPHALT_RGB,
    DASH_RGB,
    FIELD_RGB,
    LINE_RGB,
    SKY_RGB,
    TILE_MM,
    WALL_HEIGHT_M,
    WALLS_RGB,
    SurfaceTextures,
    textures,
)
from simapp.camera.pinhole import Pinhole

_SAMPLES = 2
"""Rays per pixel and direction."""


@dataclass(frozen=True, slots=True)
class Scene:
    """What a picture shows: the road with its textures in its room (xmin, ymin, xmax, ymax), objects (1, M), and the
    conditions (1,) under which they are seen.
    """

    road: Road
    look: SurfaceTextures
    room_m: tuple[float, float, float, float]
    objects: TrackObjects
    conditions: Conditions


def render_rgb(
    camera: Camera,
    x_m: float,
    y_m: float,
    heading_rad: float,
    width: int = 640,
    height: int = 480,
    *,
    objects: TrackObjects | None = None,
    left_m: float = 0.0,
    conditions: Conditions | None = None,
) -> UInt8Array:
    """One colour picture (height, width, 3) uint8 of the camera's world.

    objects (1, M), left_m and conditions (1,) are as in `Camera.render`; blur and noise, which are counted in the small
    frame's pixels, are left out.
    """
    objects = TrackObjects.none(1) if objects is None else objects
    conditions = Conditions.nominal(1) if conditions is None else conditions
    pitch_deg, height_m, fov = (
        float(values[0]) for values in (conditions.camera_pitch_deg, conditions.camera_height_m, conditions.camera_fov)
    )
    pinhole = changed(camera.pinhole, (pitch_deg, height_m, fov)).resized(width, height)
    x, y, heading = (np.array([float(value)]) for value in (x_m, y_m, heading_rad))
    lens = np.empty((1, 4))
    yaw = np.radians(conditions.camera_yaw_deg)
    place_lenses(x, y, heading, pinhole.ahead_m, float(left_m), yaw, camera.backdrop.room, lens)
    return _draw(pinhole, Scene(Road.of(camera.track), textures(), camera.room_m, objects, conditions), lens[0])


def _draw(camera: Pinhole, scene: Scene, lens: FloatArray) -> UInt8Array:
    """Colour picture (camera.height, camera.width, 3); lens is x, y, cos and sin of the view's heading."""
    fine = camera.resized(camera.width * _SAMPLES, camera.height * _SAMPLES)
    x, y, cos, sin = lens
    column, row = np.meshgrid(np.arange(fine.width) + 0.5, np.arange(fine.height) + 0.5)
    right = (column - fine.width / 2) / fine.focal_px
    down = (row - fine.height / 2) / fine.focal_px
    ahead = math.cos(fine.pitch_rad) - down * math.sin(fine.pitch_rad)
    drop = math.sin(fine.pitch_rad) + down * math.cos(fine.pitch_rad)
    rays = np.stack([ahead * cos + right * sin, ahead * sin - right * cos, -drop], axis=-1)

    # the first wall that a ray meets, in units of the ray
    room = scene.room_m
    with np.errstate(divide="ignore", invalid="ignore"):
        to_x = np.where(rays[..., 0] > 0, room[2] - x, room[0] - x) / rays[..., 0]
        to_y = np.where(rays[..., 1] > 0, room[3] - y, room[1] - y) / rays[..., 1]
        to_ground = np.where(rays[..., 2] < 0, -camera.height_m / rays[..., 2], np.inf)
    wall = np.where(to_x < to_y, np.where(rays[..., 0] > 0, 0, 2), np.where(rays[..., 1] > 0, 1, 3))
    reach = np.minimum(to_x, to_y)
    colours = WALLS_RGB[wall] * scene.conditions.walls[0]
    colours[camera.height_m + reach * rays[..., 2] > WALL_HEIGHT_M] = SKY_RGB * scene.conditions.sky[0]
    ground = to_ground < reach
    spots = np.stack([at + to_ground[ground] * rays[..., i][ground] for i, at in enumerate((x, y))], axis=-1)
    colours[ground] = _ground_colours(spots, scene.road, scene.look, scene.conditions)
    _draw_objects(colours, rays, np.array([x, y, camera.height_m]), scene)
    colours = np.minimum(colours * scene.conditions.light[0], 255.0)
    shape = (camera.height, _SAMPLES, camera.width, _SAMPLES, 3)
    picture: UInt8Array = np.rint(colours.reshape(shape).mean(axis=(1, 3))).clip(0, 255).astype(np.uint8)
    return picture


def _draw_objects(colours: FloatArray, rays: FloatArray, lens: FloatArray, scene: Scene) -> None:
    """Put the nearest block that each ray meets into colours; rays and colours are (height, width, 3)."""
    nearest = np.full(rays.shape[:2], np.inf)
    objects, room = scene.objects, scene.room_m
    for look, x, y, heading in zip(
        looks_of(objects)[0], objects.x_m[0], objects.y_m[0], objects.heading_rad[0], strict=True
    ):
        if look < 0 or not (room[0] < x < room[2] and room[1] < y < room[3]):
            continue
        turn = np.array(
            [[math.cos(heading), math.sin(heading), 0], [-math.sin(heading), math.cos(heading), 0], [0, 0, 1]]
        )
        eye, local = turn @ (lens - [x, y, 0.0]), rays @ turn.T
        for block in LOOKS[look]:
            low, high = np.array([block.x_m, block.y_m, block.z_m]).T
            with np.errstate(divide="ignore", invalid="ignore"):
                enter = np.where(local > 0, low - eye, high - eye) / local
                leave = np.where(local > 0, high - eye, low - eye) / local
            axis = enter.argmax(axis=-1)
            reach = enter.max(axis=-1)
            hit = (reach > 0) & (reach <= leave.min(axis=-1)) & (reach < nearest)
            nearest[hit] = reach[hit]
            is_under = (axis == 2) & (local[..., 2] > 0)
            shade = SHADES[np.where(is_under, 3, axis)]
            colours[hit] = block.rgb * shade[hit][:, None]


def _ground_colours(points_m: FloatArray, road: Road, look: SurfaceTextures, conditions: Conditions) -> FloatArray:
    """Colours (P, 3), from 0 up, of ground points (P, 2) under conditions (1,), before their light."""
    covers = _coverage(points_m, road)
    cells = np.floor(points_m * 1000).astype(np.int64) % TILE_MM
    index = (cells[:, 1], cells[:, 0])
    field, asphalt, lines = (
        tone * tile[index][:, None].astype(np.float64)
        for tone, tile in (
            (conditions.field, look.field),
            (conditions.asphalt, look.asphalt),
            (conditions.lines, look.line),
        )
    )
    colours = FIELD_RGB * field
    for cover, rgb in (
        (covers[:, 0], ASPHALT_RGB * asphalt),
        (covers[:, 1], LINE_RGB * lines),
        (covers[:, 2], np.broadcast_to(DASH_RGB * conditions.field, colours.shape)),
    ):
        colours += (rgb - colours) * cover[:, None]
    return colours * stains_at(points_m, conditions)[:, None]


@njit(error_model="numpy", cache=True)
def _cover_points(points: FloatArray, road: tuple[FloatArray, FloatArray, FloatArray], covers: FloatArray) -> None:
    for i in range(points.shape[0]):
        covers[i, 0], covers[i, 1], covers[i, 2] = _coverage_at(points[i, 0], points[i, 1], 1e-6, road)


def _coverage(points_m: FloatArray, road: Road) -> FloatArray:
    """Which points (P, 2) are road, edge line, dash: (P, 3), 0 or 1 each, fractions only within a micrometre."""
    covers = np.empty((len(points_m), 3))
    _cover_points(np.ascontiguousarray(points_m), (road.quads, road.edges, road.centre), covers)
    return covers


def stains_at(points_m: FloatArray, conditions: Conditions) -> FloatArray:
    """Brightness factors (P,) of ground points (P, 2) under conditions (1,)."""
    strength, cos, sin, *shift = tones_of(conditions, Greys.built_in())[0, 10:].astype(np.float64)
    turned = points_m @ np.array([[cos, -sin], [sin, cos]]) + shift
    spots = turned.T[::-1] / STAIN_TEXEL_M
    cell = np.floor(spots).astype(np.int64)
    share_y, share_x = spots - cell
    tile, (row, column) = stain_tile(), cell
    south, north = (
        tile[(row + up) % len(tile), column % len(tile)] * (1.0 - share_x)
        + tile[(row + up) % len(tile), (column + 1) % len(tile)] * share_x
        for up in (0, 1)
    )
    return np.asarray(1.0 + strength * (south + (north - south) * share_y))
