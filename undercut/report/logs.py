"""Logs by name: a run of the workspace, or a folder, archive or log file from elsewhere."""

import re
from collections.abc import Sequence
from pathlib import Path

from contract import artifacts
from contract.config import is_run_name
from contract.errors import InputError
from contract.protocols import Place
from contract.stores.local import LocalStore
from simapp.tracks import Track, load_track
from undercut.analysis.files import OneFile
from undercut.analysis.loading import load_folder, load_run
from undercut.analysis.log import RunLog
from undercut.runs.run import TRACKS, other_run, run_names
from undercut.runs.workspace import run_place, workspace


def open_logs(names: Sequence[str], folders: Sequence[Path], track: str | None) -> tuple[list[RunLog], Place]:
    """The logs of runs and of folders, in this order, and where what is made of them goes.

    A name that is no run may be a folder or a file. `track` is that of logs that do not say it. InputError when there
    are no such logs.
    """
    given = load_track(track, [TRACKS]) if track else None
    logs: list[RunLog] = []
    target: Place | None = None
    for name in names:
        place = run_place(name) if is_run_name(name) else None
        if place is not None and place.list(""):
            logs.append(load_run(place, name, [TRACKS]))
            target = target or place
        elif Path(name).exists():
            logs += _from_elsewhere(Path(name), given)
        else:
            known = run_names()
            rule = f"a run (there are: {', '.join(known) or 'none yet'}), or a folder, archive or file of logs"
            raise InputError("run", name, rule, f"{other_run(name, known)}; or check the path")
    for folder in folders:
        if not folder.exists():
            rule = "a folder, archive or log with simtraces or metrics"
            raise InputError("--traces", str(folder), rule, "check the path")
        logs += _from_elsewhere(folder, given)
    if not logs:
        raise InputError("run", "no name", "the name of a run, or --traces FOLDER", "undercut runs lists your runs")
    return logs, target or workspace().below(artifacts.report_folder(_plain(logs[0].name)))


def _from_elsewhere(path: Path, track: Track | None) -> list[RunLog]:
    if path.is_dir():
        return load_folder(LocalStore(path), path.resolve().name or "logs", [TRACKS], track)
    return load_folder(OneFile(path), path.name.split(".")[0] or "logs", [TRACKS], track)


def _plain(name: str) -> str:
    return re.sub(r"[^A-Za-z0-9._-]+", "-", name).strip("._-")[:64] or "logs"
