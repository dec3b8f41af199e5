"""Where an export goes: a folder or a .tar.gz that is there whole at the end, or not at all."""

import gzip
import io
import secrets
import shutil
import tarfile
from pathlib import Path
from types import TracebackType
from typing import IO

from contract import artifacts
from contract.errors import InputError
from contract.stores.local import LocalStore

ARCHIVE = ".tar.gz"
_GZIP_LEVEL = 1


class Target:
    """A folder, or an archive when the path ends in .tar.gz, whose members lie below a folder `top`.

    `mark` is a file that every export of this kind has: a folder without it is never replaced. Equal members give equal
    archives.
    """

    def __init__(self, out: Path, overwrite: bool, mark: str, top: str) -> None:
        """InputError when something is in the way."""
        self._out, self._top = out, top
        if out.exists() and not overwrite:
            raise InputError("--out", str(out), "it exists already", "give --overwrite, or another --out")
        if out.is_dir():
            if out.name.endswith(ARCHIVE):
                raise InputError("--out", str(out), "a file, and there is a folder of that name", "another --out")
            if not (out / mark).is_file() or (out / artifacts.RUN_CONFIG).exists():
                rule = f"only an earlier export, a folder with {mark} and no {artifacts.RUN_CONFIG}, is replaced"
                raise InputError("--out", str(out), rule, "another --out, or move the folder away")
        self._temporary = out.parent / f".{out.name}-{secrets.token_hex(8)}"
        self._open: list[IO[bytes] | gzip.GzipFile | tarfile.TarFile] = []
        self._tar: tarfile.TarFile | None = None

    def __enter__(self) -> "Target":
        self._out.parent.mkdir(parents=True, exist_ok=True)
        if self._out.name.endswith(ARCHIVE):
            raw = self._temporary.open("wb")
            packed = gzip.GzipFile("", "wb", _GZIP_LEVEL, raw, mtime=0)
            self._tar = tarfile.open(fileobj=packed, mode="w", format=tarfile.PAX_FORMAT)
            self._open = [self._tar, packed, raw]
        else:
            self._folder = LocalStore(self._temporary)
        return self

    def put(self, name: str, content: bytes) -> None:
        """One member."""
        if self._tar is None:
            self._folder.put(name, content)
            return
        member = tarfile.TarInfo(f"{self._top}/{name}")  # owner, group and mtime stay 0
        member.size, member.mode = len(content), 0o644
        self._tar.addfile(member, io.BytesIO(content))

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            for file in self._open:
                file.close()
            if error is None:
                self._swap()
        finally:
            if self._temporary.is_dir():
                shutil.rmtree(self._temporary)
            else:
                self._temporary.unlink(missing_ok=True)

    def _swap(self) -> None:
        if not self._out.is_dir():
            self._temporary.replace(self._out)
            return
        before = self._temporary.with_name(f"{self._temporary.name}-before")
        self._out.rename(before)
        try:
            self._temporary.rename(self._out)
        except BaseException:
            before.rename(self._out)
            raise
        shutil.rmtree(before)
