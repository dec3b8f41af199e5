"""A report: the page of one or several logs, and its pictures."""

from collections.abc import Sequence
from dataclasses import dataclass

from undercut.analysis.findings import findings, headline
from undercut.analysis.gap import best_gap
from undercut.analysis.log import EVALUATIONS, Episode, Kind, RunLog, fastest
from undercut.analysis.places import LapScale, action_use
from undercut.analysis.tables import gap_table
from undercut.report import page
from undercut.report.canvas import Picture
from undercut.report.curves import comparison_pictures, progress_pictures, spread_pictures
from undercut.report.gaps import gap_pictures
from undercut.report.maps import action_pictures, exit_picture, heat_pictures, path_pictures
from undercut.report.page import Section
from undercut.report.tables import best_laps_table, comparison_table, episode_table, iteration_rows

BEST_LAPS = 3
"""As many are drawn."""
_LAST_ITERATIONS = 5
"""Heat maps and action use of a training are of so many: what it does now, and not what it did at first."""


@dataclass(frozen=True, slots=True)
class Report:
    """The page, and the pictures in it."""

    html: str
    pictures: list[Picture]


def report(logs: Sequence[RunLog]) -> Report:
    """Of the first log, compared with the others where there are some."""
    log = logs[0]
    drawn: list[Picture] = []
    sections: list[Section] = []

    def section(anchor: str, title: str, shown: Sequence[Picture], before: str = "", after: str = "") -> None:
        drawn.extend(shown)
        gallery = page.pictures(shown, large=anchor == "laps") if shown else ""
        if gallery or before or after:
            sections.append(Section(anchor, title, before + gallery + after))

    section("progress", "How training went", progress_pictures(log), after=iteration_rows(log))
    laps, what = _best(log)
    section("laps", "Best laps", path_pictures(log, laps, what), before=best_laps_table(log))
    section("limit", "Gap to the limit", gap_pictures(log), before=_gap_table(log))
    section("places", "Where on the track", _place_pictures(log))
    section("actions", "Use of the actions", _actions(log))
    section("spread", "How results are spread", spread_pictures(log))
    if len(logs) > 1:
        section("comparison", "Compared", comparison_pictures(logs), before=comparison_table(logs))
    if log.episodes:
        section("episodes", "Every episode", (), before=episode_table(log))
    section("findings", "Findings", (), before=_findings(logs))
    told = [f"{it.name}: {problem}" if len(logs) > 1 else problem for it in logs for problem in it.problems]
    lead = page.facts(log.facts) + page.figures(headline(log)) + page.problems(told)
    names = log.name if len(logs) == 1 else f"{log.name}, compared with {', '.join(it.name for it in logs[1:])}"
    return Report(page.page(names, lead, sections), drawn)


def _gap_table(log: RunLog) -> str:
    """Of the best clean lap; empty where there is none, or no limit."""
    found = best_gap(log)
    return "" if found is None else page.table(gap_table(log, found[1]))


def _findings(logs: Sequence[RunLog]) -> str:
    if len(logs) == 1:
        return page.findings(findings(logs[0]))
    return "".join(f"<h3>{page.escape(log.name)}</h3>{page.findings(findings(log))}" for log in logs)


def _best(log: RunLog) -> tuple[list[Episode], str]:
    """The laps to draw: the best of the evaluation, else of evaluations in training, else of the training."""
    for kind in (Kind.evaluation, Kind.check, Kind.training):
        laps = fastest(log.traced(kind), BEST_LAPS)
        if laps:
            one = laps[0]
            result = f"{one.time_s:.2f} s" if one.complete else f"{one.completion_pct:.0f} % of a lap"
            count = "The best lap" if len(laps) == 1 else f"The best {len(laps)} laps"
            return laps, f"{count} of the {kind.words} ({result})"
    return [], ""


def _now(log: RunLog) -> tuple[list[Episode], str]:
    """Training of the last iterations that have simtraces; without any, what else was driven."""
    training = log.traced(Kind.training)
    if training:
        numbers = sorted({episode.iteration for episode in training})[-_LAST_ITERATIONS:]
        where = f"iteration {numbers[0]}" if len(numbers) == 1 else f"iterations {numbers[0]} to {numbers[-1]}"
        return [it for it in training if it.iteration >= numbers[0]], f"Training, {where}"
    return log.traced(*EVALUATIONS), "Evaluation"


def _place_pictures(log: RunLog) -> list[Picture]:
    episodes, what = _now(log)
    training = log.traced(Kind.training)
    goes_wrong = exit_picture(
        log, training or log.traced(*EVALUATIONS), "All of training" if training else "Evaluation"
    )
    return [*heat_pictures(log, episodes, what), *([goes_wrong] if goes_wrong else [])]


def _actions(log: RunLog) -> list[Picture]:
    episodes, what = _now(log)
    use = action_use(log, episodes, LapScale.of(log))
    return action_pictures(log, use, what) if use else []
