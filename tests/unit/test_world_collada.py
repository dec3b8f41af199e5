"""COLLADA as Gazebo 11 reads it; grey levels beside cases were measured there with quads of made-up materials."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.spatial.transform import Rotation

from contract.errors import InputError
from simapp.worlds.collada import MAX_TRIANGLES, read_mesh
from tests.unit.made_worlds import Face, dae, flat

QUAD = flat(1.0, 2.0, 3.0, 4.0, 0.5)


def area(triangles: np.ndarray) -> float:
    sides = np.cross(triangles[:, 1] - triangles[:, 0], triangles[:, 2] - triangles[:, 0])
    return float(np.linalg.norm(sides, axis=1).sum() / 2)


def test_corners_normals_and_texture_coordinates() -> None:
    (part,), notes = read_mesh(dae([Face(QUAD, texture="textures/a.png")]), "x.dae")
    assert notes == []
    assert (part.texture, part.material.name, part.submesh) == ("textures/a.png", "m0", "n0")
    assert part.triangles.tolist() == [[QUAD[0], QUAD[1], QUAD[2]], [QUAD[0], QUAD[2], QUAD[3]]]
    assert np.allclose(part.normals, [0, 0, 1])
    # COLLADA's t grows upwards, a picture's rows downwards
    assert part.uv.tolist() == [[[0, 1], [1, 1], [1, 0]], [[0, 1], [1, 0], [0, 0]]]


@pytest.mark.parametrize("as_polylist", [False, True])
def test_polygons_are_cut_into_the_same_triangles(as_polylist: bool) -> None:
    (part,), _ = read_mesh(dae([Face(QUAD)], as_polylist=as_polylist), "x.dae")
    assert part.triangles.tolist() == [[QUAD[0], QUAD[1], QUAD[2]], [QUAD[0], QUAD[2], QUAD[3]]]


@pytest.mark.parametrize(
    ("unit", "scale"),
    [
        ('<unit name="meter" meter="1"/>', 1.0),
        ('<unit meter="0.0254" name="inch"/>', 0.0254),
        ('<unit meter="0.010000" name="centimeter"/>', 0.01),
        ('<unit meter="1.000000" name="centimeter"/>', 1.0),  # the number counts, as in the official field.dae
        ("", 1.0),
    ],
)
def test_the_unit_scales_everything(unit: str, scale: float) -> None:
    (part,), _ = read_mesh(dae([Face(QUAD)], unit=unit), "x.dae")
    assert np.allclose(part.triangles[0], np.array(QUAD[:3]) * scale, rtol=1e-6)


@pytest.mark.parametrize("axis", ["Y_UP", "Z_UP", "X_UP"])
def test_the_up_axis_is_ignored_as_in_gazebo(axis: str) -> None:
    (part,), _ = read_mesh(dae([Face(QUAD)], up_axis=axis), "x.dae")
    assert np.allclose(part.triangles[0], QUAD[:3])


@given(st.tuples(*[st.floats(-3.0, 3.0)] * 3), st.tuples(*[st.floats(-20.0, 20.0)] * 3))
def test_a_node_places_its_mesh(angles: tuple[float, ...], offset: tuple[float, ...]) -> None:
    turn = Rotation.from_euler("xyz", angles)
    matrix = np.eye(4)
    matrix[:3, :3], matrix[:3, 3] = turn.as_matrix(), offset
    (part,), _ = read_mesh(dae([Face(QUAD)], matrix=" ".join(map(repr, matrix.ravel().tolist()))), "x.dae")
    assert np.allclose(part.triangles[0], turn.apply(QUAD[:3]) + offset, atol=1e-4)
    assert np.allclose(part.normals, turn.apply([0, 0, 1]), atol=1e-5)
    assert area(part.triangles) == pytest.approx(4.0, rel=1e-4)


SHINY = "<specular><color>0.5 0.25 0 1</color></specular><shininess><float>50</float></shininess>"


def clear(mode: str, colour: str, amount: float) -> str:
    return (
        f'<transparent opaque="{mode}"><color>{colour}</color></transparent>'
        f"<transparency><float>{amount}</float></transparency>"
    )


@pytest.mark.parametrize(
    ("face", "diffuse", "ambient", "opacity"),
    [
        (Face(QUAD, texture="a.png"), 1.0, 0.0, 1.0),
        (Face(QUAD, texture="a.png", ambient=None), 1.0, 0.4, 1.0),  # 33 of 255 where lights gave 13
        (Face(QUAD, diffuse="0.8 0.8 0.8 1", ambient=None), 0.8, 0.4, 1.0),
        (Face(QUAD, texture="a.png", kind="constant"), 0.5, 0.4, 1.0),  # 68
        (Face(QUAD, texture="a.png", more=clear("A_ONE", "1 1 1 1", 1.0)), 1.0, 0.0, 1.0),
        (Face(QUAD, texture="a.png", more=clear("A_ONE", "1 1 1 1", 0.5)), 1.0, 0.0, 0.5),  # 96, half of what is behind
        (Face(QUAD, texture="a.png", more=clear("A_ONE", "1 1 1 1", 0.0)), 1.0, 0.0, 0.0),  # nothing to see
        (Face(QUAD, texture="a.png", more=clear("RGB_ZERO", "0 0 0 1", 1.0)), 1.0, 0.0, 1.0),
        (Face(QUAD, texture="a.png", more=clear("RGB_ZERO", "1 1 1 1", 0.01)), 1.0, 0.0, 0.99),
        (
            Face(
                QUAD,
                texture="a.png",
                more='<transparent opaque="A_ONE"><texture texture="SAMPLER" texcoord="UVMap"/></transparent>'
                "<transparency><float>0</float></transparency>",
            ),
            1.0,
            0.0,
            1.0,
        ),  # a texture of transparency does nothing, whatever its number
    ],
)
def test_materials_as_gazebo_was_measured_to_take_them(
    face: Face, diffuse: float, ambient: float, opacity: float
) -> None:
    (part,), _ = read_mesh(dae([face]), "x.dae")
    assert part.material.diffuse == pytest.approx((diffuse,) * 3)
    assert part.material.ambient == pytest.approx((ambient,) * 3)
    assert part.material.opacity == pytest.approx(opacity, abs=1e-5)


def test_specular_colour_and_shininess() -> None:
    (part,), _ = read_mesh(dae([Face(QUAD, more=SHINY)]), "x.dae")
    assert (part.material.specular, part.material.shininess) == ((0.5, 0.25, 0.0), 50.0)


def test_a_file_of_lights_has_no_parts_and_nothing_wrong() -> None:
    assert read_mesh(dae([], lights_only=True), "light.dae") == ([], [])


BOMB = b'<?xml version="1.0"?><!DOCTYPE a [<!ENTITY b "x">]><COLLADA/>'


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (dae([Face(QUAD)])[:900], "whole COLLADA"),
        (b"", "XML"),
        (b"PK\x03\x04 a zip", "XML"),
        (b"<html></html>", "whole COLLADA"),
        (BOMB, "entities"),
        (
            dae([Face(QUAD)]).replace(b'count="2"><input', b'count="10000000"><input'),
            f"at most {MAX_TRIANGLES} triangles",
        ),
    ],
)
def test_what_is_no_mesh_is_refused_with_its_name(content: bytes, said: str) -> None:
    with pytest.raises(InputError, match=rf"x\.dae(.|\n)*{said}"):
        read_mesh(content, "x.dae")


def test_a_geometry_with_an_index_out_of_range_is_left_out_and_told() -> None:
    content = dae([Face(QUAD), Face(QUAD)]).replace(b"0 0 0 1 0 1", b"0 0 0 1 0 7000", 1)
    parts, notes = read_mesh(content, "x.dae")
    assert [part.submesh for part in parts] == ["n1"]
    assert len(notes) > 0 and all(note.startswith("x.dae") for note in notes)


@given(st.data())
def test_any_damage_is_an_input_error_or_still_a_mesh(data: st.DataObject) -> None:
    content = bytearray(dae([Face(QUAD, texture="a.png")]))
    for _ in range(data.draw(st.integers(1, 4))):
        at = data.draw(st.integers(0, len(content) - 1))
        content[at : at + data.draw(st.integers(0, 8))] = data.draw(st.binary(max_size=6))
    try:
        parts, _ = read_mesh(bytes(content), "x.dae")
    except InputError:
        return
    for part in parts:
        assert np.isfinite(part.triangles).all() and np.isfinite(part.normals).all()
