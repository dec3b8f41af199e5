"""Gazebo and ROS in the stack's containers."""

import os
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from contract import artifacts
from tests.conftest import REPO
from tests.docker_engine import StackUnderTest, docker, stack_under_test, until

pytestmark = [pytest.mark.docker, pytest.mark.slow, pytest.mark.timeout(5400)]
OVERLAY = ("--overlay", "gazebo")
IN_GAZEBO = ("--sim", "gazebo", "--backend", "compose", *OVERLAY)
CONTAINED = ("--read-only", "--tmpfs", "/tmp:mode=1777", "--cap-drop", "ALL")
IMAGE = "undercut-simapp-gazebo:" + os.environ.get("STACK_VERSION", "0.1.0")
LAUNCH = ("roslaunch", "deepracer_simulation_environment")


@pytest.fixture(scope="module")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[StackUnderTest]:
    with stack_under_test("undercut-gazebo-test", tmp_path_factory.mktemp("gazebo") / "stack") as it:
        it.undercut("stack", "up", *OVERLAY)
        yield it


@pytest.fixture(scope="module")
def trained(stack: StackUnderTest) -> Path:
    """A run that two simulators have trained in Gazebo."""
    said = stack.undercut("train", "there", "--quick", *IN_GAZEBO, "--workers", "2").stdout
    assert said.count("has joined") == 2, said
    return stack.folder / "runs" / "there"


@contextmanager
def launched_worker(stack: StackUnderTest) -> Iterator[str]:
    """A container beside the stack, with a worker as roslaunch starts it."""
    password = REPO / "compose" / "secrets" / "redis_password"
    owner, name = password.stat(), f"{stack.name}-launched"
    docker(
        *("run", "--detach", "--name", name, *CONTAINED, "--tmpfs", "/work:mode=1777"),
        *("--user", f"{owner.st_uid}:{owner.st_gid}", "--network", f"{stack.name}_rollouts"),
        *("--volume", f"{password}:/run/secrets/redis_password:ro"),
        *("--env", "UNDERCUT_REDIS_PASSWORD_FILE=/run/secrets/redis_password"),
        *("--env", "UNDERCUT_REDIS_URL=redis://undercut@redis:6379/0"),
        *(IMAGE, *LAUNCH, "distributed_training.launch", "threads:=1"),
    )
    try:
        yield name
    finally:
        docker("rm", "--force", name)


def test_two_simulators_train_in_gazebo(trained: Path) -> None:
    assert (trained / artifacts.TRAINING_METRICS).exists() and (trained / artifacts.EVALUATION_METRICS).exists()
    assert '"simulator": "gazebo"' in (trained / artifacts.RUN_CONFIG).read_text()


def test_a_launched_worker_drives_for_a_training_with_its_cars_on_topics(stack: StackUnderTest, tmp_path: Path) -> None:
    with launched_worker(stack) as worker:

        def log() -> str:
            said = docker("logs", worker)
            return said.stdout + said.stderr

        until("the launched worker to start", lambda: ", at redis://" in log(), 120)
        listen = ["docker", "exec", worker, "timeout", "900", "rostopic", "echo", "-n", "1", "/racecar_0/odom"]
        with (tmp_path / "heard").open("w") as heard, subprocess.Popen(listen, stdout=heard) as listener:
            said = stack.undercut("train", "launched", "--quick", *IN_GAZEBO, "--workers", "1").stdout
            assert listener.wait(60) == 0, log()
        assert said.count("has joined") == 2, said
        assert "driving for run launched" in log() and "WARNING" not in log()
        assert "child_frame_id" in (tmp_path / "heard").read_text()


def test_a_launch_file_evaluates(trained: Path, tmp_path: Path) -> None:
    """In a container of its own, as a simulation job would start it."""
    work = tmp_path / "work"
    shutil.copytree(trained, work / "runs" / "there")
    (work / "runs/there" / artifacts.EVALUATION_METRICS).unlink()
    for path in (work, *work.rglob("*")):
        path.chmod(0o777 if path.is_dir() else 0o666)
    launch = (*LAUNCH, "evaluation.launch", "run:=there", "laps:=1", "options:=--no-video")
    run = ("run", "--rm", *CONTAINED, "--network", "none", "--volume", f"{work}:/work", IMAGE, *launch)
    ended = docker(*run, check=False)
    said = ended.stdout + ended.stderr
    assert ended.returncode == 0 and "of 1 laps complete" in said and "WARNING" not in said, said
    assert (work / "runs/there" / artifacts.EVALUATION_METRICS).exists(), said
