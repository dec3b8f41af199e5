"""Action spaces of a lap: what clusters must be, ranges, and laps driven with them."""

import json

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from contract.errors import InputError
from contract.metadata import ContinuousActions, DiscreteActions, ModelMetadata
from contract.state import FloatArray
from tests.line_support import kidney
from undercut.line.actions import action_space, best_lap, clustered, ranges
from undercut.line.reporting import metadata_json

commands_of_laps = st.lists(
    st.tuples(st.floats(-30.0, 30.0), st.floats(0.1, 4.0), st.floats(0.01, 0.1)), min_size=3, max_size=60
)


def _columns(lap: list[tuple[float, float, float]]) -> tuple[FloatArray, FloatArray]:
    values = np.array(lap)
    return values[:, :2], values[:, 2]


@settings(max_examples=40, deadline=None)
@given(commands_of_laps, st.integers(2, 30), st.booleans())
def test_actions_are_few_different_allowed_and_mirrored_if_wished(
    lap: list[tuple[float, float, float]], count: int, mirrored: bool
) -> None:
    actions = clustered(*_columns(lap), count, mirrored)
    pairs = list(zip(actions.steering_deg.tolist(), actions.speed_mps.tolist(), strict=True))
    assert 1 <= len(pairs) <= count
    assert len(set(pairs)) == len(pairs) and pairs == sorted(pairs)
    assert all(-30.0 <= steering <= 30.0 and 0.1 <= speed <= 4.0 for steering, speed in pairs)
    if mirrored:
        assert {(-steering, speed) for steering, speed in pairs} == set(pairs)


@settings(max_examples=40, deadline=None)
@given(commands_of_laps, st.booleans())
def test_ranges_hold_all_commands(lap: list[tuple[float, float, float]], mirrored: bool) -> None:
    commands, _ = _columns(lap)
    found = ranges(commands, mirrored)
    for (low, high), values in zip((found.steering_deg, found.speed_mps), commands.T, strict=True):
        assert low - 1e-6 <= values.min() and values.max() <= high + 1e-6
    assert found.steering_deg[0] >= -30.0 and found.steering_deg[1] <= 30.0
    assert found.speed_mps[0] >= 0.1 and found.speed_mps[1] <= 4.0
    if mirrored:
        assert found.steering_deg[0] == -found.steering_deg[1]


def test_a_lap_of_two_commands_has_those_two_actions_weighted_by_time() -> None:
    commands = np.array([[20.0, 1.0], [20.0, 1.0], [-10.0, 3.0], [-10.0, 3.0]])
    actions = clustered(commands, np.ones(4), 2, False)
    assert actions.steering_deg.tolist() == [-10.0, 20.0] and actions.speed_mps.tolist() == [3.0, 1.0]
    # one cluster for all is where most of the time is spent
    near = np.array([[10.0, 2.0], [12.0, 2.0], [-30.0, 2.0]])
    actions = clustered(near, np.array([3.0, 1.0, 4.0]), 2, False)
    assert actions.steering_deg.tolist() == [-30.0, 10.5]


@pytest.mark.slow
def test_a_lap_with_five_actions_is_near_the_limit() -> None:
    track, line = kidney()
    actions = action_space(line, 5)
    assert isinstance(actions, DiscreteActions)
    lap = best_lap(track, line, actions)
    assert lap is not None and len(lap.taken) == pytest.approx(lap.lap_s * 15.0, abs=2)
    assert set(lap.taken.tolist()) <= set(range(actions.size))
    assert 0.995 < lap.lap_s / line.limit_s < 1.04


def test_actions_that_turn_to_one_side_only_drive_no_lap() -> None:
    track, line = kidney()
    assert best_lap(track, line, DiscreteActions(np.array([20.0, 25.0]), np.array([3.0, 3.5]))) is None


def test_the_metadata_is_what_trains() -> None:
    _, line = kidney()
    actions = action_space(line, 7, mirrored=True)
    assert isinstance(actions, DiscreteActions)
    read = ModelMetadata.parse(metadata_json(actions, line), limits=True)
    assert read.actions == actions and read.version == 5
    assert [one["index"] for one in json.loads(metadata_json(actions, line))["action_space"]] == list(
        range(actions.size)
    )
    continuous = ModelMetadata.parse(metadata_json(action_space(line, None), line), limits=True)
    assert isinstance(continuous.actions, ContinuousActions)
    assert continuous.actions.steering_deg[0] <= -15.0 and continuous.actions.speed_mps[1] >= 3.4


@pytest.mark.parametrize("count", [-1, 0, 1, 31, 1000])
def test_numbers_of_actions_that_no_form_takes(count: int) -> None:
    _, line = kidney()
    with pytest.raises(InputError, match="2 to 30 actions"):
        action_space(line, count)
