"""The world that Gazebo is given; its deaths, restarts and missing parts, and that nothing outlives it."""

import os
import shutil
import signal
import subprocess
import sys
import time
import xml.etree.ElementTree as ET
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageGrab

from contract.car import car_of_version
from contract.errors import SimulatorError
from contract.metadata import ModelMetadata
from contract.state import Controls, Poses
from contract.vehicle import BASE_LINK_HEIGHT_M, CAR_COLORS, REAR_AXLE_X_M, WHEELBASE_M
from simapp.builtin import BuiltinSimulator
from simapp.camera.look import WALL_MARGIN_M
from simapp.gazebo.car import controllers
from simapp.gazebo.process import PLUGIN, ROOT_PLUGINS, Install, Screen, Server
from simapp.gazebo.simulator import GazeboSimulator
from simapp.gazebo.world import SUBSTEPS, CameraSize, write_world
from simapp.tracks import load_track
from tests.gazebo_support import needs_gazebo
from undercut.runs.simulators import gazebo_root

REPO = Path(__file__).resolve().parents[2]
TRACK = load_track("paddock", [])
MODEL = ModelMetadata.load(REPO / "actions" / "default.json")
ONE = np.array([0])


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("world")
    write_world(folder, TRACK, [car_of_version(5), car_of_version(4)], CameraSize(320, 240), "/run/socket", "/seen")
    return folder


def test_a_world_is_xml_that_names_only_files_it_has(world: Path) -> None:
    root = ET.parse(world / "world.sdf").getroot()
    for element in root.iter("uri"):
        assert element.text is not None
        assert (world / element.text.removeprefix("file:///seen/")).exists(), element.text
    assert len(root.findall(".//model[link]")) == 4  # ground, the eye's stand, two cars
    materials = (world / "materials/scripts/undercut.material").read_text()
    for element in root.iter("name"):
        assert f"material {element.text} " in materials


def test_a_step_is_a_fifteenth_of_a_second_of_physics(world: Path) -> None:
    root = ET.parse(world / "world.sdf").getroot()
    step = root.findtext(".//max_step_size")
    assert step is not None
    assert SUBSTEPS * float(step) == pytest.approx(1 / 15, abs=1e-15)


@pytest.mark.parametrize(("index", "version"), [(0, 5), (1, 4)])
def test_a_cars_masses_are_those_of_its_description(world: Path, index: int, version: int) -> None:
    car = car_of_version(version)
    model = ET.parse(world / "world.sdf").getroot().find(f".//model[@name='car_{index}']")
    assert model is not None
    masses, places, turning = [], [], []
    for link in model.findall("link"):
        place = np.array([float(v) for v in (link.findtext("pose") or "0 0 0").split()[:3]])
        offset = np.array([float(v) for v in (link.findtext("inertial/pose") or "0 0 0").split()[:3]])
        upright = link.get("name") == "base_link" or "hinge" in str(link.get("name"))
        masses.append(float(link.findtext("inertial/mass") or 0))
        places.append(place + (offset if upright else 0))
        # a wheel lies on its side in its own frame: the axis that stands up is its y
        turning.append(float(link.findtext("inertial/inertia/izz" if upright else "inertial/inertia/iyy") or 0))
    mass, place = np.array(masses), np.array(places)
    centre = mass @ place / mass.sum()
    spread = ((place[:, :2] - centre[:2]) ** 2).sum(axis=1)
    assert mass.sum() == pytest.approx(6.5622)
    assert centre[0] == pytest.approx(REAR_AXLE_X_M + car.centre * WHEELBASE_M, abs=2e-4)
    assert BASE_LINK_HEIGHT_M + centre[2] == pytest.approx(0.024, abs=0.0005)
    assert np.sqrt((mass @ spread + np.sum(turning)) / mass.sum()) == pytest.approx(car.gyration_m, rel=0.01)


