"""Laps of the page: the newest ones, live or stored; where cars are at a time; what stands and drives around them."""

from io import BytesIO
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from contract import artifacts
from contract.config import RaceConfig, RunConfig, WorldConfig
from contract.errors import InputError
from contract.protocols import Phase, RolloutOrder
from contract.recording import RecordedEpisode, RecordedRacer, Recording
from contract.state import STEP_S, ObjectKind, TrackObjects
from contract.vehicle import FRONT_POINT_X_M
from tests.watching import TRACK, drive, write_race, write_run
from undercut.runs.live import LIVE, LiveSession, live_recording
from undercut.view.laps import COLUMNS, MAX_CARS, OBJECT_COLUMNS, LapReader, Laps, Show
from undercut.view.stage import Pictures, grid, objects_around
from undercut.view.subject import RECORDING, Subject, subjects

pytestmark = pytest.mark.usefixtures("racer")

MINE = Subject("run", "mine")


def read(subject: Subject, show: Show = "newest", iteration: int | None = None) -> Laps:
    laps = LapReader(subject, show, iteration).newest()
    assert laps is not None
    return laps


def test_stored_laps_of_a_run() -> None:
    write_run("mine", 3)
    assert (read(MINE).title, len(read(MINE).cars)) == ("Evaluation", 3)
    training = read(MINE, "training")
    assert (training.title, len(training.cars), training.phase) == ("Iteration 2, training", 4, Phase.training)
    assert read(MINE, "evaluation", 1).title == "Iteration 1, evaluation"
    assert training.cars[1].steps["x_m"] == pytest.approx(drive(9, 61).steps["x_m"])
    assert training.track is not None
    assert training.track.name == "paddock"


def test_a_run_without_laps_has_none() -> None:
    write_run("mine", 0)
    assert LapReader(MINE, "newest", None).newest() is None


def test_the_same_laps_are_read_once() -> None:
    store = write_run("mine", 1)
    reader = LapReader(MINE, "newest", None)
    assert reader.newest() is not None
    assert reader.newest() is None
    other = store.get(artifacts.training_evaluation_simtrace(0))
    store.put(artifacts.evaluation_simtrace(), other)
    again = reader.newest()
    assert again is not None
    assert len(again.cars) == 2


def test_live_laps_go_before_stored_ones_and_each_comes_once() -> None:
    write_run("mine", 2)
    reader = LapReader(MINE, "newest", None)
    with LiveSession("run", "training", RunConfig(name="mine"), print) as live:
        first = reader.newest()
        assert first is not None
        assert first.title == "Evaluation"  # nothing was driven yet
        for number in (2, 3):
            order = RolloutOrder(Phase.training, number, 0, MAX_CARS + 5)
            live.show(order, [drive(i, 30) for i in range(MAX_CARS + 5)])
        fresh = reader.newest()
        assert fresh is not None
        assert (fresh.title, len(fresh.cars), fresh.hidden) == ("Iteration 3, training", MAX_CARS, 5)
        assert reader.newest() is None


def test_where_cars_are_at_a_time() -> None:
    write_run("mine", 1, cars=2, steps=30)
    laps = read(MINE, "training")
    assert laps.rows(0.0).tolist() == [0, 0]
    assert laps.rows(10 * STEP_S).tolist() == [9, 9]
    assert laps.rows(1000.0).tolist() == [29, 30]
    assert laps.duration_s == pytest.approx(31 * STEP_S)
    x, y, heading = laps.poses(np.array([4, 7]))
    front = [(laps.cars[i].steps["x_m"][row], laps.cars[i].steps["y_m"][row]) for i, row in enumerate((4, 7))]
    assert x + FRONT_POINT_X_M * np.cos(heading) == pytest.approx([point[0] for point in front])
    assert y + FRONT_POINT_X_M * np.sin(heading) == pytest.approx([point[1] for point in front])


