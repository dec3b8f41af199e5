"""Lists in a training's YAML: several worlds, one after the other."""

from typing import Any

import pytest
import yaml

from contract.config import RunConfig
from contract.errors import InputError
from contract.params import (
    read_evaluation_params,
    read_training_params,
    training_params,
)
from tests.conftest import REPO

TEMPLATES = REPO / "actions" / "params"


WORLDS = """\
WORLD_NAME: [paddock, switchback]
REVERSE_DIR: ["true", "false"]
ENABLE_DOMAIN_RANDOMIZATION: [false, true]
NUMBER_OF_OBSTACLES: ["0", "3"]
BOT_CAR_SPEED: 0.5
RACE_TYPE: [OBJECT_AVOIDANCE]
"""


def test_lists_of_a_training_are_worlds_and_the_run_is_as_the_first() -> None:
    values = read_training_params(WORLDS, "x").values
    first: dict[str, Any] = {"track": "paddock", "reverse_dir": True, "enable_domain_randomization": False}
    second: dict[str, Any] = {"track": "switchback", "reverse_dir": False, "enable_domain_randomization": True}
    assert values["worlds"] == [
        {**first, "race": {"number_of_obstacles": 0}},
        {**second, "race": {"number_of_obstacles": 3}},
    ]
    assert {key: value for key, value in values.items() if key not in ("worlds", "race")} == first
    assert values["race"] == {
        "number_of_obstacles": 0,
        "object_positions": (),
        "bot_car_speed": 0.5,
        "race_type": "OBJECT_AVOIDANCE",
    }
    config = RunConfig.build({"name": "a", **values}, "x")
    written = training_params(config)
    assert RunConfig.build({"name": "a", **read_training_params(written, "y").values}, "y").each_world() == (
        config.each_world()
    )
    lists = {key: value for key, value in yaml.safe_load(written).items() if isinstance(value, list)}
    assert lists == {
        "WORLD_NAME": ["paddock", "switchback"],
        "REVERSE_DIR": ["true", "false"],
        "ENABLE_DOMAIN_RANDOMIZATION": ["false", "true"],
        "NUMBER_OF_OBSTACLES": ["0", "3"],
        "OBJECT_POSITIONS": [],
    }


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("BOT_CAR_SPEED: [1, 2, 3]", ["BOT_CAR_SPEED", "as many values as WORLD_NAME, 2"]),
        ("CAR_COLOR: [Red, Blue]", ["CAR_COLOR", "one value"]),
        ("BOT_CAR_SPEED: [1, 5]", ["BOT_CAR_SPEED", "'5'", "0..4"]),
        ("BOT_CAR_SPEED: [[1], [2]]", ["BOT_CAR_SPEED", "one value"]),
    ],
)
def test_lists_that_are_no_worlds_are_refused(line: str, words: list[str]) -> None:
    with pytest.raises(InputError) as caught:
        read_training_params(f"WORLD_NAME: [paddock, switchback]\n{line}", "x.yaml")
    for word in ["x.yaml, line 2", *words]:
        assert word in str(caught.value)


def test_an_evaluation_has_one_world() -> None:
    with pytest.raises(InputError, match=r"WORLD_NAME(.|\n)*one value"):
        read_evaluation_params("WORLD_NAME: [paddock, switchback]", "x")
