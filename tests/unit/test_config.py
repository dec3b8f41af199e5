"""RunConfig: round trips, and errors that name key, value, rule and fix."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from contract.config import RunConfig
from contract.errors import InputError


@given(
    name=st.from_regex(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}", fullmatch=True),
    seed=st.integers(0, 2**31 - 1),
    steps=st.integers(1, 10**9),
    offset=st.floats(0, 1),
)
def test_json_round_trip(name: str, seed: int, steps: int, offset: float) -> None:
    config = RunConfig.build(
        {"name": name, "seed": seed, "training": {"max_steps": steps, "start_position_offset": offset}}, "test"
    )
    assert RunConfig.from_json(config.to_json(), "run.json") == config


@pytest.mark.parametrize(
    ("values", "words"),
    [
        ({"name": "../up"}, ["run.json: name", "'../up'", "letters, digits"]),
        ({"name": ""}, ["run.json: name"]),
        ({"name": "a", "sed": 3}, ["run.json: sed", "did you mean 'seed'"]),
        ({"name": "a", "seed": -1}, ["run.json: seed", "-1", "greater than or equal to 0"]),
        ({"name": "a", "cars": "many"}, ["run.json: cars", "'many'", "integer"]),
        ({"name": "a", "training": {"max_step": 3}}, ["training.max_step", "did you mean 'max_steps'"]),
        ({"name": "a", "training": {"start_position_offset": 2}}, ["training.start_position_offset", "2"]),
        ({"name": "a", "evaluation": {"number_of_trials": 0}}, ["evaluation.number_of_trials", "0"]),
        ({}, ["run.json: name", "required"]),
    ],
)
def test_bad_values_are_named(values: dict[str, object], words: list[str]) -> None:
    with pytest.raises(InputError) as caught:
        RunConfig.build(values, "run.json")
    for word in words:
        assert word in str(caught.value)


def test_broken_json_names_line_and_column() -> None:
    with pytest.raises(InputError, match=r"run\.json:2:\d+"):
        RunConfig.from_json('{\n "name": x}', "run.json")


def test_a_json_list_is_no_config() -> None:
    with pytest.raises(InputError, match=r"run\.json"):
        RunConfig.from_json("[]", "run.json")
