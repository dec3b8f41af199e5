"""Recordings: whole there and back, small, and clear about what is broken."""

import json
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from contract.config import EvaluationConfig, RaceConfig
from contract.errors import InputError
from contract.metadata import ModelMetadata
from contract.protocols import ActionDistribution, Phase, RolloutOrder
from contract.recording import MAGIC, RecordedEpisode, RecordedRacer, Recording, of_traces, recorded
from contract.rollout import Rollout
from contract.simtrace import from_csv, to_csv
from contract.state import STEP_DTYPE, EpisodeStatus, ObjectKind, Observations, TrackObjects
from contract.vehicle import CAR_COLORS
from simapp.head_to_head import race_laps
from simapp.race import Race, RaceRules
from simapp.rollout import Racer, collect
from simapp.starts import start_line
from tests.support import BlindSimulator, circle

METADATA = ModelMetadata.parse(
    '{"action_space": [{"steering_angle": 3.1, "speed": 1.0}, {"steering_angle": 3.1, "speed": 1.5}], "version": "5",'
    ' "sensor": ["FRONT_FACING_CAMERA"], "neural_network": "DEEP_CONVOLUTIONAL_NETWORK_SHALLOW"}',
    "test",
)


class Steady:
    """Takes one action always."""

    def __init__(self, action: int) -> None:
        self._said = np.eye(2)[action]

    def distribution(self, observations: Observations) -> ActionDistribution:
        count = len(next(iter(observations.values())))
        return ActionDistribution(probabilities=np.tile(self._said, (count, 1)))


def laps(race_config: RaceConfig, phase: Phase = Phase.evaluation) -> list[Rollout]:
    simulator = BlindSimulator(2)
    race = Race(simulator, circle(), RaceRules(60, 1, 2.0, 2.0), [lambda _: 1.0] * 2, config=race_config)
    order = RolloutOrder(phase, 0, 0, 3)
    return collect(race, Steady(0), METADATA, order, start_line(race, EvaluationConfig()), 7)


def of(episodes: list[RecordedEpisode], **changed: object) -> Recording:
    racers = (RecordedRacer("Zoë 🏎", "fast", "Blue"), RecordedRacer("B"))
    values = {"title": "run", "track": "circle", "reverse_dir": False, "track_length_m": 18.8, "leaderboard": "Cup"}
    return Recording(**{**values, "racers": racers, "episodes": tuple(episodes), **changed})  # type: ignore[arg-type]


def test_evaluations_record_what_drives_beside_the_car_at_every_step() -> None:
    driven = laps(RaceConfig(number_of_obstacles=2, number_of_bot_cars=1, min_distance_between_obstacles=3.0))
    for lap in driven:
        assert lap.objects is not None
        assert lap.objects.kind.tolist() == [[ObjectKind.box, ObjectKind.box, ObjectKind.car]] * len(lap)
        moved_m = np.hypot(np.diff(lap.objects.x_m, axis=0), np.diff(lap.objects.y_m, axis=0))
        assert (moved_m[:, :2] == 0.0).all()
        assert np.median(moved_m[:, 2]) == pytest.approx(0.2 / 15, rel=0.15)  # BOT_CAR_SPEED, in its lane
        assert lap.ticks is None
    assert all(lap.objects is None for lap in laps(RaceConfig()))
    assert all(lap.objects is None for lap in laps(RaceConfig(number_of_obstacles=2), Phase.training))


def test_races_record_when_each_car_drove() -> None:
    simulator = BlindSimulator(2, np.zeros(2, np.int64))
    rules = RaceRules(400, 2, 1.0, 1.0)
    race = Race(simulator, circle(), rules, [lambda _: 1.0] * 2, config=RaceConfig(race_type="HEAD_TO_MODEL"))
    drivers = [Racer(Steady(action), METADATA) for action in (0, 1)]
    both = race_laps(race, drivers, 1, EvaluationConfig(start_jitter_m=0.0, start_jitter_deg=0.0), 0)
    for (lap,) in both:
        assert lap.ticks is not None
        assert lap.ticks[0] == 0
        assert (np.diff(lap.ticks) == 1).all()  # who is held for a penalty is there all the same


