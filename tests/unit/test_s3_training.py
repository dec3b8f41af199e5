"""The command line on runs in a bucket: the same numbers as in a folder, whatever happens to the server meanwhile."""

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner

from contract import artifacts
from contract.errors import StoreError
from contract.protocols import Place
from contract.stores.local import LocalStore
from tests.minio_server import BUCKET, MinioServer
from tests.patience import PATIENCE_S
from trainer.checkpoints import Checkpoints
from undercut.cli.main import app
from undercut.runs.workspace import bucket_place

pytestmark = [pytest.mark.minio, pytest.mark.slow]
UNDERCUT = Path(sys.executable).parent / "undercut"
HYPERPARAMETERS = {"num_episodes_between_training": 5, "num_epochs": 3, "discount_factor": 0.95}
LIMITS = ["--cars", "5", "--laps", "1", "--clean-evaluations", "0", "--hyperparameters", "hyper.json"]
LIMITS_ONLY = {artifacts.DEEPRACER_CHECKPOINTS, artifacts.RUN_CONFIG, artifacts.TRAINING_PARAMS}
PREFIX = "team/racer"
Command = Callable[..., str]


@pytest.fixture
def racer(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A racer's folder with small hyperparameters, and a reward function with a module of its own beside it."""
    (tmp_path / "hyper.json").write_text(json.dumps(HYPERPARAMETERS))
    (tmp_path / "reward.py").write_text("from weights import SPEED\ndef reward_function(params):\n    return SPEED\n")
    (tmp_path / "weights.py").write_text("SPEED = 1.5\n")
    monkeypatch.chdir(tmp_path)
    return tmp_path


def environment(server: MinioServer) -> dict[str, str]:
    return {**server.environment(), "UNDERCUT_STORE": f"s3://{BUCKET}/{PREFIX}"}


@pytest.fixture
def undercut(monkeypatch: pytest.MonkeyPatch) -> Iterator[Command]:
    """A command in this process, which spares importing TensorFlow each time; what it said."""

    def run(told: dict[str, str], *arguments: str) -> str:
        bucket_place.cache_clear()
        with monkeypatch.context() as variables:
            for name, value in told.items():
                variables.setenv(name, value)
            done = CliRunner().invoke(app, list(arguments), catch_exceptions=False, env={"COLUMNS": "300"})
        assert done.exit_code == 0, done.output
        return done.output

    yield run
    bucket_place.cache_clear()


def numbers(run: Place) -> dict[str, bytes]:
    """Everything a run says about its numbers: all files but plots and what holds limits or time stamps."""
    return {key: run.get(key) for key in run.list("") if key not in LIMITS_ONLY and not key.endswith(".png")}


def assert_same(first: Place, second: Place) -> None:
    a, b = numbers(first), numbers(second)
    assert sorted(a) == sorted(b)
    assert [key for key in a if a[key] != b[key]] == []


def test_a_training_whose_server_is_killed_again_and_again_leaves_what_an_undisturbed_one_leaves(
    racer: Path, own_minio: MinioServer, undercut: Command
) -> None:
    """kill -9 of MinIO at random moments of a training; then a resume, an evaluation, a copy and a resume of that."""
    train, there = ["train", "run", "--reward", "reward.py", *LIMITS, "--iterations"], environment(own_minio)
    undercut({}, *train, "3")
    rng, kills = np.random.default_rng(0), 0
    with (racer / "said.txt").open("wb") as said:
        training = subprocess.Popen([str(UNDERCUT), *train, "2"], stdout=said, stderr=said, env={**os.environ, **there})
        while training.poll() is None:
            time.sleep(float(rng.uniform(0.3, 3.0)))
            own_minio.kill()
            kills += 1
            own_minio.start()
    heard = (racer / "said.txt").read_text()
    assert training.returncode == 0, heard
    assert kills > 3 and "trying again for 120 s" in heard
    run = own_minio.store(f"{PREFIX}/runs/run")
    assert run.exists("weights.py")
    for script in ("reward.py", "weights.py"):
        (racer / script).unlink()  # the run has its own
    assert f"s3://{BUCKET}/{PREFIX}/runs/run/laps.png" in undercut(there, "train", "run", "--iterations", "3")
    assert_same(LocalStore(racer / "runs" / "run"), run)
    assert json.loads(undercut(there, "runs", "--json"))[0]["iterations"] == 3
    assert "laps complete" in undercut(there, "evaluate", "run", "--laps", "1")
    (racer / "runs" / "run").rename(racer / "first")
    assert "last checkpoint 2_Step" in undercut(there, "pull", "run")
    undercut({}, "train", "run", "--iterations", "4")
    undercut(there, "train", "run", "--iterations", "4")
    assert_same(LocalStore(racer / "runs" / "run"), run)
    assert "last checkpoint 3_Step" in undercut(there, "push", "run")


def test_a_model_in_a_bucket_is_imported_and_begun_from(racer: Path, minio: MinioServer, undercut: Command) -> None:
    there, models = environment(minio), f"{PREFIX}/models"
    undercut({}, "train", "old", *LIMITS, "--iterations", "2")
    undercut(there, "push", "old", "--to", f"s3://{BUCKET}/{models}")
    model = minio.store(f"{models}/runs/old")
    told = {**HYPERPARAMETERS, "pretrained_s3_bucket": BUCKET, "pretrained_s3_prefix": f"{models}/runs/old"}
    (racer / "hyper.json").write_text(json.dumps(told))
    for which, record in (("best", Checkpoints(model).best()), ("last", Checkpoints(model).last())):
        said = undercut(there, "train", which, *LIMITS, "--iterations", "1", "--pretrained-checkpoint", which)
        assert record is not None
        assert f"pretrained: s3://{BUCKET}/{models}/runs/old/model/{record.name}" in said
    assert "checkpoints" in undercut(there, "import", f"s3://{BUCKET}/{models}/runs/old", "copied")
    imported = minio.store(f"{PREFIX}/runs/copied")
    last, its = Checkpoints(model).last(), Checkpoints(imported).last()
    assert last is not None and its is not None
    assert Checkpoints(imported).load(its) == Checkpoints(model).load(last)
    undercut(there, "race", "copied", "best", "--laps", "1", "--name", "duel")
    assert minio.store(PREFIX).exists(artifacts.race_result("duel"))


def test_two_trainings_of_one_run(racer: Path, minio: MinioServer, undercut: Command) -> None:
    there = environment(minio)
    command = [str(UNDERCUT), "train", "shared", "--reward", "reward.py", *LIMITS, "--iterations", "50"]
    told = {**os.environ, **there, "PYTHONUNBUFFERED": "1"}
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, env=told) as first:
        assert first.stdout is not None
        while not first.stdout.readline().startswith("    0 "):
            assert first.poll() is None
        with pytest.raises(StoreError, match=rf"is being trained by process {first.pid} on .*\n.*\n.*--takeover"):
            undercut(there, "train", "shared", "--iterations", "50")
        undercut(there, "train", "shared", "--iterations", "1", "--takeover")
        rest = first.communicate(timeout=PATIENCE_S)[0]
    assert first.returncode == 1
    assert "was taken over by process" in rest
    run = Checkpoints(minio.store(f"{PREFIX}/runs/shared"))
    last = run.last()
    assert last is not None and run.load(last).run_state["iteration"] == last.iteration + 1


def test_a_bucket_that_is_missing_is_named(racer: Path, minio: MinioServer, undercut: Command) -> None:
    with pytest.raises(StoreError, match=r"(?s)NoSuchBucket.*aws s3 mb s3://nowhere-at-all"):
        undercut(minio.environment() | {"UNDERCUT_STORE": "s3://nowhere-at-all"}, "train", "x")
    assert not (racer / "runs").exists()
