"""What stands in an imported world, made ready for the rasteriser: triangles with their planes, and for each place
along the road a list of those that can be seen from there."""

import contextlib
import hashlib
import math
import os
import zipfile
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from contract.state import CAMERA_HEIGHT, CAMERA_WIDTH, FloatArray, IntArray
from simapp.camera.lighting import Surfaces, light_at
from simapp.camera.standing import SECTORS, draw_standing
from simapp.camera.textures import Textures
from simapp.tracks import Track
from simapp.worlds.form import World

CELL_M = 0.5
"""Side of the squares along the road that share a list."""
AROUND_M = 0.35
"""How far beyond the road's edge there are lists; a lens further away draws all that stands."""
LENS_M = 0.134
"""The lens's height above the ground, from where it is looked."""
FEW = 500
"""Lists of fewer triangles are not worth a file."""
KEPT = "seen-"
LOWEST_M = -0.003
"""What stands is cut off here: ground lies over the rest."""
FARTHEST_M = 200.0
"""Gazebo's camera sees no further."""
LIGHT_STEP = 0.02
"""A triangle is split while the light in its middle differs from the corners' mean by more than this share."""

Solids = tuple[FloatArray, FloatArray, IntArray, NDArray[np.bool_], NDArray[np.bool_]]
Lists = tuple[tuple[float, float, float, IntArray], IntArray, IntArray, NDArray[np.uint32]]


@dataclass(frozen=True, slots=True)
class Scenery:
    """solids and lists are what simapp.camera.standing.draw_standing takes."""

    solids: Solids
    lists: Lists

    @property
    def count(self) -> int:
        """Triangles."""
        return len(self.solids[2])

    @property
    def memory_bytes(self) -> int:
        return sum(it.nbytes for it in (*self.solids, *self.lists[1:])) + self.lists[0][3].nbytes


def standing_solids(
    world: World, flat: NDArray[np.bool_], textures: Textures, surfaces: Surfaces, is_two_sided: bool
) -> Solids:
    """Triangles of the world that do not lie flat, cut off at the ground, and their planes."""
    shown = ~flat & (np.array([m.opacity for m in world.materials] or [1.0])[world.material] >= 0.5)
    shown &= np.abs(world.triangles).max(axis=(1, 2), initial=0.0) < FARTHEST_M
    corners = world.triangles[shown].astype(np.float64)
    uv, normals = world.uv[shown].astype(np.float64), world.normals[shown].astype(np.float64)
    material = world.material[shown]
    values = np.concatenate([corners, uv, normals], axis=2)
    values, material = _cut_low(values, material)
    values, material = _split_for_light(world, values, material)
    corners, uv, normals = values[..., :3], values[..., 3:5], values[..., 5:8]
    cross = np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0])
    area = np.linalg.norm(cross, axis=1)
    good = area > 1e-9
    corners, uv, normals, material, cross = (v[good] for v in (corners, uv, normals, material, cross))
    normal = cross / area[good][:, None]
    length = np.maximum(np.linalg.norm(normals, axis=2, keepdims=True), 1e-9)
    factor = surfaces.factors(material[:, None], light_at(world.lights, corners, normals / length))
    picture = np.array([m.picture for m in world.materials] or [-1], np.int64)[material]
    cutout = np.array([m.is_cutout for m in world.materials] or [False])[material]
    is_plain = (picture >= 0) & (textures.sizes[np.maximum(picture, 0), 0].sum(axis=1) == 0) & ~cutout
    tone = textures.pairs[textures.starts[np.maximum(picture, 0), 0]] & 255
    factor = np.where(is_plain[:, None], factor * (tone / 255.0)[:, None], factor)
    picture = np.where(is_plain, -1, picture)
    facets = np.zeros((len(corners), 16))
    facets[:, :3] = normal
    facets[:, 3] = -(normal * corners[:, 0]).sum(axis=1)
    # u, v and light as linear functions in space that do not change along the normal
    homogeneous = np.concatenate([corners, np.ones((len(corners), 3, 1))], axis=2)
    along = np.concatenate([normal, np.zeros((len(normal), 1))], axis=1)[:, None]
    system = np.concatenate([homogeneous, along], axis=1)
    wanted = np.concatenate([np.concatenate([uv, factor[..., None]], axis=2), np.zeros((len(uv), 1, 3))], axis=1)
    facets[:, 4:] = np.linalg.solve(system, wanted).transpose(0, 2, 1).reshape(-1, 12)
    two_sided = np.full(len(corners), is_two_sided)
    return (np.ascontiguousarray(corners), facets, picture.astype(np.int64), cutout & (picture >= 0), two_sided)


