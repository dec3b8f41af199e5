"""Every `Backend`: this machine, the stack's containers, AWS. Docker is a command that knows no container, AWS is
moto's server; whole trainings in real containers are in tests/integration."""

import shutil
import signal
import subprocess
import sys
import textwrap
from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path

import pytest
from rich.console import Console
from typer.testing import CliRunner

from contract import artifacts
from contract.errors import HeldError, InputError
from contract.host import S3Address
from contract.stores.local import LocalStore
from tests.aws_server import BUCKET, SageMaker
from tests.cloud_support import Here, here, small_run
from tests.conftest import REPO
from tests.patience import PATIENCE_S
from undercut.backends.aws.backend import CloudBackend
from undercut.backends.aws.jobs import JobRecord
from undercut.backends.aws.launching import plan_of
from undercut.backends.aws.settings import CloudSettings
from undercut.backends.backend import Backend, BackendName, TrainOptions
from undercut.backends.compose import training
from undercut.backends.compose.backend import ComposeBackend
from undercut.backends.compose.engine import Stack
from undercut.backends.local.backend import LocalBackend
from undercut.cli.main import app
from undercut.runs import sessions
from undercut.runs.run import Run
from undercut.runs.sessions import summary
from undercut.runs.workspace import bucket_place, workspace

__all__ = ["here"]
Made = tuple[Backend, Callable[[], None]]
"""The backend, and what gives it the run `mine` of this folder, which is then here no more."""


@pytest.fixture(params=[*BackendName])
def made(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Made:
    name: BackendName = request.param
    if name == BackendName.cloud:
        server = request.getfixturevalue("here").server

        def send() -> None:
            settings = CloudSettings.load()
            plan = plan_of(settings, server.environment()["AWS_REGION"], "train", ["mine"])
            JobRecord(plan=plan, bucket=BUCKET, prefix="", created_s=0.0).save()
            _move(
                Path("runs/mine"), lambda key, data: bucket_place(S3Address(BUCKET, "")).put(f"runs/mine/{key}", data)
            )

        return CloudBackend(lambda line: None), send
    monkeypatch.chdir(tmp_path)
    if name == BackendName.local:
        return LocalBackend(Console(quiet=True)), lambda: None
    docker = tmp_path / "bin" / "docker"
    docker.parent.mkdir()
    docker.write_text("#!/bin/sh\n")
    docker.chmod(0o755)
    monkeypatch.setenv("PATH", f"{docker.parent}:/usr/bin:/bin")
    there = LocalStore(tmp_path / "store" / "mine")
    monkeypatch.setattr(training, "run_place", lambda run: there)
    return ComposeBackend(Stack(), lambda line: None), lambda: _move(Path("runs/mine"), there.put)


def _move(folder: Path, put: Callable[[str, bytes], None]) -> None:
    here = LocalStore(folder)
    for key in here.list(""):
        put(key, here.get(key))
    shutil.rmtree(folder)


def test_it_is_a_backend(made: Made) -> None:
    backend, _ = made
    assert isinstance(backend, Backend)
    assert backend.name in BackendName


def test_what_nobody_trains_is_stopped_in_peace(made: Made) -> None:
    backend, _ = made
    assert [backend.stop("mine"), backend.stop("mine")] == [False, False]


def test_a_run_that_it_does_not_have_is_named(made: Made) -> None:
    backend, _ = made
    with pytest.raises(InputError, match="nobody"):
        backend.fetch("nobody")
    assert not Path("runs/nobody").exists()


def test_a_run_that_it_has_comes_to_this_folder_whole(made: Made, tmp_path: Path) -> None:
    backend, send = made
    run = small_run("mine", tmp_path)
    before = {key: run.store.get(key) for key in run.store.list("")}
    send()
    for _ in range(2):
        folder = backend.fetch("mine")
        assert folder == Path("runs/mine")
        assert {key: LocalStore(folder).get(key) for key in before} == before


@pytest.mark.slow
@pytest.mark.parametrize("name", [BackendName.local, BackendName.cloud])
def test_a_run_is_trained_and_evaluated_and_its_files_are_here(here: Here, tmp_path: Path, name: BackendName) -> None:
    sagemaker = SageMaker(here.server, tmp_path / "ml")
    given = small_run("mine", here.folder).store.get(artifacts.RUN_CONFIG)
    backend = LocalBackend(Console(quiet=True)) if name == BackendName.local else CloudBackend(lambda line: None)
    assert backend.prepare("mine") is False
    assert backend.train("mine", TrainOptions()) == 0
    sagemaker.join()
    assert backend.stop("mine") is False
    mine = Run.open("mine")
    assert summary(mine)["iterations"] == 1 and summary(mine)["laps"] is not None
    assert mine.store.get(artifacts.RUN_CONFIG) == given


def test_a_training_in_another_process_is_stopped_as_by_ctrl_c(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    code = """
        from contract.stores.local import LocalStore
        from pathlib import Path
        import sys
        with LocalStore(Path()).locked("runs/mine"):
            print("held", flush=True)
            sys.stdin.readline()
    """
    command = [sys.executable, "-c", textwrap.dedent(code)]
    with subprocess.Popen(
        command,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
        env={"PYTHONPATH": str(REPO)},
    ) as child:
        assert child.stdout is not None and child.stdout.readline() == "held\n"
        backend = LocalBackend(Console(quiet=True))
        assert backend.stop("mine") and not backend.stop("other")
        assert child.wait(PATIENCE_S) == -signal.SIGINT
    assert not backend.stop("mine")


def test_a_training_locks_its_run_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """`undercut train` makes the run and trains it under one lock, which ends with the command."""
    monkeypatch.chdir(tmp_path)
    small_run("mine", tmp_path)
    taken: list[str] = []
    locked = LocalStore.locked

    def counted(place: LocalStore, path: str, takeover: bool = False) -> AbstractContextManager[LocalStore]:
        taken.append(path)
        return locked(place, path, takeover)

    def trained(run: Run, *_: object) -> None:
        with pytest.raises(HeldError), locked(LocalStore(Path()), "runs/mine"):
            pass
        assert run.store.where() == workspace().below("runs/mine").where()

    monkeypatch.setattr(LocalStore, "locked", counted)
    monkeypatch.setattr(sessions, "train", trained)
    for name in ("evaluate", "finished", "show_files"):
        monkeypatch.setattr(sessions, name, lambda *_: None)
    done = CliRunner().invoke(app, ["train", "mine"], catch_exceptions=False)
    assert done.exit_code == 0, done.output
    assert taken == ["runs/mine"]
    with locked(LocalStore(Path()), "runs/mine"):
        pass
