"""The files of logs: those in archives and gzipped ones, which of a folder belong together, and reading one log's."""

import re
import zlib
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Protocol

from contract import artifacts
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
            problem = f"{self._place.where(key)}: {error}: {counted(sum(map(len, parts)), 'byte')} before that are used"
            if problem not in self.problems:
                self.problems.append(problem)
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


class LogFiles:
    """Files of a place by their keys; `problems` grow on the way."""

    def __init__(self, place: Readable, keys: Sequence[str]) -> None:
        self._place, self.keys = place, keys
        self.problems: list[str] = []

    def text(self, key: str) -> str | None:
        """A file's text; bytes that are no UTF-8 become marks that no number has."""
        try:
            return self._place.get(key).decode("utf-8-sig", errors="replace")
        except KeyError:
            return None
        except StoreError as error:
            self.problems.append(str(error).splitlines()[0])
            return None

    def first(self, *endings: str) -> tuple[str, str] | None:
        """Key and text of the first file with one of these names."""
        for ending in endings:
            for key in self.keys:
                if key == ending or key.endswith(f"/{ending}"):
                    text = self.text(key)
                    if text is not None:
                        return key, text
        return None

    def where(self, key: str = "") -> str:
        """Where a file, or the whole place, is, for a person."""
        return self._place.where(key)

    def note(self, problems: Sequence[InputError], then: str) -> None:
        """The first problem of a file and how many more there are."""
        if problems:
            more = f" (and {len(problems) - 1} more like it)" if len(problems) > 1 else ""
            self.problems.append(f"{_line(problems[0])}{more}: {then}")


def _line(error: InputError) -> str:
    shown = repr(error.value)
    return f"{error.where}: {shown if len(shown) <= 60 else shown[:57] + '...'} is not {error.rule}"


_METRICS = re.compile(r"(.*/)?[^/]*metrics[^/]*\.json|(.*/)?metrics/(.*/)?[^/]+\.json", re.IGNORECASE)
_LAYOUT = re.compile(
    r"iteration-data|sim-trace|(training|evaluation)-simtrace|training(-\d.*)?|evaluation(-\d.*)?|metrics|logs|model|ip|"
    r"\d+|train-output|tensorboard|inspect|report|custom_files"
)


def is_metrics(key: str) -> bool:
    """Whether a file's name says that it holds metrics."""
    return _METRICS.fullmatch(key) is not None


def _is_simulators(key: str) -> bool:
    """Whether a file's name says that it is a simulator's log, whose lines hold the steps."""
    name = key.rpartition("/")[2].lower()
    return is_log(key) and ("robomaker" in name or "simulation" in name)


def logs_in(keys: Sequence[str]) -> dict[str, list[str]]:
    """Folder of each log -> its keys. A metrics file that lies apart goes to the log whose name begins as its own:
    console-training_metrics.json to console-reinvent_base."""
    groups = [group_of(key) for key in keys]
    paired = list(zip(keys, groups, strict=True))
    traced = sorted({group for key, group in paired if artifacts.parse_any_simtrace(key) or _is_simulators(key)})
    telling = traced or sorted({group for key, group in paired if is_metrics(key)})
    telling = telling or sorted({group for key, group in paired if is_log(key)})
    if len(telling) <= 1:
        return {telling[0]: list(keys)} if telling else {}
    found: dict[str, list[str]] = {group: [] for group in telling}
    for key, group in zip(keys, groups, strict=True):
        owners = [group] if group in found else _namesakes(key, telling)
        for owner in owners[:1]:
            found[owner].append(key)
    return found


def group_of(key: str) -> str:
    """The folders before the first one that every layout has; of deepracer-for-cloud's own data/logs/robomaker/MODEL/
    the model's."""
    folders = key.split("/")[:-1]
    for place, folder in enumerate(folders):
        if folder == "logs" and folders[place + 1 : place + 2] == ["robomaker"]:
            return "/".join(folders[: place + 3])
        if _LAYOUT.fullmatch(folder):
            return "/".join(folders[:place])
    return "/".join(folders)


def _namesakes(key: str, groups: Sequence[str]) -> list[str]:
    name = key.rpartition("/")[2]
    first = re.split(r"[-_.]", name)[0].lower()
    return [group for group in groups if re.split(r"[-_.]", group.rpartition("/")[2])[0].lower() == first]
