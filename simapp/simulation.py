"""What every simulator of N cars keeps and does alike; its physics and pictures are its own."""

from abc import ABC, abstractmethod
from collections.abc import Sequence

import numpy as np

from contract.conditions import Conditions
from contract.metadata import ModelMetadata
from contract.protocols import Simulator
from contract.state import CarBatch, IntArray, Observations, TrackObjects, UInt8Array
from contract.vehicle import STEREO_BASE_M
from simapp.lidar import Lidar
from simapp.nearby import around, rivals_of
from simapp.road import Track

STEREO = "STEREO_CAMERAS"


class Simulation(Simulator, ABC):
    """The part of `Simulator` that worlds, objects, conditions and sensors are; place, step and close are to be added.

    One car a model_metadata.json in `models`, whose sensors it has. `worlds` (N,) says which cars share a track, by
    default each has its own; `colours` (N,) are indices into contract.vehicle.CAR_COLORS, for others to see.
    """

    def __init__(
        self,
        track: Track,
        models: Sequence[ModelMetadata],
        worlds: IntArray | None = None,
        colours: IntArray | None = None,
    ) -> None:
        num_cars = len(models)
        self._models = models
        self._worlds = np.arange(num_cars) if worlds is None else worlds
        self._cars = CarBatch.zeros(num_cars)
        self._conditions = Conditions.nominal(num_cars)
        self._objects = TrackObjects.none(int(self._worlds.max()) + 1)
        self._colours = np.zeros(num_cars, np.int64) if colours is None else colours
        self._rivals = rivals_of(self._worlds)
        self._frames = np.zeros(num_cars, np.int64)  # since the car's conditions began
        self._lidars = [Lidar(track, model) for model in models]

    @property
    def cars(self) -> CarBatch:
        return self._cars

    @property
    def worlds(self) -> IntArray:
        return self._worlds

    @property
    def models(self) -> Sequence[ModelMetadata]:
        """(N,) each car's."""
        return self._models

    def furnish(self, worlds: IntArray, objects: TrackObjects) -> None:
        if objects.places != self._objects.places:
            self._objects = TrackObjects.none(len(self._objects.kind), objects.places)
        self._objects.put(worlds, objects)

    def vary(self, cars: IntArray, conditions: Conditions) -> None:
        self._conditions.put(cars, conditions)
        self._frames[cars] = 0

    def observe(self, cars: IntArray) -> Observations:
        first = int(cars[0])
        objects = self.seen_by(cars)
        model = self._models[first]
        eyes = [self._grey(cars, objects, left_m) for left_m in lenses(model)]
        observations: Observations = {model.camera: np.stack(eyes, axis=-1)}
        state = self._cars
        poses = state.x_m[cars], state.y_m[cars], state.heading_rad[cars]
        return observations | self._lidars[first].scan(*poses, objects, self._conditions.seed[cars], self._frames[cars])

    def seen_by(self, cars: IntArray) -> TrackObjects:
        """What may be seen from the cars (indices, (K,)) besides the track: the objects and the other cars, (K, M)."""
        return around(self, self._objects, self._rivals, self._colours, cars)

    @abstractmethod
    def _grey(self, cars: IntArray, objects: TrackObjects, left_m: float) -> UInt8Array:
        """The network's frames (K, 120, 160) of lenses `left_m` left of the middle, among objects (K, M)."""


def lenses(model: ModelMetadata) -> tuple[float, ...]:
    """Metres to the left of the middle of each of the model's cameras, in the order of the frame's channels."""
    return (STEREO_BASE_M / 2, -STEREO_BASE_M / 2) if model.camera == STEREO else (0.0,)
