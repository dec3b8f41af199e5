"""The pieces of a report's HTML, by the templates in assets/: what comes from files is escaped, nothing is loaded."""

import html
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined

from undercut.analysis.findings import LogFinding
from undercut.analysis.tables import Table
from undercut.report.canvas import Picture

ASSETS = Path(__file__).parent / "assets"
escape = html.escape


@dataclass(frozen=True, slots=True)
class Section:
    """A part of the page, with a place in its contents."""

    anchor: str
    title: str
    body: str


@cache
def _templates() -> Environment:
    return Environment(loader=FileSystemLoader(ASSETS), autoescape=True, undefined=StrictUndefined)


def _part(name: str, *values: Any) -> str:
    """A macro of parts.html, filled in."""
    return str(getattr(_templates().get_template("parts.html").module, name)(*values))


FOOTER = (
    "Made by undercut. One step is 1/15 s of simulated time; waypoints count from 0 at the start line. "
    "The same pictures lie as PNG in report/, beside this page."
)


def page(title: str, lead: str, sections: Sequence[Section], footer: str = FOOTER) -> str:
    """The whole document."""
    return (
        _templates()
        .get_template("report.html")
        .render(
            title=title,
            lead=lead,
            sections=sections,
            footer=footer,
            style=(ASSETS / "style.css").read_text(encoding="utf-8"),
            script=(ASSETS / "sort.js").read_text(encoding="utf-8"),
        )
    )


def facts(pairs: Iterable[tuple[str, str]]) -> str:
    """One line of what the run was."""
    return _part("facts", pairs)


def figures(values: Iterable[tuple[str, str, str]]) -> str:
    """Large figures: (value, what it is, how it is meant)."""
    return _part("figures", values)


def problems(lines: Sequence[str]) -> str:
    """What is missing or damaged; nothing where all is there."""
    return _part("problems", lines)


def pictures(shown: Sequence[Picture], large: bool = False) -> str:
    """Pictures side by side, as many as fit; of large ones two at most."""
    return _part("pictures", shown, large)


@dataclass(frozen=True, slots=True)
class Film:
    """A video beside the page, by its relative address (none: empty), and a picture below it (its SVG)."""

    title: str
    caption: str
    video: str
    svg: str


def films(shown: Sequence[Film]) -> str:
    """Side by side, as many as fit."""
    return _part("films", shown)


def table(shown: Table, sortable: bool = False, classes: Sequence[str] = ()) -> str:
    """A table in a box that scrolls, and below it what its columns mean. `classes` are the rows', in their order."""
    return _part("table", shown.columns, shown.rows, sortable, [*classes, *[""] * (len(shown.rows) - len(classes))])


def findings(found: Sequence[LogFinding]) -> str:
    """Sentences with the rules that they follow from."""
    return _part("findings", found)
