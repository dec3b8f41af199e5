"""`undercut video`: what it draws from, where it puts it, and what it says when that cannot be."""

import io
import json
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner

from contract import artifacts, simtrace
from contract.config import RaceConfig, RunConfig
from contract.errors import InputError
from contract.recording import Recording
from contract.state import EpisodeStatus
from tests.frozen import add_track, untrained_run
from tests.recordings import TRACK, box_at, lap_steps, race, recording
from tests.unit.synthetic import drive
from tests.unit.test_lap_video import decoded
from undercut.cli.main import app
from undercut.runs.run import DEFAULT_HYPERPARAMETERS, DEFAULT_METADATA, DEFAULT_REWARD, Run
from undercut.video import videos

LAP = recording([lap_steps(5)], [box_at(0.5, 5)])
FRAMES = 5 + 18
TRACE = simtrace.to_csv([drive(0, EpisodeStatus.lap_complete, length=6)], TRACK.length_m, 0.0)


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Run:
    """A run that drove nothing yet."""
    monkeypatch.chdir(tmp_path)
    Path("tracks").mkdir()
    np.save("tracks/circle.npy", TRACK.route)
    config = RunConfig(name="mine", track="circle", car_color="Red", display_name="Zoë")
    return Run.create(config, DEFAULT_REWARD, DEFAULT_METADATA, DEFAULT_HYPERPARAMETERS)


def undercut(*arguments: str) -> str:
    result = CliRunner().invoke(app, list(arguments), catch_exceptions=False)
    assert result.exit_code == 0, result.output
    return result.output


def frames_of(path: Path) -> int:
    return len(decoded(path.read_bytes())[1])


@pytest.mark.slow
def test_an_evaluations_recording_becomes_its_videos(run: Run) -> None:
    run.store.put(artifacts.evaluation_recording(), LAP.to_bytes())
    said = undercut("video", "mine")
    for view in ("topview", "45degree", "pip"):
        path = Path(f"runs/mine/iteration-data/evaluation/camera-{view}/0-video.mp4")
        assert str(path) in said
        assert frames_of(path) == FRAMES
    undercut("video", "mine", "--view", "front", "--trial", "1")
    assert frames_of(Path("runs/mine/iteration-data/evaluation/camera-front/0-video.mp4")) == FRAMES


def test_iterations_are_drawn_from_what_is_there(run: Run) -> None:
    run.store.put(artifacts.training_simtrace(4), TRACE.encode())
    run.store.put(artifacts.training_evaluation_simtrace(4), TRACE.replace("lap_complete", "off_track").encode())
    with_recording = videos.source_of_run
    assert with_recording(run, 4).recording.episodes[0].steps["status"][-1] == EpisodeStatus.off_track
    assert with_recording(run, 4, is_training=True).recording.episodes[0].steps["status"][-1] == 2
    undercut("video", "mine", "--iteration", "4", "--training", "--view", "pip")
    assert frames_of(Path("runs/mine/iteration-data/training/camera-pip/4-video.mp4")) == 6 + 18
    run.store.put(artifacts.training_recording(4), LAP.to_bytes())
    assert with_recording(run, 4).recording.episodes[0].objects is not None


def test_a_simtrace_of_a_run_with_fixed_boxes_shows_them_and_says_what_it_cannot(run: Run) -> None:
    race_config = RaceConfig(object_positions=((0.25, 1), (0.5, -1)), number_of_bot_cars=1)
    opened = Run(run.config.model_copy(update={"race": race_config}), run.files, run.store)
    run.store.put(artifacts.evaluation_simtrace(), TRACE.encode())
    source = videos.source_of_run(opened)
    objects = source.recording.episodes[0].objects
    assert objects is not None
    assert (objects.kind[:, :2] == 1).all()
    assert (objects.kind[:, 2:] == 0).all()
    assert "does not tell where bots" in source.note


def test_a_race_leaves_each_racers_videos(run: Run) -> None:
    both = race([lap_steps(4), lap_steps(4, 2.0)], [np.arange(4), np.arange(4)])
    Path("races/final").mkdir(parents=True)
    Path(artifacts.race_recording("final")).write_bytes(both.to_bytes())
    said = undercut("video", "final", "--race", "--view", "topview", "--racer", "b")
    path = Path("races/final/b/iteration-data/evaluation/camera-topview/0-video.mp4")
    assert str(path) in said
    assert frames_of(path) == 4 + 18
    assert not Path("races/final/a").exists()
    with pytest.raises(InputError, match="one of a, b"):
        undercut("video", "final", "--race", "--racer", "c")


