"""The look that 119 of the 127 official worlds share, for any track: grey road, white lines, dashes, grass, walls, sky.

It is made as a world like the imported ones, so that the built-in camera and Gazebo draw it with nothing of its own.
"""

import math
from collections.abc import Iterable
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import shapely
from pydantic import Field
from pydantic.dataclasses import dataclass as pydantic_dataclass
from shapely import MultiPolygon, Polygon
from shapely.geometry.base import BaseGeometry

from contract.errors import InputError
from contract.fields import check_keys, fields_of, number, read_text, read_value
from contract.state import FloatArray, UInt8Array
from contract.yamlfile import read_entries
from simapp.road import Track
from simapp.worlds.form import Light, Material, Scene, World, WorldPicture
from simapp.worlds.sdf import SUN
from simapp.worlds.solids import quads

# --- Textures of our own for the common look --------------------------------------------------------------------------

ROAD_RGB, GRASS_RGB = (64.0, 63.0, 61.0), (126.0, 133.0, 65.0)
LINE_RGB, DASH_RGB, WALL_RGB = (223.0, 223.0, 222.0), (225.0, 143.0, 0.0), (36.0, 70.0, 81.0)
"""What the surfaces of 119 of the 127 official worlds look like."""

ROUGHNESS = {
    "road": (8.3, 6.1, 4.5, 3.6, 3.2, 2.8),
    "grass": (21.3, 15.3, 10.4, 7.1, 4.5, 2.7),
    "line": (5.5, 4.3, 3.5, 3.0, 2.6, 2.3),
    "dash": (1.5, 1.3, 1.0, 0.7, 0.5, 0.3),
}
"""Standard deviation of grey of the means of 1, 2, 4, 8, 16 and 32 pixels a side, in the official textures."""
_SIZES = {"road": 1024, "grass": 512, "line": 512, "dash": 256}
"""Pixels a side, for one metre."""


@cache
def pictures() -> tuple[WorldPicture, ...]:
    """Road, grass, line, dash, wall and start line: the same ones every time."""
    random = np.random.Generator(np.random.PCG64(20191201))
    colours = {"road": ROAD_RGB, "grass": GRASS_RGB, "line": LINE_RGB, "dash": DASH_RGB}
    made = [WorldPicture.of(f"textures/{name}.png", _rough(name, rgb, random)) for name, rgb in colours.items()]
    wall = np.full((8, 8, 3), WALL_RGB, np.uint8)
    return (*made, WorldPicture.of("textures/wall.png", wall), WorldPicture.of("textures/start.png", _chequers()))


def _rough(name: str, rgb: tuple[float, float, float], random: np.random.Generator) -> UInt8Array:
    """Noise of as many scales as ROUGHNESS has numbers, that repeats."""
    size, grey = _SIZES[name], np.zeros((_SIZES[name], _SIZES[name]))
    spreads = (*ROUGHNESS[name], 0.0)
    for k, (coarse, fine) in enumerate(zip(spreads[1:], spreads[:-1], strict=True)):
        cells = random.standard_normal((size >> k, size >> k))
        if coarse > 0.0:  # nothing of it is left at the next scale
            half = size >> (k + 1)
            cells -= np.kron(cells.reshape(half, 2, half, 2).mean(axis=(1, 3)), np.ones((2, 2)))
        layer = np.kron(cells - cells.mean(), np.ones((1 << k, 1 << k)))
        grey += math.sqrt(max(fine**2 - coarse**2, 0.0)) * layer / layer.std()
    tint = np.asarray(rgb) / (np.asarray(rgb) @ np.array([0.299, 0.587, 0.114]))
    picture: FloatArray = np.asarray(rgb) + grey[..., np.newaxis] * tint
    # what is cut off at black or white is given back, so that the mean stays
    picture += np.asarray(rgb) - np.clip(picture, 0.0, 255.0).mean(axis=(0, 1))
    return np.rint(np.clip(picture, 0.0, 255.0)).astype(np.uint8)


def _chequers() -> UInt8Array:
    """Two rows of black and white squares."""
    squares = (np.indices((2, 16)).sum(axis=0) % 2)[..., np.newaxis]
    return np.asarray(np.kron(np.where(squares == 1, 225, 30), np.ones((16, 16, 3))), np.uint8)


