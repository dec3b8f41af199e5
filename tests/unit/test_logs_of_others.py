"""Logs of deepracer-for-cloud, the consoles and their simulators, as racers have them on disk: whole, cut and mixed."""

import gzip
import io
import json
import shutil
import tarfile
from collections.abc import Callable, Iterable
from dataclasses import asdict
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner

from contract import artifacts, metrics, simtrace
from contract.errors import InputError
from contract.metadata import DiscreteActions
from contract.rollout import Rollout
from contract.state import EpisodeStatus
from contract.stores.local import LocalStore
from scripts.cli import app
from scripts.interchange.workers import WorkersFiles
from simapp.analysis.loading import load_folder
from simapp.analysis.log import Kind, RunLog
from simapp.analysis.measures import iteration_table
from simapp.analysis.unpacked import OneFile
from tests import recorded
from tests.support import circle

LENGTH_M = circle().length_m
PER_ITERATION, ITERATIONS = 3, 2


def write(folder: Path, **files: str | bytes) -> Path:
    """Files below a folder: key, with __ for /, -> content."""
    for key, content in files.items():
        path = folder / key
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content.encode() if isinstance(content, str) else content)
    return folder


@pytest.fixture(scope="module")
def driven() -> list[Rollout]:
    """Twelve episodes, some of them whole laps."""
    return [recorded.driven(k, 0.3 if k % 3 else 0.02, start=0.05 * k) for k in range(2 * PER_ITERATION * ITERATIONS)]


@pytest.fixture(scope="module")
def laps() -> list[Rollout]:
    return [recorded.driven(200 + k, 0.1 * k, resets=20) for k in range(4)]


def as_worker(driven: Iterable[Rollout]) -> list[Rollout]:
    """The same, counted from 0 by a worker of its own."""
    return [
        Rollout(number, it.iteration, {}, {}, it.actions, it.steps, truncated=it.truncated)
        for number, it in enumerate(driven)
    ]


def worker_files(driven: list[Rollout], worker: int, workers: int, prefix: str = "") -> dict[str, str]:
    """What deepracer-for-cloud keeps of a worker: its simtraces and its metrics, where only the first worker's trials
    begin anew with every iteration."""
    files: dict[str, str] = {}
    rows: list[metrics.TrainingRow] = []
    time_s = 31.0 + 7 * worker  # each simulator has a clock of its own
    folder = f"{prefix}{worker}/" if workers > 1 else prefix
    for iteration in range(ITERATIONS):
        its = driven[iteration * PER_ITERATION : (iteration + 1) * PER_ITERATION]
        files[f"{folder}training-simtrace/{iteration}-iteration.csv"] = simtrace.to_csv(its, LENGTH_M, time_s)
        rows += metrics.training_rows(its, time_s)
        time_s = simtrace.end_time_s(its, time_s) + 11.0
    told = [asdict(row) | ({"trial": row.episode} if worker else {}) for row in rows]
    name = "TrainingMetrics.json" if worker == 0 else f"TrainingMetrics_{worker}.json"
    content = {"metrics": told, "version": 2.0, "best_model_metric": "progress"}
    return files | {f"{prefix}metrics/{name}": json.dumps(content)}


def load(path: Path, tracks: Path | None = None) -> list[RunLog]:
    place = LocalStore(path) if path.is_dir() else OneFile(path)
    return load_folder(place, path.name.split(".")[0], [tracks] if tracks else [])


# --- workers ---------------------------------------------------------------------------------------------------------


def test_workers_are_kept_apart_and_counted_together(tmp_path: Path, driven: list[Rollout]) -> None:
    own = [as_worker(driven[::2]), as_worker(driven[1::2])]
    for worker in (0, 1):
        write(tmp_path / "mine", **worker_files(own[worker], worker, 2))
    (log,) = load(tmp_path / "mine")
    found = log.of(Kind.training)
    assert [it.number for it in found] == list(range(len(driven)))
    assert [(it.worker, it.own_number) for it in found[:4]] == [(0, 0), (1, 0), (0, 1), (1, 1)]
    for episode, rollout in zip(found, driven, strict=True):
        assert len(episode.steps) == len(rollout)
        assert episode.reward == pytest.approx(rollout.steps["reward"].sum())
        assert episode.time_s == pytest.approx(rollout.time_s, abs=0.001), "its own worker's clock"
        assert episode.outcome == rollout.status
    table = iteration_table(log)
    assert [row.episodes for row in table] == [2 * PER_ITERATION] * ITERATIONS
    assert [row.steps for row in table] == [
        sum(map(len, driven[i * 2 * PER_ITERATION : (i + 1) * 2 * PER_ITERATION])) for i in range(ITERATIONS)
    ]
    assert found[1].title == "training 2 (worker 1: 1)"


