"""Record commands on a terminal as a picture that moves: an SVG that loops, for docs/first-laps.md.

.venv/bin/python -m scripts.record_terminal docs/images/terminal.svg [-- COMMAND ...]

Each command runs in a pseudo-terminal, in a folder that is deleted afterwards; every piece of output is kept with its
time. pyte is the terminal, and its screen after each piece is a frame; waits are cut short, the longest first, until
all fits. The frames lie side by side as on a film that CSS moves along, and rows that are alike are kept once. The SVG
needs no script and no font file, so that it may stand in an <img>; who asks for less motion sees the last frame.
"""

import argparse
import fcntl
import os
import pty
import re
import select
import shlex
import signal
import struct
import subprocess
import sys
import tempfile
import termios
import time
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from xml.sax.saxutils import escape

import pyte

COLUMNS, ROWS = 88, 26
TOTAL_S, HOLD_S = 60.0, 5.0
"""How long the whole takes at most, and how long its last frame stays, which counts."""
FRAME_S = 0.08
"""What changes sooner than that after a frame becomes part of the next one."""
SPINNER = re.compile("[\u2800-\u28ff]")
"""The characters of rich's spinner; a screen whose spinner turned is the same screen."""
DEADLINE_S = 900.0
"""How long one command may take."""
SESSION = ("undercut new mine", "undercut check mine", "undercut train mine --folder mine --iterations 5")
PROMPT, KEY_S = "\x1b[32m$\x1b[0m ", 0.04

FONT_PX, CELL_PX, LINE_PX, EDGE_PX = 14.0, 8.43, 17.0, 14.0
PAPER, INK = "#16181d", "#d7dae0"
COLOURS = {
    "black": "#3b4048",
    "red": "#ff6b6b",
    "green": "#7ec97f",
    "brown": "#e3b341",
    "blue": "#6cb0f5",
    "magenta": "#cf8ef4",
    "cyan": "#5fc9d6",
    "white": "#d7dae0",
    "brightblack": "#8b929e",
    "brightred": "#ff8f8f",
    "brightgreen": "#a5e0a6",
    "brightbrown": "#f2cc60",
    "brightyellow": "#f2cc60",
    "brightblue": "#93c9ff",
    "brightmagenta": "#e0b0ff",
    "brightcyan": "#8be3ee",
    "brightwhite": "#ffffff",
}
"""pyte's names, all at least 4.5 : 1 against the paper but black; it calls yellow brown."""


@dataclass(frozen=True, slots=True)
class Piece:
    """Bytes that a terminal got, so many seconds after the piece before."""

    after_s: float
    data: bytes


@dataclass(frozen=True, slots=True)
class Span:
    """Characters of one look, from a column on."""

    column: int
    text: str
    colour: str
    bold: bool
    italic: bool


Row = tuple[Span, ...]


@dataclass(frozen=True, slots=True)
class Frame:
    """A screen from top to bottom, and the seconds that it stays."""

    rows: tuple[Row, ...]
    stays_s: float


# --- what happens on the terminal ------------------------------------------------------------------------------------


def typed(command: str) -> Iterator[Piece]:
    """The command as if somebody typed it after a prompt."""
    yield Piece(0.0, PROMPT.encode())
    for number, key in enumerate(command):
        yield Piece(0.6 if number == 0 else KEY_S, key.encode())
    yield Piece(0.4, b"\r\n")


def recorded(command: str, folder: Path, deadline_s: float = DEADLINE_S) -> list[Piece]:
    """What the command writes to a terminal. RuntimeError when it fails or takes longer than `deadline_s` seconds."""
    environment = {key: value for key, value in os.environ.items() if key not in ("COLORTERM", "NO_COLOR", "COLUMNS")}
    environment |= {"TERM": "xterm-256color", "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}"}
    ours, theirs = pty.openpty()
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", ROWS, COLUMNS, 0, 0))
    ends: dict[str, int] = {"stdin": theirs, "stdout": theirs, "stderr": theirs}
    begun_s = last_s = time.monotonic()
    found = []
    process = subprocess.Popen(shlex.split(command), cwd=folder, env=environment, start_new_session=True, **ends)  # type: ignore[call-overload]
    os.close(theirs)
    try:
        while (left_s := begun_s + deadline_s - time.monotonic()) > 0.0:
            if not select.select([ours], [], [], left_s)[0]:
                continue
            try:
                data = os.read(ours, 65536)
            except OSError:  # how Linux says that nobody has the other end any more
                data = b""
            if not data:
                break
            now_s = time.monotonic()
            found.append(Piece(now_s - last_s, data))
            last_s = now_s
        else:
            raise RuntimeError(f"{command}: it took longer than {deadline_s:g} s")
        if status := process.wait(max(left_s, 1.0)):
            output = b"".join(piece.data for piece in found).decode(errors="replace")
            raise RuntimeError(f"{command}: it ended with status {status}\n{output[-2000:]}")
    finally:
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()
        os.close(ours)
    return found


