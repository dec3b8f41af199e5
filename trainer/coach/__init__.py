"""rl_coach and TensorFlow behind contract.protocols.Agent; both are imported when an agent is made, not before."""

from trainer.coach.agent import CoachAgent

__all__ = ["CoachAgent"]
