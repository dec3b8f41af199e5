"""What goes between a league and the process that runs a submission's policy: a header in JSON, then raw arrays.

length of the header (4 bytes, little-endian) | header | the arrays that it lists, one after the other
"""

import json
import math
from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

MAX_HEADER_BYTES = 1 << 20
MAX_ARRAY_BYTES = 1 << 30
_DTYPES = ("|u1", "<f4", "<f8")


class Message(NamedTuple):
    """Values, and arrays by name."""

    values: dict[str, Any]
    arrays: dict[str, NDArray[Any]]


def packed(values: Mapping[str, Any], arrays: Mapping[str, NDArray[Any]] | None = None) -> bytes:
    """The message as bytes."""
    arrays = arrays or {}
    described = [[name, array.dtype.newbyteorder("<").str, list(array.shape)] for name, array in arrays.items()]
    header = json.dumps({**values, "arrays": described}).encode()
    contents = [np.ascontiguousarray(array).tobytes() for array in arrays.values()]
    return b"".join([len(header).to_bytes(4, "little"), header, *contents])


class Unpacker:
    """Takes bytes as they come. `wanted` is how many more are needed, `message` the message once it is whole.

    ValueError, TypeError or KeyError for bytes that are none, before they are kept.
    """

    def __init__(self) -> None:
        self.wanted, self.message = 4, None  # type: int, Message | None
        self._parts: list[bytes] = []
        self._held = 0
        self._header: dict[str, Any] | None = None
        self._length = 0

    def feed(self, part: bytes) -> None:
        """At most `wanted` bytes."""
        self._parts.append(part)
        self._held += len(part)
        self.wanted -= len(part)
        if self.wanted:
            return
        content = b"".join(self._parts)
        self._parts = []
        if not self._length:
            self._length = self.wanted = int.from_bytes(content, "little")
            if not 0 < self._length <= MAX_HEADER_BYTES:
                raise ValueError(f"a header of {self._length} bytes")
        elif self._header is None:
            self._header = json.loads(content)
            if not isinstance(self._header, dict):
                raise ValueError("a header that is no object")
            self.wanted = sum(self._sizes())
            if self.wanted > MAX_ARRAY_BYTES:
                raise ValueError(f"arrays of {self.wanted} bytes")
            if not self.wanted:
                self._finish(b"")
        else:
            self._finish(content)

    def _sizes(self) -> list[int]:
        assert self._header is not None
        sizes = []
        for name, dtype, shape in self._header["arrays"]:
            whole = isinstance(name, str) and all(isinstance(it, int) and 0 <= it < 2**31 for it in shape)
            if not whole or dtype not in _DTYPES or len(shape) > 8:
                raise ValueError(f"an array {name!r} of {dtype!r}, {shape}")
            sizes.append(math.prod(shape) * np.dtype(dtype).itemsize)
        return sizes

    def _finish(self, content: bytes) -> None:
        assert self._header is not None
        arrays, offset = {}, 0
        for (name, dtype, shape), size in zip(self._header["arrays"], self._sizes(), strict=True):
            arrays[name] = np.frombuffer(content[offset : offset + size], dtype).reshape(shape)
            offset += size
        self.message = Message({key: value for key, value in self._header.items() if key != "arrays"}, arrays)
