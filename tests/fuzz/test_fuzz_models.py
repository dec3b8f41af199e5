"""Models of others: pointers, manifests, archives, weights; a model is found whole, or refused with the file."""

import gzip
import io
import json
import tarfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from contract import artifacts
from contract.archive import Archive
from contract.errors import CheckpointError, InputError, StoreError, UndercutError
from contract.stores.local import LocalStore
from tests.exported import driven_run
from tests.fuzzing import ODD_WORDS, damaged_bytes, damaged_json, damaged_values, examples, value_or_error
from trainer.checkpoints import Checkpoints, _digest
from trainer.pretrained import ModelFolder
from undercut.interchange.importing import import_model

NAME = "0_Step-10.ckpt"


def _saved(folder: Path) -> LocalStore:
    store = LocalStore(folder)
    files = {"index": b"i", "data-00000-of-00001": b"d"}
    Checkpoints(store, clock=lambda: 1.0).save(0, 10, files, b"pb", 1.0, {"a": 1})
    return store


POINTERS = {
    which: {"name": NAME, "avg_eval_metric": 1.0, "time_stamp": 1.0} for which in ("best_checkpoint", "last_checkpoint")
}
MANIFEST = {
    "format": 1,
    "iteration": 0,
    "steps": 10,
    "avg_eval_metric": 1.0,
    "files": {"index": {"key": f"model/{NAME}.index", "size": 1, "sha256": "0"}},
    "policy": {"key": "model/model_0.pb", "size": 2, "sha256": "0"},
    "run_state": {"iteration": 1},
}


@examples(40)
@given(damaged_json(POINTERS))
def test_pointers(tmp_path_factory: pytest.TempPathFactory, text: str) -> None:
    """deepracer_checkpoints.json as a run's own, and as that of a model to begin from."""
    store = _saved(tmp_path_factory.mktemp("pointers"))
    content = text.encode("utf-8", "surrogatepass")
    store.put(artifacts.DEEPRACER_CHECKPOINTS, content)
    errors = (CheckpointError, InputError)
    record = value_or_error(Checkpoints(store).last, "deepracer_checkpoints.json", "manifest", errors=errors)
    if record is not None:
        assert Checkpoints(store).load(record).policy_pb == b"pb"
    found = value_or_error(lambda: ModelFolder(store, "there").load("last"), "there", errors=errors)
    assert found is None or found.files["index"] == b"i"


@examples(40)
@given(damaged_values(MANIFEST), st.booleans())
def test_manifests(tmp_path_factory: pytest.TempPathFactory, content: Any, signed: bool) -> None:
    """Also with a right checksum: what it says is then still of the right kind, and stays in the run's folder."""
    store = _saved(tmp_path_factory.mktemp("manifest"))
    if isinstance(content, dict):
        content["sha256"] = _digest(content) if signed else "0"
    store.put(artifacts.checkpoint_manifest(NAME), json.dumps(content).encode())
    record = value_or_error(Checkpoints(store).last, "manifest", errors=CheckpointError)
    if record is not None:
        value_or_error(lambda: Checkpoints(store).load(record), errors=(CheckpointError, StoreError))


def packed(members: list[tuple[str, bytes | str]]) -> bytes:
    """A .tar.gz of files, name -> content; text is where a symbolic link points."""
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode="w:gz") as tar:
        for name, content in members:
            member = tarfile.TarInfo(name)
            if isinstance(content, str):
                member.type, member.linkname = tarfile.SYMTYPE, content
                tar.addfile(member)
            else:
                member.size = len(content)
                tar.addfile(member, io.BytesIO(content))
    return stream.getvalue()


MODEL: list[tuple[str, bytes | str]] = [
    (f"model/{NAME}.index", b"i"),
    (f"model/{NAME}.data-00000-of-00001", b"d"),
    ("model/deepracer_checkpoints.json", json.dumps(POINTERS).encode()),
    ("model/model_metadata.json", (Path(__file__).resolve().parents[2] / "actions/default.json").read_bytes()),
]
TAR = packed(MODEL)
NAMES = ODD_WORDS | st.sampled_from(
    [
        "../evil.py",
        "/etc/evil",
        "./run.json",
        "a/../../b",
        "model/9_Step-9.ckpt.index",
        "model_metadata.json",
        "x" * 300,
    ]
)


@examples(60)
@given(
    damaged_bytes(TAR)
    | damaged_bytes(gzip.decompress(TAR))
    | damaged_bytes(gzip.decompress(TAR)).map(gzip.compress)
    | st.lists(st.tuples(NAMES, st.just(b"{}") | st.sampled_from(["/etc/passwd", "../.."])), max_size=4).map(
        lambda more: packed([*MODEL, *more])
    )
)
def test_archives(tmp_path_factory: pytest.TempPathFactory, content: bytes) -> None:
    path = tmp_path_factory.getbasetemp() / "model.tar.gz"
    path.write_bytes(content)
    errors = (InputError, CheckpointError)
    archive = value_or_error(lambda: Archive(path), "model.tar.gz")
    if archive is not None:
        keys = archive.list("")
        assert not any(key.startswith("/") or ".." in key.split("/") for key in keys)
        value_or_error(lambda: ModelFolder(archive, "model.tar.gz").load("best"), "model.tar.gz", errors=errors)


def test_an_archive_that_unpacks_to_gigabytes_is_refused_unread(tmp_path: Path) -> None:
    path = tmp_path / "model.tar.gz"
    member = tarfile.TarInfo("model/model_0.pb")
    member.size = 5 << 30
    zeros = gzip.compress(bytes(16 << 20))
    path.write_bytes(gzip.compress(member.tobuf()) + zeros * 20)
    assert value_or_error(lambda: Archive(path), "at most") is None


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, bytes]]:
    """Files of a run of ours without its weights, which are not looked into when a run is copied."""
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(tmp_path_factory.mktemp("driven"))
        store = driven_run().run.store
        yield {key: store.get(key) for key in store.list("")}


@pytest.mark.slow  # needs TensorFlow, for a run to begin with
@examples(30)
@given(st.data())
def test_runs_that_others_packed(
    tmp_path_factory: pytest.TempPathFactory, run: dict[str, bytes], data: st.DataObject
) -> None:
    """An import makes a whole run or nothing."""
    folder = tmp_path_factory.mktemp("import")
    key = data.draw(st.sampled_from(sorted(key for key in run if key.endswith((".json", ".py", ".yaml")))))
    content = data.draw(damaged_bytes(run[key]))
    (folder / "theirs.tar.gz").write_bytes(packed([*{**run, key: content}.items()]))
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        made = value_or_error(lambda: import_model("theirs.tar.gz", "mine"), errors=UndercutError)
    assert (folder / "runs/mine/run.json").exists() == (made is not None)
    assert not [path for path in (folder / "runs").glob("*") if path.name != "mine" and not path.name.endswith(".lock")]
