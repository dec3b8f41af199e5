"""Packages that a racer's reward imports: found once by uv, kept in the run as versions and checksums, and installed
into a folder of their own on every machine that drives. The environment itself is never changed."""

import hashlib
import importlib.metadata
import logging
import re
import shutil
import subprocess
import sys
import sysconfig
import tempfile
import zipfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Self

from contract import artifacts
from contract.errors import InputError
from contract.fields import MISSING, read_text
from contract.host import cache_folder
from contract.protocols import Place

MAX_WHEELS_BYTES = 50_000_000
"""Local wheels together; they travel to every worker."""
_DEADLINE_S = 600.0
_OLDEST_PYTHON = "3.11"
_LOG = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Locked:
    """A requirements file and what it comes to.

    requirements  as the racer wrote it
    lock          `name==version --hash=...` of every package that the environment has not; empty when it has all
    wheels        those of them that are files of the racer's, by name
    """

    requirements: bytes
    lock: str
    wheels: Mapping[str, bytes]

    @classmethod
    def of(cls, store: Place) -> Self | None:
        """Those of a run, None when it has none."""
        if not store.exists(artifacts.REQUIREMENTS_LOCK):
            return None
        wheels = {
            key.removeprefix(artifacts.REQUIREMENTS_WHEELS): store.get(key)
            for key in store.list(artifacts.REQUIREMENTS_WHEELS)
        }
        return cls(store.get(artifacts.REQUIREMENTS), store.get(artifacts.REQUIREMENTS_LOCK).decode(), wheels)

    def files(self) -> dict[str, bytes]:
        """What a run keeps, by key."""
        return {
            artifacts.REQUIREMENTS: self.requirements,
            artifacts.REQUIREMENTS_LOCK: self.lock.encode(),
            **{artifacts.REQUIREMENTS_WHEELS + name: content for name, content in self.wheels.items()},
        }


def locked_for(reward: Path, requirements: Path | None = None) -> Locked | None:
    """What the reward's packages are: of `requirements`, else of a lock or a requirements.txt beside the reward, else
    None. InputError when uv finds no set of versions that goes with this environment."""
    folder = reward.resolve().parent
    if requirements is None and (folder / artifacts.REQUIREMENTS_LOCK).is_file():  # a run's files, brought by a job
        return _brought(folder)
    path = requirements or folder / "requirements.txt"
    if requirements is None and not path.is_file():
        return None
    return _lock(path)


def folder_for(reward: Path) -> Path | None:
    """The folder with the packages of a reward that is no run's yet, None when it asks for none."""
    packages = locked_for(reward)
    return installed(packages) if packages else None


def installed(packages: Locked) -> Path | None:
    """The folder that has them, made when it is not there yet; None when there is nothing to install. The folder's name
    is what it holds, so that runs with the same lock share it and a later lock is another folder."""
    if not packages.lock.strip():
        return None
    kind = f"{sysconfig.get_platform()}-{sys.version_info.major}.{sys.version_info.minor}"
    digest = hashlib.sha256(f"{kind}\n{packages.lock}".encode()).hexdigest()[:20]
    cache = cache_folder("packages")
    target = cache / digest
    if target.is_dir():
        return target
    cache.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=f"{digest}-", dir=cache) as work:
        made = Path(work)
        (made / "wheels").mkdir()
        (made / "lock.txt").write_text(packages.lock)
        for name, content in packages.wheels.items():
            (made / "wheels" / name).write_bytes(content)
        names = re.findall(r"(?m)^([A-Za-z0-9._-]+)==", packages.lock)
        only_ours = len(packages.wheels) == len(names)
        _LOG.warning("installing what the reward function asks for: %s", ", ".join(names))
        _uv(
            *("pip", "install", "--target", str(made / "packages"), "--no-deps", "--require-hashes", "--only-binary"),
            *(":all:", "--python", sys.executable, "--find-links", str(made / "wheels"), "-r", str(made / "lock.txt")),
            *(["--no-index"] if only_ours else []),
            what="the packages of the reward function",
            value=" ".join(names),
            fix="check the network of this machine, or bring the wheels along: ./name-1.0-py3-none-any.whl",
        )
        try:
            (made / "packages").rename(target)
        except OSError:
            if not target.is_dir():  # else another process was faster
                raise
    return target


