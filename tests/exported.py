"""A run with everything in it that exports take along, made without training."""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from contract import artifacts, metrics, simtrace
from contract.protocols import UpdateReport
from contract.rollout import Rollout
from contract.state import EpisodeStatus
from tests.frozen import add_track, untrained_run
from tests.unit.synthetic import drive, made_up
from trainer.journal import log_lines
from trainer.learn import Iteration, Progress
from undercut.runs.run import Run

ENDS = (EpisodeStatus.off_track, EpisodeStatus.crashed, EpisodeStatus.time_up) + 2 * (EpisodeStatus.lap_complete,)
PER_ITERATION, ITERATIONS, LENGTH_M = len(ENDS), 3, 9.4
EPOCHS = [{"surrogate_loss": -0.0123, "kl_divergence": 7.2e-06, "entropy": 1.5 + 0.1 * epoch} for epoch in range(3)]


@dataclass(frozen=True, slots=True)
class Driven:
    """The run and what was driven for it."""

    run: Run
    training: list[list[Rollout]]
    checks: list[list[Rollout]]
    laps: list[Rollout]


def driven_run(name: str = "mine", **config: Any) -> Driven:
    """In the working directory: three iterations of five episodes, a lap after each, and an evaluation of two laps."""
    add_track()
    run = untrained_run(name, 1.0, **config)
    hyperparameters = json.dumps({"num_episodes_between_training": PER_ITERATION})
    run.store.put(artifacts.HYPERPARAMETERS, hyperparameters.encode())
    time_s, rows, progress = 0.0, list[metrics.TrainingRow](), Progress()
    training = [made_up(i, ENDS) for i in range(ITERATIONS)]
    checks = [[drive(i, EpisodeStatus.lap_complete, length=60, progress_pct=100.0)] for i in range(ITERATIONS)]
    for i, (trained, checked) in enumerate(zip(training, checks, strict=True)):
        _put(run, artifacts.training_simtrace(i), simtrace.to_csv(trained, LENGTH_M, time_s))
        rows += metrics.training_rows(trained, time_s)
        time_s = simtrace.end_time_s(trained, time_s)
        _put(run, artifacts.training_evaluation_simtrace(i), simtrace.to_csv(checked, LENGTH_M, time_s))
        rows += metrics.training_evaluation_rows(checked, time_s, rows[-1])
        time_s = simtrace.end_time_s(checked, time_s)
        report = UpdateReport(-0.0123, 0.5, 1.7, 7.2e-06, 4, EPOCHS)
        done = Iteration(progress, progress.trained(trained).evaluated(checked), trained, checked, report)
        _put(run, artifacts.training_log(i), "".join(f"{line}\n" for line in log_lines(done, 0.0003)))
        progress = done.after
    _put(run, artifacts.TRAINING_METRICS, metrics.training_metrics_json(rows, "progress"))
    laps = [drive(k, EpisodeStatus.lap_complete, length=55 + k, progress_pct=100.0) for k in range(2)]
    _put(run, artifacts.evaluation_simtrace(), simtrace.to_csv(laps, LENGTH_M, 0.0))
    _put(run, artifacts.EVALUATION_METRICS, metrics.evaluation_metrics_json(metrics.evaluation_rows(laps)))
    return Driven(Run.open(name), training, checks, laps)


def steps_of(rollouts: list[Rollout]) -> np.ndarray:
    """Their rows, one after the other."""
    return np.concatenate([rollout.steps for rollout in rollouts])


def _put(run: Run, key: str, text: str) -> None:
    run.store.put(key, text.encode())


def content(folder: Path) -> dict[str, bytes]:
    """Every file below a folder: key -> content."""
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}
