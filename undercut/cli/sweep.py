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
from undercut.terminal import say


def sweep(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="the sweep's .yaml", show_default=False)],
    parallel: Annotated[int, typer.Option(min=1, max=1_000, help="trials side by side on this machine")] = 1,
    backend: Annotated[
        BackendName, typer.Option(help="local: here; cloud: each trial a job in AWS")
    ] = BackendName.local,
    machines: Annotated[int, typer.Option(min=1, max=1_000, help="cloud: jobs at once")] = 1,
    max_cost: Annotated[float | None, typer.Option(min=0, help="cloud: US dollars for all")] = None,
    workers: Annotated[
        bool, typer.Option("--workers", help="local: `undercut worker`s at UNDERCUT_REDIS_URL drive the episodes")
    ] = False,
    show: Annotated[bool, typer.Option("--show", help="what has been found so far; trains nothing")] = False,
    as_json: JsonOption = False,
) -> None:
    """Train many runs over rewards, hyperparameters, action spaces and seeds, and find the best of them.

    The same command goes on after a stop; on other machines, at one UNDERCUT_REDIS_URL, it takes part.
    """
    if importlib.util.find_spec("optuna") is None:
        fix = "pip install 'undercut[sweep]', or in a checkout: uv sync --inexact --extra sweep"
        raise UndercutError(f"a sweep needs optuna, which is not installed\n  fix:  {fix}")
    console = messages_on(as_json)
    with console.status("reading the file"):
        from undercut.backends.local.trials import LocalTrials
        from undercut.sweep.results import SweepResult
        from undercut.sweep.scores import DIRECTIONS
        from undercut.sweep.spec import Sweep
        from undercut.sweep.storage import Studies, redis_of_host
        from undercut.sweep.sweeping import sweep_runs

        read, redis = Sweep.load(file), redis_of_host()
        if workers and redis is None:
            raise InputError(REDIS_URL, "", "--workers needs the workers' Redis", "redis://host:6379/0")
        studies = Studies(read.name, redis, DIRECTIONS[read.file.objective])
    try:
        if not show:
            count = machines if backend is BackendName.cloud else parallel
            where = f"sweep {read.name}: {read.trials} trials, {count} at a time; kept in {studies.where}"
            say(console, where)
            if backend is BackendName.cloud:
                _in_cloud(read, studies, machines, max_cost, console)
            else:
                sweep_runs(read, studies, LocalTrials(studies.folder / "logs", workers), parallel, console)
    finally:
        from undercut.report.sweep import sweep_page

        result = SweepResult.of(read, studies)
        written = studies.folder / "sweep.html"
        written.write_text(sweep_page(result), encoding="utf-8")
        console.print(_table(result))
        say(console, f"page: {written}")
        if as_json:
            show_json(result.as_json())
    if not show and result.counted()["complete"] == 0:
        reasons = next((it.why for it in result.trials if it.why), "")
        raise UndercutError(f"no trial of the sweep {read.name} was completed\n{reasons}".rstrip())


def _in_cloud(read: Any, studies: Any, machines: int, max_cost: float | None, console: Console) -> None:
    """The sweep with jobs for trials. UndercutError when its limit of cost is reached."""
    from undercut.backends.aws.settings import CloudSettings
    from undercut.backends.aws.trials import BudgetSpentError, CloudTrials
    from undercut.sweep.sweeping import sweep_runs

    trials = CloudTrials(CloudSettings.load({"max_cost": max_cost}), machines, partial(say, console))
    for line in trials.estimate(read.trials):
        say(console, line)
    try:
        sweep_runs(read, studies, trials, machines, console)
    except BudgetSpentError as error:
        raise UndercutError(f"{error}\n  fix:  the same command with a higher --max-cost goes on") from None


def _table(result: Any) -> Table:
    """The best trials."""
    table = Table(title=", ".join(f"{count} {state}" for state, count in result.counted().items() if count))
    for head in ("run", result.sweep.file.objective.replace("_", " "), "values"):
        table.add_column(head)
    for it in result.best[:5]:
        values = ", ".join(f"{key.rpartition('.')[2]} {value}" for key, value in it.values.items())
        table.add_row(it.run, f"{it.value:.3f}", values)
    return table