@given(st.integers(1, 4), st.integers(0, 3), st.booleans(), st.randoms(use_true_random=False))
def test_there_and_back(episodes: int, places: int, raced: bool, random: object) -> None:
    rng = np.random.default_rng(random.getrandbits(32))  # type: ignore[attr-defined]
    made = []
    for number in range(episodes):
        count = int(rng.integers(1, 30))
        steps = np.zeros(count, STEP_DTYPE)
        for name in STEP_DTYPE.names or ():
            steps[name] = rng.uniform(0, 2, count).astype(np.float32)
        objects = TrackObjects.none(count, places)
        objects.kind[:], objects.x_m[:] = 1, rng.uniform(-5, 5, (count, places)).astype(np.float32)
        ticks = np.cumsum(rng.integers(1, 4, count)) if raced else None
        made.append(RecordedEpisode(number % 2, number, number, steps, objects if places else None, ticks))
    recording = of(made)
    content = recording.to_bytes()
    assert content == recording.to_bytes()
    back = Recording.from_bytes(content, "test")
    assert (back.racers, back.leaderboard, back.title) == (recording.racers, "Cup", "run")
    for one, two in zip(made, back.episodes, strict=True):
        assert (one.steps == two.steps).all()
        assert (one.racer, one.world, one.number) == (two.racer, two.world, two.number)
        assert (one.ticks is None) == (two.ticks is None)
        assert one.ticks is None or (one.ticks == two.ticks).all()
        assert (one.objects is None) == (two.objects is None)
        for name in TrackObjects.__slots__ if one.objects is not None else ():
            assert (getattr(one.objects, name) == getattr(two.objects, name)).all()


def test_a_lap_with_six_boxes_takes_few_bytes_a_step() -> None:
    driven = laps(RaceConfig(number_of_obstacles=6))
    content = of(recorded(driven)).to_bytes()
    assert len(content) - 1500 < 45 * sum(map(len, driven))


def header_of(content: bytes) -> tuple[dict[str, Any], bytes]:
    """The header, and the arrays as they are packed."""
    begin = len(MAGIC) + 4
    end = begin + int.from_bytes(content[len(MAGIC) : begin], "little")
    return json.loads(content[begin:end]), content[end:]


def repacked(content: bytes, **changed: Any) -> bytes:
    header, arrays = header_of(content)
    text = json.dumps({**header, **changed}).encode()
    return b"".join([MAGIC, len(text).to_bytes(4, "little"), text, arrays])


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (lambda b: b[:-20], "whole recording"),
        (lambda b: b[:60], "whole recording"),
        (lambda b: b[: len(MAGIC)], "whole recording"),
        (lambda b: b[:-30] + bytes([b[-30] ^ 1]) + b[-29:], "whole recording"),
        (lambda b: b"", "begins with UNDERCUT-RECORDING"),
        (lambda b: b"episode,steps,X" + b, "begins with UNDERCUT-RECORDING"),
        (lambda b: b.replace(b'"version":1', b'"version":9'), "version 9.*\n.*up to 1"),
        (lambda b: b.replace(b'"version":1', b'"version":x'), "whole recording"),
        (lambda b: b.replace(b'"color":"Blue"', b'"color":"Pink"'), "whole recording"),
        (lambda b: b.replace(b'"|u1"', b'"|O8"', 1), "whole recording"),
        (lambda b: repacked(b, crc32=0), "whole recording"),
        (lambda b: repacked(b, bytes=1), "whole recording"),
        (lambda b: repacked(b, bytes=(1 << 31) + 1), "bytes: 2147483649, not a number, at most"),
        (lambda b: repacked(b, track_length_m=float("nan")), "finite number"),
        (lambda b: repacked(b, episodes=[[2, 0, 0, 60, False, False]]), "whole recording"),
    ],
)
def test_a_broken_recording_says_so(damage: Callable[[bytes], bytes], message: str) -> None:
    content = of(recorded(laps(RaceConfig()))).to_bytes()
    with pytest.raises(InputError, match=message) as caught:
        Recording.from_bytes(damage(content), "runs/x/0-iteration.rec")
    assert caught.value.where == "runs/x/0-iteration.rec"


def one_lap(**objects: int) -> bytes:
    """An episode of three steps, past two objects."""
    steps, beside = np.zeros(3, STEP_DTYPE), TrackObjects.none(3, 2)
    for name, value in objects.items():
        if name in TrackObjects.__slots__:
            getattr(beside, name)[2, 1] = value
        else:
            steps[name][2] = value
    return of([RecordedEpisode(0, 0, 4, steps, beside)]).to_bytes()


