"""deepracer-utils, the community's log analysis, reads what a run writes, and gets our numbers."""

import io
import math
from pathlib import Path

import numpy as np
import pytest
from deepracer.logs import AnalysisUtils, DeepRacerLog, SimulationLogsIO, TrainingMetrics

from contract import artifacts, metrics, simtrace
from contract.rollout import Rollout
from contract.state import STEP_S, EpisodeStatus
from contract.stores.local import LocalStore
from tests.unit.synthetic import drive, made_up

ENDS = (EpisodeStatus.off_track, EpisodeStatus.crashed, EpisodeStatus.time_up, EpisodeStatus.lap_complete)
LENGTH_M = 17.7


Run = tuple[Path, list[list[Rollout]]]


def _write_run(root: Path, continuous: bool) -> Run:
    """Three iterations in the contract's layout."""
    store = LocalStore(root)
    time_s, rows, iterations = 0.0, [], [made_up(i, ENDS, continuous) for i in range(3)]
    for i, rollouts in enumerate(iterations):
        store.put(artifacts.training_simtrace(i), simtrace.to_csv(rollouts, LENGTH_M, time_s).encode())
        rows += metrics.training_rows(rollouts, time_s)
        time_s = simtrace.end_time_s(rollouts, time_s)
        lap = [drive(0, EpisodeStatus.lap_complete, length=60, progress_pct=100.0)]
        rows += metrics.training_evaluation_rows(lap, time_s, rows[-1])
        time_s = simtrace.end_time_s(lap, time_s)
    store.put(artifacts.TRAINING_METRICS, metrics.training_metrics_json(rows, "progress").encode())
    store.put(artifacts.evaluation_simtrace(), simtrace.to_csv(iterations[0], LENGTH_M, 0.0).encode())
    return root, iterations


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Run:
    return _write_run(tmp_path_factory.mktemp("runs") / "run", continuous=False)


def _load(root: Path) -> DeepRacerLog:
    log = DeepRacerLog(str(root / "iteration-data" / "training"))
    log.load_training_trace(ignore_metadata=True)
    return log


def test_training_simtraces_give_every_step(run: Run) -> None:
    root, iterations = run
    frame = _load(root).dataframe()
    rollouts = [rollout for iteration in iterations for rollout in iteration]
    steps = np.concatenate([rollout.steps for rollout in rollouts])
    assert len(frame) == len(steps)
    for column, name in (("x", "x_m"), ("y", "y_m"), ("speed", "speed_mps"), ("reward", "reward")):
        np.testing.assert_array_equal(frame[column], steps[name], column)
    np.testing.assert_allclose(frame["yaw"], np.degrees(steps["heading_rad"]), rtol=1e-13)
    np.testing.assert_allclose(frame["steering_angle"], np.degrees(steps["steering_rad"]), rtol=1e-13)
    np.testing.assert_array_equal(frame["on_track"], steps["all_wheels_on_track"])
    np.testing.assert_array_equal(frame["closest_waypoint"], steps["closest_waypoint"])
    np.testing.assert_array_equal(frame["action"], np.concatenate([rollout.actions for rollout in rollouts]))
    assert frame["unique_episode"].unique().tolist() == list(range(12))
    assert frame["iteration"].unique().tolist() == [0, 1, 2]
    assert frame["done"].sum() == 12
    assert frame["tstamp"].is_monotonic_increasing


def test_its_summary_of_episodes_is_ours(run: Run) -> None:
    root, iterations = run
    summary = AnalysisUtils.simulation_agg(_load(root).dataframe(), secondgroup="unique_episode")
    rollouts = [rollout for iteration in iterations for rollout in iteration]
    assert summary["steps"].tolist() == [len(rollout) for rollout in rollouts]
    np.testing.assert_allclose(summary["progress"], [rollout.progress_pct for rollout in rollouts])
    np.testing.assert_allclose(summary["reward"], [math.fsum(rollout.rewards) for rollout in rollouts])
    # it measures from the first row to the last, one step less than an episode lasts
    np.testing.assert_allclose(summary["time"], [rollout.time_s - STEP_S for rollout in rollouts], rtol=1e-9)


