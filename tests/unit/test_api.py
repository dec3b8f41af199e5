"""The public API: its examples and the script of README.md are run; its errors are those of the command line."""

import doctest
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
from PIL import Image

import simapp.road.track
import undercut
import undercut.api
from contract.errors import InputError
from tests.conftest import REPO


@pytest.mark.slow
def test_the_examples_of_the_docstrings_hold(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    finder, runner = doctest.DocTestFinder(), doctest.DocTestRunner()
    order = {"train": 0}  # the others drive what it has trained
    for module in (undercut.api, simapp.road.track):
        for test in sorted(finder.find(module), key=lambda it: order.get(it.name.rpartition(".")[2], 1)):
            runner.run(test)
    assert runner.summarize(verbose=False).attempted > 15 and runner.failures == 0
    assert (tmp_path / "runs/short/evaluation_metrics.json").is_file()
    assert (tmp_path / "races/twins/result.json").is_file()
    with pytest.raises(InputError, match="did you mean 'short'"):
        undercut.open_run("shirt")
    with pytest.raises(InputError, match="a resumed run keeps its track"):
        undercut.train(undercut.RunConfig(name="short", track="clover"), progress=False)


@pytest.mark.slow
def test_the_script_of_the_readme_trains_evaluates_and_plots(tmp_path: Path) -> None:
    script = re.search(r"```python\n(.*?)```", (REPO / "README.md").read_text(), re.DOTALL)
    assert script and len(script[1].splitlines()) <= 25
    (tmp_path / "script.py").write_text(script[1])
    environment = {**os.environ, "MPLBACKEND": "agg"}
    command = [sys.executable, "script.py"]
    done = subprocess.run(command, cwd=tmp_path, env=environment, check=False, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert re.search(r"^[0-3] of 3 laps complete$", done.stdout, re.MULTILINE)
    picture = Image.open(tmp_path / "scripted.png")
    colours = picture.convert("RGB").getcolors(10**6)
    assert picture.size == (1000, 400) and colours is not None and len(colours) > 50


def test_importing_undercut_is_quick_and_help_tells_what_there_is() -> None:
    asked = "import sys, undercut; print(*sorted({'numpy', 'pydantic', 'rich', 'tensorflow'} & set(sys.modules)))"
    assert subprocess.run([sys.executable, "-c", asked], check=True, capture_output=True, text=True).stdout == "\n"
    asked = "import undercut; help(undercut)"
    told = subprocess.run([sys.executable, "-c", asked], check=True, capture_output=True, text=True).stdout
    for name in undercut.__all__:
        assert re.search(rf"^    (class )?{name}\b", told, re.MULTILINE), name
    assert set(undercut.__all__) <= set(dir(undercut))
    with pytest.raises(AttributeError, match="no attribute 'trian'"):
        undercut.trian  # noqa: B018
