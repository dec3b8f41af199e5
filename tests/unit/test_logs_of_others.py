"""Archives of the consoles, cut and mixed files, MinIO's folders, and what a racer does with them."""

import gzip
import io
import json
import shutil
import tarfile
import zipfile
from collections.abc import Iterable
from pathlib import Path

import pytest
from typer.testing import CliRunner

from contract import artifacts, metrics, simtrace
from contract.errors import InputError
from contract.rollout import Rollout
from tests import recorded
from tests.others import (
    HEAD,
    LENGTH_M,
    PER_ITERATION,
    as_worker,
    lines_of,
    load,
    worker_files,
    write,
)
from undercut.analysis.log import Kind
from undercut.cli.main import app

# --- archives and damage ---------------------------------------------------------------------------------------------


def packed(files: dict[str, str], is_gzipped: bool = True) -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as tar:
        for key, text in files.items():
            info = tarfile.TarInfo(f"./{key}")
            info.size = len(text.encode())
            tar.addfile(info, io.BytesIO(text.encode()))
    # no time in it: tests are named by its bytes, and every process has to give them the same names
    return gzip.compress(buffer.getvalue(), mtime=0) if is_gzipped else buffer.getvalue()


def zipped(files: dict[str, str]) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        for key, text in {**files, "../outside.csv": "a"}.items():
            archive.writestr(key, text)
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


@pytest.mark.parametrize("name", ["my-model-training_job_x_logs.tar.gz", "download.tgz", "download.zip", "in a folder"])
def test_the_consoles_archive_of_logs(tmp_path: Path, driven: list[Rollout], laps: list[Rollout], name: str) -> None:
    files = console_files(driven, laps)
    content = zipped(files) if name.endswith(".zip") else packed(files)
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
    content = packed(console_files(driven, laps), is_gzipped=False)
    first = content.index(b"1-iteration.csv")
    (tmp_path / "x_logs.tar").write_bytes(content[: first + 2_000])
    (log,) = load(tmp_path / "x_logs.tar")
    assert [it.iteration for it in log.of(Kind.training)] == [0] * PER_ITERATION
    assert any("x_logs.tar" in it and "1 file before it" in it for it in log.problems), log.problems


def test_a_cut_zip_is_said_to_be_damaged(tmp_path: Path, driven: list[Rollout], laps: list[Rollout]) -> None:
    """Its list of files stands at the end."""
    content = zipped(console_files(driven, laps))
    (tmp_path / "x_logs.zip").write_bytes(content[: len(content) // 2])
    with pytest.raises(InputError, match=r"x_logs\.zip"):
        load(tmp_path / "x_logs.zip")


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
    write(folder, **{".minio.sys/format.json": "{}"})
    return write(folder, **{".minio.sys/buckets/bucket/.metadata.bin/xl.meta": b"XL2 "})


def test_a_folder_of_minio_is_called_so(tmp_path: Path, driven: list[Rollout]) -> None:
    minio(tmp_path / "data", worker_files(as_worker(driven[:6]), 0, 1, "rl-deepracer-sagemaker/"))
    with pytest.raises(InputError) as caught:
        load(tmp_path / "data")
    for word in ("3 objects in MinIO's own form", "xl.meta", "s3 sync", "mc cp --recursive"):
        assert word in str(caught.value), caught.value
    result = CliRunner().invoke(app, ["import", str(tmp_path / "data" / "bucket")])
    assert isinstance(result.exception, InputError) and "MinIO's own form" in str(result.exception)
    check = CliRunner().invoke(app, ["check", str(tmp_path / "data" / "bucket" / "rl-deepracer-sagemaker" / "metrics")])
    assert isinstance(check.exception, InputError) and "1 object in MinIO's own form" in str(check.exception)
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
