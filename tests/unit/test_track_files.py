"""Reading tracks: route files and their faults, the text form, the shipped catalog, and names."""

import io
import warnings
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from contract.errors import InputError, InputWarning
from contract.state import FloatArray
from simapp.tracks import Track, available_tracks, load_track, readable_tracks
from tests.conftest import SHARED_REFERENCE
from tests.support import assert_track_or_error, ring

PUBLIC = sorted((SHARED_REFERENCE / "tracks").glob("*.npy"))


def offset_path(centre: FloatArray, width: float = 0.6) -> FloatArray:
    """A route round a centre line (W, 2); a loop when its ends are equal."""
    ends = (
        (centre[-2:-1], centre[1:2])
        if np.array_equal(centre[0], centre[-1])
        else (2 * centre[:1] - centre[1:2], 2 * centre[-1:] - centre[-2:-1])
    )
    around = np.vstack([ends[0], centre, ends[1]])
    along = around[2:] - around[:-2]
    left = np.column_stack([-along[:, 1], along[:, 0]]) / np.hypot(*along.T)[:, None]
    return np.hstack([centre, centre + width / 2 * left, centre - width / 2 * left])


def figure_eight() -> FloatArray:
    t = np.linspace(0.0, 2 * np.pi, 120)
    t[-1] = 0.0
    return offset_path(np.column_stack([4 * np.sin(t), 2 * np.sin(2 * t)]))


def with_value(row: int, column: int, value: float) -> FloatArray:
    route = ring()
    route[row, column] = value
    return route


def swapped_rows() -> FloatArray:
    route = ring()
    route[[20, 24]] = route[[24, 20]]
    return route


def near_repeat() -> FloatArray:
    route = np.insert(ring(), 10, ring()[10], axis=0)
    route[11, 0] += 1e-5
    return route


def two_laps(width: float) -> FloatArray:
    return np.vstack([ring()[:-1], ring(width=width)[:-1], ring()[:1]])


FAULTS: dict[str, tuple[FloatArray, list[str]]] = {
    "one dimension": (np.zeros(6), ["shape", "(6,)", "(W, 6)"]),
    "five columns": (np.zeros((10, 5)), ["shape", "(10, 5)", "(W, 6)"]),
    "complex": (ring().astype(complex), ["dtype", "complex128", "float64"]),
    "text": (ring().astype(str), ["dtype", "<U32", "float64"]),
    "no rows": (np.zeros((0, 6)), ["rows: 0", "at least 4 rows"]),
    "one row": (np.zeros((1, 6)), ["rows: 1", "at least 4 rows"]),
    "all rows equal": (np.ones((9, 6)), ["rows: 9", "the waypoints differ"]),
    "a distant row": (with_value(3, 5, -1e200), ["row 3, outer y", "-1e+200", "within 10000 m"]),
    "a NaN": (with_value(7, 3, np.nan), ["row 7, inner y", "nan", "finite"]),
    "an infinity": (with_value(0, 0, np.inf), ["row 0, centre x", "inf", "finite"]),
    "nearly a repeat": (near_repeat(), ["rows 10 and 11", "0.001 m apart", "remove one"]),
    "rows out of order": (swapped_rows(), ["a turn of 1", "driving order"]),
    "last row missing": (ring()[:-1], ["rows 0 and 59", "repeats its first row", "append a copy of row 0"]),
    "last row rounded": (with_value(60, 0, 2.0 + 1e-4), ["rows 0 and 60", "0.0001 m", "overwrite the last row"]),
    "last edge differs": (with_value(60, 2, 1.5), ["rows 0 and 60", "all six numbers"]),
    "centimetres": (100 * ring(), ["row 0", "80 m from inner to outer", "0.3 to 3.0 m", "metres"]),
    "too narrow": (ring(width=0.2), ["row 0", "0.2 m from inner", "(61 such rows)"]),
    "one wide row": (with_value(9, 4, 6.0), ["row 9", "(1 such rows)"]),
    "edges swapped": (ring()[:, [0, 1, 4, 5, 2, 3]], ["every row", "inner edge right", "swap the two pairs"]),
    "edges swapped in a row": (
        np.vstack([ring()[:5], ring()[5:6, [0, 1, 4, 5, 2, 3]], ring()[6:]]),
        ["row 5", "inner edge 0.4 m right of the centre", "mend the inner edge"],
    ),
    "centre beside the road": (
        np.hstack([2.6 * ring()[:, :2] / 2.0, ring()[:, 2:]]),
        ["row 0", "outer edge 0.2 m left", "between"],
    ),
    "edges of other rows": (
        np.hstack([ring()[:, :2], np.roll(ring()[:-1, 2:], 3, axis=0)[np.r_[0:60, 0]]]),
        ["row ", "off the line from inner to outer", "across from its centre"],
    ),
    "a figure of eight": (figure_eight(), ["rows ", "do not overlap", "move the two stretches apart"]),
    "two laps": (two_laps(0.8), ["rows ", "do not overlap"]),
    "two laps, the second narrower": (two_laps(0.6), ["rows ", "do not overlap"]),
}


