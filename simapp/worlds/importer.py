"""Imports worlds of a racer's own copy: reads what a .world shows, and writes it in our form into ./tracks/NAME/."""

import multiprocessing
import posixpath
import warnings
import xml.etree.ElementTree as ET
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any
from urllib.parse import unquote

import numpy as np
from numpy.typing import NDArray

from contract.errors import InputError, InputWarning
from contract.fields import read_bytes
from contract.runtime import usable_cores
from contract.state import FloatArray
from contract.stores.local import file_error, ready_folder
from simapp.road import Track
from simapp.road.route_file import read_route
from simapp.worlds.collada import MAX_MESH_BYTES, MAX_TRIANGLES, Part, read_mesh
from simapp.worlds.copies import WorldSource
from simapp.worlds.form import Material, Visual, World, WorldPicture
from simapp.worlds.sdf import Shape, pose_of, read_world
from simapp.worlds.solids import solid

CUT_OUT_ALPHA = 250
"""A texture with an alpha below this somewhere is one with holes."""

SEEN_OPACITY = 1 / 255
"""A material of less hides nothing."""

Floats = NDArray[np.floating[Any]]

_PAINT = Material("Gazebo/White")
"""Of plain shapes to which the SDF gives no material."""


@dataclass(frozen=True, slots=True)
class ImportedWorld:
    """What became of one world: `status` is imported, kept or failed; `notes` is what of it could not be read, a line
    each, or why it failed."""

    name: str
    status: str
    triangles: int = 0
    notes: tuple[str, ...] = ()


def import_world(source: WorldSource, tracks: Path, is_replaced: bool = False) -> ImportedWorld:
    """Import one world into tracks/NAME; nothing is written when it fails, or is there and not to be replaced."""
    folder = tracks / source.name
    if folder.exists() and not is_replaced:
        return ImportedWorld(source.name, "kept")
    try:
        world, files = read_copy(source)
        world.save(folder, files)
    except InputError as problem:
        return ImportedWorld(source.name, "failed", notes=(str(problem),))
    except OSError as problem:
        return ImportedWorld(source.name, "failed", notes=(str(file_error("write to", folder, problem)),))
    return ImportedWorld(source.name, "imported", world.triangle_count, world.unread)


def read_copy(source: WorldSource) -> tuple[World, dict[str, bytes]]:
    """A world of a copy, and the files of meshes that it is made of, by their paths in the copy.

    What is missing or damaged is left out and told of in World.unread. InputError when there is no route, no world
    file, or nothing at all to be seen.
    """
    files = _Files(source)
    route_file = source.root / "routes" / f"{source.name}.npy"
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", InputWarning)  # told of whenever the track is used
        route = Track(source.name, read_route(route_file), source=str(route_file)).route
    contents = read_world(read_bytes(source.world_file, "a .world"), f"worlds/{source.name}.world", files.model)
    making = _Making(files)
    for shape in contents.shapes:
        making.add(shape)
    unread = (*contents.unread, *dict.fromkeys(making.unread))
    if not making.pieces:
        value = "; ".join(unread)[:160] or "no visual"
        rule, fix = "a world shows something that can be read", "copy the files again, and all of them"
        raise InputError(source.name, value, rule, fix)
    triangles, normals, uv, material = (np.concatenate(arrays) for arrays in zip(*making.pieces, strict=True))
    world = World(
        name=source.name,
        route=route,
        triangles=triangles,
        normals=normals,
        uv=uv,
        material=material,
        materials=tuple(making.materials),
        pictures=tuple(making.pictures.values()),
        lights=contents.lights,
        scene=contents.scene,
        visuals=tuple(making.visuals),
        source=source.shown,
        unread=unread,
    )
    return world, making.kept


