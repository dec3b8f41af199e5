"""The Protocols between the parts. Each has one conformance suite in tests/contract that runs every implementation."""

from collections.abc import Callable, Iterable, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field, replace
from enum import StrEnum
from typing import Protocol, Self

import numpy as np

from contract.conditions import Conditions
from contract.rollout import Rollout
from contract.state import CarBatch, Controls, FloatArray, IntArray, Observations, Poses, TrackObjects


class Simulator(Protocol):
    """Physics and sensors of N cars on one track, in W worlds; no rules, no rewards. One step is exactly STEP_S.

    Cars of one world see each other and its objects; nothing is solid, collisions are the race rules' matter.
    """

    @property
    def cars(self) -> CarBatch:
        """The live state, (N,) each; read it, never write to it."""

    @property
    def worlds(self) -> IntArray:
        """(N,) the world that each car drives in, 0..W-1; never changes."""

    def furnish(self, worlds: IntArray, objects: TrackObjects) -> None:
        """Put the objects (K, M) into the worlds (indices, (K,)) in place of those that were there."""

    def vary(self, cars: IntArray, conditions: Conditions) -> None:
        """Let the cars (indices, (K,)) drive and see under these conditions from now on."""

    def place(self, cars: IntArray, poses: Poses) -> None:
        """Put the cars (indices, (K,)) at rest at the poses (K,)."""

    def step(self, cars: IntArray, controls: Controls) -> None:
        """Advance the cars (indices, (K,)) by STEP_S under the controls (K,); the other cars stand still."""

    def observe(self, cars: IntArray) -> Observations:
        """What the cars (indices, (K,)), all with the same sensors, see: sensor name -> (K, ...), the caller's own."""

    def close(self) -> None: ...


@dataclass(slots=True)
class ActionDistribution:
    """What a policy says for K observations: probabilities (K, A), or mean and deviation (K, 2) in [-1, 1] units.

    With `squash` the action is tanh of what is drawn, as SAC's policies are. Without a deviation the mean can be
    driven, and nothing sampled.
    """

    probabilities: FloatArray | None = None
    mean: FloatArray | None = None
    deviation: FloatArray | None = None
    squash: bool = False

    @property
    def outputs(self) -> FloatArray:
        """(K, outputs) as a car's inference says them: probabilities, or the likeliest [steering, speed]."""
        values = self.mean if self.probabilities is None else self.probabilities
        assert values is not None
        return np.tanh(values) if self.squash else values


class Policy(Protocol):
    """A frozen policy for rollouts."""

    def distribution(self, observations: Observations) -> ActionDistribution:
        """sensor name -> (K, ...) in, K distributions out."""


class Phase(StrEnum):
    """What episodes are for; the words of the metrics files."""

    training = "training"
    evaluation = "evaluation"


@dataclass(frozen=True, slots=True)
class RolloutOrder:
    """A request for `count` episodes of a phase from `first` on, or for the `chosen` ones of them, by an iteration's
    policy.

    With `epsilon`, training takes a random action that often and the likeliest one otherwise (e-greedy). `trained` is
    how many training episodes came before an evaluation: it starts where the next one would.
    """

    phase: Phase
    iteration: int
    first: int
    count: int
    epsilon: float | None = None
    chosen: tuple[int, ...] | None = None
    trained: int = 0

    @property
    def episodes(self) -> Sequence[int]:
        """Ascending."""
        return range(self.first, self.first + self.count) if self.chosen is None else self.chosen

    def of(self, episodes: Iterable[int]) -> "RolloutOrder":
        """The part of the order that asks for these episodes of it."""
        return replace(self, chosen=tuple(sorted(episodes)))

    def by(self, group: Callable[[int], int]) -> "dict[int, RolloutOrder]":
        """Parts of the order by the group of each episode, in the order of groups."""
        groups: dict[int, list[int]] = {}
        for episode in self.episodes:
            groups.setdefault(group(episode), []).append(episode)
        return {key: self.of(groups[key]) for key in sorted(groups)}


class RolloutSource(Protocol):
    """Where the trainer gets rollouts from: this process, or workers at the other end of a channel."""

    def announce(self, policy: bytes, *orders: RolloutOrder) -> None:
        """Say what will be collected next with this policy, the most urgent first, so that whoever can begins early.

        An order that is never collected leaves no trace.
        """

    def collect(self, policy: bytes, order: RolloutOrder) -> list[Rollout]:
        """Have every ordered episode driven by the frozen graph; whole episodes, in episode order."""


