"""A picture of diagnostics.csv: whether the updates of a training were healthy."""

from collections.abc import Mapping

import numpy as np
from matplotlib.ticker import MaxNLocator

from contract.state import FloatArray
from undercut.figures.png import new_figure, png_of, tidy

_COLOURS = ("#3b6fb6", "#d9772b", "#4d8f55")
_PANELS: tuple[tuple[str, dict[str, str]], ...] = (
    ("Policy entropy (nats)", {"entropy": "entropy"}),
    ("KL divergence from the policy before", {"kl_divergence": "exact", "approximate_kl": "approximate"}),
    ("Share of steps whose ratio is clipped", {"clip_fraction": "clipped"}),
    ("Explained variance of the values before the update", {"explained_variance": "explained"}),
    (
        "Gradient norms",
        {
            "policy_gradient_norm": "policy",
            "value_gradient_norm": "value",
            "gradient_norm": "both",
            "q_gradient_norm": "Q",
        },
    ),
    ("Losses", {"policy_loss": "policy", "value_loss": "value"}),
    (
        "Value estimates",
        {"value_mean": "mean value", "advantage_deviation": "deviation of advantages", "q_value": "mean Q"},
    ),
    ("Mean commanded speed in training (m/s)", {"mean_speed_mps": "speed"}),
)


def diagnostics_plot(columns: Mapping[str, FloatArray], title: str) -> bytes:
    """PNG of the columns (I,) by iteration; panels of which the run has no numbers are left out, and the last one is
    the use of discrete actions."""
    panels = [
        (heading, {name: label for name, label in names.items() if name in columns}) for heading, names in _PANELS
    ]
    panels = [(heading, names) for heading, names in panels if names]
    shares = [name for name in columns if name.startswith("a_")]
    count = len(panels) + bool(shares)
    wide = 3
    figure = new_figure(15.0, 3.3 * -(-count // wide), title)
    grid = list(figure.subplots(-(-count // wide), wide, squeeze=False).flat)
    iterations = columns["iteration"]
    for axes, (heading, names) in zip(grid, panels, strict=False):
        for (name, label), colour in zip(names.items(), _COLOURS, strict=False):
            axes.plot(iterations, columns[name], color=colour, linewidth=1.7, label=label, marker=".", markersize=4)
        axes.set_title(heading, loc="left", fontsize=11)
        if heading == "Gradient norms" and all((columns[name] > 0.0).all() for name in names):
            axes.set_yscale("log")
        if len(names) > 1:
            axes.legend(fontsize=9, framealpha=0.8, edgecolor="none")
    if shares:
        axes = grid[len(panels)]
        values = np.stack([np.nan_to_num(columns[name]) for name in shares])
        axes.stackplot(iterations, values, labels=[name.replace("a_", "") for name in shares])
        axes.set(ylim=(0.0, 1.0))
        axes.set_title("Use of the actions, by index (training)", loc="left", fontsize=11)
        if len(shares) <= 12:
            axes.legend(fontsize=8, loc="upper left", ncols=3, framealpha=0.8, edgecolor="none")
    for i, axes in enumerate(grid):
        if i >= count:
            axes.axis("off")
            continue
        tidy(axes)
        axes.xaxis.set_major_locator(MaxNLocator(integer=True))
        axes.set_xlabel("iteration", fontsize=9)
    return png_of(figure)
