"""What undercut needs of this machine, checked line by line, each with what to do about it."""

import contextlib
import json
import os
import re
import shutil
import socket
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal
from urllib.parse import urlsplit

from contract.runtime import usable_cores

Level = Literal["ok", "warn", "fail"]
GIB = 2**30
ENGINE, COMPOSE = (24, 0), (2, 20)
"""The oldest versions that the stack's files are written for."""
PORTS = {"STACK_S3_PORT": 9000, "STACK_VIEW_PORT": 8899}
PYTHONS = ((3, 11), (3, 12))
IMAGES_GIB, RUNS_GIB = 12, 5


@dataclass(frozen=True, slots=True)
class DoctorFinding:
    """One line: what was looked at, how it is, and what to do about it unless it is fine."""

    name: str
    level: Level
    text: str
    fix: str = ""


@dataclass(frozen=True)
class Machine:
    """What the checks ask; tests put answers in place of it."""

    environment: Mapping[str, str] = field(default_factory=lambda: dict(os.environ))
    python: tuple[int, int] = (sys.version_info[0], sys.version_info[1])
    cores: int = field(default_factory=usable_cores)
    folder: Path = Path()

    def which(self, program: str) -> str | None:
        return shutil.which(program)

    def run(self, *command: str) -> tuple[int, str]:
        """Exit code and output, both streams; 127 when it does not start or takes longer than 30 s."""
        try:
            done = subprocess.run(
                command, check=False, capture_output=True, text=True, timeout=30, stdin=subprocess.DEVNULL
            )
        except (OSError, subprocess.TimeoutExpired) as error:
            return 127, str(error)
        return done.returncode, (done.stdout + done.stderr).strip()

    def memory_bytes(self) -> int:
        return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")

    def free_bytes(self, path: Path) -> int | None:
        """None where this user cannot look."""
        try:
            return shutil.disk_usage(path).free
        except OSError:
            return None

    def is_port_free(self, port: int) -> bool:
        with socket.socket() as it:
            it.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                it.bind(("127.0.0.1", port))
            except OSError:
                return False
        return True

    def can_write(self, folder: Path) -> str | None:
        """None, or why nothing can be written there."""
        existing = next(path for path in (folder, *folder.resolve().parents) if path.exists())
        try:
            with tempfile.TemporaryFile(dir=existing):
                return None
        except OSError as error:
            return error.strerror or str(error)

    def encoders(self) -> Sequence[str]:
        """Of H.264, in the PyAV that came with undercut."""
        import av

        return [name for name in ("libx264", "libopenh264", "h264") if name in av.codecs_available]


def examine(machine: Machine, compose: bool) -> list[DoctorFinding]:
    """All findings. With `compose` the stack is wanted, so what is missing for it is a failure and not a warning."""
    missing: Level = "fail" if compose else "warn"
    findings: list[DoctorFinding] = []
    for check in (_python, _cores, _memory, _disk, _folders, _encoder, _certificates, _proxy, _redis, _gpu):
        findings += check(machine)
    findings += _docker(machine, missing)
    return findings


def _python(machine: Machine) -> Iterator[DoctorFinding]:
    version = ".".join(map(str, machine.python))
    if machine.python in PYTHONS:
        yield DoctorFinding("python", "ok", version)
    else:
        yield DoctorFinding("python", "fail", version, "make setup PYTHON=/path/to/python3.11 (or 3.12)")


def _cores(machine: Machine) -> Iterator[DoctorFinding]:
    text = f"{machine.cores} usable"
    if machine.cores < 2:
        yield DoctorFinding("cores", "warn", text, "training works on one core, at about half the speed of two")
    else:
        yield DoctorFinding("cores", "ok", text)