@pytest.mark.parametrize(("version", "ticks_a_second"), [(5, 60.0), (4, 0.0)])
def test_controllers_answer_as_the_description_says(version: int, ticks_a_second: float) -> None:
    car = car_of_version(version)
    told = controllers(car)
    assert 2 * (told["front_load"] + told["rear_load"]) == pytest.approx(6.5622 * 9.8)
    assert told["front_load"] / told["rear_load"] == pytest.approx(car.centre / (1 - car.centre))
    # what is left of an error after a tenth of a second of the controller's ticks
    assert told["controller_rate"] == ticks_a_second
    rate = told["steering_rate"]
    left = (1 - rate / ticks_a_second) ** (0.1 * ticks_a_second) if ticks_a_second else np.exp(-0.1 * rate)
    assert left == pytest.approx(np.exp(-0.1 / car.steering_lag_s), rel=1e-6)


def test_the_ground_covers_the_room_and_shows_the_road(world: Path) -> None:
    meshes = [mesh.read_text().splitlines() for mesh in (world / "meshes").glob("ground_*.obj")]
    corners = [[float(v) for v in line.split()[1:3]] for lines in meshes for line in lines if line.startswith("v ")]
    low, high = np.min(corners, axis=0), np.max(corners, axis=0)
    xmin, ymin, xmax, ymax = TRACK.bounds
    assert (low <= np.array([xmin, ymin]) - WALL_MARGIN_M + 0.01).all()
    assert (high >= np.array([xmax, ymax]) + WALL_MARGIN_M - 0.01).all()
    # the first tile's texel at a point 0.2 m left of the centre line is asphalt: blue above red
    mesh = (world / "meshes/ground_0.obj").read_text().splitlines()
    points = np.array([[float(v) for v in line.split()[1:3]] for line in mesh if line.startswith("v ")])
    picture = np.asarray(Image.open(world / "materials/textures/ground_0.png"))
    side = points[:, 0].max() - points[:, 0].min()
    for distance in np.linspace(0, TRACK.length_m, 40):
        pose = TRACK.pose_at(np.array([distance]), np.array([0.2]))
        u, v = (pose.x_m[0] - points[:, 0].min()) / side, (pose.y_m[0] - points[:, 1].min()) / side
        if 0.01 < u < 0.99 and 0.01 < v < 0.99:
            row, column = int((1 - v) * len(picture)), int(u * len(picture))
            red, _, blue = picture[row - 6 : row + 6, column - 6 : column + 6].reshape(-1, 3).mean(axis=0)
            assert blue > red + 10, (distance, red, blue)


def test_every_look_has_a_mesh_of_closed_blocks(world: Path) -> None:
    for number, blocks in [(0, 1), *((1 + c, 3) for c in range(len(CAR_COLORS)))]:
        lines = (world / f"meshes/look_{number}.obj").read_text().splitlines()
        faces = [[int(c.split("/")[0]) for c in line.split()[1:]] for line in lines if line.startswith("f ")]
        points = np.array([[float(v) for v in line.split()[1:]] for line in lines if line.startswith("v ")])
        assert len(faces) == 12 * blocks
        # outward faces of a closed body enclose a positive volume (divergence theorem)
        a, b, c = (points[[face[k] - 1 for face in faces]] for k in range(3))
        assert np.einsum("ij,ij->", a, np.cross(b, c)) / 6 > 0


def test_without_gazebo_the_error_says_how_to_get_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(SimulatorError, match=r"make gazebo"):
        Install.find(tmp_path / "nowhere")
    (tmp_path / "root/usr/bin").mkdir(parents=True)
    (tmp_path / "root/usr/bin/gzserver").touch()
    with pytest.raises(SimulatorError, match=r"lock-step plugin\n  fix:  make gazebo"):
        Install.find(tmp_path / "root")
    (tmp_path / "root" / ROOT_PLUGINS).mkdir(parents=True)
    (tmp_path / "root" / ROOT_PLUGINS / PLUGIN).touch()
    with pytest.raises(SimulatorError, match="bubblewrap is missing"):
        Install.find(tmp_path / "root")


