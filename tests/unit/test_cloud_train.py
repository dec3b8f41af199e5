"""`undercut cloud train` against moto's server over HTTP: the run that was made here trains in a job's own process,
with the variables and folders that the launcher and SageMaker set, and comes back."""

import json
from pathlib import Path

import pytest

from contract import artifacts
from contract.config import RunConfig
from contract.stores.local import LocalStore
from tests.aws_server import BUCKET, SageMaker
from tests.cloud_support import SMALL, Here, here, small_run
from undercut.runs.run import Run
from undercut.runs.sessions import summary

__all__ = ["here"]
pytestmark = pytest.mark.slow

HOST_FIELDS: tuple[str, ...] = ()
"""Fields of run.json that may differ between here and the cloud: none. What differs from machine to machine is in the
environment (contract/host.py)."""


def test_a_run_trains_there_comes_back_and_goes_on_in_both(here: Here, tmp_path: Path) -> None:
    server, folder = here.server, here.folder
    sagemaker = SageMaker(server, tmp_path / "ml")
    given = small_run("mine", folder).store.get(artifacts.RUN_CONFIG)
    said = here.cloud("train", "mine")
    sagemaker.join()

    # golden: the job read the run that was made here, byte for byte
    read = server.client("s3").get_object(Bucket=BUCKET, Key="runs/mine/run.json")["Body"].read()
    assert read == given and HOST_FIELDS == ()
    # it came back whole
    mine = Run.open("mine")
    assert summary(mine)["iterations"] == 1 and summary(mine)["laps"] is not None
    assert mine.store.get(artifacts.RUN_CONFIG) == given
    assert mine.store.exists(artifacts.car_bundle("mine")) and mine.store.exists(artifacts.TRAINING_PLOT)
    assert "launched undercut-mine-" in said and "brought runs/mine" in said
    assert "reward-training" in said and "Training> Name" not in said
    assert "Training> Name=main_level/agent" in here.cloud("logs", "mine")
    # no secret in what was launched, recorded or said
    asked = json.dumps(server.asked("CreateTrainingJob"))
    record = next((folder / "cloud").glob("*.json")).read_text()
    for text in (asked, record, said):
        assert "secret-of-the-test" not in text and "AKIA" not in text

    # here: one more iteration; there: another one from where it stands
    longer = {**SMALL, "name": "mine", "training": {**SMALL["training"], "max_iterations": 2}}  # type: ignore[dict-item]
    ran = here.ran("train", "mine", "--iterations", "2")
    assert ran.exit_code == 0, ran.output
    assert RunConfig.build(longer, "test") == Run.open("mine").config
    here.ran("train", "mine", "--iterations", "3", "--backend", "cloud")
    sagemaker.join()
    assert summary(Run.open("mine"))["iterations"] == 3
    rows = json.loads(here.cloud("status", "--json"))
    assert [row["detail"] for row in rows] == ["Completed"] * 2 and {row["runs"] for row in rows} == {"mine"}
    shown = here.cloud("status")
    assert all(row["job"] in shown for row in rows) and shown.count("Completed") == 2
    spent = json.loads(here.cloud("cost", "mine", "--json"))
    assert [row["job"] for row in spent] == [rows[0]["job"]] or [row["job"] for row in spent] == [rows[1]["job"]]
    assert spent[0]["dollars"] == pytest.approx(sum(line["dollars"] for line in spent[0]["lines"]))
    assert LocalStore(folder / "runs" / "mine").exists(artifacts.REWARD_FUNCTION)


def test_spare_capacity_that_is_taken_back_goes_on_where_it_was(here: Here, tmp_path: Path) -> None:
    """SageMaker stops the container and starts the same job again; the run goes on from the bucket's last iteration."""
    sagemaker = SageMaker(here.server, tmp_path / "ml", interruptions=1)
    run = small_run("mine", here.folder)
    run.remake(RunConfig.build({**SMALL, "name": "mine", "training": {**SMALL["training"], "max_iterations": 3}}, ""))  # type: ignore[dict-item]
    output = here.cloud("train", "mine", "--spot")
    sagemaker.join()
    (asked,) = here.server.asked("CreateTrainingJob")
    assert asked["EnableManagedSpotTraining"] and asked["CheckpointConfig"]["LocalPath"] == "/opt/ml/checkpoints"
    assert asked["StoppingCondition"]["MaxWaitTimeInSeconds"] >= asked["StoppingCondition"]["MaxRuntimeInSeconds"]
    assert sagemaker.begun == 2 and "stopped; finished iterations are kept" in output
    assert summary(Run.open("mine"))["iterations"] == 3
    log = here.cloud("logs", "mine")
    assert log.count("Episode=1, ") == 2  # of training and testing: the first iteration was not trained again


@pytest.mark.redis
def test_several_machines_share_a_training_over_redis(here: Here, tmp_path: Path) -> None:
    """A heterogeneous cluster: the first machine of the group "trainer" trains, the others drive."""
    hosts = ("localhost", "127.0.0.1", "127.0.0.2")
    sagemaker = SageMaker(here.server, tmp_path / "ml", hosts)
    small_run("mine", here.folder)
    output = here.cloud("train", "mine", "--simulators", "2", "--simulator-type", "ml.c5.xlarge")
    sagemaker.join()
    (asked,) = here.server.asked("CreateTrainingJob")
    groups = asked["ResourceConfig"]["InstanceGroups"]
    assert [(group["InstanceGroupName"], group["InstanceCount"]) for group in groups] == [
        ("trainer", 1),
        ("simulators", 2),
    ]
    assert asked["EnableInterContainerTrafficEncryption"]
    assert summary(Run.open("mine"))["iterations"] == 1
    assert "rollouts come over Redis" in output and "at work" in output
    # nothing is left of the password that they met with
    kept = here.server.client("s3").list_objects_v2(Bucket=BUCKET, Prefix="jobs/").get("Contents", [])
    assert not [one["Key"] for one in kept if one["Key"].endswith("redis.json")]


def test_evaluating_and_racing_there(here: Here, tmp_path: Path) -> None:
    """The same commands as here, in a job; what they wrote comes back."""
    sagemaker = SageMaker(here.server, tmp_path / "ml")
    for name in ("mine", "other"):
        small_run(name, here.folder)
        ran = here.ran("train", name, "--laps", "1")
        assert ran.exit_code == 0, ran.output
    before = Run.open("mine").store.get(artifacts.EVALUATION_METRICS)
    # the guidance's YAML goes along
    Path("evaluation_params.yaml").write_text('NUMBER_OF_TRIALS: "2"\nNUMBER_OF_RESETS: "0"\nWORLD_NAME: "paddock"\n')
    error, _ = here.refused("evaluate", "mine", "--params", "nowhere.yaml")
    assert "nowhere.yaml" in error and not here.server.asked("CreateTrainingJob")
    here.cloud("evaluate", "mine", "--params", "evaluation_params.yaml", "--no-video")
    assert len(json.loads(Run.open("mine").store.get(artifacts.EVALUATION_METRICS))["metrics"]) == 2
    assert b"NUMBER_OF_TRIALS" in Run.open("mine").store.get(artifacts.EVALUATION_PARAMS)
    assert before != Run.open("mine").store.get(artifacts.EVALUATION_METRICS)
    here.cloud("race", "mine", "other", "--", "--laps", "1", "--no-video", "--name", "final")
    sagemaker.join()
    assert LocalStore(here.folder / "races" / "final").list("")
