"""`undercut cloud`: the run that drove here trains in AWS. Parses, calls, shows."""

from typing import Annotated

import typer
from rich.console import Console

from scripts.cloud.settings import CloudSettings

app = typer.Typer(no_args_is_help=True, help="Train, evaluate and race in AWS: SageMaker, Batch, RoboMaker's API.")
console = Console()

RegionOption = Annotated[str | None, typer.Option(help="of AWS", show_default=False)]
StackOption = Annotated[str | None, typer.Option(help="of CloudFormation", show_default=False)]


def say(line: str) -> None:
    """Show a line as it is."""
    console.print(line, markup=False, highlight=False, soft_wrap=True)


@app.command()
def up(
    plan: Annotated[bool, typer.Option("--plan", help="only show what would be made")] = False,
    region: RegionOption = None,
    stack: StackOption = None,
) -> None:
    """Make what jobs stand on: bucket, role, image registry. Nothing is made twice."""
    from scripts.cloud import infra
    from scripts.cloud.session import CloudSession

    settings = CloudSettings.load({"region": region, "stack": stack})
    for line in infra.up(CloudSession(settings), settings, plan):
        say(line)


@app.command()
def down(
    delete_data: Annotated[bool, typer.Option("--delete-data", help="also the bucket with every run in it")] = False,
    region: RegionOption = None,
    stack: StackOption = None,
) -> None:
    """Delete what `up` made; runs in the bucket stay unless told otherwise."""
    from scripts.cloud import infra
    from scripts.cloud.session import CloudSession

    settings = CloudSettings.load({"region": region, "stack": stack})
    for line in infra.down(CloudSession(settings), settings, delete_data):
        say(line)
