"""Small copies of a simulator's worlds, in the forms that the official ones have: for tests to import."""

import io
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from PIL import Image

from contract.state import FloatArray, UInt8Array


@dataclass
class Face:
    """A quad (4, 3) of a .dae, counter-clockwise from its front, with what its material says."""

    corners: Sequence[Sequence[float]]
    texture: str = ""
    diffuse: str = "0.8 0.8 0.8 1"
    ambient: str | None = "0 0 0 1"
    more: str = ""
    """Further elements of <phong>, such as <transparent>."""
    kind: str = "phong"
    uv: Sequence[Sequence[float]] = ((0, 0), (1, 0), (1, 1), (0, 1))
    normal: Sequence[float] | None = None


def dae(
    faces: Sequence[Face],
    unit: str = '<unit name="meter" meter="1"/>',
    up_axis: str = "Z_UP",
    matrix: str = "1 0 0 0 0 1 0 0 0 0 1 0 0 0 0 1",
    as_polylist: bool = False,
    lights_only: bool = False,
) -> bytes:
    """A COLLADA file of one geometry and node a face, in the way that Blender writes them."""
    images, effects, materials, geometries, nodes = "", "", "", "", ""
    for i, face in enumerate(faces):
        corners = np.asarray(face.corners, np.float64)
        normal = np.cross(corners[1] - corners[0], corners[2] - corners[0]) if face.normal is None else face.normal
        unit_normal = np.asarray(normal, np.float64) / np.linalg.norm(normal)
        params, diffuse = "", f"<color>{face.diffuse}</color>"
        if face.texture:
            images += f'<image id="i{i}" name="i{i}"><init_from>{face.texture}</init_from></image>'
            params = (
                f'<newparam sid="i{i}-surface"><surface type="2D"><init_from>i{i}</init_from></surface></newparam>'
                f'<newparam sid="i{i}-sampler"><sampler2D><source>i{i}-surface</source></sampler2D></newparam>'
            )
            diffuse = f'<texture texture="i{i}-sampler" texcoord="UVMap"/>'
        ambient = "" if face.ambient is None else f"<ambient><color>{face.ambient}</color></ambient>"
        effects += (
            f'<effect id="e{i}"><profile_COMMON>{params}<technique sid="common"><{face.kind}>'
            f"<emission><color>0 0 0 1</color></emission>{ambient}<diffuse>{diffuse}</diffuse>"
            f"{face.more.replace('SAMPLER', f'i{i}-sampler')}</{face.kind}></technique></profile_COMMON></effect>"
        )
        materials += f'<material id="m{i}" name="m{i}"><instance_effect url="#e{i}"/></material>'
        sources = "".join(
            f'<source id="g{i}-{name}"><float_array id="g{i}-{name}-array" count="{values.size}">'
            f"{' '.join(repr(float(v)) for v in values.ravel())}</float_array><technique_common>"
            f'<accessor source="#g{i}-{name}-array" count="{len(values)}" stride="{values.shape[1]}">'
            + "".join(f'<param name="{axis}" type="float"/>' for axis in axes)
            + "</accessor></technique_common></source>"
            for name, values, axes in (
                ("positions", corners, "XYZ"),
                ("normals", unit_normal[np.newaxis], "XYZ"),
                ("map", np.asarray(face.uv, np.float64), "ST"),
            )
        )
        inputs = (
            f'<input semantic="VERTEX" source="#g{i}-vertices" offset="0"/>'
            f'<input semantic="NORMAL" source="#g{i}-normals" offset="1"/>'
            f'<input semantic="TEXCOORD" source="#g{i}-map" offset="2" set="0"/>'
        )
        if as_polylist:
            primitive = (
                f'<polylist material="s{i}" count="1">{inputs}<vcount>4</vcount>'
                "<p>0 0 0 1 0 1 2 0 2 3 0 3</p></polylist>"
            )
        else:
            primitive = (
                f'<triangles material="s{i}" count="2">{inputs}<p>0 0 0 1 0 1 2 0 2 0 0 0 2 0 2 3 0 3</p></triangles>'
            )
        geometries += (
            f'<geometry id="g{i}" name="g{i}"><mesh>{sources}<vertices id="g{i}-vertices">'
            f'<input semantic="POSITION" source="#g{i}-positions"/></vertices>{primitive}</mesh></geometry>'
        )
        nodes += (
            f'<node id="n{i}" name="n{i}" type="NODE"><matrix sid="transform">{matrix}</matrix>'
            f'<instance_geometry url="#g{i}"><bind_material><technique_common>'
            f'<instance_material symbol="s{i}" target="#m{i}"/></technique_common></bind_material>'
            "</instance_geometry></node>"
        )
    if lights_only:
        nodes = '<node id="lamp" name="lamp"><instance_light url="#light"/></node>'
    lamp = (
        '<library_lights><light id="light" name="light"><technique_common><point><color>1 1 1</color></point>'
        "</technique_common></light></library_lights>"
    )
    return (
        '<?xml version="1.0" encoding="utf-8"?>'
        '<COLLADA xmlns="http://www.collada.org/2005/11/COLLADASchema" version="1.4.1">'
        f"<asset><created>2026-01-01T00:00:00</created><modified>2026-01-01T00:00:00</modified>{unit}"
        f"<up_axis>{up_axis}</up_axis></asset>{lamp if lights_only else ''}"
        f"<library_images>{images}</library_images><library_effects>{effects}</library_effects>"
        f"<library_materials>{materials}</library_materials><library_geometries>{geometries}</library_geometries>"
        f'<library_visual_scenes><visual_scene id="Scene" name="Scene">{nodes}</visual_scene></library_visual_scenes>'
        '<scene><instance_visual_scene url="#Scene"/></scene></COLLADA>'
    ).encode()


