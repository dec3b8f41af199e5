"""What a job will need of the account beside machines, looked at before any is paid for: the network that it runs in,
and rights of its role on Lambda functions, other buckets and the run's own place.

What the credentials here may not look at is told and passed over: it may be right all the same.
"""

import json
import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from contract import artifacts
from contract.config import RunConfig
from contract.errors import InputError
from contract.fields import text_of
from contract.host import S3Address
from contract.protocols import Place
from trainer.checkpoints import Checkpoints
from undercut.backends.aws.plan import JobPlan
from undercut.backends.aws.resources import Resources
from undercut.backends.aws.session import DENIED, CloudError, CloudSession
from undercut.runs.workspace import RUNS_PREFIX, workspace

DEBUG_RIGHTS = (
    *("ssmmessages:CreateControlChannel", "ssmmessages:CreateDataChannel"),
    *("ssmmessages:OpenControlChannel", "ssmmessages:OpenDataChannel"),
)
"""Of the role of a job that people may look into (SageMaker's guide, "Access a training container through SSM")."""
_WAYS_OUT = ("NatGatewayId", "TransitGatewayId", "NetworkInterfaceId", "VpcPeeringConnectionId", "LocalGatewayId")
"""By which a machine without a public address gets out; an internet gateway alone is none."""


_RUN, _REWARD, _MODEL, _DEBUG = "the run's files", "its reward", "the model that it begins from", "remote_debug"


@dataclass(frozen=True, slots=True)
class Needs:
    """What the job's runs ask for. `functions` are ARNs of Lambda, `models` what runs begin from in other buckets."""

    functions: tuple[str, ...] = ()
    models: tuple[S3Address, ...] = ()

    def regions(self) -> set[str]:
        """Of the functions."""
        return {arn.split(":")[3] for arn in self.functions}


@dataclass(slots=True)
class _Look:
    """Questions to AWS whose answer may be denied; `denied` are the permissions that were missing."""

    session: CloudSession
    denied: list[str] = field(default_factory=list)

    @contextmanager
    def allowed(self) -> Iterator[None]:
        """Pass over what the credentials may not ask."""
        try:
            yield
        except CloudError as error:
            if error.code not in DENIED:
                raise
            self.denied.append(error.action)

    def ec2(self, operation: str, key: str, **request: Any) -> list[dict[str, Any]]:
        return self.session.everything("ec2", operation, key, **request)

    def of_vpc(self, operation: str, key: str, vpc: str) -> list[dict[str, Any]]:
        return self.ec2(operation, key, Filters=[{"Name": "vpc-id", "Values": [vpc]}])


def needs_of(plan: JobPlan, there: Resources, account: str) -> Needs:
    """What the runs ask for, by their files here, else in the bucket."""
    functions, models = [], []
    for name in plan.runs:
        place = _place_of(name, there)
        if place.exists(artifacts.REWARD_DESCRIPTION):
            described = json.loads(place.get(artifacts.REWARD_DESCRIPTION))
            if "lambda" in described:
                functions.append(function_arn(described["lambda"], described.get("region") or plan.region, account))
        if plan.work == "train" and place.exists(artifacts.RUN_CONFIG):
            where = place.where(artifacts.RUN_CONFIG)
            config = RunConfig.from_json(text_of(place.get(artifacts.RUN_CONFIG), where), where)
            if config.pretrained.startswith("s3://") and Checkpoints(place).last() is None:
                models.append(S3Address.parse(config.pretrained, f"run {name}: pretrained"))
    others = [one for one in models if one.bucket != there.bucket]
    return Needs(tuple(dict.fromkeys(functions)), tuple(dict.fromkeys(others)))


def _place_of(name: str, there: Resources) -> Place:
    here = workspace().below(RUNS_PREFIX + name)
    return here if here.exists(artifacts.RUN_CONFIG) else there.store().below(RUNS_PREFIX + name)


