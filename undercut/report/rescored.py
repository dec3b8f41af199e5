"""A picture of what a new reward function says of old episodes."""

import matplotlib as mpl
import numpy as np

from undercut.analysis.log import Kind
from undercut.analysis.places import SECTORS
from undercut.analysis.rescoring import Rescoring
from undercut.figures.png import new_figure, png_of
from undercut.report.canvas import EVALUATION, MUTED, STYLE, TRAINING, plain


def rescoring_plot(rescoring: Rescoring, title: str) -> bytes:
    """PNG: old against new reward sums, both against progress, and the mean reward of a step by sector."""
    with mpl.rc_context(STYLE):
        figure = new_figure(14.0, 4.6, title)
        against, progress, sectors = figure.subplots(1, 3)
        old, new = (np.array([getattr(it, name).sum() for it in rescoring.episodes]) for name in ("old", "new"))
        training = np.array([it.episode.kind is Kind.training for it in rescoring.episodes])
        for chosen, colour, label in ((training, TRAINING, "training"), (~training, EVALUATION, "evaluation")):
            if chosen.any():
                against.plot(old[chosen], new[chosen], "o", color=colour, markersize=4, alpha=0.6, label=label)
        plain(against, "new reward of an episode", "old reward of an episode")
        against.legend()
        relation = (
            "no ranks" if rescoring.rank_correlation is None else f"rank correlation {rescoring.rank_correlation:.2f}"
        )
        against.set_title(f"Every episode, {relation}", loc="left", fontsize=11)

        completion = np.array([it.episode.completion_pct for it in rescoring.episodes])
        for values, colour, label, correlation in (
            (old, MUTED, "old", rescoring.old.progress),
            (new, TRAINING, "new", rescoring.new.progress),
        ):
            spread = float(np.ptp(values)) or 1.0
            relation = "" if correlation is None else f", r = {correlation:.2f}"
            scaled = (values - values.min()) / spread
            progress.plot(completion, scaled, "o", color=colour, markersize=4, alpha=0.6, label=f"{label}{relation}")
        plain(progress, "reward, from its least (0) to its most (1)", "completion (% of a lap)")
        progress.legend()
        progress.set_title("Reward and progress", loc="left", fontsize=11)

        places = np.arange(SECTORS)
        for column, colour, label in ((0, MUTED, "old"), (1, TRAINING, "new")):
            height = np.nan_to_num(rescoring.by_sector[:, column])
            sectors.bar(places + 0.4 * column - 0.2, height, 0.38, color=colour, label=label)
        sectors.set_xticks(places, [str(sector + 1) for sector in places])
        plain(sectors, "mean reward of a step", "sector of the lap, from the start line")
        sectors.legend()
        sectors.set_title("Reward by sector", loc="left", fontsize=11)
        return png_of(figure)
