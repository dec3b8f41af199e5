"""A .tar, .tar.gz or .zip as files: car bundles, packed models, the console's logs."""

import bz2
import contextlib
import gzip
import io
import lzma
import tarfile
import zipfile
import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

from contract.errors import InputError

MAX_ARCHIVE_BYTES, MAX_MEMBERS = 2**31, 100_000
"""Of an unpacked archive; a whole run with videos has a tenth of it."""
DAMAGE = (
    *(tarfile.TarError, zipfile.BadZipFile, NotImplementedError, RuntimeError),
    *(EOFError, OSError, ValueError, ArithmeticError, zlib.error, lzma.LZMAError),
)
"""What Python raises for an archive that is cut off or none."""


@dataclass(frozen=True, slots=True)
class ArchiveLimits:
    """The most that an archive may unpack to."""

    size: int = MAX_ARCHIVE_BYTES
    members: int = MAX_MEMBERS


class Archive:
    """The plain files of an archive, in memory; names that leave the folder, and links, are nothing's files."""

    def __init__(
        self, source: Path | bytes, where: str = "", salvage: bool = False, limits: ArchiveLimits | None = None
    ) -> None:
        """InputError for what is no archive, cut off or beyond the limits. With `salvage`, the files before the damage
        are kept, and `problem` says what is wrong."""
        self._contents: dict[str, bytes] = {}
        self._limits = limits or ArchiveLimits()
        self.problem: InputError | None = None
        place = where or str(source if isinstance(source, Path) else "")
        try:
            if _begins_as_zip(source):
                with zipfile.ZipFile(io.BytesIO(source) if isinstance(source, bytes) else source) as packed:
                    self._unzip(packed, place)
            else:
                with _unpacking(source) as stream:
                    # a header's own text, such as a long name, counts before it is read into the memory
                    counted: Any = _Counted(stream, self._limits.size + _HEADERS, lambda: self._too_large(place, "it"))
                    with tarfile.open(fileobj=counted, mode="r|") as tar:
                        self._read(tar, place)
        except DAMAGE as error:
            rule, fix = "a whole .tar.gz or .zip, or a folder", "copy or download the archive again"
            self.problem = InputError(place, str(error), rule, fix)
            if not salvage:
                raise self.problem from None

    def _read(self, tar: tarfile.TarFile, place: str) -> None:
        left = self._limits.size
        for number, member in enumerate(tar):
            left -= member.size
            if left < 0 or number >= self._limits.members:
                raise self._too_large(place, member.name)
            name = member.name.removeprefix("./")
            stream = tar.extractfile(member) if member.isreg() and _stays_below(name) else None
            if stream is not None:
                self._contents[name] = stream.read()

    def _unzip(self, packed: zipfile.ZipFile, place: str) -> None:
        left = self._limits.size
        for number, member in enumerate(packed.infolist()):
            left -= member.file_size
            if left < 0 or number >= self._limits.members:
                raise self._too_large(place, member.filename)
            name = member.filename.removeprefix("./")
            if not member.is_dir() and _stays_below(name):
                # no more than it says: what is longer is damaged, or made to fill the memory
                with packed.open(member) as stream:
                    self._contents[name] = stream.read(member.file_size)

    def _too_large(self, place: str, name: str) -> InputError:
        rule = f"at most {self._limits.members:,} files of {self._limits.size:,} bytes together"
        return InputError(place, name, rule, "pack one model alone")

    def get(self, key: str) -> bytes:
        """KeyError when absent."""
        return self._contents[key]

    def list(self, prefix: str) -> list[str]:
        """Keys that begin with prefix, sorted."""
        return sorted(key for key in self._contents if key.startswith(prefix))


def _begins_as_zip(source: Path | bytes) -> bool:
    if isinstance(source, bytes):
        return source.startswith(b"PK")
    with source.open("rb") as stream:
        return stream.read(2) == b"PK"


_HEADERS = 64 << 20
"""Beside the contents; a header has 512 bytes, and each file fills its last block."""
_PACKED: dict[bytes, Any] = {b"\x1f\x8b": gzip.open, b"BZh": bz2.open, b"\xfd7zXZ\x00": lzma.open}


@contextlib.contextmanager
def _unpacking(source: Path | bytes) -> Iterator[IO[bytes]]:
    """The tar inside, as a stream."""
    with io.BytesIO(source) if isinstance(source, bytes) else source.open("rb") as file:
        begin = file.read(6)
        file.seek(0)
        opened = next((opener for magic, opener in _PACKED.items() if begin.startswith(magic)), None)
        if opened is None:
            yield file
            return
        with opened(file) as stream:
            yield stream


class _Counted:
    """A stream that gives so many bytes and no more."""

    def __init__(self, stream: IO[bytes], most: int, error: Callable[[], InputError]) -> None:
        self._stream, self._left, self._error = stream, most, error

    def read(self, size: int) -> bytes:
        part = self._stream.read(size)
        self._left -= len(part)
        if self._left < 0:
            raise self._error()
        return part


def _stays_below(name: str) -> bool:
    """Whether a name in an archive is a plain relative path."""
    return not any(part in ("", ".", "..") for part in name.split("/"))
