"""Recordings: whole there and back, small, and clear about what is broken."""

from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from contract.config import EvaluationConfig, RaceConfig
from contract.errors import InputError
from contract.metadata import ModelMetadata
from contract.protocols import ActionDistribution, Phase, RolloutOrder
from contract.recording import MAGIC, RecordedEpisode, RecordedRacer, Recording, recorded
from contract.rollout import Rollout
from contract.state import STEP_DTYPE, Observations, ThingKind, Things
from simapp.race import Race, RaceRules
from simapp.rollout import collect
from simapp.starts import start_line
from simapp.versus import Driver, race_laps
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
        assert lap.things is not None
        assert lap.things.kind.tolist() == [[ThingKind.box, ThingKind.box, ThingKind.car]] * len(lap)
        moved_m = np.hypot(np.diff(lap.things.x_m, axis=0), np.diff(lap.things.y_m, axis=0))
        assert (moved_m[:, :2] == 0.0).all()
        assert np.median(moved_m[:, 2]) == pytest.approx(0.2 / 15, rel=0.15)  # BOT_CAR_SPEED, in its lane
        assert lap.ticks is None
    assert all(lap.things is None for lap in laps(RaceConfig()))
    assert all(lap.things is None for lap in laps(RaceConfig(number_of_obstacles=2), Phase.training))


def test_races_record_when_each_car_drove() -> None:
    simulator = BlindSimulator(2, np.zeros(2, np.int64))
    rules = RaceRules(400, 2, 1.0, 1.0, pit_stops=True)
    race = Race(simulator, circle(), rules, [lambda _: 1.0] * 2, config=RaceConfig(race_type="HEAD_TO_MODEL"))
    drivers = [Driver(Steady(action), METADATA) for action in (0, 1)]
    both = race_laps(race, drivers, 1, EvaluationConfig(start_jitter_m=0.0, start_jitter_deg=0.0), 0)
    for (lap,) in both:
        assert lap.ticks is not None
        assert lap.ticks[0] == 0
        waits = np.diff(lap.ticks)
        broken = lap.steps["time_s"][1:] - lap.steps["time_s"][:-1] > 0.5
        # a penalty of 1 s is 15 steps in the pit
        assert (waits == np.where(broken, 16, 1)).all()


@given(st.integers(1, 4), st.integers(0, 3), st.booleans(), st.randoms(use_true_random=False))
def test_there_and_back(episodes: int, places: int, raced: bool, random: object) -> None:
    rng = np.random.default_rng(random.getrandbits(32))  # type: ignore[attr-defined]
    made = []
    for number in range(episodes):
        count = int(rng.integers(1, 30))
        steps = np.zeros(count, STEP_DTYPE)
        for name in STEP_DTYPE.names or ():
            steps[name] = rng.uniform(0, 2, count).astype(np.float32)
        things = Things.none(count, places)
        things.kind[:], things.x_m[:] = 1, rng.uniform(-5, 5, (count, places)).astype(np.float32)
        ticks = np.cumsum(rng.integers(1, 4, count)) if raced else None
        made.append(RecordedEpisode(number % 2, number, number, steps, things if places else None, ticks))
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
        assert (one.things is None) == (two.things is None)
        for name in Things.__slots__ if one.things is not None else ():
            assert (getattr(one.things, name) == getattr(two.things, name)).all()


def test_a_lap_with_six_boxes_takes_few_bytes_a_step() -> None:
    driven = laps(RaceConfig(number_of_obstacles=6))
    content = of(recorded(driven)).to_bytes()
    assert len(content) - 1500 < 45 * sum(map(len, driven))


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
    ],
)
def test_a_broken_recording_says_so(damage: Callable[[bytes], bytes], message: str) -> None:
    content = of(recorded(laps(RaceConfig()))).to_bytes()
    with pytest.raises(InputError, match=message) as caught:
        Recording.from_bytes(damage(content), "runs/x/0-iteration.rec")
    assert caught.value.where == "runs/x/0-iteration.rec"
