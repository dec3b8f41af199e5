"""The page of a sweep: best runs, which keys matter, the trials' curves, and every trial."""

from collections.abc import Sequence

import numpy as np
from matplotlib.figure import Figure

from undercut.analysis.tables import Column, Table, number
from undercut.report.canvas import GRID, MUTED, RUNS, TRAINING, Picture, picture, plain
from undercut.report.page import Section, escape, facts, figures, page, pictures, table
from undercut.sweep.results import SweepResult, TrialResult
from undercut.sweep.scores import UNITS
from undercut.sweep.spec import Range

_BEST = 5
"""Trials whose curves have a colour and a name."""
_MAX_SCATTERS = 12


def sweep_page(result: SweepResult) -> str:
    """The whole page, as HTML that loads nothing."""
    sweep, counts, best = result.sweep, result.counted(), result.best
    what = _what(result)
    lead = facts(
        [
            ("objective", what),
            ("sampler", sweep.file.sampler),
            ("pruner", sweep.file.pruner),
            ("file", sweep.where),
            ("trials", " · ".join(f"{count} {state}" for state, count in counts.items() if count)),
        ]
    )
    sections = []
    if best:
        shown = figures(
            [
                (number(best[0].value, 3), f"best {what}", f"of {best[0].run}"),
                (str(len(best)), "complete trials", f"of {sweep.trials}"),
                (number(_minutes(result), 0), "minutes", "of all trials together"),
            ]
        )
        sections.append(Section("best", "Best runs", shown + _table(result, best[:10], sortable=False)))
    drawn = [_curves(result)] if any(it.curve for it in result.trials) else []
    if result.importance:
        drawn.append(_importance(result))
    if drawn:
        sections.append(Section("curves", "How they learned, and what matters", pictures(drawn, large=True)))
    if len(best) > 1:
        searched = [key for key in sweep.file.search if any(key in it.values for it in best)]
        ranked = sorted(searched, key=lambda key: -result.importance.get(key, 0.0))[:_MAX_SCATTERS]
        made = [_scatter(result, key, place) for place, key in enumerate(ranked)]
        sections.append(Section("values", "Value by value", pictures(made)))
    sections.append(Section("trials", "All trials", _table(result, result.trials, sortable=True)))
    return page(f"Sweep {sweep.name}", lead, sections)


def _what(result: SweepResult) -> str:
    unit = UNITS[result.sweep.file.objective]
    return result.sweep.file.objective.replace("_", " ") + (f" in {unit}" if unit else "")


def _minutes(result: SweepResult) -> float:
    return sum(it.minutes or 0.0 for it in result.trials)


def _table(result: SweepResult, trials: Sequence[TrialResult], sortable: bool) -> str:
    keys = list(result.sweep.file.search)
    columns = [
        Column("run", "The trial's run: undercut report RUN has all about it.", left=True),
        Column("state", "complete, pruned (stopped since half of the others were better), failed, running.", left=True),
        Column(_what(result), "Of the evaluation at the end. An unfinished lap counts more than any that is finished."),
        *(Column(key.rpartition(".")[2], f"Searched: {key}") for key in keys),
        Column("iterations", "Trained so far."),
        Column("minutes", "From its begin to its end, also those in which it stood still."),
        Column("why", "What went wrong.", left=True),
    ]
    rows = [
        [
            it.run,
            it.state,
            number(it.value, 3),
            *(_shown(it.values.get(key)) for key in keys),
            str(len(it.curve)),
            number(it.minutes, 1),
            it.why.splitlines()[0] if it.why else "",
        ]
        for it in trials
    ]
    return table(Table(columns, rows), sortable)


def _shown(value: object) -> str:
    return "" if value is None else f"{value:.4g}" if isinstance(value, float) else str(value)


def _curves(result: SweepResult) -> Picture:
    best = {it.run: RUNS[place] for place, it in enumerate(result.best[:_BEST])}

    def draw(figure: Figure) -> None:
        axes = figure.subplots()
        for it in result.trials:
            if it.curve and it.run not in best:
                axes.plot(it.curve, color=GRID, linewidth=1.0)
        for it in reversed(result.best[:_BEST]):
            axes.plot(it.curve, color=best[it.run], linewidth=1.6, label=it.run)
        plain(axes, _what(result), "iteration", whole_x=True)
        if best:
            axes.legend()

    caption = "After each iteration, of the laps that are driven then. Coloured: the best five."
    return picture("sweep-curves", "Curves", caption, draw, height_in=3.4, width_in=6.4)


def _importance(result: SweepResult) -> Picture:
    ranked = sorted(result.importance.items(), key=lambda it: it[1])

    def draw(figure: Figure) -> None:
        axes = figure.subplots()
        axes.barh([key.rpartition(".")[2] for key, _ in ranked], [share for _, share in ranked], color=TRAINING)
        plain(axes, "", "share")
        axes.grid(visible=False, axis="y")

    caption = "How much each key has to do with whether a trial is among the best tenth (PED-ANOVA); they sum to 1."
    return picture("sweep-importance", "Importance", caption, draw, height_in=1.2 + 0.32 * len(ranked), width_in=6.4)


def _scatter(result: SweepResult, key: str, place: int) -> Picture:
    searched = result.sweep.file.search[key]
    complete = [(it.values[key], it.value) for it in result.best if key in it.values and it.value is not None]

    def draw(figure: Figure) -> None:
        axes = figure.subplots()
        values = [value for _, value in complete]
        if isinstance(searched, Range):
            axes.scatter([float(x) for x, _ in complete], values, color=TRAINING, s=18)
            if searched.log:
                axes.set_xscale("log")
        else:
            at = [searched.index(x) for x, _ in complete]
            axes.scatter(np.array(at, float), values, color=TRAINING, s=18)
            axes.set_xticks(range(len(searched)), [_tick(it) for it in searched])
            axes.tick_params(axis="x", labelcolor=MUTED)
        plain(axes, _what(result), key.rpartition(".")[2])

    return picture(f"sweep-{place}", escape(key), "Complete trials, by the value that they had.", draw)


def _tick(value: object) -> str:
    text = str(value)
    return text if len(text) < 14 else f"…{text[-12:]}"
