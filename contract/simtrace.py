"""Simtraces: the steps of episodes as DeepRacer's CSV files and log lines, and back (contract: simtrace CSV header).

Angles are in degrees here and only here. Numbers are written with all their digits, so that equal runs leave equal
files and a file read back gives the numbers that were written.
"""

import math
import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import zip_longest

import numpy as np

from contract.errors import InputError
from contract.rollout import Rollout
from contract.state import STEP_DTYPE, STEP_S, EpisodeStatus, FloatArray, IntArray

_CORE = [
    *("episode", "steps", "X", "Y", "yaw", "steer", "throttle", "action", "reward", "done", "all_wheels_on_track"),
    *("progress", "closest_waypoint", "track_len", "tstamp", "episode_status"),
]
COLUMNS = [*_CORE, "pause_duration"]
_MAX_WHOLE = 2**31 - 1
_LOG_PREFIX = "SIM_TRACE_LOG:"
_BOOLEANS = {"True": True, "False": False}


@dataclass(frozen=True, slots=True)
class Trace:
    """One episode of T steps out of a simtrace.

    episode         number in the file, from 0
    steps           (T,) of contract.state.STEP_DTYPE; `time_s` counts from one step before the first row
    numbers         (T,) int64, the steps' own numbers, from 1; rows that are missing in the file leave gaps
    actions         (T,) int64 of action indices, or (T, 2) float64
    timestamps_s    (T,) simulated seconds since the run began
    track_length_m  of the lap
    done            whether the last row says that the episode is over
    """

    episode: int
    steps: np.ndarray
    numbers: IntArray
    actions: IntArray | FloatArray
    timestamps_s: FloatArray
    track_length_m: float
    done: bool


def end_time_s(rollouts: Sequence[Rollout], start_time_s: float) -> float:
    """Simulated time after episodes that follow each other from start_time_s on; the next one's start."""
    for rollout in rollouts:
        start_time_s += rollout.time_s
    return start_time_s


def to_csv(rollouts: Sequence[Rollout], track_length_m: float | Sequence[float], start_time_s: float) -> str:
    """A simtrace file of whole episodes, the first of which began at start_time_s; the others follow one by one.

    With several track lengths, episode n drove on track n modulo their number.
    """
    rows = [COLUMNS, *_rows(rollouts, track_length_m, start_time_s)]
    return "".join(",".join(row) + "\n" for row in rows)


def log_lines(csv: str, where: str) -> list[str]:
    """A simtrace file as log lines; `steps` is a whole number there, as DeepRacer's log readers want it.

    InputError names a first line that is no header, or a line with other columns.
    """
    lines = csv.splitlines()
    header = _header(lines, where)
    order = [header.index(name) for name in (*COLUMNS, "obstacle_crash_counter", "wall_clock") if name in header]
    found = []
    for number, line in enumerate(lines[1:], start=2):
        if line.strip():
            found.append(_logged([_cells(line, header, f"{where} line {number}")[column] for column in order]))
    return found


def _logged(row: list[str]) -> str:
    return _LOG_PREFIX + ",".join([row[0], row[1].removesuffix(".0"), *row[2:]])


def _rows(
    rollouts: Sequence[Rollout], track_length_m: float | Sequence[float], start_time_s: float
) -> Iterator[list[str]]:
    lengths_m = [track_length_m] if isinstance(track_length_m, int | float) else track_length_m
    before, flying = 0, False
    for rollout, following in zip_longest(rollouts, rollouts[1:]):
        length_m = lengths_m[rollout.episode % len(lengths_m)]
        last = len(rollout) - 1
        actions = rollout.actions.tolist()
        if not flying:  # a lap that begins as the car drives goes on counting the steps of the one before
            before = 0
        flies = following is not None and _flies(rollout, following)
        names = rollout.steps.dtype.names or ()
        for i, row in enumerate(rollout.steps.tolist()):  # plain Python numbers: those of numpy take far longer
            step = dict(zip(names, row, strict=True))
            status = EpisodeStatus(step["status"])
            if i == last and flies:  # AWS's simulator logs no end where the next lap follows
                status = EpisodeStatus.in_progress
            yield [
                str(rollout.episode),
                _number(before + i + 1),
                _number(step["x_m"]),
                _number(step["y_m"]),
                _number(_degrees(step["heading_rad"])),
                _number(math.degrees(step["steering_rad"])),
                _number(step["speed_mps"]),
                _action(actions[i]),
                _number(step["reward"]),
                str(i == last and status.is_over),
                str(step["all_wheels_on_track"]),
                _number(step["progress_pct"]),
                str(step["closest_waypoint"]),
                _number(length_m),
                _number(start_time_s + step["time_s"]),
                status.name,
                _number(step["pause_s"]),
            ]
        before += len(rollout)
        flying = flies
        start_time_s += rollout.time_s


def _flies(rollout: Rollout, following: Rollout) -> bool:
    """Whether the next lap began as the car drove over the line (IS_CONTINUOUS)."""
    return rollout.status == EpisodeStatus.lap_complete and following.steps["status"][0] != EpisodeStatus.prepare