class TrainerEnd(Protocol):
    """The trainer's end of a channel: messages from and to workers, and blobs (job, policies) that any worker may read.

    It may lose messages when the server between both ends dies, and deliver one twice; it never delivers half a
    message. `receive` is for one thread; the others may be called from any.
    """

    def publish(self, blob: bytes) -> str:
        """Keep the blob for workers until it is withdrawn; returns its SHA-256 in hex, the name to fetch it by."""

    def withdraw(self, digest: str) -> None:
        """Drop a published blob; an unknown one is fine."""

    def receive(self, timeout_s: float) -> bytes | None:
        """The next message of any worker, None after so long. The one before is acknowledged by this call."""

    def send(self, worker: str, message: bytes) -> None:
        """A worker that is gone is fine."""

    def close(self) -> None: ...


class WorkerEnd(Protocol):
    """A worker's end of a channel; everything may be called from any thread but `receive`."""

    def attended(self) -> bool:
        """Whether the trainer that is served is at the other end; ChannelError where none can come any more."""

    def others(self) -> bool:
        """Whether other trainers are there, or may be, whose workers this one may join."""

    def turn(self) -> None:
        """Serve the next of the trainers that are there from now on; not while a task is in hand."""

    def send(self, message: bytes) -> None:
        """Waits while the channel is full of what the trainer has not taken yet; ChannelError after a deadline."""

    def receive(self, timeout_s: float) -> bytes | None:
        """The trainer's next message for this worker, None after so long."""

    def fetch(self, digest: str) -> bytes | None:
        """A published blob whose checksum is right, None when it is not there (any more)."""

    def close(self) -> None: ...


@dataclass(slots=True)
class UpdateReport:
    """What one training update did; losses are means over the last epoch's minibatches.

    `diagnostics` are further numbers by name, those that the algorithm has: see docs/debugging.md.
    """

    policy_loss: float
    value_loss: float
    entropy: float
    kl_divergence: float
    minibatches: int
    epochs: list[dict[str, float]]
    diagnostics: dict[str, float] = field(default_factory=dict)


class Agent(Protocol):
    """The learner behind trainer.learn."""

    def train(self, rollouts: Sequence[Rollout], iteration: int, steps: int = 0) -> UpdateReport:
        """One update on whole episodes, after `steps` of training before them. Randomness depends on (seed, iteration)
        only."""

    def export(self) -> bytes:
        """The policy as a frozen TensorFlow graph with the contract's node names."""

    def save(self) -> dict[str, bytes]:
        """Everything needed to go on as if never stopped: checkpoint file suffix -> content."""

    def restore(self, files: dict[str, bytes]) -> None:
        """The reverse of save; CheckpointError when the files are corrupt or of another network."""


class ObjectStore(Protocol):
    """Keys to bytes. A put is atomic: a reader sees the old content or the new one, whole."""

    def put(self, key: str, data: bytes) -> None: ...

    def get(self, key: str) -> bytes:
        """KeyError when absent."""

    def exists(self, key: str) -> bool: ...

    def list(self, prefix: str) -> Sequence[str]:
        """Keys that begin with prefix, sorted."""

    def delete(self, key: str) -> None:
        """Absent keys are fine."""


class Place(ObjectStore, Protocol):
    """An object store that runs and races live in: a folder, or a prefix of a bucket."""

    def where(self, key: str = "") -> str:
        """Where a key, or the whole place, is: a path or an s3:// address, for a person."""

    def below(self, path: str) -> Self:
        """The place further down, for example of one run."""

    def folders(self, prefix: str) -> Sequence[str]:
        """Names of what has keys directly below prefix ("" or ending in a slash), sorted."""

    def size(self, key: str) -> int:
        """Bytes of the key's content, without reading it; KeyError when absent."""

    def modified_s(self, key: str) -> float:
        """Seconds since the epoch, by the store's clock, when the key was put; KeyError when absent."""

    def locked(self, path: str, takeover: bool = False) -> AbstractContextManager[Self]:
        """The place further down, for this process alone until the block ends. Its puts and deletes raise StoreError,
        and do nothing, once another process has taken it.

        StoreError names the process that holds it. In a bucket, one that gives no sign of life loses it after a minute,
        and with `takeover` also one that lives; on a disk only the end of the process frees it.
        """