def png(pixels: UInt8Array) -> bytes:
    content = io.BytesIO()
    Image.fromarray(pixels).save(content, "PNG")
    return content.getvalue()


def plain_png(*rgba: int, size: int = 8) -> bytes:
    return png(np.full((size, size, len(rgba)), rgba, np.uint8))


def flat(x0: float, y0: float, x1: float, y1: float, z: float = 0.0) -> list[list[float]]:
    """A quad that faces up."""
    return [[x0, y0, z], [x1, y0, z], [x1, y1, z], [x0, y1, z]]


def loop_route(radius_m: float = 3.0, width_m: float = 0.8, points: int = 60) -> FloatArray:
    """A round track, counter-clockwise, inner edge on the left."""
    angle = np.linspace(0.0, 2.0 * np.pi, points)
    rings = [radius_m + offset for offset in (0.0, -width_m / 2, width_m / 2)]
    route = np.hstack([ring * np.column_stack([np.cos(angle), np.sin(angle)]) for ring in rings])
    route[-1] = route[0]
    return route


GAZEBO_11 = """<?xml version="1.0"?>
<sdf version="1.7"><world name="{name}">
<scene><ambient>0.5 0.5 0.5 1.0</ambient><shadows>0</shadows>{sky}</scene>
<include><uri>model://sun</uri><pose>0.0 0.0 15.0 0 0 0</pose><cast_shadows>false</cast_shadows></include>
<light type="point" name="Light 1"><pose>0 0 15 0 0 0</pose><diffuse>0.225 0.225 0.225 1</diffuse>
<specular>.1 .1 .1 1</specular><attenuation><constant>0.4</constant><linear>0.01</linear>
<quadratic>0.00</quadratic><range>50</range></attenuation><direction>0 0 -1</direction></light>{lights}
<include><uri>model://models/{name}</uri><pose>{pose}</pose><name>racetrack</name></include>
</world></sdf>"""

HARMONIC = """<?xml version="1.0"?>
<sdf version="1.7"><world name="{name}">
<plugin filename="gz-sim-physics-system" name="gz::sim::systems::Physics"/>
<scene><ambient>0.5 0.5 0.5 1.0</ambient><shadows>0</shadows><grid>false</grid>{sky}</scene>
<light type="directional" name="sun"><pose>0 0 15 0 0 0</pose><cast_shadows>false</cast_shadows>
<intensity>1.0</intensity><direction>-0.5 0.1 -0.9</direction><diffuse>1 1 0.8 1</diffuse>
<specular>0.8 0.8 0.8 1</specular></light>
<light name="Light 1" type="point"><pose>0 0 15 0 0 0</pose><diffuse>0.225 0.225 0.225 1</diffuse>
<specular>.1 .1 .1 1</specular><attenuation><constant>0.4</constant><linear>0.01</linear>
<quadratic>0.00</quadratic><range>50</range></attenuation><direction>0 0 -1</direction></light>{lights}
<include><uri>model://models/{name}</uri><pose>{pose}</pose><name>racetrack</name></include>
</world></sdf>"""

CONFIG = '<?xml version="1.0"?><model><name>{name}</name><sdf version="1.7">{name}_model.sdf</sdf></model>'


@dataclass
class Copy:
    """A folder as `bundle` of the simulator is: worlds/, models/, meshes/, routes/."""

    root: Path
    names: list[str] = field(default_factory=list)

    def add(
        self,
        name: str,
        meshes: dict[str, bytes],
        textures: dict[str, bytes] | None = None,
        form: str = GAZEBO_11,
        sky: str = "<sky></sky>",
        lights: str = "",
        pose: str = "0 0 0 0 0 0",
        poses: dict[str, str] | None = None,
        scale: str = "",
        route: FloatArray | None = None,
    ) -> "Copy":
        """A world whose model has a link and a visual for each mesh; `poses` are those of its visuals."""
        visuals = "".join(
            f'<link name="link_{i}"><visual name="visual"><pose>{(poses or {}).get(mesh, "0 0 0 0 0 0")}</pose>'
            f"<geometry><mesh><uri>model://meshes/{name}/{mesh}</uri>{scale}</mesh></geometry></visual></link>"
            for i, mesh in enumerate(meshes)
        )
        model = f'<sdf version="1.7"><model name="m">{visuals}<static>1</static></model></sdf>'
        filled = form.format(name=name, sky=sky, lights=lights, pose=pose)
        files = {
            f"worlds/{name}.world": filled.encode(),
            f"models/{name}/model.config": CONFIG.format(name=name).encode(),
            f"models/{name}/{name}_model.sdf": model.encode(),
            **{f"meshes/{name}/{mesh}": content for mesh, content in meshes.items()},
            **{f"meshes/{name}/textures/{file}": content for file, content in (textures or {}).items()},
        }
        for path, content in files.items():
            self.write(path, content)
        buffer = io.BytesIO()
        np.save(buffer, loop_route() if route is None else route)
        self.write(f"routes/{name}.npy", buffer.getvalue())
        self.names.append(name)
        return self

    def write(self, path: str, content: bytes) -> None:
        full = self.root / path
        full.parent.mkdir(parents=True, exist_ok=True)
        full.write_bytes(content)