def _number(value: float) -> str:
    return repr(float(value))


def _degrees(angle_rad: float) -> float:
    """Wrapped to -180..180, without touching angles that are there already."""
    degrees = math.degrees(angle_rad)
    return degrees if -180.0 <= degrees <= 180.0 else (degrees + 180.0) % 360.0 - 180.0


def _action(action: int | list[float]) -> str:
    return str(action) if isinstance(action, int) else f"[{_number(action[0])} {_number(action[1])}]"


def from_csv(text: str, where: str) -> list[Trace]:
    """The episodes of a simtrace file, ours or DeepRacer's; `where` is its name for errors.

    Reads the older header without pause_duration and newer ones with more columns. InputError names the line, value
    and rule.
    """
    traces, problems = read_csv(text, where)
    if problems:
        raise problems[0]
    return traces


def read_csv(text: str, where: str) -> tuple[list[Trace], list[InputError]]:
    """What is whole in a simtrace that may be damaged: its episodes without the rows that break a rule, and these rows'
    errors. Columns beyond the known ones are passed over."""
    lines = text.splitlines()
    try:
        header = _header(lines, where)
    except InputError as error:
        return [], [error]
    cells = ((f"{where} line {number}", line) for number, line in enumerate(lines[1:], start=2) if line.strip())
    problems: list[InputError] = []
    rows = list(_rows_of(cells, header, problems))
    return _episodes(rows), problems


@dataclass(frozen=True, slots=True)
class LoggedRun:
    """The steps that one simulator has logged: its name where several wrote into one file, and its episodes."""

    name: str
    traces: list[Trace]


def read_log(text: str, where: str) -> tuple[list[LoggedRun], list[InputError]]:
    """The SIM_TRACE_LOG lines of a simulator's log, whatever stands before and behind them: time stamps, ROS's node
    names, docker's container names, which tell the simulators of a log apart.

    Reads every form since 2019. Lines of that year have no status and angles in radians; how their episodes ended
    follows from the progress. A log that begins again with episode 0, since it was written on, goes on counting.
    Returns the simulators in the order of their names, and the errors of lines that are not whole.
    """
    by_container: dict[str, list[tuple[str, str]]] = {}
    line, at = 1, 0
    for match in _LOGGED.finditer(text):
        line, at = line + text.count("\n", at, match.start()), match.start()
        before = _ANSI.sub("", text[text.rfind("\n", 0, match.start()) + 1 : match.start()])
        container = _CONTAINER.search(before)
        cells = _END.split(_ANSI.sub("", match[1]), maxsplit=1)[0].strip()
        by_container.setdefault(container[1] if container else "", []).append((f"{where} line {line}", cells))
    problems: list[InputError] = []
    runs = []
    for name in sorted(by_container, key=_natural):
        rows = [_since_2020(place, cells, problems) for place, cells in by_container[name]]
        parsed = [row for row in _rows_of((row for row in rows if row), [*COLUMNS], problems) if row.number > 0]
        runs.append(LoggedRun(name, _episodes(_counted_on(parsed))))
    return runs, problems


_LOGGED = re.compile(r"SIM_TRACE_LOG:([^\r\n]*)")
_ANSI = re.compile(r"\x1b\[[0-9;]*[A-Za-z]")
_END = re.compile(r'\t|\\|"')
"""CloudWatch's columns, and the end of a line in docker's JSON."""
_CONTAINER = re.compile(r"([\w.@/-]+)\s+\|")
_IN_BRACKETS = re.compile(r"\[[^\]]*\]")


def _natural(name: str) -> list[tuple[int, str]]:
    """robomaker-2 before robomaker-10."""
    return [(int(part), "") if part.isdigit() else (-1, part) for part in re.split(r"([0-9]{1,9})", name)]


def _since_2020(place: str, text: str, problems: list[InputError]) -> tuple[str, str] | None:
    """A logged line with the columns of today; None, and a problem, where it has too few."""
    cells = _IN_BRACKETS.sub(lambda match: match[0].replace(",", " "), text).split(",")
    if len(cells) >= len(COLUMNS):
        return place, ",".join(cells[: len(COLUMNS)])
    if len(cells) == len(_CORE):
        return place, ",".join([*cells, "0.0"])
    if len(cells) == len(_CORE) - 1:
        try:
            heading, steering, progress = (float(cells[column]) for column in (4, 5, 11))
        except ValueError:
            return place, ",".join([*cells, "in_progress", "0.0"])  # whose numbers are refused when they are read
        cells[4], cells[5] = repr(_degrees(heading)), repr(math.degrees(steering))
        over = "lap_complete" if progress >= 100.0 else "off_track"
        return place, ",".join([*cells, over if cells[9] == "True" else "in_progress", "0.0"])
    rule = f"{len(_CORE) - 1} or more values behind SIM_TRACE_LOG:; these are {len(cells)}"
    problems.append(InputError(place, text, rule, "the log is cut off or mixed here; the other lines are used"))
    return None


