"""A world as one file: a run keeps the world that it was trained in, and looks the same wherever it goes."""

import hashlib
import io
import secrets
import shutil
import zipfile
from pathlib import Path

from contract.errors import InputError
from contract.host import cache_folder
from simapp.worlds.form import ARRAYS_FILE, FILES, JSON_FILE, ROUTE_FILE, is_world, plain_parts

WORLD_SUFFIX = ".world.zip"
"""NAME.world.zip beside NAME.npy is the world of that track."""
_TIME = (1980, 1, 1, 0, 0, 0)
"""Of every member: the same world is the same bytes."""
MAX_BYTES = 2**30
"""Of a world's files together; the largest of the official worlds has some 60 MB."""


def pack(folder: Path) -> bytes:
    """A world's folder as a .zip, the same bytes for the same files."""
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w") as archive:
        # what a simulator keeps beside them is made anew anywhere
        own = [folder / name for name in (ARRAYS_FILE, JSON_FILE, ROUTE_FILE)]
        for path in sorted([*own, *(it for it in (folder / FILES).rglob("*") if it.is_file())]):
            member = zipfile.ZipInfo(path.relative_to(folder).as_posix(), _TIME)
            # pictures and arrays are compressed as they are
            member.compress_type = zipfile.ZIP_DEFLATED if path.suffix in (".dae", ".json") else zipfile.ZIP_STORED
            archive.writestr(member, path.read_bytes())
    return packed.getvalue()


def unpacked(data: bytes, where: str, cache: Path | None = None) -> Path:
    """The folder of a world that `pack` wrote, in the cache of this machine's user, where it stays.

    `where` names the file in errors. InputError when it is no such file.
    """
    base = cache or cache_folder("worlds")
    folder = base / hashlib.sha256(data).hexdigest()[:32]
    if is_world(folder):
        return folder
    rule, fix = f"a run's world is a .zip as undercut wrote it, of at most {MAX_BYTES} bytes", "copy the run again"
    stage = base / f".new-{secrets.token_hex(8)}"
    try:
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            members = archive.infolist()
            if sum(it.file_size for it in members) > MAX_BYTES:
                raise InputError(where, "too large", rule, fix)
            for member in members:
                path = stage.joinpath(*plain_parts(member.filename))
                path.parent.mkdir(parents=True, exist_ok=True)
                with archive.open(member) as content:
                    path.write_bytes(content.read(member.file_size))
        if not is_world(stage):
            raise InputError(where, "no world.json", rule, fix)
        try:
            stage.rename(folder)
        except OSError:
            if not is_world(folder):  # else another process was there first
                raise
    except (zipfile.BadZipFile, EOFError, ValueError, NotImplementedError) as problem:
        raise InputError(where, str(problem), rule, fix) from problem
    finally:
        shutil.rmtree(stage, ignore_errors=True)
    return folder
