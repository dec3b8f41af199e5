"""The pages: every shown command is one that exists, every link leads somewhere, and the reference is not stale."""

import contextlib
import re
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import typer

from scripts import reference
from tests.conftest import REPO
from tests.documented import PAGES, Shown, anchors, inline_commands, links, shown_commands
from undercut.cli.main import app

ROOT: Any = typer.main.get_command(app)
MAKEFILE = (REPO / "Makefile").read_text()
TARGETS = set(re.findall(r"^([a-z-]+):", MAKEFILE, re.MULTILINE))
VARIABLES = set(re.findall(r"\$\((?:if \$\(|filter [\w, ]*\$\()?([A-Z_]+)\)", MAKEFILE)) | {"PYTHON"}
SHOWN = [shown for page in PAGES for shown in shown_commands(page)]


def parse(words: tuple[str, ...]) -> None:
    """What the command line would do with the words, up to and without running the command."""
    group, rest, path = ROOT, list(words), "undercut"
    while hasattr(group, "commands"):
        assert rest, f"{path} needs a command: {', '.join(group.commands)}"
        assert rest[0] in group.commands, f"no such command: {path} {rest[0]}"
        path += f" {rest[0]}"
        group = group.commands[rest.pop(0)]
    with contextlib.suppress(typer.Exit):
        group.make_context(path, rest)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_every_shown_command_is_one(page: Path) -> None:
    wrong = []
    for shown in shown_commands(page):
        try:
            check(shown)
        except Exception as error:
            wrong.append(f"{shown.place}\n    {getattr(error, 'message', error)}")
    assert not wrong, "\n".join(wrong)


def check(shown: Shown) -> None:
    program, *rest = shown.words
    if program == "undercut":
        return parse(tuple(rest))
    words = [word for word in rest if "=" not in word and not word.startswith("-")]
    variables = {word.split("=")[0] for word in rest if "=" in word}
    assert set(words) <= TARGETS, f"no such target: {set(words) - TARGETS}"
    assert variables <= VARIABLES, f"no such variable: {variables - VARIABLES}"
    if len(words) == 1 and words[0] not in ("setup", "test", "test-all", "lint", "bench", "clean", "gazebo", "help"):
        for line in dry_run(rest):
            parse(tuple(line))


def dry_run(arguments: list[str]) -> Iterator[list[str]]:
    """The words of each `undercut` that make would run."""
    import shlex

    run = subprocess.run(["make", "-n", *arguments], cwd=REPO, capture_output=True, text=True, check=True)
    for line in run.stdout.splitlines():
        if line.startswith(".venv/bin/undercut "):
            yield shlex.split(line)[1:]


def test_commands_are_found_at_all() -> None:
    assert len(SHOWN) > 80
    assert {shown.words[1] for shown in SHOWN} >= {"train", "evaluate", "check", "new", "race", "report", "import"}


def test_the_parser_refuses_what_does_not_exist() -> None:
    for words in (("trian",), ("train", "--trak", "x"), ("tracks", "lst"), ("tracks",), ("evaluate", "--laps", "many")):
        with pytest.raises(Exception, match=r"(?i)no such|needs a command|valid"):
            parse(words)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_commands_in_the_text_exist(page: Path) -> None:
    wrong = []
    for shown in inline_commands(page):
        program, name = shown.words[:2]
        known = TARGETS if program == "make" else set(ROOT.commands)
        options = [word.split("=")[0] for word in shown.words if word.startswith("--")]
        if name not in known:
            wrong.append(shown.place)
        elif program == "undercut" and not hasattr(ROOT.commands[name], "commands"):
            there = {word for it in ROOT.commands[name].params for word in (*it.opts, *it.secondary_opts)} | {"--help"}
            wrong += [f"{shown.place}: {option}" for option in options if option not in there]
    assert not wrong, "\n".join(wrong)


def test_the_guidances_steps_name_commands_and_tests_that_exist() -> None:
    text = (REPO / "docs" / "cloud.md").read_text().partition("## The guidance, step by step")[2].partition("\n## ")[0]
    rows = [line.strip("|").split("|") for line in text.splitlines() if line.startswith("|")][2:]
    assert len(rows) > 12
    for step, here, cloud, test in rows:
        assert step.strip()
        for shown in re.findall(r"`(undercut [a-z][^`]*)`", here + cloud):
            parse(tuple(shown.split()[1:]))
        file, _, name = test.strip().partition("::")
        assert f"def {name}(" in (REPO / file).read_text(), test
    everything = "".join(path.read_text() for path in (REPO / "tests" / "unit").glob("test_cloud_*.py"))
    for name in re.findall(r"`(test_\w+)`", text):
        assert f"def {name}(" in everything, name


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_links_lead_somewhere(page: Path) -> None:
    wrong = []
    for line, target in links(page):
        path, _, part = target.partition("#")
        file = (page.parent / path).resolve() if path else page
        if not file.exists():
            wrong.append(f"{page.name}:{line}: {target}: no such file")
        elif part and file.suffix == ".md" and part not in anchors(file):
            wrong.append(f"{page.name}:{line}: {target}: no such heading")
    assert not wrong, "\n".join(wrong)


def test_every_page_is_in_the_index() -> None:
    listed = {target.partition("#")[0] for _, target in links(REPO / "docs" / "index.md")}
    pages = {path.name for path in (REPO / "docs").glob("*.md")} - {"index.md"}
    assert pages - listed == set()


def test_the_reference_is_fresh() -> None:
    """.venv/bin/python -m scripts.reference writes it anew."""
    assert (REPO / "docs" / "reference.md").read_text(encoding="utf-8") == reference.page()
