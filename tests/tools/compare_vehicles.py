"""The built-in car beside Gazebo's: circles, steps of speed and steering, slaloms, the limit of grip and starts at 1 to
4 m/s.

python -m tests.tools.compare_vehicles [--write]

Both drive the same commands from rest, open loop, for cars of metadata version 5 and 4. Prints a table; with --write
also renews the one in docs/vehicle.md, docs/images/vehicles.png and tests/bench/results/vehicles.json. It needs what
`make gazebo` makes.
"""

import argparse
import math
from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from contract.metadata import ModelMetadata
from contract.state import STEP_S, Controls, FloatArray, Poses
from simapp.builtin import BuiltinSimulator
from simapp.gazebo.simulator import GazeboSimulator
from simapp.simulation import Simulation
from simapp.tracks import load_track
from tests.bench.record import write_result
from tests.conftest import REPO
from undercut.runs.simulators import gazebo_root

SPEEDS_MPS = (1.0, 2.0, 3.0, 4.0)
VERSIONS = (5, 4)
RUN_UP, STEPS = 25, 45
"""Steps straight on to reach the speed, or at rest before a start, and those that are compared: 3 s."""
PAGE = REPO / "docs" / "vehicle.md"
BEGIN, END = "<!-- python -m tests.tools.compare_vehicles --write -->\n", "<!-- end of compare_vehicles -->\n"


def _steered(angle_deg: float) -> Callable[[float, float], tuple[float, float]]:
    return lambda time_s, speed_mps: (angle_deg, speed_mps)


MANOEUVRES: dict[str, Callable[[float, float], tuple[float, float]]] = {
    "circle, 10°": _steered(10.0),
    "circle, 20°": _steered(20.0),
    "circle, 30°": _steered(30.0),
    "steering 20° for 1 s": lambda time_s, speed_mps: (20.0 if time_s < 1.0 else 0.0, speed_mps),
    "slalom, ±15° at 1 Hz": lambda time_s, speed_mps: (15.0 * math.sin(2 * math.pi * time_s), speed_mps),
    "grip: to 30° in 3 s": lambda time_s, speed_mps: (10.0 * time_s, speed_mps),
    "brake to 0.5 m/s at 10°": lambda time_s, speed_mps: (10.0, 0.5 if time_s > 0.5 else speed_mps),
    "start at 10°": _steered(10.0),
    "start at 20°": _steered(20.0),
    "start at 30°": _steered(30.0),
}
"""Name -> (steering in degrees, speed in m/s) commanded at a time after the run-up, for the speed of the row."""
STARTS = [name for name in MANOEUVRES if name.startswith("start")]
"""Those that begin at rest."""


@dataclass(frozen=True, slots=True)
class Driven:
    """What V x S x M cars did (versions, speeds, manoeuvres), from the start of the run-up.

    path (V, S, M, RUN_UP + STEPS + 1, 2) of base_link in metres; speed_mps and turn_rps alike without the last axis.
    """

    path: FloatArray
    speed_mps: FloatArray
    turn_rps: FloatArray

    @property
    def compared(self) -> FloatArray:
        """Paths from the end of the run-up on, from its place and in the run-up's direction."""
        return np.asarray(self.path[..., RUN_UP:, :] - self.path[..., RUN_UP : RUN_UP + 1, :])

    @property
    def sideways_mps2(self) -> FloatArray:
        """(V, S, M): mean over the last third second of speed x yaw rate."""
        return np.asarray((self.speed_mps * self.turn_rps)[..., -5:].mean(axis=-1))


