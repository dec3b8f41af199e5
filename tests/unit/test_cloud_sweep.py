"""`undercut sweep --backend cloud` against moto's server over HTTP: a job a trial, so many at once, one limit of cost.
The jobs write the files that a training leaves, and end."""

import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from contract import artifacts
from contract.metrics import EvaluationRow, evaluation_metrics_json
from tests.aws_server import BUCKET
from tests.cloud_support import Here, here

__all__ = ["here"]
pytestmark = pytest.mark.slow

FILE = """
name: pace
trials: 3
pruner: none
sampler: grid
run: {training: {max_iterations: 1}}
search:
  run.seed: [1, 2, 3]
"""


def lap(seconds: float) -> bytes:
    row = EvaluationRow(100, 0, 0, round(1000 * seconds), "Lap complete", 0, 0, 0, 0, 0, 1)
    return evaluation_metrics_json([row]).encode()


def trains(here: Here, seconds_billed: int = 600) -> None:
    """Each job drives laps of as many seconds as the run's seed, and is done."""

    def job(request: dict[str, Any]) -> None:
        s3, prefix = here.server.client("s3"), request["HyperParameters"]["s3_prefix"]
        told = json.loads(s3.get_object(Bucket=BUCKET, Key=f"{prefix}/run.json")["Body"].read())
        assert told["threads"] == 0  # of the job's machine, not of this one
        key = f"{prefix}/{artifacts.EVALUATION_METRICS}"
        s3.put_object(Bucket=BUCKET, Key=key, Body=lap(10.0 + told["seed"]))
        made = here.server.job(request["TrainingJobName"])
        made.training_start_time = made.training_end_time = datetime.now(UTC)
        made.billable_time_in_seconds = made.training_time_in_seconds = seconds_billed
        made.training_job_status = made.secondary_status = "Completed"

    here.server.started = job


def test_trials_are_jobs_and_the_best_is_found(here: Here) -> None:
    Path("pace.yaml").write_text(FILE)
    trains(here)
    ran = here.ran("sweep", "pace.yaml", "--backend", "cloud", "--machines", "2", "--json")
    assert ran.exit_code == 0, ran.output
    assert len(here.server.asked("CreateTrainingJob")) == 3
    found = json.loads(ran.stdout[ran.stdout.index("{") :])
    assert found["trials"]["complete"] == 3 and found["best"]["value"] == pytest.approx(11.0)
    assert here.ran("sweep", "pace.yaml", "--backend", "cloud").exit_code == 0
    assert len(here.server.asked("CreateTrainingJob")) == 3  # nothing is trained twice


def test_one_limit_of_cost_for_all(here: Here) -> None:
    """A job is billed 2 hours of $0.816: after the first of them $2 pay for no other, and the sweep says so."""
    Path("pace.yaml").write_text(FILE)
    trains(here, seconds_billed=7200)
    ran = here.ran("sweep", "pace.yaml", "--backend", "cloud", "--max-cost", "1.9")
    assert ran.exception is not None and "--max-cost goes on" in str(ran.exception), ran.output
    first = here.server.asked("CreateTrainingJob")
    assert len(first) < 3 and all(one["StoppingCondition"]["MaxRuntimeInSeconds"] <= 8400 for one in first)
    ran = here.ran("sweep", "pace.yaml", "--backend", "cloud", "--max-cost", "50")
    assert ran.exit_code == 0, ran.output
    assert len(here.server.asked("CreateTrainingJob")) == 3