def function_arn(name: str, region: str, account: str) -> str:
    """Of any of Lambda's ways to name a function: name, name:alias, account:function:name, ARN."""
    if name.startswith("arn:"):
        return name
    short = re.fullmatch(r"(?:(\d{12}):function:)?(.+)", name)
    assert short is not None
    return f"arn:aws:lambda:{region}:{short[1] or account}:function:{short[2]}"


def look(session: CloudSession, plan: JobPlan, there: Resources, needs: Needs) -> list[str]:
    """InputError names what the job would fail for; returns what could not be looked at, in words."""
    asked = _Look(session)
    if there.subnets:
        with asked.allowed():
            _look_at_network(asked, plan, there, needs)
    if plan.settings.check_rights:
        with asked.allowed():
            _look_at_rights(session, plan, there, needs)
    if not asked.denied:
        return []
    return [f"not looked at before the launch, since the credentials do not allow it: {', '.join(asked.denied)}"]


# --- the network -----------------------------------------------------------------------------------------------------


def _look_at_network(asked: _Look, plan: JobPlan, there: Resources, needs: Needs) -> None:
    subnets = _known(asked, "subnets", "DescribeSubnets", "Subnets", SubnetIds=there.subnets)
    groups = _known(
        asked, "security_groups", "DescribeSecurityGroups", "SecurityGroups", GroupIds=there.security_groups
    )
    vpcs = {str(one["VpcId"]) for one in (*subnets, *groups)}
    if len(vpcs) > 1:
        of = {one.get("SubnetId") or one.get("GroupId"): one["VpcId"] for one in (*subnets, *groups)}
        raise InputError("subnets and security_groups", of, "all of one VPC", "take those of one VPC, in cloud.yaml")
    (vpc,) = vpcs
    tables = asked.of_vpc("DescribeRouteTables", "RouteTables", vpc)
    closed = [one for one in (_table_of(str(one["SubnetId"]), tables) for one in subnets) if not _leads_out(one)]
    if not closed:
        return
    endpoints = asked.of_vpc("DescribeVpcEndpoints", "VpcEndpoints", vpc)
    wanted = {"s3": f"the run in s3://{there.bucket}"}
    if needs.functions:
        wanted["lambda"] = f"the reward, {needs.functions[0]}"
        elsewhere = needs.regions() - {plan.region}
        if elsewhere:
            rule = f"a private network reaches functions of its own region, {plan.region}, by an endpoint"
            fix = f"make the function in {plan.region}, or take subnets with a NAT gateway"
            raise InputError("reward: region", ", ".join(sorted(elsewhere)), rule, fix)
    if plan.settings.remote_debug:
        wanted["ssmmessages"] = "remote_debug"
    for service, what in wanted.items():
        if not all(_reaches(service, plan.region, endpoints, table) for table in closed):
            rule = f"a network without a way out (no NAT gateway) has an endpoint com.amazonaws.{plan.region}.{service}"
            fix = "make it, or take other subnets; of the stack's own network: `undercut cloud up --with network`"
            if service == "lambda":
                fix += ", with the function in reward_functions of cloud.yaml"
            raise InputError(f"network {vpc}", f"no endpoint for {what}", rule, fix)


def _known(asked: _Look, setting: str, operation: str, key: str, **ids: Sequence[str]) -> list[dict[str, Any]]:
    (given,) = ids.values()
    try:
        return asked.ec2(operation, key, **{name: list(value) for name, value in ids.items()})
    except CloudError as error:
        if not error.code.startswith(("InvalidSubnet", "InvalidGroup", "InvalidSecurityGroup")):
            raise
        rule = f"they are in this account and in {asked.session.region}: {error.code}"
        raise InputError(setting, ", ".join(given), rule, "correct them in cloud.yaml; see the VPC console") from None


