"""`undercut line` and `undercut actions`: files, JSON, the cache, and what bad input says."""

import csv
import io
import json
import math
import re
from pathlib import Path

import numpy as np
import pytest
from matplotlib import image
from typer.testing import CliRunner

from contract.car import car_of_version
from contract.errors import InputError, UndercutError
from contract.metadata import ModelMetadata
from simapp.tracks import load_track
from tests.line_support import kidney, ring
from undercut.cli.main import app
from undercut.line import raceline
from undercut.line.profile import RacingLine
from undercut.line.raceline import kept_line, racing_line
from undercut.line.reporting import COLUMNS, car_named


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A working directory with a cache of its own, in which the fastest line is found at once."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setattr(raceline, "find_line", lambda *arguments: kidney()[1])
    return tmp_path


def told(*arguments: str) -> dict[str, object]:
    result = CliRunner().invoke(app, [*arguments, "--json"], catch_exceptions=False)
    assert result.exit_code == 0, result.output
    values: dict[str, object] = json.loads(result.stdout)
    return values


@pytest.mark.slow
def test_line_writes_picture_and_tables_in_the_form_that_racers_share(folder: Path) -> None:
    values = told("line", "kidney")
    _, line = kidney()
    assert values["limit_s"] == line.limit_s and values["track"] == "kidney"
    ratio = values["replay_ratio"]
    assert isinstance(ratio, float) and 1.0 <= ratio <= 1.03
    standing_s, replay_s = values["standing_s"], values["replay_s"]
    assert isinstance(standing_s, float) and isinstance(replay_s, float)
    assert standing_s * 15 == pytest.approx(round(standing_s * 15)), "timed as an evaluation is, in whole steps"
    # at 20 m/s2, which no wheel of these gives, 3 m/s would be there after 0.15 s, half of it lost
    assert replay_s + 0.075 < standing_s < replay_s + 1.0
    points = np.load(folder / "lines" / "kidney" / "line.npy")
    assert points.shape == (len(line.x_m), len(COLUMNS))
    assert points[:, 3].sum() == pytest.approx(line.limit_s)
    ways = np.hypot(*np.diff(points[:, :2], axis=0).T)
    # the time of a row is that since the row before: way by time is about the speed
    assert ways / points[1:, 3] == pytest.approx(points[1:, 2], rel=0.25)
    rows = list(csv.DictReader(io.StringIO((folder / "lines" / "kidney" / "line.csv").read_text())))
    assert list(rows[0])[:4] == list(COLUMNS) and len(rows) == len(points)
    assert float(rows[5]["x"]) == pytest.approx(points[5, 0], abs=1e-4)
    assert all(abs(float(row["commanded_steering"])) <= 30.01 for row in rows)
    picture = image.imread(folder / "lines" / "kidney" / "line.png")
    assert min(picture.shape[:2]) > 500


@pytest.mark.slow
def test_actions_writes_metadata_that_trains_and_tells_what_it_costs(folder: Path) -> None:
    values = told("actions", "kidney", "--count", "5", "--out", "mine/model_metadata.json")
    assert ModelMetadata.load(folder / "mine" / "model_metadata.json", limits=True).version == 5
    lap_s, limit_s, cost_s = (values[name] for name in ("lap_s", "limit_s", "cost_s"))
    assert isinstance(lap_s, float) and isinstance(limit_s, float)
    assert cost_s == pytest.approx(lap_s - limit_s) and lap_s < 1.05 * limit_s
    values = told("actions", "kidney", "--continuous")
    assert set(values) >= {"ranges", "lap_s", "limit_s"}


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["line", "drag_strip"], "closed track"),
        (["line", "no_such_track"], "known name"),
        (["line", "kidney", "--margin", "-0.1"], "--margin"),
        (["line", "kidney", "--margin", "nan"], "--margin"),
        (["line", "kidney", "--wheels", "three"], "one or all"),
        (["line", "kidney", "--car", "v6"], "v4 or v5"),
        (["line", "kidney", "--car", "missing.yaml"], "missing.yaml"),
        (["actions", "kidney", "--count", "1"], "2 to 30"),
        (["actions", "drag_strip", "--count", "5"], "closed track"),
        (["new", "mine", "--race-line", "drag_strip"], "closed track"),
    ],
)
def test_bad_input_is_told_with_its_rule_and_leaves_nothing(
    folder: Path, monkeypatch: pytest.MonkeyPatch, arguments: list[str], says: str
) -> None:
    if "drag_strip" in arguments:
        monkeypatch.undo()
        monkeypatch.chdir(folder)
        monkeypatch.setenv("XDG_CACHE_HOME", str(folder / "cache"))
    with pytest.raises(InputError, match=re.escape(says)):
        CliRunner().invoke(app, arguments, catch_exceptions=False)
    assert [path.name for path in folder.iterdir() if path.name != "cache"] == []


def test_actions_that_no_lap_can_be_driven_with_say_how_many_more(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("undercut.line.reporting.best_lap", lambda *arguments: None)
    with pytest.raises(InputError, match=r"--count 4 or more"):
        CliRunner().invoke(app, ["actions", "kidney", "--count", "2"], catch_exceptions=False)
    assert not (folder / "model_metadata.json").exists()


def test_a_line_is_kept_by_track_car_and_question(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    track, line = kidney()
    car = car_of_version(5)
    assert kept_line(track, car) is None
    racing_line(track, car)
    again = kept_line(track, car)
    assert again is not None
    for name in RacingLine.__slots__:
        assert np.array_equal(getattr(again, name), getattr(line, name))
    assert kept_line(track, car_of_version(4)) is None and kept_line(track, car, 0.1) is None
    assert kept_line(track.reversed(), car) is None and kept_line(load_track("paddock"), car) is None
    monkeypatch.setattr(raceline, "METHOD", raceline.METHOD + 1)
    assert kept_line(track, car) is None
    monkeypatch.undo()
    monkeypatch.setenv("XDG_CACHE_HOME", str(folder / "cache"))
    (kept,) = (folder / "cache" / "undercut" / "lines").iterdir()
    for damage in (b"", b"PK\x03\x04", kept.read_bytes()[:-100]):
        kept.write_bytes(damage)
        assert kept_line(track, car) is None


def test_without_the_optimiser_it_says_how_to_get_it(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(raceline, "has_optimiser", lambda: False)
    with pytest.raises(UndercutError, match=r"undercut\[line\]"):
        racing_line(ring(2.0, 1.0), car_of_version(5))


def test_cars_by_name() -> None:
    assert car_named("v4") == car_of_version(4) and car_named("v5") == car_of_version(5)
    assert math.isclose(car_named("v5").top_speed_mps, 3.6)
