"""A picture of which actions a policy takes where on the track."""

from collections.abc import Sequence

import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from contract.metadata import DiscreteActions
from contract.state import FloatArray
from undercut.analysis.places import SECTORS, binned, shares_by_sector
from undercut.figures.inspection import InspectedLap
from undercut.figures.png import png_of
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


def action_use_plot(laps: Sequence[InspectedLap], title: str) -> bytes:
    """PNG: a histogram of the actions for each tenth of the lap, beside the track with these sectors."""
    shares, labels = action_use(laps)
    first = laps[0]
    track = first.track
    figure = Figure(figsize=(14.0, 0.34 * len(labels) + 4.6), dpi=110, facecolor="white", layout="constrained")
    FigureCanvasAgg(figure)
    figure.suptitle(title, fontsize=15, fontweight="bold", x=0.01, ha="left")
    table, plan = figure.subplots(1, 2, width_ratios=[1.6, 1.0])
    table.pcolormesh(np.arange(SECTORS + 1), np.arange(len(labels) + 1) - 0.5, shares.T, cmap="Blues", vmin=0, vmax=1)
    for sector, row in enumerate(shares):
        for action, share in enumerate(row):
            if share >= 0.005:
                colour = "white" if share > 0.55 else "#222222"
                table.text(
                    sector + 0.5, action, f"{100 * share:.0f}", ha="center", va="center", color=colour, fontsize=9
                )
    table.set_yticks(range(len(labels)), labels, fontsize=9)
    table.set_xticks(np.arange(SECTORS) + 0.5, [str(sector + 1) for sector in range(SECTORS)])
    steps = sum(len(lap.steps) for lap in laps)
    table.set_title(
        f"% of the steps in each sector ({'one lap' if len(laps) == 1 else f'{len(laps)} laps'}, {steps} steps)",
        loc="left",
        fontsize=11,
    )
    table.set_xlabel("sector of the lap")
    table.tick_params(length=0)
    table.spines[:].set_visible(False)
    draw_road(plan, track)
    plan.axis("off")
    row = first.steps[0]
    start_m = track.project([row["x_m"]], [row["y_m"]]).distance_m[0] - row["progress_pct"] / 100.0 * track.length_m
    draw_sectors(plan, track, SECTORS, float(start_m))
    return png_of(figure)