def test_columns_are_what_the_page_unpacks() -> None:
    write_run("mine", 1, cars=2, steps=30)
    laps = read(MINE, "training")
    values = np.frombuffer(laps.cars[0].columns(), "<f4")
    first = values[: 30 * len(COLUMNS)].reshape(len(COLUMNS), 30)
    assert first[COLUMNS.index("x_m")] == pytest.approx(laps.cars[0].steps["x_m"], rel=1e-6)
    assert first[COLUMNS.index("reward")].tolist() == list(range(1, 31))  # summed up
    assert values.size == 30 * len(COLUMNS)


def test_cars_of_a_heat_see_each_other_and_others_do_not() -> None:
    write_race("cup", ["ann", "bob"], heats=2)
    laps = read(Subject("race", "cup"))
    assert [car.label for car in laps.cars] == ["Ann, heat 1", "Bob, heat 1", "Ann, heat 2", "Bob, heat 2"]
    assert len({car.colour for car in laps.cars}) == 2
    around = objects_around(laps, laps.rows(1.0))
    assert around is not None
    assert (around.kind == ObjectKind.car).sum(axis=1).tolist() == [1, 1, 1, 1]
    x, _, _ = laps.poses(laps.rows(1.0))
    assert around.x_m[:, 0] == pytest.approx(x[[1, 0, 3, 2]])
    late = objects_around(laps, laps.rows(4.3))  # Ann has arrived: her car leaves the track
    assert late is not None
    assert (late.kind == ObjectKind.car).sum(axis=1).tolist() == [1, 0, 1, 0]


def test_laps_in_a_row_are_one_drive() -> None:
    write_race("cup", ["ann", "bob"], heats=3, is_continuous=True)
    laps = read(Subject("race", "cup"))
    assert [car.label for car in laps.cars] == ["Ann", "Bob"]
    assert [len(car.steps) for car in laps.cars] == [180, 210]
    assert np.diff(laps.cars[0].clock_s) == pytest.approx(STEP_S)


def test_laps_of_several_worlds_are_shown_in_turn_each_on_its_track() -> None:
    store = write_run("mine", 1, cars=5, steps=30)
    worlds = (WorldConfig(), WorldConfig(track="switchback"))
    store.put(artifacts.RUN_CONFIG, RunConfig(name="mine", worlds=worlds).to_json().encode())
    reader = LapReader(MINE, "training", None)
    turns = [reader.newest() for _ in range(3)]
    seen = [(it.title[-12:], it.track and it.track.name, [car.label[-1] for car in it.cars]) for it in turns if it]
    one, two = ("world 1 of 2", "paddock", ["0", "2", "4"]), ("world 2 of 2", "switchback", ["1", "3"])
    assert seen == [one, two, one]


def test_a_track_that_is_gone_is_a_problem_and_not_the_end() -> None:
    store = write_run("mine", 1)
    store.put(artifacts.RUN_CONFIG, RunConfig(name="mine", track="gone").to_json().encode())
    laps = read(MINE, "training")
    assert laps.track is None
    assert "gone" in laps.problem


@pytest.mark.parametrize(
    ("key", "content", "words"),
    [
        (artifacts.training_simtrace(1), b"episode,steps\n", "header of a simtrace"),
        (artifacts.training_simtrace(1), b"\xff\xfe", "UTF-8"),
        (artifacts.RUN_CONFIG, b"{", "JSON"),
    ],
)
def test_broken_files_are_errors_that_name_them(key: str, content: bytes, words: str) -> None:
    store = write_run("mine", 2)
    store.put(key, content)
    with pytest.raises(InputError, match=words) as caught:
        read(MINE, "training")
    assert key in str(caught.value)


