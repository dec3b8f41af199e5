"""A ROS 1 node that says on topics what simapp/gazebo/roslink.py tells it on standard input, one JSON line and raw
frames at a time, and answers each on standard output: bridge.py

It runs on the Python of Gazebo's Debian (3.9), with rospy and without anything of ours. Nothing is lost: a subscriber
that is slow to take an image holds the simulation, which has no clock but /clock.
"""

from __future__ import annotations

import json
import math
import os
import subprocess
import sys
import threading
import time
import warnings
from collections.abc import Callable
from typing import Any, BinaryIO
from urllib.parse import urlsplit
from xmlrpc.client import ServerProxy

import rosgraph
import rospy
from geometry_msgs.msg import TransformStamped
from nav_msgs.msg import Odometry
from rosgraph_msgs.msg import Clock
from sensor_msgs.msg import CameraInfo, Image, LaserScan
from std_msgs.msg import Float64
from tf2_msgs.msg import TFMessage

NODE = "undercut"
STEPS_PER_S = 15
COMMAND_RADIUS_M = 0.1
"""Wheel commands are speed / 0.1 m, as the nodes of AWS's simulation application publish them, whatever the wheels."""
WHEELS = tuple(f"{side}_{end}_wheel" for end in ("rear", "front") for side in ("left", "right"))
HINGES = ("left_steering_hinge", "right_steering_hinge")
SETTLED_S = 0.5
"""A node that drives has made all its connections, and answered all earlier frames, when it did neither for so long."""
TALKS_S = 3.0
"""A node that talks on for so long does so without being asked: it will not fall silent."""
LOOK_AGAIN_S = 0.2
"""How often it is looked for new connections while a node thinks."""
WORLD = "world"
FIRST = ("racecar", "racecar_0")
MASTER_S = 30.0


def wheel_topic(car: str, wheel: str) -> str:
    """Topic of a wheel's speed."""
    return f"/{car}/{wheel}_velocity_controller/command"


def hinge_topic(car: str, hinge: str) -> str:
    """Topic of a steering hinge's angle in radians, left positive."""
    return f"/{car}/{hinge}_position_controller/command"