def _cut_low(values: FloatArray, material: NDArray[np.int32]) -> tuple[FloatArray, NDArray[np.int32]]:
    """Corners with their values (N, 3, D), whose third is the height, cut off at LOWEST_M."""
    z = values[..., 2]
    above = z >= LOWEST_M
    count = above.sum(axis=1)
    parts, kinds = [values[count == 3]], [material[count == 3]]
    for inside in (1, 2):
        which = np.flatnonzero(count == inside)
        if which.size == 0:
            continue
        # turn the corners so that the odd one out comes first
        odd = np.argmax(above[which] if inside == 1 else ~above[which], axis=1)
        order = (odd[:, None] + np.arange(3)) % 3
        a, b, c = (values[which, order[:, i]] for i in range(3))

        def on(one: FloatArray, other: FloatArray) -> FloatArray:
            t = (LOWEST_M - one[:, 2]) / (other[:, 2] - one[:, 2])
            return np.asarray(one + t[:, None] * (other - one))

        ab, ca = on(a, b), on(a, c)
        if inside == 1:
            parts.append(np.stack([a, ab, ca], axis=1))
            kinds.append(material[which])
        else:
            parts += [np.stack([ab, b, c], axis=1), np.stack([ab, c, ca], axis=1)]
            kinds += [material[which], material[which]]
    return np.concatenate(parts), np.concatenate(kinds)


def _split_for_light(
    world: World, values: FloatArray, material: NDArray[np.int32]
) -> tuple[FloatArray, NDArray[np.int32]]:
    """Halve triangles along their longest side while light bends in them."""
    if all(light.kind == "directional" for light in world.lights):
        return values, material
    done: list[FloatArray] = []
    kinds: list[NDArray[np.int32]] = []
    for _ in range(5):
        normals = values[..., 5:8]
        corner = light_at(world.lights, values[..., :3], normals).mean(axis=(1, 2))
        middle = light_at(world.lights, values[..., :3].mean(axis=1), normals.mean(axis=1)).mean(axis=1)
        bent = np.abs(corner - middle) > LIGHT_STEP * np.maximum(corner, 0.2)
        done.append(values[~bent])
        kinds.append(material[~bent])
        values, material = values[bent], material[bent]
        if len(values) == 0:
            break
        sides = np.linalg.norm(values[..., :3] - np.roll(values[..., :3], -1, axis=1), axis=2)
        order = (np.argmax(sides, axis=1)[:, None] + np.arange(3)) % 3
        a, b, c = (values[np.arange(len(values)), order[:, i]] for i in range(3))
        half = 0.5 * (a + b)
        values = np.concatenate([np.stack([a, half, c], axis=1), np.stack([half, b, c], axis=1)])
        material = np.concatenate([material, material])
    return np.concatenate([*done, values]), np.concatenate([*kinds, material])


def kept_lists(solids: Solids, textures: Textures, track: Track) -> Lists:
    """`seen_lists`, from the file in the world's folder where an earlier call has put them, if it can be written.

    They take half a minute in a city. Solids, route or program of another kind have a file of another name.
    """
    if track.world is None or len(solids[2]) < FEW:
        return seen_lists(solids, textures, track)
    digest = hashlib.sha256(Path(__file__).read_bytes())
    for values in (*solids, track.route):
        digest.update(np.ascontiguousarray(values).tobytes())
    path = track.world / f"{KEPT}{digest.hexdigest()[:16]}.npz"
    unreadable = (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile)
    with contextlib.suppress(*unreadable), np.load(path, allow_pickle=False) as it:
        x, y, per_m = it["place"].tolist()
        return (x, y, per_m, it["grid"]), it["starts"], it["listed"].astype(np.int64), it["bits"]
    lists = seen_lists(solids, textures, track)
    part = path.with_name(f".{path.name}.{os.getpid()}")
    with contextlib.suppress(OSError):
        for old in track.world.glob(f"{KEPT}*.npz"):
            old.unlink(missing_ok=True)
        with part.open("wb") as file:
            where, starts, listed, bits = lists
            kept = {"grid": where[3], "starts": starts, "listed": listed.astype(np.int32), "bits": bits}
            np.savez_compressed(file, place=np.array(where[:3]), **kept)  # type: ignore[arg-type]
        part.replace(path)
    part.unlink(missing_ok=True)
    return lists


