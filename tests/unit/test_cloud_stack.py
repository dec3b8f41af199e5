"""The CloudFormation template: nothing public, no rights that can be named narrower, and what a plan says it costs."""

import fnmatch
import inspect
import json
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.unit.test_cloud_requests import fits, model
from undercut.backends.aws import needs, resources
from undercut.backends.aws.needs import DEBUG_RIGHTS
from undercut.backends.aws.service_jobs import KIND
from undercut.backends.aws.template import TEMPLATE, planned, template

RESOURCES: dict[str, dict[str, Any]] = template()["Resources"]
EVERYWHERE = re.compile(r"0\.0\.0\.0(/\d+)?|::/0")
UNNAMED = {
    *("ecr:GetAuthorizationToken", "cloudwatch:PutMetricData", "sagemaker:ListTrainingJobs"),
    *("batch:DescribeJobs", "batch:ListJobs", "batch:DescribeServiceJob", "batch:ListServiceJobs"),
    *("ec2:DescribeDhcpOptions", "ec2:DescribeNetworkInterfaces", "ec2:DescribeSecurityGroups"),
    *("ec2:DescribeSubnets", "ec2:DescribeVpcs", "ec2:DescribeRouteTables", "ec2:DescribeVpcEndpoints"),
    *DEBUG_RIGHTS,
}
"""Actions that AWS lets nobody name a resource for (Service Authorization Reference)."""
BUCKETS = ("Bucket", "BucketPolicy")
KEY = "arn:aws:kms:us-east-1:123456789012:key/1"
FUNCTION = "arn:aws:lambda:us-east-1:123456789012:function:deepracer-reward"
ALL = {"MakeNetwork": "yes", "MakeBatch": "yes", "MakeNotebook": "yes", "MakeQueue": "yes", "KmsKeyArn": KEY}
ALL |= {"RemoteDebug": "yes", "RewardFunctions": FUNCTION, "ReadBuckets": "arn:aws:s3:::a,arn:aws:s3:::b"}
ALL |= {"ReadObjects": "arn:aws:s3:::a/*,arn:aws:s3:::b/*"}


def statements() -> Iterator[tuple[str, dict[str, Any]]]:
    for name, resource in RESOURCES.items():
        told = resource["Properties"]
        documents = [one["PolicyDocument"] for one in told.get("Policies", [])]
        documents += [told[key] for key in ("PolicyDocument", "AssumeRolePolicyDocument") if key in told]
        for document in documents:
            assert document["Version"] == "2012-10-17"
            for statement in document["Statement"]:
                yield name, statement


def many(value: Any) -> list[Any]:
    return value if isinstance(value, list) else [value]


# --- nothing public --------------------------------------------------------------------------------------------------


def test_nothing_is_open_to_everybody() -> None:
    for name, statement in statements():
        if statement.get("Principal") == "*" or "*" in many(statement.get("Principal", {})):
            assert (name, statement["Effect"]) == ("BucketPolicy", "Deny")
            assert statement["Condition"] == {"Bool": {"aws:SecureTransport": "false"}}
        else:
            assert "AWS" not in statement.get("Principal", {}), "another account"
    assert not EVERYWHERE.search(json.dumps(RESOURCES))
    kinds = {resource["Type"] for resource in RESOURCES.values()}
    assert not kinds & {"AWS::EC2::InternetGateway", "AWS::EC2::NatGateway", "AWS::EC2::EIP"}
    for resource in RESOURCES.values():
        told = resource["Properties"]
        if resource["Type"] == "AWS::EC2::Subnet":
            assert told["MapPublicIpOnLaunch"] is False
        if resource["Type"] == "AWS::EC2::SecurityGroup":
            assert told.get("SecurityGroupIngress", []) == []
            assert told["SecurityGroupEgress"], "AWS would put a rule to everywhere"
        if resource["Type"] == "AWS::EC2::SecurityGroupIngress":
            assert "SourceSecurityGroupId" in told and "CidrIp" not in told


