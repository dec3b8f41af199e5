"""`undercut runs`: what was trained in this folder."""

from rich.table import Table

from undercut.cli.as_json import JsonOption, show_json
from undercut.cli.options import console, loading, messages_on
from undercut.runs.run import Run, run_names
from undercut.terminal import say, show_table


def runs(as_json: JsonOption = False) -> None:
    """List the runs of this folder, newest first."""
    with loading(messages_on(as_json)):
        from undercut.runs.sessions import summary

        rows = [summary(Run.open(name)) for name in run_names()]
    if as_json:
        show_json(rows)
        return
    table = Table("run", "track", "iterations", "steps", "best evaluation", "laps")
    for row in rows:
        table.add_row(*("-" if value is None else str(value) for value in row.values()))
    if rows:
        show_table(console, table, "run", "track")
    else:
        say(console, "no runs yet: undercut train")
