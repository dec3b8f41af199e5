"""Compiles the simulator's kernels into numba's cache by driving a little in every way: `python -m simapp.kernels`."""

from pathlib import Path

import numpy as np

from contract.conditions import RandomizationConfig
from contract.config import RaceConfig, TrainingConfig
from contract.metadata import ContinuousActions, ModelMetadata
from contract.protocols import ActionDistribution, Phase, RolloutOrder
from contract.state import Observations
from simapp.builtin import BuiltinSimulator
from simapp.race import Race, RaceRules
from simapp.rollout import collect
from simapp.starts import conditioned, round_robin
from simapp.tracks import load_track

ACTIONS = Path(__file__).resolve().parent.parent / "actions"
FILES = ("default.json", "stereo_lidar_shallow_two_speed.json")
RACES = (
    RaceConfig(),
    RaceConfig(race_type="OBJECT_AVOIDANCE", number_of_obstacles=2, randomize_obstacle_locations=True),
    RaceConfig(race_type="HEAD_TO_BOT", number_of_bot_cars=2, is_lane_change=True),
)
CARS, STEPS = 2, 20


class AnyAction:
    """A `Policy` that has no preference."""

    def __init__(self, metadata: ModelMetadata) -> None:
        self._actions = metadata.actions

    def distribution(self, observations: Observations) -> ActionDistribution:
        cars = len(next(iter(observations.values())))
        if isinstance(self._actions, ContinuousActions):
            return ActionDistribution(mean=np.zeros((cars, 2)), deviation=np.ones((cars, 2)))
        return ActionDistribution(probabilities=np.full((cars, self._actions.size), 1.0 / self._actions.size))


def compile_kernels() -> None:
    """Both vehicles, all cameras and lidars, boxes and bots, with and without randomisation."""
    track, training = load_track("paddock"), TrainingConfig()
    order = RolloutOrder(Phase.training, 0, 0, CARS)
    for file in FILES:
        metadata = ModelMetadata.load(ACTIONS / file)
        simulator = BuiltinSimulator(track, [metadata] * CARS)
        for config in RACES:
            race = Race(simulator, track, RaceRules(STEPS), [lambda params: 1.0] * CARS, False, config)
            for ranges in (None, RandomizationConfig()):
                start = conditioned(race, ranges, round_robin(race, training))
                collect(race, AnyAction(metadata), metadata, order, start, seed=0)


if __name__ == "__main__":
    compile_kernels()
