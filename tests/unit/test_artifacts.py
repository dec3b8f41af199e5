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
