"""Domain randomisation: named ranges in the config, and what was drawn from them for each car's episode."""

from dataclasses import dataclass, fields
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray
from pydantic import Field, model_validator

from contract.fields import Strict
from contract.state import BoolArray, FloatArray, IntArray

Range = tuple[float, float]


@dataclass(frozen=True, slots=True)
class Within:
    """Metadata of a Range: the least and the most that it may reach to."""

    least: float
    most: float


def ranged(default: Range, least: float, most: float, description: str) -> Any:
    """A field that is a Range between `least` and `most`."""
    field: Any = Field(default=default, description=description)
    field.metadata.append(Within(least, most))
    return field


class RandomizationConfig(Strict):
    """Ranges (low, high) that ENABLE_DOMAIN_RANDOMIZATION draws from, uniformly, once an episode and car."""

    light: Range = ranged((0.6, 1.4), 0.05, 5.0, "brightness factor of the whole picture")
    asphalt: Range = ranged((0.7, 1.4), 0.05, 5.0, "tone factor of the asphalt")
    field: Range = ranged((0.6, 1.3), 0.05, 5.0, "tone factor of the field")
    lines: Range = ranged((0.8, 1.15), 0.05, 5.0, "tone factor of the edge lines")
    walls: Range = ranged((0.5, 4.0), 0.0, 20.0, "tone factor of the walls, which are nearly black")
    texture: Range = ranged((0.0, 1.0), 0.0, 1.0, "share of coarse stains on the ground, 0 is the plain one")
    camera_pitch_deg: Range = ranged((-1.5, 1.5), -10.0, 15.0, "added to the camera's pitch, down positive")
    camera_yaw_deg: Range = ranged((-1.5, 1.5), -20.0, 20.0, "added to the camera's heading, left positive")
    camera_height_m: Range = ranged((-0.005, 0.005), -0.05, 0.2, "added to the lens's height")
    camera_fov: Range = ranged((0.97, 1.03), 0.5, 1.5, "factor of the horizontal field of view")
    blur_px: Range = ranged((0.0, 0.8), 0.0, 5.0, "standard deviation of a Gaussian blur")
    noise: Range = ranged((0.0, 6.0), 0.0, 60.0, "standard deviation of each pixel's noise, in grey levels")
    latency_steps: Range = ranged((0.0, 0.4), 0.0, 2.0, "added to how late commands take hold, in steps of 1/15 s")
    speed_gain: Range = ranged((0.9, 1.1), 0.2, 2.0, "factor of the commanded speed")
    steering_gain: Range = ranged((0.9, 1.1), 0.2, 2.0, "factor of the commanded steering angle")
    steering_offset_deg: Range = ranged((-2.0, 2.0), -10.0, 10.0, "added to the steering angle")
    friction: Range = ranged((0.8, 1.25), 0.1, 3.0, "factor of the tyres' grip")
    other_car: Range = ranged(
        (0.0, 1.0),
        0.0,
        1.0,
        "0: the car of the model's version, 1: that of the other generation; all constants between",
    )
    sky: Range = ranged((0.7, 1.25), 0.0, 5.0, "tone factor of the sky")

    @model_validator(mode="after")
    def _in_order(self) -> Self:
        for name in type(self).model_fields:
            low, high = getattr(self, name)
            least, most = next((it.least, it.most) for it in type(self).model_fields[name].metadata)
            if not least <= low <= high <= most:
                rule = f"{name} is a range (low, high) with {least} <= low <= high <= {most}"
                raise ValueError(f"{rule}; change {low, high}")
        return self


@dataclass(slots=True)
class Conditions:
    """Conditions of K cars, each field (K,) float64 with the meaning and unit of RandomizationConfig's field."""

    light: FloatArray
    asphalt: FloatArray
    field: FloatArray
    lines: FloatArray
    walls: FloatArray
    texture: FloatArray
    camera_pitch_deg: FloatArray
    camera_yaw_deg: FloatArray
    camera_height_m: FloatArray
    camera_fov: FloatArray
    blur_px: FloatArray
    noise: FloatArray
    latency_steps: FloatArray
    speed_gain: FloatArray
    steering_gain: FloatArray
    steering_offset_deg: FloatArray
    friction: FloatArray
    other_car: FloatArray
    sky: FloatArray
    seed: NDArray[np.uint64]
    """(K,) of the pixel noise and the stains; sensors count their frames from `vary` on, so that an episode repeats."""

    @classmethod
    def nominal(cls, count: int, random: np.random.Generator | None = None) -> Self:
        """No randomisation: factors 1, everything else 0. `random` gives the sensors' own noise its seeds."""
        values = {f.name: np.full(count, 1.0 if f.name in _FACTORS else 0.0) for f in fields(cls) if f.name != "seed"}
        zeros = np.zeros(count, np.uint64)
        return cls(**values, seed=zeros if random is None else random.integers(0, 2**64, count, np.uint64))

    @property
    def is_nominal(self) -> BoolArray:
        """(K,) whether everything but the seed is."""
        nominal = np.ones(len(self.seed), np.bool_)
        for item in fields(self):
            if item.name != "seed":
                nominal &= getattr(self, item.name) == (1.0 if item.name in _FACTORS else 0.0)
        return nominal

    @classmethod
    def drawn(cls, config: RandomizationConfig, random: np.random.Generator) -> Self:
        """One car's conditions (1,), drawn from its episode's own random numbers."""
        values = {name: np.array([random.uniform(*getattr(config, name))]) for name in type(config).model_fields}
        return cls(**values, seed=random.integers(0, 2**64, 1, np.uint64))

    def put(self, cars: IntArray, conditions: "Conditions") -> None:
        """Overwrite those of some cars (indices, (K,))."""
        for item in fields(self):
            getattr(self, item.name)[cars] = getattr(conditions, item.name)

    def of(self, cars: IntArray) -> "Conditions":
        """A copy of those of some cars (indices, (K,))."""
        return Conditions(*[getattr(self, name)[cars] for name in self.__slots__])


_FACTORS = {
    *("light", "asphalt", "field", "lines", "walls", "camera_fov", "speed_gain", "steering_gain", "friction", "sky"),
}
