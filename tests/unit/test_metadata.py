"""model_metadata.json: what is read, what is refused and in which words."""

import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from contract.errors import InputError
from contract.metadata import NETWORKS, ContinuousActions, DiscreteActions, LidarConfig, ModelMetadata
from tests.conftest import SHARED_REFERENCE

REFERENCE = SHARED_REFERENCE / "metrics"


def discrete(**changes: Any) -> dict[str, Any]:
    actions = [{"steering_angle": -30.0, "speed": 1.0}, {"steering_angle": 30.0, "speed": 2.0}]
    return {"action_space": actions, "sensor": ["FRONT_FACING_CAMERA"], **changes}


def continuous(**changes: Any) -> dict[str, Any]:
    space = {"steering_angle": {"low": -30.0, "high": 30.0}, "speed": {"low": 0.5, "high": 2.0}}
    return {
        "action_space": space,
        "action_space_type": "continuous",
        "sensor": ["FRONT_FACING_CAMERA"],
        **changes,
    }


def read(data: object, limits: bool = True) -> ModelMetadata:
    """Within the console's form, unless `limits` is off."""
    return ModelMetadata.parse(json.dumps(data), "car.json", limits=limits)


def refused(data: object) -> InputError:
    with pytest.raises(InputError) as caught:
        read(data)
    return caught.value


def test_absent_keys_mean_what_they_mean_to_aws() -> None:
    bare = read({"action_space": discrete()["action_space"]})
    assert isinstance(bare.actions, DiscreteActions)
    assert (bare.sensors, bare.camera, bare.version) == (("observation",), "observation", 1)
    assert (bare.network, bare.algorithm) == ("DEEP_CONVOLUTIONAL_NETWORK_SHALLOW", "clipped_ppo")
    assert bare.lidar is None
    assert bare.lidar_config == LidarConfig(8, 8, 2.0)
    assert read(discrete()).version == 2


def test_every_key_of_a_full_file_is_read() -> None:
    full = read(
        continuous(
            sensor=["STEREO_CAMERAS", "DISCRETIZED_SECTOR_LIDAR"],
            neural_network="DEEP_CONVOLUTIONAL_NETWORK_DEEP",
            training_algorithm="SAC ",
            version="5",
            preprocess_type="GREY_SCALE",
            regional_parameters=[0, 0, 0, 0],
            lidar_config={"num_sectors": "16", "num_values_per_sector": 4, "clipping_dist": 1.5},
        )
    )
    assert full.actions == ContinuousActions((-30.0, 30.0), (0.5, 2.0))
    assert (full.camera, full.lidar) == ("STEREO_CAMERAS", "DISCRETIZED_SECTOR_LIDAR")
    assert (full.network, full.algorithm, full.version) == ("DEEP_CONVOLUTIONAL_NETWORK_DEEP", "sac", 5)
    assert full.lidar_config == LidarConfig(16, 4, 1.5)


def test_lidar_config_reaches_from_bound_to_bound_and_what_is_absent_is_awss() -> None:
    def config(**told: float) -> LidarConfig:
        return read(discrete(lidar_config=told)).lidar_config

    assert config(num_sectors=1, num_values_per_sector=64, clipping_dist=0.15) == LidarConfig(1, 64, 0.15)
    assert config(num_sectors=64, num_values_per_sector=1, clipping_dist=12) == LidarConfig(64, 1, 12.0)
    assert config() == LidarConfig(8, 8, 2.0)
    assert config(num_sectors=4) == LidarConfig(4, 8, 2.0)


def test_numbers_as_strings() -> None:
    data = discrete(version="4.0")
    data["action_space"][0] = {"steering_angle": "-12.5", "speed": " 1.25 ", "index": "0"}
    parsed = read(data)
    assert isinstance(parsed.actions, DiscreteActions)
    assert (parsed.actions.steering_deg[0], parsed.actions.speed_mps[0], parsed.version) == (-12.5, 1.25, 4)


