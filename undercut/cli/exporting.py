"""`undercut export` and `undercut car`: a run for other tools, and for the car."""

from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.table import Table

from undercut.cli.options import WhichOption, loading
from undercut.interchange.car_formats import Agreement, CarFormat
from undercut.interchange.layouts import LayoutName
from undercut.runs.run import Run
from undercut.terminal import say

console = Console()

RunName = Annotated[str, typer.Argument(metavar="RUN", help="name of the run", show_default=False)]
Overwrite = Annotated[bool, typer.Option("--overwrite", help="replace an earlier export")]


def export_run(
    run: RunName,
    layout: Annotated[
        LayoutName,
        typer.Option(help="of the console, DeepRacer-for-Cloud or DeepRacer on AWS"),
    ],
    out: Annotated[Path | None, typer.Option(help="folder, or FILE.tar.gz; default exports/RUN-LAYOUT")] = None,
    world: Annotated[str | None, typer.Option(help="name of the track there, if it is another")] = None,
    overwrite: Overwrite = False,
) -> None:
    """Write a run's model, metrics, simtraces and logs as another tool keeps them."""
    with console.status("exporting"):
        from undercut.interchange import exporting  # TensorFlow takes seconds to import; --help should not

        written = exporting.export(Run.open(run), layout, out or Path("exports") / f"{run}-{layout}", overwrite, world)
    say(console, f"exported {run} to {written.path} ({written.files} files)")
    for note in written.notes:
        say(console, f"  {note}")


def car(
    run: RunName,
    checkpoint: WhichOption = "best",
    out: Annotated[Path | None, typer.Option(help="NAME.tar.gz, the model's name on the car; default RUN")] = None,
    check: Annotated[
        bool | None,
        typer.Option("--check/--no-check", help="compare with OpenVINO; default: where it is installed"),
    ] = None,
    formats: Annotated[
        list[CarFormat] | None,
        typer.Option(help="add the model as the car's engines take it, checked over a lap; may be given again"),
    ] = None,
    overwrite: Overwrite = False,
) -> None:
    """Write the model for a car, and check that OpenVINO, which drives cars, gets the same actions out of it."""
    with loading(console):
        from undercut.interchange import car as bundles

    opened = Run.open(run)
    out = out or bundles.default_name(run)
    bundles.check_name(out, overwrite)
    further: dict[str, bytes] = {}
    if formats:
        with console.status("driving a lap, converting the model and comparing its frames"):
            agreements, further = bundles.formats_of(opened, checkpoint, list(dict.fromkeys(formats)))
        console.print(agreement_table(agreements))
    elif check is not False and (check or bundles.has_openvino()):
        with console.status("driving a lap and comparing its frames"):
            whole, half = bundles.check(opened, checkpoint)
        say(
            console,
            f"OpenVINO and TensorFlow agree over {whole.frames} frames: largest difference {whole.largest:.2g}, "
            f"with weights in float16 {half.largest:.2g} and {round((1.0 - half.same) * half.frames)} other actions",
        )
    with console.status("writing the bundle"):
        path = bundles.write_bundle(opened, checkpoint, out, overwrite, further)
    say(console, f"for the car: {path}")


def agreement_table(agreements: list[Agreement]) -> Table:
    """Each format against TensorFlow."""
    table = Table("format", "frames", "same action", "largest difference", "ms a frame", "size")
    for found in agreements:
        table.add_row(
            found.format,
            str(found.frames),
            f"{found.same:.1%}",
            f"{found.largest:.2g}",
            f"{found.frame_ms:.2f}",
            f"{found.size / 1e6:.1f} MB",
        )
    return table
