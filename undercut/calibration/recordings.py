"""Simtraces as racers have them: files, folders of them, archives and logs, grouped into recordings and checked."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from contract.errors import InputError
from contract.simtrace import LoggedRun, Trace, read_csv, read_log
from contract.state import FloatArray
from contract.stores.local import LocalStore
from contract.vehicle import WHEELBASE_M
from undercut.analysis.files import LogFiles, OneFile, Unpacked, group_of, is_log, minio_folder
from undercut.calibration.pieces import AHEAD, FARTHEST_M, FIRST_ROW

LOG_MARK = "SIM_TRACE_LOG:"
SHORTEST = FIRST_ROW + AHEAD + 1
_MOVED_M = 0.02
_TURNED_DEG = 20.0


@dataclass(frozen=True, slots=True)
class DrivenLog:
    """Episodes of one car on one track, and what was passed over on reading them."""

    name: str
    traces: tuple[Trace, ...]
    problems: tuple[str, ...]

    @property
    def rows(self) -> int:
        return sum(len(trace.steps) for trace in self.traces)

    @property
    def track_length_m(self) -> float:
        return float(np.median([trace.track_length_m for trace in self.traces]))


def read_recordings(path: Path) -> list[DrivenLog]:
    """The recordings of a file, an archive or a folder: one a model's folder, and one a simulator that wrote a log.

    InputError when there is no simtrace, or when one is no recording of a car in seconds, metres and degrees.
    """
    if not path.exists():
        raise InputError("LOGS", str(path), "a simtrace, a log, a folder or an archive of them", "check the path")
    place = Unpacked(LocalStore(path) if path.is_dir() else OneFile(path))
    files = LogFiles(place, place.list(""))
    own_name = path.resolve().name if path.is_dir() else path.name.split(".")[0]
    found: dict[str, list[Trace]] = {}
    problems: dict[str, list[str]] = {}
    for key in files.keys:
        group = own_name if not path.is_dir() else group_of(key) or own_name
        for name, traces, broken in _read(files, key, group):
            found.setdefault(name, []).extend(traces)
            if broken:
                more = f" (and {len(broken) - 1} more like it)" if len(broken) > 1 else ""
                problems.setdefault(name, []).append(f"{' '.join(str(broken[0]).split())}{more}")
    shared = [*place.problems, *files.problems]
    recordings = [
        DrivenLog(name, tuple(traces), tuple(problems.get(name, []) + shared))
        for name, traces in found.items()
        if traces
    ]
    if not recordings:
        if place.minio:
            raise minio_folder(place.minio, str(path))
        first = [*shared, *(line for lines in problems.values() for line in lines), "none"][0]
        rule = "simtraces (*-iteration.csv), or logs with SIM_TRACE_LOG lines"
        raise InputError(str(path), first, rule, "name the folder that holds them")
    return recordings


def _read(files: LogFiles, key: str, group: str) -> Iterator[tuple[str, list[Trace], list[InputError]]]:
    """Name, traces and problems of the recordings in a file; none where it is no simtrace and no log of one."""
    if not (key.endswith(".csv") or is_log(key)):
        return
    text = files.text(key) or ""
    first = text.split("\n", 1)[0]
    if "episode" in first and "tstamp" in first:
        traces, problems = read_csv(text, files.where(key))
        runs = [LoggedRun("", traces)]
    elif LOG_MARK in text:
        runs, problems = read_log(text, files.where(key))
    else:
        return
    for run in runs:
        for trace in run.traces:
            _check(trace, files.where(key))
        yield f"{group} {run.name}" if run.name and len(runs) > 1 else group, run.traces, problems
        problems = []


def _check(trace: Trace, where: str) -> None:
    """InputError for time stamps out of order and for angles in radians."""
    back = np.flatnonzero(np.diff(trace.timestamps_s) < 0.0)
    if back.size:
        row = int(back[0]) + 1
        raise InputError(
            f"{where}, episode {trace.episode}, step {trace.numbers[row]}: tstamp",
            float(trace.timestamps_s[row]),
            f"time stamps rise within an episode; the step before has {trace.timestamps_s[row - 1]}",
            "sort the rows by episode and steps, or take the file from the simulator again",
        )
    steps = trace.steps
    way = np.hypot(np.diff(steps["x_m"]), np.diff(steps["y_m"]))
    moved = np.flatnonzero((way > _MOVED_M) & (way < FARTHEST_M))
    if len(moved) < SHORTEST // 2:
        return
    course = np.arctan2(np.diff(steps["y_m"]), np.diff(steps["x_m"]))[moved]
    heading = steps["heading_rad"][moved]
    off_deg = np.degrees(np.median(np.abs(_wrapped(course - heading))))
    # a file in radians was read as degrees: so many degrees are the radians that it says
    as_radians = np.degrees(np.median(np.abs(_wrapped(course - np.degrees(heading)))))
    if off_deg > _TURNED_DEG and as_radians < _TURNED_DEG:
        raise InputError(
            f"{where}, episode {trace.episode}: yaw",
            float(np.degrees(heading[0])),
            "yaw is in degrees; the car drives as if these were radians",
            "multiply the columns yaw and steer by 180 / pi",
        )
    turn = np.abs(_wrapped(np.diff(steps["heading_rad"])))[moved] / way[moved]
    most_rad = float(np.abs(steps["steering_rad"]).max())
    if 0.0 < most_rad < np.radians(0.6) and np.percentile(turn, 90) > 5.0 * np.tan(most_rad) / WHEELBASE_M:
        raise InputError(
            f"{where}, episode {trace.episode}: steer",
            float(np.degrees(most_rad)),
            "steer is in degrees; the car turns as if these were radians",
            "multiply the column steer by 180 / pi",
        )


def _wrapped(angle: FloatArray) -> FloatArray:
    return np.asarray((angle + np.pi) % (2 * np.pi) - np.pi)