def test_controls_of_discrete_actions() -> None:
    actions = DiscreteActions(np.array([-30.0, 0.0, 15.0]), np.array([1.0, 2.0, 1.5]))
    controls = actions.controls(np.array([2, 0, 0]))
    assert actions.size == 3
    np.testing.assert_allclose(controls.steering_rad, [math.pi / 12, -math.pi / 6, -math.pi / 6])
    np.testing.assert_array_equal(controls.speed_mps, [1.5, 1.0, 1.0])
    with pytest.raises(ValueError, match="read-only"):
        actions.speed_mps[0] = 4.0


def test_controls_of_continuous_actions_are_clipped_and_scaled() -> None:
    actions = ContinuousActions((-20.0, 30.0), (0.5, 2.5))
    controls = actions.controls(np.array([[-1.0, 1.0], [0.0, 0.0], [7.0, -7.0]]))
    assert actions.size == 2
    np.testing.assert_allclose(np.degrees(controls.steering_rad), [-20.0, 5.0, 30.0])
    np.testing.assert_allclose(controls.speed_mps, [2.5, 1.5, 0.5])


def test_discrete_actions_are_the_same_where_every_angle_and_speed_is() -> None:
    one = DiscreteActions(np.array([-30.0, 30.0]), np.array([1.0, 2.0]))
    same = DiscreteActions(np.array([-30, 30]), np.array([1, 2]))
    assert one == same
    assert hash(one) == hash(same)
    others = [
        DiscreteActions(np.array([-30.0, 30.0]), np.array([1.0, 3.0])),
        DiscreteActions(np.array([-20.0, 30.0]), np.array([1.0, 2.0])),
        ContinuousActions((-30.0, 30.0), (1.0, 2.0)),
    ]
    assert all(one != other for other in others)


@pytest.mark.parametrize(
    ("sensors", "shapes"),
    [
        (["observation"], {"observation": (120, 160, 1)}),
        (["FRONT_FACING_CAMERA", "LIDAR"], {"FRONT_FACING_CAMERA": (120, 160, 1), "LIDAR": (64,)}),
        (["SECTOR_LIDAR", "STEREO_CAMERAS"], {"SECTOR_LIDAR": (8,), "STEREO_CAMERAS": (120, 160, 2)}),
        (
            ["FRONT_FACING_CAMERA", "DISCRETIZED_SECTOR_LIDAR"],
            {"FRONT_FACING_CAMERA": (120, 160, 1), "DISCRETIZED_SECTOR_LIDAR": (48,)},
        ),
    ],
)
def test_shapes_of_what_each_sensor_sees(sensors: list[str], shapes: dict[str, tuple[int, ...]]) -> None:
    config = {"num_sectors": 16, "num_values_per_sector": 3}
    assert read(discrete(sensor=sensors, version=4, lidar_config=config)).observation_shapes() == shapes


def with_action(**changes: Any) -> dict[str, Any]:
    data = discrete()
    data["action_space"][1] = {**data["action_space"][1], **changes}
    return data


def with_space(**changes: Any) -> dict[str, Any]:
    data = continuous()
    data["action_space"] = {**data["action_space"], **changes}
    return data


