"""A channel over a Unix socket: what `undercut train --workers N` uses where no Redis is named.

The trainer's process is the server, so nothing has to be installed, no port is open, and whoever may not read the
socket's folder cannot join. Frames on the socket: kind (1 byte), length (u64), content.
"""

import contextlib
import hashlib
import os
import queue
import socket
import struct
import tempfile
import threading
from pathlib import Path

from contract.channels.memory import MAX_BYTES, MemoryChannel, MemoryWorkerEnd
from contract.errors import ChannelError

_HEAD = struct.Struct("<cQ")
_WORKER, _MESSAGE, _FETCH, _BLOB, _NO_BLOB = b"W", b"M", b"F", b"B", b"N"
_MAX_FRAME_BYTES = 1 << 30
FETCH_PATIENCE_S = 120.0
_MAX_PATH_BYTES = 103
"""Of a socket: macOS's limit, Linux's is 107."""
_OWN_PATH_BYTES = len("/undercut-12345678/channel")


class UnixChannel(MemoryChannel):
    """`TrainerEnd` that serves `path`, in a folder of its own that only this user may enter."""

    def __init__(self, most_bytes: int = MAX_BYTES) -> None:
        super().__init__(most_bytes)
        self._folder = tempfile.TemporaryDirectory(prefix="undercut-", dir=_short_folder())
        self.path = Path(self._folder.name) / "channel"
        self._listener = socket.socket(socket.AF_UNIX)
        self._listener.bind(str(self.path))
        self._listener.listen(64)
        self._connections: set[socket.socket] = set()
        threading.Thread(target=self._accept, name="channel", daemon=True).start()

    def close(self) -> None:
        super().close()
        with self._changed:
            sockets = [self._listener, *self._connections]
        for one in sockets:
            with contextlib.suppress(OSError):
                one.shutdown(socket.SHUT_RDWR)
            one.close()
        self._folder.cleanup()

    def _accept(self) -> None:
        while True:
            try:
                connection, _ = self._listener.accept()
            except OSError:  # closed
                return
            with self._changed:
                if self._closed:  # while it was accepted
                    connection.close()
                    return
                self._connections.add(connection)
            threading.Thread(target=self._serve, args=(connection,), name="channel-worker", daemon=True).start()

    def _serve(self, connection: socket.socket) -> None:
        end: MemoryWorkerEnd | None = None
        sending = threading.Lock()
        try:
            kind, content = _read(connection)
            if kind != _WORKER:
                return
            end = self.worker_end(content.decode("ascii"))
            threading.Thread(
                target=self._relay, args=(connection, end, sending), name="channel-relay", daemon=True
            ).start()
            while True:
                kind, content = _read(connection)
                if kind == _MESSAGE:
                    end.send(content)
                elif kind == _FETCH:
                    blob = end.fetch(content.decode("ascii"))
                    with sending:
                        _write(connection, _NO_BLOB if blob is None else _BLOB, blob or b"")
        except (OSError, ChannelError, UnicodeDecodeError):
            return  # the worker is gone, or talks nonsense: its lease runs out
        finally:
            if end is not None:
                end.close()
            with self._changed:
                self._connections.discard(connection)
            with contextlib.suppress(OSError):  # wakes the relay
                connection.shutdown(socket.SHUT_RDWR)
            connection.close()

    def _relay(self, connection: socket.socket, end: MemoryWorkerEnd, sending: threading.Lock) -> None:
        while connection.fileno() >= 0:
            try:
                message = end.receive(1.0)
                if message is not None:
                    with sending:
                        _write(connection, _MESSAGE, message)
            except (OSError, ChannelError):
                return


def _short_folder() -> str | None:
    """Where sockets go: the temporary folder, unless that is too deep for a socket's path."""
    return "/tmp" if len(os.fsencode(tempfile.gettempdir())) > _MAX_PATH_BYTES - _OWN_PATH_BYTES else None


class UnixWorkerEnd:
    """`WorkerEnd` that connects to a UnixChannel's path. When the trainer's process dies, every call says so."""

    def __init__(self, path: Path, worker: str) -> None:
        self._socket = socket.socket(socket.AF_UNIX)
        try:
            self._socket.connect(str(path))
            _write(self._socket, _WORKER, worker.encode("ascii"))
        except OSError as error:
            self._socket.close()
            raise ChannelError(f"no trainer listens at {path}: {error.strerror}") from error
        self._messages: queue.SimpleQueue[bytes | None] = queue.SimpleQueue()
        self._blobs: queue.SimpleQueue[bytes | None] = queue.SimpleQueue()
        self._sending, self._fetching = threading.Lock(), threading.Lock()
        self._gone = threading.Event()
        threading.Thread(target=self._listen, name="channel", daemon=True).start()

    def attended(self) -> bool:
        if self._gone.is_set():
            raise ChannelError("the trainer is gone")
        return True

    def others(self) -> bool:
        return False

    def turn(self) -> None:
        pass

    def send(self, message: bytes) -> None:
        """Waits in the socket while the trainer takes nothing."""
        try:
            with self._sending:
                _write(self._socket, _MESSAGE, message)
        except OSError as error:
            raise ChannelError(f"the trainer is gone: {error.strerror}") from error

    def receive(self, timeout_s: float) -> bytes | None:
        try:
            message = self._messages.get(timeout=timeout_s)
        except queue.Empty:
            return None
        if message is None:
            self._messages.put(None)  # for the next call
            raise ChannelError("the trainer is gone")
        return message

    def fetch(self, digest: str) -> bytes | None:
        with self._fetching:
            self.attended()
            try:
                with self._sending:
                    _write(self._socket, _FETCH, digest.encode("ascii"))
                blob = self._blobs.get(timeout=FETCH_PATIENCE_S)
            except OSError as error:
                raise ChannelError(f"the trainer is gone: {error.strerror}") from error
            except queue.Empty:
                raise ChannelError(f"the trainer has not sent {digest} in {FETCH_PATIENCE_S:g} s") from None
            self.attended()
        return blob if blob is not None and hashlib.sha256(blob).hexdigest() == digest else None

    def close(self) -> None:
        with contextlib.suppress(OSError):
            self._socket.shutdown(socket.SHUT_RDWR)
        self._socket.close()

    def _listen(self) -> None:
        try:
            while True:
                kind, content = _read(self._socket)
                if kind == _MESSAGE:
                    self._messages.put(content)
                else:
                    self._blobs.put(content if kind == _BLOB else None)
        except OSError:
            self._gone.set()
            self._messages.put(None)
            self._blobs.put(None)


def _write(connection: socket.socket, kind: bytes, content: bytes) -> None:
    connection.sendall(_HEAD.pack(kind, len(content)))
    connection.sendall(content)


def _read(connection: socket.socket) -> tuple[bytes, bytes]:
    """(kind, content) of the next frame; OSError at the end of the connection."""
    kind, length = _HEAD.unpack(_exactly(connection, _HEAD.size))
    if length > _MAX_FRAME_BYTES:
        raise ConnectionError(f"a frame of {length:,} bytes")
    return kind, bytes(_exactly(connection, length))


def _exactly(connection: socket.socket, length: int) -> bytearray:
    content = bytearray(length)
    view = memoryview(content)
    while view:
        count = connection.recv_into(view)
        if count == 0:
            raise ConnectionError("closed")
        view = view[count:]
    return content
