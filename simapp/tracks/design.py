"""The text form of a track: straights, arcs and splines, one per line, from which the waypoints are made.

# comment
width 0.76              road width in metres
open                    not a loop (left out for a loop)
straight 3.2            metres; a loop may leave up to two lengths open as `?`, worked out so that it closes
arc left 90 1.5         or right: degrees, then the radius of the centre line in metres
spline 2.0 0.6 0        to a point 2.0 m ahead and 0.6 m left, turning 0 degrees (left positive) on the way
spline home             the last line of a loop: back to the start
"""

import math
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from contract.errors import InputError
from contract.fields import read_text, suggestion
from contract.rollout import added
from contract.state import FloatArray
from simapp.road import Track
from simapp.road.validation import MAX_WIDTH_M, MIN_WIDTH_M

SPACING_M = 0.15
"""Distance of waypoints, as in reinvent_base (0.1501 m)."""
CLOSURE_M, CLOSURE_RAD = 1e-3, 1e-6
MAX_LENGTH_M = 500.0
_SPLINE_STEPS = 200
_FORMS = {
    "width": "`width METRES`",
    "open": "`open`",
    "straight": "`straight METRES` or `straight ?`",
    "arc": "`arc left DEGREES RADIUS` or `arc right DEGREES RADIUS`",
    "spline": "`spline AHEAD LEFT DEGREES` or `spline home`",
}


@dataclass(frozen=True, slots=True)
class Bend:
    """A piece of constant curvature (1/m, left positive); a straight has curvature 0."""

    length_m: float
    curvature: float

    def at(self, s: FloatArray) -> tuple[FloatArray, FloatArray, FloatArray]:
        """Ahead, left, heading of points (K,) at arc length s, from the pose at the piece's start."""
        turn = self.curvature * s
        half = 0.5 * turn
        # chord of an arc: 2 sin(turn / 2) / curvature, written so that a straight needs no case of its own
        chord = s * np.sinc(half / math.pi)
        return chord * np.cos(half), chord * np.sin(half), turn


@dataclass(frozen=True, slots=True)
class Spline:
    """A cubic Hermite curve from (0, 0) along the heading to (ahead, left), turned by turn_rad."""

    ahead_m: float
    left_m: float
    turn_rad: float

    def _curve(self, u: FloatArray) -> tuple[FloatArray, FloatArray, FloatArray, FloatArray]:
        chord = math.hypot(self.ahead_m, self.left_m)
        aim = math.atan2(self.left_m, self.ahead_m)
        # tangents of this size make the cubic the best fit of an arc of the same chord and turn
        size = chord / math.cos(min(abs(aim) + abs(self.turn_rad - aim), math.pi) / 4.0) ** 2
        h_end, h_out, h_in = u * u * (3 - 2 * u), u * (1 - u) ** 2, u * u * (u - 1)
        d_end, d_out, d_in = 6 * u * (1 - u), (1 - u) * (1 - 3 * u), u * (3 * u - 2)
        tx, ty = size * math.cos(self.turn_rad), size * math.sin(self.turn_rad)
        return (
            self.ahead_m * h_end + size * h_out + tx * h_in,
            self.left_m * h_end + ty * h_in,
            self.ahead_m * d_end + size * d_out + tx * d_in,
            self.left_m * d_end + ty * d_in,
        )

    def _arc_lengths(self) -> tuple[FloatArray, FloatArray]:
        u = np.linspace(0.0, 1.0, _SPLINE_STEPS + 1)
        middle = self._curve(0.5 * (u[1:] + u[:-1]))
        ends = self._curve(u)
        speed, speed_middle = np.hypot(ends[2], ends[3]), np.hypot(middle[2], middle[3])
        # Simpson's rule on each step
        steps = (speed[:-1] + 4.0 * speed_middle + speed[1:]) / (6.0 * _SPLINE_STEPS)
        return u, np.concatenate([[0.0], np.cumsum(steps)])

    @property
    def length_m(self) -> float:
        return float(self._arc_lengths()[1][-1])

    def at(self, s: FloatArray) -> tuple[FloatArray, FloatArray, FloatArray]:
        u, lengths = self._arc_lengths()
        x, y, dx, dy = self._curve(np.interp(s, lengths, u))
        return x, y, np.arctan2(dy, dx)


