"""Shipped tracks: the text form and its faults, the catalog, and how names are found."""

import math
from pathlib import Path

import numpy as np
import pytest
import shapely
from hypothesis import given, settings
from hypothesis import strategies as st

from contract.errors import InputError
from simapp.tracks import available_tracks, heading_difference, load_track
from simapp.tracks.design import parse_track
from tests.support import assert_track_or_error, ring

SHIPPED = available_tracks()


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


@pytest.mark.parametrize("name", SHIPPED)
def test_no_car_gets_to_another_stretch_of_road_unseen(name: str) -> None:
    """Progress is the nearest centre-line point's, as in AWS's simulator, so it would jump there. At 4 m/s a car moves
    0.27 m a step, and its wheels are 0.23 m apart: over 0.5 m of grass there is a step with none on the road."""
    track = load_track(name)
    inner, outer = track.inner, track.outer
    quads = np.asarray(shapely.polygons(np.stack([inner[:-1], inner[1:], outer[1:], outer[:-1]], axis=1)))
    along_m = track.project(*(0.5 * (track.centre[1:] + track.centre[:-1])).T).distance_m
    between_m = np.abs(track.shortest_way(along_m[:, None] - along_m))
    i, j = np.nonzero(np.triu(between_m > 2.5))
    assert len(i)
    assert shapely.distance(quads[i], quads[j]).min() > 0.55


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
    # between the edges' nearest points, which lie a little nearer than the rows' own where the edges have corners
    assert track.widths_m == pytest.approx(np.full(len(track.route), 0.76), abs=0.003)
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
@given(ahead=st.floats(3, 5), left=st.floats(-1, 1), turn=st.floats(-60, 60))
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
    "unknown word": (
        "width 1\nstrait 3",
        "t.track:2",
        ["'strait 3'", "begins with width, open", "did you mean 'straight'?"],
    ),
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
    for name, message in (("latin", "UTF-8"), ("absent", "must exist")):
        with pytest.raises(InputError, match=message):
            load_track(str(tmp_path / f"{name}.track"))
