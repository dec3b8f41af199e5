"""Reward functions and metadata in the forms that racers publish: each runs, or says what to change."""

import time
from pathlib import Path

import numpy as np
import pytest

from contract.metadata import ModelMetadata
from contract.state import Controls
from simapp.builtin import BuiltinSimulator
from simapp.race import Race, RaceRules
from simapp.reward import RewardFunction
from simapp.tracks import load_track
from tests.conftest import REPO
from undercut.check import lap
from undercut.check.check import CheckReport, Given, check

RACERS = REPO / "tests" / "racers"
ACTIONS = REPO / "actions" / "default.json"
HELPERS = {"racing_math.py"}
SOUND = sorted(path for path in RACERS.glob("*.py") if path.name not in HELPERS)
METADATA = sorted((RACERS / "metadata").glob("*.json"))

# what a sound file is warned about, by parts of the messages; all others get no warning
WARNED = {
    "always_one": ["whatever the car does"],
    "huge_finish_bonus": ["one step is worth 1e+05"],
    "line_of_another_track": ["whatever the car does", "beside the road of paddock"],
    "only_penalties": ["no reward is above 0"],
    "prints_a_lot": ["prints"],
    "radians_mixed": ["left side is in radians", "the angle is in radians"],
    "steering_in_radians": [
        "steering_angle is in degrees",
        "speed'] >= 3 is never true",
        "progress goes from 0 to 100",
    ],
}
# file -> part of the failure, part of its fix
BROKEN = {
    "array_reward": ("returned array([", "return a number"),
    "division_by_zero": ("line 3: ZeroDivisionError", "look at the divisor"),
    "global_not_declared": ("line 3: UnboundLocalError", "global NAME"),
    "key_typo": ("KeyError: 'distance_from_centre'", "did you mean 'distance_from_center'?"),
    "missing_module": ("No module named 'cv2_racing_line'", "cv2_racing_line in a requirements.txt"),
    "never_returns": ("took longer than", "look for a while"),
    "no_return_off_track": ("returned None", "every way through the function"),
    "not_finite": ("returned", "division by almost zero"),
    "old_param_names": ("takes one argument, params", "write def reward_function(params):"),
    "python2_print": ("Missing parentheses in call to 'print'", "correct this line"),
    "tabs_and_spaces": ("inconsistent use of tabs and spaces", "correct this line"),
    "waypoint_overrun": ("line 2: IndexError", "modulo"),
    "wrong_name": ("(missing) is not allowed", "rename 'reward_func' to 'reward_function'?"),
}
BROKEN_METADATA = {
    "continuous_without_type": '"action_space_type" to "continuous"',
    "sac_discrete": '"continuous" with low and high',
    "sensors_key": "did you mean 'sensor'?",
    "too_fast": "0.1..4",
    "too_much_lock": "-30..30",
    "trailing_comma": "extra comma",
}


def warnings_of(report: CheckReport) -> list[str]:
    return [found.text for found in report.findings if found.level == "warn"]


def test_there_are_thirty_and_every_one_is_expected_to_be_something() -> None:
    assert len(SOUND) + len(BROKEN) + len(METADATA) + len(BROKEN_METADATA) > 60 - len(HELPERS)
    assert len(SOUND) >= 30
    assert set(WARNED) <= {path.stem for path in SOUND}
    assert set(BROKEN) == {path.stem for path in (RACERS / "broken").glob("*.py")}
    assert set(BROKEN_METADATA) == {path.stem for path in (RACERS / "metadata" / "broken").glob("*.json")}


@pytest.mark.parametrize("path", SOUND, ids=lambda path: path.stem)
def test_a_published_reward_function_passes_the_check(path: Path) -> None:
    # like AWS's own example, that one fails where nothing is on the track
    params = (RACERS / "object_avoidance_params.yaml",) if path.stem == "object_avoidance_docs" else ()
    report = check(Given(reward=path, metadata=ACTIONS, params=params))
    assert report.count("fail") == 0, report.findings
    told = warnings_of(report)
    expected = WARNED.get(path.stem, [])
    assert len(told) == len(expected), told
    for part in expected:
        assert any(part in text for text in told), (part, told)
    assert [drive["drive"] for drive in report.drives][:2] == ["lap", "weaving"]
    assert report.drives[0]["ends"] == "lap_complete"
    assert report.call_s is not None and report.call_s > 0.0
    assert set(report.reads) | set(report.unread) >= {"x", "y", "heading"} and not set(report.reads) & set(
        report.unread
    )


