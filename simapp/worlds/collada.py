"""Meshes of COLLADA files as Gazebo 11 reads them.

pycollada reads the file; this module takes from it what Gazebo's own reader does (ColladaLoader.cc and Material.cc in
gazebo/common of gazebo-classic): the file's unit scales everything, its up axis is ignored (gazebo-classic's
issue 1305), polygons are cut into fans, and only diffuse textures count.
"""

import io
import re
from collections.abc import Iterator
from dataclasses import dataclass, replace

import collada
import numpy as np
from collada.common import DaeError
from collada.material import Effect, Map
from collada.polylist import Polylist
from collada.scene import ControllerNode, GeometryNode, Node
from collada.triangleset import TriangleSet
from numpy.typing import NDArray

from contract.errors import InputError
from contract.state import FloatArray
from simapp.worlds.form import Material, Rgb

MAX_MESH_BYTES = 96 * 2**20
"""Of a .dae at most: the largest of the official worlds has some 30 MB."""
MAX_TRIANGLES = 1_000_000
"""Of a .dae at most, and of a world: the largest of the official worlds has 103,427."""

_WHITE = Material("Gazebo/White", specular=(0.1, 0.1, 0.1), shininess=128.0)
"""What Gazebo takes for a part without a material (gazebo.material)."""
_READ = ("lambert", "phong", "blinn")
"""Gazebo reads only these; a material of another kind keeps its defaults."""
_AMBIENT, _DIFFUSE = (0.4, 0.4, 0.4), (0.5, 0.5, 0.5)
"""Where a file says nothing (Material::Material; measured in Gazebo 11.1). With a texture the diffuse colour is white,
also where the texture's file is missing."""
_LUMINANCE = np.array([0.212671, 0.715160, 0.072169])
"""ITU-R BT.709, of transparent colours, as in LoadTransparent."""


@dataclass(frozen=True, slots=True, eq=False)
class Part:
    """Triangles of one material.

    triangles, normals  (N, 3, 3) float32 in metres, the mesh's own frame
    uv                  (N, 3, 2) float32, (0, 0) the picture's top left corner
    material            its `picture` is -1: `texture` names the picture's file as the .dae does, or is empty
    submesh             the node's name, which an SDF's <submesh> asks for
    """

    triangles: NDArray[np.float32]
    normals: NDArray[np.float32]
    uv: NDArray[np.float32]
    material: Material
    texture: str
    submesh: str


def read_mesh(content: bytes, where: str) -> tuple[list[Part], list[str]]:
    """The parts of a COLLADA file, and what of it Gazebo would not draw either or cannot be read, a line each.

    A file that only holds lights or cameras has no parts. InputError for what is no COLLADA, is cut short, or is larger
    than MAX_MESH_BYTES or MAX_TRIANGLES.
    """
    _check_size(content, where)
    try:
        document = collada.Collada(io.BytesIO(content), ignore=[DaeError])
        if document.scene is None:
            return [], [f"{where}: it has no scene"]
        unit = document.assetInfo.unitmeter if document.assetInfo is not None else None
        scale = 1.0 if unit is None else float(unit)
        parts, notes = [], [f"{where}: {type(it).__name__}: {it}".replace("\n", " ") for it in document.errors]
        for part in _walk(document.scene.nodes, np.eye(4), "", notes, where):
            parts.append(replace(part, triangles=part.triangles * np.float32(scale)))
            if not np.isfinite(parts[-1].triangles).all():
                raise ValueError("a vertex is not finite")
    except InputError:
        raise
    except RecursionError as problem:
        raise InputError(where, "nodes within nodes", "a mesh's nodes end somewhere", "export it again") from problem
    except Exception as problem:  # pycollada lets through whatever a damaged file makes it do
        rule, fix = "a mesh is a whole COLLADA file (.dae) of version 1.4", "copy the file again"
        raise InputError(where, f"{type(problem).__name__}: {problem}", rule, fix) from problem
    return parts, notes


def _check_size(content: bytes, where: str) -> None:
    if len(content) > MAX_MESH_BYTES:
        rule = f"a mesh's file has at most {MAX_MESH_BYTES} bytes"
        raise InputError(where, f"{len(content)} bytes", rule, "simplify the mesh")
    counts = re.findall(rb'<(?:triangles|polylist)\b[^>]*?\bcount\s*=\s*"(\d{1,18})"', content)
    if sum(map(int, counts)) > MAX_TRIANGLES:
        rule = f"a mesh has at most {MAX_TRIANGLES} triangles"
        raise InputError(where, f"{sum(map(int, counts))} triangles", rule, "simplify the mesh")
    head = content[:4096].lstrip(b"\xef\xbb\xbf \t\r\n")
    if not head.startswith(b"<"):
        raise InputError(where, head[:12], "a mesh is a COLLADA file, which is XML", "copy the file again")
    if b"<COLLADA" not in content:
        raise InputError(where, head[:40], "a mesh is a whole COLLADA file (.dae)", "copy the file again")
    if b"<!DOCTYPE" in content or b"<!ENTITY" in content:
        raise InputError(where, "<!DOCTYPE", "a mesh declares no entities", "export it again")


