"""The built-in simulator: N cars on the CPU, one step exactly 1/15 s, the same bits for any N or thread count."""

from collections.abc import Sequence

import numpy as np

from contract.conditions import Conditions
from contract.metadata import ModelMetadata
from contract.state import CarBatch, Controls, IntArray, Observations, Poses, Things, UInt8Array
from contract.vehicle import STEREO_BASE_M
from simapp.camera import Camera
from simapp.lidar import Lidar
from simapp.surroundings import around, rivals_of
from simapp.tracks import Track
from simapp.vehicle import drive_cars, place_cars

STEREO = "STEREO_CAMERAS"
LAST_VERSION_WITH_SLIP = 4
"""Cars of model_metadata.json up to this version have tyre slip, later ones are kinematic, as in AWS's simulator."""


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
        self._slips = np.array([model.version <= LAST_VERSION_WITH_SLIP for model in models])
        self._colours = np.zeros(num_cars, np.int64) if colours is None else colours
        self._rivals = rivals_of(self._worlds)
        self._varied = np.zeros(num_cars, np.bool_)
        self._frames = np.zeros(num_cars, np.int64)  # since the car's conditions began
        self._camera = Camera(track)
        self._lidars = [Lidar(track, model) for model in models]

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
        self._varied[cars] = ~conditions.is_nominal
        self._frames[cars] = 0

    def place(self, cars: IntArray, poses: Poses) -> None:
        place_cars(self._cars, cars, poses)

    def step(self, cars: IntArray, controls: Controls) -> None:
        drive_cars(self._cars, cars, controls, self._slips[cars], self._conditions.of(cars))
        self._frames[cars] += 1

    def observe(self, cars: IntArray) -> Observations:
        first = int(cars[0])
        things = around(self, self._things, self._rivals, self._colours, cars)
        model = self._models[first]
        if model.camera == STEREO:
            eyes = [self._frame(cars, things, side * STEREO_BASE_M / 2) for side in (1, -1)]
            seen: Observations = {model.camera: np.stack(eyes, axis=-1)}
        else:
            seen = {model.camera: self._frame(cars, things, 0.0)[..., np.newaxis]}
        state = self._cars
        poses = state.x_m[cars], state.y_m[cars], state.heading_rad[cars]
        return seen | self._lidars[first].scan(*poses, things, self._conditions.seed[cars], self._frames[cars])

    def _frame(self, cars: IntArray, things: Things, left_m: float) -> UInt8Array:
        state = self._cars
        return self._camera.render(
            state.x_m[cars],
            state.y_m[cars],
            state.heading_rad[cars],
            things=things if things.places else None,
            left_m=left_m,
            conditions=self._conditions.of(cars) if self._varied[cars].any() else None,
            frame=self._frames[cars],
        )

    def close(self) -> None:
        """Nothing to release: everything lives in this process."""
