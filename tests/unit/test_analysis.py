"""Logs of a recorded run: the numbers against those that drove it, pandas and deepracer-utils."""

import itertools
import math
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from deepracer.logs import AnalysisUtils, DeepRacerLog
from hypothesis import given, settings
from hypothesis import strategies as st

from contract import artifacts
from contract.rollout import Rollout
from contract.state import BROKEN, STEP_DTYPE, STEP_S, EpisodeStatus, FloatArray
from contract.stores.local import LocalStore
from tests import recorded
from tests.unit.log_support import copy, load
from undercut.analysis.findings import LogFinding, findings
from undercut.analysis.log import EVALUATIONS, Kind, RunLog, fastest, rows_of
from undercut.analysis.measures import iteration_table, jumps, sector_times, smoothness
from undercut.analysis.places import SECTORS, LapScale, action_use, densest, exits, heat_maps

Driven = tuple[list[list[Rollout]], list[list[Rollout]], list[Rollout]]

__all__ = ["copy"]


@pytest.fixture(scope="module")
def driven() -> Driven:
    return recorded.episodes()


@pytest.fixture(scope="module")
def store(driven: Driven, tmp_path_factory: pytest.TempPathFactory) -> LocalStore:
    root = tmp_path_factory.mktemp("runs")
    recorded.add_circle(root / "tracks")
    return recorded.record(root / "oval", driven)


def frame(store: LocalStore, kind: str) -> pd.DataFrame:
    """Simtraces of a kind, by pandas."""
    pattern = {
        "training": "iteration-data/training/training-simtrace/*.csv",
        "check": "iteration-data/training/evaluation-simtrace/*.csv",
        "evaluation": "iteration-data/evaluation/evaluation-simtrace/*.csv",
    }[kind]
    parts = [
        pd.read_csv(path).assign(iteration=int(path.name.split("-")[0])) for path in sorted(store.root.glob(pattern))
    ]
    return pd.concat(parts, ignore_index=True)


def test_a_whole_run_is_read_without_a_word(store: LocalStore, driven: Driven) -> None:
    log = load(store)
    assert log.problems == ()
    assert log.track is not None
    assert (log.track.name, log.is_reversed) == ("circle", False)
    training, checks, laps = driven
    for kind, expected in (
        (Kind.training, [it for part in training for it in part]),
        (Kind.check, [it for part in checks for it in part]),
        (Kind.evaluation, laps),
    ):
        found = log.of(kind)
        assert len(found) == len(expected)
        for episode, rollout in zip(found, expected, strict=True):
            assert episode.outcome == rollout.status
            assert episode.completion_pct == rollout.progress_pct
            assert episode.reward == pytest.approx(math.fsum(rollout.rewards))
            assert episode.time_s == pytest.approx(rollout.time_s, abs=6e-4), "metrics are in whole milliseconds"
            np.testing.assert_array_equal(episode.actions, rollout.actions)
    assert log.updates["steps"].tolist() == np.cumsum([sum(map(len, part)) for part in training]).tolist()
    assert log.updates["kl_divergence"].tolist() == [0.01, 0.02, 0.03]


def test_the_table_of_iterations_is_what_pandas_computes(store: LocalStore) -> None:
    table = iteration_table(load(store))
    by_episode = frame(store, "training").groupby(["iteration", "episode"])
    rewards = by_episode["reward"].sum().groupby("iteration")
    progress = by_episode["progress"].last().groupby("iteration")
    ended = by_episode["episode_status"].last()
    checks = frame(store, "check").groupby(["iteration", "episode"])
    np.testing.assert_allclose([row.reward or 0 for row in table], rewards.mean())
    np.testing.assert_allclose([row.reward_deviation or 0 for row in table], rewards.std())
    np.testing.assert_allclose([row.completion_pct or 0 for row in table], progress.mean())
    assert [row.steps for row in table] == frame(store, "training").groupby("iteration").size().tolist()
    assert [row.complete for row in table] == (ended == "lap_complete").groupby("iteration").sum().tolist()
    assert [row.exits for row in table] == (ended == "off_track").groupby("iteration").sum().tolist()
    np.testing.assert_allclose(
        [row.check_completion_pct or 0 for row in table], checks["progress"].last().groupby("iteration").mean()
    )
    times = checks["tstamp"].agg(lambda it: it.iloc[-1] - it.iloc[0] + STEP_S)
    complete = checks["episode_status"].last() == "lap_complete"
    best = times[complete].groupby("iteration").min()
    ours = {row.iteration: row.check_best_lap_s for row in table if row.check_best_lap_s is not None}
    assert ours == pytest.approx(best.to_dict(), abs=6e-4)
    assert ours, "some evaluation lap is complete"


