"""gzserver as a child process: in a Debian root made by `make gazebo`, or in an image that has Gazebo itself."""

import contextlib
import os
import re
import shutil
import socket
import subprocess
import tempfile
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from threading import Thread
from typing import IO

from tenacity import Retrying, retry_if_exception_type, stop_after_delay, wait_exponential

from contract.errors import SimulatorError
from contract.host import GAZEBO_GPU
from simapp.gazebo.wire import Connection

START_S = 120.0
"""From the start of gzserver to its first answer: seconds on an idle machine."""
ANSWER_S = 120.0
PLUGIN = "libundercut_lockstep.so"
SERVE = Path(__file__).with_name("serve.sh")
HERE_PLUGINS = Path("/usr/local/lib/undercut")
"""Where an image with Gazebo has the plugin."""
ROOT_PLUGINS = "opt/undercut/lib"
"""Where the Debian root has it."""
ROOT_PATH = "/usr/sbin:/usr/bin:/sbin:/bin"
FIX = "make gazebo"
X_SOCKETS = Path("/tmp/.X11-unix")
COOKIE_INSIDE = "/tmp/undercut-xauthority"
GPU_PATHS = ("/dev/dri", "/sys")

_HOPELESS = ("Failed to load plugin", "Unable to load sdf file", "Unable to read file")
"""What gzserver says and then goes on without."""


@dataclass(frozen=True, slots=True)
class Install:
    """Where Gazebo is: `root` is a Debian root to run it in, None this system itself."""

    root: Path | None
    plugins: str

    @classmethod
    def find(cls, root: Path) -> "Install":
        """This system's own, else the one in `root`; SimulatorError says how to get it."""
        if shutil.which("gzserver") and (HERE_PLUGINS / PLUGIN).is_file():
            return cls(None, str(HERE_PLUGINS))
        if not (root / "usr/bin/gzserver").exists():
            raise SimulatorError(
                f"Gazebo is not installed: no gzserver on PATH, and none in {root}", fix=f"{FIX} (once, some minutes)"
            )
        if not (root / ROOT_PLUGINS / PLUGIN).is_file():
            raise SimulatorError(f"{root / ROOT_PLUGINS / PLUGIN} is missing: the lock-step plugin", fix=FIX)
        if not shutil.which("bwrap"):
            raise SimulatorError(
                f"bubblewrap is missing: it runs Gazebo in {root} without root", fix="apt-get install bubblewrap"
            )
        return cls(root, f"/{ROOT_PLUGINS}")

    def inside(
        self, command: Sequence[str], *binds: tuple[Path, str], network: bool = False, devices: Sequence[str] = ()
    ) -> list[str]:
        """The command as it runs where Gazebo is, with paths of ours where it sees them; dies with this process."""
        if self.root is None:
            return list(command)
        shown = [part for ours, inside in binds for part in ("--bind", str(ours), inside)]
        shown += [part for path in devices for part in ("--dev-bind-try", path, path)]
        return [
            *("bwrap", "--ro-bind", str(self.root), "/", "--dev", "/dev", "--proc", "/proc", "--tmpfs", "/tmp"),
            *(*shown, "--unshare-pid", *([] if network else ["--unshare-net"]), "--die-with-parent", "--new-session"),
            *("--", *command),
        ]

    def environment(self, *names: str) -> dict[str, str]:
        """What a command there needs of this process's environment, with the variables of these names that are set."""
        path = os.environ.get("PATH", "") if self.root is None else ROOT_PATH
        return {"PATH": path, **{name: os.environ[name] for name in names if name in os.environ}}


@dataclass(frozen=True, slots=True)
class Screen:
    """What is done on this process's display: `gui` shows the world in gzclient, `gpu` draws the cameras' pictures."""

    gui: bool = False
    gpu: bool = False

    def environment(self, in_root: bool) -> dict[str, str]:
        """The variables of serve.sh for the display; SimulatorError when there is no display."""
        if not (self.gui or self.gpu):
            return {}
        socket, cookie = self._socket(), self._cookie()
        if socket is None:
            raise SimulatorError(
                f"{'--gui' if self.gui else GAZEBO_GPU}: DISPLAY={os.environ.get('DISPLAY', '')} is no X server of "
                f"this machine, with a socket in {X_SOCKETS}",
                fix="run it in a desktop session, or leave it out: Gazebo needs no display by itself",
            )
        display = f":{socket.name[1:]}"
        variables = {"GUI_DISPLAY": display} if self.gui else {}
        variables |= {"RENDER_DISPLAY": display} if self.gpu else {}
        return variables | ({"XAUTHORITY": COOKIE_INSIDE if in_root else str(cookie)} if cookie else {})

    def binds(self) -> list[tuple[Path, str]]:
        """What a Debian root has to see: the X server's socket and the cookie."""
        if not (self.gui or self.gpu):
            return []
        socket, cookie = self._socket(), self._cookie()
        return [*([(socket, str(socket))] if socket else []), *([(cookie, COOKIE_INSIDE)] if cookie else [])]

    def _socket(self) -> Path | None:
        found = re.fullmatch(r"(?:unix)?:(\d+)(?:\.\d+)?", os.environ.get("DISPLAY", ""))
        path = X_SOCKETS / f"X{found[1]}" if found else None
        return path if path is not None and path.exists() else None

    def _cookie(self) -> Path | None:
        path = Path(os.environ.get("XAUTHORITY") or Path.home() / ".Xauthority")
        return path if path.is_file() else None


