"""The wait for numba, before a command drives or draws: shown while it lasts, and on no machine twice."""

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn

from contract.config import RunConfig
from contract.metadata import ModelMetadata
from simapp.kernels import Compiled, Scope, compile_missing
from undercut.terminal import say


def compile_for(config: RunConfig, models: list[ModelMetadata], console: Console) -> None:
    """Compile what the config's races need of the built-in simulator, with cars of these models."""
    if config.simulator != "builtin":
        return
    from simapp.tracks import available_tracks  # numba takes a second to import

    races = [world.race for world in config.each_world()]
    shipped = set(available_tracks(()))
    tracks = {world.track.removesuffix("_ccw").removesuffix("_cw") for world in config.each_world()}
    is_plain = (
        tracks <= shipped  # others may have a world of their own
        and all(race.race_type == "TIME_TRIAL" for race in races)
        and not config.enable_domain_randomization
        and all(model.observation_shapes().keys() == PLAIN_SENSORS for model in models)
    )
    compile_ahead(console, Scope.plain if is_plain else Scope.drives)


PLAIN_SENSORS = {"FRONT_FACING_CAMERA"}


def compile_ahead(console: Console, scope: Scope) -> None:
    """Compile what `make setup` did not: all but the plainest, another CPU's kernels, those whose source has changed.

    On a terminal a bar names what is being compiled, elsewhere a line says that it is.
    """
    columns = (TextColumn("compiling the simulator for this CPU, once"), BarColumn(), MofNCompleteColumn())
    latest = TextColumn("{task.fields[kernel]}")
    is_seen = console.is_terminal
    with Progress(*columns, latest, console=console, transient=True, disable=not is_seen) as bar:
        task = bar.add_task("", total=None, kernel="", visible=False)

        def tell(news: Compiled) -> None:
            if news.done == 0 and not is_seen:
                say(console, f"compiling the simulator for this CPU, once: {news.of} kernels")
            bar.update(task, completed=news.done, total=news.of, kernel=news.name, visible=is_seen)

        compile_missing(tell, scope)
