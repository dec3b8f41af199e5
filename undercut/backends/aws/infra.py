"""What jobs stand on in the account: bucket, role, registry. `undercut cloud up` and `down`.

All of it is one CloudFormation stack with a tag of ours; what has no such tag is neither changed nor deleted.
"""

from collections.abc import Sequence
from typing import Any

from tenacity import RetryError, Retrying, retry_if_result, stop_after_delay, wait_fixed

from contract.errors import InputError
from contract.fields import choice
from contract.host import S3Address
from undercut.backends.aws import notebook
from undercut.backends.aws.cost import prices
from undercut.backends.aws.needs import function_arn
from undercut.backends.aws.resources import stack_of, stack_outputs
from undercut.backends.aws.session import CloudError, CloudSession
from undercut.backends.aws.settings import CloudSettings
from undercut.backends.aws.template import TEMPLATE, planned, read_template, template

PARTS = ("network", "batch", "queue", "notebook")
"""What a stack has on demand. Batch brings the network."""
OWNER, OWNER_VALUE = "undercut:made-by", "undercut cloud up"
BUCKET_TAG = "undercut:stack"
_DEADLINE_S = 1800.0
_GONE = ("does not exist",)
_NO_SUCH_BUCKET = ("NoSuchBucket", "NoSuchTagSet", "404")


def up(
    session: CloudSession, settings: CloudSettings, plan: bool, parts: Sequence[str] | None = None, pause_s: float = 5.0
) -> list[str]:
    """Make or update the stack; with `plan` only say what would be made. Returns lines for the racer.

    `parts` are some of PARTS; None leaves those of an existing stack as they are. InputError for a stack of this name
    that is not ours, CloudError with AWS's first reason when it cannot be made.
    """
    chosen = None if parts is None else {choice(part, "--with", PARTS) for part in parts}
    stack = stack_of(session)
    if stack is not None:
        _check_owner(stack, session)
        if stack["StackStatus"].endswith("IN_PROGRESS") and not plan:  # an earlier command was interrupted
            _settled(session, ("CREATE_COMPLETE", "UPDATE_COMPLETE", "DELETE_COMPLETE"), pause_s, stack["StackId"])
            stack = stack_of(session)
    parameters = _parameters(session, settings, stack, chosen)
    if plan:
        return _plan(session, stack, parameters)
    request: dict[str, Any] = {
        "StackName": settings.stack,
        "TemplateBody": TEMPLATE.read_text(encoding="utf-8"),
        "Parameters": [{"ParameterKey": key, "ParameterValue": value} for key, value in parameters.items()],
        "Capabilities": ["CAPABILITY_IAM"],
        "Tags": [{"Key": OWNER, "Value": OWNER_VALUE}],
    }
    if stack is None:
        answer = session.call("cloudformation", "CreateStack", **request, OnFailure="DELETE")
    else:
        answer = session.call("cloudformation", "UpdateStack", **request, absent=("No updates are to be performed",))
    made = "as it should be" if not answer else "made" if stack is None else "brought up to date"
    if answer:
        _settled(session, ("CREATE_COMPLETE", "UPDATE_COMPLETE"), pause_s, answer["StackId"])
    lines = [f"stack {settings.stack} in {session.region} is {made}", *_outputs(session)]
    if parameters["MakeNotebook"] == "yes":
        lines.append(notebook.bring_wheel(S3Address(parameters["BucketName"], parameters.get("StorePrefix", ""))))
        page = f"https://{session.region}.console.aws.amazon.com/sagemaker/home?region={session.region}"
        lines.append(f"open undercut.ipynb of the notebook: {page}#/notebook-instances/{_prefix(settings)}")
    return lines


def down(session: CloudSession, settings: CloudSettings, delete_data: bool, pause_s: float = 5.0) -> list[str]:
    """Delete what `up` made; a bucket with data only with `delete_data`. Twice is fine."""
    stack = stack_of(session)
    lines = []
    if stack is None:
        lines.append(f"there is no stack {settings.stack} in {session.region}")
    else:
        _check_owner(stack, session)
        session.call("cloudformation", "DeleteStack", StackName=stack["StackId"])
        _settled(session, ("DELETE_COMPLETE",), pause_s, stack["StackId"])
        lines.append(f"stack {settings.stack} in {session.region} is deleted")
    bucket = _bucket_name(session, settings)
    if not _is_ours(session, bucket, settings):
        return lines
    where = "/".join(part for part in (settings.prefix, notebook.FOLDER) if part)
    for one in session.everything("s3", "ListObjectsV2", "Contents", Bucket=bucket, Prefix=f"{where}/"):
        session.call("s3", "DeleteObject", Bucket=bucket, Key=one["Key"])
    held = _holds_data(session, bucket)
    if held and not delete_data:
        fix = "undercut cloud down --delete-data deletes it with every run in it"
        return [*lines, f"kept: s3://{bucket}, since it holds data ({held}, ...); {fix}"]
    count = _empty(session, bucket)
    session.call("s3", "DeleteBucket", Bucket=bucket, absent=_NO_SUCH_BUCKET)
    return [*lines, f"deleted: s3://{bucket}" + (f" and {count} objects in it" if count else ", which was empty")]


