"""Steps a second of the Gymnasium vector environment as a part of the plain race loop's, and of N single environments.

python tests/bench/bench_gym.py
"""

import json
import time
from collections.abc import Callable
from statistics import median
from typing import Any

import numpy as np
from gymnasium.vector import SyncVectorEnv

from contract.config import RunConfig
from simapp.builtin import BuiltinSimulator
from simapp.episode_setup import episode_setups
from simapp.gym import DeepRacerEnv, DeepRacerVectorEnv
from simapp.gym.cars import DEFAULT_METADATA, DEFAULT_REWARD
from simapp.reward import RewardFunction
from tests.bench.record import write_result

CARS, STEPS, REPEATS = 20, 100, 7


def race_loop(env: DeepRacerVectorEnv) -> Callable[[], None]:
    """Observe, step and begin anew as collect() does, without a policy."""
    model, track = env.cars.model, env.cars.track
    simulator = BuiltinSimulator(track, [model] * CARS)
    reward = RewardFunction.load(DEFAULT_REWARD)
    (scene,) = episode_setups(RunConfig(name="bench"), simulator, track, [reward.instance() for _ in range(CARS)])
    cars, random = np.arange(CARS), [np.random.default_rng(car) for car in range(CARS)]
    episodes = np.zeros(CARS, np.int64)
    for car in cars.tolist():
        scene.start(car, 0, random[car])
    draw = np.random.default_rng(0)

    def step() -> None:
        simulator.observe(cars)
        outcome = scene.race.step(cars, model.actions.controls(draw.integers(0, model.actions.size, CARS)))
        for car in np.flatnonzero(outcome.over).tolist():
            episodes[car] += 1
            scene.start(car, int(episodes[car]), random[car])

    return step


def environment(env: Any) -> Callable[[], None]:
    """A step of all cars, with actions drawn as for the race loop."""
    env.reset(seed=0)
    draw, count = np.random.default_rng(0), int(env.single_action_space.n)

    def step() -> None:
        env.step(draw.integers(0, count, CARS))

    return step


def main() -> None:
    vector = DeepRacerVectorEnv(CARS)
    single = SyncVectorEnv([DeepRacerEnv for _ in range(CARS)])
    loops = {
        "race loop": race_loop(vector),
        "vector environment": environment(vector),
        "single environments": environment(single),
    }
    seconds: dict[str, list[float]] = {name: [] for name in loops}
    for step in loops.values():
        step()  # compiles
    for _ in range(REPEATS):
        for name, step in loops.items():
            began = time.process_time()
            for _ in range(STEPS):
                step()
            seconds[name].append(time.process_time() - began)
    plain = seconds["race loop"]
    payload = {
        "cars": CARS,
        "metadata": DEFAULT_METADATA.name,
        "car_steps_per_s": {name: round(CARS * STEPS / median(spent)) for name, spent in seconds.items()},
        "of_race_loop": {
            name: round(median(a / b for a, b in zip(plain, spent, strict=True)), 3) for name, spent in seconds.items()
        },
    }
    print(json.dumps(payload, indent=2))
    method = (
        f"one process, {CARS} cars on paddock, {REPEATS} rounds of {STEPS} steps each in turn, by its CPU time; "
        "ratios within a round, medians; the environments keep all params of every step in info"
    )
    write_result("gym", payload, method)


if __name__ == "__main__":
    main()
