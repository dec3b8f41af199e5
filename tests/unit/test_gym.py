"""The Gymnasium environments: Gymnasium's own checks, seeds, N cars against N single ones, spaces, errors."""

import json
import math
import subprocess
import sys
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import gymnasium
import numpy as np
import pytest
from gymnasium.utils.env_checker import check_env
from gymnasium.vector import AutoresetMode, SyncVectorEnv
from hypothesis import Phase, given, settings
from hypothesis import strategies as st

from contract.config import RunConfig
from contract.errors import InputError, RewardError
from simapp.gym import ENV_ID, DeepRacerEnv, DeepRacerVectorEnv
from tests.conftest import REPO
from tests.documented import block
from tests.support import hold_rad, ring

PARAMS = {
    *("all_wheels_on_track", "x", "y", "heading", "distance_from_center", "projection_distance", "progress", "steps"),
    *("speed", "steering_angle", "track_width", "track_length", "waypoints", "closest_waypoints", "is_left_of_center"),
    *("is_reversed", "is_crashed", "is_offtrack", "sim_time", "closest_objects", "objects_location"),
    *("objects_left_of_center", "objects_speed", "objects_heading", "objects_distance_from_center"),
    *("objects_distance", "object_in_camera"),
}
ACTIONS = [{"steering_angle": angle, "speed": speed} for angle in (-30, 0, 30) for speed in (1.0, 4.0)]
LIST = {"action_space": ACTIONS, "sensor": ["FRONT_FACING_CAMERA"], "version": "5"}
RANGES = {
    "action_space": {"steering_angle": {"low": -30, "high": 30}, "speed": {"low": 0.5, "high": 3.0}},
    "action_space_type": "continuous",
    "sensor": ["STEREO_CAMERAS", "LIDAR"],
    "version": "4",
}
BOXES = {"race_type": "OBJECT_AVOIDANCE", "number_of_obstacles": 2, "randomize_obstacle_locations": True}
CONFIGS: dict[str, dict[str, Any]] = {
    "list": {"metadata": LIST, "config": {"training": {"max_episode_steps": 20}}},
    "ranges": {
        "metadata": RANGES,
        "config": {
            "race": BOXES,
            "enable_domain_randomization": True,
            "training": {"max_episode_steps": 25, "alternate_driving_direction": True},
        },
    },
}


@pytest.fixture(scope="module")
def track(tmp_path_factory: pytest.TempPathFactory) -> str:
    path = tmp_path_factory.mktemp("tracks") / "ring.npy"
    np.save(path, ring(61, 1.5, 1.0))
    return str(path)


@pytest.fixture(autouse=True)
def no_warnings() -> Iterator[None]:
    with warnings.catch_warnings():
        warnings.simplefilter("error", UserWarning)
        yield


@pytest.mark.parametrize("kind", CONFIGS)
def test_gymnasiums_own_checks_pass(track: str, kind: str) -> None:
    env = gymnasium.make(ENV_ID, track=track, render_mode="rgb_array", **CONFIGS[kind])
    check_env(env.unwrapped)


def test_it_is_made_by_its_name_alone() -> None:
    """In a fresh process; TensorFlow and rl_coach are not needed."""
    program = (
        "import sys, gymnasium\n"
        "env = gymnasium.make('simapp.gym:undercut/DeepRacer-v0')\n"
        "observation, info = env.reset(seed=1)\n"
        "assert observation in env.observation_space, observation.shape\n"
        "assert env.action_space.n == 5 and not {'tensorflow', 'rl_coach', 'matplotlib'} & set(sys.modules)\n"
        "print(observation.shape, info)\n"
    )
    done = subprocess.run([sys.executable, "-c", program], cwd=REPO, check=False, capture_output=True, text=True)
    assert done.stdout == "(120, 160, 1) {'status': 'prepare', 'episode': 0}\n", done.stderr


def test_the_pages_example_runs_in_any_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    made: dict[str, Any] = {}
    exec(block("gym.md", "python"), made)
    assert made["env"].reset(seed=1)[1]["status"] == "prepare"
    assert made["cars"].num_envs == 20


def test_spaces_are_those_of_the_metadata(track: str) -> None:
    env = DeepRacerEnv(track, LIST)
    assert env.observation_space == gymnasium.spaces.Box(0, 255, (120, 160, 1), np.uint8)
    assert env.action_space == gymnasium.spaces.Discrete(len(ACTIONS))
    env = DeepRacerEnv(track, RANGES)
    cameras = gymnasium.spaces.Box(0, 255, (120, 160, 2), np.uint8)
    lidar = gymnasium.spaces.Box(0.0, 1.0, (64,), np.float32)
    assert env.observation_space == gymnasium.spaces.Dict({"STEREO_CAMERAS": cameras, "LIDAR": lidar})
    assert env.action_space == gymnasium.spaces.Box(-1.0, 1.0, (2,), np.float32)
    seen, _ = env.reset(seed=0)
    assert seen in env.observation_space
    env = DeepRacerEnv(track, {**LIST, "sensor": ["FRONT_FACING_CAMERA", "SECTOR_LIDAR"]})
    seen, _ = env.reset(seed=0)
    assert seen["SECTOR_LIDAR"].shape == (8,) and seen in env.observation_space