@pytest.mark.parametrize("lost", ["1/training-simtrace/1-iteration.csv", "metrics/TrainingMetrics_1.json"])
def test_what_one_worker_has_lost_is_not_anothers(tmp_path: Path, driven: list[Rollout], lost: str) -> None:
    own = [as_worker(driven[::2]), as_worker(driven[1::2])]
    for worker in (0, 1):
        write(tmp_path / "mine", **worker_files(own[worker], worker, 2))
    (tmp_path / "mine" / lost).unlink()
    (log,) = load(tmp_path / "mine")
    table = iteration_table(log)
    assert [row.episodes for row in table] == [2 * PER_ITERATION] * ITERATIONS
    assert [it.outcome for it in log.of(Kind.training)] == [it.status for it in driven]
    assert ("no metrics of worker 1" in "".join(log.problems)) == ("metrics" in lost)


def test_one_iteration_as_in_the_bug_report(tmp_path: Path) -> None:
    """Two workers, an episode each: a lap in 10 s, and 2 s to where the road is left."""
    head = ",".join(simtrace.COLUMNS)
    for worker, steps, progress, end in ((0, 150, 100.0, "lap_complete"), (1, 30, 20.0, "off_track")):
        lines = [head]
        for i in range(1, steps + 1):
            status = "prepare" if i == 1 else end if i == steps else "in_progress"
            lines.append(
                f"0,{i}.0,{i * 0.1:.2f},0.0,0.0,0.0,1.0,0,{float(i > 1)},{i == steps},True,{progress * i / steps:.4f},"
                f"{i % 100},17.7,{i / 15:.4f},{status},0.0"
            )
        row = metrics.TrainingRow(
            steps - 1, 0, 0, 1000 * steps // 15, 1, 1, "training", int(progress), end.replace("_", " ").capitalize()
        )
        name = "TrainingMetrics_1" if worker else "TrainingMetrics"
        content = metrics.training_metrics_json([row], "progress")
        write(
            tmp_path / "logs",
            **{f"{worker}/training-simtrace/0-iteration.csv": "\n".join(lines), f"metrics/{name}.json": content},
        )
    told = CliRunner().invoke(app, ["logs", str(tmp_path / "logs"), "--json"])
    [row] = json.loads(told.output)["logs"][0]["iterations"]
    assert (row["episodes"], row["steps"], row["complete"], row["best_lap_s"]) == (2, 180, 1, 10.0)


def test_every_evaluation_has_its_own_metrics(tmp_path: Path, laps: list[Rollout]) -> None:
    """As deepracer-for-cloud names them, by when they began; one was never finished, and one has no simtrace."""
    parts = {"20240101120000": laps[:2], "20240102120000": laps[2:3], "20240103120000": laps[3:]}
    for stamp, its in parts.items():
        its = as_worker(its)
        rows = metrics.evaluation_metrics_json(metrics.evaluation_rows(its))
        if stamp != "20240102120000":
            write(tmp_path / "m", **{f"metrics/evaluation/evaluation-{stamp}.json": rows})
        if stamp != "20240103120000":
            key = f"evaluation-{stamp}/evaluation-simtrace/0-iteration.csv"
            write(tmp_path / "m", **{key: simtrace.to_csv(its, LENGTH_M, 5.0)})
    (log,) = load(tmp_path / "m")
    found = log.of(Kind.evaluation)
    assert [it.number for it in found] == [0, 1, 2, 3]
    by_time = sorted(round(it.time_s, 2) for it in found)
    assert by_time == sorted(round(lap.time_s, 2) for lap in laps)
    assert sorted(len(it.steps) for it in found) == sorted([0, *(len(lap) for lap in laps[:3])])
    for it in found:
        if len(it.steps):
            [lap] = [lap for lap in laps if len(lap) == len(it.steps)]
            assert it.time_s == pytest.approx(lap.time_s, abs=0.001)


