"""The recorder of the docs' terminal: time is kept or cut as it says, and the SVG shows each screen in its turn."""

import re
import shlex
import sys
from dataclasses import replace
from pathlib import Path
from xml.etree import ElementTree

import pytest

from scripts import record_terminal
from scripts.record_terminal import INK, Frame, Piece, Span, frames, recorded, shortened, svg, typed

SVG = "{http://www.w3.org/2000/svg}"


def text_of(frame: Frame) -> str:
    """What stands on a frame's screen, a line each."""
    return "\n".join("".join(span.text for span in row) for row in frame.rows).strip()


def python(code: str) -> str:
    """A command that runs the code, also where the folder of the checkout has a blank in its name."""
    return shlex.join([sys.executable, "-c", code])


def plain(text: str, column: int = 0, colour: str = INK) -> Span:
    return Span(column, text, colour, False, False)


def film_of(*texts: str) -> list[Frame]:
    """Frames of one row each, which stay for 1, 2, 3 ... seconds."""
    blank = ((),) * (record_terminal.ROWS - 1)
    return [Frame(((plain(text),), *blank), float(k)) for k, text in enumerate(texts, 1)]


def shown_by(drawn: str) -> list[list[str]]:
    """The texts of each frame of an SVG, in the order in which the film holds them."""
    root = ElementTree.fromstring(drawn)
    rows = {
        group.get("id"): "".join(text.text or "" for text in group.iter(f"{SVG}text"))
        for group in root.iter(f"{SVG}g")
        if group.get("id")
    }
    [film] = [group for group in root.iter(f"{SVG}g") if group.get("class") == "film"]
    return [[rows[use.attrib["href"].removeprefix("#")] for use in frame] for frame in film]


def stops_of(drawn: str) -> list[tuple[float, float]]:
    """(per cent of the time, x in pixels) of the film's keyframes."""
    return [(float(at), float(x)) for at, x in re.findall(r"([\d.]+)%\{transform:translateX\((-?[\d.]+)px\)\}", drawn)]


# --- time ------------------------------------------------------------------------------------------------------------


def test_waits_are_cut_the_longest_first_and_no_more_than_needed() -> None:
    film = [
        replace(frame, stays_s=stays_s)
        for frame, stays_s in zip(film_of(*"abcdef"), (1, 50, 0.5, 20, 0.5, 7), strict=True)
    ]
    assert [frame.stays_s for frame in shortened(film, 19.0)] == pytest.approx([1, 5, 0.5, 5, 0.5, 7])
    assert shortened(film, 100.0) == film
    assert sum(frame.stays_s for frame in shortened(film, 8.0)) == pytest.approx(8.0)
    assert [frame.rows for frame in shortened(film, 8.0)] == [frame.rows for frame in film]
    assert shortened(film[-1:], 8.0) == film[-1:]
    with pytest.raises(ValueError, match="7 of 6 s"):
        shortened(film, 6.0)


def test_every_second_of_the_pieces_is_in_the_frames() -> None:
    pieces = [Piece(0.5, b"one"), Piece(0.01, b" two"), Piece(0.7, b""), Piece(2.0, b"\r\nthree"), Piece(0.1, b"!")]
    film = frames(pieces, hold_s=4.0)
    assert sum(frame.stays_s for frame in film) == pytest.approx(0.5 + 0.01 + 0.7 + 2.0 + 0.1 + 4.0)
    assert [text_of(frame) for frame in film] == ["", "one two", "one two\nthree", "one two\nthree!"]
    assert [frame.stays_s for frame in film] == pytest.approx([0.5, 2.71, 0.1, 4.0])


def test_a_spinner_that_turns_is_one_frame() -> None:
    turns = [Piece(0.1, f"\r{'⠋⠙⠹⠸'[k % 4]} driving".encode()) for k in range(100)]
    film = frames([*turns, Piece(0.1, b"\rdone     ")], hold_s=1.0)
    assert [text_of(frame)[-7:] for frame in film] == ["", "driving", "done"]
    assert [frame.stays_s for frame in film] == pytest.approx([0.1, 10.0, 1.0])