def gone(pids: list[int], deadline_s: float = 600.0) -> bool:
    """Whether all the processes end within the deadline."""
    until = time.monotonic() + deadline_s
    while any(Path(f"/proc/{pid}").exists() and "Z" not in _state(pid) for pid in pids):
        if time.monotonic() > until:
            return False
        time.sleep(0.05)
    return True


def _state(pid: int) -> str:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except OSError:
        return "Z"


def below(pid: int) -> list[int]:
    """The process and all that it has started."""
    found = [pid]
    for tasks in Path(f"/proc/{pid}/task").glob("*/children"):
        for child in tasks.read_text().split():
            found += below(int(child))
    return found


def of_name(pids: list[int], name: str) -> list[int]:
    return [pid for pid in pids if Path(f"/proc/{pid}/comm").read_text().strip() == name]


@pytest.fixture
def simulator() -> Iterator[GazeboSimulator]:
    made = GazeboSimulator(TRACK, [MODEL], gazebo_root())
    yield made
    made.close()


def drive(simulator: GazeboSimulator, steps: int) -> list[float]:
    simulator.place(ONE, TRACK.pose_at(np.array([1.0])))
    states = []
    for k in range(steps):
        simulator.step(ONE, Controls(np.array([0.3 * np.sin(k / 4)]), np.array([1.5])))
        states += [simulator.cars.x_m[0], simulator.cars.y_m[0], simulator.cars.heading_rad[0]]
    return states


@needs_gazebo
@pytest.mark.gazebo
@pytest.mark.parametrize("victim", ["gzserver", "Xvfb"])
def test_a_killed_gazebo_is_an_error_and_the_next_start_brings_it_back(simulator: GazeboSimulator, victim: str) -> None:
    undisturbed = drive(simulator, 20)
    server = simulator._server
    assert server is not None
    processes = below(server.pid)
    (pid,) = of_name(processes, victim)
    os.kill(pid, signal.SIGKILL)

    def go_on() -> None:
        for _ in range(200):  # gzserver outlives its X server by a moment
            simulator.step(ONE, Controls(np.zeros(1), np.ones(1)))
            simulator.observe(ONE)

    with pytest.raises(SimulatorError, match="Gazebo has gone"):
        go_on()
    assert gone(processes)
    assert drive(simulator, 20) == undisturbed


@needs_gazebo
@pytest.mark.gazebo
@pytest.mark.parametrize("steering_deg", [0.0, 20.0, -30.0])
def test_a_start_is_that_of_the_built_in_car(simulator: GazeboSimulator, steering_deg: float) -> None:
    paths = []
    for each in (simulator, BuiltinSimulator(TRACK, [MODEL])):
        each.place(ONE, Poses(np.array([1.0]), np.array([2.0]), np.array([0.5])))
        path = []
        for _ in range(6):
            each.step(ONE, Controls(np.radians([steering_deg]), np.array([4.0])))
            path.append([each.cars.x_m[0], each.cars.y_m[0]])
        paths.append(np.array(path))
    gazebo, builtin = paths
    # after 0.4 s and 0.7 m; a car whose front wheels leave the ground at the start is 11 cm behind
    np.testing.assert_allclose(gazebo, builtin, atol=0.03)


@needs_gazebo
@pytest.mark.gazebo
def test_steps_are_exact_while_the_machine_is_busy(simulator: GazeboSimulator) -> None:
    before = simulator.substeps
    burners = [subprocess.Popen([sys.executable, "-c", "while True: pass"]) for _ in range(3)]
    try:
        drive(simulator, 30)
    finally:
        for burner in burners:
            burner.kill()
            burner.wait()
    assert simulator.substeps - before == 30 * SUBSTEPS


