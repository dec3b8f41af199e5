"""`undercut view` and `--view`: addresses, ports in use, and a page beside a session that ends with it."""

import os
import re
import signal
import socket
import subprocess
import sys
import urllib.request
from pathlib import Path

import pytest
from typer.testing import CliRunner

from contract.errors import InputError
from tests.patience import PATIENCE_S
from tests.watching import write_run
from undercut.cli.main import app
from undercut.cli.view import HOST
from undercut.view.ports import is_loopback, listener, owner

pytestmark = pytest.mark.usefixtures("racer")

UNDERCUT = Path(sys.executable).parent / "undercut"


LOCAL = ("127.0.0.1", "127.9.9.9", "::1", "localhost")
OTHERS = ("0.0.0.0", "::", "192.168.1.5", "localhost.example", "")


@pytest.mark.parametrize(("host", "local"), [*((it, True) for it in LOCAL), *((it, False) for it in OTHERS)])
def test_which_addresses_only_this_machine_reaches(host: str, local: bool) -> None:
    assert is_loopback(host) is local


def test_a_port_in_use_says_who_has_it_and_what_to_do() -> None:
    with listener(HOST, 0) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(InputError) as caught:
            listener(HOST, port)
        said = str(caught.value)
        assert str(port) in said
        assert f"process {os.getpid()}" in said
        assert "--port 0" in said
        program = Path("/proc/self/cmdline").read_bytes().split(b"\0")[0].decode()
        assert program in (owner(port) or "")
        told = CliRunner().invoke(app, ["view", "--port", str(port)])
        assert isinstance(told.exception, InputError)
    assert owner(port) is None


@pytest.mark.parametrize("host", ["no.such.host.invalid", "203.0.113.77"])
def test_an_address_of_another_machine_is_an_error(host: str) -> None:
    with pytest.raises(InputError, match="address"):
        listener(host, 0)


def test_an_unknown_run_is_an_error_that_names_the_known_ones() -> None:
    write_run("mine", 0)
    told = CliRunner().invoke(app, ["view", "yours"])
    assert isinstance(told.exception, InputError)
    assert "mine" in str(told.exception)


@pytest.mark.slow
def test_the_command_serves_until_ctrl_c(racer: Path) -> None:
    write_run("mine", 1)
    command = [str(UNDERCUT), "view", "mine", "--port", "0", "--host", "0.0.0.0"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, env={**os.environ, "PYTHONUNBUFFERED": "1"}) as process:
        assert process.stdout is not None
        said = process.stdout.readline().decode()
        address = re.fullmatch(r"http://[^/]+:(\d+)/\?token=([\w-]{43})#run/mine\n", said)
        assert address, said
        opened = urllib.request.build_opener(urllib.request.HTTPCookieProcessor())
        with opened.open(f"http://127.0.0.1:{address[1]}/?token={address[2]}", timeout=PATIENCE_S) as page:
            assert b"<title>undercut</title>" in page.read()
        process.send_signal(signal.SIGINT)
        assert process.wait(timeout=PATIENCE_S) == 0


def test_a_page_stays_after_its_session_until_ctrl_c(racer: Path) -> None:
    script = "from undercut.cli.view import page\nwith page('run', 'mine', True):\n    print('driving')\n"
    with subprocess.Popen(
        [sys.executable, "-u", "-c", script], stdout=subprocess.PIPE, stderr=subprocess.PIPE
    ) as process:
        assert process.stdout is not None
        said = b"".join(process.stdout.readline() for _ in range(3)).decode()
        assert re.search(r"watch it at http://\S+\ndriving\nthe page stays at http://\S+ until Ctrl-C", said), said
        process.send_signal(signal.SIGINT)
        assert process.communicate(timeout=PATIENCE_S)[1] == b""
        assert process.returncode == 0


def test_a_page_beside_a_session_ends_with_it(racer: Path) -> None:
    """However the session ends: here it is killed."""
    script = (
        "import sys\nfrom undercut.cli.view import page\n"
        "with page('run', 'mine', True):\n    sys.stdout.flush()\n    sys.stdin.read()\n"
    )
    with subprocess.Popen(
        [sys.executable, "-c", script], stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE
    ) as process:
        assert process.stdout is not None
        said = process.stdout.readline().decode()
        address = re.search(r"http://127\.0\.0\.1:(\d+)/#run/mine", said)
        assert address, said
        url = f"http://127.0.0.1:{address[1]}/api/runs"
        with urllib.request.urlopen(
            url, timeout=PATIENCE_S
        ) as page:  # waits in the socket's queue until the server is up
            assert page.read() == b"[]"
        with socket.create_connection(("127.0.0.1", int(address[1])), timeout=PATIENCE_S) as left:
            process.send_signal(signal.SIGKILL)
            process.wait(timeout=PATIENCE_S)
            assert left.recv(1) == b""  # closed: the server saw that it is alone
