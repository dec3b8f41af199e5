"""Every file with which a racer says what to do: read to a value that comes back the same, or refused by name."""

import json
import warnings
from pathlib import Path
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from contract.config import RaceConfig, RunConfig, WorldConfig
from contract.fields import read_text
from contract.host import VARIABLES as VARIABLES_HERE
from contract.host import HostSettings, S3Address
from contract.hyperparameters import Hyperparameters
from contract.metadata import ModelMetadata
from contract.params import (
    KNOWN,
    RunParams,
    evaluation_params,
    read_evaluation_params,
    read_training_params,
    training_params,
)
from tests.fuzzing import ODD_WORDS, damaged_bytes, damaged_json, damaged_text, examples, value_or_error
from undercut.interchange.drfc import VARIABLES, read_drfc_env
from undercut.league.rules import LeagueFile, new_file
from undercut.races.params import race_params, read_race_params

REPO = Path(__file__).resolve().parents[2]
HYPERPARAMETERS = json.loads((REPO / "actions/hyperparameters.json").read_text()) | {
    "max_sample_count": "10",
    "pretrained_s3_bucket": "local",
    "pretrained_s3_prefix": "before",
}
METADATA = [
    {
        "action_space": [
            {"steering_angle": "-30", "speed": 0.6, "index": 0},
            {"steering_angle": 30, "speed": "1", "index": 1},
        ],
        "sensor": ["FRONT_FACING_CAMERA", "LIDAR"],
        "neural_network": "DEEP_CONVOLUTIONAL_NETWORK_SHALLOW",
        "version": "4",
        "preprocess_type": "GREY_SCALE",
        "regional_parameters": ["64", 1, 0.5],
        "lidar_config": {"num_sectors": 8, "num_values_per_sector": 8, "clipping_dist": 2.0},
    },
    {
        "action_space": {"steering_angle": {"low": -30.0, "high": 30.0}, "speed": {"low": 0.5, "high": 4}},
        "action_space_type": "continuous",
        "training_algorithm": "sac",
        "sensor": ["STEREO_CAMERAS"],
        "version": 5,
    },
]
CONFIG = RunConfig(
    name="mine",
    race=RaceConfig(race_type="OBJECT_AVOIDANCE", number_of_obstacles=2, object_positions=((0.25, 1), (0.5, -1))),
    worlds=(WorldConfig(track="paddock"), WorldConfig(track="switchback", race=RaceConfig(number_of_bot_cars=2))),
)


def _params(name: str) -> str:
    """The guidance's file without its comments, which take PyYAML's time."""
    lines = (REPO / f"actions/params/{name}_params.yaml").read_text().splitlines()
    return "".join(f"{line.split(' #')[0]}\n" for line in lines if line.split("#")[0].strip())


TRAINING, EVALUATION, HEAD_TO_HEAD = map(_params, ("training", "evaluation", "head2head"))
DEEP_YAML = st.sampled_from(["[" * 600, "{a: " * 1_500, "- " * 1_500])
"""Deeper than PyYAML recurses; it takes the square of the brackets' number to read them."""
WORDS = st.sampled_from(["", "0", "1", "true", "0.5", "[1, 2]", "['0.25, +1']", "a", "builtin"]) | ODD_WORDS
YAML = st.lists(st.tuples(st.sampled_from(sorted(KNOWN)), WORDS), max_size=6).map(
    lambda lines: "".join(f"{key}: {word}\n" for key, word in lines)
)
ENV = st.lists(st.tuples(st.sampled_from(sorted(VARIABLES)), WORDS | st.just("$DR_WORLD_NAME${DR_CAR_COLOR}"))).map(
    lambda lines: "".join(f"{name}={word}\n" for name, word in lines)
)


@examples(60)
@given(damaged_json(HYPERPARAMETERS), st.sampled_from(["clipped_ppo", "sac"]), st.booleans())
def test_hyperparameters(text: str, algorithm: str, strict: bool) -> None:
    read = value_or_error(lambda: Hyperparameters.parse(text, "mine.json", algorithm, strict), "mine.json")
    if read is not None:
        assert Hyperparameters.parse(read.to_json(), algorithm=algorithm) == read


@examples(80)
@given(st.one_of(*map(damaged_json, METADATA)), st.booleans())
def test_metadata(text: str, strict: bool) -> None:
    read = value_or_error(lambda: ModelMetadata.parse(text, "mine.json", strict), "mine.json")
    if read is not None:
        assert value_or_error(lambda: ModelMetadata.parse(read.to_json(), strict=strict)) == read
        whole = value_or_error(lambda: ModelMetadata.parse(read.complete_json(), strict=strict))
        assert whole is not None and whole.actions == read.actions and whole.sensors == read.sensors


@examples(60)
@given(damaged_json(json.loads(CONFIG.to_json())))
def test_run_config(text: str) -> None:
    read = value_or_error(lambda: RunConfig.from_json(text, "run.json"), "run.json")
    if read is not None:
        assert RunConfig.from_json(read.to_json(), "again") == read


