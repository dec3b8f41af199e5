"""`undercut report` and `undercut logs` through the command line, in an empty working directory."""

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console
from typer.testing import CliRunner

from contract import artifacts
from contract.errors import InputError, RewardError
from contract.state import EpisodeStatus
from tests import recorded
from undercut.analysis.log import Kind
from undercut.cli import report as report_cli
from undercut.cli.main import app


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("work")
    recorded.add_circle(root / "tracks")
    recorded.record(root / "runs" / "oval", recorded.episodes())
    return root


@pytest.fixture(autouse=True)
def workdir(whole: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    shutil.copytree(whole, tmp_path / "work")
    monkeypatch.chdir(tmp_path / "work")
    monkeypatch.setattr(report_cli, "console", Console(width=200, soft_wrap=True))
    return tmp_path / "work"


def run(*arguments: str) -> str:
    result = CliRunner().invoke(app, list(arguments), catch_exceptions=False)
    assert result.exit_code == 0, result.output
    return result.stdout


def told(*arguments: str) -> Any:
    return json.loads(run(*arguments, "--json"))


@pytest.mark.slow
def test_report_of_a_folder_writes_a_page_and_pictures_beside_runs(workdir: Path) -> None:
    """Metrics of an evaluation alone, to draw little; a name may be a folder."""
    folder = workdir / "from elsewhere"
    folder.mkdir()
    shutil.copy(workdir / "runs" / "oval" / artifacts.EVALUATION_METRICS, folder / "evaluation_metrics.json")
    before = sorted(folder.rglob("*"))
    output = run("report", "from elsewhere")
    page = Path("reports/from-elsewhere/report.html")
    assert f"report: {page}" in output
    assert "missing or damaged: no training episodes" in output
    assert page.read_text().count("<svg") == len(list(page.parent.glob("report/*.png"))) == 2
    assert sorted(folder.rglob("*")) == before, "a racer's own folder stays as it is"


@pytest.mark.slow
def test_report_of_a_run_goes_into_the_run(workdir: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    opened: list[str] = []
    monkeypatch.setattr("webbrowser.open", opened.append)
    shutil.copytree("runs/oval", "runs/other")
    output = run("report", "oval", "other", "--open")
    page = workdir / "runs" / "oval" / artifacts.REPORT
    assert opened == [page.as_uri()]
    assert "oval, compared with other" in page.read_text()
    assert "3 of 3 laps of the evaluation are complete" in output
    assert {path.stem for path in (page.parent / "report").glob("*.png")} >= {"reward", "path_speed", "compare_reward"}
    assert not (workdir / "runs" / "other" / artifacts.REPORT).exists()


def test_logs_as_tables_and_as_json() -> None:
    output = run("logs", "oval")
    assert "oval on circle, lap 18.85 m" in output
    assert "where cars left the road or crashed" in output
    (log,) = told("logs", "oval")["logs"]
    assert (log["name"], log["track"], log["problems"]) == ("oval", "circle", [])
    assert [row["episodes"] for row in log["iterations"]] == [recorded.EPISODES] * recorded.ITERATIONS
    training, _, laps = recorded.episodes()
    left = sum(it.status == EpisodeStatus.off_track for part in training for it in part)
    assert sum(row["training"] for row in log["exit_sectors"]) == left
    assert log["best_laps"][0]["time_s"] <= min(lap.time_s for lap in laps) + 1e-3
    assert all(finding["rule"] for finding in log["findings"])


@pytest.mark.slow
def test_logs_re_score_with_another_reward() -> None:
    Path("mine.py").write_text(
        "def reward_function(params):\n    return params['progress'] + len(params['objects_speed'])\n"
    )
    output = run("logs", "oval", "--reward", "mine.py")
    assert "no simtrace tells objects_speed: the function sees an empty track" in output
    assert "rank correlation of the episodes" in output
    assert Path("runs/oval/report/rescored-mine.png").read_bytes().startswith(b"\x89PNG")
    result = told("logs", "oval", "--reward", "mine.py")
    assert result["unknown_params"] == ["objects_speed"]
    assert len(result["episodes"]) == 6 * 3 + 2 * 3 + 3
    assert result["episodes"][0]["episode"] == f"{Kind.training} 1"
    assert len(result["sectors"]) == 10


def test_a_reward_that_fails_is_shown_and_nothing_is_written() -> None:
    Path("bad.py").write_text("def reward_function(params):\n    return params['speeed']\n")
    with pytest.raises(RewardError, match="did you mean 'speed'"):
        run("logs", "oval", "--reward", "bad.py")
    assert not Path("runs/oval/report").exists()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["report", "nothing"], r"there are: oval\), or a folder, archive or file of logs"),
        (["report"], "--traces FOLDER"),
        (["report", "--traces", "nothing"], "a folder, archive or log with simtraces or metrics"),
        (["logs", "tracks"], r"logs have simtraces"),
        (["logs", "oval", "--reward", "nothing.py"], "nothing.py"),
        (["logs", "oval", "--track", "nothing"], "a track is a known name"),
    ],
)
def test_what_is_not_there_is_named(arguments: list[str], message: str) -> None:
    with pytest.raises(InputError, match=message):
        run(*arguments)


def test_a_run_without_its_config_is_still_analysed() -> None:
    Path("runs/oval/run.json").unlink()
    (log,) = told("logs", "oval")["logs"]
    assert log["track"] == "circle", "found by its shape"
    assert "run.json is missing" in log["problems"][0]