def _counted_on(rows: Iterable["_Row"]) -> Iterator["_Row"]:
    """With the numbers of episodes going on where the log begins again."""
    last, before = -1, 0
    for row in rows:
        if row.episode + before < last:
            before = last + 1
        last = row.episode + before
        yield replace(row, episode=last) if before else row


def _rows_of(cells: Iterable[tuple[str, str]], header: list[str], problems: list[InputError]) -> Iterator["_Row"]:
    """The lines (place, text) that are whole; `problems` grow by the others."""
    last: _Row | None = None
    for place, line in cells:
        try:
            row = _parse(line, header, place)
        except InputError as error:
            problems.append(error)
            continue
        if (
            last is not None
            and last.episode == row.episode
            and isinstance(row.action, int) != isinstance(last.action, int)
        ):
            rule = "all actions of an episode are indices, or all are pairs"
            problems.append(InputError(f"{place} action", line, rule, "the file mixes two runs: write it again"))
            continue
        last = row
        yield row


def _episodes(rows: Iterable["_Row"]) -> list[Trace]:
    episodes: list[list[_Row]] = []
    for row in rows:
        if not episodes or episodes[-1][-1].episode != row.episode:
            episodes.append([])
        episodes[-1].append(row)
    return [_trace(found) for found in episodes]


def _header(lines: list[str], where: str) -> list[str]:
    """The columns of a file's first line, which must be a simtrace's, in whatever order and with whatever else."""
    header = lines[0].removeprefix("\ufeff").split(",") if lines else []
    if not set(header) >= set(_CORE) or len(set(header)) != len(header):
        raise InputError(
            f"{where} line 1",
            lines[0] if lines else "",
            f"the header of a simtrace: {','.join(COLUMNS)}",
            "check that this is an *-iteration.csv file",
        )
    return header


def _cells(line: str, header: list[str], where: str) -> list[str]:
    """One for each column."""
    if "[" in line:  # some simulators write a pair of an action with a comma
        line = _IN_BRACKETS.sub(lambda match: match[0].replace(",", " "), line)
    values = line.split(",")
    if len(values) != len(header):
        raise InputError(
            where,
            line,
            f"{len(header)} values as in the header; it has {len(values)}",
            "the file may be cut off: delete the line, or write the file again",
        )
    return values


@dataclass(slots=True)
class _Row:
    episode: int
    number: int
    action: int | list[float]
    tstamp_s: float
    track_length_m: float
    done: bool
    step: tuple[float, ...]


def _parse(line: str, header: list[str], where: str) -> _Row:
    cells = dict(zip(header, _cells(line, header, where), strict=True))

    def broken(column: str, rule: str) -> InputError:
        return InputError(f"{where} {column}", cells[column], rule, "correct the value, or write the file again")

    def number(column: str) -> float:
        try:
            value = float(cells[column])
        except ValueError:
            value = math.nan
        if not math.isfinite(value):
            raise broken(column, "a finite number")
        return value

    def whole(column: str) -> int:
        value = number(column)
        if value != int(value) or abs(value) > _MAX_WHOLE:
            raise broken(column, "a whole number")
        return int(value)

    def boolean(column: str) -> bool:
        if cells[column] not in _BOOLEANS:
            raise broken(column, "True or False")
        return _BOOLEANS[cells[column]]

    def action() -> int | list[float]:
        if not cells["action"].startswith("["):
            return whole("action")
        try:
            pair = [float(part) for part in cells["action"].strip("[]").split()]
        except ValueError:
            pair = []
        if len(pair) != 2 or not all(map(math.isfinite, pair)):
            raise broken("action", "an action index, or two numbers as [steering speed]")
        return pair

    def status() -> EpisodeStatus:
        if cells["episode_status"] not in EpisodeStatus.__members__:
            raise broken("episode_status", f"one of {', '.join(EpisodeStatus.__members__)}")
        return EpisodeStatus[cells["episode_status"]]

    return _Row(
        episode=whole("episode"),
        number=whole("steps"),
        action=action(),
        tstamp_s=number("tstamp"),
        track_length_m=number("track_len"),
        done=boolean("done"),
        step=(
            number("X"),
            number("Y"),
            math.radians(number("yaw")),
            math.radians(number("steer")),
            number("throttle"),
            number("reward"),
            number("progress"),
            whole("closest_waypoint"),
            boolean("all_wheels_on_track"),
            status(),
            0.0,  # time_s follows from the episode's stamps
            number("pause_duration") if "pause_duration" in cells else 0.0,
        ),
    )


def _trace(rows: list[_Row]) -> Trace:
    steps = np.array([row.step for row in rows], STEP_DTYPE)
    timestamps_s = np.array([row.tstamp_s for row in rows])
    steps["time_s"] = timestamps_s - timestamps_s[0] + STEP_S
    actions: IntArray | FloatArray = np.array([row.action for row in rows], np.float64)
    if actions.ndim == 1:
        actions = actions.astype(np.int64)
    return Trace(
        episode=rows[0].episode,
        steps=steps,
        numbers=np.array([row.number for row in rows], np.int64),
        actions=actions,
        timestamps_s=timestamps_s,
        track_length_m=rows[0].track_length_m,
        done=rows[-1].done,
    )
