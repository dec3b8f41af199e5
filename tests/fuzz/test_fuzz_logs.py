"""What runs leave and other tools write, read back: metrics, simtraces, recordings, iterations, whole folders."""

import json
import zlib
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from contract import artifacts
from contract.metrics import (
    EvaluationRow,
    TrainingRow,
    evaluation_metrics_json,
    parse_evaluation_metrics,
    parse_training_metrics,
    salvage_training_metrics,
    training_metrics_json,
)
from contract.recording import MAGIC, RecordedEpisode, RecordedRacer, Recording
from contract.rollout import Rollout
from contract.salvage import list_of_objects
from contract.simtrace import Trace, log_lines, read_csv, to_csv
from contract.state import STEP_DTYPE, EpisodeStatus, TrackObjects
from contract.stores.local import LocalStore
from tests.fuzzing import damaged_bytes, damaged_json, damaged_text, damaged_values, examples, value_or_error
from trainer.iterations import IterationRow, read_iterations
from undercut.analysis.loading import load_run
from undercut.view.data import details, listing
from undercut.view.subject import Subject

TRAINING = [
    TrainingRow(12, 2000, 0, 2000, 1, 1, "training", 40, "Off track"),
    TrainingRow(30, 9000, 2000, 7000, 1, 1, "evaluation", 100, "Lap complete"),
]
EVALUATION = [EvaluationRow(100, 9000, 0, 9000, "Lap complete", 0, 0, 1, 0, 1, 1)]
ITERATIONS = [IterationRow(n, 100 * n, 1.0, 40.0, 50.0, 1.5, 0.1, 0.2, 0.01) for n in range(2)]


def steps(count: int, seed: int) -> np.ndarray:
    random = np.random.default_rng(seed)
    rows = np.zeros(count, STEP_DTYPE)
    rows["x_m"], rows["y_m"], rows["progress_pct"] = random.random((3, count))
    rows["time_s"] = (1 + np.arange(count)) / 15
    rows["status"] = EpisodeStatus.in_progress
    rows["status"][-1] = EpisodeStatus.off_track
    return rows


def rollout(episode: int, continuous: bool = False) -> Rollout:
    actions: np.ndarray[Any, Any] = np.full((4, 2), 0.5) if continuous else np.arange(4)
    return Rollout(episode, 0, {}, {}, actions, steps(4, episode), truncated=False)


CSV = to_csv([rollout(0), rollout(1), rollout(2, continuous=True)], 17.7, 0.0)
RECORDING = Recording(
    title="laps",
    track="paddock",
    reverse_dir=False,
    track_length_m=17.7,
    racers=(RecordedRacer("me", "mine", "Red"), RecordedRacer("you", "yours", "Blue", "yours")),
    episodes=(
        RecordedEpisode(0, 0, 0, steps(3, 0), TrackObjects.none(3, 2), np.arange(3)),
        RecordedEpisode(1, 0, 1, steps(2, 1)),
    ),
)
CONTENT = RECORDING.to_bytes()


@examples(40)
@given(damaged_json(json.loads(training_metrics_json(TRAINING, "progress"))))
def test_training_metrics(text: str) -> None:
    read = value_or_error(lambda: parse_training_metrics(text, "m.json"), "m.json")
    if read is not None:
        assert parse_training_metrics(training_metrics_json(read, "progress"), "again") == read
    saved = value_or_error(lambda: salvage_training_metrics(text, "m.json"), errors=())
    assert saved is not None
    if read is not None and '"metrics"' in text[:20]:
        assert saved[0] == read


@examples(40)
@given(damaged_json(json.loads(evaluation_metrics_json(EVALUATION))))
def test_evaluation_metrics(text: str) -> None:
    read = value_or_error(lambda: parse_evaluation_metrics(text, "m.json"), "m.json")
    if read is not None:
        assert parse_evaluation_metrics(evaluation_metrics_json(read), "again") == read


@examples(40)
@given(damaged_json({"metrics": [asdict(row) for row in TRAINING]}), st.sampled_from([None, "metrics"]))
def test_salvaged_lists(text: str, key: str | None) -> None:
    found = value_or_error(lambda: list_of_objects(text, "m.json", key), errors=())
    assert found is not None and all(isinstance(item, dict) for item in found[0])


@examples(50)
@given(damaged_text(CSV, most=6))
def test_simtraces(text: str) -> None:
    found = value_or_error(lambda: read_csv(text, "x.csv"), errors=())
    assert found is not None
    for trace in found[0]:
        assert all(np.isfinite(trace.steps[name]).all() for name in STEP_DTYPE.names or ())
        assert np.isfinite(trace.timestamps_s).all() and np.isfinite(trace.actions).all()
        assert trace.steps["status"].max() <= max(EpisodeStatus)
    value_or_error(lambda: log_lines(text, "x.csv"), "x.csv")
    _assert_comes_back(found[0])


def _assert_comes_back(traces: list[Trace]) -> None:
    whole = [trace for trace in traces if np.array_equal(trace.numbers, 1 + np.arange(len(trace.numbers)))]
    for trace in whole[:1]:
        again = Rollout(trace.episode, 0, {}, {}, trace.actions, trace.steps, truncated=False)
        found, problems = read_csv(to_csv([again], trace.track_length_m, 0.0), "again")
        assert not problems and len(found) == 1
        for name in ("reward", "speed_mps", "progress_pct", "x_m", "closest_waypoint"):
            assert np.array_equal(found[0].steps[name], trace.steps[name])


