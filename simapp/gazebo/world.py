"""A track's world and its cars as Gazebo reads them: SDF, meshes, textures, materials, from the geometry and looks that
the built-in simulator has; of an imported world from the racer's own files (simapp.gazebo.imported).

But for an imported world nothing is lit: textures and colours are what the built-in camera draws. Walls, boxes and
other cars have no collision shapes, since contacts are the race rules' matter (contract.protocols.Simulator); ground
and wheels have.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from contract.car import Car
from contract.state import STEP_S, FloatArray, UInt8Array
from contract.vehicle import BASE_LINK_HEIGHT_M, CAMERA_HFOV_RAD
from simapp.camera.bodies import LOOKS, SHADES
from simapp.camera.ground import Road, paint_ground_rgb
from simapp.camera.look import (
    SKY_RGB,
    TILE_MM,
    WALL_HEIGHT_M,
    WALL_MARGIN_M,
    WALLS_RGB,
    textures,
)
from simapp.gazebo import car as makes
from simapp.gazebo.imported import GazeboScenery, scenery_of
from simapp.road import Track
from simapp.worlds import World
from simapp.worlds.solids import CUBE

SUBSTEPS = 12
"""Physics steps of a control step: 180 a second, three to each step of the joints' controllers."""

TEXTURE_PX = 2048
MAX_TEXELS = 12_000_000
"""The ground's texels at most: 36 MB of RGB."""


@dataclass(frozen=True, slots=True)
class CameraSize:
    """Pixels of the frames that Gazebo draws; the network's frames are averaged from them."""

    width: int
    height: int


def write_world(
    folder: Path,
    track: Track,
    cars: Sequence[Car],
    size: CameraSize,
    socket: str,
    seen_from: str,
    gui: bool = False,
) -> None:
    """Everything of the world into `folder`, which Gazebo sees as `seen_from`; world.sdf names the rest.

    cars      what each of them is made of
    socket    where the plugin listens, as Gazebo sees it
    gui       the cars have bodies, for a window to show; the plugin hides them from the cameras, which draw their own
    """
    for name in ("materials/scripts", "materials/textures", "meshes"):
        (folder / name).mkdir(parents=True, exist_ok=True)
    xmin, ymin, xmax, ymax = track.bounds
    room = (xmin - WALL_MARGIN_M, ymin - WALL_MARGIN_M, xmax + WALL_MARGIN_M, ymax + WALL_MARGIN_M)
    for i in range(len(LOOKS)):
        (folder / f"meshes/look_{i}.obj").write_text(_body_mesh(i))
    palette = [tuple(rgb) for rgb in _palette()]
    _write_png(folder / "materials/textures/bodies.png", np.array([palette], np.uint8))
    materials = [_material("undercut/bodies", "bodies.png", "filtering none")]
    if track.world is None:
        scenery = _built_in(folder, track, room, seen_from, materials)
    else:
        scenery = scenery_of(World.load(track.world), track.world, folder, seen_from)
    (folder / "materials/scripts/undercut.material").write_text("\n".join(materials))
    models = [makes.model(f"car_{i}", i, car, _body_visual(i, seen_from) if gui else "") for i, car in enumerate(cars)]
    settings = {
        "socket": socket,
        "substeps": SUBSTEPS,
        "sensor": "eye",
        "meshes": f"{seen_from}/meshes",
        "bodies": len(cars) if gui else 0,
    }
    plugin = _elements(settings) + "".join(f"<car>{_elements(makes.controllers(car))}</car>" for car in cars)
    (folder / "world.sdf").write_text(_sdf(scenery, models, _watcher(room), size, plugin))


def _built_in(
    folder: Path, track: Track, room: tuple[float, float, float, float], seen_from: str, materials: list[str]
) -> GazeboScenery:
    """The built-in look: painted ground, four walls, and a plain sky. What it is made of is added to `materials`."""
    tiles = _write_ground(folder, track, room)
    materials += [_material(f"undercut/ground_{i}", f"ground_{i}.png") for i in range(len(tiles))]
    materials += [_plain_material(f"undercut/wall_{i}", rgb) for i, rgb in enumerate(WALLS_RGB)]
    visuals = [
        _mesh_visual(
            "visual" if i == 0 else f"visual_{i}",
            f"{seen_from}/meshes/ground_{i}.obj",
            f"undercut/ground_{i}",
            seen_from,
        )
        for i in range(len(tiles))
    ]
    visuals += [_wall_visual(i, room, seen_from) for i in range(4)]
    sky = " ".join(f"{value / 255:.5f}" for value in SKY_RGB)
    return GazeboScenery(visuals, "", f"<ambient>1 1 1 1</ambient><background>{sky} 1</background>")


