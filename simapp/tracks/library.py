"""Find tracks by name: shipped ones, the racer's own, or a file's path."""

import difflib
import warnings
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

from contract.errors import InputError, InputWarning
from simapp.road import Track
from simapp.road.route_file import read_route
from simapp.road.validation import crossed_rows, signed_area_m2
from simapp.tracks.design import load_design
from simapp.worlds.common import Paint
from simapp.worlds.form import JSON_FILE, ROUTE_FILE, is_world
from simapp.worlds.looks import dressed
from simapp.worlds.packed import WORLD_SUFFIX, unpacked

SHIPPED = "shipped"
_CATALOG = Path(__file__).parent / "catalog"
_SUFFIXES = (".npy", ".track")


def load_track(name_or_path: str, search: Sequence[Path] = ()) -> Track:
    """The track of that name, or in that file.

    A name is looked up in the `search` folders (NAME/ of an imported world, NAME.npy, NAME.track), then among the
    shipped tracks. `NAME_ccw` and `NAME_cw` choose the driving direction of a loop NAME: counter-clockwise or
    clockwise. `TRACK@LOOK` is the track in another look (simapp.worlds.looks): classic, common, or an imported world's.
    Anything with a folder in it or ending in .npy or .track is a path: of such a file, or of a world's
    folder. InputError with the nearest names when there is no such track.
    """
    plain, at, look = name_or_path.rpartition("@")
    if at and "/" not in look and Path(look).suffix not in _SUFFIXES:
        return _dressed(_undressed(plain, search), name_or_path, look, search)
    track = _undressed(name_or_path, search)
    look = _paint(track).look
    return _dressed(track, track.name, look, search) if look else track


def _dressed(track: Track, name: str, look: str, search: Sequence[Path]) -> Track:
    worn = _files(search).get(look)
    giver = worn[0] if worn is not None and is_world(worn[0]) else None
    return dressed(track, name, look, giver, _paint(track))


def _paint(track: Track) -> Paint:
    """What is said of a track's look beside its file."""
    own = None if track.source in ("memory", SHIPPED) or track.world is not None else Path(track.source)
    return Paint() if own is None else Paint.beside(own)


def _undressed(name_or_path: str, search: Sequence[Path]) -> Track:
    """The track with its own look."""
    path = Path(name_or_path)
    if path.suffix in _SUFFIXES or path.name != name_or_path:
        return _load_file(path, str(path))
    files = _files(search)
    if name_or_path in files:
        return _load_file(*files[name_or_path])
    base, _, direction = name_or_path.rpartition("_")
    if direction in ("cw", "ccw") and base in files:
        return _in_direction(_load_file(*files[base]), direction, name_or_path)
    near = difflib.get_close_matches(name_or_path, files, n=3)
    raise InputError(
        "track",
        name_or_path,
        "a track is a known name, NAME_cw or NAME_ccw, or the path of a .npy route file",
        f"did you mean {' or '.join(near)}?" if near else f"the known ones are {', '.join(sorted(files))}",
    )


def available_tracks(search: Sequence[Path] = ()) -> list[str]:
    """Names that `load_track` takes, sorted, without their _cw and _ccw variants."""
    return sorted(_files(search))


def readable_tracks(search: Sequence[Path] = ()) -> Iterator[Track]:
    """All tracks that can be read, for who looks for one among them: nothing is said of what is wrong with another."""
    for name in available_tracks(search):
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", InputWarning)
            try:
                track = load_track(name, search)
            except InputError:
                continue
        yield track


def _files(search: Sequence[Path]) -> dict[str, tuple[Path, str]]:
    """Name -> file and source; a racer's own track goes before a shipped one, an earlier folder before a later one."""
    files = {path.stem: (path, SHIPPED) for path in _CATALOG.glob("*.track")}
    for folder in reversed(search):
        for suffix in reversed(_SUFFIXES):
            files.update({path.stem: (path, str(path)) for path in sorted(folder.glob(f"*{suffix}"))})
        worlds = sorted(path.parent for path in folder.glob(f"[!.]*/{JSON_FILE}"))
        files.update({path.name: (path, str(path)) for path in worlds})
    return files


def _load_file(path: Path, source: str) -> Track:
    if path.suffix == ".track":
        return load_design(path, source)
    if is_world(path) and (path / ROUTE_FILE).is_file():
        track = Track(path.name, read_route(path / ROUTE_FILE), source=source, world=path)
    else:
        track = Track(path.stem, read_route(path), source=source, world=_packed_world(path))
    rows = crossed_rows(track.route).tolist()
    if rows:
        shown = ", ".join(map(str, rows[:8])) + (", ..." if len(rows) > 8 else "")
        warnings.warn(
            f"{path}: {len(rows)} of {len(track.route)} rows ({shown}) have an edge on the wrong side of the centre "
            "line; the road between the edges is taken as it is, as in AWS's simulator",
            InputWarning,
            stacklevel=3,
        )
    return track


def _packed_world(route: Path) -> Path | None:
    """The folder of the world that lies packed beside a route file, as runs keep it; None where there is none."""
    packed = route.with_name(f"{route.stem}{WORLD_SUFFIX}")
    return unpacked(packed.read_bytes(), str(packed)) if packed.is_file() else None


def _in_direction(track: Track, direction: str, name: str) -> Track:
    if not track.closed:
        raise InputError(
            "track", name, "_cw and _ccw choose the direction of a loop", f"{track.name} is open: use {track.name}"
        )
    clockwise = signed_area_m2(track.route) < 0.0
    chosen = track.reversed() if clockwise != (direction == "cw") else track
    return replace(chosen, name=name)
