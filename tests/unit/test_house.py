"""The rules of the house: short files, no machine's paths, one-way imports, a Makefile that passes arguments."""

import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.conftest import REPO

MAX_LINES = 600
FOLDERS = (
    *("contract", "simapp", "trainer", "undercut", "scripts", "rewards", "actions", "compose", "tests", "docs", ".ci"),
)
TEXT_SUFFIXES = {".py", ".md", ".json", ".yaml", ".yml", ".toml", ".txt", ".cfg", ".sh", ".csv", ".svg", ""}


def own_files() -> Iterator[Path]:
    for path in REPO.iterdir():
        if path.is_file() and path.name not in {"uv.lock", "LICENSE", ".git"}:
            yield path
    for folder in FOLDERS:
        for path in (REPO / folder).rglob("*"):
            if path.is_file() and "__pycache__" not in path.parts:
                yield path


def test_code_files_stay_short() -> None:
    code = [path for path in own_files() if path.suffix == ".py" or path.name in {"Makefile", "run"}]
    assert len(code) > 30
    too_long = {
        str(path.relative_to(REPO)): n for path in code if (n := len(path.read_text().splitlines())) > MAX_LINES
    }
    assert not too_long, f"files over {MAX_LINES} lines: split them by what they do"


def test_no_file_names_a_developers_folder() -> None:
    pattern = re.compile(r"/(?:home|Users)/[a-z]\w*/|/work/(?:main|shared|plan)|/root/(?:\.pyenv|\.cache)|C:\\Users")
    hits = [
        f"{path.relative_to(REPO)}:{number}: {line.strip()[:100]}"
        for path in own_files()
        if path.suffix in TEXT_SUFFIXES and path != Path(__file__)
        for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), 1)
        if pattern.search(line) and "--mount=type=cache" not in line  # the root of an image that is being built
    ]
    assert not hits, "\n".join(hits)


# --- import rules ----------------------------------------------------------------------------------------------------

# A small tree in which every import is allowed ...
ALLOWED = {
    "contract/state.py": "import numpy",
    "contract/stores/__init__.py": "",
    "contract/channels/__init__.py": "",
    "contract/channels/redis.py": "import redis",
    "simapp/policy.py": "import tensorflow",
    "undercut/figures/__init__.py": "import matplotlib",
    "undercut/report/__init__.py": "import matplotlib, jinja2",
    "undercut/video/__init__.py": "import matplotlib",
    "simapp/gym/__init__.py": "import gymnasium",
    "simapp/tracks/__init__.py": "import simapp.worlds, simapp.road",
    "simapp/worlds/__init__.py": "import simapp.road",
    "simapp/worlds/collada.py": "import collada",
    "simapp/road/__init__.py": "",
    "simapp/race.py": "import contract.state",
    "trainer/coach/__init__.py": "import rl_coach, tensorflow",
    **{f"trainer/{folder}/__init__.py": "import rl_coach" for folder in ("common", "ppo", "sac", "dqn")},
    "trainer/learn.py": "import contract.state",
    "undercut/cli/main.py": "import typer, rich, simapp.race, trainer.learn",
    "undercut/interchange/car_formats.py": "import openvino",
    "undercut/line/__init__.py": "import casadi",
    "undercut/sweep/__init__.py": "import optuna",
    "undercut/frames/__init__.py": "import rosbags",
    "undercut/view/__init__.py": "import aiohttp",
    "undercut/backends/__init__.py": "",
    "undercut/backends/aws/__init__.py": "",
    "undercut/backends/aws/estimator.py": "import sagemaker",
    "undercut/backends/compose/__init__.py": "",
    "undercut/backends/compose/engine.py": "import docker",
}
# ... and one import against each rule.
FORBIDDEN = {
    "contract imports nothing of ours": ("contract/bad.py", "import simapp.race"),
    "contract needs light libraries only": ("contract/stores/bad.py", "from scipy import signal"),
    "simapp and trainer do not know each other": ("simapp/bad.py", "from trainer import learn"),
    "tracks are found above worlds, and worlds lie on roads": ("simapp/road/bad.py", "import simapp.worlds"),
    "nothing imports scripts": ("trainer/bad.py", "def later():\n    import scripts.bootstrap"),
    "rl_coach only in the agents": ("trainer/bad2.py", "import rl_coach.agents"),
    "tensorflow only in the agents and the policy runtime": ("simapp/bad2.py", "import tensorflow as tf"),
    "redis and boto3 only in their adapters": ("trainer/bad3.py", "import redis"),
    "nothing below imports undercut": ("trainer/bad5.py", "def later():\n    import undercut.cli.main"),
    "docker's SDK only in the engine": ("undercut/bad9.py", "import docker"),
    "SageMaker's SDK only in the estimator": ("undercut/bad8.py", "import sagemaker"),
    "typer only in the command line": ("undercut/bad3.py", "import typer"),
    "rich only in undercut": ("simapp/bad3.py", "from rich import console"),
    "jinja2 only in reports": ("undercut/bad7.py", "import jinja2"),
    "matplotlib only in figures, reports and videos": ("trainer/bad4.py", "import matplotlib.pyplot"),
    "openvino only in the formats of car bundles": ("undercut/bad.py", "import openvino"),
    "casadi only in the racing line": ("undercut/bad6.py", "import casadi"),
    "optuna only in sweeps": ("undercut/bad10.py", "import optuna"),
    "rosbags only in the reader of frames": ("undercut/bad11.py", "import rosbags"),
    "aiohttp only in the live view": ("undercut/bad2.py", "import aiohttp"),
    "pycollada only in the reader of meshes": ("simapp/bad5.py", "import collada"),
    "gymnasium only in simapp.gym": ("simapp/bad4.py", "import gymnasium"),
}


