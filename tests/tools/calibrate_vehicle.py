"""Fits the car with tyre slip to recordings of the real simulator: python -m tests.tools.calibrate_vehicle [--write]

Replays recorded commands open loop from states that are estimated from the rows before, prints how far the car strays,
beside the best kinematic bicycle, and with --write renews the tables of docs/vehicle.md. The recordings stand beside a
development checkout (../shared/reference/simtraces: folders of *-iteration.csv) and stay out of the project.
"""

import argparse
import sys
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from scipy.optimize import least_squares

from contract.conditions import Conditions
from contract.simtrace import Trace, from_csv
from contract.state import STEP_S, CarBatch, Controls, FloatArray, Poses
from contract.vehicle import FRONT_POINT_X_M, REAR_AXLE_X_M, WHEELBASE_M
from simapp.vehicle import place_cars
from simapp.vehicle.drive import drive_slipping
from simapp.vehicle.kinematic import STEERING_LAG_S
from simapp.vehicle.slip import RECORDED, SlipCar
from tests.conftest import REPO, SHARED_REFERENCE

SIMTRACES = SHARED_REFERENCE / "simtraces"
REPORT = REPO / "docs" / "vehicle.md"
MARK = "<!-- below: python -m tests.tools.calibrate_vehicle --write -->\n"
PAST, AHEAD = 6, 15
"""Rows before the one that a replay starts from, and after it."""
FIRST_ROW = 2
"""Of an episode: before it the car still drops onto its wheels."""
LONGEST_ROW_S = 0.13
"""A longer one is a pause of the recorder."""
FITTED = ("slide_mps", "gyration_m", "speed_lag_s", "steering_lag_s", "steering_gain", "latency_steps")
SPREAD_M = {5: 0.05, 10: 0.10, 15: 0.15}
"""Rows ahead that the fits look at, and errors there that weigh the same; larger ones weigh less than squared."""


@dataclass(frozen=True, slots=True)
class Windows:
    """K pieces of recordings; row PAST is the one that a replay starts from.

    poses     (K, PAST + 1 + AHEAD, 3) of x, y (m) of the front point and heading (radians, without jumps)
    commands  (K, PAST + 1 + AHEAD, 2) of steering (radians) and speed (m/s)
    times_s   (K, PAST + 1 + AHEAD) recorded tstamp, 0 at row PAST
    """

    poses: FloatArray
    commands: FloatArray
    times_s: FloatArray

    def errors_m(self, path: FloatArray) -> FloatArray:
        """(K, AHEAD) distance of a replayed path (K, AHEAD, 2) from the recorded one."""
        return np.asarray(np.linalg.norm(path - self.poses[:, PAST + 1 :, :2], axis=-1))

    def start(self) -> tuple[FloatArray, FloatArray]:
        """Pose (K, 3) at row PAST and its rate of change, a parabola through it and the four rows before, which weigh
        the less the older they are.
        """
        rows = np.arange(-4, 1)
        weight = 0.7 ** (-rows / 2)
        powers = np.vander(rows * STEP_S, 3, increasing=True)
        solve = np.linalg.pinv(powers * weight[:, np.newaxis]) * weight
        fitted = np.einsum("ij,kjl->kil", solve, self.poses[:, PAST - 4 : PAST + 1])
        return fitted[:, 0], fitted[:, 1]


def recordings() -> dict[str, list[Path]]:
    """Name of a recording -> its files in order; empty where they are absent."""
    if not SIMTRACES.is_dir():
        return {}
    return {folder.name: sorted(folder.glob("*-iteration.csv")) for folder in sorted(SIMTRACES.iterdir())}


def fit_files(files: list[Path]) -> list[Path]:
    """Those that constants may be fitted to: every other one."""
    return files[::2]


def held_out_files(files: list[Path]) -> list[Path]:
    """The rest."""
    return files[1::2]