@pytest.mark.parametrize(
    ("name", "known", "unknown"),
    [
        ("status", max(EpisodeStatus), max(EpisodeStatus) + 1),
        ("closest_waypoint", 0, -1),
        ("kind", max(ObjectKind), max(ObjectKind) + 1),
        ("colour", len(CAR_COLORS) - 1, len(CAR_COLORS)),
    ],
)
def test_what_no_drive_can_have_is_refused_with_its_episode(name: str, known: int, unknown: int) -> None:
    Recording.from_bytes(one_lap(**{name: known}), "a.rec")
    with pytest.raises(InputError, match=r"episode 4: an? (step|object) .*unknown"):
        Recording.from_bytes(one_lap(**{name: unknown}), "a.rec")


def test_a_header_may_have_sixteen_mebibytes() -> None:
    header, arrays = header_of(one_lap())
    text = json.dumps(header).encode()
    for length in (1 << 24, (1 << 24) + 1):
        content = b"".join([MAGIC, length.to_bytes(4, "little"), text, b" " * (length - len(text)), arrays])
        if length == 1 << 24:
            assert len(Recording.from_bytes(content, "a.rec").episodes) == 1
        else:
            with pytest.raises(InputError, match="a header of 16777217"):
                Recording.from_bytes(content, "a.rec")


@pytest.mark.parametrize(("edge", "beyond"), [(2**31 - 1, 2**31), (-(2**31), -(2**31) - 1)])
def test_worlds_and_numbers_of_episodes_have_32_bits(edge: int, beyond: int) -> None:
    content = one_lap()
    back = Recording.from_bytes(repacked(content, episodes=[[0, edge, edge, 3, True, False]]), "a.rec")
    assert (back.episodes[0].world, back.episodes[0].number) == (edge, edge)
    for place in (1, 2):
        episode = [0, 4, 4, 3, True, False]
        episode[place] = beyond
        with pytest.raises(InputError, match=rf"episodes\.0\.{place}"):
            Recording.from_bytes(repacked(content, episodes=[episode]), "a.rec")


def test_a_racer_that_is_not_in_the_list_is_refused() -> None:
    content = one_lap()
    for racer in (0, 1):
        back = Recording.from_bytes(repacked(content, episodes=[[racer, 0, 4, 3, True, False]]), "a.rec")
        assert back.episodes[0].racer == racer
    with pytest.raises(InputError, match="episode 4 of racer 2"):
        Recording.from_bytes(repacked(content, episodes=[[2, 0, 4, 3, True, False]]), "a.rec")


@pytest.mark.parametrize(
    ("place", "array"),
    [
        (0, ["steps.x_m", "<f4", [2]]),
        (0, ["steps.x_m", "<f4", [3, 1]]),
        (0, ["steps.x_m", "<i4", [3]]),
        (0, ["steps.z_m", "<f4", [3]]),
        (12, ["things.kind", "|u1", [3]]),
        (12, ["things.kind", "|u1", [3, 2, 1]]),
        (13, ["things.colour", "|u1", [3, 1]]),
        (18, ["ticks", "<i4", [3, 2]]),
    ],
)
def test_an_array_of_another_shape_or_kind_is_refused(place: int, array: list[Any]) -> None:
    content = one_lap()
    arrays = header_of(content)[0]["arrays"]
    arrays[place] = array
    with pytest.raises(InputError, match="ValueError: array '"):
        Recording.from_bytes(repacked(content, arrays=arrays), "a.rec")


def test_laps_in_a_row_share_a_world() -> None:
    driven = laps(RaceConfig())
    assert [(e.racer, e.world, e.number) for e in recorded(driven)] == [(0, 0, 0), (0, 1, 1), (0, 2, 2)]
    assert [(e.racer, e.world, e.number) for e in recorded(driven, 1, 2)] == [(1, 0, 0), (1, 0, 1), (1, 1, 2)]
    assert all(e.steps is lap.steps for e, lap in zip(recorded(driven), driven, strict=True))


def test_of_a_simtrace_the_cars_are_recorded_with_what_is_known_to_stand() -> None:
    traces = from_csv(to_csv(laps(RaceConfig())[1:], 18.8, 0.0), "x.csv")
    for nothing in (of_traces(traces), of_traces(traces, TrackObjects.none(1))):
        assert [(e.racer, e.world, e.number, e.objects) for e in nothing] == [(0, 0, 1, None), (0, 1, 2, None)]
    standing = TrackObjects.none(1, 2)
    standing.kind[:], standing.x_m[:] = ObjectKind.box, [[1.5, 2.5]]
    for episode, trace in zip(of_traces(traces, standing), traces, strict=True):
        assert episode.steps is trace.steps
        assert episode.objects is not None
        assert episode.objects.x_m.tolist() == [[1.5, 2.5]] * len(trace.steps)
        assert episode.objects.kind.tolist() == [[1, 1]] * len(trace.steps)
