"""A report: the page of one or several logs with its tables and pictures."""

from collections.abc import Sequence
from dataclasses import dataclass

from contract.metrics import whole_pct
from undercut.analysis.findings import findings, headline
from undercut.analysis.gap import best_gap
from undercut.analysis.log import EVALUATIONS, Episode, Kind, RunLog, fastest
from undercut.analysis.measures import best_lap_s, iteration_table, jumps, mean, smoothness
from undercut.analysis.places import LapScale, action_use
from undercut.analysis.tables import Column, Table, gap_table, number
from undercut.report import page
from undercut.report.canvas import Picture
from undercut.report.curves import comparison_pictures, progress_pictures, spread_pictures
from undercut.report.gaps import gap_pictures
from undercut.report.maps import action_pictures, exit_picture, heat_pictures, path_pictures
from undercut.report.page import Section, table

_MAX_BEST_LAPS = 10
MAX_EPISODES = 3000
"""A longer table would make the page slow: the last so many are listed."""

_TIME = Column("time", "Simulated seconds from start to end, penalties of resets included.")
_REWARD = Column("reward", "Sum of the rewards of all steps. AWS's evaluation metrics have none.")
_SPEED = Column("speed", "Mean speed driven in m/s: distance by time, jumps of resets left out.")
_STEERING = Column("steering", "Mean change of the commanded steering from one step to the next, in degrees.")
_SWINGS = Column("swings", "How often a second the commanded steering changes from one side to the other.")
_RESETS = Column("resets", "How often the car was put back on the road.")
_JUMPS = Column("jumps", "How often it got onto another part of the road: such a lap is no whole lap.")


def best_laps_table(log: RunLog) -> str:
    """The fastest complete laps of all kinds; empty without any."""
    laps = [lap for lap in fastest(log.episodes, _MAX_BEST_LAPS) if lap.complete]
    if not laps:
        return ""
    columns = [
        Column("", "Rank by time.", left=True),
        Column("lap", "What it was driven for, and its number there.", left=True),
        *(_TIME, _RESETS, _JUMPS, _SPEED, _STEERING, _SWINGS, _REWARD),
    ]
    rows = []
    for rank, lap in enumerate(laps, start=1):
        rows.append([str(rank), lap.title, number(lap.time_s, 3), *_mishaps(lap), *_calm(lap), number(lap.reward, 1)])
    return table(Table(columns, rows), classes=[_class(lap) for lap in laps])


def _calm(*laps: Episode) -> list[str]:
    """Speed, steering and swings: the laps' means, empty where none has steps."""
    measured = [smooth for lap in laps if (smooth := smoothness(lap.steps)) is not None]
    columns = (("driven_speed_mps", 2), ("steering_deg", 1), ("swings_per_s", 1))
    return [number(mean([getattr(it, name) for it in measured]), digits) for name, digits in columns]


def _mishaps(episode: Episode) -> list[str]:
    """Resets and jumps."""
    return [str(episode.resets), str(len(jumps(episode)))] if len(episode.steps) else ["", ""]


def _class(episode: Episode) -> str:
    return "" if episode.kind is Kind.training else "evaluation"


def episode_table(log: RunLog) -> str:
    """Every episode, sortable."""
    columns = [
        Column("#", "Order in which the episodes were driven."),
        Column("episode", "What it was driven for, and its number there; evaluations have a tint.", left=True),
        Column("iteration", "The iteration that it belongs to; of an evaluation at the end that of its file."),
        _REWARD,
        Column("completion", "Per cent of a lap; whole numbers where only the metrics are known."),
        _TIME,
        Column("outcome", "How it ended.", left=True),
        Column("ended at", "Waypoint closest to the car at its last step."),
        Column("steps", "Rows of its simtrace."),
        *(_RESETS, _JUMPS, _SPEED, _STEERING, _SWINGS),
    ]
    scale = LapScale.of(log)
    fitting = {id(episode) for episode in log.traced(*Kind)}
    episodes = sorted(log.episodes, key=_driven_when)
    rows = []
    for place, episode in list(enumerate(episodes, start=1))[-MAX_EPISODES:]:
        traced = len(episode.steps) > 0
        ended = ""
        if id(episode) in fitting:
            ended = str(scale.waypoint(float(scale.shares(episode.steps[-1:])[0])))
        rows.append(
            [
                str(place),
                episode.title,
                str(episode.iteration),
                number(episode.reward, 2),
                number(episode.completion_pct, 1),
                number(episode.time_s, 3),
                episode.outcome.title,
                ended,
                str(len(episode.steps)) if traced else "",
                *_mishaps(episode),
                *_calm(episode),
            ]
        )
    left_out = len(episodes) - len(rows)
    note = f'<p class="note">The first {left_out} episodes are left out.</p>' if left_out else ""
    return note + table(Table(columns, rows), sortable=True, classes=[_class(it) for it in episodes[-MAX_EPISODES:]])


