"""Curves, tables and the list of runs as JSON. A broken file is one problem on the page, and not the end of it."""

from collections.abc import Callable
from functools import partial
from typing import Any, TypeVar

from contract import artifacts, simtrace
from contract.errors import UndercutError
from contract.metrics import EvaluationRow, TrainingRow, parse_evaluation_metrics, parse_training_metrics
from contract.protocols import Phase
from contract.state import EpisodeStatus
from trainer.iterations import read_iterations
from undercut.analysis.gap import best_gap_of
from undercut.analysis.log import RunLog
from undercut.analysis.tables import gap_table
from undercut.runs.run import track_of
from undercut.view.laps import limit_here
from undercut.view.subject import WRITTEN_BY, Subject, subjects

Json = dict[str, Any]
_Read = TypeVar("_Read")
COMPLETE = EpisodeStatus.lap_complete.title
BEST = 8
"""Rows of the table of the best laps."""
CURVES = ("reward", "completion_pct", "evaluation_completion_pct", "policy_loss", "value_loss", "entropy")


def listing() -> list[Json]:
    """One entry a run or race, live ones first."""
    return [_entry(subject) for subject in subjects()]


def _entry(subject: Subject) -> Json:
    problems: list[str] = []
    live = subject.live()
    entry: Json = {
        "kind": subject.kind,
        "name": subject.name,
        "live": live is not None,
        "doing": live.doing if live else "",
    }
    if subject.kind == "race":
        result = _try(subject.result, problems) if subject.is_whole else None
        return entry | {
            "track": (result or {}).get("track", live.config.get("track", "") if live else ""),
            "problems": problems,
        }
    config = _try(subject.config, problems)
    rows = _try(lambda: read_iterations(subject.store), problems) or []
    return entry | {
        "track": config.track if config else "",
        "iterations": len(rows),
        "steps": rows[-1].steps if rows else 0,
        "best_completion_pct": max((row.evaluation_completion_pct for row in rows), default=None),
        "problems": problems,
    }


def details(subject: Subject) -> Json:
    """Everything that the page shows of a run or race beside its moving cars."""
    content = _entry(subject)
    problems: list[str] = content["problems"]
    tables: list[Json] = []
    if subject.kind == "race":
        if subject.is_whole:
            tables = _try(lambda: _race_tables(subject), problems) or []
        return content | {"curves": {}, "tables": tables}
    rows = _try(lambda: read_iterations(subject.store), []) or []
    curves: Json = {name: [getattr(row, name) for row in rows] for name in ("iteration", "steps", *CURVES)}
    metrics = _try(lambda: _training_metrics(subject), problems) or []
    curves["lap_time_s"] = _best_times(metrics, len(rows))
    # what is wrong with the gap's files others tell: the list of runs, and the laps
    for made, notes in ((_evaluation_table, problems), (_gap_table, [])):
        table = _try(partial(made, subject), notes)
        if table is not None:
            tables.append(table)
    if metrics:
        tables.append(_iteration_table(metrics, len(rows)))
        tables.append(_best_table(metrics))
    return content | {"curves": curves, "tables": tables}


def _training_metrics(subject: Subject) -> list[TrainingRow]:
    key = artifacts.TRAINING_METRICS
    return parse_training_metrics(subject.text(key), subject.where(key)) if subject.store.exists(key) else []


def _evaluation_table(subject: Subject) -> Json | None:
    key = artifacts.EVALUATION_METRICS
    if not subject.store.exists(key):
        return None
    rows = [
        [
            row.trial,
            _time(row),
            row.episode_status,
            f"{row.completion_percentage} %",
            row.off_track_count,
            row.crash_count,
            row.reset_count,
        ]
        for row in parse_evaluation_metrics(subject.text(key), subject.where(key))
    ]
    complete = sum(row[2] == COMPLETE for row in rows)
    return {
        "title": "Evaluation laps",
        "note": f"{complete} of {len(rows)} complete",
        "columns": ["Lap", "Time", "Ended as", "Completion", "Off track", "Crashes", "Resets"],
        "rows": rows,
    }