class Server:
    """One gzserver with its X server. Closing, or the end of this process in any way, ends them all."""

    def __init__(
        self, install: Install, write_world: Callable[[Path, str, str], None], screen: Screen | None = None
    ) -> None:
        """`write_world` gets the folder, and in Gazebo's root the paths of the folder and of the socket."""
        self.folder = Path(tempfile.mkdtemp(prefix="undercut-gazebo-"))
        inside = "/run/undercut" if install.root else str(self.folder)
        self._tail: deque[str] = deque(maxlen=30)
        try:
            write_world(self.folder, inside, f"{inside}/lockstep")
            self._process = self._start(install, inside, screen or Screen())
            Thread(target=self._listen, args=(self._process.stderr,), daemon=True).start()
            self.connection = self._connect()
        except BaseException:
            self.close()
            raise

    def _start(self, install: Install, inside: str, screen: Screen) -> "subprocess.Popen[str]":
        """Start gzserver in the folder, whose path in Gazebo's root is `inside`."""
        shutil.copy(SERVE, self.folder / SERVE.name)
        # in the root a network of its own: no other Gazebo's port can be in the way
        port = 11345 if install.root else _free_port()
        serve = ["bash", f"{inside}/{SERVE.name}", f"{inside}/world.sdf", install.plugins, str(port)]
        return subprocess.Popen(
            install.inside(serve, (self.folder, inside), *screen.binds(), devices=GPU_PATHS if screen.gpu else ()),
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            env=install.environment() | screen.environment(install.root is not None),
            text=True,
            errors="replace",
            start_new_session=True,
        )

    def _listen(self, stream: "IO[str] | None") -> None:
        with contextlib.suppress(ValueError):  # closed while it was read
            for line in stream or ():
                self._tail.append(line.rstrip())

    def _connect(self) -> Connection:
        def attempt() -> Connection:
            talk = socket.socket(socket.AF_UNIX)
            try:
                talk.connect(str(self.folder / "lockstep"))
                return Connection(talk, ANSWER_S)
            except OSError:
                talk.close()
                if self._process.poll() is not None:
                    status = self._process.returncode
                    raise SimulatorError(f"Gazebo ended with status {status} at its start\n{self.said()}") from None
                if broken := next((line for line in self._tail if any(sign in line for sign in _HOPELESS)), None):
                    raise SimulatorError(f"Gazebo cannot run this world\n  {broken.strip()}", fix=FIX) from None
                raise

        waiting = Retrying(
            retry=retry_if_exception_type(OSError),
            wait=wait_exponential(0.01, 0.1),
            stop=stop_after_delay(START_S),
            reraise=True,
        )
        try:
            return waiting(attempt)
        except OSError:
            raise SimulatorError(f"Gazebo has not started within {START_S:.0f} s\n{self.said()}") from None

    def said(self) -> str:
        """The last lines that matter of what Gazebo wrote."""
        mine = [line for line in self._tail if "ALSA" not in line and line.strip()]
        ours = [line for line in mine if line.startswith("undercut:")]
        return "\n".join(f"  {line}" for line in ours or mine[-8:])

    @property
    def pid(self) -> int:
        """Of the outermost process, whose end is the end of all."""
        return self._process.pid

    def close(self) -> None:
        connection = getattr(self, "connection", None)
        if connection is not None:
            connection.quit()
        process = getattr(self, "_process", None)
        if process is not None:
            end(process, 2.0)
            process.stderr.close()
        shutil.rmtree(self.folder, ignore_errors=True)


def end(process: "subprocess.Popen[bytes]", wait_s: float) -> None:
    """End a process that ends when its standard input does; it is killed if it has not after so long."""
    with contextlib.suppress(OSError):  # what was not written yet cannot be
        if process.stdin is not None:
            process.stdin.close()
    try:
        process.wait(wait_s)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
