"""Copies of the simulator become ./tracks/NAME/: what is taken, what is told to be missing, and what nothing may do."""

from pathlib import Path

import numpy as np
import pytest

from contract.errors import InputError
from simapp.tracks import available_tracks, load_track
from simapp.worlds import World, WorldPicture
from simapp.worlds.copies import opened, worlds_in
from simapp.worlds.importer import ImportedWorld, import_world, import_worlds
from simapp.worlds.packed import pack, unpacked
from tests.conftest import SHARED_REFERENCE
from tests.unit.made_worlds import HARMONIC, Copy, Face, dae, flat, plain_png, png

REAL = SHARED_REFERENCE / "worlds" / "bundle"
GROUND = [
    Face(flat(-5, -5, 5, 5), texture="textures/grass.png"),
    Face(flat(-1, -1, 1, 1, 0.01), diffuse="0.1 0.2 0.3 1"),
]
WALL = Face([[2, 2, 0], [3, 2, 0], [3, 2, 1], [2, 2, 1]], texture="textures/tree.png")


@pytest.fixture
def copy(tmp_path: Path) -> Copy:
    return Copy(tmp_path / "bundle")


def grass() -> dict[str, bytes]:
    return {"grass.png": plain_png(120, 130, 60)}


def plain(copy: Copy, name: str = "Made_track") -> Copy:
    return copy.add(name, {"ground.dae": dae(GROUND)}, grass())


def imported(copy: Path, tracks: Path, replace: bool = False) -> list[ImportedWorld]:
    with opened(copy) as folder:
        sources, _ = worlds_in(folder, str(copy))
        return [import_world(source, tracks, replace) for source in sources.values()]


def one(copy: Copy, tracks: Path) -> World:
    (done,) = imported(copy.root, tracks)
    assert done.status == "imported", done
    return World.load(tracks / done.name)


def test_a_world_keeps_all_that_is_seen_of_it(copy: Copy, tmp_path: Path) -> None:
    world = one(plain(copy), tmp_path / "tracks")
    assert (world.name, world.source, world.unread) == ("Made_track", str(copy.root), ())
    assert world.triangles.shape == (4, 3, 3)
    assert world.triangles[..., :2].min() == -5 and world.triangles[..., 2].max() == pytest.approx(0.01)
    grassy, blue = (world.materials[i] for i in world.material[[0, 2]])
    assert (grassy.diffuse, grassy.is_cutout) == ((1.0, 1.0, 1.0), False)
    assert (blue.picture, blue.diffuse) == (-1, (0.1, 0.2, 0.3))
    assert world.pictures[grassy.picture].pixels().reshape(-1, 3).tolist() == [[120, 130, 60]] * 64
    assert world.scene.has_sky and len(world.lights) == 2
    assert (tmp_path / "tracks/Made_track/files/meshes/Made_track/ground.dae").read_bytes() == dae(GROUND)
    assert [visual.mesh for visual in world.visuals] == ["meshes/Made_track/ground.dae"]


def test_a_track_is_found_by_its_worlds_name_in_both_directions(copy: Copy, tmp_path: Path) -> None:
    tracks = tmp_path / "tracks"
    one(plain(copy), tracks)
    assert "Made_track" in available_tracks([tracks])
    for name, direction in (("Made_track", "ccw"), ("Made_track_cw", "cw"), ("Made_track_ccw", "ccw")):
        track = load_track(name, [tracks])
        assert (track.name, track.direction, track.world) == (name, direction, tracks / "Made_track")
    assert load_track(str(tracks / "Made_track")).world == tracks / "Made_track"
    assert load_track("Made_track", [tracks]).reversed().world == tracks / "Made_track"
    assert load_track("paddock", [tracks]).world is None


