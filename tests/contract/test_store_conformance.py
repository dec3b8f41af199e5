"""What every ObjectStore must do; each implementation is a parameter of the `store` fixture."""

from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from contract.errors import StoreError
from contract.protocols import ObjectStore
from contract.stores.local import LocalStore


def _local(folder: Path) -> ObjectStore:
    return LocalStore(folder / "run")


@pytest.fixture(params=[_local], ids=["local"])
def make_store(request: pytest.FixtureRequest) -> Callable[[Path], ObjectStore]:
    return request.param  # type: ignore[no-any-return]


@pytest.fixture
def store(make_store: Callable[[Path], ObjectStore], tmp_path: Path) -> ObjectStore:
    return make_store(tmp_path)


def test_fresh_store_is_empty(store: ObjectStore) -> None:
    assert list(store.list("")) == []
    assert list(store.list("model/")) == []
    assert not store.exists("model/a")
    with pytest.raises(KeyError):
        store.get("model/a")
    store.delete("model/a")


def test_put_then_get_whole_content(store: ObjectStore) -> None:
    big = bytes(range(256)) * 8192
    store.put("model/.coach_checkpoint", b"")
    store.put("model/big", big)
    assert store.get("model/.coach_checkpoint") == b""
    assert store.get("model/big") == big
    assert store.exists("model/big")


def test_put_replaces(store: ObjectStore) -> None:
    store.put("key", b"a long first content")
    store.put("key", b"short")
    assert store.get("key") == b"short"
    assert list(store.list("")) == ["key"]


def test_a_prefix_is_no_key(store: ObjectStore) -> None:
    store.put("model/a", b"1")
    assert not store.exists("model")
    with pytest.raises(KeyError):
        store.get("model")
    with pytest.raises(KeyError):
        store.get("model/a/b")
    store.delete("model")
    assert store.get("model/a") == b"1"


def test_list_matches_the_beginning_of_keys_in_order(store: ObjectStore) -> None:
    for key in ("model/model_10.pb", "model/model_1.pb", "modelling", "a", "model/.hidden", "model/sub/x"):
        store.put(key, b"")
    assert list(store.list("model/model_1")) == ["model/model_1.pb", "model/model_10.pb"]
    assert list(store.list("model/")) == ["model/.hidden", "model/model_1.pb", "model/model_10.pb", "model/sub/x"]
    assert list(store.list("model")) == [*store.list("model/"), "modelling"]
    assert list(store.list("")) == ["a", *store.list("model")]


def test_deleted_keys_are_gone(store: ObjectStore) -> None:
    store.put("model/a", b"1")
    store.put("model/b", b"2")
    store.delete("model/a")
    assert list(store.list("")) == ["model/b"]
    with pytest.raises(KeyError):
        store.get("model/a")


@pytest.mark.parametrize("key", ["", "/etc/passwd", "../up", "a/../b", "a//b", "a/", "./a", ".", "..", "a\0b"])
def test_keys_that_are_not_plain_are_refused_with_the_rule(store: ObjectStore, key: str) -> None:
    for use in (lambda: store.put(key, b"x"), lambda: store.get(key), lambda: store.delete(key)):
        with pytest.raises(StoreError, match="is not allowed") as error:
            use()
        assert repr(key) in str(error.value)


Keys = st.sampled_from(["a", "b", "m/a", "m/b", "m/n/c", "model"])
Operations = st.lists(st.tuples(st.sampled_from(["put", "delete"]), Keys, st.binary(max_size=40)), max_size=25)


@settings(max_examples=30, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(Operations)
def test_behaves_as_a_dict(
    make_store: Callable[[Path], ObjectStore],
    tmp_path_factory: pytest.TempPathFactory,
    operations: list[tuple[str, str, bytes]],
) -> None:
    store = make_store(tmp_path_factory.mktemp("store"))
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
