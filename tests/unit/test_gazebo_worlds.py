"""Imported worlds in Gazebo: what its world file says, and how bright its camera shows surfaces that were made up."""

import xml.etree.ElementTree as ET
from pathlib import Path

import numpy as np
import pytest

from contract.car import car_of_version
from contract.metadata import ModelMetadata
from contract.state import FloatArray, Poses, UInt8Array
from simapp.camera.pinhole import front_camera
from simapp.gazebo.simulator import GazeboSimulator
from simapp.gazebo.world import CameraSize, write_world
from simapp.tracks import Track, load_track
from simapp.worlds import World
from simapp.worlds.copies import worlds_in
from simapp.worlds.importer import import_world
from simapp.worlds.sdf import read_world
from tests.conftest import REPO, SHARED_REFERENCE
from tests.gazebo_support import needs_gazebo
from tests.unit.made_worlds import Copy, Face, dae, flat, plain_png
from undercut.figures.views import Likeness
from undercut.runs.simulators import gazebo_root
from undercut.runs.viewing import read_frames

REAL = SHARED_REFERENCE / "worlds"
SPOT = (
    '<light name="spot" type="spot"><pose>1 2 3 0.1 0.2 0.3</pose><spot><inner_angle>0.1</inner_angle></spot></light>'
)
SUN = np.array([0.5, -0.1, 0.9]) / np.sqrt(1.07)
"""Towards it."""
HIDDEN = (
    '<transparent opaque="A_ONE"><color>1 1 1 1</color></transparent><transparency><float>0.5</float></transparency>'
)


def imported(tmp_path: Path, faces: list[Face], textures: dict[str, bytes], **more: str) -> Track:
    copy = Copy(tmp_path / "copy").add("W", {"a.dae": dae(faces)}, textures, **more)  # type: ignore[arg-type]
    assert import_world(worlds_in(copy.root, "x")[0]["W"], tmp_path / "tracks").status == "imported"
    return load_track("W", [tmp_path / "tracks"])


def test_the_world_file_says_what_was_imported(tmp_path: Path) -> None:
    faces = [Face(flat(-5, -5, 5, 5), texture="textures/g.png")]
    track = imported(tmp_path, faces, {"g.png": plain_png(9, 9, 9)}, lights=SPOT, pose="1 2 0 0 0 0.5")
    folder = tmp_path / "gazebo"
    folder.mkdir()
    write_world(folder, track, [car_of_version(5)], CameraSize(320, 240), "/run/socket", "/seen")
    root = ET.parse(folder / "world.sdf").getroot()
    for element in root.iter("uri"):
        assert element.text is not None
        assert (folder / element.text.removeprefix("file:///seen/")).exists(), element.text
    assert track.world is not None
    world = World.load(track.world)
    said = read_world((folder / "world.sdf").read_bytes(), "world.sdf", lambda uri: None)
    assert said.scene.ambient == world.scene.ambient and said.scene.has_sky
    for one, other in zip(said.lights, world.lights, strict=True):
        assert (one.kind, one.diffuse, one.specular) == (other.kind, other.diffuse, other.specular)
        assert np.allclose([*one.position, *one.direction], [*other.position, *other.direction])
        assert (one.constant, one.linear, one.quadratic, one.range_m) == (
            *(other.constant, other.linear, other.quadratic, other.range_m),
        )
    (mesh,) = (shape for shape in said.shapes if shape.uri.endswith("a.dae"))
    assert np.allclose(mesh.matrix[:3, 3], [1, 2, 0]) and mesh.matrix[1, 0] == pytest.approx(np.sin(0.5))
    assert (folder / "world/meshes/W/textures/g.png").read_bytes() == plain_png(9, 9, 9)


def grey_at(picture: UInt8Array, point: FloatArray) -> int:
    """Red of a picture (240, 320, 3) from (3, 0), heading along y, where a point of the world is."""
    camera = front_camera().resized(320, 240)
    focal, sin, cos, height = camera.numbers
    ahead, left, below = point[1] - camera.ahead_m, 3.0 - point[0], height - point[2]
    depth, down = ahead * cos + below * sin, below * cos - ahead * sin
    return int(picture[round(120 + focal * down / depth), round(160 - focal * left / depth), 0])


@needs_gazebo
@pytest.mark.gazebo
def test_surfaces_are_as_bright_as_gazebo_is_said_to_show_them(tmp_path: Path) -> None:
    """make test-all ARGS="-k as_bright" """
    kinds: list[tuple[Face, float]] = []

    def wall(expected: float, turned: bool = False, **material: str | None) -> None:
        left = 2.1 + 0.3 * len(kinds)
        corners = [[left, 2, 0], [left + 0.25, 2, 0], [left + 0.25, 2, 0.5], [left, 2, 0.5]]
        kinds.append((Face(corners[::-1] if turned else corners, **material), expected))  # type: ignore[arg-type]

    lamp = np.array([0.0, 0.0, 15.0]) - np.array([3.0, 2.0, 0.25])
    distance = float(np.linalg.norm(lamp))
    lit = 0.8 * -SUN[1]  # the walls face along -y
    lit += 0.225 / (0.4 + 0.01 * distance) * -lamp[1] / distance
    wall(100 * lit, texture="textures/g.png")
    wall(178, turned=True, texture="textures/g.png")  # seen through: its front is on the other side
    wall(100 * (lit + 0.5 * 0.4), texture="textures/g.png", ambient=None)
    wall(255 * 0.8 * lit, diffuse="0.8 0.8 0.8 1")
    wall(255 * lit, texture="textures/missing.png")
    wall(0.5 * 100 * lit + 0.5 * 178, texture="textures/g.png", more=HIDDEN)
    faces = [face for face, _ in kinds]
    track = imported(tmp_path, faces, {"g.png": plain_png(100, 100, 100, size=64)}, sky="")
    simulator = GazeboSimulator(track, [ModelMetadata.load(REPO / "actions" / "default.json")], gazebo_root())
    try:
        simulator.place(np.array([0]), Poses(np.array([3.0]), np.array([0.0]), np.array([np.pi / 2])))
        picture = simulator.pictures(np.array([0]))[0]
    finally:
        simulator.close()
    for face, expected in kinds:
        middle = np.mean(face.corners, axis=0)
        assert grey_at(picture, middle) == pytest.approx(expected, abs=2.5), face


@needs_gazebo
@pytest.mark.gazebo
@pytest.mark.skipif(not REAL.is_dir(), reason="the official worlds lie beside a development checkout only")
@pytest.mark.parametrize("name", ["reInvent2019_track", "Bowtie_track", "2022_april_open", "Vegas_track"])
def test_official_worlds_are_what_gazebo_showed_of_them_elsewhere(name: str, tmp_path: Path) -> None:
    """make test-all ARGS="-k showed_of_them" """
    import_world(worlds_in(REAL / "bundle", "x")[0][name], tmp_path / "tracks")
    recorded = read_frames(REAL / "frames" / f"{name}.npz")
    model = ModelMetadata.load(REPO / "actions" / "default.json")
    simulator = GazeboSimulator(load_track(name, [tmp_path / "tracks"]), [model], gazebo_root())
    frames = []
    try:
        for x, y, heading in recorded.poses:
            simulator.place(np.array([0]), Poses(np.array([x]), np.array([y]), np.array([heading])))
            frames.append(simulator.observe(np.array([0]))[model.camera][0, ..., 0].copy())
    finally:
        simulator.close()
    likeness = Likeness.of(np.array(frames), recorded.grey)
    assert likeness.error.max() < 3.0 and np.median(likeness.ssim) > 0.95
