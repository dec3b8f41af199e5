"""Reading tracks: route files and their faults, the text form, the shipped catalog, and names."""

import io
import math
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from contract.errors import InputError
from contract.state import FloatArray
from simapp.tracks import Track, available_tracks, heading_difference, load_track
from simapp.tracks.design import parse_track

PUBLIC = sorted((Path(__file__).parents[3] / "shared" / "reference" / "tracks").glob("*.npy"))
SHIPPED = available_tracks()


def ring(rows: int = 61, radius: float = 2.0, width: float = 0.8) -> FloatArray:
    angle = np.linspace(0.0, 2.0 * np.pi, rows)
    angle[-1] = 0.0
    unit = np.column_stack([np.cos(angle), np.sin(angle)])
    return np.hstack([radius * unit, (radius - width / 2) * unit, (radius + width / 2) * unit])


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


def assert_track_or_error(load: Callable[[], Track], where: str) -> None:
    """Whatever the input: a usable track or an InputError that names the place, and no other exception."""
    problem = None
    try:
        track = load()
    except InputError as error:
        problem = error
    if problem is None:
        assert 0.0 < track.length_m < math.inf
        assert track.on_road(*track.centre.T).all()
    else:
        assert problem.where.startswith(where)


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
    "last row rounded": (with_value(60, 0, 2.0 + 1e-9), ["rows 0 and 60", "1e-09 m", "overwrite the last row"]),
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
    "absent": (lambda path: None, "No such file"),
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
    assert base.widths_m == pytest.approx(np.full(119, 0.76), abs=0.004)
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


# the catalog


@pytest.mark.parametrize("name", SHIPPED)
def test_shipped_track(name: str) -> None:
    track = load_track(name)
    assert (track.name, track.source) == (name, "shipped")
    steps = np.hypot(*np.diff(track.centre, axis=0).T)
    assert steps == pytest.approx(np.full(len(steps), 0.15), abs=0.008)
    assert track.min_radius_m > 0.6 * track.widths_m.max()
    if track.closed:
        assert np.array_equal(track.route[0], track.route[-1])
        # the seam is a waypoint like any other: no kink, no short step
        kink = heading_difference(
            track.project(*track.route[-2:-1, :2].T).heading_rad, track.pose_at([0.0]).heading_rad
        )
        assert abs(kink[0]) < 0.2


def test_the_catalog_has_what_was_promised() -> None:
    tracks = [load_track(name) for name in SHIPPED]
    assert len(tracks) >= 10
    widths = [round(float(track.widths_m.max()), 6) for track in tracks]
    assert min(widths) == 0.6
    assert max(widths) == 1.4
    assert max(track.length_m for track in tracks) == pytest.approx(60.0, abs=0.5)
    assert {track.direction for track in tracks} == {"ccw", "open"}


def test_the_default_track_is_the_size_of_the_2018_one() -> None:
    track = load_track("paddock")
    assert track.length_m == pytest.approx(17.7, abs=0.1)
    assert track.widths_m == pytest.approx(np.full(len(track.route), 0.76))
    assert 0.8 < track.min_radius_m < 1.0
    headings = track.project(track.centre[:-1, 0], track.centre[:-1, 1]).heading_rad
    turns = heading_difference(np.roll(headings, -1), headings)
    # 360 degrees in all, of which 80 to the right are turned back
    assert np.degrees(turns[turns > 0].sum()) == pytest.approx(440, abs=1e-6)
    assert np.degrees(turns[turns < 0].sum()) == pytest.approx(-80, abs=1e-6)


# the text form


def test_hand_worked_oval() -> None:
    track = parse_track("width 1\nstraight 2\narc left 180 1\nstraight 2\narc left 180 1", "oval", "oval.track")
    true_length = 4 + 2 * math.pi
    rows = round(true_length / 0.15) + 1
    assert len(track.route) == rows
    # every waypoint on the stadium curve, at its own arc length
    s = np.linspace(0, true_length, rows)[:-1]
    turn = s - 2
    back = s - 4 - math.pi
    x = np.select([s < 2, s < 2 + math.pi, back < 0], [s, 2 + np.sin(turn), 4 + math.pi - s], -np.sin(back))
    y = np.select([s < 2, s < 2 + math.pi, back < 0], [0 * s, 1 - np.cos(turn), 0 * s + 2], 1 + np.cos(back))
    np.testing.assert_allclose(track.centre[:-1], np.column_stack([x, y]), atol=1e-12)
    np.testing.assert_allclose(np.hypot(*(track.inner - track.centre).T), 0.5)


