"""What stands and drives in a scene: cars, bots and boxes as the renderer takes them."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Self

import numpy as np

from contract.state import CarBatch, FloatArray, IntArray, ObjectKind, TrackObjects


@dataclass(slots=True)
class Bodies:
    """N bodies of one world, each field (N,).

    kind         int64 of ObjectKind; `nothing` is not drawn
    x_m, y_m     middle of the outline (a car's base_link), float64
    heading_rad, steering_rad float64; steering turns the front wheels, left positive
    colour       int64, index into contract.vehicle.CAR_COLORS; boxes have one look
    """

    kind: IntArray
    x_m: FloatArray
    y_m: FloatArray
    heading_rad: FloatArray
    steering_rad: FloatArray
    colour: IntArray

    @classmethod
    def cars(
        cls,
        x_m: Sequence[float] | FloatArray,
        y_m: Sequence[float] | FloatArray,
        heading_rad: Sequence[float] | FloatArray,
        steering_rad: Sequence[float] | FloatArray,
        colour: Sequence[int] | IntArray,
    ) -> Self:
        """Cars at base_link poses."""
        x, y, heading, steering = (np.asarray(v, dtype=np.float64) for v in (x_m, y_m, heading_rad, steering_rad))
        return cls(np.full(x.shape, int(ObjectKind.car)), x, y, heading, steering, np.asarray(colour, dtype=np.int64))

    @classmethod
    def of_batch(cls, cars: CarBatch, which: IntArray, colour: IntArray) -> Self:
        """The cars `which` (N,) of a simulator, in colours (N,)."""
        return cls.cars(
            cars.x_m[which], cars.y_m[which], cars.heading_rad[which], cars.steering_rad[which], np.asarray(colour)
        )

    @classmethod
    def of_objects(cls, objects: TrackObjects, row: int = 0) -> Self:
        """The objects of one world, a row of TrackObjects."""
        return cls(
            objects.kind[row].astype(np.int64),
            objects.x_m[row],
            objects.y_m[row],
            objects.heading_rad[row],
            np.zeros(objects.places),
            objects.colour[row].astype(np.int64),
        )

    def beside(self, others: "Bodies") -> "Bodies":
        """These, then the others."""
        return Bodies(*(np.concatenate([getattr(self, name), getattr(others, name)]) for name in self.__slots__))

    def but(self, index: int) -> "Bodies":
        """All of them without one."""
        return Bodies(*(np.delete(getattr(self, name), index) for name in self.__slots__))

    def __len__(self) -> int:
        return len(self.kind)
