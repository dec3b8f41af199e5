"""Other looks of a track: `TRACK@LOOK` is a road with surfaces, sky and light that are not its own.

LOOK is `classic`, the built-in look; `common`, the one that most official worlds share; or an imported world's name: a
road in an imported world keeps its scenery and takes that one's road, lines, field, walls, sky and light, and another
road is laid in the common look's way with that one's surfaces.
"""

import hashlib
import json
from dataclasses import asdict, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from contract.errors import InputError
from contract.host import cache_folder
from contract.state import FloatArray
from simapp.road import Track
from simapp.worlds.common import Paint, common_world
from simapp.worlds.dae_file import dae_of
from simapp.worlds.form import JSON_FILE, Visual, World, is_world

CLASSIC, COMMON = "classic", "common"
VERSION = 1
"""Of what is made here: another one makes worlds anew that lie in the cache."""
MESH = "meshes/made/world.dae"
ROLES = ("field", "road", "line", "dash", "wall")

_SAMPLES = 48
WALL_M = 1.6
"""Walls of the official worlds are 1 m high."""


def dressed(track: Track, name: str, look: str, giver: Path | None, paint: Paint, cache: Path | None = None) -> Track:
    """The track in another look, under a name; its world is made once, and lies in the cache of this machine's user.

    giver   the folder of the imported world that `look` names; not needed for `classic` and `common`
    paint   how the common look is laid on this track
    """
    if look == CLASSIC:
        return replace(track, name=name, world=None)
    if look != COMMON and giver is None:
        rule = f"a look is {CLASSIC}, {COMMON}, or the name of an imported world"
        fix = "undercut worlds list shows them; undercut worlds import FOLDER brings them"
        raise InputError("track", name, rule, fix)
    folder = (cache or cache_folder("looks")) / _key(track, look, giver, paint)
    if not is_world(folder):
        world = _made(track, look, giver, paint)
        mesh = Visual(mesh=MESH)
        world = replace(world, name=name, visuals=(mesh,), source=f"made of {track.name} and {look}")
        world.save(folder, {MESH: dae_of(world, MESH.rpartition("/")[0])})
    # what is made from a racer's own world goes with a run; the rest is made anew anywhere
    source = track.source if look == COMMON else str(folder)
    return replace(track, name=name, world=folder, source=source)


def _made(track: Track, look: str, giver: Path | None, paint: Paint) -> World:
    if look == COMMON or giver is None:
        return common_world(track, paint)
    own = common_world(track, paint) if track.world is None else World.load(track.world)
    return restyled(own, World.load(giver))


def _key(track: Track, look: str, giver: Path | None, paint: Paint) -> str:
    digest = hashlib.sha256(json.dumps([VERSION, track.name, look, asdict(paint)]).encode())
    digest.update(track.route.tobytes())
    for world in (track.world, giver):
        if world is not None:
            digest.update((world / JSON_FILE).read_bytes())
            digest.update(str((world / JSON_FILE).stat().st_mtime_ns).encode())  # imported anew, it may look otherwise
    return digest.hexdigest()[:32]


def restyled(world: World, giver: World) -> World:
    """A world whose road, lines, dashes, field and walls look as another's, under that one's sky and light; what that
    one does not have, it keeps. Textures keep their size in metres."""
    mine, theirs = roles_of(world), roles_of(giver)
    materials, pictures, uv = list(world.materials), list(world.pictures), world.uv.copy()
    places = {picture.name: i for i, picture in enumerate(pictures)}
    for role in ROLES:
        for index in mine[role] if theirs[role] else ():
            given = giver.materials[theirs[role][0]]
            picture = -1
            if given.picture >= 0:
                content = giver.pictures[given.picture]
                named = replace(content, name=f"{giver.name}/{content.name}")
                picture = places.setdefault(named.name, len(pictures))
                if picture == len(pictures):
                    pictures.append(named)
            materials[index] = replace(given, name=materials[index].name, picture=picture)
            triangles = world.material == index
            size = metres_a_repeat(world, index) / metres_a_repeat(giver, theirs[role][0])
            if np.isfinite(size) and 1e-3 < size < 1e3:
                uv[triangles] *= np.float32(size)
    used = sorted({material.picture for material in materials} - {-1})
    materials = [replace(it, picture=used.index(it.picture) if it.picture >= 0 else -1) for it in materials]
    return replace(
        world,
        materials=tuple(materials),
        pictures=tuple(pictures[p] for p in used),
        uv=uv,
        lights=giver.lights,
        scene=giver.scene,
    )


