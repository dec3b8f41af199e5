"""An imported world as Gazebo reads it: the racer's own meshes and textures, its lights and sky, each in its place."""

import math
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from xml.sax.saxutils import escape, quoteattr

from simapp.worlds import Light, Material, Scene, Visual, World
from simapp.worlds.form import FILES

SEEN_FILES = "world"
"""Folder of the racer's files beside world.sdf."""


@dataclass(frozen=True, slots=True)
class GazeboScenery:
    """What of a world's SDF is not the cars: <visual>s in the world's frame, <light>s, and what is in <scene>."""

    visuals: list[str]
    lights: str
    scene: str


def scenery_of(world: World, source: Path, folder: Path, seen_from: str) -> GazeboScenery:
    """Copy the files of the world in the folder `source` to below `folder`, which Gazebo sees as `seen_from`, and
    describe them."""
    shutil.copytree(source / FILES, folder / SEEN_FILES, dirs_exist_ok=True)
    # the plugin waits for the one called `visual`: the last one
    names = [*(f"visual_{i}" for i in range(1, len(world.visuals))), "visual"]
    below = f"{seen_from}/{SEEN_FILES}"
    visuals = [_visual(name, it, world, below) for name, it in zip(names, world.visuals, strict=True)]
    lights = "".join(_light(i, light) for i, light in enumerate(world.lights))
    return GazeboScenery(visuals, lights, _scene(world.scene))


def _visual(name: str, visual: Visual, world: World, seen_from: str) -> str:
    geometry = _SHAPES[visual.kind](visual, seen_from)
    material = _material(world.materials[visual.material]) if visual.material >= 0 else ""
    return (
        f'<visual name="{name}"><pose>{_numbers(visual.pose)}</pose><cast_shadows>false</cast_shadows>'
        f"<geometry>{geometry}</geometry>{material}</visual>"
    )


def _mesh(visual: Visual, seen_from: str) -> str:
    submesh = f"<name>{escape(visual.submesh)}</name><center>{str(visual.centre).lower()}</center>"
    return (
        f"<mesh><uri>file://{escape(seen_from)}/{escape(visual.mesh)}</uri><scale>{_numbers(visual.scale)}</scale>"
        f"{f'<submesh>{submesh}</submesh>' if visual.submesh else ''}</mesh>"
    )


_SHAPES: dict[str, Callable[[Visual, str], str]] = {
    "mesh": _mesh,
    "box": lambda visual, _: f"<box><size>{_numbers(visual.size)}</size></box>",
    "plane": lambda visual, _: f"<plane><normal>0 0 1</normal><size>{_numbers(visual.size)}</size></plane>",
    "sphere": lambda visual, _: f"<sphere><radius>{visual.size[0]!r}</radius></sphere>",
    "cylinder": lambda visual, _: (
        f"<cylinder><radius>{visual.size[0]!r}</radius><length>{visual.size[1]!r}</length></cylinder>"
    ),
}


def _material(material: Material) -> str:
    colours_of = {name: getattr(material, name) for name in ("ambient", "diffuse", "specular")}
    colours = "".join(f"<{name}>{_numbers(rgb)} 1</{name}>" for name, rgb in colours_of.items())
    lit = str(material.is_lit).lower()
    return (
        f"<material><lighting>{lit}</lighting>{colours}<emissive>{_numbers(material.emission)} 1</emissive></material>"
    )


def _light(number: int, light: Light) -> str:
    """Its direction is the world's, so its pose only moves it."""
    attenuation = {
        "range": light.range_m,
        "constant": light.constant,
        "linear": light.linear,
        "quadratic": light.quadratic,
    }
    spot = {"inner_angle": light.inner_rad, "outer_angle": light.outer_rad, "falloff": light.falloff}
    return (
        f'<light type={quoteattr(light.kind)} name="light_{number}"><pose>{_numbers(light.position)} 0 0 0</pose>'
        f"<diffuse>{_numbers(light.diffuse)} 1</diffuse><specular>{_numbers(light.specular)} 1</specular>"
        f"<direction>{_numbers(light.direction)}</direction><cast_shadows>false</cast_shadows>"
        f"<attenuation>{_elements(attenuation)}</attenuation>"
        f"{f'<spot>{_elements(spot)}</spot>' if light.kind == 'spot' else ''}</light>"
    )


def _scene(scene: Scene) -> str:
    sky = "<sky/>" if scene.has_sky else ""
    return f"<ambient>{_numbers(scene.ambient)} 1</ambient><background>{_numbers(scene.background)} 1</background>{sky}"


def _elements(values: dict[str, float]) -> str:
    return "".join(f"<{name}>{value!r}</{name}>" for name, value in values.items())


def _numbers(values: tuple[float, ...]) -> str:
    if not all(math.isfinite(value) for value in values):
        raise ValueError(f"{values} are not finite")
    return " ".join(repr(float(value)) for value in values)
