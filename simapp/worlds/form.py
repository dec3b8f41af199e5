"""The compact form of an imported world: all that stands in it as triangles in metres, with textures and lights.

A world is the folder ./tracks/NAME:

    route.npy    the route, as that of any track
    world.json   name, source, materials, pictures, lights, scene, visuals, and what of the copy could not be read
    world.npz    triangles, normals, texture coordinates, materials' indices
    files/...    the racer's own meshes and textures, under the paths of the copy: Gazebo reads them, and the pictures
                 of the materials are among them, so that each lies on the disk once
"""

import io
import json
import secrets
import shutil
import warnings
import zipfile
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path, PurePosixPath
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from contract.errors import InputError
from contract.state import FloatArray, UInt8Array
from contract.stores.local import replace_folder

FORM = 1
"""Version of what is written; `World.load` refuses another."""

JSON_FILE, ARRAYS_FILE, ROUTE_FILE, FILES = "world.json", "world.npz", "route.npy", "files"

MAX_PICTURE_PX = 8192 * 8192
"""Pixels of a texture at most; the largest of the official worlds has 4,194,304."""

Rgb = tuple[float, float, float]
Xyz = tuple[float, float, float]


@dataclass(frozen=True, slots=True, eq=False)
class WorldPicture:
    """A texture: the content of a PNG, JPEG or other picture file, or the path of one, decoded when it is asked for."""

    name: str
    """The file's path in the racer's copy, with forward slashes."""
    content: bytes | Path = field(repr=False)

    @classmethod
    def of(cls, name: str, pixels: UInt8Array) -> Self:
        """From pixels (height, width, 3 or 4) uint8, row 0 at the top."""
        content = io.BytesIO()
        Image.fromarray(np.ascontiguousarray(pixels)).save(content, "PNG", compress_level=1)
        return cls(name, content.getvalue())

    def pixels(self) -> UInt8Array:
        """(height, width, 3) RGB or (height, width, 4) RGBA uint8, row 0 at the top; the caller keeps it or lets it go.

        InputError when it is no picture, is cut short, or has more than MAX_PICTURE_PX pixels.
        """
        rule = f"a texture is a whole PNG, JPEG, TGA, BMP, GIF, WebP or TIFF picture of at most {MAX_PICTURE_PX} pixels"
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # Pillow's guess of a decompression bomb: the rule above is ours
                with Image.open(io.BytesIO(self.data())) as picture:
                    if picture.width * picture.height > MAX_PICTURE_PX:
                        size = f"{picture.width}x{picture.height}"
                        raise InputError(self.name, size, rule, "scale it down")
                    has_alpha = "A" in picture.getbands() or "transparency" in picture.info
                    return np.asarray(picture.convert("RGBA" if has_alpha else "RGB"))
        except InputError:
            raise
        except Exception as problem:  # Pillow's readers raise whatever a damaged file makes them
            raise InputError(self.name, str(problem), rule, "copy the file again") from problem

    def data(self) -> bytes:
        """The file's content."""
        return self.content.read_bytes() if isinstance(self.content, Path) else self.content


@dataclass(frozen=True, slots=True)
class Material:
    """How a surface looks, colours 0..1 as in the mesh's file.

    picture    index into World.pictures of the diffuse texture, or -1
    is_lit     Gazebo lights the surface; else it shows its texture, or its diffuse colour, as it is
    is_cutout  the texture has holes and Gazebo blends by its alpha; of an opaque material it ignores the alpha
    opacity    1 is opaque; less is blended as a whole, and by the texture's alpha
    """

    name: str
    picture: int = -1
    diffuse: Rgb = (1.0, 1.0, 1.0)
    ambient: Rgb = (1.0, 1.0, 1.0)
    specular: Rgb = (0.0, 0.0, 0.0)
    emission: Rgb = (0.0, 0.0, 0.0)
    shininess: float = 0.0
    is_lit: bool = True
    is_cutout: bool = False
    opacity: float = 1.0


