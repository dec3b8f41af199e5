"""Files of run parameters as other systems write them: all of them are taken, and what they say is done or told."""

import warnings
from pathlib import Path
from typing import Any

import pytest
import yaml
from typer.testing import CliRunner

from contract.config import EvaluationConfig, RaceConfig, RunConfig
from contract.errors import InputError, InputWarning
from contract.params import Job, RunParams, is_ours
from tests.conftest import REPO
from undercut.cli.main import app
from undercut.runs.params_files import load_params, load_race
from undercut.scaffold.new import Wish, new_folder


def keys(text: str) -> dict[str, Any]:
    """What a YAML says, all of it words, as most systems write them."""
    told: dict[str, Any] = yaml.load("{" + text + "}", yaml.BaseLoader)
    return told


DRFC_TRAINING = keys(
    """
    ALTERNATE_DRIVING_DIRECTION: False, AWS_REGION: us-east-1, BEST_MODEL_METRIC: progress, BODY_SHELL_TYPE:
    deepracer, CAMERA_MAIN_ENABLE: True, CAMERA_SUB_ENABLE: False, CAR_COLOR: Red, CAR_NAME: FastCar,
    CHANGE_START_POSITION: True, DISPLAY_NAME: FastCar, JOB_TYPE: TRAINING, ENABLE_DOMAIN_RANDOMIZATION: False,
    ENABLE_EXTRA_KVS_OVERLAY: False, KINESIS_VIDEO_STREAM_NAME: '', METRICS_S3_BUCKET: bucket,
    METRICS_S3_OBJECT_KEY: m/metrics/TrainingMetrics.json, MIN_EVAL_TRIALS: 7, MODEL_METADATA_FILE_S3_KEY:
    custom_files/model_metadata.json, NUM_WORKERS: 2, RACER_NAME: FastCar, RACE_TYPE: TIME_TRIAL, REVERSE_DIR: True,
    ROUND_ROBIN_ADVANCE_DIST: 0.1, REWARD_FILE_S3_KEY: custom_files/reward_function.py,
    ROBOMAKER_SIMULATION_JOB_ACCOUNT_ID: Dummy, S3_ENDPOINT_URL: http://minio:9000, SAGEMAKER_SHARED_S3_BUCKET:
    bucket, SAGEMAKER_SHARED_S3_PREFIX: m, SIMTRACE_S3_BUCKET: bucket, SIMTRACE_S3_PREFIX: m, START_POSITION_OFFSET:
    0.0, TRAINING_JOB_ARN: arn:Dummy, WORLD_NAME: paddock, PENALTY_SECONDS: 2.0, MULTI_CONFIG: False
    """
)
DRFC_EVALUATION = keys(
    """
    AWS_REGION: us-east-1, BODY_SHELL_TYPE: [deepracer], CAR_COLOR: [Red], COLLISION_PENALTY: 4.0, DISPLAY_NAME:
    [FastCar], ENABLE_DOMAIN_RANDOMIZATION: false, EVAL_CHECKPOINT: last, IS_CONTINUOUS: True, JOB_TYPE: EVALUATION,
    KINESIS_VIDEO_STREAM_NAME: '', MODEL_S3_BUCKET: [bucket], METRICS_S3_BUCKET: [bucket], METRICS_S3_OBJECT_KEY:
    [m/metrics/evaluation/evaluation-2024.json], MODEL_S3_PREFIX: [my-model], MP4_S3_BUCKET: [],
    MP4_S3_OBJECT_PREFIX: [], NUMBER_OF_RESETS: 100, NUMBER_OF_TRIALS: 3, OFF_TRACK_PENALTY: 3.0, RACER_NAME:
    [FastCar], RACE_TYPE: OBJECT_AVOIDANCE, OBJECT_POSITIONS: ['"0.23,-1', '0.46,1"'], NUMBER_OF_OBSTACLES: 2,
    OBSTACLE_TYPE: box_obstacle, RESET_BEHIND_DIST: 1.5, REVERSE_DIR: False, ROBOMAKER_SIMULATION_JOB_ACCOUNT_ID:
    Dummy, S3_ENDPOINT_URL: http://minio:9000, SIMTRACE_S3_BUCKET: [bucket], WORLD_NAME: paddock
    """
)
CONSOLE_TRAINING = keys(
    """
    AWS_REGION: us-east-1, JOB_TYPE: TRAINING, WORLD_NAME: paddock, TRACK_DIRECTION_CLOCKWISE: false,
    CHANGE_START_POSITION: True, ALTERNATE_DRIVING_DIRECTION: False, METRIC_NAME: TrainingRewardScore,
    METRIC_NAMESPACE: AWSDeepRacer, SAGEMAKER_SHARED_S3_BUCKET: [b], SAGEMAKER_SHARED_S3_PREFIX: [p/],
    MODEL_METADATA_FILE_S3_KEY: [p/model_metadata.json], METRICS_S3_BUCKET: [b], MP4_S3_BUCKET: b,
    METRICS_S3_OBJECT_KEY: [p/m.json], MP4_S3_OBJECT_PREFIX: p/videos, SIMTRACE_S3_BUCKET: b, S3_KMS_CMK_ARN:
    arn:aws:kms:us-east-1:123456789012:key/0, VIDEO_JOB_TYPE: TRAINING, MODEL_NAME: My-Model, BODY_SHELL_TYPE:
    [deepracer], RACE_TYPE: HEAD_TO_HEAD_RACING, CAR_COLOR: [Black], NUMBER_OF_BOT_CARS: 3, NUMBER_OF_EPISODES: 0,
    TARGET_REWARD_SCORE: None
    """
)
DROA_BOTH = keys(
    """
    AWS_REGION: us-east-1, WORLD_NAME: paddock, TRACK_DIRECTION_CLOCKWISE: True, IS_CONTINUOUS: False,
    CHANGE_START_POSITION: False, POLICY_MODEL_SAGEMAKER_S3_PREFIX: policy, POLICY_MODEL_S3_BUCKET: b,
    S3_KMS_CMK_ARN: arn:aws:kms:us-east-1:123456789012:key/0, NUMBER_OF_TRIALS: 3, MODEL_S3_PREFIX: a/model,
    MODEL_NAME: model, CAR_COLOR: white, CAR_TOP_DECAL: '', CAR_SIDES_DECAL: '', CAR_BACK_DECAL: '',
    NUMBER_OF_RESETS: 0, RACE_TYPE: TIME_TRIAL, OBSTACLE_TYPE: BOX, NUMBER_OF_OBSTACLES: 0, START_POS_OFFSET: 0,
    REVERSE_DIR: False, RANDOMIZE_OBSTACLE_LOCATIONS: False, OBJECT_POSITIONS: [], LEADERBOARD_NAME: l
    """
)
FLAGGED = keys(
    """
    ENABLE_EPISODE_SIMTRACE: True, SIMTRACE_EPISODE_S3_PREFIX: p/episodes, ENABLE_FIREHOSE_UPLOAD: True,
    FIREHOSE_S3_BUCKET: b, FIREHOSE_METRICS_STREAM_NAME: m, FIREHOSE_SIMTRACE_STREAM_NAME: s,
    FIREHOSE_METRICS_S3_PREFIX: m/, FIREHOSE_SIMTRACE_S3_PREFIX: s/, FIREHOSE_UPLOAD_FREQUENCY: EPISODE,
    PARK_LOCATION: bottom, NUM_SECTORS: 3, SQS_QUEUE_URL: q
    """
)