def windows(files: list[Path], every: int) -> Windows:
    """Pieces that start at every so manieth row of each episode; before an episode the car stands uncommanded."""
    poses, commands, times = [], [], []
    for path in files:
        for trace in from_csv(path.read_text(), path.name):
            pose, command = _rows(trace)
            stamps = np.concatenate([trace.timestamps_s[0] + STEP_S * np.arange(-PAST, 0), trace.timestamps_s])
            for row in range(FIRST_ROW, len(trace.steps) - AHEAD, every):
                cut = slice(row, row + PAST + 1 + AHEAD)
                if np.diff(stamps[cut]).max() < LONGEST_ROW_S:
                    poses.append(pose[cut])
                    commands.append(command[cut])
                    times.append(stamps[cut] - stamps[row + PAST])
    return Windows(np.array(poses), np.array(commands), np.array(times))


def _rows(trace: Trace) -> tuple[FloatArray, FloatArray]:
    steps = trace.steps
    pose = np.column_stack([steps["x_m"], steps["y_m"], np.unwrap(steps["heading_rad"])])
    command = np.column_stack([steps["steering_rad"], steps["speed_mps"]])
    return np.concatenate([np.repeat(pose[:1], PAST, 0), pose]), np.concatenate([np.zeros((PAST, 2)), command])


def together(parts: list[Windows]) -> Windows:
    return Windows(*(np.concatenate([getattr(part, name) for part in parts]) for name in Windows.__slots__))


def replay(pieces: Windows, car: SlipCar = RECORDED, pull_deg: float = 0.0) -> FloatArray:
    """Path (K, AHEAD, 2) of the front point, driven by the simulator's own model.

    `pull_deg` is added to the steering angle. Servo and late commands are those that the rows before bring about.
    """
    count = len(pieces.poses)
    state, cars, conditions = CarBatch.zeros(count), np.arange(count), Conditions.nominal(count)
    conditions.steering_offset_deg[:] = pull_deg
    place_cars(state, cars, Poses(*(np.zeros(count) for _ in range(3))))
    for row in range(PAST):
        drive_slipping(state, cars, Controls(*pieces.commands[:, row].T), conditions, car)
    pose, rate = pieces.start()
    cos, sin = np.cos(pose[:, 2]), np.sin(pose[:, 2])
    state.x_m[:], state.y_m[:] = pose[:, 0] - FRONT_POINT_X_M * cos, pose[:, 1] - FRONT_POINT_X_M * sin
    state.heading_rad[:], state.yaw_rate_rps[:] = pose[:, 2], rate[:, 2]
    state.speed_mps[:] = rate[:, 0] * cos + rate[:, 1] * sin
    centre_x_m = REAR_AXLE_X_M + car.centre * WHEELBASE_M
    state.sideways_mps[:] = rate[:, 1] * cos - rate[:, 0] * sin - rate[:, 2] * (FRONT_POINT_X_M - centre_x_m)
    path = np.empty((count, AHEAD, 2))
    for step in range(AHEAD):
        drive_slipping(state, cars, Controls(*pieces.commands[:, PAST + step].T), conditions, car)
        path[:, step, 0] = state.x_m + FRONT_POINT_X_M * np.cos(state.heading_rad)
        path[:, step, 1] = state.y_m + FRONT_POINT_X_M * np.sin(state.heading_rad)
    return path


