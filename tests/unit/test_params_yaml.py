"""Run parameters in YAML: round trips, files in the guidance's manner, our templates, errors with their lines."""

import warnings
from pathlib import Path

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from contract.config import EvaluationConfig, RaceConfig, RunConfig, TrainingConfig
from contract.errors import InputError
from contract.params import (
    FIELDS,
    KNOWN,
    evaluation_params,
    read_evaluation_params,
    read_training_params,
    training_params,
)
from contract.yamlfile import read_entries
from tests.conftest import REPO
from undercut.runs.params_files import load_params, load_race

TEMPLATES = REPO / "actions" / "params"

# --- round trips -----------------------------------------------------------------------------------------------------

Share = st.floats(0.0, 1.0)
Positive = st.floats(0.01, 1e6)
Words = st.text(st.characters(codec="utf-8", exclude_categories=("Cc", "Cs", "Zl", "Zp")), max_size=64)
Races = st.builds(
    RaceConfig,
    race_type=st.sampled_from(["TIME_TRIAL", "OBJECT_AVOIDANCE", "HEAD_TO_BOT", "HEAD_TO_MODEL"]),
    number_of_obstacles=st.integers(0, 50),
    min_distance_between_obstacles=Positive,
    randomize_obstacle_locations=st.booleans(),
    is_obstacle_bot_car=st.booleans(),
    object_positions=st.lists(st.tuples(Share, st.sampled_from([1, -1])), max_size=3).map(tuple),
    number_of_bot_cars=st.integers(0, 50),
    bot_car_speed=st.floats(0.0, 4.0),
    min_distance_between_bot_cars=Positive,
    randomize_bot_car_locations=st.booleans(),
    is_lane_change=st.booleans(),
    lower_lane_change_time=st.floats(0.1, 4.0),
    upper_lane_change_time=st.floats(4.0, 9.0),
    lane_change_distance=Positive,
    number_of_reverse_counts=st.integers(1, 100),
)
Trainings = st.builds(
    TrainingConfig,
    max_episodes=st.integers(0, 10**6),
    target_reward_score=st.none() | st.floats(-1e6, 1e6),
    min_eval_trials=st.integers(1, 100),
    number_of_resets=st.integers(0, 100),
    change_start_position=st.booleans(),
    alternate_driving_direction=st.booleans(),
    round_robin_advance_dist=Share,
    start_position_offset=Share,
    best_model_metric=st.sampled_from(["progress", "reward", "laptime"]),
)
Evaluations = st.builds(
    EvaluationConfig,
    number_of_trials=st.integers(1, 1000),
    number_of_resets=st.integers(0, 10**5),
    is_continuous=st.booleans(),
    off_track_penalty=st.floats(0.0, 100.0),
    collision_penalty=st.floats(0.0, 100.0),
    reset_behind_dist=st.floats(0.0, 10.0),
    reverse_penalty=st.none() | st.floats(0.0, 100.0),
    immobilized_penalty=st.floats(0.0, 100.0),
    mercy_reset=st.booleans(),
    max_resets_after_crash=st.integers(1, 10),
    reset_ahead_dist=st.floats(0.0, 10.0),
    start_pos_offset=Share,
    done_condition=st.sampled_from(["any", "all"]),
    park_positions=st.lists(st.tuples(st.floats(-1e3, 1e3), st.floats(-1e3, 1e3)), max_size=3).map(tuple),
    race_duration_s=st.floats(0.0, 1e4),
    start_position_offset=Share,
)
Configs = st.builds(
    RunConfig,
    name=st.from_regex(r"[A-Za-z0-9][A-Za-z0-9._-]{0,20}", fullmatch=True),
    track=st.sampled_from(["paddock", "reinvent_base_cw", "my routes/oval.npy", "1", "null", "yes"]),
    reverse_dir=st.booleans(),
    race=Races,
    enable_domain_randomization=st.booleans(),
    car_color=st.sampled_from(["Black", "Grey", "Blue", "Red", "Orange", "White", "Purple"]),
    racer_name=Words,
    display_name=Words,
    leaderboard_type=Words,
    leaderboard_name=Words,
    training=Trainings,
    evaluation=Evaluations,
)


