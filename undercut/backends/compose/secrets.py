"""Passwords of the Docker Compose stack: random, one file each, readable for their owner only."""

import hashlib
import os
import secrets
from pathlib import Path

from contract.stores.local import write_private

CONTAINER_ID = 10001
"""User and group of the images, where the stack is run by root."""
_RANDOM_BYTES = 32


def owner(uid: int, gid: int, rootless: bool) -> tuple[int, int]:
    """User and group ids, inside the containers, that can read files of this user which nobody else can read.

    A rootless engine maps its root to the user that runs it. Root itself gives the files away to CONTAINER_ID.
    """
    if rootless:
        return 0, 0
    return (CONTAINER_ID, CONTAINER_ID) if uid == 0 else (uid, gid)


def make_secrets(folder: Path, container_uid: int, container_gid: int) -> None:
    """Make what is missing of the stack's secrets in `folder`; those that are there stay as they are."""
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    fresh = {
        "redis_password": secrets.token_urlsafe(_RANDOM_BYTES),
        "minio_root_user": "undercut-root",
        "minio_root_password": secrets.token_urlsafe(_RANDOM_BYTES),
        "s3_trainer": _credentials("undercut-trainer"),
        "s3_viewer": _credentials("undercut-viewer"),
    }
    for name, text in fresh.items():
        if not (folder / name).exists():
            write_private(folder / name, text.encode())
    password = (folder / "redis_password").read_text().strip()
    users = redis_users(password)
    path = folder / "redis_users"
    if not path.exists() or path.read_text() != users:
        write_private(path, users.encode())
    if os.geteuid() == 0:
        for name in (*fresh, path.name):
            os.chown(folder / name, container_uid, container_gid)


def redis_users(password: str) -> str:
    """Redis' ACL file: one user, only for our keys, without the commands that administer the server."""
    digest = hashlib.sha256(password.encode()).hexdigest()
    return f"user default off\nuser undercut on #{digest} ~undercut:* resetchannels +@all -@admin -@dangerous\n"


def _credentials(key: str) -> str:
    secret = secrets.token_urlsafe(_RANDOM_BYTES)
    return f"[default]\naws_access_key_id = {key}\naws_secret_access_key = {secret}\n"
