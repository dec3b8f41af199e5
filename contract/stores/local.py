"""A folder as an object store: keys are paths below it, every put is atomic and on disk when it returns."""

import contextlib
import errno
import os
import secrets
import shutil
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Self

from filelock import lock_descriptor

from contract.errors import StoreError
from contract.stores.keys import TEMPORARY, key_parts
from contract.stores.locks import folder_lock

_DISK_FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)


class LocalStore:
    """ObjectStore in the folder `root`, which the first put creates.

    Safe for many readers and writers at once, in any number of processes on one machine.
    """

    def __init__(self, root: Path) -> None:
        self.root = root
        self._swept: set[Path] = set()

    def path(self, key: str) -> Path:
        """Where a key's content lies. StoreError when the key is not a plain relative path."""
        return self.root.joinpath(*key_parts(key))

    def put(self, key: str, data: bytes) -> None:
        path = self.path(key)
        try:
            _make_folder(path.parent)
            if path.parent not in self._swept:
                _sweep(path.parent)
                self._swept.add(path.parent)
            _write_whole(path, data)
        except OSError as error:
            raise file_error("write", path, error, len(data)) from error

    def get(self, key: str) -> bytes:
        path = self.path(key)
        try:
            return path.read_bytes()
        except (FileNotFoundError, NotADirectoryError, IsADirectoryError):
            raise KeyError(key) from None
        except OSError as error:
            raise file_error("read", path, error) from error

    def exists(self, key: str) -> bool:
        return self.path(key).is_file()

    def list(self, prefix: str) -> list[str]:
        folder = self.path(prefix.rpartition("/")[0]) if "/" in prefix else self.root
        keys = []
        for parent, _, names in os.walk(folder):
            base = Path(parent).relative_to(self.root)
            keys += [(base / name).as_posix() for name in names if not name.startswith(TEMPORARY)]
        return sorted(key for key in keys if key.startswith(prefix))

    def delete(self, key: str) -> None:
        path = self.path(key)
        try:
            path.unlink(missing_ok=True)
        except (NotADirectoryError, IsADirectoryError):
            return
        except OSError as error:
            raise file_error("delete", path, error) from error

    def where(self, key: str = "") -> str:
        return str(self.path(key) if key else self.root)

    def below(self, path: str) -> Self:
        return type(self)(self.path(path))

    @contextlib.contextmanager
    def locked(self, path: str, takeover: bool = False) -> Iterator[Self]:
        place = self.below(path)
        with folder_lock(place.root.parent / f".{place.root.name}.lock", place.where()):
            yield place

    def folders(self, prefix: str) -> Sequence[str]:
        folder = self.path(prefix.removesuffix("/")) if prefix else self.root
        if not folder.is_dir():
            return []
        return sorted(child.name for child in folder.iterdir() if child.is_dir() and any(child.iterdir()))

    def size(self, key: str) -> int:
        path = self.path(key)
        if not path.is_file():
            raise KeyError(key)
        return path.stat().st_size

    def modified_s(self, key: str) -> float:
        path = self.path(key)
        if not path.is_file():
            raise KeyError(key)
        return path.stat().st_mtime


def file_error(verb: str, path: Path, error: OSError, size: int = 0) -> StoreError:
    """Why a file could not be dealt with, and what to do: `verb` is what was tried, `size` how many bytes to write."""
    rule, free = "", ""
    there = next((it for it in (path, *path.parents) if _may_be_there(it)), path)
    folder = there if there != path or os.path.isdir(path) else path.parent  # noqa: PTH112 is_dir raises on EACCES
    if error.errno in _DISK_FULL:
        fix = "make room or raise the quota (old runs are the first to go), or write to another disk"
        free = f"\n  free: {_free_space(path)}"
    elif error.errno in (errno.EACCES, errno.EPERM, errno.EROFS):
        fix = f"give this user write access to {folder.absolute()}, or choose another folder"
    elif error.errno in (errno.ENOTDIR, errno.EISDIR, errno.EEXIST, errno.ENOTEMPTY):
        kind, needed = ("folder", "file") if there.is_dir() else ("file", "folder")
        rule = f"{there} is a {kind}, where a {needed} is needed"
        fix = "move it away, or choose another name"
    elif error.errno == errno.ENAMETOOLONG:
        fix = "choose a shorter name"
    else:
        fix = "check the disk and its mount, or choose another folder"
    want = f"{path}, {size:,} bytes" if verb == "write" and size else str(path)
    kept = "\n  kept: the file as it was" if verb == "write" and os.path.isfile(path) else ""  # noqa: PTH113 as above
    return StoreError(f"cannot {verb} {want}: {os.strerror(error.errno or 0)}{free}{kept}", rule, fix)