@settings(max_examples=40)
@given(Configs)
def test_what_is_written_reads_back(config: RunConfig) -> None:
    trained = read_training_params(training_params(config), "t.yaml")
    evaluated = read_evaluation_params(evaluation_params(config), "e.yaml")
    assert (trained.model, evaluated.model) == (config.name, config.name)
    values = evaluated.over(trained.over({"name": config.name}))
    assert RunConfig.build(values, "test") == config


def test_a_written_file_holds_words_only_as_the_guidances_do() -> None:
    for text in (training_params(RunConfig(name="a")), evaluation_params(RunConfig(name="a"))):
        content = yaml.safe_load(text)
        lists = ("OBJECT_POSITIONS", "PARK_POSITIONS")
        assert all(isinstance(value, str) for key, value in content.items() if key not in lists)
        assert content["REVERSE_DIR"] == "false"


OTHER_NAMES = {
    "WORLD_NAME": "track",
    "NUMBER_OF_EPISODES": "max_episodes",
    "ENABLE_MERCY_RESET": "mercy_reset",
    "RACE_DURATION": "race_duration_s",
}
"""Keys whose field in RunConfig has another name."""
SECTION = {
    "training": [
        "TARGET_REWARD_SCORE",
        "NUMBER_OF_EPISODES",
        "NUMBER_OF_RESETS",
        "CHANGE_START_POSITION",
        "ALTERNATE_DRIVING_DIRECTION",
        "ROUND_ROBIN_ADVANCE_DIST",
        "START_POSITION_OFFSET",
        "MIN_EVAL_TRIALS",
        "BEST_MODEL_METRIC",
        "OFF_TRACK_PENALTY",
        "COLLISION_PENALTY",
    ],
    "evaluation": [
        "NUMBER_OF_TRIALS",
        "NUMBER_OF_RESETS",
        "IS_CONTINUOUS",
        "OFF_TRACK_PENALTY",
        "COLLISION_PENALTY",
        "REVERSE_PENALTY",
        "IMMOBILIZED_PENALTY",
        "RESET_BEHIND_DIST",
        "ENABLE_MERCY_RESET",
        "MAX_RESETS_AFTER_CRASH",
        "RESET_AHEAD_DIST",
        "START_POS_OFFSET",
        "DONE_CONDITION",
        "PARK_POSITIONS",
        "RACE_DURATION",
        "START_POSITION_OFFSET",
    ],
    "race": [
        "RACE_TYPE",
        "NUMBER_OF_OBSTACLES",
        "MIN_DISTANCE_BETWEEN_OBSTACLES",
        "RANDOMIZE_OBSTACLE_LOCATIONS",
        "IS_OBSTACLE_BOT_CAR",
        "OBJECT_POSITIONS",
        "NUMBER_OF_BOT_CARS",
        "BOT_CAR_SPEED",
        "MIN_DISTANCE_BETWEEN_BOT_CARS",
        "RANDOMIZE_BOT_CAR_LOCATIONS",
        "IS_LANE_CHANGE",
        "LOWER_LANE_CHANGE_TIME",
        "UPPER_LANE_CHANGE_TIME",
        "LANE_CHANGE_DISTANCE",
        "PENALTY_SECONDS",
        "NUMBER_OF_REVERSE_COUNTS",
    ],
    "": [
        "WORLD_NAME",
        "REVERSE_DIR",
        "ENABLE_DOMAIN_RANDOMIZATION",
        "CAR_COLOR",
        "RACER_NAME",
        "DISPLAY_NAME",
        "LEADERBOARD_TYPE",
        "LEADERBOARD_NAME",
    ],
}
"""AWS's keys by the part of RunConfig that has them, from its simulator's templates and the guidance."""
RESETS = SECTION["evaluation"][7:11]
OURS = {"START_LINE_SHARE": "training.start_line_share"}
"""Keys that AWS's simulator does not have, and leaves unread."""


