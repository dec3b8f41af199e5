"""Pictures over iterations, and of how values are spread."""

import math
from collections.abc import Callable, Iterable, Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from contract.state import FloatArray
from undercut.analysis.log import EVALUATIONS, Episode, Kind, RunLog
from undercut.analysis.measures import smoothness
from undercut.report.canvas import EVALUATION, MUTED, OTHER, RUNS, TRAINING, Picture, picture, plain

Value = Callable[[Episode], float]
_BAND = "The line is the mean of an iteration's episodes, the band holds the middle half of them."
_CHECKS = "Diamonds are the evaluation after it: the mean of its laps, driven without exploration."


def _reward(episode: Episode) -> float:
    return episode.reward


def _completion(episode: Episode) -> float:
    return episode.completion_pct


def _time_s(episode: Episode) -> float:
    return episode.time_s if episode.complete else math.nan


def progress_pictures(log: RunLog) -> list[Picture]:
    """How training went, iteration by iteration; what a log does not know is left out."""
    pictures = []
    training, checks = log.of(Kind.training), log.of(Kind.check)
    both = (training, checks)
    if training or checks:
        caption = f"Sum of an episode's rewards. {_BAND} {_CHECKS}"
        pictures.append(_by_iteration("reward", "Reward of an episode", caption, both, _reward, "reward"))
        caption = f"Per cent of a lap that an episode came. {_BAND} {_CHECKS}"
        title = "Completion of the lap"
        pictures.append(_by_iteration("completion", title, caption, both, _completion, "% of a lap", top=100.0))
    laps = [episode for episode in (*training, *checks) if episode.complete]
    if laps:
        pictures.append(_lap_times(training, checks))
    pictures += _update_pictures(log)
    pictures += _calm_pictures(log)
    return pictures


def _by_iteration(
    name: str,
    title: str,
    caption: str,
    phases: tuple[Sequence[Episode], Sequence[Episode]],
    value: Value,
    ylabel: str,
    top: float | None = None,
) -> Picture:
    def draw(figure: Figure) -> None:
        axes = figure.subplots()
        if top is not None:
            axes.axhline(top, color=MUTED, linewidth=0.8)
            axes.set_ylim(0.0, 1.06 * top)
        _band(axes, phases[0], value, TRAINING, "training")
        _means(axes, phases[1], value, EVALUATION, "evaluation")
        plain(axes, ylabel, "iteration", whole_x=True)
        _legend(axes)

    return picture(name, title, caption, draw)


def grouped(episodes: Iterable[Episode], value: Value) -> dict[int, FloatArray]:
    """Iteration -> its episodes' values, those that are numbers."""
    found: dict[int, list[float]] = {}
    for episode in episodes:
        number = value(episode)
        if math.isfinite(number):
            found.setdefault(episode.iteration, []).append(number)
    return {iteration: np.array(found[iteration]) for iteration in sorted(found)}


def _band(axes: Axes, episodes: Sequence[Episode], value: Value, colour: str, label: str) -> None:
    groups = grouped(episodes, value)
    if not groups:
        return
    at = list(groups)
    low, high = (np.array([np.quantile(it, share) for it in groups.values()]) for share in (0.25, 0.75))
    x, low, high, middle = (_gapped(at, row) for row in (at, low, high, [it.mean() for it in groups.values()]))
    axes.fill_between(x, low, high, color=colour, alpha=0.2, linewidth=0)
    axes.plot(x, middle, color=colour, linewidth=1.8, label=label, marker=".", markersize=4)


def _gapped(at: Sequence[int], values: Sequence[float] | FloatArray) -> FloatArray:
    """With a NaN wherever an iteration is missing, so that no line is drawn over it."""
    gaps = np.flatnonzero(np.diff(at) > 1) + 1
    return np.insert(np.asarray(values, dtype=np.float64), gaps, np.nan)


def _means(axes: Axes, episodes: Sequence[Episode], value: Value, colour: str, label: str) -> None:
    groups = grouped(episodes, value)
    if groups:
        means = [it.mean() for it in groups.values()]
        axes.plot(list(groups), means, color=colour, linewidth=1.0, marker="D", markersize=4.5, label=label, zorder=4)


def _legend(axes: Axes) -> None:
    if axes.get_legend_handles_labels()[0]:
        axes.legend(loc="best")


