"""The doctor's findings on machines that are put together for the test."""

import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from typer.testing import CliRunner

from undercut.cli.main import app
from undercut.doctor import GIB, DoctorFinding, Machine, examine

INFO = {"ServerVersion": "27.3.1", "DockerRootDir": "/var/lib/docker", "Runtimes": {"runc": {}}}


@dataclass(frozen=True)
class Made(Machine):
    """A machine in good order, but for what a test changes."""

    environment: dict[str, str] = field(default_factory=dict)
    python: tuple[int, int] = (3, 11)
    cores: int = 4
    programs: tuple[str, ...] = ("docker", "redis-server")
    info: tuple[int, str] = (0, json.dumps(INFO))
    compose: tuple[int, str] = (0, "2.29.7")
    published: str = ""
    memory_gib: float = 16.0
    free_gib: float | None = 100.0
    taken: tuple[int, ...] = ()
    unwritable: str | None = None
    codecs: tuple[str, ...] = ("libx264",)

    def which(self, program: str) -> str | None:
        return f"/usr/bin/{program}" if program in self.programs else None

    def run(self, *command: str) -> tuple[int, str]:
        answers = {
            "info": self.info,
            "compose": self.compose,
            "buildx": (0, "github.com/docker/buildx v0.17.1 abc"),
            "ps": (0, self.published),
            "--version": (0, "Redis server v=7.0.15 sha=00000000:0"),
            "--query-gpu=name,driver_version": (0, "NVIDIA H100, 560.35"),
        }
        return answers[command[1]]

    def memory_bytes(self) -> int:
        return int(self.memory_gib * GIB)

    def free_bytes(self, path: Path) -> int | None:
        return None if self.free_gib is None else int(self.free_gib * GIB)

    def is_port_free(self, port: int) -> bool:
        return port not in self.taken

    def can_write(self, folder: Path) -> str | None:
        return self.unwritable

    def encoders(self) -> Sequence[str]:
        return self.codecs


def finding(machine: Machine, name: str, compose: bool = True) -> DoctorFinding:
    return next(it for it in examine(machine, compose) if it.name == name)


@pytest.mark.parametrize("compose", [False, True])
def test_a_machine_in_order_has_nothing_to_do(compose: bool) -> None:
    found = examine(Made(), compose)
    assert {it.level for it in found} == {"ok"} and not any(it.fix for it in found)
    assert {"python", "memory", "disk", "docker engine", "docker compose", "port 9000"} <= {it.name for it in found}


@pytest.mark.parametrize(
    ("machine", "name", "level", "fix"),
    [
        (Made(python=(3, 13)), "python", "fail", "make setup PYTHON="),
        (Made(cores=1), "cores", "warn", "one core"),
        (Made(memory_gib=1.5), "memory", "fail", "2 GiB"),
        (Made(memory_gib=4), "memory", "warn", "6 GiB"),
        (Made(free_gib=0.5), "disk", "fail", "delete old runs"),
        (Made(free_gib=3), "disk", "warn", "another disk"),
        (Made(free_gib=8), "docker disk", "warn", "docker system prune"),
        (Made(unwritable="Permission denied"), "folder runs/", "fail", "chown"),
        (Made(codecs=()), "video encoder", "warn", "make clean setup"),
        (Made({"SSL_CERT_FILE": "/nowhere.crt"}), "certificates", "fail", "unset SSL_CERT_FILE"),
        (Made({"HTTPS_PROXY": "http://proxy:3128"}), "proxy", "warn", "config.json"),
        (Made({"HTTPS_PROXY": "http://"}), "proxy", "fail", "http://host:port"),
        (Made(programs=("docker",)), "redis-server", "warn", "apt-get install redis-server"),
        (Made(programs=()), "docker", "fail", "docs.docker.com"),
        (Made(info=(1, "permission denied while trying to connect")), "docker", "fail", "usermod -aG docker"),
        (Made(info=(0, json.dumps({"ServerErrors": ["Cannot connect"]}))), "docker", "fail", "systemctl start docker"),
        (Made(info=(1, json.dumps({"ServerErrors": ["permission denied"]}))), "docker", "fail", "usermod -aG docker"),
        (Made(info=(0, json.dumps({**INFO, "ServerVersion": "20.10.5"}))), "docker engine", "fail", "24.0 or later"),
        (Made(compose=(0, "2.6.0")), "docker compose", "fail", "2.20 or later"),
        (Made(compose=(1, "'compose' is not a docker command")), "docker compose", "fail", "docker-compose-plugin"),
        (Made(taken=(9000,)), "port 9000", "fail", "STACK_S3_PORT=9010 make up"),
        (Made({"STACK_S3_PORT": "http"}), "port http", "fail", "STACK_S3_PORT"),
        (Made(programs=("docker", "nvidia-smi", "redis-server")), "docker GPU", "warn", "nvidia-container-toolkit"),
    ],
)
def test_what_is_wrong_is_said_with_what_to_do(machine: Machine, name: str, level: str, fix: str) -> None:
    it = finding(machine, name)
    assert it.level == level
    assert fix in it.fix


def test_without_the_stack_docker_is_no_must() -> None:
    assert finding(Made(programs=()), "docker", compose=False).level == "warn"


def test_ports_of_the_stack_itself_are_fine() -> None:
    it = finding(Made(taken=(9000,), published="127.0.0.1:9000->9000/tcp"), "port 9000")
    assert it.level == "ok"


def test_a_proxys_password_is_not_shown() -> None:
    it = finding(Made({"HTTPS_PROXY": "http://me:hunter2@proxy:3128"}), "proxy")
    assert "hunter2" not in it.text and "proxy:3128" in it.text


def test_gpu_and_its_runtime_are_named() -> None:
    info = json.dumps({**INFO, "Runtimes": {"nvidia": {}}})
    machine = Made(programs=("docker", "nvidia-smi"), info=(0, info))
    assert "H100" in finding(machine, "GPU").text
    assert finding(machine, "docker GPU").level == "ok"


def test_the_command_on_this_machine() -> None:
    run = CliRunner().invoke(app, ["doctor", "--json"])
    found = json.loads(run.stdout)
    assert run.exit_code == int(any(it["level"] == "fail" for it in found))
    assert {"python", "cores", "memory", "disk"} <= {it["name"] for it in found}
    assert all(set(it) == {"name", "level", "text", "fix"} for it in found)
