"""Several worlds in one run: which episode drives where, what a config and a YAML say, and what the simtraces keep."""

import dataclasses
from pathlib import Path

import numpy as np
import pytest
import yaml

from contract.config import RunConfig
from contract.errors import InputError
from contract.metadata import ModelMetadata
from contract.params import read_training_params, training_params
from contract.protocols import ActionDistribution, Phase, RolloutOrder
from contract.rollout import Rollout
from contract.simtrace import from_csv, to_csv
from contract.state import STEP_DTYPE, EpisodeStatus, Observations
from simapp.tracks import load_track
from undercut.backends.local import rollouts as local
from undercut.runs.run import DEFAULT_HYPERPARAMETERS, DEFAULT_METADATA, DEFAULT_REWARD, Run

TWO = {
    "name": "two",
    "track": "paddock",
    "race": {"number_of_obstacles": 2, "bot_car_speed": 0.7},
    "worlds": [{}, {"track": "grand_tour", "reverse_dir": True, "race": {"number_of_obstacles": 4}}],
}


def test_a_world_has_what_it_sets_and_the_runs_rest() -> None:
    config = RunConfig.build(TWO, "x")
    first, second = config.each_world()
    assert first == config.model_copy(update={"worlds": ()})
    assert (second.track, second.reverse_dir) == ("grand_tour", True)
    assert second.race == config.race.model_copy(update={"number_of_obstacles": 4})
    assert RunConfig.from_json(config.to_json(), "run.json") == config
    assert RunConfig.build({"name": "one"}, "x").each_world() == [RunConfig.build({"name": "one"}, "x")]


def test_a_world_that_breaks_a_rule_is_refused_with_its_key() -> None:
    with pytest.raises(InputError, match=r"worlds\.0\.trak.*\n.*\n.*did you mean 'track'"):
        RunConfig.build({"name": "x", "worlds": [{"trak": "paddock"}]}, "x")


@pytest.mark.parametrize("episodes", [range(7), range(3, 20)])
def test_parts_of_an_order_keep_every_episode_once(episodes: range) -> None:
    order = RolloutOrder(Phase.training, 2, episodes.start, len(episodes), 0.5)
    parts = order.by(lambda episode: episode % 3)
    assert sorted(episode for part in parts.values() for episode in part.episodes) == list(episodes)
    assert all(episode % 3 == group for group, part in parts.items() for episode in part.episodes)
    assert all((part.phase, part.iteration, part.epsilon) == (Phase.training, 2, 0.5) for part in parts.values())


LISTS = """
JOB_TYPE: TRAINING
WORLD_NAME: [paddock, grand_tour, paddock]
REVERSE_DIR: ["false", "false", "true"]
RACE_TYPE: [TIME_TRIAL, OBJECT_AVOIDANCE, TIME_TRIAL]
NUMBER_OF_OBSTACLES: ["0", "3", "0"]
CAR_COLOR: Red
"""


def test_lists_of_a_yaml_are_worlds_and_are_written_back() -> None:
    config = RunConfig.build({"name": "x", **read_training_params(LISTS, "p.yaml").values}, "p.yaml")
    assert [(it.track, it.reverse_dir, it.race.number_of_obstacles) for it in config.each_world()] == [
        ("paddock", False, 0),
        ("grand_tour", False, 3),
        ("paddock", True, 0),
    ]
    assert config.track == "paddock"
    written = training_params(config)
    assert yaml.safe_load(written)["WORLD_NAME"] == ["paddock", "grand_tour", "paddock"]
    again = RunConfig.build({"name": "x", **read_training_params(written, "p.yaml").values}, "p.yaml")
    assert again.each_world() == config.each_world()


def test_lists_of_different_lengths_are_refused_with_the_line() -> None:
    with pytest.raises(InputError, match=r"p\.yaml.*line 4.*REVERSE_DIR(.|\n)*as many values as WORLD_NAME, 3"):
        read_training_params(LISTS.replace('["false", "false", "true"]', '["false", "true"]'), "p.yaml")


def test_a_simtrace_has_the_length_of_each_episodes_track() -> None:
    steps = np.zeros(2, STEP_DTYPE)
    steps["status"] = EpisodeStatus.off_track
    steps["time_s"] = [0.1, 0.2]
    one = Rollout(0, 0, {}, {}, np.zeros(2, np.int64), steps, truncated=False)
    rollouts = [dataclasses.replace(one, episode=episode) for episode in (4, 5, 6, 7)]
    traces = from_csv(to_csv(rollouts, [10.0, 20.0, 30.0], 0.0), "x")
    assert [trace.track_length_m for trace in traces] == [20.0, 30.0, 10.0, 20.0]


class Even:
    """A policy that finds every action as good as any other; it stands in for the frozen graph."""

    def __init__(self, pb: bytes, metadata: ModelMetadata, *_: object) -> None:
        self._size = metadata.actions.size

    def distribution(self, observations: Observations) -> ActionDistribution:
        count = len(observations["FRONT_FACING_CAMERA"])
        return ActionDistribution(probabilities=np.full((count, self._size), 1.0 / self._size))

    def close(self) -> None:
        pass


def test_episodes_drive_in_their_worlds_whoever_drives_them(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(local, "FrozenPolicy", Even)
    values = {
        **TWO,
        "cars": 4,
        "worlds": [{}, {"track": "switchback"}, {"reverse_dir": True}],
        "training": {"alternate_driving_direction": True, "max_episode_steps": 40},
    }
    run = Run.create(RunConfig.build(values, "x"), DEFAULT_REWARD, DEFAULT_METADATA, DEFAULT_HYPERPARAMETERS)
    order = RolloutOrder(Phase.training, 0, 5, 9)
    one, other = local.LocalRollouts(run), local.LocalRollouts(run)
    whole = one.collect(b"", order)
    parts = [*other.collect(b"", order.of([6, 11, 13])), *other.collect(b"", order.of([5, 7, 8, 9, 10, 12]))]
    for a, b in zip(whole, sorted(parts, key=lambda rollout: rollout.episode), strict=True):
        assert a.episode == b.episode
        assert np.array_equal(a.steps, b.steps)
        assert np.array_equal(a.actions, b.actions)
    for rollout in whole:
        episode, first = rollout.episode, rollout.steps[:1]
        track = load_track("switchback" if episode % 3 == 1 else "paddock")
        assert track.on_road(first["x_m"], first["y_m"]).all()
        backwards = (episode // 3 % 2 == 1) != (episode % 3 == 2)
        driven = track.reversed() if backwards else track
        forward_rad = driven.project(first["x_m"], first["y_m"]).heading_rad
        assert np.cos(first["heading_rad"] - forward_rad)[0] > 0.9, episode
