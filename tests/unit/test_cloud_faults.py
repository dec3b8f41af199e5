"""What goes wrong in the cloud: each fault comes from the server over HTTP, and says what is missing and what to do."""

import json
import os
import signal
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from contract.errors import InputError
from tests.aws_server import ACCOUNT, Fault
from tests.cloud_support import Here, here, small_run
from tests.webhooks import receiver
from undercut.backends.aws import jobs, launchers
from undercut.backends.aws.launching import begin, finish, plan_of
from undercut.backends.aws.session import CloudError, CloudSession
from undercut.backends.aws.settings import CloudSettings
from undercut.backends.compose import engine

__all__ = ["here"]
pytestmark = pytest.mark.slow


def ends(here: Here, status: str, reason: str = "", log: tuple[str, ...] = ()) -> Any:
    """What the next jobs do: end at once like this."""

    def end(request: dict[str, Any]) -> None:
        name = request["TrainingJobName"]
        job = here.server.job(name)
        here.server.say(name, "algo-1", list(log))
        job.training_job_status = job.secondary_status = status
        job.failure_reason = reason or None
        job.training_start_time, job.training_end_time = datetime.now(UTC), datetime.now(UTC)

    here.server.started = end
    return end


def runs_on(here: Here) -> None:
    """The next jobs run until they are stopped."""

    def begin_it(request: dict[str, Any]) -> None:
        job = here.server.job(request["TrainingJobName"])
        job.secondary_status, job.training_start_time = "Training", datetime.now(UTC)

    here.server.started = begin_it


def launched(here: Here) -> list[str]:
    return [request["TrainingJobName"] for request in here.server.asked("CreateTrainingJob")]


def test_missing_credentials(here: Here, monkeypatch: pytest.MonkeyPatch) -> None:
    small_run("mine", here.folder)
    monkeypatch.delenv("AWS_ACCESS_KEY_ID")
    monkeypatch.delenv("AWS_SECRET_ACCESS_KEY")
    error, _ = here.refused("train", "mine")
    assert "NoCredentialsError" in error and "aws configure" in error
    assert not launched(here) and not (here.folder / "cloud").exists()


@pytest.mark.parametrize(
    ("code", "expected"),
    [("ExpiredToken", "aws sso login"), ("InvalidClientTokenId", "AWS_PROFILE")],
)
def test_credentials_that_are_over_or_unknown(here: Here, code: str, expected: str) -> None:
    small_run("mine", here.folder)
    here.server.faults["GetCallerIdentity"] = Fault(code, "The security token included is no good", 403)
    error, _ = here.refused("train", "mine")
    assert code in error and expected in error and "secret-of-the-test" not in error
    assert not launched(here)


def test_another_account_is_refused(here: Here, monkeypatch: pytest.MonkeyPatch) -> None:
    small_run("mine", here.folder)
    monkeypatch.setenv("UNDERCUT_CLOUD_ACCOUNT", "999999999999")
    error, _ = here.refused("train", "mine")
    assert ACCOUNT in error and "999999999999" in error and not launched(here)


def test_access_denied_names_the_permission_and_the_resource(here: Here) -> None:
    small_run("mine", here.folder)
    role = f"arn:aws:iam::{ACCOUNT}:role/undercut-job"
    said = (
        f"User: arn:aws:iam::{ACCOUNT}:user/me is not authorized to perform: iam:PassRole on resource: {role} because"
    )
    here.server.faults["CreateTrainingJob"] = Fault("AccessDeniedException", said, 400)
    error, output = here.refused("train", "mine")
    assert f"need iam:PassRole on {role}" in error
    assert "nothing is left running" in output
    here.server.faults["CreateTrainingJob"] = Fault("AccessDeniedException", "no", 400)
    error, _ = here.refused("train", "mine")
    assert "need sagemaker:CreateTrainingJob" in error


def test_a_quota_leads_to_the_next_type_and_is_named_at_the_end(here: Here) -> None:
    small_run("mine", here.folder)
    said = "The account-level service limit 'ml.c6i.4xlarge for training job usage' is 0 Instances"
    here.server.faults["CreateTrainingJob"] = Fault("ResourceLimitExceeded", said, 400, times=3)
    error, output = here.refused("train", "mine")
    types = [request["ResourceConfig"]["InstanceType"] for request in here.server.asked("CreateTrainingJob")]
    assert types == ["ml.c6i.4xlarge", "ml.c5.4xlarge", "ml.m5.4xlarge"]
    assert "Service Quotas" in error and said in error and output.count("next of the list") == 3


