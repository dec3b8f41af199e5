"""Workers on this machine: the job that they get, and what happens when they die."""

import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from contract.config import RunConfig
from contract.errors import RewardError, UndercutError
from contract.protocols import Phase, RolloutOrder
from contract.wire import Job
from tests.patience import until
from tests.support import ring
from tests.unit.test_worlds import Even
from undercut.backends.local import rollouts as local
from undercut.backends.local import workers
from undercut.backends.local.workers import (
    MAX_RESTARTS,
    OUT_OF_MEMORY,
    JobDriver,
    LocalWorkers,
    job_of,
    reason_of_death,
)
from undercut.runs.run import DEFAULT_HYPERPARAMETERS, DEFAULT_METADATA, Run

REWARD = """
from weights import centre

def reward_function(params):
    if params["steps"] > 12:
        return params["no_such_key"]
    return centre.WEIGHT * params["distance_from_center"]
"""


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Run:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(local, "FrozenPolicy", Even)
    mine = tmp_path / "my files"
    (mine / "weights").mkdir(parents=True)
    (mine / "reward.py").write_text(REWARD)
    (mine / "weights" / "__init__.py").write_text("")
    (mine / "weights" / "centre.py").write_text("WEIGHT = 3.0\n")
    (mine / "unrelated.py").write_text("raise SystemExit\n")
    np.save(mine / "ring.npy", ring())
    config = {
        "name": "job",
        "track": str(mine / "ring.npy"),
        "worlds": [{}, {"reverse_dir": True}],
        "cars": 2,
        "precision": "float32",
        "training": {"max_episode_steps": 20},
    }
    return Run.create(RunConfig.build(config, "x"), mine / "reward.py", DEFAULT_METADATA, DEFAULT_HYPERPARAMETERS)


def test_a_job_drives_elsewhere_as_the_run_does_here(run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    job = Job.from_bytes(job_of(run).to_bytes())
    assert {"reward_function.py", "weights/__init__.py", "weights/centre.py"} <= set(job.files)
    assert "unrelated.py" not in job.files
    order = RolloutOrder(Phase.training, 0, 0, 4)
    counted: list[int] = []
    with pytest.raises(RewardError) as here:
        local.LocalRollouts(run).collect(b"", order)
    monkeypatch.chdir("/")
    for path in tmp_path.rglob("*.npy"):
        path.unlink()
    driver = JobDriver(job, 1, counted.append)
    with pytest.raises(RewardError) as there:
        driver.collect(b"", order)
    assert counted
    assert str(there.value).startswith("reward_function.py, line 6: KeyError: 'no_such_key'")
    assert "undercut-worker" not in str(there.value)
    assert str(there.value).partition("params:")[2] == str(here.value).partition("params:")[2] != ""


@pytest.mark.parametrize(
    ("status", "log", "said"),
    [
        (OUT_OF_MEMORY, "", "ran out of memory: let fewer workers run, or fewer cars"),
        (-6, "terminate called after throwing an instance of 'std::bad_alloc'\n", "ran out of memory"),
        (1, "numpy._core._exceptions._ArrayMemoryError: MemoryError\n", "ran out of memory"),
        (-9, "", "was killed (SIGKILL), by somebody or by the kernel when memory ran out"),
        (-11, "", "was ended by SIGSEGV"),
        (1, "first\nerror: no such file\n", "ended with status 1: error: no such file"),
        (0, "", "ended with status 0: no message"),
    ],
)
def test_a_death_has_a_reason(status: int, log: str, said: str) -> None:
    assert reason_of_death(status, log).startswith(said)


class Source:
    """Hears what a RemoteRollouts would."""

    def __init__(self) -> None:
        self.died: list[int] = []
        self.failure: UndercutError | None = None

    def process_died(self, pid: int) -> None:
        self.died.append(pid)

    def fail(self, error: UndercutError) -> None:
        self.failure = error


def started(code: str, monkeypatch: pytest.MonkeyPatch, count: int = 1) -> tuple[LocalWorkers, Source, list[str]]:
    source, said = Source(), list[str]()
    here: Any = source
    crew = LocalWorkers(count, [], 1, said.append, here)
    monkeypatch.setattr(crew, "_command", [sys.executable, "-S", "-c", code])
    return crew, source, said


def test_a_worker_that_keeps_dying_is_started_again_a_few_times_and_then_stops_the_training(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(workers, "_WATCH_S", 0.01)
    crew, source, said = started("import sys; print('no luck', flush=True); sys.exit(5)", monkeypatch)
    with crew:
        until("the end of the training", lambda: source.failure is not None)
    assert len(source.died) == MAX_RESTARTS + 1
    assert said[0] == f"worker 0 ended with status 5: no luck; started again (1 of {MAX_RESTARTS} times)"
    assert "all workers keep dying; the last one ended with status 5: no luck" in str(source.failure)


def test_workers_end_with_the_training(monkeypatch: pytest.MonkeyPatch) -> None:
    crew, source, said = started("import time; time.sleep(600)", monkeypatch, count=2)
    with crew:
        assert len(crew.pids) == 2
    assert crew.pids == []
    assert (source.died, said) == ([], [])


def test_threads_are_shared_among_the_workers() -> None:
    here: Any = SimpleNamespace()
    for threads, count, share in ((8, 3, "2"), (2, 4, "1"), (1, 1, "1")):
        assert LocalWorkers(count, ["--socket", "x"], threads, print, here)._command[-4:] == [
            *("--threads", share, "--socket", "x")
        ]
