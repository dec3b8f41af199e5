"""A picture of which actions a policy takes where on the track."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes

from contract.metadata import DiscreteActions
from contract.state import FloatArray
from undercut.analysis.places import SECTORS, binned, shares_by_sector
from undercut.figures.inspection import InspectedLap
from undercut.figures.png import new_figure, png_of
from undercut.figures.road import draw_road, draw_sectors


def action_use(laps: Sequence[InspectedLap]) -> tuple[FloatArray, list[str]]:
    """Share of the steps in each sector that took each action, (SECTORS, A), rows that were driven adding up to 1; and
    the actions' labels. Of continuous actions it is the commanded steering, in bins."""
    first = laps[0]
    if isinstance(first.actions, DiscreteActions):
        labels = first.labels
        taken = np.concatenate([lap.chosen for lap in laps])
    else:
        steering_deg = np.degrees(np.concatenate([lap.steps["steering_rad"] for lap in laps]))
        taken, labels = binned(steering_deg, *first.actions.steering_deg)
    place = np.concatenate([lap.distance_m for lap in laps]) / first.track.length_m
    sector = np.clip((place * SECTORS).astype(np.int64), 0, SECTORS - 1)
    return shares_by_sector(sector, taken, SECTORS, len(labels)), labels


def draw_shares(axes: Axes, shares: FloatArray, labels: Sequence[str], most: float = 1.0) -> None:
    """Shares (SECTORS, A) as a table of blues, the darkest at `most`, with their per cent."""
    edges = np.arange(SECTORS + 1), np.arange(len(labels) + 1) - 0.5
    axes.pcolormesh(*edges, shares.T, cmap="Blues", vmin=0.0, vmax=most, rasterized=True)
    for (sector, action), share in np.ndenumerate(shares):
        if share >= 0.005:
            look: dict[str, Any] = {"ha": "center", "va": "center", "fontsize": 9}
            colour = "#ffffff" if share > 0.55 * most else "#222222"
            axes.text(sector + 0.5, action, f"{100 * share:.0f}", color=colour, **look)
    axes.set_yticks(range(len(labels)), labels, fontsize=9)
    axes.set_xticks(np.arange(SECTORS) + 0.5, [str(sector + 1) for sector in range(SECTORS)])
    axes.tick_params(length=0)
    axes.spines[:].set_visible(False)


def action_use_plot(laps: Sequence[InspectedLap], title: str) -> bytes:
    """PNG: a histogram of the actions for each tenth of the lap, beside the track with these sectors."""
    shares, labels = action_use(laps)
    first = laps[0]
    track = first.track
    figure = new_figure(14.0, 0.34 * len(labels) + 4.6, title)
    table, plan = figure.subplots(1, 2, width_ratios=[1.6, 1.0])
    draw_shares(table, shares, labels)
    steps = sum(len(lap.steps) for lap in laps)
    laps_driven = "one lap" if len(laps) == 1 else f"{len(laps)} laps"
    table.set_title(f"% of the steps in each sector ({laps_driven}, {steps} steps)", loc="left", fontsize=11)
    table.set_xlabel("sector of the lap")
    draw_road(plan, track)
    plan.axis("off")
    row = first.steps[0]
    start_m = track.project([row["x_m"]], [row["y_m"]]).distance_m[0] - row["progress_pct"] / 100.0 * track.length_m
    draw_sectors(plan, track, SECTORS, float(start_m))
    return png_of(figure)
