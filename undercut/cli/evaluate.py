"""`undercut evaluate`: a trained model against the clock."""

import dataclasses
import json
from typing import TYPE_CHECKING, Annotated

import typer

from contract import artifacts
from contract.car import car_of_version
from contract.config import RunConfig, Which
from contract.errors import InputError
from undercut.backends.backend import BackendName
from undercut.cli import options
from undercut.cli import stack as stack_cli
from undercut.cli.as_json import JsonOption, show_json
from undercut.cli.view import ViewOption, page
from undercut.runs.params_files import load_params, show_unused
from undercut.runs.run import Run, overlaid

if TYPE_CHECKING:
    from undercut.runs.sessions import Evaluation


def evaluate(
    run: Annotated[str | None, typer.Argument(metavar="RUN", help="name of the run", show_default=False)] = None,
    laps: options.LapsOption = None,
    checkpoint: Annotated[Which | None, typer.Option(help="else what --params says, or the best")] = None,
    track: options.TrackOption = None,
    sim: options.SimOption = None,
    ros: options.RosOption = False,
    gui: options.GuiOption = False,
    race_type: options.RaceTypeOption = None,
    obstacles: options.ObstaclesOption = None,
    bots: options.BotsOption = None,
    continuous: options.ContinuousOption = None,
    reverse_dir: options.ReverseOption = None,
    randomize: options.RandomizeOption = None,
    car: options.CarOption = None,
    seed: options.SeedOption = None,
    params: options.ParamsOption = None,
    view: ViewOption = False,
    video: options.VideoOption = True,
    as_json: JsonOption = False,
    verbose: options.VerboseOption = False,
    backend: stack_cli.BackendOption = BackendName.local,
    overlay: stack_cli.OverlayOption = None,
) -> None:
    """Drive a trained model and write its evaluation metrics, simtrace, lap plot and videos. Many laps: statistics."""
    with options.loading(options.messages_on(as_json)):
        from undercut.runs import sessions  # TensorFlow takes seconds to import; --help should not
        from undercut.video import videos  # TensorFlow takes seconds to import; --help should not

    read = load_params(params, "EVALUATION") if params else None
    name = run or (read.model if read else None) or "default"
    if read and verbose:
        show_unused(options.messages_on(as_json), params, read.unused)
    which: str = checkpoint or (str(read.carried.get("EVAL_CHECKPOINT") or "best").lower() if read else "best")
    if backend == BackendName.cloud:
        raise InputError("--backend", "cloud", "local or compose", f"undercut cloud evaluate {name}")
    if backend == BackendName.compose:
        raise typer.Exit(stack_cli.evaluate(overlay, name, [str(params or ""), track or ""], view))
    opened = Run.open(name)
    base = opened.config.model_copy(update={"enable_domain_randomization": False}).model_dump()
    values = overlaid(
        read.over(base) if read else base,
        {
            "track": track,
            "simulator": sim,
            "car": options.car_values(car),
            "seed": seed,
            "reverse_dir": reverse_dir,
            "enable_domain_randomization": randomize,
            "race": options.race_values(race_type, obstacles, bots),
            "evaluation": {"number_of_trials": laps, "is_continuous": continuous},
        },
    )
    opened = opened.driven_as(RunConfig.build(values, "command line"))
    opened.write_evaluation_params(opened.config, read.carried if read else None)
    out = options.messages_on(as_json)
    with page("run", opened.config.name, view):
        evaluation = sessions.evaluate(opened, out, which)
        sessions.show_files(opened, out)
    if video:
        videos.after_evaluation(opened, out)
    if as_json:
        _show_evaluation(evaluation)


def _show_evaluation(evaluation: "Evaluation") -> None:
    """The metrics file's rows with what they say together."""
    from undercut.line.limits import gap_values

    run = evaluation.run
    result = {
        "run": run.config.name,
        "track": run.config.track,
        "checkpoint": evaluation.checkpoint,
        "car": dataclasses.asdict(run.config.car or car_of_version(run.files.metadata.version)),
        "statistics": dataclasses.asdict(evaluation.statistics),
        "gap": None if evaluation.gap is None else gap_values(evaluation.gap),
        "laps": json.loads(run.store.get(artifacts.EVALUATION_METRICS))["metrics"],
    }
    show_json(result)