def _write_ground(folder: Path, track: Track, room: tuple[float, float, float, float]) -> list[str]:
    """Textured squares that cover the room."""
    area = (room[2] - room[0]) * (room[3] - room[1])
    texel_mm = next(mm for mm in range(2, TILE_MM) if TILE_MM % mm == 0 and area * 1e6 / mm**2 <= MAX_TEXELS)
    side_m = TEXTURE_PX * texel_mm / 1000
    road, look = Road.of(track), textures()
    tiles: list[str] = []
    for row in range(math.ceil((room[3] - room[1]) / side_m)):
        for column in range(math.ceil((room[2] - room[0]) / side_m)):
            # whole texels from the world's origin, as the textures' cells are
            x, y = (
                round((low + n * side_m) * 1000 / texel_mm) * texel_mm / 1000
                for low, n in ((room[0], column), (room[1], row))
            )
            picture = paint_ground_rgb(road, look, (x, y), texel_mm, (TEXTURE_PX, TEXTURE_PX))[::-1, :, :3]
            name = f"ground_{len(tiles)}"
            _write_png(folder / f"materials/textures/{name}.png", picture)  # pictures begin in the north
            corners = [(x, y, 0.0), (x + side_m, y, 0.0), (x + side_m, y + side_m, 0.0), (x, y + side_m, 0.0)]
            (folder / f"meshes/{name}.obj").write_text(_obj([(corners, [(0, 0), (1, 0), (1, 1), (0, 1)])]))
            tiles.append(name)
    return tiles


def _obj(quads: Sequence[tuple[Sequence[Sequence[float]], Sequence[tuple[float, float]]]]) -> str:
    """Wavefront OBJ of four-cornered faces with texture coordinates, counter-clockwise from outside."""
    lines = ["o mesh"]
    for corners, spots in quads:
        lines += [f"v {x:.6f} {y:.6f} {z:.6f}" for x, y, z in corners]
        lines += [f"vt {u:.6f} {v:.6f}" for u, v in spots]
    for i in range(len(quads)):
        a, b, c, d = (4 * i + k + 1 for k in range(4))
        lines += [f"f {a}/{a} {b}/{b} {c}/{c}", f"f {a}/{a} {c}/{c} {d}/{d}"]
    return "\n".join(lines) + "\n"


def _palette() -> FloatArray:
    """(P, 3) every colour of every block's faces, in the order of LOOKS, blocks, and SHADES."""
    colours: FloatArray = np.rint(np.concatenate([np.outer(SHADES, block.rgb) for look in LOOKS for block in look]))
    return colours


def _body_mesh(index: int) -> str:
    count = len(_palette())
    first = len(SHADES) * sum(len(each) for each in LOOKS[:index])
    quads = []
    for b, block in enumerate(LOOKS[index]):
        low, high = np.array([block.x_m, block.y_m, block.z_m]).T
        for corners, shade in zip(np.where(CUBE > 0.0, high, low).tolist(), (0, 0, 1, 1, 2, 3), strict=True):
            spot = ((first + len(SHADES) * b + shade + 0.5) / count, 0.5)
            quads.append((corners, [spot] * 4))
    return _obj(quads)


def _write_png(path: Path, picture: UInt8Array) -> None:
    Image.fromarray(np.ascontiguousarray(picture)).save(path, compress_level=1)


def _material(name: str, texture: str, filtering: str = "filtering anisotropic\n  max_anisotropy 8") -> str:
    return (
        f"material {name} {{ technique {{ pass {{ lighting off\n"
        f" texture_unit {{ texture {texture}\n  {filtering}\n  tex_address_mode clamp }} }} }} }}"
    )


def _plain_material(name: str, rgb: FloatArray) -> str:
    red, green, blue = (f"{value / 255:.5f}" for value in rgb)
    return (
        f"material {name} {{ technique {{ pass {{ lighting on\n ambient 0 0 0 1\n diffuse 0 0 0 1\n"
        f" specular 0 0 0 1 0\n emissive {red} {green} {blue} 1 }} }} }}"
    )