def _table_of(subnet: str, tables: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """The subnet's routes, else the VPC's main ones."""
    main: dict[str, Any] = {}
    for table in tables:
        for one in table.get("Associations", []):
            if one.get("SubnetId") == subnet:
                return table
            if one.get("Main"):
                main = table
    return main


def _leads_out(table: dict[str, Any]) -> bool:
    routes = [one for one in table.get("Routes", []) if one.get("DestinationCidrBlock") == "0.0.0.0/0"]
    return any(one.get(way) for one in routes for way in _WAYS_OUT)


def _reaches(service: str, region: str, endpoints: Sequence[dict[str, Any]], table: dict[str, Any]) -> bool:
    """By an endpoint that stands: of the gateway kind in the route table, else by name in the whole VPC."""
    for one in endpoints:
        if one["ServiceName"] != f"com.amazonaws.{region}.{service}" or one.get("State", "available") != "available":
            continue
        if one.get("VpcEndpointType") != "Gateway" or table.get("RouteTableId") in one.get("RouteTableIds", []):
            return True
    return False


# --- the role's rights -----------------------------------------------------------------------------------------------


def rights(plan: JobPlan, there: Resources, needs: Needs) -> list[tuple[tuple[str, ...], str, str]]:
    """(actions, the resource that they are needed on, what for)."""
    runs = "/".join(part for part in (there.prefix, RUNS_PREFIX.rstrip("/")) if part)
    objects = ("s3:GetObject", "s3:PutObject", "s3:DeleteObject")
    partition = there.role_arn.split(":")[1]
    wanted: list[tuple[tuple[str, ...], str, str]] = [
        (("s3:ListBucket",), f"arn:{partition}:s3:::{there.bucket}", _RUN),
        (objects, f"arn:{partition}:s3:::{there.bucket}/{runs}/{plan.runs[0]}/{artifacts.RUN_CONFIG}", _RUN),
    ]
    if plan.work == "sweep":
        journals = "/".join(part for part in (there.prefix, "sweeps", plan.runs[0]) if part)
        wanted.append((objects, f"arn:{partition}:s3:::{there.bucket}/{journals}/*", _RUN))
    wanted += [(("lambda:InvokeFunction",), arn, _REWARD) for arn in needs.functions]
    for model in needs.models:
        wanted.append((("s3:ListBucket",), f"arn:{partition}:s3:::{model.bucket}", _MODEL))
        key = str(model.below(artifacts.MODEL_METADATA)).removeprefix("s3://")
        wanted.append((("s3:GetObject",), f"arn:{partition}:s3:::{key}", _MODEL))
    if plan.settings.remote_debug:
        wanted.append((DEBUG_RIGHTS, "*", _DEBUG))
    return wanted


def _look_at_rights(session: CloudSession, plan: JobPlan, there: Resources, needs: Needs) -> None:
    """By IAM's own simulation of the role's policies."""
    for actions, resource, what in rights(plan, there, needs):
        told = session.call(
            "iam",
            "SimulatePrincipalPolicy",
            PolicySourceArn=there.role_arn,
            ActionNames=list(actions),
            ResourceArns=[resource],
            absent=("NoSuchEntity",),
        )
        if not told:
            fix = "correct role_arn in cloud.yaml, or leave it out: `undercut cloud up` makes one"
            raise InputError("role_arn", there.role_arn, "the role exists", fix)
        missing = [one["EvalActionName"] for one in told["EvaluationResults"] if one["EvalDecision"] != "allowed"]
        if missing:
            rule = f"the job's role has {', '.join(missing)} on {resource}, for {what}"
            raise InputError("role_arn", there.role_arn, rule, _fix(what))


def _fix(what: str) -> str:
    setting = {_REWARD: "reward_functions", _MODEL: "read_buckets", _DEBUG: "remote_debug"}.get(what)
    own = "where another policy allows it, such as the function's or the bucket's own: check_rights: false"
    if setting is None:
        return f"add it to the role; {own}"
    return f"name it in {setting} of cloud.yaml and `undercut cloud up`, or add it to a role of yours; {own}"
