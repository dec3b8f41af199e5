"""Set up .venv from uv.lock with nothing but a Python: `make` runs this before everything else.

The standard library only, and syntax that Python 3.8 still reads, so that an old Python can say which one is needed.
uv is a dependency of the project, so uv.lock already pins its wheels with address and checksum.
"""

from __future__ import annotations

import argparse
import contextlib
import hashlib
import os
import re
import shutil
import subprocess
import sys
import time
from pathlib import Path

MIN_UV = (0, 8, 0)  # the oldest release tried with our uv.lock
PYTHONS = ((3, 11), (3, 12))  # rl_coach and TensorFlow 2.21 both run on these
DOWNLOAD_DEADLINE_S = 600.0
SOCKET_TIMEOUT_S = 30.0
DOWNLOAD_ATTEMPTS = 3
PREPARED_IMPORTS = """
import undercut.runs.sessions
from trainer.coach import shim
shim.install()
import trainer.ppo.update
"""


class SetupError(Exception):
    """The environment cannot be set up; the message says what to do."""


class ProjectLayout:
    """Where the set-up keeps its files below the project's root."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.lock = root / "uv.lock"
        self.pyproject = root / "pyproject.toml"
        self.venv = root / ".venv"
        self.stamp = self.venv / ".undercut-setup"  # digest of what .venv holds; written last
        self.tools = root / ".tools"
        self.uv = self.tools / "uv"
        self.extra = self.tools / "extra"  # cpu or gpu, as last asked for
        self.installing = self.tools / "installing"  # there while uv writes to .venv


# --- what is there ---------------------------------------------------------------------------------------------------


def chosen_extra(layout: ProjectLayout, asked: str | None) -> str:
    """The build asked for now, else the one asked for last, else cpu."""
    if asked:
        return asked
    with contextlib.suppress(OSError):
        kept = layout.extra.read_text(encoding="utf-8").strip()
        if kept in ("cpu", "gpu"):
            return kept
    return "cpu"


def digest(layout: ProjectLayout, extra: str) -> str:
    """Fingerprint of what .venv has to hold. The path is part of it: scripts in a moved .venv point to the old one."""
    parts = [layout.lock.read_bytes(), layout.pyproject.read_bytes(), extra.encode(), os.fsencode(layout.root)]
    return hashlib.sha256(b"\0".join(hashlib.sha256(part).digest() for part in parts)).hexdigest()


def is_ready(layout: ProjectLayout, extra: str, only_this_python: bool = False) -> bool:
    """Whether .venv was completely set up for exactly these inputs and can still start."""
    try:
        stamped = layout.stamp.read_text(encoding="utf-8")
    except OSError:
        return False
    if only_this_python and not (layout.venv / "lib" / f"python{dotted(sys.version_info[:2])}").is_dir():
        return False
    return stamped == digest(layout, extra) and os.access(layout.venv / "bin" / "python", os.X_OK)


def output_of(command: list[str]) -> str | None:
    """Standard output of a short command, or None when it does not start or fails."""
    try:
        run = subprocess.run(command, check=False, capture_output=True, text=True, timeout=30, stdin=subprocess.DEVNULL)
    except (OSError, subprocess.TimeoutExpired):
        return None
    return run.stdout if run.returncode == 0 else None


def dotted(version: tuple[int, ...]) -> str:
    """(3, 11) as 3.11."""
    return ".".join(map(str, version))


# --- Python ----------------------------------------------------------------------------------------------------------


def python_version(executable: str) -> tuple[int, ...] | None:
    """Version of an interpreter, or None when it does not start (a pyenv shim of an inactive version, say)."""
    output = output_of([executable, "-I", "-c", "import sys; print(*sys.version_info[:3])"])
    return tuple(int(part) for part in output.split()) if output else None


def find_python(only_this: bool = False) -> str:
    """This interpreter when it is one of PYTHONS, else one on PATH; SetupError names what was found."""
    if sys.version_info[:2] in PYTHONS:
        return sys.executable
    found = {sys.executable: tuple(sys.version_info[:3])}
    for wanted in () if only_this else PYTHONS:
        path = shutil.which(f"python{dotted(wanted)}")
        version = python_version(path) if path else None
        if path and version:
            if version[:2] == wanted:
                return path
            found[path] = version
    have = ", ".join(f"{dotted(version)} ({path})" for path, version in found.items())
    raise SetupError(
        f"no usable Python, only {have}\n"
        "  rule: Python 3.11 or 3.12\n"
        "  fix:  install one (Debian, Ubuntu: apt-get install python3.11 or python3.12),\n"
        "        or name one: make setup PYTHON=/path/to/python3.11"
    )


# --- uv --------------------------------------------------------------------------------------------------------------


def uv_version(executable: str | Path) -> tuple[int, ...] | None:
    """Version of a uv binary, or None when it does not start."""
    match = re.match(r"uv (\d+)\.(\d+)\.(\d+)", output_of([str(executable), "--version"]) or "")
    return tuple(int(part) for part in match.groups()) if match else None


def locked_uv(lock: Path) -> tuple[tuple[int, ...], list[dict[str, str]]]:
    """Version of uv in uv.lock and its wheels, each with `url` and `hash`."""
    import tomllib

    packages = tomllib.loads(lock.read_text(encoding="utf-8"))["package"]
    package = next((package for package in packages if package["name"] == "uv"), None)
    if package is None:
        raise SetupError("uv.lock: no package `uv`\n  fix: keep uv among pyproject.toml's dependencies")
    return tuple(int(part) for part in package["version"].split(".")), package["wheels"]


def runs_here(platform_tag: str, system: str, machine: str, glibc: tuple[int, ...] | None) -> bool:
    """Whether one platform tag of a wheel (manylinux_2_17_x86_64, macosx_11_0_arm64 ...) fits a machine."""
    match = re.fullmatch(r"(manylinux|musllinux|macosx)_(\d+)_(\d+)_(\w+)", platform_tag)
    if not match:
        return system == "Linux" and platform_tag == "linux_" + machine
    kind, need, arch = match[1], (int(match[2]), int(match[3])), match[4]
    if arch != machine:
        return False
    if kind == "macosx":
        return system == "Darwin"
    if kind == "musllinux":
        return system == "Linux" and glibc is None
    return system == "Linux" and glibc is not None and glibc >= need


def choose_wheel(
    wheels: list[dict[str, str]], system: str, machine: str, glibc: tuple[int, ...] | None
) -> dict[str, str]:
    """The first wheel for a machine; glibc is None where the C library is another one (Alpine's musl)."""
    for wheel in wheels:
        tags = wheel["url"].rsplit("/", 1)[-1][: -len(".whl")].rsplit("-", 1)[-1]
        if any(runs_here(tag, system, machine, glibc) for tag in tags.split(".")):
            return wheel
    raise SetupError(
        f"uv.lock has no uv for this platform: {system} {machine}, glibc {dotted(glibc) if glibc else 'none'}\n"
        f"  fix: put a uv {dotted(MIN_UV)} or newer on PATH"
    )


def this_machine() -> tuple[str, str, tuple[int, ...] | None]:
    """System, machine and glibc version of this computer."""
    import platform

    name, version = platform.libc_ver()
    glibc = tuple(int(part) for part in version.split(".")[:2]) if name == "glibc" else None
    return platform.system(), platform.machine(), glibc


def fetch(url: str, deadline_s: float) -> bytes:
    """Content of an address, whole or not at all; OSError when it takes longer than the deadline."""
    import urllib.request

    end = time.monotonic() + deadline_s
    chunks = []
    # proxies and certificates: urllib reads HTTPS_PROXY and SSL_CERT_FILE by itself
    with urllib.request.urlopen(url, timeout=min(SOCKET_TIMEOUT_S, deadline_s)) as response:
        size = response.headers.get("Content-Length")
        # read1 returns with what has come, so that a trickling server meets the deadline too
        while chunk := response.read1(1 << 18):
            chunks.append(chunk)
            if time.monotonic() > end:
                raise TimeoutError(f"not finished after {deadline_s:.0f} s")
    data = b"".join(chunks)
    if size is not None and len(data) != int(size):
        raise OSError(f"connection closed after {len(data)} of {size} bytes")
    return data


def download(url: str, sha256: str, deadline_s: float = DOWNLOAD_DEADLINE_S, pause_s: float = 2.0) -> bytes:
    """Verified content of an address. Network trouble is tried again, a wrong checksum is not."""
    import http.client
    import urllib.error

    end = time.monotonic() + deadline_s
    for attempt in range(1, DOWNLOAD_ATTEMPTS + 1):
        try:
            data = fetch(url, max(end - time.monotonic(), 0.1))
            break
        except (OSError, http.client.HTTPException) as error:
            refused = isinstance(error, urllib.error.HTTPError) and error.code < 500
            if refused or attempt == DOWNLOAD_ATTEMPTS or time.monotonic() + pause_s > end:
                raise SetupError(
                    f"cannot download {url}\n  why: {error}\n"
                    "  fix: check the network; behind a proxy set HTTPS_PROXY; for a company's certificate set\n"
                    f"       SSL_CERT_FILE or install ca-certificates; or put a uv {dotted(MIN_UV)} or newer on PATH"
                ) from error
            time.sleep(pause_s * attempt)
    got = hashlib.sha256(data).hexdigest()
    if got != sha256:
        raise SetupError(
            f"{url} has the wrong content\n  rule: sha256 {sha256} as in uv.lock, not {got}\n"
            "  fix:  a proxy may have replaced the file: try again elsewhere, or put a uv on PATH"
        )
    return data


def install_uv(wheel: bytes, target: Path) -> None:
    """Take the uv binary out of its wheel; the target is there whole or not at all."""
    import io
    import zipfile

    with zipfile.ZipFile(io.BytesIO(wheel)) as archive:
        member = next((name for name in archive.namelist() if name.endswith(".data/scripts/uv")), None)
        if member is None:
            raise SetupError("the uv wheel holds no scripts/uv\n  fix: put a uv on PATH")
        binary = archive.read(member)
    target.parent.mkdir(parents=True, exist_ok=True)
    partial = target.with_name(f"{target.name}.{os.getpid()}.part")
    try:
        partial.write_bytes(binary)
        partial.chmod(0o755)
        partial.replace(target)
    finally:
        with contextlib.suppress(FileNotFoundError):
            partial.unlink()


def find_uv(layout: ProjectLayout) -> str:
    """A usable uv: the one on PATH when it is recent enough, else the locked one in .tools, downloaded once."""
    on_path = shutil.which("uv")
    if on_path and (uv_version(on_path) or ()) >= MIN_UV:
        return on_path
    version, wheels = locked_uv(layout.lock)
    if uv_version(layout.uv) != version:
        wheel = choose_wheel(wheels, *this_machine())
        say(f"downloading uv {dotted(version)}")
        install_uv(download(wheel["url"], wheel["hash"].split(":", 1)[1]), layout.uv)
        if uv_version(layout.uv) != version:
            raise SetupError(f"{layout.uv} does not start\n  fix: put a uv for this platform on PATH")
    return str(layout.uv)


# --- the environment -------------------------------------------------------------------------------------------------


def say(message: str) -> None:
    """One line of progress, on stderr: stdout belongs to the command that make runs next."""
    print("setup: " + message, file=sys.stderr, flush=True)


def remove_broken_venv(layout: ProjectLayout) -> None:
    """Drop a .venv that uv would refuse (no working Python) or wrongly believe in (killed while it was writing)."""
    venv = layout.venv
    if not os.path.lexists(venv):
        return
    complete = (venv / "pyvenv.cfg").is_file() and not layout.installing.exists()
    if complete and python_version(str(venv / "bin" / "python")):
        return
    say("removing a broken .venv")
    if venv.is_symlink() or not venv.is_dir():
        venv.unlink()
    else:
        shutil.rmtree(venv)


def uv_environment(layout: ProjectLayout) -> dict[str, str]:
    """This process's environment, so that uv's own variables (mirrors, proxies, cache) count, and what we insist on."""
    import ssl

    environment = dict(os.environ, UV_PROJECT_ENVIRONMENT=str(layout.venv), UV_PYTHON_DOWNLOADS="never")
    environment.pop("VIRTUAL_ENV", None)
    paths = ssl.get_default_verify_paths()
    if paths.cafile or (paths.capath and any(os.scandir(paths.capath))):
        # a company's own certificate is in the system's store, not in the one that uv brings; two names, old and new
        environment.setdefault("UV_NATIVE_TLS", "true")
        environment.setdefault("UV_SYSTEM_CERTS", "true")
    return environment


IMAGE_EXTRAS = ("sweep",)
"""What runs in containers besides: sweeps of the stack, and shards of a sweep in the cloud."""


def sync(layout: ProjectLayout, extra: str, further: tuple[str, ...] = ()) -> None:
    """Make .venv hold what uv.lock says, then stamp it."""
    uv = find_uv(layout)
    remove_broken_venv(layout)
    with contextlib.suppress(FileNotFoundError):
        layout.stamp.unlink()
    environment = uv_environment(layout)
    # inside somebody's activated venv, the interpreter below it: that venv may be the one to rebuild
    python = getattr(sys, "_base_executable", sys.executable)
    say(f"installing the {extra} build into .venv from uv.lock (the first time this downloads a lot)")
    extras = [word for name in (extra, *further) for word in ("--extra", name)]
    command = [uv, "sync", "--frozen", *extras, "--python", python, "--directory", str(layout.root)]
    layout.installing.touch()
    status = subprocess.run(command, check=False, env=environment).returncode
    layout.installing.unlink()
    if status != 0:
        raise SetupError(
            f"uv sync ended with status {status}: see its message above\n"
            "  fix: mend the cause and run the same command again; what is downloaded already is kept"
        )
    partial = layout.stamp.with_suffix(".part")
    partial.write_text(digest(layout, extra), encoding="utf-8")
    partial.replace(layout.stamp)


def prepare(layout: ProjectLayout) -> None:
    """Do now, side by side, what the first command would wait for: the bytecode of the packages that a training
    imports, and the machine code of the simulator. The environment is complete without; who needs them makes them.
    """
    if not (layout.root / "simapp" / "kernels.py").is_file():
        return
    python, quiet, environment = str(layout.venv / "bin" / "python"), subprocess.DEVNULL, dict(os.environ)
    environment.pop("PYTHONDONTWRITEBYTECODE", None)
    imports = subprocess.Popen(
        [python, "-c", PREPARED_IMPORTS], cwd=layout.root, env=environment, stdin=quiet, stdout=quiet, stderr=quiet
    )
    try:
        command = [python, "-m", "simapp.kernels", "plain"]
        if subprocess.run(command, check=False, cwd=layout.root, env=environment, stdin=quiet).returncode != 0:
            say("the simulator could not be compiled ahead; the first command that drives tries again")
        imports.wait()
    finally:
        imports.kill()
        imports.wait()


def ensure(layout: ProjectLayout, asked: str | None, only_this_python: bool, only_packages: bool = False) -> None:
    """Set up .venv unless it already is as asked. Runs side by side wait for each other."""
    extra = chosen_extra(layout, asked)
    if extra == chosen_extra(layout, None) and is_ready(layout, extra, only_this_python):
        return
    python = find_python(only_this_python)
    if python != sys.executable:
        os.execv(python, [python, "-I", *sys.argv])
    import fcntl

    started = time.monotonic()
    layout.tools.mkdir(exist_ok=True)
    with (layout.tools / "setup.lock").open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            say("waiting for another set-up of this folder")
            fcntl.flock(lock, fcntl.LOCK_EX)
        layout.extra.write_text(extra + "\n", encoding="utf-8")
        if is_ready(layout, extra, only_this_python):
            return
        sync(layout, extra, IMAGE_EXTRAS if only_packages else ())
        if not only_packages:
            prepare(layout)
    say(f"ready in {time.monotonic() - started:.0f} s")


def main(arguments: list[str]) -> int:
    """Command line; returns the exit code."""
    parser = argparse.ArgumentParser(description="Set up .venv from uv.lock with nothing but a Python.")
    parser.add_argument("--extra", choices=("cpu", "gpu"), help="TensorFlow build; as last time, at first cpu")
    parser.add_argument("--this-python", action="store_true", help="rebuild a .venv that has another Python version")
    parser.add_argument(
        "--only-packages", action="store_true", help="for an image: compile nothing ahead, bring IMAGE_EXTRAS"
    )
    options = parser.parse_args(arguments)
    layout = ProjectLayout(Path(__file__).resolve().parent.parent)
    try:
        ensure(layout, options.extra, options.this_python, options.only_packages)
    except SetupError as error:
        print(f"setup: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("setup: interrupted; run the same command again to go on", file=sys.stderr)
        return 130
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