def _lap_times(training: Sequence[Episode], checks: Sequence[Episode]) -> Picture:
    def draw(figure: Figure) -> None:
        axes = figure.subplots()
        for episodes, colour, marker, label in (
            (training, TRAINING, "o", "training"),
            (checks, EVALUATION, "D", "evaluation"),
        ):
            groups = grouped(episodes, _time_s)
            if groups:
                dots = [(iteration, time) for iteration, times in groups.items() for time in times]
                axes.plot(*zip(*dots, strict=True), marker, color=colour, markersize=3.5, alpha=0.45, linewidth=0)
                best = [times.min() for times in groups.values()]
                axes.plot(list(groups), best, color=colour, linewidth=1.5, label=f"{label}, best", marker=".")
        plain(axes, "seconds", "iteration", whole_x=True)
        _legend(axes)

    caption = (
        "Every complete lap is a mark, the line joins the best of each iteration. Simulated seconds; in training the "
        "car explores, and may begin anywhere on the track."
    )
    return picture("lap_times", "Lap times", caption, draw)


def _update_pictures(log: RunLog) -> list[Picture]:
    pictures = []
    known = {name for name, values in log.updates.items() if np.isfinite(values).any()}
    iterations = log.updates.get("iteration")
    if iterations is None:
        return []

    def line(axes: Axes, name: str, colour: str, label: str, style: str = ".-") -> None:
        assert iterations is not None
        axes.plot(iterations, log.updates[name], style, color=colour, linewidth=1.6, markersize=4, label=label)

    def entropy(figure: Figure) -> None:
        axes = figure.subplots()
        line(axes, "entropy", TRAINING, "entropy")
        axes.set_ylim(bottom=min(0.0, float(np.nanmin(log.updates["entropy"]))))
        plain(axes, "nats", "iteration", whole_x=True)

    def losses(figure: Figure) -> None:
        axes = figure.subplots()
        plain(axes, "", "iteration", whole_x=True)
        if "value_loss" in known:
            line(axes, "value_loss", OTHER, "value loss")
            axes.set_ylabel("value loss", color=OTHER)
        if "policy_loss" in known:
            right = axes.twinx()
            # dashed: two iterations' lines lie one on the other where both losses rise or both fall
            line(right, "policy_loss", EVALUATION, "policy loss", ".--")
            right.set_ylabel("policy loss", color=EVALUATION)
            right.spines[["top", "left"]].set_visible(False)

    def step(figure: Figure) -> None:
        axes = figure.subplots()
        line(axes, "kl_divergence", TRAINING, "KL divergence")
        axes.axhline(0.05, color=MUTED, linewidth=0.8, linestyle="--")
        plain(axes, "nats", "iteration", whole_x=True)

    if "entropy" in known:
        caption = (
            "How undecided the policy is, in nats: the logarithm of the number of actions when all are as likely, 0 "
            "when one is certain. It should fall slowly."
        )
        pictures.append(picture("entropy", "Policy entropy", caption, entropy))
    if known & {"value_loss", "policy_loss"}:
        caption = (
            "Means over the last epoch of each update. The value loss is how far the critic's estimates were off, and "
            "may rise while episodes get longer; the policy loss hovers around 0."
        )
        pictures.append(picture("losses", "Losses", caption, losses))
    if "kl_divergence" in known:
        caption = (
            "KL divergence of the new policy from the one before. Above about 0.05 (dashed) steps are large: lower the "
            "learning rate or the number of epochs."
        )
        pictures.append(picture("kl", "How far an update moves the policy", caption, step))
    return pictures


def _calm_pictures(log: RunLog) -> list[Picture]:
    episodes = [episode for episode in log.of(Kind.training, Kind.check) if len(episode.steps) > 1]
    measured = {id(episode): smoothness(episode.steps) for episode in episodes}
    if not episodes:
        return []

    def of(name: str) -> Value:
        return lambda episode: getattr(measured.get(id(episode)), name, math.nan)

    training, checks = ([it for it in episodes if it.kind is kind] for kind in (Kind.training, Kind.check))
    both, steering, speed = (training, checks), of("steering_deg"), of("driven_speed_mps")
    caption = f"Mean change of the commanded steering from one step to the next, in degrees: less is calmer. {_BAND}"
    calm = _by_iteration("steering_change", "Smoothness of steering", caption, both, steering, "° a step")
    caption = f"Distance by time, without the jumps of resets. {_BAND}"
    return [calm, _by_iteration("driven_speed", "Speed driven", caption, both, speed, "m/s")]


