"""The tables of a report."""

from collections.abc import Sequence

from undercut.analysis.log import EVALUATIONS, Episode, Kind, RunLog, fastest
from undercut.analysis.measures import Smoothness, best_lap_s, iteration_table, jumps, mean, smoothness
from undercut.analysis.places import LapScale
from undercut.analysis.tables import Column, Table, number
from undercut.report.page import table

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
        smooth = smoothness(lap.steps)
        rows.append(
            [str(rank), lap.title, number(lap.time_s, 3), *_mishaps(lap), *_calm(smooth), number(lap.reward, 1)],
        )
    return table(Table(columns, rows), classes=[_class(lap) for lap in laps])


def _calm(smooth: Smoothness | None) -> list[str]:
    if smooth is None:
        return ["", "", ""]
    return [number(smooth.driven_speed_mps, 2), number(smooth.steering_deg, 1), number(smooth.swings_per_s, 1)]


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
                *_calm(smoothness(episode.steps)),
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
        measured = [smooth for lap in laps if (smooth := smoothness(lap.steps)) is not None]
        calm = (
            [
                number(mean([it.driven_speed_mps for it in measured]), 2),
                number(mean([it.steering_deg for it in measured]), 1),
                number(mean([it.swings_per_s for it in measured]), 1),
            ]
            if measured
            else ["", "", ""]
        )
        rows.append(
            [
                log.name,
                log.track.name if log.track else log.told_track,
                str(len(log.iterations)),
                str(len(training)),
                number(steps),
                "" if first is None else str(first),
                "" if clean is None else str(clean),
                f"{len(complete)}/{len(laps)}" if laps else "",
                number(mean([lap.time_s for lap in complete]), 2),
                number(best_lap_s(log.of(*EVALUATIONS)), 2),
                *calm,
            ]
        )
    return table(Table(columns, rows))
