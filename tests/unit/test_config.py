"""RunConfig: round trips, and errors that name key, value, rule and fix."""

import json
import math
import operator

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import BaseModel, ValidationError

from contract.config import EvaluationConfig, RaceConfig, RunConfig, TrainingConfig, WorldConfig
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
        ({"name": "a", "zzz": 3}, ["run.json: zzz", "delete the key"]),
        ({"name": "a", "seed": -1}, ["run.json: seed", "-1", "at least 0"]),
        ({"name": "a", "cars": "many"}, ["run.json: cars", "'many'", "a whole number"]),
        ({"name": "a", "training": {"max_step": 3}}, ["training.max_step", "did you mean 'max_steps'"]),
        ({"name": "a", "training": {"start_position_offset": 2}}, ["training.start_position_offset", "2"]),
        ({"name": "a", "evaluation": {"number_of_trials": 0}}, ["evaluation.number_of_trials", "0"]),
        ({"name": "a", "evaluation": {"off_track_penalty": float("inf")}}, ["off_track_penalty", "inf", "finite"]),
        ({"name": "a", "race": {"lower_lane_change_time": 6}}, ["run.json: race", "upper_lane_change_time 5.0"]),
        ({"name": "a", "race": {"bot_car_sped": 1}}, ["race.bot_car_sped", "did you mean 'bot_car_speed'"]),
        ({"name": "a", "race": {"race_type": "TIMETRIAL"}}, ["race.race_type", "did you mean 'TIME_TRIAL'"]),
        ({"name": "a", "simulator": "gazbo"}, ["run.json: simulator", "did you mean 'gazebo'"]),
        ({"name": "a", "precision": 16}, ["run.json: precision", "choose one of them"]),
        ({}, ["run.json: name", "(missing)", "add name"]),
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


SWITCHES = {
    "reverse_dir": False,
    "enable_domain_randomization": False,
    "remap_actions": False,
    "race.randomize_obstacle_locations": False,
    "race.is_obstacle_bot_car": False,
    "race.randomize_bot_car_locations": False,
    "race.is_lane_change": False,
    "race.bots_halt": True,
    "training.change_start_position": True,
    "training.alternate_driving_direction": False,
    "evaluation.is_continuous": False,
    "evaluation.mercy_reset": False,
    "evaluation.change_grid": False,
    "evaluation.start_beside": False,
}
INFINITE = math.inf
NUMBERS = [
    # key, default, least, most; whole numbers where the least is one
    ("seed", 0, 0, 2**31 - 1),
    ("cars", 20, 1, 1_000),
    ("threads", 0, 0, 1_024),
    ("race.number_of_obstacles", 0, 0, 50),
    ("race.min_distance_between_obstacles", 2.0, 5e-324, INFINITE),
    ("race.number_of_bot_cars", 0, 0, 50),
    ("race.bot_car_speed", 0.2, 0.0, 4.0),
    ("race.min_distance_between_bot_cars", 2.0, 5e-324, INFINITE),
    ("race.lower_lane_change_time", 3.0, 5e-324, 5.0),
    ("race.upper_lane_change_time", 5.0, 3.0, INFINITE),
    ("race.lane_change_distance", 1.0, 5e-324, INFINITE),
    ("race.penalty_seconds", 2.0, 0.0, INFINITE),
    ("race.number_of_reverse_counts", 15, 1, INFINITE),
    ("training.max_iterations", 60, 1, INFINITE),
    ("training.max_steps", 45_000, 1, INFINITE),
    ("training.max_minutes", 0.0, 0.0, INFINITE),
    ("training.max_episodes", 0, 0, INFINITE),
    ("training.clean_evaluations", 3, 0, INFINITE),
    ("training.min_eval_trials", 5, 1, 100),
    ("training.number_of_resets", 0, 0, INFINITE),
    ("training.off_track_penalty", 0.0, 0.0, INFINITE),
    ("training.collision_penalty", 0.0, 0.0, INFINITE),
    ("training.round_robin_advance_dist", 0.05, 0.0, 1.0),
    ("training.start_line_share", 0.0, 0.0, 1.0),
    ("training.start_position_offset", 0.0, 0.0, 1.0),
    ("training.max_episode_steps", 2_000, 20, INFINITE),
    ("evaluation.number_of_trials", 5, 1, 1_000),
    ("evaluation.number_of_resets", 10_000, 0, INFINITE),
    ("evaluation.off_track_penalty", 2.0, 0.0, INFINITE),
    ("evaluation.collision_penalty", 5.0, 0.0, INFINITE),
    ("evaluation.immobilized_penalty", 0.0, 0.0, INFINITE),
    ("evaluation.reset_behind_dist", 1.0, 0.0, INFINITE),
    ("evaluation.max_resets_after_crash", 3, 1, INFINITE),
    ("evaluation.reset_ahead_dist", 1.0, 0.0, INFINITE),
    ("evaluation.start_pos_offset", 0.75, 0.0, 1.0),
    ("evaluation.race_duration_s", 0.0, 0.0, INFINITE),
    ("evaluation.start_position_offset", 0.0, 0.0, 1.0),
    ("evaluation.max_lap_steps", 5_000, 20, INFINITE),
    ("evaluation.start_jitter_m", 0.01, 0.0, 0.2),
    ("evaluation.start_jitter_deg", 2.0, 0.0, 20.0),
]