def test_no_capacity_leads_to_the_next_type_and_region(here: Here, monkeypatch: pytest.MonkeyPatch) -> None:
    small_run("mine", here.folder)
    monkeypatch.setenv("UNDERCUT_CLOUD_FALLBACK_REGIONS", "eu-west-1")
    monkeypatch.setenv("UNDERCUT_CLOUD_FALLBACK_INSTANCE_TYPES", "ml.m5.xlarge")
    ends(here, "Failed", "CapacityError: Unable to provision requested ML compute capacity.")
    output = here.cloud("train", "mine")  # in the other region the server's jobs are done at once
    asked = here.server.asked("CreateTrainingJob")
    tried = [(one["Environment"]["AWS_REGION"], one["ResourceConfig"]["InstanceType"]) for one in asked]
    assert tried == [("us-east-1", "ml.c6i.4xlarge"), ("us-east-1", "ml.m5.xlarge"), ("eu-west-1", "ml.c6i.4xlarge")]
    assert output.count("no capacity; going on with the next of the list") == 2


def test_throttling_is_waited_out(here: Here) -> None:
    small_run("mine", here.folder)
    here.server.faults["CreateTrainingJob"] = Fault("ThrottlingException", "Rate exceeded", 400, times=2)
    runs_on(here)
    here.cloud("train", "mine", "--detach")
    assert len(here.server.asked("CreateTrainingJob")) == 3 and len(set(launched(here))) == 1


def test_a_job_that_dies_at_start_shows_its_log(here: Here) -> None:
    small_run("mine", here.folder)
    ends(here, "Failed", "AlgorithmError: , exit code: 1", ("Traceback (most recent call last)", "ImportError: libfoo"))
    error, _ = here.refused("train", "mine")
    assert "| ImportError: libfoo" in error and "exit code: 1" in error and "undercut cloud logs" in error
    ends(here, "Failed", "InternalServerError: image could not be pulled")
    error, _ = here.refused("train", "mine")
    assert "its container did not start" in error


def test_ctrl_c_while_the_request_is_on_its_way_leaves_nothing_running(here: Here) -> None:
    """The job is there, but the answer never comes: what was launched is found by its name and stopped."""
    small_run("mine", here.folder)
    runs_on(here)
    press = lambda: os.kill(os.getpid(), signal.SIGINT)  # noqa: E731
    here.server.faults["CreateTrainingJob"] = Fault("InternalFailure", "lost", 500, after=True, hook=press)
    settings = CloudSettings.load({"launcher": "sagemaker"})
    session = CloudSession(settings)
    lines: list[str] = []
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        with pytest.raises(KeyboardInterrupt):
            begin(session, plan_of(settings, session.region, "train", ["mine"]), lines.append)
    finally:
        signal.signal(signal.SIGINT, before)
    (name,) = set(launched(here))
    assert here.server.job(name).training_job_status == "Stopped"
    assert any("was stopped: nothing is left running" in line for line in lines)
    assert [record.job for record in jobs.records()] == [name]  # it can still be looked at


def test_ctrl_c_while_a_job_is_followed_leaves_it_and_says_so(here: Here) -> None:
    small_run("mine", here.folder)
    runs_on(here)
    here.cloud("train", "mine", "--detach")
    record, session, starter = launchers.opened("mine")
    press = lambda: os.kill(os.getpid(), signal.SIGINT)  # noqa: E731
    here.server.faults["DescribeLogStreams"] = Fault("InternalFailure", "lost", 500, hook=press)
    lines: list[str] = []
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        with pytest.raises(KeyboardInterrupt):
            finish(session, starter, record, lines.append)
    finally:
        signal.signal(signal.SIGINT, before)
    assert here.server.job(record.job).training_job_status == "InProgress"
    assert "goes on in the cloud" in lines[-1] and "stop mine ends it" in lines[-1]


def test_streams_of_a_restart_and_of_many_machines(here: Here) -> None:
    """SageMaker opens a further stream when an interrupted machine starts again, and numbers machines beyond nine."""
    small_run("mine", here.folder)

    def end(request: dict[str, Any]) -> None:
        name = request["TrainingJobName"]
        for started, reward in enumerate((10, 20), start=1):
            here.server.say(name, "algo-1", [f"Training> Name=main, Total reward={reward}, Steps=1"], started)
        for host in ("algo-10", "algo-2"):
            here.server.say(name, host, [f"Training> Name=other, Total reward=7, of {host}"])
        job = here.server.job(name)
        job.training_job_status = job.secondary_status = "Completed"
        job.training_start_time = job.training_end_time = datetime.now(UTC)

    here.server.started = end
    output = here.cloud("train", "mine")
    assert "reward-training 7" in output  # also of lines of other machines, which are shown with their name
    (name,) = launched(here)
    shown = [line for line in here.cloud("logs", name).splitlines() if "Total reward" in line]
    assert [line.partition(" Name")[0] for line in shown] == [
        "Training>",
        "Training>",
        "[algo-2] Training>",
        "[algo-10] Training>",
    ]
    assert [line.partition("reward=")[2][:2] for line in shown[:2]] == ["10", "20"]


