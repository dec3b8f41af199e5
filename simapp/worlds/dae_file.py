"""Writes a world that no copy has, one of the common look or of another's surfaces, as COLLADA for Gazebo."""

import os.path
from xml.sax.saxutils import escape

import numpy as np
from numpy.typing import NDArray

from simapp.worlds.form import Material, World

_HEAD = (
    '<?xml version="1.0" encoding="utf-8"?>\n'
    '<COLLADA xmlns="http://www.collada.org/2005/11/COLLADASchema" version="1.4.1">\n'
    "<asset><created>2026-01-01T00:00:00</created><modified>2026-01-01T00:00:00</modified>"
    '<unit name="meter" meter="1"/><up_axis>Z_UP</up_axis></asset>\n'
)


def dae_of(world: World, folder: str) -> bytes:
    """All triangles of a world as one .dae file, which lies in `folder` below the files of the world: its textures are
    named from there."""
    images, effects, materials, geometries, nodes = "", "", "", "", ""
    for p, picture in enumerate(world.pictures):
        path = os.path.relpath(picture.name, folder)
        images += f'<image id="p{p}"><init_from>{escape(path)}</init_from></image>\n'
    for index in np.unique(world.material).tolist():
        effects += _effect(index, world.materials[index])
        materials += f'<material id="m{index}" name="m{index}"><instance_effect url="#e{index}"/></material>\n'
        mine = world.material == index
        geometries += _geometry(index, world.triangles[mine], world.normals[mine], world.uv[mine])
        nodes += (
            f'<node id="n{index}" name="n{index}"><instance_geometry url="#g{index}"><bind_material><technique_common>'
            f'<instance_material symbol="s" target="#m{index}"/></technique_common></bind_material>'
            "</instance_geometry></node>\n"
        )
    return (
        f"{_HEAD}<library_images>{images}</library_images>\n<library_effects>{effects}</library_effects>\n"
        f"<library_materials>{materials}</library_materials>\n<library_geometries>{geometries}</library_geometries>\n"
        f'<library_visual_scenes><visual_scene id="scene">{nodes}</visual_scene></library_visual_scenes>\n'
        '<scene><instance_visual_scene url="#scene"/></scene></COLLADA>\n'
    ).encode()


def _effect(index: int, material: Material) -> str:
    params, diffuse = "", f"<color>{_numbers(material.diffuse)} 1</color>"
    if material.picture >= 0:
        params = (
            f'<newparam sid="e{index}-surface"><surface type="2D"><init_from>p{material.picture}</init_from></surface>'
            f'</newparam><newparam sid="e{index}-sampler"><sampler2D><source>e{index}-surface</source></sampler2D>'
            "</newparam>"
        )
        diffuse = f'<texture texture="e{index}-sampler" texcoord="uv"/>'
    clear = ""
    if material.opacity < 1.0:
        clear = (
            '<transparent opaque="A_ONE"><color>1 1 1 1</color></transparent>'
            f"<transparency><float>{material.opacity!r}</float></transparency>"
        )
    return (
        f'<effect id="e{index}"><profile_COMMON>{params}<technique sid="common"><phong>'
        f"<emission><color>{_numbers(material.emission)} 1</color></emission>"
        f"<ambient><color>{_numbers(material.ambient)} 1</color></ambient><diffuse>{diffuse}</diffuse>"
        f"<specular><color>{_numbers(material.specular)} 1</color></specular>"
        f"<shininess><float>{material.shininess!r}</float></shininess>{clear}"
        "</phong></technique></profile_COMMON></effect>\n"
    )


def _geometry(index: int, triangles: NDArray[np.float32], normals: NDArray[np.float32], uv: NDArray[np.float32]) -> str:
    count = 3 * len(triangles)
    spots = uv.astype(np.float64).reshape(-1, 2) * [1.0, -1.0] + [0.0, 1.0]  # COLLADA's t grows upwards
    sources = ""
    for name, values, axes in (
        ("place", triangles.reshape(-1, 3), "XYZ"),
        ("normal", normals.reshape(-1, 3), "XYZ"),
        ("uv", spots, "ST"),
    ):
        text = " ".join(map("%.7g".__mod__, values.ravel().tolist()))
        params = "".join(f'<param name="{axis}" type="float"/>' for axis in axes)
        sources += (
            f'<source id="g{index}-{name}"><float_array id="g{index}-{name}-a" count="{values.size}">{text}'
            f'</float_array><technique_common><accessor source="#g{index}-{name}-a" count="{count}" '
            f'stride="{len(axes)}">{params}</accessor></technique_common></source>\n'
        )
    corners = " ".join(f"{k} {k} {k}" for k in range(count))
    return (
        f'<geometry id="g{index}"><mesh>{sources}<vertices id="g{index}-v"><input semantic="POSITION" '
        f'source="#g{index}-place"/></vertices><triangles material="s" count="{len(triangles)}">'
        f'<input semantic="VERTEX" source="#g{index}-v" offset="0"/>'
        f'<input semantic="NORMAL" source="#g{index}-normal" offset="1"/>'
        f'<input semantic="TEXCOORD" source="#g{index}-uv" offset="2" set="0"/><p>{corners}</p></triangles></mesh>'
        "</geometry>\n"
    )


def _numbers(values: tuple[float, ...]) -> str:
    return " ".join(map(repr, values))
