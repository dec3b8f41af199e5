"""Reports and log analyses: composed from loaded logs, shown, and written into the run."""

import math
from collections.abc import Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from contract import artifacts
from contract.metrics import whole_pct
from simapp.reward_source import load_reward
from undercut.analysis.files import counted
from undercut.analysis.findings import findings
from undercut.analysis.gap import best_gap
from undercut.analysis.log import EVALUATIONS, Episode, Kind, RunLog, fastest
from undercut.analysis.measures import iteration_table, smoothness
from undercut.analysis.places import SECTORS, LapScale, exits
from undercut.analysis.rescoring import UNKNOWN, Rescoring, rescore
from undercut.analysis.tables import number
from undercut.line.limits import found_limit, gap_values, hint, kept_limit
from undercut.report.logs import open_logs
from undercut.runs.packages import folder_for
from undercut.terminal import say

_BEST_LAPS = 5
_MOVERS = 5
_HEADER = "iter episodes   steps   reward       ± progress laps best s exits evaluation  laps best s entropy"


def write(runs: Sequence[str], folders: Sequence[Path], track: str | None, console: Console) -> str:
    """Write the page and its pictures; where the page is. What is missing in the logs is printed."""
    with console.status("reading logs"):
        logs, place = open_logs(runs, folders, track)
    logs = [_with_limit(log, console) for log in logs]
    for log in logs:
        _show_problems(log, console)
        _show_limit(log, console)
    with console.status("drawing"):
        from undercut.report.report import report

        made = report(logs)
    for picture in made.pictures:
        place.put(artifacts.report_picture(picture.name), picture.png)
    place.put(artifacts.REPORT, made.html.encode())  # last: a page is never without its pictures
    _show_findings(logs, console)
    where = place.where(artifacts.REPORT)
    say(console, f"report: {where}")
    return where


def numbers(name: str, track: str | None, console: Console, show: bool) -> dict[str, Any]:
    """What the logs of a run say, for programs; shown as tables too if told to. Of a folder with several logs all."""
    logs = [_with_limit(log) for log in open_logs([name], [], track)[0]]
    if show:
        for log in logs:
            _show(log, console)
            _show_limit(log, console)
    return {"logs": [_numbers(log) for log in logs]}


def rescored(name: str, reward: Path, track: str | None, console: Console, show: bool) -> dict[str, Any]:
    """Score the old episodes of a run with another reward function, and draw what comes out."""
    function = load_reward(reward, folder_for(reward))
    logs, place = open_logs([name], [], track)
    log = logs[0]
    with console.status("scoring"):
        result = rescore(log, function.instance())
    named = [param for param in UNKNOWN if param in result.unknown_read or param in function.source]
    from undercut.report.rescored import rescoring_plot

    key = artifacts.rescoring_plot(reward.stem)
    place.put(key, rescoring_plot(result, f"{reward.name} on the episodes of {log.name}"))
    if show:
        for other in logs[1:]:
            say(console, f"{other.name} is left out: name its own folder")
        _show_problems(log, console)
        _show_rescoring(log, result, named, console)
        say(console, f"plot: {place.where(key)}")
    return _rescoring_numbers(log, result, named) | {"plot": place.where(key)}


def _with_limit(log: RunLog, console: Console | None = None) -> RunLog:
    """The log with the fastest possible lap of its car and track, looked for where a console shows it; as it was where
    there is none: the track is not known."""
    if log.track is None or log.car is None or not any(it.complete for it in log.traced(*Kind)):
        return log
    if console is None:
        return replace(log, limit=kept_limit(log.track, log.car))
    with console.status("fastest possible lap") as status:
        return replace(log, limit=found_limit(log.track, log.car, status.update))


def _show_limit(log: RunLog, console: Console) -> None:
    """How to get a limit that is not there."""
    complete = any(it.complete for it in log.traced(*Kind))
    if log.limit is None and log.track is not None and log.track.closed and complete:
        say(console, hint(log.track))


def _show_problems(log: RunLog, console: Console) -> None:
    for problem in log.problems:
        console.print(f"[yellow]missing or damaged:[/] {escape(problem)}", highlight=False, soft_wrap=True)


def _show_findings(logs: Sequence[RunLog], console: Console) -> None:
    colours = {"good": "green", "bad": "red", "plain": "default"}
    for log in logs:
        if len(logs) > 1:
            console.print(f"[bold]{escape(log.name)}[/]", highlight=False)
        for finding in findings(log):
            mark = {"good": "+", "bad": "!", "plain": "-"}[finding.mood]
            console.print(f"[{colours[finding.mood]}]{mark}[/] {escape(finding.text)}", highlight=False)


def _show(log: RunLog, console: Console) -> None:
    track = f"{log.track.name}, lap {log.track.length_m:.2f} m" if log.track else log.track_name or "track not known"
    console.print(f"[bold]{escape(log.name)}[/] on {escape(track)}", highlight=False)
    _show_problems(log, console)
    rows = iteration_table(log)
    if rows:
        say(console, _HEADER, style="bold")
    for row in rows:
        say(
            console,
            f"{row.iteration:4d} {row.episodes:8d} {number(row.steps):>7s} {number(row.reward, 1):>8s} "
            f"{number(row.reward_deviation, 1):>7s} {number(row.completion_pct, 1, '%'):>8s} {row.complete:4d} "
            f"{number(row.best_lap_s, 2):>6s} {number(row.exits):>5s} {number(row.check_completion_pct, 1, '%'):>10s} "
            f"{f'{row.check_complete}/{row.checks}' if row.checks else '':>5s} {number(row.check_best_lap_s, 2):>6s} "
            f"{number(row.entropy, 3):>7s}",
        )
    laps = Table("best laps", "time", "resets", "speed", "steering", "reward")
    for lap in _best(log):
        smooth = smoothness(lap.steps)
        calm = (
            (number(smooth.driven_speed_mps, 2, " m/s"), number(smooth.steering_deg, 1, "° a step"))
            if smooth
            else ("", "")
        )
        laps.add_row(lap.title, f"{lap.time_s:.3f} s", str(lap.resets), *calm, number(lap.reward, 2))
    if laps.rows:
        console.print(laps)
    places = Table("sector", "waypoints", *_exit_names(), title="where cars left the road or crashed")
    for row_ in _exit_sectors(log):
        counts = [str(row_[name] or "") for name in _exit_names()]
        places.add_row(str(row_["sector"]), "{} to {}".format(*row_["waypoints"]), *counts)
    if places.rows:
        console.print(places)
    _show_findings([log], console)