def lint_imports(folder: Path, files: dict[str, str]) -> tuple[int, str]:
    for name, content in files.items():
        path = folder / name
        for parent in (path.parent, folder / name.split("/")[0]):
            parent.mkdir(parents=True, exist_ok=True)
            (parent / "__init__.py").touch()
        path.write_text(content + "\n")
    shutil.copy(REPO / "pyproject.toml", folder)
    # `-c`: the folder has to stand first on sys.path, before the installed project
    run = subprocess.run(
        [sys.executable, "-c", "from importlinter.cli import lint_imports_command as main; main()", "--no-cache"],
        cwd=folder,
        check=False,
        capture_output=True,
        text=True,
    )
    return run.returncode, run.stdout + run.stderr


def test_allowed_imports_keep_every_rule(tmp_path: Path) -> None:
    status, output = lint_imports(tmp_path, ALLOWED)
    assert status == 0, output
    assert f"Contracts: {len(FORBIDDEN)} kept, 0 broken." in output


def test_every_import_rule_catches_its_violation(tmp_path: Path) -> None:
    status, output = lint_imports(tmp_path, ALLOWED | dict(FORBIDDEN.values()))
    assert status == 1, output
    assert set(re.findall(r"^(.+?) BROKEN(?: \(.*\))?$", output, re.MULTILINE)) == set(FORBIDDEN), output


# --- Makefile --------------------------------------------------------------------------------------------------------


@pytest.fixture
def makefile(tmp_path: Path) -> Path:
    """A folder with our Makefile, a bootstrap that does nothing and commands that print their arguments."""
    folder = tmp_path / "my racing folder"
    (folder / "scripts").mkdir(parents=True)
    shutil.copy(REPO / "Makefile", folder)
    (folder / "scripts" / "bootstrap.py").write_text("import sys\nprint('bootstrap', *sys.argv[1:])\n")
    for name in ("undercut", "python"):
        command = folder / ".venv" / "bin" / name
        command.parent.mkdir(parents=True, exist_ok=True)
        command.write_text(f'#!/bin/sh\nprintf "{name}"\nprintf "|%s" "$@"\necho\n')
        command.chmod(0o755)
    return folder


def make(folder: Path, *arguments: str) -> list[str]:
    command = ["make", "-s", "-j4", *arguments]
    # variables of the make that runs these tests must not reach this one
    path = {"PATH": f"{Path(sys.executable).parent}:/usr/bin:/bin"}
    run = subprocess.run(command, cwd=folder, check=True, capture_output=True, text=True, env=path)
    return run.stdout.splitlines()


