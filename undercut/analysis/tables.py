"""Tables as the report and the live page show them: each number is worked out and explained in one place."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

from undercut.analysis.gap import Gap
from undercut.analysis.log import RunLog
from undercut.analysis.places import LapScale


@dataclass(frozen=True, slots=True)
class Column:
    """A column of a table: its head, and what its numbers mean. One that `wraps` holds sentences."""

    head: str
    meaning: str
    left: bool = False
    wraps: bool = False


@dataclass(frozen=True, slots=True)
class Table:
    """Rows of text and numbers below their columns."""

    columns: Sequence[Column]
    rows: Sequence[Sequence[str | float]]


def number(value: float | None, digits: int = 0, unit: str = "") -> str:
    """With separators of thousands, empty where it is not known."""
    return "" if value is None or not math.isfinite(value) else f"{value:,.{digits}f}{unit}"


def gap_table(log: RunLog, gap: Gap) -> Table:
    """Seconds of a lap beyond the limit's, sector by sector; the log says what road it was driven on."""
    scale = LapScale.of(log)
    columns = [
        Column("sector", "A tenth of the centre line, from the start line on; the last row is the lap.", left=True),
        Column("waypoints", "First and last of the sector.", left=True),
        Column("lost", "Seconds of the best clean lap beyond the limit's."),
        Column("line", "Of it: a longer way, counted at the limit's own speed there."),
        Column("braking", "Of it: going slower than the limit where the car lost more than 0.5 m/s a second."),
        Column("speed", "Of it: going slower than the limit elsewhere."),
    ]
    rows = [
        [
            str(place + 1),
            "{} to {}".format(*scale.waypoints(place)),
            number(row.sum(), 3),
            *(number(it, 3) for it in row),
        ]
        for place, row in enumerate(gap.by_sector)
    ]
    whole = gap.by_sector.sum(axis=0)
    rows.append(["lap", "", number(float(whole.sum()), 3), *(number(float(it), 3) for it in whole)])
    return Table(columns, rows)
