"""The built-in simulator: N cars on the CPU, one step exactly 1/15 s, the same bits for any N or thread count."""

import numpy as np

from contract.state import CarBatch, Controls, IntArray, Poses, UInt8Array
from simapp.camera import Camera
from simapp.tracks import Track
from simapp.vehicle import drive_cars, place_cars


class BuiltinSimulator:
    """`Simulator` for time trials: kinematic cars with one front camera each; cars do not see or touch each other."""

    def __init__(self, track: Track, num_cars: int, sensor: str) -> None:
        """`sensor` names the camera in the observations, as the racer's metadata does."""
        self._cars = CarBatch.zeros(num_cars)
        self._camera = Camera(track)
        self._sensor = sensor

    @property
    def cars(self) -> CarBatch:
        return self._cars

    def place(self, cars: IntArray, poses: Poses) -> None:
        place_cars(self._cars, cars, poses)

    def step(self, cars: IntArray, controls: Controls) -> None:
        drive_cars(self._cars, cars, controls)

    def observe(self, cars: IntArray) -> dict[str, UInt8Array]:
        state = self._cars
        frames = self._camera.render(state.x_m[cars], state.y_m[cars], state.heading_rad[cars])
        return {self._sensor: frames[..., np.newaxis]}

    def close(self) -> None:
        """Nothing to release: everything lives in this process."""