@pytest.mark.filterwarnings("ignore:Tried to parse")
def test_an_account_that_never_ran_sagemaker(here: Here, monkeypatch: pytest.MonkeyPatch) -> None:
    """From an empty account to a followed job: `up`, the role's rights as IAM simulates them, and a log group that is
    not there when following begins and that the job's own role makes."""
    for name in ("BUCKET", "ROLE_ARN"):
        monkeypatch.delenv(f"UNDERCUT_CLOUD_{name}")
    small_run("mine", here.folder)
    error, _ = here.refused("train", "mine")
    assert "undercut cloud up" in error
    assert "is made" in here.cloud("up")
    assert "no jobs" in here.cloud("status")
    groups = here.server.client("logs")

    def first(request: dict[str, Any]) -> None:
        job = here.server.job(request["TrainingJobName"])
        job.secondary_status, job.training_start_time = "Training", datetime.now(UTC)

    def once(*_: object) -> None:
        """What the job does once its log was looked for in vain."""
        (request,) = here.server.asked("CreateTrainingJob")
        name = request["TrainingJobName"]
        made = [one["logGroupName"] for one in groups.describe_log_groups()["logGroups"]]
        assert made == ["/undercut/undercut"]
        group = f"arn:aws:logs:us-east-1:{ACCOUNT}:log-group:/aws/sagemaker/TrainingJobs"
        for action, resource in (
            ("logs:CreateLogGroup", f"{group}:*"),
            ("logs:CreateLogStream", f"{group}:log-stream:{name}/algo-1-1764000600"),
            ("logs:PutLogEvents", f"{group}:log-stream:{name}/algo-1-1764000600"),
        ):
            told = here.server.client("iam").simulate_principal_policy(
                PolicySourceArn=request["RoleArn"], ActionNames=[action], ResourceArns=[resource]
            )
            assert told["EvaluationResults"][0]["EvalDecision"] == "allowed", action
        here.server.say(name, "algo-1", ["hello", "Training> Name=main, Total reward=12.5, Steps=1"])
        job = here.server.job(name)
        job.training_job_status = job.secondary_status = "Completed"
        job.training_end_time = datetime.now(UTC)

    here.server.started = first
    here.server.faults["DescribeLogStreams"] = Fault(
        "ResourceNotFoundException", "The specified log group does not exist.", hook=once
    )
    output = here.cloud("train", "mine")
    assert "hello" in output and "reward-training 12.5" in output and "brought runs/mine" in output


def test_a_page_of_a_proxy_is_a_sentence(here: Here) -> None:
    small_run("mine", here.folder)
    here.server.faults["GetCallerIdentity"] = Fault("", hook=None, page="<html>sign in to the network")
    error, _ = here.refused("train", "mine")
    assert "AWS_ENDPOINT_URL" in error and "HTTPS_PROXY" in error and "Traceback" not in error


def test_a_job_of_another_folder_is_stopped_shown_and_brought_by_its_name(
    here: Here, monkeypatch: pytest.MonkeyPatch
) -> None:
    small_run("mine", here.folder)
    runs_on(here)
    here.cloud("train", "mine", "--detach")
    (name,) = launched(here)
    elsewhere = here.folder.parent / "elsewhere"
    elsewhere.mkdir()
    monkeypatch.chdir(elsewhere)
    here.server.say(name, "algo-1", ["hello from the job"])
    error, _ = here.refused("down")  # which names the job
    assert name in error
    assert "hello from the job" in here.cloud("logs", name)
    assert "is told to stop" in here.cloud("stop", name)
    assert "brought runs/mine" in here.cloud("watch", name)
    assert (elsewhere / "runs" / "mine" / "run.json").exists()
    with pytest.raises(InputError, match="launched from this folder"):
        here.cloud("stop", f"{name}-not")


def test_down_looks_at_its_own_region_and_stack(here: Here) -> None:
    small_run("mine", here.folder)
    runs_on(here)
    here.cloud("train", "mine", "--detach")
    assert "there is no stack other" in here.cloud("down", "--stack", "other")
    assert "in eu-west-1" in here.cloud("down", "--region", "eu-west-1")


def test_stop_and_stop_again(here: Here) -> None:
    small_run("mine", here.folder)
    runs_on(here)
    here.cloud("train", "mine", "--detach")
    assert "is told to stop" in here.cloud("stop", "mine")
    assert "has ended already: stopped" in here.cloud("stop", "mine")
    with pytest.raises(Exception, match="launched from this folder: mine"):
        here.cloud("stop", "other")


def test_down_is_refused_while_a_job_runs(here: Here) -> None:
    small_run("mine", here.folder)
    runs_on(here)
    here.cloud("train", "mine", "--detach")
    error, _ = here.refused("down")
    assert launched(here)[0] in error and "undercut cloud stop" in error


