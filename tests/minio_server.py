"""A real MinIO server in a folder: started on a free port with a deadline, killed and started again by tests."""

import os
import secrets
import socket
import subprocess
import urllib.error
import urllib.request
from pathlib import Path
from typing import Any

import boto3
import pytest
from botocore.config import Config

from contract.host import S3Address
from contract.stores.lease import LeaseTimes
from contract.stores.s3 import S3Store
from tests.conftest import REPO
from tests.patience import PATIENCE_S, until

BUCKET = "undercut"


def minio_program() -> Path:
    """The server; the test is skipped where it was not built."""
    command = [str(REPO / "compose" / "minio" / "build"), "--is-there"]
    found = subprocess.run(command, check=False, capture_output=True, text=True)
    if found.returncode:
        pytest.skip("MinIO is not built on this machine: compose/minio/build, then make test-all")
    return Path(found.stdout.strip())


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


class MinioServer:
    """MinIO on the folder, with a random password and a bucket; `stop` and `start` as often as a test likes."""

    def __init__(self, folder: Path, program: Path, command: tuple[str, ...] = ()) -> None:
        self.folder, self._program, self._command = folder, program, command
        self.port, self.user, self.password = free_port(), "racer", secrets.token_urlsafe(24)
        self._process: subprocess.Popen[bytes] | None = None
        self._log = folder / "server.log"
        folder.mkdir(parents=True, exist_ok=True)
        self._plain = self.client(retries={"total_max_attempts": 1})
        self.start()
        self.client().create_bucket(Bucket=BUCKET)

    @property
    def endpoint(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def environment(self, endpoint: str | None = None) -> dict[str, str]:
        """What boto3 has to be told."""
        return {
            "AWS_ENDPOINT_URL_S3": endpoint or self.endpoint,
            "AWS_ACCESS_KEY_ID": self.user,
            "AWS_SECRET_ACCESS_KEY": self.password,
            "AWS_EC2_METADATA_DISABLED": "true",
        }

    def client(self, retries: dict[str, int] | None = None, **changed: str) -> Any:
        """A client; with boto3's own retries by default, to look at the server by another way than the store does."""
        told = {
            "endpoint_url": self.endpoint,
            "aws_access_key_id": self.user,
            "aws_secret_access_key": self.password,
            "region_name": "us-east-1",
        }
        style = Config(s3={"addressing_style": "path"}, connect_timeout=2, read_timeout=20, retries=retries)
        return boto3.session.Session().client("s3", config=style, **{**told, **changed})

    def store(
        self, prefix: str = "", *, patience_s: float = 30.0, lease_times: LeaseTimes | None = None, **changed: str
    ) -> S3Store:
        """A store in the bucket, by a client like that of contract.stores.s3 but for what is `changed`."""
        client = self.client(retries={"total_max_attempts": 1}, **changed) if changed else self._plain
        return S3Store(S3Address(BUCKET, prefix), client=client, patience_s=patience_s, lease_times=lease_times)

    def empty_store(self) -> S3Store:
        """Below a prefix that nothing else uses."""
        return self.store(f"tests/{secrets.token_hex(8)}")

    def start(self) -> None:
        """Start the server and wait until it answers."""
        environment = {
            "PATH": os.environ["PATH"],
            "HOME": str(self.folder),
            "MINIO_ROOT_USER": self.user,
            "MINIO_ROOT_PASSWORD": self.password,
            "MINIO_UPDATE": "off",
            "MINIO_BROWSER": "off",
        }
        address = f"127.0.0.1:{self.port}"
        self._process = subprocess.Popen(
            [*self._command, str(self._program), "server", "--quiet", "--address", address, str(self.folder / "data")],
            env=environment,
            stdout=self._log.open("ab"),
            stderr=subprocess.STDOUT,
        )
        until("MinIO to be ready", self._is_ready)

    def kill(self) -> None:
        """As kill -9 does: nothing is flushed or finished."""
        if self._process is not None:
            self._process.kill()
            self._process.wait(PATIENCE_S)
            self._process = None

    def _is_ready(self) -> bool:
        assert self._process is not None
        assert self._process.poll() is None, f"MinIO ended: {self._log.read_text()}"
        try:
            with urllib.request.urlopen(f"{self.endpoint}/minio/health/cluster", timeout=2) as answer:
                return bool(answer.status == 200)
        except (urllib.error.URLError, OSError):
            return False
