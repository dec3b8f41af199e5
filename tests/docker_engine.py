"""The local Docker engine, and a stack of its own for tests."""

import json
import os
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.conftest import REPO

HOW = "start a Docker engine with Compose v2, then: make test-all ARGS='-m docker'"


def need_engine() -> None:
    """Skip the test where no engine answers."""
    if shutil.which("docker") is None or docker("info", check=False).returncode != 0:
        pytest.skip(f"no Docker engine answers: {HOW}")


def docker(*arguments: str, check: bool = True, timeout_s: float = 900.0) -> "subprocess.CompletedProcess[str]":
    """Run a docker command."""
    return subprocess.run(["docker", *arguments], check=check, capture_output=True, text=True, timeout=timeout_s)


def free_port() -> int:
    """Of this machine's loopback; free a moment ago."""
    with socket.socket() as it:
        it.bind(("127.0.0.1", 0))
        return int(it.getsockname()[1])


def until(what: str, is_so: Callable[[], bool], deadline_s: float = 600.0) -> None:
    """Wait for it; fails with what it waited for."""
    end_s = time.monotonic() + deadline_s
    while not is_so():
        assert time.monotonic() < end_s, f"waited {deadline_s:g} s for {what}"
        time.sleep(0.5)


class StackUnderTest:
    """A stack with a name, ports and data of its own; runs lie in `folder`."""

    def __init__(self, name: str, folder: Path) -> None:
        self.name, self.folder = name, folder
        folder.mkdir(parents=True, exist_ok=True)
        self.environment = {
            **os.environ,
            "STACK_NAME": name,
            "STACK_S3_PORT": str(free_port()),
            "STACK_VIEW_PORT": str(free_port()),
        }

    def undercut(self, *arguments: str, check: bool = True, **environment: str) -> "subprocess.CompletedProcess[str]":
        """The command line, in the folder of the runs."""
        run = subprocess.run(
            [sys.executable, "-P", "-m", "undercut", *arguments],
            cwd=self.folder,
            env={**self.environment, **environment},
            check=False,
            capture_output=True,
            text=True,
            timeout=1500,
        )
        assert not check or run.returncode == 0, f"{arguments}: {run.returncode}\n{run.stdout}\n{run.stderr}"
        return run

    def start(self, *arguments: str) -> "subprocess.Popen[str]":
        """The command line in the background, its output in output.txt."""
        with (self.folder / "output.txt").open("w") as output:
            return subprocess.Popen(
                [sys.executable, "-P", "-m", "undercut", *arguments],
                cwd=self.folder,
                env=self.environment,
                stdout=output,
                stderr=subprocess.STDOUT,
                text=True,
                start_new_session=True,
            )

    def said(self) -> str:
        return (self.folder / "output.txt").read_text()

    def container(self, service: str, number: int = 1) -> str:
        return f"{self.name}-{service}-{number}"

    def state(self, service: str, number: int = 1) -> dict[str, object]:
        """Docker's State; empty when there is no such container."""
        answer = docker("inspect", "--format", "{{json .State}}", self.container(service, number), check=False)
        return dict(json.loads(answer.stdout)) if answer.returncode == 0 else {}

    def kill(self, service: str, number: int = 1) -> None:
        """kill -9 of the container's first process, from this machine."""
        pid = int(str(self.state(service, number)["Pid"]))
        assert pid > 1
        os.kill(pid, 9)

    def starve(self, service: str, number: int) -> None:
        """Leave the container 64 MB of memory and take them: the kernel kills its largest process."""
        name = self.container(service, number)
        read = "cat /sys/fs/cgroup/memory.current /sys/fs/cgroup/memory/memory.usage_in_bytes 2>/dev/null; true"
        most = str(int(docker("exec", name, "sh", "-c", read).stdout.split()[0]) + (64 << 20))
        docker("update", "--memory", most, "--memory-swap", most, name)
        since = str(int(time.time()))
        eat = "data = bytearray(1 << 30)\nfor page in range(0, len(data), 4096): data[page] = 1"
        docker("exec", name, "python", "-c", eat, check=False)
        look = ("--filter", f"container={name}", "--filter", "event=oom", "--format", "{{.Action}}")

        def was_killed() -> bool:
            return "oom" in docker("events", "--since", since, "--until", str(int(time.time()) + 1), *look).stdout

        until(f"the kernel to kill {name}", was_killed, 60)

    def is_back(self, service: str) -> bool:
        state = self.state(service)
        health = state.get("Health", {})
        return bool(state.get("Running")) and isinstance(health, dict) and health.get("Status") == "healthy"

    def iterations(self) -> int:
        """Lines of finished iterations that the training has shown."""
        return sum(line.strip()[:1].isdigit() and "%" in line for line in self.said().splitlines())


@contextmanager
def stack_under_test(name: str, folder: Path) -> Iterator[StackUnderTest]:
    """Up while the block lasts, then gone with its data."""
    need_engine()
    it = StackUnderTest(f"{name}-{os.getpid()}", folder)
    try:
        it.undercut("stack", "up")
        yield it
    finally:
        it.undercut("stack", "wipe", "--yes", check=False)


def job_folders(base: Path, hyperparameters: dict[str, str], files: dict[str, Path]) -> Path:
    """/opt/ml as SageMaker lays it out before a job, owned by root."""
    for name in ("input/config", "input/data/racer", "model", "output/data", "checkpoints"):
        (base / name).mkdir(parents=True)
    config = base / "input" / "config"
    (config / "hyperparameters.json").write_text(json.dumps(hyperparameters))
    hosts = {"current_host": "algo-1", "hosts": ["algo-1"], "network_interface_name": "eth0"}
    (config / "resourceconfig.json").write_text(json.dumps(hosts))
    (config / "inputdataconfig.json").write_text(json.dumps({"racer": {"TrainingInputMode": "File"}}))
    for name, path in files.items():
        shutil.copy(path, base / "input" / "data" / "racer" / name)
    return base


def built_image(target: str) -> str:
    """The image of this checkout, built."""
    need_engine()
    tag = f"undercut-{target}:test"
    command = ("build", "--quiet", "--file", str(REPO / "compose" / "Dockerfile"), "--target", target, "--tag", tag)
    built = docker(*command, str(REPO), check=False, timeout_s=3000)
    assert built.returncode == 0, built.stderr
    return tag
