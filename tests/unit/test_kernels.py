"""Kernels compiled ahead: all of them are known, kept, brought along where numba passes them by, and told of."""

import ast
import io
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from rich.console import Console

import simapp
from simapp import kernels
from simapp.kernels import Compiled, Scope
from tests.conftest import REPO
from undercut.runs import compiling

PACKAGE = Path(simapp.__file__).parent


def test_every_function_that_numba_compiles_is_known() -> None:
    """By the decorators in the sources' syntax trees."""
    decorated = set()
    for path in PACKAGE.rglob("*.py"):
        place = ".".join(path.relative_to(PACKAGE).with_suffix("").parts)
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.FunctionDef) and any("njit" in ast.unparse(it) for it in node.decorator_list):
                assert any("cache=True" in ast.unparse(it) for it in node.decorator_list), (place, node.name)
                decorated.add(f"{place}.{node.name}")
    assert len(decorated) > 50
    assert set(kernels.kernels()) == decorated


COPIED = """
import sys
from simapp import kernels
kernels.settle_cache()
print(*[name for name in kernels.missing() if name.startswith("lidar.kernel.normal")])
from simapp.lidar.kernel import normal
import numpy as np
from numba.core import event
class Heard(event.Listener):
    def on_start(self, event): print("compiles")
    def on_end(self, event): pass
event.register("numba:compile", Heard())
print(normal(np.uint64(7), 3, 1))
"""
AS_ANYBODY = """
import ctypes, os, sys
# PR_CAPBSET_DROP, CAP_DAC_OVERRIDE: root, too, may not write where the mode says so
ctypes.CDLL(None).prctl(24, 1, 0, 0, 0)
os.execv(sys.executable, [sys.executable, "-c", sys.argv[1]])
"""