def test_its_stability_analysis_sees_equal_steps(run: Run) -> None:
    root, iterations = run
    analysis = _load(root).stability.analyze()
    steps = [sum(len(rollout) - 1 for rollout in iteration) for iteration in iterations]
    assert analysis["count"].tolist() == steps
    for column in ("avg_ms", "max_ms", "p95_ms"):
        np.testing.assert_allclose(analysis[column], 1000.0 * STEP_S, rtol=1e-6)
    np.testing.assert_allclose(analysis["std_ms"], 0.0, atol=1e-6)


def test_continuous_actions_load(tmp_path: Path) -> None:
    root, iterations = _write_run(tmp_path / "run", continuous=True)
    frame = _load(root).dataframe()
    assert len(frame) == sum(len(rollout) for iteration in iterations for rollout in iteration)
    assert (frame["action"] == -1).all(), "what it shows for every continuous action"


def test_evaluation_simtraces_load(run: Run) -> None:
    root, iterations = run
    log = DeepRacerLog(str(root / "iteration-data" / "training"))
    log.fh.evaluation_simtrace_path = str(root / "iteration-data" / "*" / "evaluation-simtrace" / "0-iteration.csv")
    log.fh.evaluation_simtrace_split = r".*/iteration-data/(.*)/evaluation-simtrace/(.*)-iteration\.csv"
    log.load_evaluation_trace(ignore_metadata=True)
    summary = AnalysisUtils.simulation_agg(log.dataframe(), firstgroup="stream", is_eval=True)
    assert summary["steps"].tolist() == [len(rollout) for rollout in iterations[0]]
    assert summary["complete"].tolist() == [0, 0, 0, 1]


def test_log_lines_load(run: Run) -> None:
    _, iterations = run
    rollouts = [rollout for iteration in iterations for rollout in iteration]
    logged = simtrace.log_lines(simtrace.to_csv(rollouts, LENGTH_M, 0.0), "x.csv")
    text = "\n".join(["starting", *logged, "Training> done"]) + "\n"
    lines = SimulationLogsIO.load_buffer(io.StringIO(text))
    frame = SimulationLogsIO.convert_to_pandas(lines, episodes_per_iteration=len(ENDS))
    steps = np.concatenate([rollout.steps for rollout in rollouts])
    np.testing.assert_array_equal(frame["x"], steps["x_m"])
    np.testing.assert_array_equal(frame["reward"], steps["reward"])
    np.testing.assert_array_equal(frame["progress"], steps["progress_pct"])
    assert frame["iteration"].unique().tolist() == [0, 1, 2]
    assert frame["episode"].unique().tolist() == list(range(12))


@pytest.fixture
def no_aws(monkeypatch: pytest.MonkeyPatch) -> None:
    # its class makes an S3 client even for a file on disk
    monkeypatch.setenv("AWS_DEFAULT_REGION", "us-east-1")
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")


@pytest.mark.usefixtures("no_aws")
def test_training_metrics_load(run: Run) -> None:
    root, iterations = run
    tool = TrainingMetrics(None, fname=str(root / artifacts.TRAINING_METRICS))
    trained, evaluated = tool.getTraining(), tool.getEvaluation()
    assert len(trained) == 12
    assert len(evaluated) == 3
    assert trained["iteration"].tolist() == [0] * 4 + [1] * 4 + [2] * 4
    assert evaluated["iteration"].tolist() == [0, 1, 2]
    summary = tool.getSummary()
    expected = [np.mean([math.floor(rollout.progress_pct) for rollout in iteration]) for iteration in iterations]
    np.testing.assert_allclose(summary["train_completion"], expected)
    np.testing.assert_allclose(summary["eval_completion"], 100.0)
    np.testing.assert_allclose(evaluated["time"], 4.0)
    assert trained["complete"].tolist() == [0, 0, 0, 1] * 3
