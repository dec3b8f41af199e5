"""`undercut frames`: what a policy would do on frames of the real world, and how far they are from its training's."""

from pathlib import Path
from typing import Annotated

import typer

from undercut.cli.as_json import JsonOption, show_json
from undercut.cli.options import WhichOption, loading, messages_on
from undercut.runs.run import Run


def frames(
    run: Annotated[str, typer.Argument(metavar="RUN", help="name of the run", show_default=False)],
    source: Annotated[
        Path,
        typer.Argument(
            metavar="BAG|FOLDER|VIDEO", help="ROS 2 bag of a car, folder of pictures, or video", show_default=False
        ),
    ],
    checkpoint: WhichOption = "best",
    topic: Annotated[
        str | None, typer.Option(help="of a bag: where the pictures are; default: the car's", show_default=False)
    ] = None,
    every: Annotated[
        int | None, typer.Option(min=1, help="every Nth frame; default: 3,000 in all at most", show_default=False)
    ] = None,
    episodes: Annotated[
        int, typer.Option(min=2, max=1_000, help="driven as in training, to compare with their frames")
    ] = 20,
    out: Annotated[
        Path | None, typer.Option(help="folder; default: in the run, frames/NAME", show_default=False)
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """Show what a policy would do on frames of a car: saliency, doubt, distance from training, ranges to train with."""
    waiting = messages_on(as_json)
    with loading(waiting):
        from undercut.report import judged  # TensorFlow takes seconds to import; --help should not

    result = judged.write(Run.open(run), source, waiting, checkpoint, topic, every, episodes, out)
    if as_json:
        show_json(result)
