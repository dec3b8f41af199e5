"""`undercut sweep`: many trainings, and which was the best."""

import importlib.util
from functools import partial
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.table import Table

from contract.errors import InputError, UndercutError
from contract.host import REDIS_URL
from undercut.backends.backend import BackendName
from undercut.cli.as_json import JsonOption, show_json
from undercut.cli.options import messages_on
from undercut.cli.stack import OverlayOption, stack_with
from undercut.terminal import say, show_table

_PLACES = {
    "--workers": (BackendName.local,),
    "--shard": (BackendName.local,),
    "--parallel": (BackendName.local, BackendName.compose),
    "--scale": (BackendName.compose,),
    "--overlay": (BackendName.compose,),
    "--machines": (BackendName.cloud,),
    "--shards": (BackendName.cloud,),
    "--queue": (BackendName.cloud,),
    "--instance-type": (BackendName.cloud,),
    "--max-cost": (BackendName.cloud,),
}
"""Where each option means something; --parallel also of shards in the cloud."""


def sweep(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="the sweep's .yaml", show_default=False)],
    parallel: Annotated[
        int | None,
        typer.Option(
            min=0, max=1_000, help="trials side by side on a machine; 0: as its cores allow", show_default="1"
        ),
    ] = None,
    backend: Annotated[
        BackendName, typer.Option(help="local: here; compose: in the stack's containers; cloud: in AWS")
    ] = BackendName.local,
    scale: Annotated[
        int | None, typer.Option(min=0, max=1_000, help="compose: simulators that drive for all trials")
    ] = None,
    overlay: OverlayOption = None,
    machines: Annotated[
        int | None, typer.Option(min=1, max=1_000, help="cloud: jobs at once", show_default="1")
    ] = None,
    shards: Annotated[
        bool, typer.Option("--shards", help="cloud: each machine has a fixed share of the trials, side by side")
    ] = False,
    queue: Annotated[
        str | None, typer.Option(help="cloud: AWS Batch queue for jobs that SageMaker trains", show_default=False)
    ] = None,
    instance_type: Annotated[str | None, typer.Option(help="cloud: such as ml.c7i.8xlarge", show_default=False)] = None,
    max_cost: Annotated[float | None, typer.Option(min=0, help="cloud: US dollars for all")] = None,
    workers: Annotated[
        bool, typer.Option("--workers", help="local: `undercut worker`s at UNDERCUT_REDIS_URL drive the episodes")
    ] = False,
    shard: Annotated[
        str | None, typer.Option(metavar="I/N", help="only every Nth trial, from the Ith on", show_default=False)
    ] = None,
    show: Annotated[bool, typer.Option("--show", help="what has been found so far; trains nothing")] = False,
    as_json: JsonOption = False,
) -> None:
    """Train many runs over rewards, hyperparameters, action spaces and seeds, and find the best of them.

    The same command goes on after a stop; on other machines, at one UNDERCUT_REDIS_URL, it takes part.
    """
    if importlib.util.find_spec("optuna") is None:
        fix = "pip install 'undercut[sweep]', or in a checkout: uv sync --inexact --extra sweep"
        raise UndercutError("a sweep needs optuna, which is not installed", fix=fix)
    given = {
        "--workers": workers, "--shard": shard, "--parallel": parallel, "--scale": scale, "--overlay": overlay,
        "--machines": machines, "--shards": shards, "--queue": queue, "--instance-type": instance_type,
        "--max-cost": max_cost,
    }  # fmt: skip
    _check(given, backend)
    console = messages_on(as_json)
    with console.status("reading the file"):
        from undercut.sweep.shards import Shard
        from undercut.sweep.spec import Sweep
        from undercut.sweep.storage import redis_of_host

        read, part = Sweep.load(file), Shard.parse(shard) if shard else None
    status = 0
    try:
        if show:
            _fetch(read, backend, overlay, console)
        elif part is not None:
            from undercut.backends.local.shard import sweep_shard

            if workers and redis_of_host() is None:
                raise InputError(REDIS_URL, "", "--workers needs the workers' Redis", "redis://host:6379/0")
            sweep_shard(file, part, 1 if parallel is None else parallel, workers, console)
        elif backend is BackendName.compose:
            from undercut.backends.compose.sweeping import sweep_in_stack

            say(console, f"sweep {read.name}: {read.trials} trials")
            at_once = _at_once(read, parallel)
            status = sweep_in_stack(stack_with(overlay), read, file, at_once, scale or 0, partial(say, console))
        elif shards:
            _in_shards(read, file, machines or 1, parallel or 0, instance_type, max_cost, console)
        else:
            settings = {"max_cost": max_cost, "instance_type": instance_type, "training_queue": queue}
            _one_by_one(read, backend, _at_once(read, parallel), machines or 1, workers, settings, console)
    finally:
        result = _show_result(read, part, console)
        if as_json:
            show_json(result.as_json())
    if status:
        raise typer.Exit(status)
    if not show:
        from undercut.backends.local.shard import complain

        complain(result)


