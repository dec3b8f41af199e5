"""Which simulator a run drives in: the built-in one, or Gazebo where it was asked for and is installed."""

import atexit
import functools
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from contract.config import RunConfig
from contract.errors import InputError
from contract.host import GUI, ROS, HostSettings, cache_folder
from contract.metadata import ModelMetadata
from contract.protocols import Simulator
from contract.state import IntArray
from simapp.builtin import BuiltinSimulator
from simapp.tracks import Track

if TYPE_CHECKING:
    from simapp.gazebo.roslink import RosLink


def gazebo_root() -> Path:
    """Where `make gazebo` puts Gazebo (simapp/gazebo/install)."""
    return cache_folder("gazebo-11")


def make_simulator(
    config: RunConfig,
    track: Track,
    models: Sequence[ModelMetadata],
    worlds: IntArray | None = None,
    colours: IntArray | None = None,
) -> Simulator:
    """The simulator of the config's kind with one car a model; SimulatorError when Gazebo is not here."""
    host = HostSettings.load()
    if config.simulator == "gazebo":
        from simapp.gazebo.process import Screen
        from simapp.gazebo.roslink import RosSimulator
        from simapp.gazebo.simulator import GazeboSimulator

        screen = Screen(host.gui, host.gazebo_gpu)
        made = GazeboSimulator(track, models, gazebo_root(), worlds, colours, screen, config.car)
        return RosSimulator(made, ros_link()) if host.ros else made
    for option, name, asked in (("--ros", ROS, host.ros), ("--gui", GUI, host.gui)):
        if asked:
            rule = "the built-in simulator has neither ROS topics nor a window: undercut view shows it"
            raise InputError(f"{name}, or {option}", "1", rule, "use --sim gazebo")
    return BuiltinSimulator(track, models, worlds, colours, config.car)


@functools.cache
def ros_link() -> "RosLink":
    """This process's node on the topics: one for all its simulators, so that its clock never goes back."""
    from simapp.gazebo.process import Install
    from simapp.gazebo.roslink import RosLink

    link = RosLink(Install.find(gazebo_root()))
    atexit.register(link.close)
    return link
