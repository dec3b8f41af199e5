"""`undercut train`: a model from a racer's files."""

import contextlib
from pathlib import Path
from typing import Annotated

import typer

from contract import artifacts
from contract.config import Precision, RunConfig, TrainingConfig, Which, check_run_name
from contract.stores.local import LocalStore
from undercut.api import prepare
from undercut.backends.backend import Backend, BackendName, TrainOptions
from undercut.backends.local.backend import LocalBackend
from undercut.cli import options
from undercut.cli import stack as stack_cli
from undercut.cli.view import ViewOption, page
from undercut.runs.notices import STUCK_AFTER, Notifier, addresses
from undercut.runs.params_files import load_params, show_unused
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
    seed: options.SeedOption = None,
    cars: Annotated[int | None, options.setting(RunConfig, "cars")] = None,
    threads: Annotated[int | None, options.setting(RunConfig, "threads")] = None,
    precision: Annotated[Precision | None, options.setting(RunConfig, "precision")] = None,
    iterations: Annotated[int | None, options.setting(TrainingConfig, "max_iterations")] = None,
    steps: Annotated[int | None, options.setting(TrainingConfig, "max_steps")] = None,
    minutes: Annotated[float | None, options.setting(TrainingConfig, "max_minutes")] = None,
    clean_evaluations: Annotated[int | None, options.setting(TrainingConfig, "clean_evaluations")] = None,
    reverse_dir: options.ReverseOption = None,
    sim: options.SimOption = None,
    ros: options.RosOption = False,
    gui: options.GuiOption = False,
    race_type: options.RaceTypeOption = None,
    obstacles: options.ObstaclesOption = None,
    bots: options.BotsOption = None,
    randomize: options.RandomizeOption = None,
    car: options.CarOption = None,
    learning: options.LearningOption = None,
    params: options.ParamsOption = None,
    pretrained: Annotated[str | None, options.setting(RunConfig, "pretrained")] = None,
    pretrained_checkpoint: Annotated[Which | None, options.setting(RunConfig, "pretrained_checkpoint")] = None,
    remap_actions: Annotated[bool | None, options.setting(RunConfig, "remap_actions", "--remap-actions")] = None,
    laps: options.LapsOption = None,
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
    verbose: options.VerboseOption = False,
    backend: stack_cli.BackendOption = BackendName.local,
    overlay: stack_cli.OverlayOption = None,
) -> None:
    """Train a model, evaluate it, and leave a run folder. An existing run is resumed where it stopped."""
    from undercut.check.check import Given

    notifier = Notifier(addresses(notify), lambda line: say(options.console, line))
    with options.console.status("starting: loading the simulator"):
        place_of_training = stack_cli.backend_of(backend, overlay, notifier, stuck_after)
    if folder is not None:
        files = Given.in_folder(folder, "--folder", reward)
        reward, metadata = reward or files.reward, metadata or files.metadata
        hyperparameters, params = hyperparameters or files.hyperparameters, params or files.training_params
    read = load_params(params, "TRAINING") if params else None
    if read and verbose:
        show_unused(options.console, params, read.unused)
    name = run or (read.model if read else None) or ("quick" if quick else "default")
    check_run_name(name, "RUN" if run or params is None else f"{params}: the model's name")
    how = TrainOptions(workers, video_every)
    if place_of_training.prepare(name):
        say(options.console, f"{name} is being trained already: following it")
        raise typer.Exit(_trained(place_of_training, name, how, view, overlay))
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
            "car": options.car_values(car),
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
                "race": options.race_values(race_type, obstacles, bots),
                "learning": options.learning_values(learning),
                "training": {**limits, "clean_evaluations": clean_evaluations},
                "evaluation": {"number_of_trials": laps},
            },
        )
        config = RunConfig.build(values, "command line")
        carried = read.carried if read else None
        made = prepare(place, config, reward, metadata, hyperparameters, preset, requirements, carried, True)
        if resumed and not made.has_learned():
            say(options.console, f"{name} has finished no iteration yet: it begins again, with what is given now")
        if isinstance(place_of_training, LocalBackend):
            place_of_training.prepared = made  # this process trains it, under this lock
        else:
            lock.close()  # the process that trains it locks it
        raise typer.Exit(_trained(place_of_training, name, how, view, overlay))


def _trained(backend: Backend, name: str, how: TrainOptions, view: bool, overlay: list[str] | None) -> int:
    """Have the run trained, with a page to watch it by if that is wanted; returns the exit code."""
    from undercut.runs import sessions  # TensorFlow takes seconds to import; --help should not

    if view and backend.name == BackendName.compose:
        stack_cli.show_page_address(overlay)
    with page("run", name, view and backend.name == BackendName.local):
        status = backend.train(name, how)
        # runs of this process live in the stack's store then, and this folder has the copy
        place = LocalStore(Path(RUNS_PREFIX) / name) if backend.name == BackendName.compose else run_place(name)
        sessions.show_files(Run.open(name, place), options.console)
    return status


def looking(tracks: list[str] | None, looks: list[str] | None) -> list[str] | None:
    """Each track in each look: `TRACK@LOOK`, or the track as it is for the look `own`."""
    if not looks:
        return tracks
    plain = [one.partition("@")[0] for one in tracks or [RunConfig.model_fields["track"].default]]
    return [one if look == "own" else f"{one}@{look}" for one in plain for look in looks]
