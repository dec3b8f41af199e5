"""`undercut check`: what it finds without driving, which files it takes, its JSON, and its exit code."""

import argparse
import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner

from contract.errors import InputError
from contract.metadata import ModelMetadata
from contract.state import EpisodeStatus
from simapp.tracks import load_track
from tests.conftest import REPO
from undercut.check.check import Given, check
from undercut.check.driven import _scale
from undercut.check.lap import Trial, TrialDrive
from undercut.check.source import check_source
from undercut.cli.main import app

ACTIONS = REPO / "actions" / "default.json"
KNOWN = ("heading", "steering_angle", "speed", "progress", "steps", "waypoints", "objects_heading", "x", "y", "all")


def traps(body: str, metadata: Path | None = ACTIONS) -> list[tuple[str, str]]:
    source = "import math\nimport numpy as np\nLIMIT = 15\ndef reward_function(params):\n"
    source += "".join(f"    {line}\n" for line in body.splitlines()) + "    return 1.0\n"
    read = ModelMetadata.load(metadata) if metadata else None
    return [(found.level, found.text) for found in check_source(source, "r.py", KNOWN, read, load_track("paddock"))]


@pytest.mark.parametrize(
    ("body", "part"),
    [
        ("math.cos(params['heading'])", "cos takes radians"),
        ("h = params['heading']\nnp.sin(h)", "sin takes radians"),
        ("math.tan(abs(params.get('steering_angle')))", "tan takes radians"),
        ("math.degrees(params['heading'])", "in degrees already"),
        ("math.radians(math.atan2(1, 2))", "in radians already"),
        ("d = math.atan2(1, 2)\nd - params['heading']", "the left side is in radians"),
        ("h = math.radians(params['heading'])\nh - params['steering_angle']", "the left side is in radians"),
        ("d = abs(math.atan2(1, 2))\nif d > 30: pass", "the angle is in radians"),
        ("if params['steering_angle'] > 0.35: pass", "write 20"),
        ("if 0.1 < abs(params['steering_angle']): pass", "write 6"),
        ("if params['heading'] > 1.57: pass", "write 90"),
        ("if params['progress'] == 1: pass", "progress goes from 0 to 100"),
        ("if params['progress'] > 100: pass", "never true"),
        ("if params['speed'] > 2: pass", "never true"),
        ("if params['speed'] == 3.5: pass", "never true"),
        ("if not params['speed'] < 1.0: pass", "never true"),
        ("if abs(params['steering_angle']) > LIMIT * 2 + 1: pass", "never true"),
        ("if params['speed'] >= 1: pass", "always true"),
        ("if params['steps'] == 0: pass", "steps 1"),
        ("params['speeed']", "there is no param 'speeed'"),
        ("params.get('speeed', 1)", "get() gives its default"),
        ("if params['objects_heading'][0] - params['heading'] > 0: pass", "the left side is in radians"),
        ("math.radians(params['objects_heading'][0])", "it is in radians already"),
    ],
)
def test_traps(body: str, part: str) -> None:
    source = "import math\nimport numpy as np\nLIMIT = 15\ndef reward_function(params):\n"
    source += "".join(f"    {line}\n" for line in body.splitlines())
    found = check_source(source, "r.py", KNOWN, ModelMetadata.load(ACTIONS), None)
    assert any(part in f"{it.text} {it.fix}" for it in found), found


@pytest.mark.parametrize(
    "body",
    [
        "math.cos(math.radians(params['heading']))",
        "d = math.degrees(math.atan2(1, 2))\nd = d - params['heading']\nd = (d + 180) % 360 - 180",
        "if abs(params['steering_angle']) > LIMIT: pass",
        "if params['speed'] > 1.5: pass",
        "if params['speed'] == 2: pass",
        "if params['progress'] >= 50: pass",
        "params['mine'] = 1\nparams['mine']",
        "speed = params['speed']\nspeed = speed ** 2 / 10\nif speed > 30: pass",
        "h = params['heading']\nh = h * math.pi / 180\nmath.cos(h)",
        "steps = params['steps']\nif steps % 100 == 0: pass",
        "x = params['x']\nif x > 0.2: pass",
    ],
)
def test_what_is_right_is_no_trap(body: str) -> None:
    assert traps(body) == []


def test_a_constant_that_is_changed_somewhere_is_none() -> None:
    assert traps("LOW = 5\nLOW = 1.5\nif params['speed'] > LOW: pass") == []


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "my_reward.py").write_text("def reward_function(params):\n    return params['speed'] / 2\n")
    (tmp_path / "model_metadata.json").write_text(ACTIONS.read_text())
    (tmp_path / "hyperparameters.json").write_text((REPO / "actions" / "hyperparameters.json").read_text())
    (tmp_path / "training_params.yaml").write_text('WORLD_NAME: "kidney"\n')
    return tmp_path


