"""league.yaml, the ranking, and the messages between a league and a jailed policy."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from contract.car import car_of_version
from contract.errors import InputError
from tests.support import circle
from undercut.league.messages import MAX_ARRAY_BYTES, Message, Unpacker, packed
from undercut.league.results import LeagueLap, Standings, SubmissionResult
from undercut.league.rules import LeagueFile, new_file


def parse(text: str) -> LeagueFile:
    return LeagueFile.parse(text, "league.yaml")


def result(name: str, *laps: float | None, state: Any = "driven") -> SubmissionResult:
    """Complete laps of these times; None for one that ended half-way."""
    rows = tuple(
        LeagueLap(
            number=k,
            seed=0,
            status="Lap complete" if time_s else "Time up",
            complete=time_s is not None,
            time_s=time_s or 30.0,
            progress_pct=100.0 if time_s else 50.0,
            resets=0,
            crashes=0,
        )
        for k, time_s in enumerate(laps, 1)
    )
    return SubmissionResult(name=name, fingerprint="f", state=state, laps=rows)


# --- rules -----------------------------------------------------------------------------------------------------------


def test_a_new_file_says_what_it_was_asked_for() -> None:
    rules = parse(new_file("paddock", 'The "club": Friday', 3, (1, 7), "mean_lap", "own"))
    assert (rules.title, rules.track, rules.laps, rules.seeds) == ('The "club": Friday', "paddock", 3, (1, 7))
    assert (rules.rank_by, rules.car) == ("mean_lap", "own")
    assert rules.model_copy(
        update={"title": "League", "laps": 5, "seeds": (0,), "rank_by": "best_lap", "car": "v5"}
    ) == (parse("track: paddock"))


def test_the_config_is_the_rules(tmp_path: Path) -> None:
    rules = parse(
        "track: kidney\nlaps: 4\nseeds: [5, 6]\nevaluation: {off_track_penalty: 1.5}\n"
        "race: {race_type: OBJECT_AVOIDANCE, number_of_obstacles: 3}\n"
    )
    config = rules.config(6)
    assert (config.track, config.seed, config.evaluation.number_of_trials) == ("kidney", 6, 4)
    assert (config.evaluation.off_track_penalty, config.race.number_of_obstacles) == (1.5, 3)
    assert config.car == car_of_version(5) and config.threads == 1
    assert parse("track: a\ncar: own").config(0).car is None
    assert parse("track: a\ncar: own").car_for(4) == car_of_version(4)
    slippery = parse("track: a\ncar: {friction: 0.3, name: ice}").config(0).car
    assert slippery == replace(car_of_version(5), friction=0.3, name="ice")


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("laps: 3", r"league\.yaml: track: \(missing\)(.|\n)*add track"),
        ("track: a\nlapps: 3", r"line 2: lapps(.|\n)*did you mean 'laps'"),
        ("track: a\nlaps: 0", r"line 2: laps: 0"),
        ("track: a\nlimits:\n  bundle: 5", r"line 3: limits\.bundle(.|\n)*did you mean 'bundle_mb'"),
        ("track: a\nlimits: {memory_mb: 5}", r"line 2: limits\.memory_mb: 5"),
        ("track: a\nrank_by: luck", r"line 2: rank_by: 'luck'"),
        ("track: a\ncar: v6", r"line 2: car"),
        ("track: a\ncar: {frictoin: 1}", r"line 2: car(.|\n)*'frictoin' is none(.|\n)*did you mean 'friction'"),
        ("track: a\ncar: {friction: 9}", r"line 2: car(.|\n)*friction: a number, at most 3"),
        ("track: a\nseeds: [1, 1]", "seeds are different"),
        ("track: a\nseeds: [1, 2]\nlaps: 600", "more than 1000 laps"),
        ("track: a\nevaluation: {number_of_trials: 5}", "is said by `laps`"),
        ("track: a\nrace: {race_type: HEAD_TO_MODEL}", "drive alone"),
        ("track: a\ntrack: b", r"line 2: track(.|\n)*on line 1 too"),
        ("- a", "lines of KEY: value"),
        ("track: [a", "valid YAML"),
    ],
)
def test_what_is_wrong_is_told_with_its_line(text: str, told: str) -> None:
    with pytest.raises(InputError, match=told):
        parse(text)


def test_the_digest_is_of_all_that_laps_depend_on() -> None:
    track, base = circle(), parse("track: a")
    digest = base.digest(track, "1.0")
    for text in ("laps: 4", "seeds: [3]", "car: v4", "evaluation: {collision_penalty: 1}", "limits: {graph_mb: 5}"):
        assert parse(f"track: a\n{text}").digest(track, "1.0") != digest, text
    assert base.digest(track.reversed(), "1.0") != digest and base.digest(track, "1.1") != digest
    for text in ("title: b", "shown: 2", "rank_by: mean_lap"):
        assert parse(f"track: a\n{text}").digest(track, "1.0") == digest, text


# --- ranking ---------------------------------------------------------------------------------------------------------


def test_by_the_best_lap() -> None:
    its = [result("c", 12.0, 11.0), result("a", 10.0, None), result("b", 10.5, 10.5), result("d", None, None)]
    standings = Standings.of(parse("track: a"), its, {5: 8.0})
    assert [(it.place, it.result.name, it.to_leader_s) for it in standings.ranking] == [
        *((1, "a", 0.0), (2, "b", 0.5), (3, "c", 1.0), (4, "d", None)),
    ]
    assert [it.to_limit_s for it in standings.ranking] == [2.0, 2.5, 3.0, None]
    assert standings.ranking[0].of_limit == 1.25


def test_by_the_mean_of_all_laps_leaving_one_out_is_no_short_cut() -> None:
    its = [result("half", 9.0, None), result("fast", 10.0, 11.0), result("slow", 12.0, 12.0)]
    standings = Standings.of(parse("track: a\nrank_by: mean_lap"), its, {})
    assert [it.result.name for it in standings.ranking] == ["fast", "slow", "half"]
    assert [it.to_leader_s for it in standings.ranking] == [0.0, 1.5, -1.5]
    assert standings.ranking[0].to_limit_s is None


def test_equals_share_a_place_and_others_have_their_reasons() -> None:
    its = [
        result("b", 10.0),
        result("a", 10.0),
        result("c", 11.0),
        result("y", state="failed"),
        result("x", state="refused"),
    ]
    standings = Standings.of(parse("track: a"), its, {})
    assert [(it.place, it.result.name) for it in standings.ranking] == [(1, "a"), (1, "b"), (3, "c")]
    assert [it.name for it in standings.others] == ["x", "y"]
    assert [it["name"] for it in standings.as_json()["not_ranked"]] == ["x", "y"]


@given(st.permutations([result("a", 10.0, 12.0), result("b", 11.0), result("c", None), result("d", 10.0, 12.0)]))
def test_the_order_of_results_does_not_matter(its: list[SubmissionResult]) -> None:
    told = json.dumps(Standings.of(parse("track: a"), its, {5: 7.0}).as_json())
    assert told == json.dumps(Standings.of(parse("track: a"), sorted(its, key=lambda it: it.name), {5: 7.0}).as_json())


def test_results_come_back_and_damaged_ones_are_none() -> None:
    one = result("a", 10.0, None)
    assert SubmissionResult.parse(one.to_bytes()) == one
    assert SubmissionResult.parse(one.to_bytes()[:40]) is None
    assert SubmissionResult.parse(b'{"name": "a"}') is None


# --- messages --------------------------------------------------------------------------------------------------------


def unpacked(content: bytes, most: int = 7) -> Message:
    """The message of bytes that come in parts."""
    unpacker = Unpacker()
    while unpacker.message is None:
        size = min(unpacker.wanted, most)
        unpacker.feed(content[:size])
        content = content[size:]
    assert not content
    return unpacker.message


@given(st.integers(1, 100_000))
def test_messages_come_back(most: int) -> None:
    arrays: dict[str, Any] = {
        "CAMERA": np.arange(24, dtype=np.uint8).reshape(2, 3, 4),
        "LIDAR": np.ones((2, 5), np.float32),
    }
    found = unpacked(packed({"a": [1, "b"]}, arrays), most)
    assert found.values == {"a": [1, "b"]}
    assert all(np.array_equal(found.arrays[name], arrays[name]) for name in arrays)
    assert unpacked(packed({"refused": "why"})) == Message({"refused": "why"}, {})


@given(st.binary(max_size=200))
def test_bytes_that_are_no_message_are_refused(content: bytes) -> None:
    unpacker = Unpacker()
    try:
        while unpacker.message is None and content:
            assert 0 < unpacker.wanted <= MAX_ARRAY_BYTES
            unpacker.feed(content[: unpacker.wanted])
            content = content[unpacker.wanted :] if len(content) > unpacker.wanted else b""
    except (ValueError, TypeError, KeyError):
        pass


def test_a_message_cannot_ask_for_all_memory() -> None:
    header = json.dumps({"arrays": [["a", "<f8", [2**30, 2**30]]]}).encode()
    with pytest.raises(ValueError, match="bytes"):
        unpacked(len(header).to_bytes(4, "little") + header, 10**6)
    with pytest.raises(ValueError, match="header"):
        unpacked(b"\xff\xff\xff\xff", 10)