KERNELS, PYTEST = "python|-m|simapp.kernels", "python|-m|pytest|-n|auto|--dist|loadfile"


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (["train"], ["bootstrap", "undercut|train|default"]),
        (["train", "QUICK=1"], ["bootstrap", "undercut|train|quick|--quick"]),
        (["train", "GPU=1", "RUN=a b"], ["bootstrap --extra gpu", "undercut|train|a b"]),
        (
            ["train", "TRACK=my track.npy", "REWARD=r.py", "ACTIONS=a.json", "HYPER=h.json", "SEED=7", "ARGS=--laps 3"],
            [
                "bootstrap",
                "undercut|train|default|--track|my track.npy|--reward|r.py|--metadata|a.json"
                "|--hyperparameters|h.json|--seed|7|--laps|3",
            ],
        ),
        (["evaluate", "RUN=fast", "LAPS=3"], ["bootstrap", "undercut|evaluate|fast|--laps|3"]),
        (["evaluate", "RUN=fast", "SIM=gazebo"], ["bootstrap", "undercut|evaluate|fast|--sim|gazebo"]),
        (["race", "RUNS=a b", "SIM=gazebo"], ["bootstrap", "undercut|race|a|b|--sim|gazebo"]),
        (["compare", "RUN=fast", "LAPS=3"], ["bootstrap", "undercut|compare|fast|--laps|3"]),
        (["report", "RUN=fast"], ["bootstrap", "undercut|report|fast"]),
        (["report", "RUNS=a b"], ["bootstrap", "undercut|report|a|b"]),
        (["export", "RUN=fast", "LAYOUT=drfc"], ["bootstrap", "undercut|export|fast|--layout|drfc"]),
        (
            ["export", "LAYOUT=droa", "OUT=my model.tar.gz"],
            ["bootstrap", "undercut|export|default|--layout|droa|--out|my model.tar.gz"],
        ),
        (["car", "RUN=fast", "OUT=fast.tar.gz"], ["bootstrap", "undercut|car|fast|--out|fast.tar.gz"]),
        (
            ["train", "QUICK=1", "BACKEND=compose", "WORKERS=2", "GPU=1"],
            ["bootstrap", "undercut|train|quick|--quick|--backend|compose|--overlay|gpu|--workers|2"],
        ),
        (["evaluate", "RUN=a", "BACKEND=compose"], ["bootstrap", "undercut|evaluate|a|--backend|compose"]),
        (["up"], ["bootstrap", "undercut|stack|up"]),
        (["up", "GPU=1"], ["bootstrap", "undercut|stack|up|--overlay|gpu"]),
        (["logs", "SERVICE=trainer", "ARGS=--follow"], ["bootstrap", "undercut|stack|logs|trainer|--follow"]),
        (["wipe", "ARGS=--yes"], ["bootstrap", "undercut|stack|wipe|--yes"]),
        (["doctor", "BACKEND=compose"], ["bootstrap", "undercut|doctor|--backend|compose"]),
        (["setup"], ["bootstrap --extra cpu"]),
        (["setup", "GPU=1", "PYTHON=python3"], ["bootstrap --this-python --extra gpu"]),
        (
            ["test", "ARGS=-k 'lap or track'"],
            ["bootstrap", KERNELS, f"{PYTEST}|-k|lap or track"],
        ),
        (["test-all"], ["bootstrap", KERNELS, f"{PYTEST}|-m|"]),
        (
            ["test", "train"],
            ["bootstrap", KERNELS, PYTEST, "undercut|train|default"],
        ),
    ],
)
def test_make_passes_arguments_on(makefile: Path, arguments: list[str], expected: list[str]) -> None:
    assert make(makefile, *arguments) == expected


def test_make_alone_lists_every_command(makefile: Path) -> None:
    listed = [line.split()[1] for line in make(makefile)]
    assert listed == [
        "help",
        "setup",
        "train",
        "evaluate",
        "race",
        "compare",
        "gazebo",
        "report",
        "export",
        "car",
        *("up", "down", "logs", "ps", "stop", "wipe"),
        *("cloud-up", "cloud-train", "cloud-evaluate", "cloud-race", "cloud-status", "cloud-cost", "cloud-down"),
        "doctor",
        "test",
        "test-all",
        "fuzz",
        "lint",
        "bench",
        "clean",
    ]


def test_make_clean_keeps_what_the_racer_made(makefile: Path) -> None:
    kept = ["runs/default/model/__pycache__/x", "tracks/mine.npy", "rewards/mine.py"]
    gone = [".venv/x", ".tools/uv", "rewards/__pycache__/x.pyc", "scripts/__pycache__/x.nbi", ".mypy_cache/x"]
    for name in kept + gone:
        path = makefile / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
    make(makefile, "clean")
    assert [name for name in kept + gone if (makefile / name).exists()] == kept


def test_make_without_python_says_what_to_install(makefile: Path) -> None:
    run = subprocess.run(
        ["make", "test", "PYTHON=no-such-python"], cwd=makefile, check=False, capture_output=True, text=True
    )
    assert run.returncode == 2
    assert "no-such-python not found: install Python 3.11 or 3.12" in run.stderr