def test_what_changes_too_fast_to_be_seen_is_left_out() -> None:
    film = frames([Piece(0.02, str(k % 10).encode()) for k in range(100)], hold_s=1.0)
    assert 10 < len(film) <= 2.0 / record_terminal.FRAME_S + 2
    assert all(frame.stays_s >= record_terminal.FRAME_S for frame in film)


def test_what_is_written_over_is_gone_and_colours_are_kept() -> None:
    film = frames([Piece(0.0, b"\x1b[1;31mwrong\x1b[0m and gone\r\x1b[10C\x1b[K\x1b[32;3mright\x1b[0m")])
    assert len(film) == 1
    colours = record_terminal.COLOURS
    assert film[0].rows[0] == (
        Span(0, "wrong", colours["red"], True, False),
        Span(6, "and", INK, False, False),
        Span(10, "right", colours["green"], False, True),
    )


def test_typed_text_is_the_command_after_a_prompt() -> None:
    film = frames(typed("undercut runs"), hold_s=1.0, frame_s=0.0)
    assert text_of(film[-1]) == "$undercut runs"
    assert len(film) > len("undercut runs")


# --- the picture -----------------------------------------------------------------------------------------------------


def test_the_svg_is_well_formed_and_shows_the_frames_in_order() -> None:
    film = film_of("<first> & 'one'", "second", "<first> & 'one'", "a ┃ b")
    drawn = svg(film, 'what "it" is <told>')
    assert shown_by(drawn) == [["<first> & 'one'"], ["second"], ["<first> & 'one'"], ["a ┃ b"]]
    root = ElementTree.fromstring(drawn)
    assert root.get("aria-label") == root.findtext(f"{SVG}title") == 'what "it" is <told>'
    assert len(list(root.iter(f"{SVG}text"))) == 3, "rows that are alike are kept once"


def test_each_frame_has_its_share_of_the_time_and_its_place_on_the_film() -> None:
    film = film_of("a", "b", "c")  # 1, 2 and 3 seconds
    drawn = svg(film, "three")
    stops, root = stops_of(drawn), ElementTree.fromstring(drawn)
    assert [at for at, _ in stops] == pytest.approx([0.0, 100 / 6, 50.0], abs=1e-3)
    assert float(re.search(r"animation:film ([\d.]+)s steps\(1,end\) infinite", drawn)[1]) == 6.0  # type: ignore[index]
    [film_group] = [group for group in root.iter(f"{SVG}g") if group.get("class") == "film"]
    places = [float(re.findall(r"[\d.]+", group.attrib["transform"])[0]) for group in film_group]
    assert [-x for _, x in stops] == pytest.approx(places)


def test_it_loads_nothing_and_runs_nothing() -> None:
    drawn = svg(film_of("a"), "one")
    assert not re.search(r"<script|<image|@import|url\(|href=\"(?!#)", drawn)
    assert len(stops_of(drawn)) == 1


# --- commands --------------------------------------------------------------------------------------------------------


def test_a_command_sees_a_terminal_of_that_size(tmp_path: Path) -> None:
    code = "import os, sys; print(sys.stdout.isatty(), *os.get_terminal_size(), os.getcwd())"
    said = b"".join(piece.data for piece in recorded(python(code), tmp_path)).decode()
    assert said.split() == ["True", str(record_terminal.COLUMNS), str(record_terminal.ROWS), str(tmp_path)]


def test_a_command_that_fails_or_hangs_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(RuntimeError, match=r"ended with status 3\n.*broken"):
        recorded(python("print('broken'); raise SystemExit(3)"), tmp_path)
    with pytest.raises(RuntimeError, match=r"longer than 0\.3 s"):
        recorded(python("import time; time.sleep(60)"), tmp_path, deadline_s=0.3)


def test_readmes_recording_is_one_of_ours() -> None:
    """`.venv/bin/python -m scripts.record_terminal docs/images/terminal.svg` makes it anew."""
    path = Path(__file__).parents[2] / "docs" / "images" / "terminal.svg"
    drawn = path.read_text(encoding="utf-8")
    told = [line for frame in shown_by(drawn) for line in frame]
    assert path.stat().st_size < 300_000
    assert any("laps complete" in line for line in told)
    assert float(re.search(r"animation:film ([\d.]+)s", drawn)[1]) <= record_terminal.TOTAL_S + 0.01  # type: ignore[index]
