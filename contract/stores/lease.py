"""One process at a time trains a run in a bucket: a small object that its holder renews, by conditional writes.

No clock is compared with another machine's. A holder renews every HEARTBEAT_S. Whoever wants the run watches the object
and takes it when it has not changed for TAKEOVER_S of its own clock; sooner when the holder was a process of this
machine that no longer runs. A holder that could not renew for PROOF_S, perhaps since it was suspended, renews before it
writes anything else; if another process took the run meanwhile, that fails, and the write does not happen.
"""

import contextlib
import logging
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Protocol

from contract.errors import StoreError
from contract.stores.locks import Holder, held

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class LeaseTimes:
    """Seconds; `takeover_s` must leave room for `proof_s` and one request after it."""

    heartbeat_s: float = 10.0
    proof_s: float = 15.0
    takeover_s: float = 60.0


class Conditional(Protocol):
    """A store with conditional writes, see S3Store."""

    def get_tagged(self, key: str) -> tuple[bytes, str]: ...

    def put_if(self, key: str, data: bytes, etag: str | None) -> str | None: ...


class Lease:
    """The holding of one run. `where` names the run in messages; `hasty` is the same store without patience, for what
    is tried again anyway."""

    def __init__(self, store: Conditional, hasty: Conditional, key: str, where: str, times: LeaseTimes) -> None:
        self._store, self._hasty, self._key, self._where, self._times = store, hasty, key, where, times
        self._me = Holder.this_process()
        self._turn = threading.Lock()
        self._etag, self._beat, self._proven_s = "", 0, 0.0
        self._lost_to: Holder | None = None
        self._is_lost = False

    @contextlib.contextmanager
    def taken(self, takeover: bool) -> Iterator[None]:
        """Hold it until the block ends. StoreError when a living process holds it and `takeover` is not asked for."""
        self._take(takeover)
        stop = threading.Event()
        heart = threading.Thread(target=self._keep_beating, args=(stop,), daemon=True, name="lease")
        heart.start()
        try:
            yield
        finally:
            stop.set()
            with contextlib.suppress(StoreError):  # if it cannot be let go of, it is taken over in time
                self._release()

    def check(self) -> None:
        """Return if this process certainly still holds the run; StoreError if another one took it."""
        with self._turn:
            if not self._is_lost and _now_s() - self._proven_s > self._times.proof_s:
                self._renew(self._store)
            if self._is_lost:
                raise StoreError(
                    f"{self._where} was taken over by {self._lost_to or 'another process'}",
                    "one training at a time; this one writes nothing more\n"
                    "  kept: every iteration that was saved before",
                    "leave the run to the other process, or stop that one and give this command again",
                )

    def _take(self, takeover: bool) -> None:
        """Watch and take."""
        seen, since_s = "", _now_s()
        while True:
            began_s = _now_s()
            content, etag = self._look(self._store)
            holder = Holder.from_json(content)
            if holder is not None and holder.token == self._me.token:  # the answer to our put was lost
                self._etag, self._proven_s = etag, began_s
                return
            if etag != seen:
                if seen and holder is not None and not takeover:
                    raise self._held_by(holder)
                seen, since_s = etag, began_s
            unchanged_s = began_s - since_s
            if holder is None or takeover or holder.is_gone() or unchanged_s >= self._times.takeover_s:
                taken = self._store.put_if(self._key, self._me.to_json(), etag or None)
                if taken is not None:
                    self._etag, self._proven_s = taken, began_s
                    if not etag:
                        self._check_conditions()
                    if holder is not None and not holder.is_gone() and unchanged_s < self._times.takeover_s:
                        time.sleep(self._times.proof_s)  # until then it may believe that the run is still its own
                    return
                continue
            if unchanged_s == 0.0:
                _log.warning(
                    "%s is held by %s; waiting up to %g s to see whether that lives",
                    self._where,
                    holder,
                    self._times.takeover_s,
                )
            time.sleep(self._times.heartbeat_s / 4)

    def _check_conditions(self) -> None:
        """Some endpoints take no notice of If-None-Match; there nothing keeps two trainings apart."""
        if self._store.put_if(self._key, self._me.to_json(), None) is not None:
            raise StoreError(
                f"the endpoint of {self._where} does not honour If-None-Match",
                "conditional writes keep two trainings of one run apart",
                "use MinIO, AWS S3 or another endpoint that has them",
            )

    def _held_by(self, holder: Holder) -> StoreError:
        return held(
            self._where,
            holder,
            "wait for its end, stop it, choose another run name, or take the run from it with --takeover",
        )

    def _look(self, store: Conditional) -> tuple[bytes, str]:
        try:
            return store.get_tagged(self._key)
        except KeyError:
            return b"", ""

    def _renew(self, store: Conditional) -> None:
        """Call with the turn. StoreError when the store cannot be reached."""
        began_s = _now_s()
        self._beat += 1
        etag = store.put_if(self._key, self._me.to_json(self._beat), self._etag)
        if etag is None:  # somebody else's, or ours after an answer that was lost on its way
            content, etag = self._look(store)
            holder = Holder.from_json(content)
            if holder is None or holder.token != self._me.token:
                self._is_lost, self._lost_to = True, holder
                return
        self._etag, self._proven_s = etag, began_s

    def _keep_beating(self, stop: threading.Event) -> None:
        while not stop.wait(self._times.heartbeat_s):
            with self._turn:
                if self._is_lost or stop.is_set():
                    return
                with contextlib.suppress(StoreError):  # the next write finds out
                    self._renew(self._hasty)

    def _release(self) -> None:
        with self._turn:
            if not self._is_lost:
                self._hasty.put_if(self._key, b"{}\n", self._etag)


def _now_s() -> float:
    """Seconds by a clock that nobody sets and that goes on while the machine sleeps, where there is one."""
    return time.clock_gettime(getattr(time, "CLOCK_BOOTTIME", time.CLOCK_MONOTONIC))