def _gap_table(subject: Subject) -> Json | None:
    """The best clean lap of the evaluation, else of the last one in training, against the fastest possible lap, where
    `undercut line` has found that."""
    key = artifacts.evaluation_simtrace()
    evaluated = subject.store.exists(key)
    if not evaluated:
        last = subject.last_iteration()
        key = artifacts.training_evaluation_simtrace(last or 0)
        if last is None or not subject.store.exists(key):
            return None
    evaluated = evaluated and subject.store.exists(artifacts.EVALUATION_PARAMS)
    config = subject.evaluation_config() if evaluated else subject.config()
    track = track_of(subject.store, config.track)
    track = track.reversed() if config.reverse_dir else track
    limit = limit_here(subject.store, config, track)
    if limit is None:
        return None
    traces = simtrace.from_csv(subject.text(key), subject.where(key))
    gap = best_gap_of([trace.steps for trace in traces], limit, track)
    if gap is None:
        return None
    table = gap_table(RunLog(subject.name, "", (), {}, track), gap)
    return {
        "title": "Gap to the limit",
        "note": f"best clean lap {gap.lap_s:.2f} s, {gap.ratio:.2f} times the fastest possible {gap.limit_s:.2f} s",
        "columns": [column.head for column in table.columns],
        "meanings": [column.meaning for column in table.columns],
        "rows": table.rows,
    }


def _iteration_table(metrics: list[TrainingRow], iterations: int) -> Json:
    """Laps that the policy of the last iteration drove."""
    laps = [row for row in metrics if row.phase == Phase.evaluation.value]
    laps = [row for row in laps if row.episode == laps[-1].episode]
    complete = sum(row.episode_status == COMPLETE for row in laps)
    rows = [
        [lap, _time(row), row.episode_status, f"{row.completion_percentage} %", row.reward_score]
        for lap, row in enumerate(laps, 1)
    ]
    return {
        "title": f"Laps after iteration {iterations - 1}",
        "note": f"{complete} of {len(laps)} complete",
        "columns": ["Lap", "Time", "Ended as", "Completion", "Reward"],
        "rows": rows,
    }


def _best_table(metrics: list[TrainingRow]) -> Json:
    """The fastest complete laps of the whole training; the episodes that came furthest where there is none."""
    laps = [row for row in metrics if row.episode_status == COMPLETE]
    fastest = sorted(laps, key=lambda row: row.elapsed_time_in_milliseconds)[:BEST]
    furthest = sorted(metrics, key=lambda row: -row.completion_percentage)[:BEST]
    rows = [
        [row.episode, _time(row), row.phase, f"{row.completion_percentage} %", row.reward_score]
        for row in fastest or furthest
    ]
    return {
        "title": "Fastest laps" if laps else "Furthest episodes",
        "note": f"{len(laps)} complete laps in {len(metrics)} episodes",
        "columns": ["Episode", "Time", "Phase", "Completion", "Reward"],
        "rows": rows,
    }


def _best_times(metrics: list[TrainingRow], iterations: int) -> list[float | None]:
    """(iterations,) the fastest complete evaluation lap after each iteration, in seconds."""
    groups: dict[int, list[int]] = {}
    for row in metrics:
        if row.phase == Phase.evaluation.value:
            mine = groups.setdefault(row.episode, [])
            if row.episode_status == COMPLETE:
                mine.append(row.elapsed_time_in_milliseconds)
    times = [min(mine) / 1000.0 if mine else None for mine in groups.values()]
    return [*times, *[None] * iterations][:iterations]


def _race_tables(subject: Subject) -> list[Json]:
    result = subject.result()
    if "standings" not in result:
        ranking = [[number, name] for number, name in enumerate(result["ranking"], 1)]
        return [{"title": "Tournament", "note": "", "columns": ["Subject", "Racer"], "rows": ranking}]
    rows = []
    for number, standing in enumerate(result["standings"], 1):
        laps = standing["laps"]
        rows.append(
            [
                number,
                standing["racer"],
                f"{laps['complete']} of {laps['laps']}",
                standing["heats_won"],
                f"{standing['total_time_s']:.2f} s",
                *("–" if laps[key] is None else f"{laps[key]:.2f} s" for key in ("mean_lap_time_s", "best_lap_time_s")),
                standing["crashes"],
            ]
        )
    columns = ["Subject", "Racer", "Laps", "Heats won", "Total", "Mean lap", "Best lap", "Crashes"]
    return [{"title": "Standings", "note": "", "columns": columns, "rows": rows}]


def _try(read: Callable[[], _Read], problems: list[str]) -> _Read | None:
    """What `read` gives, None with a problem more when its file is broken."""
    try:
        return read()
    except (UndercutError, OSError) as error:
        problems.append(str(error))
    except (KeyError, TypeError, IndexError, ValueError, AttributeError) as error:
        problems.append(f"a file of the run lacks {error}; {WRITTEN_BY}")
    return None


def _time(row: TrainingRow | EvaluationRow) -> str:
    return f"{row.elapsed_time_in_milliseconds / 1000.0:.3f} s"
