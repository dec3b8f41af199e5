"""rl_coach and TensorFlow behind contract.protocols.Agent; both are imported when an agent is made, not before."""

from pathlib import Path

from contract.hyperparameters import Hyperparameters
from contract.metadata import ModelMetadata
from contract.protocols import Agent
from trainer.coach.agent import CoachAgent
from trainer.coach.sac_agent import SacAgent

__all__ = ["CoachAgent", "SacAgent", "make_agent"]


def make_agent(
    metadata: ModelMetadata,
    hyperparameters: Hyperparameters,
    seed: int,
    threads: int | None = None,
    preset: Path | None = None,
) -> Agent:
    """The agent for the metadata's training_algorithm, or for a racer's preset."""
    if metadata.algorithm == "sac" and preset is None:
        return SacAgent(metadata, hyperparameters, seed, threads)
    return CoachAgent(metadata, hyperparameters, seed, threads, preset)
