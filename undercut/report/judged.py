"""Judges frames of the real world with a run's policy, and leaves a page, a table and pictures."""

import re
from pathlib import Path
from typing import Any

import numpy as np
from rich.console import Console
from rich.table import Table

from contract import artifacts
from contract.stores.local import LocalStore
from undercut.figures.inspection import action_labels
from undercut.frames.judging import Judged, Training, judge, maps_of, summary, table
from undercut.frames.reading import read_frames
from undercut.report.frames import found, frames_page, groups, randomization
from undercut.runs.run import Run
from undercut.terminal import say

EPISODES = 20
"""Driven as in training, for frames to compare with."""


def write(
    run: Run,
    source: Path,
    console: Console,
    which: str = "best",
    topic: str | None = None,
    every: int | None = None,
    episodes: int = EPISODES,
    out: Path | None = None,
) -> dict[str, Any]:
    """Read frames, judge them, and leave index.html, frames.csv and the pictures. Findings go to the console
    for people, and into the answer for programs.

    source    a bag, a folder of pictures, or a video     which  the best or last checkpoint
    topic     of a bag: where the pictures are             every  every Nth frame
    episodes  that are driven as in training               out    folder, by default in the run
    InputError for a source that cannot be read; nothing is written then.
    """
    with console.status("reading frames") as status:
        frames = read_frames(source, run.files.metadata, topic, every)
        status.update("driving as in training, for frames to compare with")
        training = Training.of(run, which, episodes)
        status.update("asking the policy")
        judged = judge(training, frames)
        shown = groups(judged)
        some = np.unique(np.concatenate([group.some for group in shown]))
        maps = dict(zip(some.tolist(), maps_of(judged, some), strict=True))
        status.update("drawing")
        html, pictures = frames_page(judged, shown, maps)
    place = LocalStore(out) if out is not None else run.store.below(artifacts.frames_folder(_key(frames.name)))
    for picture in pictures:
        place.put(artifacts.report_picture(picture.name), picture.png)
    labels = action_labels(run.files.metadata.actions)
    place.put(artifacts.FRAMES_TABLE, table(judged, labels).encode())
    place.put(artifacts.FRAMES_PAGE, html.encode())  # last: a page is never without its pictures
    result = summary(judged)
    result["files"] = {"page": place.where(artifacts.FRAMES_PAGE), "table": place.where(artifacts.FRAMES_TABLE)}
    _show(judged, result, console)
    return result


def _key(name: str) -> str:
    """A folder's name made of a source's."""
    return re.sub(r"[^A-Za-z0-9_-]+", "-", name).strip("-")[:64] or "frames"


def _show(judged: Judged, result: dict[str, Any], console: Console) -> None:
    for note in judged.frames.notes:
        say(console, note, style="yellow")
    marks = {"good": "[green]+[/]", "bad": "[red]![/]", "plain": "-"}
    for finding in found(judged):
        console.print(marks[finding.mood], finding.text, highlight=False, soft_wrap=True)
    ranges = Table("range", "trained with", "these frames", "suggested", "covered", "would be")
    for it in judged.covers:
        cells = [" to ".join(f"{value:.2f}" for value in pair) for pair in (it.trained, it.needed, it.suggested)]
        ranges.add_row(it.field, *cells, f"{it.covered:.0%}", f"{it.would_be:.0%}")
    console.print(ranges)
    block = ", ".join(f'"{name}": {values}' for name, values in randomization(judged.covers).items())
    say(console, f'in run.json: "randomization": {{{block}}}')
    for path in result["files"].values():
        say(console, path)
