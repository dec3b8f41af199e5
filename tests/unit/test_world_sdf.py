"""World and model files in both forms: poses, lights, scenes, includes."""

import xml.etree.ElementTree as ET

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.spatial.transform import Rotation

from contract.errors import InputError
from simapp.worlds.sdf import Contents, matrix_of, pose_matrix, pose_of, read_world
from simapp.worlds.solids import solid
from tests.unit.made_worlds import GAZEBO_11, HARMONIC

ANGLES = st.floats(-3.1, 3.1)
PLACES = st.floats(-50.0, 50.0)
POSES = st.tuples(PLACES, PLACES, PLACES, ANGLES, ANGLES, ANGLES)

MODEL = """<sdf version="1.7"><model name="m"><pose>5 5 5 0 0 0</pose>{inside}</model></sdf>"""
MESH = "<geometry><mesh><uri>model://meshes/a.dae</uri></mesh></geometry>"


def read(world: str, models: dict[str, str] | None = None) -> Contents:
    known = {uri: (f"{uri}/model.sdf", text.encode()) for uri, text in (models or {}).items()}
    return read_world(world.encode(), "w.world", known.get)


def world_of(inside: str) -> str:
    return f'<sdf version="1.7"><world name="w">{inside}</world></sdf>'


@given(POSES)
def test_a_pose_turns_as_scipy_says(pose: tuple[float, ...]) -> None:
    matrix = pose_matrix(ET.fromstring(f"<pose>{' '.join(map(repr, pose))}</pose>"), "x")
    assert np.allclose(matrix[:3, :3], Rotation.from_euler("xyz", pose[3:]).as_matrix(), atol=1e-12)
    assert matrix[:3, 3].tolist() == list(pose[:3])


@given(POSES)
def test_a_matrix_becomes_the_same_pose(pose: tuple[float, ...]) -> None:
    assert np.allclose(matrix_of(pose_of(matrix_of(pose))), matrix_of(pose), atol=1e-9)


@pytest.mark.parametrize("pitch", [np.pi / 2, -np.pi / 2])
def test_a_pose_that_looks_straight_up_or_down(pitch: float) -> None:
    pose = (1.0, 2.0, 3.0, 0.4, pitch, -0.9)
    assert np.allclose(matrix_of(pose_of(matrix_of(pose))), matrix_of(pose), atol=1e-7)


@given(POSES, POSES, POSES)
def test_include_link_and_visual_place_one_in_the_other(
    one: tuple[float, ...], two: tuple[float, ...], three: tuple[float, ...]
) -> None:
    said = [" ".join(map(repr, pose)) for pose in (one, two, three)]
    model = MODEL.format(inside=f"<link><pose>{said[1]}</pose><visual><pose>{said[2]}</pose>{MESH}</visual></link>")
    world = world_of(f"<include><uri>model://m</uri><pose>{said[0]}</pose></include>")
    (shape,) = read(world, {"model://m": model}).shapes
    # the include's pose stands in for the model's own
    assert np.allclose(shape.matrix, matrix_of(one) @ matrix_of(two) @ matrix_of(three), atol=1e-9)


def test_a_model_keeps_its_own_pose_where_the_include_has_none() -> None:
    model = MODEL.format(inside=f"<link><visual>{MESH}</visual></link>")
    (shape,) = read(world_of("<include><uri>model://m</uri></include>"), {"model://m": model}).shapes
    assert shape.matrix[:3, 3].tolist() == [5.0, 5.0, 5.0]


@pytest.mark.parametrize("form", [GAZEBO_11, HARMONIC])
def test_both_forms_have_the_same_lights_and_scene(form: str) -> None:
    contents = read(form.format(name="a", sky="<sky/>", lights="", pose="0 0 0 0 0 0"))
    sun, lamp = contents.lights
    assert (sun.kind, sun.position, sun.diffuse, sun.specular) == ("directional", (0, 0, 15), (0.8,) * 3, (0.2,) * 3)
    assert np.allclose(sun.direction, np.array([-0.5, 0.1, -0.9]) / np.sqrt(1.07))
    assert (lamp.kind, lamp.position, lamp.diffuse) == ("point", (0, 0, 15), (0.225,) * 3)
    assert (lamp.constant, lamp.linear, lamp.quadratic, lamp.range_m) == (0.4, 0.01, 0.0, 50.0)
    scene = contents.scene
    assert (scene.ambient, scene.background, scene.has_sky, scene.shadows) == ((0.5,) * 3, (0.7,) * 3, True, False)
    assert contents.unread == ("w.world: model://models/a is not in the copy",)


