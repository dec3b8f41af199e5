"""A .tar or .tar.gz as files: car bundles, packed models, the console's logs."""

import io
import lzma
import tarfile
import zlib
from pathlib import Path

from contract.errors import InputError

MAX_ARCHIVE_BYTES, MAX_MEMBERS = 2**31, 100_000
"""Of an unpacked archive; a whole run with videos has a tenth of it."""
DAMAGE = (tarfile.TarError, EOFError, OSError, ValueError, ArithmeticError, zlib.error, lzma.LZMAError)
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
            with tarfile.open(None if file else source, fileobj=file) as tar:
                self._read(tar, place)
        except DAMAGE as error:
            rule, fix = "a whole .tar.gz, or a folder", "copy or download the archive again"
            self.problem = InputError(place, str(error), rule, fix)
            if not salvage:
                raise self.problem from None

    def _read(self, tar: tarfile.TarFile, place: str) -> None:
        left = MAX_ARCHIVE_BYTES
        for number, member in enumerate(tar):
            left -= member.size
            if left < 0 or number >= MAX_MEMBERS:
                rule = f"at most {MAX_MEMBERS:,} files of {MAX_ARCHIVE_BYTES:,} bytes together"
                raise InputError(place, member.name, rule, "pack one model alone")
            name = member.name.removeprefix("./")
            stream = tar.extractfile(member) if member.isreg() and _stays_below(name) else None
            if stream is not None:
                self._contents[name] = stream.read()

    def get(self, key: str) -> bytes:
        """KeyError when absent."""
        return self._contents[key]

    def list(self, prefix: str) -> list[str]:
        """Keys that begin with prefix, sorted."""
        return sorted(key for key in self._contents if key.startswith(prefix))


def _stays_below(name: str) -> bool:
    """Whether a name in an archive is a plain relative path."""
    return not any(part in ("", ".", "..") for part in name.split("/"))
