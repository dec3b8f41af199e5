"""A channel inside one process: the reference of what every channel does, and the post room of the Unix socket's."""

import hashlib
import threading
import time
from collections import deque

from contract.errors import ChannelError

MAX_BYTES = 256 << 20
"""Of messages that the trainer has not taken yet; one more is let in below it, whatever its size."""
ROOM_PATIENCE_S = 600.0


class MemoryChannel:
    """`TrainerEnd`; `worker_end` makes the workers' ends. `most_bytes` bounds what waits for the trainer."""

    def __init__(self, most_bytes: int = MAX_BYTES, room_patience_s: float = ROOM_PATIENCE_S) -> None:
        self._most_bytes, self._room_patience_s = most_bytes, room_patience_s
        self._changed = threading.Condition()
        self._inbox: deque[bytes] = deque()
        self._inbox_bytes = 0
        self._to: dict[str, deque[bytes]] = {}
        self._blobs: dict[str, bytes] = {}
        self._closed = False

    def publish(self, blob: bytes) -> str:
        digest = hashlib.sha256(blob).hexdigest()
        with self._changed:
            self._blobs[digest] = blob
        return digest

    def withdraw(self, digest: str) -> None:
        with self._changed:
            self._blobs.pop(digest, None)

    def receive(self, timeout_s: float) -> bytes | None:
        with self._changed:
            self._changed.wait_for(lambda: self._inbox or self._closed, timeout_s)
            if not self._inbox:
                return None
            message = self._inbox.popleft()
            self._inbox_bytes -= len(message)
            self._changed.notify_all()
            return message

    def send(self, worker: str, message: bytes) -> None:
        with self._changed:
            if worker in self._to:
                self._to[worker].append(message)
                self._changed.notify_all()

    def close(self) -> None:
        with self._changed:
            self._closed = True
            self._changed.notify_all()

    def worker_end(self, worker: str) -> "MemoryWorkerEnd":
        with self._changed:
            self._to[worker] = deque()
        return MemoryWorkerEnd(self, worker)


class MemoryWorkerEnd:
    """`WorkerEnd` of a MemoryChannel."""

    def __init__(self, channel: MemoryChannel, worker: str) -> None:
        self._channel, self._worker = channel, worker

    def attended(self) -> bool:
        if self._channel._closed:
            raise ChannelError("the trainer is gone")
        return True

    def others(self) -> bool:
        return False

    def turn(self) -> None:
        pass

    def send(self, message: bytes) -> None:
        channel = self._channel
        deadline_s = time.monotonic() + channel._room_patience_s
        with channel._changed:
            while channel._inbox_bytes >= channel._most_bytes and not channel._closed:
                if not channel._changed.wait(deadline_s - time.monotonic()) and time.monotonic() >= deadline_s:
                    raise ChannelError(
                        f"waited {channel._room_patience_s:g} s for the trainer to take messages: "
                        f"{channel._inbox_bytes:,} bytes wait for it, and {channel._most_bytes:,} are allowed"
                    )
            self.attended()
            channel._inbox.append(message)
            channel._inbox_bytes += len(message)
            channel._changed.notify_all()

    def receive(self, timeout_s: float) -> bytes | None:
        channel = self._channel
        with channel._changed:
            channel._changed.wait_for(lambda: channel._to.get(self._worker) or channel._closed, timeout_s)
            self.attended()
            waiting = channel._to.get(self._worker)
            return waiting.popleft() if waiting else None

    def fetch(self, digest: str) -> bytes | None:
        with self._channel._changed:
            return self._channel._blobs.get(digest)

    def close(self) -> None:
        with self._channel._changed:
            self._channel._to.pop(self._worker, None)