def test_every_key_of_aws_sets_its_field() -> None:
    def table(*sections: str) -> dict[str, str]:
        return {
            key: f"{section}.{name}" if section else name
            for section in sections
            for key in SECTION[section]
            for name in [OTHER_NAMES.get(key, key.lower())]
        }

    resets = {key: path for key, path in table("evaluation").items() if key in RESETS}
    assert FIELDS["TRAINING"] == table("", "race", "training") | resets | OURS
    assert FIELDS["EVALUATION"] == table("", "race", "evaluation")


# --- files of the guidance -------------------------------------------------------------------------------------------

GUIDANCE_TRAINING = """\
JOB_TYPE:                             "TRAINING"
WORLD_NAME:                           "reinvent_base"
SAGEMAKER_SHARED_S3_BUCKET:           "some-bucket"
SAGEMAKER_SHARED_S3_PREFIX:           "job-7"
METRICS_S3_OBJECT_KEY:                "job-7/training_metrics.json"
AWS_REGION:                           "us-east-1"
TARGET_REWARD_SCORE:                  "None"
NUMBER_OF_EPISODES:                   "40"
CHANGE_START_POSITION:                "True"
ALTERNATE_DRIVING_DIRECTION:          "TRUE"
REVERSE_DIR:                          "false"
KINESIS_VIDEO_STREAM_NAME:            ""
NUMBER_OF_RESETS:                     "3"
CAR_COLOR:                            "blue"
ENABLE_DOMAIN_RANDOMIZATION:          "true"
NUM_WORKERS:                          "1"
NUMBER_OF_OBSTACLES:                  "6"
RACE_TYPE:                            "OBJECT_AVOIDANCE"
OBJECT_POSITIONS:
 - 0.25, +1
 - 0.09, -1
MODEL_NAME:                           "fast car"
"""


def test_a_training_file_in_the_guidances_manner() -> None:
    read = read_training_params(GUIDANCE_TRAINING, "x.yaml")
    config = RunConfig.build(read.over({"name": "run", "seed": 7}), "test")
    assert (config.track, config.seed, config.car_color) == ("reinvent_base", 7, "Blue")
    assert config.race.object_positions == ((0.25, 1), (0.09, -1))
    assert (config.race.race_type, config.race.number_of_obstacles) == ("OBJECT_AVOIDANCE", 6)
    assert config.training.alternate_driving_direction
    assert config.training.number_of_resets == 3
    assert config.training.target_reward_score is None
    assert config.enable_domain_randomization
    assert config.evaluation == EvaluationConfig()
    assert read.model == "fast car"
    carried = {"SAGEMAKER_SHARED_S3_BUCKET": "some-bucket", "AWS_REGION": "us-east-1", "NUM_WORKERS": "1"}
    assert carried.items() <= read.carried.items()
    again = read_training_params(training_params(config, read.carried), "y.yaml")
    assert again.carried == {**again.carried, **read.carried}


@pytest.mark.parametrize(
    ("lines", "penalties"),
    [
        ("", (2.0, 5.0, 2.0)),
        ('PENALTY_SECONDS: "3.5"', (2.0, 5.0, 3.5)),
        ('OFF_TRACK_PENALTY: "1"', (1.0, 5.0, 2.0)),
        ("COLLISION_PENALTY: 0\nPENALTY_SECONDS: 4", (2.0, 0.0, 4.0)),
    ],
)
def test_penalty_seconds_are_those_of_bot_cars_alone(lines: str, penalties: tuple[float, ...]) -> None:
    """evaluation_worker.py and bot_cars_agent_ctrl.py of AWS's simulator."""
    values = read_evaluation_params(lines, "x.yaml").over({"name": "a"})
    config = RunConfig.build(values, "x")
    told = config.evaluation.off_track_penalty, config.evaluation.collision_penalty, config.race.penalty_seconds
    assert told == penalties