def read(path: Path, told: dict[str, Any], job: Job) -> tuple[RunParams, RunConfig]:
    """The file written as deepracer-for-cloud's scripts write theirs, and read without a word."""
    path.write_text(yaml.dump(told, default_flow_style=False, default_style="'", explicit_start=True))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        params = load_params(path, job)
    return params, RunConfig.build(params.over({"name": "a"}), str(path))


@pytest.mark.parametrize(
    ("told", "job", "track"),
    [
        (DRFC_TRAINING | {"NUM_WORKERS": 2, "REVERSE_DIR": False}, "TRAINING", "paddock"),
        (DRFC_TRAINING | FLAGGED, "TRAINING", "paddock"),
        (DRFC_EVALUATION | FLAGGED, "EVALUATION", "paddock"),
        (CONSOLE_TRAINING, "TRAINING", "paddock_ccw"),
        (DROA_BOTH | {"JOB_TYPE": "TRAINING", "IS_CONTINUOUS": False, "NUMBER_OF_TRIALS": 3}, "TRAINING", "paddock_cw"),
        (DROA_BOTH | {"JOB_TYPE": "EVALUATION"}, "EVALUATION", "paddock_cw"),
    ],
)
def test_what_real_systems_write_is_taken_in_silence(
    tmp_path: Path, told: dict[str, Any], job: Job, track: str
) -> None:
    params, config = read(tmp_path / "params.yaml", told, job)
    assert config.track == track
    assert set(params.unused) <= told.keys()
    assert {"AWS_REGION"} <= set(params.unused)