ONE = {"steering_angle": 0, "speed": 1}
BAD = [
    # data, place, part of the rule, part of the fix
    ([], "car.json", "one JSON object", "begin it"),
    ({"sensor": ["LIDAR"]}, "car.json: sensor", "exactly one camera", "name one"),
    ({}, "car.json: action_space", "has an action space", "add the key"),
    (discrete(actoin_space=1), "car.json: actoin_space", "the keys here are", "'action_space'"),
    (discrete(action_space={}), "car.json: action_space", "list of 2 to 30", "continuous"),
    (discrete(action_space=7), "car.json: action_space", "list of 2 to 30", "write"),
    (discrete(action_space=[ONE]), "car.json: action_space", "list of 2 to 30", "add some"),
    (discrete(action_space=[ONE] * 31), "car.json: action_space", "list of 2 to 30", "delete some"),
    (discrete(action_space=[ONE, 3]), "car.json: action_space[1]", "an object with", "steering_angle"),
    (discrete(action_space=[ONE, {"speed": 1}]), "car.json: action_space[1].steering_angle", "an object", "add"),
    (with_action(sped=1), "car.json: action_space[1].sped", "steering_angle, speed, index", "'speed'"),
    (with_action(speed=4.1), "car.json: action_space[1].speed", "0.1..4 m/s", "0.1..4 m/s"),
    (with_action(speed="fast"), "car.json: action_space[1].speed", "a number", "plain number"),
    (with_action(speed=True), "car.json: action_space[1].speed", "a number", "plain number"),
    (with_action(steering_angle=-30.5), "car.json: action_space[1].steering_angle", "-30..30 degrees", "change it"),
    (with_action(steering_angle=None), "car.json: action_space[1].steering_angle", "a number", "plain number"),
    (with_action(index=0), "car.json: action_space[1].index", "position in the list", "write 1"),
    (with_action(index=0.5), "car.json: action_space[1].index", "whole number", "write 0 or 1"),
    (discrete(action_space_type="discreet"), "car.json: action_space_type", "discrete, continuous", "'discrete'"),
    (continuous(action_space=[ONE, ONE]), "car.json: action_space", "an object with the ranges", "discrete"),
    (with_space(speed=2.0), "car.json: action_space.speed", "an object with low and high", "low"),
    (with_space(speed={"low": 1.0}), "car.json: action_space.speed.high", "low and high", "add 'high'"),
    (with_space(speed={"low": 2.0, "high": 1.0}), "car.json: action_space.speed", "low is at most high", "swap"),
    (with_space(speed={"low": 0.0, "high": 1.0}), "car.json: action_space.speed.low", "0.1..4 m/s", "change it"),
    (with_space(throttle=1), "car.json: action_space.throttle", "steering_angle, speed", "delete the key"),
    (discrete(sensor="FRONT_FACING_CAMERA"), "car.json: sensor", "a list of sensor names", "write"),
    (discrete(sensor=["FRONT_CAMERA"]), "car.json: sensor[0]", "one of FRONT_FACING_CAMERA", "'FRONT_FACING_CAMERA'"),
    (discrete(sensor=["FRONT_FACING_CAMERA", "STEREO_CAMERAS"]), "car.json: sensor", "exactly one camera", "name one"),
    (
        discrete(sensor=["FRONT_FACING_CAMERA", "LIDAR", "SECTOR_LIDAR"]),
        "car.json: sensor",
        "at most one of LIDAR",
        "keep one lidar",
    ),
    (
        discrete(neural_network="SHALLOW"),
        "car.json: neural_network",
        NETWORKS[0],
        "'DEEP_CONVOLUTIONAL_NETWORK_SHALLOW'",
    ),
    (discrete(neural_network=3), "car.json: neural_network", NETWORKS[0], "in quotes"),
    (discrete(training_algorithm="ppo"), "car.json: training_algorithm", "clipped_ppo, sac", "'clipped_ppo'"),
    (discrete(training_algorithm="sac"), "car.json: training_algorithm", "SAC needs a continuous", "clipped_ppo"),
    (discrete(version="four"), "car.json: version", "a number", "plain number"),
    (discrete(version=4.5), "car.json: version", "whole number", "4 or 5"),
    (discrete(version=0), "car.json: version", "at least 1", "at least 1"),
    (discrete(version=1), "car.json: version", "no sensor list", 'delete "sensor"'),
    (discrete(preprocess_type="COLOR"), "car.json: preprocess_type", "one of GREY_SCALE", "choose one"),
    (discrete(regional_parameters={"a": 1}), "car.json: regional_parameters", "a list", "[0, 0, 0, 0]"),
    (discrete(lidar_config=8), "car.json: lidar_config", "an object", "write"),
    (discrete(lidar_config={"sectors": 8}), "car.json: lidar_config.sectors", "num_sectors", "'num_sectors'"),
    (discrete(lidar_config={"num_sectors": 7}), "car.json: lidar_config.num_sectors", "evenly", "1, 2, 4, 8"),
    (
        discrete(lidar_config={"num_values_per_sector": 0}),
        "car.json: lidar_config.num_values_per_sector",
        "1..64",
        "change it",
    ),
    (discrete(lidar_config={"clipping_dist": 13}), "car.json: lidar_config.clipping_dist", "0.15..12 m", "change it"),
]


