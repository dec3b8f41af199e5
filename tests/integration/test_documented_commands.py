"""Every command that README.md and docs/*.md show is run, in a racer's folder, with tiny settings.

What needs Docker, Gazebo, a Redis, a bucket or AWS is listed with its reason and the tests that run it. All other
commands have to end with exit code 0. `make` is taken at its word: what it would run, by `make -n`, is run.
"""

import json
import re
import shlex
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from contract import artifacts
from simapp.tracks import load_track
from tests.bags import DELAY_NS, DISPLAY, RESULTS, Car, stamp_ns, write_bag
from tests.conftest import REPO
from tests.documented import PAGES, Shown, block, shown_commands
from tests.unit.made_worlds import Copy, Face, dae, flat, plain_png
from undercut.video.lap_video import mp4

UNDERCUT = str(Path(sys.executable).parent / "undercut")
ELSEWHERE = {
    r"--backend compose|^undercut stack": "Docker: -m docker tests/integration/test_compose.py",
    r"--sim gazebo|--sim=gazebo|^undercut (compare|drive|ros)\b": "Gazebo: -m gazebo tests/unit/test_gazebo.py",
    r"^undercut cloud|--backend cloud": "AWS: tests/unit/test_cloud*.py, and -m cloud",
    r"^undercut droa": "a DeepRacer on AWS: tests/unit/test_droa.py",
    r"s3://|^undercut (push|pull)\b": "a bucket: -m minio tests/unit/test_s3_training.py tests/unit/test_copying.py",
    r"^undercut worker": "a Redis: -m redis tests/integration/test_training_with_workers.py",
    r"^undercut view|--view$|--open$": "a page that stays: tests/unit/test_view_server.py and -m browser",
    r"aws_lambda|node\.yaml": "an AWS account, or Node: tests/unit/test_reward_service*.py",
    r"--install-completion": "changes the shell's files: tests/unit/test_completion.py",
    r"--notify": "who is told: tests/unit/test_notices.py",
    r"--requirements": "a package index: tests/unit/test_packages*.py",
}
"""Pattern of a command that is not run here -> what it needs, and the tests that run it."""
NO_UNDERCUT = {"setup", "test", "test-all", "lint", "bench", "clean", "gazebo", "help"}
"""Targets that run no `undercut`: they make the environment, or are what runs this."""
RUNS = (
    "mine",
    "yours",
    "theirs",
    "ours",
    "fast",
    "careful",
    "default",
    "RUN",
    "RUN_A",
    "RUN_B",
    "RUN_C",
    "RUN_D",
    "NAME",
)
SWEEP = """
trials: 2
run:
  cars: 4
  training: {max_iterations: 1, max_episode_steps: 40, min_eval_trials: 1}
  evaluation: {number_of_trials: 1, max_lap_steps: 40}
search: {run.seed: [1, 2]}
"""
SPEEDS = {
    "train": ["--quick", "--cars", "4"],
    "evaluate": ["--no-video"],
    "race": ["--no-video"],
    "inspect": [],
    "frames": ["--episodes", "2"],
}


def as_run(shown: Shown) -> Iterator[list[str]]:
    """The `undercut` commands behind a shown one."""
    program, *rest = shown.words
    if program == "undercut":
        yield list(shown.words)
        return
    if {word for word in rest if "=" not in word} <= NO_UNDERCUT:
        return
    run = subprocess.run(["make", "-n", *rest], cwd=REPO, capture_output=True, text=True, check=True)
    yield from (["undercut", *shlex.split(line)[1:]] for line in run.stdout.splitlines() if "/undercut " in line)


def collected() -> dict[str, str]:
    """Command -> where it stands first."""
    found: dict[str, str] = {}
    for page in PAGES:
        for shown in shown_commands(page):
            for words in as_run(shown):
                found.setdefault(shlex.join(words), f"{shown.page}:{shown.line}")
    return found


def reason(command: str) -> str | None:
    return next((why for pattern, why in ELSEWHERE.items() if re.search(pattern, command)), None)


