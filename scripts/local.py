"""Everything in this process: the built-in simulator and the trainer put together from a run's config."""

import random  # noqa: TID251 - to seed it for racers, who draw from it
from collections.abc import Callable
from pathlib import Path

import numpy as np

import simapp
from contract.protocols import Phase, RolloutOrder
from contract.rollout import Rollout
from scripts.runs import Run
from simapp.builtin import BuiltinSimulator
from simapp.policy import FrozenPolicy
from simapp.race import Race, RaceRules
from simapp.rollout import collect
from simapp.starts import round_robin, start_line


class LocalRollouts:
    """`RolloutSource` in this process: one simulator, under training rules or under those of an evaluation."""

    def __init__(self, run: Run, evaluation_rules: RaceRules) -> None:
        metadata, config = run.files.metadata, run.config
        self._run, self._track = run, run.track()
        simulator = BuiltinSimulator(self._track, [metadata] * config.cars)
        rewards = [run.files.reward.instance() for _ in range(config.cars)]
        reverse = config.reverse_dir
        training = Race(simulator, self._track, RaceRules(config.training.max_episode_steps), rewards, reverse)
        evaluation = Race(simulator, self._track, evaluation_rules, rewards, reverse)
        self._races = {
            Phase.training: (training, round_robin(training, config.training)),
            Phase.evaluation: (
                evaluation,
                start_line(evaluation, config.training.start_position_offset, config.evaluation),
            ),
        }

    def collect(self, policy: bytes, order: RolloutOrder) -> list[Rollout]:
        run = self._run
        seed_racers_randomness(run.config.seed, order)
        race, start = self._races[order.phase]
        frozen = FrozenPolicy(policy, run.files.metadata, run.config.threads or None)
        try:
            return collect(race, frozen, run.files.metadata, order, start, run.config.seed)
        finally:
            frozen.close()


def seed_racers_randomness(seed: int, order: RolloutOrder) -> None:
    """Reward functions that draw from the global generators still give the same run twice."""
    random.seed(f"{seed} {order.phase} {order.iteration}")
    np.random.seed(  # noqa: NPY002
        [seed, order.phase == Phase.training, order.iteration]
    )


def announce_compilation(say: Callable[[str], None]) -> None:
    """Numba keeps what it compiles beside the source; on a machine's first run, say why nothing moves for a while."""
    if not any(Path(simapp.__file__).parent.rglob("__pycache__/*.nbi")):
        say("compiling the simulator, once per machine: some seconds")
