"""`undercut sweep --backend cloud` against moto's server over HTTP: a job a trial, so many at once, one limit of cost.
The jobs write the files that a training leaves, and end."""

import contextlib
import json
import os
import re
import tempfile
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from contract import artifacts
from contract.errors import InputError
from contract.host import S3Address
from contract.metrics import EvaluationRow, evaluation_metrics_json
from contract.stores.local import LocalStore
from tests.aws_server import BUCKET, SageMaker
from tests.cloud_support import Here, here, small_run
from tests.unit.test_sweep import Stand
from trainer.iterations import read_iterations
from undercut.backends.aws.shards import CloudShards
from undercut.runs.run import Run
from undercut.runs.workspace import workspace
from undercut.sweep.shards import Shard
from undercut.sweep.spec import Sweep
from undercut.sweep.storage import shard_studies
from undercut.sweep.sweeping import Sweeper
from undercut.sweep.transfer import unpack

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

SMALL_SWEEP = """
trials: 2
objective: completion
pruner: none
sampler: grid
run:
  cars: 4
  training: {max_iterations: 1, max_episode_steps: 20, min_eval_trials: 1, clean_evaluations: 0}
  evaluation: {number_of_trials: 1, max_lap_steps: 20, number_of_resets: 0}
hyperparameters: {num_episodes_between_training: 5, num_epochs: 3, batch_size: 32}
search:
  run.seed: [1, 2]
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


# --- shards ----------------------------------------------------------------------------------------------------------

SHARDS = (
    "sweep",
    "pace.yaml",
    "--backend",
    "cloud",
    "--shards",
    "--machines",
    "2",
    "--instance-type",
    "ml.c7i.8xlarge",
)


def does(here: Here, most: int = 10, ends: str = "Completed", billed: int = 3600) -> None:
    """Each job does at most so many trials of its shard, as the container would: by its arguments, its file in the
    bucket, and the journal that is there."""

    def job(request: dict[str, Any]) -> None:
        told = request["HyperParameters"]
        name, key, _, shard, _, _ = json.loads(told["arguments"])
        with tempfile.TemporaryDirectory() as folder, contextlib.chdir(folder):
            address = S3Address.parse(request["Environment"]["UNDERCUT_STORE"], "job")
            os.environ["UNDERCUT_STORE"] = str(address)
            try:
                unpack(name, workspace(), LocalStore(Path()))
                own = Sweep.load(Path(key)).of_shard(Shard.parse(shard))
                stand = Stand(lambda run: 10.0 + run.config.seed)
                with shard_studies(name, "minimize", own.shard, workspace()) as studies:
                    sweeper = Sweeper(own, studies, stand, 1, lambda line: None)
                    stand.before = lambda run, call: sweeper.stop() if len(stand.calls) > most else None
                    sweeper.run()
            finally:
                del os.environ["UNDERCUT_STORE"]
        made = here.server.job(request["TrainingJobName"])
        made.training_start_time = made.training_end_time = datetime.now(UTC)
        made.billable_time_in_seconds = made.training_time_in_seconds = billed
        made.training_job_status = made.secondary_status = ends

    here.server.started = job


def test_shards_are_jobs_with_a_fixed_share_each(here: Here) -> None:
    """Two machines of $1.7136 an hour for three trials: one has the first and the third, the other the second."""
    Path("pace.yaml").write_text(FILE)
    does(here)
    ran = here.ran(*SHARDS, "--max-cost", "20", "--json")
    assert ran.exit_code == 0, ran.output
    jobs = here.server.asked("CreateTrainingJob")
    assert [json.loads(one["HyperParameters"]["arguments"]) for one in jobs] == [
        ["pace", "files/pace.yaml", "--shard", f"{index}/2", "--parallel", "0"] for index in (1, 2)
    ]
    assert {one["ResourceConfig"]["InstanceType"] for one in jobs} == {"ml.c7i.8xlarge"}
    found = json.loads(ran.stdout[ran.stdout.index("{") :])
    assert found["trials"]["complete"] == 3 and found["best"]["value"] == pytest.approx(11.0)
    assert [it["run"] for it in found["runs"]] == ["pace-0001", "pace-0002", "pace-0003"]
    assert all(Run.open(it["run"]).config.seed == it["values"]["run.seed"] for it in found["runs"])
    assert here.ran(*SHARDS).exit_code == 0 and len(here.server.asked("CreateTrainingJob")) == 2


def test_one_limit_and_one_estimate_for_all_shards(here: Here) -> None:
    """$1.7136 and some cents for disk, requests and logs an hour: of $4 each of two machines may run for a good hour,
    and AWS keeps to that."""
    Path("pace.yaml").write_text(FILE)
    does(here)
    ran = here.ran(*SHARDS, "--max-cost", "4")
    assert ran.exit_code == 0, ran.output
    most = re.search(r"2 shards of ml\.c7i\.8xlarge, 4 h at most each: at most \$([0-9.]+);", ran.output)
    assert most and 2 * 4 * 1.7136 < float(most[1]) < 1.1 * 2 * 4 * 1.7136
    assert "stopped at $4.00, by --max-cost" in ran.output
    longest = [one["StoppingCondition"]["MaxRuntimeInSeconds"] for one in here.server.asked("CreateTrainingJob")]
    assert len(longest) == 2 and all(3600 < seconds <= 2 / 1.7136 * 3600 for seconds in longest)
    Path("dear.yaml").write_text(FILE.replace("pace", "dear"))
    ran = here.ran("sweep", "dear.yaml", *SHARDS[2:], "--max-cost", "0.2")
    assert isinstance(ran.exception, InputError) and "--max-cost" in str(ran.exception), ran.output
    assert len(here.server.asked("CreateTrainingJob")) == 2


def test_a_shard_that_ends_early_goes_on_with_the_next_job(here: Here) -> None:
    """Spot capacity or a limit ends jobs before their trials: nothing is lost, and nothing done twice."""
    Path("pace.yaml").write_text(FILE)
    does(here, most=1, ends="Stopped")
    ran = here.ran(*SHARDS)
    assert "1 of 2 shards have ended before their trials" in str(ran.exception), ran.output
    does(here)
    ran = here.ran(*SHARDS, "--json")
    assert ran.exit_code == 0, ran.output
    jobs = [json.loads(one["HyperParameters"]["arguments"])[3] for one in here.server.asked("CreateTrainingJob")]
    assert jobs == ["1/2", "2/2", "1/2"]
    assert json.loads(ran.stdout[ran.stdout.index("{") :])["trials"]["complete"] == 3
    ran = here.ran("sweep", "pace.yaml", "--backend", "cloud", "--shards", "--machines", "3")
    assert isinstance(ran.exception, InputError) and "has 2 shards" in str(ran.exception)
    ran = here.ran("sweep", "pace.yaml")
    assert isinstance(ran.exception, InputError) and "no shards" in str(ran.exception)


def test_ctrl_c_stops_all_shards_and_stop_does_too(here: Here, monkeypatch: pytest.MonkeyPatch) -> None:
    """Jobs that do nothing until they are stopped."""
    Path("pace.yaml").write_text(FILE)
    here.server.started = lambda request: None
    looked = CloudShards._follow

    def pressed(self: CloudShards, fetcher: Any, is_stopping: bool) -> None:
        if not is_stopping:
            raise KeyboardInterrupt
        looked(self, fetcher, is_stopping)

    monkeypatch.setattr(CloudShards, "_follow", pressed)
    ran = here.ran(*SHARDS)
    assert ran.exit_code != 0 and len(here.server.asked("StopTrainingJob")) == 2
    names = [one["TrainingJobName"] for one in here.server.asked("CreateTrainingJob")]
    assert {here.server.job(name).training_job_status for name in names} == {"Stopped"}
    gone = RuntimeError("this machine goes away")
    monkeypatch.setattr(CloudShards, "_follow", lambda *_, **__: (_ for _ in ()).throw(gone))
    monkeypatch.setattr(CloudShards, "_stop", lambda self: None)
    assert here.ran(*SHARDS).exception is gone and len(here.server.asked("CreateTrainingJob")) == 4
    assert here.cloud("stop", "pace").count("is told to stop") == 2
    names = [one["TrainingJobName"] for one in here.server.asked("CreateTrainingJob")]
    assert {here.server.job(name).training_job_status for name in names} == {"Stopped"}


def test_options_that_mean_nothing_there_are_refused(here: Here) -> None:
    Path("pace.yaml").write_text(FILE)
    for words, what in (
        (("--scale", "2"), "--scale goes with --backend compose"),
        (("--machines", "2"), "--machines goes with --backend cloud"),
        (("--backend", "cloud", "--parallel", "2"), "--machines says how many"),
        (("--backend", "cloud", "--shards", "--queue", "q"), "a queue takes each trial"),
        (("--backend", "compose", "--shard", "1/2"), "--shard goes with --backend local"),
    ):
        ran = here.ran("sweep", "pace.yaml", *words)
        assert isinstance(ran.exception, InputError) and what in str(ran.exception), (words, ran.output, ran.exception)
    assert not Path("sweeps").exists()


@pytest.mark.timeout(3_600)
def test_the_container_does_its_shard_across_an_interruption(here: Here) -> None:
    """The job's own program with real trainings: its machine is taken back once the first trial has come to its end."""
    Path("s.yaml").write_text(SMALL_SWEEP)
    aws = SageMaker(here.server, here.folder / "ml", interruptions=1, taken_at="s-0001: completion")
    ran = here.ran("sweep", "s.yaml", "--backend", "cloud", "--shards", "--parallel", "1", "--json")
    aws.join()
    assert ran.exit_code == 0, ran.output
    assert aws.begun == 2 and len(here.server.asked("CreateTrainingJob")) == 1
    found = json.loads(ran.stdout[ran.stdout.index("{") :])
    assert found["trials"]["complete"] == 2
    for it in found["runs"]:
        run = Run.open(it["run"])
        assert run.config.seed == it["values"]["run.seed"] and run.store.exists(artifacts.EVALUATION_METRICS)
        assert [row.iteration for row in read_iterations(run.store)] == [0]


