"""A .tar, .tar.gz or .zip as files: car bundles, packed models, the console's logs."""

import io
import lzma
import tarfile
import zipfile
import zlib
from pathlib import Path

from contract.errors import InputError

MAX_ARCHIVE_BYTES, MAX_MEMBERS = 2**31, 100_000
"""Of an unpacked archive; a whole run with videos has a tenth of it."""
DAMAGE = (
    *(tarfile.TarError, zipfile.BadZipFile, NotImplementedError, RuntimeError),
    *(EOFError, OSError, ValueError, ArithmeticError, zlib.error, lzma.LZMAError),
)
"""What Python raises for an archive that is cut off or none."""


class Archive:
    """The plain files of an archive, in memory; names that leave the folder, and links, are nothing's files."""

    def __init__(self, source: Path | bytes, where: str = "", salvage: bool = False) -> None:
        """InputError for what is no archive, cut off or too large. With `salvage`, the files before the damage are
        kept, and `problem` says what is wrong."""
        self._contents: dict[str, bytes] = {}
        self.problem: InputError | None = None
        place = where or str(source if isinstance(source, Path) else "")
        file = io.BytesIO(source) if isinstance(source, bytes) else None
        try:
            if _begins_as_zip(source):
                with zipfile.ZipFile(io.BytesIO(source) if isinstance(source, bytes) else source) as packed:
                    self._unzip(packed, place)
            else:
                with tarfile.open(None if file else source, fileobj=file) as tar:
                    self._read(tar, place)
        except DAMAGE as error:
            rule, fix = "a whole .tar.gz or .zip, or a folder", "copy or download the archive again"
            self.problem = InputError(place, str(error), rule, fix)
            if not salvage:
                raise self.problem from None

    def _read(self, tar: tarfile.TarFile, place: str) -> None:
        left = MAX_ARCHIVE_BYTES
        for number, member in enumerate(tar):
            left -= member.size
            if left < 0 or number >= MAX_MEMBERS:
                raise _too_large(place, member.name)
            name = member.name.removeprefix("./")
            stream = tar.extractfile(member) if member.isreg() and _stays_below(name) else None
            if stream is not None:
                self._contents[name] = stream.read()

    def _unzip(self, packed: zipfile.ZipFile, place: str) -> None:
        left = MAX_ARCHIVE_BYTES
        for number, member in enumerate(packed.infolist()):
            left -= member.file_size
            if left < 0 or number >= MAX_MEMBERS:
                raise _too_large(place, member.filename)
            name = member.filename.removeprefix("./")
            if not member.is_dir() and _stays_below(name):
                # no more than it says: what is longer is damaged, or made to fill the memory
                with packed.open(member) as stream:
                    self._contents[name] = stream.read(member.file_size)

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


def _too_large(place: str, name: str) -> InputError:
    rule = f"at most {MAX_MEMBERS:,} files of {MAX_ARCHIVE_BYTES:,} bytes together"
    return InputError(place, name, rule, "pack one model alone")


def _stays_below(name: str) -> bool:
    """Whether a name in an archive is a plain relative path."""
    return not any(part in ("", ".", "..") for part in name.split("/"))