# --- simulators' logs ------------------------------------------------------------------------------------------------


def aws_line(rollout: Rollout, i: int, time_s: float, newest: bool = True) -> str:
    """As AWS's simulator prints a step: '%d,%d,%.4f,...' (markov's s3_metrics.py), heading and steering in degrees."""
    step = rollout.steps[i]
    status = EpisodeStatus(int(step["status"]))
    name = "prepare" if i == 0 else status.name
    form = "SIM_TRACE_LOG:%d,%d,%.4f,%.4f,%.4f,%.2f,%.2f,%s,%.4f,%s,%s,%.4f,%d,%.2f,%s,%s,%.2f"
    line = form % (
        *(rollout.episode, i + 1, step["x_m"], step["y_m"], np.degrees(step["heading_rad"])),
        *(np.degrees(step["steering_rad"]), step["speed_mps"], rollout.actions[i], step["reward"]),
        *(i == len(rollout) - 1 and status.is_over, bool(step["all_wheels_on_track"]), step["progress_pct"]),
        *(step["closest_waypoint"], LENGTH_M, round(time_s + i / 15, 3), name, step["pause_s"]),
    )
    return line + (",0" if newest else "")


def line_of_2019(rollout: Rollout, i: int, time_s: float) -> str:
    """Without a status, angles in radians, the wall clock."""
    cells = aws_line(rollout, i, 1.5e9 + time_s, newest=False).split(",")
    step = rollout.steps[i]
    cells[4:6] = [f"{step['heading_rad']:.4f}", f"{step['steering_rad']:.2f}"]
    return ",".join(cells[:15])


def lines_of(driven: Iterable[Rollout], line: Callable[[Rollout, int, float], str] = aws_line) -> list[str]:
    found, time_s = [], 20.0
    for rollout in driven:
        found += [line(rollout, i, time_s) for i in range(len(rollout))]
        time_s += rollout.time_s
    return found


HEAD = """\
[markov] starting
{'AWS_REGION': 'us-east-1', 'JOB_TYPE': '%s', 'WORLD_NAME': 'circle', 'NUM_WORKERS': '%d', 'CAR_COLOR': ['Black']}
Sensor list ['FRONT_FACING_CAMERA'], network DEEP_CONVOLUTIONAL_NETWORK_SHALLOW, simapp_version 5.0
Loaded action space from file: [{'steering_angle': -30.0, 'speed': 2.0, 'index': 0}, {'steering_angle': 30, 'speed': 2}]
Using the following hyper-parameters
{
  "batch_size": 64,
  "num_episodes_between_training": %d,
  "stack_size": 1
}
"""
DRESSES = {
    "plain": "{line}\n\n",
    "time stamps": "2024-08-14 13:25:01.123456 {line}\n",
    "ros nodes": "\x1b[32m[download_params_and_roslaunch_agent_node-1] [agent-8] {line}\x1b[0m\n",
    "docker compose": "deepracer-0-robomaker-1  | {line}\n",
    "docker compose -t": "robomaker-1  | 2024-08-14T13:25:01.123456789Z {line}\n",
    "docker swarm": "2024-08-14T13:25:01.1Z deepracer-0_robomaker.1.abc123@host    | {line}\n",
    "docker json": '{{"log":"{line}\\n","stream":"stdout","time":"2024-08-14T13:25:01Z"}}\n',
    "cloudwatch": "EVENTS\t1723641901\t{line}\t1723641902\n",
    "windows": "{line}\r\n",
}


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
    write(tmp_path / "m", **{"robomaker.log.1": first, "robomaker.log.2.gz": gzip.compress(second.encode())})
    write(tmp_path / "m", **{"robomaker.log": last})
    (log,) = load(tmp_path / "m")
    assert [len(it.steps) for it in log.of(Kind.training)] == [len(it) for it in driven[:6]]


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


# --- archives and damage ---------------------------------------------------------------------------------------------


def packed(files: dict[str, str], mode: str = "w:gz") -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode=mode) as tar:  # type: ignore[call-overload]
        for key, text in files.items():
            info = tarfile.TarInfo(f"./{key}")
            info.size = len(text.encode())
            tar.addfile(info, io.BytesIO(text.encode()))
    return buffer.getvalue()


