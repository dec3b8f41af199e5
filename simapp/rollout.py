"""The rollout loop: a policy drives every ordered episode, as many cars at once as the race has."""

import itertools
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from contract import memory
from contract.metadata import ModelMetadata
from contract.protocols import ActionDistribution, Phase, Policy, RolloutOrder
from contract.rollout import Rollout
from contract.state import Observations, Things
from simapp.race import Race
from simapp.starts import Start


def collect(
    race: Race,
    policy: Policy,
    metadata: ModelMetadata,
    order: RolloutOrder,
    start: Start,
    seed: int,
    keep_observations: bool = False,
) -> list[Rollout]:
    """Whole episodes in episode order. Training samples actions and keeps observations; evaluation takes the mode, and
    keeps them only if told to.

    Each episode draws from its own random stream, so it does not matter which car drives it beside which others.
    """
    keeps = keep_observations or order.phase == Phase.training
    waiting = list(reversed(order.episodes))
    driving: dict[int, Drive] = {}
    done: dict[int, Rollout] = {}
    steps = itertools.count()

    def seat(car: int) -> None:
        if waiting:
            episode = waiting.pop()
            driving[car] = Drive(episode, np.random.default_rng([seed, order.phase == Phase.training, episode]))
            start(car, episode, driving[car].random)

    for car in range(min(race.num_cars, len(order.episodes))):
        seat(car)
    while driving:
        cars = np.array(sorted(driving), dtype=np.int64)
        drives = [driving[car] for car in cars.tolist()]
        seen = race.simulator.observe(cars)
        if keeps and next(steps) % ROOM_STEPS == 0:
            check_room(drives, seen)
        actions = choose(policy.distribution(seen), drives if order.phase == Phase.training else None, order.epsilon)
        outcome = race.step(cars, metadata.actions.controls(actions))
        for k, (car, drive) in enumerate(zip(cars.tolist(), drives, strict=True)):
            drive.actions.append(actions[k])
            drive.rows.append(outcome.rows[k])
            if outcome.things is not None and order.phase == Phase.evaluation:
                drive.things.append((outcome.things, k))
            if keeps:  # copies, since a view would keep the other cars' frames alive with its own
                drive.seen.append({name: frames[k].copy() for name, frames in seen.items()})
            if outcome.over[k]:
                final = {name: frames[0] for name, frames in race.simulator.observe(np.array([car])).items()}
                done[drive.episode] = drive.finish(order, final, bool(outcome.truncated[k]))
                del driving[car]
                seat(car)
    return [done[episode] for episode in sorted(done)]


ROOM_STEPS = 64
"""How often it is checked that there is memory for what the cars will see until the next time."""


def check_room(drives: "list[Drive]", seen: Observations) -> None:
    """DoesNotFitError before the next ROOM_STEPS of these drives, or an episode's end, would take too much memory."""
    one_bytes = sum(frames[0].nbytes for frames in seen.values())
    longest = max(len(drive.rows) for drive in drives) + ROOM_STEPS
    parts = {
        f"frames of {len(drives)} cars in {ROOM_STEPS} steps": float(len(drives) * ROOM_STEPS * one_bytes),
        f"frames of {longest} steps, put together as an episode": float(longest * one_bytes),
    }
    fix = "lower num_episodes_between_training or max_episode_steps, or close other programs"
    memory.check_fits("driving on", parts, fix, memory.free_bytes())


def choose(said: ActionDistribution, drives: "list[Drive] | None", epsilon: float | None = None) -> NDArray[Any]:
    """Actions for K cars: sampled from each drive's own stream, or the mode when `drives` is None.

    With `epsilon` the likeliest of discrete actions is taken, but for that share of random ones.
    (K,) int64 indices, or (K, 2) float64 [steering, speed]: squashed into [-1, 1], or before clipping to it.
    """
    if said.probabilities is not None:
        likeliest: NDArray[Any] = np.argmax(said.probabilities, axis=1)
        if drives is None:
            return likeliest
        probabilities = said.probabilities
        if epsilon is not None:
            probabilities = np.full_like(said.probabilities, epsilon / said.probabilities.shape[1])
            probabilities[np.arange(len(likeliest)), likeliest] += 1.0 - epsilon
        drawn = np.array([drive.random.random() for drive in drives])[:, None]
        cumulative = np.cumsum(probabilities, axis=1)
        passed: NDArray[Any] = np.count_nonzero(cumulative[:, :-1] <= drawn * cumulative[:, -1:], axis=1)
        return passed
    assert said.mean is not None
    assert said.deviation is not None
    actions = said.mean
    if drives is not None:
        actions = actions + said.deviation * np.stack([drive.random.standard_normal(2) for drive in drives])
    return np.tanh(actions) if said.squash else actions


@dataclass(slots=True)
class Drive:
    """An episode under way."""

    episode: int
    random: np.random.Generator
    seen: list[Observations] = field(default_factory=list)
    actions: list[np.ndarray] = field(default_factory=list)
    rows: list[np.ndarray] = field(default_factory=list)
    things: list[tuple[Things, int]] = field(default_factory=list)
    """Row of StepOutcome.things at each step."""
    ticks: list[int] = field(default_factory=list)

    def finish(self, order: RolloutOrder, final: Observations, truncated: bool) -> Rollout:
        return Rollout(
            episode=self.episode,
            iteration=order.iteration,
            observations={name: np.stack([seen[name] for seen in self.seen]) for name in final if self.seen},
            final=final,
            actions=np.stack(self.actions),
            steps=np.stack(self.rows),
            truncated=truncated,
            things=Things.stacked(self.things) if self.things else None,
            ticks=np.array(self.ticks, np.int64) if self.ticks else None,
        )
