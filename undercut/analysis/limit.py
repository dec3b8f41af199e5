"""The time-optimal lap as laps are compared with it."""

from dataclasses import dataclass

from contract.state import FloatArray


@dataclass(frozen=True, slots=True)
class Limit:
    """The time-optimal lap, at K points; each array (K,) but for time_s, which is (K + 1,).

    distance_m  along the centre line, rising from the start line on
    x_m, y_m    of the point that steps hold
    time_s      since the first point; the last is the lap's
    standing_s  the fastest lap from a standstill on the start line; None where it is not known
    """

    lap_s: float
    distance_m: FloatArray
    x_m: FloatArray
    y_m: FloatArray
    speed_mps: FloatArray
    time_s: FloatArray
    standing_s: float | None = None