def test_the_bucket_is_private_encrypted_and_outlives_the_stack() -> None:
    bucket = RESOURCES["Bucket"]
    told = bucket["Properties"]
    assert told["PublicAccessBlockConfiguration"] == dict.fromkeys(
        ("BlockPublicAcls", "BlockPublicPolicy", "IgnorePublicAcls", "RestrictPublicBuckets"), True
    )
    rules = told["BucketEncryption"]["ServerSideEncryptionConfiguration"]
    with_key, without = rules[0]["ServerSideEncryptionByDefault"]["Fn::If"][1:]
    assert with_key == {"SSEAlgorithm": "aws:kms", "KMSMasterKeyID": {"Ref": "KmsKeyArn"}}
    assert without == {"SSEAlgorithm": "AES256"}
    assert {rule["Id"]: rule.get("Prefix") for rule in told["LifecycleConfiguration"]["Rules"]} == {
        "unfinished-uploads": None,
        # never runs/
        "what-jobs-leave-beside-the-runs": {
            "Fn::If": ["WithStorePrefix", {"Fn::Sub": "${StorePrefix}/jobs/"}, "jobs/"]
        },
    }
    kept = [(RESOURCES[name]["DeletionPolicy"], RESOURCES[name]["UpdateReplacePolicy"]) for name in BUCKETS]
    assert kept == [("RetainExceptOnCreate", "Retain"), ("Retain", "Retain")]


def test_images_are_scanned_machines_ask_for_tokens_and_logs_end() -> None:
    for name in ("TrainerRepository", "SimappRepository"):
        told = RESOURCES[name]["Properties"]
        assert told["ImageScanningConfiguration"] == {"ScanOnPush": True}
        policy = json.loads(told["LifecyclePolicy"]["LifecyclePolicyText"])
        assert policy["rules"][0]["selection"]["countNumber"] == 3
    launch = RESOURCES["BatchMachine"]["Properties"]["LaunchTemplateData"]
    assert launch["MetadataOptions"]["HttpTokens"] == "required"
    assert all(disk["Ebs"]["Encrypted"] for disk in launch["BlockDeviceMappings"])
    assert RESOURCES["Notebook"]["Properties"]["RootAccess"] == "Disabled"
    assert RESOURCES["LogGroup"]["Properties"]["RetentionInDays"] == {"Ref": "LogDays"}


# --- rights ----------------------------------------------------------------------------------------------------------


def test_rights_name_their_actions_and_their_resources() -> None:
    for name, statement in statements():
        if statement["Effect"] != "Allow" or "Resource" not in statement:
            continue
        actions = many(statement["Action"])
        assert not any("*" in action for action in actions), f"{name}: {actions}"
        if "*" in many(statement["Resource"]):
            assert set(actions) <= UNNAMED, f"{name}: {actions}"
        assert "NotAction" not in statement and "NotResource" not in statement
        if "iam:PassRole" in actions:
            assert statement["Resource"] == {"Fn::GetAtt": "JobRole.Arn"}
            assert "iam:PassedToService" in statement["Condition"]["StringEquals"]


def test_a_job_may_make_its_log_group_in_an_account_that_never_ran_sagemaker() -> None:
    """By the resources that AWS's Service Authorization Reference gives for CloudWatch Logs: a log group's own ARN has
    ":*" at its end, a stream's goes on with its name."""
    (statement,) = [one for name, one in statements() if name == "JobRole" and "logs:CreateLogGroup" in one["Action"]]
    allowed = plain(statement["Resource"])
    group = "arn:aws:logs:us-east-1:123456789012:log-group:/aws/sagemaker/TrainingJobs"
    for action, resource in (
        ("logs:CreateLogGroup", f"{group}:*"),
        ("logs:DescribeLogStreams", f"{group}:*"),
        ("logs:CreateLogStream", f"{group}:log-stream:undercut-mine/algo-1-1764000000"),
        ("logs:PutLogEvents", f"{group}:log-stream:undercut-mine/algo-1-1764000000"),
    ):
        assert action in statement["Action"]
        assert any(fnmatch.fnmatchcase(resource, pattern) for pattern in allowed), (action, allowed)
    other = "arn:aws:logs:us-east-1:123456789012:log-group:/aws/lambda/mine:log-stream:x"
    assert not any(fnmatch.fnmatchcase(other, pattern) for pattern in allowed)


