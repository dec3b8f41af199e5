"""Pictures for the page: what every car sees as one JPEG, and a car from behind as another."""

import io
import math

import numpy as np
from PIL import Image

from contract.state import CAMERA_HEIGHT, CAMERA_WIDTH, IntArray, ObjectKind, TrackObjects, UInt8Array
from simapp.camera import Camera
from simapp.scene import Bodies, SceneRenderer, followed
from simapp.tracks import Track
from undercut.view.laps import Laps

JPEG_QUALITY = 75
CHASE_WIDTH, CHASE_HEIGHT = 400, 300
"""A third of the work of the videos' size, and enough for a third of a page's width."""
_LOOK_BACK = 15
"""Steps after which the chase camera has forgotten where it looked before."""


class Pictures:
    """Draws the cars of one track from their recorded poses: nominal conditions, with what stands or drives there."""

    def __init__(self, track: Track) -> None:
        """Draws the ground twice, in grey and in colour: about two seconds and up to 200 MB."""
        self._camera = Camera(track)
        self._scene = SceneRenderer(track, CHASE_WIDTH, CHASE_HEIGHT)

    def cameras(self, laps: Laps, rows: IntArray) -> bytes:
        """JPEG of what the N cars see, in a grid of `grid(N)` columns and rows of 160x120 frames, left to right."""
        columns, lines = grid(len(laps.cars))
        sheet = np.zeros((lines * columns, CAMERA_HEIGHT, CAMERA_WIDTH), np.uint8)
        self._camera.render(*laps.poses(rows), out=sheet[: len(laps.cars)], objects=objects_around(laps, rows))
        tiled = sheet.reshape(lines, columns, CAMERA_HEIGHT, CAMERA_WIDTH).swapaxes(1, 2)
        return jpeg(tiled.reshape(lines * CAMERA_HEIGHT, columns * CAMERA_WIDTH))

    def chase(self, laps: Laps, rows: IntArray, car: int) -> bytes:
        """JPEG of a car from behind and above, with what is in its world."""
        x, y, heading = (values[car : car + 1] for values in laps.poses(rows))
        steps = laps.cars[car].steps
        row = int(rows[car])
        bodies = Bodies.cars(x, y, heading, [steps["steering_rad"][row]], [laps.cars[car].colour])
        around = objects_around(laps, rows)
        if around is not None:
            bodies = bodies.beside(Bodies.of_objects(around, car))
        return jpeg(self._scene.render("45degree", bodies, 0, _chase_yaw(steps[max(row - _LOOK_BACK, 0) : row + 1])))


def _chase_yaw(steps: np.ndarray) -> float:
    """Where the chase camera looks after these steps."""
    yaw = None
    x, y, heading = (steps[name].tolist() for name in ("x_m", "y_m", "heading_rad"))
    for i in range(len(steps)):
        moved_m = math.hypot(x[i] - x[i - 1], y[i] - y[i - 1]) if i else 0.0
        yaw = followed(yaw, x[i], y[i], heading[i], moved_m)
    assert yaw is not None
    return yaw


def grid(cars: int) -> tuple[int, int]:
    """Columns and rows of the sheet of all cameras."""
    columns = math.ceil(math.sqrt(cars))
    return columns, math.ceil(cars / columns)


def objects_around(laps: Laps, rows: IntArray) -> TrackObjects | None:
    """(N, M) what each car may see: what is recorded around it, and the cars of its world that are still driving."""
    count = len(laps.cars)
    worlds = np.array([car.world for car in laps.cars])
    mates = (worlds[:, None] == worlds) & ~np.eye(count, dtype=np.bool_)
    driving = rows < np.array([len(car.steps) - 1 for car in laps.cars])
    places = max(car.objects.places if car.objects is not None else 0 for car in laps.cars)
    rivals = int(mates.sum(axis=1).max())
    if places + rivals == 0:
        return None
    objects = TrackObjects.none(count, places + rivals)
    x, y, heading = laps.poses(rows)
    for number, car in enumerate(laps.cars):
        if car.objects is not None:
            for name in TrackObjects.__slots__:
                getattr(objects, name)[number, : car.objects.places] = getattr(car.objects, name)[rows[number]]
        others = np.flatnonzero(mates[number] & driving)
        part = (number, slice(places, places + len(others)))
        objects.kind[part] = ObjectKind.car
        objects.x_m[part], objects.y_m[part], objects.heading_rad[part] = x[others], y[others], heading[others]
        objects.colour[part] = [laps.cars[other].colour for other in others]
    return objects


def jpeg(picture: UInt8Array) -> bytes:
    """Of (H, W) grey or (H, W, 3) colour."""
    data = io.BytesIO()
    Image.fromarray(np.ascontiguousarray(picture)).save(data, "JPEG", quality=JPEG_QUALITY)
    return data.getvalue()
