"""The stack's files: pinned, contained, limited, with secrets in files. No Docker is needed to read them."""

import re
import tomllib
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.conftest import REPO

COMPOSE = REPO / "compose"
DOCKERFILES = sorted(COMPOSE.rglob("Dockerfile"))
FILES = sorted(COMPOSE.glob("*.yaml"))
SERVICES: dict[str, dict[str, Any]] = yaml.safe_load((COMPOSE / "compose.yaml").read_text())["services"]
ONE_SHOT = {"setup"}


def stages(dockerfile: Path) -> dict[str, list[str]]:
    """Stage (the last one is "") -> its instructions, continuation lines joined."""
    text = re.sub(r"\\\n\s*", " ", dockerfile.read_text())
    found: dict[str, list[str]] = {}
    name = None
    for line in text.splitlines():
        if line.startswith("FROM "):
            name = line.split(" AS ")[1] if " AS " in line else ""
            found[name] = []
        if name is not None and line.strip() and not line.startswith("#"):
            found[name].append(line)
    return found


def test_every_dockerfile_is_looked_at() -> None:
    assert {path.parent.name for path in DOCKERFILES} >= {"compose", "minio", "redis"}
    assert {path.name for path in FILES} >= {"compose.yaml", "gpu.yaml", "dev.yaml"}


def test_the_version_is_the_projects_where_the_command_line_does_not_set_it() -> None:
    version = tomllib.loads((REPO / "pyproject.toml").read_text())["tool"]["hatch"]["version"]["fallback-version"]
    found = {tag for path in FILES for tag in re.findall(r"\$\{STACK_VERSION:-([^}]*)\}", path.read_text())}
    assert found == {version}


@pytest.mark.parametrize("path", DOCKERFILES, ids=lambda path: path.parent.name)
def test_images_begin_from_debian_slim_and_hold_no_secret(path: Path) -> None:
    text = path.read_text()
    bases = re.findall(r"^FROM (\S+)", text, re.MULTILINE)
    named = set(re.findall(r" AS (\S+)", text))
    ours = {"${DEBIAN}", "${SIMAPP}"}  # the second is built from the first, by compose/Dockerfile
    assert bases and all(base in ours or base in named for base in bases)
    assert re.search(r"^ARG DEBIAN=debian:\w+-slim$", text, re.MULTILINE)
    assert not re.search(r"^\s*(ENV|ARG).*(PASSWORD|SECRET|TOKEN|KEY)", text, re.MULTILINE)
    assert ":latest" not in text and not text.startswith("# syntax=")


@pytest.mark.parametrize("path", DOCKERFILES, ids=lambda path: path.parent.name)
def test_images_are_robomakers_kind(path: Path) -> None:
    """No VOLUME, EXPOSE or CMD: RoboMaker refuses the first two and sets the third."""
    for line in path.read_text().splitlines():
        assert not re.match(r"\s*(VOLUME|EXPOSE|CMD)\b", line), line


def test_images_run_what_they_are_told_as_nobody_special() -> None:
    application = stages(COMPOSE / "Dockerfile")
    assert "USER 10001:10001" in application["simapp"]
    start = "/opt/undercut/compose/image/start"
    assert f'ENTRYPOINT ["{start}"]' in application["simapp"]
    # SageMaker starts a job's image as root, and `start` gives that up
    assert f'ENTRYPOINT ["{start}", "undercut-job"]' in application["trainer"]
    assert "setpriv --reuid=10001 --regid=10001" in (COMPOSE / "image" / "start").read_text()
    for name in ("minio", "redis"):
        assert any(line.startswith("USER ") for line in stages(COMPOSE / name / "Dockerfile")[""]), name


def test_packages_come_from_the_lock() -> None:
    build = " ".join(stages(COMPOSE / "Dockerfile")["packages"])
    assert "scripts/bootstrap.py" in build and "UV_NO_DEV=1" in build and "pip install" not in build
    scripts = tomllib.loads((REPO / "pyproject.toml").read_text())["project"]["scripts"]
    assert scripts["undercut-job"] == "undercut.backends.aws.sagemaker_job:main"