class _Making:
    """Puts the shapes of a world together."""

    def __init__(self, files: "_Files") -> None:
        self._files = files
        self._meshes: dict[str, list[Part]] = {}
        self._count = 0
        self._are_holes: dict[str, bool] = {}
        self.pieces: list[tuple[NDArray[Any], ...]] = []  # triangles, normals, uv, material
        self.materials: dict[Material, int] = {}
        self.pictures: dict[str, WorldPicture] = {}
        self.visuals: list[Visual] = []
        self.kept: dict[str, bytes] = {}
        self.unread: list[str] = []

    def add(self, shape: Shape) -> None:
        """Add what a visual shows, and the visual."""
        painted = -1 if shape.material is None else self._index(shape.material)
        pose = pose_of(shape.matrix)
        if shape.kind == "mesh":
            path = self._files.path(shape.uri)
            if path is None:
                self.unread.append(f"{shape.uri} is not in the copy")
                return
            parts = self._mesh(path)
            chosen = [part for part in parts if shape.submesh in ("", part.submesh)]
            moved = _centred(chosen) if shape.centre and shape.submesh else chosen
            matrix = shape.matrix @ np.diag([*shape.scale, 1.0])
            for part in moved:
                if part.material.opacity < SEEN_OPACITY and painted < 0:
                    continue
                material = painted if painted >= 0 else self._index(self._textured(part, path))
                self._add(part.triangles, part.normals, part.uv, matrix, material)
            if moved:
                self.visuals.append(
                    Visual("mesh", path, pose, shape.scale, shape.submesh, shape.centre, material=painted)
                )
            return
        painted = painted if painted >= 0 else self._index(_PAINT)
        triangles, normals, uv = solid(shape.kind, shape.size)
        self._add(triangles, normals, uv, shape.matrix, painted)
        self.visuals.append(Visual(shape.kind, pose=pose, size=shape.size, material=painted))

    def _add(self, triangles: Floats, normals: Floats, uv: Floats, matrix: FloatArray, material: int) -> None:
        """Triangles of one material in the world's frame; those without an area are nothing to see."""
        placed = np.asarray(triangles, np.float64) @ matrix[:3, :3].T + matrix[:3, 3]
        # Gazebo's normals turn with the body, and its scale stretches them as a normal matrix does
        turned = np.asarray(normals, np.float64) @ np.linalg.pinv(matrix[:3, :3])
        sizes = np.linalg.norm(turned, axis=-1, keepdims=True)
        turned = turned / np.where(sizes > 0.0, sizes, 1.0)
        areas = np.linalg.norm(np.cross(placed[:, 1] - placed[:, 0], placed[:, 2] - placed[:, 0]), axis=1)
        kept = areas > 1e-12
        self._count += int(kept.sum())
        if self._count > MAX_TRIANGLES:
            rule = f"a world has at most {MAX_TRIANGLES} triangles"
            raise InputError(self._files.name, f"{self._count} triangles and more", rule, "simplify its meshes")
        arrays = (part[kept].astype(np.float32) for part in (placed, turned, uv))
        self.pieces.append((*arrays, np.full(int(kept.sum()), material, np.int32)))

    def _index(self, material: Material) -> int:
        return self.materials.setdefault(material, len(self.materials))

    def _mesh(self, path: str) -> list[Part]:
        """A mesh's parts, read once; none for one that cannot be read."""
        if path not in self._meshes:
            self._meshes[path] = []
            try:
                content = self._files.read(path, MAX_MESH_BYTES)
                self._meshes[path], notes = read_mesh(content, path)
                self.unread += notes
                self.kept[path] = content
            except InputError as problem:
                self.unread.append(str(problem).replace("\n", " "))
        return self._meshes[path]

    def _textured(self, part: Part, mesh: str) -> Material:
        """The part's material with its texture's picture and whether it has holes."""
        if not part.texture:
            return replace(part.material, is_cutout=False)
        picture = self._picture(part.texture, mesh)
        if picture < 0:
            return replace(part.material, is_cutout=False)
        has_holes = part.material.opacity < 1.0 and self._are_holes[list(self.pictures)[picture]]
        return replace(part.material, picture=picture, is_cutout=has_holes)

    def _picture(self, texture: str, mesh: str) -> int:
        """Index of the picture that a .dae names, looked for where Gazebo does; -1 where there is none that is one."""
        folder = posixpath.dirname(mesh)
        plain = texture.removeprefix("file://")
        places = [
            posixpath.normpath(posixpath.join(folder, it, name))
            for name in (plain, unquote(plain))
            for it in ("", "../materials/textures")
        ]
        path = next((it for it in places if self._files.has(it)), None)
        if path is None:
            self.unread.append(f"{mesh}: the texture {texture!r} is not in the copy")
            return -1
        if path not in self._are_holes:
            try:
                picture = WorldPicture(path, self._files.read(path, MAX_MESH_BYTES))
                pixels = picture.pixels()
                self._are_holes[path] = pixels.shape[2] == 4 and int(pixels[..., 3].min()) < CUT_OUT_ALPHA
                self.pictures[path] = picture
            except InputError as problem:
                self._are_holes[path] = False
                self.unread.append(str(problem).replace("\n", " "))
        return list(self.pictures).index(path) if path in self.pictures else -1


def _centred(parts: list[Part]) -> list[Part]:
    """The parts with the middle of their bounds at the origin, as <center> of an SDF's submesh has it."""
    if not parts:
        return parts
    low = np.min([part.triangles.min(axis=(0, 1)) for part in parts], axis=0)
    high = np.max([part.triangles.max(axis=(0, 1)) for part in parts], axis=0)
    return [replace(part, triangles=part.triangles - (low + high) / 2) for part in parts]