def test_episodes_are_those_of_deepracer_utils(store: LocalStore) -> None:
    tool = DeepRacerLog(str(store.root / "iteration-data" / "training"))
    tool.load_training_trace(ignore_metadata=True)
    summary = AnalysisUtils.simulation_agg(tool.dataframe(), secondgroup="unique_episode")
    episodes = load(store).of(Kind.training)
    np.testing.assert_allclose(summary["reward"], [it.reward for it in episodes])
    # its progress is the furthest of an episode, and not where it ended
    np.testing.assert_allclose(summary["progress"], [it.steps["progress_pct"].max() for it in episodes])
    # it measures from the first row to the last, one step less than an episode lasts
    np.testing.assert_allclose(summary["time"], [it.time_s - STEP_S for it in episodes], atol=6e-4)
    best = fastest(episodes, 1)[0]
    assert summary[summary["complete"] == 1]["time"].min() == pytest.approx(best.time_s - STEP_S, abs=6e-4)


def test_smoothness_is_what_pandas_computes(store: LocalStore) -> None:
    rows = frame(store, "training")
    for episode in load(store).of(Kind.training)[:6]:
        mine = rows[rows["episode"] == episode.number]
        smooth = smoothness(episode.steps)
        assert smooth is not None
        assert smooth.steering_deg == pytest.approx(mine["steer"].diff().abs().mean())
        assert smooth.speed_mps == pytest.approx(mine["throttle"].diff().abs().mean())
        metres = np.hypot(mine["X"].diff(), mine["Y"].diff())
        assert smooth.driven_speed_mps == pytest.approx((metres / mine["tstamp"].diff()).mean())
        turned = [a for a in mine["steer"] if a]
        swings = sum(a * b < 0 for a, b in itertools.pairwise(turned))
        assert smooth.swings_per_s == pytest.approx(swings / len(mine) / STEP_S)
    assert smoothness(np.zeros(1, STEP_DTYPE)) is None


@pytest.mark.parametrize("kind", ["training", "evaluation"])
def test_exit_points_are_the_rows_whose_status_is_off_track(store: LocalStore, kind: str) -> None:
    rows = frame(store, kind)
    expected = rows[rows["episode_status"] == "off_track"]
    found = exits(load(store).of(Kind(kind)))
    assert len(expected) > 0
    np.testing.assert_array_equal(np.column_stack([found["x_m"], found["y_m"]]), expected[["X", "Y"]])
    assert set(found["status"]) <= {int(it) for it in BROKEN}


def test_resets_are_counted_and_their_penalties_are_in_the_lap_time(store: LocalStore) -> None:
    rows = frame(store, "evaluation")
    counts = rows[rows["episode_status"] == "off_track"].groupby("episode").size()
    laps = load(store).of(Kind.evaluation)
    assert {lap.number: lap.resets for lap in laps if lap.resets} == dict(
        zip(counts.index.astype(int) - 200, counts, strict=True)
    )
    for lap in laps:
        assert lap.time_s == pytest.approx(len(lap.steps) * STEP_S, abs=1e-3)
        paused = int((lap.steps["status"] == EpisodeStatus.pause).sum())
        assert paused == lap.resets * 30  # 2 s each


def test_sectors_and_action_use(store: LocalStore) -> None:
    log = load(store)
    scale, episodes = LapScale.of(log), log.of(Kind.training)
    use = action_use(log, episodes, scale)
    assert use is not None
    assert use.labels == ["-30° 2.0 m/s", "-15° 2.0 m/s", "0° 2.0 m/s", "+15° 2.0 m/s", "+30° 2.0 m/s"]
    np.testing.assert_allclose(use.by_sector.sum(axis=1), 1.0)
    assert use.overall.sum() == pytest.approx(1.0)
    rows = frame(store, "training")
    sector = np.floor((np.arctan2(rows["Y"], rows["X"]) / (2 * np.pi) % 1.0) * SECTORS).astype(int)
    expected = pd.crosstab(sector, rows["action"], normalize="index")
    # 240 chords stand for the circle: a place near a sector's edge may fall to either side
    np.testing.assert_allclose(use.by_sector, expected.to_numpy(), atol=0.02)
    np.testing.assert_allclose(use.overall, rows["action"].value_counts(normalize=True).sort_index())