def _script(material: str, seen_from: str) -> str:
    return (
        f"<material><script><uri>file://{seen_from}/materials/scripts</uri><uri>file://{seen_from}/materials/textures</uri>"
        f"<name>{material}</name></script></material>"
    )


def _mesh_visual(name: str, mesh: str, material: str, seen_from: str) -> str:
    return (
        f'<visual name="{name}"><cast_shadows>false</cast_shadows><geometry><mesh><uri>file://{mesh}</uri></mesh></geometry>'
        f"{_script(material, seen_from)}</visual>"
    )


def _wall_visual(wall: int, room: tuple[float, float, float, float], seen_from: str) -> str:
    """East, north, west, south: a thin block outside of the room."""
    xmin, ymin, xmax, ymax = room
    thick = 0.02
    x = (xmax + thick / 2, (xmin + xmax) / 2, xmin - thick / 2, (xmin + xmax) / 2)[wall]
    y = ((ymin + ymax) / 2, ymax + thick / 2, (ymin + ymax) / 2, ymin - thick / 2)[wall]
    size = (thick, ymax - ymin + 2 * thick) if wall % 2 == 0 else (xmax - xmin + 2 * thick, thick)
    return (
        f'<visual name="wall_{wall}"><pose>{x:.6f} {y:.6f} {WALL_HEIGHT_M / 2} 0 0 0</pose>'
        "<cast_shadows>false</cast_shadows>"
        f"<geometry><box><size>{size[0]:.6f} {size[1]:.6f} {WALL_HEIGHT_M}</size></box></geometry>"
        f"{_script(f'undercut/wall_{wall}', seen_from)}</visual>"
    )


def _body_visual(index: int, seen_from: str) -> str:
    """A car's body: those of one world have different colours."""
    mesh = f"{seen_from}/meshes/look_{1 + index % (len(LOOKS) - 1)}.obj"
    return _mesh_visual("body", mesh, "undercut/bodies", seen_from).replace(
        "<geometry>", f"<pose>0 0 {-BASE_LINK_HEIGHT_M} 0 0 0</pose><geometry>"
    )


def _watcher(room: tuple[float, float, float, float]) -> str:
    """Where gzclient's camera begins: south of the room, and high enough to see all of it."""
    x, y = (room[0] + room[2]) / 2, (room[1] + room[3]) / 2
    away = 0.8 * max(room[2] - room[0], room[3] - room[1])
    pose = f"{x:.3f} {y - away:.3f} {1.2 * away:.3f} 0 {math.atan(1.2):.3f} {math.pi / 2:.5f}"
    return f'<gui><camera name="user_camera"><pose>{pose}</pose></camera></gui>'


def _elements(values: dict[str, Any]) -> str:
    return "".join(f"<{key}>{value}</{key}>" for key, value in values.items())


def _sdf(around: GazeboScenery, models: list[str], watcher: str, size: CameraSize, plugin: str) -> str:
    return f"""<?xml version="1.0"?>
<sdf version="1.6"><world name="undercut">
<physics type="ode" default="true"><max_step_size>{STEP_S / SUBSTEPS!r}</max_step_size>
<real_time_update_rate>0</real_time_update_rate>
<ode><solver><type>world</type><iters>50</iters><sor>1.3</sor></solver>
<constraints><cfm>0</cfm><erp>0.2</erp></constraints></ode></physics>
<scene>{around.scene}<shadows>false</shadows><grid>false</grid></scene>
{around.lights}
<model name="ground"><static>true</static><link name="link">
<collision name="plane"><geometry><plane><normal>0 0 1</normal><size>200 200</size></plane></geometry>
<surface><friction><ode><mu>100</mu><mu2>100</mu2></ode></friction></surface></collision>
{"".join(around.visuals)}</link></model>
<model name="eye_stand"><static>true</static><link name="link"><sensor name="eye" type="camera">
<always_on>0</always_on><update_rate>0</update_rate><visualize>false</visualize><camera>
<horizontal_fov>{CAMERA_HFOV_RAD}</horizontal_fov>
<image><width>{size.width}</width><height>{size.height}</height><format>R8G8B8</format></image>
<clip><near>0.02</near><far>200</far></clip></camera></sensor></link></model>
{"".join(models)}
{watcher}<plugin name="undercut_lockstep" filename="libundercut_lockstep.so">
{plugin}</plugin>
</world></sdf>
"""
