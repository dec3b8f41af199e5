"""`undercut race` and `tournament` with untrained runs that go round in circles; and rollouts in both directions."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from rich.console import Console
from typer.testing import CliRunner

from contract import artifacts
from contract.config import RunConfig
from contract.errors import CheckpointError, InputError
from contract.protocols import Phase, RolloutOrder
from contract.state import BROKEN, HELD, EpisodeStatus
from tests.frozen import RADIUS_M, add_track, untrained_run
from tests.unit.synthetic import drive
from trainer.checkpoints import Checkpoints
from undercut.backends.local.rollouts import LocalRollouts
from undercut.cli.main import app
from undercut.races.params import race_of
from undercut.races.races import Standing, _rank, grid_of, head_to_head, tournament
from undercut.runs.statistics import lap_statistics


@pytest.fixture
def racers(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    add_track()
    return tmp_path


def undercut(*arguments: str) -> str:
    quick = ["--no-video"] if arguments[0] == "race" else []
    result = CliRunner().invoke(app, [*arguments, *quick], catch_exceptions=False)
    assert result.exit_code == 0, result.output
    return result.output


def result_of(name: str) -> Any:
    return json.loads(Path(artifacts.race_result(name)).read_text())


@pytest.mark.slow
def test_the_faster_run_wins_from_either_side_and_leaves_its_files(racers: Path) -> None:
    untrained_run("slow", 1.0)
    untrained_run("fast", 2.0)
    results = {}
    old = Path(artifacts.race_video("two", "fast", "front"))
    old.parent.mkdir(parents=True)
    old.write_bytes(b"laps of an earlier race of this name")
    for name, order in (("one", ("slow", "fast")), ("two", ("fast", "slow"))):
        table = undercut("race", *order, "--laps", "2", "--name", name)
        assert old.exists() == (name == "one")
        assert "1/2" not in table
        result = results[name] = result_of(name)
        assert (result["winner"], result["laps"], result["is_continuous"]) == ("fast", 2, False)
        assert {name: car["latency_steps"] >= 0 for name, car in result["cars"].items()} == {"slow": True, "fast": True}
        first, second = result["standings"]
        assert (first["run"], first["heats_won"], first["checkpoint"]) == ("fast", 2, 3)
        assert (second["run"], second["heats_won"], second["crashes"]) == ("slow", 0, 0)
        # the polyline's lap, less the front point's lead at the start, and what it takes to be at speed
        lap_m = 60 * 2 * RADIUS_M * np.sin(np.pi / 60)
        assert first["laps"]["mean_lap_time_s"] == pytest.approx((lap_m - 0.14) / 2.0 + 0.25, rel=0.1)
        assert second["laps"]["mean_lap_time_s"] is None  # a heat ends when the first car is done
        assert first["total_time_s"] == pytest.approx(2 * first["laps"]["mean_lap_time_s"])
        for racer in ("slow", "fast"):
            rows = json.loads(Path(artifacts.race_metrics(name, racer)).read_text())["metrics"]
            done = 100 if racer == "fast" else pytest.approx(50, abs=12)  # one of them starts a row ahead
            assert [row["completion_percentage"] for row in rows] == [done, done]
            laps = Path(artifacts.race_simtrace(name, racer)).read_text().count("lap_complete")
            assert laps == (2 if racer == "fast" else 0)
            assert Path(artifacts.race_plot(name, racer)).read_bytes().startswith(b"\x89PNG")
        assert "HEAD_TO_MODEL" in Path(artifacts.race_params(name)).read_text()
    again = undercut("race", "slow", "fast", "--laps", "2", "--name", "one")
    assert result_of("one") == results["one"]
    assert "fast" in again


@pytest.mark.slow
@pytest.mark.parametrize("count", [2, 3, 4])
def test_a_tournament_ranks_by_speed(racers: Path, count: int) -> None:
    speeds = {"a": 0.7, "b": 2.4, "c": 1.0, "d": 1.6}
    names = list(speeds)[:count]
    for name in names:
        untrained_run(name, speeds[name])
    table = undercut("tournament", *names, "--laps", "1", "--name", "cup")
    ranking = result_of("cup")["ranking"]
    # two rounds: b beats a, then c (or the winner of c and d); losers of a round are ranked by their lap
    assert ranking == {2: ["b", "a"], 3: ["b", "c", "a"], 4: ["b", "d", "c", "a"]}[count]
    assert all(name in table for name in names)
    rounds = sorted(path.name for path in Path("races").iterdir())
    assert (
        rounds
        == {
            2: ["cup", "cup-round1-a-b"],
            3: ["cup", "cup-round1-a-b", "cup-round2-c-b"],
            4: ["cup", "cup-round1-a-b", "cup-round1-c-d", "cup-round2-b-d"],
        }[count]
    )


def test_a_reward_that_fails_costs_its_racer_nothing_and_the_others_neither(racers: Path) -> None:
    untrained_run("slow", 1.0)
    untrained_run("fast", 2.4, reward="1 / (params['progress'] < 3.0)")
    told = undercut("tournament", "slow", "fast", "--laps", "2", "--name", "cup")
    for line in (
        "racer fast: its reward failed",
        "runs/fast/reward_function.py, line 2: ZeroDivisionError",
        "Traceback",
    ):
        assert line in told
    assert told.count("Traceback") == 1
    assert result_of("cup")["ranking"] == ["fast", "slow"]
    assert result_of("cup")["races"] == [{"race": "cup-round1-slow-fast", "winner": "fast"}]
    result = result_of("cup-round1-slow-fast")
    assert list(result["reward_failures"]) == ["fast"]
    assert result["standings"][0]["laps"]["complete"] == 2
    rewards = pd.read_csv(artifacts.race_simtrace("cup-round1-slow-fast", "fast"))["reward"]
    assert {0.0, 1.0} == set(rewards)


def test_what_an_earlier_race_or_tournament_of_that_name_left_goes(racers: Path) -> None:
    for name, speed in (("a", 2.4), ("b", 1.0), ("c", 1.5)):
        untrained_run(name, speed)
    notes = Path("races/race/b/notes.txt")
    limits = RunConfig.model_validate({"name": "race", "track": "ring", "evaluation": {"max_lap_steps": 20}})
    for first, second in ("ab", "bb", "ca"):
        params = race_of([first, second])
        tournament(grid_of(params, "best"), limits.model_copy(update={"name": "cup"}), Console(quiet=True))
        head_to_head(grid_of(params, "best"), limits, Console(quiet=True))
        notes.parent.mkdir(exist_ok=True)
        notes.write_text("why b lost")
        assert sorted(path.name for path in Path("races").iterdir()) == [
            "cup",
            f"cup-round1-{first}-{second}{'-2' * (first == second)}",
            "race",
        ]
    assert sorted(path.name for path in Path("races/race").iterdir()) == ["a", "b", "c", "race.rec", "result.json"]
    assert list(Path("races/race/b").iterdir()) == [notes]


def test_a_tournament_without_a_checkpoint_ends_before_its_first_race(racers: Path) -> None:
    for name in "abc":
        untrained_run(name, 1.0).store.delete(artifacts.DEEPRACER_CHECKPOINTS if name == "c" else "nothing")
    with pytest.raises(CheckpointError, match="run c has no checkpoint yet"):
        undercut("tournament", "a", "b", "c", "--laps", "1")
    assert not Path("races").exists()


@pytest.mark.slow
def test_a_run_races_itself_and_three_more_at_once(racers: Path) -> None:
    untrained_run("a", 1.5)
    undercut("race", "a", "a", "a", "a", "--laps", "1", "--continuous", "--seed", "4")
    result = result_of("race")
    assert sorted(s["racer"] for s in result["standings"]) == ["a", "a-2", "a-3", "a-4"]
    assert sorted(s["folder"] for s in result["standings"]) == ["a", "a-2", "a-3", "a-4"]
    assert result["is_continuous"] is True


@pytest.mark.slow
def test_domain_randomisation_of_a_race_file_has_an_effect(racers: Path) -> None:
    for name in ("a", "b"):
        untrained_run(name, 1.5)
    totals = []
    for enabled in ("False", "True"):
        Path("race.yaml").write_text(
            f'MODEL_S3_PREFIX:\n  - "a"\n  - "b"\nENABLE_DOMAIN_RANDOMIZATION: {enabled}\nNUMBER_OF_TRIALS: 1\n'
        )
        undercut("race", "--params", "race.yaml")
        totals.append([s["total_time_s"] for s in result_of("race")["standings"]])
    assert totals[0] != totals[1]


@pytest.mark.parametrize("verb", ["race", "tournament"])
def test_who_may_race(racers: Path, verb: str) -> None:
    run = untrained_run("a", 1.0)
    with pytest.raises(InputError, match=r"\['a'\](.|\n)*two runs or more"):
        undercut(verb, "a")
    with pytest.raises(InputError, match=r"'nobody'(.|\n)*there are: a(.|\n)*undercut train nobody"):
        undercut(verb, "a", "nobody")
    if verb == "race":
        with pytest.raises(InputError, match=r"racers: 5(.|\n)*2 to 4"):
            undercut(verb, *["a"] * 5)
    run.store.delete(artifacts.DEEPRACER_CHECKPOINTS)
    with pytest.raises(CheckpointError, match="run a has no checkpoint yet"):
        undercut(verb, "a", "a")
    assert not (racers / artifacts.race_folder(verb)).exists()


def test_a_model_of_other_sensors_does_not_race(racers: Path) -> None:
    for name in ("a", "b"):
        run = untrained_run(name, 1.0)
    text = json.loads(run.store.get(artifacts.MODEL_METADATA))
    text["sensor"].append("LIDAR")
    run.store.put(artifacts.MODEL_METADATA, json.dumps(text).encode())
    with pytest.raises(
        InputError, match=r"model\.pb(.|\n)*LIDAR(.|\n)*model_metadata\.json that the model was trained"
    ):
        undercut("race", "a", "b")


def standing(name: str, *laps: tuple[EpisodeStatus, float, int]) -> Standing:
    """Laps: how they ended, how far they got, and how many steps they took."""
    driven = [drive(k, end, progress_pct=pct, length=steps) for k, (end, pct, steps) in enumerate(laps)]
    return Standing(name, name, name, 0, sum(lap.time_s for lap in driven), 0, 0, lap_statistics(driven))


def test_more_laps_win_then_more_progress_then_less_time() -> None:
    complete, crashed = EpisodeStatus.lap_complete, EpisodeStatus.crashed
    placed = [
        standing("quick", (complete, 100.0, 90), (complete, 100.0, 90)),
        standing("steady", (complete, 100.0, 100), (complete, 100.0, 95)),
        standing("nearly", (complete, 100.0, 90), (crashed, 90.0, 200)),
        standing("gave up soon", (complete, 100.0, 90), (crashed, 10.0, 5)),
        standing("one", (complete, 100.0, 40)),
        standing("far", (crashed, 80.0, 70), (crashed, 40.0, 70)),
        standing("near", (crashed, 60.0, 10)),
    ]
    assert [s.folder for s in sorted((placed[k] for k in (3, 0, 6, 2, 5, 1, 4)), key=_rank)] == [
        s.folder for s in placed
    ]


@pytest.mark.parametrize(
    ("resets", "counts", "pauses"),
    [(0, (1, 1), []), (3, (4, 4), [(30 - i) / 15 for i in range(1, 31)] * 3)],
)
def test_an_evaluation_by_a_file_counts_each_break_of_a_rule_and_logs_each_pause(
    racers: Path, resets: int, counts: tuple[int, int], pauses: list[float]
) -> None:
    """Straight on from a circle: off the road, two seconds held, off again; by hand from the file."""
    untrained_run("a", 2.0, 0.0, "7.0")
    text = f'JOB_TYPE: EVALUATION\nNUMBER_OF_TRIALS: "2"\nNUMBER_OF_RESETS: "{resets}"\nOFF_TRACK_PENALTY: "2.0"\n'
    Path("evaluation_params.yaml").write_text(text + 'IS_CONTINUOUS: "False"\n')
    undercut("evaluate", "a", "--params", "evaluation_params.yaml", "--no-video")
    rows = json.loads(Path("runs/a/evaluation_metrics.json").read_text())["metrics"]
    assert [(row["off_track_count"], row["reset_count"]) for row in rows] == [counts] * 2
    assert [(row["crash_count"], row["episode_status"]) for row in rows] == [(0, "Off track")] * 2
    trace = pd.read_csv("runs/a/iteration-data/evaluation/evaluation-simtrace/0-iteration.csv")
    for _, lap in trace.groupby("episode"):
        held = lap[lap["episode_status"] == "pause"]
        assert held["pause_duration"].tolist() == pytest.approx(pauses, abs=1e-9)
        assert not held["reward"].any()
        assert len(held.drop_duplicates(["X", "Y", "yaw"])) == resets  # it stands still
        assert lap["steps"].tolist() == list(range(1, len(lap) + 1))
        assert lap["pause_duration"].iloc[-1] == 0.0


REWARD = "1.0 * params['is_reversed'] + 10.0 * (params['waypoints'][1][1] > params['waypoints'][0][1])"


@pytest.mark.parametrize("reverse_dir", [pytest.param(False, marks=pytest.mark.slow), True])
def test_every_other_episode_goes_the_other_way_round(racers: Path, reverse_dir: bool) -> None:
    training = {"alternate_driving_direction": True, "number_of_resets": 1, "max_episode_steps": 60}
    # straight on: off the road, reset, off again
    run = untrained_run("a", 2.0, 0.0, REWARD, cars=3, reverse_dir=reverse_dir, training=training)
    source = LocalRollouts(run)
    pb = Checkpoints(run.store).load_policy(Checkpoints(run.store).best())  # type: ignore[arg-type]
    driven = source.collect(pb, RolloutOrder(Phase.training, 0, 5, 6))
    assert [rollout.episode for rollout in driven] == list(range(5, 11))
    for rollout in driven:
        turned = (rollout.episode % 2 == 1) != reverse_dir
        moving = ~np.isin(rollout.steps["status"], HELD)
        assert set(rollout.rewards[moving].tolist()) == {1.0 if turned else 10.0}
        first = rollout.steps[0]
        around = first["x_m"] * np.sin(first["heading_rad"]) - first["y_m"] * np.cos(first["heading_rad"])
        assert (around < 0) == turned
        assert [EpisodeStatus(int(s)) for s in rollout.steps["status"] if s in BROKEN] == [EpisodeStatus.off_track] * 2
        # resets in training cost no time by themselves, only the step in which the car is put back
        assert np.count_nonzero(rollout.steps["status"] == EpisodeStatus.pause) == 1
        assert not rollout.steps["pause_s"].any()
        angle = np.arctan2(first["y_m"], first["x_m"]) / (2 * np.pi)  # of the lap, where it started
        start = 0.05 * rollout.episode * (-1 if turned else 1)
        assert (angle - start + 0.5) % 1.0 - 0.5 == pytest.approx(0.03 * (-1 if turned else 1), abs=0.02)
    evaluated = source.collect(pb, RolloutOrder(Phase.evaluation, 0, 5, 2))
    for rollout in evaluated:
        moving = ~np.isin(rollout.steps["status"], HELD)
        assert set(rollout.rewards[moving].tolist()) == {1.0 if reverse_dir else 10.0}
    assert all((rollout.steps["pause_s"] == 0.0).all() for rollout in evaluated)