def test_the_limit_of_cost_shortens_the_job_and_stops_it(here: Here, monkeypatch: pytest.MonkeyPatch) -> None:
    from undercut.backends.aws import cost

    monkeypatch.setattr(cost, "estimate", lambda plan: cost.Estimate(6.0, 6.0 * plan.max_runtime_s / 3600))
    small_run("mine", here.folder)
    error, _ = here.refused("train", "mine", "--max-cost", "0.5")
    assert "leaves 5.0 minutes" in error and not launched(here)

    def long_ago(request: dict[str, Any]) -> None:
        job = here.server.job(request["TrainingJobName"])
        job.secondary_status, job.training_start_time = "Training", datetime.now(UTC) - timedelta(minutes=21)

    here.server.started = long_ago
    with receiver() as hook:
        monkeypatch.setenv("UNDERCUT_NOTIFY", hook.url("/ok"))
        output = here.cloud("train", "mine", "--max-cost", "2")
    told = [json.loads(body) for _, _, body in hook.got]
    assert [(it["event"], it["run"]) for it in told] == [("cost", "mine"), ("finished", "mine")]
    assert told[0]["max_cost_usd"] == 2.0 and told[0]["cost_usd"] >= 2.0 and told[1]["text"].endswith("stopped")
    (request,) = here.server.asked("CreateTrainingJob")
    assert request["StoppingCondition"]["MaxRuntimeInSeconds"] == 1200
    assert "stopping it, by --max-cost 2" in output
    assert here.server.job(request["TrainingJobName"]).training_job_status == "Stopped"


def test_an_unknown_launcher_is_refused_with_those_that_there_are(here: Here) -> None:
    ran = here.ran("cloud", "train", "mine", "--launcher", "ec2")
    assert ran.exit_code == 2 and all(name in ran.output for name in ("ec2", "sagemaker", "batch", "queue"))


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        (("--launcher", "batch", "--simulators", "2"), "batch_queue"),
        (("--launcher", "batch"), "1 to 20 machines"),
        (("--launcher", "robomaker", "--simulators", "1", "--spot"), "no spare capacity"),
        (("--launcher", "robomaker", "--simulators", "1"), "subnets"),
        (("--instance-type", "big"), "instance_type|instance-type"),
    ],
)
def test_an_impossible_job_fails_before_anything_is_made(here: Here, options: tuple[str, ...], expected: str) -> None:
    small_run("mine", here.folder)
    error, _ = here.refused("train", "mine", *options)
    assert any(word in error for word in expected.split("|")), error
    assert not launched(here) and not (here.folder / "cloud").exists()
    assert here.server.client("s3").list_objects_v2(Bucket="undercut-runs").get("KeyCount", 0) == 0


def test_a_run_that_is_nowhere(here: Here) -> None:
    error, _ = here.refused("train", "mine")
    assert "--backend cloud" in error and not launched(here)


def test_settings_by_file_variable_and_option(here: Here, monkeypatch: pytest.MonkeyPatch) -> None:
    Path("cloud.yaml").write_text("instance_type: ml.m5.large\nsimulators: 3\nfallback_regions: [eu-west-1]\n")
    monkeypatch.setenv("UNDERCUT_CLOUD_SIMULATORS", "2")
    settings = CloudSettings.load({"spot": True, "instance_type": None})
    assert (settings.instance_type, settings.simulators, settings.spot) == ("ml.m5.large", 2, True)
    assert settings.fallback_regions == ("eu-west-1",)
    for text, is_on in (("Yes", True), ("off", False)):
        monkeypatch.setenv("UNDERCUT_CLOUD_SPOT", text)
        assert CloudSettings.load().spot is is_on
    monkeypatch.setenv("UNDERCUT_CLOUD_SPOT", "y")
    with pytest.raises(InputError, match="UNDERCUT_CLOUD_SPOT: 'y'"):
        CloudSettings.load()
    monkeypatch.delenv("UNDERCUT_CLOUD_SPOT")
    monkeypatch.setenv("UNDERCUT_CLOUD_SIMULATOR", "2")
    with pytest.raises(Exception, match=r"(?s)UNDERCUT_CLOUD_SIMULATOR.*simulators"):
        CloudSettings.load()


def test_an_engine_that_is_away_is_named(here: Here, monkeypatch: pytest.MonkeyPatch) -> None:
    small_run("mine", here.folder)
    monkeypatch.delenv("UNDERCUT_CLOUD_TRAINER_IMAGE")
    error, _ = here.refused("train", "mine")
    assert "undercut cloud up" in error and not launched(here)
    assert issubclass(CloudError, Exception) and engine.FOLDER.exists()
