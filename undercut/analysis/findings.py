"""Findings in words, each by a stated rule and with its numbers. A rule that finds nothing says nothing."""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from scipy import stats

from contract.metadata import ContinuousActions, DiscreteActions
from contract.metrics import whole_pct
from contract.state import STEP_S, EpisodeStatus
from undercut.analysis.gap import best_gap
from undercut.analysis.log import EVALUATIONS, Episode, Kind, RunLog, fastest, rows_of
from undercut.analysis.measures import (
    JUMP_M,
    IterationSummary,
    best_lap_s,
    driven,
    iteration_table,
    jumps,
    mean,
    sector_times,
    smoothness,
)
from undercut.analysis.places import SECTORS, LapScale, action_use, densest, exits

LATE = 1 / 3
"""The part of the training, by iterations, that says how it drives now."""
_FEW_EXITS, _CHANCE = 5, 0.0025
_UNUSED, _DOMINANT = 0.01, 0.6
_ENTROPY_LEFT = 0.5
_WEAK_CORRELATION = 0.5
_SWINGS_PER_S = 2.0
_CUT_SHARE = 0.1
_WORSE_PCT = 10.0
_NEAR_LIMIT = 1.1


@dataclass(frozen=True, slots=True)
class LogFinding:
    """`text` has the numbers, `rule` says when it is told; `mood` is good, bad or plain."""

    text: str
    rule: str
    mood: str = "plain"


def findings(log: RunLog) -> list[LogFinding]:
    """What the rules of this file find in a log, the outcome first."""
    rules: tuple[Callable[[_Facts], LogFinding | None], ...] = (
        *(_outcome, _first_lap, _first_clean_check, _after_the_best, _progress, _exits, _shortcuts, _entropy, _speed),
        *(_unused_actions, _main_action, _swings, _reward, _slow_sector, _limit, _cut),
    )
    facts = _Facts(log)
    return [found for rule in rules if (found := rule(facts)) is not None]


class _Facts:
    """What several rules need."""

    def __init__(self, log: RunLog) -> None:
        self.log = log
        self.table: list[IterationSummary] = iteration_table(log)
        self.scale = LapScale.of(log)
        self.laps = log.laps()
        iterations = sorted({episode.iteration for episode in log.of(Kind.training)})
        late_from = iterations[-max(1, math.ceil(LATE * len(iterations)))] if iterations else 0
        self.late = [episode for episode in log.of(Kind.training) if episode.iteration >= late_from]
        self.late_traced = [episode for episode in log.traced(Kind.training) if episode.iteration >= late_from]
        self.late_use = action_use(log, self.late_traced, self.scale)


def _outcome(facts: _Facts) -> LogFinding | None:
    laps = facts.laps
    if not laps:
        return LogFinding("Nothing was driven that is known.", "no episode in metrics or simtraces", "bad")
    complete = [lap for lap in laps if lap.complete]
    what = laps[0].kind.words
    of = f"{len(complete)} of {len(laps)} laps of the {what}"
    if laps[0].kind is not Kind.evaluation:
        of = f"{len(complete)} of {len(laps)} episodes of the last {what} (iteration {laps[0].iteration})"
    rule = "the evaluation's laps; without one, those of the last evaluation in training, or of its last iteration"
    if not complete:
        furthest = max(lap.completion_pct for lap in laps)
        return LogFinding(f"No lap is complete: {of}; the furthest came to {whole_pct(furthest)} %.", rule, "bad")
    times = np.array([lap.time_s for lap in complete])
    several = f" on average, between {times.min():.2f} and {times.max():.2f} s"
    resets = sum(lap.resets for lap in complete)
    text = f"{of} are complete: {times.mean():.2f} s{several if len(times) > 1 else ''}"
    text += f", with {resets} resets." if resets else "."
    return LogFinding(text, rule, "good" if len(complete) == len(laps) and not resets else "plain")


def _first_lap(facts: _Facts) -> LogFinding | None:
    rule = "first training episode at 100 %"
    episodes = facts.log.of(Kind.training)
    first = next((episode for episode in episodes if episode.complete), None)
    if first is None:
        furthest = max((episode.completion_pct for episode in episodes), default=0.0)
        text = f"No training episode completed a lap; the furthest came to {whole_pct(furthest)} %."
        return LogFinding(text, rule) if episodes else None
    text = f"The first complete lap in training was episode {first.number + 1}, in iteration {first.iteration}"
    before = [row.steps for row in facts.table if row.iteration <= first.iteration]
    steps = facts.log.update("steps", first.iteration)
    if steps is None and None not in before and len(before) == first.iteration + 1:
        steps = float(sum(row or 0 for row in before))
    within = f" (within {steps:,.0f} training steps)" if steps is not None else ""
    return LogFinding(f"{text}{within}: {first.time_s:.2f} s.", rule)


