"""What a job will need is looked at before machines are paid for: network, rights, functions; over HTTP, with IAM's
simulation by moto's evaluator of policies."""

import json
from pathlib import Path
from typing import Any

import pytest

from contract import artifacts
from contract.config import RunConfig
from contract.stores.local import LocalStore
from tests.aws_server import ACCOUNT, ROLE, Fault
from tests.cloud_support import SMALL, Here, Network, here, small_run
from undercut.backends.aws.needs import function_arn
from undercut.runs.run import Run

__all__ = ["here"]
FUNCTION = f"arn:aws:lambda:us-east-1:{ACCOUNT}:function:deepracer-reward"


def lambda_run(name: str, folder: Path, region: str = "") -> None:
    """A run whose reward is a function."""
    run = small_run(name, folder)
    store = LocalStore(folder / "runs" / name)
    told = {"timeout_s": 10.0, "lambda": "deepracer-reward"} | ({"region": region} if region else {})
    store.put(artifacts.REWARD_DESCRIPTION, json.dumps(told).encode())
    assert run.store.exists(artifacts.REWARD_DESCRIPTION)


def runs_on(here: Here) -> None:
    def begin(request: dict[str, Any]) -> None:
        here.server.job(request["TrainingJobName"]).secondary_status = "Training"

    here.server.started = begin


