"""The built-in simulator as Gymnasium environments: importing this registers `undercut/DeepRacer-v0`."""

import gymnasium

from simapp.gym.env import DeepRacerEnv, DeepRacerVectorEnv

__all__ = ["ENV_ID", "DeepRacerEnv", "DeepRacerVectorEnv"]

ENV_ID = "undercut/DeepRacer-v0"

if ENV_ID not in gymnasium.registry:
    gymnasium.register(
        ENV_ID,
        entry_point="simapp.gym.env:DeepRacerEnv",
        vector_entry_point="simapp.gym.env:DeepRacerVectorEnv",
    )
