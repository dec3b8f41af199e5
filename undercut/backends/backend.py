"""`Backend`: what every place that trains runs can do, be it this machine, the stack's containers or AWS."""

from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Protocol, runtime_checkable

Say = Callable[[str], None]
"""Shows a line to the racer."""


class BackendName(StrEnum):
    """Where a run is trained."""

    local = "local"
    compose = "compose"
    cloud = "cloud"


@dataclass(frozen=True, slots=True)
class TrainOptions:
    """What is no part of a run's config, since its numbers do not depend on it.

    workers      processes or containers that drive; 0: as few as the backend can do with
    video_every  MP4s of every so many iterations' evaluation laps; 0: none
    """

    workers: int = 0
    video_every: int = 0


@runtime_checkable
class Backend(Protocol):
    """One place that trains runs. The config and the racer's files are the job: the same run gives the same numbers
    in each of them, and may go on in another one."""

    name: BackendName

    def prepare(self, run: str) -> bool:
        """Make ready for a run, and let the place have what this folder knows of it, so that the run, new or old, can
        be opened and written in this process's workspace. Returns whether it is being trained there already."""

    def train(self, run: str, options: TrainOptions) -> int:
        """Train the run to its end, evaluate it, and bring its files to runs/RUN; follow it if that goes on already.

        Returns the exit code. Ctrl-C and the backend's own errors come through; finished iterations are kept.
        """

    def stop(self, run: str) -> bool:
        """Tell the run's training to save its iteration and end. Returns whether there was one; twice is fine."""

    def fetch(self, run: str) -> Path:
        """Bring what there is of the run to runs/RUN, also while it trains; returns that folder. InputError when the
        place has no such run."""
