"""Gazebo's .world, .sdf and model files: what they show and what lights it, in both forms of AWS's simulator.

The form of Gazebo 11 includes model://sun. Harmonic's has a light named `sun` in its place, of other colours, since its
renderer works in linear light and Gazebo 11's does not: the built-in camera and Gazebo 11 take the sun of Gazebo 11 for
both (models/sun/model.sdf of its package), so that a world looks alike whichever copy it comes from.
"""

import math
import xml.etree.ElementTree as ET
from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np

from contract.errors import InputError
from contract.state import FloatArray
from simapp.worlds.form import Light, Material, Rgb, Scene, Xyz

MAX_FILE_BYTES = 4 * 2**20
MAX_DEPTH = 8
"""Of models in models."""

SUN = Light(
    "sun",
    "directional",
    position=(0.0, 0.0, 10.0),
    direction=(-0.5, 0.1, -0.9),
    diffuse=(0.8, 0.8, 0.8),
    specular=(0.2, 0.2, 0.2),
    constant=0.9,
    linear=0.01,
    quadratic=0.001,
    range_m=1000.0,
    casts_shadows=True,
)
"""model://sun of Gazebo 11, its direction not yet of unit length."""

Find = Callable[[str], tuple[str, bytes] | None]
"""The path and content of a model's SDF file by its URI, None where there is none."""


@dataclass(frozen=True, slots=True, eq=False)
class Shape:
    """A <visual>: `kind` mesh, box, plane, cylinder or sphere, with `matrix` (4, 4) from its own frame to the world's.

    uri       of a mesh          size     of another shape: x, y, z of a box, x, y of a plane, radius (and length)
    scale     of a mesh          submesh  and `centre` of a mesh: see form.Visual
    material  of the SDF, which goes before the mesh's own, or None
    """

    kind: str
    matrix: FloatArray
    uri: str = ""
    scale: Xyz = (1.0, 1.0, 1.0)
    submesh: str = ""
    centre: bool = False
    size: tuple[float, ...] = ()
    material: Material | None = None


@dataclass(frozen=True, slots=True, eq=False)
class Contents:
    """What a .world holds: its scene, lights, and shapes; what of it could not be read, a line each."""

    scene: Scene
    lights: tuple[Light, ...]
    shapes: tuple[Shape, ...]
    unread: tuple[str, ...]


def read_world(content: bytes, where: str, find: Find) -> Contents:
    """What a .world shows. InputError when it is no SDF with a world in it."""
    world = parse(content, where).find("world")
    if world is None:
        raise InputError(where, "no <world>", "a .world is an SDF file with a world in it", "copy the file again")
    reader = _SdfReader(find)
    reader.model(world, np.eye(4), where, 0)
    lights = tuple(_sun_of_gazebo_11(light) if _is_harmonic(world) else light for light in reader.lights)
    return Contents(_scene(world.find("scene")), lights, tuple(reader.shapes), tuple(dict.fromkeys(reader.unread)))


def parse(content: bytes, where: str) -> ET.Element:
    """The root of an SDF file. InputError when it is none, is too large or declares entities."""
    rule, fix = f"an SDF file is whole XML of at most {MAX_FILE_BYTES} bytes without entities", "copy the file again"
    if len(content) > MAX_FILE_BYTES:
        raise InputError(where, f"{len(content)} bytes", rule, fix)
    if b"<!ENTITY" in content or b"<!DOCTYPE" in content:
        raise InputError(where, "<!DOCTYPE", rule, fix)
    try:
        root = ET.fromstring(content)
    except ET.ParseError as problem:
        raise InputError(where, str(problem), rule, fix) from problem
    if root.tag not in ("sdf", "gazebo"):
        raise InputError(where, f"<{root.tag}>", "an SDF file begins with <sdf>", "copy the file again")
    return root


