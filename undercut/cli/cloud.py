"""`undercut cloud`: the run that drove here trains in AWS. Parses, calls, shows."""

from functools import partial
from itertools import takewhile
from typing import Annotated

import typer
from rich.console import Console
from rich.table import Table

from contract.errors import InputError
from undercut.backends.aws.settings import CloudSettings, LauncherName
from undercut.cli.as_json import JsonOption, show_json
from undercut.cli.options import setting
from undercut.terminal import say, show_table

app = typer.Typer(no_args_is_help=True, help="Train, evaluate and race in AWS: SageMaker, Batch, RoboMaker's API.")
console = Console()
_say = partial(say, console)

Name = Annotated[str, typer.Argument(metavar="RUN", help="name of the run, or of a job", show_default=False)]
RegionOption = Annotated[str | None, setting(CloudSettings, "region")]
StackOption = Annotated[str | None, setting(CloudSettings, "stack")]
LauncherOption = Annotated[LauncherName | None, setting(CloudSettings, "launcher")]
TypeOption = Annotated[str | None, setting(CloudSettings, "instance_type")]
FallbackOption = Annotated[
    list[str] | None, setting(CloudSettings, "fallback_instance_types", "--fallback-instance-type")
]
SimulatorsOption = Annotated[int | None, setting(CloudSettings, "simulators")]
SimulatorTypeOption = Annotated[str | None, setting(CloudSettings, "simulator_type")]
WorkersOption = Annotated[int | None, setting(CloudSettings, "workers")]
SpotOption = Annotated[bool | None, setting(CloudSettings, "spot", "--spot/--on-demand")]
MinutesOption = Annotated[float | None, setting(CloudSettings, "max_runtime_minutes")]
CostOption = Annotated[float | None, setting(CloudSettings, "max_cost")]
DetachOption = Annotated[bool, typer.Option("--detach", help="launch, and do not follow")]


# --- what jobs stand on ----------------------------------------------------------------------------------------------


@app.command()
def up(
    plan: Annotated[bool, typer.Option("--plan", help="only show what would be made, with its monthly cost")] = False,
    parts: Annotated[
        list[str] | None,
        typer.Option("--with", help="network, batch, queue or notebook, again for more; none: neither of them"),
    ] = None,
    region: RegionOption = None,
    stack: StackOption = None,
) -> None:
    """Make what jobs stand on: bucket, role, image registry. Nothing is made twice."""
    from undercut.backends.aws import infra
    from undercut.backends.aws.session import CloudSession

    settings = CloudSettings.load({"region": region, "stack": stack})
    chosen = [part for part in parts if part != "none"] if parts else None
    for line in infra.up(CloudSession(settings), settings, plan, chosen):
        _say(line)


@app.command()
def down(
    delete_data: Annotated[bool, typer.Option("--delete-data", help="also the bucket with every run in it")] = False,
    region: RegionOption = None,
    stack: StackOption = None,
) -> None:
    """Delete what `up` made; runs in the bucket stay unless told otherwise. Refused while jobs run."""
    from undercut.backends.aws import infra, launchers
    from undercut.backends.aws.session import CloudSession

    settings = CloudSettings.load({"region": region, "stack": stack})
    session = CloudSession(settings)
    running = [
        row.job
        for row in launchers.known(session)
        if not row.state.ended and row.region == session.region and row.stack in ("", settings.stack)
    ]
    if running:
        rule = "nothing that jobs stand on is deleted while they run"
        raise InputError("undercut cloud down", running, rule, "undercut cloud stop JOB for each of them")
    for line in infra.down(session, settings, delete_data):
        _say(line)


# --- jobs ------------------------------------------------------------------------------------------------------------


