"""`undercut export` and `undercut car`: a run for other tools, and for the car."""

from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from undercut.runs.run import Run

console = Console()

RunName = Annotated[str, typer.Argument(metavar="RUN", help="name of the run", show_default=False)]
Overwrite = Annotated[bool, typer.Option("--overwrite", help="replace an earlier export")]


def export_run(
    run: RunName,
    layout: Annotated[str, typer.Option(help="console, drfc (DeepRacer-for-Cloud) or droa (DeepRacer on AWS)")],
    out: Annotated[Path | None, typer.Option(help="folder, or FILE.tar.gz; default exports/RUN-LAYOUT")] = None,
    world: Annotated[str | None, typer.Option(help="name of the track there, if it is another")] = None,
    overwrite: Overwrite = False,
) -> None:
    """Write a run's model, metrics, simtraces and logs as another tool keeps them."""
    from undercut.interchange import exporting  # TensorFlow takes seconds to import; --help should not

    written = exporting.export(Run.open(run), layout, out or Path("exports") / f"{run}-{layout}", overwrite, world)
    console.print(f"exported {run} to {written.path} ({written.files} files)", highlight=False, soft_wrap=True)
    for note in written.notes:
        console.print(f"  {note}", highlight=False, markup=False, soft_wrap=True)


def car(
    run: RunName,
    checkpoint: Annotated[str, typer.Option(help="best or last")] = "best",
    out: Annotated[Path | None, typer.Option(help="NAME.tar.gz, the model's name on the car; default RUN")] = None,
    check: Annotated[
        bool | None,
        typer.Option("--check/--no-check", help="compare with OpenVINO; default: where it is installed"),
    ] = None,
    overwrite: Overwrite = False,
) -> None:
    """Write the model for a car, and check that OpenVINO, which drives cars, gets the same actions out of it."""
    from undercut.interchange import car as bundles

    opened = Run.open(run)
    if check is not False and (check or bundles.has_openvino()):
        with console.status("driving a lap and comparing its frames"):
            found = bundles.check(opened, checkpoint)
        console.print(
            f"OpenVINO and TensorFlow agree over {found.frames} frames: largest difference {found.largest:.2g}, "
            f"with weights in float16 {found.largest_in_float16:.2g} and {found.other_actions} other actions",
            highlight=False,
        )
    path = bundles.write_bundle(opened, checkpoint, out or bundles.default_name(run), overwrite)
    console.print(f"for the car: {path}", highlight=False, soft_wrap=True)
