"""Gazebo and ROS in the stack's containers."""

import os
import shutil
from pathlib import Path

import pytest

from contract import artifacts
from tests.docker_engine import StackUnderTest, docker, stack_under_test

pytestmark = [pytest.mark.docker, pytest.mark.slow, pytest.mark.timeout(5400)]
IN_GAZEBO = ("--sim", "gazebo", "--backend", "compose", "--overlay", "gazebo")


def test_two_simulators_train_in_gazebo_and_a_launch_file_evaluates(tmp_path: Path) -> None:
    with stack_under_test("undercut-gazebo-test", tmp_path / "stack") as stack:
        said = stack.undercut("train", "there", "--quick", *IN_GAZEBO, "--workers", "2").stdout
        assert said.count("has joined") == 2, said
        run = stack.folder / "runs" / "there"
        assert (run / artifacts.TRAINING_METRICS).exists() and (run / artifacts.EVALUATION_METRICS).exists()
        launched(stack, run)


def launched(stack: StackUnderTest, run: Path) -> None:
    """roslaunch's evaluation of the run in a container of its own, as a simulation job would start it."""
    work = stack.folder / "work"
    shutil.copytree(run, work / "runs" / "there")
    (work / "runs/there" / artifacts.EVALUATION_METRICS).unlink()
    image = "undercut-simapp-gazebo:" + os.environ.get("STACK_VERSION", "0.1.0")
    for path in (work, *work.rglob("*")):
        path.chmod(0o777 if path.is_dir() else 0o666)
    contained = ("--read-only", "--tmpfs", "/tmp:mode=1777", "--cap-drop", "ALL", "--network", "none")
    launch = ("roslaunch", "deepracer_simulation_environment", "evaluation.launch", "run:=there", "laps:=1")
    ended = docker(
        "run", "--rm", *contained, "--volume", f"{work}:/work", image, *launch, "options:=--no-video", check=False
    )
    assert (work / "runs/there" / artifacts.EVALUATION_METRICS).exists(), ended.stdout + ended.stderr