def test_a_racer_may_follow_what_batch_makes_of_a_queued_training() -> None:
    """The name as in an event of Batch's guide, "Batch Service Job State Change", with a job of ours in it."""
    found = [one for name, one in statements() if name == "RacerPolicy"]
    for job, may in (
        ("undercut-mine-20261130", True),
        ("AWSBatchundercut-mine-2026113088b610a69aa8380ca5b0a7aba3f81cb8", True),
        ("AWSBatchmy-training-job88b610a69aa8380ca5b0a7aba3f81cb8", False),
    ):
        arn = f"arn:aws:sagemaker:us-east-1:123456789012:training-job/{job}"
        patterns = [
            pattern
            for one in found
            if "sagemaker:DescribeTrainingJob" in many(one["Action"])
            for pattern in many(plain(one["Resource"]))
        ]
        assert any(fnmatch.fnmatchcase(arn, pattern) for pattern in patterns) == may, (arn, patterns)


def test_a_queue_for_trainings_is_what_batch_takes() -> None:
    """As CloudFormation hands it on: Batch's own requests, by botocore's models."""
    asked = {row.name for row in planned(template(), {"MakeQueue": "yes"})} - {
        row.name for row in planned(template(), {})
    }
    assert asked == {"TrainingEnvironment", "TrainingQueue"}
    environment, queue = (plain(RESOURCES[name]["Properties"]) for name in ("TrainingEnvironment", "TrainingQueue"))
    (limit,) = environment["CapacityLimits"]
    limit["MaxCapacity"] = template()["Parameters"]["QueueMachines"]["Default"]
    queue["ServiceEnvironmentOrder"][0]["ServiceEnvironment"] = environment["ServiceEnvironmentName"]
    for operation, told in (("CreateServiceEnvironment", environment), ("CreateJobQueue", queue)):
        fits("batch", operation, in_camel_case(told))
    assert environment["ServiceEnvironmentType"] == queue["JobQueueType"] == KIND


def in_camel_case(value: Any) -> Any:
    """Of CloudFormation's names those of Batch: capacityLimits for CapacityLimits. Tags' keys are anybody's."""
    if isinstance(value, list):
        return [in_camel_case(one) for one in value]
    if not isinstance(value, dict):
        return value
    return {name[0].lower() + name[1:]: one if name == "Tags" else in_camel_case(one) for name, one in value.items()}


def test_sagemaker_lends_itself_interfaces_without_a_condition() -> None:
    found = [one for _, one in statements() if "ec2:CreateNetworkInterfacePermission" in many(one["Action"])]
    assert [one.get("Condition") for one in found] == [None]


def test_a_key_of_ones_own_is_used_by_jobs_and_racers() -> None:
    """Only where it is given, on that key alone, and lent to disks by AWS's services only."""
    made = {row.name for row in planned(template(), {"KmsKeyArn": KEY})}
    assert made - {row.name for row in planned(template(), {})} == {"JobKeyPolicy", "RacerKeyPolicy"}
    for name in ("JobKeyPolicy", "RacerKeyPolicy"):
        rights = {action: one for owner, one in statements() if owner == name for action in many(one["Action"])}
        assert {"kms:Decrypt", "kms:GenerateDataKey", "kms:CreateGrant"} <= rights.keys()
        assert all(one["Resource"] == {"Ref": "KmsKeyArn"} for one in rights.values())
        assert rights["kms:CreateGrant"]["Condition"] == {"Bool": {"kms:GrantIsForAWSResource": "true"}}


@pytest.mark.filterwarnings("ignore")
def test_a_policy_linter_has_nothing_to_say() -> None:
    """parliament: unknown actions, conditions that do not exist, resources that do not go with an action."""
    from parliament import analyze_policy_string

    documents = []
    for name, resource in RESOURCES.items():
        if resource["Type"].startswith("AWS::IAM::"):
            told = resource["Properties"]
            documents += [(name, policy["PolicyDocument"]) for policy in told.get("Policies", [])]
            documents += [(name, told["PolicyDocument"])] if "PolicyDocument" in told else []
    assert {name for name, _ in documents} == {
        *("JobRole", "JobNetworkPolicy", "JobKeyPolicy", "RacerPolicy", "RacerKeyPolicy"),
        *("JobRewardPolicy", "JobReadPolicy", "JobDebugPolicy"),
    }
    for name, document in documents:
        found = analyze_policy_string(json.dumps(plain(document))).findings
        # its list of actions is older than Batch's service jobs, which botocore knows
        newer = {f"Unknown action batch:{one}" for one in model("batch").operation_names if "ServiceJob" in one}
        found = [one for one in found if one.detail not in newer]
        assert not found, f"{name}: {[(one.issue, one.detail) for one in found]}"


