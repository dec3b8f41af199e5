"""rl_coach and TensorFlow behind contract.protocols.Agent; both are imported when an agent is made, not before."""

from pathlib import Path

from contract.config import Precision
from contract.errors import InputError
from contract.hyperparameters import Hyperparameters
from contract.learning import LearningConfig
from contract.metadata import ModelMetadata
from trainer.coach.preset import is_q_learning, load_preset
from trainer.common.mirror import Mirror
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
    learning: LearningConfig = LearningConfig(),  # noqa: B008 - frozen
) -> CoachAgent | DqnAgent | SacAgent:
    """The agent for the metadata's training_algorithm, or for a racer's preset.

    `precision` is for clipped PPO; SAC and Q learning stay in float32. InputError for options of `learning` that the
    agent does not have.
    """
    check_learning(learning, metadata, preset)
    if preset is not None and is_q_learning(load_preset(preset).agent_parameters(metadata, hyperparameters)):
        return DqnAgent(metadata, hyperparameters, seed, threads, preset)
    if metadata.algorithm == "sac" and preset is None:
        return SacAgent(metadata, hyperparameters, seed, threads, learning=learning)
    return CoachAgent(metadata, hyperparameters, seed, threads, preset, precision, learning)


def check_learning(learning: LearningConfig, metadata: ModelMetadata, preset: Path | None) -> None:
    """InputError for options of the update that do not go with the algorithm or the actions."""
    asked = [name for name, value in learning if value != LearningConfig.model_fields[name].default]
    if asked and preset is not None:
        rule = "a preset says itself how it learns"
        raise InputError("learning", ", ".join(asked), rule, "leave the options out, or train without the preset")
    only_ppo = [name for name in asked if name in ("kl_limit", "smoothness")]
    if only_ppo and metadata.algorithm == "sac":
        rule = "options of clipped PPO, which goes over its steps in epochs and in order; SAC draws single ones"
        raise InputError("learning", ", ".join(only_ppo), rule, "leave them out")
    if learning.mirror and learning.reads_state and metadata.algorithm == "sac":
        rule = "SAC's critic judges actions, and the simulator's state has no mirror image"
        raise InputError("learning", "mirror, critic", rule, "leave one of the two out")
    if learning.mirror:
        Mirror(metadata)
