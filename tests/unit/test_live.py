"""Live sessions: what they show reads back, they never wait for a reader, and a dead one is known to be dead."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from contract.config import RunConfig
from contract.errors import InputError
from contract.protocols import Phase
from contract.state import STEP_DTYPE
from scripts.live import LiveSession, SessionState, ShownCar, ShownLaps, decode, encode, live_laps, live_names, session
from scripts.live import shown as shown_laps
from tests.watching import drive

STATE = SessionState.of("training", RunConfig(name="mine"))


@pytest.fixture(autouse=True)
def racer(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


def loud(said: str) -> None:
    raise AssertionError(said)


@given(
    st.lists(st.tuples(st.text(max_size=20), st.integers(0, 6), st.integers(0, 30), st.integers(1, 40)), min_size=1),
    st.integers(0, 2**32 - 1),
)
def test_shown_laps_read_back(cars: list[tuple[str, int, int, int]], seed: int) -> None:
    random = np.random.default_rng(seed)
    raw = [np.frombuffer(random.bytes(n * STEP_DTYPE.itemsize), np.uint8).copy() for *_, n in cars]
    parts = [ShownCar(*car[:3], steps.view(STEP_DTYPE)) for car, steps in zip(cars, raw, strict=True)]
    laps = ShownLaps("Iteration 3, training", Phase.training, tuple(parts))
    read = decode(encode(laps), "here")
    assert (read.title, read.phase) == (laps.title, laps.phase)
    assert [(c.label, c.colour, c.world) for c in read.cars] == [car[:3] for car in cars]
    assert [c.steps.tobytes() for c in read.cars] == [c.steps.tobytes() for c in laps.cars]


@given(st.binary(max_size=200), st.integers(0, 3000), st.booleans())
def test_broken_laps_are_an_error_that_names_the_file(noise: bytes, cut: int, instead: bool) -> None:
    whole = encode(shown_laps([drive(0, 20), drive(1, 5)], "x", Phase.training, 0))
    broken = noise if instead else whole[: min(cut, len(whole) - 1)]
    with pytest.raises(InputError, match=r"there\.laps"):
        decode(broken, "there.laps")


def test_a_session_is_seen_while_it_lasts_and_leaves_nothing(racer: Path) -> None:
    with LiveSession("run", "mine", STATE, loud) as live:
        live.doing("iteration 0: driving")
        live.show(shown_laps([drive(0, 30)], "Iteration 0, training", Phase.training, 2))
        seen = session("run", "mine")
        assert seen is not None
        assert (seen.kind, seen.track, seen.doing) == ("training", "paddock", "iteration 0: driving")
        assert live_names("run") == ["mine"]
        assert live_names("race") == []
        laps = decode(live_laps("run", "mine", Phase.training).read_bytes(), "x")
        assert np.array_equal(laps.cars[0].steps, drive(0, 30).steps)
    assert session("run", "mine") is None
    assert not [path for path in (racer / ".live").rglob("*") if path.is_file()]


def test_a_second_session_of_a_name_goes_on_unseen() -> None:
    with LiveSession("run", "mine", STATE, loud) as first:
        first.doing("the first")
        with LiveSession("run", "mine", STATE, loud) as second:
            second.doing("the second")
            second.show(shown_laps([drive(0, 5)], "x", Phase.training, 0))
        seen = session("run", "mine")
        assert seen is not None
        assert seen.doing == "the first"
        assert not live_laps("run", "mine", Phase.training).exists()


def test_a_killed_session_is_dead_and_the_next_one_begins_anew() -> None:
    script = (
        "import sys, time\nfrom tests.unit.test_live import *\n"
        "live = LiveSession('run', 'mine', STATE, loud).__enter__()\n"
        "live.show(shown_laps([drive(0, 5)], 'x', Phase.training, 0))\nprint('up', flush=True)\nsys.stdin.read()\n"
    )
    root = Path(__file__).resolve().parents[2]
    with subprocess.Popen(
        [sys.executable, "-c", script],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        env={**os.environ, "PYTHONPATH": str(root)},
    ) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == b"up\n"
        assert session("run", "mine") is not None
        process.send_signal(signal.SIGKILL)
        process.wait(timeout=10)
    assert session("run", "mine") is None
    assert live_laps("run", "mine", Phase.training).exists()
    with LiveSession("run", "mine", STATE, loud):
        assert not live_laps("run", "mine", Phase.training).exists()
        assert session("run", "mine") is not None


def test_a_disk_that_takes_nothing_does_not_stop_the_session(racer: Path) -> None:
    (racer / ".live").write_text("a file where the folder goes")
    said: list[str] = []
    with LiveSession("run", "mine", STATE, said.append) as live:
        live.doing("driving")
        live.show(shown_laps([drive(0, 5)], "x", Phase.training, 0))
    assert len(said) == 1
    assert "cannot show this session" in said[0]


def test_showing_is_cheap_whoever_reads() -> None:
    """A stopped reader that holds the files open makes no difference, and 20 episodes take little next to driving."""
    laps = shown_laps([drive(i, 300) for i in range(20)], "x", Phase.training, 0)
    with LiveSession("run", "mine", STATE, loud) as live:
        live.show(laps)
        held = [live_laps("run", "mine", Phase.training).open("rb") for _ in range(20)]
        began_s = time.process_time()
        for _ in range(10):
            live.show(laps)
        each_s = (time.process_time() - began_s) / 10
        for file in held:
            file.close()
    driven_s = 20 * 300 / 15  # of simulated time
    assert each_s < driven_s / 1000
