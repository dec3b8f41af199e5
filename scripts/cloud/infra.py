"""What jobs stand on in the account: bucket, role, registry. `undercut cloud up` and `down`."""

from scripts.cloud.session import CloudSession
from scripts.cloud.settings import CloudSettings

OUTPUTS = (
    *("Bucket", "RoleArn", "TrainerRepository", "SimappRepository", "Subnets", "SecurityGroups"),
    *("BatchQueue", "KinesisStream"),
)
"""Outputs of the CloudFormation stack that launchers read (scripts.cloud.resources); lists are joined by commas."""


def up(session: CloudSession, settings: CloudSettings, plan: bool) -> list[str]:
    """Make or update the stack; with `plan` only say what would be made. Returns lines for the racer."""
    raise NotImplementedError


def down(session: CloudSession, settings: CloudSettings, delete_data: bool) -> list[str]:
    """Delete what `up` made; a bucket with data only with `delete_data`. Twice is fine."""
    raise NotImplementedError
