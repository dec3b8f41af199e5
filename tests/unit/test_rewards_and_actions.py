"""The files that racers begin with: every metadata file reads, every reward function gives hand-worked values."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from contract.hyperparameters import Hyperparameters
from contract.metadata import ContinuousActions, DiscreteActions, ModelMetadata
from simapp.reward import RewardFunction

ROOT = Path(__file__).parents[2]
METADATA = sorted(path for path in (ROOT / "actions").glob("*.json") if not path.name.startswith("hyperparameters"))
REWARDS = sorted((ROOT / "rewards").glob("*.py"))
WORDS = {
    "single": 5,
    "two": 10,
    "continuous": 2,
}


@pytest.mark.parametrize("path", METADATA, ids=lambda path: path.stem)
def test_metadata_file_is_what_its_name_says(path: Path) -> None:
    metadata = ModelMetadata.load(path)
    words = path.stem.split("_")
    if path.stem == "default":
        words = ["front", "shallow"]
    deep = "" if "deep" in words else "_SHALLOW"
    assert metadata.network == f"DEEP_CONVOLUTIONAL_NETWORK{deep}"
    assert metadata.camera == ("STEREO_CAMERAS" if "stereo" in words else "FRONT_FACING_CAMERA")
    assert metadata.lidar == ("LIDAR" if "lidar" in words else None)
    assert metadata.algorithm == ("sac" if "sac" in words else "clipped_ppo")
    assert isinstance(metadata.actions, ContinuousActions) == ("continuous" in words)
    for word, size in WORDS.items():
        assert word not in words or metadata.actions.size == size
    assert ModelMetadata.parse(metadata.to_json()) == metadata


def test_there_is_a_file_for_every_mix() -> None:
    stems = {path.stem for path in METADATA}
    mixes = {
        f"{sensors}_{network}_{speeds}_speed"
        for sensors in ("front", "stereo", "stereo_lidar")
        for network in ("shallow", "deep")
        for speeds in ("single", "two")
    }
    assert stems == mixes | {"default", "front_shallow_continuous_ppo", "front_shallow_continuous_sac"}


def test_default_actions_are_symmetric_and_slower_in_tighter_turns() -> None:
    actions = ModelMetadata.load(ROOT / "actions" / "default.json").actions
    assert isinstance(actions, DiscreteActions)
    pairs = set(zip(actions.steering_deg.tolist(), actions.speed_mps.tolist(), strict=True))
    assert pairs == {(-steering, speed) for steering, speed in pairs}
    by_lock = sorted(pairs, key=lambda pair: abs(pair[0]))
    assert [speed for _, speed in by_lock] == sorted((speed for _, speed in pairs), reverse=True)
    assert by_lock[0] == (0.0, 2.0)
    assert by_lock[-1][1] == 1.0


def test_default_hyperparameters() -> None:
    parsed = Hyperparameters.load(ROOT / "actions" / "hyperparameters.json")
    assert parsed == Hyperparameters(num_epochs=3, discount_factor=0.95)
    parsed = Hyperparameters.load(ROOT / "actions" / "hyperparameters_sac.json", "sac")
    assert (parsed.sac_alpha, parsed.lr, parsed.exploration_type) == (0.02, 0.001, "additive_noise")


def reward_of(name: str) -> Callable[..., float]:
    function = RewardFunction.load(ROOT / "rewards" / f"{name}.py").instance()
    on_road: dict[str, Any] = {
        "all_wheels_on_track": True,
        "distance_from_center": 0.0,
        "track_width": 1.0,
        "track_length": 20.0,
        "steering_angle": 0.0,
        "is_crashed": False,
        "is_offtrack": False,
        "is_left_of_center": True,
        "projection_distance": 5.0,
        "closest_objects": [0, 0],
        "objects_location": [],
        "objects_left_of_center": [],
        "objects_distance": [],
    }
    return lambda **changes: function({**on_road, **changes})


@pytest.mark.parametrize("path", REWARDS, ids=lambda path: path.stem)
def test_on_the_centre_line_is_best_and_off_the_road_next_to_nothing(path: Path) -> None:
    reward = reward_of(path.stem)
    best = reward()
    assert best == pytest.approx(1.0)
    off = reward(all_wheels_on_track=False, is_offtrack=True, distance_from_center=0.6)
    assert 0.0 < off <= 1e-3


def test_default_is_a_parabola() -> None:
    reward = reward_of("default")
    assert reward(distance_from_center=0.25) == pytest.approx(0.75)
    assert reward(distance_from_center=0.25, track_width=0.5) == 1e-3
    assert reward(all_wheels_on_track=False) == 1e-3


@pytest.mark.parametrize(("distance", "value"), [(0.1, 1.0), (0.11, 0.5), (0.25, 0.5), (0.26, 0.1), (0.51, 1e-3)])
def test_follow_center_line_has_three_bands(distance: float, value: float) -> None:
    assert reward_of("follow_center_line")(distance_from_center=distance) == value
    assert reward_of("follow_center_line")(distance_from_center=distance / 2, track_width=0.5) == value


@pytest.mark.parametrize(("distance", "wheels", "value"), [(0.44, True, 1.0), (0.46, True, 1e-3), (0.2, False, 1e-3)])
def test_stay_inside_two_borders(distance: float, wheels: bool, value: float) -> None:
    reward = reward_of("stay_inside_two_borders")
    assert reward(distance_from_center=distance, all_wheels_on_track=wheels) == value


@pytest.mark.parametrize(("steering", "kept"), [(15.0, 1.0), (-15.0, 1.0), (15.1, 0.8), (-30.0, 0.8)])
def test_prevent_zig_zag_charges_hard_steering(steering: float, kept: float) -> None:
    reward = reward_of("prevent_zig_zag")
    assert reward(steering_angle=steering) == pytest.approx(kept)
    assert reward(steering_angle=steering, distance_from_center=0.2) == pytest.approx(0.5 * kept)


@pytest.mark.parametrize(
    ("car_m", "object_m", "same_lane", "value"),
    [
        (5.0, 6.0, True, 1.0),
        (5.0, 5.7, True, (1 + 4 * 0.5) / 5),
        (5.0, 5.4, True, (1 + 4 * 0.2) / 5),
        (5.0, 5.2, True, (1 + 4 * 1e-3) / 5),
        (5.0, 5.2, False, 1.0),
        (19.9, 0.3, True, (1 + 4 * 0.2) / 5),  # 0.4 m, over the finish line
        (5.2, 5.0, True, 1.0),  # just passed
    ],
)
def test_object_avoidance_fears_the_next_object_in_its_lane(
    car_m: float, object_m: float, same_lane: bool, value: float
) -> None:
    reward = reward_of("object_avoidance_head_to_head")
    found = reward(
        projection_distance=car_m,
        objects_location=[(0.0, 0.0), (1.0, 0.0)],
        objects_left_of_center=[False, same_lane],
        objects_distance=[12.0, object_m],
        closest_objects=[0, 1],
    )
    assert found == pytest.approx(value)
    assert reward(is_crashed=True) == 1e-3