def spread_pictures(log: RunLog) -> list[Picture]:
    """Distributions of completion and lap times."""
    pictures = []
    training, evaluations = log.of(Kind.training), log.of(*EVALUATIONS)
    if training or evaluations:
        caption = (
            "How far episodes came: share of the episodes in each tenth of a lap; the last bar includes complete laps. "
            "Evaluations are those in training and the one at the end."
        )
        values = [[episode.completion_pct for episode in it] for it in (training, evaluations)]
        edges = np.linspace(0.0, 100.0, 11)
        pictures.append(_histogram("completion_spread", "Completion", caption, values, edges, "% of a lap"))
    times = [[episode.time_s for episode in it if episode.complete] for it in (training, evaluations)]
    together = np.array([time for it in times for time in it])
    if len(together) > 1:
        high = max(float(together.max()), float(together.min()) + 0.5)
        edges = np.linspace(float(together.min()), high, 21)
        caption = "Times of all complete laps, in simulated seconds: share of the laps in each bar."
        pictures.append(_histogram("lap_time_spread", "Lap times", caption, times, edges, "seconds"))
    return pictures


def _histogram(
    name: str, title: str, caption: str, values: Sequence[Sequence[float]], edges: FloatArray, xlabel: str
) -> Picture:
    def draw(figure: Figure) -> None:
        axes = figure.subplots()
        shown = [(it, *look) for it, look in zip(values, _PHASES, strict=True) if len(it)]
        width = 0.85 * (edges[1] - edges[0]) / max(len(shown), 1)
        for place, (it, colour, label) in enumerate(shown):
            counts, _ = np.histogram(np.clip(it, edges[0], edges[-1]), edges)
            left = edges[:-1] + 0.075 * (edges[1] - edges[0]) + place * width
            axes.bar(left, 100.0 * counts / len(it), width, align="edge", color=colour, label=f"{label} ({len(it)})")
        plain(axes, "% of episodes", xlabel)
        _legend(axes)

    return picture(name, title, caption, draw)


_PHASES = ((TRAINING, "training"), (EVALUATION, "evaluation"))


def comparison_pictures(logs: Sequence[RunLog]) -> list[Picture]:
    """Curves of several runs over each other."""

    def curves(kind: Kind, value: Value, ylabel: str) -> Callable[[Figure], None]:
        def draw(figure: Figure) -> None:
            axes = figure.subplots()
            for log, colour in zip(logs, RUNS, strict=False):
                groups = grouped(log.of(kind), value)
                if groups:
                    means = [it.mean() for it in groups.values()]
                    axes.plot(
                        list(groups), means, color=colour, linewidth=1.7, label=log.name, marker=".", markersize=4
                    )
            plain(axes, ylabel, "iteration", whole_x=True)
            _legend(axes)

        return draw

    def entropy(figure: Figure) -> None:
        axes = figure.subplots()
        for log, colour in zip(logs, RUNS, strict=False):
            if "entropy" in log.updates:
                axes.plot(log.updates["iteration"], log.updates["entropy"], color=colour, linewidth=1.7, label=log.name)
        plain(axes, "nats", "iteration", whole_x=True)
        _legend(axes)

    training = "Mean over each iteration's training episodes."
    laps = "Mean over the laps of the evaluation after each iteration."
    complete = "Mean over the complete laps of the evaluation after each iteration."
    rewards = "Mean sum of an episode's rewards. Compare it only between runs of one reward function."
    compared = (
        (Kind.training, _completion, "compare_training", "Completion in training", "% of a lap", training),
        (Kind.check, _completion, "compare_evaluation", "Completion in evaluations", "% of a lap", laps),
        (Kind.check, _time_s, "compare_lap_times", "Lap times in evaluations", "seconds", complete),
        (Kind.training, _reward, "compare_reward", "Reward in training", "reward", rewards),
    )
    pictures = [
        picture(name, title, caption, curves(kind, value, ylabel))
        for kind, value, name, title, ylabel, caption in compared
        if any(grouped(log.of(kind), value) for log in logs)
    ]
    if any("entropy" in log.updates for log in logs):
        pictures.append(picture("compare_entropy", "Policy entropy", "In nats, by iteration.", entropy))
    return pictures