def _best(log: RunLog) -> list[Episode]:
    return [lap for lap in fastest(log.episodes, _BEST_LAPS) if lap.complete]


def _exit_names() -> list[str]:
    return ["training", "evaluation"]


def _exit_sectors(log: RunLog) -> list[dict[str, Any]]:
    """Exits by sector, in training and in evaluations; none without traces."""
    if not log.traced(*Kind):
        return []
    scale = LapScale.of(log)
    found = {
        name: np.bincount(scale.sectors(exits(log.traced(*kinds))), minlength=SECTORS)
        for name, kinds in zip(_exit_names(), ((Kind.training,), EVALUATIONS), strict=True)
    }
    return [
        {"sector": sector + 1, "waypoints": list(scale.waypoints(sector))}
        | {name: int(counts[sector]) for name, counts in found.items()}
        for sector in range(SECTORS)
    ]


def _numbers(log: RunLog) -> dict[str, Any]:
    return {
        "name": log.name,
        "source": log.source,
        "track": log.track.name if log.track else None,
        "facts": dict(log.facts),
        "problems": list(log.problems),
        "iterations": [_plain(asdict(row)) for row in iteration_table(log)],
        "best_laps": [_plain(_lap(lap)) for lap in _best(log)],
        "exit_sectors": _exit_sectors(log),
        "gap": None if (found := best_gap(log)) is None else {"lap": found[0].title} | gap_values(found[1]),
        "findings": [asdict(finding) for finding in findings(log)],
    }


def _lap(lap: Episode) -> dict[str, Any]:
    return {
        "lap": lap.title,
        "time_s": lap.time_s,
        "resets": lap.resets,
        "reward": lap.reward,
        "iteration": lap.iteration,
    }


def _plain(values: dict[str, Any]) -> dict[str, Any]:
    """JSON has no NaN."""
    return {
        key: None if isinstance(value, float) and not math.isfinite(value) else value for key, value in values.items()
    }


def _show_rescoring(log: RunLog, result: Rescoring, named: Sequence[str], console: Console) -> None:
    if named:
        console.print(
            f"[yellow]no simtrace tells {', '.join(named)}:[/] the function sees an empty track", highlight=False
        )
    old, new = ([float(getattr(it, name).sum()) for it in result.episodes] for name in ("old", "new"))
    steps = sum(len(it.old) for it in result.episodes)
    driven = f"{counted(len(result.episodes), 'episode')}, {counted(steps, 'step')}"
    say(console, f"{driven} of {log.name}")
    table = Table("", "old", "new")
    table.add_row("mean reward of an episode", f"{np.mean(old):.2f}", f"{np.mean(new):.2f}")
    table.add_row("correlation with progress", number(result.old.progress, 3), number(result.new.progress, 3))
    table.add_row(
        "correlation with lap time, below 0: fast laps earn more",
        number(result.old.lap_time, 3),
        number(result.new.lap_time, 3),
    )
    console.print(table)
    if result.rank_correlation is not None:
        say(console, f"rank correlation of the episodes, old and new: {result.rank_correlation:.3f}")
    movers = Table("ranks that change most", "old", "new", "progress", "time")
    for episode, before, after in result.movers(_MOVERS):
        time = f"{episode.time_s:.2f} s"
        movers.add_row(episode.title, str(before), str(after), f"{whole_pct(episode.completion_pct)} %", time)
    if movers.rows:
        console.print(movers)
    scale = LapScale.of(log)
    sectors = Table("sector", "waypoints", "old", "new", title="mean reward of a step")
    for sector, (before_, after_) in enumerate(result.by_sector.tolist()):
        waypoints = "{} to {}".format(*scale.waypoints(sector))
        sectors.add_row(str(sector + 1), waypoints, number(before_, 3), number(after_, 3))
    console.print(sectors)
    say(console, f"largest difference of a step's reward: {result.largest_difference:.3g}; --json has every episode")


def _rescoring_numbers(log: RunLog, result: Rescoring, named: Sequence[str]) -> dict[str, Any]:
    return {
        "name": log.name,
        "problems": list(log.problems),
        "unknown_params": list(named),
        "episodes": [
            {"episode": it.episode.title, "old": float(it.old.sum()), "new": float(it.new.sum())}
            for it in result.episodes
        ],
        "correlation_with_progress": {"old": result.old.progress, "new": result.new.progress},
        "correlation_with_lap_time": {"old": result.old.lap_time, "new": result.new.lap_time},
        "rank_correlation": result.rank_correlation,
        "sectors": [
            _plain({"sector": sector + 1, "old": old, "new": new})
            for sector, (old, new) in enumerate(result.by_sector.tolist())
        ],
        "largest_difference": result.largest_difference,
    }
