"""Simtraces as racers have them: files, folders of them, archives and logs, grouped into recordings and checked."""

import gzip
import io
import tarfile
import zlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from contract.errors import InputError
from contract.simtrace import COLUMNS, Trace, read_csv
from contract.state import FloatArray
from contract.vehicle import WHEELBASE_M
from simapp.calibration.pieces import AHEAD, FARTHEST_M, FIRST_ROW

LOG_MARK = "SIM_TRACE_LOG:"
MOST_BYTES = 512 << 20
"""Of one file, unpacked; the longest known simtrace has 2 MB."""
SHORTEST = FIRST_ROW + AHEAD + 1
_MOVED_M = 0.02
_TURNED_DEG = 20.0
_ENDINGS = (".csv", ".log", ".txt", ".gz", ".tgz", ".tar")
_NEWER = ("obstacle_crash_counter", "wall_clock")


@dataclass(frozen=True, slots=True)
class Recording:
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


def read_recordings(path: Path) -> list[Recording]:
    """The recordings of a file, an archive or a folder, where each folder that holds simtraces is one.

    InputError when there is no simtrace, or when one is no recording of a car in seconds, metres and degrees.
    """
    if not path.exists():
        raise InputError("LOGS", str(path), "a simtrace, a log, a folder or an archive of them", "check the path")
    files = sorted(path.rglob("*")) if path.is_dir() else [path]
    groups: dict[str, dict[str, str]] = {}
    for file in files:
        if file.is_file() and (file == path or file.name.endswith(_ENDINGS)):
            for inner, text in _texts(file.name, file.read_bytes()):
                folder = file.parent.relative_to(path).as_posix() if path.is_dir() else ""
                name = _group(folder, inner, path)
                groups.setdefault(name, {})[f"{file}" if inner == file.name else f"{file}: {inner}"] = text
    found = [recording for name, texts in groups.items() if (recording := _recording(name, texts)).traces]
    if not found:
        problems = [problem for name, texts in groups.items() for problem in _recording(name, texts).problems]
        rule = "simtraces (*-iteration.csv), or logs with SIM_TRACE_LOG lines"
        raise InputError(str(path), problems[0] if problems else "none", rule, "name the folder that holds them")
    return found


def _group(folder: str, inner: str, path: Path) -> str:
    """A recording's name: its folder, without the parts that every layout has; and no part of an archive is a name."""
    parts = [part for part in (*folder.split("/"), *inner.split("/")[:-1]) if part not in ("", ".", *_LAYOUT)]
    return "/".join(parts) or (path.resolve().name if path.is_dir() else path.name.split(".")[0])


_LAYOUT = ("iteration-data", "training", "evaluation", "training-simtrace", "evaluation-simtrace", "sim-trace", "logs")


def _texts(name: str, content: bytes) -> Iterator[tuple[str, str]]:
    """Name and text of every simtrace or log in a file, unpacked as often as it is packed."""
    if name.endswith((".tar", ".tar.gz", ".tgz")):
        try:
            with tarfile.open(fileobj=io.BytesIO(content)) as archive:
                for member in archive:
                    inner = archive.extractfile(member) if member.isfile() and member.size < MOST_BYTES else None
                    if inner is not None and member.name.endswith(_ENDINGS):
                        yield from _texts(member.name, inner.read())
        except (tarfile.TarError, EOFError, OSError, zlib.error) as error:
            raise InputError(name, str(error), "a tar archive of logs, whole", "download it again") from None
    elif name.endswith(".gz"):
        try:
            with gzip.open(io.BytesIO(content)) as file:
                yield from _texts(name.removesuffix(".gz"), file.read(MOST_BYTES))
        except (EOFError, OSError, zlib.error) as error:
            raise InputError(name, str(error), "a gzip file, whole", "download it again") from None
    else:
        text = content.decode("utf-8-sig", errors="replace")
        first = text.split("\n", 1)[0]
        if LOG_MARK in text:
            yield name, _csv_of_log(text)
        elif "episode" in first and "tstamp" in first:
            yield name, text


def _csv_of_log(text: str) -> str:
    """The simtrace that a log's lines tell, whatever stands before each."""
    rows = [line.split(LOG_MARK, 1)[1].strip().rstrip('"') for line in text.splitlines() if LOG_MARK in line]
    known = [*COLUMNS, *_NEWER]
    cells = rows[0].count(",") + 1
    header = known[: min(max(cells, len(COLUMNS) - 1), len(known))]
    return "\n".join([",".join(header), *rows]) + "\n"


def _recording(name: str, texts: Mapping[str, str]) -> Recording:
    traces: list[Trace] = []
    problems: list[str] = []
    for where, text in texts.items():
        found, broken = read_csv(text, where)
        if broken:
            more = f" (and {len(broken) - 1} more like it)" if len(broken) > 1 else ""
            problems.append(f"{' '.join(str(broken[0]).split())}{more}")
        for trace in found:
            _check(trace, where)
        traces += found
    return Recording(name, tuple(traces), tuple(problems))


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