@pytest.mark.parametrize(("data", "place", "rule", "fix"), BAD, ids=[f"{i}-{case[1]}" for i, case in enumerate(BAD)])
def test_bad_value_is_refused_with_place_rule_and_fix(data: object, place: str, rule: str, fix: str) -> None:
    error = refused(data)
    assert error.where == place
    assert rule in error.rule
    assert fix in error.fix
    assert all(part in str(error) for part in (place, error.rule, error.fix))


@pytest.mark.parametrize(
    ("text", "place", "rule"),
    [
        ('{\n  "action_space": [],\n}', "car.json, line 3, column 1", "valid JSON"),
        ('{"version": 4 "sensor": []}', "car.json, line 1, column 15", "delimiter"),
        ("", "car.json, line 1, column 1", "valid JSON"),
        ('{"version": NaN}', "car.json", "finite"),
        ('{"version": 4, "version": 5}', "car.json: version", "once"),
        ("[" * 100_000, "car.json", "sensible JSON"),
        ('{"version": ' + "9" * 5000 + "}", "car.json", "sensible JSON"),
        ('{"action_space": [], "version": 1e999}', "car.json: version", "a number"),
    ],
)
def test_bad_json_names_line_and_column(text: str, place: str, rule: str) -> None:
    with pytest.raises(InputError) as caught:
        ModelMetadata.parse(text, "car.json")
    assert caught.value.where == place
    assert rule in caught.value.rule
    assert len(str(caught.value)) < 1000


def test_unknown_key_only_warns_when_not_strict() -> None:
    with pytest.warns(UserWarning, match="car.json: note: unknown key ignored"):
        parsed = ModelMetadata.parse(json.dumps(discrete(note="mine")), "car.json", strict=False)
    assert parsed.raw["note"] == "mine"


def test_file_that_is_absent_or_not_text(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="must exist"):
        ModelMetadata.load(tmp_path / "none.json")
    binary = tmp_path / "binary.json"
    binary.write_bytes(b'{"version": "\xff"}')
    with pytest.raises(InputError, match="byte 13"):
        ModelMetadata.load(binary)
    with pytest.raises(InputError, match="readable file"):
        ModelMetadata.load(tmp_path)


def test_byte_order_mark_is_no_error(tmp_path: Path) -> None:
    file = tmp_path / "windows.json"
    file.write_text(json.dumps(discrete()), encoding="utf-8-sig")
    assert ModelMetadata.load(file) == read(discrete())


def test_unknown_key_of_a_file_is_refused_unless_asked_otherwise(tmp_path: Path) -> None:
    file = tmp_path / "noted.json"
    file.write_text(json.dumps(discrete(note="mine")))
    with pytest.raises(InputError, match=r"noted\.json: note"):
        ModelMetadata.load(file)
    with pytest.warns(UserWarning, match="note: unknown key"):
        assert ModelMetadata.load(file, strict=False).raw["note"] == "mine"


def test_a_file_in_the_usual_form_comes_back_byte_for_byte() -> None:
    usual = json.dumps(discrete(version="4", neural_network=NETWORKS[1]), indent=2) + "\n"
    assert ModelMetadata.parse(usual).to_json() == usual