def console_files(driven: list[Rollout], laps: list[Rollout]) -> dict[str, str]:
    """As the console's download of logs has them."""
    its = worker_files(as_worker(driven[:6]), 0, 1, "sim-trace/training/")
    stamp = "20240814132050-fDmJ8bOuSwS6EkNzIJPXhw"
    return {
        **{key: text for key, text in its.items() if "simtrace" in key},
        f"metrics/training/training-{stamp}.json": its["sim-trace/training/metrics/TrainingMetrics.json"],
        f"sim-trace/evaluation/{stamp}/evaluation-simtrace/0-iteration.csv": simtrace.to_csv(
            as_worker(laps), LENGTH_M, 3.0
        ),
        f"metrics/evaluation/evaluation-{stamp}.json": metrics.evaluation_metrics_json(
            metrics.evaluation_rows(as_worker(laps))
        ),
        f"logs/training/training-{stamp}-robomaker.log": HEAD % ("TRAINING", 1, PER_ITERATION),
        f"logs/training/training-{stamp}-sagemaker.log": "Policy training> Surrogate loss=-0.1, KL divergence=0.01, "
        "Entropy=2.5, training epoch=0, learning_rate=0.0003\n",
    }


@pytest.mark.parametrize("name", ["my-model-training_job_x_logs.tar.gz", "download.tgz", "in a folder"])
def test_the_consoles_archive_of_logs(tmp_path: Path, driven: list[Rollout], laps: list[Rollout], name: str) -> None:
    content = packed(console_files(driven, laps))
    path = tmp_path / (name if "." in name else "folder/my-model_logs.tar.gz")
    path.parent.mkdir(exist_ok=True)
    path.write_bytes(content)
    (log,) = load(path if "." in name else path.parent)
    assert [len(it.steps) for it in log.of(Kind.training)] == [len(it) for it in driven[:6]]
    assert [it.time_s for it in log.of(Kind.evaluation)] == pytest.approx([it.time_s for it in laps], abs=0.001)
    assert log.updates["entropy"].tolist() == [2.5]


def test_a_cut_archive_is_read_as_far_as_it_is_whole(
    tmp_path: Path, driven: list[Rollout], laps: list[Rollout]
) -> None:
    content = packed(console_files(driven, laps), "w")
    first = content.index(b"1-iteration.csv")
    (tmp_path / "x_logs.tar").write_bytes(content[: first + 2_000])
    (log,) = load(tmp_path / "x_logs.tar")
    assert [it.iteration for it in log.of(Kind.training)] == [0] * PER_ITERATION
    assert any("x_logs.tar" in it and "1 file before it" in it for it in log.problems), log.problems