# --- the stack -------------------------------------------------------------------------------------------------------


def _check_owner(stack: dict[str, Any], session: CloudSession) -> None:
    tags = {tag["Key"]: tag["Value"] for tag in stack.get("Tags", [])}
    if tags.get(OWNER) != OWNER_VALUE:
        rule = f"`undercut cloud` changes and deletes stacks that it made, which have the tag {OWNER}"
        fix = "choose another name with --stack, or delete that stack in AWS's console"
        raise InputError(f"CloudFormation stack in {session.region}", stack["StackName"], rule, fix)


def _parameters(
    session: CloudSession, settings: CloudSettings, stack: dict[str, Any] | None, parts: set[str] | None
) -> dict[str, str]:
    before = {one["ParameterKey"]: one["ParameterValue"] for one in (stack or {}).get("Parameters", [])}
    bucket = _bucket_name(session, settings)
    makes = "no" if settings.bucket or _is_ours(session, bucket, settings) else "yes"
    values = {
        "Prefix": _prefix(settings),
        "BucketName": bucket,
        # a bucket that is a resource of the stack stays one
        "MakeBucket": before.get("MakeBucket", makes) if bucket == before.get("BucketName", bucket) else makes,
        "LogDays": str(min((days for days in _LOG_DAYS if days >= settings.log_days), default=_LOG_DAYS[-1])),
    }
    if settings.prefix or before.get("StorePrefix"):
        values["StorePrefix"] = settings.prefix or before["StorePrefix"]
    if settings.kms_key or before.get("KmsKeyArn"):
        values["KmsKeyArn"] = _key_arn(session, settings.kms_key) if settings.kms_key else before["KmsKeyArn"]
    lists = {
        "RewardFunctions": [function_arn(one, session.region, session.account()) for one in settings.reward_functions],
        "ReadBuckets": [f"arn:aws:s3:::{one}" for one in settings.read_buckets],
        "ReadObjects": [f"arn:aws:s3:::{one}/*" for one in settings.read_buckets],
    }
    for key, given in lists.items():
        if given or before.get(key):
            values[key] = ",".join(given) or before[key]
    if settings.remote_debug or before.get("RemoteDebug"):
        values["RemoteDebug"] = "yes" if settings.remote_debug else before["RemoteDebug"]
    for part in PARTS:
        key = f"Make{part.capitalize()}"
        values[key] = before.get(key, "no") if parts is None else ("yes" if part in parts else "no")
    if values["MakeNotebook"] == "yes":
        values["NotebookText"] = notebook.text()
    if "yes" in (values["MakeNetwork"], values["MakeBatch"]):
        values["S3PrefixList"] = before.get("S3PrefixList") or _prefix_list(session)
    return values


def _key_arn(session: CloudSession, key: str) -> str:
    """Of a key's name, alias or ARN: rights are given on the ARN of a key alone."""
    told = session.call("kms", "DescribeKey", KeyId=key)
    return str(told["KeyMetadata"]["Arn"])


def _prefix_list(session: CloudSession) -> str:
    name = f"com.amazonaws.{session.region}.s3"
    found = session.call(
        "ec2", "DescribeManagedPrefixLists", Filters=[{"Name": "prefix-list-name", "Values": [name]}]
    ).get("PrefixLists", [])
    if not found:
        fix = "leave out --with network and --with batch, or choose another region"
        raise CloudError(f"{session.region} has no prefix list {name}", "the network reaches S3 by it", fix)
    return str(found[0]["PrefixListId"])


def _plan(session: CloudSession, stack: dict[str, Any] | None, parameters: dict[str, str]) -> list[str]:
    name = session.settings.stack
    rows, before = planned(template(), parameters), {}
    if stack is not None:
        had = {one["ParameterKey"]: one["ParameterValue"] for one in stack.get("Parameters", [])}
        body = session.call("cloudformation", "GetTemplate", StackName=name, TemplateStage="Original")["TemplateBody"]
        old = body if isinstance(body, dict) else read_template(body)
        before = {row.name: row for row in planned(old, had)}
    lines = [f"stack {name} in {session.region}" + (" is there" if stack else " is not there yet")]
    names, factor = {row.name for row in rows}, prices().factor(session.region)
    for row in [*rows, *(row for row in before.values() if row.name not in names)]:
        there, stays = row.name in before, row.name in names
        what = ("keep" if row == before[row.name] else "change") if there and stays else "delete" if there else "make"
        price = f"${factor * row.monthly:6.2f} a month  {row.why}" if row.monthly else "free"
        lines.append(f"  {what:8s}{row.name:22s}{row.kind:40s}{price}")
    total = factor * sum(row.monthly for row in rows)
    lines.append(f"  in all ${total:.2f} a month while it stands; prices of {prices().told(session.region)}")
    lines.append(f"  bucket: s3://{parameters['BucketName']}" + _whose(parameters))
    lines.append("  a racer's own rights are the policy RacerPolicy in undercut/backends/aws/stack.yaml")
    return lines


