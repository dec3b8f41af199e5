"""The command line with real training: same seed, interruptions, resume, files, and what bad input says."""

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from typer.testing import CliRunner

from contract import artifacts
from contract.errors import CheckpointError, InputError, RewardError
from tests.patience import PATIENCE_S
from undercut.cli.main import app, main
from undercut.exit_codes import BAD_INPUT

UNDERCUT = Path(sys.executable).parent / "undercut"
HYPERPARAMETERS = {"num_episodes_between_training": 5, "num_epochs": 3, "discount_factor": 0.95}
LIMITS = ["--cars", "5", "--laps", "1", "--clean-evaluations", "0", "--iterations"]


@pytest.fixture
def racer(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A racer's folder with small hyperparameters."""
    (tmp_path / "hyper.json").write_text(json.dumps(HYPERPARAMETERS))
    monkeypatch.chdir(tmp_path)
    return tmp_path


def train(name: str, iterations: int, *more: str) -> None:
    arguments = ["train", name, "--hyperparameters", "hyper.json", *LIMITS, str(iterations), *more]
    result = CliRunner().invoke(app, arguments, catch_exceptions=False)
    assert result.exit_code == 0, result.output


def ended_with(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], arguments: str
) -> tuple[object, str]:
    """Exit status and messages of a command line that is refused, without what `main` does to the process."""
    monkeypatch.setattr(sys, "argv", ["undercut", *arguments.split()])
    for of_the_process in ("show_input_warnings", "settle_cache", "signal.signal"):
        monkeypatch.setattr(f"undercut.cli.main.{of_the_process}", lambda *_: None)
    with pytest.raises(SystemExit) as ended:
        main()
    return ended.value.code, capsys.readouterr().err


def numbers(run: Path) -> dict[str, bytes]:
    """Everything a run says about its numbers: all files but plots, time stamps and what holds the run's limits."""
    own = {artifacts.DEEPRACER_CHECKPOINTS, artifacts.RUN_CONFIG, artifacts.TRAINING_PARAMS}
    files = {str(path.relative_to(run)): path.read_bytes() for path in run.rglob("*") if path.is_file()}
    return {key: content for key, content in files.items() if key not in own and not key.endswith(".png")}


def assert_same(first: Path, second: Path) -> None:
    a, b = numbers(first), numbers(second)
    assert sorted(a) == sorted(b)
    assert [key for key in a if a[key] != b[key]] == []


def stop_in_second_iteration(how: signal.Signals) -> int:
    """Train in a process of its own and send the signal once the first iteration is saved; the exit code."""
    command = [str(UNDERCUT), "train", "run", "--hyperparameters", "hyper.json", *LIMITS, "50"]
    environment = {**os.environ, "PYTHONUNBUFFERED": "1"}
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, env=environment) as process:
        assert process.stdout is not None
        said = []
        for line in process.stdout:
            said.append(line.decode())
            if said[-1].startswith("    0 ") and sum(it.startswith("    0 ") for it in said) == 1:
                process.send_signal(how)  # once: a second Ctrl-C stops at once
        status = process.wait(timeout=PATIENCE_S)
    print("".join(said))  # pytest shows it when the test fails
    assert sum(line.startswith("    0 ") for line in said) == 1
    assert any("finishing and saving this iteration" in line for line in said) == (how != signal.SIGKILL)
    return status


@pytest.mark.slow
@pytest.mark.parametrize("how", [signal.SIGINT, signal.SIGTERM])
def test_ctrl_c_and_resume_leave_what_an_uninterrupted_run_leaves(racer: Path, how: signal.Signals) -> None:
    train("run", 3)
    whole, run = racer / "whole", racer / "runs" / "run"
    run.rename(whole)
    assert stop_in_second_iteration(how) == 130
    # whichever iteration was under way is finished and saved
    assert 1 <= len(json.loads((run / artifacts.ITERATIONS).read_text())) <= 2
    assert (run / artifacts.TRAINING_PLOT).is_file()
    assert (run / artifacts.car_bundle("run")).is_file()
    train("run", 3)
    assert_same(whole, run)
    _check_contract_files(run)
    _check_errors_of_an_existing_run(run)