# --- a queue of AWS Batch --------------------------------------------------------------------------------------------

QUEUED = ("sweep", "pace.yaml", "--backend", "cloud", "--queue", "trainings", "--machines", "3")


def test_trials_wait_in_a_queue_of_batch_and_are_tried_again(here: Here) -> None:
    """SageMaker itself fails the first try of each; Batch begins a second one, and both are paid for."""
    Path("pace.yaml").write_text(FILE)
    trains(here)
    works = here.server.started
    assert works is not None
    begun = set[str]()

    def fails_once(request: dict[str, Any]) -> None:
        works(request)
        run = request["Tags"][0]["Value"]
        if run not in begun:
            begun.add(run)
            made = here.server.job(request["TrainingJobName"])
            made.training_job_status = made.secondary_status = "Failed"
            made.failure_reason = "InternalServerError: We encountered an internal error"

    here.server.started = fails_once
    ran = here.ran(*QUEUED, "--json")
    assert ran.exit_code == 0, ran.output
    assert len(here.server.asked("Submitservicejob")) == 3 and len(here.server.asked("CreateTrainingJob")) == 6
    assert {one["jobQueue"] for one in here.server.asked("Submitservicejob")} == {"trainings"}
    assert "up to 3 times" in ran.output
    found = json.loads(ran.stdout[ran.stdout.index("{") :])
    assert found["trials"]["complete"] == 3 and found["best"]["value"] == pytest.approx(11.0)
    # 2 tries of 600 s each at $0.816 an hour, and some cents
    spent = [float(dollars) for dollars in re.findall(r"done; it did cost about \$([0-9.]+)", ran.output)]
    assert len(spent) == 3 and all(2 * 600 / 3600 * 0.816 < one < 0.4 for one in spent)


def test_a_reward_that_fails_is_not_tried_again_and_a_stop_leaves_nothing_in_the_queue(here: Here) -> None:
    Path("pace.yaml").write_text(FILE)

    def fails(request: dict[str, Any]) -> None:
        made = here.server.job(request["TrainingJobName"])
        made.training_job_status = made.secondary_status = "Failed"
        made.failure_reason = "AlgorithmError: the reward raised ZeroDivisionError"

    here.server.started = fails
    ran = here.ran(*QUEUED)
    assert "ZeroDivisionError" in str(ran.exception) and len(here.server.asked("CreateTrainingJob")) == 3
    here.server.has_room = False
    small_run("mine", here.folder)
    told = ("train", "mine", "--launcher", "queue", "--detach")
    assert "training_queue" in here.refused(*told)[0]
    os.environ["UNDERCUT_CLOUD_TRAINING_QUEUE"] = "trainings"
    try:
        here.cloud(*told)
        assert "starting" in here.cloud("status")
        here.cloud("stop", "mine")
        assert "stopped" in here.cloud("status")
    finally:
        del os.environ["UNDERCUT_CLOUD_TRAINING_QUEUE"]
    assert len(here.server.asked("CreateTrainingJob")) == 3