def _whose(parameters: dict[str, str]) -> str:
    return "" if parameters["MakeBucket"] == "yes" else ", which is there already and is not the stack's"


def _settled(session: CloudSession, good: tuple[str, ...], pause_s: float, name: str) -> None:
    """Wait until CloudFormation has finished; CloudError with its first reason when that is not well. `name` is the
    stack's ID, by which it is known also when it is deleted."""

    def finished() -> str | None:
        stack = stack_of(session, name)
        status = stack["StackStatus"] if stack else "DELETE_COMPLETE"
        return None if status.endswith("IN_PROGRESS") else str(status)

    try:
        going_on = retry_if_result(lambda status: status is None)
        status = Retrying(retry=going_on, stop=stop_after_delay(_DEADLINE_S), wait=wait_fixed(pause_s))(finished)
    except RetryError:
        what = f"waited {_DEADLINE_S:g} s for CloudFormation to finish stack {session.settings.stack}"
        raise CloudError(what, f"it takes at most {_DEADLINE_S:g} s", "see AWS's console") from None
    except KeyboardInterrupt:
        fix = "the same command again waits for it; undercut cloud down deletes what is made"
        raise CloudError("interrupted, but CloudFormation goes on", "a stack is finished or deleted", fix) from None
    if status not in good:
        fix = "correct that and give the command again; undercut cloud down deletes what is left"
        raise CloudError(f"stack {session.settings.stack}: {status}: {_reason(session, name)}", "it is made whole", fix)


def _reason(session: CloudSession, name: str) -> str:
    events = session.call("cloudformation", "DescribeStackEvents", StackName=name, absent=_GONE).get("StackEvents", [])
    failed = [one for one in events if str(one.get("ResourceStatus", "")).endswith("_FAILED")]
    if not failed:
        return "CloudFormation gives no reason"
    first = failed[-1]  # the newest comes first
    return f"{first['LogicalResourceId']}: {first.get('ResourceStatusReason', 'no reason given')}"


def _outputs(session: CloudSession) -> list[str]:
    return [f"  {key:20s}{value}" for key, value in stack_outputs(session).items()]


# --- the bucket ------------------------------------------------------------------------------------------------------


def _prefix(settings: CloudSettings) -> str:
    return settings.stack.lower()[:31].strip("-")


def _bucket_name(session: CloudSession, settings: CloudSettings) -> str:
    return settings.bucket or f"{_prefix(settings)}-{session.account()}-{session.region}"


def _is_ours(session: CloudSession, bucket: str, settings: CloudSettings) -> bool:
    """Whether the bucket is there, and has the tag that `up` gives."""
    answer = session.call("s3", "GetBucketTagging", Bucket=bucket, absent=_NO_SUCH_BUCKET)
    tags = {tag["Key"]: tag["Value"] for tag in answer.get("TagSet", [])}
    return tags.get(BUCKET_TAG) == _prefix(settings)


def _holds_data(session: CloudSession, bucket: str) -> str:
    """The first key, empty when there is none."""
    listed = session.call("s3", "ListObjectVersions", Bucket=bucket, MaxKeys=1)
    found = [*listed.get("Versions", []), *listed.get("DeleteMarkers", [])]
    return str(found[0]["Key"]) if found else ""


def _empty(session: CloudSession, bucket: str) -> int:
    """Delete every version of every object, and unfinished uploads; returns how many objects there were."""
    count = 0
    while True:
        listed = session.call("s3", "ListObjectVersions", Bucket=bucket)
        found = [*listed.get("Versions", []), *listed.get("DeleteMarkers", [])]
        if not found:
            break
        objects = [{"Key": one["Key"], "VersionId": one["VersionId"]} for one in found]
        for begin in range(0, len(objects), 1000):
            part = objects[begin : begin + 1000]
            answer = session.call("s3", "DeleteObjects", Bucket=bucket, Delete={"Objects": part, "Quiet": True})
            if answer.get("Errors"):
                first = answer["Errors"][0]
                what = f"s3://{bucket}/{first.get('Key')} cannot be deleted: {first.get('Message')}"
                raise CloudError(what, "a bucket is emptied before it is deleted", "allow s3:DeleteObjectVersion")
        count += len(objects)
    for upload in session.call("s3", "ListMultipartUploads", Bucket=bucket).get("Uploads", []):
        session.call("s3", "AbortMultipartUpload", Bucket=bucket, Key=upload["Key"], UploadId=upload["UploadId"])
    return count


_LOG_DAYS = (1, 3, 5, 7, 14, 30, 60, 90, 120, 150, 180, 365)
"""What CloudWatch takes, as far as the template lists it."""
