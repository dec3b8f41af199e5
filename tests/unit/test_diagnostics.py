"""diagnostics.csv and TensorBoard's event files: what they say, read back by others, and what a resume leaves."""

import csv
import io
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from contract import artifacts
from contract.rollout import Rollout
from contract.runtime import quiet_import
from contract.state import STEP_DTYPE
from contract.stores.local import LocalStore
from trainer.diagnostics import BINS, Diagnostics, read_diagnostics
from trainer.ppo.diagnostics import value_diagnostics

ACTIONS = 4


def rollout(actions: list[Any], steering_deg: float, speed_mps: float) -> Rollout:
    steps = np.zeros(len(actions), STEP_DTYPE)
    steps["steering_rad"], steps["speed_mps"] = np.radians(steering_deg), speed_mps
    return Rollout(0, 0, {}, {}, np.array(actions), steps, truncated=False)


TRAINING = [rollout([0, 1, 1], 10.0, 1.0), rollout([3], -30.0, 3.0)]


def values(iteration: int) -> dict[str, float]:
    return {"iteration": iteration, "steps": 100 * iteration, "entropy": 1.0 / (iteration + 3), "reward": 7.5}


def write(folder: Path, iterations: range) -> LocalStore:
    store = LocalStore(folder)
    diagnostics = Diagnostics(store, ACTIONS)
    diagnostics.resume(iterations.start)
    for i in iterations:
        diagnostics.add(values(i), TRAINING, 10.0 * i)
    return store


def events(path: Path) -> list[Any]:
    """By TensorFlow's own reader, which checks every record's checksum."""
    return list(quiet_import("tensorflow").compat.v1.train.summary_iterator(str(path)))


def test_a_row_an_iteration_with_the_use_of_actions(tmp_path: Path) -> None:
    store = write(tmp_path, range(3))
    rows = list(csv.DictReader(io.StringIO(store.get(artifacts.DIAGNOSTICS).decode())))
    assert [row["iteration"] for row in rows] == ["0", "1", "2"]
    assert list(rows[0])[:3] == ["iteration", "steps", "entropy"]
    assert [float(row["entropy"]) for row in rows] == [1 / 3, 1 / 4, 1 / 5], "with all digits"
    assert [float(rows[2][f"a_{i}"]) for i in range(ACTIONS)] == [0.25, 0.5, 0.0, 0.25]
    assert float(rows[0]["mean_speed_mps"]) == 1.5
    assert float(rows[0]["mean_steering_deg"]) == pytest.approx(0.0, abs=1e-12)
    assert float(rows[0]["steering_deviation_deg"]) == pytest.approx(np.std([10.0, 10.0, 10.0, -30.0]))
    assert read_diagnostics(store)["steps"].tolist() == [0.0, 100.0, 200.0]
    assert read_diagnostics(LocalStore(tmp_path / "fresh")) == {}


def test_event_files_say_what_the_rows_say(tmp_path: Path) -> None:
    store = write(tmp_path, range(3))
    files = sorted((tmp_path / "tensorboard").iterdir())
    assert all("tfevents" in path.name for path in files), "TensorBoard looks for this"
    read = [events(path) for path in files]
    assert [version.file_version for version, _ in read] == ["brain.Event:2"] * 3
    assert [(event.step, event.wall_time) for _, event in read] == [(0, 0.0), (1, 10.0), (2, 20.0)]
    told = {value.tag: value for value in read[1][1].summary.value}
    scalars = {tag.split("/")[1]: value.simple_value for tag, value in told.items() if tag != "actions/taken"}
    columns = read_diagnostics(store)
    assert scalars == pytest.approx({name: column[1] for name, column in columns.items() if name != "iteration"})
    assert {"update/entropy", "episodes/reward", "driving/mean_speed_mps", "actions/a_3"} <= set(told)
    histogram = told["actions/taken"].histo
    assert list(histogram.bucket_limit) == [-0.5, 0.5, 1.5, 2.5, 3.5]
    assert list(histogram.bucket) == [0.0, 1.0, 2.0, 0.0, 1.0]
    assert (histogram.num, histogram.sum, histogram.sum_squares) == (4.0, 5.0, 11.0)


def test_continuous_actions_have_histograms_of_steering_and_speed(tmp_path: Path) -> None:
    Diagnostics(LocalStore(tmp_path), 0).add(values(0), [rollout([[0.1, 0.2]] * 5, 12.0, 2.0)], 1.0)
    (path,) = (tmp_path / "tensorboard").iterdir()
    told = {value.tag: value for value in events(path)[1].summary.value}
    assert not any("a_" in tag for tag in told)
    for tag, value in (("actions/steering_deg", 12.0), ("actions/speed_mps", 2.0)):
        histogram = told[tag].histo
        assert (len(histogram.bucket), histogram.num) == (BINS + 1, 5.0)
        assert histogram.sum / histogram.num == pytest.approx(value, abs=0.05)


def test_a_resume_drops_what_came_later_and_repeats_nothing(tmp_path: Path) -> None:
    """Iterations 3 and 4 were written but never saved: driven again, the files are those of an uninterrupted run."""
    whole = write(tmp_path / "whole", range(6))
    write(tmp_path / "parts", range(5))
    parts = write(tmp_path / "parts", range(3, 3))
    assert [artifacts.parse_event_file(key) for key in parts.list(artifacts.TENSORBOARD_PREFIX)] == [0, 1, 2]
    parts = write(tmp_path / "parts", range(3, 6))
    keys = list(whole.list(""))
    assert list(parts.list("")) == keys
    assert len(keys) == 7
    assert all(parts.get(key) == whole.get(key) for key in keys)


def test_new_columns_leave_earlier_rows_blank(tmp_path: Path) -> None:
    """A run that went on under a version with more diagnostics."""
    store = write(tmp_path, range(2))
    diagnostics = Diagnostics(store, ACTIONS)
    diagnostics.resume(2)
    diagnostics.add(values(2) | {"clip_fraction": 0.25}, TRAINING, 1.0)
    column = read_diagnostics(store)["clip_fraction"]
    assert np.isnan(column[:2]).all()
    assert column[2] == 0.25


def test_explained_variance_by_its_definition() -> None:
    targets = np.array([1.0, 2.0, 4.0, 9.0])
    advantages = np.array([1.0, -1.0, 1.0, -1.0])

    def explained(values: np.ndarray) -> float:
        return value_diagnostics(values.astype(np.float32), targets, advantages)["explained_variance"]

    assert explained(targets) == 1.0
    assert explained(targets + 5.0) == 1.0, "a constant error is no variance"
    assert explained(np.full(4, 3.0)) == 0.0
    assert explained(-targets) == pytest.approx(-3.0)
    correlated = np.array([1.0, 3.0, 3.0, 8.0])
    assert explained(correlated) == pytest.approx(1.0 - np.var([0.0, -1.0, 1.0, 1.0]) / np.var(targets))
    even = value_diagnostics(np.array([1.0, 2.0], np.float32), np.ones(2), np.ones(2))
    assert even == {"explained_variance": 0.0, "value_mean": 1.5, "advantage_deviation": 0.0}