@dataclass(frozen=True, slots=True)
class Light:
    """A light of the world: kind is directional, point or spot; position in metres, direction of a unit vector that the
    light travels along, both in the world's frame; attenuation is 1 / (constant + linear d + quadratic d^2) up to
    range_m; angles in radians."""

    name: str
    kind: str
    position: Xyz = (0.0, 0.0, 0.0)
    direction: Xyz = (0.0, 0.0, -1.0)
    diffuse: Rgb = (1.0, 1.0, 1.0)
    specular: Rgb = (0.0, 0.0, 0.0)
    intensity: float = 1.0
    constant: float = 1.0
    linear: float = 0.0
    quadratic: float = 0.0
    range_m: float = 10.0
    inner_rad: float = 0.0
    outer_rad: float = 0.0
    falloff: float = 0.0
    casts_shadows: bool = False


@dataclass(frozen=True, slots=True)
class Scene:
    """What is around: ambient light, the colour behind everything, and whether Gazebo's sky is drawn instead."""

    ambient: Rgb = (0.4, 0.4, 0.4)
    background: Rgb = (0.7, 0.7, 0.7)
    has_sky: bool = False
    shadows: bool = False


@dataclass(frozen=True, slots=True)
class Visual:
    """A mesh of the racer's own, or a plain shape, as Gazebo places it.

    kind      mesh, or box, plane, cylinder or sphere
    mesh      path below files/
    pose      x, y, z in metres, roll, pitch, yaw in radians, in the world's frame
    scale     along the mesh's own axes
    submesh   only this part of the mesh, if it is not empty; `centre` moves that part's middle to its origin
    size      of another shape: x, y, z of a box, x, y of a plane, radius (and length), in metres
    material  index into World.materials of what the SDF paints all of it with, or -1
    """

    kind: str = "mesh"
    mesh: str = ""
    pose: tuple[float, float, float, float, float, float] = (0.0, 0.0, 0.0, 0.0, 0.0, 0.0)
    scale: Xyz = (1.0, 1.0, 1.0)
    submesh: str = ""
    centre: bool = False
    size: tuple[float, ...] = ()
    material: int = -1


