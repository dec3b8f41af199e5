"""Simulators' logs: SIM_TRACE_LOG lines in all their dresses, rolled over, gzipped, of several workers."""

import gzip
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from contract import simtrace
from contract.errors import InputError
from contract.metadata import DiscreteActions
from contract.rollout import Rollout
from contract.state import EpisodeStatus
from tests import recorded
from tests.others import (
    DRESSES,
    HEAD,
    ITERATIONS,
    LENGTH_M,
    PER_ITERATION,
    as_worker,
    line_of_2019,
    lines_of,
    load,
    worker_files,
    write,
)
from undercut.analysis.driven import read_simulator_log
from undercut.analysis.log import Kind
from undercut.analysis.measures import iteration_table

# --- simulators' logs ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("dress", DRESSES.values(), ids=DRESSES)
def test_steps_are_found_whatever_stands_around_them(tmp_path: Path, driven: list[Rollout], dress: str) -> None:
    told = as_worker(driven[:6])
    text = HEAD % ("TRAINING", 1, PER_ITERATION) + "".join(dress.format(line=line) for line in lines_of(told))
    path = tmp_path / "training-20240814132050-x-robomaker.log"
    path.write_text(text + "done\n")
    tracks = recorded.add_circle(tmp_path / "tracks")
    (log,) = load(path, tracks)
    assert log.track is not None and log.track.name == "circle"
    assert isinstance(log.actions, DiscreteActions) and log.actions.size == 2
    found = log.of(Kind.training)
    assert [it.iteration for it in found] == [0, 0, 0, 1, 1, 1]
    for episode, rollout in zip(found, told, strict=True):
        np.testing.assert_allclose(episode.steps["x_m"], rollout.steps["x_m"], atol=6e-5)
        np.testing.assert_allclose(
            episode.steps["heading_rad"] % (2 * np.pi), rollout.steps["heading_rad"] % (2 * np.pi), atol=1e-5
        )
        assert episode.outcome == rollout.status
        assert episode.actions.tolist() == rollout.actions.tolist()
    assert not any("left out" in problem for problem in log.problems)


def test_lines_of_2019_have_radians_and_no_status(tmp_path: Path, driven: list[Rollout]) -> None:
    told = as_worker(driven[:4])
    dummy = "SIM_TRACE_LOG:0,0,0.0000,0.0000,0.0000,0.00,0.00,0,0.0000,False,True,0.0000,0,17.67,1563406790.2"
    (tmp_path / "old.log").write_text("\n".join([dummy, *lines_of(told, line_of_2019)]))
    (log,) = load(tmp_path / "old.log")
    found = log.of(Kind.training)
    assert [len(it.steps) for it in found] == [len(it) for it in told]
    assert [it.complete for it in found] == [it.status is EpisodeStatus.lap_complete for it in told]
    np.testing.assert_allclose(found[0].steps["steering_rad"], told[0].steps["steering_rad"], atol=0.006)
    assert any("20 episodes are taken for an iteration" in problem for problem in log.problems)


def test_several_workers_in_one_log_are_told_apart(tmp_path: Path, driven: list[Rollout]) -> None:
    own = [as_worker(driven[k::2]) for k in (0, 1)]
    streams = [lines_of(it) for it in own]
    mixed = []
    for i in range(max(map(len, streams))):
        mixed += [f"robomaker-{k + 1}  | {stream[i]}" for k, stream in enumerate(streams) if i < len(stream)]
    path = tmp_path / "compose.log"
    path.write_text(HEAD % ("TRAINING", 2, 2 * PER_ITERATION) + "\n".join(mixed))
    (log,) = load(path)
    assert [len(it.steps) for it in log.of(Kind.training)] == [len(it) for it in driven]
    assert [row.episodes for row in iteration_table(log)] == [2 * PER_ITERATION] * ITERATIONS


def test_logs_of_workers_each_in_a_file(tmp_path: Path, driven: list[Rollout]) -> None:
    for k in (0, 1):
        text = HEAD % ("TRAINING", 2, 2 * PER_ITERATION) + "\n".join(lines_of(as_worker(driven[k::2])))
        write(tmp_path / "m", **{f"logs/robomaker.{k}.abc.log": text})
    (log,) = load(tmp_path / "m")
    assert [(it.worker, it.iteration) for it in log.of(Kind.training)][:4] == [(0, 0), (1, 0), (0, 0), (1, 0)]


