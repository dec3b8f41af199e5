"""RunConfig: round trips, and errors that name key, value, rule and fix."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from contract.config import RaceConfig, RunConfig
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
        ({"name": "a", "evaluation": {"off_track_penalty": float("inf")}}, ["off_track_penalty", "inf", "finite"]),
        ({"name": "a", "race": {"lower_lane_change_time": 6}}, ["run.json: race", "upper_lane_change_time 5.0"]),
        ({"name": "a", "race": {"bot_car_sped": 1}}, ["race.bot_car_sped", "did you mean 'bot_car_speed'"]),
        ({"name": "a", "race": {"race_type": "TIMETRIAL"}}, ["race.race_type", "did you mean 'TIME_TRIAL'"]),
        ({"name": "a", "simulator": "gazbo"}, ["run.json: simulator", "did you mean 'gazebo'"]),
        ({"name": "a", "precision": 16}, ["run.json: precision", "choose one of them"]),
        ({}, ["run.json: name", "required"]),
    ],
)
def test_bad_values_are_named(values: dict[str, object], words: list[str]) -> None:
    with pytest.raises(InputError) as caught:
        RunConfig.build(values, "run.json")
    for word in words:
        assert word in str(caught.value)


def test_broken_json_names_line_and_column() -> None:
    with pytest.raises(InputError, match=r"run\.json, line 2, column \d+"):
        RunConfig.from_json('{\n "name": x}', "run.json")


def test_a_json_list_is_no_config() -> None:
    with pytest.raises(InputError, match=r"run\.json"):
        RunConfig.from_json("[]", "run.json")


def test_a_run_of_an_older_version_still_loads() -> None:
    """The keys of version 0.1, before races, randomisation and names."""
    old = {
        "name": "a",
        "track": "paddock",
        "reverse_dir": True,
        "seed": 3,
        "cars": 20,
        "threads": 0,
        "training": {"max_iterations": 5, "min_eval_trials": 2, "best_model_metric": "reward"},
        "evaluation": {"number_of_trials": 3, "off_track_penalty": 2.0},
    }
    config = RunConfig.from_json(json.dumps(old), "run.json")
    assert (config.training.max_iterations, config.evaluation.number_of_trials) == (5, 3)
    assert config.race == RaceConfig()
    assert not config.enable_domain_randomization
