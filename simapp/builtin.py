"""The built-in simulator: N cars on the CPU, one step exactly 1/15 s, the same bits for any N or thread count."""

from collections.abc import Sequence
from functools import cached_property

import numpy as np

from contract.car import Car, car_of_version, other_car
from contract.conditions import Conditions
from contract.metadata import ModelMetadata
from contract.state import Controls, IntArray, Poses, TrackObjects, UInt8Array
from simapp.camera import Camera
from simapp.road import Track
from simapp.simulation import Simulation
from simapp.vehicle import Makes, drive_cars, place_cars


class BuiltinSimulator(Simulation):
    """`Simulator` of N cars, one a model_metadata.json in `models`, whose sensors and vehicle model they have."""

    def __init__(
        self,
        track: Track,
        models: Sequence[ModelMetadata],
        worlds: IntArray | None = None,
        colours: IntArray | None = None,
        car: Car | None = None,
    ) -> None:
        """See Simulation; `car` is driven instead of those of the models' versions."""
        super().__init__(track, models, worlds, colours)
        self._track = track
        self._made = Makes.of_cars([car or car_of_version(model.version) for model in models])
        self._others = Makes.of_cars([other_car(model.version, car) for model in models])
        self._makes = self._made.of(np.arange(len(models)))  # as the conditions have them
        self._varied = np.zeros(len(models), np.bool_)

    @cached_property
    def _camera(self) -> Camera:
        """Made when somebody looks: the ground takes half a second, and a check of a reward function is blind."""
        return Camera(self._track)

    def vary(self, cars: IntArray, conditions: Conditions) -> None:
        super().vary(cars, conditions)
        self._varied[cars] = ~conditions.is_nominal
        self._makes.put(cars, self._made.of(cars).towards(self._others.of(cars), conditions.other_car))

    def place(self, cars: IntArray, poses: Poses) -> None:
        place_cars(self._cars, cars, poses)

    def step(self, cars: IntArray, controls: Controls) -> None:
        drive_cars(self._cars, cars, controls, self._makes.of(cars), self._conditions.of(cars))
        self._frames[cars] += 1

    def _grey(self, cars: IntArray, objects: TrackObjects, left_m: float) -> UInt8Array:
        state = self._cars
        return self._camera.render(
            state.x_m[cars],
            state.y_m[cars],
            state.heading_rad[cars],
            objects=objects if objects.places else None,
            left_m=left_m,
            conditions=self._conditions.of(cars) if self._varied[cars].any() else None,
            frame=self._frames[cars],
        )

    def close(self) -> None:
        """Nothing to release: everything lives in this process."""
