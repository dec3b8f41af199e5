"""Gazebo for tests, where `make gazebo` has put it."""

from collections.abc import Sequence

import pytest

from contract.errors import SimulatorError
from contract.metadata import ModelMetadata
from contract.protocols import Simulator
from simapp.gazebo.process import Install
from simapp.gazebo.simulator import GazeboSimulator
from simapp.tracks import Track
from undercut.runs.simulators import gazebo_root


def _missing() -> str:
    try:
        Install.find(gazebo_root())
    except SimulatorError as error:
        return str(error).splitlines()[0]
    return ""


needs_gazebo = pytest.mark.skipif(bool(_missing()), reason=f"{_missing()}; make gazebo, then pytest -m gazebo")


def new_gazebo(track: Track, models: Sequence[ModelMetadata]) -> Simulator:
    return GazeboSimulator(track, models, gazebo_root())