@pytest.mark.slow
def test_kill_9_and_resume_leave_what_an_uninterrupted_run_leaves(racer: Path) -> None:
    train("run", 2)
    whole, run = racer / "whole", racer / "runs" / "run"
    run.rename(whole)
    assert stop_in_second_iteration(signal.SIGKILL) == -signal.SIGKILL
    assert not (run / artifacts.TRAINING_PLOT).exists()
    train("run", 2)
    assert_same(whole, run)
    train("run", 2)  # a finished run says so and stays as it is
    assert_same(whole, run)


@pytest.mark.slow
def test_the_same_seed_gives_the_same_run_and_another_seed_another_one(racer: Path) -> None:
    run = racer / "runs" / "run"
    for name, seed in (("first", "3"), ("second", "3"), ("other", "4")):
        train("run", 2, "--seed", seed)
        run.rename(racer / name)
    assert_same(racer / "first", racer / "second")
    metrics = artifacts.TRAINING_METRICS
    assert (racer / "first" / metrics).read_bytes() != (racer / "other" / metrics).read_bytes()


def _check_contract_files(run: Path) -> None:
    pointers = json.loads((run / "model/deepracer_checkpoints.json").read_text())
    last = pointers["last_checkpoint"]["name"]
    for key in (
        f"model/{last}.index",
        f"model/{last}.meta",
        f"model/{last}.data-00000-of-00001",
        f"model/model_{last.split('_')[0]}.pb",
        "model/.coach_checkpoint",
        "model/model_metadata.json",
        "ip/hyperparameters.json",
        "reward_function.py",
        "training_params.yaml",
        "evaluation_params.yaml",
        "training_metrics.json",
        "evaluation_metrics.json",
        "iteration-data/training/training-simtrace/2-iteration.csv",
        "iteration-data/training/evaluation-simtrace/2-iteration.csv",
        "iteration-data/evaluation/evaluation-simtrace/0-iteration.csv",
        "train-output/run/output/model.tar.gz",
    ):
        assert (run / key).stat().st_size > 0, key
    rows = json.loads((run / "training_metrics.json").read_text())["metrics"]
    assert [row["phase"] for row in rows].count("training") == 15
    assert [row["phase"] for row in rows].count("evaluation") == 15
    listed = CliRunner().invoke(app, ["runs", "--json"])
    assert [row["run"] for row in json.loads(listed.output)] == ["run"]


def _check_errors_of_an_existing_run(run: Path) -> None:
    with pytest.raises(InputError, match="a resumed run keeps its seed: 0"):
        train("run", 4, "--seed", "9")
    Path("other.py").write_text("def reward_function(params):\n    return 2.0\n")
    with pytest.raises(InputError, match="keeps the files it began with"):
        train("run", 4, "--reward", "other.py")
    refused = CliRunner().invoke(app, ["evaluate", "run", "--checkpoint", "first"])
    assert refused.exit_code == BAD_INPUT and "'best'" in refused.output
    data = next(run.glob("model/2_*.data-*"))
    content = bytearray(data.read_bytes())
    content[len(content) // 2] ^= 1
    data.write_bytes(content)
    with pytest.raises(CheckpointError, match=r"2_Step-\d+\.ckpt: model/2_Step.*SHA-256(.|\n)*go on from a checkpoint"):
        train("run", 4)


@pytest.mark.slow
def test_a_reward_that_fails_on_the_road_shows_the_racers_traceback(racer: Path) -> None:
    (racer / "sometimes.py").write_text(
        "def reward_function(params):\n"
        "    if params['steps'] > 3:\n"
        "        return 1.0 / (params['track_width'] - params['track_width'])\n"
        "    return 1.0\n"
    )
    with pytest.raises(RewardError) as caught:
        train("run", 1, "--reward", "sometimes.py")
    for word in ("sometimes.py", "line 3", "ZeroDivisionError", "steps: 4.0"):
        assert word in str(caught.value)
    assert (racer / "runs" / "run" / artifacts.RUN_CONFIG).is_file()


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["train", "x", "--track", "padock"], ["padock", "paddock"]),
        (["train", "x", "--reward", "none.py"], ["none.py"]),
        (["train", "x", "--metadata", "hyper.json"], ["hyper.json", "a model has an action space"]),
        (["train", "x", "--hyperparameters", "nothing.json"], ["nothing.json"]),
        (["train", "../x"], ["../x", "letters, digits"]),
        (["train", "with blank"], ["RUN: 'with blank'", "letters, digits", "for example with-blank"]),
        (["race", "a", "b", "--name", "with blank"], ["--name: 'with blank'", "for example with-blank"]),
        (["view", "with blank"], ["run: 'with blank'", "for example with-blank"]),
        (["evaluate", "nobody"], ["nobody", "undercut train nobody"]),
        (["evaluate", "with blank"], ["run: 'with blank'", "undercut runs lists them"]),
    ],
)
def test_bad_arguments_leave_no_run(racer: Path, arguments: list[str], words: list[str]) -> None:
    with pytest.raises(InputError) as caught:
        CliRunner().invoke(app, arguments, catch_exceptions=False)
    for word in words:
        assert word in str(caught.value)
    assert not (racer / "runs").exists()