def test_the_scene_that_nothing_is_said_of_is_sdfs() -> None:
    scene = read(world_of("")).scene
    assert (scene.ambient, scene.background, scene.has_sky) == ((0.4,) * 3, (0.7,) * 3, False)


def test_colours_above_one_are_of_255() -> None:
    light = '<light name="a" type="directional"><diffuse>64 128 1 0</diffuse></light>'
    assert read(world_of(light)).lights[0].diffuse == pytest.approx((64 / 255, 128 / 255, 1.0))


def test_a_lights_pose_turns_its_direction() -> None:
    light = '<light name="a" type="directional"><pose>50 0 50 0 0.7 0</pose><direction>0 0 -1</direction></light>'
    assert np.allclose(read(world_of(light)).lights[0].direction, [-np.sin(0.7), 0.0, -np.cos(0.7)])


def test_a_light_in_a_link_moves_with_it() -> None:
    spot = '<light name="a" type="spot"><pose>2 0 0 0 0 0</pose></light>'
    link = f'<model name="m"><link name="l"><pose>0 0 1 0 0 1.5707963267948966</pose>{spot}</link></model>'
    assert np.allclose(read(world_of(link)).lights[0].position, [0.0, 2.0, 1.0])


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("<sdf><world>", "whole XML"),
        ("<sdf></sdf>", "no <world>"),
        ("<robot></robot>", "begins with <sdf>"),
        ('<!DOCTYPE a [<!ENTITY b "c">]><sdf><world/></sdf>', "entities"),
        (world_of('<light name="a"><pose>1 2 three 0 0 0</pose></light>'), "6 numbers"),
        (world_of('<light name="a"><pose>1 2 nan 0 0 0</pose></light>'), "6 numbers"),
        (world_of('<light name="a"><diffuse>1 2</diffuse></light>'), "3 numbers"),
        (world_of("<model>" * 20 + "</model>" * 20), "nested"),
    ],
)
def test_a_broken_world_file_is_refused(text: str, said: str) -> None:
    with pytest.raises(InputError, match=said):
        read(text)


def test_a_model_that_includes_itself_ends() -> None:
    model = MODEL.format(inside="<include><uri>model://m</uri></include>")
    with pytest.raises(InputError, match="nested"):
        read(world_of("<include><uri>model://m</uri></include>"), {"model://m": model})


@pytest.mark.parametrize(
    ("kind", "size", "area", "volume"),
    [
        ("box", (1.0, 2.0, 3.0), 22.0, 6.0),
        ("plane", (2.0, 5.0), 10.0, 0.0),
        ("cylinder", (0.5, 2.0), 2 * np.pi * 0.25 + np.pi * 2.0, np.pi * 0.25 * 2),
        ("sphere", (1.5,), 4 * np.pi * 2.25, 4 / 3 * np.pi * 1.5**3),
    ],
)
def test_plain_shapes_have_their_area_and_volume_and_face_outwards(
    kind: str, size: tuple[float, ...], area: float, volume: float
) -> None:
    triangles, normals, uv = solid(kind, size)
    sides = np.cross(triangles[:, 1] - triangles[:, 0], triangles[:, 2] - triangles[:, 0])
    assert np.linalg.norm(sides, axis=1).sum() / 2 == pytest.approx(area, rel=0.02)
    assert np.einsum("ni,ni->", triangles[:, 0], sides) / 6 == pytest.approx(volume, rel=0.03, abs=1e-9)
    assert np.allclose(np.linalg.norm(normals, axis=-1), 1.0)
    assert (np.einsum("nki,ni->nk", normals, sides) > 0).all()
    assert uv.shape == (len(triangles), 3, 2)