# --- what it looks like ----------------------------------------------------------------------------------------------


def frames(pieces: Iterable[Piece], hold_s: float = HOLD_S, frame_s: float = FRAME_S) -> list[Frame]:
    """The screens that the pieces make, from an empty one to the last, which stays for `hold_s` seconds more.

    A frame stays `frame_s` seconds or longer; screens that were there for less are left out, their time is not.
    """
    screen = pyte.Screen(COLUMNS, ROWS)
    stream = pyte.ByteStream(screen)
    made: list[Frame] = []
    since_s = 0.0

    def show(stays_s: float) -> None:
        now = tuple(_row(screen, line) for line in range(screen.lines))
        if made and _still(now) == _still(made[-1].rows):
            made[-1] = Frame(made[-1].rows, made[-1].stays_s + stays_s)
        else:
            made.append(Frame(now, stays_s))

    for piece in pieces:
        since_s += piece.after_s
        if since_s >= frame_s:
            show(since_s)
            since_s = 0.0
        stream.feed(piece.data)
    show(since_s + hold_s)
    return made


def _still(rows: tuple[Row, ...]) -> list[list[Span]]:
    return [[replace(span, text=SPINNER.sub("", span.text)) for span in row] for row in rows]


def shortened(film: Sequence[Frame], total_s: float) -> list[Frame]:
    """The same film with no frame but the last for longer than some time: the longest that makes all of them take
    `total_s` seconds at most. ValueError where the last frame alone takes longer."""
    *others, last = film
    left_s = total_s - last.stays_s
    if left_s <= 0.0:
        raise ValueError(f"the last frame takes {last.stays_s:g} of {total_s:g} s: give --seconds more")
    stays = sorted(frame.stays_s for frame in others)
    longest_s = max(stays, default=0.0)
    for number, stay_s in enumerate(stays):
        if stay_s * (len(stays) - number) > left_s:
            longest_s = left_s / (len(stays) - number)
            break
        left_s -= stay_s
    return [*(replace(frame, stays_s=min(frame.stays_s, longest_s)) for frame in others), last]


def _row(screen: pyte.Screen, line: int) -> Row:
    """The line's spans; blanks at the ends of one are left out."""
    spans: list[Span] = []
    begun, text, look = 0, "", ("", False, False)
    cells = [screen.buffer[line][column] for column in range(screen.columns)]
    for column, cell in enumerate(cells):
        colour = cell.bg if cell.reverse else cell.fg
        colour = INK if colour == "default" else COLOURS.get(colour, f"#{colour}")
        if cell.data.isspace() and text:  # a blank has no colour
            text += cell.data
            continue
        if (colour, cell.bold, cell.italics) != look:
            if text.strip():
                spans.append(_span(begun, text, look))
            begun, text, look = column, "", (colour, cell.bold, cell.italics)
        text += cell.data
    if text.strip():
        spans.append(_span(begun, text, look))
    return tuple(spans)


def _span(column: int, text: str, look: tuple[str, bool, bool]) -> Span:
    return Span(column + len(text) - len(text.lstrip()), text.strip(), *look)