def drive(simulator: Simulation) -> Driven:
    """All manoeuvres at all speeds, of the cars of one simulator, as cars() lays them out."""
    shape = len(VERSIONS), len(SPEEDS_MPS), len(MANOEUVRES)
    every = np.arange(math.prod(shape))
    simulator.place(every, Poses(np.zeros(len(every)), 4.0 * every.astype(np.float64), np.zeros(len(every))))
    speeds = np.broadcast_to(np.array(SPEEDS_MPS)[:, np.newaxis], shape).ravel()
    commands = list(MANOEUVRES.values()) * (len(every) // len(MANOEUVRES))
    run_up = [0.0 if name in STARTS else 1.0 for name in MANOEUVRES] * (len(every) // len(MANOEUVRES))
    rows = []
    for step in range(-RUN_UP, STEPS + 1):
        state = simulator.cars
        rows.append([*(column.copy() for column in (state.x_m, state.y_m, state.speed_mps, state.yaw_rate_rps))])
        told = [
            command(step * STEP_S, speed) if step >= 0 else (0.0, share * speed)
            for command, share, speed in zip(commands, run_up, speeds.tolist(), strict=True)
        ]
        steering_deg, speed_mps = np.array(told).T
        simulator.step(every, Controls(np.radians(steering_deg), speed_mps))
    columns = np.moveaxis(np.array(rows), 0, -1).reshape(4, *shape, RUN_UP + STEPS + 1)
    return Driven(np.stack([columns[0], columns[1] - columns[1, ..., :1]], axis=-1), columns[2], columns[3])


def cars() -> list[ModelMetadata]:
    """One of each version, speed and manoeuvre."""
    model = ModelMetadata.load(REPO / "actions" / "default.json")
    each = len(SPEEDS_MPS) * len(MANOEUVRES)
    return [replace(model, version=version) for version in VERSIONS for _ in range(each)]


def apart(builtin: Driven, gazebo: Driven) -> tuple[FloatArray, FloatArray]:
    """Largest distance between the two paths (V, S, M), in metres and as a share of the built-in way."""
    metres = np.linalg.norm(builtin.compared - gazebo.compared, axis=-1).max(axis=-1)
    way = np.linalg.norm(np.diff(builtin.compared, axis=-2), axis=-1).sum(axis=-1)
    return metres, metres / way


def table(builtin: Driven, gazebo: Driven) -> str:
    """Markdown: a row a version and manoeuvre, a column a speed."""
    _, share = apart(builtin, gazebo)
    side = np.abs(builtin.sideways_mps2), np.abs(gazebo.sideways_mps2)
    end = builtin.speed_mps[..., -1], gazebo.speed_mps[..., -1]
    lines = [
        "| version | manoeuvre | " + " | ".join(f"{speed:.0f} m/s" for speed in SPEEDS_MPS) + " |",
        "|---|---|" + "---|" * len(SPEEDS_MPS),
    ]
    for v, version in enumerate(VERSIONS):
        for m, name in enumerate(MANOEUVRES):
            cells = [
                f"{100 * share[v, s, m]:.1f} %: {side[0][v, s, m]:.1f}, {side[1][v, s, m]:.1f} m/s²; "
                f"{end[0][v, s, m]:.2f}, {end[1][v, s, m]:.2f} m/s"
                for s in range(len(SPEEDS_MPS))
            ]
            lines.append(f"| {version} | {name} | " + " | ".join(cells) + " |")
    return "\n".join(lines) + "\n"


def picture(builtin: Driven, gazebo: Driven) -> Figure:
    """Paths: two rows a version, a colour a speed; built-in as lines, Gazebo as dots."""
    columns = math.ceil(len(MANOEUVRES) / 2)
    figure = Figure(figsize=(2.6 * columns, 5.6 * len(VERSIONS)), dpi=110, layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.subplots(2 * len(VERSIONS), columns).reshape(len(VERSIONS), -1)
    colours = ("#3b6fb6", "#2e8b57", "#d98c21", "#b03a48")
    for v, version in enumerate(VERSIONS):
        for m, name in enumerate(MANOEUVRES):
            plot = axes[v, m]
            for s, colour in enumerate(colours):
                line, dots = builtin.compared[v, s, m], gazebo.compared[v, s, m]
                plot.plot(*line.T, color=colour, lw=1.2)
                plot.plot(*dots[::3].T, ".", color=colour, ms=4)
            plot.set_aspect("equal", adjustable="datalim")
            plot.tick_params(labelsize=7)
            plot.set_title(f"version {version}: {name}", fontsize=8)
    for speed, colour in zip(SPEEDS_MPS, colours, strict=True):
        axes[0, 0].plot([], [], color=colour, label=f"{speed:.0f} m/s")
    axes[0, 0].plot([], [], color="0.3", lw=1.2, label="built-in")
    axes[0, 0].plot([], [], ".", color="0.3", label="Gazebo, each 0.2 s")
    axes[0, 0].legend(fontsize=6, loc="best")
    return figure


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument(
        "--write", action="store_true", help=f"renew {PAGE.relative_to(REPO)}, its picture and the JSON"
    )
    write = parser.parse_args().write
    track, driven = load_track("first_oval", []), []
    for simulator in (BuiltinSimulator(track, cars()), GazeboSimulator(track, cars(), gazebo_root())):
        driven.append(drive(simulator))
        simulator.close()
    builtin, gazebo = driven
    text = table(builtin, gazebo)
    print(text)
    metres, share = apart(builtin, gazebo)
    print(f"median {100 * np.median(share):.1f} % of the way, worst {100 * share.max():.1f} %")
    if write:
        before, rest = PAGE.read_text().split(BEGIN)
        PAGE.write_text(f"{before}{BEGIN}\n{text}\n{END}{rest.split(END)[1]}")
        picture(builtin, gazebo).savefig(REPO / "docs" / "images" / "vehicles.png")
        rows = {
            f"v{version} {name} {speed:.0f} m/s": {
                "apart_m": float(metres[v, s, m]),
                "apart_share_of_way": float(share[v, s, m]),
                "sideways_mps2": [float(each.sideways_mps2[v, s, m]) for each in driven],
                "end_speed_mps": [float(each.speed_mps[v, s, m, -1]) for each in driven],
            }
            for v, version in enumerate(VERSIONS)
            for m, name in enumerate(MANOEUVRES)
            for s, speed in enumerate(SPEEDS_MPS)
        }
        median, worst = float(np.median(share)), float(share.max())
        told = {"median_apart_share_of_way": median, "worst_apart_share_of_way": worst, "runs": rows}
        write_result(
            "vehicles", told, "built-in first, Gazebo second; 3 s of the same commands after 1.7 s straight on"
        )


if __name__ == "__main__":
    main()
