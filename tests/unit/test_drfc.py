"""deepracer-for-cloud's env files as run parameters."""

import pytest

from contract.config import RunConfig
from contract.errors import InputError
from contract.params import KNOWN, Job
from undercut.interchange.drfc import VARIABLES, read_drfc_env

ENV = """\
DR_RUN_ID=0
DR_WORLD_NAME=reinvent_base   # the track
DR_RACE_TYPE=OBJECT_AVOIDANCE
DR_CAR_NAME="Fast Car"
DR_CAR_COLOR=Red
export DR_DISPLAY_NAME=$DR_CAR_NAME
DR_RACER_NAME=${DR_CAR_NAME}-1
DR_CHANGE_START_POSITION=True
DR_TRAIN_CHANGE_START_POSITION=False
DR_TRAIN_REVERSE_DIRECTION=True
DR_TRAIN_ALTERNATE_DRIVING_DIRECTION=True
DR_TRAIN_ROUND_ROBIN_ADVANCE_DIST=0.1
DR_TRAIN_MIN_EVAL_TRIALS=7
DR_TRAIN_MULTI_CONFIG=False
DR_EVAL_NUMBER_OF_TRIALS=3
DR_EVAL_MAX_RESETS=100
DR_EVAL_IS_CONTINUOUS=True
DR_EVAL_OFF_TRACK_PENALTY=3.0
DR_EVAL_COLLISION_PENALTY=5.0
DR_EVAL_OPP_RACER_NAME=somebody
DR_LOCAL_S3_MODEL_PREFIX=my-model
DR_OA_NUMBER_OF_OBSTACLES=6
DR_OA_OBJECT_POSITIONS="0.23,-1;0.46,1"
DR_H2B_NUMBER_OF_BOT_CARS=3
DR_H2B_BOT_CAR_SPEED=0.5
"""


def _config(text: str, job: Job) -> RunConfig:
    return RunConfig.build(read_drfc_env(text, "run.env", job).over({"name": "a"}), "test")


def test_a_training() -> None:
    config = _config(ENV, "TRAINING")
    assert (config.track, config.reverse_dir, config.car_color) == ("reinvent_base", True, "Red")
    assert (config.display_name, config.racer_name) == ("Fast Car", "Fast Car-1")
    assert not config.training.change_start_position, "the newer spelling counts"
    assert config.training.alternate_driving_direction
    assert (config.training.round_robin_advance_dist, config.training.min_eval_trials) == (0.1, 7)
    assert config.race.object_positions == ((0.23, -1), (0.46, 1))
    assert config.race.number_of_obstacles == 2, "as many as there are positions"
    assert config.race.number_of_bot_cars == 0, "bots are for HEAD_TO_BOT"
    assert config.evaluation == RunConfig(name="a").evaluation
    assert read_drfc_env(ENV, "run.env", "TRAINING").model == "my-model"


def test_an_evaluation() -> None:
    config = _config(ENV, "EVALUATION")
    assert not config.reverse_dir
    evaluation = config.evaluation
    assert (evaluation.number_of_trials, evaluation.number_of_resets) == (3, 100)
    assert (evaluation.off_track_penalty, evaluation.collision_penalty) == (3.0, 5.0)
    assert evaluation.is_continuous
    assert config.training == RunConfig(name="a").training


@pytest.mark.parametrize(("race_type", "counts"), [("HEAD_TO_BOT", (0, 3)), ("TIME_TRIAL", (0, 0))])
def test_race_variables_count_in_their_race_only(race_type: str, counts: tuple[int, int]) -> None:
    race = _config(ENV.replace("OBJECT_AVOIDANCE", race_type), "TRAINING").race
    assert (race.number_of_obstacles, race.number_of_bot_cars) == counts
    assert race.race_type == race_type


def test_every_variable_sets_a_known_key() -> None:
    assert set(VARIABLES.values()) <= KNOWN


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("DR_TRAIN_MIN_EVAL_TRIAL=3", ["line 2: DR_TRAIN_MIN_EVAL_TRIAL", "did you mean 'DR_TRAIN_MIN_EVAL_TRIALS'"]),
        ("DR_TRAIN_MIN_EVAL_TRIALS=0", ["line 2: DR_TRAIN_MIN_EVAL_TRIALS", "'0'", "1..100"]),
        ("DR_CAR_COLOR='Red", ["line 2: DR_CAR_COLOR", "quote"]),
        ("DR_WORLD_NAME", ["line 2", "NAME=value"]),
        ("DR_WORLD_NAME=$NOBODY", ["line 2: DR_WORLD_NAME", "$NOBODY"]),
        ("DR_WORLD_NAME=<WORLD>", ["line 2: DR_WORLD_NAME", "not filled in"]),
    ],
)
def test_bad_lines_are_named(line: str, words: list[str]) -> None:
    with pytest.raises(InputError) as caught:
        read_drfc_env(f"# run.env\n{line}\n", "run.env", "TRAINING")
    for word in ["run.env", *words]:
        assert word in str(caught.value)


def test_unknown_variables_may_only_warn() -> None:
    with pytest.warns(UserWarning, match="did you mean 'DR_EVAL_MAX_RESETS'") as warned:
        read_drfc_env("DR_EVAL_MAX_RESET=1", "run.env", "EVALUATION", strict=False)
    assert warned[0].filename == __file__, "it points at whoever reads"


def test_a_value_is_no_longer_than_is_said_also_with_the_variables_in_it() -> None:
    half = "x" * 5_000
    text = f"HALF={half}\nDR_LOCAL_S3_MODEL_PREFIX=$HALF${{HALF}}"
    assert read_drfc_env(text, "run.env", "TRAINING").model == half * 2
    with pytest.raises(InputError, match=r"line 2: DR_LOCAL_S3_MODEL_PREFIX(.|\n)*at most 10,000 characters"):
        read_drfc_env(f"{text}x", "run.env", "TRAINING")