def crossed(rows: list[int], edge: int, by_m: float = 0.08) -> FloatArray:
    """A ring whose inner (2) or outer (4) edge lies that far on the other side of the centre in some rows."""
    route = ring()
    radius = 2.0 + (by_m if edge == 2 else -by_m)
    route[rows, edge : edge + 2] = route[rows, :2] / 2.0 * radius
    return route


@pytest.mark.parametrize(("rows", "edge"), [([30], 2), ([11, 12, 13, 40], 4), (list(range(20, 45)), 2)])
def test_an_edge_beyond_the_centre_line_is_taken_with_a_warning(rows: list[int], edge: int, tmp_path: Path) -> None:
    path = tmp_path / "mine.npy"
    np.save(path, crossed(rows, edge))
    with pytest.warns(InputWarning, match=rf"mine\.npy: {len(rows)} of 61 rows \({rows[0]}.*wrong side of the centre"):
        track = load_track(str(path))
    # the road is between the edges: beyond the centre line there is none on that side
    x, y = track.centre[rows[0]]
    assert not track.on_road(x, y)
    assert track.on_road(*(0.5 * (track.inner + track.outer)[rows[0]]))
    assert track.reversed().length_m == pytest.approx(track.length_m)


def test_who_looks_through_all_tracks_hears_nothing_of_broken_ones(tmp_path: Path) -> None:
    np.save(tmp_path / "crossed.npy", crossed([30], 2))
    np.save(tmp_path / "flat.npy", np.zeros((4, 3)))
    (tmp_path / "words.track").write_text("once round the lake\n")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        found = [track.name for track in readable_tracks([tmp_path])]
    assert found == sorted(["crossed", *available_tracks()])


@pytest.mark.parametrize("by_m", [5e-16, -9e-6])
def test_a_loop_that_closes_but_for_rounding_is_closed(by_m: float, tmp_path: Path) -> None:
    route = ring()
    route[-1] = route[0] + by_m
    assert not np.array_equal(route[0], route[-1])
    np.save(tmp_path / "mine.npy", route)
    track = load_track(str(tmp_path / "mine.npy"))
    assert track.closed
    np.testing.assert_array_equal(track.route, ring())


@pytest.mark.parametrize("fault", FAULTS)
def test_faulty_routes(fault: str, tmp_path: Path) -> None:
    route, expected = FAULTS[fault]
    path = tmp_path / "mine.npy"
    np.save(path, route)
    with pytest.raises(InputError) as caught:
        load_track(str(path))
    message = str(caught.value)
    assert message.startswith(str(path))
    for part in expected:
        assert part in message


def test_a_bend_that_overlaps_the_lane_beside_it() -> None:
    bend = np.linspace(-np.pi / 2, np.pi / 2, 9)
    centre = np.vstack(
        [
            np.column_stack([np.linspace(-3, -0.2, 15), np.full(15, -0.25)]),
            0.25 * np.column_stack([np.cos(bend), np.sin(bend)]),
            np.column_stack([np.linspace(-0.2, -3, 15), np.full(15, 0.25)]),
        ]
    )
    with pytest.raises(InputError, match=r"rows \d+ and \d+.*apart[^$]*overlap \(road 0.8 m wide\)"):
        Track("pin", offset_path(centre, width=0.8))
    assert Track("pin", offset_path(centre, width=0.49)).length_m > 6


def test_a_sharp_corner_is_no_overlap() -> None:
    # a right angle in one row: the inner edges fold over each other beside the corner, which is one stretch of road
    leg = np.arange(0.15, 3.0, 0.15)
    centre = np.vstack([np.column_stack([leg, 0 * leg]), [[3.0, 0.0]], np.column_stack([0 * leg + 3.0, leg])])
    assert Track("corner", offset_path(centre, width=0.8)).closed is False