# --- The look that 119 of the 127 official worlds share, for any track ------------------------------------------------

PAINT_SUFFIX = ".look.yaml"
ROAD, GRASS, LINE, DASH, WALL, START = range(6)
LINE_M = 0.0762
WALL_HEIGHT_M = 1.0
START_M = 0.23
FIELD_M = 60.0
"""Of grass beyond the road, where there are no walls."""
ROAD_Z, LINE_Z, START_Z = 0.001, 0.0015, 0.0025
"""As high as the official worlds have them."""
_WALL_THICK_M = 0.05


@pydantic_dataclass(frozen=True)
class Paint:
    """How the common look is laid on a track."""

    lines_outside: bool = Field(default=False, description="edge lines beyond the route's border, as in 16 worlds")
    dash_m: tuple[float, float, float] = Field(
        default=(0.0254, 0.0508, 0.1016), description="metres: width, length, and from one dash to the next"
    )
    walls_m: float | None = Field(
        default=0.76, ge=0.1, le=100, description="metres from the road's bounds to the walls; none: there are none"
    )
    start_line: bool = Field(default=True, description="whether it is drawn")
    look: str = Field(default="", description="of the track where none is asked for; empty: its own")

    @classmethod
    def beside(cls, route: Path) -> "Paint":
        """What NAME.look.yaml beside a track's file says; the usual where there is none. InputError names file, line
        and rule."""
        path = route.with_suffix(PAINT_SUFFIX)
        if not path.is_file():
            return cls()
        entries = read_entries(read_text(path, "a look"), str(path))
        known = fields_of(cls)
        check_keys(entries, known, str(path))
        given: dict[str, Any] = {}
        for name, entry in entries.items():
            if name != "dash_m":
                given[name] = read_value(known[name], entry.value, entry.place)
            else:
                values = entry.value if isinstance(entry.value, list) else []
                if len(values) != 3:
                    raise entry.refuse("[width, length, distance from dash to dash] in metres", "write three numbers")
                given[name] = tuple(number(value, entry.place, 0.005, 10.0) for value in values)
        paint = cls(**given)
        if paint.dash_m[1] >= paint.dash_m[2]:
            raise InputError(
                str(path), list(paint.dash_m), "a dash is shorter than the distance to the next", "make it shorter"
            )
        return paint


def common_world(track: Track, paint: Paint | None = None) -> World:
    """A world in the common look round a track."""
    paint = paint or Paint()
    xmin, ymin, xmax, ymax = track.bounds
    away = FIELD_M if paint.walls_m is None else paint.walls_m
    room = (xmin - away, ymin - away, xmax + away, ymax + away)
    road = _road(track)
    lines = road.buffer(LINE_M).difference(road) if paint.lines_outside else road.difference(road.buffer(-LINE_M))
    pieces = [
        (GRASS, *_flat(shapely.box(*room), 0.0)),
        (ROAD, *_flat(road, ROAD_Z)),
        (LINE, *_flat(lines, LINE_Z)),
        (DASH, *_dashes(track, paint)),
    ]
    if paint.start_line:
        pieces.append((START, *_start(track)))
    if paint.walls_m is not None:
        pieces.append((WALL, *_walls(room)))
    counts = [len(triangles) for _, triangles, _, _ in pieces]
    triangles, normals, uv = (np.concatenate([piece[i] for piece in pieces]).astype(np.float32) for i in (1, 2, 3))
    materials = [
        Material(name, picture=i, ambient=(0.0, 0.0, 0.0), specular=(0.0, 0.0, 0.0))
        for i, name in enumerate(("road", "grass", "line", "dash", "wall", "start"))
    ]
    middle = (0.5 * (xmin + xmax), 0.5 * (ymin + ymax), 15.0)
    return World(
        name=track.name,
        route=track.route,
        triangles=triangles,
        normals=normals,
        uv=uv,
        material=np.repeat([piece[0] for piece in pieces], counts).astype(np.int32),
        materials=tuple(materials),
        pictures=pictures(),
        lights=usual_lights(middle),
        scene=Scene(ambient=(0.5, 0.5, 0.5), has_sky=True),
        source="the common look",
    )


