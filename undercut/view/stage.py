"""Playback: laps of a run at real time, drawn once for everybody who watches them with the same choices.

A viewer never holds anybody up: what it has not taken yet is replaced by what is newer, and one that takes nothing for
a while is let go. Nothing here reaches the session that is watched; it is another process, whose files are read.
"""

import asyncio
import io
import json
import math
import struct
from collections.abc import Awaitable, Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from PIL import Image

from contract.errors import UndercutError
from contract.state import CAMERA_HEIGHT, CAMERA_WIDTH, EpisodeStatus, IntArray, ObjectKind, TrackObjects, UInt8Array
from contract.vehicle import CAR_COLORS
from simapp.camera import Camera
from simapp.scene import Bodies, SceneRenderer, followed
from simapp.tracks import Track
from undercut.analysis.limit import Limit
from undercut.view.laps import COLUMNS, OBJECT_COLUMNS, LapReader, Laps, Show
from undercut.view.subject import Subject

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


FPS = 15
HOLD_S = 1.5
"""How long the end of the laps is shown before the next ones."""
PATIENCE_S = 30.0
"""Laps that take longer are cut short when newer ones are there."""
LOOK_S = 1.0
"""From one look for newer laps to the next."""
WINDOW = 3
"""Frames that may be on their way to a viewer; the round trip of a phone is below 3/15 s."""
SPEEDS = (0.5, 1, 2, 4)


class StalledError(Exception):
    """A viewer took nothing for too long."""


@dataclass(frozen=True, slots=True)
class Watch:
    """What a viewer wants to see; those with the same Watch share a stage. `iteration` None is the newest."""

    subject: Subject
    show: Show
    iteration: int | None
    speed: float


class Viewer:
    """One page. `send` and `drop` are its connection's; `car` is the one that it wants to see from behind."""

    def __init__(self, send: Callable[[bytes], Awaitable[None]], deadline_s: float) -> None:
        self._send, self._deadline_s = send, deadline_s
        self._waiting: dict[str, bytes] = {}
        self._wake = asyncio.Event()
        self._sent = self._taken = 0
        self._since_s = 0.0
        self.car = 0

    def offer(self, slot: str, message: bytes) -> None:
        """Have a message sent, in place of the one of its slot that is still waiting."""
        self._waiting[slot] = message
        self._wake.set()

    def forget(self) -> None:
        """Drop what is waiting: the viewer looks at something else now."""
        self._waiting.clear()

    def took(self, frames: int) -> None:
        """The page says how many frames it has got in all."""
        if self._taken < frames <= self._sent:
            self._taken = frames
            self._since_s = asyncio.get_running_loop().time()
            self._wake.set()

    async def pump(self) -> None:
        """Send until cancelled. Raises StalledError."""
        clock = asyncio.get_running_loop().time
        self._since_s = clock()
        while True:
            await self._wake.wait()
            self._wake.clear()
            for slot in ("problem", "laps", "frame"):
                on_their_way = self._sent - self._taken
                if on_their_way and clock() - self._since_s > self._deadline_s:
                    raise StalledError
                if slot not in self._waiting or (slot == "frame" and on_their_way >= WINDOW):
                    continue
                if not on_their_way:
                    self._since_s = clock()
                self._sent += slot == "frame"  # before it is sent: the answer may be there before sending returns
                try:
                    async with asyncio.timeout(self._deadline_s):
                        await self._send(self._waiting.pop(slot))
                except TimeoutError:
                    raise StalledError from None


class Album:
    """Pictures of the tracks that were shown last: drawing a ground takes a second."""

    KEPT = 3

    def __init__(self) -> None:
        self._pool = ThreadPoolExecutor(1, "ground")
        self._drawn: dict[bytes, asyncio.Future[Pictures]] = {}

    def of(self, track: Track) -> "asyncio.Future[Pictures]":
        key = track.route.tobytes()
        found = self._drawn.pop(key, None)
        if found is None:
            found = asyncio.get_running_loop().run_in_executor(self._pool, Pictures, track)
        self._drawn[key] = found  # the last one is the one last used
        while len(self._drawn) > self.KEPT:
            self._drawn.pop(next(iter(self._drawn)))
        return found

    def close(self) -> None:
        self._pool.shutdown(wait=False, cancel_futures=True)