def test_unknown_straights_close_the_loop() -> None:
    bottom_right, top, left = "straight 3\narc left 90 1\nstraight ?", "straight ?", "straight 1.5\narc left 90 1"
    text = f"width 0.8\n{bottom_right}\narc left 90 2\n{top}\narc left 90 1\n{left}"
    track = parse_track(text, "box", "box.track")
    # heights: 1 + a + 2 = 1 + 1.5 + 1, widths: 3 + 1 + 1 = 2 + b + 1
    assert track.length_m == pytest.approx(3 + 0.5 + 2 + 1.5 + 0.5 * math.pi * (1 + 2 + 1 + 1), abs=0.02)
    assert track.bounds == pytest.approx((-1.4, -0.4, 4.4, 3.9), abs=0.01)


def test_spline_keeps_to_an_arc() -> None:
    text = "width 0.6\nopen\nspline 2 2 90\n"
    track = parse_track(text, "bend", "bend.track")
    # the best cubic for a quarter circle of radius 2 is within 2.8e-4 radii of it
    np.testing.assert_allclose(np.hypot(track.centre[:, 0], track.centre[:, 1] - 2), 2.0, atol=6e-4)
    assert track.length_m == pytest.approx(math.pi, abs=1e-3)
    ends = track.pose_at([0.0, track.length_m])
    np.testing.assert_allclose(ends.heading_rad, [0.0, math.pi / 2], atol=0.05)


@settings(max_examples=50, deadline=None)
@given(ahead=st.floats(2, 5), left=st.floats(-2, 2), turn=st.floats(-80, 80))
def test_spline_ends_where_it_says(ahead: float, left: float, turn: float) -> None:
    track = parse_track(f"width 0.4\nopen\nstraight 1\nspline {ahead} {left} {turn}\nstraight 1", "s", "s.track")
    after = (1 + ahead + math.cos(math.radians(turn)), left + math.sin(math.radians(turn)))
    np.testing.assert_allclose(track.centre[-1], after, atol=1e-9)


def test_spline_home_closes_either_way_round() -> None:
    for side, direction in (("left", "ccw"), ("right", "cw")):
        text = f"width 0.8\nstraight 3\narc {side} 180 1.5\nstraight 2\nspline home"
        track = parse_track(text, "home", "home.track")
        assert (track.closed, track.direction) == (True, direction)


DESIGN_FAULTS: dict[str, tuple[str, str, list[str]]] = {
    "unknown word": ("width 1\nstrait 3", "t.track:2", ["'strait 3'", "begins with width, open", "`straight`?"]),
    "far from any word": ("width 1\nqqq", "t.track:2", ["use one of these words"]),
    "not a number": ("width 1\nstraight three", "t.track:2", ["length in metres is a number", "'three'"]),
    "NaN": ("width 1\nstraight nan", "t.track:2", ["0.01 to 500"]),
    "negative": ("width 1\nstraight -3", "t.track:2", ["0.01 to 500", "change -3"]),
    "missing number": ("width 1\narc left 90", "t.track:2", ["`arc left DEGREES RADIUS`"]),
    "neither left nor right": ("width 1\narc up 90 1", "t.track:2", ["`arc left DEGREES RADIUS`"]),
    "too narrow": ("# a comment\n\nwidth 0.1", "t.track:3", ["width in metres is 0.3 to 3"]),
    "width twice": ("width 1\nwidth 1", "t.track:2", ["stated once"]),
    "no width": ("straight 3\nopen", "t.track", ["no width", "width 0.76"]),
    "nothing": ("width 1\n# straight 3", "t.track", ["no pieces"]),
    "bend too tight": ("width 1\nopen\nstraight 1\narc left 90 0.4", "t.track:4", ["more than half", "0.5 m"]),
    "does not turn round": ("width 1\nstraight 3\narc left 90 2", "t.track", ["turns 90 degrees", "270 degrees more"]),
    "turns too much": (
        "width 1\narc right 180 2\nstraight 1\narc right 200 2",
        "t.track",
        ["turns -380 degrees", "20 degrees less to the right"],
    ),
    "does not meet": (
        "width 1\nstraight 3\narc left 180 2\nstraight 2\narc left 180 2",
        "t.track",
        ["ends 1.000 m ahead and", "ends where it starts", "straight ?"],
    ),
    "unknowns side by side": (
        "width 1\nstraight 3\narc left 180 1\nstraight ?\narc left 180 2\nstraight ?",
        "t.track",
        ["ends where it starts", "not parallel"],
    ),
    "a straight of negative length": (
        "width 1\nstraight 1\narc left 180 2\nstraight 3\narc left 180 2\nstraight ?\nstraight 3",
        "t.track:6",
        ["would have to be -1.000 m long"],
    ),
    "three unknowns": ("width 1\nstraight ?\nstraight ?\nstraight ?", "t.track:4", ["at most two"]),
    "after home": ("width 1\nstraight 3\nspline home\nstraight 3", "t.track:4", ["last line"]),
    "a spline to nowhere": ("width 1\nspline 0 0 90", "t.track:2", ["at least 0.1 m"]),
    "endless": ("width 1\nopen\nstraight 400\nstraight 400", "t.track", ["800.0 m", "at most 500 m"]),
    "crosses itself": ("width 1\nopen\nstraight 4\narc left 270 1\nstraight 4", "t", ["rows ", "do not overlap"]),
}


