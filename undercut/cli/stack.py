"""`undercut stack`: the Docker Compose stack; and `--backend compose` of the commands that run in it."""

import sys
from collections.abc import Sequence
from enum import StrEnum
from typing import Annotated

import typer
from rich.console import Console

from contract.errors import InputError
from undercut.backends.compose.engine import STORED, Stack, use_store
from undercut.runs.run import Run

app = typer.Typer(no_args_is_help=True, help="Containers for training: trainer, simulators, Redis, and MinIO as S3.")
console = Console()


class Backend(StrEnum):
    """Where a command does its work."""

    local = "local"
    compose = "compose"
    cloud = "cloud"


BackendOption = Annotated[Backend, typer.Option(help="local: here; compose: in containers; cloud: in AWS")]
OverlayOption = Annotated[
    list[str] | None, typer.Option("--overlay", help="gpu, dev or gazebo, on top of the stack; may be given again")
]
OVERLAYS = ("gpu", "dev", "gazebo")


def say(line: str) -> None:
    """Show a line as it is."""
    console.print(line, markup=False, highlight=False, soft_wrap=True)


def stack_with(overlays: Sequence[str] | None) -> Stack:
    """The stack with these overlays; InputError for an unknown one."""
    for name in overlays or ():
        if name not in OVERLAYS:
            raise InputError("--overlay", name, f"one of {', '.join(OVERLAYS)}", "leave it out, or correct it")
    return Stack(overlays or ())


def begun(backend: Backend, overlays: Sequence[str] | None, name: str, to_train: bool = True) -> Stack | None:
    """The stack, up, with its store as this process's place for runs, and in it the run of that name if there is one;
    None for the local backend. Whoever comes to train a run that is being trained follows that."""
    stack = stack_with(overlays)
    if backend in (Backend.local, Backend.cloud):
        return None
    say("starting the stack; the first time this builds its images, which takes some minutes")
    stack.up()
    use_store(stack)
    from undercut.backends.compose import (
        training as stack_training,  # TensorFlow takes seconds to import; --help should not
    )

    if not stack_training.is_training(stack, name):
        stack_training.bring(name, say)
    elif to_train:
        say(f"{name} is being trained already: following it")
        raise typer.Exit(train(stack, name, 1))
    return stack


def train(stack: Stack, name: str, workers: int, video_every: int = 0, view: bool = False) -> int:
    """Train the run in the stack, and show where its files lie; returns the exit code."""
    from undercut.backends.compose import (
        training as stack_training,  # TensorFlow takes seconds to import; --help should not
    )
    from undercut.runs import sessions  # TensorFlow takes seconds to import; --help should not

    if view:
        say(f"watch it at {stack.view()}")
    options = ["--video-every", str(video_every)] if video_every else []
    status = stack_training.train(stack, name, max(workers, 1), say, options)
    sessions.show_files(Run.open(name, stack_training.local_place(name)), console)
    return status


def evaluate(stack: Stack, name: str, paths: Sequence[str], view: bool = False) -> int:
    """This process's `undercut evaluate` in the stack; returns the exit code."""
    from undercut.backends.compose import training as stack_training
    from undercut.runs import sessions

    if view:
        say(f"watch it at {stack.view()}")
    status = stack_training.evaluate(stack, name, without_backend(sys.argv), paths, say)
    sessions.show_files(Run.open(name, stack_training.local_place(name)), console)
    return status


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
    say(f"watch the runs at {stack.view()}")
    say(f"{', '.join(STORED)} and viewer are up; undercut train NAME --backend compose")


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
    """Stop a training; it finishes and saves its iteration first."""
    Stack().run("stop", "trainer")


@app.command()
def scale(workers: Annotated[int, typer.Argument(min=0, help="simulator containers")]) -> None:
    """Let simulators join or leave a training that runs; its numbers do not depend on them."""
    Stack().run("up", "--detach", "--no-build", "--no-deps", "--no-recreate", "--scale", f"simapp={workers}", "simapp")


@app.command()
def pull(run: Annotated[str, typer.Argument(metavar="RUN", help="name of the run")]) -> None:
    """Copy a run of the stack's store to runs/, as `train` does when it ends."""
    from undercut.backends.compose import training as stack_training

    use_store(Stack())
    say(f"{stack_training.pull(run)}")