@needs_gazebo
@pytest.mark.gazebo
@pytest.mark.parametrize("end", ["close", "exit", "kill"])
def test_no_process_outlives_its_simulator(end: str) -> None:
    code = f"""
import sys
from tests.unit.test_gazebo import *
simulator = GazeboSimulator(TRACK, [MODEL], gazebo_root())
print(*below(simulator._server.pid), flush=True)
sys.stdin.readline()
{"simulator.close()" if end == "close" else "pass"}
"""
    with subprocess.Popen([sys.executable, "-c", code], cwd=REPO, stdin=-1, stdout=-1, text=True) as child:
        assert child.stdin is not None and child.stdout is not None
        processes = [int(pid) for pid in child.stdout.readline().split()]
        assert len(of_name(processes, "gzserver")) == len(of_name(processes, "Xvfb")) == 1
        if end == "kill":
            child.kill()
        else:
            child.stdin.write("\n")
            child.stdin.close()
    assert gone(processes)


@needs_gazebo
@pytest.mark.gazebo
def test_broken_worlds_and_plugins_are_named() -> None:
    install = Install.find(gazebo_root())

    def write(text: str) -> None:
        def into(folder: Path, seen_from: str, socket: str) -> None:
            (folder / "world.sdf").write_text(text)

        Server(install, into).close()

    with pytest.raises(SimulatorError, match="Gazebo"):
        write("<sdf version='1.6'><world name='broken'>")
    with pytest.raises(SimulatorError, match=r"Failed to load plugin(.|\n)*fix:  make gazebo"):
        write(
            "<sdf version='1.6'><world name='bare'><plugin name='gone' filename='libundercut_gone.so'/></world></sdf>"
        )


def test_without_a_display_the_error_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    assert Screen().environment(in_root=True) == {} and Screen().binds() == []
    for display in ("", ":987", "elsewhere:0"):
        monkeypatch.setenv("DISPLAY", display)
        with pytest.raises(SimulatorError, match=rf"--gui: DISPLAY={display} is no X server(.|\n)*leave it out"):
            Screen(gui=True).environment(in_root=True)
        with pytest.raises(SimulatorError, match="UNDERCUT_GAZEBO_GPU"):
            Screen(gpu=True).environment(in_root=False)


@needs_gazebo
@pytest.mark.gazebo
@pytest.mark.slow
def test_a_window_shows_the_world_and_changes_nothing(
    simulator: GazeboSimulator, monkeypatch: pytest.MonkeyPatch
) -> None:
    if shutil.which("Xvfb") is None:
        pytest.skip("no X server to show a window on: apt-get install xvfb, then pytest -m gazebo")
    read, write = os.pipe()
    command = ["Xvfb", "-displayfd", str(write), "-screen", "0", "1000x700x24", "+extension", "GLX"]
    with subprocess.Popen(command, pass_fds=[write], stderr=subprocess.DEVNULL) as desktop:
        shown = None
        try:
            display = f":{os.read(read, 16).decode().strip()}"
            monkeypatch.setenv("DISPLAY", display)
            shown = GazeboSimulator(TRACK, [MODEL], gazebo_root(), screen=Screen(gui=True))
            assert drive(shown, 20) == drive(simulator, 20)
            assert all(np.array_equal(shown.observe(ONE)[it], simulator.observe(ONE)[it]) for it in MODEL.sensors)
            until = time.monotonic() + 600
            while not _shows_a_track(display):
                assert time.monotonic() < until, "no window with a track within 600 s"
                shown.step(ONE, Controls(np.zeros(1), np.full(1, 0.1)))
                time.sleep(0.5)
            assert shown._server is not None
            for pid in of_name(below(shown._server.pid), "gzclient"):
                os.kill(pid, signal.SIGKILL)
            for _ in range(20):
                shown.step(ONE, Controls(np.zeros(1), np.ones(1)))
        finally:
            if shown is not None:
                shown.close()
            desktop.terminate()


def _shows_a_track(display: str) -> bool:
    """Whether the window has the road's asphalt: bluish and dark."""
    seen = np.asarray(ImageGrab.grab(xdisplay=display)).astype(int)
    return int(((seen[..., 2] - seen[..., 0] > 15) & (seen.sum(axis=2) < 300)).sum()) > 3000
