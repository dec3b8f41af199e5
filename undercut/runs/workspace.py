"""Where runs and races live: the working directory, or the prefix of a bucket that UNDERCUT_STORE names."""

import atexit
import contextlib
import secrets
import shutil
import tempfile
from collections.abc import Callable, Collection, Iterator, Sequence
from functools import lru_cache
from pathlib import Path

from contract import artifacts
from contract.host import HostSettings, S3Address
from contract.protocols import Place
from contract.stores.local import LocalStore

RUNS_PREFIX = "runs/"


def workspace() -> Place:
    """The place that holds `runs/` and `races/`, by this process's environment."""
    address = HostSettings.load().store
    return LocalStore(Path()) if address is None else bucket_place(address)


@lru_cache
def bucket_place(address: S3Address) -> Place:
    """A prefix of a bucket, by boto3's settings."""
    from contract.stores.s3 import S3Store  # boto3 takes a moment to import

    return S3Store(address)


def run_place(name: str) -> Place:
    """Where the run of that name lives, whether or not it exists."""
    return workspace().below(RUNS_PREFIX + name)


@contextlib.contextmanager
def staged(target: Place) -> Iterator[LocalStore]:
    """A folder to put a new run together in: its files come to the target when the block ends, run.json last, and
    nothing does when it fails. The target must be empty."""
    beside = target.root.parent if isinstance(target, LocalStore) else Path(tempfile.gettempdir())
    stage = LocalStore(beside / f".new-{secrets.token_hex(8)}")
    try:
        yield stage
        if isinstance(target, LocalStore):
            stage.root.rename(target.root)
        else:
            copy_run(stage, target)
    finally:
        shutil.rmtree(stage.root, ignore_errors=True)


def copy_run(
    source: Place,
    target: Place,
    same: Collection[str] = (),
    is_still_so: Callable[[], bool] = lambda: True,
    tell: Callable[[int, int], None] = lambda done, of: None,
) -> int | None:
    """Put every file of a run but the `same` to the target; returns how many. What names checkpoints comes late and
    run.json last: a copy that is cut off is either no run yet or the run that it was.

    `tell` hears how many files of all are done, before the first and after each. None when it was not `is_still_so`
    just before the late ones: those are not put then.
    """
    late = (artifacts.DEEPRACER_CHECKPOINTS, artifacts.COACH_CHECKPOINT, artifacts.RUN_CONFIG)
    keys = [key for key in source.list("") if key not in same]
    early = [key for key in keys if key not in late]
    tell(0, len(keys))
    for done, key in enumerate(early, 1):
        target.put(key, source.get(key))
        tell(done, len(keys))
    if not is_still_so():
        return None
    for done, key in enumerate((key for key in late if key in keys), len(early) + 1):
        target.put(key, source.get(key))
        tell(done, len(keys))
    return len(keys)


def real_folder(store: Place, keys: Sequence[str], ending: str | None = None) -> Path:
    """A folder that holds those of the keys that exist as files, under their keys, and all keys with this ending: the
    store's own if it is one, else a copy that is deleted when this process ends."""
    if isinstance(store, LocalStore):
        return store.root
    folder = Path(tempfile.mkdtemp(prefix="undercut-"))
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    copy = LocalStore(folder)
    more = [key for key in store.list("") if key.endswith(ending)] if ending else []
    for key in dict.fromkeys([*keys, *more]):
        with contextlib.suppress(KeyError):
            copy.put(key, store.get(key))
    return folder