def test_heat_maps_hold_all_time_and_reward(store: LocalStore) -> None:
    rows = rows_of(load(store).of(Kind.training))
    maps = heat_maps(rows)
    assert maps is not None
    assert maps.seconds.sum() == pytest.approx(len(rows) * STEP_S)
    steps = maps.seconds / STEP_S
    assert np.nansum(maps.reward * steps) == pytest.approx(rows["reward"].sum())
    row = rows[17]
    x, y = (
        np.searchsorted(maps.x_m, row["x_m"], side="right") - 1,
        np.searchsorted(maps.y_m, row["y_m"], side="right") - 1,
    )
    here = (np.floor(rows["x_m"] / 0.1) == np.floor(row["x_m"] / 0.1)) & (
        np.floor(rows["y_m"] / 0.1) == np.floor(row["y_m"] / 0.1)
    )
    assert maps.reward[y, x] == pytest.approx(rows["reward"][here].mean())


def test_sector_times_add_up_to_the_lap(store: LocalStore) -> None:
    log = load(store)
    times = sector_times(log.of(*EVALUATIONS), LapScale.of(log))
    assert times
    for it in times:
        assert it.seconds.sum() == pytest.approx(it.lap.time_s, abs=1e-3)


@settings(max_examples=200)
@given(st.lists(st.floats(0.0, 1.0, exclude_max=True), min_size=1, max_size=40))
def test_the_densest_stretch_is_found_by_looking_at_all(places: list[float]) -> None:
    """Oracle: a window begins at each place in turn."""
    shares: FloatArray = np.array(places)
    cluster = densest(shares)
    assert cluster is not None
    counts = [int(np.count_nonzero((shares - begin) % 1.0 <= 0.1)) for begin in shares]
    assert abs(cluster.count - max(counts)) <= 1, "of places exactly 0.1 apart rounding decides"
    assert 0.0 <= cluster.share_of_lap <= 0.1 + 1e-9
    assert cluster.total == len(places)


def said(log: RunLog) -> dict[str, LogFinding]:
    return {finding.text: finding for finding in findings(log)}


def test_findings_state_rule_and_numbers(store: LocalStore) -> None:
    log = load(store)
    texts = said(log)
    together = "\n".join(texts)
    assert "Entropy fell below 0.80 nats, half of its first value, at iteration 2 (0.60)" in together
    first = next(it for it in log.of(Kind.training) if it.complete)
    assert (
        f"The first complete lap in training was episode {first.number + 1}, in iteration {first.iteration}" in together
    )
    assert "3 of 3 laps of the evaluation are complete" in together
    assert all(finding.rule for finding in texts.values())


def test_where_exits_cluster_is_told_with_its_waypoints(copy: LocalStore) -> None:
    """All exits are moved to one corner, a quarter round the track."""
    for key in (artifacts.TRAINING_METRICS, artifacts.training_simtrace(2), artifacts.ITERATIONS):
        copy.delete(key)
    total = 0
    for iteration in (0, 1):
        path = copy.root / artifacts.training_simtrace(iteration)
        rows = pd.read_csv(path, dtype=str)
        out = (rows["episode_status"] == "off_track").to_numpy()
        angle = np.linspace(np.pi / 2, np.pi / 2 + 0.3, int(out.sum()))
        rows.loc[out, "X"], rows.loc[out, "Y"] = (3.0 * np.cos(angle)).astype(str), (3.0 * np.sin(angle)).astype(str)
        rows.to_csv(path, index=False)
        total = int(out.sum())
    (text,) = [it for it in said(load(copy)) if "leave the road" in it]
    assert total >= 5
    # 240 waypoints round the circle: a quarter is 60, and 0.3 of its 6.28 radians are 11
    assert f"between waypoints 60 and 71: {total} of {total} times in iteration 1 (100 %), on 5 % of the lap" in text
    assert "stands out" in text


def test_a_jump_onto_another_part_of_the_road_is_told(store: LocalStore) -> None:
    """In one lap the progress of half a lap is made in one step; a reset's jump is none."""
    log = load(store)
    assert not any(len(jumps(episode)) for episode in log.episodes)
    laps = log.of(Kind.evaluation)
    steps = laps[0].steps.copy()
    steps["progress_pct"][20:] += 50.0
    changed = [replace(laps[0], steps=steps), *laps[1:]]
    np.testing.assert_array_equal(jumps(changed[0]), steps[20:21])
    (text,) = [it for it in said(replace(log, episodes=tuple(changed))) if "progress jumped" in it]
    place = LapScale.of(log).waypoint(float(LapScale.of(log).shares(steps[20:21])[0]))
    assert "In 1 of 3 episodes, 1 of them complete laps" in text
    assert f"at waypoint {place}." in text
