"""`undercut new`: what it writes passes the check, trains, and never replaces anything."""

from pathlib import Path
from typing import Any, get_args

import pytest
from typer.testing import CliRunner

from contract import artifacts
from contract.errors import InputError
from contract.hyperparameters import Hyperparameters
from contract.metadata import ContinuousActions, ModelMetadata
from undercut.check.check import Given, check
from undercut.cli.main import app
from undercut.scaffold import RaceKind
from undercut.scaffold.new import Wish, new_folder

RACES = get_args(RaceKind)


@pytest.mark.parametrize("race", [RACES[0], *(pytest.param(race, marks=pytest.mark.slow) for race in RACES[1:])])
@pytest.mark.parametrize(
    "wish", [{}, {"actions": "continuous"}, {"algorithm": "sac"}, {"actions": "discrete", "track": "kidney_cw"}]
)
def test_what_it_writes_passes_the_check_without_a_warning(tmp_path: Path, wish: dict[str, Any], race: str) -> None:
    new_folder(Wish("mine", race=race, **wish), tmp_path)
    given = Given.in_folder(tmp_path / "mine")
    assert given.training_params == tmp_path / "mine" / "training_params.yaml"
    report = check(given)
    assert [found for found in report.findings if found.level not in ("ok", "note")] == []
    assert "lap_complete" in [drive["ends"] for drive in report.drives[:2]]
    assert given.metadata is not None and given.hyperparameters is not None
    metadata = ModelMetadata.load(given.metadata)
    algorithm = wish.get("algorithm", "clipped_ppo")
    assert metadata.algorithm == algorithm
    assert isinstance(metadata.actions, ContinuousActions) == ("continuous" in wish.values() or algorithm == "sac")
    Hyperparameters.load(given.hyperparameters, algorithm)


@pytest.mark.parametrize(
    ("wish", "part"),
    [
        (Wish("../mine"), "a folder of this name"),
        (Wish("mine", actions="discreet"), "did you mean 'discrete'?"),
        (Wish("mine", actions="discrete", algorithm="sac"), "leave --actions out"),
        (Wish("mine", race="TIMETRIAL"), "did you mean 'TIME_TRIAL'?"),
        (Wish("mine", track="paddok"), "did you mean paddock?"),
    ],
)
def test_a_wish_that_cannot_be_met_leaves_nothing(tmp_path: Path, wish: Wish, part: str) -> None:
    with pytest.raises(InputError, match=r"(?s).*") as caught:
        new_folder(wish, tmp_path)
    assert part in str(caught.value)
    assert list(tmp_path.iterdir()) == []


def test_what_is_there_stays(tmp_path: Path) -> None:
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "reward_function.py").write_text("# hours of work\n")
    with pytest.raises(InputError, match="a folder that does not exist yet"):
        new_folder(Wish("mine"), tmp_path)
    assert [path.name for path in tmp_path.rglob("*")] == ["mine", "reward_function.py"]
    assert (tmp_path / "mine" / "reward_function.py").read_text() == "# hours of work\n"


def test_a_place_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    (tmp_path / "notes").write_text("a file, where a folder should be\n")
    with pytest.raises(InputError, match=r"notes/mine' is not allowed(.|\n)*a folder that can be written"):
        new_folder(Wish("mine"), tmp_path / "notes")
    assert [path.name for path in tmp_path.rglob("*")] == ["notes"]


@pytest.mark.slow
def test_it_trains_and_evaluates_by_the_commands_of_its_readme(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)

    def undercut(*arguments: str) -> str:
        result = CliRunner().invoke(app, list(arguments), catch_exceptions=False)
        assert result.exit_code == 0, result.output
        return result.output

    assert "undercut train mine --folder mine" in undercut("new", "mine", "--race", "OBJECT_AVOIDANCE")
    undercut("check", "mine")
    undercut("train", "mine", "--folder", "mine", "--quick")
    run = tmp_path / "runs" / "mine"
    assert (run / "reward_function.py").read_bytes() == (tmp_path / "mine" / "reward_function.py").read_bytes()
    assert "OBJECT_AVOIDANCE" in (run / "run.json").read_text()
    old = run / artifacts.video("evaluation", "front")
    old.parent.mkdir(parents=True)
    old.write_bytes(b"laps of an earlier evaluation")
    undercut("evaluate", "mine", "--laps", "1", "--no-video")
    assert not old.exists()
    undercut("check", "runs/mine")
