"""The bootstrap against a real local web server and a stand-in uv that records how it was called."""

import ast
import hashlib
import io
import json
import shutil
import subprocess
import sys
import threading
import time
import zipfile
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import ClassVar

import pytest

from scripts import bootstrap
from tests.conftest import REPO

GLIBC = (2, 36)


# --- which wheel -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("tag", "system", "machine", "glibc", "fits"),
    [
        ("manylinux_2_17_x86_64", "Linux", "x86_64", (2, 17), True),
        ("manylinux_2_17_x86_64", "Linux", "x86_64", (2, 5), False),
        ("manylinux_2_17_x86_64", "Linux", "aarch64", GLIBC, False),
        ("manylinux_2_17_x86_64", "Linux", "x86_64", None, False),
        ("musllinux_1_1_x86_64", "Linux", "x86_64", None, True),
        ("musllinux_1_1_x86_64", "Linux", "x86_64", GLIBC, False),
        ("manylinux2014_x86_64", "Linux", "x86_64", GLIBC, False),  # its alias manylinux_2_17 stands beside it
        ("linux_armv6l", "Linux", "armv6l", GLIBC, True),
        ("macosx_11_0_arm64", "Darwin", "arm64", None, True),
        ("macosx_11_0_arm64", "Linux", "arm64", None, False),
        ("win_amd64", "Windows", "AMD64", None, False),
    ],
)
def test_a_platform_tag_fits_a_machine(
    tag: str, system: str, machine: str, glibc: tuple[int, ...] | None, fits: bool
) -> None:
    assert bootstrap.runs_here(tag, system, machine, glibc) is fits


@pytest.mark.parametrize(
    ("system", "machine", "glibc", "ending"),
    [
        ("Linux", "x86_64", GLIBC, "manylinux_2_17_x86_64.manylinux2014_x86_64.whl"),
        ("Linux", "aarch64", GLIBC, "aarch64.whl"),
        ("Linux", "x86_64", None, "musllinux_1_1_x86_64.whl"),
        ("Darwin", "arm64", None, "macosx_11_0_arm64.whl"),
    ],
)
def test_the_real_lock_has_a_uv_for_every_usual_machine(
    system: str, machine: str, glibc: tuple[int, ...] | None, ending: str
) -> None:
    version, wheels = bootstrap.locked_uv(REPO / "uv.lock")
    wheel = bootstrap.choose_wheel(wheels, system, machine, glibc)
    assert version >= bootstrap.MIN_UV
    assert wheel["url"].endswith(ending)
    assert len(bytes.fromhex(wheel["hash"].removeprefix("sha256:"))) == 32


def test_an_unknown_machine_is_named() -> None:
    _, wheels = bootstrap.locked_uv(REPO / "uv.lock")
    with pytest.raises(bootstrap.SetupError, match=r"no uv for this platform: Linux sparc64, glibc 2\.36"):
        bootstrap.choose_wheel(wheels, "Linux", "sparc64", GLIBC)


# --- download --------------------------------------------------------------------------------------------------------


class Handler(BaseHTTPRequestHandler):
    """Serves `content`; the path says how badly."""

    content: ClassVar[bytes] = b"x" * 100_000
    calls: ClassVar[list[str]] = []

    def do_GET(self) -> None:
        self.calls.append(self.path)
        if self.path == "/missing" or (self.path == "/busy-once" and self.calls.count(self.path) == 1):
            self.send_error(404 if self.path == "/missing" else 503)
            return
        self.send_response(200)
        self.send_header("Content-Length", str(len(self.content)))
        self.end_headers()
        if self.path == "/cut":
            self.wfile.write(self.content[:-1])
        elif self.path == "/trickle":
            for _ in range(40):
                self.wfile.write(b"x")
                self.wfile.flush()
                time.sleep(0.05)
        else:
            self.wfile.write(self.content)

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 the base class's name
        pass


@pytest.fixture
def server() -> Iterator[str]:
    Handler.calls.clear()
    httpd = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=httpd.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    yield f"http://127.0.0.1:{httpd.server_port}"
    httpd.shutdown()
    thread.join()
    httpd.server_close()


SHA256 = hashlib.sha256(Handler.content).hexdigest()


def test_a_busy_server_is_asked_again(server: str) -> None:
    assert bootstrap.download(f"{server}/busy-once", SHA256, pause_s=0.01) == Handler.content
    assert Handler.calls == ["/busy-once"] * 2


@pytest.mark.parametrize(
    ("path", "calls", "why"),
    [("missing", 1, "HTTP Error 404"), ("cut", 3, "connection closed after 99999 of 100000 bytes")],
)
def test_a_failed_download_says_where_why_and_what_to_do(server: str, path: str, calls: int, why: str) -> None:
    with pytest.raises(bootstrap.SetupError) as caught:
        bootstrap.download(f"{server}/{path}", SHA256, pause_s=0.01)
    assert f"cannot download {server}/{path}" in str(caught.value)
    assert why in str(caught.value)
    assert "HTTPS_PROXY" in str(caught.value)
    assert len(Handler.calls) == calls


