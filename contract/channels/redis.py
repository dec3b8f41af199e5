"""A channel over Redis, for workers in other containers and on other machines.

Redis only carries: nothing in it is needed to go on. The trainer keeps who drives what, and puts job and policies back
when Redis has lost them, so Redis may be killed at any moment and needs no disk. Any number of runs have a trainer
each, and workers serve them in turns. Keys, all below "undercut:", where no run's name has a slash:

    trainer/RUN          who trains the run; expires LOCK_S after the trainer's last sign of life (Redis' own clock)
    RUN:inbox            list of messages for the trainer; `:bytes` counts them, and workers wait while it is full
    RUN:taken            list with the message that the trainer has taken and not acknowledged yet
    RUN:to:WORKER        list of messages for a worker
    RUN:blob:SHA256      job or policy
"""

import contextlib
import hashlib
import json
import os
import secrets
import socket
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import redis
from redis.backoff import ExponentialBackoff, NoBackoff
from redis.exceptions import (
    AuthenticationError,
    AuthorizationError,
    BusyLoadingError,
    LockNotOwnedError,
    NoPermissionError,
    OutOfMemoryError,
    RedisError,
    ResponseError,
)
from redis.retry import Retry

from contract.channels.memory import MAX_BYTES, ROOM_PATIENCE_S
from contract.errors import ChannelError
from contract.host import RedisAddress

PREFIX = "undercut:"
_TRAINERS = f"{PREFIX}trainer/"
LOCK_S = 15
KEEP_S = 3_600
"""Blobs and messages that nobody takes are gone after this."""
PATIENCE_S = 300.0
"""How long Redis may be away."""
_SOCKET_S = 20.0
_SMALL = 64 << 10
"""Messages up to this size do not wait for room."""
_REFUSALS = (AuthenticationError, AuthorizationError, NoPermissionError)
_T = TypeVar("_T")


class RedisConnection:
    """A Redis server that may go away and come back."""

    def __init__(self, address: RedisAddress, patience_s: float) -> None:
        password = address.password()
        self.address, self._patience_s = address, patience_s
        self.client = redis.Redis(
            host=address.host,
            port=address.port,
            db=address.database,
            username=address.user if password else None,
            password=password,
            ssl=address.tls,
            socket_timeout=_SOCKET_S,
            socket_connect_timeout=_SOCKET_S,
            socket_read_size=1 << 20,
            retry=Retry(NoBackoff(), 0),
            protocol=2,
        )
        self.came_back: Callable[[], None] = lambda: None

    def ask(self, what: str, command: Callable[["redis.Redis"], _T], patience_s: float | None = None) -> _T:
        """The command's answer, after as many tries as the patience allows; commands may be carried out twice."""
        patience_s = self._patience_s if patience_s is None else patience_s
        deadline_s, is_away = time.monotonic() + patience_s, False

        def attempt() -> _T:
            if is_away:
                self.came_back()
            return command(self.client)

        def failed(error: Exception) -> None:
            """Return if the command is worth another try."""
            nonlocal is_away
            if isinstance(error, OutOfMemoryError):
                why, fix = f"is full ({error})", "raise its maxmemory, or let fewer workers run"
            elif isinstance(error, BusyLoadingError) or (isinstance(error, ResponseError) and "LOADING" in str(error)):
                why, fix = "is still loading", "wait for it"
            elif isinstance(error, _REFUSALS) or "NOAUTH" in str(error) or "WRONGPASS" in str(error):
                raise self._refused(what, error) from None
            elif isinstance(error, ResponseError):
                raise ChannelError(f"Redis at {self.address} refuses to {what}: {error}") from None
            else:
                is_away = True
                why, fix = f"does not answer ({error})", "check that it runs, its address, and the network between"
            if time.monotonic() >= deadline_s:
                raise ChannelError(
                    f"Redis at {self.address} {why}; waited {patience_s:g} s to {what}", fix=fix
                ) from None

        return Retry(ExponentialBackoff(cap=2.0, base=0.05), -1, (RedisError, OSError)).call_with_retry(attempt, failed)

    def _refused(self, what: str, error: Exception) -> ChannelError:
        return ChannelError(
            f"Redis at {self.address} refuses to {what}: {error}",
            "user and password are those of the server's requirepass or ACL",
            "correct UNDERCUT_REDIS_URL's user or the file that UNDERCUT_REDIS_PASSWORD_FILE names",
        )