@dataclass(frozen=True, slots=True)
class Kinematic:
    """The rival: a kinematic bicycle with first-order lags of speed and steering."""

    gain: float
    speed_lag_s: float
    steering_lag_s: float = STEERING_LAG_S
    pull_deg: float = 0.0
    latency_steps: float = 0.0

    def replay(self, pieces: Windows, recorded_time: bool = False, substeps: int = 8) -> FloatArray:
        """Like `replay`; rows last as long as tstamp says, or 1/15 s."""
        pose, rate = pieces.start()
        arm = FRONT_POINT_X_M - REAR_AXLE_X_M
        heading = pose[:, 2].copy()
        x, y = pose[:, 0] - arm * np.cos(heading), pose[:, 1] - arm * np.sin(heading)
        speed = rate[:, 0] * np.cos(heading) + rate[:, 1] * np.sin(heading)
        steering, path = np.zeros(len(pose)), np.empty((len(pose), AHEAD, 2))
        for row in range(1, PAST + AHEAD):
            row_s = pieces.times_s[:, row + 1] - pieces.times_s[:, row] if recorded_time else STEP_S
            dt = np.asarray(row_s) / substeps
            for i in range(substeps):
                command = pieces.commands[:, int(np.floor(row + (i + 0.5) / substeps - self.latency_steps))]
                angle = self.gain * command[:, 0] + np.radians(self.pull_deg)
                steering += (angle - steering) * (1 - np.exp(-dt / self.steering_lag_s))
                if row >= PAST:
                    speed += (command[:, 1] - speed) * (1 - np.exp(-dt / self.speed_lag_s))
                    turn = speed * np.tan(steering) / WHEELBASE_M * dt
                    x, y = x + speed * np.cos(heading + turn / 2) * dt, y + speed * np.sin(heading + turn / 2) * dt
                    heading = heading + turn
            if row >= PAST:
                path[:, row - PAST] = np.column_stack([x + arm * np.cos(heading), y + arm * np.sin(heading)])
        return path


def _residuals(pieces: Windows, path: FloatArray) -> FloatArray:
    rows = np.array(list(SPREAD_M))
    off = path[:, rows - 1] - pieces.poses[:, PAST + rows, :2]
    return np.asarray(off / np.array(list(SPREAD_M.values()))[:, np.newaxis]).ravel()


def fit_slip(pieces: Windows) -> tuple[SlipCar, float]:
    """The car that strays least from the recordings, and how far they pull to the left, in degrees."""

    def car(z: FloatArray) -> tuple[SlipCar, float]:
        return RECORDED._replace(**dict(zip(FITTED, map(float, z), strict=False))), float(z[-1])

    found = least_squares(
        lambda z: _residuals(pieces, replay(pieces, *car(z))),
        [0.3, 0.15, 0.25, 0.1, 0.8, 0.4, 0.0],
        bounds=([0.01, 0.05, 0.02, 0.01, 0.2, 0.0, -10.0], [5.0, 0.5, 1.0, 1.0, 1.5, 2.0, 10.0]),
        x_scale=[0.3, 0.15, 0.25, 0.1, 0.8, 0.5, 2.0],
        loss="soft_l1",
        diff_step=0.01,
    )
    return car(found.x)


def fit_kinematic(pieces: Windows, plain: bool) -> Kinematic:
    """Plain: gain and speed lag. Otherwise steering lag, pull and latency (of three) as well."""
    fits = []
    free = 2 if plain else 4
    for latency_steps in (0.0,) if plain else (0.0, 0.5, 1.0):

        def rival(z: FloatArray, latency_steps: float = latency_steps) -> Kinematic:
            return replace(Kinematic(*map(float, z)), latency_steps=latency_steps)

        found = least_squares(
            lambda z, rival=rival: _residuals(pieces, rival(z).replay(pieces)),
            [0.6, 0.25, 0.3, 0.0][:free],
            bounds=([0.1, 0.02, 0.01, -10.0][:free], [1.5, 2.0, 2.0, 10.0][:free]),
            x_scale=[0.5, 0.2, 0.2, 2.0][:free],
            loss="soft_l1",
            diff_step=0.01,
        )
        fits.append((found.cost, rival(found.x)))
    return min(fits, key=lambda pair: pair[0])[1]


