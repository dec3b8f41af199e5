"""LocalStore on a disk that is full, forbidden, read meanwhile, or whose writer is killed."""

import contextlib
import errno
import os
import subprocess
import sys
import textwrap
from collections.abc import Iterator
from pathlib import Path

import pytest

from contract.errors import StoreError
from contract.stores.local import LocalStore, ready_folder, write_file


def _child(code: str, *arguments: str) -> list[str]:
    return [sys.executable, "-c", textwrap.dedent(code), *arguments]


def _files(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_disk_full_keeps_the_old_content_and_says_what_to_do(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    store = LocalStore(tmp_path)
    store.put("model/a", b"old")
    write = os.write

    def full_after_100_bytes(descriptor: int, data: memoryview) -> int:
        if os.fstat(descriptor).st_size >= 100:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        return write(descriptor, data[:100])

    monkeypatch.setattr(os, "write", full_after_100_bytes)
    with pytest.raises(StoreError) as error:
        store.put("model/a", b"n" * 2345)
    message = str(error.value)
    assert f"cannot write {tmp_path / 'model' / 'a'}, 2,345 bytes: " in message
    assert "kept: the file as it was" in message
    assert "No space left on device" in message
    assert "bytes on the disk of" in message
    assert "fix:" in message
    assert "make room" in message
    assert store.get("model/a") == b"old"
    assert _files(tmp_path / "model") == ["a"]


def test_short_writes_are_continued(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write = os.write
    monkeypatch.setattr(os, "write", lambda descriptor, data: write(descriptor, data[:7]))
    store = LocalStore(tmp_path)
    store.put("a", bytes(range(100)))
    assert store.get("a") == bytes(range(100))


def test_a_limit_of_the_operating_system_keeps_the_old_content(tmp_path: Path) -> None:
    """RLIMIT_FSIZE makes the kernel itself refuse to write on, as a full disk does."""
    LocalStore(tmp_path).put("a", b"old")
    code = """
        import resource, sys
        from pathlib import Path
        from contract.errors import StoreError
        from contract.stores.local import LocalStore
        resource.setrlimit(resource.RLIMIT_FSIZE, (50_000, 50_000))
        try:
            LocalStore(Path(sys.argv[1])).put("a", b"n" * 200_000)
        except StoreError as error:
            print(error)
    """
    said = subprocess.run(_child(code, str(tmp_path)), capture_output=True, text=True, check=True).stdout
    assert f"cannot write {tmp_path / 'a'}, 200,000 bytes: " in said
    assert "File too large" in said
    assert _files(tmp_path) == ["a"]
    assert LocalStore(tmp_path).get("a") == b"old"


@contextlib.contextmanager
def _without_rights() -> Iterator[None]:
    """As a user who may write nothing here, even when the tests run as root."""
    user = os.geteuid()
    if user == 0:
        os.seteuid(65534)
    try:
        yield
    finally:
        os.seteuid(user)


def test_a_forbidden_folder_says_whose_rights_are_missing(tmp_path: Path) -> None:
    store = LocalStore(tmp_path / "run")
    store.put("model/a", b"old")
    (tmp_path / "run" / "model").chmod(0o500)
    with _without_rights(), pytest.raises(StoreError, match="Permission denied") as error:
        store.put("model/a", b"new")
    (tmp_path / "run" / "model").chmod(0o700)
    assert f"cannot write {store.path('model/a')}, " in str(error.value)
    assert f"write access to {tmp_path / 'run' / 'model'}" in str(error.value)
    assert store.get("model/a") == b"old"


def test_a_file_in_the_place_of_a_folder_is_named(tmp_path: Path) -> None:
    store = LocalStore(tmp_path)
    store.put("model", b"a file")
    with pytest.raises(StoreError, match=f"rule: {tmp_path}/model is a file, where a folder is needed"):
        store.put("model/a", b"new")
    store.put("folder/a", b"")
    with pytest.raises(StoreError, match=f"rule: {tmp_path}/folder is a folder, where a file is needed"):
        store.put("folder", b"new")


def test_a_racers_own_file_is_told_by_its_path_and_not_by_a_stores_key(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    tmp_path.chmod(0o555)
    for path in (Path("mine.png"), Path("pictures/mine.png")):
        with _without_rights(), pytest.raises(StoreError) as error:
            write_file(path, b"new")
        first, fix = str(error.value).splitlines()
        assert first == f"cannot write {path}, 3 bytes: Permission denied"
        assert fix == f"  fix:  give this user write access to {tmp_path}, or choose another folder"
    with _without_rights(), pytest.raises(StoreError, match="cannot write to tracks: Permission denied"):
        ready_folder(Path("tracks"))
    tmp_path.chmod(0o700)
    ready_folder(Path("tracks"))
    assert _files(tmp_path) == ["tracks"] and _files(tmp_path / "tracks") == []
    with pytest.raises(StoreError, match="choose a shorter name"):
        write_file(Path(f"{'m' * 300}.png"), b"new")


def test_readers_see_the_old_content_or_the_new_one_whole(tmp_path: Path) -> None:
    size = 300_000
    store = LocalStore(tmp_path)
    store.put("a", b"0" * size)
    code = """
        import sys
        from pathlib import Path
        from contract.stores.local import LocalStore
        store = LocalStore(Path(sys.argv[1]))
        for i in range(120):
            store.put("a", str(i % 10).encode() * int(sys.argv[2]))
    """
    seen = set()
    with subprocess.Popen(_child(code, str(tmp_path), str(size))) as writer:
        while writer.poll() is None:
            content = store.get("a")
            assert len(content) == size
            assert content == content[:1] * size
            assert list(store.list("")) == ["a"]
            seen.add(content[:1])
    assert writer.returncode == 0
    assert len(seen) > 1


def test_a_killed_writer_leaves_the_old_content_and_its_leftover_is_swept(tmp_path: Path) -> None:
    store = LocalStore(tmp_path)
    store.put("a", b"old")
    code = """
        import os, sys, time
        from pathlib import Path
        from contract.stores.local import LocalStore
        write = os.write
        def half(descriptor, data):
            write(descriptor, data[: len(data) // 2])
            print("half", flush=True)
            time.sleep(100)
        os.write = half
        LocalStore(Path(sys.argv[1])).put("a", b"n" * 1000)
    """
    with subprocess.Popen(_child(code, str(tmp_path)), stdout=subprocess.PIPE, text=True) as writer:
        assert writer.stdout is not None
        assert writer.stdout.readline() == "half\n"
        LocalStore(tmp_path).put("b", b"")
        assert len(_files(tmp_path)) == 3, "a living writer's file must stay"
        writer.kill()
    assert len(_files(tmp_path)) == 3
    assert store.get("a") == b"old"
    assert store.list("") == ["a", "b"]
    LocalStore(tmp_path).put("b", b"")
    assert _files(tmp_path) == ["a", "b"]