def test_build_context_takes_what_runs_and_nothing_else() -> None:
    ignore = (COMPOSE / "Dockerfile.dockerignore").read_text().split()
    assert ignore[0] == "*"
    taken = {line[1:] for line in ignore if line.startswith("!")}
    assert {"contract", "simapp", "trainer", "undercut", "rewards", "actions", "uv.lock"} <= taken
    assert not taken & {".git", "runs", "tracks", "tests", "compose", "compose/secrets"}


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.name)
def test_no_service_reaches_the_engine_or_holds_a_password(path: Path) -> None:
    text = path.read_text()
    for forbidden in ("docker.sock", "privileged: true", ":latest", "network_mode: host", "env_file", "cap_add"):
        assert forbidden not in text
    for name, service in yaml.safe_load(text).get("services", {}).items():
        for key in service.get("environment", {}):
            assert not re.search(r"(PASSWORD|SECRET\w*|_KEY)$", str(key)), (path.name, name, key)


@pytest.mark.parametrize("name", sorted(SERVICES))
def test_services_are_contained(name: str) -> None:
    service = SERVICES[name]
    assert service["read_only"] is True
    assert service["cap_drop"] == ["ALL"] and service["security_opt"] == ["no-new-privileges:true"]
    assert service["user"] == "${STACK_UID:-10001}:${STACK_GID:-10001}"
    assert service["tmpfs"] and all("size=" in entry for entry in service["tmpfs"])
    assert service["mem_limit"] and service["pids_limit"]
    assert service["logging"]["options"] == {"max-size": "10m", "max-file": "3"}
    tag = re.search(r":([^:}]+)\}?$", service["image"].replace("${STACK_VERSION:-", ""))
    assert tag and tag[1] != "latest", service["image"]
    if name not in ONE_SHOT:
        assert {"test", "interval", "timeout", "retries"} <= set(service["healthcheck"])
        assert service["restart"] in ("unless-stopped", "on-failure:100")


def test_only_what_must_talk_talks() -> None:
    networks = {name: set(service["networks"]) for name, service in SERVICES.items()}
    assert networks["redis"] == {"rollouts"} and networks["simapp"] == {"rollouts"}
    assert networks["trainer"] == networks["sweep"] == {"rollouts", "storage"}
    assert networks["setup"] == {"storage"} and networks["viewer"] == {"storage", "host"}
    made = yaml.safe_load((COMPOSE / "compose.yaml").read_text())["networks"]
    assert made["rollouts"] == {"internal": True} and made["storage"] == {"internal": True}
    for name, service in SERVICES.items():
        assert ("host" in networks[name]) == bool(service.get("ports")), name


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.name)
def test_a_sweep_trains_as_the_trainer_does(path: Path) -> None:
    """The same image, code and GPU in every overlay; it has more processes and memory, and another command."""
    services = yaml.safe_load(path.read_text())["services"]
    own = {"command", "pids_limit", "mem_limit", "cpus"}
    trainer, sweep = (
        {k: v for k, v in services.get(name, {}).items() if k not in own} for name in ("trainer", "sweep")
    )
    assert trainer == sweep


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.name)
def test_ports_are_this_machines_only(path: Path) -> None:
    for service in yaml.safe_load(path.read_text()).get("services", {}).values():
        for port in service.get("ports", []):
            assert port.startswith("127.0.0.1:${STACK_")


def test_each_service_gets_the_secrets_that_it_needs() -> None:
    given = {name: set(service.get("secrets", [])) for name, service in SERVICES.items()}
    assert given["simapp"] == {"redis_password"}
    assert given["viewer"] == {"s3_viewer"}
    assert given["trainer"] == given["sweep"] == {"redis_password", "s3_trainer"}
    root = {"minio_root_user", "minio_root_password"}
    assert {name for name, secrets in given.items() if secrets & root} == {"minio", "setup"}
    ignored = (REPO / ".gitignore").read_text().split()
    assert "/compose/secrets/" in ignored and "/compose/.env" in ignored
