"""A sweep's trials as processes of this machine, and the program that such a process runs."""

import contextlib
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import NoReturn

from contract.errors import HeldError, InputError, UndercutError
from contract.host import REDIS_PASSWORD_FILE, REDIS_URL
from undercut.exit_codes import BAD_INPUT, FAILED, INTERRUPTED
from undercut.sweep.backend import TrialLostError
from undercut.terminal import as_ctrl_c

_POLL_S = 0.5
STOP_S = 900.0
"""How long a run that is no longer wanted may take to finish its iteration, before it is killed; nothing but that
iteration is lost then."""
HELD_S = 900.0
"""How long a trial waits for a process that still trains its run: one whose sweep has died finishes its iteration."""


class LocalTrials:
    """`TrialBackend`: a process a trial, in a session of its own, with its output in `logs`.

    A process whose sweep dies finishes and saves its iteration, and ends. Each drives its episodes by itself or, with
    `has_workers`, by workers at the sweep's Redis.
    """

    shares_this_machine = True

    def __init__(self, logs: Path, has_workers: bool = False) -> None:
        self._logs, self._has_workers = logs, has_workers
        self.pids: dict[str, int] = {}
        """Of the processes that run now, by the names of their runs."""

    def run(self, name: str, is_wanted: Callable[[], bool]) -> None:
        self._logs.mkdir(parents=True, exist_ok=True)
        path = self._logs / f"{name}.log"
        command = [sys.executable, "-P", "-m", "undercut.backends.local.trials", name]
        hidden = () if self._has_workers else (REDIS_URL, REDIS_PASSWORD_FILE)
        environment = {k: v for k, v in os.environ.items() if k not in hidden}
        with path.open("ab") as log:
            begins = log.tell()
            process = subprocess.Popen(
                command, stdin=subprocess.PIPE, stdout=log, stderr=log, start_new_session=True, env=environment
            )
        self.pids[name] = process.pid
        try:
            wanted = _followed(process, is_wanted)
        finally:
            if process.poll() is None:  # what is_wanted raised
                process.kill()
                process.wait()
            assert process.stdin is not None
            process.stdin.close()
            self.pids.pop(name, None)
        status = process.returncode
        if not wanted or status == 0:
            return
        if status < 0 or status == INTERRUPTED:
            how = f"ended by {signal.Signals(-status).name}" if status < 0 else "interrupted"
            raise TrialLostError(f"{name} was {how}")
        raise UndercutError(f"{name} ended with status {status}; its log is {path}\n{_last_words(path, begins)}")


def _followed(process: "subprocess.Popen[bytes]", is_wanted: Callable[[], bool]) -> bool:
    """Wait for its end; whether it was wanted to the last."""
    while process.poll() is None:
        if not is_wanted():
            process.send_signal(signal.SIGINT)
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(STOP_S)
            if process.poll() is None:
                process.kill()
                process.wait()
            return False
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(_POLL_S)
    return True


def _last_words(path: Path, begins: int) -> str:
    """The error at the end of the log, from where this process began to write."""
    with path.open("rb") as file:
        file.seek(max(begins, path.stat().st_size - 4_000))
        text = file.read().decode(errors="replace")
    _, found, error = text.rpartition("error: ")
    return error.strip() if found else text.strip()[-1_000:]


# --- in the process ---------------------------------------------------------------------------------------------------


def train_to_the_end(name: str) -> None:
    """What `undercut train NAME` does with a run that is there: train, go on where it stopped, and evaluate."""
    from rich.console import Console

    from undercut.runs import sessions
    from undercut.runs.run import Run
    from undercut.runs.workspace import RUNS_PREFIX, workspace

    console = Console(width=120)
    deadline_s = time.monotonic() + HELD_S
    while True:
        try:
            with workspace().locked(RUNS_PREFIX + name) as place:
                run = Run.open(name, place)
                sessions.train(run, console)
                sessions.evaluate(run, console)
            return
        except HeldError as error:
            if time.monotonic() > deadline_s:
                raise
            console.print(f"waits for the process that trains the run now: {error}".splitlines()[0], markup=False)
            time.sleep(2.0)


def _end_with_the_sweep() -> None:
    """The sweep holds the other end of stdin. When it dies, however that happens, this is a Ctrl-C here."""
    while sys.stdin.buffer.read(1):
        pass
    os.kill(os.getpid(), signal.SIGINT)


def main() -> NoReturn:
    """`python -m undercut.backends.local.trials RUN`, with the command line's exit codes."""
    signal.signal(signal.SIGINT, signal.default_int_handler)  # a parent may have it ignored
    signal.signal(signal.SIGTERM, as_ctrl_c)
    threading.Thread(target=_end_with_the_sweep, daemon=True).start()
    status = 0
    try:
        train_to_the_end(sys.argv[1])
    except UndercutError as error:
        print(f"error: {error}", file=sys.stderr)
        status = BAD_INPUT if isinstance(error, InputError) else FAILED
    except KeyboardInterrupt:
        status = INTERRUPTED
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(status)  # a thread still reads stdin


if __name__ == "__main__":
    main()