class RedisChannel:
    """`TrainerEnd` of a run on a Redis server; a second trainer of the same run is refused."""

    def __init__(self, address: RedisAddress, run: str, patience_s: float = PATIENCE_S) -> None:
        self._server = RedisConnection(address, patience_s)
        self._run, self._lock, self._own = run, f"{_TRAINERS}{run}", f"{PREFIX}{run}:"
        self._me = json.dumps({"session": secrets.token_hex(8), "run": run, **_this_process()}).encode()
        self._blobs: dict[str, bytes] = {}
        self._turn = threading.Lock()
        self._trainer = self._server.client.lock(self._lock, timeout=LOCK_S, sleep=0.2, thread_local=False)
        self._renewed_s = 0.0
        self._taken: bytes | None = None
        self._unsure = False
        self._take_over()
        self._server.came_back = self._came_back

    def _take_over(self) -> None:
        """Become the run's trainer, once a dead one's time is up, and sweep out what dead ones left."""
        self._server.ask("become its trainer", lambda r: _clear_dead_trainer(r, self._lock))
        wait_s = LOCK_S + 5.0
        if not self._server.ask(
            "become its trainer", lambda _: self._trainer.acquire(blocking_timeout=wait_s, token=self._me)
        ):
            raise ChannelError(
                f"Redis at {self._server.address} has a trainer of this run: {self._holder()}",
                "one trainer a run; trainers of other runs share the Redis and its workers",
                "stop that one, name the run otherwise, or take another database (redis://host:6379/1)",
            )
        self._renewed_s = time.monotonic()
        self._server.ask("sweep old messages out", self._sweep)

    def _sweep(self, client: "redis.Redis") -> None:
        taken = [bytes(key).decode() for key in client.scan_iter(f"{PREFIX}*:taken", 1000)]
        runs = {key.removeprefix(PREFIX).removesuffix(":taken") for key in taken}
        for run in {self._run, *(run for run in runs if not client.exists(f"{_TRAINERS}{run}"))}:
            own = f"{PREFIX}{run}:"
            old = [f"{own}{key}" for key in ("inbox", "inbox:bytes", "taken")]
            client.delete(*old, *client.scan_iter(f"{own}blob:*", 1000))

    def _holder(self) -> str:
        held = self._server.ask("name its trainer", lambda r: r.get(self._lock)) or b"{}"
        with contextlib.suppress(ValueError, KeyError, TypeError):
            holder = json.loads(held)
            return f"run {holder['run']}, process {holder['pid']} on {holder['host']}"
        return repr(held)

    def publish(self, blob: bytes) -> str:
        digest = hashlib.sha256(blob).hexdigest()
        with self._turn:
            self._blobs[digest] = blob
        self._server.ask("publish a policy", lambda r: r.set(f"{self._own}blob:{digest}", blob, ex=KEEP_S))
        return digest

    def withdraw(self, digest: str) -> None:
        with self._turn:
            self._blobs.pop(digest, None)
        self._server.ask("withdraw a policy", lambda r: r.delete(f"{self._own}blob:{digest}"))

    def receive(self, timeout_s: float) -> bytes | None:
        if time.monotonic() - self._renewed_s > LOCK_S / 3:
            self._server.ask("stay its trainer", lambda _: self._renew())
        if self._taken is not None:
            self._server.ask("acknowledge a message", self._acknowledge)
            self._taken = None
        self._taken = self._server.ask("take a message", lambda r: self._take(r, timeout_s))
        return self._taken

    def _take(self, client: "redis.Redis", timeout_s: float) -> bytes | None:
        if self._unsure:  # an answer was lost, perhaps with a message in it
            found = _bytes(client.lindex(f"{self._own}taken", 0))
            self._unsure = False
            if found is not None:
                return found
        return _bytes(client.blmove(f"{self._own}inbox", f"{self._own}taken", timeout_s, "LEFT", "RIGHT"))  # type: ignore[arg-type]

    def _acknowledge(self, client: "redis.Redis") -> None:
        taken = self._taken or b""
        with client.pipeline(transaction=True) as both:
            both.delete(f"{self._own}taken")
            both.decrby(f"{self._own}inbox:bytes", len(taken) if len(taken) > _SMALL else 0)
            both.execute()

    def send(self, worker: str, message: bytes) -> None:
        key = f"{self._own}to:{worker}"

        def push(client: "redis.Redis") -> None:
            with client.pipeline(transaction=True) as both:
                both.rpush(key, message)
                both.expire(key, KEEP_S)
                both.execute()

        self._server.ask("send to a worker", push)

    def close(self) -> None:
        """Let workers see at once that this trainer is gone, and take everything away; best effort, and quick."""

        def leave(client: "redis.Redis") -> None:
            if client.get(self._lock) == self._me:
                client.delete(self._lock, *client.scan_iter(f"{self._own}*", 1000))

        with contextlib.suppress(ChannelError):
            self._server.ask("leave", leave, patience_s=2.0)
        self._server.client.close()

    def _came_back(self) -> None:
        """After a failed command: Redis may have lost everything."""
        self._unsure = True
        self._renew()

    def _renew(self) -> None:
        client = self._server.client
        try:
            self._trainer.reacquire()
            is_ours = True
        except LockNotOwnedError:  # a Redis that died has lost it, or somebody else took it
            is_ours = self._trainer.acquire(blocking=False, token=self._me)
        if not is_ours:
            raise ChannelError(
                f"Redis at {self._server.address} has another trainer of this run now: {self._holder()}",
                f"one trainer a run; this one was away for more than {LOCK_S} s",
                "stop that one, then start this run again: it goes on from its last iteration",
            )
        with self._turn:
            blobs = dict(self._blobs)
        for digest, blob in blobs.items():
            if not client.expire(f"{self._own}blob:{digest}", KEEP_S):
                client.set(f"{self._own}blob:{digest}", blob, ex=KEEP_S)
        self._renewed_s = time.monotonic()


