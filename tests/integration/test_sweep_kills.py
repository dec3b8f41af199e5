"""Sweeps of real trainings that are killed with -9: a trial, the sweep, and the Redis between two sweeps."""

import json
import os
import re
import signal
import subprocess
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path

import numpy as np
import pytest

from contract import artifacts
from contract.channels.redis_log import RedisLog
from contract.config import RunConfig
from contract.errors import ChannelError
from contract.host import REDIS_PASSWORD_FILE, REDIS_URL
from tests.conftest import REPO
from tests.patience import until
from tests.redis_server import RedisServer
from trainer.iterations import read_iterations
from undercut.exit_codes import INTERRUPTED
from undercut.runs.run import DEFAULT_METADATA, DEFAULT_REWARD, Run

UNDERCUT = str(Path(sys.executable).parent / "undercut")
ITERATIONS = 2
TRIALS = int(os.environ.get("SWEEP_TRIALS", "8"))
"""Of the sweep that is killed: SWEEP_TRIALS=24 for more of them than every change is tried with."""
TEXT = """
trials: {trials}
objective: completion
pruner: none
run:
  cars: 4
  training: {{max_iterations: 2, max_episode_steps: 20, min_eval_trials: 1, clean_evaluations: 0}}
  evaluation: {{number_of_trials: 1, max_lap_steps: 20, number_of_resets: 0}}
hyperparameters: {{num_episodes_between_training: 5, num_epochs: 3, batch_size: 32}}
search:
  hyperparameters.lr: {{low: 0.0001, high: 0.001, log: true}}
  run.seed: [1, 2, 3]
"""


class Running:
    """`undercut sweep` as a process in a folder of its own runs."""

    def __init__(self, folder: Path, environment: Mapping[str, str] | None = None) -> None:
        self._folder, self._environment = folder, {**os.environ, **(environment or {})}
        self.process: subprocess.Popen[bytes] | None = None

    def start(self, parallel: int, *more: str) -> None:
        command = [UNDERCUT, "sweep", "s.yaml", "--parallel", str(parallel), "--json", *more]
        with (self._folder / "out").open("wb") as out, (self._folder / "told").open("ab") as told:
            self.process = subprocess.Popen(
                command, cwd=self._folder, stdout=out, stderr=told, env=self._environment, start_new_session=True
            )

    def told(self) -> str:
        return (self._folder / "told").read_text(errors="replace")

    def done(self, what: str) -> int:
        return len(re.findall(rf"^\S+ s-\d+: {what}", self.told(), re.MULTILINE))

    def wait_for(self, what: str, count: int) -> None:
        assert self.process is not None
        process = self.process
        until(f"{count} times {what!r}", lambda: self.done(what) >= count or process.poll() is not None, 0.1)
        assert process.poll() is None or self.done(what) >= count, self.told()

    def kill(self) -> None:
        if self.process is not None and self.process.poll() is None:
            self.process.kill()
            self.process.wait()

    def end(self) -> dict[str, object]:
        """What it says when it has come to its end."""
        assert self.process is not None
        process = self.process
        while process.poll() is None:  # as long as trials come to their end
            before = self.told()
            until("news of the sweep", lambda: process.poll() is not None or self.told() != before, 0.2)  # noqa: B023
        assert process.returncode == 0, self.told()
        found: dict[str, object] = json.loads((self._folder / "out").read_text())
        return found


def trainings(folder: Path) -> list[int]:
    """Processes of the trials that run in the folder now."""
    found = []
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            words = path.read_bytes().decode(errors="replace").split("\0")
            here = (path.parent / "cwd").readlink() == folder
        except OSError:
            continue
        if here and "undercut.backends.local.trials" in words:
            found.append(int(path.parent.name))
    return sorted(found)


def whole(folder: Path, told: dict[str, object], count: int) -> None:
    """Every trial once, complete, and its run trained to its end with the trial's own values."""
    runs = told["runs"]
    assert isinstance(runs, list)
    names = [f"s-{number:04d}" for number in range(1, count + 1)]
    assert [it["run"] for it in runs] == names
    assert {it["state"] for it in runs} == {"complete"}, runs
    assert len({it["values"]["hyperparameters.lr"] for it in runs}) == count
    assert sorted(path.name for path in (folder / "runs").iterdir() if path.is_dir()) == names
    os.chdir(folder)
    for it in runs:
        run = Run.open(it["run"])
        assert run.config.seed == it["values"]["run.seed"]
        assert run.files.hyperparameters.lr == it["values"]["hyperparameters.lr"]
        assert [row.iteration for row in read_iterations(run.store)] == list(range(ITERATIONS))
        assert run.store.exists(artifacts.EVALUATION_METRICS)
        assert it["iterations"] == ITERATIONS


@pytest.fixture
def folder(tmp_path: Path) -> Iterator[Path]:
    yield tmp_path
    os.chdir(REPO)


@pytest.mark.slow
@pytest.mark.timeout(7_200)  # half an hour of CPU time where others work beside it
def test_kill_9_of_trials_and_of_the_sweep_loses_and_doubles_nothing(folder: Path) -> None:
    count = TRIALS
    (folder / "s.yaml").write_text(TEXT.format(trials=count))
    sweep, random = Running(folder), np.random.default_rng(3)
    try:
        sweep.start(2)
        first, second, third = count // 8 + 1, count // 4 + 1, count // 2
        for done in (first, second, third, 2 * third - second):
            sweep.wait_for("completion", done)
            until("a training", lambda: bool(trainings(folder)), 0.05)
            victims = trainings(folder)
            if victims and done != third:
                victim = victims[int(random.integers(0, len(victims)))]
                try:
                    os.kill(victim, signal.SIGKILL)
                except ProcessLookupError:
                    continue
            if done in (second, third):
                sweep.kill()
                sweep.start(2)
        told = sweep.end()
    finally:
        sweep.kill()
    whole(folder, told, count)
    assert "goes on" in sweep.told()
    until("the end of what the killed sweep left", lambda: not trainings(folder))
    assert (folder / "sweeps" / "s" / "sweep.html").read_text().count(f"s-{count:04d}") >= 1