def seen_lists(solids: Solids, textures: Textures, track: Track) -> Lists:
    """For each square along the road the triangles that any lens in it sees, in any direction."""
    count = len(solids[2])
    xmin, ymin, xmax, ymax = track.bounds
    edge = AROUND_M + CELL_M
    columns, rows = (math.ceil((high - low + 2 * edge) / CELL_M) for low, high in ((xmin, xmax), (ymin, ymax)))
    origin = (xmin - edge, ymin - edge)
    grid = np.zeros((rows, columns), np.int64)
    along = np.arange(0.0, track.length_m, CELL_M / 4)
    reach = 0.5 * float(track.widths_m.max()) + AROUND_M
    for offset in np.linspace(-reach, reach, max(round(4 * reach / CELL_M), 2)):
        pose = track.pose_at(along, np.full(along.shape, offset))
        column = ((pose.x_m - origin[0]) / CELL_M).astype(int).clip(0, columns - 1)
        row = ((pose.y_m - origin[1]) / CELL_M).astype(int).clip(0, rows - 1)
        grid[row, column] = 1
    cells = np.argwhere(grid)
    grid[cells[:, 0], cells[:, 1]] = 1 + np.arange(len(cells))
    everything = np.arange(count)
    starts, listed, bits = [0, count], [everything], [np.full(count, 0xFFFFFFFF, np.uint32)]
    for cell in cells:
        x, y = origin[0] + float(cell[1]) * CELL_M, origin[1] + float(cell[0]) * CELL_M
        shares = _seen_from(solids, textures, x, y) if count else everything
        order = np.argsort(-shares, kind="stable")
        seen = order[: int((shares > 0).sum())]
        middle = (x + 0.5 * CELL_M, y + 0.5 * CELL_M)
        listed.append(seen)
        bits.append(_directions(solids[0][seen], middle))
        starts.append(starts[-1] + len(seen))
    return (
        (origin[0], origin[1], 1.0 / CELL_M, grid),
        np.array(starts, np.int64),
        np.concatenate(listed).astype(np.int64),
        np.concatenate(bits),
    )


_TURNS = np.arange(8) * (math.pi / 4)
_FOCAL_PX = 0.5 * CAMERA_WIDTH / math.tan(math.radians(23.0))
"""Half as fine again as the car's camera, so that it finds no triangle that was missed here."""


def _seen_from(solids: Solids, textures: Textures, x: float, y: float) -> IntArray:
    """(N,) how many samples show a triangle at most in any of eight views from five places of a square whose corner is
    (x, y)."""
    count = len(solids[2])
    marks = np.zeros(count, np.int64)
    margin = 0.02
    spots = [(margin, margin), (CELL_M - margin, margin), (margin, CELL_M - margin), (CELL_M - margin, CELL_M - margin)]
    spots.append((CELL_M / 2, CELL_M / 2))
    places = np.array([(x + dx, y + dy, math.cos(a), math.sin(a)) for dx, dy in spots for a in _TURNS])
    everything = (
        (0.0, 0.0, 1.0, np.zeros((1, 1), np.int64)),
        np.array([0, count], np.int64),
        np.arange(count),
        np.full(count, 0xFFFFFFFF, np.uint32),
    )
    camera = np.tile([_FOCAL_PX, 0.0, 1.0, LENS_M], (len(places), 1))
    frames = np.empty((len(places), CAMERA_HEIGHT, CAMERA_WIDTH), np.uint8)
    nothing = np.zeros((0, CAMERA_HEIGHT, CAMERA_WIDTH), np.float32)
    args = (solids, rasteriser_textures(textures), everything)
    draw_standing(places, camera, np.ones(len(places)), *args, frames, nothing, marks)
    return marks


def _directions(corners: FloatArray, middle: tuple[float, float]) -> NDArray[np.uint32]:
    """(N,) bits of the SECTORS in which triangles are seen from anywhere in a square around `middle`."""
    away = corners[..., :2] - np.array(middle)
    distance = np.hypot(away[..., 0], away[..., 1])
    angle = np.arctan2(away[..., 1], away[..., 0])
    first = angle[:, :1]
    turned = (angle - first + math.pi) % (2 * math.pi) - math.pi
    # the nearest point of the triangle may be nearer than its corners
    slack = np.arcsin(np.clip(0.71 * CELL_M / np.maximum(distance, 1e-6), 0.0, 1.0)).max(axis=1)
    low, high = turned.min(axis=1) + first[:, 0] - slack, turned.max(axis=1) + first[:, 0] + slack
    wide = (turned.max(axis=1) - turned.min(axis=1) > 0.9 * math.pi) | (distance.min(axis=1) < 1.5 * CELL_M)
    per = SECTORS / (2 * math.pi)
    start, end = np.floor(low * per).astype(int), np.floor(high * per).astype(int)
    bits = np.zeros(len(corners), np.uint32)
    for step in range(SECTORS):
        sector = start + step
        inside = (sector <= end) | wide
        bits |= np.where(inside, np.uint32(1) << (sector % SECTORS).astype(np.uint32), np.uint32(0))
    return bits


def rasteriser_textures(textures: Textures) -> tuple[object, ...]:
    """What draw_standing takes of them."""
    return textures.pairs, textures.starts, textures.sizes, textures.alpha, textures.alphas