def test_a_trickling_server_meets_the_deadline(server: str) -> None:
    with pytest.raises(bootstrap.SetupError, match=r"not finished after 0 s"):
        bootstrap.download(f"{server}/trickle", SHA256, deadline_s=0.3, pause_s=0.5)
    assert Handler.calls == ["/trickle"]


def test_a_replaced_file_is_refused(server: str) -> None:
    with pytest.raises(bootstrap.SetupError, match="wrong content") as caught:
        bootstrap.download(f"{server}/ok", "0" * 64)
    assert "0" * 64 in str(caught.value)
    assert SHA256 in str(caught.value)
    assert Handler.calls == ["/ok"]


# --- a whole set-up --------------------------------------------------------------------------------------------------

STAND_IN_UV = """#!/bin/sh
if [ "$1" = --version ]; then echo "uv {version} (stand-in)"; exit 0; fi
echo "$@" >> "$STAND_IN_LOG"
echo "downloads=$UV_PYTHON_DOWNLOADS index=$UV_DEFAULT_INDEX venv=$VIRTUAL_ENV" >> "$STAND_IN_LOG"
[ -z "$STAND_IN_FAILS" ] || exit 2
[ -e "$UV_PROJECT_ENVIRONMENT/pyvenv.cfg" ] || echo "new .venv" >> "$STAND_IN_LOG"
mkdir -p "$UV_PROJECT_ENVIRONMENT/bin" "$UV_PROJECT_ENVIRONMENT/lib/python3.{minor}"
touch "$UV_PROJECT_ENVIRONMENT/pyvenv.cfg"
ln -sf "{python}" "$UV_PROJECT_ENVIRONMENT/bin/python"
[ -z "$STAND_IN_DIES" ] || kill -9 $PPID
"""


