"""`undercut tracks` through typer's own runner, in an empty working directory."""

import json
from itertools import combinations
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from matplotlib import image
from matplotlib.colors import to_rgb
from rich.console import Console
from typer.testing import CliRunner

from contract.errors import InputError
from contract.state import FloatArray
from simapp.tracks import Track, available_tracks, load_track
from tests.conftest import REPO
from tests.documented import block, shown_commands
from undercut.cli.tracks import app
from undercut.figures.road import CENTRE, ROAD
from undercut.figures.track_picture import save_track_picture, track_figure

ROAD_RGB, CENTRE_RGB = to_rgb(ROAD), to_rgb(CENTRE)


@pytest.fixture(autouse=True)
def workdir(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("undercut.cli.tracks.console", Console(width=200))
    return tmp_path


def run(*arguments: str) -> str:
    result = CliRunner().invoke(app, list(arguments), catch_exceptions=False)
    assert result.exit_code == 0, result.output
    return result.output


def listed() -> dict[str, dict[str, Any]]:
    return {row["name"]: row for row in json.loads(run("list", "--json"))}


def street() -> FloatArray:
    x = np.linspace(0.0, 6.0, 41)
    return np.column_stack([x, 0 * x, x, 0 * x + 0.5, x, 0 * x - 0.5])


def test_list() -> None:
    rows = listed()
    assert list(rows) == available_tracks()
    assert rows["paddock"] == {
        "name": "paddock",
        "length_m": pytest.approx(17.7, abs=0.1),
        "min_width_m": 0.758,
        "max_width_m": 0.76,
        "min_radius_m": pytest.approx(0.85, abs=0.01),
        "direction": "ccw",
        "closed": True,
        "source": "shipped",
    }
    assert (rows["drag_strip"]["min_radius_m"], rows["drag_strip"]["closed"]) == (None, False)
    table = run("list").splitlines()
    assert all(
        word in table[1]
        for word in ("name", "length (m)", "width (m)", "min radius (m)", "direction", "closed", "source")
    )
    line = next(line for line in table if "paddock" in line)
    assert [cell.strip() for cell in line.strip("│ ").split("│")] == [
        "paddock", f"{rows['paddock']['length_m']:.2f}", "0.76", "0.85", "ccw", "yes", "shipped",
    ]  # fmt: skip


@pytest.mark.parametrize("is_terminal", [True, False])
def test_names_are_whole_whatever_the_width(is_terminal: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    name = "2022_reinvent_champ_with_a_name_of_sixty_characters_and_more_ccw"
    np.save("mine.npy", street())
    run("add", "mine.npy", "--name", name)
    monkeypatch.setattr("undercut.cli.tracks.console", Console(width=80, force_terminal=is_terminal, color_system=None))
    (line,) = [line for line in run("list").splitlines() if name in line]
    assert is_terminal or ("open" in line and "tracks/" in line)


def test_add_then_list_and_show(workdir: Path) -> None:
    route = street()
    np.save("My street.npy", route)
    out = run("add", "My street.npy", "--name", "my_street")
    assert "tracks/my_street.npy: open road of 6.00 m" in out
    assert [path.name for path in (workdir / "tracks").iterdir()] == ["my_street.npy"]
    np.testing.assert_array_equal(np.load("tracks/my_street.npy", allow_pickle=False), route)
    assert listed()["my_street"]["source"] == str(Path("tracks/my_street.npy"))
    assert run("show", "my_street").strip() == "my_street.png"
    # adding the same file again is no mistake
    run("add", "My street.npy", "--name", "my_street")


def test_add_takes_the_files_name_and_designs(workdir: Path) -> None:
    (workdir / "alley.track").write_text("width 0.7\nopen\nstraight 2\n", encoding="utf-8")
    run("add", "alley.track")
    assert load_track("alley", [Path("tracks")]).length_m == pytest.approx(2.0)


def test_the_tracks_of_the_page_about_own_ones_are_added_and_shown(workdir: Path) -> None:
    (workdir / "pond.track").write_text(block("own-track.md", "track"), encoding="utf-8")
    exec(block("own-track.md", "python"), {})
    shown = [it.words[2:] for it in shown_commands(REPO / "docs" / "own-track.md") if it.words[1] == "tracks"]
    assert {words[0] for words in shown} == {"add", "show", "list"}
    for words in shown:
        run(*words)
    for name in ("oval", "my_pond"):
        track = load_track(name, [Path("tracks")])
        assert (track.closed, track.direction) == (True, "ccw") and track.widths_m == pytest.approx(0.9, abs=2e-3)
    assert (workdir / "my_pond.png").is_file()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["good.npy", "--name", "paddock"], "used once"),
        (["good.npy", "--name", "../evil"], "letters, digits"),
        (["good.npy", "--name", ""], "letters, digits"),
        (["good.npy", "--name", ".hidden"], "letters, digits"),
        (["bad.npy"], r"bad.npy: row 0: '0.1 m from inner to outer edge'"),
        (["absent.npy"], r"absent.npy: \(missing\)[^!]*a route file must exist"),
        (["good.csv"], "ends in .npy or .track"),
    ],
)
def test_add_refuses(arguments: list[str], message: str, workdir: Path) -> None:
    np.save("good.npy", street())
    np.save("bad.npy", street() * [1, 1, 1, 0.1, 1, 0.1])
    with pytest.raises(InputError, match=message):
        run("add", *arguments)
    assert not (workdir / "tracks").exists()