def test_what_they_say_is_done(tmp_path: Path) -> None:
    _, trained = read(tmp_path / "t.yaml", DRFC_TRAINING, "TRAINING")
    assert (trained.reverse_dir, trained.training.min_eval_trials) == (True, 7)
    params, evaluated = read(tmp_path / "e.yaml", DRFC_EVALUATION, "EVALUATION")
    assert params.model == "my-model"
    assert params.carried["EVAL_CHECKPOINT"] == "last"
    evaluation = evaluated.evaluation
    assert (evaluation.off_track_penalty, evaluation.collision_penalty, evaluation.reset_behind_dist) == (3.0, 4.0, 1.5)
    assert evaluated.race.object_positions == ((0.23, -1), (0.46, 1))
    _, console = read(tmp_path / "c.yaml", CONSOLE_TRAINING, "TRAINING")
    assert (console.race.race_type, console.race.number_of_bot_cars) == ("HEAD_TO_BOT", 3)


def test_the_newer_rules_are_set(tmp_path: Path) -> None:
    told = keys("""
        JOB_TYPE: EVALUATION, ENABLE_MERCY_RESET: 'True', MAX_RESETS_AFTER_CRASH: ['4'], RESET_AHEAD_DIST: 1.5,
        NUMBER_OF_REVERSE_COUNTS: 5, START_POS_OFFSET: 0.5, DONE_CONDITION: ALL, RACE_DURATION: 180,
        PARK_POSITIONS: ['1.5, -2', '0,0.25'], REVERSE_PENALTY: 1, IMMOBILIZED_PENALTY: 2
    """)
    params, config = read(tmp_path / "e.yaml", told, "EVALUATION")
    assert params.unused == ()
    assert config.race.number_of_reverse_counts == 5
    evaluation = config.evaluation
    assert (evaluation.mercy_reset, evaluation.max_resets_after_crash, evaluation.reset_ahead_dist) == (True, 4, 1.5)
    assert (evaluation.start_pos_offset, evaluation.done_condition, evaluation.race_duration_s) == (0.5, "all", 180.0)
    assert evaluation.park_positions == ((1.5, -2.0), (0.0, 0.25))
    assert (evaluation.reverse_penalty, evaluation.immobilized_penalty) == (1.0, 2.0)


@pytest.mark.parametrize("places", [["1.5"], ["a, b"], ["1, inf"], [[1, 2, 3]], "7"])
def test_places_to_park_are_pairs(tmp_path: Path, places: object) -> None:
    (tmp_path / "e.yaml").write_text(yaml.dump({"PARK_POSITIONS": places}))
    with pytest.raises(InputError, match=r'line 1: PARK_POSITIONS(.|\n)*"x, y" in metres'):
        load_params(tmp_path / "e.yaml", "EVALUATION")


def test_a_race_of_two_models_as_deepracer_for_cloud_asks_for_it(tmp_path: Path) -> None:
    both = {"MODEL_S3_PREFIX": ["a", "b"], "MODEL_S3_BUCKET": ["x", "x"], "RACER_NAME": ["A", "B"]}
    both |= {"DISPLAY_NAME": ["A", "B"], "CAR_COLOR": ["Purple", "Orange"], "MODEL_NAME": ["A", "B"]}
    told = DRFC_EVALUATION | both | {"RACE_TYPE": "HEAD_TO_MODEL", "BODY_SHELL_TYPE": ["deepracer", "deepracer"]}
    (tmp_path / "r.yaml").write_text(yaml.dump({key: told[key] for key in told if "S3_OBJECT" not in key}))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        race = load_race(tmp_path / "r.yaml", [])
    assert [racer.model for racer in race.racers] == ["a", "b"]


