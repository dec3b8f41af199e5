"""`undercut train`: a model from a racer's files."""

from pathlib import Path
from typing import Annotated

import typer

from contract import artifacts
from contract.config import RunConfig
from undercut.api import prepare
from undercut.backends.aws.settings import CloudSettings
from undercut.cli import cloud as cloud_cli
from undercut.cli import stack as stack_cli
from undercut.cli.options import (
    BotsOption,
    CarOption,
    GuiOption,
    LearningOption,
    ObstaclesOption,
    ParamsOption,
    RaceTypeOption,
    RandomizeOption,
    RosOption,
    SimOption,
    VerboseOption,
    car_values,
    console,
    learning_values,
    race_values,
)
from undercut.cli.view import ViewOption, page
from undercut.runs.notices import STUCK_AFTER, Notifier, addresses, told_of
from undercut.runs.params_files import load_params, tell_unused
from undercut.runs.run import Run, overlaid
from undercut.runs.workspace import RUNS_PREFIX, workspace

QUICK = {
    "training": {"max_iterations": 2, "min_eval_trials": 2, "max_episode_steps": 100},
    "evaluation": {"number_of_trials": 1, "number_of_resets": 0},
}

RunName = Annotated[
    str | None,
    typer.Argument(metavar="RUN", help="name of the run: runs/RUN/", show_default=False),
]


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
    learning: LearningOption = None,
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
    notify: Annotated[
        list[str] | None,
        typer.Option(help="URL to tell when it finishes, fails or is stuck; or desktop; may be given again"),
    ] = None,
    stuck_after: Annotated[int, typer.Option(min=1, help="iterations without a better evaluation")] = STUCK_AFTER,
    quick: Annotated[bool, typer.Option("--quick", help="a smoke test: two short iterations, one lap")] = False,
    view: ViewOption = False,
    verbose: VerboseOption = False,
    backend: stack_cli.BackendOption = stack_cli.Backend.local,
    overlay: stack_cli.OverlayOption = None,
) -> None:
    """Train a model, evaluate it, and leave a run folder. An existing run is resumed where it stopped."""
    from undercut.check.check import Given

    with console.status("starting: loading the simulator"):
        from undercut.runs import sessions  # these take seconds to import; --help should not

    if folder is not None:
        files = Given.in_folder(folder)
        reward, metadata = reward or files.reward, metadata or files.metadata
        hyperparameters, params = hyperparameters or files.hyperparameters, params or files.training_params
    read = load_params(params, "TRAINING") if params else None
    if read and verbose:
        tell_unused(console, params, read.unused)
    name = run or (read.model if read else None) or ("quick" if quick else "default")
    RunConfig.build({"name": name}, "command line")
    notifier = Notifier(addresses(notify), lambda line: console.print(line, highlight=False, markup=False))
    stack = stack_cli.begun(backend, overlay, name)
    with workspace().locked(RUNS_PREFIX + name, takeover) as place:
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
                "learning": learning_values(learning),
                "training": {**limits, "clean_evaluations": clean_evaluations},
                "evaluation": {"number_of_trials": laps},
            },
        )
        config = RunConfig.build(values, "command line")
        carried = read.carried if read else None
        opened = prepare(place, config, reward, metadata, hyperparameters, preset, requirements, carried)
        if stack is None and backend == stack_cli.Backend.local:
            with page("run", name, view), told_of(name, notifier):
                sessions.train(opened, console, workers, video_every, notifier, stuck_after)
                notifier.send(sessions.finished(sessions.evaluate(opened, console)))
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