def test_what_is_there_is_kept_unless_it_is_to_be_replaced(copy: Copy, tmp_path: Path) -> None:
    tracks = tmp_path / "tracks"
    one(plain(copy), tracks)
    copy.write("meshes/Made_track/ground.dae", dae(GROUND[:1]))
    before = (tracks / "Made_track/world.npz").read_bytes()
    assert imported(copy.root, tracks) == [ImportedWorld("Made_track", "kept")]
    assert (tracks / "Made_track/world.npz").read_bytes() == before
    assert imported(copy.root, tracks, replace=True)[0].status == "imported"
    assert World.load(tracks / "Made_track").triangle_count == 2
    assert sorted(path.name for path in tracks.iterdir()) == ["Made_track"]


def test_poses_scale_and_unit_are_applied_one_in_the_other(copy: Copy, tmp_path: Path) -> None:
    mesh = dae([Face(flat(0, 0, 100, 100), diffuse="1 1 1 1")], unit='<unit meter="0.01" name="centimeter"/>')
    copy.add(
        "W", {"a.dae": mesh}, pose="10 0 0 0 0 1.5707963267948966", poses={"a.dae": "0 3 0 0 0 0"},
        scale="<scale>2 1 1</scale>", form=HARMONIC,
    )  # fmt: skip
    world = one(copy, tmp_path / "tracks")
    # 2 x 1 m, moved 3 m to its left, then turned left and moved 10 m ahead
    low, high = world.triangles.min(axis=(0, 1)), world.triangles.max(axis=(0, 1))
    assert np.allclose([low, high], [[6.0, 0.0, 0.0], [7.0, 2.0, 0.0]], atol=1e-5)
    assert np.allclose(world.normals, [0, 0, 1], atol=1e-6)
    (visual,) = world.visuals
    assert visual.pose == pytest.approx((7.0, 0.0, 0.0, 0.0, 0.0, np.pi / 2)) and visual.scale == (2.0, 1.0, 1.0)


HOLES = np.concatenate([np.full((4, 8, 4), (9, 90, 9, 0), np.uint8), np.full((4, 8, 4), (9, 90, 9, 255), np.uint8)])
BLENDED = (
    '<transparent opaque="RGB_ZERO"><color>1 1 1 1</color></transparent>'
    "<transparency><float>0.01</float></transparency>"
)


@pytest.mark.parametrize(("more", "texture", "is_cutout"), [
    ("", HOLES, False),
    (BLENDED, HOLES, True),
    (BLENDED, HOLES[4:], False),
    (BLENDED, HOLES[..., :3], False),
])  # fmt: skip
def test_a_cut_out_is_a_texture_with_holes_that_gazebo_blends(
    more: str, texture: np.ndarray, is_cutout: bool, copy: Copy, tmp_path: Path
) -> None:
    copy.add("W", {"a.dae": dae([Face(WALL.corners, texture=WALL.texture, more=more)])}, {"tree.png": png(texture)})
    (material,) = one(copy, tmp_path / "tracks").materials
    assert material.is_cutout == is_cutout


def test_invisible_surfaces_are_left_out(copy: Copy, tmp_path: Path) -> None:
    hidden = (
        '<transparent opaque="A_ONE"><color>1 1 1 1</color></transparent><transparency><float>0</float></transparency>'
    )
    copy.add("W", {"a.dae": dae([*GROUND, Face(flat(0, 0, 1, 1, 1), more=hidden)])}, grass())
    assert one(copy, tmp_path / "tracks").triangle_count == 4


@pytest.mark.parametrize(
    "damage", ["mesh_missing", "mesh_cut", "texture_missing", "texture_no_picture", "windows_path", "light_only"]
)
def test_what_cannot_be_read_is_told_and_the_rest_is_taken(damage: str, copy: Copy, tmp_path: Path) -> None:
    meshes, textures = {"ground.dae": dae(GROUND), "wall.dae": dae([WALL])}, {**grass(), "tree.png": plain_png(1, 2, 3)}
    if damage == "mesh_cut":
        meshes["wall.dae"] = meshes["wall.dae"][:2000]
    elif damage == "texture_no_picture":
        textures["tree.png"] = b"no picture"
    elif damage == "texture_missing":
        del textures["tree.png"]
    elif damage == "windows_path":
        meshes["wall.dae"] = dae([Face(WALL.corners, texture="C:\\Users\\x\\tree.png")])
    elif damage == "light_only":
        meshes["wall.dae"] = dae([], lights_only=True)
    copy.add("W", meshes, textures)
    if damage == "mesh_missing":
        (copy.root / "meshes/W/wall.dae").unlink()
    world = one(copy, tmp_path / "tracks")
    assert world.triangle_count == (6 if "texture" in damage or "windows" in damage else 4)
    if damage == "light_only":
        assert world.unread == ()
    else:
        (line,) = world.unread
        assert ("wall.dae" if "mesh" in damage else "tree.png") in line
    # Gazebo draws white where the texture is missing
    whites = [material for material in world.materials if material.picture < 0 and material.diffuse == (1.0, 1.0, 1.0)]
    assert len(whites) == ("texture" in damage or "windows" in damage)


