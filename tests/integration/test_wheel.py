"""The built wheel, installed where there is no checkout: everything that it needs is in it."""

import email
import os
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest
from uv import find_uv_bin

from contract import artifacts
from contract.stores.local import LocalStore
from tests.conftest import REPO
from tests.integration.test_training_with_workers import CONFIG

pytestmark = pytest.mark.slow

FOLDERS = ("contract", "simapp", "trainer", "undercut", "rewards", "actions", "compose")
GYM = """
import gymnasium
import simapp.gym

env = gymnasium.make("undercut/DeepRacer-v0")
observation, _ = env.reset(seed=3)
total = sum(env.step(action)[1] for action in (0, 2, 4))
print(observation.shape, total > 0.0, simapp.__file__)
"""
SHORT = '{"num_episodes_between_training": 7, "num_epochs": 1, "batch_size": 32}'


def done(*command: str | Path, cwd: Path) -> str:
    """What the command says; it may see nothing of this environment but what every program does."""
    hidden = ("PYTHONPATH", "VIRTUAL_ENV", "NUMBA_CACHE_DIR", "PYTHONDONTWRITEBYTECODE")
    clean = {name: value for name, value in os.environ.items() if name not in hidden}
    run = subprocess.run(
        [str(part) for part in command], check=False, cwd=cwd, env=clean, capture_output=True, text=True
    )
    assert run.returncode == 0, run.stdout + run.stderr
    return run.stdout


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("wheel")
    done(find_uv_bin(), "build", "--wheel", "--out-dir", out, cwd=REPO)
    return next(out.glob("*.whl"))


def test_every_file_of_the_packages_is_in_the_wheel(wheel: Path) -> None:
    tracked = done("git", "ls-files", "--", *FOLDERS, cwd=REPO).splitlines()
    with zipfile.ZipFile(wheel) as archive:
        names = set(archive.namelist())
        info = next(name for name in names if name.endswith(".dist-info/METADATA"))
        metadata = email.message_from_bytes(archive.read(info))
    assert set(tracked) - names == set()
    assert not [name for name in names if name.startswith("tests/") or name.endswith((".nbi", ".nbc", ".pyc"))]
    assert metadata["License-Expression"] == "Apache-2.0"
    assert {f"{package}/py.typed" for package in ("contract", "simapp", "trainer", "undercut")} <= names


def test_a_bare_environment_makes_the_env_checks_a_folder_and_trains(wheel: Path, tmp_path: Path) -> None:
    bare, work = tmp_path / "bare", tmp_path / "work"
    work.mkdir()
    uv, python, undercut = find_uv_bin(), bare / "bin" / "python", bare / "bin" / "undercut"
    done(uv, "venv", "--python", sys.executable, bare, cwd=work)
    done(uv, "pip", "install", "--python", python, f"{wheel}[cpu]", cwd=work)

    said = done(python, "-P", "-c", GYM, cwd=work)
    assert said.startswith(f"(120, 160, 1) True {bare}"), said

    done(undercut, "new", "mine", cwd=work)
    assert "6 ok" in done(undercut, "check", "mine", cwd=work)

    place = work / "runs" / "mine"
    for key, content in {
        "run.json": CONFIG % "mine",
        "reward_function.py": (work / "mine" / "reward_function.py").read_text(),
        "model/model_metadata.json": (work / "mine" / "model_metadata.json").read_text(),
        "ip/hyperparameters.json": SHORT,
    }.items():
        (place / key).parent.mkdir(parents=True, exist_ok=True)
        (place / key).write_text(content)
    done(undercut, "train", "mine", cwd=work)
    store = LocalStore(place)
    assert store.exists(artifacts.policy_graph(0)) and store.exists(artifacts.policy_graph(1))
    assert store.exists(artifacts.car_bundle("mine"))
