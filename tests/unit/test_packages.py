"""Packages of a reward function: found, kept with the run, and installed on a machine that has only the run."""

import base64
import hashlib
import sys
import zipfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from contract import artifacts
from contract.config import RunConfig
from contract.errors import InputError
from contract.stores.local import LocalStore
from tests.conftest import REPO
from undercut.runs.packages import Locked, installed, locked_for
from undercut.runs.run import RacerFiles, Run

FILES = REPO / "actions" / "default.json", REPO / "actions" / "hyperparameters.json"


@pytest.fixture(autouse=True)
def own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """No network, an empty cache, and the module search path as it was."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setenv("UV_OFFLINE", "1")
    monkeypatch.chdir(tmp_path)
    before = list(sys.path)
    yield tmp_path / "cache" / "undercut" / "packages"
    sys.path[:] = before
    sys.modules.pop("racing_line", None)


def wheel(folder: Path, code: str, version: str = "1.2", needs: str = "") -> Path:
    """A wheel of the package racing-line, as the binary distribution format has it."""
    info = f"racing_line-{version}.dist-info"
    metadata = f"Metadata-Version: 2.1\nName: racing-line\nVersion: {version}\n"
    files = {
        "racing_line/__init__.py": code,
        f"{info}/METADATA": metadata + (f"Requires-Dist: {needs}\n" if needs else ""),
        f"{info}/WHEEL": "Wheel-Version: 1.0\nGenerator: test\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
    }
    record = "".join(
        f"{name},sha256={base64.urlsafe_b64encode(hashlib.sha256(text.encode()).digest()).rstrip(b'=').decode()},{len(text)}\n"
        for name, text in files.items()
    )
    folder.mkdir(exist_ok=True)
    path = folder / f"racing_line-{version}-py3-none-any.whl"
    with zipfile.ZipFile(path, "w") as archive:
        for name, text in {**files, f"{info}/RECORD": f"{record}{info}/RECORD,,\n"}.items():
            archive.writestr(zipfile.ZipInfo(name), text)
    return path


def reward(folder: Path) -> Path:
    folder.mkdir(exist_ok=True)
    path = folder / "reward.py"
    path.write_text("import racing_line\n\n\ndef reward_function(params):\n    return racing_line.BEST\n")
    return path


@pytest.mark.parametrize(
    "named",
    [
        "./wheels/racing_line-1.2-py3-none-any.whl",
        pytest.param("--find-links wheels\nracing-line", marks=pytest.mark.slow),
    ],
)
def test_a_run_brings_its_packages_to_a_machine_that_has_only_the_run(
    tmp_path: Path, own_cache: Path, named: str
) -> None:
    mine = tmp_path / "mine"
    path = reward(mine)
    content = wheel(mine / "wheels", "BEST = 4.5\n").read_bytes()
    (mine / "requirements.txt").write_text(f"{named}\nnumpy\n")
    run = Run.create(RunConfig(name="a"), path, *FILES)
    assert run.files.reward.instance()({}) == 4.5
    lock = run.store.get(artifacts.REQUIREMENTS_LOCK).decode()
    assert lock.split() == ["racing-line==1.2", f"--hash=sha256:{hashlib.sha256(content).hexdigest()}"]  # not numpy
    assert run.store.get(artifacts.REQUIREMENTS) == (mine / "requirements.txt").read_bytes()

    elsewhere = LocalStore(tmp_path / "elsewhere")
    for key in run.store.list(""):
        elsewhere.put(key, run.store.get(key))
    for folder in own_cache.iterdir():
        folder.rename(tmp_path / f"gone-{folder.name}")
    sys.modules.pop("racing_line")
    assert RacerFiles.of(elsewhere).reward.instance()({}) == 4.5
    assert len(list(own_cache.iterdir())) == 1
    assert RacerFiles.of(elsewhere).packages == Locked.of(run.store)


@pytest.mark.slow
def test_a_resumed_run_keeps_its_packages(tmp_path: Path) -> None:
    path, asked = reward(tmp_path / "mine"), tmp_path / "asked.txt"
    wheel(tmp_path, "BEST = 4.5\n")
    asked.write_text("./racing_line-1.2-py3-none-any.whl\n")
    run = Run.create(RunConfig(name="a"), path, *FILES, requirements=asked)
    run.same_files(None, None, None, None, asked)
    asked.write_text("./racing_line-1.2-py3-none-any.whl\nsix\n")
    with pytest.raises(InputError, match=r"run a: requirements/requirements\.txt"):
        run.same_files(None, None, None, None, asked)


@pytest.mark.slow
def test_what_the_environment_has_is_not_installed_again(tmp_path: Path) -> None:
    (tmp_path / "requirements.txt").write_text("numpy\nscipy>=1.14\n")
    locked = locked_for(tmp_path / "reward.py")
    assert locked is not None
    assert (locked.lock, installed(locked)) == ("", None)
    assert locked_for(REPO / "rewards" / "default.py") is None


@pytest.mark.slow
@pytest.mark.parametrize(
    ("asked", "says"),
    [
        ("./racing_line-1.2-py3-none-any.whl", r"(?s)this environment, which stay as they are.*numpy<1"),
        ("no-such-package-of-anybody", r"(?s)no-such-package-of-anybody.*fix: .*network"),
        ("numpy==", r"requirements\.txt"),
    ],
)
def test_packages_that_cannot_be_had_are_told_with_uvs_words(tmp_path: Path, asked: str, says: str) -> None:
    path = reward(tmp_path)
    wheel(tmp_path, "BEST = 4.5\n", needs="numpy<1")
    (tmp_path / "requirements.txt").write_text(asked + "\n")
    with pytest.raises(InputError, match=says):
        Run.create(RunConfig(name="a"), path, *FILES)
    assert not Run.exists("a")


def test_a_wheel_that_was_changed_on_the_way_is_refused(tmp_path: Path, own_cache: Path) -> None:
    wheel(tmp_path, "BEST = 4.5\n")
    (tmp_path / "requirements.txt").write_text("./racing_line-1.2-py3-none-any.whl\n")
    locked = locked_for(tmp_path / "reward.py")
    assert locked is not None
    changed = wheel(tmp_path, "BEST = 99\n").read_bytes()
    with pytest.raises(InputError, match=r"(?is)hash"):
        installed(Locked(locked.requirements, locked.lock, {"racing_line-1.2-py3-none-any.whl": changed}))
    assert list(own_cache.iterdir()) == []
