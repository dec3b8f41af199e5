"""Track files: a .npy route or a .track text is a road to drive on, or refused with the row or line."""

import io
from pathlib import Path
from typing import Any

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from contract.state import FloatArray
from simapp.road.route_file import parse_route
from simapp.road.validation import crossed_rows
from simapp.tracks import Track
from simapp.tracks.design import parse_track
from tests.fuzzing import ODD_WORDS, damaged_bytes, damaged_text, examples, value_or_error
from tests.support import ring

CATALOG = Path(__file__).resolve().parents[2] / "simapp/tracks/catalog"
DESIGNS = [path.read_text() for path in sorted(CATALOG.glob("*.track"))]


def saved(route: FloatArray) -> bytes:
    stream = io.BytesIO()
    np.save(stream, route)
    return stream.getvalue()


def headed(descr: str, shape: str) -> bytes:
    """A .npy file with another header, as long as it says."""
    text = f"{{'descr': {descr}, 'fortran_order': False, 'shape': {shape}, }}"
    text += " " * (118 - len(text) % 118) + "\n"
    return b"\x93NUMPY\x01\x00" + len(text).to_bytes(2, "little") + text.encode() + bytes(480)


ROUTE = saved(ring(13))
DESCRS = st.sampled_from(
    ["'<f8'", "'|O'", "[]", "[()]", "('<f8',)", "('<f8', (2,))", "[('a', '<f8')]", "'V9999999999'", "'<f99'", "None"]
)
SHAPES = st.sampled_from(
    ["(10, 6)", "(-1, 6)", "(10**9, 6)", "(1e3, 6)", "()", "(10,)", "10", "(True, 6)", "(99999999999999999999, 6)"]
)


def drives(track: Track) -> None:
    """What every user of a track asks of it first."""
    assert 0.0 < track.length_m < 1e6 and np.isfinite(track.bounds).all()
    assert len(crossed_rows(track.route)) or track.on_road(*track.centre.T).all()
    where = track.project(*track.centre.T)
    assert np.isfinite(where.distance_m).all() and (where.distance_m >= 0).all()
    assert (where.distance_m <= track.length_m).all()


@examples(60)
@given(damaged_bytes(ROUTE) | st.builds(headed, DESCRS, SHAPES) | st.binary(max_size=200))
def test_route_files(content: bytes) -> None:
    track = value_or_error(lambda: Track("mine", parse_route(content, "mine.npy"), source="mine.npy"), "mine.npy")
    if track is not None:
        drives(track)
        again = Track("mine", parse_route(saved(track.route), "again"))
        assert np.array_equal(again.route, track.route)


@examples(40)
@given(st.data())
def test_routes_with_other_numbers(data: st.DataObject) -> None:
    route: Any = ring(25)
    for _ in range(data.draw(st.integers(1, 3))):
        row, column = data.draw(st.integers(0, 24)), data.draw(st.integers(0, 5))
        route[row, column] = data.draw(st.floats(-20, 20) | st.sampled_from([np.nan, np.inf, 1e300, 0.0]))
    track = value_or_error(lambda: Track("mine", route), "mine")
    if track is not None:
        drives(track)


@examples(30)
@given(
    st.one_of(*map(damaged_text, DESIGNS))
    | st.lists(
        st.tuples(
            st.sampled_from(["width", "straight", "arc", "spline", "open", "#", "bend"]),
            st.lists(
                st.sampled_from(["left", "right", "home", "?", "1", "90", "0.8", "-3", "1e9", "0"]) | ODD_WORDS,
                max_size=4,
            ),
        ),
        max_size=8,
    ).map(lambda lines: "\n".join(f"{word} {' '.join(more)}" for word, more in lines))
)
def test_designs(text: str) -> None:
    track = value_or_error(lambda: parse_track(text, "mine", "mine.track"), "mine")
    if track is not None:
        drives(track)