@pytest.mark.parametrize(
    ("text", "positions"),
    [
        ("[]", ()),
        ("", ()),
        ("'0.23,-1;0.46,1;'", ((0.23, -1), (0.46, 1))),
        ("[[0.23, -1], [0.46, +1]]", ((0.23, -1), (0.46, 1))),
        ('\n- "0.23, -1"\n- 0.46,1.0', ((0.23, -1), (0.46, 1))),
    ],
)
def test_positions_in_every_spelling(text: str, positions: tuple[tuple[float, int], ...]) -> None:
    assert read_training_params(f"OBJECT_POSITIONS: {text}", "x").values["race"]["object_positions"] == positions


def test_a_file_with_a_number_of_obstacles_forgets_an_older_files_positions() -> None:
    older = {"name": "a", "race": {"object_positions": ((0.5, 1),), "bot_car_speed": 1.0}}
    merged = read_evaluation_params("NUMBER_OF_OBSTACLES: 0", "x").over(older)
    assert RunConfig.build(merged, "x").race == RaceConfig(bot_car_speed=1.0)
    assert older["race"] == {"object_positions": ((0.5, 1),), "bot_car_speed": 1.0}


def test_lists_of_one_are_values_as_deepracer_for_cloud_writes_them() -> None:
    read = read_evaluation_params(
        "---\n'CAR_COLOR':\n- 'Red'\n'MODEL_S3_PREFIX':\n- 'models/fast/'\n'MP4_S3_BUCKET': []\n'DISPLAY_NAME': ['D']",
        "x",
    )
    assert read.values == {"car_color": "Red", "display_name": "D"}
    assert read.model == "fast"


# --- our templates ---------------------------------------------------------------------------------------------------


def test_our_templates_hold_every_key_of_their_job() -> None:
    for name, job in (("training", "TRAINING"), ("evaluation", "EVALUATION")):
        path = TEMPLATES / f"{name}_params.yaml"
        keys = yaml.safe_load(path.read_text()).keys()
        assert FIELDS[job].keys() <= keys  # type: ignore[index]
        read = load_params(path, job)  # type: ignore[arg-type]
        assert RunConfig.build(read.over({"name": "a"}), name) == RunConfig(
            name="a", car_color=read.values["car_color"]
        )
    for name, count in (("head2head", 2), ("tournament", 4)):
        path = TEMPLATES / f"{name}_params.yaml"
        assert FIELDS["EVALUATION"].keys() <= yaml.safe_load(path.read_text()).keys()
        race = load_race(path, [])
        assert len({racer.model for racer in race.racers}) == len({racer.car_color for racer in race.racers}) == count


