"""`undercut league`: submitted models, driven by one set of rules and ranked on one page."""

import math
import shlex
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.table import Table

from contract.config import Which
from contract.errors import InputError
from undercut.cli.as_json import JsonOption, show_json
from undercut.cli.options import WhichOption, messages_on, setting
from undercut.league.rules import LeagueCar, LeagueFile, RankBy
from undercut.terminal import say, show_table

app = typer.Typer(no_args_is_help=True, help="Submitted models, driven by one set of rules and ranked on one page.")
console = Console()

LeagueArgument = Annotated[
    str, typer.Argument(metavar="LEAGUE", help="a folder, or s3://bucket/prefix", show_default=False)
]
LeagueVideoOption = Annotated[bool, typer.Option("--video/--no-video", help="MP4s of the best laps of the first ones")]
ViewOption = Annotated[str, typer.Option("--view", help="of the videos: pip, topview, 45degree or front")]


@app.command()
def init(
    league: LeagueArgument,
    track: Annotated[str, typer.Option(help="a track's name, NAME_cw, NAME_ccw, or the path of a route file")],
    title: Annotated[str | None, setting(LeagueFile, "title")] = None,
    laps: Annotated[int, setting(LeagueFile, "laps")] = 5,
    seed: Annotated[
        list[int] | None, typer.Option("--seed", help="again for more; none: 0", show_default=False)
    ] = None,
    rank_by: Annotated[RankBy, setting(LeagueFile, "rank_by")] = "best_lap",
    car: Annotated[LeagueCar, setting(LeagueFile, "car")] = "v5",
) -> None:
    """Make a league: a folder or a place in a bucket with its rules, which can be edited."""
    from simapp.tracks import load_track
    from undercut.league.league import init as make
    from undercut.league.rules import RULES, new_file
    from undercut.runs.run import TRACKS

    loaded = load_track(track, [TRACKS])
    name = Path(track).stem if track.endswith(".npy") else track
    text = new_file(name, title or league.rstrip("/").rpartition("/")[2], laps, tuple(seed or (0,)), rank_by, car)
    place = make(league, text, loaded, track)
    say(console, f"rules:  {place.where(RULES)}")
    say(console, f"next:   undercut league submit {shlex.quote(league)} RUN; undercut league run {shlex.quote(league)}")


@app.command()
def submit(
    league: LeagueArgument,
    source: Annotated[
        str,
        typer.Argument(
            metavar="MODEL", help="a run, a model's folder or .tar.gz, s3://bucket/prefix", show_default=False
        ),
    ],
    name: Annotated[str | None, typer.Option("--as", help="its name in the league", show_default=False)] = None,
    checkpoint: WhichOption = "best",
    overwrite: Annotated[bool, typer.Option("--overwrite", help="in the place of an earlier one of that name")] = False,
) -> None:
    """Submit a model, once it is clear that it can drive. Of a run its network and metadata go, and nothing else."""
    say(console, f"submitted: {_submitted(league, source, name, checkpoint, overwrite)}")


def _submitted(league: str, source: str, name: str | None, which: Which, overwrite: bool) -> str:
    from undercut.interchange.importing import run_name_of
    from undercut.league.league import League, model_file

    opened = League.open(league)
    return opened.submit(name or run_name_of(source), model_file(source, which), overwrite)


@app.command()
def run(
    league: LeagueArgument,
    retry: Annotated[bool, typer.Option("--retry", help="also what failed by its process, memory or time")] = False,
    video: LeagueVideoOption = True,
    view: ViewOption = "pip",
    as_json: JsonOption = False,
) -> None:
    """Drive all submissions that have no result by these rules yet, rank them, and write page and videos.

    The same command goes on after a stop; one that has nothing to do only ranks.
    """
    from undercut.league.league import PAGE, League, publish

    out = messages_on(as_json)
    opened = League.open(league)
    count = opened.run(out, retry)
    say(out, f"{count} new, {len(opened.submissions()) - count} known already")
    standings = publish(opened, out, video, view)
    _show(standings, out, as_json)
    say(out, f"page:   {opened.place.where(PAGE)}")


@app.command()
def page(
    league: LeagueArgument,
    out: Annotated[Path | None, typer.Option(help="a folder for a copy of page and videos", show_default=False)] = None,
    video: LeagueVideoOption = True,
    view: ViewOption = "pip",
    as_json: JsonOption = False,
) -> None:
    """Rank by the results that there are and write page and videos; drives nothing."""
    from undercut.league.league import PAGE, League, publish

    messages = messages_on(as_json)
    if out is not None and out.exists() and not out.is_dir():
        raise InputError("--out", str(out), "a folder", "name another place")
    opened = League.open(league)
    standings = publish(opened, messages, video, view, out)
    _show(standings, messages, as_json)
    if standings.waiting:
        say(messages, f"{standings.waiting} not driven by these rules yet: undercut league run {shlex.quote(league)}")
    say(messages, f"page:   {out / PAGE if out is not None else opened.place.where(PAGE)}")


def _show(standings: Any, out: Console, as_json: bool) -> None:
    table = Table(title=standings.rules.title)
    for head in ("place", "name", "best lap", "mean lap", "complete", "to the leader", "to the limit"):
        table.add_column(head, justify="left" if head == "name" else "right")
    for it in standings.ranking:
        result = it.result
        table.add_row(
            str(it.place),
            result.name,
            *(_seconds(value) for value in (result.best_s, result.mean_s)),
            f"{len(result.times_s)}/{len(result.laps)}",
            *(_seconds(value, "+") for value in (it.to_leader_s, it.to_limit_s)),
        )
    show_table(out, table, "name")
    for it in standings.others:
        say(out, f"{it.name}: {it.state}: {it.reason}")
    if as_json:
        show_json(standings.as_json())


def _seconds(value: float | None, sign: str = "") -> str:
    return "-" if value is None or not math.isfinite(value) else f"{value:{sign}.3f} s"