def test_what_stands_and_drives_around_a_car_is_recorded_or_follows_from_the_race() -> None:
    store = write_run("mine", 1, cars=2, steps=30)
    boxes = RaceConfig(race_type="OBJECT_AVOIDANCE", number_of_obstacles=2)
    store.put(artifacts.RUN_CONFIG, RunConfig(name="mine", race=boxes).to_json().encode())
    laps = read(MINE, "training")
    around = objects_around(laps, laps.rows(1.0))
    assert around is not None
    assert (around.kind == ObjectKind.box).all()
    values = np.frombuffer(laps.cars[1].columns(), "<f4")
    assert values.size == 31 * (len(COLUMNS) + 2 * len(OBJECT_COLUMNS))
    bots = TrackObjects.none(30, 1)
    bots.kind[:], bots.x_m[:, 0], bots.colour[:] = ObjectKind.car, np.arange(30), 3
    episode = RecordedEpisode(0, 0, 0, drive(0, 30).steps, bots)
    recording = Recording("mine", TRACK, False, 17.0, (RecordedRacer("Ann", "mine", "Blue"),), (episode,))
    store.put(artifacts.evaluation_recording(), recording.to_bytes())
    laps = read(MINE, "evaluation")
    around = objects_around(laps, laps.rows(1.0))
    assert around is not None
    assert (around.kind.tolist(), around.x_m.tolist()) == ([[ObjectKind.car]], [[14.0]])


def test_cars_of_a_recorded_race_have_one_clock() -> None:
    """A car that sat out a penalty is shown where it was at that time, not after as many steps of its own."""
    store = write_race("cup", ["ann", "bob"], heats=1)
    waited = np.concatenate([np.arange(30), np.arange(60, 90)])
    racers = (RecordedRacer("Ann", "ann", "Blue"), RecordedRacer("Bob", "bob", "Red"))
    episodes = [
        RecordedEpisode(racer, 0, 0, drive(0, 60).steps, None, ticks)
        for racer, ticks in enumerate((np.arange(60), waited))
    ]
    store.put(RECORDING, Recording("cup", TRACK, False, 17.0, racers, tuple(episodes)).to_bytes())
    laps = read(Subject("race", "cup"))
    assert laps.rows(50 * STEP_S).tolist() == [50, 29]
    assert laps.rows(70 * STEP_S).tolist() == [59, 40]


def test_a_live_file_that_is_cut_off_is_an_error_that_names_it() -> None:
    write_run("mine", 0)
    with LiveSession("run", "training", RunConfig(name="mine"), print) as live:
        live.show(RolloutOrder(Phase.training, 0, 0, 1), [drive(0, 30)])
        path = live_recording(LIVE / "run" / "mine", Phase.training)
        path.write_bytes(path.read_bytes()[:-20])
        with pytest.raises(InputError, match=r"training\.rec"):
            LapReader(MINE, "newest", None).newest()


def test_the_list_has_live_ones_first_and_nothing_else_that_lies_there(racer: Path) -> None:
    write_run("old", 0)
    write_run("new", 0)
    write_race("cup", ["ann", "bob"], 1)
    for folder in ("runs/no run", "runs/empty", "races/.hidden"):
        (racer / folder).mkdir(parents=True)
        (racer / folder / "x").write_text("x")
    with LiveSession("run", "training", RunConfig(name="old"), print):
        found = subjects()
    assert found[0] == Subject("run", "old")
    assert set(found) == {Subject("run", "old"), Subject("run", "new"), Subject("race", "cup")}


@pytest.mark.parametrize("name", ["../mine", "..", "mine/..", "/etc", ".hidden", "", "a" * 65, "mine\0", "nobody"])
def test_names_stay_in_their_folder(name: str) -> None:
    write_run("mine", 0)
    with pytest.raises(InputError):
        Subject.named("run", name)


def test_pictures_show_every_car() -> None:
    write_run("mine", 1, cars=3)
    laps = read(MINE, "training")
    assert laps.track is not None
    pictures = Pictures(laps.track)
    rows = laps.rows(1.0)
    sheet = np.asarray(Image.open(BytesIO(pictures.cameras(laps, rows))))
    assert grid(3) == (2, 2)
    assert sheet.shape == (240, 320)
    assert sheet[:120, :160].std() > 10  # a road, not a blank
    assert sheet[125:235, 165:315].max() < 10  # there is no fourth car
    chase = np.asarray(Image.open(BytesIO(pictures.chase(laps, rows, 2))))
    assert chase.shape == (300, 400, 3)
    assert chase.std() > 10