def npy_bytes(array: FloatArray) -> bytes:
    buffer = io.BytesIO()
    np.save(buffer, array)
    return buffer.getvalue()


FILES: dict[str, tuple[Callable[[Path], object], str]] = {
    "absent": (lambda path: None, "a route file must exist"),
    "a folder": (lambda path: path.mkdir(), "directory"),
    "empty": (lambda path: path.write_bytes(b""), "whole .npy file"),
    "text": (lambda path: path.write_text("x, y\n1, 2\n"), "whole .npy file"),
    "truncated": (lambda path: path.write_bytes(npy_bytes(ring())[:900]), "whole .npy file"),
    "pickled": (lambda path: np.save(path, np.array([{}], dtype=object), allow_pickle=True), "whole .npy file"),
    "an npz": (lambda path: np.savez(path.open("wb"), a=ring()), "whole .npy file"),
}


@pytest.mark.parametrize("kind", FILES)
def test_unreadable_files(kind: str, tmp_path: Path) -> None:
    write, expected = FILES[kind]
    path = tmp_path / "mine.npy"
    write(path)
    with pytest.raises(InputError, match=expected) as caught:
        load_track(str(path))
    assert caught.value.where == str(path)


@settings(max_examples=150, deadline=None)
@given(st.data())
def test_damaged_files_are_input_errors_or_tracks(
    tmp_path_factory: pytest.TempPathFactory, data: st.DataObject
) -> None:
    path = tmp_path_factory.getbasetemp() / "damaged.npy"
    np.save(path, ring(13))
    content = bytearray(path.read_bytes())
    for _ in range(data.draw(st.integers(1, 4))):
        content[data.draw(st.integers(0, 140))] = data.draw(st.integers(0, 255))
    path.write_bytes(content)
    assert_track_or_error(lambda: load_track(str(path)), str(path))


@given(arrays(np.float64, st.tuples(st.integers(0, 8), st.just(6)), elements=st.floats(allow_nan=True)))
def test_any_array_is_an_input_error_or_a_track(route: FloatArray) -> None:
    assert_track_or_error(lambda: Track("any", route), "any")


@pytest.mark.skipif(not PUBLIC, reason="the shared reference files are not beside this checkout")
def test_public_tracks_load() -> None:
    assert len(PUBLIC) == 8
    tracks = {path.stem: load_track(str(path)) for path in PUBLIC}
    base = tracks["reinvent_base"]
    assert (len(base.route), base.closed, base.direction) == (119, True, "ccw")
    assert base.length_m == pytest.approx(17.709159380834848, abs=1e-9)  # the simtraces' track_len
    assert base.widths_m == pytest.approx(np.full(119, 0.76), abs=0.009)
    assert [name for name, track in tracks.items() if not track.closed] == ["Straight_track"]
    for path in PUBLIC:
        np.testing.assert_array_equal(tracks[path.stem].route, np.load(path, allow_pickle=False))


def test_repeated_rows_keep_their_indices() -> None:
    plain = ring()
    track = Track("twice", np.insert(plain, 20, plain[20], axis=0))
    assert len(track.route) == 62
    middle = plain[19:22, :2][:-1] + 0.5 * np.diff(plain[19:22, :2], axis=0)
    seen = track.project(middle[:, 0], middle[:, 1])
    assert (seen.behind.tolist(), seen.ahead.tolist()) == ([19, 21], [20, 22])
    assert track.length_m == Track("once", plain).length_m


def test_a_clockwise_route_may_call_either_edge_inner() -> None:
    clockwise = ring()[::-1]  # inner is still the inside, which is the right edge now
    track = Track("ring", clockwise)
    assert track.direction == "cw"
    np.testing.assert_array_equal(track.inner, clockwise[:, 4:6])
    np.testing.assert_array_equal(track.route, Track("ring", ring()).reversed().route)
    np.testing.assert_array_equal(track.route, Track("ring", track.route).route)


def test_integer_routes_are_metres() -> None:
    rows = [[0, 0, 0, 1, 0, -1], [2, 0, 2, 1, 2, -1]]
    assert Track("ints", np.array(rows, dtype=np.int32)).length_m == 2.0