@pytest.mark.parametrize("config", [None, b"no config", b"<model><sdf version='1.7'>gone.sdf</sdf></model>"])
def test_a_model_is_found_without_its_config(config: bytes | None, copy: Copy, tmp_path: Path) -> None:
    plain(copy)
    (copy.root / "models/Made_track/model.config").unlink()
    if config is not None:
        copy.write("models/Made_track/model.config", config)
    assert one(copy, tmp_path / "tracks").triangle_count == 4


def test_the_newest_sdf_of_a_model_counts(copy: Copy, tmp_path: Path) -> None:
    plain(copy)
    copy.write("models/Made_track/old.sdf", b"<sdf version='1.4'><model name='m'/></sdf>")
    names = {"1.4": "old.sdf", "1.10": "Made_track_model.sdf", "1.7": "old.sdf"}
    told = "".join(f"<sdf version='{version}'>{name}</sdf>" for version, name in names.items())
    copy.write("models/Made_track/model.config", f"<model>{told}</model>".encode())
    assert one(copy, tmp_path / "tracks").triangle_count == 4


@pytest.mark.parametrize(
    ("file", "content", "said"),
    [
        ("routes/W.npy", b"no route", "whole .npy"),
        ("worlds/W.world", b"<sdf>", "whole XML"),
        ("models/W/W_model.sdf", b"<sdf>", "something that can be read"),
        ("meshes/W/ground.dae", b"<COLLADA", "something that can be read"),
    ],
)
def test_a_world_without_anything_to_drive_on_or_see_fails_and_writes_nothing(
    file: str, content: bytes, said: str, copy: Copy, tmp_path: Path
) -> None:
    copy.add("W", {"ground.dae": dae(GROUND)}, grass()).write(file, content)
    (done,) = imported(copy.root, tmp_path / "tracks")
    assert done.status == "failed" and said in done.notes[0]
    assert not (tmp_path / "tracks").exists() or not list((tmp_path / "tracks").iterdir())


def test_a_mesh_of_ten_million_triangles_is_left_out(copy: Copy, tmp_path: Path) -> None:
    many = dae([WALL]).replace(b'count="2"><input', b'count="10000000"><input')
    copy.add("W", {"ground.dae": dae(GROUND), "wall.dae": many}, grass())
    world = one(copy, tmp_path / "tracks")
    assert world.triangle_count == 4
    assert "at most 1000000 triangles" in world.unread[0]


@pytest.mark.slow
def test_many_worlds_in_processes_are_the_same_as_one_by_one(copy: Copy, tmp_path: Path) -> None:
    for name in ("A", "B", "C"):
        plain(copy, name)
    sources = list(worlds_in(copy.root, "x")[0].values())
    told: list[str] = []
    done = import_worlds(sources, tmp_path / "many", jobs=2, tell=lambda it: told.append(it.name))
    assert [it.status for it in done] == ["imported"] * 3 and sorted(told) == ["A", "B", "C"]
    import_worlds(sources, tmp_path / "alone", jobs=1)
    for path in sorted((tmp_path / "many").rglob("*.*")):
        if path.is_file() and path.suffix != ".npz":
            assert path.read_bytes() == (tmp_path / "alone" / path.relative_to(tmp_path / "many")).read_bytes()


