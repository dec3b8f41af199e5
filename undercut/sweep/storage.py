"""Where a sweep's study is kept and who works on what: a file of this machine, a Redis for several machines, or, of a
shard, an object in the bucket of its runs."""

import contextlib
import json
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Literal, Protocol

import optuna
from optuna.storages import JournalStorage
from optuna.storages.journal import BaseJournalBackend, JournalFileBackend, JournalFileOpenLock

from contract.channels.redis_log import RedisLog
from contract.errors import HeldError, InputError
from contract.host import HostSettings, RedisAddress
from contract.protocols import Place
from contract.stores.local import LocalStore
from contract.stores.locks import folder_lock
from undercut.sweep.shards import JOURNAL, SWEEPS, Shard, kept

Direction = Literal["minimize", "maximize"]
_PAUSE_S = 0.2


class Claim(Protocol):
    """A piece of work that this process alone may do."""

    def is_held(self) -> bool:
        """Whether no other process is known to have taken it, since this one was away for too long."""


class Claims(Protocol):
    """Who works on what. A claim ends with its block, and with its process, however that ends."""

    def claimed(self, what: str) -> contextlib.AbstractContextManager[Claim | None]:
        """None where another process, or another thread of this one, has it."""

    def waited_for(self, what: str) -> contextlib.AbstractContextManager[None]:
        """Claimed as soon as it is free; what is done meanwhile is short."""


class _FlockHeld:
    def is_held(self) -> bool:
        return True  # the system's own lock, which nobody takes from a process that lives


class FileClaims:
    """Claims by locks on files, which the system lets go of when a process dies."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    @contextlib.contextmanager
    def claimed(self, what: str) -> Iterator[Claim | None]:
        with contextlib.ExitStack() as stack:
            try:
                stack.enter_context(folder_lock(self._folder / f".{what}.lock", what))
            except HeldError:
                yield None
                return
            yield _FlockHeld()

    def waited_for(self, what: str) -> contextlib.AbstractContextManager[None]:
        return _waited_for(self, what)


class RedisClaims:
    """Claims by keys that expire a minute after their holder's last sign of life."""

    def __init__(self, log: RedisLog) -> None:
        self._log = log

    def claimed(self, what: str) -> contextlib.AbstractContextManager[Claim | None]:
        return self._log.claimed(what)

    def waited_for(self, what: str) -> contextlib.AbstractContextManager[None]:
        return _waited_for(self, what)


@contextlib.contextmanager
def _waited_for(claims: Claims, what: str) -> Iterator[None]:
    """No deadline: it is held for milliseconds, by a process that lives, and free within a minute of one that died."""
    while True:
        with claims.claimed(what) as claim:
            if claim is not None:
                yield
                return
        threading.Event().wait(_PAUSE_S)


class _RedisJournal(BaseJournalBackend):
    """Optuna's journal as the lines of a RedisLog. Optuna's own backend for Redis gives up when Redis restarts, and
    writes a line twice when an answer is lost."""

    def __init__(self, log: RedisLog) -> None:
        self._log = log

    def read_logs(self, log_number_from: int) -> list[dict[str, Any]]:
        return [json.loads(line) for line in self._log.read(log_number_from)]

    def append_logs(self, logs: list[dict[str, Any]]) -> None:
        self._log.append([json.dumps(log) for log in logs])


class _ObjectJournal(BaseJournalBackend):
    """The journal of the one process that may write it, as an object of its place, which is put whole with each
    change: in a bucket it is there, up to the last word, when the machine is gone. Lines are as in Optuna's file."""

    def __init__(self, place: Place) -> None:
        self._place = place
        text = place.get(JOURNAL).decode() if place.exists(JOURNAL) else ""
        self._lines = text.splitlines()
        self._changed = threading.Lock()

    def read_logs(self, log_number_from: int) -> list[dict[str, Any]]:
        return [json.loads(line) for line in self._lines[log_number_from:]]

    def append_logs(self, logs: list[dict[str, Any]]) -> None:
        with self._changed:
            lines = [*self._lines, *(json.dumps(log, separators=(",", ":")) for log in logs)]
            self._place.put(JOURNAL, "".join(f"{line}\n" for line in lines).encode())
            self._lines = lines


