"""`undercut compare`: the same policy in both simulators."""

import dataclasses
import json
from typing import Annotated

import typer
from rich.console import Console
from rich.table import Table

from contract import artifacts
from contract.config import RunConfig
from contract.protocols import Phase, RolloutOrder
from contract.state import EpisodeStatus
from undercut.cli.as_json import JsonOption
from undercut.cli.options import ReverseOption, SeedOption, TrackOption, WhichOption
from undercut.runs.run import Run, overlaid

SIMULATORS = ("builtin", "gazebo")
console = Console()


def compare(
    run: Annotated[str, typer.Argument(metavar="RUN", help="name of the run")] = "default",
    laps: Annotated[int, typer.Option(min=1, max=100, help="laps in each simulator, from the same starts")] = 5,
    checkpoint: WhichOption = "best",
    track: TrackOption = None,
    reverse_dir: ReverseOption = None,
    seed: SeedOption = None,
    as_json: JsonOption = False,
) -> None:
    """Drive a model in the built-in simulator and in Gazebo: laps, times, how far apart their paths are, and where."""
    from trainer.checkpoints import Checkpoints
    from undercut.backends.local.rollouts import evaluation_laps
    from undercut.figures.comparison import comparison_plot, path_difference
    from undercut.runs import sessions  # TensorFlow takes seconds to import; --help should not

    opened = Run.open(run)
    base = opened.config.model_copy(update={"enable_domain_randomization": False, "worlds": ()}).model_dump()
    values = overlaid(base, {"track": track, "seed": seed, "reverse_dir": reverse_dir})
    record = sessions.checkpoint(opened, checkpoint)
    policy = Checkpoints(opened.store).load_policy(record)
    order = RolloutOrder(Phase.evaluation, record.iteration, 0, laps)
    driven = {}
    for kind in SIMULATORS:
        config = RunConfig.build({**values, "simulator": kind}, "command line")
        driven[kind] = evaluation_laps(dataclasses.replace(opened, config=config), policy, order)
    road = dataclasses.replace(opened, config=config).track()
    pairs = zip(*driven.values(), strict=True)
    differences = [path_difference(road, one.steps, other.steps) for one, other in pairs]
    title = f"{run}, checkpoint {record.iteration}, on {road.name}"
    paths = [[lap.steps for lap in driven[kind]] for kind in SIMULATORS]
    opened.store.put(artifacts.COMPARISON_PLOT, comparison_plot(road, paths, SIMULATORS, differences, title))
    told = {
        "run": run,
        "checkpoint": record.iteration,
        "track": road.name,
        "laps": [
            {
                **{
                    kind: {
                        "status": driven[kind][i].status.title,
                        "completion_pct": round(driven[kind][i].progress_pct, 2),
                        "time_s": round(driven[kind][i].time_s, 3),
                        "off_track": int((driven[kind][i].steps["status"] == EpisodeStatus.off_track).sum()),
                    }
                    for kind in SIMULATORS
                },
                "mean_gap_m": round(difference.mean_m, 4),
                "most_gap_m": round(difference.most_m, 4),
                "parted_at_m": difference.parted_at_m,
            }
            for i, difference in enumerate(differences)
        ],
    }
    text = json.dumps(told, indent=2)
    opened.store.put(artifacts.COMPARISON, f"{text}\n".encode())
    if as_json:
        typer.echo(text)
        return
    table = Table("lap", *SIMULATORS, "mean gap", "most", "parted at", title=title)
    for number, (difference, *both) in enumerate(zip(differences, *driven.values(), strict=True), 1):
        ends = [f"{lap.progress_pct:.0f} % in {lap.time_s:.2f} s" for lap in both]
        parted = "never" if difference.parted_at_m is None else f"{difference.parted_at_m:.1f} m"
        table.add_row(str(number), *ends, f"{difference.mean_m:.3f} m", f"{difference.most_m:.3f} m", parted)
    console.print(table)
    console.print(
        f"pictures and numbers: {opened.store.where(artifacts.COMPARISON_PLOT)}", highlight=False, soft_wrap=True
    )