# --- errors ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("NUMBER_OF_OBSTACLE: 3", ["line 2: NUMBER_OF_OBSTACLE", "did you mean 'NUMBER_OF_OBSTACLES'"]),
        ("REVERSE_DIR: maybe", ["line 2: REVERSE_DIR", "'maybe'", "true or false"]),
        ("BOT_CAR_SPEED: '5'", ["line 2: BOT_CAR_SPEED", "'5'", "0..4"]),
        ("BOT_CAR_SPEED: nan", ["line 2: BOT_CAR_SPEED"]),
        ("NUMBER_OF_BOT_CARS: 2.5", ["NUMBER_OF_BOT_CARS", "whole number"]),
        ("NUMBER_OF_BOT_CARS:", ["line 2: NUMBER_OF_BOT_CARS", "None"]),
        ("MIN_DISTANCE_BETWEEN_BOT_CARS: 0", ["MIN_DISTANCE_BETWEEN_BOT_CARS", "above 0"]),
        ("RACE_TYPE: TIME_TRAIL", ["RACE_TYPE", "did you mean 'TIME_TRIAL'"]),
        ("CAR_COLOR: Green", ["CAR_COLOR", "Purple"]),
        ("CAR_COLOR: [Red, Blue]", ["CAR_COLOR", "one value"]),
        (f"RACER_NAME: {'x' * 65}", ["RACER_NAME", "64 characters"]),
        ("OBJECT_POSITIONS: ['1.5, 1']", ["OBJECT_POSITIONS", "'1.5, 1'", "0..1"]),
        ("OBJECT_POSITIONS: ['0.5, 2']", ["OBJECT_POSITIONS", "inner"]),
        ("OBJECT_POSITIONS: ['0.5']", ["OBJECT_POSITIONS", '"0.25, +1"']),
        ("OBJECT_POSITIONS: 0.5", ["OBJECT_POSITIONS", '"0.25, +1"']),
        ("LOWER_LANE_CHANGE_TIME: 6\nUPPER_LANE_CHANGE_TIME: 5", ["line 2: LOWER_LANE_CHANGE_TIME", "swap"]),
        ('WORLD_NAME: ""', ["line 2: WORLD_NAME", "not filled in", "undercut tracks"]),
        ("WORLD_NAME: ${WORLD}", ["WORLD_NAME", "not filled in"]),
        ("WORLD_NAME: <track>", ["WORLD_NAME", "not filled in"]),
        ("MODEL_S3_PREFIX: <prefix>", ["MODEL_S3_PREFIX", "not filled in"]),
        ("MODEL_S3_PREFIX: [a, b]", ["MODEL_S3_PREFIX", "undercut race"]),
        ("JOB_TYPE: TRAINING", ["JOB_TYPE", "undercut train"]),
        ("AWS_REGION: x\nAWS_REGION: y", ["line 3: AWS_REGION", "line 2", "delete one"]),
        ("AWS_REGION: {a: b}", ["line 2: AWS_REGION", "a list"]),
        ("AWS_REGION: 'x", ["x.yaml, line", "valid YAML"]),
    ],
)
def test_bad_values_are_named_with_their_line(line: str, words: list[str]) -> None:
    with pytest.raises(InputError) as caught:
        read_evaluation_params(f"# comment\n{line}\n", "x.yaml")
    for word in ["x.yaml", *words]:
        assert word in str(caught.value)


@pytest.mark.parametrize("text", ["[a, b]", "just words", "[" * 600, "\x00", "- - - a"])
def test_what_is_no_file_of_parameters_is_refused(text: str) -> None:
    with pytest.raises(InputError, match=r"x\.yaml"):
        read_training_params(text, "x.yaml")


@pytest.mark.parametrize(
    ("text", "place", "value"),
    [
        ("A: 1\nB: c: d\n", "x.yaml, line 2, column 5", "B: c: d"),
        ("A: 1\nB: 'x\n", "x.yaml, line 3, column 1", ""),
        ("A: x\nB: @\n", "x.yaml, line 2, column 4", "B: @"),
        ("# one\n- a\n", "x.yaml, line 2", "# one\n- a\n"),
        ("[" * 60 + "]" * 60, "x.yaml, line 1", "[" * 40),
        ('"\\UFFFFFFFF' + "a" * 60 + '"', "x.yaml", '"\\UFFFFFFFF' + "a" * 29),
        ("A: [[[0.5]]]\n", "x.yaml, line 1: A", "a mapping or a list too deep"),
        ("A: [[{b: c}]]\n", "x.yaml, line 1: A", "a mapping or a list too deep"),
    ],
)
def test_places_in_what_is_no_yaml_of_ours(text: str, place: str, value: str) -> None:
    with pytest.raises(InputError) as caught:
        read_entries(text, "x.yaml")
    assert (caught.value.where, caught.value.value) == (place, value)


def test_lists_of_lists_are_as_deep_as_it_goes_and_aliases_do_not_multiply() -> None:
    assert read_entries("A: [[a, b], ~, 'c']", "x")["A"].value == [["a", "b"], None, "c"]
    many = f"A: [&many [{'x,' * 99}], {'*many, ' * 98} {'x,' * 99}]"
    value = read_entries(many, "x")["A"].value
    assert isinstance(value, list)
    assert len(value) == 99 + 99
    with pytest.raises(InputError, match="over 10,000 items"):
        read_entries(many.replace("[&many", "[x, &many"), "x")


def test_an_empty_file_says_nothing() -> None:
    assert read_training_params("# nothing\n", "x").over({"name": "a"}) == {"name": "a"}