def _lock(path: Path) -> Locked:
    text = read_text(path, "the requirements file")
    with tempfile.TemporaryDirectory(prefix="undercut-requirements-") as work:
        have = _stand_ins(Path(work))
        constraints = Path(work) / "environment.txt"
        constraints.write_text("".join(f"{name} @ {wheel.as_uri()}\n" for name, wheel in sorted(have.items())))
        out = _uv(
            *("pip", "compile", path.name, "--universal", "--python-version", _OLDEST_PYTHON, "--generate-hashes"),
            *("--no-annotate", "--no-header", "--quiet", "--only-binary", ":all:", "--constraint", str(constraints)),
            *(word for name in sorted(have) for word in ("--no-emit-package", name)),
            what=f"{path}: packages that go with those of this environment, which stay as they are{_held(text, have)}",
            value=" ".join(text.split())[:150],
            fix="loosen the versions in the file, or check the network of this machine",
            folder=path.resolve().parent,  # paths in the file are relative to it
        )
    lines, wheels = [], {}
    for line in out.replace("\\\n", " ").splitlines():
        words = line.split(" ")
        if words[0].endswith(".whl") or "@" in words[:2]:
            wheel = path.parent / words[0]
            wheels[wheel.name] = _wheel(wheel, path)
            name, version = wheel.name.split("-")[:2]
            words[0] = f"{_normal(name)}=={version}"
        lines.append(" ".join(word for word in words if word))
    for line in lines:
        wheels |= _beside(line.split(" ")[0], text, path)
    if sum(map(len, wheels.values())) > MAX_WHEELS_BYTES:
        rule = f"local wheels have at most {MAX_WHEELS_BYTES:,} bytes together, since they go to every worker"
        raise InputError(str(path), sorted(wheels), rule, "put large ones where uv finds them by name")
    return Locked(path.read_bytes(), "".join(f"{line}\n" for line in lines if line), wheels)


def _held(text: str, have: Mapping[str, Path]) -> str:
    """Which of the packages that the file names this environment has, with their versions."""
    named = {_normal(name) for name in re.findall(r"(?m)^\s*([A-Za-z0-9][A-Za-z0-9._-]*)", text)}
    found = [f"{name} {have[name].name.split('-')[1]}" for name in sorted(named & set(have))]
    return f" ({', '.join(found)})" if found else ""


def _stand_ins(folder: Path) -> dict[str, Path]:
    """An empty wheel of each package of this environment, by its name: what is here already needs no index."""
    found = {}
    for dist in importlib.metadata.distributions():
        name = _normal(str(dist.metadata["Name"] or ""))
        if not name or name == "undercut":
            continue
        stem = f"{name.replace('-', '_')}-{dist.version}"
        found[name] = folder / f"{stem}-py3-none-any.whl"
        with zipfile.ZipFile(found[name], "w") as archive:
            info = f"Metadata-Version: 2.1\nName: {name}\nVersion: {dist.version}\n"
            archive.writestr(f"{stem}.dist-info/METADATA", info)
            archive.writestr(
                f"{stem}.dist-info/WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n"
            )
            archive.writestr(f"{stem}.dist-info/RECORD", "")
    return found


def _wheel(wheel: Path, path: Path) -> bytes:
    if wheel.suffix != ".whl" or not wheel.is_file():
        rule = "a requirement is a name with a version, or the path of a wheel"
        raise InputError(
            str(path), str(wheel), rule, "build one with `uv build --wheel`, or put the module beside the reward"
        )
    return wheel.read_bytes()


def _beside(pinned: str, text: str, path: Path) -> dict[str, bytes]:
    """The wheel of `name==version` in a folder that the file names with --find-links; empty when there is none."""
    for folder in re.findall(r"(?m)^\s*(?:--find-links|-f)[\s=]+(\S+)", text):
        where = path.parent / folder
        for wheel in sorted(where.glob("*.whl")) if where.is_dir() else []:
            name, version = wheel.name.split("-")[:2]
            if f"{_normal(name)}=={version}" == pinned.partition(" ")[0]:
                return {wheel.name: wheel.read_bytes()}
    return {}


def _brought(folder: Path) -> Locked:
    wheels = folder / artifacts.REQUIREMENTS_WHEELS
    return Locked(
        (folder / artifacts.REQUIREMENTS).read_bytes(),
        read_text(folder / artifacts.REQUIREMENTS_LOCK, "the lock of the requirements"),
        {wheel.name: wheel.read_bytes() for wheel in sorted(wheels.glob("*.whl"))},
    )


def _uv(*arguments: str, what: str, value: str, fix: str, folder: Path | None = None) -> str:
    """What uv prints; InputError with its own words when it fails."""
    command: Sequence[str] = [_uv_binary(), *arguments]
    try:
        done = subprocess.run(
            command,
            cwd=folder,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=_DEADLINE_S,
            check=False,
        )
    except subprocess.TimeoutExpired:
        raise InputError(what, value, f"uv finishes within {_DEADLINE_S:g} s", fix) from None
    if done.returncode != 0:
        errors = "\n".join(line for line in done.stderr.strip().splitlines()[-15:] if line.strip())
        raise InputError(what, value, f"uv finds and installs them; it says:\n{errors}", fix)
    return done.stdout


def _uv_binary() -> str:
    """The one of this environment, else the one on PATH."""
    own = Path(sysconfig.get_path("scripts")) / "uv"
    found = str(own) if own.is_file() else shutil.which("uv")
    if found is None:
        raise InputError("requirements", MISSING, "uv installs packages", "make setup, or put uv on PATH")
    return found


def _normal(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()
