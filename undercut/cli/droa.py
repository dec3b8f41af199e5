"""`undercut droa`: DeepRacer on AWS by its own API. Parses, calls, shows."""

from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.table import Table

from contract.errors import InputError
from contract.fields import read_text
from undercut.cli.as_json import JsonOption, show_json
from undercut.cli.options import messages_on
from undercut.terminal import say, show_table

app = typer.Typer(no_args_is_help=True, help="DeepRacer on AWS: your models there, imports, and submissions to races.")
console = Console()

WaitOption = Annotated[bool, typer.Option("--wait/--no-wait", help="until it has ended")]
MinutesOption = Annotated[float, typer.Option(min=0.01, max=1_440, help="that are waited at most")]


@app.command()
def login(
    site: Annotated[str, typer.Argument(metavar="SITE", help="the address of its website", show_default=False)],
    user: Annotated[str, typer.Option(help="name or e-mail", prompt=True)],
    password_file: Annotated[
        Path | None, typer.Option(help="a file with the password; none: it is asked for", show_default=False)
    ] = None,
    user_agent: Annotated[str, typer.Option(help="what requests say that they come from")] = "undercut",
) -> None:
    """Sign in. Tokens go to a file that only you can read; the password is not kept."""
    from undercut.interchange import droa_login

    if not user_agent.isprintable() or not user_agent.isascii() or not user_agent.strip():
        raise InputError("--user-agent", user_agent, "printable ASCII", "leave it out")
    found = droa_login.read_site(site)
    if password_file is None:
        password = typer.prompt("password", hide_input=True)
    else:
        password = read_text(password_file, "the file of the password").strip("\n")
    path = droa_login.keep(droa_login.sign_in(found, user, password, user_agent))
    say(console, f"signed in at {found.url} as {user}; tokens: {path}")


@app.command()
def logout() -> None:
    """Delete the tokens."""
    from undercut.interchange import droa_login

    say(console, "signed out" if droa_login.forget() else "nobody was signed in")


@app.command()
def models(as_json: JsonOption = False) -> None:
    """List your models there."""
    found = _client().models()
    table = Table("model", "id", "status", "created", "MB")
    for it in found:
        status = it["status"] + (f": {it['importErrorMessage']}" if it.get("importErrorMessage") else "")
        created = f"{it['createdAt']:%Y-%m-%d %H:%M}"
        table.add_row(it["name"], it["modelId"], status, created, f"{it['fileSizeInBytes'] / 1e6:,.1f}")
    show_table(messages_on(as_json), table, "model", "id")
    if as_json:
        show_json([_plain(it) for it in found])


@app.command()
def races(as_json: JsonOption = False) -> None:
    """List the races that you can enter there."""
    found = _client().leaderboards()
    table = Table("race", "id", "track", "kind", "opens", "closes", "ranked by")
    for it in found:
        track = f"{it['trackConfig']['trackId']}, {it['trackConfig']['trackDirection'].lower().replace('_', '-')}"
        opens, closes = (f"{it[key]:%Y-%m-%d %H:%M}" for key in ("openTime", "closeTime"))
        table.add_row(it["name"], it["leaderboardId"], track, it["raceType"], opens, closes, it["timingMethod"])
    show_table(messages_on(as_json), table, "race", "id")
    if as_json:
        show_json([_plain(it) for it in found])


@app.command("import")
def import_model(
    model: Annotated[str, typer.Argument(metavar="RUN", help="a run, or a folder in its layout", show_default=False)],
    name: Annotated[str | None, typer.Option(help="there; none: the run's", show_default=False)] = None,
    description: Annotated[str, typer.Option(help="letters, digits, blanks and hyphens")] = "",
    world: Annotated[str | None, typer.Option(help="name of the track there, if it is another")] = None,
    wait: WaitOption = True,
    minutes: MinutesOption = 15.0,
) -> None:
    """Import a run into it: export, upload, import."""
    from undercut.interchange import droa

    client = _client()
    wanted = name or Path(model).name.replace(".", "-").replace("_", "-")
    found = droa.import_source(client, model, wanted, description, world, lambda line: say(console, line))
    say(console, f"{wanted} is model {found}")
    if wait:
        with console.status("it is being imported"):
            say(console, f"{wanted}: {client.imported(found, 60.0 * minutes)['status']}")


@app.command()
def submit(
    model: Annotated[str, typer.Argument(metavar="MODEL", help="its name or id there", show_default=False)],
    race: Annotated[str, typer.Argument(metavar="RACE", help="its name or id there", show_default=False)],
    wait: WaitOption = False,
    minutes: MinutesOption = 60.0,
    as_json: JsonOption = False,
) -> None:
    """Submit a model that is there to a race there."""
    client, out = _client(), messages_on(as_json)
    entered, entry = client.leaderboard(race), client.model(model)
    submission = client.submit(entry["modelId"], entered["leaderboardId"])
    say(out, f"{entry['name']} is submission {submission} of {entered['name']}")
    result: dict[str, Any] = {"submissionId": submission}
    if wait:
        with out.status("it is being driven"):
            driven = client.raced(entered["leaderboardId"], entry["modelId"], 60.0 * minutes)
        result |= _plain(driven)
        stats = driven.get("stats")
        laps = f", best lap {stats['bestLapTime'] / 1000:.3f} s, {stats['completedLapCount']} laps" if stats else ""
        say(out, f"{driven['status']}{laps}")
    if as_json:
        show_json(result)


def _client() -> Any:
    from undercut.interchange import droa, droa_login

    return droa.DroaClient.of(droa_login.kept())


def _plain(it: dict[str, Any]) -> dict[str, Any]:
    """For JSON: times as text."""
    return {key: value.isoformat() if hasattr(value, "isoformat") else value for key, value in it.items()}
