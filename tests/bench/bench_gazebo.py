"""Gazebo in lock step: environment steps a second, for one and two cars, and from its start to the first frame.

Every round also drives the built-in simulator, so that the ratio holds whatever else the machine does.
"""

import time
from pathlib import Path
from statistics import median

import numpy as np

from contract.metadata import ModelMetadata
from contract.protocols import Simulator
from contract.state import STEP_S, Controls
from simapp.builtin import BuiltinSimulator
from simapp.gazebo.simulator import GazeboSimulator
from simapp.gazebo.world import SUBSTEPS
from simapp.tracks import load_track
from tests.bench.record import write_result
from undercut.runs.simulators import gazebo_root

ROUNDS, STEPS = 3, 200
TRACK = load_track("paddock", [])
MODEL = ModelMetadata.load(Path(__file__).parents[2] / "actions" / "default.json")


def rate(simulator: Simulator) -> float:
    """Steps a second of the whole world, each with every car's frame."""
    cars = np.arange(len(simulator.cars.x_m))
    simulator.place(cars, TRACK.pose_at(1.0 + 3.0 * cars))
    controls = Controls(np.full(len(cars), 0.1), np.ones(len(cars)))
    simulator.observe(cars)  # the first one makes the built-in simulator's camera
    begin = time.perf_counter()
    for _ in range(STEPS):
        simulator.step(cars, controls)
        simulator.observe(cars)
    return STEPS / (time.perf_counter() - begin)


def main() -> None:
    starts: list[float] = []
    ratios: list[float] = []
    rates: dict[int, list[float]] = {1: [], 2: [], 20: []}
    for _ in range(ROUNDS):
        begin = time.perf_counter()
        one = GazeboSimulator(TRACK, [MODEL], gazebo_root())
        one.place(np.array([0]), TRACK.pose_at(np.array([1.0])))
        one.step(np.array([0]), Controls(np.zeros(1), np.ones(1)))
        one.observe(np.array([0]))
        starts.append(time.perf_counter() - begin)
        before = one.substeps
        rates[1].append(rate(one))
        assert one.substeps - before == STEPS * SUBSTEPS
        one.close()
        builtin = BuiltinSimulator(TRACK, [MODEL])
        ratios.append(rates[1][-1] / rate(builtin))
        for cars in (2, 20):
            more = GazeboSimulator(TRACK, [MODEL] * cars, gazebo_root())
            rates[cars].append(rate(more))
            more.close()
    write_result(
        "gazebo",
        {
            "steps_a_second_one_car": median(rates[1]),
            "times_real_time": median(rates[1]) * STEP_S,
            "steps_a_second_two_cars": median(rates[2]),
            "steps_a_second_twenty_cars": median(rates[20]),
            "car_steps_a_second_twenty_cars": 20 * median(rates[20]),
            "start_to_first_frame_s": median(starts),
            "rate_over_builtin_one_car": median(ratios),
            "physics_steps_a_control_step": SUBSTEPS,
        },
        f"median of {ROUNDS} rounds of {STEPS} steps with a frame of every car, software rendering, one gzserver",
    )


if __name__ == "__main__":
    main()
