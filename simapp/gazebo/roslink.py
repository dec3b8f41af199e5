"""Gazebo's cars on ROS topics: a simulator that says there what its cars see and do, and a policy that is a ROS node.

The node that publishes, simapp/gazebo/ros/bridge.py, is a process of its own where Gazebo is installed. Without ROS
nothing of this exists, and with it a step is the same step, bit for bit.
"""

import contextlib
import json
import os
import subprocess
import time
from collections import deque
from pathlib import Path
from threading import Thread, Timer
from typing import Any

import numpy as np

from contract.conditions import Conditions
from contract.errors import SimulatorError
from contract.metadata import ContinuousActions
from contract.protocols import ActionDistribution, Simulator
from contract.state import STEP_S, CarBatch, Controls, IntArray, Observations, Poses, TrackObjects
from contract.vehicle import BASE_LINK_HEIGHT_M
from simapp.camera.pinhole import front_camera
from simapp.gazebo.process import Install, end
from simapp.gazebo.simulator import GazeboSimulator
from simapp.lidar.lidar import LIDAR_CLIP_M, MIN_RANGE_M, MOUNT_X_M, MOUNT_Z_M, RAY_ANGLES_RAD
from simapp.simulation import lenses

MASTER_URI = "http://127.0.0.1:11311"
"""ROS_MASTER_URI where it is not set."""
FOLDER = Path(__file__).with_name("ros")
INSIDE = "/tmp/undercut-ros"
"""The path of FOLDER in a Debian root."""
FIRST_STEP = 15
"""Time begins at 1 s: 0 means to ROS that there is no clock yet."""
ANSWER_S = 60.0
NODE_S = 60.0
"""How long a node may think about a frame."""
VARIABLES = ("ROS_IP", "ROS_HOSTNAME")
CAMERAS = (
    ("camera/zed/rgb/image_rect_color", "camera"),
    ("camera/zed_right/rgb/image_rect_color_right", "camera_right"),
)
"""Topic below the car's name, and frame, of the one camera, or of the left and the right one."""


def master_uri() -> str:
    """Where the ROS master is, or is to be."""
    return os.environ.get("ROS_MASTER_URI") or MASTER_URI


def ros_command(install: Install, *command: str, binds: tuple[tuple[Path, str], ...] = ()) -> list[str]:
    """The command with the environment variables of ROS, where Gazebo is."""
    packages = str(FOLDER) if install.root is None else INSIDE
    variables = {
        "ROS_MASTER_URI": master_uri(),
        "ROS_PACKAGE_PATH": f"{packages}:/usr/share",
        "ROS_PYTHON_VERSION": "3",
    }
    variables |= {"HOME": "/tmp", "ROS_HOME": "/tmp/ros", "PYTHONUNBUFFERED": "1", "LC_ALL": "C.UTF-8"}
    if not any(os.environ.get(name) for name in VARIABLES) and "//127.0.0.1:" in master_uri():
        variables["ROS_IP"] = "127.0.0.1"
    spelt = ["env", *(f"{name}={value}" for name, value in variables.items())]
    return install.inside([*spelt, *command], (FOLDER, INSIDE), *binds, network=True)


class RosLink:
    """The node that publishes, with a master of its own if none answers. Time goes on as long as it lives."""

    def __init__(self, install: Install) -> None:
        """SimulatorError when ROS is not there, or another simulation has the topics."""
        bridge = FOLDER / "bridge.py" if install.root is None else f"{INSIDE}/bridge.py"
        self._tail: deque[str] = deque(maxlen=20)
        self.step = FIRST_STEP
        self._process = subprocess.Popen(
            ros_command(install, "/usr/bin/python3", str(bridge)),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            env=install.environment(*VARIABLES),
            start_new_session=True,
        )
        Thread(target=self._listen, daemon=True).start()
        try:
            if wrong := self._answer(ANSWER_S)["wrong"]:
                raise SimulatorError(wrong, fix="set ROS_MASTER_URI to a master of its own")
        except BaseException:
            self.close()
            raise

    @property
    def pid(self) -> int:
        """Of the outermost process."""
        return self._process.pid

    def _listen(self) -> None:
        with contextlib.suppress(ValueError):  # closed while it was read
            for line in self._process.stderr or ():
                self._tail.append(line.decode(errors="replace").rstrip())

    def ask(self, request: dict[str, Any], frames: bytes = b"", more_s: float = 0.0) -> dict[str, Any]:
        """One request and its answer; `more_s` is time that the node may take by design."""
        assert self._process.stdin is not None
        try:
            self._process.stdin.write(json.dumps(request).encode() + b"\n" + frames)
            self._process.stdin.flush()
        except OSError as error:
            raise self._gone(str(error)) from None
        return self._answer(ANSWER_S + more_s)

    def _answer(self, deadline_s: float) -> dict[str, Any]:
        assert self._process.stdout is not None
        late = Timer(deadline_s, self._process.kill)
        late.start()
        line = self._process.stdout.readline()
        late.cancel()
        if not line:
            raise self._gone(f"no answer within {deadline_s:.0f} s, or it has ended (a subscriber may hang)")
        answer: dict[str, Any] = json.loads(line)
        return answer

    def _gone(self, why: str) -> SimulatorError:
        said = "\n".join(f"  {line}" for line in list(self._tail)[-8:])
        return SimulatorError(f"the ROS node of the simulation has gone: {why}\n{said}".rstrip())

    def close(self) -> None:
        """End the node, and the master if it started one."""
        end(self._process, 10.0)