def test_unknown_keys_may_only_warn() -> None:
    with pytest.warns(UserWarning, match="line 1: WORLDNAME: unknown key ignored; did you mean 'WORLD_NAME'") as warned:
        values = read_training_params("WORLDNAME: a\nREVERSE_DIR: true", "x", strict=False).values
    assert values == {"reverse_dir": True}
    assert warned[0].filename == __file__, "it points at whoever reads"


def test_a_key_of_the_other_job_is_carried_with_a_warning() -> None:
    with pytest.warns(UserWarning, match="NUMBER_OF_TRIALS: has no effect in TRAINING") as warned:
        assert read_training_params("NUMBER_OF_TRIALS: 3", "x").carried == {"NUMBER_OF_TRIALS": "3"}
    assert warned[0].filename == __file__, "it points at whoever reads"
    with warnings.catch_warnings():
        warnings.simplefilter("error")  # DeepRacer on AWS writes one file for both jobs
        read = read_training_params("NUMBER_OF_TRIALS: 3\nS3_ENDPOINT_URL: http://minio:9000", "x", strict=False)
    assert read.unused == ("NUMBER_OF_TRIALS", "S3_ENDPOINT_URL")


def test_files_are_told_apart_by_their_ending(tmp_path: Path) -> None:
    (tmp_path / "run.env").write_text("DR_WORLD_NAME=Oval_track\n")
    assert load_params(tmp_path / "run.env", "TRAINING").values == {"track": "Oval_track"}
    (tmp_path / "params.txt").write_text("")
    with pytest.raises(InputError, match=r"\.yaml of the guidance"):
        load_params(tmp_path / "params.txt", "TRAINING")
    with pytest.raises(InputError, match="must exist"):
        load_params(tmp_path / "none.yaml", "TRAINING")


def test_the_contracts_keys_are_known() -> None:
    contract = """JOB_TYPE WORLD_NAME RACE_TYPE AWS_REGION METRICS_S3_BUCKET METRICS_S3_OBJECT_KEY SIMTRACE_S3_BUCKET
        SIMTRACE_S3_PREFIX MP4_S3_BUCKET MP4_S3_OBJECT_PREFIX CAR_COLOR RACER_NAME DISPLAY_NAME MODEL_NAME REVERSE_DIR
        ENABLE_DOMAIN_RANDOMIZATION VIDEO_JOB_TYPE LEADERBOARD_TYPE LEADERBOARD_NAME KINESIS_VIDEO_STREAM_NAME
        ROBOMAKER_SIMULATION_JOB_ACCOUNT_ID SAGEMAKER_SHARED_S3_BUCKET SAGEMAKER_SHARED_S3_PREFIX TRAINING_JOB_ARN
        REWARD_FILE_S3_KEY MODEL_METADATA_FILE_S3_KEY NUM_WORKERS TARGET_REWARD_SCORE NUMBER_OF_EPISODES
        CHANGE_START_POSITION ALTERNATE_DRIVING_DIRECTION NUMBER_OF_RESETS MIN_EVAL_TRIALS ROUND_ROBIN_ADVANCE_DIST
        START_POSITION_OFFSET BEST_MODEL_METRIC MODEL_S3_BUCKET MODEL_S3_PREFIX NUMBER_OF_TRIALS IS_CONTINUOUS
        PENALTY_SECONDS OFF_TRACK_PENALTY COLLISION_PENALTY RESET_BEHIND_DIST NUMBER_OF_OBSTACLES
        MIN_DISTANCE_BETWEEN_OBSTACLES RANDOMIZE_OBSTACLE_LOCATIONS IS_OBSTACLE_BOT_CAR OBJECT_POSITIONS
        NUMBER_OF_BOT_CARS BOT_CAR_SPEED MIN_DISTANCE_BETWEEN_BOT_CARS RANDOMIZE_BOT_CAR_LOCATIONS IS_LANE_CHANGE
        LOWER_LANE_CHANGE_TIME UPPER_LANE_CHANGE_TIME LANE_CHANGE_DISTANCE"""
    assert set(contract.split()) <= KNOWN