class _SdfReader:
    """Collects lights and shapes of a world and the models in it."""

    def __init__(self, find: Find) -> None:
        self._find = find
        self.lights: list[Light] = []
        self.shapes: list[Shape] = []
        self.unread: list[str] = []

    def model(self, element: ET.Element, matrix: FloatArray, where: str, depth: int) -> None:
        """What is in a <world> or <model> that `matrix` places."""
        if depth > MAX_DEPTH:
            raise InputError(
                where, "models within models", f"models are nested {MAX_DEPTH} deep at most", "unnest them"
            )
        for child in element:
            if child.tag == "include":
                self._include(child, matrix, where, depth)
            elif child.tag == "model":
                self.model(child, matrix @ pose_matrix(child.find("pose"), where), where, depth + 1)
            elif child.tag == "light":
                self.lights.append(_light(child, matrix, where))
            elif child.tag == "link":
                below = matrix @ pose_matrix(child.find("pose"), where)
                self.lights += [_light(it, below, where) for it in child.findall("light")]
                for visual in child.findall("visual"):
                    self._visual(visual, below, where)

    def _include(self, element: ET.Element, matrix: FloatArray, where: str, depth: int) -> None:
        uri = (element.findtext("uri") or "").strip()
        found = self._find(uri)
        pose = element.find("pose")
        if found is None and uri.removeprefix("model://").rstrip("/") == "sun":
            self._place(SUN, pose, matrix, where)
            return
        if found is None:
            if uri.removeprefix("model://").rstrip("/") != "ground_plane":  # which our road is
                self.unread.append(f"{where}: {uri} is not in the copy")
            return
        path, content = found
        try:
            root = parse(content, path)
        except InputError as problem:
            self.unread.append(str(problem).replace("\n", " "))
            return
        for child in root:
            if child.tag == "model":
                own = pose if pose is not None else child.find("pose")
                self.model(child, matrix @ pose_matrix(own, where), path, depth + 1)
            elif child.tag == "light":
                self._place(_light(child, np.eye(4), path), pose, matrix, where)

    def _place(self, light: Light, pose: ET.Element | None, matrix: FloatArray, where: str) -> None:
        """Add a light of a file of its own, which `pose` of the include puts elsewhere."""
        if pose is not None:
            light = replace(light, position=(0.0, 0.0, 0.0))
            matrix = matrix @ pose_matrix(pose, where)
        self.lights.append(_moved(light, matrix))

    def _visual(self, element: ET.Element, matrix: FloatArray, where: str) -> None:
        geometry = element.find("geometry")
        if geometry is None or len(geometry) == 0:
            return
        inner = geometry[0]
        placed = matrix @ pose_matrix(element.find("pose"), where)
        material = _material(element.find("material"), where)
        if inner.tag == "mesh":
            submesh = inner.find("submesh")
            scale = numbers(inner.find("scale"), (1.0, 1.0, 1.0), where)
            shape = Shape(
                "mesh",
                placed,
                uri=(inner.findtext("uri") or "").strip(),
                scale=(scale[0], scale[1], scale[2]),
                submesh="" if submesh is None else (submesh.findtext("name") or "").strip(),
                centre=submesh is not None and _is_true(submesh.findtext("center")),
                material=material,
            )
            self.shapes.append(shape)
        elif inner.tag in _SIZES:
            size = tuple(
                value for name, default in _SIZES[inner.tag] for value in numbers(inner.find(name), default, where)
            )
            self.shapes.append(Shape(inner.tag, placed, size=size, material=material))
        else:
            self.unread.append(f"{where}: a visual's <{inner.tag}> is not drawn")


_SIZES: dict[str, tuple[tuple[str, tuple[float, ...]], ...]] = {
    "box": (("size", (1.0, 1.0, 1.0)),),
    "plane": (("size", (1.0, 1.0)),),
    "cylinder": (("radius", (1.0,)), ("length", (1.0,))),
    "sphere": (("radius", (1.0,)),),
}


def pose_matrix(element: ET.Element | None, where: str) -> FloatArray:
    """(4, 4) of a <pose>: x, y, z and roll, pitch, yaw about fixed axes."""
    return matrix_of(numbers(element, (0.0,) * 6, where))


def matrix_of(pose: tuple[float, ...]) -> FloatArray:
    """(4, 4) of x, y, z in metres and roll, pitch, yaw in radians."""
    roll, pitch, yaw = pose[3:6]
    cr, sr, cp, sp, cy, sy = (f(a) for a in (roll, pitch, yaw) for f in (math.cos, math.sin))
    matrix = np.eye(4)
    matrix[:3, :3] = [
        [cy * cp, cy * sp * sr - sy * cr, cy * sp * cr + sy * sr],
        [sy * cp, sy * sp * sr + cy * cr, sy * sp * cr - cy * sr],
        [-sp, cp * sr, cp * cr],
    ]
    matrix[:3, 3] = pose[:3]
    return matrix


def pose_of(matrix: FloatArray) -> tuple[float, float, float, float, float, float]:
    """x, y, z, roll, pitch, yaw of a rigid (4, 4)."""
    pitch = math.asin(min(max(-matrix[2, 0], -1.0), 1.0))
    if abs(matrix[2, 0]) < 1.0 - 1e-12:
        roll, yaw = math.atan2(matrix[2, 1], matrix[2, 2]), math.atan2(matrix[1, 0], matrix[0, 0])
    else:  # straight up or down: only the sum of roll and yaw counts
        roll, yaw = 0.0, math.atan2(-matrix[0, 1], matrix[1, 1])
    x, y, z = matrix[:3, 3].tolist()
    return x, y, z, roll, pitch, yaw