class _Files:
    """Files of a copy by their paths below its root, and by the URIs that SDF files name; nothing outside of it."""

    def __init__(self, source: WorldSource) -> None:
        self.name, self._root = source.name, source.root
        self._real = source.root.resolve()

    def has(self, path: str) -> bool:
        """Whether a path is a file of the copy."""
        if not path or path.startswith(("/", "..")) or "\\" in path or ":" in path or "\0" in path:
            return False
        full = self._root / path
        return full.is_file() and full.resolve().is_relative_to(self._real)

    def read(self, path: str, at_most: int) -> bytes:
        """The content of a file; InputError when it is larger or cannot be read."""
        full = self._root / path
        size = full.stat().st_size
        if size > at_most:
            raise InputError(path, f"{size} bytes", f"such a file has at most {at_most} bytes", "make it smaller")
        return read_bytes(full, "a world's file")

    def path(self, uri: str) -> str | None:
        """The path of the file that a URI names, or None."""
        return next((it for it in _places(uri) if self.has(it)), None)

    def model(self, uri: str) -> tuple[str, bytes] | None:
        """Path and content of a model's SDF file by the URI of its folder or of the file."""
        for place in _places(uri):
            if self.has(place):
                return place, self.read(place, MAX_MESH_BYTES)
            sdf = self._sdf_of(place)
            if sdf is not None:
                return sdf, self.read(sdf, MAX_MESH_BYTES)
        return None

    def _sdf_of(self, folder: str) -> str | None:
        """The SDF file that a model's folder names for the newest version of SDF, its model.sdf, or any that it has."""
        config = f"{folder}/model.config"
        named: list[str] = []
        if self.has(config):
            try:
                root = ET.fromstring(self.read(config, MAX_MESH_BYTES))
            except (ET.ParseError, InputError):
                root = ET.Element("model")
            sdf_files = sorted(root.findall("sdf"), key=lambda it: _version(it.get("version", "")), reverse=True)
            named = [posixpath.normpath(f"{folder}/{(it.text or '').strip()}") for it in sdf_files]
        others = sorted(f"{folder}/{path.name}" for path in (self._root / folder).glob("*.sdf"))
        return next((it for it in (*named, f"{folder}/model.sdf", *others) if self.has(it)), None)


def _version(text: str) -> tuple[int, ...]:
    return tuple(int(part) for part in text.split(".") if part.isdigit())


def _places(uri: str) -> Iterator[str]:
    """Paths below a copy's root that a URI can mean, the likeliest first."""
    scheme, _, rest = uri.rpartition("://")
    path = posixpath.normpath(rest.strip("/")) if rest.strip("/") else ""
    if not path or path.startswith("..") or scheme not in ("", "model", "package", "file"):
        return
    yield path
    yield f"models/{path}"
    # package://PACKAGE/meshes/..., file:///a/long/way/meshes/...
    parts = path.split("/")
    for kind in ("meshes", "models"):
        if kind in parts[1:]:
            yield "/".join(parts[parts.index(kind, 1) :])


# --- Imports many worlds at once, each in a process of its own --------------------------------------------------------

MAX_JOBS = 4
"""Processes at most: one takes up to 400 MB while it decodes the largest textures and meshes that are allowed."""


def import_worlds(
    sources: Sequence[WorldSource],
    tracks: Path,
    is_replaced: bool = False,
    jobs: int = 0,
    tell: Callable[[ImportedWorld], None] = lambda done: None,
) -> list[ImportedWorld]:
    """Import worlds into the folder `tracks`, and tell of each as it is done; in the order of `sources`.

    jobs   processes at once; 0 is as many as there are cores, 4 at most

    StoreError when nothing can be written into `tracks`.
    """
    if is_replaced or not all((tracks / source.name).exists() for source in sources):
        ready_folder(tracks)
    jobs = min(jobs or usable_cores(), MAX_JOBS, len(sources))
    if jobs <= 1:
        done = []
        for source in sources:
            done.append(import_world(source, tracks, is_replaced))
            tell(done[-1])
        return done
    waiting: dict[Future[ImportedWorld], WorldSource] = {}
    found: dict[str, ImportedWorld] = {}
    # a fresh process: threads of this one, such as the progress bar's, could hold a lock while it is copied
    pool = ProcessPoolExecutor(jobs, multiprocessing.get_context("spawn"))
    try:
        waiting = {pool.submit(import_world, source, tracks, is_replaced): source for source in sources}
        for future in as_completed(waiting):
            source = waiting[future]
            try:
                found[source.name] = future.result()
            except BrokenProcessPool:
                found[source.name] = ImportedWorld(
                    source.name, "failed", notes=("its process was ended, for memory perhaps",)
                )
            tell(found[source.name])
    finally:
        pool.shutdown(wait=True, cancel_futures=True)
    return [found[source.name] for source in sources]
