"""`undercut cloud up` and `down` against moto's server over HTTP, as far as its CloudFormation goes: it knows neither
bucket policies nor egress rules, and Batch only with a service role, so those are for cfn-lint and test_cloud_stack."""

import json
import subprocess
from base64 import b64decode
from collections.abc import Iterator
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from tests.aws_server import ACCOUNT, AwsServer, Fault, aws
from undercut.backends.aws import infra, notebook
from undercut.backends.aws.session import CloudError, CloudSession
from undercut.backends.aws.settings import CloudSettings
from undercut.cli import cloud as cloud_cli
from undercut.cli.main import app

pytestmark = [pytest.mark.slow, pytest.mark.filterwarnings("ignore:Tried to parse")]
BUCKET = f"undercut-{ACCOUNT}-us-east-1"


@pytest.fixture
def server(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[AwsServer]:
    monkeypatch.chdir(tmp_path)
    with aws() as made:
        for name, value in made.environment().items():
            if not name.startswith("UNDERCUT_"):
                monkeypatch.setenv(name, value)
        yield made


def cloud(*arguments: str, error: str = "") -> str:
    """What the command says; nothing that it says holds a secret."""
    cloud_cli.console.width = 200  # which it takes from COLUMNS when it is imported
    done: Result = CliRunner().invoke(app, ["cloud", *arguments])
    said = done.output + (str(done.exception) if done.exception else "")
    assert (done.exit_code != 0) == bool(error), said
    assert error in said
    assert "secret-of-the-test" not in said
    return said


def names(server: AwsServer) -> set[str]:
    """What is in the account."""
    found = {f"bucket {one['Name']}" for one in server.client("s3").list_buckets()["Buckets"]}
    found |= {
        f"repository {one['repositoryName']}" for one in server.client("ecr").describe_repositories()["repositories"]
    }
    found |= {f"role {one['RoleName'].split('-')[1]}" for one in server.client("iam").list_roles()["Roles"]}
    found |= {f"logs {one['logGroupName']}" for one in server.client("logs").describe_log_groups()["logGroups"]}
    found |= {f"vpc {one['CidrBlock']}" for one in server.client("ec2").describe_vpcs()["Vpcs"]}
    notebooks = server.client("sagemaker").list_notebook_instances()["NotebookInstances"]
    return found | {"notebook" for _ in notebooks}


@pytest.fixture
def wheels(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """A checkout that is quick to build."""
    checkout = tmp_path / "checkout"
    checkout.mkdir()
    (checkout / "uv.lock").touch()
    (checkout / "undercut.py").touch()
    (checkout / "pyproject.toml").write_text(
        '[project]\nname = "undercut"\nversion = "0.1.0"\n'
        '[build-system]\nrequires = ["hatchling"]\nbuild-backend = "hatchling.build"\n'
    )
    monkeypatch.setattr(notebook, "CHECKOUT", checkout)


@pytest.mark.usefixtures("wheels")
def test_the_notebook_instance_has_the_guidances_steps_and_the_means(server: AwsServer) -> None:
    Path("cloud.yaml").write_text("prefix: team\n")
    from moto.sagemaker.models import sagemaker_backends

    said = cloud("up", "--with", "notebook")
    assert ".whl is in s3://" in said and "#/notebook-instances/undercut" in said
    s3 = server.client("s3")
    (wheel,) = s3.list_objects_v2(Bucket=BUCKET)["Contents"]
    assert wheel["Key"].startswith("team/notebook/undercut-0.1.0-")
    (setup,) = sagemaker_backends[ACCOUNT]["us-east-1"].notebook_instance_lifecycle_configurations.values()
    script = b64decode(setup.on_create[0]["Content"]).decode()
    assert len(script) < 16_384
    home = Path("home")
    home.mkdir()
    ran = script.replace("/home/ec2-user/SageMaker", str(home)).replace("chown", "true")
    subprocess.run(["bash", "-c", ran], check=True)
    assert json.loads((home / "undercut.ipynb").read_text()) == json.loads(notebook.NOTEBOOK.read_text())
    assert (home / "store.txt").read_text() == f"s3://{BUCKET}/team\n"
    settings = CloudSettings.load({}, {}, home)
    assert (settings.bucket, settings.prefix, settings.region) == (BUCKET, "team", "us-east-1")
    assert f"deleted: s3://{BUCKET}" in cloud("down")  # whose wheel was ours


@pytest.mark.usefixtures("wheels")
def test_up_makes_down_deletes_exactly_that_and_twice_is_fine(server: AwsServer) -> None:
    before = names(server)
    plan = cloud("up", "--plan", "--with", "network", "--with", "notebook")
    assert "in all $40.22 a month" in plan
    assert names(server) == before  # a plan makes nothing
    assert "is made" in cloud("up")
    least = {"repository undercut-trainer", "repository undercut-simapp", "role JobRole", "logs /undercut/undercut"}
    assert names(server) - before == {f"bucket {BUCKET}", *least}
    more = cloud("up", "--plan", "--with", "network", "--with", "notebook")
    assert "make    Vpc" in more and "keep    Bucket " in more
    cloud("up", "--with", "network", "--with", "notebook")
    own = {f"bucket {BUCKET}", *least, "vpc 10.73.0.0/20", "notebook", "role NotebookRole"}
    assert names(server) - before == own
    cloud("up")  # without --with: as it is
    assert names(server) - before == own
    assert "delete  Vpc" in cloud("up", "--plan", "--with", "none")

    found = {one.split()[0]: one.split()[1] for one in infra._outputs(CloudSession(CloudSettings()))}
    assert found["Bucket"] == BUCKET
    assert found["SecurityGroups"].startswith("sg-") and found["Subnets"].count("subnet-") == 2
    tags = server.client("s3").get_bucket_tagging(Bucket=BUCKET)["TagSet"]
    assert {"Key": "undercut:stack", "Value": "undercut"} in tags

    assert f"deleted: s3://{BUCKET}, which was empty" in cloud("down")
    assert names(server) == before
    assert "there is no stack" in cloud("down")


def test_a_bucket_with_runs_stays_is_taken_up_again_and_goes_when_told(server: AwsServer) -> None:
    s3 = server.client("s3")
    cloud("up")
    for number in range(3):
        s3.put_object(Bucket=BUCKET, Key=f"runs/a/{number}", Body=b"{}")
    for _ in range(2):
        assert f"kept: s3://{BUCKET}, since it holds data (runs/a/0" in cloud("down")
    assert "there already" in cloud("up", "--plan")
    cloud("up")
    assert len(s3.list_objects_v2(Bucket=BUCKET)["Contents"]) == 3
    assert "3 objects" in cloud("down", "--delete-data")
    assert BUCKET not in str(s3.list_buckets()["Buckets"])


def test_what_up_did_not_make_is_neither_changed_nor_deleted(server: AwsServer) -> None:
    template = (
        '{"Resources": {"Bucket": {"Type": "AWS::S3::Bucket", "Properties": {"BucketName": "of-somebody-else"}}}}'
    )
    server.client("cloudformation").create_stack(StackName="undercut", TemplateBody=template)
    before = names(server)
    for command in (("up",), ("up", "--plan"), ("down",), ("down", "--delete-data")):
        cloud(*command, error="changes and deletes stacks that it made")
    assert names(server) == before
    server.client("s3").create_bucket(Bucket=BUCKET)  # of the same name, but without our tag
    server.client("s3").put_object(Bucket=BUCKET, Key="photo", Body=b"x")
    assert "there is no stack other" in cloud("down", "--delete-data", "--stack", "other")
    assert server.client("s3").list_objects_v2(Bucket=BUCKET)["KeyCount"] == 1


def test_a_racers_own_bucket_is_used_and_never_deleted(server: AwsServer) -> None:
    s3 = server.client("s3")
    s3.create_bucket(Bucket="my-own-runs")
    Path("cloud.yaml").write_text("bucket: my-own-runs\n")
    assert "is there already and is not the stack's" in cloud("up", "--plan")
    cloud("up")
    policy = server.client("iam").get_role_policy(RoleName=_role(server), PolicyName="job")["PolicyDocument"]
    assert "arn:aws:s3:::my-own-runs/*" in str(policy)
    cloud("down", "--delete-data")
    assert [one["Name"] for one in s3.list_buckets()["Buckets"] if one["Name"] == "my-own-runs"]


def test_functions_and_buckets_of_the_settings_are_the_roles_to_use(server: AwsServer) -> None:
    """By IAM's simulation, as before a launch; a later `up` without the settings asks for the same."""
    text = "reward_functions: [deepracer-reward]\nread_buckets: [of-the-team]\nremote_debug: true\n"
    Path("cloud.yaml").write_text(text)
    cloud("up")
    role = server.client("iam").get_role(RoleName=_role(server))["Role"]["Arn"]
    function = f"arn:aws:lambda:us-east-1:{ACCOUNT}:function:deepracer-reward"
    for action, resource, allowed in (
        ("lambda:InvokeFunction", function, True),
        ("lambda:InvokeFunction", f"{function}-2", False),
        ("s3:GetObject", "arn:aws:s3:::of-the-team/models/a", True),
        ("s3:PutObject", "arn:aws:s3:::of-the-team/models/a", False),
        ("s3:ListBucket", "arn:aws:s3:::of-the-team", True),
        ("ssmmessages:OpenDataChannel", "*", True),
        ("logs:CreateLogGroup", f"arn:aws:logs:us-east-1:{ACCOUNT}:log-group:/aws/sagemaker/TrainingJobs:*", True),
        ("logs:CreateLogGroup", f"arn:aws:logs:us-east-1:{ACCOUNT}:log-group:/aws/lambda/other:*", False),
        ("s3:PutObject", f"arn:aws:s3:::{BUCKET}/runs/mine/run.json", True),
        ("s3:PutObject", "arn:aws:s3:::of-somebody-else/runs/mine/run.json", False),
    ):
        told = server.client("iam").simulate_principal_policy(
            PolicySourceArn=role, ActionNames=[action], ResourceArns=[resource]
        )
        assert (told["EvaluationResults"][0]["EvalDecision"] == "allowed") is allowed, (action, resource)
    Path("cloud.yaml").unlink()
    cloud("up")
    (asked,) = server.asked("UpdateStack")
    given = {asked[key]: asked[key.replace("Key", "Value")] for key in asked if key.endswith(".ParameterKey")}
    assert (given["RewardFunctions"], given["RemoteDebug"]) == (function, "yes")
    assert given["ReadObjects"] == "arn:aws:s3:::of-the-team/*"


def _role(server: AwsServer) -> str:
    roles = server.client("iam").list_roles()["Roles"]
    return next(str(one["RoleName"]) for one in roles if "JobRole" in one["RoleName"])


def test_a_stack_that_cannot_be_made_says_why(server: AwsServer, monkeypatch: pytest.MonkeyPatch) -> None:
    denied = "User: arn:aws:iam::1:user/me is not authorized to perform: cloudformation:DescribeStacks on resource: x"
    server.faults["DescribeStacks"] = Fault("AccessDenied", denied, 403, times=100)
    cloud("up", error="the credentials need cloudformation:DescribeStacks")
    server.faults.clear()
    cloud("up")
    settings = CloudSettings()
    session = CloudSession(settings)
    events = [
        {"ResourceStatus": "DELETE_COMPLETE", "LogicalResourceId": "Bucket"},
        {"ResourceStatus": "CREATE_FAILED", "LogicalResourceId": "JobRole", "ResourceStatusReason": "cancelled"},
        {"ResourceStatus": "CREATE_FAILED", "LogicalResourceId": "Bucket", "ResourceStatusReason": "name is taken"},
    ]
    real = session.call

    def call(service: str, operation: str, **request: object) -> dict[str, object]:
        if operation == "DescribeStackEvents":
            return {"StackEvents": events}
        return real(service, operation, **request)  # type: ignore[arg-type]

    monkeypatch.setattr(session, "call", call)
    with pytest.raises(CloudError, match="CREATE_COMPLETE: Bucket: name is taken"):
        infra._settled(session, ("DELETE_COMPLETE",), 0.1, "undercut")
