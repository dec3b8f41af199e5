"""Action spaces beyond the console's form: taken as AWS's simulator takes them, with a warning of what the car does."""

import warnings

import pytest

from contract.errors import InputError, InputWarning
from contract.metadata import ContinuousActions, DiscreteActions, ModelMetadata
from tests.unit.test_metadata import ONE, discrete, read, refused, with_action, with_space


def taken(data: object) -> tuple[ModelMetadata, list[str]]:
    """What is read as AWS's simulator reads it, and what is said of it."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        metadata = read(data, limits=False)
    assert all(it.category is InputWarning for it in caught)
    return metadata, [str(it.message) for it in caught]


def test_a_model_of_2019_is_taken_with_one_warning_of_what_the_car_will_do() -> None:
    space = [{"steering_angle": angle, "speed": speed} for angle in (-45, 0, 35) for speed in (0.05, 2, 6)]
    metadata, told = taken({"action_space": space, "version": "1"})
    [text] = told
    assert "car.json: action_space[0].steering_angle: -45" in text
    assert "drives with -30 to 30 degrees, 0.1 to 4 m/s" in text
    assert isinstance(metadata.actions, DiscreteActions)
    assert metadata.actions.steering_deg.tolist() == [a for a in (-45, 0, 35) for _ in range(3)], (
        "the reward sees these"
    )
    assert refused({"action_space": space}).where == "car.json: action_space[0].steering_angle"


def test_wide_ranges_are_taken_too() -> None:
    metadata, [text] = taken(with_space(speed={"low": 0.0, "high": 9}, steering_angle={"low": -60, "high": 60}))
    assert metadata.actions == ContinuousActions((-60.0, 60.0), (0.0, 9.0))
    assert "-30 to 30 degrees, 0.1 to 4 m/s" in text


@pytest.mark.parametrize("count", [1, 31, 36, 200])
def test_any_number_of_actions_is_taken(count: int) -> None:
    metadata, [text] = taken(discrete(action_space=[ONE] * count))
    assert metadata.actions.size == count
    assert f"{count} action" in text and "2 to 30" in text


def test_what_index_says_does_not_matter() -> None:
    metadata, [text] = taken(with_action(index=7))
    assert metadata.actions == read(discrete()).actions
    assert text.startswith("car.json: action_space[1].index: 7")


@pytest.mark.parametrize(
    "data",
    [discrete(action_space=[]), with_action(speed="fast"), with_action(steering_angle=None), with_action(index=0.5)],
)
def test_what_is_no_command_is_refused_all_the_same(data: object) -> None:
    with pytest.raises(InputError, match=r"car\.json: action_space"):
        read(data, limits=False)