def _memory(machine: Machine) -> Iterator[DoctorFinding]:
    gib = machine.memory_bytes() / GIB
    text = f"{gib:.1f} GiB"
    if gib < 2:
        yield DoctorFinding("memory", "fail", text, "TensorFlow and a run need 2 GiB; the stack 6")
    elif gib < 6:
        yield DoctorFinding("memory", "warn", text, "enough for training here; the stack wants 6 GiB, deep networks 4")
    else:
        yield DoctorFinding("memory", "ok", text)


def _disk(machine: Machine) -> Iterator[DoctorFinding]:
    yield _room(machine, "disk", machine.folder, RUNS_GIB, "delete old runs, or work in a folder on another disk")


def _room(machine: Machine, name: str, path: Path, wanted_gib: int, fix: str) -> DoctorFinding:
    free = machine.free_bytes(path)
    if free is None:
        return DoctorFinding(name, "ok", f"{path.absolute()} cannot be looked at from here")
    text = f"{free / GIB:.0f} GiB free in {path.absolute()}"
    level: Level = "fail" if free < GIB else "warn" if free < wanted_gib * GIB else "ok"
    return DoctorFinding(name, level, text, "" if level == "ok" else f"{wanted_gib} GiB are comfortable: {fix}")


def _folders(machine: Machine) -> Iterator[DoctorFinding]:
    for name in ("runs", "tracks"):
        folder = machine.folder / name
        why = machine.can_write(folder)
        if why is None:
            yield DoctorFinding(f"folder {name}/", "ok", "can be written")
        else:
            fix = f"sudo chown -R $USER {folder.absolute()}, or work in a folder of your own"
            yield DoctorFinding(f"folder {name}/", "fail", f"{folder.absolute()}: {why}", fix)


def _encoder(machine: Machine) -> Iterator[DoctorFinding]:
    found = machine.encoders()
    if found:
        yield DoctorFinding("video encoder", "ok", found[0])
    else:
        yield DoctorFinding("video encoder", "warn", "no H.264", "make clean setup brings a PyAV that has one")


def _certificates(machine: Machine) -> Iterator[DoctorFinding]:
    for name in ("SSL_CERT_FILE", "REQUESTS_CA_BUNDLE", "AWS_CA_BUNDLE", "PIP_CERT"):
        path = machine.environment.get(name)
        if path and not Path(path).is_file():
            yield DoctorFinding("certificates", "fail", f"{name}={path} is not there", f"correct or unset {name}")
            return
    yield DoctorFinding("certificates", "ok", "as the system has them")


def _proxy(machine: Machine) -> Iterator[DoctorFinding]:
    for name in ("HTTP_PROXY", "HTTPS_PROXY", "http_proxy", "https_proxy"):
        proxy = machine.environment.get(name)
        if not proxy:
            continue
        shown = re.sub(r"//[^@/]*@", "//***@", proxy)
        if not urlsplit(proxy if "://" in proxy else f"http://{proxy}").hostname:
            yield DoctorFinding("proxy", "fail", f"{name}={shown}", "write it as http://host:port")
            return
        fix = "builds of images need it in ~/.docker/config.json as well: docs.docker.com/engine/cli/proxy"
        yield DoctorFinding("proxy", "warn", f"{name}={shown}", fix)
        return
    yield DoctorFinding("proxy", "ok", "none")


def _redis(machine: Machine) -> Iterator[DoctorFinding]:
    if machine.which("redis-server"):
        yield DoctorFinding("redis-server", "ok", machine.run("redis-server", "--version")[1].split(" sha=")[0])
    else:
        fix = "only for workers on several machines without the stack, and for tests: apt-get install redis-server"
        yield DoctorFinding("redis-server", "warn", "not here", fix)


def _gpu(machine: Machine) -> Iterator[DoctorFinding]:
    if not machine.which("nvidia-smi"):
        yield DoctorFinding("GPU", "ok", "no NVIDIA GPU: training uses the CPU")
        return
    status, text = machine.run("nvidia-smi", "--query-gpu=name,driver_version", "--format=csv,noheader")
    if status != 0:
        yield DoctorFinding(
            "GPU", "warn", text.splitlines()[0][:120] if text else "nvidia-smi fails", "mend NVIDIA's driver"
        )
    else:
        yield DoctorFinding("GPU", "ok", f"{'; '.join(text.splitlines())}: make setup GPU=1, or the stack with GPU=1")


