"""The command line: parses, calls, shows. The only place that exits."""

import signal
import sys
import warnings
from pathlib import Path
from typing import Annotated, NoReturn, TextIO

import typer
from rich.console import Console
from rich.table import Table
from typer.models import CommandInfo

from contract import artifacts
from contract.config import RunConfig
from contract.errors import InputError, InputWarning, UndercutError
from simapp.kernels import settle_cache
from undercut.backends.aws.settings import CloudSettings
from undercut.cli import calibrate as calibrate_cli
from undercut.cli import check as check_cli
from undercut.cli import cloud as cloud_cli
from undercut.cli import compare as compare_cli
from undercut.cli import copying as copy_cli
from undercut.cli import doctor as doctor_cli
from undercut.cli import exporting as export_cli
from undercut.cli import importing as import_cli
from undercut.cli import inspect as inspect_cli
from undercut.cli import line as line_cli
from undercut.cli import new as new_cli
from undercut.cli import race as race_cli
from undercut.cli import report as report_cli
from undercut.cli import ros as ros_cli
from undercut.cli import stack as stack_cli
from undercut.cli import tracks as tracks_cli
from undercut.cli import video as video_cli
from undercut.cli import view as view_cli
from undercut.cli import worker as worker_cli
from undercut.cli import worlds as worlds_cli
from undercut.cli.as_json import JsonOption, show_json
from undercut.cli.completion import complete_by_name
from undercut.cli.race import (
    BotsOption,
    CarOption,
    GuiOption,
    ObstaclesOption,
    ParamsOption,
    RaceTypeOption,
    RandomizeOption,
    RosOption,
    SimOption,
    VerboseOption,
    car_values,
    overlaid,
    race_values,
)
from undercut.cli.view import ViewOption, page
from undercut.exit_codes import BAD_INPUT, FAILED, INTERRUPTED
from undercut.runs.params_files import load_params, tell_unused
from undercut.runs.run import DEFAULT_METADATA, DEFAULT_REWARD, Run, default_hyperparameters, run_names
from undercut.runs.workspace import RUNS_PREFIX, workspace

QUICK = {
    "training": {"max_iterations": 2, "min_eval_trials": 2, "max_episode_steps": 100},
    "evaluation": {"number_of_trials": 1, "number_of_resets": 0},
}

app = typer.Typer(no_args_is_help=True, help="Train AWS DeepRacer models on your own machine.")
app.add_typer(tracks_cli.app, name="tracks")
app.add_typer(worlds_cli.app, name="worlds")
app.add_typer(stack_cli.app, name="stack")
app.add_typer(cloud_cli.app, name="cloud")
app.command("import")(import_cli.import_model)
app.command()(copy_cli.pull)
app.command()(copy_cli.push)
app.command("export")(export_cli.export_run)
app.command("car")(export_cli.car)
app.command("inspect")(inspect_cli.inspect_run)
app.command()(compare_cli.compare)
app.command()(race_cli.evaluate)
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
app.command()(doctor_cli.doctor)
app.command()(video_cli.video)
console = Console()

RunName = Annotated[
    str | None,
    typer.Argument(metavar="RUN", help="name of the run: runs/RUN/", show_default=False),
]


