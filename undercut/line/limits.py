"""The limit of a lap for reports, evaluations and the live page: what `undercut line` found, to compare with."""

import contextlib
import shlex
import warnings
from collections.abc import Callable
from typing import Any

import numpy as np

from contract.car import Car
from contract.errors import InputError, InputWarning
from simapp.tracks import SHIPPED, Track, load_track
from undercut.analysis.gap import CAUSES, Gap
from undercut.analysis.limit import Limit
from undercut.line.optimum import NoOptimumError
from undercut.line.profile import RacingLine
from undercut.line.raceline import has_optimiser, kept_line, racing_line
from undercut.runs.run import TRACKS


def limit_of(line: RacingLine) -> Limit:
    """What laps are compared with."""
    return Limit(line.limit_s, line.distance_m, line.x_m, line.y_m, line.speed_mps, line.time_s, line.standing_s)


def kept_limit(track: Track, car: Car) -> Limit | None:
    """The limit if it was found on this machine before; None otherwise, and of an open track."""
    line = kept_line(track, car) if track.closed else None
    return None if line is None else limit_of(line)


def found_limit(track: Track, car: Car, doing: Callable[[str], None] = lambda text: None) -> Limit | None:
    """The limit, which takes seconds to a minute the first time; None of an open track, of a road that the car does not
    fit on, and where CasADi is not installed."""
    if not track.closed or not (has_optimiser() or kept_line(track, car)):
        return None
    try:
        return limit_of(racing_line(track, car, doing=doing))
    except (InputError, NoOptimumError):
        return None


def hint(track: Track) -> str:
    """How to get a limit that is not there."""
    more = "" if has_optimiser() else " (pip install 'undercut[line]' first)"
    return f"how far from the fastest possible lap{more}: undercut line {shlex.quote(_argument(track))}"


def _argument(track: Track) -> str:
    """What finds the track again: its name, which may say its direction, or the path that it was given by."""
    names = [track.name, f"{track.name}_cw", f"{track.name}_ccw", track.source]
    for name in names:
        with contextlib.suppress(InputError), warnings.catch_warnings():
            warnings.simplefilter("ignore", InputWarning)
            if np.array_equal(load_track(name, [TRACKS]).route, track.route):
                return name
    return track.name if track.source in ("memory", SHIPPED) else track.source


def gap_values(gap: Gap) -> dict[str, Any]:
    """For JSON, in seconds."""
    return {
        "limit_s": gap.limit_s,
        "lap_s": gap.lap_s,
        "ratio": gap.ratio,
        "lost_s": gap.lost_s,
        "lost_by": gap.by_cause,
        "start_s": gap.start_s,
        "sectors": [
            {"sector": number + 1, "lost_s": float(np.sum(row)), **dict(zip(CAUSES, row.tolist(), strict=True))}
            for number, row in enumerate(gap.by_sector)
        ],
    }


def gap_line(gap: Gap) -> str:
    """The same in a sentence or two."""
    worst = int(gap.by_sector.sum(axis=1).argmax())
    return (
        f"best clean lap {gap.lap_s:.3f} s is {gap.ratio:.2f} of the limit, {gap.limit_s:.3f} s; "
        f"lost by {gap.lost_by}; most in sector {worst + 1}, {gap.by_sector[worst].sum():.2f} s"
    )