def test_a_packed_world_is_the_same_world(copy: Copy, tmp_path: Path) -> None:
    tracks = tmp_path / "tracks"
    world = one(plain(copy), tracks)
    data = pack(tracks / "Made_track")
    assert pack(tracks / "Made_track") == data
    folder = unpacked(data, "x", tmp_path / "cache")
    assert np.array_equal(World.load(folder).triangles, world.triangles)
    assert unpacked(data, "x", tmp_path / "cache") == folder
    for broken in (data[:100], b"nothing", data[:-30]):
        with pytest.raises(InputError, match=r"w\.zip"):
            unpacked(broken, "w.zip", tmp_path / "cache")
    assert [it.name for it in (tmp_path / "cache").iterdir()] == [folder.name]


@pytest.mark.parametrize("break_it", ["form", "fields", "arrays", "cut", "picture"])
def test_a_broken_world_folder_is_told(break_it: str, copy: Copy, tmp_path: Path) -> None:
    folder = tmp_path / "tracks/Made_track"
    one(plain(copy), tmp_path / "tracks")
    told = (folder / "world.json").read_text()
    change = {
        "form": told.replace('"form": 1', '"form": 99'),
        "fields": told.replace('"has_sky"', '"had_sky"'),
        "picture": told.replace("meshes/Made_track/textures", "../.."),
        "cut": told[:-20],
    }
    if break_it == "arrays":
        (folder / "world.npz").write_bytes((folder / "world.npz").read_bytes()[:200])
    else:
        (folder / "world.json").write_text(change[break_it])
    with pytest.raises(InputError, match=r"world\.json|stays below"):
        World.load(folder)


def test_pictures_that_are_none_are_refused() -> None:
    for content in (b"", b"text", plain_png(1, 2, 3)[:50]):
        with pytest.raises(InputError, match=r"t\.png"):
            WorldPicture("t.png", content).pixels()


@pytest.mark.skipif(not REAL.is_dir(), reason="the official worlds lie beside a development checkout only")
def test_the_official_worlds(tmp_path: Path) -> None:
    done = {it.name: it for it in imported(REAL, tmp_path / "tracks")}
    assert {it.status for it in done.values()} == {"imported"} and len(done) == 5
    assert len(done["Vegas_track"].notes) == 2  # two files are missing in that copy
    assert all(not it.notes for it in done.values() if it.name != "Vegas_track")
    for name in done:
        world, track = World.load(tmp_path / "tracks" / name), load_track(name, [tmp_path / "tracks"])
        xmin, ymin, xmax, ymax = track.bounds
        low, high = world.triangles.min(axis=(0, 1)), world.triangles.max(axis=(0, 1))
        assert (low[:2] < [xmin, ymin]).all() and (high[:2] > [xmax, ymax]).all()
        assert world.triangle_count < 110_000 and world.triangles.nbytes < 5e6
        # what the centre line runs over is flat, and where the car stands
        for point in track.centre[::10]:
            assert 0.0 <= max(z for z in heights(world, *point) if z < 0.5) < 0.005


def heights(world: World, x: float, y: float) -> list[float]:
    """Of all surfaces above and below a point, by barycentric coordinates."""
    a, b, c = (world.triangles[:, i].astype(np.float64) for i in range(3))
    with np.errstate(divide="ignore", invalid="ignore"):
        whole = (b[:, 1] - c[:, 1]) * (a[:, 0] - c[:, 0]) + (c[:, 0] - b[:, 0]) * (a[:, 1] - c[:, 1])
        u = ((b[:, 1] - c[:, 1]) * (x - c[:, 0]) + (c[:, 0] - b[:, 0]) * (y - c[:, 1])) / whole
        v = ((c[:, 1] - a[:, 1]) * (x - c[:, 0]) + (a[:, 0] - c[:, 0]) * (y - c[:, 1])) / whole
        within = (u >= -1e-6) & (v >= -1e-6) & (u + v <= 1 + 1e-6)
        found = (u * a[:, 2] + v * b[:, 2] + (1 - u - v) * c[:, 2])[within]
    return [float(z) for z in found]