@app.command()
def train(
    run: RunName = None,
    track: Annotated[
        list[str] | None,
        typer.Option(help="name, NAME_cw or NAME_ccw, or a .npy route; several: trains on all"),
    ] = None,
    look: Annotated[
        list[str] | None,
        typer.Option(help="how each track looks: own, classic, common, or an imported world's name; several: in each"),
    ] = None,
    reward: Annotated[
        Path | None, typer.Option(help="reward function (.py), program, or a .yaml that names a program or a Lambda")
    ] = None,
    folder: Annotated[
        Path | None,
        typer.Option(help="a racer's folder, as `undercut new` writes it: its files"),
    ] = None,
    requirements: Annotated[
        Path | None, typer.Option(help="packages that the reward imports; by default requirements.txt beside it")
    ] = None,
    metadata: Annotated[Path | None, typer.Option("--metadata", "--actions", help="model_metadata.json")] = None,
    hyperparameters: Annotated[Path | None, typer.Option("--hyperparameters", "--hyper")] = None,
    preset: Annotated[Path | None, typer.Option(help="networks or algorithm of your own (.py)")] = None,
    seed: Annotated[int | None, typer.Option(help="same seed, same numbers")] = None,
    cars: Annotated[int | None, typer.Option(help="cars simulated side by side")] = None,
    threads: Annotated[int | None, typer.Option(help="threads to use; 0 means all")] = None,
    precision: Annotated[str | None, typer.Option(help="of training: auto, float32 or bfloat16")] = None,
    iterations: Annotated[int | None, typer.Option(help="stop after this many iterations")] = None,
    steps: Annotated[int | None, typer.Option(help="begin no iteration after this many training steps")] = None,
    minutes: Annotated[float | None, typer.Option(help="begin no iteration after this many minutes")] = None,
    clean_evaluations: Annotated[int | None, typer.Option(help="stop after so many clean ones; 0: never")] = None,
    reverse_dir: Annotated[bool | None, typer.Option("--reverse-dir/--no-reverse-dir")] = None,
    sim: SimOption = None,
    ros: RosOption = False,
    gui: GuiOption = False,
    race_type: RaceTypeOption = None,
    obstacles: ObstaclesOption = None,
    bots: BotsOption = None,
    randomize: RandomizeOption = None,
    car: CarOption = None,
    params: ParamsOption = None,
    pretrained: Annotated[
        str | None, typer.Option(help="begin from a run, a model's folder or archive, or s3://")
    ] = None,
    pretrained_checkpoint: Annotated[str | None, typer.Option(help="best or last of the pretrained model")] = None,
    remap_actions: Annotated[bool | None, typer.Option("--remap-actions", help="begin from other actions")] = None,
    laps: Annotated[int | None, typer.Option(help="laps of the evaluation at the end")] = None,
    workers: Annotated[int, typer.Option(min=0, help="processes that drive; 0: this one, or those at a Redis")] = 0,
    takeover: Annotated[bool, typer.Option("--takeover", help="take a run in a bucket from another training")] = False,
    video_every: Annotated[int, typer.Option(min=0, help="MP4s of every Nth iteration's evaluation laps; 0: none")] = 0,
    quick: Annotated[bool, typer.Option("--quick", help="a smoke test: two short iterations, one lap")] = False,
    view: ViewOption = False,
    verbose: VerboseOption = False,
    backend: stack_cli.BackendOption = stack_cli.Backend.local,
    overlay: stack_cli.OverlayOption = None,
) -> None:
    """Train a model, evaluate it, and leave a run folder. An existing run is resumed where it stopped."""
    from undercut.check.check import Given

    with console.status("starting: loading the simulator"):
        from undercut.runs import pretraining, sessions  # these take seconds to import; --help should not

    if folder is not None:
        files = Given.in_folder(folder)
        reward, metadata = reward or files.reward, metadata or files.metadata
        hyperparameters, params = hyperparameters or files.hyperparameters, params or files.training_params
    read = load_params(params, "TRAINING") if params else None
    if read and verbose:
        tell_unused(console, params, read.unused)
    name = run or (read.model if read else None) or ("quick" if quick else "default")
    RunConfig.build({"name": name}, "command line")
    stack = stack_cli.begun(backend, overlay, name)
    with workspace().claimed(RUNS_PREFIX + name, takeover) as place:
        resumed = place.exists(artifacts.RUN_CONFIG)
        base = Run.open(name, place).config.model_dump() if resumed else {"name": name}
        if read:
            base = {**read.over(base), "name": name}
        limits = {"max_iterations": iterations, "max_steps": steps, "max_minutes": minutes}
        track = looking(track or ([base["track"]] if look and "track" in base else None), look)
        worlds = [{"track": one} for one in track] if track and len(track) > 1 else None
        given = {
            "track": track[0] if track else None,
            "simulator": sim,
            "car": car_values(car),
            "worlds": worlds,
            "seed": seed,
            "cars": cars,
            "threads": threads,
            "reverse_dir": reverse_dir,
        }
        values = overlaid(
            overlaid(base, QUICK if quick else {}),
            {
                **given,
                "precision": precision,
                "pretrained": pretrained,
                "pretrained_checkpoint": pretrained_checkpoint,
                "remap_actions": remap_actions,
                "enable_domain_randomization": randomize,
                "race": race_values(race_type, obstacles, bots),
                "training": {**limits, "clean_evaluations": clean_evaluations},
                "evaluation": {"number_of_trials": laps},
            },
        )
        config = RunConfig.build(values, "command line")
        if resumed:
            opened = Run.open(name, place)
            opened.same_files(reward, metadata, hyperparameters, preset, requirements)
            opened = opened.remake(config, read.carried if read else None)
        else:
            metadata = metadata or DEFAULT_METADATA
            hyperparameters = hyperparameters or default_hyperparameters(metadata)
            config = pretraining.settled(config, metadata, hyperparameters)
            carried = read.carried if read else None
            reward = reward or DEFAULT_REWARD
            opened = Run.create(config, reward, metadata, hyperparameters, carried, place, preset, requirements)
        if stack is None and backend == stack_cli.Backend.local:
            with page("run", name, view):
                sessions.train(opened, console, workers, video_every)
                sessions.evaluate(opened, console, opened.config.evaluation.number_of_trials, "best")
                sessions.show_files(opened, console)
    if backend == stack_cli.Backend.cloud:
        cloud_cli.train_run(name, CloudSettings.load({"workers": workers or None}))
    elif stack is not None:  # no longer held here: the trainer's container holds the run
        raise typer.Exit(stack_cli.train(stack, name, workers, video_every, view))