def usual_lights(middle: tuple[float, float, float]) -> tuple[Light, Light]:
    """The sun and the lamp of nearly every official world."""
    direction = np.asarray(SUN.direction) / np.linalg.norm(SUN.direction)
    sun = Light("sun", "directional", middle, tuple(direction.tolist()), SUN.diffuse, SUN.specular)
    grey, weak = (0.225, 0.225, 0.225), (0.1, 0.1, 0.1)
    lamp = Light("Light 1", "point", middle, diffuse=grey, specular=weak, constant=0.4, linear=0.01, range_m=50.0)
    return sun, lamp


def _road(track: Track) -> Polygon | MultiPolygon:
    """What lies between the edges, row by row."""
    inner, outer = track.inner, track.outer
    rows = np.stack([inner[:-1], inner[1:], outer[1:], outer[:-1]], axis=1)
    # a row whose edges cross is no polygon by itself; its hull is
    return shapely.union_all(shapely.convex_hull(shapely.polygons(rows))).buffer(1e-4)


Piece = tuple[FloatArray, FloatArray, FloatArray]


def _flat(area: BaseGeometry, z: float) -> Piece:
    """An area cut into triangles that face up, its texture one metre wide."""
    cut = shapely.get_parts(shapely.constrained_delaunay_triangles(area))
    rings: Iterable[FloatArray] = (np.asarray(shapely.get_coordinates(it))[:3] for it in cut)
    flat = np.array([ring for ring in rings if len(ring) == 3]).reshape(-1, 3, 2)
    one, two = flat[:, 1] - flat[:, 0], flat[:, 2] - flat[:, 0]
    turned = one[:, 0] * two[:, 1] - one[:, 1] * two[:, 0] < 0.0
    flat[turned] = flat[turned, ::-1]
    return _faced_up(flat, z)


def _faced_up(flat: FloatArray, z: float) -> Piece:
    triangles = np.concatenate([flat, np.full((*flat.shape[:2], 1), z)], axis=2)
    normals = np.broadcast_to(np.array([0.0, 0.0, 1.0]), triangles.shape)
    return triangles, normals, flat * [1.0, -1.0]


def _dashes(track: Track, paint: Paint) -> Piece:
    width, length, period = paint.dash_m
    # a whole number of dashes on a closed line: no cut dash at the start
    count = max(round(track.length_m / period), 1)
    starts = np.arange(count) * (track.length_m / count if track.closed else period)
    corners = []
    for along, left in ((0.0, -width / 2), (length, -width / 2), (length, width / 2), (0.0, width / 2)):
        pose = track.pose_at(np.minimum(starts + along, np.inf if track.closed else track.length_m), left)
        corners.append(np.column_stack([pose.x_m, pose.y_m]))
    quad = np.stack(corners, axis=1)
    return _faced_up(quad[:, [[0, 1, 2], [0, 2, 3]]].reshape(-1, 3, 2), LINE_Z)


def _start(track: Track) -> Piece:
    half = 0.5 * float(track.widths_m[0]) - LINE_M
    corners = []
    for along, left in ((0.0, half), (0.0, -half), (START_M, -half), (START_M, half)):
        pose = track.pose_at([along], left)
        corners.append([float(pose.x_m[0]), float(pose.y_m[0]), START_Z])
    return quads(np.array([corners]))


def _walls(room: tuple[float, float, float, float]) -> Piece:
    """Four blocks round the room."""
    xmin, ymin, xmax, ymax = room
    low, high, thick = 0.0, WALL_HEIGHT_M, _WALL_THICK_M
    faces = []
    ring = [(xmin, ymin), (xmax, ymin), (xmax, ymax), (xmin, ymax)]
    wide = [
        (xmin - thick, ymin - thick),
        (xmax + thick, ymin - thick),
        (xmax + thick, ymax + thick),
        (xmin - thick, ymax + thick),
    ]
    for i in range(4):
        (ax, ay), (bx, by) = ring[i], ring[(i + 1) % 4]
        (cx, cy), (dx, dy) = wide[i], wide[(i + 1) % 4]
        faces += [
            [(bx, by, low), (ax, ay, low), (ax, ay, high), (bx, by, high)],
            [(cx, cy, low), (dx, dy, low), (dx, dy, high), (cx, cy, high)],
            [(ax, ay, high), (cx, cy, high), (dx, dy, high), (bx, by, high)],
        ]
    return quads(np.array(faces))