@app.command()
def train(
    context: typer.Context,
    run: Name,
    launcher: LauncherOption = None,
    instance_type: TypeOption = None,
    fallback_instance_types: FallbackOption = None,
    simulators: SimulatorsOption = None,
    simulator_type: SimulatorTypeOption = None,
    workers: WorkersOption = None,
    spot: SpotOption = None,
    max_runtime_minutes: MinutesOption = None,
    max_cost: CostOption = None,
    region: RegionOption = None,
    stack: StackOption = None,
    detach: DetachOption = False,
) -> None:
    """Train a run of this folder in AWS, or go on with it there, and bring its files back.

    Everything else that a job needs comes from cloud.yaml and UNDERCUT_CLOUD_ variables.
    """
    train_run(run, _settings(context), detach)


def train_run(name: str, settings: CloudSettings, detach: bool = False) -> None:
    """Also `undercut train --backend cloud`."""
    from undercut.backends.aws import launching
    from undercut.runs import sessions
    from undercut.runs.run import Run

    record = launching.run(settings, "train", [name], [], _say, detach)
    if not detach and Run.exists(record.plan.runs[0]):
        sessions.show_files(Run.open(name), console)


EXTRA = {"allow_extra_args": True, "ignore_unknown_options": True}


@app.command(context_settings=EXTRA)
def evaluate(
    context: typer.Context,
    run: Name,
    instance_type: TypeOption = None,
    max_cost: CostOption = None,
    region: RegionOption = None,
    stack: StackOption = None,
    detach: DetachOption = False,
) -> None:
    """Evaluate a run in AWS; further options are those of `undercut evaluate`."""
    from undercut.backends.aws import launching

    settings = _settings(context, simulators=0)  # a job that only drives has no machines beside it
    launching.run(settings, "evaluate", [run], _passed_on(context), _say, detach)


@app.command(context_settings=EXTRA)
def race(
    context: typer.Context,
    runs: Annotated[list[str], typer.Argument(metavar="RUN_A RUN_B ...", show_default=False)],
    instance_type: TypeOption = None,
    max_cost: CostOption = None,
    region: RegionOption = None,
    stack: StackOption = None,
    detach: DetachOption = False,
) -> None:
    """Race runs in AWS; further options are those of `undercut race`, after the names and `--`."""
    from undercut.backends.aws import launching

    names = list(takewhile(lambda name: not name.startswith("-"), runs))
    rest = runs[len(names) :]
    settings = _settings(context, simulators=0)
    launching.run(settings, "race", names, [*rest, *_passed_on(context)], _say, detach)


def _settings(context: typer.Context, **fixed: int) -> CloudSettings:
    """By the command's options that are settings; an empty list is one that was not given."""
    given = {name: value for name, value in context.params.items() if name in CloudSettings.model_fields}
    lists = {name: tuple(value) or None for name, value in given.items() if isinstance(value, list | tuple)}
    return CloudSettings.load({**given, **lists, **fixed})


def _passed_on(context: typer.Context) -> list[str]:
    """What goes to the job's own command; InputError for what means a file or a page of this machine."""
    for name in ("--backend", "--overlay", "--view"):
        if any(argument == name or argument.startswith(f"{name}=") for argument in context.args):
            raise InputError(name, name, "a job in the cloud does not know this", "give single options instead")
    return list(context.args)


@app.command()
def status(region: RegionOption = None, as_json: JsonOption = False) -> None:
    """List jobs: those launched from this folder, and others of undercut that run in the account."""
    from undercut.backends.aws import launchers
    from undercut.backends.aws.session import CloudSession

    rows = launchers.known(CloudSession(CloudSettings.load({"region": region})))
    if as_json:
        show_json([row.as_values() for row in rows])
        return
    table = Table("job", "work", "runs", "region", "machines", "status")
    for row in rows:
        table.add_row(row.job, row.work, row.runs, row.region, row.machines, row.told)
    if rows:
        show_table(console, table, "job", "runs")
    else:
        _say("no jobs: undercut cloud train RUN")


@app.command()
def logs(name: Name) -> None:
    """Show every line that a job has written so far."""
    from undercut.backends.aws import follow, launchers

    record, session, starter = launchers.opened(name)
    for line in follow.LogReader(session).new(list(starter.logs(record))):
        _say(str(line))


