"""The wait for numba, before a command drives: shown while it lasts, and on no machine twice."""

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn

from simapp.kernels import Compiled, compile_missing


def compile_ahead(console: Console, pictures: bool = False) -> None:
    """Compile what `make setup` did not: another CPU's kernels, or those whose source has changed.

    On a terminal a bar names what is being compiled, elsewhere a line says that it is.
    """
    columns = (TextColumn("compiling the simulator for this CPU, once"), BarColumn(), MofNCompleteColumn())
    latest = TextColumn("{task.fields[kernel]}")
    with Progress(*columns, latest, console=console, transient=True) as bar:
        task = bar.add_task("", total=None, kernel="", visible=False)

        def tell(news: Compiled) -> None:
            if news.done == 0 and not console.is_terminal:
                console.print(f"compiling the simulator for this CPU, once: {news.of} kernels", highlight=False)
            bar.update(task, completed=news.done, total=news.of, kernel=news.name, visible=console.is_terminal)

        compile_missing(tell, pictures)