def _docker(machine: Machine, missing: Level) -> Iterator[DoctorFinding]:
    """Engine, Compose, its builder, room, ports and GPU runtime."""
    if not machine.which("docker"):
        fix = "only the stack needs it: https://docs.docker.com/engine/install/"
        yield DoctorFinding("docker", missing, "not here", fix)
        return
    status, text = machine.run("docker", "info", "--format", "{{json .}}")
    info: dict[str, Any] = {}
    with contextlib.suppress(ValueError):  # an old client may say no more than a sentence
        # a client that reaches no engine fails, and says here why
        info = json.loads(text[text.index("{") : text.rindex("}") + 1])
    if status != 0 or info.get("ServerErrors"):
        why = " ".join((info.get("ServerErrors") or [text])[0].split())[:160]
        fix = "sudo systemctl start docker"
        if "permission denied" in why:
            fix = "sudo usermod -aG docker $USER, then log in again"
        yield DoctorFinding("docker", missing, why, fix)
        return
    yield _version("docker engine", info.get("ServerVersion", ""), ENGINE, "update Docker Engine", missing)
    parts: tuple[tuple[str, tuple[str, ...], Callable[[str], DoctorFinding]], ...] = (
        (
            "docker compose",
            ("docker", "compose", "version", "--short"),
            lambda it: _version("docker compose", it, COMPOSE, "update the docker-compose-plugin package", missing),
        ),
        (
            "docker buildx",
            ("docker", "buildx", "version"),
            lambda it: DoctorFinding("docker buildx", "ok", " ".join(it.split()[1:2])),
        ),
    )
    for name, command, found in parts:
        status, text = machine.run(*command)
        plugin = f"docker-{name.split()[1]}-plugin"
        yield found(text) if status == 0 else DoctorFinding(name, missing, "not here", f"install {plugin}")
    yield _room(machine, "docker disk", Path(info["DockerRootDir"]), IMAGES_GIB, "docker system prune")
    yield from _ports(machine, missing)
    if machine.which("nvidia-smi"):
        has = "nvidia" in info.get("Runtimes", {})
        fix = "for GPU=1: install nvidia-container-toolkit, then sudo nvidia-ctk runtime configure --runtime=docker"
        yield DoctorFinding(
            "docker GPU", "ok" if has else "warn", "nvidia" if has else "no nvidia runtime", "" if has else fix
        )


def _version(name: str, text: str, oldest: tuple[int, int], fix: str, missing: Level) -> DoctorFinding:
    found = re.search(r"(\d+)\.(\d+)", text)
    version = (int(found[1]), int(found[2])) if found else (0, 0)
    if version < oldest:
        return DoctorFinding(name, missing, text, f"{'.'.join(map(str, oldest))} or later: {fix}")
    return DoctorFinding(name, "ok", text)


def _ports(machine: Machine, missing: Level) -> Iterator[DoctorFinding]:
    taken = machine.run("docker", "ps", "--filter", "label=com.docker.compose.project", "--format", "{{.Ports}}")[1]
    for variable, default in PORTS.items():
        text = machine.environment.get(variable) or str(default)
        port = int(text) if text.isdigit() else 0
        if f":{port}->" in taken:
            yield DoctorFinding(f"port {port}", "ok", "a stack's own")
        elif 0 < port < 65536 and machine.is_port_free(port):
            yield DoctorFinding(f"port {port}", "ok", "free")
        else:
            fix = f"stop what listens there (ss -ltnp), or choose another: {variable}=9010 make up"
            yield DoctorFinding(f"port {text}", missing, "taken" if port else "no port", fix)
