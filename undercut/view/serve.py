"""The server as a process beside a session: python -m undercut.view.serve DESCRIPTOR HOST. Ends when its stdin does."""

import contextlib
import os
import signal
import socket
import sys
import threading

from aiohttp import web

from undercut.view.server import application

NICENESS = 10
"""Where both want a core, the scheduler gives this process a tenth of it (weight 110 to 1024), so that a training on
all cores loses no more, and pages skip frames instead."""


def serve(listening: socket.socket, host: str, token: str | None) -> None:
    """Serve until SIGINT or SIGTERM."""
    with contextlib.suppress(OSError):
        os.nice(NICENESS)
    web.run_app(application(host, token), sock=listening, print=None, access_log=None, shutdown_timeout=1.0)


def _until_stdin_ends() -> None:
    while sys.stdin.buffer.read(4096):
        pass
    os.kill(os.getpid(), signal.SIGTERM)


def main() -> None:
    """Serve on a socket that the session has bound, so that its address is known before this process is up."""
    descriptor, host = sys.argv[1:]
    threading.Thread(target=_until_stdin_ends, daemon=True).start()
    serve(socket.socket(fileno=int(descriptor)), host, None)


if __name__ == "__main__":
    main()
