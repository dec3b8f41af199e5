"""Train AWS DeepRacer models on your own machine, evaluate them, and race them.

    import undercut

    config = undercut.RunConfig(name="mine", track="paddock")
    run = undercut.train(config, reward="my_reward.py")     # leaves runs/mine
    print(undercut.evaluate(run, laps=5).statistics)
    undercut.race([run, "another"], laps=3)                 # leaves races/race

train, evaluate, race   what the commands of the same names do
open_run                a run that is there already
make_env                the simulator as a Gymnasium environment, for an algorithm of your own
RunConfig, Track        a run's settings; a track's geometry

`undercut --help` is the command line, README.md has a whole script. Names are imported when they are first used: this
package itself imports in a moment.
"""

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from contract.config import RunConfig as RunConfig
    from simapp.tracks import Track as Track
    from undercut.api import evaluate as evaluate
    from undercut.api import make_env as make_env
    from undercut.api import open_run as open_run
    from undercut.api import race as race
    from undercut.api import train as train

__all__ = ["RunConfig", "Track", "evaluate", "make_env", "open_run", "race", "train"]

_HOMES = {"RunConfig": "contract.config", "Track": "simapp.tracks"}
"""Modules of the names that are not in undercut.api."""


def __getattr__(name: str) -> Any:
    """Import a public name when it is first asked for."""
    if name == "__version__":
        from importlib.metadata import version

        return version("undercut")
    if name not in __all__:
        raise AttributeError(f"module 'undercut' has no attribute {name!r}")
    return getattr(importlib.import_module(_HOMES.get(name, "undercut.api")), name)


def __dir__() -> list[str]:
    """The public names, imported or not."""
    return sorted([*globals(), *__all__, "__version__"])