def invoke(*arguments: str | Path) -> tuple[int, str]:
    result = CliRunner().invoke(app, ["check", *map(str, arguments)])
    return result.exit_code, result.output


def test_a_folder_is_checked_whole(folder: Path) -> None:
    status, output = invoke(folder, "--json")
    told = json.loads(output)
    assert status == 0 and told["ok"] is True
    checked = [found["what"] for found in told["findings"] if found["level"] == "ok"]
    assert {Path(place).name for place in checked} == {
        *("my_reward.py", "model_metadata.json", "hyperparameters.json", "training_params.yaml"),
    }
    assert told["reads"] == ["speed"] and "heading" in told["unread"]
    assert told["call_s"] > 0.0
    assert [found["level"] for found in told["findings"] if found["level"] != "ok"] == []


def test_a_drive_that_fails_at_once_has_no_rewards_to_show(folder: Path) -> None:
    (folder / "my_reward.py").write_text("def reward_function(params):\n    return params['sped']\n")
    status, output = invoke("--reward", folder / "my_reward.py")
    assert status == 1 and "None" not in output
    (lap,) = [line for line in output.splitlines() if "│ lap " in line]
    assert [cell.strip() for cell in lap.strip("│").split("│")] == ["lap", "failed", "1", "-", "-", "-", "0"]


def test_what_a_lap_pays_is_told_of_one_that_was_driven_whole() -> None:
    steps = [TrialDrive("lap", EpisodeStatus.off_track, rewards=[1.0, 2.0])]
    assert [it.text for it in _scale(Trial(steps, set(), set()), "reward", np.array([1.0, 2.0]))] == [
        "rewards from 1 to 2; 3 for an unfinished lap of 2 steps"
    ]
    steps.append(TrialDrive("lap by hand", EpisodeStatus.lap_complete, rewards=[1.0, 2.0, 2.0]))
    assert [it.text for it in _scale(Trial(steps, set(), set()), "reward", np.array([1.0, 2.0]))] == [
        "rewards from 1 to 2; 5 for a lap of 3 steps"
    ]


def test_strict_takes_warnings_for_failures(folder: Path) -> None:
    (folder / "my_reward.py").write_text("def reward_function(params):\n    return params['speed'] > 3\n")
    assert (invoke(folder)[0], invoke(folder, "--strict")[0]) == (0, 1)


def test_every_broken_file_of_a_folder_is_told_at_once(folder: Path) -> None:
    (folder / "model_metadata.json").write_text('{"action_spaces": []}')
    (folder / "hyperparameters.json").write_text('{"batchsize": 64}')
    (folder / "training_params.yaml").write_text('WORLD_NAME: "paddok"\nREVERSE_DIRECTION: "true"\n')
    (folder / "my_reward.py").write_text("def reward_function(params):\n    return params['sped']\n")
    status, output = invoke(folder)
    assert status == 1
    flat = " ".join(output.split())
    for part in ("'action_space'", "'batch_size'", "did you mean 'REVERSE_DIR'?", "did you mean 'speed'?"):
        assert part in flat, output


def test_the_params_of_the_call_that_failed_are_told(tmp_path: Path) -> None:
    reward = tmp_path / "reward.py"
    body = "    if params['steps'] > 5:\n        return params['waypoints']['x']\n    return params['speed']\n"
    reward.write_text(f"def reward_function(params):\n{body}")
    status, output = invoke("--reward", reward)
    _, told = output.split("the params of the failing call are below")
    assert status == 1 and {"steps: 6.0", "track_width: 0.76"} <= {line.strip() for line in told.splitlines()}
    told = json.loads(invoke("--reward", reward, "--json")[1])
    [failed] = [found for found in told["findings"] if found["level"] == "fail"]
    assert failed["params"]["steps"] == "6.0"
    assert failed["params"]["waypoints"].startswith("[(0.0, 0.0), ") and "119 in all" in failed["params"]["waypoints"]
    assert told["reads"] == ["speed", "steps", "waypoints"]


def test_an_unknown_track_is_told_with_the_nearest(folder: Path) -> None:
    (folder / "training_params.yaml").write_text('WORLD_NAME: "paddok"\n')
    report = check(Given.in_folder(folder))
    [found] = [found for found in report.findings if found.level == "fail"]
    assert "training_params.yaml: WORLD_NAME" in found.what and "did you mean paddock?" in found.fix


def test_exit_statuses(folder: Path, tmp_path_factory: pytest.TempPathFactory) -> None:
    undercut = [str(Path(sys.executable).parent / "undercut"), "check"]
    empty = tmp_path_factory.mktemp("empty")
    run = subprocess.run([*undercut, str(empty)], capture_output=True, text=True, check=False)
    assert run.returncode == 2 and "undercut new NAME writes one" in run.stderr