def share_of_row_time(files: list[Path]) -> tuple[float, int]:
    """How much of tstamp's irregularity the way between two rows shows (1: all, 0: none), and the rows looked at.

    The way is compared with the mean of the two before and the two after, so that speed does not matter.
    """
    ways, times = [], []
    for path in files:
        for trace in from_csv(path.read_text(), path.name):
            way = np.hypot(np.diff(trace.steps["x_m"]), np.diff(trace.steps["y_m"]))
            row_s = np.diff(trace.timestamps_s)
            around = (way[:-4] + way[1:-3] + way[3:-1] + way[4:]) / 4
            use = (around > 0.03) & (row_s[2:-2] < LONGEST_ROW_S) & (np.arange(len(around)) > 12)
            ways.append(way[2:-2][use] / around[use] - 1)
            times.append(row_s[2:-2][use] / STEP_S - 1)
    way, time = np.concatenate(ways), np.concatenate(times)
    use = abs(way) < 0.5
    return float((way[use] @ time[use]) / (time[use] @ time[use])), int(use.sum())


def report() -> str:
    """Fit, measure, and say it in Markdown."""
    found = recordings()
    fit = together([windows(fit_files(files), 11) for files in found.values()])
    car, pull_deg = fit_slip(fit)
    plain, tuned = fit_kinematic(fit, plain=True), fit_kinematic(fit, plain=False)
    lines = [
        *("| constant | fitted | in `simapp/vehicle/slip.py` |", "|---|---|---|"),
        *(f"| `{name}` | {getattr(car, name):.3f} | {getattr(RECORDED, name)} |" for name in SlipCar._fields),
        f"| pull of the recorded cars to the left | {pull_deg:.2f}° | none: a car of ours drives straight |",
        "",
    ]
    for title, kin in (("Plain kinematic", plain), ("Tuned kinematic", tuned)):
        lines += [
            f"{title}: steering gain {kin.gain:.3f}, speed lag {kin.speed_lag_s:.3f} s, steering lag "
            f"{kin.steering_lag_s:.3f} s, pull {kin.pull_deg:.2f}°, latency {kin.latency_steps} steps.",
            "",
        ]
    lines += [
        "| recording | files | replays | model | 5 steps | 15 steps | of plain |",
        "|---|---|---|---|---|---|---|",
    ]
    for name, files in found.items():
        for kind, some in (("fitted", fit_files(files)), ("held out", held_out_files(files))):
            pieces = windows(some, 5)
            paths = {
                "plain kinematic": plain.replay(pieces),
                "plain kinematic, rows as long as tstamp says": plain.replay(pieces, recorded_time=True),
                "tuned kinematic": tuned.replay(pieces),
                "**slip, as built in**": replay(pieces),
                "slip, with the recordings' pull": replay(pieces, RECORDED, pull_deg),
            }
            base = np.median(pieces.errors_m(paths["plain kinematic"]), 0)
            for model, path in paths.items():
                error = np.median(pieces.errors_m(path), 0)
                lines.append(
                    f"| {name} | {kind} | {len(pieces.poses)} | {model} | {error[4]:.3f} m | {error[14]:.3f} m "
                    f"| {error[4] / base[4]:.2f}, {error[14] / base[14]:.2f} |"
                )
    for name, files in found.items():
        share, rows = share_of_row_time(files)
        lines += ["", f"Share of tstamp's irregularity in the ways between rows, {name}: {share:.3f} ({rows} rows)."]
        own = fit_slip(windows(fit_files(files), 11))
        numbers = ", ".join(f"{f} {getattr(own[0], f):.3f}" for f in FITTED)
        lines.append(f"Fitted to this recording alone: {numbers}, pull {own[1]:.2f}°.")
    return "\n".join(lines) + "\n"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--write", action="store_true", help=f"renew the tables of {REPORT.relative_to(REPO)}")
    write = parser.parse_args().write
    if not recordings():
        sys.exit(f"{SIMTRACES} is absent: it needs folders of recorded *-iteration.csv files")
    tables = report()
    print(tables)
    if write:
        prose = REPORT.read_text().split(MARK)[0]
        REPORT.write_text(f"{prose}{MARK}\n{tables}")


if __name__ == "__main__":
    main()
