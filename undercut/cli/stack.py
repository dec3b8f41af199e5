"""`undercut stack`: the Docker Compose stack; and `--backend compose` of the commands that run in it."""

import sys
from collections.abc import Sequence
from functools import partial
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console

from contract.errors import InputError
from undercut.backends.backend import BackendName
from undercut.backends.compose.engine import STORED, Stack, use_store
from undercut.runs.notices import STUCK_AFTER, Notifier
from undercut.runs.run import Run
from undercut.terminal import say

if TYPE_CHECKING:
    from undercut.backends.backend import Backend

app = typer.Typer(no_args_is_help=True, help="Containers for training: trainer, simulators, Redis, and MinIO as S3.")
console = Console()
_say = partial(say, console)


BackendOption = Annotated[BackendName, typer.Option(help="local: here; compose: in containers; cloud: in AWS")]
OverlayOption = Annotated[
    list[str] | None, typer.Option("--overlay", help="gpu, dev or gazebo, on top of the stack; may be given again")
]
OVERLAYS = ("gpu", "dev", "gazebo")


def stack_with(overlays: Sequence[str] | None) -> Stack:
    """The stack with these overlays; InputError for an unknown one."""
    for name in overlays or ():
        if name not in OVERLAYS:
            raise InputError("--overlay", name, f"one of {', '.join(OVERLAYS)}", "leave it out, or correct it")
    return Stack(overlays or ())


def backend_of(
    name: BackendName, overlays: Sequence[str] | None, notifier: Notifier | None = None, stuck_after: int = STUCK_AFTER
) -> "Backend":
    """The backend of that name. The overlays are the stack's, the notifier hears of trainings of this machine."""
    stack = stack_with(overlays)
    # TensorFlow and boto3 take seconds to import; --help should not
    if name == BackendName.cloud:
        from undercut.backends.aws.backend import CloudBackend

        return CloudBackend(_say)
    if name == BackendName.compose:
        from undercut.backends.compose.backend import ComposeBackend

        return ComposeBackend(stack, _say)
    from undercut.backends.local.backend import LocalBackend

    return LocalBackend(console, notifier, stuck_after)


def evaluate(overlays: Sequence[str] | None, name: str, paths: Sequence[str], view: bool = False) -> int:
    """This process's `undercut evaluate` in the stack; returns the exit code."""
    from undercut.backends.compose import training
    from undercut.backends.compose.backend import ComposeBackend
    from undercut.runs import sessions

    backend = ComposeBackend(stack_with(overlays), _say)
    backend.prepare(name)
    if view:
        show_page_address(overlays)
    status = training.evaluate(backend.stack, name, without_backend(sys.argv), paths, _say)
    sessions.show_files(Run.open(name, training.local_place(name)), console)
    return status


def show_page_address(overlays: Sequence[str] | None) -> None:
    """Start the page of the stored runs, and say where it is."""
    _say(f"watch it at {stack_with(overlays).view()}")


def without_backend(arguments: Sequence[str]) -> list[str]:
    """What follows `evaluate` on a command line, less the options that say where it runs and who looks on."""
    options, taken = [], iter(arguments[arguments.index("evaluate") + 1 :])
    for argument in taken:
        if argument in ("--backend", "--overlay"):
            next(taken, None)
        elif argument != "--view" and not argument.startswith(("--backend=", "--overlay=")):
            options.append(argument)
    return options


@app.command()
def up(overlay: OverlayOption = None) -> None:
    """Build what is missing, and start Redis, MinIO and the page of the stored runs."""
    stack = stack_with(overlay)
    stack.up()
    _say(f"watch the runs at {stack.view()}")
    _say(f"{', '.join(STORED)} and viewer are up; undercut train NAME --backend compose")


@app.command()
def down(overlay: OverlayOption = None) -> None:
    """Stop and remove the containers. Runs stay; a training saves its iteration first."""
    stack_with(overlay).down()


@app.command()
def wipe(yes: Annotated[bool, typer.Option("--yes", help="do not ask")] = False) -> None:
    """Remove the containers and every run in the stack's store. Those in runs/ stay."""
    if not yes:
        typer.confirm("Delete every run in the stack's store? Those in runs/ stay", abort=True)
    Stack().down(volumes=True)


@app.command()
def ps(as_json: Annotated[bool, typer.Option("--json", help="for other programs, a line a container")] = False) -> None:
    """List the containers."""
    Stack().run("ps", "--all", *(["--format", "json"] if as_json else []))


@app.command()
def logs(
    service: Annotated[str | None, typer.Argument(help="of one service, such as trainer")] = None,
    follow: Annotated[bool, typer.Option("--follow", "-f", help="go on showing them")] = False,
) -> None:
    """Show what the containers say."""
    Stack().run("logs", *(["--follow"] if follow else []), *([service] if service else []))


@app.command()
def stop() -> None:
    """Stop a training or a sweep; iterations under way are finished and saved first."""
    Stack().run("stop", "trainer", "sweep")


@app.command()
def scale(workers: Annotated[int, typer.Argument(min=0, help="simulator containers")]) -> None:
    """Let simulators join or leave a training that runs; its numbers do not depend on them."""
    Stack().run("up", "--detach", "--no-build", "--no-deps", "--no-recreate", "--scale", f"simapp={workers}", "simapp")


@app.command()
def pull(run: Annotated[str, typer.Argument(metavar="RUN", help="name of the run")]) -> None:
    """Copy a run of the stack's store to runs/, as `train` does when it ends."""
    from undercut.backends.compose import training as stack_training

    use_store(Stack())
    _say(f"{stack_training.pull(run)}")
