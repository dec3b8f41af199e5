"""Logs as people have them: a folder, an archive of the console, one file, each perhaps gzipped; MinIO's folders."""

import re
import zlib
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Protocol

from contract.archive import Archive
from contract.errors import InputError, StoreError

MAX_UNPACKED_BYTES = 2**30
"""Of one gzipped file."""
_ARCHIVE = re.compile(r"(.*)\.(?:tar\.gz|tgz|tar|zip)", re.IGNORECASE)
_ROLLED = re.compile(
    r"(.+\.(?:log|txt|out))(?:\.([0-9]{1,4}))?|(?:.*/)?(?:[^./]*(?:log|robomaker)[^./]*|[0-9]{6})", re.I
)
"""Also names without an ending, and those of CloudWatch's exports, 000000.gz."""
_PLAIN = ("csv", "json", "log", "txt", "out", "yaml")


class Readable(Protocol):
    """The part of contract.protocols.Place that logs are read from."""

    def get(self, key: str) -> bytes:
        """KeyError when absent."""

    def list(self, prefix: str) -> Sequence[str]:
        """Keys that begin with prefix, sorted."""

    def where(self, key: str = "") -> str:
        """Where a key, or the whole place, is, for a person."""


class Unpacked:
    """A place's files, those in archives of logs and gzipped ones too; `problems` grow by what is cut off."""

    def __init__(self, place: Readable) -> None:
        self._place = place
        self._get: dict[str, Callable[[], bytes]] = {}
        self._where: dict[str, str] = {}
        self.problems: list[str] = []
        keys = [key for key in place.list("") if not key.startswith(".minio.sys/") and "/.minio.sys/" not in key]
        self.minio = [key.removesuffix("/xl.meta") for key in keys if key.endswith("/xl.meta")]
        parts = tuple(f"{key}/" for key in self.minio)
        for key in keys:
            if not (parts and key.startswith(parts)):
                self._add(key)

    def _add(self, key: str) -> None:
        archive = _ARCHIVE.fullmatch(key)
        if archive and "log" in key.rpartition("/")[2].lower():
            self._add_archive(key, archive[1])
        elif key.lower().endswith(".gz") and _is_plain(plain := key[:-3]):
            self._put(plain, lambda: self._gunzipped(key), self._place.where(key))
        else:
            self._put(key, lambda: self._place.get(key), self._place.where(key))

    def _add_archive(self, key: str, folder: str) -> None:
        where = self._place.where(key)
        try:
            inside = Archive(self._place.get(key), where, salvage=True)
        except (KeyError, StoreError, InputError) as error:
            self.problems.append(str(error).splitlines()[0])
            return
        if inside.problem:
            self.problems.append(
                f"{where}: {inside.problem.value}: the {counted(len(inside.list('')), 'file')} before it are used"
            )
        for name in inside.list(""):
            self._put(f"{folder}/{name}", lambda name=name: inside.get(name), f"{where}: {name}")  # type: ignore[misc]

    def _put(self, key: str, get: Callable[[], bytes], where: str) -> None:
        if key not in self._get:
            self._get[key], self._where[key] = get, where

    def _gunzipped(self, key: str) -> bytes:
        """What is whole of a gzipped file, of all its members."""
        data, parts, left = self._place.get(key), list[bytes](), MAX_UNPACKED_BYTES
        try:
            while data:
                member = zlib.decompressobj(wbits=31)
                parts.append(member.decompress(data, left))
                left -= len(parts[-1])
                if left <= 0:
                    raise zlib.error(f"more than {MAX_UNPACKED_BYTES:,} bytes")
                if not member.eof:
                    raise zlib.error("it is cut off")
                data = member.unused_data
        except zlib.error as error:
            told = f"{self._place.where(key)}: {error}: {counted(sum(map(len, parts)), 'byte')} before that are used"
            if told not in self.problems:
                self.problems.append(told)
        return b"".join(parts)

    def get(self, key: str) -> bytes:
        """KeyError when absent."""
        return self._get[key]()

    def list(self, prefix: str) -> list[str]:
        """Keys that begin with prefix, sorted."""
        return sorted(key for key in self._get if key.startswith(prefix))

    def where(self, key: str = "") -> str:
        """Where a file is: of one in an archive, the archive and its name there."""
        return self._where.get(key) or self._place.where(key)


class OneFile:
    """A file alone, as if its folder had nothing else."""

    def __init__(self, path: Path) -> None:
        self._path = path
        # an archive that is named is one of logs, whatever it is called; a log may be called anything
        plain = path.name[:-3] if path.name.lower().endswith(".gz") else path.name
        if _ARCHIVE.fullmatch(path.name):
            self._key = f"logs-{path.name}"
        else:
            self._key = (plain if _is_plain(plain) else f"{plain}.log") + (".gz" if _is_gzipped(path) else "")

    def get(self, key: str) -> bytes:
        """KeyError when it is another's."""
        if key != self._key:
            raise KeyError(key)
        try:
            return self._path.read_bytes()
        except OSError as error:
            raise StoreError(f"{self._path}: {error.strerror}") from error

    def list(self, prefix: str) -> list[str]:
        """Its key, if that begins with prefix."""
        return [self._key] if self._key.startswith(prefix) else []

    def where(self, key: str = "") -> str:
        """Its path."""
        return str(self._path)


def _is_gzipped(path: Path) -> bool:
    try:
        with path.open("rb") as file:
            return file.read(2) == b"\x1f\x8b"
    except OSError:
        return False


def _is_plain(key: str) -> bool:
    return is_log(key) or key.rpartition(".")[2].lower() in _PLAIN


def is_log(key: str) -> bool:
    """Whether a file's name is one of logs, also of older parts of one (.log.1)."""
    return _ROLLED.fullmatch(key) is not None


def rolled(keys: Sequence[str]) -> dict[str, list[str]]:
    """Logs with their parts in the order in which they were written: .1 first, then .2, the plain one last."""
    found: dict[str, list[tuple[int, str]]] = {}
    for key in keys:
        if match := _ROLLED.fullmatch(key):
            found.setdefault(match[1] or key, []).append((int(match[2]) if match[2] else 10_000, key))
    return {key: [part for _, part in sorted(parts)] for key, parts in found.items()}


def counted(number: int, noun: str) -> str:
    """For example "1 file", "2 files"."""
    return f"{number:,} {noun}{'' if number == 1 else 's'}"


def minio_folder(keys: Sequence[str], where: str) -> InputError:
    """What to say of a folder of MinIO's own, whose objects are folders with an xl.meta: `keys` are the objects'."""
    first = keys[0]
    folder, _, _ = first.partition("/")
    fix = (
        "copy it out with a client while MinIO runs, for example\n"
        f"          aws --endpoint-url http://localhost:9000 s3 sync s3://BUCKET/PREFIX copied\n"
        "          mc cp --recursive LOCAL/BUCKET/PREFIX/ copied\n"
        f"        and name the copy; the bucket is a folder below MinIO's data, here perhaps {folder!r}"
    )
    shown = f"{counted(len(keys), 'object')} in MinIO's own form, such as {first}/xl.meta"
    return InputError(where, shown, "plain files; MinIO keeps an object as parts that only it can put together", fix)
