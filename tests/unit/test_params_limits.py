"""Numbers of other systems' files beyond our limits, and what their training files say of resets."""

import warnings
from pathlib import Path

import pytest

from contract.config import RunConfig
from contract.errors import InputError
from contract.params import read_training_params
from contract.state import EpisodeStatus
from simapp.episode_setup import episode_setups
from tests.support import BlindSimulator, circle
from undercut.runs.params_files import load_params


def test_resets_of_training_episodes_are_set_by_a_trainings_file() -> None:
    """rollout_worker.py: penalties are 0 s unless the file says so; keys of resets count there too."""
    text = "NUMBER_OF_RESETS: 2\nENABLE_MERCY_RESET: true\nMAX_RESETS_AFTER_CRASH: 4\nRESET_AHEAD_DIST: 0.5\n"
    text += "RESET_BEHIND_DIST: 0.75\nOFF_TRACK_PENALTY: 1.5"
    config = RunConfig.build(read_training_params(text, "x.yaml").over({"name": "a"}), "x")
    (scene,) = episode_setups(config, BlindSimulator(1), circle(), [lambda params: 1.0])
    rules = scene.race.rules
    assert (rules.resets, rules.mercy_after, rules.reset_ahead_m, rules.reset_behind_m) == (2, 4, 0.5, 0.75)
    costs = [rules.penalty_s(status) for status in (EpisodeStatus.off_track, EpisodeStatus.crashed)]
    assert costs == [1.5, 0.0]
    assert [rules.penalty_s(status) for status in (EpisodeStatus.reversed, EpisodeStatus.immobilized)] == [1.5, 0.0]


@pytest.mark.parametrize(
    ("line", "path", "value"),
    [
        ("BOT_CAR_SPEED: 6", "race.bot_car_speed", 4.0),
        ("START_POS_OFFSET: 1.5", "evaluation.start_pos_offset", 1.0),
        ("START_POS_OFFSET: -0.25", "evaluation.start_pos_offset", 0.0),
        ("NUMBER_OF_TRIALS: 5000", "evaluation.number_of_trials", 1000),
        ("RACE_DURATION: 1e9", "evaluation.race_duration_s", 1e9),
    ],
)
def test_numbers_beyond_our_limits_are_clipped_in_files_of_others(
    tmp_path: Path, line: str, path: str, value: float
) -> None:
    clipped = value != float(line.split(": ")[1])
    for first, ours in (("", False), ("# undercut new wrote this\n", True)):
        (tmp_path / "e.yaml").write_text(first + line)
        if ours and clipped:
            with pytest.raises(InputError, match=f"line 2: {line.split(':', maxsplit=1)[0]}"):
                load_params(tmp_path / "e.yaml", "EVALUATION")
            continue
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            params = load_params(tmp_path / "e.yaml", "EVALUATION")
        section, name = path.split(".")
        assert params.values[section][name] == value
        told = [str(warning.message) for warning in caught]
        assert bool(told) == clipped
        assert all("e.yaml, line 1: " in text and f"; {value:g} counts" in text for text in told)


@pytest.mark.parametrize("line", ["BOT_CAR_SPEED: fast", "BOT_CAR_SPEED: nan", "LANE_CHANGE_DISTANCE: 0"])
def test_what_has_no_nearest_number_is_refused_in_files_of_others(tmp_path: Path, line: str) -> None:
    (tmp_path / "e.yaml").write_text(line)
    with pytest.raises(InputError, match=f"line 1: {line.split(':', maxsplit=1)[0]}"):
        load_params(tmp_path / "e.yaml", "EVALUATION")
