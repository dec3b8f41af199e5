"""A racing line: the time-optimal lap as numbers, and the bytes that it is kept as."""

import io
import json
from dataclasses import asdict, dataclass, fields
from typing import Any

import numpy as np

from contract.car import Car
from contract.state import FloatArray


@dataclass(frozen=True, slots=True)
class RacingLine:
    """N points of a lap, in driving order from the start line on; each array (N,) unless it says otherwise.

    limit_s        the lap's time: the least that the car needs, in a flying lap
    start_s        of the line that the search began with, at half of the grip
    replay_s       a lap that followed it in the simulator, under the rules of a race; None: none was clean
    replay_margin_m  by which the followed line lies further inside
    standing_s     a lap that followed it from a standstill on the start line, as evaluations and races time it; None:
                   none was clean
    x_m, y_m       of the point that reward functions see, 0.14 m ahead of base_link
    heading_rad    of the car, not wrapped
    distance_m     of that point along the centre line, from 0 to the lap's length, rising
    offset_m       of that point to the left of the centre line
    speed_mps      of the car
    command_mps    commanded speed, for a car of 0.1 to 4 m/s
    command_rad    commanded steering, left positive
    steering_rad   angle of the wheels
    time_s         (N + 1,) since the first point; the last is limit_s
    """

    track: str
    length_m: float
    car: Car
    margin_m: float
    wheels: str
    limit_s: float
    start_s: float
    replay_s: float | None
    replay_margin_m: float
    standing_s: float | None
    x_m: FloatArray
    y_m: FloatArray
    heading_rad: FloatArray
    distance_m: FloatArray
    offset_m: FloatArray
    speed_mps: FloatArray
    command_mps: FloatArray
    command_rad: FloatArray
    steering_rad: FloatArray
    time_s: FloatArray

    def to_bytes(self) -> bytes:
        """An .npz file of everything."""
        plain = {name: getattr(self, name) for name in _PLAIN} | {"car": asdict(self.car)}
        arrays = {name: getattr(self, name) for name in _ARRAYS}
        content = io.BytesIO()
        np.savez_compressed(content, told=np.frombuffer(json.dumps(plain).encode(), np.uint8), **arrays)
        return content.getvalue()

    @classmethod
    def from_bytes(cls, content: bytes) -> "RacingLine":
        """Of `to_bytes`; ValueError for anything else."""
        try:
            with np.load(io.BytesIO(content), allow_pickle=False) as kept:
                plain = json.loads(kept["told"].tobytes())
                values: dict[str, Any] = {name: np.asarray(kept[name], np.float64) for name in _ARRAYS}
                return cls(**plain | values | {"car": Car(**plain["car"])})
        except Exception as problem:  # numpy's and zlib's readers raise what they like
            raise ValueError(f"no racing line: {problem}") from problem


_ARRAYS = (
    *("x_m", "y_m", "heading_rad", "distance_m", "offset_m", "speed_mps", "command_mps", "command_rad"),
    *("steering_rad", "time_s"),
)
_PLAIN = tuple(item.name for item in fields(RacingLine) if item.name not in (*_ARRAYS, "car"))
