"""Commands, links and headings of README.md and docs/*.md."""

import re
import shlex
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from tests.conftest import REPO

PAGES = (REPO / "README.md", *sorted((REPO / "docs").glob("*.md")))
_OURS = re.compile(r"^(?:\$ )?(?:\.venv/bin/)?(undercut|make)\b")


@dataclass(frozen=True, slots=True)
class Shown:
    """A command as a page shows it."""

    page: str
    line: int
    words: tuple[str, ...]

    @property
    def text(self) -> str:
        return shlex.join(self.words)

    @property
    def place(self) -> str:
        return f"{self.page}:{self.line}: {self.text}"


def shown_commands(page: Path) -> Iterator[Shown]:
    """Every `make ...` and `undercut ...` of the page's blocks: fenced ones, and those indented by four blanks.

    A line that ends in a backslash goes on; `[optional]` parts are taken, of `one|another` the first, comments are not.
    """
    lines, fenced, begun = page.read_text(encoding="utf-8").splitlines(), False, ""
    for number, line in enumerate(lines, 1):
        if line.lstrip().startswith("```"):
            fenced = not fenced
            continue
        if not fenced and not line.startswith("    "):
            continue
        text = begun + line.strip()
        begun = text[:-1] if text.endswith("\\") else ""
        if begun or not _OURS.match(text) or "-->" in text:  # an arrow of a drawing
            continue
        for part in re.split(r"\s+&&\s+|\s*;\s+|\s{4,}(?=make |undercut )", text):
            if match := _OURS.match(part):
                yield Shown(page.name, number, _words(part[match.start(1) :]))


def block(page: str, language: str) -> str:
    """The first block in that language of a page of docs/."""
    text = (REPO / "docs" / page).read_text(encoding="utf-8")
    found = re.search(rf"^```{language}\n(.*?)^```", text, re.MULTILINE | re.DOTALL)
    assert found, f"{page} has no block of {language}"
    return found[1]


def inline_commands(page: Path) -> Iterator[Shown]:
    """Every `undercut ...` or `make ...` between backticks in the page's text."""
    fenced = False
    for number, line in enumerate(page.read_text(encoding="utf-8").splitlines(), 1):
        if line.lstrip().startswith("```"):
            fenced = not fenced
        if fenced or line.startswith("    "):
            continue
        for text in re.findall(r"`((?:undercut|make) [a-z][^`]*)`", line):
            yield Shown(page.name, number, _words(text))


def _words(text: str) -> tuple[str, ...]:
    text = re.sub(r"\s+#.*$", "", text)
    text = re.sub(r"\s(?:>|\||2>).*$", "", text)
    text = re.sub(r"\[([^\]]*?)\.{3}\]|\[([^\]]*)\]", lambda m: m.group(1) or m.group(2) or "", text)
    text = re.sub(r"\bN\b", "1", text)
    text = text.replace("...", "").replace("…", "")
    text = re.sub(r"(\b[a-zA-Z_]+)(?:\|[a-zA-Z_]+)+", r"\1", text)
    return tuple(shlex.split(text))


def links(page: Path) -> Iterator[tuple[int, str]]:
    """(line, target) of every link and picture that points into the repository."""
    for number, line in enumerate(page.read_text(encoding="utf-8").splitlines(), 1):
        for target in re.findall(r"\]\(([^)\s]+)\)", re.sub(r"`[^`]*`", "", line)):
            if not re.match(r"[a-z]+:", target):
                yield number, target


def anchors(page: Path) -> set[str]:
    """What a link's #part may be, by GitHub's rule: lower case, blanks to hyphens, no punctuation."""
    headings = re.findall(r"^#+ (.+)$", page.read_text(encoding="utf-8"), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.strip().lower()).replace(" ", "-") for heading in headings}
