"""Gazebo's cars on ROS topics, heard by nodes that know nothing of undercut; and a node that drives."""

import json
import os
import signal
import socket
import subprocess
import time
from collections.abc import Callable, Iterator
from hashlib import sha256
from pathlib import Path
from typing import Any
from xmlrpc.client import ServerProxy

import numpy as np
import pytest

from contract.config import RunConfig
from contract.errors import InputError, SimulatorError
from contract.metadata import ModelMetadata
from contract.state import Controls
from contract.vehicle import BASE_LINK_HEIGHT_M
from simapp.gazebo import roslink
from simapp.gazebo.process import Install
from simapp.gazebo.roslink import FIRST_STEP, RosLink, RosSimulator, ros_command
from simapp.gazebo.simulator import GazeboSimulator
from simapp.tracks import load_track
from tests.conftest import REPO
from tests.gazebo_support import needs_gazebo
from undercut.cli.ros import node_laps
from undercut.runs import simulators

TRACK = load_track("first_oval", [])
MODEL = ModelMetadata.load(REPO / "actions" / "default.json")
STEREO_LIDAR = ModelMetadata.load(REPO / "actions" / "stereo_lidar_shallow_single_speed.json")
ONE = np.array([0])
HERE = "/tmp/here"  # of Gazebo's root
STEPS = 40

LISTENER = """
import hashlib, json, sys, rospy
from rosgraph_msgs.msg import Clock
from sensor_msgs.msg import Image, LaserScan
from nav_msgs.msg import Odometry
from std_msgs.msg import Float64
heard = {name: [] for name in ("clock", "image", "right", "alias", "odom", "scan", "wheel", "hinge")}
ns = lambda time: time.secs * 10**9 + time.nsecs
at = lambda message: ns(message.header.stamp)
def image(name):
    digest = lambda it: hashlib.sha256(it.data).hexdigest()
    return lambda it: heard[name].append([at(it), it.height, it.width, it.encoding, digest(it)])
def odom(it):
    p, q, t = it.pose.pose.position, it.pose.pose.orientation, it.twist.twist
    heard["odom"].append([at(it), p.x, p.y, p.z, q.w, q.z, t.linear.x, t.linear.y, t.angular.z])
rospy.init_node("listener")
car = sys.argv[1]
rospy.Subscriber("/clock", Clock, lambda it: heard["clock"].append(ns(it.clock)))
rospy.Subscriber(car + "/camera/zed/rgb/image_rect_color", Image, image("image"))
rospy.Subscriber(car + "/camera/zed_right/rgb/image_rect_color_right", Image, image("right"))
rospy.Subscriber("/camera/zed/rgb/image_rect_color", Image, image("alias"))
rospy.Subscriber(car + "/odom", Odometry, odom)
rospy.Subscriber(car + "/scan", LaserScan, lambda it: heard["scan"].append([at(it), *it.ranges]))
wheel, hinge = "/left_rear_wheel_velocity_controller", "/right_steering_hinge_position_controller"
rospy.Subscriber(car + wheel + "/command", Float64, lambda it: heard["wheel"].append(it.data))
rospy.Subscriber(car + hinge + "/command", Float64, lambda it: heard["hinge"].append(it.data))
print("ready", flush=True)
while sys.stdin.readline():
    print(json.dumps(heard), flush=True)
"""