@pytest.mark.parametrize("fault", DESIGN_FAULTS)
def test_faulty_designs(fault: str) -> None:
    text, where, expected = DESIGN_FAULTS[fault]
    with pytest.raises(InputError) as caught:
        parse_track(text, "t", "t.track")
    message = str(caught.value)
    assert message.startswith(f"{where}:")
    for part in expected:
        assert part in message


WORDS = st.sampled_from(["width", "open", "straight", "arc", "spline", "left", "right", "?", "home", "1", "0.8", "90"])


@settings(max_examples=200, deadline=None)
@given(st.lists(st.lists(WORDS | st.text(max_size=5), max_size=4).map(" ".join), max_size=8).map("\n".join))
def test_any_text_is_an_input_error_or_a_track(text: str) -> None:
    assert_track_or_error(lambda: parse_track(text, "t", "t.track"), "t")


# names


def test_direction_suffixes() -> None:
    track, ccw, cw = (load_track(name) for name in ("paddock", "paddock_ccw", "paddock_cw"))
    np.testing.assert_array_equal(ccw.route, track.route)
    np.testing.assert_array_equal(cw.route, track.reversed().route)
    assert [t.name for t in (track, ccw, cw)] == ["paddock", "paddock_ccw", "paddock_cw"]
    assert [t.direction for t in (track, ccw, cw)] == ["ccw", "ccw", "cw"]
    with pytest.raises(InputError, match="drag_strip is open"):
        load_track("drag_strip_cw")


def test_own_tracks_are_found_and_go_first(tmp_path: Path) -> None:
    first, second = tmp_path / "first", tmp_path / "second"
    for folder, radius in ((first, 2.0), (second, 3.0)):
        folder.mkdir()
        np.save(folder / "mine.npy", ring(radius=radius))
        np.save(folder / "paddock.npy", ring(radius=radius))
    np.save(second / "mine_cw.npy", ring())  # a file of that very name is taken as it is
    (first / "yours.track").write_text("width 1\nopen\nstraight 3\n", encoding="utf-8")
    search = [tmp_path / "absent", first, second]
    assert set(available_tracks(search)) == {*SHIPPED, "mine", "mine_cw", "yours"}
    assert load_track("mine", search).source == str(first / "mine.npy")
    assert load_track("paddock", search).length_m == pytest.approx(4 * math.pi, rel=1e-2)
    assert load_track("mine_ccw", search).direction == "ccw"
    assert load_track("mine_cw", search).direction == "ccw"
    assert load_track("yours", search).length_m == pytest.approx(3.0)


def test_unknown_names() -> None:
    with pytest.raises(InputError, match=r"'padock'[^$]*did you mean paddock"):
        load_track("padock")
    with pytest.raises(InputError, match=r"'monaco_gp_1929'[^$]*the known ones are arrowhead, "):
        load_track("monaco_gp_1929")
    with pytest.raises(InputError, match="'_cw'"):
        load_track("_cw")
    with pytest.raises(InputError, match="is not allowed"):
        load_track("")


def test_unreadable_design(tmp_path: Path) -> None:
    (tmp_path / "latin.track").write_bytes(b"width 1 # caf\xe9")
    for name, message in (("latin", "UTF-8"), ("absent", "No such file")):
        with pytest.raises(InputError, match=message):
            load_track(str(tmp_path / f"{name}.track"))
