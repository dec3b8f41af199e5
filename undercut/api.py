"""The public functions: what a script or a notebook calls, and what the command line is made of."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich.console import Console

from contract.config import RunConfig
from contract.errors import InputError
from contract.protocols import Place
from contract.yamlfile import Value
from undercut.runs.run import DEFAULT_METADATA, DEFAULT_REWARD, Run, default_hyperparameters, overlaid
from undercut.runs.workspace import RUNS_PREFIX, workspace

if TYPE_CHECKING:
    from collections.abc import Callable

    from simapp.gym import DeepRacerEnv, DeepRacerVectorEnv
    from undercut.races.races import Standing
    from undercut.runs.sessions import Evaluation

PathLike = str | Path
RunLike = str | Run


def train(
    config: RunConfig,
    reward: PathLike | None = None,
    metadata: PathLike | None = None,
    hyperparameters: PathLike | None = None,
    *,
    preset: PathLike | None = None,
    requirements: PathLike | None = None,
    workers: int = 0,
    video_every: int = 0,
    takeover: bool = False,
    progress: bool = True,
) -> Run:
    """Train a model into runs/NAME of the working directory, or go on with a run that stopped.

    The run is complete after each iteration: Ctrl-C, a crash or a limit loses the unfinished one at most. Called again
    with the same config and files, it goes on from there, to the same numbers as without the stop. A run that has
    finished no iteration takes other ones, and begins again.

    >>> import undercut
    >>> config = undercut.RunConfig(
    ...     name="short", training={"max_iterations": 1, "max_episode_steps": 20, "min_eval_trials": 1}
    ... )
    >>> run = undercut.train(config, progress=False)
    >>> [row.iteration for row in run.iterations()]
    [0]

    config           what is trained, on what, from which seed; its name is the run's
    reward           reward function (.py), a program, or a .yaml that names one (docs/rewards.md); None: keeps to the
                     centre line
    metadata         model_metadata.json: sensors and actions; None: front camera, five actions
    hyperparameters  hyperparameters.json; None: AWS's for the metadata's algorithm
    preset           networks or algorithm of your own (docs/presets.md)
    requirements     packages that the reward imports; None: a requirements.txt beside it
    workers          processes that drive; 0: this one, or those at UNDERCUT_REDIS_URL
    video_every      MP4s of every so many iterations' evaluation laps; 0: none
    takeover         take a run in a bucket from another training
    progress         show a line an iteration

    Returns the run. Raises InputError for what is wrong with a file or differs from the run's own, RewardError for a
    reward function that fails, TrainingError for losses that are not finite. All are UndercutError.
    """
    from undercut.runs import sessions

    with workspace().locked(RUNS_PREFIX + config.name, takeover) as place:
        run = prepare(place, config, reward, metadata, hyperparameters, preset, requirements, begins_again=True)
        sessions.train(run, Console(quiet=not progress), workers, video_every)
    return run


def prepare(
    place: Place,
    config: RunConfig,
    reward: PathLike | None = None,
    metadata: PathLike | None = None,
    hyperparameters: PathLike | None = None,
    preset: PathLike | None = None,
    requirements: PathLike | None = None,
    carried: Mapping[str, Value] | None = None,
    begins_again: bool = False,
) -> Run:
    """The run in this place, ready to train: a new one with these files (see `train`), or the one that is there, once
    it is clear that config and files are still its own.

    carried       keys of a file of run parameters that have no effect here, to be written back (RunParams.carried)
    begins_again  a run that is there takes another config and files as long as it has learned nothing
    """
    from contract import artifacts
    from undercut.runs import pretraining

    earlier: Run | None = None
    given = [None if path is None else Path(path) for path in (reward, metadata, hyperparameters, preset, requirements)]
    if place.exists(artifacts.RUN_CONFIG):
        earlier = Run.open(config.name, place)
        try:
            earlier.same_files(*given)
            return earlier.remake(config, carried)
        except InputError:
            if not begins_again or earlier.has_learned():
                raise
        given = earlier.or_kept(given)
    own_reward, own_metadata, own_hyperparameters, own_preset, own_requirements = given
    own_metadata = own_metadata or DEFAULT_METADATA
    own_hyperparameters = own_hyperparameters or default_hyperparameters(own_metadata)
    config = pretraining.settled(config, own_metadata, own_hyperparameters)
    own_reward = own_reward or DEFAULT_REWARD
    run = Run.create(
        config, own_reward, own_metadata, own_hyperparameters, carried, place, own_preset, own_requirements
    )
    if earlier is not None:
        run.drop_files_of(earlier)
    return run


def evaluate(
    run: RunLike,
    laps: int | None = None,
    *,
    checkpoint: str = "best",
    config: RunConfig | Mapping[str, Any] | None = None,
    progress: bool = True,
) -> "Evaluation":
    """Drive laps with a trained model, and write metrics, simtrace, recording and plot into its run.

    >>> import undercut
    >>> evaluation = undercut.evaluate("short", laps=2, config={"evaluation": {"max_lap_steps": 40}}, progress=False)
    >>> len(evaluation.laps), evaluation.statistics.laps
    (2, 2)

    run         a run or its name
    laps        how many; None: as many as its config says
    checkpoint  best or last
    config      what is different from the training: values over those of the run's own config, or a whole RunConfig.
                Domain randomisation is off unless they say otherwise
    progress    show a table of the laps

    Returns the laps with their statistics. Raises CheckpointError when there is no checkpoint yet, InputError for a
    run or config that is none.
    """
    from undercut.runs import sessions

    opened = run if isinstance(run, Run) else Run.open(run)
    if not isinstance(config, RunConfig):
        base = opened.config.model_copy(update={"enable_domain_randomization": False}).model_dump()
        config = RunConfig.build(overlaid(base, config or {}), "config")
    if laps is not None:
        config = RunConfig.build(overlaid(config.model_dump(), {"evaluation": {"number_of_trials": laps}}), "laps")
    return sessions.evaluate(opened.driven_as(config), Console(quiet=not progress), checkpoint)


def race(
    runs: Sequence[RunLike],
    laps: int | None = None,
    *,
    name: str = "race",
    checkpoint: str = "best",
    config: Mapping[str, Any] | None = None,
    progress: bool = True,
) -> "list[Standing]":
    """Race two to four runs against each other on one track; results, simtraces and plots go to races/NAME.

    >>> import undercut
    >>> short = {"evaluation": {"max_lap_steps": 40}}
    >>> standings = undercut.race(["short", "short"], laps=1, name="twins", config=short, progress=False)
    >>> [standing.run for standing in standings]
    ['short', 'short']

    runs        runs or their names
    laps        heats of one lap; with evaluation.is_continuous laps in a row
    checkpoint  best or last, of all
    config      values over the race's defaults, such as {"track": "paddock", "race": {"number_of_obstacles": 4}}; the
                track is the first run's unless they say otherwise
    progress    show the table of the results

    Returns the results, the winner first. Raises InputError for runs that do not exist or are too many.
    """
    from undercut.races import races
    from undercut.races.params import race_of

    asked = race_of([run.config.name if isinstance(run, Run) else run for run in runs])
    grid = races.grid_of(asked, checkpoint)
    values = overlaid({**dict(config or {})}, {"evaluation": {"number_of_trials": laps}})
    return races.head_to_head(grid, races.race_config(asked, grid, name, values), Console(quiet=not progress))


def open_run(name: str) -> Run:
    """A run of the working directory, or of the bucket that UNDERCUT_STORE names.

    >>> import undercut
    >>> undercut.open_run("short").config.track
    'paddock'

    Raises InputError, with the runs that there are, when there is none of that name.
    """
    return Run.open(name)


def make_env(
    track: str | None = None,
    metadata: "PathLike | Mapping[str, Any] | None" = None,
    reward: "PathLike | Callable[[dict[str, Any]], float] | None" = None,
    config: RunConfig | Mapping[str, Any] | None = None,
    *,
    num_envs: int | None = None,
    render_mode: str | None = None,
) -> "DeepRacerEnv | DeepRacerVectorEnv":
    """The built-in simulator as a Gymnasium environment: one car, or `num_envs` of them in one process.

    >>> import undercut
    >>> env = undercut.make_env("paddock", reward=lambda params: params["speed"])
    >>> observation, info = env.reset(seed=1)
    >>> observation.shape, env.action_space
    ((120, 160, 1), Discrete(5))
    >>> env.close()

    track        a known track's name, NAME_cw or NAME_ccw, or a .npy route; None: the config's
    metadata     model_metadata.json, as a path or its content: sensors and actions
    reward       a racer's file, or a function of the params
    config       RunConfig or some of its values: race, training (start, step limit), randomization
    num_envs     a DeepRacerVectorEnv of so many cars; None: a DeepRacerEnv of one
    render_mode  rgb_array, or None

    TensorFlow is not needed. See docs/gym.md.
    """
    from simapp.gym import DeepRacerEnv, DeepRacerVectorEnv

    if num_envs is None:
        return DeepRacerEnv(track, metadata, reward, config, render_mode)
    return DeepRacerVectorEnv(num_envs, track, metadata, reward, config, render_mode)