def says(folder: Path, **environment: str) -> list[str]:
    """What COPIED says in a folder that holds a copy of the package."""
    done = subprocess.run(
        [sys.executable, "-c", AS_ANYBODY, COPIED],
        cwd=folder,
        env={"PATH": os.environ["PATH"], "HOME": "/nowhere", "TMPDIR": str(folder.parent), **environment},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.split("\n")[:-1]


@pytest.mark.slow
def test_they_outlive_another_cpu_and_a_folder_that_cannot_be_written(tmp_path: Path) -> None:
    copy = tmp_path / "installed"
    for name in ("__init__.py", "kernels.py", "lidar/__init__.py", "lidar/kernel.py", "lidar/fan.py"):
        if (PACKAGE / name).exists():
            (copy / "simapp" / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(PACKAGE / name, copy / "simapp" / name)
    (copy / "simapp" / "lidar" / "__init__.py").write_text("")
    other = {"NUMBA_CPU_NAME": "generic", "NUMBA_CPU_FEATURES": ""}
    [first, *compiled, value] = says(copy)
    assert first == "lidar.kernel.normal" and set(compiled) == {"compiles"}
    assert says(copy) == ["", value]
    assert says(copy, **other)[:2] == ["lidar.kernel.normal", "compiles"]
    assert says(copy) == ["", value]

    folders = [copy, *(path for path in copy.rglob("*") if path.is_dir())]
    for folder in folders:
        folder.chmod(0o555)
    try:
        assert says(copy) == ["", value]
        assert not list(tmp_path.glob("undercut-kernels-*")), "what went with the process is left"
        home = tmp_path / "home"
        home.mkdir()
        for environment in ({}, other):
            assert says(copy, HOME=str(home), **environment) == ["", value]
        assert list(home.rglob("*.nbc"))
    finally:
        for folder in folders:
            folder.chmod(0o755)


def test_what_calls_another_file_is_forgotten_when_that_is_updated(tmp_path: Path) -> None:
    """Numba would run the old callee, compiled into the caller, whose own file is the same."""
    package = tmp_path / "simapp"
    package.mkdir()
    shutil.copy(PACKAGE / "__init__.py", package)
    head = "from numba import njit\n"
    callee = package / "callee.py"
    callee.write_text(f"{head}@njit(cache=True)\ndef told():\n    return 1\n")
    (package / "caller.py").write_text(
        f"{head}from simapp.callee import told\n@njit(cache=True)\ndef twice():\n    return 2 * told()\n"
    )

    # each a process of its own that imports our packages anew: the copy of one that has imported and started numba
    code = """
import os, sys, numba
numba.njit(lambda: 1)()
for _ in sys.stdin:
    if os.fork() == 0:
        from simapp.caller import twice
        print(twice(), sum(twice.stats.cache_hits.values()), flush=True)
        os._exit(0)
    if os.wait()[1]:
        print("failed", flush=True)
"""
    environment = {key: value for key, value in os.environ.items() if key not in ("NUMBA_CACHE_DIR", "PYTHONPATH")}
    pipe, command = subprocess.PIPE, [sys.executable, "-c", code]
    with subprocess.Popen(command, cwd=tmp_path, env=environment, stdin=pipe, stdout=pipe, text=True) as process:
        asked, told = process.stdin, process.stdout
        assert asked is not None and told is not None

        def says() -> str:
            print(file=asked, flush=True)
            return told.readline().strip()

        assert says() == "2 0"
        assert says() == "2 1", "what is unchanged is kept"
        callee.write_text(f"{head}@njit(cache=True)\ndef told():\n    return 21\n")
        assert says() == "42 0"
        assert says() == "42 1"


@pytest.mark.slow
def test_everything_is_compiled_by_processes_side_by_side_and_told_one_by_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In processes, since this one has its kernels from where it began. The CPU is one for which nothing lies here."""
    code = (
        "from simapp.kernels import compile_missing, missing\n"
        "compile_missing(lambda news: print(news.done, news.of, news.name, flush=True))\nprint('left', *missing())\n"
    )
    monkeypatch.setenv("NUMBA_CACHE_DIR", str(tmp_path))
    monkeypatch.setenv("NUMBA_CPU_NAME", "generic")
    monkeypatch.setenv("NUMBA_CPU_FEATURES", "")
    pipe = subprocess.PIPE
    two = [subprocess.Popen([sys.executable, "-c", code], cwd=REPO, stdout=pipe, text=True) for _ in range(2)]
    first, second = sorted((it.communicate()[0].splitlines() for it in two), key=len, reverse=True)
    known = set(kernels.kernels())
    assert first[0] == f"0 {len(known)} "
    told = [line.split() for line in first[1:-1]]
    assert [(int(done), int(of)) for done, of, _ in told] == [(k + 1, len(known)) for k in range(len(known))]
    assert {name for *_, name in told} == known
    assert (first[-1], second[-1]) == ("left", "left")
    assert second[:-1] in ([], ["0 0 "]), "who came second did the work again"


@pytest.mark.slow
def test_what_a_training_waits_for_is_there_afterwards(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Else each training would compile again what it never uses."""
    code = (
        "from simapp.kernels import Scope, compile_missing, missing\n"
        "print(compile_missing(scope=Scope.plain) > 10, *missing(Scope.plain))\n"
    )
    monkeypatch.setenv("NUMBA_CACHE_DIR", str(tmp_path))
    monkeypatch.setenv("NUMBA_CPU_NAME", "generic")
    monkeypatch.setenv("NUMBA_CPU_FEATURES", "")
    done = subprocess.run([sys.executable, "-c", code], cwd=REPO, capture_output=True, text=True, check=True)
    assert done.stdout == "True\n"


def test_a_part_that_fails_says_what_it_said(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(RuntimeError, match=r"compiling the simulator \(nonsense\) ended with status 2\n(.|\n)*invalid"):
        list(kernels._compiled_by(["nonsense"], 2))


@pytest.mark.parametrize("is_terminal", [True, False])
def test_the_wait_is_shown(is_terminal: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    def compiled(tell: Callable[[Compiled], None], scope: Scope) -> int:
        assert scope == Scope.plain
        for done, name in enumerate(("", "camera.kernel.render_frames", "tracks.kernels.project_points")):
            tell(Compiled(done, 2, name))
            console.file.write("\n[now]\n")
        return 2

    monkeypatch.setattr(compiling, "compile_missing", compiled)
    console = Console(file=io.StringIO(), force_terminal=is_terminal, width=140)
    compiling.compile_ahead(console, Scope.plain)
    said = console.file.getvalue()  # type: ignore[attr-defined]
    if is_terminal:
        assert "compiling the simulator for this CPU, once" in said and "tracks.kernels.project_points" in said
    else:
        assert said.split("\n[now]\n")[0] == "compiling the simulator for this CPU, once: 2 kernels\n"
        assert said.count("compiling") == 1
        assert said.endswith("[now]\n"), "a blank line for a bar that nobody sees"


def test_where_nothing_is_missing_nothing_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(kernels, "missing", lambda scope: [])
    for is_terminal in (True, False):
        console = Console(file=io.StringIO(), force_terminal=is_terminal)
        compiling.compile_ahead(console, Scope.plain)
        assert "compiling" not in console.file.getvalue()  # type: ignore[attr-defined]