def same(a: Any, b: Any) -> bool:
    """Whether nested observations or infos are equal, bit for bit."""
    if isinstance(a, dict):
        return isinstance(b, dict) and a.keys() == b.keys() and all(same(a[key], b[key]) for key in a)
    if isinstance(a, np.ndarray) and a.dtype == object:
        return all(same(x, y) for x, y in zip(a.tolist(), b.tolist(), strict=True))
    return bool(np.array_equal(a, b))


def trajectory(env: DeepRacerEnv, seed: int, steps: int) -> list[Any]:
    env.action_space.seed(seed)
    found: list[Any] = [env.reset(seed=seed)]
    for _ in range(steps):
        found.append(env.step(env.action_space.sample()))
        if found[-1][2] or found[-1][3]:
            found.append(env.reset())
    return found


@pytest.mark.parametrize("kind", CONFIGS)
def test_the_same_seed_gives_the_same_trajectory(track: str, kind: str) -> None:
    """Also after other episodes, in the same environment and in another."""
    env, other = (DeepRacerEnv(track, **CONFIGS[kind]) for _ in range(2))
    first = trajectory(env, 3, 45)
    for again in (trajectory(env, 3, 45), trajectory(other, 3, 45)):
        assert all(all(map(same, a, b)) for a, b in zip(first, again, strict=True))
    different = trajectory(env, 4, 45)
    assert len(first) != len(different) or not all(all(map(same, a, b)) for a, b in zip(first, different, strict=True))


def test_a_step_says_what_the_reward_was_told(track: str) -> None:
    told: list[dict[str, Any]] = []

    def reward(params: dict[str, Any]) -> float:
        told.append({**params, "waypoints": list(params["waypoints"])})
        params["waypoints"].clear()  # a racer's function may do as it likes with its own
        return float(params["speed"] + params["steps"])

    env = DeepRacerEnv(track, LIST, reward)
    env.reset(seed=0)
    for step in range(1, 4):
        _, gained, terminated, truncated, info = env.step(3)
        assert set(info["params"]) == PARAMS and len(PARAMS) == 27
        # in the first step the car is held and the function is not called; what it would have been told is there
        assert info["params"]["steps"] == step
        assert len(told) == step - 1
        assert step == 1 or info["params"] == told[-1]
        assert gained == (0.0 if step == 1 else 4.0 + step)
        assert info["status"] == ("prepare" if step == 1 else "in_progress")
        assert (terminated, truncated) == (False, False)


@pytest.mark.parametrize(
    ("action", "limit", "status", "ends"),
    [(5, 400, "off_track", (True, False)), (2, 20, "time_up", (False, True))],
)
def test_terminated_and_truncated_never_merge(
    track: str, action: int, limit: int, status: str, ends: tuple[bool, bool]
) -> None:
    env = DeepRacerEnv(track, LIST, config={"training": {"max_episode_steps": limit}})
    env.reset(seed=0)
    for _ in range(limit):
        *_, terminated, truncated, info = env.step(action)
        if terminated or truncated:
            break
    assert ((terminated, truncated), info["status"]) == (ends, status)


def test_a_lap_terminates(track: str) -> None:
    hold = {"steering_angle": math.degrees(hold_rad(1.5, 2.0)), "speed": 2.0}
    env = DeepRacerEnv(track, {**LIST, "action_space": [hold, {**hold, "speed": 1.0}]})
    env.reset(seed=0)
    for _ in range(400):
        *_, terminated, truncated, info = env.step(0)
        if terminated:
            break
    assert (info["status"], info["params"]["progress"], truncated) == ("lap_complete", 100.0, False)


def test_two_cars_drive_as_two_single_environments(track: str) -> None:
    hold_side_by_side(track, 3, AutoresetMode.SAME_STEP, "list", 2)


@pytest.mark.slow
@settings(max_examples=12, phases=[Phase.generate])  # a failing example is short enough as it is
@given(
    seed=st.integers(0, 2**20),
    mode=st.sampled_from(list(AutoresetMode)),
    kind=st.sampled_from(list(CONFIGS)),
    cars=st.integers(1, 4),
)
def test_n_cars_drive_as_n_single_environments(
    track: str, seed: int, mode: AutoresetMode, kind: str, cars: int
) -> None:
    hold_side_by_side(track, seed, mode, kind, cars)


