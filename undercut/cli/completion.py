"""What a shell offers after a TAB: runs, tracks and folders. Nothing here may fail or print. Choices typer knows."""

import contextlib
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import get_type_hints

import typer
from typer.models import ParameterInfo

Completer = Callable[[str], list[str]]


def run_names(incomplete: str) -> list[str]:
    """Runs of the working directory, or of the bucket of UNDERCUT_STORE."""
    from undercut.runs.run import run_names as known  # numba and pydantic take a moment; other completions do without

    return _matching(incomplete, known)


def track_names(incomplete: str) -> list[str]:
    """Tracks, and their directions once the name is there."""
    from simapp.tracks import available_tracks
    from undercut.runs.run import TRACKS

    def known() -> Iterator[str]:
        for name in available_tracks([TRACKS]):
            yield name
            if incomplete.startswith(name):
                yield from (f"{name}_cw", f"{name}_ccw")

    return _matching(incomplete, known)


def world_names(incomplete: str) -> list[str]:
    """Imported worlds."""
    from undercut.runs.run import TRACKS

    return _matching(incomplete, lambda: sorted(path.parent.name for path in TRACKS.glob("[!.]*/world.json")))


def folders(incomplete: str) -> list[str]:
    """Folders, with a slash at the end."""
    given = Path(incomplete)
    parent = given if incomplete.endswith("/") or incomplete == "" else given.parent

    def known() -> Iterator[str]:
        for path in sorted(parent.iterdir()):
            if path.is_dir() and not path.name.startswith("."):
                yield f"{path}/"

    return _matching(incomplete, known)


BY_NAME: dict[str, Completer] = {
    "run": run_names,
    "runs": run_names,
    "track": track_names,
    "folder": folders,
}
"""Parameter of a command -> what completes it; the same name means the same everywhere."""


def complete_by_name(app: typer.Typer) -> None:
    """Give every command's parameters their completers."""
    for command in app.registered_commands:
        assert command.callback is not None
        for name, hint in get_type_hints(command.callback, include_extras=True).items():
            for info in getattr(hint, "__metadata__", ()):
                is_flag = bool in (hint.__origin__, *getattr(hint.__origin__, "__args__", ()))
                if isinstance(info, ParameterInfo) and name in BY_NAME and not is_flag:
                    info.autocompletion = BY_NAME[name]
    for group in app.registered_groups:
        if group.typer_instance is not None:
            complete_by_name(group.typer_instance)


def _matching(incomplete: str, known: Callable[[], Iterable[str]]) -> list[str]:
    with contextlib.suppress(Exception):  # the command says what is wrong with a broken file, TAB does not
        return [name for name in known() if name.startswith(incomplete)]
    return []
