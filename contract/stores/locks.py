"""One process at a time trains a run: who holds it, and how a folder's run is held."""

import contextlib
import json
import os
import secrets
import socket
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path

from filelock import FileLock, Timeout

from contract.errors import HeldError, StoreError

_DELETED_S = 0.2
"""Long enough to see that a lock file was deleted by its holder between the opening of it and the lock."""


@dataclass(frozen=True, slots=True)
class Holder:
    """Who holds a run. `since` is for people only; `machine` and `started` tell whether the process still lives, and
    are empty where the system cannot say."""

    host: str
    pid: int
    since: str
    machine: str
    started: str
    token: str

    @classmethod
    def this_process(cls) -> "Holder":
        """A new one, unlike any other."""
        pid, now = os.getpid(), time.strftime("%Y-%m-%d %H:%M:%S UTC", time.gmtime())
        return cls(socket.gethostname(), pid, now, _machine(), _started(pid), secrets.token_hex(16))

    @classmethod
    def from_json(cls, text: bytes) -> "Holder | None":
        """None when it is none, as after a release."""
        try:
            return cls(**json.loads(text)["holder"])
        except (ValueError, TypeError, KeyError):
            return None

    def to_json(self, beat: int = 0) -> bytes:
        return (json.dumps({"holder": asdict(self), "beat": beat}) + "\n").encode()

    def is_gone(self) -> bool:
        """Whether it is known to be dead: a process of this very machine and container that no longer runs."""
        return bool(self.machine) and self.machine == _machine() and _started(self.pid) != self.started

    def is_alive_here(self) -> bool:
        """Whether it is known to be a living process of this machine and container."""
        return bool(self.machine) and self.machine == _machine() and _started(self.pid) == self.started

    def __str__(self) -> str:
        return f"process {self.pid} on {self.host}, since {self.since}"


def held(where: str, holder: "Holder | None", fix: str) -> HeldError:
    """The error of a run that somebody else is training."""
    return HeldError(
        f"{where} is being trained by {holder or 'another process'}",
        "one training at a time, or the two would overwrite each other's checkpoints",
        fix,
    )


@contextlib.contextmanager
def folder_lock(lock: Path, where: str) -> Iterator[None]:
    """Hold `lock` until the block ends; StoreError that names the holder when another process does.

    The operating system lets go of it when the process ends, however it ends.
    """
    taken = _taken(lock, where)
    try:
        lock.write_bytes(Holder.this_process().to_json())
        yield
    finally:
        lock.unlink(missing_ok=True)  # only its holder may; whoever waits for it sees that, and makes a new one
        with contextlib.suppress(OSError):
            lock.parent.rmdir()  # as it was before, if nothing was put
        taken.release()


def _taken(lock: Path, where: str) -> FileLock:
    file_lock = FileLock(lock, timeout=_DELETED_S, thread_local=False, fallback_to_soft=False)
    while True:
        try:
            lock.parent.mkdir(parents=True, exist_ok=True)
            file_lock.acquire()
            return file_lock
        except Timeout:
            with contextlib.suppress(OSError):
                holder = Holder.from_json(lock.read_bytes())
                stop = f"kill {holder.pid}" if holder else "end that process"
                raise held(where, holder, f"wait for its end, stop it ({stop}), or choose another run name") from None
        except FileNotFoundError:
            continue  # another process let go of the empty folder in between
        except OSError as error:
            fix = (
                f"give this user write access to {lock.parent}, choose another folder for runs, or put runs on a disk "
                f"whose file system has locks (flock)"
            )
            raise StoreError(f"cannot lock {lock}: {error.strerror}", fix=fix) from error


def _machine() -> str:
    """This boot of this machine and this container's processes; empty where that cannot be told."""
    try:
        boot = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
        return f"{boot}:{Path('/proc/self/ns/pid').stat().st_ino}"
    except OSError:
        return ""


def _started(pid: int) -> str:
    """When a process began, by the kernel's own count, so that another process with its number is not taken for it."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[19]
    except (OSError, IndexError):
        return ""
