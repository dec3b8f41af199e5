"""Live sessions: what they show reads back, they never wait for a reader, and a dead one is known to be dead."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from contract.config import RunConfig
from contract.protocols import Phase, RolloutOrder
from contract.recording import Recording
from tests.patience import PATIENCE_S
from tests.watching import drive
from undercut.runs.live import LIVE, LiveSession, live_names, live_recording, session

pytestmark = pytest.mark.usefixtures("racer")

CONFIG = RunConfig(name="mine", car_color="Red", track="paddock")
TRAINING = RolloutOrder(Phase.training, 3, 60, 20)
FILE = live_recording(LIVE / "run" / "mine", Phase.training)


def loud(said: str) -> None:
    raise AssertionError(said)


def test_a_session_is_seen_while_it_lasts_and_leaves_nothing(racer: Path) -> None:
    with LiveSession("run", "training", CONFIG, loud) as live:
        live.doing("iteration 0: driving")
        live.show(TRAINING, [drive(60, 30), drive(61, 40)])
        seen = session("run", "mine")
        assert seen is not None
        assert (seen.kind, seen.doing) == ("training", "iteration 0: driving")
        assert RunConfig.build(seen.config, "session") == CONFIG
        assert live_names("run") == ["mine"]
        assert live_names("race") == []
        laps = Recording.from_bytes(FILE.read_bytes(), "x")
        assert (laps.title, laps.track, laps.racers[0].color) == ("Iteration 3, training", "paddock", "Red")
        assert [episode.number for episode in laps.episodes] == [60, 61]
        assert laps.episodes[1].steps["x_m"] == pytest.approx(drive(61, 40).steps["x_m"], abs=1e-5)
    assert session("run", "mine") is None
    assert not [path for path in (racer / ".live").rglob("*") if path.is_file()]


def test_a_second_session_of_a_name_goes_on_unseen() -> None:
    with LiveSession("run", "training", CONFIG, loud) as first:
        first.doing("the first")
        with LiveSession("run", "training", CONFIG, loud) as second:
            second.doing("the second")
            second.show(TRAINING, [drive(0, 5)])
        seen = session("run", "mine")
        assert seen is not None
        assert seen.doing == "the first"
        assert not FILE.exists()


def test_a_killed_session_is_dead_and_the_next_one_begins_anew() -> None:
    script = (
        "import sys, time\nfrom tests.unit.test_live import *\n"
        "live = LiveSession('run', 'training', CONFIG, loud).__enter__()\n"
        "live.show(TRAINING, [drive(0, 5)])\nprint('up', flush=True)\nsys.stdin.read()\n"
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
        process.wait(PATIENCE_S)
    assert session("run", "mine") is None
    assert FILE.exists()
    with LiveSession("run", "training", CONFIG, loud):
        assert not FILE.exists()
        assert session("run", "mine") is not None


def test_a_disk_that_takes_nothing_does_not_stop_the_session(racer: Path) -> None:
    (racer / ".live").write_text("a file where the folder goes")
    said: list[str] = []
    with LiveSession("run", "training", CONFIG, said.append) as live:
        live.doing("driving")
        live.show(TRAINING, [drive(0, 5)])
    assert len(said) == 1
    assert "cannot show this session" in said[0]


def test_showing_is_cheap_whoever_reads() -> None:
    """A stopped reader that holds the files open makes no difference, and 20 episodes take little next to driving."""
    laps = [drive(i, 300) for i in range(20)]
    with LiveSession("run", "training", CONFIG, loud) as live:
        live.show(TRAINING, laps)
        held = [FILE.open("rb") for _ in range(20)]
        began_s = time.process_time()
        for _ in range(10):
            live.show(TRAINING, laps)
        each_s = (time.process_time() - began_s) / 10
        for file in held:
            file.close()
    driven_s = 20 * 300 / 15  # of simulated time
    assert each_s < driven_s / 1000
