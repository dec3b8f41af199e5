"""The real thing: `undercut train` in one process, with workers of its own, and with workers at a Redis."""

import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from contract import artifacts
from contract.recording import Recording
from contract.runtime import cpu_flags
from contract.stores.local import LocalStore
from tests.mini_training import contents
from tests.redis_server import RedisServer

pytestmark = pytest.mark.slow

CONFIG = """{
 "cars": 6, "seed": 5, "precision": "float32", "track": "paddock",
 "worlds": [{"race": {"number_of_obstacles": 3}}, {"track": "switchback"}],
 "training": {"max_iterations": 2, "min_eval_trials": 3, "max_episode_steps": 60, "clean_evaluations": 0,
              "alternate_driving_direction": true},
 "evaluation": {"number_of_trials": 1, "number_of_resets": 0}, "name": "%s"
}"""
HYPERPARAMETERS = '{"num_episodes_between_training": 7, "num_epochs": 3, "batch_size": 32}'
FAILING = """
def reward_function(params):
    if params["steps"] > 5:
        raise ValueError("this is the racer's own mistake")
    return 1.0
"""


def undercut(folder: Path, *arguments: str, **environment: str) -> "subprocess.Popen[str]":
    return subprocess.Popen(
        [sys.executable, "-P", "-m", "undercut", *arguments],
        cwd=folder,
        env={**os.environ, **environment},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


def run_of(
    folder: Path, name: str, reward: str | None = None, config: str = CONFIG, hyperparameters: str = HYPERPARAMETERS
) -> list[str]:
    """Arguments of a training whose run.json is there, as a session before would have left it."""
    from undercut.runs.run import DEFAULT_METADATA, DEFAULT_REWARD

    place = folder / "runs" / name
    for key, content in {
        "run.json": config % name,
        "reward_function.py": reward or DEFAULT_REWARD.read_text(),
        "model/model_metadata.json": DEFAULT_METADATA.read_text(),
        "ip/hyperparameters.json": hyperparameters,
    }.items():
        (place / key).parent.mkdir(parents=True, exist_ok=True)
        (place / key).write_text(content)
    return ["train", name]


def finished(process: "subprocess.Popen[str]", status: int = 0) -> str:
    output, _ = process.communicate(timeout=1500)
    assert process.returncode == status, output
    return output


def numbers(folder: Path, name: str) -> dict[str, bytes]:
    """Everything of the run that says what was driven and learned; its own name, pictures and archives aside."""
    skip = ("run.json", ".png", ".tar.gz", "params.yaml", "tfevents", ".rec", ".mp4")
    files = contents(folder / "runs" / name)
    return {key: content for key, content in files.items() if not any(word in key for word in skip)}


def film(folder: Path, name: str) -> tuple[set[str], list[tuple[bytes, list[float]]]]:
    """Videos of the second iteration, and what they show: each lap's steps and where its obstacles stood."""
    store = LocalStore(folder / "runs" / name)
    laps = Recording.from_bytes(store.get(artifacts.training_recording(1)), name).episodes
    shown = [(lap.steps.tobytes(), lap.objects.x_m[-1].tolist() if lap.objects else []) for lap in laps]
    return {key for key in store.list("iteration-data/") if key.endswith(".mp4")}, shown


@pytest.mark.redis
def test_one_process_three_workers_and_workers_at_a_redis_leave_the_same_bytes(tmp_path: Path) -> None:
    finished(undercut(tmp_path, *run_of(tmp_path, "alone"), "--video-every", "2"))
    expected = numbers(tmp_path, "alone")
    assert len(expected) > 15

    local = undercut(tmp_path, *run_of(tmp_path, "three"), "--workers", "3", "--video-every", "2")
    assert local.stdout is not None
    said, joined = [], None
    while joined is None:  # one of them is killed as soon as it has joined
        said.append(local.stdout.readline())
        assert said[-1], said
        joined = re.search(r"process (\d+) on .* has joined", said[-1])
    os.kill(int(joined[1]), signal.SIGKILL)
    output = "".join(said) + finished(local)
    assert "was killed (SIGKILL)" in output
    assert numbers(tmp_path, "three") == expected
    videos, laps = film(tmp_path, "three")
    assert (videos, laps) == film(tmp_path, "alone")
    assert len(videos) == 3 and laps and all(len(obstacles) == 3 for _, obstacles in laps)

    with RedisServer() as server:
        where = {
            "UNDERCUT_REDIS_URL": f"redis://127.0.0.1:{server.address.port}/0",
            "UNDERCUT_REDIS_PASSWORD_FILE": str(server.address.password_file),
        }
        elsewhere = tmp_path / "elsewhere"
        elsewhere.mkdir()
        worker = undercut(elsewhere, "worker", **where)
        output = finished(undercut(tmp_path, *run_of(tmp_path, "redis"), **where))
        assert "has joined; 1 at work" in output
        assert numbers(tmp_path, "redis") == expected

        failing = undercut(tmp_path, *run_of(tmp_path, "failing", FAILING), **where)
        output = finished(failing, status=1)
        assert "this is the racer's own mistake" in output
        assert "reward_function.py, line 4" in output
        assert "steps: 6" in output
        assert worker.poll() is None, "the worker waits for the next job"
        worker.terminate()
        said_by_worker = finished(worker)
        assert "driving for run failing" in said_by_worker
        assert said_by_worker.endswith("left\n")
        assert (server.address.password() or "none") not in output + said_by_worker


@pytest.mark.parametrize(
    "precision",
    [
        "float32",
        pytest.param(
            "bfloat16",
            marks=pytest.mark.skipif(
                "avx512f" in cpu_flags(),
                reason="held to AVX2, a CPU with AVX-512 has no bfloat16: run it on one without",
            ),
        ),
    ],
)
def test_any_number_of_cars_and_workers_leaves_the_same_bytes_on_a_cpu_with_avx2(
    precision: str, tmp_path: Path
) -> None:
    """Where kernels add up in another order for the last rows of a batch."""
    config = CONFIG.replace('"float32"', f'"{precision}"')
    assert '"cars": 6' in config
    left = {}
    for name, cars, workers in [("one", 1, 0), ("seven", 7, 0), ("twenty", 20, 0), ("more", 20, 1), ("three", 7, 3)]:
        arguments = run_of(tmp_path, name, config=config.replace('"cars": 6', f'"cars": {cars}'))
        finished(undercut(tmp_path, *arguments, "--workers", str(workers), ONEDNN_MAX_CPU_ISA="AVX2"))
        left[name] = numbers(tmp_path, name)
    assert len(left["one"]) > 15
    for name, files in left.items():
        assert files == left["one"], name


def test_a_trainer_that_is_killed_leaves_no_workers_behind(tmp_path: Path) -> None:
    trainer = undercut(tmp_path, *run_of(tmp_path, "killed"), "--workers", "1")
    assert trainer.stdout is not None
    joined = None
    while joined is None:
        line = trainer.stdout.readline()
        assert line
        joined = re.search(r"process (\d+) on .* has joined", line)
    trainer.kill()
    deadline_s = time.monotonic() + 120
    while Path(f"/proc/{joined[1]}").exists():
        assert time.monotonic() < deadline_s, "the worker is still there after 120 s"
        time.sleep(0.1)
