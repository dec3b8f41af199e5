"""The pieces of a report's HTML: everything that comes from files is escaped, nothing is loaded from anywhere."""

import html
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from undercut.analysis.findings import LogFinding
from undercut.report.canvas import Picture
from undercut.report.style import SCRIPT, STYLE

escape = html.escape


@dataclass(frozen=True, slots=True)
class Column:
    """A column of a table: its head, and what its numbers mean."""

    head: str
    meaning: str
    left: bool = False


@dataclass(frozen=True, slots=True)
class Section:
    """A part of the page, with a place in its contents."""

    anchor: str
    title: str
    body: str


def page(title: str, lead: str, sections: Sequence[Section]) -> str:
    """The whole document."""
    contents = "".join(f'<a href="#{section.anchor}">{escape(section.title)}</a>' for section in sections)
    parts = "".join(
        f'<section id="{section.anchor}"><h2>{escape(section.title)}</h2>{section.body}</section>\n'
        for section in sections
    )
    return (
        '<!DOCTYPE html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        '<meta name="color-scheme" content="light dark">\n'
        f"<title>{escape(title)}</title>\n<style>{STYLE}</style>\n</head>\n<body>\n"
        f"<header><h1>{escape(title)}</h1>{lead}<nav>{contents}</nav></header>\n<main>\n{parts}</main>\n"
        "<footer>Made by undercut. One step is 1/15 s of simulated time; waypoints count from 0 at the start line. "
        "The same pictures lie as PNG in report/, beside this page.</footer>\n"
        f"<script>{SCRIPT}</script>\n</body>\n</html>\n"
    )


def facts(pairs: Iterable[tuple[str, str]]) -> str:
    """One line of what the run was."""
    spans = "".join(f"<span>{escape(name)} <b>{escape(value)}</b></span> " for name, value in pairs)
    return f'<p class="facts">{spans}</p>'


def figures(values: Iterable[tuple[str, str, str]]) -> str:
    """Large figures: (value, what it is, how it is meant)."""
    tiles = "".join(
        f"<div><strong>{escape(value)}</strong><span>{escape(what)}</span><small>{escape(meant)}</small></div>"
        for value, what, meant in values
    )
    return f'<div class="figures">{tiles}</div>'


def problems(lines: Sequence[str]) -> str:
    """What is missing or damaged; nothing where all is there."""
    if not lines:
        return ""
    items = "".join(f"<li>{escape(line)}</li>" for line in lines)
    return f'<div class="problems"><b>Missing or damaged</b><ul>{items}</ul></div>'


def pictures(shown: Sequence[Picture], large: bool = False) -> str:
    """Pictures side by side, as many as fit; of large ones two at most."""
    cells = "".join(
        f"<figure><figcaption>{escape(it.title)}</figcaption>{it.svg}<p>{escape(it.caption)}</p></figure>\n"
        for it in shown
    )
    return f'<div class="grid{" large" if large else ""}">{cells}</div>'


def table(
    columns: Sequence[Column],
    rows: Iterable[Sequence[str]],
    sortable: bool = False,
    classes: Sequence[str] = (),
) -> str:
    """A table in a box that scrolls, and below it what its columns mean. `classes` are the rows', in their order."""
    heads = "".join(
        f'<th{" class=l" if column.left else ""} title="{escape(column.meaning)}">{escape(column.head)}</th>'
        for column in columns
    )
    body = []
    for number, row in enumerate(rows):
        kind = f' class="{classes[number]}"' if number < len(classes) and classes[number] else ""
        cells = "".join(
            f"<td{' class=l' if column.left else ''}>{escape(cell)}</td>"
            for column, cell in zip(columns, row, strict=True)
        )
        body.append(f"<tr{kind}>{cells}</tr>")
    look = " ".join([*(["sortable"] if sortable else []), *(["long"] if len(body) > 40 else [])])
    note = f'<p class="note print-note">On paper the first 40 of {len(body)} rows.</p>' if len(body) > 40 else ""
    meanings = "".join(f"<dt>{escape(column.head)}</dt><dd>{escape(column.meaning)}</dd>" for column in columns)
    hint = " A click on a head sorts by it, a second one the other way." if sortable else ""
    return (
        f'<div class="scroll"><table class="{look}"><thead><tr>{heads}</tr></thead>\n'
        f"<tbody>{chr(10).join(body)}</tbody></table></div>{note}"
        f"<details><summary>What the columns mean</summary><dl>{meanings}</dl>{hint}</details>"
    )


def findings(found: Sequence[LogFinding]) -> str:
    """Sentences with the rules that they follow from."""
    items = "".join(
        f'<li class="{it.mood}">{escape(it.text)}<small>Rule: {escape(it.rule)}.</small></li>' for it in found
    )
    return f'<ul class="findings">{items}</ul>'


def number(value: float | None, digits: int = 0) -> str:
    """With separators of thousands, empty where it is not known."""
    return "" if value is None or value != value else f"{value:,.{digits}f}"