def test_an_unknown_key_is_an_error_in_a_file_of_ours_and_a_warning_in_others(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    new_folder(Wish("mine"), tmp_path)
    ours, theirs = tmp_path / "mine" / "training_params.yaml", tmp_path / "theirs.yaml"
    line = "NUMBER_OF_OBSTACLE: 3\n"
    theirs.write_text("---\n" + yaml.dump(DRFC_TRAINING) + line)
    number = len(theirs.read_text().splitlines())
    with pytest.warns(InputWarning) as warned:
        assert load_params(theirs, "TRAINING").values["track"] == "paddock"
    assert str(warned[0].message) == (
        f"{theirs}, line {number}: NUMBER_OF_OBSTACLE: unknown key ignored; did you mean 'NUMBER_OF_OBSTACLES'?"
    )
    with pytest.raises(InputError, match="did you mean 'NUMBER_OF_OBSTACLES'"):
        load_params(theirs, "TRAINING", strict=True)
    ours.write_text(ours.read_text() + line)
    with pytest.raises(InputError, match="did you mean 'NUMBER_OF_OBSTACLES'"):
        load_params(ours, "TRAINING")
    for template in (REPO / "actions" / "params").glob("*.yaml"):
        assert is_ours(template.read_text()), template


def test_a_repeated_key_of_deepracer_local_counts_where_it_stands_last(tmp_path: Path) -> None:
    text = '---\nWORLD_NAME: "kidney"\nCHANGE_START_POSITION: "false"\nCAR_NAME: "MyCar"\nWORLD_NAME: "paddock"\n'
    (tmp_path / "p.yaml").write_text(text)
    with pytest.warns(InputWarning, match="line 5: WORLD_NAME: stands on line 2 too; this one counts"):
        assert load_params(tmp_path / "p.yaml", "TRAINING").values["track"] == "paddock"


# --- several workers' files ------------------------------------------------------------------------------------------


RUN_ENV = """\
DR_WORLD_NAME=paddock
DR_RACE_TYPE=OBJECT_AVOIDANCE
DR_OA_NUMBER_OF_OBSTACLES=4
DR_TRAIN_MULTI_CONFIG=True
DR_TRAIN_CHANGE_START_POSITION=True
DR_LOCAL_S3_MODEL_PREFIX=mine
"""
WORKER_2 = """\
DR_WORLD_NAME=switchback
DR_RACE_TYPE=TIME_TRIAL
DR_CAR_COLOR=Blue
DR_TRAIN_CHANGE_START_POSITION=False
DR_TRAIN_REVERSE_DIRECTION=True
DR_OA_NUMBER_OF_OBSTACLES=6
"""
WORKER_3 = """\
DR_WORLD_NAME=kidney
DR_RACE_TYPE=HEAD_TO_BOT
DR_H2B_NUMBER_OF_BOT_CARS=3
DR_TRAIN_CHANGE_START_POSITION=True
"""


def write(folder: Path, **files: str) -> Path:
    for name, text in files.items():
        (folder / f"{name.replace('_', '-')}.env").write_text(text)
    return folder / "run.env"


def test_every_workers_file_is_a_world(tmp_path: Path) -> None:
    path = write(tmp_path, run=RUN_ENV, worker_2=WORKER_2, worker_3=WORKER_3, system="DR_CLOUD=local\nDR_WORKERS=3\n")
    with pytest.warns(InputWarning) as warned:
        params = load_params(path, "TRAINING")
    [text] = [str(it.message) for it in warned]
    assert f"{tmp_path / 'worker-2.env'}, line 4: DR_TRAIN_CHANGE_START_POSITION: False here" in text
    config = RunConfig.build(params.over({"name": "a"}), "x")
    worlds = config.each_world()
    assert [(it.track, it.race.race_type, it.reverse_dir) for it in worlds] == [
        *[("paddock", "OBJECT_AVOIDANCE", False), ("switchback", "TIME_TRIAL", True)],
        ("kidney", "HEAD_TO_BOT", True),  # the variables of worker-2.env stay set for worker-3.env
    ]
    assert [(it.race.number_of_obstacles, it.race.number_of_bot_cars) for it in worlds] == [(4, 0), (0, 0), (0, 3)]
    assert config.training.change_start_position
    (tmp_path / "worker-3.env").unlink()
    with pytest.raises(InputError, match=r"MULTI_CONFIG(.|\n)*worker-3\.env"):
        load_params(path, "TRAINING")


def test_without_a_number_of_workers_all_files_beside_count(tmp_path: Path) -> None:
    path = write(tmp_path, run=RUN_ENV, worker_2=WORKER_3)
    assert [world["track"] for world in load_params(path, "TRAINING").values["worlds"]] == ["paddock", "kidney"]
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert "worlds" not in load_params(path, "EVALUATION").values


@pytest.mark.parametrize(("system", "why"), [("", "no worker-2.env beside it"), ("DR_WORKERS=1\n", "DR_WORKERS is 1")])
def test_one_worker_for_several_configurations_is_told(tmp_path: Path, system: str, why: str) -> None:
    path = write(tmp_path, run=RUN_ENV, system=system)
    with pytest.warns(InputWarning, match=f"line 4: DR_TRAIN_MULTI_CONFIG: .*{why}"):
        assert "worlds" not in load_params(path, "TRAINING").values


def test_a_broken_line_of_a_workers_file_is_named(tmp_path: Path) -> None:
    path = write(tmp_path, run=RUN_ENV, worker_2="DR_WORLD_NAME='x\n")
    with pytest.raises(InputError, match=r"worker-2\.env, line 1: DR_WORLD_NAME(.|\n)*close the quote"):
        load_params(path, "TRAINING")


def test_numbered_yamls_are_the_workers_too(tmp_path: Path) -> None:
    for number, track in ((1, "paddock"), (2, "kidney")):
        told = DRFC_TRAINING | {"WORLD_NAME": track, "MULTI_CONFIG": "True"}
        (tmp_path / f"training_params_{number}.yaml").write_text(yaml.dump(told))
    worlds = load_params(tmp_path / "training_params_1.yaml", "TRAINING").values["worlds"]
    assert [world["track"] for world in worlds] == ["paddock", "kidney"]
    with pytest.warns(InputWarning, match="one of 2 workers' files"):
        assert "worlds" not in load_params(tmp_path / "training_params_2.yaml", "TRAINING").values


# --- env files that are not deepracer-for-cloud's --------------------------------------------------------------------


LOCAL_ENV = """\
ALTERNATE_DRIVING_DIRECTION=False
APP_REGION=us-east-1
AWS_REGION=us-east-1
AWS_ACCESS_KEY_ID=minio
AWS_SECRET_ACCESS_KEY=miniokey
CHANGE_START_POSITION=False
GPU_AVAILABLE=True
LOCAL=True
MINIO_SECRET_KEY=miniokey
MODEL_S3_PREFIX=current
S3_ENDPOINT_URL=http://minio:9000
S3_YAML_NAME=training_params.yaml
WORLD_NAME=kidney
ENABLE_GUI=true
MIN_EVAL_TRIALS=6
"""


def test_deepracer_locals_plain_keys_are_read(tmp_path: Path) -> None:
    (tmp_path / "config.env").write_text(LOCAL_ENV)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        params = load_params(tmp_path / "config.env", "TRAINING")
    config = RunConfig.build(params.over({"name": "a"}), "x")
    assert (config.track, config.training.change_start_position, config.training.min_eval_trials) == (
        "kidney",
        False,
        6,
    )
    assert not any("SECRET" in key or value == "minio" for key, value in params.carried.items()), "no keys are carried"
    (tmp_path / "config.env").write_text(LOCAL_ENV + "WORLDNAME=x\n")
    with pytest.warns(InputWarning, match="line 16: WORLDNAME: unknown variable ignored; did you mean 'WORLD_NAME'"):
        load_params(tmp_path / "config.env", "TRAINING")


@pytest.mark.parametrize("text", ["", "# nothing\n", "PATH=/usr/bin\nEDITOR=vi\n"])
def test_an_env_of_neither_is_refused(tmp_path: Path, text: str) -> None:
    (tmp_path / "run.env").write_text(text)
    with pytest.raises(InputError, match=r"run\.env(.|\n)*DR_ names"):
        load_params(tmp_path / "run.env", "TRAINING")


def test_a_misspelt_variable_is_told_wherever_it_begins_with_dr(tmp_path: Path) -> None:
    (tmp_path / "run.env").write_text("DR_WORLD_NAM=kidney\nDR_UPLOAD_ANYTHING=1\nDR_LOCAL_S3_BUCKET=b\n")
    with pytest.warns(InputWarning) as warned:
        load_params(tmp_path / "run.env", "TRAINING")
    [text] = [str(it.message) for it in warned]
    assert text.endswith("run.env, line 1: DR_WORLD_NAM: unknown variable ignored; did you mean 'DR_WORLD_NAME'?")


PRETRAINED = "DR_WORLD_NAME=kidney\nDR_LOCAL_S3_PRETRAINED=True\nDR_LOCAL_S3_PRETRAINED_PREFIX=before/\n"


def test_a_pretrained_model_that_is_not_here_is_told(tmp_path: Path) -> None:
    (tmp_path / "run.env").write_text(PRETRAINED)
    with pytest.warns(InputWarning, match=r"no run here is called before.*undercut import FOLDER before"):
        assert "pretrained" not in load_params(tmp_path / "run.env", "TRAINING").values


def test_training_begins_from_the_pretrained_model_that_is_here(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "before").mkdir()
    (tmp_path / "run.env").write_text(PRETRAINED + "DR_LOCAL_S3_PRETRAINED_CHECKPOINT=last\n")
    config = RunConfig.build(load_params(tmp_path / "run.env", "TRAINING").over({"name": "a"}), "x")
    assert (config.pretrained, config.pretrained_checkpoint) == ("before", "last")
    assert "pretrained" not in load_params(tmp_path / "run.env", "EVALUATION").values
    (tmp_path / "run.env").write_text(PRETRAINED + "DR_LOCAL_S3_PRETRAINED_CHECKPOINT=newest\n")
    with pytest.raises(InputError, match=r"line 4.*newest"):
        load_params(tmp_path / "run.env", "TRAINING")


def test_an_obstacle_race_without_a_number_has_deepracer_for_clouds_six(tmp_path: Path) -> None:
    (tmp_path / "run.env").write_text("DR_RACE_TYPE=OBJECT_AVOIDANCE\nDR_WORLD_NAME=kidney\n")
    race = RunConfig.build(load_params(tmp_path / "run.env", "TRAINING").over({"name": "a"}), "x").race
    assert race == RaceConfig(race_type="OBJECT_AVOIDANCE", number_of_obstacles=6, randomize_obstacle_locations=True)
    assert EvaluationConfig().number_of_trials == 5


# --- on the command line ---------------------------------------------------------------------------------------------


def check(*arguments: object) -> tuple[int, str]:
    result = CliRunner().invoke(app, ["check", *map(str, arguments)])
    return result.exit_code, " ".join(result.output.split())


def test_check_takes_deepracer_for_clouds_file_and_names_what_has_no_effect(tmp_path: Path) -> None:
    (tmp_path / "training_params.yaml").write_text(yaml.dump(DRFC_TRAINING))
    status, told = check("--params", tmp_path / "training_params.yaml")
    assert status == 0 and "S3_ENDPOINT_URL" not in told and "1 ok;" in told
    status, told = check("--params", tmp_path / "training_params.yaml", "--verbose")
    assert status == 0 and "without effect here: AWS_REGION, BODY_SHELL_TYPE" in told and "S3_ENDPOINT_URL" in told


def test_check_keeps_its_refusals_when_strict(tmp_path: Path) -> None:
    actions = '{"action_space": [{"steering_angle": 35, "speed": 6}, {"steering_angle": -35, "speed": 1}]}'
    (tmp_path / "model_metadata.json").write_text(actions)
    (tmp_path / "hyperparameters.json").write_text('{"batch_size": 1024, "num_epochs": 1, "stack_size": 3, "mine": 1}')
    files = ("--metadata", tmp_path / "model_metadata.json", "--hyperparameters", tmp_path / "hyperparameters.json")
    status, told = check(*files)
    assert status == 0, told
    assert "drives with -30 to 30 degrees, 1 to 4 m/s" in told
    for part in ("batch_size: 1024", "num_epochs: 1", "stack_size: 3", "mine: unknown key ignored"):
        assert part in told
    status, told = check(*files, "--strict")
    assert status == 1
    assert "2 fail" in told and "-30..30 degrees" in told


def test_check_tells_of_several_configurations(tmp_path: Path) -> None:
    write(tmp_path, run=RUN_ENV, worker_2=WORKER_3)
    status, told = check("--params", tmp_path / "run.env")
    assert status == 0 and "a training on paddock, OBJECT_AVOIDANCE, kidney, HEAD_TO_BOT" in told
    (tmp_path / "worker-2.env").unlink()
    status, told = check("--params", tmp_path / "run.env")
    assert status == 0 and "no worker-2.env beside it" in told and "1 warn" in told
