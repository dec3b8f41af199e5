"""Checkpoints that survive a crash at any write, and say what is wrong with a broken one."""

import errno
import gzip
import io
import json
import os
import tarfile
from collections.abc import Sequence
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from contract import artifacts
from contract.errors import CheckpointError, StoreError
from contract.stores.local import LocalStore
from trainer.checkpoints import Checkpoints
from trainer.coach import shim
from trainer.common.export import car_bundle

SUFFIXES = ("data-00000-of-00001", "index", "meta")


def files_of(iteration: int, version: str = "") -> dict[str, bytes]:
    return {suffix: f"{suffix} of {iteration}{version}".encode() * 50 for suffix in SUFFIXES}


def save(checkpoints: Checkpoints, iteration: int, metric: float = 0.0, version: str = "") -> None:
    checkpoints.save(
        iteration,
        100 * iteration,
        files_of(iteration, version),
        f"graph {iteration}{version}".encode(),
        metric,
        {"episode": 20 * iteration, "time_s": 0.1 * iteration},
    )


@pytest.fixture
def store(tmp_path: Path) -> LocalStore:
    return LocalStore(tmp_path / "run")


def last_name(checkpoints: Checkpoints) -> str | None:
    record = checkpoints.last()
    return record.name if record else None


def test_fresh_run_has_none(store: LocalStore) -> None:
    checkpoints = Checkpoints(store)
    assert checkpoints.last() is None
    assert checkpoints.best() is None
    assert checkpoints.records() == []
    checkpoints.prune()


def test_what_was_saved_comes_back(store: LocalStore) -> None:
    save(Checkpoints(store), 3, 55.5)
    checkpoints = Checkpoints(store)
    record = checkpoints.last()
    assert record is not None
    assert (record.iteration, record.steps, record.avg_eval_metric) == (3, 300, 55.5)
    files, policy_pb, run_state = checkpoints.load(record)
    assert files == files_of(3)
    assert policy_pb == b"graph 3"
    assert run_state == {"episode": 60, "time_s": 0.1 * 3}


def test_files_are_the_contracts_and_rl_coach_finds_the_last(store: LocalStore) -> None:
    checkpoints = Checkpoints(store, clock=lambda: 1234.5)
    save(checkpoints, 4, 80.0)
    save(checkpoints, 5, 70.0)
    for suffix in SUFFIXES:
        assert store.get(f"model/5_Step-500.ckpt.{suffix}") == files_of(5)[suffix]
    assert store.get("model/model_5.pb") == b"graph 5"
    assert json.loads(store.get("model/deepracer_checkpoints.json")) == {
        "best_checkpoint": {"name": "4_Step-400.ckpt", "avg_eval_metric": 80.0, "time_stamp": 1234.5},
        "last_checkpoint": {"name": "5_Step-500.ckpt", "avg_eval_metric": 70.0, "time_stamp": 1234.5},
    }
    shim.install()
    from rl_coach.checkpoint import CheckpointStateReader

    reader = CheckpointStateReader(str(store.root / "model"), checkpoint_state_optional=False)
    assert reader.get_latest().name == "5_Step-500.ckpt"
    assert {checkpoint.name for checkpoint in reader.get_all()} == {"4_Step-400.ckpt", "5_Step-500.ckpt"}


def test_manifests_hold_no_clock(store: LocalStore, tmp_path: Path) -> None:
    other = LocalStore(tmp_path / "other")
    save(Checkpoints(store, clock=lambda: 1.0), 0)
    save(Checkpoints(other, clock=lambda: 2.0), 0)
    differing = [key for key in store.list("") if store.get(key) != other.get(key)]
    assert differing == [artifacts.DEEPRACER_CHECKPOINTS]


@settings(max_examples=40, deadline=None)
@given(st.lists(st.sampled_from([0.0, 12.5, 99.9, 100.0]), min_size=1, max_size=9), st.integers(1, 3))
def test_best_is_the_highest_and_later_of_equals_and_the_rest_is_pruned(metrics: list[float], keep: int) -> None:
    store = _Memory()
    checkpoints = Checkpoints(store, keep=keep)
    for iteration, metric in enumerate(metrics):
        save(checkpoints, iteration, metric)
        best = max(range(iteration + 1), key=lambda i: (metrics[i], i))
        record = checkpoints.best()
        assert record is not None
        assert record.iteration == best
        assert checkpoints.load(record).files == files_of(best)
        kept = {*range(max(0, iteration - keep + 1), iteration + 1), best}
        assert [r.iteration for r in checkpoints.records()] == sorted(kept)
        assert set(store.list("model/model_")) == {f"model/model_{i}.pb" for i in kept}
        assert len([key for key in store.list("model/") if ".ckpt." in key]) == 3 * len(kept)
    assert len([key for key in store.list("model/") if "manifest" in key]) == len(metrics)


def test_keep_all_keeps_all(store: LocalStore) -> None:
    checkpoints = Checkpoints(store, keep_all=True)
    for iteration in range(5):
        save(checkpoints, iteration, -iteration)
    assert [record.iteration for record in checkpoints.records()] == [0, 1, 2, 3, 4]