def _first_clean_check(facts: _Facts) -> LogFinding | None:
    clean = next((row for row in facts.table if row.checks and row.check_complete == row.checks), None)
    if clean is None:
        return None
    text = f"All {clean.checks} evaluation laps were complete for the first time after iteration {clean.iteration}."
    return LogFinding(text, "first evaluation in training of complete laps only", "good")


def _after_the_best(facts: _Facts) -> LogFinding | None:
    rows = [(row.iteration, row.check_completion_pct) for row in facts.table if row.check_completion_pct is not None]
    if len(rows) < 2:
        return None
    best = max(rows, key=lambda row: row[1])
    last = rows[-1]
    if best[1] - last[1] <= _WORSE_PCT:
        return None
    text = (
        f"The last evaluation in training (iteration {last[0]}) came to {last[1]:.0f} % of a lap on average, the best "
        f"one (iteration {best[0]}) to {best[1]:.0f} %: drive the best checkpoint, not the last."
    )
    return LogFinding(
        text, f"the last evaluation's mean completion is over {_WORSE_PCT:.0f} points below the best", "bad"
    )


def _progress(facts: _Facts) -> LogFinding | None:
    rows = [row for row in facts.table if row.completion_pct is not None]
    if len(rows) < 4:
        return None
    third = max(1, len(rows) // 3)
    early = mean([row.completion_pct for row in rows[:third] if row.completion_pct is not None])
    late = mean([row.completion_pct for row in rows[-third:] if row.completion_pct is not None])
    if early is None or late is None:
        return None
    text = (
        f"Training episodes came to {early:.0f} % of a lap on average in the first {third} iterations, and to "
        f"{late:.0f} % in the last {third}."
    )
    return LogFinding(text, "mean completion of the first and last third of the iterations", _mood(late - early, 10.0))


def _mood(gain: float, enough: float) -> str:
    return "good" if gain >= enough else "bad" if gain < 0.0 else "plain"


def _exits(facts: _Facts) -> LogFinding | None:
    episodes = facts.late_traced or facts.log.traced(*EVALUATIONS)
    rows = exits(episodes)
    cluster = densest(facts.scale.shares(rows)) if len(rows) >= _FEW_EXITS else None
    if cluster is None:
        return None
    first, last = facts.scale.waypoint(cluster.begin), facts.scale.waypoint(cluster.end)
    share = 100 * cluster.count / cluster.total
    text = (
        f"Cars leave the road or crash most often between waypoints {first} and {last}: {cluster.count} of "
        f"{cluster.total} times in {_which(episodes)} ({share:.0f} %), on {100 * cluster.share_of_lap:.0f} % of the lap"
    )
    chance = float(stats.binom.sf(cluster.count - 1, cluster.total, 1 / SECTORS))
    rule = (
        f"the tenth of the lap that holds most exits, drawn in to them, from {_FEW_EXITS} exits on, in the last third "
        f"of the training's iterations; it stands out when evenly spread exits would put as many into a given tenth in "
        f"less than {100 * _CHANCE:g} % of cases"
    )
    if chance < _CHANCE:
        return LogFinding(f"{text}; this stretch stands out.", rule, "bad")
    return LogFinding(f"{text}; chance alone does as much, so no stretch stands out.", rule)


def _which(episodes: Sequence[Episode]) -> str:
    numbers = sorted({episode.iteration for episode in episodes})
    if len(numbers) == 1:
        return f"iteration {numbers[0]}" if episodes[0].kind is not Kind.evaluation else "the evaluation"
    return f"iterations {numbers[0]} to {numbers[-1]}"


def _shortcuts(facts: _Facts) -> LogFinding | None:
    episodes = facts.log.traced(*Kind)
    found = [(episode, rows) for episode in episodes if len(rows := jumps(episode))]
    if not found:
        return None
    shares = facts.scale.shares(np.concatenate([rows for _, rows in found]))
    cluster = densest(shares)
    assert cluster is not None
    complete = sum(episode.complete for episode, _ in found)
    text = (
        f"In {len(found)} of {len(episodes)} episodes, {complete} of them complete laps, progress jumped: the car got "
        f"onto another part of the road, most often at waypoint {facts.scale.waypoint(cluster.begin)}. Such laps are "
        f"no whole laps."
    )
    return LogFinding(
        text, f"progress of more than {JUMP_M:g} m of the centre line in one step, resets left out", "bad"
    )


def _entropy(facts: _Facts) -> LogFinding | None:
    entropies = [(row.iteration, row.entropy) for row in facts.table if row.entropy is not None]
    if len(entropies) < 2 or isinstance(facts.log.actions, ContinuousActions):
        return None
    begin, end = entropies[0][1], entropies[-1][1]
    limit = _ENTROPY_LEFT * begin
    rule = "entropy of the policy against half of its first value; discrete actions only"
    below = next(((iteration, value) for iteration, value in entropies if value < limit), None)
    if below is not None and begin > 0.0:
        text = (
            f"Entropy fell below {limit:.2f} nats, half of its first value, at iteration {below[0]} ({below[1]:.2f}); "
            f"it ended at {end:.2f}."
        )
        return LogFinding(text, rule)
    text = f"Entropy went from {begin:.2f} to {end:.2f} nats and is still above half of its first value: it explores."
    return LogFinding(text, rule)


def _speed(facts: _Facts) -> LogFinding | None:
    laps = [lap for lap in facts.laps if len(lap.steps)]
    if not laps:
        return None
    rows = rows_of(laps)
    commanded = float(rows["speed_mps"].max())
    speeds = np.concatenate([driven(lap.steps)[1] for lap in laps])
    fastest_driven = f"; the car drove at most {np.quantile(speeds, 0.99):.2f} m/s" if len(speeds) else ""
    rule = "commanded speed of the evaluation's laps, and 99th percentile of the driven one"
    actions = facts.log.actions
    top = None
    if isinstance(actions, DiscreteActions):
        top = float(actions.speed_mps.max())
    elif isinstance(actions, ContinuousActions):
        top = actions.speed_mps[1]
    if top is not None and commanded < 0.95 * top:
        text = f"Commanded speed never was above {commanded:.2f} m/s, though the actions go up to {top:.2f} m/s"
        return LogFinding(f"{text}{fastest_driven}.", rule)
    percent = 100.0 * float(np.mean(rows["speed_mps"] >= 0.95 * commanded))
    share = f"{percent:.0f} %" if percent >= 1.0 else "less than 1 %"
    text = f"Top speed, {commanded:.2f} m/s, is commanded in {share} of the steps{fastest_driven}."
    return LogFinding(text, rule)


def _unused_actions(facts: _Facts) -> LogFinding | None:
    use = facts.late_use
    if use is None or use.continuous:
        return None
    unused = [label for label, share in zip(use.labels, use.overall, strict=True) if share < _UNUSED]
    text = f"{len(unused)} of {len(use.labels)} actions are hardly used: {', '.join(unused)}."
    rule = f"less than {100 * _UNUSED:.0f} % of the training steps in the last third of the iterations"
    return LogFinding(text, rule) if unused else None


def _main_action(facts: _Facts) -> LogFinding | None:
    use = facts.late_use
    if use is None or use.continuous or use.overall.max() <= _DOMINANT:
        return None
    top = int(use.overall.argmax())
    text = f"One action does most of the work: {use.labels[top]} in {100 * use.overall[top]:.0f} % of the steps."
    rule = f"more than {100 * _DOMINANT:.0f} % of the training steps in the last third of the iterations"
    return LogFinding(text, rule, "bad")


def _swings(facts: _Facts) -> LogFinding | None:
    measured = [smooth for lap in facts.laps if (smooth := smoothness(lap.steps)) is not None]
    if not measured:
        return None
    swings = float(np.mean([smooth.swings_per_s for smooth in measured]))
    change = float(np.mean([smooth.steering_deg for smooth in measured]))
    rule = (
        f"changes of side of the commanded steering in the evaluation's laps; above {_SWINGS_PER_S:g} a second is a lot"
    )
    if swings > _SWINGS_PER_S:
        text = f"It zig-zags: steering changes sides {swings:.1f} times a second, by {change:.1f}° a step."
        return LogFinding(text, rule, "bad")
    text = f"It steers calmly: it changes sides {swings:.1f} times a second, and by {change:.1f}° a step."
    return LogFinding(text, rule, "good")


def _reward(facts: _Facts) -> LogFinding | None:
    episodes = facts.log.of(Kind.training)
    rewards = np.array([episode.reward for episode in episodes])
    progress = np.array([episode.completion_pct for episode in episodes])
    if len(episodes) < 10 or not np.isfinite(rewards).all() or rewards.std() == 0.0 or progress.std() == 0.0:
        return None
    correlation = float(np.corrcoef(rewards, progress)[0, 1])
    rule = f"correlation (Pearson) over the training episodes; below {_WEAK_CORRELATION:g} it is weak"
    if correlation < _WEAK_CORRELATION:
        text = f"Reward hardly follows progress: r = {correlation:.2f} over {len(episodes)} episodes."
        return LogFinding(text, rule, "bad")
    return LogFinding(f"Reward follows progress: r = {correlation:.2f} over {len(episodes)} episodes.", rule, "good")


def _slow_sector(facts: _Facts) -> LogFinding | None:
    if facts.log.track is None:
        return None
    times = sector_times(facts.log.traced(Kind.evaluation) or facts.log.traced(Kind.check), facts.scale)
    if len(times) < 2:
        return None
    seconds = np.array([it.seconds for it in times])
    best = fastest([it.lap for it in times], 1)[0]
    ideal = float(seconds.min(axis=0).sum())
    mine = next(it.seconds for it in times if it.lap is best)
    slowest = int(mine.argmax())
    first, last = facts.scale.waypoints(slowest)
    text = (
        f"The slowest tenth of the best lap ({best.time_s:.2f} s) is sector {slowest + 1}, waypoints {first} to "
        f"{last}: {mine[slowest]:.2f} s. The best sectors of {len(times)} laps together would make {ideal:.2f} s."
    )
    return LogFinding(text, f"seconds in each of {SECTORS} equal sectors, complete laps without resets")


def _limit(facts: _Facts) -> LogFinding | None:
    found = best_gap(facts.log)
    if found is None:
        return None
    lap, gap = found
    worst = int(gap.by_sector.sum(axis=1).argmax())
    first, last = facts.scale.waypoints(worst)
    text = (
        f"The best clean lap ({lap.title}, {gap.lap_s:.2f} s) takes {gap.ratio:.2f} times the limit of "
        f"{gap.limit_s:.2f} s. It loses {gap.lost_s:.2f} s: {gap.lost_by}; most in sector {worst + 1}, "
        f"waypoints {first} to {last}: {gap.by_sector[worst].sum():.2f} s."
    )
    rule = "the fastest lap that the car can drive (undercut line); a longer way counts at the limit's own speed"
    return LogFinding(text, rule, "good" if gap.ratio <= _NEAR_LIMIT else "plain")


def _cut(facts: _Facts) -> LogFinding | None:
    late = facts.late
    cut = sum(episode.outcome is EpisodeStatus.time_up for episode in late)
    if not late or cut < _CUT_SHARE * len(late):
        return None
    longest = max((len(episode.steps) for episode in late), default=0)
    text = f"{cut} of the last {len(late)} training episodes were cut by the step limit ({longest * STEP_S:.0f} s)."
    return LogFinding(text, f"at least {100 * _CUT_SHARE:.0f} % of the last third's episodes ended as time_up", "bad")


def headline(log: RunLog) -> list[tuple[str, str, str]]:
    """The figures that come first: (value, what it is, how it is meant)."""
    laps = log.laps()
    complete = sum(lap.complete for lap in laps)
    best = best_lap_s(log.of(*EVALUATIONS))
    training = log.of(Kind.training)
    figures = []
    if laps:
        words = {Kind.evaluation: "evaluation laps", Kind.check: "laps of the last evaluation in training"}
        what = words.get(laps[0].kind, "episodes of the last iteration")
        figures.append((f"{complete} / {len(laps)}", f"{what} complete", "complete laps of all that were begun"))
    if best is not None:
        figures.append((f"{best:.2f} s", "best evaluation lap", "simulated seconds, penalties of resets included"))
    found = best_gap(log)
    if found is not None:
        gap = found[1]
        meant = f"best clean lap by the fastest possible one, {gap.limit_s:.2f} s"
        figures.append((f"{gap.ratio:.2f} ×", "of the limit", meant))
    training_best = best_lap_s(training)
    if training_best is not None:
        figures.append(
            (f"{training_best:.2f} s", "best lap in training", "actions are drawn at random there, as it explores")
        )
    if training:
        figures.append((f"{len(training):,}", "training episodes", "known from metrics or simtraces"))
    steps = [row.steps for row in iteration_table(log)]
    if "steps" in log.updates and len(log.updates["steps"]) and math.isfinite(log.updates["steps"][-1]):
        figures.append((f"{log.updates['steps'][-1]:,.0f}", "training steps", "of 1/15 s of simulated time each"))
    elif any(steps):
        known = sum(step or 0 for step in steps)
        figures.append((f"{known:,}", "training steps with a simtrace", "rows of the simtraces that are here"))
    if log.iterations:
        figures.append((f"{len(log.iterations)}", "iterations", "one is a set of episodes and the update on them"))
    return figures