def looking(tracks: list[str] | None, looks: list[str] | None) -> list[str] | None:
    """Each track in each look: `TRACK@LOOK`, or the track as it is for the look `own`."""
    if not looks:
        return tracks
    plain = [one.partition("@")[0] for one in tracks or [RunConfig.model_fields["track"].default]]
    return [one if look == "own" else f"{one}@{look}" for one in plain for look in looks]


@app.command()
def runs(as_json: JsonOption = False) -> None:
    """List the runs of this folder, newest first."""
    from undercut.runs.sessions import summary

    rows = [summary(Run.open(name)) for name in run_names()]
    if as_json:
        show_json(rows)
        return
    table = Table("run", "track", "iterations", "steps", "best evaluation", "laps")
    for row in rows:
        table.add_row(*(str(value) for value in row.values()))
    console.print(table if rows else "no runs yet: undercut train")


PANELS = {
    "Train and race": (
        *("new", "check", "train", "runs", "evaluate", "race", "tournament", "tracks", "worlds", "line", "actions"),
    ),
    "Look": ("report", "logs", "calibrate", "view", "video", "inspect"),
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
            told = Console(stderr=True)
            told.print(f"warning: {message}", style="yellow", markup=False, highlight=False, soft_wrap=True)

    warnings.showwarning = show


def main() -> NoReturn:
    """Run the command line. Every error of ours is a message; another one is a bug and shows its traceback."""
    show_input_warnings()
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # a container's stop is a Ctrl-C
    settle_cache()
    status = 0
    try:
        # typer turns Ctrl-C into the exit status 130 and returns it
        status = app(standalone_mode=False) or 0
    except UndercutError as err:
        told = Console(stderr=True)
        told.print(f"error: {err}", style="red", markup=False, highlight=False, soft_wrap=True)
        sys.exit(BAD_INPUT if isinstance(err, InputError) else FAILED)
    except (KeyboardInterrupt, typer.Abort):
        status = INTERRUPTED
    except Exception as err:
        if hasattr(err, "show") and hasattr(err, "exit_code"):  # click's usage errors
            err.show()
            sys.exit(err.exit_code)
        raise
    if status == INTERRUPTED:
        Console(stderr=True).print("stopped; what is finished is saved, and the same command goes on from there")
    sys.exit(status)