@pytest.mark.parametrize(
    ("arguments", "place"),
    [
        ("check --reward nowhere.py", "--reward: 'nowhere.py'"),
        ("check --params nowhere.yaml", "--params: 'nowhere.yaml'"),
        ("check nowhere", "FOLDER: 'nowhere'"),
        ("check .", "FOLDER: '.'"),
        ("train fast --folder nowhere", "--folder: 'nowhere'"),
        ("train fast --folder .", "--folder: '.'"),
        ("train fast --folder two", "--folder two: 'one.py, other.py'"),
    ],
)
def test_files_that_are_not_there_are_told_with_the_option_that_was_typed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, arguments: str, place: str
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "two").mkdir()
    for name in ("one.py", "other.py"):
        (tmp_path / "two" / name).write_text("def reward_function(params):\n    return params['speed']\n")
    result = CliRunner().invoke(app, arguments.split())
    assert isinstance(result.exception, InputError) and str(result.exception).startswith(f"{place} is not allowed")
    assert "check" not in str(result.exception.rule)
    assert Given.in_folder(tmp_path / "two", "FOLDER", Path("two/one.py")).reward == Path("two/one.py")


def test_without_metadata_the_actions_are_those_of_a_training_without(folder: Path) -> None:
    report = check(Given(reward=folder / "my_reward.py"))
    assert [found.level for found in report.findings] == ["ok"] * 3
    assert report.drives[0]["lowest"] < report.drives[0]["highest"]  # several speeds


def test_a_runs_folder_can_be_checked(folder: Path) -> None:
    run = folder / "runs" / "fast"
    for name, to in (("my_reward.py", "reward_function.py"), ("model_metadata.json", "model/model_metadata.json")):
        (run / to).parent.mkdir(parents=True, exist_ok=True)
        (run / to).write_text((folder / name).read_text())
    given = Given.in_folder(run)
    assert given.reward == run / "reward_function.py" and given.metadata == run / "model/model_metadata.json"


def test_tensorflow_is_not_imported(folder: Path) -> None:
    code = (
        "import sys; from pathlib import Path; from undercut.check.check import Given, check\n"
        "import undercut.cli.main\n"
        f"check(Given.in_folder(Path({str(folder)!r})))\n"
        "sys.exit(any(name in sys.modules for name in ('tensorflow', 'rl_coach', 'matplotlib')))"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


@pytest.mark.parametrize(
    ("params", "kind"),
    [
        ("evaluation_params.yaml", "an evaluation"),
        ("training_params.yaml", "a training"),
        ("head2head_params.yaml", "a race of 2 runs"),
        ("tournament_params.yaml", "a race of 4 runs"),
    ],
)
def test_run_parameters_of_every_kind(params: str, kind: str) -> None:
    report = check(Given(params=(REPO / "actions" / "params" / params,)))
    [found] = report.findings
    assert found.level == "ok" and kind in found.text


def test_e_greedy_needs_discrete_actions(folder: Path) -> None:
    (folder / "hyperparameters.json").write_text('{"exploration_type": "e-greedy"}')
    actions = REPO / "actions" / "front_shallow_continuous_ppo.json"
    report = check(Given(metadata=actions, hyperparameters=folder / "hyperparameters.json"))
    assert [found.level for found in report.findings] == ["ok", "fail"]
    assert "discrete" in report.findings[1].text


@pytest.mark.parametrize("module", ["argparse", "colorsys", "dataclasses", "fractions", "statistics", "turtle"])
def test_any_python_file_can_be_looked_at(module: str) -> None:
    source = (Path(argparse.__file__).parent / f"{module}.py").read_text(encoding="utf-8")
    for found in check_source(source, module, KNOWN, None, load_track("paddock")):
        assert found.level in ("note", "warn", "fail") and found.text


@pytest.mark.parametrize(
    "source",
    [
        f"if params['speed'] > 1{'0' * 400}: pass",
        "L = [" + ("(1" + "0" * 400 + ", 2), ") * 30 + "]",
        f"L = [{'{}, ' * 30}]",
        f"x = {'-' * 900}1",
        "a = b = params['heading'] = 3\nfor params['x'] in (1, 2): pass",
    ],
)
def test_strange_source_is_no_trap(source: str) -> None:
    assert check_source(source, "r.py", KNOWN, ModelMetadata.load(ACTIONS), load_track("paddock")) == []


@pytest.mark.slow
def test_on_a_terminal_the_wait_is_shown_before_the_answer(tmp_path: Path) -> None:
    """As a terminal shows it: the imports first, then the laps of the reward function."""
    from scripts.record_terminal import recorded

    (tmp_path / "reward_function.py").write_text("def reward_function(params):\n    return 1.0\n")
    said = b"".join(piece.data for piece in recorded("undercut check .", tmp_path)).decode()
    assert 0 <= said.index("loading") < said.index("driving the reward function") < said.index("checked in")
    assert 0 <= said.index("\x1b[2K") < said.index("checked in"), "what was waited for is wiped away"