@pytest.mark.parametrize(
    ("data", "added"),
    [
        (
            {"action_space": discrete()["action_space"]},
            {
                "action_space_type": "discrete",
                "neural_network": NETWORKS[0],
                "training_algorithm": "clipped_ppo",
                "version": "1",
            },
        ),
        (
            continuous(training_algorithm="sac", version=5),
            {"neural_network": NETWORKS[0]},
        ),
        (
            discrete(action_space_type="Discrete", neural_network=NETWORKS[2], version=4),
            {"training_algorithm": "clipped_ppo"},
        ),
    ],
)
def test_a_complete_file_says_what_absent_keys_mean(data: dict[str, Any], added: dict[str, str]) -> None:
    assert read(data).complete_json() == json.dumps({**data, **added}, indent=2) + "\n"


def test_real_file_of_deepracer_for_cloud() -> None:
    file = REFERENCE / "drfc-model_metadata.json"
    if not file.exists():
        pytest.skip(f"no reference files in {REFERENCE}")
    metadata = ModelMetadata.load(file)
    assert isinstance(metadata.actions, DiscreteActions)
    assert metadata.actions.size == 14
    assert sorted(set(metadata.actions.steering_deg.tolist())) == [-30, -20, -10, 0, 10, 20, 30]
    assert (metadata.camera, metadata.version) == ("FRONT_FACING_CAMERA", 4)


steering = st.floats(-30, 30) | st.integers(-30, 30) | st.floats(-30, 30).map(str)
speed = st.floats(0.1, 4) | st.integers(1, 4) | st.floats(0.1, 4).map(str)


def bounds(values: st.SearchStrategy[Any]) -> st.SearchStrategy[dict[str, Any]]:
    return st.tuples(values, values).map(lambda pair: dict(zip(("low", "high"), sorted(pair, key=float), strict=True)))


cameras = st.sampled_from(["FRONT_FACING_CAMERA", "STEREO_CAMERAS", "observation"])
lidars = st.lists(st.sampled_from(["LIDAR", "SECTOR_LIDAR", "DISCRETIZED_SECTOR_LIDAR"]), max_size=1)
common = {
    "sensor": st.builds(lambda camera, lidar: [camera, *lidar], cameras, lidars),
    "neural_network": st.sampled_from(NETWORKS),
    "version": st.integers(2, 6) | st.integers(2, 6).map(str),
}
valid = st.fixed_dictionaries(
    {
        "action_space": st.lists(
            st.fixed_dictionaries({"steering_angle": steering, "speed": speed}), min_size=2, max_size=30
        )
    },
    optional=common,
).filter(lambda data: "sensor" in data or "version" not in data) | st.fixed_dictionaries(
    {
        "action_space": st.fixed_dictionaries({"steering_angle": bounds(steering), "speed": bounds(speed)}),
        "action_space_type": st.just("continuous"),
        "training_algorithm": st.sampled_from(["sac", "clipped_ppo"]),
        **common,
    }
)


@given(valid)
@settings(max_examples=100, deadline=None)
def test_written_metadata_reads_back_the_same(data: dict[str, Any]) -> None:
    metadata = read(data)
    again = ModelMetadata.parse(metadata.to_json())
    assert again == metadata
    assert again.raw == data


anything = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4),
    max_leaves=12,
)
KEYS = [*discrete(), *continuous(), "neural_network", "training_algorithm", "version", "lidar_config"]
KEYS += ["preprocess_type", "regional_parameters"]


@given(
    anything
    | st.dictionaries(st.sampled_from(KEYS), anything)
    | valid.flatmap(
        lambda data: st.dictionaries(st.sampled_from(KEYS), anything, max_size=2).map(lambda extra: {**data, **extra})
    )
)
@settings(max_examples=150, deadline=None)
def test_any_json_is_metadata_or_input_error(data: object) -> None:
    try:
        metadata = read(data)
    except InputError as error:
        said = str(error)
    else:
        said = "car.json" if metadata.camera in metadata.sensors and metadata.actions.size >= 2 else "half parsed"
    assert said.startswith("car.json")


@given(st.text(max_size=40))
@settings(max_examples=200, deadline=None)
def test_any_text_is_metadata_or_input_error(text: str) -> None:
    with pytest.raises(InputError, match=r"car\.json"):
        ModelMetadata.parse(text, "car.json")