def _driven_when(episode: Episode) -> tuple[bool, int, bool, int]:
    return episode.kind is Kind.evaluation, episode.iteration, episode.kind is Kind.check, episode.number


def iteration_rows(log: RunLog) -> str:
    """Numbers by iteration; empty where there are none."""
    summaries = iteration_table(log)
    if not summaries:
        return ""
    columns = [
        Column("iteration", "A set of training episodes, the update on them, and the evaluation after it."),
        Column("episodes", "Training episodes."),
        Column("steps", "Rows of their simtraces."),
        Column("reward", "Mean sum of an episode's rewards in training."),
        Column("±", "Standard deviation of the episodes' rewards."),
        Column("completion", "Mean per cent of a lap in training."),
        Column("laps", "Complete laps in training."),
        Column("best lap", "Fastest complete lap in training, in seconds."),
        Column("exits", "How often a car left the road, crashed, stood still or turned round in training."),
        Column("evaluation", "Mean per cent of a lap in the evaluation after it."),
        Column("complete", "Complete laps of the evaluation's."),
        Column("best evaluation lap", "In seconds."),
        Column("entropy", "Of the policy, in nats."),
    ]
    rows = [
        [
            str(row.iteration),
            str(row.episodes),
            number(row.steps),
            number(row.reward, 2),
            number(row.reward_deviation, 2),
            number(row.completion_pct, 1),
            str(row.complete),
            number(row.best_lap_s, 2),
            number(row.exits),
            number(row.check_completion_pct, 1),
            f"{row.check_complete}/{row.checks}" if row.checks else "",
            number(row.check_best_lap_s, 2),
            number(row.entropy, 3),
        ]
        for row in summaries
    ]
    return f"<details><summary>Numbers by iteration</summary>{table(Table(columns, rows), sortable=True)}</details>"


def comparison_table(logs: Sequence[RunLog]) -> str:
    """One row a log."""
    columns = [
        Column("run", "Name of the run or of the folder.", left=True),
        Column("track", "By name where it is known.", left=True),
        Column("iterations", "That anything is known of."),
        Column("episodes", "Training episodes."),
        Column("steps", "Training steps, where they are known."),
        Column("first lap", "Number of the first training episode that completed a lap."),
        Column("clean from", "First iteration whose evaluation had complete laps only."),
        Column("laps", "Complete laps of the evaluation, or of the last one in training."),
        Column("mean lap", "Their mean time in seconds."),
        Column("best lap", "The fastest evaluation lap of all, in seconds."),
        *(_SPEED, _STEERING, _SWINGS),
    ]
    rows = []
    for log in logs:
        laps, training = log.laps(), log.of(Kind.training)
        complete = [lap for lap in laps if lap.complete]
        first = next((episode.number + 1 for episode in training if episode.complete), None)
        clean = next(
            (it.iteration for it in iteration_table(log) if it.checks and it.check_complete == it.checks), None
        )
        steps = log.updates["steps"][-1] if "steps" in log.updates else None
        rows.append(
            [
                log.name,
                log.track.name if log.track else log.track_name,
                str(len(log.iterations)),
                str(len(training)),
                number(steps),
                "" if first is None else str(first),
                "" if clean is None else str(clean),
                f"{len(complete)}/{len(laps)}" if laps else "",
                number(mean([lap.time_s for lap in complete]), 2),
                number(best_lap_s(log.of(*EVALUATIONS)), 2),
                *_calm(*laps),
            ]
        )
    return table(Table(columns, rows))


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
    problems = [f"{it.name}: {problem}" if len(logs) > 1 else problem for it in logs for problem in it.problems]
    lead = page.facts(log.facts) + page.figures(headline(log)) + page.problems(problems)
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
            result = f"{one.time_s:.2f} s" if one.complete else f"{whole_pct(one.completion_pct)} % of a lap"
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
