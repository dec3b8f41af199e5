"""Host settings: where this machine finds store and channel. From the environment, and never part of a RunConfig, so
that one run.json trains locally, in compose and in the cloud.

Endpoint and credentials of S3 are boto3's own (AWS_ENDPOINT_URL_S3, AWS_SHARED_CREDENTIALS_FILE, AWS_PROFILE, ...).
"""

import os
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Self
from urllib.parse import urlsplit

from contract.errors import InputError
from contract.fields import read_text, suggestion

PREFIX = "UNDERCUT_"
STORE = "UNDERCUT_STORE"
REDIS_URL = "UNDERCUT_REDIS_URL"
REDIS_PASSWORD_FILE = "UNDERCUT_REDIS_PASSWORD_FILE"
CLOUD_PREFIX = "UNDERCUT_CLOUD_"
"""Settings of `undercut cloud`, which reads them itself."""
ROS, GUI, GAZEBO_GPU = "UNDERCUT_ROS", "UNDERCUT_GUI", "UNDERCUT_GAZEBO_GPU"
SWITCHES = {
    ROS: "1 puts Gazebo's cars on ROS topics, 0 does not",
    GUI: "1 shows Gazebo's world in a window, 0 does not",
    GAZEBO_GPU: "1 lets the GPU of the display draw Gazebo's pictures, 0 does not",
}
ON, OFF = ("1", "true", "yes", "on"), ("0", "false", "no", "off")
NOTIFY = "UNDERCUT_NOTIFY"
"""Addresses that get a notice when a training ends, fails or is stuck, with spaces between them."""
VARIABLES = (STORE, REDIS_URL, REDIS_PASSWORD_FILE, NOTIFY, *SWITCHES)

S3_RULE = "s3://bucket or s3://bucket/prefix; a bucket is 3 to 63 of a-z, 0-9, '.' and '-'; no empty, '.' or '..' parts"
REDIS_RULE = "redis://user@host:6379/0, or rediss:// for TLS; user, port and database may be left out"
DEFAULT_REDIS_PORT = 6379
MEET_S = 1800.0
"""So long machines of one training wait for each other: simulators for their trainer's address, a trainer for its first
simulator. Spare capacity comes when it comes."""

_BUCKET = re.compile(r"[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]")


def cache_folder(name: str) -> Path:
    """The folder of that name for what this machine's user can have made again."""
    return Path(os.environ.get("XDG_CACHE_HOME") or "~/.cache").expanduser() / "undercut" / name


@dataclass(frozen=True, slots=True)
class S3Address:
    """A place in a bucket. `prefix` is empty or has neither a leading nor a trailing slash."""

    bucket: str
    prefix: str = ""

    @classmethod
    def parse(cls, text: str, where: str) -> Self:
        """Of "s3://bucket/prefix"; InputError names `where`."""
        bucket, _, prefix = text.removeprefix("s3://").partition("/")
        prefix = prefix.strip("/")
        parts = prefix.split("/") if prefix else []
        plain = text.startswith("s3://") and _BUCKET.fullmatch(bucket) is not None and ".." not in bucket
        if not plain or any(part in ("", ".", "..") or "\0" in part for part in parts):
            raise InputError(where, text, S3_RULE, "write it as s3://my-bucket/my-runs")
        return cls(bucket, prefix)

    def __str__(self) -> str:
        return f"s3://{self.bucket}/{self.prefix}" if self.prefix else f"s3://{self.bucket}"

    def below(self, path: str) -> "S3Address":
        """The place `path` further down."""
        return S3Address(self.bucket, "/".join(part for part in (self.prefix, path.strip("/")) if part))


@dataclass(frozen=True, slots=True)
class RedisAddress:
    """A Redis server. `user` is "default" where none is named; `tls` for rediss://."""

    host: str
    port: int
    database: int
    user: str
    tls: bool
    password_file: Path | None

    def __str__(self) -> str:
        """Without the password: for messages."""
        return f"{'rediss' if self.tls else 'redis'}://{self.user}@{self.host}:{self.port}/{self.database}"

    def password(self) -> str | None:
        """What the password file holds, None without one; InputError when it cannot be read or is empty."""
        if self.password_file is None:
            return None
        text = read_text(self.password_file, f"the file that {REDIS_PASSWORD_FILE} names").strip()
        if not text:
            raise InputError(str(self.password_file), "", "the password stands in this file", "write it there")
        return text


@dataclass(frozen=True, slots=True)
class HostSettings:
    """Where runs live (None: folders of the working directory), which Redis carries rollouts (None: no Redis), and what
    Gazebo does besides, see SWITCHES."""

    store: S3Address | None = None
    redis: RedisAddress | None = None
    ros: bool = False
    gui: bool = False
    gazebo_gpu: bool = False

    @classmethod
    def load(cls, environment: Mapping[str, str] | None = None) -> Self:
        """From the environment, by default this process's. Variables that are set to nothing count as unset.

        InputError for an unknown UNDERCUT_ name, since a misspelt one would silently put a run somewhere else.
        """
        found = {
            name: value.strip()
            for name, value in (os.environ if environment is None else environment).items()
            if name.startswith(PREFIX) and not name.startswith(CLOUD_PREFIX) and value.strip()
        }
        for name, value in found.items():
            if name not in VARIABLES:
                rule = f"variables of this toolkit are {', '.join(VARIABLES)}"
                raise InputError(f"environment: {name}", value, rule, suggestion(name, VARIABLES, f"unset {name}"))
        if REDIS_PASSWORD_FILE in found and REDIS_URL not in found:
            where = f"environment: {REDIS_PASSWORD_FILE}"
            raise InputError(where, found[REDIS_PASSWORD_FILE], "it goes with " + REDIS_URL, f"set {REDIS_URL} as well")
        return cls(
            S3Address.parse(found[STORE], f"environment: {STORE}") if STORE in found else None,
            _redis(found[REDIS_URL], found.get(REDIS_PASSWORD_FILE)) if REDIS_URL in found else None,
            *(name in found and switch(name, found[name], does) for name, does in SWITCHES.items()),
        )


def switch(name: str, text: str, does: str = "") -> bool:
    """A boolean variable of the environment, in any case; InputError with the name, the value and what it `does`."""
    if (word := text.strip().lower()) in ON or word in OFF:
        return word in ON
    rule = f"{', '.join(ON)}, or {', '.join(OFF)}{f': {does}' if does else ''}"
    raise InputError(f"environment: {name}", text, rule, "set 1 or 0")


def _redis(url: str, password_file: str | None) -> RedisAddress:
    where = f"environment: {REDIS_URL}"
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError:
        raise InputError(where, url, REDIS_RULE, "write it as redis://host:6379/0") from None
    if parts.password is not None:
        hidden = url.replace(f":{parts.password}@", ":***@")
        fix = f"write the password to a file that only you can read, and name that in {REDIS_PASSWORD_FILE}"
        raise InputError(where, hidden, "no password: environments are shown by ps, docker inspect and logs", fix)
    database = parts.path.strip("/") or "0"
    wrong = parts.scheme not in ("redis", "rediss") or not parts.hostname or port == 0 or parts.query or parts.fragment
    if wrong or not re.fullmatch(r"[0-9]{1,4}", database):
        raise InputError(where, url, REDIS_RULE, "write it as redis://host:6379/0")
    return RedisAddress(
        host=str(parts.hostname),
        port=port or DEFAULT_REDIS_PORT,
        database=int(database),
        user=parts.username or "default",
        tls=parts.scheme == "rediss",
        password_file=Path(password_file) if password_file else None,
    )