@dataclass(slots=True)
class Stage:
    """Plays the laps of a Watch to its viewers."""

    reader: LapReader
    speed: float
    album: Album
    pool: ThreadPoolExecutor
    viewers: set[Viewer] = field(default_factory=set)
    _laps: Laps | None = None
    _next: Laps | None = None
    _number: int = 0
    _announced: bytes = b""
    _problem: str = ""

    def join(self, viewer: Viewer) -> None:
        """Begin to play to the viewer."""
        self.viewers.add(viewer)
        if self._announced:
            viewer.offer("laps", self._announced)
        viewer.offer("problem", _problem_message(self._problem))

    async def run(self) -> None:
        """Play until cancelled."""
        while True:
            fresh = self._next or await self._look()
            self._next = None
            if fresh is not None:
                self._laps, self._number = fresh, self._number + 1
                self._announced = laps_message(fresh, self._number)
                self._offer("laps", self._announced)
            if self._laps is None:
                await asyncio.sleep(LOOK_S)
            else:
                await self._play(self._laps)

    def say(self, problem: str) -> None:
        """Have the page show what is wrong; empty: nothing."""
        if problem != self._problem:
            self._problem = problem
            self._offer("problem", _problem_message(problem))

    async def _look(self) -> Laps | None:
        problem, fresh = self._problem, None
        try:
            fresh = await self._in_pool(self.reader.newest)
        except (UndercutError, OSError) as error:
            problem = str(error)
        else:
            if fresh is not None:
                problem = fresh.problem
        self.say(problem)
        return fresh

    async def _play(self, laps: Laps) -> None:
        clock = asyncio.get_running_loop().time
        painting = None if laps.track is None else self.album.of(laps.track)
        began_s = due_s = looked_s = clock()
        time_s = 0.0
        while time_s < laps.duration_s + HOLD_S * self.speed:
            drawn = painting.result() if painting is not None and painting.done() else None
            cars = {min(viewer.car, len(laps.cars) - 1) for viewer in self.viewers}
            frames = await self._in_pool(frame_messages, laps, self._number, time_s, drawn, cars)
            for viewer in self.viewers:
                drawn_for = frames.get(min(viewer.car, len(laps.cars) - 1))
                if drawn_for is not None:  # else it has just chosen another car, which the next moment has
                    viewer.offer("frame", drawn_for)
            now_s = clock()
            if self._next is None and now_s - began_s > PATIENCE_S and now_s - looked_s > LOOK_S:
                looked_s = now_s
                self._next = await self._look()
            if self._next is not None:
                return
            time_s += self.speed / FPS
            due_s = max(due_s + 1.0 / FPS, now_s - 1.0 / FPS)  # after a hold-up go on from here, and do not rush
            await asyncio.sleep(max(due_s - now_s, 0.0))

    def _offer(self, slot: str, message: bytes) -> None:
        for viewer in self.viewers:
            viewer.offer(slot, message)

    async def _in_pool(self, work: Callable[..., Any], *arguments: Any) -> Any:
        return await asyncio.get_running_loop().run_in_executor(self.pool, work, *arguments)


def frame_messages(
    laps: Laps, number: int, time_s: float, pictures: Pictures | None, cars: set[int]
) -> dict[int, bytes]:
    """The message of a moment for those who look at each of the cars."""
    rows = laps.rows(time_s)
    cameras = b"" if pictures is None else pictures.cameras(laps, rows)
    header = {"type": "frame", "laps": number, "t": round(time_s, 4), "cameras": len(cameras)}
    return {
        car: message({**header, "car": car}, cameras, b"" if pictures is None else pictures.chase(laps, rows, car))
        for car in cars
    }


def laps_message(laps: Laps, number: int) -> bytes:
    """Everything about laps that the page needs to play them: who, where, and all steps."""
    columns, rows = grid(len(laps.cars))
    track = laps.track
    header = {
        "type": "laps",
        "laps": number,
        "title": laps.title,
        "phase": laps.phase.value,
        "hidden": laps.hidden,
        "grid": [columns, rows],
        "columns": COLUMNS,
        "statuses": [status.title for status in EpisodeStatus],
        "object_columns": OBJECT_COLUMNS,
        "cars": [
            {
                "label": car.label,
                "colour": CAR_COLORS[car.colour],
                "steps": len(car.steps),
                "objects": 0 if car.objects is None else car.objects.places,
            }
            for car in laps.cars
        ],
        "track": None if track is None else outline(track),
        "limit": None if laps.limit is None else fastest_line(laps.limit),
    }
    return message(header, *(car.columns() for car in laps.cars))


def outline(track: Track) -> dict[str, Any]:
    """The road for the page's map, in metres."""
    edges = {"centre": track.centre, "inner": track.inner, "outer": track.outer}
    shape = {name: [[round(x, 3), round(y, 3)] for x, y in line.tolist()] for name, line in edges.items()}
    return {"name": track.name, "length_m": round(track.length_m, 2), "closed": track.closed, **shape}


def fastest_line(limit: Limit) -> dict[str, Any]:
    """The fastest lap for the page's map: its points in metres with their speeds in m/s, and its time in seconds."""
    points = zip(limit.x_m.tolist(), limit.y_m.tolist(), limit.speed_mps.tolist(), strict=True)
    return {"lap_s": limit.lap_s, "points": [[round(x, 3), round(y, 3), round(speed, 2)] for x, y, speed in points]}


def message(header: dict[str, Any], *bodies: bytes) -> bytes:
    """Length of the header as 4 bytes, header as JSON, what follows it."""
    text = json.dumps(header, separators=(",", ":")).encode()
    return b"".join([struct.pack(">I", len(text)), text, *bodies])


def _problem_message(problem: str) -> bytes:
    return message({"type": "problem", "problem": problem})
