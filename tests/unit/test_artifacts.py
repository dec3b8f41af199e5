import pytest
from hypothesis import given
from hypothesis import strategies as st

from contract import artifacts

Counts = st.integers(0, 10**9)


def test_keys_are_the_contracts() -> None:
    assert [
        artifacts.checkpoint_file("5_Step-1234.ckpt", "index"),
        artifacts.COACH_CHECKPOINT,
        artifacts.policy_graph(5),
        artifacts.DEEPRACER_CHECKPOINTS,
        artifacts.MODEL_METADATA,
        artifacts.HYPERPARAMETERS,
        artifacts.TRAINING_METRICS,
        artifacts.EVALUATION_METRICS,
        artifacts.TRAINING_PARAMS,
        artifacts.EVALUATION_PARAMS,
        artifacts.REWARD_FUNCTION,
        artifacts.training_simtrace(5),
        artifacts.evaluation_simtrace(),
        artifacts.car_bundle("job"),
        artifacts.race_metrics("final", "zig"),
        artifacts.race_simtrace("final", "zig"),
        artifacts.race_plot("final", "zig"),
        artifacts.race_result("final"),
        artifacts.race_params("final"),
    ] == [
        "model/5_Step-1234.ckpt.index",
        "model/.coach_checkpoint",
        "model/model_5.pb",
        "model/deepracer_checkpoints.json",
        "model/model_metadata.json",
        "ip/hyperparameters.json",
        "training_metrics.json",
        "evaluation_metrics.json",
        "training_params.yaml",
        "evaluation_params.yaml",
        "reward_function.py",
        "iteration-data/training/training-simtrace/5-iteration.csv",
        "iteration-data/evaluation/evaluation-simtrace/0-iteration.csv",
        "train-output/job/output/model.tar.gz",
        "races/final/zig/evaluation_metrics.json",
        "races/final/zig/iteration-data/evaluation/evaluation-simtrace/0-iteration.csv",
        "races/final/zig/laps.png",
        "races/final/result.json",
        "races/final/race_params.yaml",
    ]


@given(Counts, Counts)
def test_names_of_checkpoints_read_back(iteration: int, steps: int) -> None:
    name = artifacts.checkpoint_name(iteration, steps)
    assert artifacts.parse_checkpoint_name(name) == (iteration, steps)
    assert artifacts.parse_checkpoint_manifest(artifacts.checkpoint_manifest(name)) == (iteration, steps)


@pytest.mark.parametrize(
    ("key", "content"),
    [
        ("model/5_Step-1234.ckpt.data-00000-of-00001", True),
        ("model/model_12.pb", True),
        ("model/5_Step-1234.manifest.json", False),
        ("model/deepracer_checkpoints.json", False),
        ("model/.coach_checkpoint", False),
        ("model/model_metadata.json", False),
        ("other/model_12.pb", False),
    ],
)
def test_only_a_checkpoints_large_files_may_be_pruned(key: str, content: bool) -> None:
    assert artifacts.is_checkpoint_content(key) == content


NO_NUMBERS = ["", "x", "٣", "9" * 16, "-1", "1.5", "0x1"]


@given(Counts)
def test_keys_of_an_iteration_read_back(iteration: int) -> None:
    assert artifacts.parse_training_log(artifacts.training_log(iteration)) == iteration
    assert artifacts.parse_event_file(artifacts.event_file(iteration)) == iteration
    traces = {
        "training": artifacts.training_simtrace(iteration),
        "training_evaluation": artifacts.training_evaluation_simtrace(iteration),
        "evaluation": artifacts.evaluation_simtrace(iteration),
    }
    for kind, key in traces.items():
        assert artifacts.parse_simtrace(key) == artifacts.parse_any_simtrace(key) == (kind, iteration)
        assert artifacts.parse_any_simtrace(f"runs/mine/{key}") == (kind, iteration)


@pytest.mark.parametrize("number", NO_NUMBERS)
def test_keys_without_a_number_are_none_of_ours(number: str) -> None:
    assert artifacts.parse_checkpoint_name(f"{number}_Step-5.ckpt") is None
    assert artifacts.parse_checkpoint_name(f"5_Step-{number}.ckpt") is None
    assert artifacts.parse_checkpoint_manifest(f"model/{number}_Step-5.manifest.json") is None
    assert artifacts.parse_training_log(f"logs/training/{number}-iteration.log") is None
    assert artifacts.parse_event_file(f"tensorboard/events.out.tfevents.{number}.undercut") is None
    assert artifacts.parse_simtrace(f"iteration-data/training/training-simtrace/{number}-iteration.csv") is None
    assert artifacts.parse_any_simtrace(f"{number}-iteration.csv") is None
    assert not artifacts.is_checkpoint_content(f"model/model_{number}.pb")


def test_keys_of_other_objects_are_none_of_these() -> None:
    assert artifacts.parse_checkpoint_manifest("model/5_Step-7.ckpt") is None
    assert artifacts.parse_checkpoint_manifest("model/deepracer_checkpoints.json") is None
    assert artifacts.parse_simtrace("iteration-data/evaluation/training-simtrace/3-iteration.csv") is None
    assert artifacts.parse_simtrace("mine/iteration-data/training/training-simtrace/3-iteration.csv") is None


@pytest.mark.parametrize(
    ("key", "found"),
    [
        ("7-iteration.csv", ("training", 7)),
        ("sim-trace/7-iteration.csv", ("training", 7)),
        ("training-simtrace/7-iteration.csv", ("training", 7)),
        ("evaluation-simtrace/7-iteration.csv", ("training_evaluation", 7)),
        ("x/evaluation-simtrace/7-iteration.csv", ("training_evaluation", 7)),
        ("evaluation-1/evaluation-simtrace/7-iteration.csv", ("evaluation", 7)),
        ("evaluation-1/today/evaluation-simtrace/7-iteration.csv", ("evaluation", 7)),
        ("evaluation-of-mine/model/training/evaluation-simtrace/7-iteration.csv", ("training_evaluation", 7)),
        ("evaluation-simtrace/other/7-iteration.csv", ("training", 7)),
        ("7-iteration.csv.gz", None),
    ],
)
def test_simtraces_in_any_layout(key: str, found: tuple[str, int] | None) -> None:
    assert artifacts.parse_any_simtrace(key) == found


def test_an_evaluation_is_the_first_unless_it_is_said() -> None:
    assert [artifacts.evaluation_recording(), artifacts.video("evaluation", "front")] == [
        "iteration-data/evaluation/recording/0-iteration.rec",
        "iteration-data/evaluation/camera-front/0-video.mp4",
    ]
