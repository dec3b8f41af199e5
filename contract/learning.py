"""How a run learns beyond its hyperparameters: options that AWS's trainer does not have, all off by default."""

from typing import Literal, Self

from pydantic import Field, model_validator

from contract.fields import Strict

CRITIC_STATE = "critic_state"
"""What training rollouts hold beside the sensors' observations where the critic reads the simulator's state: (T, 73)
float32, see simapp.critic_state. The policy never sees it."""
CRITIC_STATE_SIZE = 73


class LearningConfig(Strict):
    """Options of the update. With the defaults it is AWS's clipped PPO or SAC."""

    critic: Literal["pictures", "state"] = Field(
        default="pictures",
        description="what values are estimated from: what the policy sees, or the simulator's state, at half the time",
    )
    mirror: bool = Field(
        default=False, description="half of the steps are learned from as seen in a mirror; needs symmetric actions"
    )
    anneal_steps: int = Field(
        default=0,
        ge=0,
        description="training steps in which lr and entropy's weight go down in a straight line; 0: they stay",
    )
    final_lr: float = Field(default=0.1, gt=0, le=1, description="of lr, from then on")
    final_entropy: float = Field(default=0.1, ge=0, le=1, description="of beta_entropy or sac_alpha, from then on")
    kl_limit: float = Field(
        default=0.0, ge=0, description="PPO: no further epoch once the policy has moved so far (KL divergence); 0: none"
    )
    smoothness: float = Field(
        default=0.0, ge=0, description="PPO: weight of the change of commands from one step to the next; 0: none"
    )

    @model_validator(mode="after")
    def _ends_belong_to_a_schedule(self) -> Self:
        ends = self.model_fields_set & {"final_lr", "final_entropy"}
        if ends and not self.anneal_steps and any(getattr(self, name) != 0.1 for name in ends):
            raise ValueError(f"{' and '.join(sorted(ends))} without anneal_steps; say in how many training steps")
        return self

    @property
    def reads_state(self) -> bool:
        """Whether values are estimated from the simulator's state, which rollouts then hold."""
        return self.critic == "state"

    def shares_at(self, steps: int) -> tuple[float, float]:
        """Of lr and of entropy's weight after so many training steps."""
        if not self.anneal_steps:
            return 1.0, 1.0
        done = min(steps / self.anneal_steps, 1.0)
        return 1.0 + done * (self.final_lr - 1.0), 1.0 + done * (self.final_entropy - 1.0)