def svg(film: Sequence[Frame], title: str) -> str:
    """An SVG that shows the frames one after the other, each for its seconds, and begins again."""
    total_s = sum(frame.stays_s for frame in film)
    width, height = COLUMNS * CELL_PX, ROWS * LINE_PX
    outer_width, outer_height = width + 2 * EDGE_PX, height + 2 * EDGE_PX
    names: dict[Row, str] = {}
    colours: dict[str, str] = {INK: ""}
    for frame in film:
        for row in filter(None, frame.rows):
            names.setdefault(row, f"r{len(names)}")
            for span in row:
                colours.setdefault(span.colour, f"c{len(colours)}")
    stops, at_s = [], 0.0
    for number, frame in enumerate(film):
        stops.append(f"{100 * at_s / total_s:.4f}%{{transform:translateX({-number * width:.2f}px)}}")
        at_s += frame.stays_s
    last = f"translateX({-(len(film) - 1) * width:.2f}px)"
    lines = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {outer_width:.2f} {outer_height:.2f}" '
        f'width="{outer_width:.0f}" height="{outer_height:.0f}" role="img" aria-label="{escape(title, _QUOTE)}">',
        f"<title>{escape(title)}</title>",
        "<style>",
        f"text{{font:{FONT_PX:g}px ui-monospace,SFMono-Regular,Menlo,Consolas,'DejaVu Sans Mono',monospace;"
        f"fill:{INK};white-space:pre}}",
        ".b{font-weight:bold}.i{font-style:italic}",
        *(f".{name}{{fill:{colour}}}" for colour, name in colours.items() if name),
        f"@keyframes film{{{''.join(stops)}}}",
        f".film{{animation:film {total_s:.3f}s steps(1,end) infinite}}",
        f"@media (prefers-reduced-motion:reduce){{.film{{animation:none;transform:{last}}}}}",
        "</style>",
        "<defs>",
        *(f'<g id="{name}">{"".join(_text(span, colours) for span in row)}</g>' for row, name in names.items()),
        "</defs>",
        f'<rect width="100%" height="100%" rx="8" fill="{PAPER}" stroke="#5a606b"/>',
        f'<svg x="{EDGE_PX:g}" y="{EDGE_PX:g}" width="{width:.2f}" height="{height:.2f}" overflow="hidden">',
        '<g class="film">',
    ]
    for number, frame in enumerate(film):
        rows = (
            f'<use href="#{names[row]}" y="{line * LINE_PX:g}"/>' for line, row in enumerate(frame.rows) if row
        )  # fmt: skip
        lines.append(f'<g transform="translate({number * width:.2f})">{"".join(rows)}</g>')
    return "\n".join([*lines, "</g>", "</svg>", "</svg>", ""])


_QUOTE = {'"': "&quot;"}


def _text(span: Span, colours: dict[str, str]) -> str:
    looks = [colours[span.colour], "b" if span.bold else "", "i" if span.italic else ""]
    style = f' class="{" ".join(filter(None, looks))}"' if any(looks) else ""
    # as wide as its cells in any font, so that columns stay columns
    length = f' textLength="{len(span.text) * CELL_PX:.2f}" lengthAdjust="spacingAndGlyphs"'
    return f'<text x="{span.column * CELL_PX:.2f}" y="{0.78 * LINE_PX:.2f}"{style}{length}>{escape(span.text)}</text>'


def main(arguments: Sequence[str]) -> int:
    """Command line; returns the exit code."""
    parser = argparse.ArgumentParser(prog="python -m scripts.record_terminal", description="Record a terminal as SVG.")
    parser.add_argument("out", type=Path, help="where the SVG goes")
    parser.add_argument("commands", nargs="*", metavar="COMMAND", help=f"default: {'; '.join(SESSION)}")
    parser.add_argument("--seconds", type=float, default=TOTAL_S, help="how long it takes at most")
    options = parser.parse_args(arguments)
    commands = options.commands or SESSION
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # so that no command is left behind
    pieces: list[Piece] = []
    with tempfile.TemporaryDirectory() as folder:
        for command in commands:
            pieces += [*typed(command), *recorded(command, Path(folder)), Piece(1.0, b"")]
    film = shortened(frames(pieces), options.seconds)
    drawn = svg(film, f"A terminal: {'; '.join(commands)}")
    options.out.write_text(drawn, encoding="utf-8")
    took_s = sum(piece.after_s for piece in pieces)
    shown_s = sum(frame.stays_s for frame in film)
    summary = f"{options.out}: {took_s:.0f} s shown in {shown_s:.0f} s, {len(film)} frames, {len(drawn) / 1000:.0f} kB"
    sys.stdout.write(f"{summary}\n")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
