"""Replay buffer: whole episodes with every observation stored once, compressed, and bounded in bytes."""

import io
import zipfile
import zlib
from collections import deque
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from contract.errors import CheckpointError, TrainingError
from contract.metadata import ModelMetadata
from contract.rollout import Rollout
from contract.state import Observations
from trainer.common.chained_arrays import located
from trainer.common.checkpoint import CheckpointedAgent, unusable

Float32Array = NDArray[np.float32]
Sensors = dict[str, tuple[tuple[int, ...], np.dtype[Any]]]

MEMORY_BYTES = 256 * 2**20
"""About 30,000 frames of one camera. All of it is saved with every checkpoint, so that a resumed training goes on as if
never stopped."""
ZLIB_LEVEL = 1
"""Frames shrink to 45 % at 0.4 ms a frame; level 6 takes twice as long for 2 % less."""


@dataclass(slots=True)
class Batch:
    """B transitions: sensor name -> states and next_states (B, ...), actions (B, 2) float32 or (B,) int64, rewards and
    terminals (B, 1).

    `terminals` is 1 where the race rules ended the episode, so that no value follows, and 0 at a step limit.
    """

    states: Observations
    actions: NDArray[Any]
    rewards: Float32Array
    next_states: Observations
    terminals: Float32Array


@dataclass(slots=True)
class _Episode:
    """T transitions, where step t goes from observation t to t + 1: sensor name -> T + 1 compressed observations."""

    observations: dict[str, list[bytes]]
    actions: NDArray[Any]
    rewards: Float32Array
    truncated: bool

    def __len__(self) -> int:
        return len(self.actions)

    @property
    def num_bytes(self) -> int:
        observed = sum(len(blob) for blobs in self.observations.values() for blob in blobs)
        return observed + self.actions.nbytes + self.rewards.nbytes


