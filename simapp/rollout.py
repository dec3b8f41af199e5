"""The rollout loop: a policy drives every ordered episode, as many cars at once as the race has."""

import itertools
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from contract import memory
from contract.metadata import ModelMetadata
from contract.protocols import ActionDistribution, Phase, Policy, RolloutOrder
from contract.rollout import Rollout
from contract.state import Controls, IntArray, Observations, TrackObjects
from simapp.race import Race
from simapp.starts import Start


@dataclass(frozen=True, slots=True)
class Racer:
    """Who drives: a policy, with the sensors and actions of its model."""

    policy: Policy
    metadata: ModelMetadata


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
    waiting = list(reversed(order.episodes))
    driving: dict[int, OngoingEpisode] = {}
    done: dict[int, Rollout] = {}

    def begin(car: int) -> None:
        if waiting:
            number = waiting.pop()
            driving[car] = OngoingEpisode(number, np.random.default_rng([seed, order.phase == Phase.training, number]))
            start(car, number, driving[car].random)

    def end(car: int, truncated: bool) -> None:
        final = {name: frames[0] for name, frames in race.observe(np.array([car])).items()}
        episode = driving.pop(car)
        done[episode.number] = episode.finish(order, final, truncated)
        begin(car)

    for car in range(min(race.num_cars, len(order.episodes))):
        begin(car)
    drive(race, [Racer(policy, metadata)], driving, order, end, keep_observations or order.phase == Phase.training)
    return [done[number] for number in sorted(done)]


def drive(
    race: Race,
    racers: Sequence[Racer],
    driving: "dict[int, OngoingEpisode]",
    order: RolloutOrder,
    end: Callable[[int, bool], None],
    keep_observations: bool = False,
) -> None:
    """The loop of every simulation: all cars that drive see, decide and move, step by step, until none drives.

    racers   R of them; car c is driven by racer c modulo R
    driving  car -> its episode. `end` is called for a car whose episode is over, with whether a step limit cut it; it
             takes the car out, and may put in what it or another car drives next
    order    of the phase: training samples actions, evaluation takes the mode and keeps the objects around
    """
    samples, count = order.phase == Phase.training, len(racers)
    for tick in itertools.count():
        if not driving:
            return
        moved: list[IntArray] = []
        actions: list[NDArray[Any]] = []
        controls: list[Controls] = []
        for number, racer in enumerate(racers):
            cars = np.array([car for car in sorted(driving) if car % count == number], np.int64)
            if not cars.size:
                continue
            episodes = [driving[car] for car in cars.tolist()]
            observations = race.observe(cars)
            if keep_observations:
                if tick % ROOM_STEPS == 0:
                    check_room(episodes, observations)
                for k, episode in enumerate(episodes):  # copies: a view would keep the other cars' frames alive
                    episode.observations.append({name: frames[k].copy() for name, frames in observations.items()})
            chosen = choose(racer.policy.distribution(observations), episodes if samples else None, order.epsilon)
            moved.append(cars)
            actions += list(chosen)
            controls.append(racer.metadata.actions.controls(chosen))
        cars = np.concatenate(moved)
        outcome = race.step(cars, Controls.joined(controls))
        for k, car in enumerate(cars.tolist()):
            episode = driving[car]
            episode.actions.append(actions[k])
            episode.rows.append(outcome.rows[k])
            episode.ticks.append(tick)
            if outcome.objects is not None and not samples:
                episode.objects.append((outcome.objects, k))
        for k in np.flatnonzero(outcome.over).tolist():
            if int(cars[k]) in driving:  # the end of another car's episode in this very step may have ended it
                end(int(cars[k]), bool(outcome.truncated[k]))


ROOM_STEPS = 64
"""How often it is checked that there is memory for what the cars will see until the next time."""


def check_room(episodes: "list[OngoingEpisode]", observations: Observations) -> None:
    """DoesNotFitError before the next ROOM_STEPS of these episodes, or an episode's end, would take too much memory."""
    one_bytes = sum(frames[0].nbytes for frames in observations.values())
    longest = max(len(episode.rows) for episode in episodes) + ROOM_STEPS
    parts = {
        f"frames of {len(episodes)} cars in {ROOM_STEPS} steps": float(len(episodes) * ROOM_STEPS * one_bytes),
        f"frames of {longest} steps, put together as an episode": float(longest * one_bytes),
    }
    fix = "lower num_episodes_between_training or max_episode_steps, or close other programs"
    memory.check_fits("driving on", parts, fix, memory.free_bytes())


def choose(
    outputs: ActionDistribution, episodes: "list[OngoingEpisode] | None", epsilon: float | None = None
) -> NDArray[Any]:
    """Actions for K cars: sampled from each episode's own stream, or the mode when `episodes` is None.

    With `epsilon` the likeliest of discrete actions is taken, but for that share of random ones.
    (K,) int64 indices, or (K, 2) float64 [steering, speed]: squashed into [-1, 1], or before clipping to it.
    """
    if outputs.probabilities is not None:
        likeliest: NDArray[Any] = np.argmax(outputs.probabilities, axis=1)
        if episodes is None:
            return likeliest
        probabilities = outputs.probabilities
        if epsilon is not None:
            probabilities = np.full_like(outputs.probabilities, epsilon / outputs.probabilities.shape[1])
            probabilities[np.arange(len(likeliest)), likeliest] += 1.0 - epsilon
        drawn = np.array([episode.random.random() for episode in episodes])[:, None]
        cumulative = np.cumsum(probabilities, axis=1)
        passed: NDArray[Any] = np.count_nonzero(cumulative[:, :-1] <= drawn * cumulative[:, -1:], axis=1)
        return passed
    assert outputs.mean is not None
    actions = outputs.mean
    if episodes is not None:
        assert outputs.deviation is not None
        actions = actions + outputs.deviation * np.stack([episode.random.standard_normal(2) for episode in episodes])
    return np.tanh(actions) if outputs.squash else actions


@dataclass(slots=True)
class OngoingEpisode:
    """An episode under way: its number, its own random numbers, and what each step left."""

    number: int
    random: np.random.Generator
    observations: list[Observations] = field(default_factory=list)
    actions: list[np.ndarray] = field(default_factory=list)
    rows: list[np.ndarray] = field(default_factory=list)
    objects: list[tuple[TrackObjects, int]] = field(default_factory=list)
    """StepOutcome.objects of each step, and the car's row in it."""
    ticks: list[int] = field(default_factory=list)
    """Numbers of the steps, counted from when all cars began: what cars of one world did at the same time."""

    def finish(self, order: RolloutOrder, final: Observations, truncated: bool, ticked: bool = False) -> Rollout:
        """The whole episode; `final` is what was observed after its last step, {} where nothing is kept."""
        return Rollout(
            episode=self.number,
            iteration=order.iteration,
            observations={
                name: np.stack([one[name] for one in self.observations]) for name in final if self.observations
            },
            final=final,
            actions=np.stack(self.actions),
            steps=np.stack(self.rows),
            truncated=truncated,
            objects=TrackObjects.stacked(self.objects) if self.objects else None,
            ticks=np.array(self.ticks, np.int64) if ticked else None,
        )
