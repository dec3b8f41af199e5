"""`undercut sweep --backend compose`, with a `docker` that only writes down what it is asked. The store is a folder."""

import json
from pathlib import Path

import pytest

from contract.errors import InputError
from contract.stores.local import LocalStore
from tests.conftest import REPO
from tests.docker_api import CONTAINER, DockerApi, docker_api
from tests.unit.test_stack import STATE, Docker, docker
from tests.unit.test_sweep import Stand
from tests.unit.test_sweep_shards import TEXT, folder, racers_sweep
from undercut.backends.compose import sweeping
from undercut.backends.compose.engine import Stack, StackError
from undercut.backends.compose.sweeping import fetch, job_of, start, sweep_in_stack
from undercut.backends.compose.training import Trainer, job_file
from undercut.sweep.shards import WHOLE
from undercut.sweep.spec import Sweep
from undercut.sweep.storage import Studies
from undercut.sweep.sweeping import Sweeper

__all__ = ["docker", "folder"]
ENDED = {**STATE, "Running": False}


def test_a_container_sees_the_sweeps_files_alone(folder: Path) -> None:
    (folder / "sweeps/s/files/sweeps").mkdir(parents=True)
    with job_file("sweep", *job_of("s", "files/sweeps/s.yaml", 2, 3)) as path:
        services = json.loads(path.read_text())["services"]
    assert list(services) == ["sweep"] and not path.exists()
    assert services["sweep"]["command"] == [
        *("sweep", "files/s/sweeps/s.yaml", "--shard", "1/1", "--parallel", "2", "--workers"),
    ]
    (mounted,) = services["sweep"]["volumes"]
    assert mounted["read_only"] and mounted["source"] == str(folder / "sweeps/s/files")
    assert mounted["target"] == "/work/files/s" and not mounted["bind"]["create_host_path"]
    command, _ = job_of("s", "files/sweeps/s.yaml", 1, 0)
    assert "--workers" not in command, "without simulators its trials drive themselves"


def test_it_is_started_with_so_many_simulators(folder: Path, docker: Docker, monkeypatch: pytest.MonkeyPatch) -> None:
    path = racers_sweep(folder)
    sweep = Sweep.load(path)
    asked = docker({"ps --all --quiet sweep": f"{CONTAINER}\n"})
    with docker_api(DockerApi([ENDED], ("sweep", "files/other/s.yaml"))) as host:
        monkeypatch.setenv("DOCKER_HOST", host)
        found = start(Stack(), sweep, path, 2, 3, lambda line: None)
    assert (found.container, found.service) == (CONTAINER, "sweep")
    (up,) = (line for line in asked() if " up " in line)
    assert "--no-build" in up and up.endswith("--scale simapp=3 sweep simapp")
    inside = sorted(
        it.relative_to(folder / "sweeps/s/files").as_posix() for it in (folder / "sweeps/s/files").rglob("*.*")
    )
    assert inside == [
        *("rewards/helper.py", "rewards/one.py", "rewards/two.py", "sweeps/my_metadata.json", "sweeps/s.yaml"),
    ]


def test_one_run_or_sweep_at_a_time(folder: Path, docker: Docker, monkeypatch: pytest.MonkeyPatch) -> None:
    Path("s.yaml").write_text(TEXT)
    sweep, said = Sweep.load(Path("s.yaml")), list[str]()
    docker({"ps --all --quiet sweep": f"{CONTAINER}\n"})
    with docker_api(DockerApi([STATE], ("sweep", "files/other/s.yaml"))) as host:
        monkeypatch.setenv("DOCKER_HOST", host)
        with pytest.raises(StackError, match="trains the sweep 'other' already"):
            start(Stack(), sweep, Path("s.yaml"), 1, 0, said.append)
        with pytest.raises(StackError, match="trains the sweep 'other' already"):
            Trainer.start(Stack(), "mine", 1, said.append)
    with docker_api(DockerApi([STATE], ("sweep", "files/s/s.yaml"))) as host:
        monkeypatch.setenv("DOCKER_HOST", host)
        assert start(Stack(), sweep, Path("s.yaml"), 1, 0, said.append).container == CONTAINER
    assert said == ["the sweep s goes on already: following it"]


def test_a_training_goes_before_a_sweep(folder: Path, docker: Docker, monkeypatch: pytest.MonkeyPatch) -> None:
    Path("s.yaml").write_text(TEXT)
    docker({"ps --all --quiet trainer": f"{CONTAINER}\n"})
    with docker_api(DockerApi([STATE], ("train", "mine"))) as host:
        monkeypatch.setenv("DOCKER_HOST", host)
        with pytest.raises(StackError, match="trains 'mine' already"):
            start(Stack(), Sweep.load(Path("s.yaml")), Path("s.yaml"), 1, 0, lambda line: None)


def test_what_the_store_has_comes_here(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    store = LocalStore(folder / "store")
    store.root.mkdir()
    Path("s.yaml").write_text(TEXT.replace("trials: 7", "trials: 2"))
    sweep, said = Sweep.load(Path("s.yaml")), list[str]()
    monkeypatch.setattr(sweeping, "workspace", lambda: store)
    fetch(sweep, said.append)
    assert said == [], "there is nothing yet"
    monkeypatch.chdir(store.root)
    Sweeper(sweep.of_shard(WHOLE), Studies("s", None, "minimize", WHOLE), Stand(), 1, lambda line: None).run()
    monkeypatch.chdir(folder)
    fetch(sweep, said.append)
    assert said[1:] == ["brought runs/s-0001", "brought runs/s-0002"]
    assert Path("sweeps/s/1-of-1/journal.log").is_file() and Path("runs/s-0002/run.json").is_file()


def test_a_sweep_that_was_begun_here_stays_here(folder: Path) -> None:
    Path("s.yaml").write_text(TEXT)
    sweep = Sweep.load(Path("s.yaml"))
    Sweeper(sweep, Studies("s", None, "minimize"), Stand(), 1, lambda line: None).run()
    with pytest.raises(InputError, match="begun without shards"):
        sweep_in_stack(Stack(folder=REPO / "compose"), sweep, Path("s.yaml"), 1, 0, lambda line: None)