class ReplayBuffer:
    """Transitions of the newest episodes; the oldest whole episodes go when `limit_bytes` is exceeded.

    sensors      sensor name -> (shape of one observation, its type)
    """

    def __init__(self, sensors: Sensors, limit_bytes: int = MEMORY_BYTES) -> None:
        self._sensors, self._limit_bytes = sensors, limit_bytes
        self._episodes: deque[_Episode] = deque()
        self._num_bytes = 0

    @property
    def num_bytes(self) -> int:
        return self._num_bytes

    def __len__(self) -> int:
        """Transitions."""
        return sum(map(len, self._episodes))

    def add(self, rollouts: Iterable[Rollout]) -> None:
        """Append episodes, then forget old ones; TrainingError when a single episode exceeds the limit."""
        for rollout in rollouts:
            self._append(
                _Episode(
                    {name: self._compress(name, rollout) for name in self._sensors},
                    rollout.actions.astype(np.float32 if rollout.actions.ndim == 2 else np.int64),
                    rollout.rewards.astype(np.float32),
                    rollout.truncated,
                )
            )

    def _compress(self, name: str, rollout: Rollout) -> list[bytes]:
        dtype = self._sensors[name][1]
        rows = [*rollout.observations[name], rollout.final[name]]
        return [zlib.compress(row.astype(dtype).tobytes(), ZLIB_LEVEL) for row in rows]

    def _append(self, episode: _Episode) -> None:
        if episode.num_bytes > self._limit_bytes:
            raise TrainingError(
                f"an episode of {len(episode)} steps takes {episode.num_bytes} bytes",
                f"the replay memory holds whole episodes in {self._limit_bytes} bytes",
                "lower max_episode_steps",
            )
        self._episodes.append(episode)
        self._num_bytes += episode.num_bytes
        while self._num_bytes > self._limit_bytes:
            self._num_bytes -= self._episodes.popleft().num_bytes

    def sample(self, rng: np.random.Generator, size: int) -> Batch:
        """Uniform over all transitions, with replacement."""
        places = located([len(episode) for episode in self._episodes], rng.integers(len(self), size=size))
        picks = [(self._episodes[k], step) for k, step in places]
        return Batch(
            states=self._observations([(episode, step) for episode, step in picks]),
            actions=np.stack([episode.actions[step] for episode, step in picks]),
            rewards=np.array([[episode.rewards[step]] for episode, step in picks], np.float32),
            next_states=self._observations([(episode, step + 1) for episode, step in picks]),
            terminals=np.array([[step == len(e) - 1 and not e.truncated] for e, step in picks], np.float32),
        )

    def _observations(self, picks: list[tuple[_Episode, int]]) -> Observations:
        result = {}
        for name, (shape, dtype) in self._sensors.items():
            rows = b"".join(zlib.decompress(episode.observations[name][step]) for episode, step in picks)
            result[name] = np.frombuffer(rows, dtype).reshape(len(picks), *shape)
        return result

    def save(self) -> bytes:
        """All episodes as an .npz file of plain arrays."""
        blobs = [blob for episode in self._episodes for name in self._sensors for blob in episode.observations[name]]
        arrays = {
            "steps": np.array([len(episode) for episode in self._episodes], np.int64),
            "truncated": np.array([episode.truncated for episode in self._episodes], np.bool_),
            "actions": np.concatenate([e.actions for e in self._episodes] or [np.zeros(0)]),
            "rewards": np.concatenate([np.zeros(0, np.float32), *(e.rewards for e in self._episodes)]),
            "sizes": np.array([len(blob) for blob in blobs], np.int64),
            "observations": np.frombuffer(b"".join(blobs), np.uint8),
        }
        file = io.BytesIO()
        np.savez(file, allow_pickle=False, **arrays)
        return file.getvalue()

    def restore(self, data: bytes) -> None:
        """The reverse of save; on CheckpointError nothing has changed."""
        try:
            episodes = self._parse(data)
        except (ValueError, KeyError, OSError, EOFError, StopIteration, zipfile.BadZipFile) as error:
            raise CheckpointError(
                f"the checkpoint's replay memory is corrupt ({error})", fix="use another checkpoint"
            ) from error
        self._episodes.clear()
        self._num_bytes = 0
        for episode in episodes:
            self._append(episode)

    def _parse(self, data: bytes) -> list[_Episode]:
        with np.load(io.BytesIO(data), allow_pickle=False) as arrays:
            steps, truncated, actions, rewards, sizes, packed = (
                arrays[name] for name in ("steps", "truncated", "actions", "rewards", "sizes", "observations")
            )
        ends = np.cumsum(sizes).tolist()
        content = packed.tobytes()
        blobs = iter([content[end - size : end] for end, size in zip(ends, sizes.tolist(), strict=True)])
        episodes, first = [], 0
        for count, cut in zip(steps.tolist(), truncated.tolist(), strict=True):
            observations = {name: [next(blobs) for _ in range(count + 1)] for name in self._sensors}
            span = slice(first, first + count)
            episodes.append(_Episode(observations, actions[span], rewards[span], cut))
            first += count
        return episodes


REPLAY = "replay"
"""Suffix of the checkpoint file that holds the replay memory."""


class ReplayAgent(CheckpointedAgent):
    """Base class of the off-policy agents, whose memory is part of every checkpoint."""

    def __init__(self, metadata: ModelMetadata, memory_bytes: int = MEMORY_BYTES, with_state: bool = False) -> None:
        """With `with_state` it remembers the simulator's state for a critic, beside what the sensors saw."""
        self._memory_bytes = memory_bytes
        self._sensors: Sensors = {
            name: (shape, np.dtype(np.uint8 if len(shape) == 3 else np.float32))
            for name, shape in metadata.observation_shapes(with_state).items()
        }
        self._memory = ReplayBuffer(self._sensors, memory_bytes)

    def save(self) -> dict[str, bytes]:
        """A TensorFlow checkpoint, optimisers and target included, and the replay memory: file suffix -> content."""
        return super().save() | {REPLAY: self._memory.save()}

    def restore(self, files: dict[str, bytes]) -> None:
        """The reverse of save; CheckpointError when the files are corrupt or of another network."""
        if REPLAY not in files:
            raise unusable(f"lacks .{REPLAY}")
        memory = ReplayBuffer(self._sensors, self._memory_bytes)
        memory.restore(files[REPLAY])
        super().restore(files)
        self._memory = memory
