"""rl_coach and TensorFlow behind contract.protocols.Agent; both are imported when an agent is made, not before."""

from pathlib import Path

from contract.config import Precision
from contract.hyperparameters import Hyperparameters
from contract.metadata import ModelMetadata
from trainer.coach.preset import is_q_learning, load_preset
from trainer.dqn.agent import DqnAgent
from trainer.ppo.agent import CoachAgent
from trainer.sac.agent import SacAgent

__all__ = ["CoachAgent", "DqnAgent", "SacAgent", "make_agent"]


def make_agent(
    metadata: ModelMetadata,
    hyperparameters: Hyperparameters,
    seed: int,
    threads: int | None = None,
    preset: Path | None = None,
    precision: Precision = "float32",
) -> CoachAgent | DqnAgent | SacAgent:
    """The agent for the metadata's training_algorithm, or for a racer's preset.

    `precision` is for clipped PPO; SAC and Q learning stay in float32.
    """
    if preset is not None and is_q_learning(load_preset(preset).agent_parameters(metadata, hyperparameters)):
        return DqnAgent(metadata, hyperparameters, seed, threads, preset)
    if metadata.algorithm == "sac" and preset is None:
        return SacAgent(metadata, hyperparameters, seed, threads)
    return CoachAgent(metadata, hyperparameters, seed, threads, preset, precision)
