"""Calibration on recordings of cars that are known: made here, in the forms that racers have."""

import dataclasses
import gzip
import io
import json
import math
import tarfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner

from contract.car import Car, car_of_version
from contract.config import RunConfig
from contract.errors import InputError
from contract.simtrace import COLUMNS
from contract.state import STEP_S, CarBatch, Controls
from contract.vehicle import FRONT_POINT_X_M
from simapp.tracks import load_track
from simapp.vehicle import Makes, drive_cars
from undercut.calibration.measure import fitted, measured, pooled
from undercut.calibration.recordings import read_recordings
from undercut.cli.main import app
from undercut.figures.calibration import calibration_figure

CARS = {"version 4": car_of_version(4), "version 5": car_of_version(5)}
Rows = list[list[object]]


def driven(car: Car, episodes: int = 4, steps: int = 60, seed: int = 0, jitter_s: float = 0.0) -> Rows:
    """Rows as AWS's simulator writes them: a pose, and the action that leads to the next row's; the first one stands.

    With jitter the steps last as long as the time stamps, one row later, say.
    """
    rng = np.random.default_rng(seed)
    rows: Rows = []
    stamp = 10.0
    for episode in range(episodes):
        state, steering, speed, last = CarBatch.zeros(1), 0.0, 1.5, STEP_S
        for step in range(steps):
            if step % 3 == 0:
                steering, speed = float(rng.choice([-30, -15, 0, 15, 30])), float(rng.choice([1.0, 1.5, 2.0, 2.5]))
            heading = float(state.heading_rad[0])
            x, y = (
                state.x_m[0] + FRONT_POINT_X_M * math.cos(heading),
                state.y_m[0] + FRONT_POINT_X_M * math.sin(heading),
            )
            status = "prepare" if step == 0 else "in_progress"
            rows.append(
                [
                    *(episode, step + 1.0, x, y, math.degrees(heading), steering, speed, 3, 1.0, False, True),
                    *(step * 0.5, 4, 17.709, stamp, status, 0.0),
                ]
            )
            now, next_s = last, STEP_S + rng.uniform(-jitter_s, jitter_s)
            stamp, last = stamp + next_s, next_s
            if step > 0:
                controls = Controls(np.radians([steering]), np.array([speed]))
                drive_cars(state, np.array([0]), controls, Makes.of_cars([car]), steps_s=np.array([now]))
    return rows


def text_of(rows: Rows) -> str:
    return "".join(",".join(str(cell) for cell in row) + "\n" for row in [list[object](COLUMNS), *rows])


def saved(folder: Path, rows: Rows, name: str = "0-iteration.csv") -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / name
    path.write_text(text_of(rows))
    return path


@pytest.mark.parametrize("name", CARS)
def test_a_car_replays_its_own_recording_and_the_other_strays(name: str, tmp_path: Path) -> None:
    (recording,) = read_recordings(saved(tmp_path, driven(CARS[name])))
    found = measured(recording, CARS)
    told = found.summary()
    assert (told["nearest"], told["rows_last"], told["action_leads_to"]) == (name, "1/15 s", "next row")
    other = next(one for one in CARS if one != name)
    assert told["errors_m"][name]["1 s"] < 0.05  # the start is estimated from poses
    assert told["errors_m"][other]["1 s"] > 2 * told["errors_m"][name]["1 s"]
    assert sum(part["pieces"] for part in told["by_speed"]) == told["pieces"]


def test_rows_that_last_as_their_stamps_say_and_actions_of_their_own_row_are_recognised(tmp_path: Path) -> None:
    rows = driven(CARS["version 5"], episodes=6, steps=90, jitter_s=0.02)
    told = measured(read_recordings(saved(tmp_path / "stamps", rows))[0], CARS).summary()
    assert (told["rows_last"], told["nearest"]) == ("time stamps", "version 5")
    rows = driven(CARS["version 5"])
    for row, before in zip(reversed(rows), reversed([rows[0], *rows[:-1]]), strict=True):
        row[5:7] = before[5:7]
    told = measured(read_recordings(saved(tmp_path / "same", rows))[0], CARS).summary()
    assert (told["action_leads_to"], told["nearest"]) == ("same row", "version 5")


