"""Train undercut/DeepRacer-v0 with Stable-Baselines3's PPO: `python docs/examples/sb3.py --steps 40000`.

It needs the extra `examples` (Stable-Baselines3 and PyTorch, which the rest of undercut does not use):
    pip install 'undercut[examples]'
"""

import argparse
from typing import Any

import gymnasium
import numpy as np
from stable_baselines3 import PPO
from stable_baselines3.common.evaluation import evaluate_policy
from stable_baselines3.common.monitor import Monitor
from stable_baselines3.common.vec_env import VecEnv

from simapp.gym import ENV_ID, DeepRacerVectorEnv


class Sb3Cars(VecEnv):
    """undercut's N cars in one process as Stable-Baselines3 wants them: an ended car begins anew in the same step, what
    it saw last is in `terminal_observation`, and a cut episode says so, so that its value is bootstrapped."""

    def __init__(self, env: DeepRacerVectorEnv, seed: int) -> None:
        super().__init__(env.num_envs, env.single_observation_space, env.single_action_space)
        self.cars, self._seed = env, seed
        self._returns, self._lengths = np.zeros(env.num_envs), np.zeros(env.num_envs, int)

    def reset(self) -> Any:
        return self.cars.reset(seed=self._seed)[0]

    def step_async(self, actions: np.ndarray) -> None:
        self._actions = actions

    def step_wait(self) -> tuple[Any, np.ndarray, np.ndarray, list[dict[str, Any]]]:
        seen, rewards, terminated, truncated, infos = self.cars.step(self._actions)
        over = terminated | truncated
        self._returns += rewards
        self._lengths += 1
        told: list[dict[str, Any]] = [{} for _ in range(self.num_envs)]
        for car in np.flatnonzero(over):
            told[car] = {
                "terminal_observation": infos["final_obs"][car],
                "TimeLimit.truncated": bool(truncated[car]),
                "episode": {"r": self._returns[car], "l": self._lengths[car], "t": 0.0},
                "progress": infos["final_info"]["params"]["progress"][car],
            }
            self._returns[car] = self._lengths[car] = 0
        return seen, rewards.astype(np.float32), over, told

    def close(self) -> None:
        self.cars.close()

    def get_attr(self, attr_name: str, indices: Any = None) -> list[Any]:
        return [getattr(self.cars, attr_name)] * len(list(self._get_indices(indices)))

    def set_attr(self, attr_name: str, value: Any, indices: Any = None) -> None:
        setattr(self.cars, attr_name, value)

    def env_method(self, method_name: str, *args: Any, indices: Any = None, **kwargs: Any) -> list[Any]:
        return [getattr(self.cars, method_name)(*args, **kwargs)]

    def env_is_wrapped(self, wrapper_class: type, indices: Any = None) -> list[bool]:
        return [False] * self.num_envs


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--steps", type=int, default=40_000)
    parser.add_argument("--cars", type=int, default=20)
    parser.add_argument("--track", default="paddock")
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    cars = gymnasium.make_vec(ENV_ID, num_envs=arguments.cars, track=arguments.track, autoreset_mode="SameStep")
    model = PPO(
        "CnnPolicy",
        Sb3Cars(cars, arguments.seed),
        n_steps=100,
        batch_size=100,
        n_epochs=3,
        gamma=0.95,
        gae_lambda=0.95,
        ent_coef=0.01,
        learning_rate=3e-4,
        seed=arguments.seed,
        verbose=1,
        device="cpu",
    )
    one = Monitor(gymnasium.make(ENV_ID, track=arguments.track))
    before = evaluate_policy(model, one, n_eval_episodes=5)
    model.learn(arguments.steps)
    after = evaluate_policy(model, one, n_eval_episodes=5)
    print(f"mean reward of 5 episodes: {before[0]:.1f} before, {after[0]:.1f} after {model.num_timesteps} steps")
    model.save("sb3_deepracer.zip")


if __name__ == "__main__":
    main()
