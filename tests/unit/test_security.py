"""docs/security.md names every place that runs a racer's code, starts a program or listens; a new one fails here."""

import ast
import functools
from collections.abc import Iterator
from pathlib import Path

import pytest

REPO = Path(__file__).resolve().parents[2]
PACKAGES = ("contract", "simapp", "trainer", "undercut", "scripts")


@pytest.fixture(scope="module", autouse=True)
def _forget_the_calls() -> Iterator[None]:
    """Half a million objects, through which each later collection of garbage would walk."""
    yield
    _calls.cache_clear()


@functools.cache
def _calls() -> list[tuple[str, str, ast.Call]]:
    """File and the name that is called: its last part, with the one before it."""
    return [
        (str(path.relative_to(REPO)), ".".join(_text(node.func).split(".")[-2:]), node)
        for package in PACKAGES
        for path in sorted((REPO / package).rglob("*.py"))
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.Call)
    ]


def _text(called: ast.expr) -> str:
    """What is called, as it is written; ast.unparse itself takes seconds for all the calls that there are."""
    parts = []
    while isinstance(called, ast.Attribute):
        parts.append(called.attr)
        called = called.value
    return ".".join([called.id if isinstance(called, ast.Name) else ast.unparse(called), *reversed(parts)])


def _files(*names: str) -> set[str]:
    calls = ((file, name, call) for file, name, call in _calls() if name in names or name.rpartition(".")[2] in names)
    return {file for file, _, call in calls if "signature" not in _text(call.func)}


def test_racers_code_runs_where_the_page_says() -> None:
    in_redis = {"contract/channels/redis_log.py"}  # EVAL of scripts of our own, which Redis runs
    assert _files("exec", "eval", "import_module", "runpy", "run_path") - _late_imports() - in_redis == {
        "simapp/reward.py",
        "trainer/coach/preset.py",
    }


def _late_imports() -> set[str]:
    """Files that import modules of this environment by a name of their own."""
    own = {file for file, name, call in _calls() if "import_module" in name and isinstance(call.args[0], ast.Constant)}
    return own | {"contract/runtime.py", "simapp/kernels.py", "trainer/coach/shim.py", "undercut/__init__.py"}


def test_nothing_goes_through_a_shell() -> None:
    for file, name, call in _calls():
        shell = [word for word in call.keywords if word.arg == "shell"]
        assert not shell and name not in ("os.system", "os.popen"), f"{file}, line {call.lineno}"


def test_data_files_run_nothing() -> None:
    assert not _files(
        "yaml.load", "unsafe_load", "full_load", "pickle.loads", "pickle.load", "marshal.loads", "shelve.open"
    )
    for file, name, call in _calls():
        allowed = [word.value for word in call.keywords if word.arg == "allow_pickle"]
        assert all(isinstance(value, ast.Constant) and value.value is False for value in allowed), file
        if name == "np.load":
            assert allowed, f"{file}, line {call.lineno}: say allow_pickle=False"


def test_what_listens_is_what_the_page_says() -> None:
    assert _files("bind", "listen", "create_server", "TCPServer", "HTTPServer") == {
        "contract/channels/unix.py",
        "undercut/doctor.py",  # looks whether a port is free
        "undercut/view/ports.py",
        "simapp/gazebo/process.py",  # looks for a free port, on 127.0.0.1
    }


@pytest.mark.parametrize("said", ["simapp/reward.py", "trainer/coach/preset.py", "contract/channels/unix.py"])
def test_the_page_names_them(said: str) -> None:
    assert said in (REPO / "docs/security.md").read_text()


def test_files_that_the_page_names_exist() -> None:
    words = (REPO / "docs/security.md").read_text().split("`")[1::2]
    named = [word for word in words if "/" in word and word.endswith((".py", ".yaml")) and " " not in word]
    assert len(named) > 5
    assert all((REPO / word).is_file() for word in named if not word.startswith("compose/secrets")), named