def _walk(nodes: list[Node], matrix: FloatArray, name: str, notes: list[str], where: str) -> Iterator[Part]:
    for node in nodes:
        if isinstance(node, GeometryNode):
            yield from _of_geometry(node, matrix, name, notes, where)
        elif isinstance(node, ControllerNode):
            notes.append(f"{where}: the skinned part {name!r} is not drawn")
        elif isinstance(node, Node):
            own = getattr(node, "matrix", None)
            below = matrix if own is None else matrix @ np.asarray(own, np.float64)
            yield from _walk(node.children, below, _name_of(node) or name, notes, where)


def _name_of(node: Node) -> str:
    element = getattr(node, "xmlnode", None)
    return str(element.get("name") or "") if element is not None else ""


def _of_geometry(node: GeometryNode, matrix: FloatArray, name: str, notes: list[str], where: str) -> Iterator[Part]:
    targets = {it.symbol: it.target for it in node.materials}
    for primitive in node.geometry.primitives:
        if type(primitive) is Polylist:  # and not its subclass Polygons, which Gazebo does not read
            triangles = primitive.triangleset()
        elif isinstance(primitive, TriangleSet):
            triangles = primitive
        else:
            if type(primitive).__name__ != "LineSet":
                notes.append(f"{where}: {type(primitive).__name__} of {name!r} is not drawn, as in Gazebo")
            continue
        if len(triangles) == 0 or triangles.vertex_index is None:
            continue
        material, texture = _material(targets.get(primitive.material))
        yield _part(triangles, matrix, material, texture, name)


def _part(triangles: TriangleSet, matrix: FloatArray, material: Material, texture: str, name: str) -> Part:
    vertices = triangles.vertex @ matrix[:3, :3].T + matrix[:3, 3]
    corners = vertices[triangles.vertex_index].astype(np.float32)
    if triangles.normal is not None and len(triangles.normal) and triangles.normal_index is not None:
        normals = (triangles.normal @ matrix[:3, :3].T)[triangles.normal_index]
    else:
        normals = np.zeros(corners.shape)
    uv = np.zeros((len(corners), 3, 2), np.float32)
    if triangles.texcoordset:
        spots = np.asarray(triangles.texcoordset[0], np.float64)[triangles.texcoord_indexset[0]]
        uv[..., 0], uv[..., 1] = spots[..., 0], 1.0 - spots[..., 1]
    return Part(corners, unit_normals(normals, corners), uv, material, texture, name)


def unit_normals(normals: FloatArray, corners: NDArray[np.float32]) -> NDArray[np.float32]:
    """Normals (N, 3, 3) of unit length; where they are none, those of the triangles `corners` (N, 3, 3)."""
    of_faces = np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0]).astype(np.float64)
    sizes = np.linalg.norm(normals, axis=-1, keepdims=True)
    with np.errstate(invalid="ignore"):
        chosen = np.where((sizes > 1e-9) & np.isfinite(sizes), normals, of_faces[:, np.newaxis])
    sizes = np.linalg.norm(chosen, axis=-1, keepdims=True)
    up = np.array([0.0, 0.0, 1.0])  # of a triangle without an area
    return np.where(sizes > 0.0, chosen / np.where(sizes > 0.0, sizes, 1.0), up).astype(np.float32)


def _material(target: collada.material.Material | None) -> tuple[Material, str]:
    """The material, and the file of its texture as the .dae names it."""
    if target is None or target.effect is None:
        return _WHITE, ""
    effect = target.effect
    name = str(target.name or target.id or "")
    if effect.shadingtype not in _READ:
        return Material(name, ambient=_AMBIENT, diffuse=_DIFFUSE), ""
    texture = ""
    diffuse = _rgb(effect.diffuse, _DIFFUSE)
    if isinstance(effect.diffuse, Map):
        diffuse = (1.0, 1.0, 1.0)
        texture = str(effect.diffuse.sampler.surface.image.path or "")
    material = Material(
        name,
        diffuse=diffuse,
        ambient=_rgb(effect.ambient, _AMBIENT),
        specular=_rgb(effect.specular),
        emission=_rgb(effect.emission),
        shininess=_number(effect.shininess, 0.0),
        opacity=_opacity(effect),
    )
    return material, texture


def _opacity(effect: Effect) -> float:
    """1 minus Gazebo's transparency (LoadTransparent): none without an opaque mode, or where a texture says it."""
    element = next((it for it in effect.xmlnode.iter() if it.tag.rpartition("}")[2] == "transparent"), None)
    mode = element.get("opaque") if element is not None else None
    if mode is None or effect.transparent is None or isinstance(effect.transparent, Map):
        return 1.0
    amount = min(max(_number(effect.transparency, 1.0), 0.0), 1.0)
    colour = np.asarray(effect.transparent, np.float64)
    weight = float(colour[:3] @ _LUMINANCE) if mode.startswith("RGB") else float(colour[3] if len(colour) > 3 else 1.0)
    hidden = weight * amount if mode in ("RGB_ZERO", "A_ZERO") else 1.0 - weight * amount
    return 1.0 - min(max(hidden, 0.0), 1.0)


def _rgb(value: object, default: Rgb = (0.0, 0.0, 0.0)) -> Rgb:
    """A colour's first three numbers, 0..1; a texture or nothing is the default, as Gazebo has it."""
    if value is None or isinstance(value, Map | float | int):
        return default
    red, green, blue = (min(max(float(part), 0.0), 1.0) for part in list(value)[:3])  # type: ignore[call-overload]
    return red, green, blue


def _number(value: object, default: float) -> float:
    return float(value) if isinstance(value, float | int) else default