def test_add_does_not_replace_another_track() -> None:
    np.save("mine.npy", street())
    run("add", "mine.npy")
    np.save("mine.npy", 1.1 * street())
    with pytest.raises(InputError, match="used once"):
        run("add", "mine.npy")
    assert listed()["mine"]["length_m"] == 6.0


def test_a_broken_own_file_is_one_row_of_the_list() -> None:
    Path("tracks").mkdir()
    Path("tracks/broken.npy").write_bytes(b"[bold]no route")
    rows = listed()
    assert "broken.npy" in rows["broken"]["error"]
    assert len(rows) == len(available_tracks()) + 1
    assert "broken.npy" in run("list")


def test_show_names_the_nearest_track() -> None:
    with pytest.raises(InputError, match="did you mean paddock"):
        run("show", "padock")


def colour_share(path: Path, colour: tuple[float, float, float]) -> float:
    pixels = image.imread(path)[:, :, :3]
    return float(np.mean(np.all(np.abs(pixels - colour) < 0.02, axis=2)))


def test_show_writes_the_picture(workdir: Path) -> None:
    out = workdir / "pictures" / "track.png"
    assert run("show", "paddock_cw", "--out", str(out)).strip() == str(out)
    assert [path.name for path in out.parent.iterdir()] == ["track.png"]
    pixels = image.imread(out)
    assert 1000 < pixels.shape[1] < 1400
    assert colour_share(out, CENTRE_RGB) > 5e-4
    # the road's share of the picture is its share of the axes, which margins and labels make smaller
    track = load_track("paddock")
    xmin, ymin, xmax, ymax = track.bounds
    share = track.length_m * 0.76 / ((xmax - xmin) * (ymax - ymin))
    assert 0.5 * share < colour_share(out, ROAD_RGB) < share


@pytest.mark.parametrize("turn", [0.0, np.pi / 2])
def test_picture_of_a_straight_is_not_cut(turn: float, workdir: Path) -> None:
    rotation = np.array([[np.cos(turn), -np.sin(turn)], [np.sin(turn), np.cos(turn)]])
    route = np.hstack([street()[:, i : i + 2] @ rotation.T for i in (0, 2, 4)])
    save_track_picture(Track("street", route), workdir / "street.png")
    assert colour_share(workdir / "street.png", ROAD_RGB) > 0.05


@pytest.mark.parametrize("name", ["grand_tour", "grand_tour_cw", "switchback"])
def test_no_label_of_a_picture_covers_another(name: str) -> None:
    """In their hairpins the road comes back to where the labels outside of it are."""
    figure = track_figure(load_track(name))
    figure.draw_without_rendering()
    boxes = {text.get_text(): text.get_window_extent() for text in figure.axes[0].texts if text.get_text()}
    assert len(boxes) >= 25
    assert [(a, b) for a, b in combinations(boxes, 2) if boxes[a].overlaps(boxes[b])] == []