@examples(12)
@given(damaged_text(TRAINING, most=8) | YAML | DEEP_YAML, st.booleans())
def test_training_params(text: str, strict: bool) -> None:
    _assert_run_params(value_or_error(lambda: read_training_params(text, "t.yaml", strict), "t.yaml"), "TRAINING")


@examples(12)
@given(damaged_text(EVALUATION, most=8) | YAML | DEEP_YAML, st.booleans())
def test_evaluation_params(text: str, strict: bool) -> None:
    _assert_run_params(value_or_error(lambda: read_evaluation_params(text, "e.yaml", strict), "e.yaml"), "EVALUATION")


def _assert_run_params(read: RunParams | None, job: str) -> None:
    """A config that can be built of them is written to a file that says the same."""
    if read is None:
        return
    config = value_or_error(lambda: RunConfig.build({"name": "mine", **read.values}, "together"), "together")
    if config is None:
        return
    if job == "TRAINING":
        again = read_training_params(training_params(config, read.carried), "again")
    else:
        again = read_evaluation_params(evaluation_params(config, read.carried), "again")
    assert RunConfig.build(again.over(config.model_dump()), "again") == config
    assert {key: again.carried[key] for key in read.carried if key in again.carried} == {
        key: value for key, value in read.carried.items() if key in again.carried
    }


@examples(15)
@given(damaged_text(HEAD_TO_HEAD, most=8) | YAML | DEEP_YAML, st.booleans(), st.booleans())
def test_race_params(text: str, strict: bool, named: bool) -> None:
    models = ("a", "b") if named else ()
    read = value_or_error(lambda: read_race_params(text, "r.yaml", strict, models), "r.yaml")
    if read is not None:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # keys of the other job are carried, with a warning
            again = read_race_params(race_params(read, "paddock"), "again")
        assert (again.racers, again.race, again.evaluation) == (read.racers, read.race, read.evaluation)


@examples(60)
@given(ENV | damaged_text("export DR_WORLD_NAME=paddock # mine\nDR_RACE_TYPE='TIME_TRIAL'\n"), st.booleans())
def test_drfc_env(text: str, strict: bool) -> None:
    read = value_or_error(lambda: read_drfc_env(text, "run.env", "TRAINING", strict), "run.env")
    if read is not None:
        value_or_error(lambda: RunConfig.build({"name": "mine", **read.values}, "together"), "together")


def test_variables_that_double_each_other_do_not_fill_the_memory() -> None:
    lines = ["A0=xxxxxxxxxx", *(f"A{i + 1}=$A{i}$A{i}" for i in range(60))]
    read = value_or_error(lambda: read_drfc_env("\n".join(lines), "run.env", "TRAINING"), "run.env")
    assert read is None


def test_yaml_aliases_do_not_fill_the_memory() -> None:
    text = f"A: &a [{', '.join('x' * 4000)}]\nNUM_WORKERS: [{', '.join(['*a'] * 20_000)}]\n"
    assert value_or_error(lambda: read_training_params(text, "t.yaml", strict=False), "t.yaml") is None


def test_a_placeholder_is_not_looked_for_in_quadratic_time() -> None:
    for word in ("<" * 100_000, "${" * 50_000, "{{" * 50_000):
        text = f"WORLD_NAME: '{word}'\n"
        value_or_error(lambda text=text: read_training_params(text, "t.yaml"), "t.yaml")  # type: ignore[misc]


@examples(30)
@given(damaged_bytes(json.dumps(HYPERPARAMETERS).encode()))
def test_files_are_text_or_named(tmp_path_factory: Any, content: bytes) -> None:
    path = tmp_path_factory.getbasetemp() / "mine.json"
    path.write_bytes(content)
    value_or_error(lambda: read_text(path, "it"), "mine.json")


def test_a_file_without_end_is_refused() -> None:
    assert value_or_error(lambda: read_text(Path("/dev/zero"), "it"), "/dev/zero") is None


@examples(60)
@given(
    st.dictionaries(
        st.sampled_from([*VARIABLES_HERE, "UNDERCUT_REDIS"]),
        WORDS | damaged_text("redis://me@host:6379/1") | damaged_text("s3://bucket/prefix"),
        max_size=3,
    )
)
def test_host_settings(environment: dict[str, str]) -> None:
    value_or_error(lambda: HostSettings.load(environment), "environment: UNDERCUT_")


@examples(60)
@given(st.text(max_size=30) | damaged_text("s3://bucket/prefix/more"))
def test_s3_addresses(text: str) -> None:
    address = value_or_error(lambda: S3Address.parse(text, "place"), "place")
    if address is not None:
        assert S3Address.parse(str(address), "again") == address


@examples(60)
@given(damaged_text(new_file("paddock", "Club", 3, (1, 2), "mean_lap", "own")))
def test_league_files(text: str) -> None:
    rules = value_or_error(lambda: LeagueFile.parse(text, "league.yaml"), "league.yaml")
    if rules is not None:
        assert rules.config(rules.seeds[0]).evaluation.number_of_trials == rules.laps