def write_stand_in(path: Path, version: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(STAND_IN_UV.format(version=version, minor=sys.version_info[1], python=sys.executable))
    path.chmod(0o755)


class Project:
    """A folder with only what the bootstrap needs, and a stand-in uv on PATH."""

    def __init__(self, root: Path, bin_folder: Path) -> None:
        self.root, self.bin_folder = root, bin_folder
        self.log = bin_folder / "log"

    def setup(self, *arguments: str, python: str = sys.executable, **environment: str) -> tuple[int, str, list[str]]:
        """(exit code, stderr, lines that the stand-in logged in this call)."""
        self.log.write_text("")
        run = subprocess.run(
            [python, "-I", "scripts/bootstrap.py", *arguments],
            cwd=self.root,
            check=False,
            capture_output=True,
            text=True,
            env={"PATH": f"{self.bin_folder}:/usr/bin:/bin", "STAND_IN_LOG": str(self.log), **environment},
        )
        assert run.stdout == ""
        return run.returncode, run.stderr, self.log.read_text().splitlines()


@pytest.fixture
def project(tmp_path: Path) -> Project:
    root = tmp_path / "a clone with spaces"
    (root / "scripts").mkdir(parents=True)
    shutil.copy(REPO / "scripts" / "bootstrap.py", root / "scripts")
    (root / "uv.lock").write_text("lock")
    (root / "pyproject.toml").write_text("project")
    write_stand_in(tmp_path / "bin" / "uv", "99.0.0")
    return Project(root, tmp_path / "bin")


def test_the_first_setup_installs_and_the_second_does_nothing(project: Project) -> None:
    status, error, log = project.setup(UV_DEFAULT_INDEX="mirror", VIRTUAL_ENV="elsewhere")
    assert status == 0, error
    assert log[0].startswith("sync --frozen --extra cpu --python ")
    assert log[1] == "downloads=never index=mirror venv="
    assert project.setup() == (0, "", [])


@pytest.mark.parametrize("fails", [False, True])
def test_what_the_first_command_would_wait_for_is_made_once(project: Project, fails: bool) -> None:
    (project.root / "simapp").mkdir()
    (project.root / "simapp" / "kernels.py").write_text(
        f"import pathlib, sys\npathlib.Path('compiled').open('a').write('once\\n')\nsys.exit({int(fails)})\n"
    )
    status, error, _ = project.setup()
    assert status == 0
    assert ("could not be compiled ahead" in error) is fails
    assert project.setup() == (0, "", [])
    assert (project.root / "compiled").read_text() == "once\n"
    _, _, log = project.setup("--extra", "gpu", "--only-packages")
    assert "--extra gpu --extra sweep " in log[0], "an image sweeps, too"
    assert (project.root / "compiled").read_text() == "once\n"


@pytest.mark.parametrize("name", ["uv.lock", "pyproject.toml"])
def test_a_changed_input_installs_again(project: Project, name: str) -> None:
    project.setup()
    (project.root / name).write_text("changed")
    status, _, log = project.setup()
    assert (status, log[0].split()[0]) == (0, "sync")


def test_a_moved_folder_installs_again(project: Project) -> None:
    project.setup()
    project.root = project.root.rename(project.root.with_name("moved"))
    assert project.setup()[2][0].startswith("sync")


def test_the_build_changes_only_when_asked(project: Project) -> None:
    project.setup("--extra", "gpu")
    assert project.setup() == (0, "", [])
    assert "--extra cpu" in project.setup("--extra", "cpu")[2][0]
    assert project.setup() == (0, "", [])
    assert "--extra gpu" in project.setup("--extra", "gpu")[2][0]


def test_a_failed_setup_says_so_and_keeps_the_choice(project: Project) -> None:
    status, error, _ = project.setup("--extra", "gpu", STAND_IN_FAILS="1")
    assert status == 1
    assert "uv sync ended with status 2" in error
    assert "Traceback" not in error
    assert "--extra gpu" in project.setup()[2][0]


def test_a_killed_setup_starts_a_new_venv(project: Project) -> None:
    status, _, _ = project.setup(STAND_IN_DIES="1")
    assert status == -9
    status, error, log = project.setup()
    assert status == 0
    assert "removing a broken .venv" in error
    assert "new .venv" in log


def test_a_venv_whose_python_is_gone_is_made_anew(project: Project) -> None:
    project.setup()
    (project.root / ".venv" / "bin" / "python").unlink()
    status, error, log = project.setup()
    assert (status, log[-1]) == (0, "new .venv"), error
    assert project.setup() == (0, "", [])


def test_another_python_rebuilds_only_when_named(project: Project) -> None:
    project.setup()
    lib = project.root / ".venv" / "lib"
    (lib / f"python3.{sys.version_info[1]}").rename(lib / "python3.99")
    assert project.setup() == (0, "", [])
    assert project.setup("--this-python")[2][0].startswith("sync")


def test_the_locked_uv_is_downloaded_when_the_one_on_path_is_old(
    project: Project, server: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_stand_in(project.bin_folder / "uv", "0.1.0")
    new_uv = project.bin_folder / "new"
    write_stand_in(new_uv, "1.2.3")
    wheel = io.BytesIO()
    with zipfile.ZipFile(wheel, "w") as archive:
        archive.writestr("uv-1.2.3.data/scripts/uv", new_uv.read_bytes())
    monkeypatch.setattr(Handler, "content", wheel.getvalue())
    tags = "musllinux_1_1_{0}.manylinux_2_17_{0}.macosx_11_0_{0}".format(bootstrap.this_machine()[1])
    row = {
        "url": f"{server}/uv-1.2.3-py3-none-{tags}.whl",
        "hash": "sha256:" + hashlib.sha256(wheel.getvalue()).hexdigest(),
    }
    table = ", ".join(f"{key} = {json.dumps(value)}" for key, value in row.items())
    lock = f'[[package]]\nname = "uv"\nversion = "1.2.3"\nwheels = [{{ {table} }}]\n'
    (project.root / "uv.lock").write_text(lock)

    status, error, log = project.setup()
    assert status == 0, error
    assert "downloading uv 1.2.3" in error
    assert log[0].startswith("sync")
    (project.root / "pyproject.toml").write_text("changed")
    assert project.setup()[0] == 0
    assert len(Handler.calls) == 1, "the binary in .tools is used again"
    assert sorted(path.name for path in (project.root / ".tools").iterdir()) == ["extra", "setup.lock", "uv"]


def test_no_usable_python_names_what_was_found(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    broken_shim = tmp_path / "python3.11"
    broken_shim.write_text("#!/bin/sh\nexit 127\n")
    other = tmp_path / "python3.12"
    other.write_text("#!/bin/sh\necho 3 10 4\n")
    for path in (broken_shim, other):
        path.chmod(0o755)
    monkeypatch.setattr(sys, "version_info", (3, 13, 1, "final", 0))
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(bootstrap.SetupError) as caught:
        bootstrap.find_python()
    assert f"only 3.13.1 ({sys.executable}), 3.10.4 ({other})" in str(caught.value)
    assert "Python 3.11 or 3.12" in str(caught.value)
    other.write_text("#!/bin/sh\necho 3 12 4\n")
    assert bootstrap.find_python() == str(other)
    with pytest.raises(bootstrap.SetupError):
        bootstrap.find_python(only_this=True)


def test_the_file_parses_on_an_old_python_so_that_it_can_explain() -> None:
    ast.parse((REPO / "scripts" / "bootstrap.py").read_text(), feature_version=(3, 8))