def _check(given: dict[str, Any], backend: BackendName) -> None:
    """InputError for an option that means nothing where the sweep is to be trained."""
    used = [name for name, value in given.items() if value not in (None, False, [])]
    for name in used:
        if backend not in _PLACES[name] and not (name == "--parallel" and given["--shards"]):
            where = " or ".join(_PLACES[name])
            fix = f"leave it out, or add --backend {_PLACES[name][0]}"
            if name == "--parallel":
                fix = "leave it out: --machines says how many jobs run at once; or add --shards"
            raise InputError("command line", name, f"{name} goes with --backend {where}", fix)
    if given["--shards"] and given["--queue"]:
        rule = "a queue takes each trial as a job of its own"
        raise InputError("command line", "--shards --queue", rule, "leave out one of the two")


def _at_once(read: Any, parallel: int | None) -> int:
    from undercut.backends.local.shard import side_by_side

    return side_by_side(read.trials) if parallel == 0 else parallel or 1


def _one_by_one(
    read: Any, backend: BackendName, parallel: int, machines: int, workers: bool, settings: Any, console: Console
) -> None:
    """The sweep with one study, of which each trial is a process here or a job in the cloud."""
    from undercut.backends.local.trials import LocalTrials
    from undercut.sweep.scores import DIRECTIONS
    from undercut.sweep.storage import Studies, redis_of_host, same_shares
    from undercut.sweep.sweeping import sweep_runs

    redis = redis_of_host()
    if workers and redis is None:
        raise InputError(REDIS_URL, "", "--workers needs the workers' Redis", "redis://host:6379/0")
    same_shares(read.name, None)
    studies = Studies(read.name, redis, DIRECTIONS[read.file.objective])
    count = machines if backend is BackendName.cloud else parallel
    say(console, f"sweep {read.name}: {read.trials} trials, {count} at a time; kept in {studies.where}")
    if backend is BackendName.cloud:
        _in_cloud(read, studies, machines, settings, console)
    else:
        sweep_runs(read, studies, LocalTrials(studies.folder / "logs", workers), parallel, console)


def _in_cloud(read: Any, studies: Any, machines: int, settings: Any, console: Console) -> None:
    """The sweep with jobs for trials. UndercutError when its limit of cost is reached."""
    from undercut.backends.aws.settings import CloudSettings
    from undercut.backends.aws.trials import BudgetSpentError, CloudTrials
    from undercut.sweep.sweeping import sweep_runs

    if settings["training_queue"]:
        settings = {**settings, "launcher": "queue"}
    trials = CloudTrials(CloudSettings.load(settings), machines, partial(say, console))
    for line in trials.estimate(read.trials):
        say(console, line)
    try:
        sweep_runs(read, studies, trials, machines, console)
    except BudgetSpentError as error:
        raise UndercutError(str(error), fix="the same command with a higher --max-cost goes on") from None


def _in_shards(
    read: Any, file: Path, machines: int, parallel: int, instance_type: str | None, max_cost: float | None,
    console: Console,
) -> None:  # fmt: skip
    """The sweep with a share of the trials for each of so many machines in the cloud."""
    from undercut.backends.aws.settings import CloudSettings
    from undercut.backends.aws.shards import CloudShards

    settings = CloudSettings.load({"max_cost": max_cost, "instance_type": instance_type, "simulators": 0})
    CloudShards(read, file, settings, machines, parallel, partial(say, console)).run()


def _fetch(read: Any, backend: BackendName, overlay: list[str] | None, console: Console) -> None:
    """For --show: what there is elsewhere comes first."""
    if backend is BackendName.compose:
        from undercut.backends.compose.engine import use_store
        from undercut.backends.compose.sweeping import fetch

        use_store(stack_with(overlay))
        fetch(read, partial(say, console))
    elif backend is BackendName.cloud:
        from undercut.backends.aws.shards import fetch as fetch_jobs

        fetch_jobs(read.name, partial(say, console))


def _show_result(read: Any, part: Any, console: Console) -> Any:
    """The result, of all shards that there are or of this one, as a table and a page."""
    from undercut.report.sweep import sweep_page
    from undercut.sweep.results import SweepResult
    from undercut.sweep.scores import DIRECTIONS
    from undercut.sweep.shards import JOURNAL, SWEEPS
    from undercut.sweep.storage import Studies, kept_studies, redis_of_host

    folder = SWEEPS / read.name
    studies = kept_studies(read.name)
    if part is not None:
        studies, read, folder = [it for it in studies if it.shard == part], read.of_shard(part), folder / part.folder
    elif not studies and (redis_of_host() is not None or (folder / JOURNAL).is_file()):
        studies = [Studies(read.name, redis_of_host(), DIRECTIONS[read.file.objective])]
    result = SweepResult.of(read, *studies)
    folder.mkdir(parents=True, exist_ok=True)
    written = folder / "sweep.html"
    written.write_text(sweep_page(result), encoding="utf-8")
    show_table(console, _table(result), "run")
    say(console, f"page: {written}")
    return result


def _table(result: Any) -> Table:
    """The best trials."""
    table = Table(title=", ".join(f"{count} {state}" for state, count in result.counted().items() if count))
    for head in ("run", result.sweep.file.objective.replace("_", " "), "values"):
        table.add_column(head)
    for it in result.best[:5]:
        values = ", ".join(f"{key.rpartition('.')[2]} {value}" for key, value in it.values.items())
        table.add_row(it.run, f"{it.value:.3f}", values)
    return table