@pytest.mark.parametrize("header", ["old", "ours", "newer"])
def test_any_simtrace_file_is_enough(run: Run, header: str) -> None:
    lines = [line.split(",") for line in TRACE.splitlines()]
    if header == "old":
        lines = [line[:-1] for line in lines]
    if header == "newer":
        lines = [
            line + more
            for line, more in zip(lines, [["obstacle_crash_counter", "wall_clock"]] + [["0", "1.5"]] * 99, strict=False)
        ]
    Path("3-iteration.csv").write_text("\n".join(map(",".join, lines)) + "\n")
    undercut("video", "3-iteration.csv", "--track", "circle", "--view", "45degree", "--out", "films")
    assert frames_of(Path("films/3-iteration-45degree.mp4")) == 6 + 18


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["mine"], "neither is there(.|\n)*undercut evaluate mine"),
        (["mine", "--iteration", "7"], "7-iteration.csv(.|\n)*undercut runs"),
        (["mine", "--training"], "add --iteration 0"),
        (["nobody"], "undercut train nobody"),
        (["nothing", "--race"], "--name nothing"),
        (["some.csv"], "add --track"),
        (["some.csv", "--track", "circle"], "some.csv"),
        (["empty.csv", "--track", "circle"], "empty.csv"),
        (["cut.csv", "--track", "circle"], "cut.csv line 4(.|\n)*cut off"),
        (["header.csv", "--track", "circle"], "no rows"),
    ],
)
def test_what_cannot_be_drawn_is_told_with_what_to_do(run: Run, arguments: list[str], message: str) -> None:
    Path("empty.csv").write_text("")
    Path("cut.csv").write_text(TRACE[: len(TRACE.splitlines()[0]) + 500])
    Path("header.csv").write_text(TRACE.splitlines()[0] + "\n")
    with pytest.raises(InputError, match=message):
        undercut("video", *arguments)
    assert not list(Path().rglob("*.mp4"))


def test_a_broken_recording_or_another_track_is_told(run: Run) -> None:
    run.store.put(artifacts.evaluation_recording(), LAP.to_bytes()[:-9])
    with pytest.raises(InputError, match=r"0-iteration.rec(.|\n)*cut off"):
        undercut("video", "mine")
    run.store.put(artifacts.evaluation_recording(), LAP.to_bytes())
    np.save("tracks/circle.npy", TRACK.route * 2.0)
    with pytest.raises(InputError, match=r"that one's lap was 7.5"):
        undercut("video", "mine")


def test_videos_that_fail_after_an_evaluation_do_not_fail_it(run: Run) -> None:
    from rich.console import Console

    run.store.put(artifacts.evaluation_recording(), LAP.to_bytes()[:-9])
    said = io.StringIO()
    videos.after_evaluation(run, Console(file=said))
    assert "no videos, everything else is written: " in said.getvalue()


@pytest.mark.slow
def test_evaluations_and_races_record_and_film_what_they_drive(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    add_track()
    untrained_run("one", 1.5)
    untrained_run("two", 2.0)
    said = undercut("evaluate", "one", "--laps", "1")
    where = Path("runs/one/iteration-data/evaluation")
    recorded = Recording.from_bytes((where / "recording/0-iteration.rec").read_bytes(), "test")
    trace = simtrace.from_csv((where / "evaluation-simtrace/0-iteration.csv").read_text(), "test")
    np.testing.assert_allclose(recorded.episodes[0].steps["x_m"], trace[0].steps["x_m"], atol=1e-5)
    for view in ("topview", "45degree", "pip"):
        assert f"camera-{view}/0-video.mp4" in said.replace("\n", "")
        assert frames_of(where / f"camera-{view}/0-video.mp4") >= len(trace[0].steps)
    undercut("race", "one", "two", "--laps", "1", "--name", "r")
    assert {path.parts[2] for path in Path("races/r").rglob("0-video.mp4")} == {"one", "two"}
    undercut("evaluate", "two", "--laps", "1", "--no-video")
    assert not list(Path("runs/two").rglob("*.mp4"))
    assert (Path("runs/two") / artifacts.evaluation_recording()).exists()
    assert json.loads(Path("runs/one/evaluation_metrics.json").read_text())["metrics"]


@pytest.mark.slow
def test_every_nth_iteration_is_drawn_beside_the_training_and_what_fails_is_told(run: Run) -> None:
    from rich.console import Console

    films = videos.IterationVideos(run, 2)
    lap = drive(0, EpisodeStatus.lap_complete, length=4)
    for iteration in range(3):
        films.add(iteration, [lap])
    said = io.StringIO()
    films.finish(Console(file=said, width=200))
    assert said.getvalue().count("\n") == 1
    path = Path("runs/mine/iteration-data/training/camera-pip/1-video.mp4")
    assert str(path) in said.getvalue()
    assert frames_of(path) == 4 + 18

    Path("runs/mine/run.json").unlink()
    films = videos.IterationVideos(run, 1)
    films.add(0, [lap])
    films.finish(Console(file=said, width=200))
    assert "no video of iteration 0: " in said.getvalue()