class RedisWorkerEnd:
    """`WorkerEnd` on a Redis server, for one run's trainer or, with no `run`, for each that is there in turn."""

    def __init__(
        self,
        address: RedisAddress,
        worker: str,
        most_bytes: int = MAX_BYTES,
        patience_s: float = PATIENCE_S,
        run: str | None = None,
    ) -> None:
        self._server = RedisConnection(address, patience_s)
        self._worker, self._most_bytes, self._only, self._run = worker, most_bytes, run, run or ""

    def attended(self) -> bool:
        self._of_run()
        return bool(self._run and self._server.ask("look for a trainer", lambda r: r.exists(_TRAINERS + self._run)))

    def others(self) -> bool:
        return bool(self._trainers() - {self._run})

    def turn(self) -> None:
        """In the order of the runs' names, from the one that is served, round and round."""
        names = sorted(self._trainers() - {self._run})
        self._run = next((name for name in names if name > self._run), names[0] if names else self._run)

    def _trainers(self) -> set[str]:
        if self._only is not None:
            return {self._only}
        found = self._server.ask("look for trainers", lambda r: [*r.scan_iter(f"{_TRAINERS}*", 1000)])
        return {bytes(key).decode().removeprefix(_TRAINERS) for key in found}

    def send(self, message: bytes) -> None:
        own = self._of_run()
        large = len(message) if len(message) > _SMALL else 0
        if large:
            self._wait_for_room(f"{own}inbox:bytes")

        def push(client: "redis.Redis") -> None:
            with client.pipeline(transaction=True) as both:
                both.rpush(f"{own}inbox", message)
                both.incrby(f"{own}inbox:bytes", large)
                both.expire(f"{own}inbox", KEEP_S)
                both.expire(f"{own}inbox:bytes", KEEP_S)
                both.execute()

        self._server.ask("send to the trainer", push)

    def _wait_for_room(self, counted: str) -> None:
        deadline_s = time.monotonic() + ROOM_PATIENCE_S
        while (
            waiting := int(self._server.ask("ask for room", lambda r: _bytes(r.get(counted))) or 0)
        ) >= self._most_bytes:
            if time.monotonic() >= deadline_s:
                raise ChannelError(
                    f"waited {ROOM_PATIENCE_S:g} s for the trainer to take messages: {waiting:,} bytes wait for it, "
                    f"and {self._most_bytes:,} are allowed"
                )
            threading.Event().wait(0.05)

    def receive(self, timeout_s: float) -> bytes | None:
        key = f"{self._of_run()}to:{self._worker}"
        answer: Any = self._server.ask("receive from the trainer", lambda r: r.blpop([key], timeout_s))
        return None if answer is None else bytes(answer[1])

    def fetch(self, digest: str) -> bytes | None:
        key = f"{self._of_run()}blob:{digest}"
        blob = self._server.ask("fetch a policy", lambda r: _bytes(r.get(key)))
        return blob if blob is not None and hashlib.sha256(blob).hexdigest() == digest else None

    def _of_run(self) -> str:
        """What the keys of the run that is served begin with."""
        if not self._run:
            self.turn()
        return f"{PREFIX}{self._run}:"

    def close(self) -> None:
        self._server.client.close()


def _this_process() -> dict[str, Any]:
    """Process numbers mean something within one namespace of processes: a container has its own."""
    namespace = Path("/proc/self/ns/pid")
    where = str(namespace.readlink()) if namespace.is_symlink() else ""
    return {"host": socket.gethostname(), "namespace": where, "pid": os.getpid()}


def _clear_dead_trainer(client: "redis.Redis", lock: str) -> None:
    """Where the holder was a process of this machine that is dead there is nothing to wait for."""
    held = _bytes(client.get(lock))
    try:
        holder, me = json.loads(held or b"{}"), _this_process()
        if holder["namespace"] and (holder["host"], holder["namespace"]) == (me["host"], me["namespace"]):
            os.kill(int(holder["pid"]), 0)
    except ProcessLookupError:
        if _bytes(client.get(lock)) == held:
            client.delete(lock)
    except (ValueError, KeyError, TypeError, OverflowError, PermissionError):
        return


def _bytes(answer: Any) -> bytes | None:
    """The client's types allow text, which it returns only when told to decode."""
    return None if answer is None else bytes(answer)