def stamp(step: int) -> rospy.Time:
    """Time after so many control steps: exact to the nanosecond, with no error that adds up."""
    return rospy.Time(step // STEPS_PER_S, step % STEPS_PER_S * 10**9 // STEPS_PER_S)


class Publishers:
    """Made when first needed. Latched: who comes late, as a node that just starts, gets the last message at once."""

    def __init__(self) -> None:
        self._made: dict[str, rospy.Publisher] = {}

    def say(self, topic: str, message: Any, latch: bool = True) -> None:
        """Publish; returns when every subscriber's connection has taken it."""
        if topic not in self._made:
            self._made[topic] = rospy.Publisher(topic, type(message), latch=latch, tcp_nodelay=True)
        self._made[topic].publish(message)


class RosDriver:
    """What a node of the racer's commands one car. `fresh` are topics heard from since the last `await`."""

    def __init__(self, car: str) -> None:
        self._changed = threading.Condition()
        self._heard: dict[str, float] = {}
        self._fresh: set[str] = set()
        self._heard_s = 0.0
        self._connections: list[list[int]] = []
        self._wheels = [wheel_topic(car, wheel) for wheel in WHEELS]
        self._hinges = [hinge_topic(car, hinge) for hinge in HINGES]
        self._subscribers = {
            topic: rospy.Subscriber(topic, Float64, self._hear, topic, tcp_nodelay=True)
            for topic in (*self._wheels, *self._hinges)
        }

    def _hear(self, message: Float64, topic: str) -> None:
        with self._changed:
            self._heard[topic] = float(message.data)
            self._fresh.add(topic)
            self._heard_s = time.monotonic()
            self._changed.notify_all()

    def latest(self) -> dict[str, float]:
        """Steering in radians and speed in m/s as last commanded: the mean of the hinges and of the wheels."""
        with self._changed:
            wheels = [self._heard[topic] for topic in self._wheels if topic in self._heard]
            hinges = [self._heard[topic] for topic in self._hinges if topic in self._heard]
        mean = [sum(values) / len(values) if values else 0.0 for values in (hinges, wheels)]
        return {"steering": mean[0], "speed": mean[1] * COMMAND_RADIUS_M}

    def wait(self, timeout_s: float, show_again: Callable[[], None]) -> list[str]:
        """Wait for a command on every topic that a node publishes, given since the last frame; topics still missing.

        When nodes have come or gone, what they said so far may answer nothing: the frame is shown to them again.
        """
        until = time.monotonic() + timeout_s
        while True:
            if self._settle(until):
                show_again()
            with self._changed:
                self._changed.wait_for(lambda: not self._missing(), LOOK_AGAIN_S)
                if not self._moved() and not self._missing():
                    self._fresh.clear()
                    return []
                if time.monotonic() > until:
                    return self._missing()

    def _settle(self, until: float) -> bool:
        """Wait until connections stay as they are and are silent; whether there were new ones. What they said so far is
        then forgotten.
        """
        if not self._moved():
            return False
        quiet_s = now_s = time.monotonic()
        while now_s < until and now_s - max(quiet_s, min(self._heard_s, quiet_s + TALKS_S)) < SETTLED_S:
            if self._moved():
                self._connections, quiet_s = self._connected(), now_s
            time.sleep(SETTLED_S / 10)
            now_s = time.monotonic()
        with self._changed:
            self._fresh.clear()
        return True

    def _connected(self) -> list[list[int]]:
        """The connections of each topic by their numbers, which no later one gets: as many are not the same ones."""
        return [[row[0] for row in it.impl.get_stats_info()] for it in self._subscribers.values()]

    def _moved(self) -> bool:
        return self._connected() != self._connections

    def _missing(self) -> list[str]:
        spoken = [topic for topic, it in self._subscribers.items() if it.get_num_connections()]
        if not any(topic in self._wheels for topic in spoken) or not any(topic in self._hinges for topic in spoken):
            return [self._wheels[0], self._hinges[0]]
        return [topic for topic in spoken if topic not in self._fresh]


class Bridge:
    """Serves requests until the other side closes."""

    def __init__(self, requests: BinaryIO, answers: BinaryIO) -> None:
        self._requests, self._answers = requests, answers
        self._publishers = Publishers()
        self._drivers: dict[str, RosDriver] = {}
        self._last: tuple[dict[str, Any], bytes] | None = None

    def run(self) -> None:
        for line in iter(self._requests.readline, b""):
            request = json.loads(line)
            answer = getattr(self, f"on_{request['op']}")(request)
            self._answers.write(json.dumps(answer).encode() + b"\n")
            self._answers.flush()

    def on_show(self, request: dict[str, Any]) -> dict[str, Any]:
        """What some cars see and where they are, at a step."""
        frames = self._requests.read(request["bytes"])
        self._last = request, frames
        self._show(request, frames)
        return {}

    def _show(self, request: dict[str, Any], frames: bytes) -> None:
        now = stamp(request["step"])
        say = self._publishers.say
        say("/clock", Clock(now), latch=False)
        at = 0
        for car in request["cars"]:
            say(f"/{car['name']}/odom", _odometry(car, now))
            say("/tf", TFMessage(_transforms(car, now)), latch=False)
            if car["ranges"]:
                say(f"/{car['name']}/scan", _scan(car, request["lidar"], now))
            for camera in request["cameras"]:
                size = 3 * camera["width"] * camera["height"]
                picture = _image(car, camera, frames[at : at + size], now)
                at += size
                topics = [f"/{car['name']}/{camera['topic']}"]
                if car["name"] in FIRST:
                    topics.append(f"/{camera['topic']}")  # where the first simulation applications had it
                for topic in topics:
                    say(topic, picture)
                    say(f"{topic.rpartition('/')[0]}/camera_info", _camera_info(camera, picture.header))

    def on_command(self, request: dict[str, Any]) -> dict[str, Any]:
        """What the policy commands, on the topics that a racer's node would command it on."""
        for car in request["cars"]:
            for wheel in WHEELS:
                self._publishers.say(wheel_topic(car["name"], wheel), Float64(car["speed"] / COMMAND_RADIUS_M))
            for hinge in HINGES:
                self._publishers.say(hinge_topic(car["name"], hinge), Float64(car["steering"]))
        return {}

    def on_await(self, request: dict[str, Any]) -> dict[str, Any]:
        """What a node commands the car: its answer to the last frame, or with no time to wait the last that it said."""
        name = request["name"]
        if name not in self._drivers:
            self._drivers[name] = RosDriver(name)
        driver = self._drivers[name]
        missing = driver.wait(request["timeout_s"], self._show_last) if request["timeout_s"] else []
        return {**driver.latest(), "missing": missing}

    def _show_last(self) -> None:
        if self._last is not None:
            self._show(*self._last)


def _header(message: Any, frame: str, now: rospy.Time) -> Any:
    message.header.frame_id, message.header.stamp = frame, now
    return message


def _turn(rotation: Any, yaw: float, pitch: float = 0.0) -> None:
    """Fill in a quaternion: pitch (down positive) about y, then yaw about z."""
    rotation.w = math.cos(yaw / 2) * math.cos(pitch / 2)
    rotation.x = -math.sin(yaw / 2) * math.sin(pitch / 2)
    rotation.y = math.cos(yaw / 2) * math.sin(pitch / 2)
    rotation.z = math.sin(yaw / 2) * math.cos(pitch / 2)


def _odometry(car: dict[str, Any], now: rospy.Time) -> Odometry:
    it = _header(Odometry(), WORLD, now)
    it.child_frame_id = f"{car['name']}/base_link"
    pose, twist = it.pose.pose, it.twist.twist
    pose.position.x, pose.position.y, pose.position.z = car["x"], car["y"], car["z"]
    _turn(pose.orientation, car["heading"])
    twist.linear.x, twist.linear.y, twist.angular.z = car["speed"], car["sideways"], car["yaw_rate"]
    return it


def _transforms(car: dict[str, Any], now: rospy.Time) -> list[TransformStamped]:
    base = f"{car['name']}/base_link"
    moves = [(WORLD, base, (car["x"], car["y"], car["z"]), car["heading"])]
    moves += [(base, f"{car['name']}/{frame}", tuple(place), turn) for frame, place, turn in car["mounts"]]
    found = []
    for parent, child, place, heading in moves:
        it = _header(TransformStamped(), parent, now)
        it.child_frame_id = child
        it.transform.translation.x, it.transform.translation.y, it.transform.translation.z = place
        _turn(it.transform.rotation, heading)
        found.append(it)
    return found


def _image(car: dict[str, Any], camera: dict[str, Any], data: bytes, now: rospy.Time) -> Image:
    it = _header(Image(), f"{car['name']}/{camera['frame']}", now)
    it.height, it.width, it.encoding, it.step = camera["height"], camera["width"], "rgb8", 3 * camera["width"]
    it.data = data
    return it


def _camera_info(camera: dict[str, Any], header: Any) -> CameraInfo:
    it = CameraInfo(header=header, width=camera["width"], height=camera["height"], distortion_model="plumb_bob")
    f, middle = camera["focal_px"], (camera["width"] / 2, camera["height"] / 2)
    it.D, it.R = [0.0] * 5, [1.0, 0.0, 0.0, 0.0, 1.0, 0.0, 0.0, 0.0, 1.0]
    it.K = [f, 0.0, middle[0], 0.0, f, middle[1], 0.0, 0.0, 1.0]
    it.P = [f, 0.0, middle[0], 0.0, 0.0, f, middle[1], 0.0, 0.0, 0.0, 1.0, 0.0]
    return it


def _scan(car: dict[str, Any], lidar: dict[str, Any], now: rospy.Time) -> LaserScan:
    it = _header(LaserScan(), f"{car['name']}/laser", now)
    it.angle_min, it.angle_increment = lidar["first"], lidar["step"]
    it.angle_max = lidar["first"] + lidar["step"] * (len(car["ranges"]) - 1)
    it.range_min, it.range_max, it.ranges = lidar["nearest"], lidar["farthest"], car["ranges"]
    return it


def find_master(started: list[subprocess.Popen[bytes]]) -> str:
    """Have a master at ROS_MASTER_URI: one of this machine is started if none answers. What is wrong, "" if nothing."""
    uri = rosgraph.get_master_uri()
    if not rosgraph.is_master_online():
        host, port = urlsplit(uri).hostname, urlsplit(uri).port
        if host not in ("localhost", "127.0.0.1") or port is None:
            return f"no ROS master answers at {uri}"
        ends_with_us = ["setpriv", "--pdeathsig", "TERM"]
        master = [*ends_with_us, "roscore", "-p", str(port)]
        started.append(subprocess.Popen(master, stdin=subprocess.DEVNULL, stdout=2))
        until = time.monotonic() + MASTER_S
        while not rosgraph.is_master_online():
            if started[0].poll() is not None or time.monotonic() > until:
                return f"roscore has not started at {uri} within {MASTER_S:.0f} s"
            time.sleep(0.1)
    try:
        other = rosgraph.Master(f"/{NODE}").lookupNode(f"/{NODE}")
        ServerProxy(other).getPid(f"/{NODE}")
    except (rosgraph.MasterError, OSError):
        return ""
    return f"another simulation is on the topics of the ROS master at {uri}"


def main() -> None:
    """Become the node, say so, and serve."""
    warnings.simplefilter("ignore", SyntaxWarning)  # publishers without a queue are what is wanted here
    answers = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)  # rospy's log goes to standard output
    started: list[subprocess.Popen[bytes]] = []
    try:
        wrong = find_master(started)
        if not wrong:
            rospy.set_param("/use_sim_time", True)
            rospy.init_node(NODE, disable_signals=True)
        answers.write(json.dumps({"wrong": wrong}).encode() + b"\n")
        answers.flush()
        if not wrong:
            Bridge(sys.stdin.buffer, answers).run()
            rospy.signal_shutdown("the simulation has ended")
    finally:
        for master in started:
            master.terminate()
            master.wait()


if __name__ == "__main__":
    main()