class _Memory:
    """An ObjectStore without a disk, for many examples."""

    def __init__(self) -> None:
        self.content: dict[str, bytes] = {}

    def put(self, key: str, data: bytes) -> None:
        self.content[key] = data

    def get(self, key: str) -> bytes:
        return self.content[key]

    def exists(self, key: str) -> bool:
        return key in self.content

    def list(self, prefix: str) -> Sequence[str]:
        return sorted(key for key in self.content if key.startswith(prefix))

    def delete(self, key: str) -> None:
        self.content.pop(key, None)


class _Killed(BaseException):
    """Stands for the process's death: no handler of Exception sees it."""


class _Failing(_Memory):
    """Dies at the nth change, before it or right after it."""

    def __init__(self, content: dict[str, bytes], changes: int, after: bool, death: BaseException) -> None:
        super().__init__()
        self.content, self.left, self.after, self.death = content, changes, after, death

    def _change(self, change: object, *arguments: object) -> None:
        self.left -= 1
        if self.left == 0 and not self.after:
            raise self.death
        change(*arguments)  # type: ignore[operator]
        if self.left == 0:
            raise self.death

    def put(self, key: str, data: bytes) -> None:
        self._change(super().put, key, data)

    def delete(self, key: str) -> None:
        self._change(super().delete, key)


@pytest.mark.parametrize("after", [False, True], ids=["before", "after"])
@pytest.mark.parametrize("death", [StoreError("disk full"), _Killed()], ids=["store-error", "killed"])
def test_a_death_at_any_change_leaves_a_whole_last_and_best(death: BaseException, after: bool) -> None:
    outcomes = []
    for changes in range(1, 100):
        content: dict[str, bytes] = {}
        before = Checkpoints(_Failing(content, -1, False, death))
        for iteration, metric in enumerate((90.0, 10.0, 20.0)):
            save(before, iteration, metric)
        try:
            save(Checkpoints(_Failing(content, changes, after, death)), 3, 95.0)
        except (StoreError, _Killed):
            pass
        else:
            break

        resumed = Checkpoints(_Failing(content, -1, False, death))
        last, best = resumed.last(), resumed.best()
        assert last is not None
        assert best is not None
        assert resumed.load(last) == (files_of(last.iteration), f"graph {last.iteration}".encode(), last.run_state)
        assert resumed.load(best).files == files_of(best.iteration)
        assert (last.iteration, best.iteration) in [(2, 0), (3, 3)]
        outcomes.append(last.iteration)
        # the run goes on, with other numbers than the save that died, and nothing of that one stays
        if last.iteration == 2:
            resumed.save(3, 333, files_of(3, "!"), b"graph 3!", 1.0, {})
            assert last_name(resumed) == "3_Step-333.ckpt"
            assert not [key for key in content if "3_Step-300" in key]
        save(resumed, 4, 1.0)
        assert [record.iteration for record in resumed.records()] == sorted({best.iteration, 3, 4})
    else:
        pytest.fail("the save never got through")
    assert outcomes == sorted(outcomes), "after the commit there is no way back"
    assert {2, 3} == set(outcomes)