@pytest.fixture(scope="module")
def workspace(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A racer's folder with what the pages take for granted: runs, files, a race, exports and old logs."""
    folder = tmp_path_factory.mktemp("racer")
    for name in ("rewards", "actions"):
        shutil.copytree(REPO / name, folder / name)
    for name, source in {
        "my_reward.py": "rewards/default.py",
        "new_reward.py": "rewards/prevent_zig_zag.py",
        "my_metadata.json": "actions/default.json",
        "faster.json": "actions/front_shallow_single_speed.json",
        "my_hyperparameters.json": "actions/hyperparameters.json",
        "dqn_hyperparameters.json": "actions/hyperparameters.json",
        "training_params.yaml": "actions/params/training_params.yaml",
        "evaluation_params.yaml": "actions/params/evaluation_params.yaml",
    }.items():
        shutil.copy(REPO / source, folder / name)
    little = {"num_episodes_between_training": 4, "num_epochs": 2, "batch_size": 32}
    hyperparameters = json.loads((REPO / "actions" / "hyperparameters.json").read_text())
    (folder / LITTLE).write_text(json.dumps(hyperparameters | little))
    program = folder / "my_reward"
    shutil.copy(REPO / "rewards" / "programs" / "center_line.pl", program)
    program.chmod(0o755)
    races = (folder / "actions" / "params" / "head2head_params.yaml").read_text()
    (folder / "head2head_params.yaml").write_text(races.replace("run-a", "mine").replace("run-b", "yours"))
    for name in ("pace.yaml", "many.yaml"):  # a sweep without shards, and one in shards
        (folder / name).write_text(SWEEP)
    np.save(folder / "reinvent_base.npy", load_track("kidney").route)
    (folder / "pond.track").write_text(block("own-track.md", "track"))
    execute(folder, [sys.executable, "-c", block("own-track.md", "python")])
    simulator_copy(folder)
    execute(folder, [UNDERCUT, "worlds", "import", "deepracer-simapp"])
    execute(folder, tiny(["undercut", "train", "mine", "--track", "kidney"]))
    for name in RUNS[1:]:
        copy_run(folder, "mine", name)
    execute(folder, [UNDERCUT, "export", "mine", "--layout", "console", "--out", "their_model.tar.gz"])
    execute(folder, [UNDERCUT, "export", "mine", "--layout", "console", "--out", "downloads/my-model"])
    execute(folder, [UNDERCUT, "race", "fast", "mine", "--name", "final", "--laps", "1", "--no-video"])
    trace = folder / "runs" / "mine" / artifacts.evaluation_simtrace()
    shutil.copy(trace, folder / "26-iteration.csv")
    for name in ("FOLDER", "FOLDER2", "LOGS", "LOGS2"):
        shutil.copytree(folder / "runs" / "mine" / "iteration-data", folder / name)
    frames_of_a_car(folder)
    return folder


def frames_of_a_car(folder: Path) -> None:
    """A bag, a folder of pictures and a video, as the pages name them."""
    seen, car = np.random.default_rng(1).integers(0, 256, (9, 120, 160), dtype=np.uint8), Car()
    messages: list[tuple[str, Any, int]] = []
    (folder / "photos").mkdir()
    for k, frame in enumerate(seen):
        messages.append((DISPLAY, car.image(frame, "mono8", stamp_ns(k)), stamp_ns(k)))
        messages.append((RESULTS, car.results([frame], stamp_ns(k), [0.1] * 10), stamp_ns(k) + DELAY_NS))
        Image.fromarray(frame).save(folder / "photos" / f"{k}.png")
    write_bag(folder / "fast-20260110-141500", car, messages)
    (folder / "drive.mp4").write_bytes(mp4([np.repeat(frame[..., None], 3, axis=-1) for frame in seen], 15))


def simulator_copy(folder: Path) -> None:
    """A copy of the official simulator as the pages name it, a folder and a .zip; its worlds are small ones."""
    copy = Copy(folder / "deepracer-simapp" / "bundle")
    ground = dae([Face(flat(-6, -6, 6, 6), texture="textures/ground.png")])
    for name in ("Spain_track", "Bowtie_track", "Vegas_track"):
        copy.add(name, {"ground.dae": ground}, {"ground.png": plain_png(40, 120, 40)})
    shutil.make_archive(str(folder / "deepracer-simapp"), "zip", folder, "deepracer-simapp")


def copy_run(folder: Path, source: str, name: str) -> None:
    target = folder / "runs" / name
    shutil.copytree(folder / "runs" / source, target)
    config = json.loads((target / artifacts.RUN_CONFIG).read_text())
    (target / artifacts.RUN_CONFIG).write_text(json.dumps({**config, "name": name}))


def execute(folder: Path, words: list[str]) -> subprocess.CompletedProcess[str]:
    run = subprocess.run(words, cwd=folder, capture_output=True, text=True, check=False, timeout=600)
    assert run.returncode == 0, f"{shlex.join(words)}: {run.returncode}\n{run.stdout[-3000:]}\n{run.stderr[-3000:]}"
    return run


SMALLEST = {"--laps": "1", "--iterations": "1", "--iteration": "0", "--trial": "1"}


LITTLE = "little_hyperparameters.json"
"""Few episodes and epochs, for trainings whose page does not say which hyperparameters."""


def tiny(words: list[str]) -> list[str]:
    """The command with as little work as it can do, and for a track called NAME one that there is."""
    command = [UNDERCUT, *words[1:], *SPEEDS.get(words[1], [])]
    if words[1] == "train" and not {"--hyperparameters", "--hyper", "--folder", "--preset"} & set(words):
        command += ["--hyperparameters", LITTLE]
    if words[1] == "train" and "--iterations" not in command:
        command += ["--iterations", "1"]
    for option, value in SMALLEST.items():
        if option in command:
            command[command.index(option) + 1] = value
    if "--track" in command and command[command.index("--track") + 1] == "NAME":
        command[command.index("--track") + 1] = "kidney"
    return [word.replace("~/", "") for word in command]


COMMANDS = collected()


def test_what_is_not_run_here_is_for_a_reason() -> None:
    unused = [pattern for pattern in ELSEWHERE if not any(re.search(pattern, command) for command in COMMANDS)]
    assert len(unused) <= 4, unused
    assert sum(reason(command) is None for command in COMMANDS) > 25


@pytest.mark.slow
@pytest.mark.parametrize("command", [it for it in COMMANDS if reason(it) is None], ids=lambda it: it[:70])
def test_a_shown_command_works(workspace: Path, command: str) -> None:
    words = shlex.split(command)
    prepare(workspace, words)
    execute(workspace, tiny(words))


def prepare(folder: Path, words: list[str]) -> None:
    """What the page's earlier lines would have left, and out of the way what the command makes anew."""
    if words[1] == "new":
        shutil.rmtree(folder / words[2], ignore_errors=True)
    elif words[1] == "check" and not (folder / "mine").exists():
        execute(folder, [UNDERCUT, "new", "mine"])
    elif words[1] == "train":
        if "--folder" in words and not (folder / "mine").exists():
            execute(folder, [UNDERCUT, "new", "mine"])
        name = next((word for word in words[2:] if not word.startswith("-")), "default")
        shutil.rmtree(folder / "runs" / name, ignore_errors=True)
    elif words[1] in ("car", "export"):
        (folder / "fast.tar.gz").unlink(missing_ok=True)
    elif words[1] == "import":
        shutil.rmtree(folder / "runs" / words[-1], ignore_errors=True)
