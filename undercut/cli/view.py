"""`undercut view`, and the page beside a training, an evaluation or a race."""

import contextlib
import secrets
import socket
import subprocess
import sys
from collections.abc import Iterator
from typing import Annotated
from urllib.parse import quote

import typer
from rich.console import Console

from contract.config import is_run_name
from contract.errors import InputError
from undercut.terminal import say
from undercut.view.ports import is_loopback, listener

HOST, PORT = "127.0.0.1", 8899
console = Console()

ViewOption = Annotated[bool, typer.Option("--view", help="show it in the browser; see undercut view")]


def view(
    run: Annotated[
        str | None, typer.Argument(metavar="RUN", help="run or race to begin with", show_default=False)
    ] = None,
    host: Annotated[str, typer.Option(help="address to listen on; 0.0.0.0 for the whole network")] = HOST,
    port: Annotated[int, typer.Option(min=0, max=65535, help="0 chooses a free one")] = PORT,
) -> None:
    """Show runs and races on a web page: cars on the track and what they see, curves, lap tables; live ones too."""
    from undercut.view.serve import serve
    from undercut.view.subject import Subject

    fragment = ""
    if run is not None:
        is_race = not Subject("run", run).exists and Subject("race", run).exists if is_run_name(run) else False
        fragment = _fragment(Subject.named("race" if is_race else "run", run).kind, run)
    listening = listener(host, port)
    token = None if is_loopback(host) else secrets.token_urlsafe(32)
    query = f"?token={token}" if token else ""
    say(console, f"{_address(listening, host)}/{query}{fragment}")
    if token:
        say(console, "whoever has this address can look; it changes with every start", style="dim")
    console.print("Ctrl-C ends it", style="dim")
    serve(listening, host, token)


@contextlib.contextmanager
def page(kind: str, name: str, wanted: bool) -> Iterator[None]:
    """With `wanted`, a page of this run or race while the body runs, and after it until Ctrl-C.

    It is a process of its own, on this machine's port 8899 or the next free one.
    """
    if not wanted:
        yield
        return
    try:
        listening = listener(HOST, PORT)
    except InputError:
        listening = listener(HOST, 0)
    address = f"{_address(listening, HOST)}/{_fragment(kind, name)}"
    descriptor = listening.fileno()
    command = [sys.executable, "-m", "undercut.view.serve", str(descriptor), HOST]
    # a session of its own: Ctrl-C in the terminal is for the training; stdin tells it when this process is gone
    server = subprocess.Popen(command, stdin=subprocess.PIPE, pass_fds=[descriptor], start_new_session=True)
    listening.close()
    say(console, f"watch it at {address}")
    try:
        yield
        with contextlib.suppress(KeyboardInterrupt):
            say(console, f"the page stays at {address} until Ctrl-C")
            server.wait()
    finally:
        server.kill()  # it holds nothing that is worth an orderly end
        server.wait()


def _fragment(kind: str, name: str) -> str:
    return f"#{kind}/{quote(name)}"


def _address(listening: socket.socket, host: str) -> str:
    """What to type into a browser."""
    port = listening.getsockname()[1]
    if host in ("0.0.0.0", "::"):
        host = _own_address()
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"


def _own_address() -> str:
    """This machine's address on the way to others; connecting a UDP socket sends nothing."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        try:
            probe.connect(("192.0.2.1", 9))
            return str(probe.getsockname()[0])
        except OSError:
            return socket.gethostname()
