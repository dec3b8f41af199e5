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

    # what a worker's end does

    def _attended(self) -> bool:
        if self._closed:
            raise ChannelError("the trainer is gone")
        return True

    def _from_worker(self, message: bytes) -> None:
        deadline_s = time.monotonic() + self._room_patience_s
        with self._changed:
            while self._inbox_bytes >= self._most_bytes and not self._closed:
                if not self._changed.wait(deadline_s - time.monotonic()) and time.monotonic() >= deadline_s:
                    raise ChannelError(
                        f"waited {self._room_patience_s:g} s for the trainer to take messages: "
                        f"{self._inbox_bytes:,} bytes wait for it, and {self._most_bytes:,} are allowed"
                    )
            if self._closed:
                raise ChannelError("the trainer is gone")
            self._inbox.append(message)
            self._inbox_bytes += len(message)
            self._changed.notify_all()

    def _for_worker(self, worker: str, timeout_s: float) -> bytes | None:
        with self._changed:
            self._changed.wait_for(lambda: self._to.get(worker) or self._closed, timeout_s)
            if self._closed:
                raise ChannelError("the trainer is gone")
            waiting = self._to.get(worker)
            return waiting.popleft() if waiting else None

    def _blob(self, digest: str) -> bytes | None:
        with self._changed:
            return self._blobs.get(digest)

    def _gone(self, worker: str) -> None:
        with self._changed:
            self._to.pop(worker, None)


class MemoryWorkerEnd:
    """`WorkerEnd` of a MemoryChannel."""

    def __init__(self, channel: MemoryChannel, worker: str) -> None:
        self._channel, self._worker = channel, worker

    def attended(self) -> bool:
        return self._channel._attended()

    def others(self) -> bool:
        return False

    def turn(self) -> None:
        pass

    def send(self, message: bytes) -> None:
        self._channel._from_worker(message)

    def receive(self, timeout_s: float) -> bytes | None:
        return self._channel._for_worker(self._worker, timeout_s)

    def fetch(self, digest: str) -> bytes | None:
        return self._channel._blob(digest)

    def close(self) -> None:
        self._channel._gone(self._worker)
