"""Makes the stack's bucket and the two users of it on MinIO: one that trains, one that only looks. Run as often as
you like: `python -m undercut.backends.compose.bucket_setup BUCKET` in the setup container, which alone has the root
password.
"""

import configparser
import os
import sys
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from minio import Minio
from minio.credentials.providers import StaticProvider
from minio.error import MinioException
from minio.minioadmin import MinioAdmin
from urllib3.exceptions import HTTPError

from contract.errors import UndercutError
from contract.fields import read_text

SECRETS = Path("/run/secrets")
USERS = {"s3_trainer": ("s3:PutObject", "s3:GetObject", "s3:DeleteObject"), "s3_viewer": ("s3:GetObject",)}
"""Credentials file -> what its user may do with objects; all may list the bucket."""


def access_key(credentials: str, where: str) -> tuple[str, str]:
    """Key and secret of an AWS credentials file's default profile."""
    parsed = configparser.ConfigParser(interpolation=None)
    parsed.read_string(credentials, where)
    profile = parsed["default"]
    return profile["aws_access_key_id"], profile["aws_secret_access_key"]


def policy(bucket: str, actions: tuple[str, ...]) -> dict[str, Any]:
    """What a user may do: list the bucket, and `actions` with its objects."""
    parts = ("s3:AbortMultipartUpload", "s3:ListMultipartUploadParts") if "s3:PutObject" in actions else ()
    return {
        "Version": "2012-10-17",
        "Statement": [
            {
                "Effect": "Allow",
                "Action": ["s3:ListBucket", "s3:GetBucketLocation"],
                "Resource": [f"arn:aws:s3:::{bucket}"],
            },
            {"Effect": "Allow", "Action": [*actions, *parts], "Resource": [f"arn:aws:s3:::{bucket}/*"]},
        ],
    }


def set_up(endpoint: str, root: tuple[str, str], bucket: str, secrets: Path) -> None:
    """Make what is missing of bucket, users and policies; UndercutError when the server refuses."""
    url = urlsplit(endpoint)
    secure = url.scheme == "https"
    try:
        client = Minio(url.netloc, *root, secure=secure)
        if not client.bucket_exists(bucket):
            client.make_bucket(bucket)
        admin = MinioAdmin(endpoint=url.netloc, credentials=StaticProvider(*root), secure=secure)
        for name, actions in USERS.items():
            path = secrets / name
            admin.user_add(*(pair := access_key(read_text(path, "a credentials file"), str(path))))
            admin.policy_add(name, policy=policy(bucket, actions))
            admin.policy_set(name, user=pair[0])
    except (MinioException, HTTPError, OSError) as error:
        raise UndercutError(
            f"cannot set up bucket {bucket!r} at {endpoint}: {error}",
            fix="see `make logs SERVICE=minio BACKEND=compose`; a disk that is full, a password of another stack",
        ) from error


def main() -> int:
    """The command line; returns the exit code."""
    bucket, endpoint = sys.argv[1], os.environ["AWS_ENDPOINT_URL_S3"]
    root = [read_text(SECRETS / f"minio_root_{what}", "a secret").strip() for what in ("user", "password")]
    try:
        set_up(endpoint, (root[0], root[1]), bucket, SECRETS)
    except UndercutError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    print(f"bucket {bucket} is ready")
    return 0


if __name__ == "__main__":
    sys.exit(main())