def numbers(element: ET.Element | None, default: tuple[float, ...], where: str) -> tuple[float, ...]:
    """As many numbers as the default has; an element that is not there or empty is the default."""
    text = "" if element is None else (element.text or "")
    words = text.split()
    if not words:
        return default
    try:
        values = tuple(float(word) for word in words)
    except ValueError:
        values = ()
    if len(values) < len(default) or not all(math.isfinite(value) and abs(value) < 1e9 for value in values):
        name = "" if element is None else element.tag
        raise InputError(where, text, f"<{name}> has {len(default)} numbers", "correct the file")
    return values[: len(default)]


def _rgb(element: ET.Element | None, default: Rgb, where: str) -> Rgb:
    """Red, green, blue; above 1 is of 255, as ignition::math::Color::Clamp has it."""
    red, green, blue = (
        min(value / 255.0, 1.0) if value > 1.0 else max(value, 0.0) for value in numbers(element, default, where)
    )
    return red, green, blue


def _scene(element: ET.Element | None, where: str = "scene") -> Scene:
    """SDF's defaults where nothing is said."""
    plain = Scene()
    if element is None:
        return plain
    return Scene(
        ambient=_rgb(element.find("ambient"), plain.ambient, where),
        background=_rgb(element.find("background"), plain.background, where),
        has_sky=element.find("sky") is not None,
        shadows=_is_true(element.findtext("shadows", "true")),
    )


def _light(element: ET.Element, matrix: FloatArray, where: str) -> Light:
    plain = Light("", "point")
    attenuation, spot = (_or_empty(element.find(name)) for name in ("attenuation", "spot"))

    def one(parent: ET.Element, name: str, default: float) -> float:
        return numbers(parent.find(name), (default,), where)[0]

    direction = numbers(element.find("direction"), (0.0, 0.0, -1.0), where)
    light = Light(
        name=element.get("name", ""),
        kind=element.get("type", "point"),
        direction=(direction[0], direction[1], direction[2]),
        diffuse=_rgb(element.find("diffuse"), (1.0, 1.0, 1.0), where),
        specular=_rgb(element.find("specular"), (0.1, 0.1, 0.1), where),
        intensity=one(element, "intensity", 1.0),
        # Gazebo's Light::SetAttenuation keeps the two within 0..1
        constant=min(max(one(attenuation, "constant", 1.0), 0.0), 1.0),
        linear=min(max(one(attenuation, "linear", 1.0), 0.0), 1.0),
        quadratic=one(attenuation, "quadratic", 0.0),
        range_m=one(attenuation, "range", plain.range_m),
        inner_rad=one(spot, "inner_angle", 0.0),
        outer_rad=one(spot, "outer_angle", 0.0),
        falloff=one(spot, "falloff", 0.0),
        casts_shadows=_is_true(element.findtext("cast_shadows")),
    )
    return _moved(light, matrix @ pose_matrix(element.find("pose"), where))


def _moved(light: Light, matrix: FloatArray) -> Light:
    """The light in the frame that `matrix` leads to, its direction of unit length."""
    x, y, z = (matrix[:3, :3] @ light.position + matrix[:3, 3]).tolist()
    direction = matrix[:3, :3] @ light.direction
    size = float(np.linalg.norm(direction))
    right, left, up = (direction / size).tolist() if size > 0.0 else (0.0, 0.0, -1.0)
    return replace(light, position=(x, y, z), direction=(right, left, up))


def _is_harmonic(world: ET.Element) -> bool:
    """Whether a .world is of the simulator's form for Gazebo Harmonic, which names its systems."""
    return any((it.get("name") or "").startswith(("gz::", "ignition::gazebo::")) for it in world.findall("plugin"))


def _sun_of_gazebo_11(light: Light) -> Light:
    """Harmonic's sun with the colours of Gazebo 11's; another light as it is."""
    if light.name != "sun" or light.kind != "directional":
        return light
    return replace(light, diffuse=SUN.diffuse, specular=SUN.specular, intensity=1.0)


def _material(element: ET.Element | None, where: str) -> Material | None:
    """Colours of a visual's own material; None where it has none (a script's is Gazebo's, and not ours)."""
    if element is None or all(element.find(name) is None for name in ("ambient", "diffuse", "specular", "emissive")):
        return None
    diffuse = _rgb(element.find("diffuse"), (1.0, 1.0, 1.0), where)
    return Material(
        "sdf",
        diffuse=diffuse,
        ambient=_rgb(element.find("ambient"), (0.0, 0.0, 0.0), where),
        specular=_rgb(element.find("specular"), (0.0, 0.0, 0.0), where),
        emission=_rgb(element.find("emissive"), (0.0, 0.0, 0.0), where),
        is_lit=_is_true(element.findtext("lighting", "true")),
    )


def _or_empty(element: ET.Element | None) -> ET.Element:
    return ET.Element("none") if element is None else element


def _is_true(text: str | None) -> bool:
    return (text or "").strip().lower() in ("true", "1")