def test_rolled_over_and_gzipped_parts_are_one_log(tmp_path: Path, driven: list[Rollout]) -> None:
    lines = (HEAD % ("TRAINING", 1, PER_ITERATION)).splitlines() + lines_of(as_worker(driven[:6]))
    thirds = [lines[: len(lines) // 3], lines[len(lines) // 3 : 2 * len(lines) // 3], lines[2 * len(lines) // 3 :]]
    first, second, last = ("\n".join(it) + "\n" for it in thirds)
    write(tmp_path / "m", **{"robomaker.log.1": first, "robomaker.log": last})
    write(tmp_path / "m", **{"robomaker.log.2.gz": gzip.compress(second.encode())})
    (log,) = load(tmp_path / "m")
    assert [len(it.steps) for it in log.of(Kind.training)] == [len(it) for it in driven[:6]]


@pytest.mark.parametrize("name", ["000000.gz", "exported.gz", "mine", "robomaker-output", "x.log"])
def test_a_log_may_be_called_anything(tmp_path: Path, driven: list[Rollout], name: str) -> None:
    """CloudWatch exports 000000.gz; a gzipped one is known by its first bytes."""
    content = "\n".join(lines_of(as_worker(driven[:2]))).encode()
    (tmp_path / name).write_bytes(gzip.compress(content) if name != "mine" else content)
    (log,) = load(tmp_path / name)
    assert [len(it.steps) for it in log.of(Kind.training)] == [len(it) for it in driven[:2]]
    if name in ("000000.gz", "robomaker-output"):
        (tmp_path / name).write_bytes(gzip.compress(content) if name.endswith(".gz") else content)
        (log,) = load(tmp_path)
        assert len(log.of(Kind.training)) == 2


def test_a_log_that_is_written_on_counts_on(tmp_path: Path, driven: list[Rollout]) -> None:
    twice = lines_of(as_worker(driven[:3])) + lines_of(as_worker(driven[3:6]))
    (tmp_path / "x.log").write_text(HEAD % ("TRAINING", 1, PER_ITERATION) + "\n".join(twice))
    (log,) = load(tmp_path / "x.log")
    assert [len(it.steps) for it in log.of(Kind.training)] == [len(it) for it in driven[:6]]
    assert [it.iteration for it in log.of(Kind.training)] == [0, 0, 0, 1, 1, 1]


def test_simtraces_go_before_the_log_beside_them(tmp_path: Path, driven: list[Rollout], laps: list[Rollout]) -> None:
    files = worker_files(as_worker(driven[:6]), 0, 1)
    log_text = HEAD % ("TRAINING", 1, PER_ITERATION) + "\n".join(lines_of(as_worker(driven[6:])))
    evaluation = HEAD % ("EVALUATION", 1, PER_ITERATION) + "\n".join(lines_of(as_worker(laps)))
    write(tmp_path / "m", **files, **{"logs/training/training-1-robomaker.log": log_text})
    write(tmp_path / "m", **{"logs/evaluation/evaluation-1-robomaker.log": evaluation})
    (log,) = load(tmp_path / "m")
    assert [len(it.steps) for it in log.of(Kind.training)] == [len(it) for it in driven[:6]]
    assert [len(it.steps) for it in log.of(Kind.evaluation)] == [len(it) for it in laps]


def test_pairs_of_continuous_actions_with_a_comma(tmp_path: Path, driven: list[Rollout]) -> None:
    lines = []
    for line in lines_of(as_worker(driven[:1])):
        cells = line.split(",")
        cells[7] = f"[{cells[5]}, {cells[6]}]"
        lines.append(",".join(cells))
    (tmp_path / "c.log").write_text("\n".join(lines))
    (log,) = load(tmp_path / "c.log")
    [episode] = log.of(Kind.training)
    assert episode.actions.shape == (len(driven[0]), 2)
    csv = simtrace.to_csv(as_worker(driven[:1]), LENGTH_M, 0.0).splitlines()
    pairs = [",".join([*it.split(",")[:7], "[1.5, 2.0]", *it.split(",")[8:]]) for it in csv[1:]]
    [trace] = simtrace.from_csv("\n".join([csv[0], *pairs]), "x")
    assert trace.actions[0].tolist() == [1.5, 2.0]


PIECES = st.sampled_from(
    [
        *("SIM_TRACE_LOG:", "0,1,", "1.5,", "nan,", "[1, 2],", "True,", "in_progress,", "\n", "\t", "robomaker-1 | "),
        *("\x1b[0m", '"', "{'JOB_TYPE': 'EVALUATION', 'NUM_WORKERS': '999'}", "action space from file: ["),
        '"num_episodes_between_training": 0',
    ]
)


@given(st.lists(PIECES | st.text(max_size=5), max_size=60).map("".join))
@settings(max_examples=200, deadline=None)
def test_any_text_is_a_log_or_lines_that_are_told(text: str) -> None:
    log, problems = read_simulator_log(text, "x.log", "x.log")
    lines = text.count("SIM_TRACE_LOG:")
    steps = sum(len(trace.numbers) for run in log.runs for trace in run.traces)
    assert steps + len(problems) <= lines
    assert all(problem.where.startswith("x.log line ") for problem in problems)
    assert log.workers >= 1


@given(st.binary(max_size=200) | st.binary(max_size=200).map(gzip.compress))
@settings(max_examples=100, deadline=None)
def test_any_bytes_are_logs_or_are_refused(tmp_path_factory: pytest.TempPathFactory, content: bytes) -> None:
    folder = tmp_path_factory.mktemp("any")
    for name in ("x.log", "x.log.gz", "x_logs.tar.gz", "0-iteration.csv.gz"):
        (folder / name).write_bytes(content)
        try:
            logs = load(folder / name)
        except InputError:
            continue
        assert not any(log.episodes for log in logs)
        assert all(log.problems for log in logs)
