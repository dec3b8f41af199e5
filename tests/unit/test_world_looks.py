"""Other looks of a track: the common one, and those of imported worlds; and worlds from above."""

from pathlib import Path

import numpy as np
import pytest
import shapely

from contract.errors import InputError
from simapp.scene import Bodies, SceneRenderer
from simapp.tracks import Track, load_track
from simapp.worlds import World
from simapp.worlds.above import from_above, is_ground
from simapp.worlds.collada import read_mesh
from simapp.worlds.common import (
    DASH,
    GRASS,
    GRASS_RGB,
    LINE,
    LINE_M,
    ROAD,
    ROAD_RGB,
    ROUGHNESS,
    START,
    WALL,
    Paint,
    common_world,
    pictures,
)
from simapp.worlds.copies import worlds_in
from simapp.worlds.dae_file import dae_of
from simapp.worlds.importer import import_world
from simapp.worlds.looks import metres_a_repeat, restyled, roles_of
from tests.conftest import SHARED_REFERENCE
from tests.unit.made_worlds import Copy, Face, dae, flat, loop_route, plain_png
from undercut.cli.train import looking
from undercut.figures.track_picture import save_track_picture

REAL = SHARED_REFERENCE / "worlds" / "bundle"
RING = loop_route(3.0, 0.8, 240)


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))


def ring() -> Track:
    return Track("ring", RING)


def area(world: World, material: int) -> float:
    corners = world.triangles[world.material == material].astype(np.float64)
    return float(
        np.linalg.norm(np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0]), axis=1).sum() / 2
    )


@pytest.mark.parametrize("lines_outside", [False, True])
def test_the_common_look_covers_what_the_route_says(lines_outside: bool) -> None:
    """Against closed forms of a ring of 3 m radius, 0.8 m wide."""
    dash = (0.03, 0.05, 0.2)
    world = common_world(ring(), Paint(lines_outside=lines_outside, dash_m=dash, walls_m=2.0, start_line=True))
    low, high = 2.6, 3.4
    assert area(world, ROAD) == pytest.approx(np.pi * (high**2 - low**2), rel=2e-3)
    inner = (low - LINE_M, low) if lines_outside else (low, low + LINE_M)
    outer = (high, high + LINE_M) if lines_outside else (high - LINE_M, high)
    expected = np.pi * sum(b**2 - a**2 for a, b in (inner, outer))
    assert area(world, LINE) == pytest.approx(expected, rel=5e-3)
    lines = world.triangles[world.material == LINE][..., :2]
    radius = np.hypot(lines[..., 0], lines[..., 1])
    assert radius.min() == pytest.approx(inner[0], abs=0.01) and radius.max() == pytest.approx(outer[1], abs=0.01)
    assert area(world, DASH) == pytest.approx(round(2 * np.pi * 3.0 / 0.2) * 0.03 * 0.05, rel=0.02)
    assert area(world, GRASS) == pytest.approx((2 * (high + 2.0)) ** 2, rel=1e-3)
    assert world.triangles[world.material == WALL][..., 2].max() == 1.0
    assert area(world, START) == pytest.approx((0.8 - 2 * LINE_M) * 0.23, rel=0.01)


def test_a_world_of_the_common_look_faces_up_and_lies_in_order() -> None:
    world = common_world(ring())
    flat_ones = world.material != WALL
    corners = world.triangles.astype(np.float64)
    faces = np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0])
    assert (faces[flat_ones, 2] > 0).all()
    assert (np.einsum("ni,nki->nk", faces, world.normals) > 0).all()
    heights = [world.triangles[world.material == m][..., 2].max() for m in (GRASS, ROAD, LINE, START)]
    assert heights == sorted(heights) and len(set(heights)) == 4
    assert [light.kind for light in world.lights] == ["directional", "point"] and world.scene.has_sky


def test_walls_and_start_line_can_be_left_out() -> None:
    world = common_world(ring(), Paint(walls_m=None, start_line=False))
    assert not {WALL, START} & set(world.material.tolist())
    assert world.triangles[..., :2].max() > 50


