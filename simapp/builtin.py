"""The built-in simulator: N cars on the CPU, one step exactly 1/15 s, the same bits for any N or thread count."""

from collections.abc import Sequence

import numpy as np

from contract.conditions import Conditions
from contract.metadata import ModelMetadata
from contract.state import CarBatch, Controls, IntArray, Observations, Poses, Things
from simapp.camera import Camera
from simapp.tracks import Track
from simapp.vehicle import drive_cars, place_cars


class BuiltinSimulator:
    """`Simulator` of N cars, one a model_metadata.json in `models`, whose sensors and vehicle model they have.

    `worlds` (N,) says which cars share a track, by default each has its own; `colours` (N,) are indices into
    contract.vehicle.CAR_COLORS, for others to see.
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
        self._things = Things.none(int(self._worlds.max()) + 1)
        self._camera = Camera(track)

    @property
    def cars(self) -> CarBatch:
        return self._cars

    @property
    def worlds(self) -> IntArray:
        return self._worlds

    def furnish(self, worlds: IntArray, things: Things) -> None:
        if things.places != self._things.places:
            self._things = Things.none(len(self._things.kind), things.places)
        self._things.put(worlds, things)

    def vary(self, cars: IntArray, conditions: Conditions) -> None:
        self._conditions.put(cars, conditions)

    def place(self, cars: IntArray, poses: Poses) -> None:
        place_cars(self._cars, cars, poses)

    def step(self, cars: IntArray, controls: Controls) -> None:
        drive_cars(self._cars, cars, controls)

    def observe(self, cars: IntArray) -> Observations:
        state = self._cars
        frames = self._camera.render(state.x_m[cars], state.y_m[cars], state.heading_rad[cars])
        return {self._models[int(cars[0])].camera: frames[..., np.newaxis]}

    def close(self) -> None:
        """Nothing to release: everything lives in this process."""
