"""GazeboSimulator: the same Simulator as the built-in one, with Gazebo's physics and pictures, in lock step."""

import math
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from contract.car import Car, car_of_version
from contract.conditions import Conditions
from contract.errors import SimulatorError
from contract.metadata import ModelMetadata
from contract.state import CAMERA_HEIGHT, CAMERA_WIDTH, Controls, IntArray, Poses, TrackObjects, UInt8Array
from contract.vehicle import BASE_LINK_HEIGHT_M
from simapp.camera.bodies import looks_of
from simapp.camera.effects import changed, finish_frames, noise_keys
from simapp.camera.pinhole import front_camera
from simapp.gazebo import wire
from simapp.gazebo.process import Install, Screen, Server
from simapp.gazebo.world import CameraSize, write_world
from simapp.road import Track
from simapp.simulation import Simulation
from simapp.vehicle.drive import Makes, commands_in_force, place_cars

Answer = TypeVar("Answer", bound=NDArray[Any])

SCALE = 2
"""Gazebo's frames are this many times the network's in both directions, and averaged down."""


class GazeboSimulator(Simulation):
    """`Simulator` of N cars in one gzserver, one a model_metadata.json in `models`; see BuiltinSimulator.

    Every car has the whole track for itself but for those of its world: nothing is solid, and each frame is drawn
    with just what its car may see. A gzserver that dies raises SimulatorError and is started anew by the next `place`.
    """

    def __init__(
        self,
        track: Track,
        models: Sequence[ModelMetadata],
        root: Path,
        worlds: IntArray | None = None,
        colours: IntArray | None = None,
        screen: Screen | None = None,
        car: Car | None = None,
    ) -> None:
        """`root` is where `make gazebo` has put Gazebo, `screen` what is done on a display.

        `car` is driven instead of those of the models' versions; else see Simulation.
        """
        super().__init__(track, models, worlds, colours)
        self._track, self._root, self._screen = track, root, screen
        self._descriptions = [car or car_of_version(model.version) for model in models]
        self._makes = Makes.of_cars(self._descriptions)
        self._camera = front_camera()
        self._size = CameraSize(SCALE * CAMERA_WIDTH, SCALE * CAMERA_HEIGHT)
        self._server: Server | None = self._start()

    def _start(self) -> Server:
        def write(folder: Path, seen_from: str, socket: str) -> None:
            gui = self._screen is not None and self._screen.gui
            write_world(folder, self._track, self._descriptions, self._size, socket, seen_from, gui)

        return Server(Install.find(self._root), write, self._screen)

    @property
    def substeps(self) -> int:
        """Physics steps of gzserver since its start."""
        return self._alive().connection.substeps

    def vary(self, cars: IntArray, conditions: Conditions) -> None:
        super().vary(cars, conditions)
        self._ask(wire.VARY, wire.field_rows(wire.GRIP_ITEM, car=cars, friction=conditions.friction))

    def place(self, cars: IntArray, poses: Poses) -> None:
        place_cars(self._cars, cars, poses)
        if self._server is None:
            self._server = self._start()
            everybody = np.arange(len(self._models))
            self._ask(wire.VARY, wire.field_rows(wire.GRIP_ITEM, car=everybody, friction=self._conditions.friction))
        rows = wire.field_rows(wire.PLACE_ITEM, car=cars, x=poses.x_m, y=poses.y_m, heading=poses.heading_rad)
        self._ask(wire.PLACE, rows)

    def step(self, cars: IntArray, controls: Controls) -> None:
        conditions, makes = self._conditions.of(cars), self._makes.of(cars)
        change_s, rims_mps, angles_rad = commands_in_force(self._cars, cars, controls, conditions, makes)
        rows = wire.field_rows(wire.DRIVE_ITEM, car=cars, change_s=change_s, speed=rims_mps, steering=angles_rad)
        self._take(cars, self._ask(wire.STEP, rows))
        self._frames[cars] += 1

    def pictures(self, cars: IntArray, left_m: float = 0.0) -> UInt8Array:
        """What lenses of the cars (indices, (K,)) see, in colour as Gazebo draws it: (K, 240, 320, 3)."""
        return self._frames_of(cars, self.seen_by(cars), left_m, 0, (self._size.height, self._size.width, 3))

    def _grey(self, cars: IntArray, objects: TrackObjects, left_m: float) -> UInt8Array:
        frames = self._frames_of(cars, objects, left_m, SCALE, (CAMERA_HEIGHT, CAMERA_WIDTH))
        conditions = self._conditions.of(cars)
        finish_frames(conditions.blur_px, conditions.noise, noise_keys(conditions, self._frames[cars], left_m), frames)
        return frames

    def _frames_of(
        self, cars: IntArray, objects: TrackObjects, left_m: float, reduce: int, shape: tuple[int, ...]
    ) -> UInt8Array:
        looks, conditions = looks_of(objects), self._conditions
        asked = []
        for k, car in enumerate(cars.tolist()):
            change = (conditions.camera_pitch_deg[car], conditions.camera_height_m[car], conditions.camera_fov[car])
            lens = changed(self._camera, change)
            stands = looks[k] >= 0
            row = np.zeros(1, wire.LOOK_ITEM)
            row[0] = (
                *(car, lens.ahead_m, left_m, lens.height_m - BASE_LINK_HEIGHT_M, lens.pitch_rad),
                *(math.radians(conditions.camera_yaw_deg[car]), lens.hfov_rad, conditions.light[car]),
                *(reduce, int(stands.sum())),
            )
            bodies = np.zeros(int(stands.sum()), wire.OBJECT_ITEM)
            bodies["look"], bodies["heading"] = looks[k, stands], objects.heading_rad[k, stands]
            bodies["x"], bodies["y"] = objects.x_m[k, stands], objects.y_m[k, stands]
            asked.append((row, bodies))
        connection = self._alive().connection
        return self._guarded(lambda: connection.frames(asked, shape))

    def _take(self, cars: IntArray, states: NDArray[np.void]) -> None:
        of_these, state = states[cars], self._cars
        for mine, theirs in (
            *((state.x_m, "x"), (state.y_m, "y"), (state.heading_rad, "heading"), (state.speed_mps, "ahead_mps")),
            *((state.sideways_mps, "left_mps"), (state.yaw_rate_rps, "yaw_rate"), (state.steering_rad, "steering")),
        ):
            mine[cars] = of_these[theirs]

    def _ask(self, op: int, rows: NDArray[np.void]) -> NDArray[np.void]:
        connection = self._alive().connection
        return self._guarded(lambda: connection.states(op, rows))

    def _guarded(self, ask: Callable[[], Answer]) -> Answer:
        try:
            return ask()
        except SimulatorError as error:
            said = self._alive().said()
            self.close()
            raise SimulatorError(f"{error}\n{said}".rstrip()) from error

    def _alive(self) -> Server:
        if self._server is None:
            raise SimulatorError("Gazebo has ended", fix="place the cars anew: that starts it again")
        return self._server

    def close(self) -> None:
        """End gzserver and its X server."""
        if self._server is not None:
            self._server.close()
            self._server = None
