"""`undercut worlds` through typer's own runner, in an empty working directory."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from rich.console import Console
from typer.testing import CliRunner

from contract.config import RunConfig
from contract.errors import InputError, StoreError
from contract.stores.local import LocalStore
from simapp.worlds import World
from tests.unit.made_worlds import Copy, Face, dae, flat, plain_png
from undercut.backends.local.workers import job_of
from undercut.cli.completion import world_names
from undercut.cli.main import app
from undercut.runs.run import DEFAULT_HYPERPARAMETERS, DEFAULT_METADATA, DEFAULT_REWARD, Run, track_of


@pytest.fixture(autouse=True)
def workdir(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setattr("undercut.cli.worlds.console", Console(width=200))
    copy = Copy(tmp_path / "bundle")
    ground = dae([Face(flat(-6, -6, 6, 6), texture="textures/g.png")])
    copy.add("One_track", {"g.dae": ground}, {"g.png": plain_png(200, 10, 10)})
    copy.add("Two_track", {"g.dae": ground, "gone.dae": ground}, {"g.png": plain_png(10, 10, 200)})
    (copy.root / "meshes/Two_track/gone.dae").unlink()
    copy.add("Broken", {"g.dae": ground[:700]})
    return tmp_path


def run(*arguments: str, code: int = 0) -> str:
    result = CliRunner().invoke(app, ["worlds", *arguments], catch_exceptions=False)
    assert result.exit_code == code, result.output
    return result.stdout


def imported(*names: str, code: int = 0) -> dict[str, Any]:
    told: dict[str, Any] = json.loads(run("import", "bundle", *names, "--jobs", "1", "--json", code=code))
    return told


def test_all_worlds_are_imported_and_what_could_not_be_is_told() -> None:
    shown = run("import", "bundle", "--jobs", "1", code=2)
    assert "2 imported into tracks/" in shown
    assert "Broken: could not be imported" in shown and "Two_track: imported without" in shown
    assert "gone.dae is not in the copy" in shown
    rows = json.loads(run("list", "--json"))
    assert [(row["name"], row["triangles"], len(row["unread"])) for row in rows] == [
        ("One_track", 2, 0),
        ("Two_track", 2, 1),
    ]
    assert "One_track" in run("list") and not Path("tracks/Broken").exists()
    assert world_names("T") == ["Two_track"]


def test_a_place_that_cannot_be_written_is_told_before_anything_is_read() -> None:
    Path("tracks").write_text("")
    with pytest.raises(StoreError, match=r"(?s)^cannot write to tracks: .*tracks is a file, .*choose another name$"):
        run("import", "bundle", "--jobs", "1")


def test_chosen_worlds_once_and_kept() -> None:
    told = imported("One_track", "One_track")
    assert [(it["name"], it["status"]) for it in told["worlds"]] == [("One_track", "imported")]
    assert imported("One_track")["worlds"][0]["status"] == "kept"
    assert "--replace" in run("import", "bundle", "One_track")
    again = json.loads(run("import", "bundle", "One_track", "--replace", "--json"))
    assert again["worlds"][0]["status"] == "imported"


@pytest.mark.parametrize(("arguments", "said"), [
    (("bundle", "One_trak"), "did you mean One_track"),
    (("nowhere",), "a copy is a folder"),
    (("bundle/meshes",), r"worlds/NAME\.world"),
])  # fmt: skip
def test_what_is_not_there_is_told(arguments: tuple[str, ...], said: str) -> None:
    with pytest.raises(InputError, match=said):
        run("import", *arguments)


def test_no_worlds_yet() -> None:
    assert "no worlds yet" in run("list")
    assert json.loads(run("list", "--json")) == []


def test_a_broken_import_is_one_row_of_the_list() -> None:
    imported("One_track", "Two_track")
    Path("tracks/One_track/world.json").write_text("{")
    rows = json.loads(run("list", "--json"))
    assert "error" in rows[0] and rows[1]["name"] == "Two_track"


@pytest.mark.slow
def test_show_writes_a_map_with_views_and_tells_what_was_not_read() -> None:
    imported("Two_track")
    shown = run("show", "Two_track")
    assert "2 triangles, 1 textures" in shown and "directional 'sun'" in shown and "gone.dae" in shown
    picture = np.asarray(Image.open("Two_track.png").convert("RGB")).reshape(-1, 3).astype(int)
    assert (np.abs(picture - [10, 10, 200]).max(axis=1) < 10).mean() > 0.15  # the field, on the map
    with pytest.raises(InputError, match="a world that is imported"):
        run("show", "paddock")


def test_a_run_carries_its_world_wherever_it_goes(workdir: Path) -> None:
    imported("One_track")
    config = RunConfig.build({"name": "far", "track": "One_track", "worlds": [{}, {"track": "One_track@common"}]}, "x")
    Run.create(config, DEFAULT_REWARD, DEFAULT_METADATA, DEFAULT_HYPERPARAMETERS)
    files = job_of(Run.open("far")).files
    for path in sorted((workdir / "tracks").rglob("*"), reverse=True):
        path.unlink() if path.is_file() else path.rmdir()
    for path in sorted((workdir / "cache").rglob("*"), reverse=True):
        path.unlink() if path.is_file() else path.rmdir()
    for name, count in (("One_track", 2), ("One_track@common", None)):
        track = track_of(LocalStore(workdir / "runs/far"), name)
        assert track.world is not None
        world = World.load(track.world)
        assert world.triangle_count == count if count else world.triangle_count > 100
    worlds = [key for key in files if key.endswith(".world.zip")]
    assert len(worlds) == 2 and all(key.replace(".world.zip", ".npy") in files for key in worlds)
