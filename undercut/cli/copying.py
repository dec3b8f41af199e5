"""`undercut push` and `undercut pull`: a run goes to a bucket, or comes from one."""

from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, SpinnerColumn, TextColumn

from contract import artifacts
from contract.config import check_run_name
from contract.errors import InputError
from contract.host import STORE, HostSettings, S3Address
from contract.protocols import Place
from contract.stores.local import LocalStore
from undercut.cli.options import loading
from undercut.runs.workspace import RUNS_PREFIX, bucket_place, staged
from undercut.terminal import say

Name = Annotated[str, typer.Argument(metavar="RUN", help="name of the run", show_default=False)]
console = Console()


def push(
    run: Name,
    to: Annotated[str | None, typer.Option(help=f"s3://bucket/prefix; by default {STORE}", show_default=False)] = None,
) -> None:
    """Copy a run of this folder to a bucket, or bring the copy there up to date."""
    copy_between(run, LocalStore(Path()), _bucket(to))


def pull(
    run: Name,
    source: Annotated[
        str | None, typer.Option("--from", help=f"s3://bucket/prefix; by default {STORE}", show_default=False)
    ] = None,
) -> None:
    """Copy a run of a bucket to this folder, or bring the copy here up to date."""
    copy_between(run, _bucket(source), LocalStore(Path()))


def _bucket(given: str | None) -> Place:
    """What the option names, else what the environment does."""
    address = S3Address.parse(given, "command line") if given else HostSettings.load().store
    if address is None:
        raise InputError("command line", "", "the bucket that holds runs/", f"give s3://bucket/prefix, or set {STORE}")
    return bucket_place(address)


def copy_between(run: str, source: Place, target: Place) -> None:
    """Copy the run of that name from one place of runs/ to another, and say what was done."""
    with loading(console):
        from undercut.interchange import copying

    check_run_name(run, "RUN")
    path = RUNS_PREFIX + run
    if not source.below(path).exists(artifacts.RUN_CONFIG):
        known = ", ".join(source.folders(RUNS_PREFIX)) or "none"
        raise InputError("run", run, f"a run in {source.where()} (there are: {known})", "check its name")
    columns = (SpinnerColumn(), TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn())
    with (
        target.locked(path) as there,
        Progress(*columns, console=console, transient=True, disable=not console.is_terminal) as bar,
    ):
        task = bar.add_task("comparing", total=None)

        def tell(files: int, of: int) -> None:
            bar.update(task, completed=files, total=of, description="copying files")

        if isinstance(there, LocalStore) and not there.list(""):
            with staged(there) as stage:
                done = copying.copy(source.below(path), stage, tell)
        else:
            done = copying.copy(source.below(path), there, tell)
    last = done.last or "none yet"
    summary = f"{run}: {done.put} files to {there.where()}, {done.same} were there; last checkpoint {last}"
    say(console, summary)