def test_a_racer_may_do_what_the_commands_do() -> None:
    """Every operation that launchers and followers call is in RacerPolicy; what `up` and `down` call is an admin's."""
    called = {"iam:SimulatePrincipalPolicy"}
    called |= {f"ec2:{name}" for name in re.findall(r'"(Describe\w+)"', inspect.getsource(needs))}
    for path in TEMPLATE.parent.glob("*.py"):
        if path.name not in ("infra.py", "session.py"):
            found = re.findall(
                r'"(sagemaker|batch|ecr|logs|kinesisvideo|cloudformation)",\s*"([A-Z]\w+)"', path.read_text()
            )
            called |= {f"{service}:{operation}" for service, operation in found}
    assert len(called) > 15
    allowed = {action for name, one in statements() if name == "RacerPolicy" for action in many(one["Action"])}
    assert called <= allowed, called - allowed


ARNS = {
    "TrainerRepository": "ecr:us-east-1:123456789012:repository/undercut-trainer",
    "SimappRepository": "ecr:us-east-1:123456789012:repository/undercut-simapp",
    "JobRole": "iam::123456789012:role/undercut-job",
}


def plain(value: Any) -> Any:
    """The value as it would be in an account."""
    if isinstance(value, list):
        return [plain(one) for one in value]
    if not isinstance(value, dict):
        return value
    if "Ref" in value:
        known = {"AWS::AccountId": "123456789012", **ALL}
        return known.get(value["Ref"], "something")
    if "Fn::Split" in value:
        return plain(value["Fn::Split"][1]).split(value["Fn::Split"][0])
    if "Fn::GetAtt" in value:
        return f"arn:aws:{ARNS[value['Fn::GetAtt'].partition('.')[0]]}"
    if "Fn::Sub" in value:
        known = {"AWS::Partition": "aws", "AWS::Region": "us-east-1", "AWS::AccountId": "123456789012"}
        return re.sub(r"\$\{([^}]*)\}", lambda found: known.get(found[1], "something"), value["Fn::Sub"])
    return {key: plain(one) for key, one in value.items()}


# --- what is made ----------------------------------------------------------------------------------------------------


def test_a_plan_of_the_least_and_of_everything_by_hand() -> None:
    """2.1 GB of images, a run of 0.35 GB: $0.22. Batch: six endpoints of $7.30, Lambda and debugging one each. Notebook
    never stopped: $36.50, and its disk: $3.50."""
    least = planned(template(), {})
    assert {row.name for row in least} == {
        *("Bucket", "BucketPolicy", "TrainerRepository", "SimappRepository", "LogGroup", "JobRole", "RacerPolicy"),
    }
    assert sum(row.monthly for row in least) == pytest.approx(2.1 * 0.1 + 0.35 * 0.023)
    assert sum(row.monthly for row in planned(template(), {"MakeNetwork": "yes"})) == pytest.approx(0.21805)
    everything = planned(template(), ALL)
    assert {row.name for row in everything} == set(RESOURCES)
    assert sum(row.monthly for row in everything) == pytest.approx(0.21805 + 8 * 730 * 0.01 + 730 * 0.05 + 3.5)
    assert "Bucket" not in {row.name for row in planned(template(), {"MakeBucket": "no"})}


def test_launchers_find_the_outputs_that_they_read() -> None:
    read = set(re.findall(r'(?:told\.get|several)\("(\w+)"', inspect.getsource(resources.find)))
    assert len(read) >= 9
    assert read - set(template()["Outputs"]) == {"KinesisStream"}  # which RoboMaker's launcher makes itself


@pytest.mark.slow
def test_cfn_lint_has_nothing_to_say() -> None:
    program = Path(sys.executable).parent / "cfn-lint"
    done = subprocess.run([program, TEMPLATE], capture_output=True, text=True, timeout=300, check=False)
    assert (done.returncode, done.stdout.strip()) == (0, ""), done.stdout + done.stderr
