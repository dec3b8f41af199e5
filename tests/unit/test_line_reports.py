"""The gap in reports, findings, evaluations and the live page."""

import dataclasses
import json
import shlex
from pathlib import Path

import numpy as np
import pytest

from contract import artifacts, simtrace
from contract.car import car_of_version
from contract.config import RunConfig
from contract.rollout import Rollout
from contract.state import EpisodeStatus
from contract.stores.local import LocalStore
from simapp.tracks import Track, load_track
from tests.line_support import kidney
from undercut.analysis.findings import findings, headline
from undercut.analysis.gap import best_gap
from undercut.analysis.log import Episode, Kind, RunLog
from undercut.analysis.tables import gap_table
from undercut.line import raceline
from undercut.line.limits import found_limit, hint, kept_limit, limit_of
from undercut.line.raceline import racing_line, replay
from undercut.report.gaps import gap_pictures
from undercut.report.report import report
from undercut.runs.run import TRACKS
from undercut.view.data import details
from undercut.view.laps import limit_here
from undercut.view.stage import fastest_line
from undercut.view.subject import Subject


def driven_log(limited: bool) -> RunLog:
    """A log of one evaluation lap, the one that proves the limit."""
    track, line = kidney()
    rows = replay(track, line).rows
    lap = Episode(
        Kind.evaluation, 0, 0, 1.0, 100.0, float(rows["time_s"][-1]), EpisodeStatus.lap_complete, rows,
        np.arange(1, len(rows) + 1), np.zeros(len(rows), np.int64), track.length_m,
    )  # fmt: skip
    log = RunLog("mine", "here", (lap,), {}, track, "kidney", False, car=line.car)
    return dataclasses.replace(log, limit=limit_of(line)) if limited else log


@pytest.mark.slow
def test_a_report_with_a_limit_says_and_draws_the_gap() -> None:
    log = driven_log(limited=True)
    found = best_gap(log)
    assert found is not None
    assert [picture.name for picture in gap_pictures(log)] == ["gap_map", "gap_sectors"]
    assert len(gap_table(log, found[1]).rows) == 11  # ten sectors, the lap
    page = report([log]).html
    assert "Gap to the limit" in page and "Where time is lost" in page
    (told,) = [one for one in findings(log) if "times the limit" in one.text]
    assert f"{found[1].limit_s:.2f} s" in told.text and told.mood == "good"
    assert (f"{found[1].ratio:.2f} ×", "of the limit") in [figure[:2] for figure in headline(log)]


@pytest.mark.slow
def test_a_report_without_one_says_nothing_of_it() -> None:
    log = driven_log(limited=False)
    assert best_gap(log) is None and gap_pictures(log) == [] and "Gap to the limit" not in report([log]).html
    assert not any("limit of" in one.text for one in findings(log))


@pytest.fixture
def known(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> tuple[Path, Track]:
    """A working directory on a machine that knows the limit."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setattr(raceline, "find_line", lambda *arguments: kidney()[1])
    track, line = kidney()
    racing_line(track, line.car)
    return tmp_path, track


def test_limits_are_those_of_the_car_and_its_direction(known: tuple[Path, Track]) -> None:
    folder, track = known
    place = LocalStore(folder / "run")
    config = RunConfig(name="mine", track="kidney")
    assert limit_here(place, config, track) is None  # a race's folder has no metadata
    for version, is_known in (("5", True), ("4", False)):
        metadata = {"action_space": [{"steering_angle": s, "speed": 1} for s in (-9, 9)], "version": version}
        place.put(artifacts.MODEL_METADATA, json.dumps(metadata).encode())
        limit = limit_here(place, config, track)
        assert (limit is not None) == is_known
    own = config.model_copy(update={"car": dataclasses.replace(car_of_version(5), friction=0.7)})
    assert limit_here(place, own, track) is None
    limit = kept_limit(track, car_of_version(5))
    assert limit is not None and limit.lap_s == kidney()[1].limit_s
    shown = fastest_line(limit)
    assert len(shown["points"]) == len(limit.x_m) and json.dumps(shown)


def test_the_hint_is_a_command_that_finds_the_track_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    mine = tmp_path / "my tracks" / "long way.npy"
    mine.parent.mkdir()
    np.save(mine, load_track("kidney").route)
    for named, told in (
        ("kidney", "kidney"), ("kidney_cw", "kidney_cw"), ("my tracks/long way.npy", "my tracks/long way.npy"),
    ):  # fmt: skip
        track = load_track(named)
        assert shlex.split(hint(track).partition(": ")[2]) == ["undercut", "line", told]
    assert hint(load_track("kidney").reversed()).endswith(": undercut line kidney_cw")
    (tmp_path / "tracks").mkdir()
    np.save("tracks/long way.npy", load_track("kidney").route)
    assert hint(load_track("long way", [TRACKS])).endswith(": undercut line 'long way'")


def test_roads_without_a_lap_have_no_limit(known: tuple[Path, Track]) -> None:
    assert found_limit(load_track("drag_strip"), car_of_version(5)) is None


def test_the_live_page_has_a_table_of_the_gap(known: tuple[Path, Track]) -> None:
    folder, track = known
    place = LocalStore(folder / "runs" / "mine")
    metadata = {"action_space": [{"steering_angle": s, "speed": 1} for s in (-9, 9)], "version": "5"}
    place.put(artifacts.MODEL_METADATA, json.dumps(metadata).encode())
    place.put(artifacts.RUN_CONFIG, RunConfig(name="mine", track="kidney").to_json().encode())
    lap = driven_log(limited=True).episodes[0]
    rollout = Rollout(0, 0, {}, {}, np.zeros(len(lap.steps), np.int64), lap.steps, truncated=False)
    csv = simtrace.to_csv([rollout], track.length_m, 0.0)
    place.put(artifacts.evaluation_simtrace(), csv.encode())
    told = details(Subject.named("run", "mine"))
    (table,) = [one for one in told["tables"] if one["title"] == "Gap to the limit"]
    assert len(table["rows"]) == len(table["meanings"]) + 5 == 11 and "times the fastest possible" in table["note"]
