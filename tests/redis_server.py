"""A real Redis server with a password, on a free port, for one test; it can be killed and started again."""

import contextlib
import os
import secrets
import shutil
import socket
import subprocess
import tempfile
import time
from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType

import pytest
import redis

from contract.host import RedisAddress
from tests.patience import PATIENCE_S


class RedisServer:
    """Use as a context. `keep_data` writes every command to disk (appendonly), else a killed server forgets all.
    `environment` is what the server gets on top of this process's."""

    def __init__(
        self,
        keep_data: bool = False,
        options: tuple[str, ...] = (),
        environment: Mapping[str, str] = MappingProxyType({}),
    ) -> None:
        if shutil.which("redis-server") is None:
            pytest.skip("no redis-server: apt-get install redis-server, then pytest -m redis")
        self._keep_data, self._options, self._environment = keep_data, options, environment
        self._process: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> "RedisServer":
        self._folder = tempfile.TemporaryDirectory(prefix="undercut-redis-")
        password = Path(self._folder.name) / "password"
        password.write_text(secrets.token_hex(12))
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            port = free.getsockname()[1]
        self.address = RedisAddress("127.0.0.1", port, 0, "default", tls=False, password_file=password)
        (Path(self._folder.name) / "redis.conf").write_text(
            f'port {port}\nbind 127.0.0.1\nrequirepass {password.read_text()}\ndir {self._folder.name}\nsave ""\n'
            f"appendonly {'yes' if self._keep_data else 'no'}\nappendfsync always\n" + "\n".join(self._options) + "\n"
        )
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.kill()
        self._folder.cleanup()

    def client(self) -> "redis.Redis":
        return redis.Redis(
            port=self.address.port, password=self.address.password(), socket_timeout=PATIENCE_S, protocol=2
        )

    def start(self) -> None:
        with (Path(self._folder.name) / "log").open("ab") as log:
            command = ["redis-server", f"{self._folder.name}/redis.conf"]
            told = {**os.environ, **self._environment}
            self._process = subprocess.Popen(command, stdout=log, stderr=log, env=told)
        deadline_s = time.monotonic() + PATIENCE_S
        while True:
            with contextlib.suppress(redis.RedisError):
                if self.client().ping():
                    return
            assert self._process.poll() is None, self.log()
            assert time.monotonic() < deadline_s, f"Redis does not answer in {PATIENCE_S:g} s\n{self.log()}"
            time.sleep(0.02)

    def kill(self) -> None:
        """kill -9."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()

    def log(self) -> str:
        return (Path(self._folder.name) / "log").read_text(errors="replace")
