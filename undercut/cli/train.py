"""`undercut train`: a model from a racer's files."""

import contextlib
from pathlib import Path
from typing import Annotated

import typer

from contract import artifacts
from contract.config import Precision, RunConfig, TrainingConfig, Which
from contract.stores.local import LocalStore
from undercut.api import prepare
from undercut.backends.backend import Backend, BackendName, TrainOptions
from undercut.backends.local.backend import LocalBackend
from undercut.cli import stack as stack_cli
from undercut.cli.options import (
    BotsOption,
    CarOption,
    GuiOption,
    LapsOption,
    LearningOption,
    ObstaclesOption,
    ParamsOption,
    RaceTypeOption,
    RandomizeOption,
    ReverseOption,
    RosOption,
    SeedOption,
    SimOption,
    VerboseOption,
    car_values,
    console,
    learning_values,
    race_values,
    setting,
)
from undercut.cli.view import ViewOption, page
from undercut.runs.notices import STUCK_AFTER, Notifier, addresses
from undercut.runs.params_files import load_params, tell_unused
from undercut.runs.run import Run, overlaid
from undercut.runs.workspace import RUNS_PREFIX, run_place, workspace
from undercut.terminal import say

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
    seed: SeedOption = None,
    cars: Annotated[int | None, setting(RunConfig, "cars")] = None,
    threads: Annotated[int | None, setting(RunConfig, "threads")] = None,
    precision: Annotated[Precision | None, setting(RunConfig, "precision")] = None,
    iterations: Annotated[int | None, setting(TrainingConfig, "max_iterations")] = None,
    steps: Annotated[int | None, setting(TrainingConfig, "max_steps")] = None,
    minutes: Annotated[float | None, setting(TrainingConfig, "max_minutes")] = None,
    clean_evaluations: Annotated[int | None, setting(TrainingConfig, "clean_evaluations")] = None,
    reverse_dir: ReverseOption = None,
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
    pretrained: Annotated[str | None, setting(RunConfig, "pretrained")] = None,
    pretrained_checkpoint: Annotated[Which | None, setting(RunConfig, "pretrained_checkpoint")] = None,
    remap_actions: Annotated[bool | None, setting(RunConfig, "remap_actions", "--remap-actions")] = None,
    laps: LapsOption = None,
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
    backend: stack_cli.BackendOption = BackendName.local,
    overlay: stack_cli.OverlayOption = None,
) -> None:
    """Train a model, evaluate it, and leave a run folder. An existing run is resumed where it stopped."""
    from undercut.check.check import Given

    notifier = Notifier(addresses(notify), lambda line: say(console, line))
    with console.status("starting: loading the simulator"):
        place_of_training = stack_cli.backend_of(backend, overlay, notifier, stuck_after)
    if folder is not None:
        files = Given.in_folder(folder)
        reward, metadata = reward or files.reward, metadata or files.metadata
        hyperparameters, params = hyperparameters or files.hyperparameters, params or files.training_params
    read = load_params(params, "TRAINING") if params else None
    if read and verbose:
        tell_unused(console, params, read.unused)
    name = run or (read.model if read else None) or ("quick" if quick else "default")
    RunConfig.build({"name": name}, "command line")
    options = TrainOptions(workers, video_every)
    if place_of_training.prepare(name):
        say(console, f"{name} is being trained already: following it")
        raise typer.Exit(_trained(place_of_training, name, options, view, overlay))
    with contextlib.ExitStack() as lock:
        place = lock.enter_context(workspace().locked(RUNS_PREFIX + name, takeover))
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
        made = prepare(place, config, reward, metadata, hyperparameters, preset, requirements, carried)
        if isinstance(place_of_training, LocalBackend):
            place_of_training.prepared = made  # this process trains it, under this lock
        else:
            lock.close()  # the process that trains it locks it
        raise typer.Exit(_trained(place_of_training, name, options, view, overlay))


def _trained(backend: Backend, name: str, options: TrainOptions, view: bool, overlay: list[str] | None) -> int:
    """Have the run trained, with a page to watch it by if that is wanted; returns the exit code."""
    from undercut.runs import sessions  # TensorFlow takes seconds to import; --help should not

    if view and backend.name == BackendName.compose:
        stack_cli.tell_page(overlay)
    with page("run", name, view and backend.name == BackendName.local):
        status = backend.train(name, options)
        # runs of this process live in the stack's store then, and this folder has the copy
        place = LocalStore(Path(RUNS_PREFIX) / name) if backend.name == BackendName.compose else run_place(name)
        sessions.show_files(Run.open(name, place), console)
    return status


def looking(tracks: list[str] | None, looks: list[str] | None) -> list[str] | None:
    """Each track in each look: `TRACK@LOOK`, or the track as it is for the look `own`."""
    if not looks:
        return tracks
    plain = [one.partition("@")[0] for one in tracks or [RunConfig.model_fields["track"].default]]
    return [one if look == "own" else f"{one}@{look}" for one in plain for look in looks]