def hold_side_by_side(track: str, seed: int, mode: AutoresetMode, kind: str, cars: int) -> None:
    """Observations, rewards, ends and infos, step by step, in an autoreset mode."""
    ours = DeepRacerVectorEnv(cars, track, autoreset_mode=mode, **CONFIGS[kind])
    theirs = SyncVectorEnv([lambda: DeepRacerEnv(track, **CONFIGS[kind])] * cars, autoreset_mode=mode)
    assert ours.metadata["autoreset_mode"] == mode
    assert (ours.observation_space, ours.action_space) == (theirs.observation_space, theirs.action_space)
    ours.action_space.seed(seed)
    assert all(map(same, ours.reset(seed=seed), theirs.reset(seed=seed)))
    ended = 0
    for _ in range(32):
        actions = ours.action_space.sample()
        mine, other = ours.step(actions), theirs.step(actions)
        assert all(map(same, mine[:4], other[:4]))
        assert_same_infos(mine[4], other[4])
        over = mine[2] | mine[3]
        ended += int(over.sum())
        if mode == AutoresetMode.DISABLED and over.any():
            with pytest.raises(InputError, match="reset those first"):
                ours.step(actions)
            seen, infos = ours.reset(options={"reset_mask": over.copy()})
            expected, told = theirs.reset(options={"reset_mask": over.copy()})
            assert same(seen, expected)
            assert_same_infos(infos, told)
    assert ended


def assert_same_infos(mine: dict[str, Any], other: dict[str, Any]) -> None:
    """Values of the cars that have the key; Gymnasium leaves keys out that no car has."""
    for name, value in other.items():
        if name.startswith("_"):
            assert np.array_equal(mine[name], value), name
        elif isinstance(value, dict):
            assert_same_infos(mine[name], value)
        else:
            has = np.flatnonzero(other[f"_{name}"])
            assert all(same(mine[name][car], value[car]) for car in has), name
    assert all(not mine[f"_{name}"].any() for name in mine.keys() - other.keys() if not name.startswith("_"))


def test_pictures(track: str) -> None:
    env = DeepRacerVectorEnv(2, track, LIST, render_mode="rgb_array", render_view="topview", config={"race": BOXES})
    env.reset(seed=0)
    before = env.render()
    assert before is not None
    env.step(np.array([3, 3]))  # held
    env.step(np.array([3, 3]))
    after = env.render()
    assert after is not None and [picture.shape for picture in after] == [(480, 640, 3)] * 2
    assert all(not np.array_equal(a, b) for a, b in zip(before, after, strict=True))
    assert DeepRacerEnv(track, LIST).render() is None


def test_make_vec_and_seeds(track: str) -> None:
    env = gymnasium.make_vec(ENV_ID, num_envs=3, track=track, metadata=LIST)
    assert isinstance(env, DeepRacerVectorEnv)
    seen, _ = env.reset(seed=[5, 6, 5])
    assert seen.shape == (3, 120, 160, 1)
    assert np.array_equal(seen[0], seen[2])
    config = RunConfig(name="mine", track=track)
    assert DeepRacerEnv(config=config, metadata=json_file(track)).cars.config == config


def json_file(track: str) -> str:
    path = Path(track).with_name("model_metadata.json")
    path.write_text(json.dumps(LIST))
    return str(path)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ({"track": "padock"}, ["padock", "paddock"]),
        ({"metadata": {"action_space": []}}, ["action_space", "2 to 30 actions"]),
        ({"config": {"traning": {}}}, ["config: traning", "training"]),
        ({"config": {"training": {"max_episode_steps": 0}}}, ["max_episode_steps", "at least 20"]),
        ({"reward": "none.py"}, ["none.py"]),
        ({"render_mode": "human"}, ["render_mode", "rgb_array"]),
        ({"render_view": "above"}, ["render_view", "topview"]),
    ],
)
def test_bad_arguments(track: str, arguments: dict[str, Any], words: list[str]) -> None:
    for make in (DeepRacerEnv, DeepRacerVectorEnv):
        with pytest.raises(InputError) as caught:
            make(**{"track": track, **arguments})
        assert all(word in str(caught.value) for word in words), str(caught.value)


def test_bad_actions_and_rewards(track: str) -> None:
    env = DeepRacerEnv(track, LIST)
    env.reset(seed=0)
    for action in (6, -1, 1.5, [0, 1], None):
        with pytest.raises(InputError, match="action"):
            env.step(action)
    continuous = DeepRacerVectorEnv(2, track, RANGES)
    continuous.reset(seed=0)
    for actions in (np.full((2, 2), np.nan), np.zeros((1, 2)), np.zeros(2)):
        with pytest.raises(InputError, match="take actions of this environment"):
            continuous.step(actions)
    continuous.step(np.zeros((2, 2)))  # held
    continuous.step(np.full((2, 2), 7.0))  # beyond is clipped
    np.testing.assert_allclose(np.degrees(continuous.cars.simulator.cars.commanded_steering_rad), 30.0)
    with pytest.raises(InputError, match="at least one True"):
        continuous.reset(options={"reset_mask": np.zeros(2, np.bool_)})
    with pytest.raises(InputError, match="one for each of the 2 cars"):
        continuous.reset(seed=[1])
    path = Path(track).with_name("bad.py")
    path.write_text("def reward_function(params):\n    return params['sped']\n")
    env = DeepRacerEnv(track, LIST, path)
    env.reset(seed=0)
    env.step(0)  # held, and the function is not called
    with pytest.raises(RewardError, match=r"bad\.py, line 2(.|\n)*did you mean 'speed'"):
        env.step(0)