def test_a_cut_gzip_is_read_as_far_as_it_is_whole(tmp_path: Path, driven: list[Rollout]) -> None:
    text = HEAD % ("TRAINING", 1, PER_ITERATION) + "\n".join(lines_of(as_worker(driven[:6])))
    content = gzip.compress(text.encode())
    (tmp_path / "robomaker.log.gz").write_bytes(content[: len(content) // 2])
    (log,) = load(tmp_path / "robomaker.log.gz")
    assert 0 < sum(len(it.steps) for it in log.of(Kind.training)) < sum(map(len, driven[:6]))
    assert any("robomaker.log.gz: it is cut off" in it for it in log.problems)
    lines = text.splitlines()
    (tmp_path / "mixed.log").write_text("\n".join([*lines[:40], lines[40][:60] + lines[41], *lines[42:]]))
    (log,) = load(tmp_path / "mixed.log")
    assert any("mixed.log line 41" in it and "left out" in it for it in log.problems), log.problems
    assert len(log.of(Kind.training)) == 6


@pytest.mark.parametrize(
    ("name", "content"),
    [("x.log", b""), ("x.log", b"nothing here\n"), ("x_logs.tar.gz", b"junk"), ("x.log.gz", b"\x1f\x8b junk"),
     ("x.csv", b"a,b\n1,2\n"), ("empty_logs.tar.gz", packed({}))],
)  # fmt: skip
def test_what_holds_no_logs_is_refused_in_the_singular(tmp_path: Path, name: str, content: bytes) -> None:
    (tmp_path / name).write_bytes(content)
    with pytest.raises(InputError, match="SIM_TRACE_LOG") as caught:
        load(tmp_path / name)
    assert "1 files" not in str(caught.value)
    shutil.copy(tmp_path / name, tmp_path / f"again-{name}")
    with pytest.raises(InputError, match="name the folder, archive or log"):
        load(tmp_path)


# --- MinIO's own folders ---------------------------------------------------------------------------------------------


def minio(folder: Path, files: Iterable[str]) -> Path:
    """As MinIO keeps a bucket since 2022: each object is a folder with xl.meta, and parts where it is large."""
    for key in files:
        write(folder, **{f"bucket/{key}/xl.meta": b"XL2 \x01\x00", f"bucket/{key}/0f-1e/part.1": b"x"})
    return write(folder, **{".minio.sys/format.json": "{}", ".minio.sys/buckets/bucket/.metadata.bin/xl.meta": b"XL2 "})


def test_a_folder_of_minio_is_called_so(tmp_path: Path, driven: list[Rollout]) -> None:
    minio(tmp_path / "data", worker_files(as_worker(driven[:6]), 0, 1, "rl-deepracer-sagemaker/"))
    with pytest.raises(InputError) as caught:
        load(tmp_path / "data")
    for word in ("3 objects in MinIO's own form", "xl.meta", "s3 sync", "mc cp --recursive"):
        assert word in str(caught.value), caught.value
    result = CliRunner().invoke(app, ["import", str(tmp_path / "data" / "bucket")])
    assert isinstance(result.exception, InputError) and "MinIO's own form" in str(result.exception)
    write(tmp_path / "data" / "copied", **worker_files(as_worker(driven[:6]), 0, 1))
    (log,) = load(tmp_path / "data")
    assert len(log.of(Kind.training)) == 6
    assert any("3 objects in MinIO's own form are passed over" in it for it in log.problems)


# --- as a racer would ------------------------------------------------------------------------------------------------


def test_re_scoring_a_simulators_log(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, driven: list[Rollout]) -> None:
    monkeypatch.chdir(tmp_path)
    recorded.add_circle(tmp_path / "tracks")
    text = HEAD % ("TRAINING", 1, PER_ITERATION) + "\n".join(lines_of(as_worker(driven[:6])))
    (tmp_path / "robomaker.log.gz").write_bytes(gzip.compress(text.encode()))
    (tmp_path / "reward.py").write_text("def reward_function(params):\n    return params['speed']\n")
    result = CliRunner().invoke(app, ["logs", "robomaker.log.gz", "--reward", "reward.py", "--json"])
    assert result.exit_code == 0, result.output
    told = json.loads(result.output)
    assert len(told["episodes"]) == 6
    missing = CliRunner().invoke(app, ["logs", "robomaker.lgo"])
    assert isinstance(missing.exception, InputError) and "archive or file of logs" in str(missing.exception)


def test_a_race_of_the_community_is_an_evaluation() -> None:
    key = "sim-trace/leaderboard/1-x/evaluation-simtrace/0-iteration.csv"
    assert artifacts.parse_any_simtrace(key) == ("evaluation", 0)
    assert artifacts.parse_any_simtrace("2/training-simtrace/5-iteration.csv") == ("training", 5)


def test_an_import_writes_the_files_of_one_worker(driven: list[Rollout]) -> None:
    told = WorkersFiles()
    for worker in (0, 1):
        for key, text in worker_files(as_worker(driven[worker::2]), worker, 2).items():
            if key.endswith(".csv"):
                told.add(worker, int(key.rpartition("/")[2].split("-")[0]), text)
            else:
                told.rows[worker] = metrics.parse_training_metrics(text, key)
    rows = told.together()
    assert [row.episode for row in rows] == list(range(1, len(driven) + 1))
    assert [row.trial for row in rows] == [*range(1, 2 * PER_ITERATION + 1)] * ITERATIONS
    assert [row.episode_status for row in rows] == [it.status.title for it in driven]
    traces = [trace for _, text in sorted(told.files().items()) for trace in simtrace.from_csv(text, "x")]
    assert [trace.episode for trace in traces] == list(range(len(driven)))
    for trace, rollout in zip(traces, driven, strict=True):
        np.testing.assert_array_equal(trace.steps["x_m"], rollout.steps["x_m"])