@pytest.mark.parametrize(
    ("arguments", "place", "rule", "fix"),
    [
        ("train x --cars 0", "--cars: '0'", "a number, at least 1", "write a number that is at least 1"),
        ("evaluate x --obstacles 300", "--obstacles: '300'", "a number, at most 50", "that is at most 50"),
        ("train x --bots -1", "--bots: '-1'", "a number, at least 0", "that is at least 0"),
        ("train x --race-type TIME", "--race-type: 'TIME'", "one of TIME_TRIAL, ", "did you mean 'TIME_TRIAL'?"),
        ("video x --view ahead", "--view: 'ahead'", "one of topview, 45degree, pip, front", "choose one of them"),
        ("view x --port many", "--port: 'many'", "a whole number", "write a whole number"),
    ],
)
def test_a_value_that_an_option_does_not_take_leaves_no_run(
    racer: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str],
    arguments: str, place: str, rule: str, fix: str,
) -> None:  # fmt: skip
    status, told = ended_with(monkeypatch, capsys, arguments)
    where, told_rule, told_fix = told.splitlines()
    assert status == BAD_INPUT and where == f"error: {place} is not allowed"
    assert told_rule.startswith(f"  rule: {rule}") and told_fix.endswith(fix)
    assert not (racer / "runs").exists()


def test_bad_input_is_a_message_with_exit_status_2(racer: Path) -> None:
    done = subprocess.run(
        [str(UNDERCUT), "evaluate", "nobody"], check=False, capture_output=True, text=True, timeout=PATIENCE_S
    )
    assert done.returncode == 2
    assert done.stderr.startswith("error: run: 'nobody' is not allowed")
    assert "Traceback" not in done.stderr


def test_a_wrong_option_is_a_message_with_exit_status_2(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    status, told = ended_with(monkeypatch, capsys, "train --sed 1")
    assert status == 2
    assert "--seed" in told


def test_no_runs_yet(racer: Path) -> None:
    assert "undercut train" in CliRunner().invoke(app, ["runs"]).output
    assert json.loads(CliRunner().invoke(app, ["runs", "--json"]).output) == []


def test_help_and_completion_import_nothing_that_takes_seconds() -> None:
    heavy = ("numba", "tensorflow", "matplotlib", "redis", "boto3", "aiohttp", "pandas", "scipy", "av", "docker")
    asked = f"import sys, undercut.cli.main; print(*(name for name in {heavy} if name in sys.modules))"
    done = subprocess.run([sys.executable, "-c", asked], capture_output=True, text=True, check=True)
    assert done.stdout.split() == []
