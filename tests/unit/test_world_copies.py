"""What a racer's copy may be, and what its names and archives may not do."""

import io
import shutil
import tarfile
import zipfile
from pathlib import Path

import numpy as np
import pytest

from contract.errors import InputError
from simapp.worlds import World, copies
from simapp.worlds.copies import WorldSource, worlds_in
from simapp.worlds.form import plain_parts
from tests.unit.made_worlds import Copy, Face, dae, plain_png
from tests.unit.test_world_import import GROUND, WALL, copy, grass, imported, one, plain

__all__ = ["copy"]


@pytest.mark.parametrize("form", ["folder", "above", "zip", "tar", "tar.gz", "image"])
def test_every_form_of_a_copy_gives_the_same_world(form: str, copy: Copy, tmp_path: Path) -> None:
    plain(copy)
    expected = one(copy, tmp_path / "one")
    deep = tmp_path / "root/opt/share/deepracer_simulation_environment"
    shutil.copytree(copy.root, deep)
    path = tmp_path / "copy.zip" if form == "zip" else tmp_path / "copy.tar"
    if form == "zip":
        with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as packed:
            for file in sorted(copy.root.rglob("*.*")):
                packed.write(file, f"deepracer-simapp-main/bundle/{file.relative_to(copy.root)}")
    elif form in ("tar", "tar.gz"):
        with tarfile.open(path, "w:gz" if form == "tar.gz" else "w") as packed:
            packed.add(tmp_path / "root", "./")
    elif form == "image":
        layer = io.BytesIO()
        with tarfile.open(fileobj=layer, mode="w") as packed:
            packed.add(tmp_path / "root", ".")
        with tarfile.open(path, "w") as packed:
            for name, content in (
                ("manifest.json", b"[]"),
                ("blobs/sha256/ab12", b"{}"),
                ("cd34/layer.tar", layer.getvalue()),
            ):
                member = tarfile.TarInfo(name)
                member.size = len(content)
                packed.addfile(member, io.BytesIO(content))
    source = {"folder": copy.root, "above": tmp_path / "root"}.get(form, path)
    (done,) = imported(source, tmp_path / "two")
    assert (done.status, done.notes) == ("imported", ())
    world = World.load(tmp_path / "two/Made_track")
    for name in ("triangles", "normals", "uv", "material", "route"):
        assert np.array_equal(getattr(world, name), getattr(expected, name))
    assert world.lights == expected.lights and world.materials == expected.materials


def test_uris_and_textures_that_leave_the_copy_are_nothing(copy: Copy, tmp_path: Path) -> None:
    (tmp_path / "secret.dae").write_bytes(dae(GROUND))
    (tmp_path / "secret.png").write_bytes(plain_png(1, 1, 1))
    copy.add("W", {"ground.dae": dae([*GROUND, Face(WALL.corners, texture="../../../secret.png")])}, grass())
    model = (copy.root / "models/W/W_model.sdf").read_text()
    more = model.replace("model://meshes/W/ground.dae", "model://../secret.dae")
    both = model.replace("<static>", f"{more[more.index('<link') : more.index('<static>')]}<static>")
    copy.write("models/W/W_model.sdf", both.encode())
    world = one(copy, tmp_path / "tracks")
    assert world.triangle_count == 6
    assert len(world.unread) == 2 and all("secret" in line for line in world.unread)
    assert not list((tmp_path / "tracks").rglob("secret*"))


def test_links_that_leave_the_copy_are_nothing(copy: Copy, tmp_path: Path) -> None:
    (tmp_path / "secret.png").write_bytes(plain_png(1, 1, 1))
    plain(copy)
    texture = copy.root / "meshes/Made_track/textures/grass.png"
    texture.unlink()
    texture.symlink_to(tmp_path / "secret.png")
    assert "grass.png" in one(copy, tmp_path / "tracks").unread[0]


@pytest.mark.parametrize("kind", ["zip", "tar"])
def test_members_that_leave_the_folder_are_nothing(kind: str, copy: Copy, tmp_path: Path) -> None:
    plain(copy)
    path = tmp_path / f"copy.{kind}"
    names = ["../../outside/W.world", "/etc/worlds/../../../W.world"]
    if kind == "zip":
        with zipfile.ZipFile(path, "w") as packed:
            for file in sorted(copy.root.rglob("*.*")):
                packed.write(file, f"bundle/{file.relative_to(copy.root)}")
            for name in names:
                packed.writestr(name, b"<sdf/>")
    else:
        with tarfile.open(path, "w") as packed:
            packed.add(copy.root, "bundle")
            for name in names:
                packed.addfile(tarfile.TarInfo(name), io.BytesIO(b""))
    before = {it for it in tmp_path.rglob("*") if "tracks" not in it.parts}
    (done,) = imported(path, tmp_path / "tracks")
    assert done.status == "imported"
    assert {it for it in tmp_path.rglob("*") if "tracks" not in it.parts} == before


def test_an_archive_that_grows_too_much_is_refused_and_leaves_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path / "temporary"))
    (tmp_path / "temporary").mkdir()
    path = tmp_path / "bomb.zip"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as packed:
        for i in range(9):
            packed.writestr(f"meshes/{i}.png", bytes(8 * 2**20))
    with pytest.raises(InputError, match=r"bomb\.zip(.|\n)*at most"):
        imported(path, tmp_path / "tracks")
    assert list((tmp_path / "temporary").iterdir()) == []


@pytest.mark.parametrize("content", [b"", b"nothing packed", b"PK\x03\x04cut off"])
def test_a_file_that_is_no_archive_is_refused(content: bytes, tmp_path: Path) -> None:
    (tmp_path / "copy.tar").write_bytes(content)
    with pytest.raises(InputError, match=r"copy\.tar"):
        imported(tmp_path / "copy.tar", tmp_path / "tracks")


def test_a_folder_without_worlds_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"worlds/NAME\.world"):
        imported(tmp_path, tmp_path / "tracks")


def test_names_that_are_none_and_worlds_without_a_route_are_told(copy: Copy) -> None:
    plain(copy)
    for name in ("..", "a b", ".hidden"):
        copy.write(f"worlds/{name}.world", b"<sdf/>")
    copy.write("worlds/alone.world", b"<sdf/>")
    known, unread = worlds_in(copy.root, "bundle")
    assert list(known) == ["Made_track"]
    assert len(unread) == 4 and any("alone has no route" in line for line in unread)


def test_of_two_worlds_of_a_name_the_upper_one_counts(copy: Copy) -> None:
    plain(copy)
    shutil.copytree(copy.root, copy.root / "deeper/bundle")
    known, _ = worlds_in(copy.root, "bundle")
    assert known["Made_track"] == WorldSource("Made_track", copy.root, "bundle")


@pytest.mark.parametrize("name", ["", "..", "a/../../b", "/etc/passwd", "a\\b", "C:/x", "a\0b"])
def test_a_name_that_could_leave_its_folder_is_refused(name: str) -> None:
    with pytest.raises(InputError):
        plain_parts(name)


def test_only_what_worlds_are_made_of_is_unpacked() -> None:
    assert ".dae" in copies.KINDS and ".png" in copies.KINDS and ".py" not in copies.KINDS
