"""Everything in this process: the built-in simulator and the trainer put together from a run's config."""

import logging
import random  # noqa: TID251 - to seed it for racers, who draw from it
from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass, replace

import numpy as np
from tenacity import RetryCallState, Retrying, retry_if_exception_type, stop_after_attempt

from contract.config import RunConfig
from contract.errors import SimulatorError
from contract.metadata import ModelMetadata
from contract.protocols import ActionDistribution, Phase, Policy, RolloutOrder
from contract.rollout import Rollout
from contract.state import Observations
from simapp.episode_setup import EpisodeSetup, episode_setups
from simapp.policy import FrozenPolicy
from simapp.race import Race, RaceRules, Reward
from simapp.rollout import collect
from simapp.starts import between, conditioned, flying, start_line
from simapp.tracks import Track
from undercut.runs.run import Run
from undercut.runs.simulators import make_simulator


class LocalRollouts:
    """`RolloutSource` in this process: a simulator for each world of the run, made when an episode first needs it."""

    def __init__(
        self, run: Run, count: Callable[[int], None] = lambda steps: None, trainer_threads: int | None = None
    ) -> None:
        """`count` is called with the number of car-steps before each step; `trainer_threads` is FrozenPolicy's."""
        self._run, self._count, self._trainer_threads = run, count, trainer_threads
        self._configs = run.config.each_world()
        self._worlds: dict[int, list[EpisodeSetup]] = {}
        """The scenes of each world, one a driving direction."""

    def announce(self, policy: bytes, *orders: RolloutOrder) -> None:
        """Nobody else is here to begin early."""

    def collect(self, policy: bytes, order: RolloutOrder) -> list[Rollout]:
        run = self._run
        seed_racers_randomness(run.config.seed, order)
        parts = self._parts(order)
        threads, precision = run.config.threads or None, run.config.precision
        with closing(FrozenPolicy(policy, run.files.metadata, threads, precision, self._trainer_threads)) as frozen:
            counted = _Counted(frozen, self._count)
            rollouts = [rollout for scene, part in parts for rollout in self._driven(scene, counted, part)]
        return sorted(rollouts, key=lambda rollout: rollout.episode)

    def _driven(self, scene: EpisodeSetup, policy: Policy, part: RolloutOrder) -> list[Rollout]:
        """The part's episodes; a simulator that dies under them is started anew, and so are they."""
        run = self._run
        retrying = Retrying(
            retry=retry_if_exception_type(SimulatorError),
            stop=stop_after_attempt(SIMULATOR_STARTS),
            before_sleep=_log_restart,
            reraise=True,
        )
        return retrying(collect, scene.race, policy, run.files.metadata, part, scene.start, run.config.seed)

    def _parts(self, order: RolloutOrder) -> list[tuple[EpisodeSetup, RolloutOrder]]:
        """World and direction follow from the episode's number alone; those of an evaluation are as the training's next
        episode would have them."""
        worlds, training = len(self._configs), self._run.config.training
        ways = 2 if training.alternate_driving_direction else 1
        if order.phase == Phase.evaluation:
            way, scatter = order.trained // worlds % ways, self._run.config.evaluation
            parts = []
            for number, part in order.by(lambda n: n % worlds).items():
                race = self._world(number)[way].race
                begin = between(race, training, scatter, order.trained, worlds)
                parts.append((EpisodeSetup(race, conditioned(race, None, begin)), part))
            return parts
        return [
            (self._world(number % worlds)[number // worlds], part)
            for number, part in order.by(lambda n: n % worlds + n // worlds % ways * worlds).items()
        ]

    def _world(self, number: int) -> list[EpisodeSetup]:
        if number not in self._worlds:
            self._worlds[number] = self._made(replace(self._run, config=self._configs[number]))
        return self._worlds[number]

    def _made(self, run: Run) -> list[EpisodeSetup]:
        config, files, track = run.config, run.files, run.track()
        simulator = make_simulator(config, track, [files.metadata] * config.cars)
        rewards = [files.reward.instance() for _ in range(config.cars)]
        return episode_setups(config, simulator, track, rewards, len(self._configs))


def _log_restart(state: RetryCallState) -> None:
    error = state.outcome.exception() if state.outcome else None
    logging.getLogger(__name__).warning("%s\n  the episodes are driven again", error)


@dataclass(frozen=True, slots=True)
class _Counted:
    """A policy that tells of how many frames it was asked about."""

    policy: Policy
    count: Callable[[int], None]

    def distribution(self, observations: Observations) -> ActionDistribution:
        self.count(len(next(iter(observations.values()))))
        return self.policy.distribution(observations)


def evaluation_laps(run: Run, policy: bytes, order: RolloutOrder, keep_observations: bool = False) -> list[Rollout]:
    """Laps under the run's evaluation rules, side by side; continuous ones follow each other in one car."""
    config, files = run.config, run.files
    with closing(FrozenPolicy(policy, files.metadata, config.threads or None)) as frozen:
        make_reward = files.reward.instance
        return laps_of(config, run.track(), files.metadata, make_reward, frozen, order, keep_observations)


def laps_of(
    config: RunConfig,
    track: Track,
    metadata: ModelMetadata,
    make_reward: Callable[[], Reward],
    policy: Policy,
    order: RolloutOrder,
    keep_observations: bool = False,
) -> list[Rollout]:
    """The same by any policy of a model with this metadata, on a track in its driving direction."""
    cars = 1 if config.evaluation.is_continuous else min(order.count, EVALUATION_CARS)
    with closing(make_simulator(config, track, [metadata] * cars)) as simulator:
        rewards = [make_reward() for _ in range(cars)]
        race = Race(simulator, track, evaluation_rules(config), rewards, config.reverse_dir, config.race)
        ranges = config.randomization if config.enable_domain_randomization else None
        start = conditioned(race, ranges, start_line(race, config.evaluation))
        if config.evaluation.is_continuous:
            start = flying(race, start)
        seed_racers_randomness(config.seed, order)
        return collect(race, policy, metadata, order, start, config.seed, keep_observations)


SIMULATOR_STARTS = 3
"""How often a simulator may die under the same episodes before it is taken for broken."""

EVALUATION_CARS = 50
"""Most laps of an evaluation that are driven side by side."""


def evaluation_rules(config: RunConfig) -> RaceRules:
    """The rules of the run's evaluations."""
    return RaceRules.of(config.evaluation, config.evaluation.max_lap_steps, config.evaluation.number_of_resets)


def seed_racers_randomness(seed: int, order: RolloutOrder) -> None:
    """Reward functions that draw from the global generators still give the same run twice. A part of an order that
    another worker drives draws other numbers than the part with its first episode."""
    first = order.episodes[0]
    part = [] if first == order.first else [first]
    random.seed(" ".join(map(str, [seed, order.phase, order.iteration, *part])))
    np.random.seed(  # noqa: NPY002
        [seed, order.phase == Phase.training, order.iteration, *part]
    )