class RosSimulator(Simulator):
    """A GazeboSimulator that shows on topics what its cars see: /racecar/..., or /racecar_0/... of several.

    With `announces` it says as well what they are commanded; without, a node commands them.
    """

    def __init__(self, inner: GazeboSimulator, link: RosLink, announces: bool = True) -> None:
        self._inner, self._link, self._announces = inner, link, announces
        count = len(inner.models)
        self.names = ["racecar"] if count == 1 else [f"racecar_{i}" for i in range(count)]

    @property
    def cars(self) -> CarBatch:
        return self._inner.cars

    @property
    def worlds(self) -> IntArray:
        return self._inner.worlds

    def furnish(self, worlds: IntArray, objects: TrackObjects) -> None:
        self._inner.furnish(worlds, objects)

    def vary(self, cars: IntArray, conditions: Conditions) -> None:
        self._inner.vary(cars, conditions)

    def place(self, cars: IntArray, poses: Poses) -> None:
        self._inner.place(cars, poses)

    def step(self, cars: IntArray, controls: Controls) -> None:
        if self._announces:
            columns = zip(cars.tolist(), controls.steering_rad.tolist(), controls.speed_mps.tolist(), strict=True)
            commands = [{"name": self.names[car], "steering": angle, "speed": speed} for car, angle, speed in columns]
            self._link.ask({"op": "command", "cars": commands})
        self._inner.step(cars, controls)
        self._link.step += 1

    def observe(self, cars: IntArray) -> Observations:
        observations = self._inner.observe(cars)
        lefts = lenses(self._inner.models[int(cars[0])])
        pictures = np.stack([self._inner.pictures(cars, left_m) for left_m in lefts], axis=1)  # (K, C, 240, 320, 3)
        height, width = pictures.shape[2:4]
        lens = front_camera()
        focal_px = lens.focal_px * width / lens.width
        named = CAMERAS[: len(lefts)]
        cameras = [
            {"topic": topic, "frame": frame, "width": width, "height": height, "focal_px": focal_px}
            for topic, frame in named
        ]
        above_m = lens.height_m - BASE_LINK_HEIGHT_M
        mounts: list[tuple[str, tuple[float, float, float], float]] = [
            (frame, (lens.ahead_m, left_m, above_m), 0.0) for (_, frame), left_m in zip(named, lefts, strict=True)
        ]
        mounts.append(("laser", (MOUNT_X_M, 0.0, MOUNT_Z_M), 0.0))
        ranges = observations["LIDAR"].tolist() if "LIDAR" in observations else [[]] * len(cars)
        states = [self._state(car, ranges[k], mounts) for k, car in enumerate(cars.tolist())]
        lidar = {
            "first": RAY_ANGLES_RAD[0],
            "step": RAY_ANGLES_RAD[1] - RAY_ANGLES_RAD[0],
            "nearest": MIN_RANGE_M,
            "farthest": LIDAR_CLIP_M,
        }
        request = {"op": "show", "step": self._link.step, "cars": states, "cameras": cameras, "lidar": lidar}
        self._link.ask({**request, "bytes": pictures.nbytes}, pictures.tobytes())
        return observations

    def _state(self, car: int, ranges: list[float], mounts: list[Any]) -> dict[str, Any]:
        state = self._inner.cars
        columns = {
            "x": state.x_m,
            "y": state.y_m,
            "heading": state.heading_rad,
            "speed": state.speed_mps,
            "sideways": state.sideways_mps,
            "yaw_rate": state.yaw_rate_rps,
        }
        values = {key: float(column[car]) for key, column in columns.items()}
        return {"name": self.names[car], **values, "z": BASE_LINK_HEIGHT_M, "ranges": ranges, "mounts": mounts}

    def close(self) -> None:
        """End Gazebo; the node lives on, for a next simulator."""
        self._inner.close()


class NodePolicy:
    """Implements contract.protocols.Policy for one car: whatever a ROS node commands in answer to a frame.

    With `pace` 0 each frame is answered: a step is taken when the node has commanded on every topic that it publishes.
    Else a step is taken `pace` times 15 times a second, and the last commands hold.
    """

    def __init__(self, link: RosLink, car: str, actions: ContinuousActions, pace: float = 0.0) -> None:
        self._link, self._car, self._actions, self._pace = link, car, actions, pace
        self._due_s = time.monotonic()

    def distribution(self, observations: Observations) -> ActionDistribution:
        """The mean is the command, in units of the actions' ranges."""
        timeout_s = 0.0 if self._pace else NODE_S
        if self._pace:
            self._due_s = max(self._due_s + STEP_S / self._pace, time.monotonic() - STEP_S)
            time.sleep(max(self._due_s - time.monotonic(), 0.0))
        said = self._link.ask({"op": "await", "name": self._car, "timeout_s": timeout_s}, more_s=timeout_s)
        if said["missing"]:
            raise SimulatorError(
                f"no ROS node has commanded the car within {NODE_S:.0f} s of a frame: nothing on "
                f"{', '.join(said['missing'])}",
                fix=f"start the node, with ROS_MASTER_URI={master_uri()}",
            )
        wanted = np.array([np.degrees(said["steering"]), said["speed"]])
        low, high = np.array([self._actions.steering_deg, self._actions.speed_mps]).T
        unit = 2.0 * (wanted - low) / (high - low) - 1.0
        return ActionDistribution(mean=unit[np.newaxis], deviation=np.zeros((1, 2)))