@app.command()
def watch(name: Name) -> None:
    """Follow a job that was launched before, and bring its files when it ends."""
    from undercut.backends.aws import launchers, launching

    record, session, starter = launchers.opened(name)
    launching.finish(session, starter, record, _say)


@app.command()
def pull(name: Name) -> None:
    """Bring what a job has written so far; it may still run."""
    from undercut.backends.aws import jobs, launching

    for place in launching.pull(jobs.record_of(name)):
        _say(f"brought {place}")


@app.command()
def stop(name: Name) -> None:
    """Stop a job, or all shards of a sweep; they keep their finished iterations. Twice is fine."""
    from undercut.backends.aws import jobs, launchers

    shards = [it for it in jobs.records() if it.plan.work == "sweep" and name in it.plan.runs and not it.ended]
    for one in shards:
        launchers.opened(one.job)[2].stop(one)
        _say(f"{one.job} is told to stop; undercut cloud pull {name} brings what it has")
    if shards:
        return
    record, _, starter = launchers.opened(name)
    state = starter.state(record)
    starter.stop(record)
    if state.ended:
        record.changed(ended=True)
        _say(f"{record.job} has ended already: {state.phase}")
    else:
        _say(f"{record.job} is told to stop; undercut cloud watch {record.plan.runs[0]} brings its files")


@app.command()
def cost(
    name: Annotated[str | None, typer.Argument(metavar="RUN", show_default=False)] = None, as_json: JsonOption = False
) -> None:
    """What a job did cost, by AWS's record of it; without a name, of all jobs, after what a month of five models costs
    by the guidance, here, and on your own machine."""
    from undercut.backends.aws import cost as costs
    from undercut.backends.aws import jobs, launchers

    if name is None and not as_json:
        console.print(cost_table(CloudSettings.load()))  # needs no account
    spent = []
    for record in [jobs.record_of(name)] if name else jobs.records():
        _, _session, starter = launchers.opened(record.job)
        state = starter.state(record)
        spent.append((record, state, costs.actual(record.plan, state.description or {})))
    if as_json:
        show_json([{"job": record.job, "phase": state.phase} | actual.as_values() for record, state, actual in spent])
        return
    for record, state, actual in spent:
        _say(f"{record.job} ({state.phase}): ${actual.total:.2f}")
        for what, amount, dollars in actual.lines:
            _say(f"  {what:44s}{amount:>24s}  ${dollars:8.2f}")


def cost_table(settings: CloudSettings) -> Table:
    """Five models of one hour each: the guidance's table, ours, and one's own machine."""
    from undercut.backends.aws import cost as costs

    aws, ours = costs.prices(), costs.ours_a_month(settings)
    title = f"five models of one hour each, US dollars a month; prices of {ours.dated}"
    table = Table("what", "how much", title=title)
    for name in ("as published", "by these prices"):
        table.add_column(name, justify="right")
    for row, again in costs.guidance_again():
        table.add_row(row.service, row.assumption, f"{row.dollars:.2f}", f"{again:.2f}")
    again_sum = sum(again for _, again in costs.guidance_again())
    published = f"of {aws.guidance.dated}"
    table.add_row("the guidance, in all", published, f"{aws.guidance.total:.2f}", f"{again_sum:.2f}", end_section=True)
    for what, amount, dollars in ours.lines:
        table.add_row(what, amount, "", f"{dollars:.2f}")
    table.add_row("undercut cloud train, in all", settings.instance_type, "", f"{ours.total:.2f}", end_section=True)
    hours = f"{costs.MODELS} x {costs.HOURS_EACH:g} h; ended in December 2025"
    table.add_row("AWS's DeepRacer console", hours, f"{costs.console_a_month():.2f}", "")
    table.add_row("your own machine: undercut train", "no account", "", "0.00")
    return table