def use(network: Network, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in network.variables().items():
        monkeypatch.setenv(name, value)


@pytest.mark.parametrize(
    ("name", "arn"),
    [
        ("mine", f"arn:aws:lambda:eu-west-1:{ACCOUNT}:function:mine"),
        ("mine:live", f"arn:aws:lambda:eu-west-1:{ACCOUNT}:function:mine:live"),
        ("999999999999:function:mine", "arn:aws:lambda:eu-west-1:999999999999:function:mine"),
        (FUNCTION, FUNCTION),
    ],
)
def test_a_function_by_any_of_its_names(name: str, arn: str) -> None:
    assert function_arn(name, "eu-west-1", ACCOUNT) == arn


@pytest.mark.slow
def test_a_reward_by_lambda_needs_the_right_and_in_a_private_network_an_endpoint(
    here: Here, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A private network with Lambda rewards: each thing that is missing is named, in turn, and nothing is launched."""
    lambda_run("mine", here.folder)
    network = Network.made(here.server)
    use(network, monkeypatch)
    error, _ = here.refused("train", "mine")
    assert "no endpoint for the reward" in error and "com.amazonaws.us-east-1.lambda" in error and FUNCTION in error
    network.endpoint("lambda")
    error, _ = here.refused("train", "mine")
    assert "lambda:InvokeFunction" in error and FUNCTION in error and "reward_functions" in error
    here.server.allow("elsewhere", ["lambda:InvokeFunction"], [f"{FUNCTION}-of-another"])
    here.refused("train", "mine")
    assert not here.server.asked("CreateTrainingJob") and not (here.folder / "cloud").exists()

    here.server.allow("rewards", ["lambda:InvokeFunction"], [FUNCTION])
    runs_on(here)
    said = here.cloud("train", "mine", "--detach")
    assert "requests to Lambda" in said  # in the estimate
    (asked,) = here.server.asked("CreateTrainingJob")
    assert asked["VpcConfig"] == {"Subnets": list(network.subnets), "SecurityGroupIds": [network.group]}


@pytest.mark.slow
def test_a_function_of_another_region_is_out_of_a_private_networks_reach(
    here: Here, monkeypatch: pytest.MonkeyPatch
) -> None:
    lambda_run("mine", here.folder, "eu-west-1")
    use(Network.made(here.server), monkeypatch)
    error, _ = here.refused("train", "mine")
    assert "eu-west-1" in error and "NAT gateway" in error


@pytest.mark.slow
def test_a_network_with_a_way_out_needs_no_endpoint(here: Here, monkeypatch: pytest.MonkeyPatch) -> None:
    lambda_run("mine", here.folder)
    here.server.allow("rewards", ["lambda:InvokeFunction"], [FUNCTION])
    network = Network.made(here.server)
    ec2 = here.server.client("ec2")
    address = ec2.allocate_address(Domain="vpc")["AllocationId"]
    gateway = ec2.create_nat_gateway(SubnetId=network.subnets[0], AllocationId=address)["NatGateway"]["NatGatewayId"]
    ec2.create_route(RouteTableId=network.routes, DestinationCidrBlock="0.0.0.0/0", NatGatewayId=gateway)
    use(network, monkeypatch)
    runs_on(here)
    here.cloud("train", "mine", "--detach")
    assert here.server.asked("CreateTrainingJob")


@pytest.mark.slow
def test_subnets_and_groups_exist_and_are_of_one_vpc(here: Here, monkeypatch: pytest.MonkeyPatch) -> None:
    small_run("mine", here.folder)
    network, other = Network.made(here.server), Network.made(here.server)
    use(network, monkeypatch)
    monkeypatch.setenv("UNDERCUT_CLOUD_SECURITY_GROUPS", other.group)
    error, _ = here.refused("train", "mine")
    assert "all of one VPC" in error and network.vpc in error and other.vpc in error
    monkeypatch.setenv("UNDERCUT_CLOUD_SECURITY_GROUPS", "sg-0123456789abcdef0")
    error, _ = here.refused("train", "mine")
    assert "security_groups" in error and "sg-0123456789abcdef0" in error
    monkeypatch.setenv("UNDERCUT_CLOUD_SUBNETS", "subnet-0123456789abcdef0")
    error, _ = here.refused("train", "mine")
    assert error.startswith("subnets") and "subnet-0123456789abcdef0" in error
    assert not here.server.asked("CreateTrainingJob")


@pytest.mark.slow
def test_a_network_without_the_buckets_endpoint(here: Here, monkeypatch: pytest.MonkeyPatch) -> None:
    small_run("mine", here.folder)
    network = Network.made(here.server)
    ec2 = here.server.client("ec2")
    for one in ec2.describe_vpc_endpoints()["VpcEndpoints"]:
        ec2.delete_vpc_endpoints(VpcEndpointIds=[one["VpcEndpointId"]])
    use(network, monkeypatch)
    error, _ = here.refused("train", "mine")
    assert "no endpoint for the run" in error and "com.amazonaws.us-east-1.s3" in error


@pytest.mark.slow
def test_a_model_in_another_bucket_may_be_read(here: Here) -> None:
    run = small_run("mine", here.folder)
    config = RunConfig.build({**SMALL, "name": "mine", "pretrained": "s3://of-the-team/models/best"}, "test")
    run.store.put(artifacts.RUN_CONFIG, config.to_json().encode())
    assert Run.open("mine").config.pretrained
    error, _ = here.refused("train", "mine")
    assert "s3:ListBucket on arn:aws:s3:::of-the-team," in error and "read_buckets" in error
    here.server.allow("list", ["s3:ListBucket"], ["arn:aws:s3:::of-the-team"])
    error, _ = here.refused("train", "mine")
    assert "s3:GetObject on arn:aws:s3:::of-the-team/models/best/" in error
    here.server.allow("read", ["s3:GetObject"], ["arn:aws:s3:::of-the-team/*"])
    runs_on(here)
    here.cloud("train", "mine", "--detach")


@pytest.mark.slow
def test_a_role_that_is_not_there_or_may_not_reach_the_run(here: Here, monkeypatch: pytest.MonkeyPatch) -> None:
    small_run("mine", here.folder)
    here.server.client("iam").delete_role_policy(RoleName=ROLE.rpartition("/")[2], PolicyName="runs")
    error, _ = here.refused("train", "mine")
    assert "s3:ListBucket on arn:aws:s3:::undercut-runs" in error and ROLE in error
    monkeypatch.setenv("UNDERCUT_CLOUD_ROLE_ARN", f"{ROLE}-of-old")
    error, _ = here.refused("train", "mine")
    assert "the role exists" in error
    monkeypatch.setenv("UNDERCUT_CLOUD_CHECK_RIGHTS", "0")
    runs_on(here)
    here.cloud("train", "mine", "--detach")


@pytest.mark.slow
def test_what_may_not_be_looked_at_is_said_and_passed_over(here: Here, monkeypatch: pytest.MonkeyPatch) -> None:
    small_run("mine", here.folder)
    use(Network.made(here.server), monkeypatch)
    for operation in ("SimulatePrincipalPolicy", "DescribeSubnets"):
        here.server.faults[operation] = Fault("AccessDenied", "not authorized", 403)
    runs_on(here)
    said = here.cloud("train", "mine", "--detach")
    assert "do not allow it: ec2:DescribeSubnets, iam:SimulatePrincipalPolicy" in said


@pytest.mark.slow
def test_a_job_that_is_looked_into_needs_rights_and_says_how(here: Here, monkeypatch: pytest.MonkeyPatch) -> None:
    small_run("mine", here.folder)
    monkeypatch.setenv("UNDERCUT_CLOUD_REMOTE_DEBUG", "1")
    error, _ = here.refused("train", "mine")
    assert "ssmmessages:CreateControlChannel" in error and "remote_debug of cloud.yaml" in error
    here.server.allow("debug", ["ssmmessages:*"], ["*"])
    runs_on(here)
    said = here.cloud("train", "mine", "--detach")
    (asked,) = here.server.asked("CreateTrainingJob")
    assert asked["RemoteDebugConfig"] == {"EnableRemoteDebug": True}
    assert f"--target sagemaker-training-job:{asked['TrainingJobName']}_algo-1" in said