@pytest.mark.slow
@pytest.mark.parametrize("how", ["SIGTERM", "the sweep is gone"])
def test_a_trial_that_is_stopped_finishes_and_saves_its_iteration(how: str, folder: Path) -> None:
    os.chdir(folder)
    training = {"max_iterations": 50, "max_episode_steps": 20, "min_eval_trials": 1, "clean_evaluations": 0}
    config = RunConfig.build({"name": "s-0001", "cars": 4, "training": training}, "test")
    hyperparameters = folder / "hyperparameters.json"
    hyperparameters.write_text('{"num_episodes_between_training": 5, "num_epochs": 3, "batch_size": 32}')
    run = Run.create(config, DEFAULT_REWARD, DEFAULT_METADATA, hyperparameters)
    command = [sys.executable, "-P", "-m", "undercut.backends.local.trials", "s-0001"]
    with (
        (folder / "log").open("wb") as log,
        subprocess.Popen(command, stdin=subprocess.PIPE, stdout=log, stderr=log) as process,
    ):
        until("an iteration", lambda: process.poll() is not None or bool(read_iterations(run.store)), 0.05)
        if how == "SIGTERM":
            process.send_signal(signal.SIGTERM)
        else:
            assert process.stdin is not None
            process.stdin.close()
        until("the trial's end", lambda: process.poll() is not None, 0.05)
        if process.stdin is not None and not process.stdin.closed:
            process.stdin.close()
    said = (folder / "log").read_text()
    assert process.returncode == INTERRUPTED and "finishing and saving this iteration" in said, said
    done = len(read_iterations(run.store))
    assert 1 <= done < 50 and said.count("\n    ") >= done, said


@pytest.mark.slow
@pytest.mark.redis
@pytest.mark.timeout(7_200)
def test_kill_9_of_redis_between_two_sweeps_loses_and_doubles_nothing(folder: Path) -> None:
    count = 6
    with RedisServer(keep_data=True) as server:
        environment = {
            REDIS_URL: f"redis://127.0.0.1:{server.address.port}/0",
            REDIS_PASSWORD_FILE: str(server.address.password_file),
        }
        folders = [folder / name for name in ("ann", "ben")]
        for own in folders:
            own.mkdir()
            (own / "s.yaml").write_text(TEXT.format(trials=count))
            (own / "runs").symlink_to(folder / "runs")  # both machines see one bucket's runs
        (folder / "runs").mkdir()
        sweeps = [Running(own, environment) for own in folders]
        try:
            for sweep in sweeps:
                sweep.start(1)
            for done in (1, 3):
                until("trials", lambda done=done: sum(it.done("completion") for it in sweeps) >= done, 0.1)  # type: ignore[misc]
                server.kill()
                server.start()
            sweeps[1].kill()  # its trial is free once its claim's time is up
            told = sweeps[0].end()
        finally:
            for sweep in sweeps:
                sweep.kill()
    whole(folder, told, count)


@pytest.mark.redis
@pytest.mark.slow
@pytest.mark.timeout(1_800)
def test_one_worker_drives_for_trials_side_by_side(folder: Path) -> None:
    (folder / "s.yaml").write_text(TEXT.format(trials=2))
    with RedisServer(keep_data=True) as server:
        environment = {REDIS_URL: f"redis://127.0.0.1:{server.address.port}/0"}
        environment[REDIS_PASSWORD_FILE] = str(server.address.password_file)
        sweep = Running(folder, environment)
        with (folder / "worker").open("wb") as log:
            worker = subprocess.Popen([UNDERCUT, "worker"], env={**os.environ, **environment}, stdout=log, stderr=log)
        try:
            sweep.start(2, "--workers")
            told = sweep.end()
        finally:
            sweep.kill()
            worker.kill()
            worker.wait()
    whole(folder, told, 2)
    assert {"driving for run s-0001", "driving for run s-0002"} <= set(
        re.findall(r"driving for run \S+", (folder / "worker").read_text())
    )


@pytest.mark.redis
def test_a_redis_that_lost_a_sweep_is_told() -> None:
    with RedisServer() as server:
        log = RedisLog(server.address, "undercut-sweep:x")
        log.append(["1", "2"])
        log.append(["3"])
        assert log.read(0) == ["1", "2", "3"] and log.read(2) == ["3"]
        server.kill()
        server.start()
        with pytest.raises(ChannelError, match=r"lost what was written(.|\n)*appendonly yes"):
            log.read(3)
        log.close()


@pytest.mark.redis
def test_a_claim_is_of_one_process_and_ends_with_its_block() -> None:
    with RedisServer(keep_data=True) as server:
        ann, ben = (RedisLog(server.address, "undercut-sweep:x") for _ in range(2))
        with ann.claimed("trial-0001") as mine:
            assert mine is not None and mine.is_held()
            with ben.claimed("trial-0001") as theirs:
                assert theirs is None
            server.kill()
            server.start()
            with ben.claimed("trial-0001") as theirs:
                assert theirs is None
            server.client().delete("undercut-sweep:x:claim:trial-0001")  # ann was away for too long
            with ben.claimed("trial-0001") as theirs:
                assert theirs is not None
                until("ann's finding out", lambda: not mine.is_held())
        with ann.claimed("trial-0001") as mine:
            assert mine is not None
        ann.close()
        ben.close()
