"""Training in this process."""

import contextlib
import os
import signal
from pathlib import Path

from rich.console import Console

from contract.stores.local import LocalStore
from contract.stores.locks import Holder
from undercut.backends.backend import BackendName, TrainOptions
from undercut.interchange import copying
from undercut.runs.notices import STUCK_AFTER, Notifier, told_of
from undercut.runs.run import Run
from undercut.runs.workspace import RUNS_PREFIX, run_place, workspace


class LocalBackend:
    """`Backend` of this machine: runs are trained where they lie. Progress goes to the console."""

    name = BackendName.local

    def __init__(self, console: Console, notifier: Notifier | None = None, stuck_after: int = STUCK_AFTER) -> None:
        """The notifier is told when a training has ended, failed, or found nothing better for `stuck_after`
        iterations."""
        self._console, self._notifier, self._stuck_after = console, notifier, stuck_after
        self.prepared: Run | None = None
        """The run that `train` gets next, if its caller has opened it and holds its lock. So no other process can take
        the run in between, its files need not be read again, and messages name the racer's own reward, not its copy in
        the run."""

    def prepare(self, run: str) -> bool:
        return False

    def train(self, run: str, options: TrainOptions) -> int:
        from undercut.runs import sessions  # TensorFlow takes seconds to import

        notifier = self._notifier or Notifier((), lambda line: None)
        prepared, self.prepared = self.prepared, None  # a later call holds no lock
        with contextlib.ExitStack() as stack:
            place = prepared.store if prepared else stack.enter_context(workspace().locked(RUNS_PREFIX + run))
            stack.enter_context(told_of(run, notifier))
            opened = prepared or Run.open(run, place)
            workers, videos = options.workers, options.video_every
            sessions.train(opened, self._console, workers, videos, notifier, self._stuck_after)
            notifier.send(sessions.finished(sessions.evaluate(opened, self._console)))
        return 0

    def stop(self, run: str) -> bool:
        """As Ctrl-C in its terminal does, if a process of this machine trains it."""
        with contextlib.suppress(KeyError):
            holder = Holder.from_json(workspace().get(f"{RUNS_PREFIX}.{run}.lock"))
            if holder is not None and holder.is_alive_here():
                os.kill(holder.pid, signal.SIGINT)
                return True
        return False

    def fetch(self, run: str) -> Path:
        there, here = run_place(run), LocalStore(Path(RUNS_PREFIX) / run)
        Run.open(run)
        if not isinstance(there, LocalStore):
            copying.copy(there, here)
        return here.root