def test_objects_in_a_time_trial_are_explained() -> None:
    report = check(Given(reward=RACERS / "object_avoidance_docs.py", metadata=ACTIONS))
    [found] = [found for found in report.findings if found.level == "fail"]
    assert "IndexError" in found.text and "next_object_loc = objects_location" in found.text
    assert "a time trial has no objects" in found.fix


@pytest.mark.parametrize("name", sorted(BROKEN))
@pytest.mark.filterwarnings("ignore::RuntimeWarning")  # NumPy's, of the racer's logarithm of 0
def test_a_broken_reward_function_fails_with_what_to_change(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    if name == "never_returns":
        monkeypatch.setattr(lap, "CALL_LIMIT_S", 0.2)
    report = check(Given(reward=RACERS / "broken" / f"{name}.py", metadata=ACTIONS))
    text, fix = BROKEN[name]
    failed = [found for found in report.findings if found.level == "fail"]
    assert any(text in found.text and fix in found.fix for found in failed), failed
    assert not any("/starting/" in found.text for found in failed)  # the racer's frames, not ours


@pytest.mark.parametrize("path", METADATA, ids=lambda path: path.stem)
def test_published_metadata_drive_a_lap(path: Path) -> None:
    report = check(Given(reward=RACERS / "centerline_markers.py", metadata=path))
    assert report.count("fail") == 0, report.findings
    steers = [text for text in warnings_of(report) if "degrees are meant" in text]
    assert bool(steers) == (path.stem == "radians")
    assert "lap_complete" in [drive["ends"] for drive in report.drives[:2]]


@pytest.mark.parametrize("name", sorted(BROKEN_METADATA))
def test_broken_metadata_are_refused_with_what_to_change(name: str) -> None:
    given = Given(metadata=RACERS / "metadata" / "broken" / f"{name}.json")
    [found] = check(given, strict=True).findings
    assert found.level == "fail" and BROKEN_METADATA[name] in f"{found.text} {found.fix}"
    first = check(given).findings[0]
    taken = name in ("sensors_key", "too_fast", "too_much_lock")  # by AWS's simulator, with less than was meant
    assert first.level == ("warn" if taken else "fail") and BROKEN_METADATA[name] in f"{first.text} {first.fix}"


@pytest.mark.slow
def test_all_of_them_drive_side_by_side_in_the_simulator_with_its_camera() -> None:
    metadata, track = ModelMetadata.load(ACTIONS), load_track("paddock")
    paths = [path for path in SOUND if path.stem != "object_avoidance_docs"]
    rewards = [RewardFunction.load(path).instance() for path in paths]
    simulator = BuiltinSimulator(track, [metadata] * len(paths))
    race = Race(simulator, track, RaceRules(100), rewards)
    cars = np.arange(len(paths))
    for car in cars.tolist():
        race.start(car, 0.05 * car * track.length_m)
    for _ in range(4):
        frames = simulator.observe(cars)[metadata.camera]
        assert frames.shape == (len(paths), 120, 160, 1) and frames.std() > 10
        rows = race.step(cars, Controls(np.zeros(len(cars)), np.ones(len(cars)))).rows
    assert np.isfinite(rows["reward"]).all() and len(set(rows["reward"].tolist())) > 10


def test_a_check_is_quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Of its own time, without imports and what numba loads once; as a multiple of what the lap itself takes."""
    given = Given(reward=RACERS / "class_with_state.py", metadata=ACTIONS)
    check(given)
    begun = time.process_time()
    report = check(given)
    took = time.process_time() - begun
    calls = sum(drive["steps"] for drive in report.drives)
    assert 250 < calls < 2000
    assert took < 10.0  # 0.2 s of the processor on a quiet machine
