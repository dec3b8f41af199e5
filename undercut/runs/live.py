"""What a session is doing just now, for `undercut view`: two or three small files in .live/ of the working directory.

The session replaces the files, each by one rename, and never waits for a reader; a page that is slow, stopped or absent
costs it nothing. They are there as long as the session is: everything worth keeping is in the run's own files.
"""

import contextlib
import fcntl
import json
import os
import shutil
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout

from contract.config import RunConfig
from contract.protocols import Phase, RolloutOrder
from contract.recording import RecordedRacer, Recording, recorded
from contract.rollout import Rollout

LIVE = Path(".live")
_SESSION = "session.json"
_LOCK = "lock"
_LOCK_DEADLINE_S = 0.5
"""A page that looks holds the lock for a moment."""


@dataclass(frozen=True, slots=True)
class SessionState:
    """What a session says of itself: `kind` is training, evaluation or race, `config` holds the values of the
    RunConfig that it drives by, `doing` is for people."""

    kind: str
    config: dict[str, Any]
    doing: str = "starting"


class LiveSession:
    """A training, evaluation or race that can be watched under the name of its run or race (`kind`: run or race).

    Where another session of that name is shown already, or the disk does not take the files, this one goes on unseen.
    """

    def __init__(self, kind: str, what: str, config: RunConfig, say: Callable[[str], None]) -> None:
        """`what` is training, evaluation or race; `config` is what it drives by, and has its name."""
        self._folder, self._config, self._say = live_folder(kind, config.name), config, say
        self._state = SessionState(what, config.model_dump(mode="json"))
        self._lock = FileLock(self._folder / _LOCK, _LOCK_DEADLINE_S, thread_local=False, fallback_to_soft=False)

    def __enter__(self) -> "LiveSession":
        with self._unless_disk_fails():
            self._folder.mkdir(parents=True, exist_ok=True)
            with contextlib.suppress(Timeout):  # another session's
                self._lock.acquire()
                for leftover in self._folder.glob("*.rec"):  # of a session that was killed
                    leftover.unlink(missing_ok=True)
                self._announce()
        return self

    def __exit__(self, *_: object) -> None:
        if self._lock.is_locked:
            shutil.rmtree(self._folder, ignore_errors=True)
            self._lock.release()

    def doing(self, what: str) -> None:
        """Say what is going on."""
        self._state = replace(self._state, doing=what)
        with self._unless_disk_fails():
            self._announce()

    def show(self, order: RolloutOrder, rollouts: Sequence[Rollout]) -> None:
        """Show these episodes in place of the last ones of their phase."""
        if not self._lock.is_locked:
            return
        config = self._config
        recording = Recording(
            title=f"Iteration {order.iteration}, {order.phase.value}",
            track=config.track,
            reverse_dir=config.reverse_dir,
            track_length_m=0.0,
            racers=(RecordedRacer(config.racer_name or config.name, config.name, config.car_color),),
            episodes=tuple(recorded(rollouts)),
        )
        with self._unless_disk_fails():
            _replace(live_recording(self._folder, order.phase), recording.to_bytes())

    def _announce(self) -> None:
        if self._lock.is_locked:
            _replace(self._folder / _SESSION, json.dumps(asdict(self._state)).encode())

    @contextlib.contextmanager
    def _unless_disk_fails(self) -> Any:
        try:
            yield
        except OSError as error:
            self._say(f"undercut view cannot show this session: {error}")
            self._lock.release()


def session(kind: str, name: str) -> SessionState | None:
    """The session of a run or race that is live now; None when there is none, or it was killed."""
    live = live_folder(kind, name)
    try:
        state = SessionState(**json.loads((live / _SESSION).read_bytes()))
        descriptor = os.open(live / _LOCK, os.O_RDONLY)
    except (OSError, ValueError, TypeError, RecursionError):
        return None
    try:
        # shared, unlike filelock's: pages that look at the same time must not take each other for the session
        fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return state
    finally:
        os.close(descriptor)
    return None


def live_folder(kind: str, name: str) -> Path:
    """Where the session of a run or race puts its files."""
    return LIVE / kind / name


def live_names(kind: str) -> list[str]:
    """Names of the runs or races that have a live session."""
    folder = LIVE / kind
    return [path.name for path in folder.iterdir() if session(kind, path.name)] if folder.is_dir() else []


def live_recording(folder: Path, phase: Phase) -> Path:
    """Where the newest laps of a phase lie in a session's folder, once there are any."""
    return folder / f"{phase.value}.rec"


def _replace(path: Path, data: bytes) -> None:
    """Readers see the old content or the new one; it need not survive a power cut, so nothing waits for the disk."""
    temporary = path.with_suffix(".tmp")
    temporary.write_bytes(data)
    temporary.replace(path)
