"""Runs copied between two places: whole, only what is missing, and never over another run's work."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest
from typer.testing import CliRunner

from contract import artifacts
from contract.config import RunConfig
from contract.errors import InputError, StoreError
from contract.protocols import Place
from contract.stores.local import LocalStore
from tests.conftest import REPO
from tests.minio_server import MinioServer
from trainer.checkpoints import Checkpoints
from undercut.cli.main import app
from undercut.interchange.copying import copy
from undercut.runs.run import Run

FILES = (
    REPO / "rewards" / "follow_center_line.py",
    REPO / "actions" / "default.json",
    REPO / "actions" / "hyperparameters.json",
)


@pytest.fixture(params=["local", pytest.param("s3", marks=pytest.mark.minio)])
def target(request: pytest.FixtureRequest, tmp_path: Path) -> Place:
    """An empty place for a run."""
    if request.param == "local":
        return LocalStore(tmp_path / "copies").below("runs/a")
    minio: MinioServer = request.getfixturevalue("minio")
    return minio.empty_store().below("runs/a")


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Run:
    monkeypatch.chdir(tmp_path)
    made = Run.create(RunConfig(name="a"), *FILES)
    save(made.store, 0)
    return made


def save(store: Place, iteration: int, told: str = "") -> None:
    files = {"index": f"index {iteration} {told}".encode(), "data-00000-of-00001": bytes(1000)}
    Checkpoints(store).save(iteration, 100 * iteration, files, b"graph", float(iteration), {"iteration": iteration})
    store.put(artifacts.TRAINING_METRICS, json.dumps(iteration).encode())


def content(place: Place) -> dict[str, bytes]:
    return {key: place.get(key) for key in place.list("")}


def test_a_copy_has_every_file_and_is_brought_up_to_date(run: Run, target: Place) -> None:
    copied = copy(run.store, target)
    assert content(target) == content(run.store)
    assert (copied.put, copied.same, copied.last) == (len(run.store.list("")), 0, "0_Step-0.ckpt")
    for iteration in (1, 2, 3):
        save(run.store, iteration)
    assert copy(run.store, target).last == "3_Step-300.ckpt"
    assert content(target) == content(run.store), "what was pruned here goes there too"
    again = copy(run.store, target)
    assert again.same == 6, "the two latest checkpoints, three files each"
    save(target, 4)
    assert copy(target, run.store).last == "4_Step-400.ckpt"
    assert content(target) == content(run.store)


def test_a_copy_never_goes_over_other_work(run: Run, target: Place) -> None:
    copy(run.store, target)
    save(target, 1, "there")
    save(run.store, 1, "here")
    before = content(target)
    with pytest.raises(InputError, match=r"run at .*: '1_Step-100\.ckpt'.*\n.*has not come by that one.*\n.*delete"):
        copy(run.store, target)
    assert content(target) == before


class Cut(LocalStore):
    """Fails at the put of a number."""

    puts_left = 0

    def put(self, key: str, data: bytes) -> None:
        if self.puts_left == 0:
            raise StoreError("cut")
        type(self).puts_left -= 1
        super().put(key, data)


def test_a_copy_that_is_cut_off_anywhere_is_no_run_or_the_earlier_one(run: Run, tmp_path: Path) -> None:
    early = LocalStore(tmp_path / "early")
    copy(run.store, early)
    save(run.store, 1)
    files, there = len(run.store.list("")), 3
    for puts in range(files):
        fresh, older = tmp_path / f"fresh{puts}", tmp_path / f"older{puts}"
        Cut.puts_left = puts
        with pytest.raises(StoreError, match="cut"):
            copy(run.store, Cut(fresh))
        assert not LocalStore(fresh).exists(artifacts.RUN_CONFIG)
        if puts >= files - there:
            continue
        copy(early, LocalStore(older))
        Cut.puts_left = puts
        with pytest.raises(StoreError, match="cut"):
            copy(run.store, Cut(older))
        kept = Checkpoints(LocalStore(older))
        last = kept.last()
        assert last is not None and kept.load(last).run_state["iteration"] == last.iteration
        assert copy(run.store, LocalStore(older)).last == "1_Step-100.ckpt"


class TrainedOn(LocalStore):
    """A run that saves another iteration while it is being read."""

    saves: Callable[[], None] | None = None

    def get(self, key: str) -> bytes:
        if key.endswith(".index") and self.saves is not None:
            saves, self.saves = self.saves, None
            saves()
        return super().get(key)


def test_a_run_that_is_trained_on_meanwhile_is_copied_as_of_one_moment(run: Run, target: Place) -> None:
    source = TrainedOn(Path(run.store.where()))

    def train() -> None:
        for iteration in (1, 2, 3):
            save(run.store, iteration)

    source.saves = train
    assert copy(source, target).last == "3_Step-300.ckpt"
    assert content(target) == content(run.store)


@pytest.mark.minio
def test_push_and_pull(run: Run, tmp_path: Path, minio: MinioServer, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in minio.environment().items():
        monkeypatch.setenv(name, value)
    place = minio.empty_store()

    def undercut(*arguments: str) -> str:
        result = CliRunner().invoke(app, list(arguments), catch_exceptions=False)
        assert result.exit_code == 0, result.output
        return result.output

    assert f"{place.where()}/runs/a" in undercut("push", "a", "--to", place.where())
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    monkeypatch.chdir(elsewhere)
    monkeypatch.setenv("UNDERCUT_STORE", place.where())
    assert "last checkpoint 0_Step-0.ckpt" in undercut("pull", "a")
    assert json.loads(undercut("runs", "--json"))[0]["run"] == "a"
    monkeypatch.delenv("UNDERCUT_STORE")
    assert content(Run.open("a").store) == content(run.store)
    assert sorted(path.name for path in (elsewhere / "runs").iterdir()) == ["a"]
    with pytest.raises(InputError, match="set UNDERCUT_STORE"):
        undercut("push", "a")
    with pytest.raises(InputError, match=r"there are: a\)"):
        undercut("pull", "b", "--from", place.where())


def test_a_copy_tells_how_many_files_are_done(run: Run, target: Place) -> None:
    told: list[tuple[int, int]] = []
    copied = copy(run.store, target, lambda done, of: told.append((done, of)))
    assert told == [(done, copied.put) for done in range(copied.put + 1)]
    told.clear()
    save(run.store, 1)
    new = len(set(content(run.store)) - set(content(target)))
    copied = copy(run.store, target, lambda done, of: told.append((done, of)))
    assert told == [(done, copied.put) for done in range(copied.put + 1)]
    assert new <= copied.put < len(run.store.list("")), "files that are there are not counted"
