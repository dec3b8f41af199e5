"""The command line: parses, calls, shows. The only place that exits."""

import signal
import sys
import warnings
from typing import NoReturn, TextIO

import typer
from pydantic import ValidationError
from rich.console import Console
from typer.models import CommandInfo

from contract.errors import InputError, InputWarning, UndercutError
from contract.fields import broken_rule
from simapp.kernels import settle_cache
from undercut.cli import calibrate as calibrate_cli
from undercut.cli import check as check_cli
from undercut.cli import cloud as cloud_cli
from undercut.cli import compare as compare_cli
from undercut.cli import copying as copy_cli
from undercut.cli import doctor as doctor_cli
from undercut.cli import droa as droa_cli
from undercut.cli import evaluate as evaluate_cli
from undercut.cli import exporting as export_cli
from undercut.cli import frames as frames_cli
from undercut.cli import importing as import_cli
from undercut.cli import inspect as inspect_cli
from undercut.cli import league as league_cli
from undercut.cli import line as line_cli
from undercut.cli import new as new_cli
from undercut.cli import race as race_cli
from undercut.cli import report as report_cli
from undercut.cli import ros as ros_cli
from undercut.cli import runs as runs_cli
from undercut.cli import stack as stack_cli
from undercut.cli import sweep as sweep_cli
from undercut.cli import tracks as tracks_cli
from undercut.cli import train as train_cli
from undercut.cli import video as video_cli
from undercut.cli import view as view_cli
from undercut.cli import worker as worker_cli
from undercut.cli import worlds as worlds_cli
from undercut.cli.completion import complete_by_name
from undercut.exit_codes import BAD_INPUT, FAILED, INTERRUPTED
from undercut.terminal import as_ctrl_c, say

app = typer.Typer(no_args_is_help=True, help="Train AWS DeepRacer models on your own machine.")
app.add_typer(tracks_cli.app, name="tracks")
app.add_typer(worlds_cli.app, name="worlds")
app.add_typer(league_cli.app, name="league")
app.add_typer(stack_cli.app, name="stack")
app.add_typer(cloud_cli.app, name="cloud")
app.add_typer(droa_cli.app, name="droa")
app.command("import")(import_cli.import_model)
app.command()(copy_cli.pull)
app.command()(copy_cli.push)
app.command("export")(export_cli.export_run)
app.command("car")(export_cli.car)
app.command("inspect")(inspect_cli.inspect_run)
app.command()(frames_cli.frames)
app.command()(compare_cli.compare)
app.command()(train_cli.train)
app.command()(runs_cli.runs)
app.command()(evaluate_cli.evaluate)
app.command()(report_cli.report)
app.command()(report_cli.logs)
app.command()(calibrate_cli.calibrate)
app.command()(race_cli.race)
app.command()(race_cli.tournament)
app.command()(ros_cli.drive)
app.command(context_settings={"allow_interspersed_args": False})(ros_cli.ros)
app.command()(worker_cli.worker)
app.command()(view_cli.view)
app.command()(new_cli.new)
app.command()(check_cli.check)
app.command()(line_cli.line)
app.command()(line_cli.actions)
app.command()(sweep_cli.sweep)
app.command()(doctor_cli.doctor)
app.command()(video_cli.video)
console = Console()

PANELS = {
    "Train and race": (
        *("new", "check", "train", "runs", "evaluate", "race", "tournament", "league", "tracks", "worlds", "line"),
        *("actions", "sweep"),
    ),
    "Look": ("report", "logs", "calibrate", "view", "video", "inspect", "frames"),
    "Other simulators, machines and tools": (),
}
"""How `undercut --help` is arranged; what is in no list comes last."""


def arrange(commands: typer.Typer) -> None:
    """Put each command into its panel, in the order above."""
    order = [(panel, name) for panel, names in PANELS.items() for name in names]
    last = list(PANELS)[-1]

    def place(name: str) -> tuple[int, str]:
        return next(((k, panel) for k, (panel, known) in enumerate(order) if known == name), (len(order), last))

    def name_of(info: CommandInfo) -> str:
        return info.name or str(getattr(info.callback, "__name__", ""))

    commands.registered_commands.sort(key=lambda info: place(name_of(info))[0])
    for command in commands.registered_commands:
        command.rich_help_panel = place(name_of(command))[1]
    for group in commands.registered_groups:
        group.rich_help_panel = place(str(group.name))[1]


arrange(app)
complete_by_name(app)


def show_input_warnings() -> None:
    """Have warnings of racers' files shown as messages, each once, and all others as Python does."""
    shown: set[str] = set()
    as_python_does = warnings.showwarning

    def show(
        message: Warning | str, category: type[Warning], filename: str, lineno: int,
        file: TextIO | None = None, line: str | None = None,
    ) -> None:  # fmt: skip
        if not issubclass(category, InputWarning):
            as_python_does(message, category, filename, lineno, file, line)
        elif str(message) not in shown:
            shown.add(str(message))
            messages = Console(stderr=True)
            say(messages, f"warning: {message}", style="yellow")

    warnings.showwarning = show


def _fail(error: UndercutError) -> NoReturn:
    say(Console(stderr=True), f"error: {error}", style="red")
    sys.exit(BAD_INPUT if isinstance(error, InputError) else FAILED)


def _refused(error: typer.BadParameter, cause: ValidationError) -> InputError:
    """A value of an option or argument, as typer has pydantic read it, in the words of our other messages."""
    broken = broken_rule(cause)
    names = [*getattr(error.param, "opts", ()), "command line"]
    metavar = getattr(error.param, "metavar", None) or names[0]
    return InputError(names[0] if names[0].startswith("-") else metavar, broken.value, broken.rule, broken.fix)


def main() -> NoReturn:
    """Run the command line. Every error of ours is a message; another one is a bug and shows its traceback."""
    show_input_warnings()
    signal.signal(signal.SIGTERM, as_ctrl_c)
    settle_cache()
    status = 0
    try:
        # typer turns Ctrl-C into the exit code 130 and returns it
        status = app(standalone_mode=False) or 0
    except UndercutError as err:
        _fail(err)
    except (KeyboardInterrupt, typer.Abort):
        status = INTERRUPTED
    except Exception as err:
        if isinstance(err, typer.BadParameter) and isinstance(err.__cause__, ValidationError):
            _fail(_refused(err, err.__cause__))
        if hasattr(err, "show") and hasattr(err, "exit_code"):  # click's usage errors
            err.show()
            sys.exit(err.exit_code)
        raise
    if status == INTERRUPTED:
        Console(stderr=True).print("stopped; what is finished is saved, and the same command does what is missing")
    sys.exit(status)