def test_textures_have_the_means_and_the_roughness_of_the_official_ones() -> None:
    made = {picture.name: picture.pixels().astype(np.float64) for picture in pictures()}
    for name, rgb in (("road", ROAD_RGB), ("grass", GRASS_RGB)):
        pixels = made[f"textures/{name}.png"]
        assert np.allclose(pixels.mean(axis=(0, 1)), rgb, atol=0.5)
        grey = pixels @ [0.299, 0.587, 0.114]
        for k, spread in enumerate(ROUGHNESS[name]):
            size = 1 << k
            blocks = grey.reshape(len(grey) // size, size, -1, size).mean(axis=(1, 3))
            assert blocks.std() == pytest.approx(spread, rel=0.12)
    assert all(np.array_equal(one.pixels(), two.pixels()) for one, two in zip(pictures(), pictures(), strict=True))


def test_a_written_mesh_is_read_as_the_same_world() -> None:
    world = common_world(ring())
    parts, notes = read_mesh(dae_of(world, "meshes/made"), "x.dae")
    assert notes == []
    for index, part in zip(np.unique(world.material).tolist(), parts, strict=True):
        mine = world.material == index
        assert np.allclose(part.triangles, world.triangles[mine], atol=1e-5)
        assert np.allclose(part.normals, world.normals[mine], atol=1e-5)
        assert np.allclose(part.uv, world.uv[mine], atol=1e-5)
        told = world.materials[index]
        assert (part.material.ambient, part.material.specular) == (told.ambient, told.specular)
        assert part.texture == f"../../{world.pictures[told.picture].name}"


def made_world(tmp_path: Path, name: str = "Given", tone: int = 10, route: np.ndarray | None = None) -> Path:
    """An imported world whose road, field and lines are plain colours; its road is a ring like RING's."""
    track = Track("x", RING if route is None else route)
    base = common_world(track, Paint(walls_m=1.0))
    textures = {f"{k}.png": plain_png(tone + k, tone + k, tone + k) for k in range(5)}
    copy = Copy(tmp_path / f"copy_{name}")
    meshes = {"world.dae": dae_of(base, "").replace(b"textures/", b"textures/made_")}
    own = {f"made_{picture.name.split('/')[1]}": picture.data() for picture in base.pictures}
    for k, picture in enumerate(("grass", "road", "line", "dash", "wall")):
        own[f"made_{picture}.png"] = textures[f"{k}.png"]
    copy.add(name, meshes, own, sky="", route=RING if route is None else route)
    (source,) = worlds_in(copy.root, "x")[0].values()
    assert import_world(source, tmp_path / "tracks").status == "imported"
    return tmp_path / "tracks" / name


def test_the_parts_of_a_world_are_found_by_where_they_lie(tmp_path: Path) -> None:
    world = World.load(made_world(tmp_path))
    names = {role: [world.materials[i].name for i in found] for role, found in roles_of(world).items()}
    assert names == {
        "field": [f"m{GRASS}"], "road": [f"m{ROAD}"], "line": [f"m{LINE}"], "dash": [f"m{DASH}"], "wall": [f"m{WALL}"],
    }  # fmt: skip


@pytest.mark.skipif(not REAL.is_dir(), reason="the official worlds lie beside a development checkout only")
def test_the_parts_of_official_worlds(tmp_path: Path) -> None:
    for name, walled in (("reInvent2019_track", True), ("Bowtie_track", False)):
        import_world(worlds_in(REAL, "x")[0][name], tmp_path / "tracks")
        world = World.load(tmp_path / "tracks" / name)
        parts = roles_of(world)
        shown = {
            role: [world.pictures[world.materials[i].picture].name.rpartition("_")[2] for i in found]
            for role, found in parts.items()
        }
        assert shown["road"] == ["road.png"] and shown["field"] == ["field.png"]
        assert shown["line"] == ["outerLine.png"] * 2 and shown["dash"] == ["centerLine.png"]
        assert bool(shown["wall"]) == walled


def test_a_road_with_the_surfaces_sky_and_light_of_another(tmp_path: Path) -> None:
    giver = World.load(made_world(tmp_path))
    world = restyled(common_world(ring()), giver)
    assert (world.lights, world.scene) == (giver.lights, giver.scene)
    tones = [int(world.pictures[it.picture].pixels().mean()) for it in world.materials[:5]]
    assert tones == [11, 10, 12, 13, 14]
    for role in ("road", "field"):
        mine, theirs = roles_of(world)[role][0], roles_of(giver)[role][0]
        assert metres_a_repeat(world, mine) == pytest.approx(metres_a_repeat(giver, theirs), rel=1e-3)


def test_a_tracks_name_says_how_it_looks(tmp_path: Path) -> None:
    tracks = tmp_path / "tracks"
    made_world(tmp_path)
    assert load_track("paddock", [tracks]).world is None
    common = load_track("paddock_cw@common", [tracks])
    assert (common.name, common.direction, common.source) == ("paddock_cw@common", "cw", "shipped")
    assert common.world is not None and World.load(common.world).source == "made of paddock_cw and common"
    assert load_track("paddock_cw@common", [tracks]).world == common.world
    given = load_track("paddock@Given", [tracks])
    assert given.world is not None and World.load(given.world).scene.has_sky is False
    assert load_track("Given@classic", [tracks]).world is None
    assert load_track("Given@common", [tracks]).world not in (None, tracks / "Given")
    with pytest.raises(InputError, match="a look is classic, common, or the name of an imported world"):
        load_track("paddock@nowhere", [tracks])


def test_a_file_beside_a_track_says_how_it_is_painted(tmp_path: Path) -> None:
    np.save(tmp_path / "mine.npy", RING)
    path = tmp_path / "mine.look.yaml"
    path.write_text(
        "look: common\nlines_outside: true\ndash_m: [0.0762, 0.0762, 0.2]\nwalls_m: none\nstart_line: false\n"
    )
    assert Paint.beside(tmp_path / "mine.npy") == Paint(True, (0.0762, 0.0762, 0.2), None, False, "common")
    track = load_track("mine", [tmp_path])
    assert track.name == "mine" and track.world is not None
    assert World.load(track.world).triangles[..., :2].max() > 50
    assert load_track("mine@classic", [tmp_path]).world is None


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("lines: true", "line"),
        ("lines_outside: maybe", "lines_outside"),
        ("dash_m: 0.1", "three numbers"),
        ("dash_m: [0.1, 0.2, 0.2]", "shorter"),
        ("walls_m: -1", "walls_m"),
        ("look: nowhere", "a look is"),
    ],
)
def test_a_broken_look_is_told_with_its_file(text: str, said: str, tmp_path: Path) -> None:
    np.save(tmp_path / "mine.npy", RING)
    (tmp_path / "mine.look.yaml").write_text(text)
    with pytest.raises(InputError, match=said):
        load_track("mine", [tmp_path])