def with_value(key: str, value: object) -> RunConfig:
    section, _, name = key.rpartition(".")
    return RunConfig.build({"name": "a", **({section: {name: value}} if section else {name: value})}, "run.json")


def value_of(config: RunConfig, key: str) -> object:
    return operator.attrgetter(key)(config)


def test_what_is_left_out_is_as_the_guidance_has_it() -> None:
    config = RunConfig(name="a")
    assert {key: value_of(config, key) for key in SWITCHES} == SWITCHES
    assert {key: value_of(config, key) for key, *_ in NUMBERS} == {key: default for key, default, *_ in NUMBERS}
    told = {*SWITCHES, *(key for key, *_ in NUMBERS)}
    for section in ("", "race.", "training.", "evaluation."):
        part = value_of(config, section[:-1]) if section else config
        assert isinstance(part, BaseModel)
        numbers = {section + key for key, value in part if isinstance(value, int | float)}
        assert numbers <= told, "each number and switch of the config is in one of the tables"


@pytest.mark.parametrize(("key", "default", "least", "most"), NUMBERS, ids=[key for key, *_ in NUMBERS])
def test_numbers_reach_from_bound_to_bound(key: str, default: float, least: float, most: float) -> None:
    whole = isinstance(default, int)
    most_told = 10**12 if most == INFINITE else most
    for value in (least, most_told):
        assert value_of(with_value(key, value), key) == value
    beyond = [least - 1 if whole else math.nextafter(least, -INFINITE)]
    beyond += [INFINITE if most == INFINITE else most + 1 if whole else math.nextafter(most, INFINITE), math.nan]
    for value in beyond:
        with pytest.raises(InputError, match=r"run\.json"):
            with_value(key, value)


@pytest.mark.parametrize("key", ["racer_name", "display_name", "leaderboard_type", "leaderboard_name"])
def test_names_are_as_long_as_the_guidance_allows(key: str) -> None:
    assert value_of(with_value(key, "x" * 64), key) == "x" * 64
    with pytest.raises(InputError, match="64 characters"):
        with_value(key, "x" * 65)


def test_a_hundred_worlds_and_no_more() -> None:
    assert len(with_value("worlds", [{}] * 100).each_world()) == 100
    with pytest.raises(InputError, match="at most 100"):
        with_value("worlds", [{}] * 101)


def test_a_world_and_the_run_must_fit_each_other() -> None:
    race = {"lower_lane_change_time": 6, "upper_lane_change_time": 8}
    with pytest.raises(InputError, match=r"6\.0 is above upper_lane_change_time 5\.0"):
        RunConfig.build({"name": "a", "race": race, "worlds": [{}, {"race": {"upper_lane_change_time": 5}}]}, "x")


def test_a_world_without_a_value_of_its_own_has_the_runs() -> None:
    config = RunConfig.build({"name": "a", "track": "oval", "worlds": [{"track": None, "reverse_dir": True}]}, "x")
    assert config.in_world(0).track == "oval"
    assert json.loads(config.to_json())["worlds"] == [{"reverse_dir": True}]


@pytest.mark.parametrize(
    "part",
    [RunConfig(name="a"), RaceConfig(), TrainingConfig(), EvaluationConfig(), WorldConfig()],
    ids=lambda part: type(part).__name__,
)
def test_a_config_does_not_change_and_has_no_other_keys(part: BaseModel) -> None:
    key = next(iter(type(part).model_fields))
    with pytest.raises(ValidationError, match="frozen"):
        setattr(part, key, getattr(part, key))
    with pytest.raises(ValidationError, match="Extra inputs"):
        type(part).model_validate({"name": "a", "mine": 1} if isinstance(part, RunConfig) else {"mine": 1})


def test_a_config_in_its_usual_form_comes_back_byte_for_byte() -> None:
    config = RunConfig(name="a", race=RaceConfig(object_positions=((0.25, 1), (0.5, -1))))
    usual = json.dumps(json.loads(config.to_json()), indent=2) + "\n"
    assert RunConfig.from_json(usual, "run.json").to_json() == usual


@pytest.mark.parametrize("positions", [[[0.5, 0]], [[0.5, 2]], [[0.5]], [[0.5, 1, 1]], [["a", 1]]])
def test_positions_have_one_of_two_lanes(positions: list[list[object]]) -> None:
    with pytest.raises(InputError, match=r"race\.object_positions"):
        with_value("race.object_positions", positions)


@pytest.mark.parametrize("seconds", [5e-324, 0.5, 3.0, 1e12])
def test_bots_may_change_lanes_after_always_the_same_time(seconds: float) -> None:
    times = {"lower_lane_change_time": seconds, "upper_lane_change_time": seconds}
    race = with_value("race", times).race
    assert (race.lower_lane_change_time, race.upper_lane_change_time) == (seconds, seconds)
