"""Re-scoring: a run's own reward function gives the recorded rewards again, and what traces cannot tell is told."""

import math
from pathlib import Path

import numpy as np
import pytest
from scipy import stats

from contract.errors import InputError, RewardError
from contract.state import HELD
from contract.stores.local import LocalStore
from simapp.reward import RewardFunction
from tests import recorded
from undercut.analysis.loading import load_run
from undercut.analysis.log import Kind, RunLog
from undercut.analysis.places import SECTORS
from undercut.analysis.rescoring import params_of, rescore

EVERYTHING = """
def reward_function(params):
    behind, ahead = params["closest_waypoints"]
    x, y = params["waypoints"][ahead]
    reward = params["distance_from_center"] + 0.5 * params["projection_distance"] + 0.1 * params["progress"]
    reward += 0.01 * params["steps"] + params["sim_time"] + params["heading"] / 180.0 + params["steering_angle"] / 30.0
    reward += params["speed"] + params["track_width"] + params["track_length"] + x - params["x"] + y - params["y"]
    reward += behind + 3 * params["is_left_of_center"] + 5 * params["all_wheels_on_track"]
    return reward + 7 * params["is_offtrack"] + 11 * params["is_crashed"] + 13 * params["is_reversed"]
"""
TOLERANCE = 1e-9
"""Of a step's reward. Simtraces hold positions, progress, speed and reward with all their digits; heading and steering
go through degrees and back, and the clock through the run's own, each of which costs a few units in the last place."""


def function(folder: Path, text: str, name: str = "reward.py") -> RewardFunction:
    path = folder / name
    path.write_text(text)
    return RewardFunction.load(path)


@pytest.fixture(scope="module")
def log(tmp_path_factory: pytest.TempPathFactory) -> RunLog:
    root = tmp_path_factory.mktemp("runs")
    tracks = recorded.add_circle(root / "tracks")
    reward = function(root, EVERYTHING).instance()
    return load_run(recorded.record(root / "oval", recorded.episodes(reward)), "oval", [tracks])


def test_the_runs_own_function_gives_the_recorded_rewards(log: RunLog, tmp_path: Path) -> None:
    result = rescore(log, function(tmp_path, EVERYTHING).instance())
    assert len(result.episodes) == len(log.episodes)
    assert sum(len(it.old) for it in result.episodes) > 1000
    for it in result.episodes:
        np.testing.assert_allclose(it.new, it.old, rtol=0.0, atol=TOLERANCE)
    assert result.largest_difference <= TOLERANCE
    assert result.rank_correlation == pytest.approx(1.0, abs=1e-3)  # two laps are alike but for the last bit of a sum
    assert result.unknown_read == []
    np.testing.assert_allclose(result.by_sector[:, 0], result.by_sector[:, 1])


def test_of_all_27_params_only_those_of_objects_are_not_the_recorded_ones(tmp_path: Path) -> None:
    seen: list[dict[str, object]] = []

    def noting(params: dict[str, object]) -> float:
        seen.append(dict(params))
        return 1.0

    recorded.add_circle(tmp_path / "tracks")
    driven = recorded.driven(3, 0.2, noting)
    store = recorded.record(tmp_path / "one", ([[driven]], [[]], []))
    log = load_run(store, "one", [tmp_path / "tracks"])
    assert log.track is not None
    rebuilt = list(params_of(log.track, False, log.of(Kind.training)[0]))
    assert len(rebuilt) == len(seen) + 1  # it is not called in the first step, `prepare`
    for ours, theirs in zip(rebuilt[1:], seen, strict=True):
        assert list(ours) == list(theirs)
        assert len(ours) == 27
        for name, value in theirs.items():
            if isinstance(value, float):
                assert ours[name] == pytest.approx(value, abs=TOLERANCE), name
            else:
                assert ours[name] == value, name


