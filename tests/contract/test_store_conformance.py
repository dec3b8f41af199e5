"""What every ObjectStore must do; each implementation is a parameter of the `store` fixture."""

import itertools
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from contract.errors import StoreError
from contract.protocols import Place
from contract.stores.local import LocalStore
from tests.minio_server import MinioServer


@pytest.fixture(params=["local", pytest.param("s3", marks=pytest.mark.minio)])
def make_store(request: pytest.FixtureRequest, tmp_path: Path) -> Callable[[], Place]:
    """Makes stores that are empty."""
    if request.param == "local":
        names = itertools.count()
        return lambda: LocalStore(tmp_path / f"run{next(names)}")
    minio: MinioServer = request.getfixturevalue("minio")
    return minio.empty_store


@pytest.fixture
def store(make_store: Callable[[], Place]) -> Place:
    return make_store()


def test_fresh_store_is_empty(store: Place) -> None:
    assert list(store.list("")) == []
    assert list(store.list("model/")) == []
    assert not store.exists("model/a")
    with pytest.raises(KeyError):
        store.get("model/a")
    store.delete("model/a")


def test_put_then_get_whole_content(store: Place) -> None:
    big = bytes(range(256)) * 8192
    store.put("model/.coach_checkpoint", b"")
    store.put("model/big", big)
    assert store.get("model/.coach_checkpoint") == b""
    assert store.get("model/big") == big
    assert store.exists("model/big")


def test_size_of_a_content(store: Place) -> None:
    store.put("model/big", bytes(9_000_000))
    store.put("empty", b"")
    assert (store.size("model/big"), store.size("empty")) == (9_000_000, 0)
    for key in ("model", "model/bi", "absent"):
        with pytest.raises(KeyError):
            store.size(key)


def test_put_replaces(store: Place) -> None:
    store.put("key", b"a long first content")
    store.put("key", b"short")
    assert store.get("key") == b"short"
    assert list(store.list("")) == ["key"]


def test_a_prefix_is_no_key(store: Place) -> None:
    store.put("model/a", b"1")
    assert not store.exists("model")
    with pytest.raises(KeyError):
        store.get("model")
    with pytest.raises(KeyError):
        store.get("model/a/b")
    store.delete("model")
    assert store.get("model/a") == b"1"


def test_list_matches_the_beginning_of_keys_in_order(store: Place) -> None:
    for key in ("model/model_10.pb", "model/model_1.pb", "modelling", "a", "model/.hidden", "model/sub/x"):
        store.put(key, b"")
    assert list(store.list("model/model_1")) == ["model/model_1.pb", "model/model_10.pb"]
    assert list(store.list("model/")) == ["model/.hidden", "model/model_1.pb", "model/model_10.pb", "model/sub/x"]
    assert list(store.list("model")) == [*store.list("model/"), "modelling"]
    assert list(store.list("")) == ["a", *store.list("model")]


def test_deleted_keys_are_gone(store: Place) -> None:
    store.put("model/a", b"1")
    store.put("model/b", b"2")
    store.delete("model/a")
    assert list(store.list("")) == ["model/b"]
    with pytest.raises(KeyError):
        store.get("model/a")


@pytest.mark.parametrize("key", ["", "/etc/passwd", "../up", "a/../b", "a//b", "a/", "./a", ".", "..", "a\0b"])
def test_keys_that_are_not_plain_are_refused_with_the_rule(store: Place, key: str) -> None:
    for use in (lambda: store.put(key, b"x"), lambda: store.get(key), lambda: store.delete(key)):
        with pytest.raises(StoreError, match="is not allowed") as error:
            use()
        assert repr(key) in str(error.value)


Keys = st.sampled_from(["a", "b", "m/a", "m/b", "m/n/c", "model"])
Operations = st.lists(st.tuples(st.sampled_from(["put", "delete"]), Keys, st.binary(max_size=40)), max_size=25)


@settings(
    max_examples=30, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow]
)
@given(Operations)
def test_behaves_as_a_dict(
    make_store: Callable[[], Place],
    operations: list[tuple[str, str, bytes]],
) -> None:
    store = make_store()
    expected: dict[str, bytes] = {}
    for operation, key, data in operations:
        if operation == "put":
            store.put(key, data)
            expected[key] = data
        else:
            store.delete(key)
            expected.pop(key, None)
    assert {key: store.get(key) for key in store.list("")} == expected
    for prefix in ("m", "m/", "m/n/", "mode"):
        assert list(store.list(prefix)) == sorted(key for key in expected if key.startswith(prefix))


def test_large_content_comes_back_whole(store: Place) -> None:
    """Large enough that S3 takes it in parts."""
    content = np.random.default_rng(0).bytes(33 * 2**20 + 7)
    store.put("model/large", b"old")
    store.put("model/large", content)
    assert store.get("model/large") == content
    assert store.list("") == ["model/large"]


def test_a_place_further_down_is_a_store_of_its_own(store: Place) -> None:
    run = store.below("runs/a")
    run.put("model/x", b"1")
    assert store.list("") == ["runs/a/model/x"]
    assert run.list("") == ["model/x"]
    assert run.below("model").get("x") == b"1"
    assert run.where("model/x") == f"{store.where()}/runs/a/model/x"
    assert store.below("runs/ab").list("") == []
    with pytest.raises(StoreError, match="is not allowed"):
        store.below("..")


def test_folders_are_what_has_keys_directly_below(store: Place) -> None:
    for key in ("runs/b/run.json", "runs/a/run.json", "runs/a/model/x", "runs/c", "runs2/d/x", "top"):
        store.put(key, b"")
    assert store.folders("runs/") == ["a", "b"]
    assert store.folders("runs/a/") == ["model"]
    assert store.folders("") == ["runs", "runs2"]
    assert store.folders("absent/") == []


def test_times_tell_which_key_was_put_later(store: Place) -> None:
    store.put("first", b"")
    store.put("second", b"")
    assert abs(store.modified_s("first") - time.time()) < 3600.0
    assert store.modified_s("first") <= store.modified_s("second")
    for key in ("third", "fir"):
        with pytest.raises(KeyError):
            store.modified_s(key)


def test_more_keys_than_a_page_holds(store: Place) -> None:
    """S3 lists a thousand keys at a time."""
    with ThreadPoolExecutor(8) as threads:
        list(threads.map(lambda number: store.put(f"trace/{number}", b""), range(1_050)))
    assert store.list("trace/") == sorted(f"trace/{number}" for number in range(1_050))
    assert store.folders("") == ["trace"]
