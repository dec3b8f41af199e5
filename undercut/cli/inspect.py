"""`undercut inspect`: what a trained model looks at, what it does where, and whether its training was healthy."""

import dataclasses
from typing import Annotated

import typer
from rich.console import Console

from contract.config import RunConfig
from undercut.cli.options import (
    BotsOption,
    ObstaclesOption,
    RaceTypeOption,
    RandomizeOption,
    ReverseOption,
    SeedOption,
    TrackOption,
    WhichOption,
    loading,
    race_values,
)
from undercut.runs.run import Run, overlaid

MAX_LAPS = 20
"""Every frame of every lap is kept until the pictures are made."""

console = Console()


def inspect_run(
    run: Annotated[str, typer.Argument(metavar="RUN", help="name of the run")] = "default",
    laps: Annotated[int, typer.Option(min=1, max=MAX_LAPS, help="laps to drive; frames are of the first")] = 1,
    checkpoint: WhichOption = "best",
    video: Annotated[bool, typer.Option("--video", help="also an MP4 of the lap")] = False,
    track: TrackOption = None,
    race_type: RaceTypeOption = None,
    obstacles: ObstaclesOption = None,
    bots: BotsOption = None,
    reverse_dir: ReverseOption = None,
    randomize: RandomizeOption = None,
    seed: SeedOption = None,
) -> None:
    """Drive a trained model and draw what it looks at and how it decides; draw its training's diagnostics."""
    with loading(console):
        from undercut.report import inspecting  # TensorFlow takes seconds to import; --help should not

    opened = Run.open(run)
    base = opened.config.model_copy(update={"enable_domain_randomization": False}).model_dump()
    given = {
        "track": track,
        "seed": seed,
        "reverse_dir": reverse_dir,
        "enable_domain_randomization": randomize,
        "race": race_values(race_type, obstacles, bots),
        "evaluation": {"is_continuous": False},
    }
    config = RunConfig.build(overlaid(base, given), "command line")
    inspecting.inspect(dataclasses.replace(opened, config=config), console, checkpoint, laps, video)