def test_a_fit_finds_the_car_that_was_recorded(tmp_path: Path) -> None:
    real = dataclasses.replace(CARS["version 5"], steering_gain=0.8, steering_lag_s=0.09, steering_offset_deg=2.0)
    (recording,) = read_recordings(saved(tmp_path, driven(real, episodes=5, steps=40)))
    found = measured(recording, CARS)
    result = fitted(pooled([found]), CARS["version 5"], "mine")
    assert result.errors_m["1 s"] < 0.4 * result.before_m["1 s"]
    assert result.car.steering_gain == pytest.approx(0.8, abs=0.06)
    assert result.car.steering_offset_deg == pytest.approx(2.0, abs=0.6)


def test_files_folders_archives_and_logs_say_the_same(tmp_path: Path) -> None:
    rows = driven(CARS["version 4"], episodes=2, steps=40)
    text = text_of(rows).encode()
    log = "\n".join(f"2026-01-01T00:00:00 car | SIM_TRACE_LOG:{','.join(map(str, row))}" for row in rows)
    (tmp_path / "a").mkdir()
    (tmp_path / "a" / "robomaker.log").write_text(f"starting\n{log}\nended\n")
    (tmp_path / "b" / "training-simtrace").mkdir(parents=True)
    (tmp_path / "b" / "training-simtrace" / "0-iteration.csv.gz").write_bytes(gzip.compress(text))
    with tarfile.open(tmp_path / "model_logs.tar.gz", "w:gz") as archive:
        member = tarfile.TarInfo("logs/sim-trace/training/training-simtrace/0-iteration.csv")
        member.size = len(text)
        archive.addfile(member, io.BytesIO(text))
    plain = read_recordings(saved(tmp_path / "c", rows))[0]
    for path in (tmp_path / "a", tmp_path / "b", tmp_path / "model_logs.tar.gz", tmp_path / "a" / "robomaker.log"):
        (recording,) = read_recordings(path)
        assert [len(trace.steps) for trace in recording.traces] == [40, 40]
        assert all((one.steps == other.steps).all() for one, other in zip(recording.traces, plain.traces, strict=True))
    assert sorted(one.name for one in read_recordings(tmp_path)) == ["a", "b", "c", "model_logs"]


def _stamps_back(rows: Rows) -> None:
    rows[20][14], rows[21][14] = rows[21][14], rows[20][14]


def _radians(rows: Rows) -> None:
    for row in rows:
        row[4], row[5] = math.radians(float(str(row[4]))), math.radians(float(str(row[5])))


def _steer_radians(rows: Rows) -> None:
    for row in rows:
        row[5] = math.radians(float(str(row[5])))


def _short(rows: Rows) -> None:
    del rows[18:]


def _nothing(rows: Rows) -> None:
    rows.clear()


@pytest.mark.parametrize(
    ("spoil", "said"),
    [
        (_stamps_back, "time stamps rise"),
        (_radians, "yaw is in degrees"),
        (_steer_radians, "steer is in degrees"),
        (_short, "the longest of 18 rows"),
        (_nothing, "simtraces"),
    ],
)
def test_what_is_no_recording_is_refused_with_its_reason(
    spoil: Callable[[Rows], None], said: str, tmp_path: Path
) -> None:
    rows = driven(CARS["version 5"], episodes=1)
    spoil(rows)
    with pytest.raises(InputError, match=said):
        measured(read_recordings(saved(tmp_path, rows))[0], CARS)