@dataclass(frozen=True, slots=True, eq=False)
class World:
    """All that is seen in a world besides cars and obstacles; units, axes and poses are applied.

    triangles  (N, 3, 3) float32 x, y, z in metres of each corner, z up
    normals    (N, 3, 3) float32 unit vectors at each corner
    uv         (N, 3, 2) float32 texture coordinates; (0, 0) is the picture's top left corner, and v grows downwards;
               they repeat outside of 0..1
    material   (N,) int32 indices into `materials`
    source     where it was imported from
    unread     what of it could not be read, a line each
    """

    name: str
    route: FloatArray = field(repr=False)
    triangles: NDArray[np.float32] = field(repr=False)
    normals: NDArray[np.float32] = field(repr=False)
    uv: NDArray[np.float32] = field(repr=False)
    material: NDArray[np.int32] = field(repr=False)
    materials: tuple[Material, ...] = ()
    pictures: tuple[WorldPicture, ...] = ()
    lights: tuple[Light, ...] = ()
    scene: Scene = Scene()
    visuals: tuple[Visual, ...] = ()
    source: str = "memory"
    unread: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        count = len(self.material)
        shapes = self.triangles.shape, self.normals.shape, self.uv.shape, self.material.shape
        if shapes != ((count, 3, 3), (count, 3, 3), (count, 3, 2), (count,)):
            raise ValueError(
                f"a world's arrays have shapes {shapes}; they must be (N, 3, 3), (N, 3, 3), (N, 3, 2), (N,)"
            )
        if count and not 0 <= self.material.min() <= self.material.max() < len(self.materials):
            raise ValueError("a triangle's material is none of the world's")
        if any(not -1 <= material.picture < len(self.pictures) for material in self.materials):
            raise ValueError("a material's picture is none of the world's")

    @property
    def triangle_count(self) -> int:
        """N."""
        return len(self.material)

    def save(self, folder: Path, files: Mapping[str, bytes] | None = None) -> None:
        """Write the world as `folder`, whole or not at all, in place of what is there.

        files   more of the copy to keep below files/, under their paths there: the meshes that `visuals` name
        """
        stage = folder.parent / f".new-{secrets.token_hex(8)}"
        try:
            stage.mkdir(parents=True)
            np.save(stage / ROUTE_FILE, self.route)
            arrays = {"triangles": self.triangles, "normals": self.normals, "uv": self.uv, "material": self.material}
            np.savez_compressed(stage / ARRAYS_FILE, **arrays)  # type: ignore[arg-type]
            for name, content in {**{it.name: it.data() for it in self.pictures}, **(files or {})}.items():
                path = stage.joinpath(FILES, *plain_parts(name))
                path.parent.mkdir(parents=True, exist_ok=True)
                path.write_bytes(content)
            (stage / JSON_FILE).write_text(json.dumps(self._described(), indent=1))
            replace_folder(stage, folder)
        finally:
            shutil.rmtree(stage, ignore_errors=True)

    @classmethod
    def load(cls, folder: Path) -> Self:
        """The world of a folder that `save` wrote; pictures are read when asked for. InputError for another folder."""
        where = str(folder / JSON_FILE)
        rule, fix = "a world's folder is whole, as `undercut worlds import` writes it", "import it again with --replace"
        try:
            saved = json.loads((folder / JSON_FILE).read_text())
            if saved["form"] != FORM:
                raise InputError(where, saved["form"], f"this version reads worlds of form {FORM}", fix)
            with np.load(folder / ARRAYS_FILE, allow_pickle=False) as arrays:
                made = cls(
                    name=str(saved["name"]),
                    route=np.load(folder / ROUTE_FILE, allow_pickle=False),
                    triangles=np.asarray(arrays["triangles"], np.float32),
                    normals=np.asarray(arrays["normals"], np.float32),
                    uv=np.asarray(arrays["uv"], np.float32),
                    material=np.asarray(arrays["material"], np.int32),
                    materials=tuple(_made(Material, it) for it in saved["materials"]),
                    pictures=tuple(
                        WorldPicture(it, folder.joinpath(FILES, *plain_parts(it))) for it in saved["pictures"]
                    ),
                    lights=tuple(_made(Light, it) for it in saved["lights"]),
                    scene=_made(Scene, saved["scene"]),
                    visuals=tuple(_made(Visual, it) for it in saved["visuals"]),
                    source=str(saved["source"]),
                    unread=tuple(saved["unread"]),
                )
        except OSError as problem:
            raise InputError(where, problem.strerror or str(problem), rule, fix) from problem
        except (ValueError, KeyError, TypeError, EOFError, zipfile.BadZipFile) as problem:
            raise InputError(where, str(problem), rule, fix) from problem
        return made

    def _described(self) -> dict[str, Any]:
        return {
            "form": FORM,
            "name": self.name,
            "source": self.source,
            "unread": list(self.unread),
            "scene": asdict(self.scene),
            "lights": [asdict(it) for it in self.lights],
            "pictures": [it.name for it in self.pictures],
            "materials": [asdict(it) for it in self.materials],
            "visuals": [asdict(it) for it in self.visuals],
        }


def is_world(folder: Path) -> bool:
    """Whether `folder` holds an imported world."""
    return (folder / JSON_FILE).is_file()


def plain_parts(name: str) -> tuple[str, ...]:
    """The parts of a relative path without `..`, drives or empty parts; InputError for another, which could leave the
    folder that it is put below."""
    path = PurePosixPath(name)
    if not name or path.is_absolute() or ".." in path.parts or "\\" in name or ":" in name or "\0" in name:
        raise InputError("file", name, "a file's name stays below its folder", "rename it in the copy")
    return path.parts


def _made(kind: Any, values: Mapping[str, Any]) -> Any:
    """A dataclass from JSON's lists and numbers; KeyError or TypeError when they are not its fields."""
    if set(values) != {it.name for it in fields(kind)}:
        raise KeyError(f"{kind.__name__} has the fields {', '.join(it.name for it in fields(kind))}")
    return kind(**{key: tuple(value) if isinstance(value, list) else value for key, value in values.items()})