def test_disk_full_at_any_byte_keeps_the_last_checkpoint(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write = os.write
    room = [10**9]

    def limited(descriptor: int, data: memoryview) -> int:
        if room[0] <= 0:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        written = write(descriptor, data[: room[0]])
        room[0] -= written
        return written

    monkeypatch.setattr(os, "write", limited)
    failures = 0
    for limit in (0, 1, 700, 1500, 2000, 2600, 3000, 3400):
        store = LocalStore(tmp_path / str(limit))
        checkpoints = Checkpoints(store)
        room[0] = 10**9
        save(checkpoints, 1, 5.0)
        room[0] = limit
        try:
            save(checkpoints, 2, 6.0)
        except StoreError as error:
            failures += 1
            assert "No space left on device" in str(error)
        record = checkpoints.last()
        assert record is not None
        assert checkpoints.load(record).files == files_of(record.iteration)
        room[0] = 10**9
        if record.iteration == 1:
            save(checkpoints, 2, 6.0)
        assert last_name(checkpoints) == "2_Step-200.ckpt"
    assert failures >= 5


def _path(store: LocalStore, key: str) -> Path:
    return store.root / key


@pytest.fixture
def three(store: LocalStore) -> Checkpoints:
    checkpoints = Checkpoints(store, keep=3)
    for iteration in (1, 2, 3):
        save(checkpoints, iteration, 10.0 - iteration)
    return checkpoints


def _load_error(checkpoints: Checkpoints) -> str:
    record = checkpoints.last()
    assert record is not None
    with pytest.raises(CheckpointError) as error:
        checkpoints.load(record)
    return str(error.value)


def test_a_truncated_file_is_named_with_its_sizes_and_the_way_out(store: LocalStore, three: Checkpoints) -> None:
    key = "model/3_Step-300.ckpt.data-00000-of-00001"
    whole = store.get(key)
    _path(store, key).write_bytes(whole[:-10])
    _path(store, "model/2_Step-200.ckpt.index").write_bytes(b"broken too")
    message = _load_error(three)
    assert f"checkpoint 3_Step-300.ckpt: {key} has {len(whole) - 10:,} bytes" in message
    assert f"the manifest says {len(whole):,}" in message
    assert "go on from a checkpoint that is whole: 1_Step-100.ckpt\n" in message + "\n"


def test_a_flipped_bit_is_found(store: LocalStore, three: Checkpoints) -> None:
    path = _path(store, "model/model_3.pb")
    data = bytearray(path.read_bytes())
    data[3] ^= 1
    path.write_bytes(data)
    message = _load_error(three)
    assert "model/model_3.pb has SHA-256" in message
    assert "1_Step-100.ckpt, 2_Step-200.ckpt" in message


def test_a_missing_file_is_named(store: LocalStore, three: Checkpoints) -> None:
    _path(store, "model/3_Step-300.ckpt.meta").unlink()
    assert "model/3_Step-300.ckpt.meta is missing" in _load_error(three)


def test_when_nothing_is_whole_it_says_so(store: LocalStore) -> None:
    checkpoints = Checkpoints(store)
    save(checkpoints, 1)
    _path(store, "model/model_1.pb").unlink()
    assert "no other checkpoint of this run is whole" in _load_error(checkpoints)


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (None, "is missing"),
        (b'{"format": 1, "iter', "is broken"),
        (b"[]", "is broken"),
        (b"{}", "is broken"),
        (b'{"format": 99}', "format 99, this version reads 1"),
    ],
)
def test_a_broken_manifest_is_named(store: LocalStore, three: Checkpoints, content: bytes | None, said: str) -> None:
    path = _path(store, "model/3_Step-300.manifest.json")
    if content is None:
        path.unlink()
    else:
        path.write_bytes(content)
    with pytest.raises(CheckpointError) as error:
        three.last()
    assert "checkpoint 3_Step-300.ckpt: its manifest model/3_Step-300.manifest.json" in str(error.value)
    assert said in str(error.value)
    assert "1_Step-100.ckpt, 2_Step-200.ckpt" in str(error.value)


def test_a_changed_counter_in_a_manifest_is_found(store: LocalStore, three: Checkpoints) -> None:
    path = _path(store, "model/3_Step-300.manifest.json")
    path.write_text(path.read_text().replace('"episode": 60', '"episode": 61'))
    with pytest.raises(CheckpointError, match=r"is broken.*SHA-256"):
        three.last()


@pytest.mark.parametrize(
    "content",
    [b"", b"[]", b'{"last_checkpoint": {"name": "x"}}', b'{"best_checkpoint": 1, "last_checkpoint": 2}', b"\xff"],
)
def test_broken_pointers_are_explained(store: LocalStore, three: Checkpoints, content: bytes) -> None:
    _path(store, artifacts.DEEPRACER_CHECKPOINTS).write_bytes(content)
    with pytest.raises(CheckpointError) as error:
        three.last()
    assert "model/deepracer_checkpoints.json cannot be read" in str(error.value)
    assert "3_Step-300.ckpt" in str(error.value)


def test_rewinding_forgets_what_came_later(store: LocalStore, three: Checkpoints) -> None:
    _path(store, "model/3_Step-300.ckpt.meta").unlink()
    three.rewind(three.records()[-1])
    assert last_name(three) == "2_Step-200.ckpt"
    best = three.best()
    assert best is not None
    assert best.iteration == 1
    assert not [key for key in store.list("") if "3" in key]
    save(three, 3, 50.0, version="again")
    record = three.last()
    assert record is not None
    assert three.load(record).files == files_of(3, "again")


def test_a_save_never_overwrites(three: Checkpoints) -> None:
    with pytest.raises(CheckpointError, match=r"iteration 3 cannot be saved after 3_Step-300\.ckpt") as error:
        save(three, 3)
    assert "rewind" in str(error.value)


@pytest.mark.parametrize("metric", [float("nan"), float("inf")])
def test_a_metric_that_is_no_number_is_refused(store: LocalStore, metric: float) -> None:
    with pytest.raises(CheckpointError, match="avg_eval_metric of iteration 1"):
        save(Checkpoints(store), 1, metric)
    assert store.list("") == []


def test_car_bundle_holds_what_the_car_takes_and_is_reproducible() -> None:
    graph, metadata = os.urandom(100_000), b'{"sensor": []}'
    bundle = car_bundle(graph, metadata)
    assert bundle == car_bundle(graph, metadata)
    with tarfile.open(fileobj=io.BytesIO(bundle), mode="r:gz") as tar:
        members = tar.getmembers()
        assert [(m.name, m.mtime, m.uid, m.gid, m.mode) for m in members] == [
            ("agent/model.pb", 0, 0, 0, 0o644),
            ("model_metadata.json", 0, 0, 0, 0o644),
        ]
        content = [tar.extractfile(member) for member in members]
        assert [file.read() for file in content if file] == [graph, metadata]
    assert gzip.decompress(bundle)[:14] == b"agent/model.pb"