@pytest.fixture
def _own_workspace(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def _run(*arguments: str) -> str:
    result = CliRunner().invoke(app, ["calibrate", *arguments], catch_exceptions=False)
    assert result.exit_code == 0, result.output
    return result.stdout


@pytest.mark.slow
@pytest.mark.usefixtures("_own_workspace")
def test_the_command_tells_draws_and_writes_a_car_file_that_runs_record() -> None:
    saved(Path("traces"), driven(CARS["version 5"], episodes=3, steps=40))
    told = json.loads(_run("traces", "--json", "--fit", "cars/mine.yaml"))
    assert told["nearest"] == "version 5"
    assert told["recordings"][0]["errors_m"]["version 5"].keys() == {"1/3 s", "2/3 s", "1 s"}
    assert Path(told["picture"]).read_bytes().startswith(b"\x89PNG")
    assert told["fit"]["held_out_pieces"] > 0
    car = Car.load(Path("cars/mine.yaml"))
    assert car.name == "mine"
    config = RunConfig.build({"name": "x", "car": dataclasses.asdict(car)}, "here")
    assert RunConfig.from_json(config.to_json(), "here").car == car
    shown = _run("traces", "--car", "cars/mine.yaml")
    assert "mine" in shown and "2 to 2.5 m/s" in shown


def test_each_recording_has_a_row_of_its_own_in_the_picture_which_says_what_the_tables_say(tmp_path: Path) -> None:
    found = []
    for name, car in CARS.items():
        (recording,) = read_recordings(saved(tmp_path / name, driven(car, episodes=1, steps=40)))
        found.append(measured(recording, CARS))
    figure = calibration_figure(found, [None, None])
    roads, curves = figure.axes[0::3], figure.axes[1::3]
    assert [road.get_title(loc="left") for road in roads] == [one.recording.name for one in found]
    for one, axes in zip(found, curves, strict=True):
        assert list(axes.get_legend_handles_labels()[1]) == [
            f"{name}: {errors_m['1 s']:.3f} m after 1 s" for name, errors_m in one.summary()["errors_m"].items()
        ]


@pytest.mark.usefixtures("_own_workspace")
def test_the_commands_refusals() -> None:
    saved(Path("traces"), driven(CARS["version 5"], episodes=1, steps=40))
    for arguments, place in (
        (["traces", "--track", "no_such_track"], "track"),
        (["traces", "--track", "paddock"], "--track"),
        (["nowhere"], "LOGS"),
        (["traces", "--fit", "mine.txt"], "--fit"),
        (["traces", "--car", "nowhere.yaml"], "nowhere.yaml"),
    ):
        with pytest.raises(InputError) as refused:
            CliRunner().invoke(app, ["calibrate", *arguments], catch_exceptions=False, standalone_mode=False)
        assert place in str(refused.value)


@pytest.mark.usefixtures("_own_workspace")
def test_a_trace_as_long_as_the_track_but_elsewhere_is_refused() -> None:
    rows = driven(CARS["version 5"], episodes=1, steps=40)
    for row in rows:
        row[13] = load_track("paddock").length_m
        row[2] = float(str(row[2])) + 500.0
    saved(Path("traces"), rows)
    with pytest.raises(InputError, match="lie near that road"):
        CliRunner().invoke(
            app, ["calibrate", "traces", "--track", "paddock"], catch_exceptions=False, standalone_mode=False
        )


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("friction: 9", "0.05..3"),
        ("frction: 0.5", "friction"),
        ("joints: magnets", "velocity, effort"),
        ("latency_steps: soon", "a number"),
        ("friction 0.5", "KEY: value"),
    ],
)
def test_a_car_file_is_refused_with_line_and_rule(line: str, said: str, tmp_path: Path) -> None:
    path = tmp_path / "car.yaml"
    path.write_text(f"# mine\n{line}\n")
    with pytest.raises(InputError) as refused:
        Car.load(path)
    assert said in str(refused.value)


def test_a_car_in_run_json_beyond_the_limits_is_refused() -> None:
    values = dataclasses.asdict(CARS["version 5"]) | {"friction": 50.0}
    with pytest.raises(InputError, match="friction"):
        RunConfig.build({"name": "x", "car": values}, "run.json")


def test_car_files_round_trip(tmp_path: Path) -> None:
    for car in CARS.values():
        path = tmp_path / "car.yaml"
        path.write_text(car.to_yaml(["a comment"]))
        assert Car.load(path) == car