class Studies:
    """The study of one sweep or shard, and its claims."""

    def __init__(
        self,
        name: str,
        redis: RedisAddress | None,
        direction: Direction | None,
        shard: Shard | None = None,
        place: Place | None = None,
    ) -> None:
        """`direction` None: the study is there already. `place`, for a shard: where its journal lies, which this
        process alone may write; else it is a file here."""
        optuna.logging.set_verbosity(optuna.logging.ERROR)
        self.name, self.shard = name, shard
        self.folder = SWEEPS / name / shard.folder if shard else SWEEPS / name
        self.where = self.folder.as_posix()
        self.folder.mkdir(parents=True, exist_ok=True)
        self.claims: Claims = FileClaims(self.folder)
        backend: BaseJournalBackend
        if place is not None:
            backend, self.where = _ObjectJournal(place), place.where()
        elif redis is None:
            path = str(self.folder / JOURNAL)
            backend = JournalFileBackend(path, lock_obj=JournalFileOpenLock(path))
        else:
            log = RedisLog(redis, f"undercut-sweep:{name}")
            backend, self.claims, self.where = _RedisJournal(log), RedisClaims(log), f"Redis at {redis}"
        self._storage = JournalStorage(backend)
        if direction is None:
            return
        with self.claims.waited_for("study"):
            optuna.create_study(storage=self._storage, study_name=name, direction=direction, load_if_exists=True)

    def study(
        self, sampler: optuna.samplers.BaseSampler | None = None, pruner: optuna.pruners.BasePruner | None = None
    ) -> optuna.Study:
        """A view of the study, for one thread."""
        return optuna.load_study(study_name=self.name, storage=self._storage, sampler=sampler, pruner=pruner)

    def has_begun(self) -> bool:
        """Whether there is any trial."""
        return bool(self.study().get_trials(deepcopy=False))

    def agree(self, fingerprint: str, where: str) -> None:
        """InputError unless the sweep was begun with this very file and these files."""
        with self.claims.waited_for("study"):
            study = self.study()
            begun = study.user_attrs.get("fingerprint")
            if begun is None or not study.get_trials(deepcopy=False):
                study.set_user_attr("fingerprint", fingerprint)
            elif begun != fingerprint:
                raise InputError(
                    where,
                    ", ".join(_differing(begun, fingerprint)),
                    f"the sweep {self.name} was begun with another one, and its trials are to be comparable; "
                    "only trials, pruner, startup_trials and warmup_iterations may change",
                    f"write another `name:`, or delete {self.where} and the runs {self.name}-*",
                )


@contextlib.contextmanager
def shard_studies(name: str, direction: Direction, shard: Shard, place: Place) -> Iterator[Studies]:
    """Those of one shard, with the journal where its runs are: `place` is what holds runs/. In a bucket it is this
    process's alone until the block ends; HeldError where another one works on the shard."""
    if isinstance(place, LocalStore):
        yield Studies(name, None, direction, shard)
        return
    with place.locked(f"{SWEEPS}/{name}/{shard.folder}") as own:
        yield Studies(name, None, direction, shard, own)


def kept_studies(name: str) -> list[Studies]:
    """Of the shards whose journals lie in the working directory."""
    return [Studies(name, None, None, shard) for shard in kept(name)]


def same_shares(name: str, count: int | None) -> None:
    """InputError unless a sweep that has begun in this folder was begun in `count` shards, None: without any."""
    known = {it.shard.count for it in kept_studies(name) if it.shard and it.has_begun()}
    is_whole = (SWEEPS / name / JOURNAL).is_file() and Studies(name, None, None).has_begun()
    where = f"sweeps/{name}"
    if count is None and known:
        rule = f"{where} has {max(known)} shards, each with a journal of its own, and goes on in these"
        fix = f"--backend cloud --shards --machines {max(known)}, or --shard I/{max(known)} here"
        if known == {1}:
            fix = "--backend compose, --backend cloud --shards, or --shard 1/1 here"
        raise InputError(f"sweep {name}", "no shards", rule, fix)
    if count is not None and is_whole:
        rule = f"{where} was begun without shards, and each of its trials is done once"
        fix = "go on without --shard, --shards and --backend compose, or write another `name:`"
        raise InputError(f"sweep {name}", f"{count} shards", rule, fix)
    if count is not None and known - {count}:
        rule = f"{where} has {max(known)} shards, and every trial belongs to one of them for good"
        raise InputError(f"sweep {name}", f"{count} shards", rule, f"take {max(known)}, or write another `name:`")


def _differing(begun: str, now: str) -> list[str]:
    """The keys whose values differ."""
    old, new = json.loads(begun), json.loads(now)
    found = [
        f"{part}.{key}"
        for part in new
        for key in {**old[part], **new[part]}
        if old[part].get(key) != new[part].get(key)
    ]
    return sorted(found)


def redis_of_host() -> RedisAddress | None:
    """The Redis that this process's environment names."""
    return HostSettings.load().redis
