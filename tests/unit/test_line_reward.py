"""The reward function of a racing line: plain Python, the lap's seam, pace, line and speed."""

import ast
import json
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml

from contract.errors import InputError
from contract.state import STEP_S
from tests.line_support import kidney
from undercut.line import raceline
from undercut.line.reporting import MAX_POINTS, literal, reward_source
from undercut.scaffold.new import Wish, new_folder

Reward = Callable[[dict[str, Any]], float]


def fresh() -> Reward:
    space: dict[str, Any] = {}
    exec(compile(reward_source(kidney()[1]), "reward_function.py", "exec"), space)
    function: Reward = space["reward_function"]
    return function


def drive(
    function: Reward,
    share: float = 1.0,
    aside_m: float = 0.0,
    slower_mps: float = 0.0,
    begin_s: float = 0.0,
    laps: int = 1,
) -> list[float]:
    """Rewards of a car that follows the line at a share of its pace, beside it."""
    line = kidney()[1]
    rewards = []
    times = np.append(line.time_s, line.time_s[-1] + line.time_s[1:])
    for step in range(int(laps * line.limit_s / share / STEP_S)):
        at = (begin_s + step * STEP_S * share) % line.limit_s
        columns = (line.x_m, line.y_m, line.command_mps, np.cos(line.heading_rad), np.sin(line.heading_rad))
        x, y, speed, cos, sin = (np.interp(at, times, np.concatenate([it, it, it[:1]])) for it in columns)
        params = {
            "x": float(x - aside_m * sin),
            "y": float(y + aside_m * cos),
            "speed": float(speed - slower_mps),
            "steps": float(step + 2),
            "is_offtrack": False,
            "is_crashed": False,
        }
        rewards.append(function(params))
    return rewards


def test_it_is_plain_python_that_imports_math_alone() -> None:
    tree = ast.parse(reward_source(kidney()[1]))
    imports = [node for node in ast.walk(tree) if isinstance(node, ast.Import | ast.ImportFrom)]
    assert [name.name for node in imports for name in node.names] == ["math"]
    text = reward_source(kidney()[1])
    assert "TRACK" not in text and max(map(len, text.splitlines())) <= 120


def test_the_limits_own_lap_earns_one_a_step_over_the_seam_too() -> None:
    rewards = drive(fresh(), laps=3)
    # the first call of an episode knows no pace; from then on the pace is 1 but for the literal's corners
    assert rewards[0] == pytest.approx(1e-3)
    assert min(rewards[1:]) > 0.8 and max(rewards[1:]) < 1.15
    assert np.mean(rewards[1:]) == pytest.approx(1.0, abs=0.03)


def test_half_the_pace_earns_a_quarter_a_step_and_half_a_lap() -> None:
    fast, slow = drive(fresh()), drive(fresh(), share=0.5)
    assert np.mean(slow[1:]) == pytest.approx(0.25, abs=0.03)
    assert sum(slow) == pytest.approx(0.5 * sum(fast), rel=0.05)


def test_beside_the_line_and_at_other_speeds_it_earns_less() -> None:
    on, beside, slower = drive(fresh()), drive(fresh(), aside_m=0.25), drive(fresh(), slower_mps=0.75)
    assert np.mean(beside[1:]) < np.mean(on[1:]) - 0.2
    assert np.mean(slower[1:]) == pytest.approx(np.mean(on[1:]) - 0.1, abs=0.02)


def test_off_the_road_and_crashed_earn_next_to_nothing() -> None:
    function = fresh()
    drive(function)
    for key in ("is_offtrack", "is_crashed"):
        params = {"x": 0.0, "y": 0.0, "speed": 3.0, "steps": 9.0, "is_offtrack": False, "is_crashed": False, key: True}
        assert function(params) == pytest.approx(1e-3)


def test_an_episode_that_begins_elsewhere_has_no_pace_from_the_last_one() -> None:
    function = fresh()
    drive(function)
    again = drive(function, begin_s=0.6 * kidney()[1].limit_s)
    assert again[0] == pytest.approx(1e-3) and min(again[1:]) > 0.8


def test_the_literal_is_even_short_and_rising_in_time() -> None:
    _, line = kidney()
    points = literal(line)
    assert len(points) <= MAX_POINTS
    gaps = np.hypot(*np.diff(np.vstack([points, points[:1]])[:, :2], axis=0).T)
    assert gaps == pytest.approx(float(gaps.mean()), rel=0.1)
    assert (np.diff(points[:, 3]) > 0.0).all() and points[-1, 3] < line.limit_s
    assert np.hypot(points[0, 0] - line.x_m[0], points[0, 1] - line.y_m[0]) < 1e-9


def test_new_writes_a_whole_folder_for_the_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(raceline, "find_line", lambda *arguments: kidney()[1])
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    paths = new_folder(Wish("racer", track="kidney", race_line=True, count=6), tmp_path)
    assert {path.name for path in paths} == {
        *("reward_function.py", "model_metadata.json", "hyperparameters.json", "training_params.yaml", "README.md"),
    }
    params = yaml.safe_load((tmp_path / "racer" / "training_params.yaml").read_text())
    assert (params["WORLD_NAME"], params["BEST_MODEL_METRIC"]) == ("kidney", "laptime")
    hyperparameters = json.loads((tmp_path / "racer" / "hyperparameters.json").read_text())
    assert (hyperparameters["discount_factor"], hyperparameters["num_episodes_between_training"]) == (0.97, 40)
    continuous = new_folder(Wish("sac", None, "sac", track="kidney", race_line=True), tmp_path)
    text = {path.name: path.read_text() for path in continuous}
    assert '"training_algorithm": "sac"' in text["model_metadata.json"] and "sac_alpha" in text["hyperparameters.json"]
    with pytest.raises(InputError, match="time trial"):
        new_folder(Wish("other", race="OBJECT_AVOIDANCE", track="kidney", race_line=True), tmp_path)
    with pytest.raises(InputError, match="--count"):
        new_folder(Wish("few", track="kidney", race_line=True, count=1), tmp_path)
    assert not (tmp_path / "few").exists() and math.isfinite(kidney()[1].limit_s)