def roles_of(world: World) -> dict[str, list[int]]:
    """Materials of the parts that every world has, by where they lie on its route, the commonest first."""
    centre, inner, outer = (world.route[:, i : i + 2] for i in (0, 2, 4))
    rows = np.unique(np.linspace(0, len(centre) - 2, _SAMPLES).round().astype(int))
    steps = np.linspace(0.0, 1.0, 5, endpoint=False)[:, np.newaxis]

    def along(one: FloatArray) -> FloatArray:
        return np.concatenate([one[row] + steps * (one[row + 1] - one[row]) for row in rows])

    def across(share: float) -> FloatArray:
        """Points at a share of the way from the centre line to the edges, on both sides."""
        return np.concatenate([along(centre + share * (edge - centre)) for edge in (inner, outer)])

    beside = _uppermost(world, across(0.5))
    road = _common(beside)[:1]
    field = [it for it in _common(_uppermost(world, across(2.0))) if it not in road][:1]
    edges = np.concatenate([_uppermost(world, across(share)) for share in (0.95, 1.05)])
    line = [it for it in _common(edges) if it not in (*road, *field)][:2]
    dash = [it for it in _common(_uppermost(world, along(centre))) if it not in (*road, *field, *line)][:1]
    sides = np.cross(world.triangles[:, 1] - world.triangles[:, 0], world.triangles[:, 2] - world.triangles[:, 0])
    size = np.linalg.norm(sides, axis=1)
    upright = np.abs(sides[:, 2]) < 0.1 * size
    areas = np.bincount(world.material[upright], weights=size[upright], minlength=len(world.materials))
    highest = np.zeros(len(world.materials))
    np.maximum.at(highest, world.material, world.triangles[:, :, 2].max(axis=1))
    taken = {*road, *field, *line, *dash}
    # what is higher is scenery
    walls = np.flatnonzero((areas > 10.0) & (highest < WALL_M))
    wall = [int(it) for it in walls[np.argsort(-areas[walls])] if int(it) not in taken][:1]
    return {"road": road, "field": field, "line": line, "dash": dash, "wall": wall}


def metres_a_repeat(world: World, material: int) -> float:
    """How wide the texture of a material is on the whole, in metres; infinite where it does not vary."""
    mine = world.material == material
    corners, uv = world.triangles[mine].astype(np.float64), world.uv[mine].astype(np.float64)
    area = np.linalg.norm(np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0]), axis=1).sum()
    one, two = uv[:, 1] - uv[:, 0], uv[:, 2] - uv[:, 0]
    spread = np.abs(one[:, 0] * two[:, 1] - one[:, 1] * two[:, 0]).sum()
    return float(np.sqrt(area / spread)) if spread > 0.0 else float("inf")


def _uppermost(world: World, points: FloatArray) -> NDArray[np.int64]:
    """(K,) material of what lies uppermost below half a metre at points (K, 2), -1 where there is nothing."""
    low = world.triangles[:, :, 2].max(axis=1) < 0.5
    corners, materials = world.triangles[low].astype(np.float64), world.material[low]
    found = np.full(len(points), -1, np.int64)
    a, b, c = corners[:, 0], corners[:, 1], corners[:, 2]
    whole = (b[:, 0] - a[:, 0]) * (c[:, 1] - a[:, 1]) - (b[:, 1] - a[:, 1]) * (c[:, 0] - a[:, 0])
    flat = np.abs(whole) > 1e-12
    a, b, c, whole, materials = a[flat], b[flat], c[flat], whole[flat], materials[flat]
    for k, (x, y) in enumerate(points.tolist()):
        one = ((x - a[:, 0]) * (c[:, 1] - a[:, 1]) - (y - a[:, 1]) * (c[:, 0] - a[:, 0])) / whole
        two = ((b[:, 0] - a[:, 0]) * (y - a[:, 1]) - (b[:, 1] - a[:, 1]) * (x - a[:, 0])) / whole
        within = np.flatnonzero((one >= 0.0) & (two >= 0.0) & (one + two <= 1.0))
        if within.size:
            height = (a[:, 2] + one * (b[:, 2] - a[:, 2]) + two * (c[:, 2] - a[:, 2]))[within]
            found[k] = materials[within[int(height.argmax())]]
    return found


def _common(materials: NDArray[np.int64]) -> list[int]:
    """The materials of at least a tenth of the points, the commonest first."""
    found, counts = np.unique(materials[materials >= 0], return_counts=True)
    order = np.argsort(-counts, kind="stable")
    return [int(found[k]) for k in order if counts[k] >= 0.1 * len(materials)]