def header_and_data() -> tuple[Any, bytes]:
    begin = len(MAGIC) + 4
    length = int.from_bytes(CONTENT[len(MAGIC) : begin], "little")
    return json.loads(CONTENT[begin : begin + length]), zlib.decompress(CONTENT[begin + length :])


HEADER, DATA = header_and_data()


def packed(header: Any, data: bytes) -> bytes:
    """A recording with another header, whose checksum is right."""
    if isinstance(header, dict) and "crc32" in header:
        header = header | {"crc32": zlib.crc32(data)}
    text = json.dumps(header).encode()
    return b"".join([MAGIC, len(text).to_bytes(4, "little"), text, zlib.compress(data)])


@examples(60)
@given(
    damaged_bytes(CONTENT)
    | damaged_values(HEADER).map(lambda header: packed(header, DATA))
    | damaged_bytes(DATA).map(lambda data: packed(HEADER | {"bytes": len(data)}, data))
)
def test_recordings(content: bytes) -> None:
    read = value_or_error(lambda: Recording.from_bytes(content, "a.rec"), "a.rec")
    if read is not None:
        again = Recording.from_bytes(read.to_bytes(), "again")
        assert (again.title, again.racers, len(again.episodes)) == (read.title, read.racers, len(read.episodes))
        for one, other in zip(again.episodes, read.episodes, strict=True):
            assert one.steps.tobytes() == other.steps.tobytes()
            assert (one.racer, one.world, one.number) == (other.racer, other.world, other.number)
        for episode in read.episodes:
            assert len(episode.steps) and episode.steps["status"].max() <= max(EpisodeStatus)
            assert all(np.isfinite(episode.steps[name]).all() for name in STEP_DTYPE.names or ())


def test_a_recording_that_unpacks_to_gigabytes_is_refused() -> None:
    bomb = zlib.compress(bytes(64 << 20))
    text = json.dumps(HEADER | {"bytes": 1 << 40}).encode()
    content = b"".join([MAGIC, len(text).to_bytes(4, "little"), text, bomb])
    assert value_or_error(lambda: Recording.from_bytes(content, "a.rec"), "a.rec") is None


@examples(40)
@example(json.dumps([asdict(ITERATIONS[0]) | {"reward": "NAN"}]))
@given(damaged_json([asdict(row) for row in ITERATIONS]))
def test_iterations(tmp_path_factory: pytest.TempPathFactory, text: str) -> None:
    store = LocalStore(tmp_path_factory.getbasetemp() / "iterations")
    store.put(artifacts.ITERATIONS, text.encode())
    read = value_or_error(lambda: read_iterations(store), artifacts.ITERATIONS)
    if read is not None:
        store.put(artifacts.ITERATIONS, json.dumps([asdict(row) for row in read], allow_nan=False).encode())
        assert read_iterations(store) == read


def _run(folder: Path, name: str) -> LocalStore:
    """A run as undercut leaves it, without model and pictures."""
    store = LocalStore(folder / "runs" / name)
    texts = {
        artifacts.RUN_CONFIG: '{"name": "%s"}' % name,  # noqa: UP031  braces of JSON
        artifacts.TRAINING_METRICS: training_metrics_json(TRAINING, "progress"),
        artifacts.EVALUATION_METRICS: evaluation_metrics_json(EVALUATION),
        artifacts.ITERATIONS: json.dumps([asdict(row) for row in ITERATIONS]),
        artifacts.DIAGNOSTICS: "iteration,kl_divergence\n0,0.1\n1,0.2\n",
        artifacts.training_simtrace(0): CSV,
        artifacts.evaluation_simtrace(): CSV,
    }
    for key, text in texts.items():
        store.put(key, text.encode())
    return store


def test_a_line_that_ends_in_a_carriage_return_alone_is_a_line(tmp_path: Path) -> None:
    store = _run(tmp_path, "mine")
    store.put(artifacts.DIAGNOSTICS, b"iteration,kl_divergence\n0,0.5\r1,0.7\n7\r0.2\n")
    log = load_run(store, "mine", [])
    assert log.updates["kl_divergence"].tolist() == [0.5, 0.7]
    assert any("diagnostics.csv row 3" in problem for problem in log.problems)


KEYS = st.sampled_from(
    [
        *(artifacts.RUN_CONFIG, artifacts.TRAINING_METRICS, artifacts.EVALUATION_METRICS, artifacts.ITERATIONS),
        *(artifacts.DIAGNOSTICS, artifacts.training_simtrace(0), artifacts.evaluation_simtrace()),
    ]
)


@examples(25)
@given(KEYS, st.data())
def test_whole_runs(tmp_path_factory: pytest.TempPathFactory, key: str, data: st.DataObject) -> None:
    """The report's reader never fails, whatever its files hold, and the page shows what it can."""
    store = _run(tmp_path_factory.getbasetemp() / "whole", "mine")
    before = store.get(key)
    whole = json.loads(before) if key.endswith(".json") else None
    kinds = damaged_bytes(before) if whole is None else damaged_bytes(before) | damaged_json(whole).map(str.encode)
    store.put(key, data.draw(kinds))
    log = value_or_error(lambda: load_run(store, "mine", []), errors=())
    assert log is not None
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(tmp_path_factory.getbasetemp() / "whole")
        shown = [value_or_error(listing, errors=()), value_or_error(lambda: details(Subject("run", "mine")), errors=())]
    json.dumps(shown, allow_nan=False)