def test_sums_correlations_ranks_and_sectors(log: RunLog, tmp_path: Path) -> None:
    """A reward of the progress made is ranked as the progress; oracle: scipy and sums by hand."""
    result = rescore(
        log, function(tmp_path, "def reward_function(params):\n    return params['progress']\n").instance()
    )
    held = [np.isin(it.episode.steps["status"], HELD) for it in result.episodes]
    new = [
        float(it.episode.steps["progress_pct"][~rests].sum()) for it, rests in zip(result.episodes, held, strict=True)
    ]
    old = [math.fsum(it.episode.steps["reward"]) for it in result.episodes]
    np.testing.assert_allclose([it.new.sum() for it in result.episodes], new, rtol=1e-12)
    progress = [it.episode.completion_pct for it in result.episodes]
    assert result.new.progress == pytest.approx(stats.pearsonr(new, progress).statistic)
    assert result.old.progress == pytest.approx(stats.pearsonr(old, progress).statistic)
    laps = [i for i, it in enumerate(result.episodes) if it.episode.complete]
    times = [result.episodes[i].episode.time_s for i in laps]
    assert result.new.lap_time == pytest.approx(stats.pearsonr([new[i] for i in laps], times).statistic)
    assert result.rank_correlation == pytest.approx(stats.spearmanr(old, new).statistic)
    order_old, order_new = (sorted(range(len(old)), key=lambda i: -values[i]) for values in (old, new))
    for episode, before, after in result.movers(5):
        place = next(i for i, it in enumerate(result.episodes) if it.episode is episode)
        assert (before, after) == (order_old.index(place) + 1, order_new.index(place) + 1)
    rows = np.concatenate([it.episode.steps for it in result.episodes])
    rows["progress_pct"][np.isin(rows["status"], HELD)] = 0.0  # no reward
    angle = np.arctan2(rows["y_m"], rows["x_m"]) / (2.0 * np.pi) % 1.0
    # chords and circle differ at the sectors' edges, where the 30 rows of a car that is held count here or there
    rests = (angle * SECTORS)[np.isin(rows["status"], HELD)]
    edges = np.round(rests[np.abs(rests - np.round(rests)) < 0.1])
    clear = {sector for sector in range(SECTORS) if not np.isin((sector, sector + 1), edges).any()}
    assert len(clear) >= 2
    for sector in clear:
        here = (angle * SECTORS > sector) & (angle * SECTORS < sector + 1)
        assert result.by_sector[sector, 1] == pytest.approx(rows["progress_pct"][here].mean(), rel=0.02)


def test_params_that_no_trace_tells_are_told_when_they_are_read(log: RunLog, tmp_path: Path) -> None:
    body = "len(params['objects_speed']) + float(params.get('object_in_camera'))"
    text = f"def reward_function(params):\n    return {body}\n"
    result = rescore(log, function(tmp_path, text).instance())
    assert result.unknown_read == ["objects_speed", "object_in_camera"]


def test_a_failing_function_shows_its_traceback_and_params(log: RunLog, tmp_path: Path) -> None:
    text = "def reward_function(params):\n    return 1.0 / (params['steps'] - 3.0)\n"
    with pytest.raises(RewardError) as error:
        rescore(log, function(tmp_path, text).instance())
    message = str(error.value)
    assert "reward.py, line 2: ZeroDivisionError" in message
    assert "Traceback" in message
    assert "  steps: 3.0" in message


def test_a_constant_reward_has_no_ranks(log: RunLog, tmp_path: Path) -> None:
    constant = "def reward_function(params):\n    return 0.0\n"
    result = rescore(log, function(tmp_path, constant).instance())
    assert result.rank_correlation is None
    assert (result.new.progress, result.new.lap_time) == (None, None)


def test_without_track_or_traces_it_says_what_to_do(tmp_path: Path) -> None:
    store = recorded.record(tmp_path / "oval", ([[recorded.driven(0, 0.3)]], [[]], []))
    reward = function(tmp_path, "def reward_function(params):\n    return 1.0\n").instance()
    with pytest.raises(InputError, match="--track"):
        rescore(load_run(store, "oval", []), reward)
    recorded.add_circle(tmp_path / "tracks")
    for key in store.list("iteration-data/"):
        store.delete(key)
    with pytest.raises(InputError, match="no simtraces"):
        rescore(load_run(LocalStore(store.root), "oval", [tmp_path / "tracks"]), reward)
