"""What tests of `undercut cloud` share: a working directory that talks to an AWS of its own, and a small run."""

import json
import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from contract.config import RunConfig
from contract.errors import UndercutError
from tests.aws_server import AwsServer, aws
from undercut.cli import cloud as cloud_cli
from undercut.cli.main import app
from undercut.runs.run import DEFAULT_METADATA, DEFAULT_REWARD, Run
from undercut.runs.workspace import bucket_place

SMALL = {
    "seed": 3,
    "cars": 4,
    "training": {"max_iterations": 1, "min_eval_trials": 1, "max_episode_steps": 20, "clean_evaluations": 0},
    "evaluation": {"number_of_trials": 1, "number_of_resets": 0, "max_lap_steps": 20},
}


@dataclass
class Here:
    """A working directory, and the AWS that its process talks to."""

    server: AwsServer
    folder: Path

    def cloud(self, *arguments: str) -> str:
        """`undercut cloud` in this process; what it printed."""
        ran = self.ran("cloud", *arguments)
        if ran.exception is not None and not isinstance(ran.exception, SystemExit):
            raise ran.exception
        assert ran.exit_code == 0, ran.output
        return ran.output

    def refused(self, *arguments: str) -> tuple[str, str]:
        """The error of `undercut cloud`, and what was printed before it."""
        ran = self.ran("cloud", *arguments)
        assert isinstance(ran.exception, UndercutError), (ran.exception, ran.output)
        return str(ran.exception), ran.output

    def ran(self, *arguments: str) -> Result:
        cloud_cli.console.width = 200  # which it takes from COLUMNS when it is imported
        return CliRunner().invoke(app, list(arguments))


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Here]:
    with aws() as server:
        folder = tmp_path / "here"
        folder.mkdir()
        monkeypatch.chdir(folder)
        for name in list(os.environ):
            if name.startswith(("AWS_", "UNDERCUT_")):
                monkeypatch.delenv(name)
        for name, value in server.environment().items():
            monkeypatch.setenv(name, value)
        bucket_place.cache_clear()
        yield Here(server, folder)
        bucket_place.cache_clear()


@dataclass(frozen=True)
class Network:
    """A private network: subnets whose route table leads nowhere, and the S3 endpoint in it."""

    server: AwsServer
    vpc: str
    subnets: tuple[str, ...]
    group: str
    routes: str

    @classmethod
    def made(cls, server: AwsServer) -> "Network":
        ec2 = server.client("ec2")
        vpc = ec2.create_vpc(CidrBlock="10.9.0.0/20")["Vpc"]["VpcId"]
        blocks = ("10.9.0.0/22", "10.9.4.0/22")
        subnets = tuple(ec2.create_subnet(VpcId=vpc, CidrBlock=one)["Subnet"]["SubnetId"] for one in blocks)
        group = ec2.create_security_group(GroupName="jobs", Description="jobs", VpcId=vpc)["GroupId"]
        routes = ec2.create_route_table(VpcId=vpc)["RouteTable"]["RouteTableId"]
        for subnet in subnets:
            ec2.associate_route_table(SubnetId=subnet, RouteTableId=routes)
        made = cls(server, vpc, subnets, group, routes)
        made.endpoint("s3", VpcEndpointType="Gateway", RouteTableIds=[routes])
        return made

    def endpoint(self, service: str, **told: object) -> None:
        """Another one, of the interface kind unless told."""
        name = f"com.amazonaws.us-east-1.{service}"
        kind = told or {"VpcEndpointType": "Interface", "SubnetIds": list(self.subnets)}
        self.server.client("ec2").create_vpc_endpoint(VpcId=self.vpc, ServiceName=name, **kind)

    def variables(self) -> dict[str, str]:
        """By which jobs run in it."""
        return {
            "UNDERCUT_CLOUD_SUBNETS": ",".join(self.subnets),
            "UNDERCUT_CLOUD_SECURITY_GROUPS": self.group,
        }


def small_run(name: str, folder: Path) -> Run:
    """A run that takes little, with a module beside its reward function."""
    hyperparameters = folder / "small.json"
    hyperparameters.write_text(json.dumps({"num_episodes_between_training": 5, "num_epochs": 3, "batch_size": 32}))
    (folder / "helper.py").write_text("SHARE = 0.5\n")
    reward = folder / "my_reward.py"
    reward.write_text("import helper\n" + DEFAULT_REWARD.read_text())
    return Run.create(RunConfig.build({**SMALL, "name": name}, "test"), reward, DEFAULT_METADATA, hyperparameters)