def test_topics_are_an_option_of_the_machine_and_of_gazebo(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("UNDERCUT_ROS", "1")
    with pytest.raises(InputError, match="use --sim gazebo"):
        simulators.make_simulator(RunConfig.build({"name": "topics"}, "here"), TRACK, [MODEL])


@pytest.fixture
def uri(monkeypatch: pytest.MonkeyPatch) -> str:
    """Of a master that is not there yet."""
    with socket.socket() as it:
        it.bind(("127.0.0.1", 0))
        found = f"http://127.0.0.1:{it.getsockname()[1]}"
    monkeypatch.setenv("ROS_MASTER_URI", found)
    return found


@pytest.fixture
def link(uri: str) -> Iterator[RosLink]:
    made = RosLink(Install.find(simulators.gazebo_root()))
    yield made
    made.close()


def start(folder: Path, *command: str) -> "subprocess.Popen[str]":
    """A command of ROS, in this folder."""
    install = Install.find(simulators.gazebo_root())
    where = (HERE, folder) if install.root else (str(folder), folder)
    inner = ["sh", "-c", f'cd {where[0]} && exec "$@"', "sh", *command]
    spelt = ros_command(install, *inner, binds=((folder, HERE),))
    return subprocess.Popen(spelt, stdin=-1, stdout=-1, stderr=subprocess.STDOUT, env=install.environment(), text=True)


def until(what: str, is_so: Callable[[], bool], deadline_s: float = 600.0) -> None:
    end_s = time.monotonic() + deadline_s
    while not is_so():
        assert time.monotonic() < end_s, f"waited {deadline_s:g} s for {what}"
        time.sleep(0.05)


def master(uri: str) -> Any:
    """The ROS master's XML-RPC, whose answers are [status, text, value]."""
    return ServerProxy(uri)


class Listener:
    """A node in Gazebo's root that keeps all that it hears."""

    def __init__(self, folder: Path, car: str) -> None:
        (folder / "listener.py").write_text(LISTENER)
        self.process = start(folder, "python3", "listener.py", car)
        assert self.process.stdout is not None
        line = self.process.stdout.readline()
        assert line == "ready\n", line + self.process.stdout.read()

    def heard(self) -> dict[str, list[Any]]:
        assert self.process.stdin is not None and self.process.stdout is not None
        self.process.stdin.write("\n")
        self.process.stdin.flush()
        return dict(json.loads(self.process.stdout.readline()))

    def close(self) -> None:
        assert self.process.stdin is not None
        self.process.stdin.close()
        self.process.wait(30)


def commands(k: int) -> tuple[float, float]:
    return 0.3 * np.sin(k / 4), 1.0 + 0.5 * np.cos(k / 5)


def states_of(simulator: "RosSimulator | GazeboSimulator") -> list[float]:
    cars = simulator.cars
    columns = (cars.x_m, cars.y_m, cars.heading_rad, cars.speed_mps, cars.sideways_mps, cars.yaw_rate_rps)
    return [float(column[0]) for column in columns]


@needs_gazebo
@pytest.mark.gazebo
@pytest.mark.slow
def test_a_node_hears_exactly_what_the_cars_see_and_do(link: RosLink, uri: str, tmp_path: Path) -> None:
    plain = GazeboSimulator(TRACK, [STEREO_LIDAR], simulators.gazebo_root())
    inner = GazeboSimulator(TRACK, [STEREO_LIDAR], simulators.gazebo_root())
    shown = RosSimulator(inner, link)
    pose = TRACK.pose_at(np.array([1.0]))
    listener = None
    try:
        plain.place(ONE, pose)
        shown.place(ONE, pose)
        shown.observe(ONE)
        listener = Listener(tmp_path, "/racecar")
        until(
            "the first picture", lambda: all(listener.heard()[it] for it in ("image", "right", "alias", "odom", "scan"))
        )
        pictures, states, scans = [], [], []
        for k in range(STEPS):
            steering, speed = commands(k)
            controls = Controls(np.array([steering]), np.array([speed]))
            plain.step(ONE, controls)
            shown.step(ONE, controls)
            mine, theirs = plain.observe(ONE), shown.observe(ONE)
            assert all(np.array_equal(mine[name], theirs[name]) for name in mine)
            assert states_of(plain) == states_of(shown)
            states.append(states_of(shown))
            pictures.append([plain.pictures(ONE, left_m)[0] for left_m in (0.03, -0.03)])
            scans.append(mine["LIDAR"][0])
        until("the last picture", lambda: len(listener.heard()["right"]) == STEPS + 1)
        heard = listener.heard()
    finally:
        if listener is not None:
            listener.close()
        shown.close()
        plain.close()

    times = [(FIRST_STEP + k) * 10**9 // 15 for k in range(STEPS + 1)]
    # rospy itself keeps only the latest of what a busy node has not read of /clock; rosbag keeps all, see below
    assert heard["clock"] == sorted(set(heard["clock"]) & set(times)) and heard["clock"][-1] == times[-1]
    for name in ("image", "right", "alias", "odom", "scan"):
        assert [row[0] for row in heard[name]] == times, name
    assert master(uri).getParam("/test", "/use_sim_time") == [1, "Parameter [/use_sim_time]", True]
    for k in range(STEPS):
        for name, picture in zip(("image", "right"), pictures[k], strict=True):
            assert heard[name][k + 1][1:] == [240, 320, "rgb8", sha256(picture.tobytes()).hexdigest()]
        x, y, heading, speed, sideways, yaw_rate = states[k]
        place = [x, y, BASE_LINK_HEIGHT_M, np.cos(heading / 2), np.sin(heading / 2), speed, sideways, yaw_rate]
        assert heard["odom"][k + 1][1:] == pytest.approx(place, abs=1e-12)
        assert np.array_equal(np.array(heard["scan"][k + 1][1:], np.float32), scans[k])
    assert heard["alias"] == heard["image"]
    # as the nodes of AWS's simulation application say it
    assert heard["wheel"][-STEPS + 1 :] == pytest.approx([commands(k)[1] / 0.1 for k in range(1, STEPS)])
    assert heard["hinge"][-STEPS + 1 :] == pytest.approx([commands(k)[0] for k in range(1, STEPS)])


@needs_gazebo
@pytest.mark.gazebo
@pytest.mark.slow
def test_rosbag_records_every_step(link: RosLink, uri: str, tmp_path: Path) -> None:
    shown = RosSimulator(GazeboSimulator(TRACK, [MODEL] * 2, simulators.gazebo_root()), link)
    topics = ["/racecar_1/odom", "/racecar_1/camera/zed/rgb/image_rect_color", "/clock"]
    both = np.arange(2)
    recorder = None
    try:
        shown.place(both, TRACK.pose_at(np.array([1.0, 5.0])))
        shown.observe(both)
        recorder = start(tmp_path, "rosbag", "record", "--output-name", "laps", *topics)

        def listens() -> bool:
            """Each topic's connection stands: before that, messages go to nobody, though the master lists it."""
            state: Any = master(uri).getSystemState("/test")
            if not any("record" in node for _, nodes in state[2][1] for node in nodes):
                return False
            info: Any = ServerProxy(_node(uri, "record")).getBusInfo("/test")
            return set(topics) <= {row[4] for row in info[2] if len(row) < 6 or row[5]}

        until("rosbag", listens)
        for k in range(STEPS):
            shown.step(both, Controls(*np.array([commands(k), commands(k)]).T))
            shown.observe(both)
        until("rosbag's file", lambda: any(tmp_path.glob("laps.bag*")))
        ServerProxy(_node(uri, "record")).shutdown("/test", "enough")
        assert recorder.wait(60) == 0
    finally:
        if recorder is not None and recorder.poll() is None:
            recorder.kill()
        shown.close()
    read = (
        "import json, rosbag\n"
        "rows = {}\n"
        "for topic, message, _ in rosbag.Bag('laps.bag').read_messages():\n"
        "    time = message.clock if topic == '/clock' else message.header.stamp\n"
        "    rows.setdefault(topic, []).append(time.secs * 10**9 + time.nsecs)\n"
        "print(json.dumps(rows))\n"
    )
    answer = start(tmp_path, "python3", "-c", read).communicate(timeout=600)[0]
    rows = json.loads(answer.splitlines()[-1])
    last = FIRST_STEP + STEPS
    for topic in topics:
        count = len(rows[topic])
        assert count > STEPS // 2, topic
        assert rows[topic] == [(last - count + 1 + k) * 10**9 // 15 for k in range(count)], topic


def _node(uri: str, name: str) -> str:
    """The address of the node whose name has this in it."""
    nodes = [node for kind in master(uri).getSystemState("/test")[2] for _, them in kind for node in them]
    return str(master(uri).lookupNode("/test", next(node for node in nodes if name in node))[2])


@needs_gazebo
@pytest.mark.gazebo
@pytest.mark.slow
def test_a_racers_own_node_drives_a_lap_and_again_the_same(
    link: RosLink, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr("undercut.runs.simulators.ros_link", lambda: link)
    (tmp_path / "ros_node.py").write_text((REPO / "docs/examples/ros_node.py").read_text())
    config = RunConfig.build({"name": "node", "track": "first_oval", "simulator": "gazebo"}, "here")
    laps = []
    for _ in range(2):
        node = start(tmp_path, "python3", "ros_node.py")
        try:
            laps += node_laps(config, MODEL, 1, 0.0)
        finally:
            node.terminate()
            node.wait(30)
    assert laps[0].progress_pct == 100.0
    assert np.array_equal(laps[0].steps, laps[1].steps)


@needs_gazebo
@pytest.mark.gazebo
@pytest.mark.slow
def test_what_is_missing_on_topics_is_named(link: RosLink, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("undercut.runs.simulators.ros_link", lambda: link)
    monkeypatch.setattr(roslink, "NODE_S", 2.0)
    config = RunConfig.build({"name": "node", "track": "first_oval", "simulator": "gazebo"}, "here")
    with pytest.raises(SimulatorError, match=r"nothing on /racecar/left_rear_wheel_velocity(.|\n)*start the node"):
        node_laps(config, MODEL, 1, 0.0)
    with pytest.raises(SimulatorError, match=r"another simulation is on the topics(.|\n)*ROS_MASTER_URI"):
        RosLink(Install.find(simulators.gazebo_root()))
    os.kill(link.pid, signal.SIGKILL)

    def go_on() -> None:
        for _ in range(600):  # the node outlives the outermost process by a moment
            link.ask({"op": "command", "cars": []})
            time.sleep(0.1)

    with pytest.raises(SimulatorError, match="ROS node of the simulation has gone"):
        go_on()


@needs_gazebo
@pytest.mark.gazebo
@pytest.mark.slow
def test_a_master_elsewhere_that_does_not_answer_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ROS_MASTER_URI", "http://nowhere.invalid:11311")
    with pytest.raises(SimulatorError, match=r"no ROS master answers at http://nowhere.invalid:11311"):
        RosLink(Install.find(simulators.gazebo_root()))
