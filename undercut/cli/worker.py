"""`undercut worker`: drives episodes for a trainer, on this machine or any other that reaches the same Redis."""

import os
import signal
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Annotated

import typer

from contract.channels.unix import UnixWorkerEnd
from contract.errors import ChannelError, InputError
from contract.host import REDIS_URL, HostSettings
from contract.protocols import WorkerEnd


def worker(
    threads: Annotated[int, typer.Option(min=0, help="threads to use; 0 means all")] = 0,
    idle_minutes: Annotated[float, typer.Option(min=0, help="leave after so long without work")] = 60.0,
    run: Annotated[str, typer.Option(help="serve this run's trainer alone")] = "",
    socket: Annotated[Path | None, typer.Option(hidden=True, help="of a trainer on this machine")] = None,
) -> None:
    """Drive episodes for the trainers at UNDERCUT_REDIS_URL, until told to stop (Ctrl-C, SIGTERM) or idle for long.

    Any number of workers may join and leave at any time, and serve any number of runs; numbers do not depend on them.
    """
    from rich.console import Console

    from simapp.kernels import Scope
    from simapp.worker import Worker

    # these take seconds to import; --help should not
    from undercut.backends.local.workers import OUT_OF_MEMORY, JobDriver, version
    from undercut.runs.compiling import compile_ahead

    address = HostSettings.load().redis
    if socket is None and address is None:
        raise InputError(REDIS_URL, "", "a worker needs the address of its trainer's Redis", "redis://host:6379/0")

    def connect(name: str) -> WorkerEnd:
        if socket is not None:
            return UnixWorkerEnd(socket, name)
        assert address is not None
        from contract.channels.redis import RedisWorkerEnd

        return RedisWorkerEnd(address, name, run=run or None)

    def say(text: str) -> None:
        typer.echo(f"{time.strftime('%H:%M:%S')} {text}")
        sys.stdout.flush()

    here = Worker(connect, lambda job, count: JobDriver(job, threads, count), version(), say, idle_minutes * 60.0)
    _leave_when_told(here.stop, say)
    say(f"worker {here.name[:8]}, process {os.getpid()}, at {address if socket is None else socket}")
    compile_ahead(Console(), Scope.drives)
    try:
        here.run()
    except MemoryError as error:
        typer.echo(f"out of memory: {error}", err=True)
        os._exit(OUT_OF_MEMORY)  # no more allocations
    except ChannelError:
        if socket is None:
            raise  # a trainer of this machine that is gone needs no worker
    say("left")


def _leave_when_told(stop: Callable[[], None], say: Callable[[str], None]) -> None:
    """The first signal drains, the second stops at once."""
    stopping = threading.Event()

    def leave(*_: object) -> None:
        if stopping.is_set():
            raise KeyboardInterrupt
        stopping.set()
        stop()
        say("finishing the task in hand; again stops at once")

    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, leave)
