"""Requests to the lock-step plugin and its replies; plugin/wire.hh is the other side."""

import contextlib
import socket
import struct
import time
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from contract.errors import SimulatorError
from contract.state import FloatArray, UInt8Array

MAGIC = 0x32435555
"""Raised with every change of plugin/wire.hh."""

PLACE, STEP, LOOK, VARY, QUIT = 1, 2, 3, 4, 5

PLACE_ITEM = np.dtype([("car", "<u4"), ("x", "<f8"), ("y", "<f8"), ("heading", "<f8")])
DRIVE_ITEM = np.dtype([("car", "<u4"), ("change_s", "<f8"), ("speed", "<f8", 2), ("steering", "<f8", 2)])
GRIP_ITEM = np.dtype([("car", "<u4"), ("friction", "<f8")])
LOOK_ITEM = np.dtype(
    [
        ("car", "<u4"),
        *((name, "<f8") for name in ("ahead", "left", "up", "pitch", "yaw", "hfov", "light")),
        ("reduce", "<u4"),
        ("objects", "<u4"),
    ]
)
OBJECT_ITEM = np.dtype([("look", "<u4"), ("x", "<f8"), ("y", "<f8"), ("heading", "<f8")])
STATE = np.dtype(
    [
        *((name, "<f8") for name in ("x", "y", "z", "roll", "pitch", "heading")),
        *((name, "<f8") for name in ("ahead_mps", "left_mps", "yaw_rate", "steering")),
    ]
)
_HEADER, _REPLY = struct.Struct("<III"), struct.Struct("<IIQ")


@dataclass(slots=True)
class Connection:
    """The plugin's socket. Every request has `deadline_s` to be answered; SimulatorError says what was asked."""

    socket: socket.socket
    deadline_s: float
    substeps: int = 0
    """Physics steps since the start, as of the last reply."""

    def states(self, op: int, items: NDArray[np.void]) -> NDArray[np.void]:
        """Send place, step or vary items (K,); the states (N,) of all cars."""
        count = self._ask(op, len(items), items.tobytes())
        return np.frombuffer(self._read(count * STATE.itemsize), STATE)

    def frames(self, looks: list[tuple[NDArray[np.void], NDArray[np.void]]], shape: tuple[int, ...]) -> UInt8Array:
        """Frames (K, *shape) of K looks, each an item (1,) of LOOK_ITEM with its objects (M,).

        The shape is (height, width, 3) of frames as they are drawn, or (height / n, width / n) of looks that reduce
        them to grey ones.
        """
        count = self._ask(LOOK, len(looks), b"".join(look.tobytes() + objects.tobytes() for look, objects in looks))
        size = (count, *shape)
        return np.frombuffer(self._read(int(np.prod(size))), np.uint8).reshape(size)

    def quit(self) -> None:
        """Ask gzserver to end; it may be gone already."""
        with contextlib.suppress(OSError):
            self.socket.sendall(_HEADER.pack(MAGIC, QUIT, 0))
        self.socket.close()

    def _ask(self, op: int, count: int, body: bytes) -> int:
        try:
            self.socket.settimeout(self.deadline_s)
            self.socket.sendall(_HEADER.pack(MAGIC, op, count) + body)
        except OSError as error:
            raise SimulatorError(f"Gazebo has gone: {error}") from error
        magic, replied, self.substeps = _REPLY.unpack(self._read(_REPLY.size))
        if magic != MAGIC:
            raise SimulatorError("Gazebo's plugin is of another version", fix="make gazebo")
        return int(replied)

    def _read(self, size: int) -> bytearray:
        data, at = bytearray(size), 0
        view = memoryview(data)
        until = time.monotonic() + self.deadline_s
        while at < size:
            self.socket.settimeout(max(until - time.monotonic(), 0.001))
            try:
                got = self.socket.recv_into(view[at:])
            except TimeoutError as error:
                raise SimulatorError(f"Gazebo has not answered for {self.deadline_s:.0f} s") from error
            except OSError as error:
                raise SimulatorError(f"Gazebo has gone: {error}") from error
            if not got:
                raise SimulatorError("Gazebo has gone: it closed its connection")
            at += got
        return data


def field_rows(dtype: np.dtype, **columns: FloatArray | NDArray[np.int64] | float) -> NDArray[np.void]:
    """A structured array (K,) from columns (K, ...)."""
    count = max(np.shape(values)[0] for values in columns.values() if np.shape(values))
    rows = np.zeros(count, dtype)
    for name, values in columns.items():
        rows[name] = values
    return rows