def _may_be_there(path: Path) -> bool:
    """Whether it exists, or this user may not know."""
    try:
        path.lstat()
    except (FileNotFoundError, NotADirectoryError):
        return False
    except OSError:
        return True
    return True


def ready_folder(folder: Path) -> None:
    """Make a folder, and see that files can be written there before work begins. StoreError says why not."""
    try:
        _make_folder(folder)
        temporary, descriptor = _open_temporary(folder, 0o666)
        os.close(descriptor)
        temporary.unlink(missing_ok=True)
    except OSError as error:
        raise file_error("write to", folder, error) from error


def write_file(path: Path, data: bytes) -> None:
    """A file of the racer's own, whole or not at all; its folder is made. StoreError as for every put."""
    LocalStore(path.parent).put(path.name, data)


def write_private(path: Path, data: bytes) -> None:
    """A file that its owner alone can read, from its first byte on; whole or not at all."""
    _write_whole(path, data, 0o600)


def drop_empty_folders(folder: Path) -> None:
    """Remove the folders below this one, and itself, that hold nothing: a bucket has none either."""
    for parent, _, _ in os.walk(folder, topdown=False):
        with contextlib.suppress(OSError):  # it holds something
            Path(parent).rmdir()


def replace_folder(stage: Path, folder: Path) -> None:
    """Rename a finished folder to where it belongs; what was there is moved away first and deleted after."""
    if not folder.exists():
        stage.rename(folder)
        return
    before = folder.parent / f".old-{secrets.token_hex(8)}"
    folder.rename(before)
    try:
        stage.rename(folder)
    except BaseException:
        before.rename(folder)
        raise
    shutil.rmtree(before, ignore_errors=True)


def _free_space(path: Path) -> str:
    for folder in path.parents:
        try:
            return f"{shutil.disk_usage(folder).free:,} bytes on the disk of {folder}"
        except OSError:
            continue
    return "unknown"


def _make_folder(folder: Path) -> None:
    """mkdir -p that also puts the new folders' names on disk."""
    if folder.is_dir():
        return
    if folder.parent != folder:
        _make_folder(folder.parent)
    folder.mkdir(exist_ok=True)
    _sync_folder(folder.parent)


def _sync_folder(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _write_whole(path: Path, data: bytes, mode: int = 0o666) -> None:
    """Temporary file in the same folder, synced, then renamed over the path; nothing is left behind on failure."""
    temporary, descriptor = _open_temporary(path.parent, mode)
    try:
        try:
            view = memoryview(data)
            while view:
                view = view[os.write(descriptor, view) :]
            os.fsync(descriptor)
            temporary.replace(path)
        finally:
            os.close(descriptor)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise
    _sync_folder(path.parent)


def _open_temporary(folder: Path, mode: int) -> tuple[Path, int]:
    """A new temporary file, locked for as long as it is open: the lock tells `_sweep` that its writer lives."""
    while True:
        temporary = folder / f"{TEMPORARY}{secrets.token_hex(8)}"
        descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, mode)
        lock_descriptor(descriptor)
        if os.fstat(descriptor).st_nlink:
            return temporary, descriptor
        os.close(descriptor)  # swept between its creation and its lock


def _sweep(folder: Path) -> None:
    """Delete the temporary files of writers that were killed; a checkpoint's is over 100 MB."""
    for leftover in folder.glob(f"{TEMPORARY}*"):
        try:
            descriptor = os.open(leftover, os.O_RDONLY | os.O_CLOEXEC)
        except OSError:
            continue  # finished meanwhile, or another user's
        try:
            if lock_descriptor(descriptor, blocking=False):  # else it is still being written
                leftover.unlink(missing_ok=True)
        except OSError:
            continue  # another user's folder
        finally:
            os.close(descriptor)
