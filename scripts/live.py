"""What a session is doing just now, for `undercut view`: two or three small files in .live/ of the working directory.

The session replaces the files, each by one rename, and never waits for a reader; a page that is slow, stopped or absent
costs it nothing. They are there as long as the session is: everything worth keeping is in the run's own files.
"""

import contextlib
import fcntl
import io
import json
import os
import shutil
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np

from contract.config import RunConfig
from contract.errors import InputError
from contract.protocols import Phase
from contract.rollout import Rollout
from contract.state import STEP_DTYPE

LIVE = Path(".live")
_SESSION = "session.json"
_LOCK = "lock"
_LOCK_DEADLINE_S, _LOCK_PAUSE_S = 0.5, 0.02
REBUILD = "it is written anew with every iteration: wait for the next one, or start the session again"


@dataclass(frozen=True, slots=True)
class SessionState:
    """What a session says of itself: `kind` is training, evaluation or race; `doing` is for people.

    `race` holds the values of a RaceConfig.
    """

    kind: str
    track: str
    reverse_dir: bool
    race: dict[str, Any] = field(default_factory=dict)
    doing: str = "starting"

    @classmethod
    def of(cls, kind: str, config: RunConfig) -> "SessionState":
        return cls(kind, config.track, config.reverse_dir, config.race.model_dump())


@dataclass(frozen=True, slots=True)
class ShownCar:
    """One car of an iteration or a race: what it is called, its colour (an index into CAR_COLORS), the world that it
    shares with others, and its steps (T,) of STEP_DTYPE, whose time_s the cars of a world have in common."""

    label: str
    colour: int
    world: int
    steps: np.ndarray


@dataclass(frozen=True, slots=True)
class ShownLaps:
    """Finished episodes that belong together; `title` is what the page calls them."""

    title: str
    phase: Phase
    cars: tuple[ShownCar, ...]


class LiveSession:
    """A training, evaluation or race that can be watched under the name of its run or race (`kind`: run or race).

    Where another session of that name is shown already, or the disk does not take the files, this one goes on unseen.
    """

    def __init__(self, kind: str, name: str, state: SessionState, say: Callable[[str], None]) -> None:
        self._folder, self._state, self._say = LIVE / kind / name, state, say
        self._lock: int | None = None

    def __enter__(self) -> "LiveSession":
        with self._unless_disk_fails():
            self._folder.mkdir(parents=True, exist_ok=True)
            self._lock = _locked(self._folder / _LOCK)
            if self._lock is not None:
                for leftover in self._folder.glob("*.laps"):  # of a session that was killed
                    leftover.unlink(missing_ok=True)
                self._tell()
        return self

    def __exit__(self, *_: object) -> None:
        if self._lock is not None:
            shutil.rmtree(self._folder, ignore_errors=True)
            os.close(self._lock)
            self._lock = None

    def doing(self, what: str) -> None:
        """Say what is going on."""
        self._state = replace(self._state, doing=what)
        with self._unless_disk_fails():
            self._tell()

    def show(self, laps: ShownLaps) -> None:
        """Show these laps in place of the last ones of their phase."""
        with self._unless_disk_fails():
            if self._lock is not None:
                _replace(self._folder / f"{laps.phase.value}.laps", encode(laps))

    def _tell(self) -> None:
        if self._lock is not None:
            _replace(self._folder / _SESSION, json.dumps(asdict(self._state)).encode())

    @contextlib.contextmanager
    def _unless_disk_fails(self) -> Any:
        try:
            yield
        except OSError as error:
            self._say(f"undercut view cannot show this session: {error}")
            if self._lock is not None:
                os.close(self._lock)
                self._lock = None


def shown(rollouts: Sequence[Rollout], title: str, phase: Phase, colour: int) -> ShownLaps:
    """Episodes that were driven each on its own, as laps to show."""
    cars = (
        ShownCar(label_of(phase, one.episode, place), colour, place, one.steps) for place, one in enumerate(rollouts)
    )
    return ShownLaps(title, phase, tuple(cars))


def label_of(phase: Phase, episode: int, place: int) -> str:
    """Training counts its episodes through the whole run, an evaluation its laps from 1."""
    return f"episode {episode}" if phase == Phase.training else f"lap {place + 1}"


def session(kind: str, name: str) -> SessionState | None:
    """The session of a run or race that is live now; None when there is none, or it was killed."""
    live = LIVE / kind / name
    try:
        state = SessionState(**json.loads((live / _SESSION).read_bytes()))
        descriptor = os.open(live / _LOCK, os.O_RDONLY)
    except (OSError, ValueError, TypeError):
        return None
    try:
        fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return state
    finally:
        os.close(descriptor)
    return None


def live_names(kind: str) -> list[str]:
    """Names of the runs or races that have a live session."""
    folder = LIVE / kind
    return [path.name for path in folder.iterdir() if session(kind, path.name)] if folder.is_dir() else []


def live_laps(kind: str, name: str, phase: Phase) -> Path:
    """Where a live session's newest laps of a phase lie, once there are any."""
    return LIVE / kind / name / f"{phase.value}.laps"


def encode(laps: ShownLaps) -> bytes:
    """A line of JSON that says whose they are, then all steps as one NumPy array."""
    cars = [{"label": c.label, "colour": c.colour, "world": c.world, "steps": len(c.steps)} for c in laps.cars]
    body = io.BytesIO()
    body.write(json.dumps({"title": laps.title, "phase": laps.phase.value, "cars": cars}).encode() + b"\n")
    np.save(body, np.concatenate([car.steps for car in laps.cars]), allow_pickle=False)
    return body.getvalue()


def decode(data: bytes, where: str) -> ShownLaps:
    """The reverse of `encode`; InputError for anything else."""
    line, _, body = data.partition(b"\n")
    try:
        header = json.loads(line)
        steps = np.load(io.BytesIO(body), allow_pickle=False)
        counts = [int(car["steps"]) for car in header["cars"]]
        if steps.dtype != STEP_DTYPE or steps.shape != (sum(counts),) or min(counts) < 1:
            raise ValueError(f"{steps.dtype.names} {steps.shape} for {counts} steps")
        parts = np.split(steps, np.cumsum(counts)[:-1])
        cars = (
            ShownCar(str(car["label"]), int(car["colour"]), int(car["world"]), part)
            for car, part in zip(header["cars"], parts, strict=True)
        )
        return ShownLaps(str(header["title"]), Phase(header["phase"]), tuple(cars))
    except (ValueError, KeyError, TypeError, EOFError) as error:
        raise InputError(
            where, f"{len(data)} bytes", f"laps as a live session writes them ({error})", REBUILD
        ) from None


def _locked(path: Path) -> int | None:
    """A descriptor that holds the lock, None when another session has it. A page that looks holds it for a moment."""
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o666)
    give_up_s = time.monotonic() + _LOCK_DEADLINE_S
    while True:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return descriptor
        except BlockingIOError:
            if time.monotonic() > give_up_s:
                os.close(descriptor)
                return None
            time.sleep(_LOCK_PAUSE_S)


def _replace(path: Path, data: bytes) -> None:
    """Readers see the old content or the new one; it need not survive a power cut, so nothing waits for the disk."""
    temporary = path.with_suffix(".tmp")
    temporary.write_bytes(data)
    temporary.replace(path)