def test_each_track_in_each_look() -> None:
    assert looking(["a", "b"], None) == ["a", "b"]
    assert looking(["a", "b@c"], ["own", "common"]) == ["a", "a@common", "b", "b@common"]
    assert looking(None, ["common"]) == ["paddock@common"]


def test_from_above_the_uppermost_face_shows_and_undersides_do_not(tmp_path: Path) -> None:
    faces = [
        Face(flat(-2, -2, 2, 2), texture="textures/a.png"),
        Face(flat(-1, -1, 0, 1, 0.01), diffuse="1 0 0 1"),
        Face(flat(-2, -2, 2, 2, 9.0)[::-1], diffuse="0 0 1 1"),  # a sky, seen from below
    ]
    copy = Copy(tmp_path / "c").add("W", {"a.dae": dae(faces)}, {"a.png": plain_png(7, 8, 9)})
    import_world(worlds_in(copy.root, "x")[0]["W"], tmp_path / "tracks")
    world = World.load(tmp_path / "tracks/W")
    everything = np.ones(world.triangle_count, np.bool_)
    picture = from_above(world, everything, (-3.0, -3.0), 0.1, (60, 60), np.array([50.0, 60.0, 70.0]))
    x = -3.0 + 0.1 * (np.arange(60) + 0.5)
    for box, rgb in (
        (shapely.box(-0.95, -0.95, -0.05, 0.95), [255, 0, 0]),
        (shapely.box(0.05, -1.9, 1.9, 1.9), [7, 8, 9]),
    ):
        within = shapely.contains_xy(box, *np.meshgrid(x, x))
        assert (picture[within] == rgb).all()
    assert (picture[:9] == [50, 60, 70]).all()
    assert is_ground(world).tolist() == [True] * 4 + [False] * 2


def test_maps_and_videos_show_an_imported_world(tmp_path: Path) -> None:
    made_world(tmp_path, tone=200, route=loop_route(0.8, 0.5))
    track = load_track("Given", [tmp_path / "tracks"])
    renderer = SceneRenderer(track, 160, 120)
    pose = track.pose_at([1.0])
    bodies = Bodies.cars(pose.x_m, pose.y_m, pose.heading_rad, [0.0], [0])
    for view in ("topview", "45degree", "pip", "front"):
        picture = renderer.render(view, bodies)
        assert (np.abs(picture.astype(int) - 200) < 8).all(axis=-1).mean() > 0.2  # field and road are about 200
    save_track_picture(track, tmp_path / "map.png")
    assert (tmp_path / "map.png").stat().st_size > 10_000
