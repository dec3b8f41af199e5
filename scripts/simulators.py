"""Which simulator a run drives in: the built-in one, or Gazebo where it was asked for and is installed."""

import os
from collections.abc import Sequence
from pathlib import Path

from contract.config import RunConfig
from contract.metadata import ModelMetadata
from contract.protocols import Simulator
from contract.state import IntArray
from simapp.builtin import BuiltinSimulator
from simapp.tracks import Track


def gazebo_root() -> Path:
    """Where `make gazebo` puts Gazebo (simapp/gazebo/install)."""
    cache = os.environ.get("XDG_CACHE_HOME") or "~/.cache"
    return Path(cache).expanduser() / "undercut" / "gazebo-11"


def make_simulator(
    config: RunConfig,
    track: Track,
    models: Sequence[ModelMetadata],
    worlds: IntArray | None = None,
    colours: IntArray | None = None,
) -> Simulator:
    """The simulator of the config's kind with one car a model; SimulatorError when Gazebo is not here."""
    if config.simulator == "gazebo":
        from simapp.gazebo.simulator import GazeboSimulator

        return GazeboSimulator(track, models, gazebo_root(), worlds, colours)
    return BuiltinSimulator(track, models, worlds, colours)
