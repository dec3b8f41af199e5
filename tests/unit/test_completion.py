"""Shell completion as shells ask for it, the arrangement of --help, and that every list speaks JSON."""

import os
import subprocess
import sys
from pathlib import Path

import click
import pytest
import typer
from typer.testing import CliRunner

from simapp.scene import VIEWS
from undercut.cli.main import PANELS, app
from undercut.cli.video import ViewName
from undercut.exit_codes import BAD_INPUT

UNDERCUT = Path(sys.executable).parent / "undercut"
ROOT = typer.main.get_command(app)


def commands(group: click.Group = ROOT, prefix: str = "") -> dict[str, click.Command]:  # type: ignore[assignment]
    """Every command by its whole name."""
    found: dict[str, click.Command] = {}
    for name, command in group.commands.items():
        if isinstance(command, click.Group) or hasattr(command, "commands"):
            found |= commands(command, f"{prefix}{name} ")  # type: ignore[arg-type]
        else:
            found[prefix + name] = command
    return found


def complete(shell: str, folder: Path, words: str) -> str:
    """What the shell's own script would be given for these words, the last one incomplete."""
    environment = {**os.environ, "_UNDERCUT_COMPLETE": f"complete_{shell}"}
    environment.pop("UNDERCUT_STORE", None)
    if shell == "bash":
        environment |= {"COMP_WORDS": words, "COMP_CWORD": str(words.count(" "))}
    else:
        environment |= {"_TYPER_COMPLETE_ARGS": words, "_TYPER_COMPLETE_FISH_ACTION": "get-args"}
    run = subprocess.run([str(UNDERCUT)], env=environment, cwd=folder, capture_output=True, text=True, check=False)
    assert run.stderr == ""
    return run.stdout


@pytest.fixture
def racer(tmp_path: Path) -> Path:
    for name in ("fast", "faster", "slow"):
        (tmp_path / "runs" / name).mkdir(parents=True)
        (tmp_path / "runs" / name / "run.json").write_text("{}")
    (tmp_path / "mine").mkdir()
    return tmp_path


@pytest.mark.parametrize(
    "shell", ["bash", pytest.param("zsh", marks=pytest.mark.slow), pytest.param("fish", marks=pytest.mark.slow)]
)
def test_each_shell_gets_the_runs(racer: Path, shell: str) -> None:
    told = complete(shell, racer, "undercut evaluate fa")
    assert "fast" in told and "faster" in told and "slow" not in told


@pytest.mark.slow
@pytest.mark.parametrize(
    ("words", "offered", "not_offered"),
    [
        ("undercut train x --track pad", ["paddock"], ["kidney"]),
        ("undercut train x --track paddock", ["paddock_cw", "paddock_ccw"], []),
        ("undercut tracks show kid", ["kidney"], ["paddock"]),
        ("undercut race slow fas", ["fast", "faster"], ["slow"]),
        ("undercut report fast slo", ["slow"], ["fast"]),
        ("undercut video fast --view p", ["pip"], ["front"]),
        ("undercut evaluate --sim g", ["gazebo"], ["builtin"]),
        ("undercut evaluate --checkpoint l", ["last"], ["best"]),
        ("undercut check m", ["mine/"], ["runs/"]),
        ("undercut tr", ["train", "tracks"], ["new"]),
        ("undercut train --ite", ["--iterations"], ["--steps"]),
    ],
)
def test_what_is_offered(racer: Path, words: str, offered: list[str], not_offered: list[str]) -> None:
    told = complete("bash", racer, words).split()
    assert set(offered) <= set(told)
    assert not set(not_offered) & set(told)


@pytest.mark.slow
def test_nothing_is_offered_and_nothing_fails_where_there_is_nothing(tmp_path: Path) -> None:
    assert complete("bash", tmp_path, "undercut evaluate fa").strip() == ""


def test_every_command_of_the_panels_exists() -> None:
    listed = [name for names in PANELS.values() for name in names]
    assert set(listed) <= set(ROOT.commands)  # type: ignore[attr-defined]
    assert len(listed) == len(set(listed))


def test_every_command_and_option_says_what_it_is() -> None:
    silent = [name for name, command in commands().items() if not command.help]
    assert silent == []


@pytest.mark.parametrize(
    ("words", "named"),
    [
        ("train x --precision float23", "'float32'"),
        ("train x --sim gazeboo", "'gazebo'"),
        ("train x --race-type OVAL", "'OBJECT_AVOIDANCE'"),
        ("train x --iterations 0", "greater than or equal to 1"),
        ("race a b --checkpoint first", "'last'"),
        ("evaluate x --laps 1001", "less than or equal to 1000"),
        ("export x --layout gym", "'drfc'"),
        ("new x --algorithm dqn", "'clipped_ppo'"),
        ("video x --view sideways", "'45degree'"),
    ],
)
def test_a_bad_choice_or_number_names_the_option_and_what_it_takes(words: str, named: str) -> None:
    told = CliRunner().invoke(app, words.split())
    said = " ".join(word for word in told.output.split() if word != "│")
    assert told.exit_code == BAD_INPUT
    assert words.split()[-2] in said and named in said


def test_choices_of_videos_are_those_of_the_scene() -> None:
    assert [str(view) for view in ViewName] == list(VIEWS)


def test_every_list_and_result_has_json() -> None:
    tables = ["runs", "check", "doctor", "logs", "compare", "evaluate", "race", "tournament", "tracks list"]
    tables += ["stack ps", "cloud status", "cloud cost"]
    lacking = [name for name in tables if not any("--json" in parameter.opts for parameter in commands()[name].params)]
    assert lacking == []