@dataclass(slots=True)
class _Line:
    """One line of the file, for messages."""

    where: str
    text: str

    def error(self, rule: str, fix: str) -> InputError:
        return InputError(self.where, self.text, rule, fix)

    def number(self, word: str, what: str, low: float, high: float) -> float:
        try:
            value = float(word)
        except ValueError:
            raise self.error(f"{what} is a number", f"write a number in place of {word!r}") from None
        if not low <= value <= high:
            raise self.error(f"{what} is {low:g} to {high:g}", f"change {word}")
        return value


@dataclass(slots=True)
class _Design:
    pieces: list[Bend | Spline]
    lines: list[_Line]
    unknown: list[int]
    """Indices of the straights whose length is worked out."""
    width_m: float
    closed: bool
    home: bool
    """Ends in `spline home`."""


def parse_track(text: str, name: str, where: str, source: str = "memory") -> Track:
    """The track that the text describes; InputError names `where` (the file) and the line."""
    design = _parse(text, where)
    if design.closed:
        _close(design, where)
    total = added(piece.length_m for piece in design.pieces)
    if total > MAX_LENGTH_M:
        raise InputError(where, f"{total:.1f} m", f"a track is at most {MAX_LENGTH_M:g} m long", "shorten it")
    return Track(name, _waypoints(design, total), source=source)


def load_design(path: Path, source: str) -> Track:
    """Read a `.track` file; its stem is the track's name."""
    return parse_track(read_text(path, "a .track file"), path.stem, str(path), source)


def _parse(text: str, where: str) -> _Design:
    design = _Design(pieces=[], lines=[], unknown=[], width_m=0.0, closed=True, home=False)
    for number, full in enumerate(text.splitlines(), start=1):
        words = full.split("#", 1)[0].split()
        if not words:
            continue
        line = _Line(f"{where}:{number}", full.strip())
        if design.home:
            raise line.error("`spline home` is the last line", "remove this line")
        _parse_line(design, line, words[0], words[1:])
    if not design.pieces:
        raise InputError(where, "no pieces", "a track has straights, arcs or splines", "add a line like `straight 3`")
    if design.width_m == 0.0:
        raise InputError(
            where, "no width", "a track states the road's width", "add a line like `width 0.76` at the top"
        )
    for line, piece in zip(design.lines, design.pieces, strict=True):
        if isinstance(piece, Bend) and abs(piece.curvature) * design.width_m >= 2.0:
            raise line.error(
                f"the radius is more than half the road's width ({design.width_m / 2:g} m)", "make the radius larger"
            )
    return design


def _parse_line(design: _Design, line: _Line, keyword: str, words: list[str]) -> None:
    if keyword == "width" and len(words) == 1:
        if design.width_m:
            raise line.error("the width is stated once", "remove this line")
        design.width_m = line.number(words[0], "the width in metres", MIN_WIDTH_M, MAX_WIDTH_M)
    elif keyword == "open" and not words:
        design.closed = False
    elif keyword == "straight" and words == ["?"]:
        if len(design.unknown) == 2:
            raise line.error("at most two straights are `?`: a loop closes in x and y", "give this one a length")
        design.unknown.append(len(design.pieces))
        design.pieces.append(Bend(0.0, 0.0))
        design.lines.append(line)
    elif keyword == "straight" and len(words) == 1:
        design.pieces.append(Bend(line.number(words[0], "the length in metres", 0.01, MAX_LENGTH_M), 0.0))
        design.lines.append(line)
    elif keyword == "arc" and len(words) == 3 and words[0] in ("left", "right"):
        turn = math.radians(line.number(words[1], "the angle in degrees", 1.0, 360.0))
        radius = line.number(words[2], "the radius in metres", 0.2, 100.0)
        design.pieces.append(Bend(turn * radius, (1.0 if words[0] == "left" else -1.0) / radius))
        design.lines.append(line)
    elif keyword == "spline" and words == ["home"]:
        design.home = True
        design.lines.append(line)
        design.pieces.append(Spline(0.0, 0.0, 0.0))
    elif keyword == "spline" and len(words) == 3:
        ahead = line.number(words[0], "the distance ahead in metres", -100.0, 100.0)
        left = line.number(words[1], "the distance to the left in metres", -100.0, 100.0)
        turn = math.radians(line.number(words[2], "the turn in degrees", -270.0, 270.0))
        if math.hypot(ahead, left) < 0.1:
            raise line.error("a spline ends at least 0.1 m from where it begins", "move its end")
        design.pieces.append(Spline(ahead, left, turn))
        design.lines.append(line)
    elif keyword in _FORMS:
        raise line.error(f"the line reads {_FORMS[keyword]}", "write it in this form")
    else:
        fix = suggestion(keyword, _FORMS, "use one of these words")
        raise line.error(f"a line begins with {', '.join(_FORMS)}", fix)


