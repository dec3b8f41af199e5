"""Where the default installation runs: uv.lock has a wheel of every package, or a source that is plain Python, for each
platform that docs/platforms.md names; and the set-up picks the right uv there."""

import re
import tomllib
from functools import lru_cache
from typing import Any

import pytest
from packaging.markers import Marker
from packaging.tags import Tag, compatible_tags, cpython_tags, mac_platforms
from packaging.utils import parse_wheel_filename

from contract.channels.unix import UnixChannel
from scripts import bootstrap
from tests.conftest import REPO

LOCK = tomllib.loads((REPO / "uv.lock").read_text())
PYTHONS = ((3, 11), (3, 12))
PLATFORMS = {
    "Linux x86_64": ("linux", "Linux", "x86_64"),  # Windows too: in WSL2
    "Linux aarch64": ("linux", "Linux", "aarch64"),
    "macOS arm64": ("darwin", "Darwin", "arm64"),
}
BUILT = {"rl-coach"}
"""Come as a source only; plain Python, built by the pinned setuptools."""
GLIBC, MACOS = (2, 28), (14, 0)
"""The oldest ones, as docs/platforms.md says: Debian 10, RHEL 8; PyAV's wheel asks for the macOS."""


def platform_tags(system: str, machine: str) -> list[str]:
    if system == "darwin":
        return list(mac_platforms(MACOS, machine))
    return [f"manylinux_{GLIBC[0]}_{minor}_{machine}" for minor in range(GLIBC[1], 4, -1)] + [
        *(f"{old}_{machine}" for old in ("manylinux2014", "manylinux2010", "manylinux1")),
        f"linux_{machine}",
    ]


@lru_cache
def tags(name: str, python: tuple[int, int]) -> frozenset[Tag]:
    system, _, machine = PLATFORMS[name]
    platforms = platform_tags(system, machine)
    found = {
        *cpython_tags(python, platforms=platforms),
        *compatible_tags(python, f"cp{python[0]}{python[1]}", platforms),
    }
    return frozenset(found)


def environment(name: str, python: tuple[int, int]) -> dict[str, str]:
    system, title, machine = PLATFORMS[name]
    dotted = ".".join(map(str, python))
    return {
        "sys_platform": system,
        "platform_system": title,
        "platform_machine": machine,
        "os_name": "posix",
        "python_version": dotted,
        "python_full_version": f"{dotted}.5",
        "implementation_name": "cpython",
        "platform_python_implementation": "CPython",
    }


def closure(name: str, python: tuple[int, int], extra: str) -> list[dict[str, Any]]:
    """Packages of uv.lock that `make setup` installs there, our own aside."""
    where = environment(name, python)

    def chosen(dependencies: list[dict[str, Any]]) -> list[tuple[str, str | None, tuple[str, ...]]]:
        # uv writes which of two conflicting extras a line is for into its marker
        return [
            (it["name"], it.get("version"), tuple(it.get("extra", ())))
            for it in dependencies
            if holds(it.get("marker", ""), where, extra)
        ]

    [own] = [package for package in LOCK["package"] if package["name"] == "undercut"]
    # rl_coach comes from a group of the checkout's own (pyproject.toml says why)
    waiting = chosen(own["dependencies"]) + chosen(own["optional-dependencies"][extra])
    waiting += chosen(own["dev-dependencies"]["coach"])
    found: dict[tuple[str, str], dict[str, Any]] = {}
    while waiting:
        wanted, version, extras = waiting.pop()
        matching = [it for it in LOCK["package"] if it["name"] == wanted and version in (None, it["version"])]
        matching = [it for it in matching if any(holds(m, where, extra) for m in it.get("resolution-markers", [""]))]
        assert len(matching) == 1, f"{wanted}: {len(matching)} in uv.lock for {name}, Python {python}"
        package = matching[0]
        key = (package["name"], package["version"])
        news = key not in found
        found[key] = package
        for named in extras:
            waiting += chosen(package.get("optional-dependencies", {}).get(named, []))
        if news:
            waiting += chosen(package.get("dependencies", []))
    return list(found.values())


def holds(marker: str, where: dict[str, str], extra: str) -> bool:
    """A marker of uv.lock; uv writes `extra == 'extra-8-undercut-cpu'` for its conflicting extras."""
    if not marker:
        return True
    plain = re.sub(r"extra-\d+-undercut-", "", marker)
    return bool(Marker(plain).evaluate({**where, "extra": extra}))


@pytest.mark.parametrize("python", PYTHONS, ids=bootstrap.dotted)
@pytest.mark.parametrize("name", PLATFORMS)
def test_every_package_of_the_default_path_is_there(name: str, python: tuple[int, int]) -> None:
    packages = closure(name, python, "cpu")
    names = {package["name"] for package in packages}
    assert {"numpy", "numba", "av", "shapely", "rl-coach", "tf-keras"} <= names
    assert ("tensorflow-cpu" in names) == (name == "Linux x86_64")
    assert ("tensorflow" in names) == (name != "Linux x86_64")
    assert not [it for it in names if it.startswith(("nvidia-", "cuda"))]
    lacking = {
        f"{package['name']} {package['version']}"
        for package in packages
        if not any(fits(wheel, name, python) for wheel in package.get("wheels", []))
    }
    assert {it.split()[0] for it in lacking} <= BUILT, lacking
    assert all("sdist" in package for package in packages if package["name"] in BUILT)


def fits(wheel: dict[str, str], name: str, python: tuple[int, int]) -> bool:
    return bool(parse_wheel_filename(wheel["url"].rsplit("/", 1)[-1])[3] & tags(name, python))


@pytest.mark.parametrize("name", PLATFORMS)
def test_the_set_up_finds_its_uv(name: str) -> None:
    _, wheels = bootstrap.locked_uv(REPO / "uv.lock")
    _, title, machine = PLATFORMS[name]
    wheel = bootstrap.choose_wheel(wheels, title, machine, GLIBC if title == "Linux" else None)
    assert machine in wheel["url"].rsplit("/", 1)[-1]
    assert ("macosx" in wheel["url"]) == (title == "Darwin")


def test_other_platforms_are_told_so() -> None:
    _, wheels = bootstrap.locked_uv(REPO / "uv.lock")
    with pytest.raises(bootstrap.SetupError, match="no uv for this platform: OpenBSD"):
        bootstrap.choose_wheel(wheels, "OpenBSD", "sparc64", None)


def test_a_socket_fits_where_the_temporary_folder_is_deep(tmp_path: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """A socket's path has 103 bytes on macOS, 107 on Linux; macOS's own temporary folder takes 49 of them."""
    import tempfile

    deep = tmp_path / ("d" * 60) / ("e" * 60)
    deep.mkdir(parents=True)
    monkeypatch.setattr(tempfile, "tempdir", str(deep))
    channel = UnixChannel()
    try:
        assert len(str(channel.path).encode()) <= 103
    finally:
        channel.close()
