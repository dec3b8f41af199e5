"""Keys of params files that are carried, and what names, bounds and positions mean."""

import warnings
from typing import Any

import pytest
import yaml

from contract.config import RunConfig
from contract.errors import InputError
from contract.params import (
    evaluation_params,
    read_evaluation_params,
    read_training_params,
    training_params,
)
from tests.conftest import REPO

TEMPLATES = REPO / "actions" / "params"


def test_unknown_keys_are_refused_unless_asked_otherwise() -> None:
    for read in (read_training_params, read_evaluation_params):
        with pytest.raises(InputError, match="did you mean 'WORLD_NAME'"):
            read("WORLDNAME: a", "x")


def test_keys_of_the_other_job_are_carried_and_those_of_the_job_are_not() -> None:
    with pytest.warns(UserWarning, match="NUMBER_OF_EPISODES: has no effect in EVALUATION"):
        evaluated = read_evaluation_params("NUMBER_OF_EPISODES: 3\nPENALTY_SECONDS: 1\nAWS_REGION: a", "x")
    assert evaluated.carried == {"NUMBER_OF_EPISODES": "3", "AWS_REGION": "a"}
    with pytest.warns(UserWarning, match="DONE_CONDITION: has no effect in TRAINING"):
        trained = read_training_params("DONE_CONDITION: all\nJOB_TYPE: training\nMODEL_S3_PREFIX: a", "x")
    assert trained.carried == {"DONE_CONDITION": "all"}
    assert trained.values == {}


def test_nothing_is_said_of_keys_that_have_an_effect_or_are_known_to_have_none() -> None:
    text = "MODEL_NAME: a\nTRACK_DIRECTION_CLOCKWISE: true\nWORLD_NAME: b\nNUM_WORKERS: 1\nMP4_S3_BUCKET: [c, d]\n"
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        read = read_training_params(text, "x")
        read_evaluation_params(f"{text}PENALTY_SECONDS: 1", "x")
    assert read.carried == {"NUM_WORKERS": "1", "MP4_S3_BUCKET": ["c", "d"]}


@pytest.mark.parametrize(
    ("lines", "track"),
    [
        ("WORLD_NAME: oval\nTRACK_DIRECTION_CLOCKWISE: true", "oval_cw"),
        ("WORLD_NAME: oval\nTRACK_DIRECTION_CLOCKWISE: 'False'", "oval_ccw"),
        ("WORLD_NAME: oval_cw\nTRACK_DIRECTION_CLOCKWISE: false", "oval_cw"),
        ("WORLD_NAME: oval_ccw\nTRACK_DIRECTION_CLOCKWISE: true", "oval_ccw"),
        ("TRACK_DIRECTION_CLOCKWISE: true", None),
        ("WORLD_NAME: oval", "oval"),
    ],
)
def test_a_direction_apart_from_the_tracks_name(lines: str, track: str | None) -> None:
    read = read_training_params(lines, "x")
    assert read.values.get("track") == track
    assert read.carried == {}


@pytest.mark.parametrize(
    ("text", "model"),
    [("a", "a"), ("jobs/of/mine/", "mine"), (" jobs/mine ", "mine"), ("''", None), ("", None)],
)
def test_the_run_is_the_last_part_of_a_path(text: str, model: str | None) -> None:
    assert read_training_params(f"MODEL_NAME: {text}\nMODEL_S3_PREFIX: other", "x").model == model
    assert read_evaluation_params(f"MODEL_S3_PREFIX: {text}\nMODEL_NAME: other", "x").model == model


@pytest.mark.parametrize(
    ("line", "field"),
    [
        ("NUMBER_OF_OBSTACLES: 50", {"number_of_obstacles": 50, "object_positions": ()}),
        ("NUMBER_OF_BOT_CARS: 0", {"number_of_bot_cars": 0}),
        ("BOT_CAR_SPEED: 4", {"bot_car_speed": 4.0}),
        ("MIN_DISTANCE_BETWEEN_BOT_CARS: 1e-9", {"min_distance_between_bot_cars": 1e-9}),
        ("OBJECT_POSITIONS: ['0, 1', '1, -1']", {"object_positions": ((0.0, 1), (1.0, -1))}),
        (
            "LOWER_LANE_CHANGE_TIME: 5\nUPPER_LANE_CHANGE_TIME: 5",
            {"lower_lane_change_time": 5.0, "upper_lane_change_time": 5.0},
        ),
    ],
)
def test_bounds_are_allowed(line: str, field: dict[str, Any]) -> None:
    assert read_training_params(line, "x").values == {"race": field}
    assert read_training_params(f"RACER_NAME: {'x' * 64}", "x").values == {"racer_name": "x" * 64}


@pytest.mark.parametrize("item", ["0.5, 1, 1", "1.5, 1", "-0.5, 1", "0.5, 0", "0.5, 2", "0.5", "", "a, 1", "nan, 1"])
def test_positions_that_are_none(item: str) -> None:
    for text in (f"['{item}']", f"[[{item}]]"):
        with pytest.raises(InputError, match=r"line 1: OBJECT_POSITIONS(.|\n)*lap fraction, lane"):
            read_training_params(f"OBJECT_POSITIONS: {text}", "x.yaml")


def test_values_carried_stand_before_those_that_are_written_for_all_runs() -> None:
    carried = {"NUM_WORKERS": "7", "AWS_REGION": "here"}
    config = RunConfig(name="a", racer_name="Zoë")
    for write in (training_params, evaluation_params):
        plain, told = yaml.safe_load(write(config)), write(config, carried)
        assert yaml.safe_load(told) == {**plain, **carried}
        assert "Zoë" in told
        assert next(iter(plain)) == "JOB_TYPE", "in the order of the guidance, not of letters"


def test_a_training_is_told_its_worlds_and_an_evaluation_the_runs_own() -> None:
    worlds = ({"track": "switchback"}, {"track": "switchback"})
    config = RunConfig.build({"name": "a", "track": "paddock", "worlds": worlds}, "x")
    assert read_training_params(training_params(config), "x").values["track"] == "switchback"
    assert read_evaluation_params(evaluation_params(config), "x").values["track"] == "paddock"