def _starts(pieces: list[Bend | Spline]) -> FloatArray:
    """(P + 1, 3) x, y, heading at the start of each piece and after the last one; the first is at the origin."""
    starts = np.zeros((len(pieces) + 1, 3))
    for i, piece in enumerate(pieces):
        x, y, heading = starts[i]
        if isinstance(piece, Spline):
            ahead, left, turn = piece.ahead_m, piece.left_m, piece.turn_rad
        else:
            end = piece.at(np.array([piece.length_m]))
            ahead, left, turn = float(end[0][0]), float(end[1][0]), float(end[2][0])
        starts[i + 1] = (
            x + ahead * math.cos(heading) - left * math.sin(heading),
            y + ahead * math.sin(heading) + left * math.cos(heading),
            heading + turn,
        )
    return starts


def _close(design: _Design, where: str) -> None:
    """Fill in the `?` straights or the `spline home`, then check that the loop closes."""
    starts = _starts(design.pieces)
    x, y, heading = starts[-1]
    if design.home:
        lap = math.copysign(2.0 * math.pi, heading)
        cosine, sine = math.cos(heading), math.sin(heading)
        design.pieces[-1] = Spline(-x * cosine - y * sine, x * sine - y * cosine, lap - heading)
    elif design.unknown:
        along = starts[design.unknown, 2]
        directions = np.stack([np.cos(along), np.sin(along)])
        lengths = np.linalg.lstsq(directions, -starts[-1, :2], rcond=1e-9)[0]
        solved = math.hypot(*(directions @ lengths + starts[-1, :2])) <= CLOSURE_M
        # parallel straights cannot close every loop: what is missing then shows below
        for index, length in zip(design.unknown, lengths, strict=True) if solved else ():
            if length < 0.0:
                raise design.lines[index].error(
                    f"to close the loop this straight would have to be {length:.3f} m long",
                    "lengthen the straights that point the other way, or mark another one `?`",
                )
            design.pieces[index] = Bend(float(length), 0.0)
    x, y, heading = _starts(design.pieces)[-1]
    if abs(abs(heading) - 2.0 * math.pi) > CLOSURE_RAD:
        missing, side = 360.0 - math.degrees(abs(heading)), "left" if heading > 0.0 else "right"
        raise InputError(
            where,
            f"turns {math.degrees(heading):.6g} degrees in all",
            "a loop turns 360 degrees to the left or to the right in all",
            f"turn {abs(missing):.6g} degrees {'more' if missing > 0.0 else 'less'} to the {side}, or write `open`",
        )
    if math.hypot(x, y) > CLOSURE_M:
        raise InputError(
            where,
            f"ends {x:.3f} m ahead and {y:.3f} m left of the start",
            "a loop ends where it starts",
            "mark two straights that are not parallel as `straight ?`, or end with `spline home`",
        )


def _waypoints(design: _Design, total_m: float) -> FloatArray:
    """The route array (W, 6), about SPACING_M apart and evenly spaced along the true curve."""
    starts = _starts(design.pieces)
    ends = np.cumsum([piece.length_m for piece in design.pieces])
    s = np.linspace(0.0, total_m, max(8, round(total_m / SPACING_M)) + 1)
    piece_of = np.minimum(np.searchsorted(ends, s, side="right"), len(design.pieces) - 1)
    centre, heading = np.empty((len(s), 2)), np.empty(len(s))
    for i, piece in enumerate(design.pieces):
        mine = piece_of == i
        ahead, left, turn = piece.at(s[mine] - (ends[i] - piece.length_m))
        cosine, sine = math.cos(starts[i, 2]), math.sin(starts[i, 2])
        centre[mine, 0] = starts[i, 0] + ahead * cosine - left * sine
        centre[mine, 1] = starts[i, 1] + ahead * sine + left * cosine
        heading[mine] = starts[i, 2] + turn
    to_left = 0.5 * design.width_m * np.column_stack([-np.sin(heading), np.cos(heading)])
    route = np.hstack([centre, centre + to_left, centre - to_left])
    if design.closed:
        route[-1] = route[0]
    return route
