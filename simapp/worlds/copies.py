"""A racer's own copy of AWS's simulator: a folder, a clone, a zip or tar of one, or a container image's filesystem."""

import contextlib
import os
import re
import shutil
import tarfile
import tempfile
import zipfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import IO

from contract.archive import DAMAGE
from contract.errors import InputError
from simapp.worlds.form import plain_parts

PICTURES = (".png", ".jpg", ".jpeg", ".tga", ".bmp", ".gif", ".webp", ".tif", ".tiff")
KINDS = frozenset((".world", ".sdf", ".config", ".npy", ".dae", *PICTURES))
"""Endings of the files that are taken out of an archive."""

MAX_FILES, MAX_BYTES, MAX_FILE_BYTES = 100_000, 4 * 2**30, 256 * 2**20
"""Of an archive's such files; all 127 official worlds are some 5,000 files of 1 GB."""
MAX_RATIO = 100
"""Times that an archive may grow when it is unpacked, 64 MB aside: pictures hardly do, text grows tenfold."""

_WORLD_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,127}")
_NOT_OURS = frozenset(("proc", "sys", "dev", "node_modules", ".git", "__pycache__"))


@dataclass(frozen=True, slots=True)
class WorldSource:
    """A world in a copy: its name, the folder that holds worlds/, models/, meshes/ and routes/, and what to call that
    folder in messages."""

    name: str
    root: Path
    shown: str

    @property
    def world_file(self) -> Path:
        """worlds/NAME.world."""
        return self.root / "worlds" / f"{self.name}.world"


@contextlib.contextmanager
def opened(copy: Path) -> Iterator[Path]:
    """The folder of a copy; of an archive a temporary one, which is gone after the block.

    InputError for a path that is neither, and for an archive that is damaged, too large, or grows more than it may.
    """
    if copy.is_dir():
        yield copy
        return
    if not copy.is_file():
        raise InputError(str(copy), "not there", "a copy is a folder, or a .zip or .tar of one", "check the path")
    folder = Path(tempfile.mkdtemp(prefix="undercut-worlds-"))
    try:
        _Unpacking(copy, folder).run()
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def worlds_in(folder: Path, shown: str) -> tuple[dict[str, WorldSource], list[str]]:
    """Worlds by name, sorted, and what of them cannot be taken, a line each.

    A world is worlds/NAME.world with routes/NAME.npy beside; of several of a name the one nearest to the top counts.
    InputError when there are none.
    """
    found: dict[str, WorldSource] = {}
    unread: list[str] = []
    for root in sorted(_roots(folder), key=lambda it: (len(it.parts), it)):
        place = shown + "".join(f"/{part}" for part in root.relative_to(folder).parts)
        for path in sorted((root / "worlds").glob("*.world")):
            if not _WORLD_NAME.fullmatch(path.stem):
                unread.append(f"{place}/worlds: {path.stem!r} is no world's name: letters, digits, `_`, `-` and `.`")
            elif not (root / "routes" / f"{path.stem}.npy").is_file():
                unread.append(f"{place}: {path.stem} has no route routes/{path.stem}.npy")
            elif path.stem not in found:
                found[path.stem] = WorldSource(path.stem, root, place)
    if not found:
        rule = "a copy has a folder with worlds/NAME.world, routes/NAME.npy, models/ and meshes/ in it"
        value = unread[0] if unread else "no world"
        raise InputError(shown, value, rule, "name the folder `bundle` of deepracer-simapp, or a folder above it")
    return dict(sorted(found.items())), unread


def _roots(folder: Path) -> Iterator[Path]:
    for parent, names, _ in os.walk(folder):
        names[:] = [name for name in names if name not in _NOT_OURS]
        if "worlds" in names:
            yield Path(parent)


class _Unpacking:
    """Takes the files of worlds out of an archive, and of archives in it, which a saved image's layers are."""

    def __init__(self, archive: Path, folder: Path) -> None:
        self._archive, self._folder = archive, folder
        self._files, self._bytes = 0, 0
        self._allowed = min(MAX_BYTES, MAX_RATIO * archive.stat().st_size + 64 * 2**20)

    def run(self) -> None:
        try:
            with self._archive.open("rb") as stream:
                if stream.read(2) == b"PK":
                    self._unzip(stream)
                else:
                    stream.seek(0)
                    self._untar(stream, depth=0)
        except DAMAGE as problem:
            rule = "a copy is a folder, or a whole .zip, .tar or .tar.gz of one"
            raise InputError(str(self._archive), str(problem), rule, "copy or download the archive again") from problem

    def _unzip(self, stream: IO[bytes]) -> None:
        with zipfile.ZipFile(stream) as packed:
            members = [it for it in packed.infolist() if not it.is_dir() and _is_wanted(it.filename)]
            self._count(len(members), sum(it.file_size for it in members))
            for member in members:
                with packed.open(member) as content:
                    self._take(member.filename, content, member.file_size)

    def _untar(self, stream: IO[bytes], depth: int) -> None:
        with tarfile.open(fileobj=stream, mode="r|*") as packed:
            for member in packed:
                if not member.isreg():
                    continue
                content = packed.extractfile(member)
                if content is None:
                    continue
                if _is_wanted(member.name):
                    self._count(1, member.size)
                    self._take(member.name, content, member.size)
                elif depth == 0 and _is_layer(member.name):
                    with contextlib.suppress(tarfile.ReadError):  # an image's other blobs are its description
                        self._untar(content, depth + 1)

    def _count(self, files: int, size: int) -> None:
        self._files, self._bytes = self._files + files, self._bytes + size
        if self._files > MAX_FILES or self._bytes > self._allowed:
            value = f"{self._files:,} files, {self._bytes:,} bytes of worlds"
            rule = f"an archive of this size holds at most {MAX_FILES:,} such files of {self._allowed:,} bytes together"
            raise InputError(str(self._archive), value, rule, "unpack it yourself and name the folder")

    def _take(self, name: str, content: IO[bytes], size: int) -> None:
        """Copy a file, and no more than it says."""
        if size > MAX_FILE_BYTES:
            return
        path = self._folder.joinpath(*plain_parts(name.removeprefix("./").lstrip("/")))
        path.parent.mkdir(parents=True, exist_ok=True)
        with path.open("wb") as target:
            while size > 0 and (part := content.read(min(size, 2**20))):
                target.write(part)
                size -= len(part)


def _is_wanted(name: str) -> bool:
    path = PurePosixPath(name)
    if path.suffix.lower() not in KINDS:
        return False
    try:
        plain_parts(name.removeprefix("./").lstrip("/"))
    except InputError:  # it would leave the folder: it is nothing's file
        return False
    return True


def _is_layer(name: str) -> bool:
    """Layers of `docker save`: ID/layer.tar, or blobs/sha256/ID."""
    path = PurePosixPath(name)
    return path.name == "layer.tar" or path.parent.name == "sha256"
