"""`undercut inspect`: what a trained model looks at, what it does where, and whether its training was healthy."""

import dataclasses
from typing import Annotated

import typer
from rich.console import Console

from contract.config import RunConfig
from undercut.cli import options
from undercut.runs.run import Run, overlaid

MAX_LAPS = 20
"""Every frame of every lap is kept until the pictures are made."""

console = Console()


def inspect_run(
    run: Annotated[str, typer.Argument(metavar="RUN", help="name of the run")] = "default",
    laps: Annotated[int, typer.Option(min=1, max=MAX_LAPS, help="laps to drive; frames are of the first")] = 1,
    checkpoint: options.WhichOption = "best",
    video: Annotated[bool, typer.Option("--video", help="also an MP4 of the lap")] = False,
    track: options.TrackOption = None,
    race_type: options.RaceTypeOption = None,
    obstacles: options.ObstaclesOption = None,
    bots: options.BotsOption = None,
    reverse_dir: options.ReverseOption = None,
    randomize: options.RandomizeOption = None,
    seed: options.SeedOption = None,
) -> None:
    """Drive a trained model and draw what it looks at and how it decides; draw its training's diagnostics."""
    with options.loading(console):
        from undercut.report import inspecting  # TensorFlow takes seconds to import; --help should not

    opened = Run.open(run)
    base = opened.config.model_copy(update={"enable_domain_randomization": False}).model_dump()
    given = {
        "track": track,
        "seed": seed,
        "reverse_dir": reverse_dir,
        "enable_domain_randomization": randomize,
        "race": options.race_values(race_type, obstacles, bots),
        "evaluation": {"is_continuous": False},
    }
    config = RunConfig.build(overlaid(base, given), "command line")
    inspecting.inspect(dataclasses.replace(opened, config=config), console, checkpoint, laps, video)
