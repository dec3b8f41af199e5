"""What the agents with a replay memory share: the memory's sensors, and checkpoints that hold it."""

import numpy as np

from contract.errors import CheckpointError
from contract.metadata import ModelMetadata
from trainer.coach.checkpoint import Weighted
from trainer.coach.sac_memory import MEMORY_BYTES, ReplayMemory, Sensors

REPLAY = "replay"
"""Suffix of the checkpoint file that holds the replay memory."""


class Replaying(Weighted):
    """Base class of the off-policy agents, whose memory is part of every checkpoint."""

    def __init__(self, metadata: ModelMetadata, memory_bytes: int = MEMORY_BYTES) -> None:
        self._memory_bytes = memory_bytes
        self._sensors: Sensors = {
            name: (shape, np.dtype(np.uint8 if len(shape) == 3 else np.float32))
            for name, shape in metadata.observation_shapes().items()
        }
        self._memory = ReplayMemory(self._sensors, memory_bytes)

    def save(self) -> dict[str, bytes]:
        """A TensorFlow checkpoint, optimisers and target included, and the replay memory: file suffix -> content."""
        return self._checkpoint.save(self._session) | {REPLAY: self._memory.save()}

    def restore(self, files: dict[str, bytes]) -> None:
        """The reverse of save; CheckpointError when the files are corrupt or of another network."""
        if REPLAY not in files:
            raise CheckpointError(f"the checkpoint lacks .{REPLAY}\n  fix:  use another checkpoint")
        memory = ReplayMemory(self._sensors, self._memory_bytes)
        memory.restore(files[REPLAY])
        self._checkpoint.restore(self._session, files)
        self._memory = memory
