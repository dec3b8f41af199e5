"""The time-optimal lap as an optimal-control problem: CasADi states it, IPOPT solves it.

The car is the simulator's own (simapp/vehicle/wheels.py), its equations written once more for CasADi, in coordinates of
a corridor: the distance s along its reference, the offset n to the left of it and the angle xi to it. Divided by the
speed along the reference they say how the state changes with s, at N points of a closed lap, joined by the trapezoidal
rule (Kelly, An introduction to trajectory optimization, SIAM Review 2017). A state is

    n xi     offset of the centre of mass, m, and heading of the car to the reference, rad
    u v r    its velocity ahead and to the left, m/s, and its yaw rate, rad/s
    delta    angle of the front wheels, rad
    command  commanded angle of the wheels, rad
    rim      speed of the wheels' rims, m/s

and the controls are the rates of `command` and `rim`. A car's latency shifts the commands in time and takes nothing
from a lap; that commands change 15 times a second only is for the driver to cope with (undercut.line.raceline).
"""

import itertools
import math
from dataclasses import dataclass
from typing import Any

import numpy as np

from contract.car import Car
from contract.errors import UndercutError
from contract.state import STEP_S, FloatArray
from contract.vehicle import (
    FRONT_AXLE_X_M,
    FRONT_WHEEL_Y_M,
    MAX_SPEED_MPS,
    MAX_STEERING_RAD,
    MIN_SPEED_MPS,
    REAR_AXLE_X_M,
    REAR_WHEEL_Y_M,
    WHEELBASE_M,
)
from undercut.line.corridor import Corridor

GRAVITY_MPS2 = 9.81
SKID = 0.3
"""The rear wheels slide aside by at most this share of the car's speed (17 degrees): beyond it a car drifts. A drifting
car of little grip is up to 2 % faster, since its tyres have grip along and across at once, but no model drives so."""
SLOWEST_MPS = 0.3
"""Along the reference, at each point of a lap."""
WHEELS = ("one", "all")
"""How many wheels stay on the road: one, which the rules of a race ask for, or all."""
GRIP_TRIED = (0.5, 0.25)
"""Shares of the grip at which the reference is driven to begin with: the second where the first leads nowhere."""
STATES = ("n", "xi", "u", "v", "r", "delta", "command", "rim")
CONTROLS = ("turning", "pulling")
_SCALE = {"n": 0.5, "xi": 0.5, "u": 3.0, "v": 0.5, "r": 4.0, "delta": 0.5, "command": 0.5, "rim": 3.0}
_CONTROL_SCALE = {"turning": 4.0, "pulling": 10.0}
_SMOOTH = {"turning": 1e-3, "pulling": 1e-3}
"""What a second of each control costs, in seconds, at its scale: of laps equally fast the calmest one is wanted."""


@dataclass(frozen=True, slots=True)
class Optimum:
    """A lap of N points of a corridor; each field (N,) but for those that say otherwise. Units as in the module."""

    states: FloatArray
    """(N, 8), columns as in STATES."""
    controls: FloatArray
    """(N, 2), columns as in CONTROLS."""
    time_s: FloatArray
    """(N + 1,) since the first point; the last is the lap's."""
    iterations: int

    @property
    def lap_s(self) -> float:
        return float(self.time_s[-1])

    def column(self, name: str) -> FloatArray:
        return np.asarray(self.states[:, STATES.index(name)])


class NoOptimumError(UndercutError):
    """The solver found no lap."""


def slopes(ca: Any, car: Car, state: Any, control: Any, curvature: Any) -> tuple[Any, Any]:
    """Derivatives of the state by time, (8,), and the speed along the reference in m/s, for CasADi's or numpy's
    numbers alike: `ca` has sin, cos, sqrt and tanh. The forces are those of `simapp.vehicle.wheels.advance`."""
    n, xi, u, v, r, delta, command, rim = state
    turning, pulling = control
    rear_m = car.centre * WHEELBASE_M
    front_m = WHEELBASE_M - rear_m
    load = 0.5 * car.friction * GRAVITY_MPS2
    front, rear = load * car.centre, load * (1.0 - car.centre)
    soft = car.slide_mps**2

    def slide(sliding: Any) -> Any:
        return sliding / ca.sqrt(sliding * sliding + soft)

    cos, sin = ca.cos(delta), ca.sin(delta)
    ahead_n, left_n, twist = 0.0, 0.0, 0.0
    for side in (1.0, -1.0):  # left, right
        ahead, aside = u - side * car.half_track_m * r, v + front_m * r
        pull, push = -front * slide(ahead * cos + aside * sin - rim), -front * slide(aside * cos - ahead * sin)
        fx, fy = pull * cos - push * sin, pull * sin + push * cos
        back = -rear * slide(ahead - rim)
        ahead_n += fx + back
        left_n += fy
        twist += front_m * fy - side * car.half_track_m * (fx + back)
    rear_y = -2.0 * rear * slide(v - rear_m * r)
    along = (u * ca.cos(xi) - v * ca.sin(xi)) / (1.0 - n * curvature)
    creep = (car.steering_gain * command + math.radians(car.steering_offset_deg) - delta) / car.steering_lag_s
    return (
        u * ca.sin(xi) + v * ca.cos(xi),
        r - curvature * along,
        ahead_n + v * r,
        left_n + rear_y - u * r,
        (twist - rear_m * rear_y) / car.gyration_m**2,
        creep + _kicks(ca, car, turning),
        turning,
        pulling,
    ), along


def _kicks(ca: Any, car: Car, turning: Any) -> Any:
    """What a controller's kicks turn the wheels by, rad/s, while the command turns: one for each step of 1/15 s, of
    twice the change and of steering_kick_rad at most."""
    if car.steering_kick_rad <= 0.0:
        return 0.0
    most = car.steering_kick_rad / STEP_S
    return most * ca.tanh(2.0 * car.steering_gain * turning / most)


def solve(
    corridor: Corridor, car: Car, margin_m: float = 0.0, wheels: str = "one", start: Optimum | None = None
) -> Optimum:
    """The fastest lap of the corridor. `margin_m` keeps the wheels so much further inside; `start` is a lap to begin
    with in place of the reference itself, driven calmly or slowly. NoOptimumError when IPOPT finds none."""
    starts = [start] if start is not None else [initial(corridor, car, share) for share in GRIP_TRIED]
    for begin in starts:
        try:
            return _solved(corridor, car, margin_m, wheels, begin)
        except NoOptimumError as problem:
            last = problem
    raise last


def _solved(corridor: Corridor, car: Car, margin_m: float, wheels: str, begin: Optimum) -> Optimum:
    import casadi

    ca: Any = casadi  # its annotations tell its two kinds of symbols apart, which one set of equations serves

    count, step_m = len(corridor.x_m), corridor.spacing_m
    scale = np.array([_SCALE[name] for name in STATES])
    control_scale = np.array([_CONTROL_SCALE[name] for name in CONTROLS])

    x, w, kappa = ca.SX.sym("x", 8), ca.SX.sym("w", 2), ca.SX.sym("kappa")
    state = [x[k] * scale[k] for k in range(8)]
    control = [w[k] * control_scale[k] for k in range(2)]
    rates, along = slopes(ca, car, state, control, kappa)
    by_s = ca.vertcat(*(rate / along / size for rate, size in zip(rates, scale, strict=True)))
    calm = sum(_SMOOTH[name] * w[k] ** 2 for k, name in enumerate(CONTROLS))
    point = ca.Function(
        "point", [x, w, kappa], [by_s, 1.0 / along, calm / along, along, _limits(ca, car, state, control)]
    )

    xs, ws = ca.MX.sym("xs", 8, count), ca.MX.sym("ws", 2, count)
    by_s, pace, calm, along, limits = point.map(count)(xs, ws, corridor.curvature[np.newaxis])
    after = [*range(1, count), 0]
    joined = xs[:, after] - xs - 0.5 * step_m * (by_s + by_s[:, after])
    edges, edge_low, edge_high = _edges(ca, corridor, car, state, x, xs, margin_m, wheels)
    constraints = [ca.vec(joined), ca.vec(along), ca.vec(limits), ca.vec(edges)]
    limit_low, limit_high = _limit_bounds(car)
    low = [np.zeros(8 * count), np.full(count, SLOWEST_MPS), np.tile(limit_low, count), edge_low]
    high = [np.zeros(8 * count), np.full(count, np.inf), np.tile(limit_high, count), edge_high]

    problem = {
        "x": ca.vertcat(ca.vec(xs), ca.vec(ws)),
        "f": step_m * ca.sum2(pace + calm),
        "g": ca.vertcat(*constraints),
    }
    options = {
        "print_time": False,
        "ipopt": {
            "print_level": 0,
            "sb": "yes",
            "max_iter": 600,
            "tol": 1e-5,
            # near the end the tyres' flat curves leave directions in which nothing changes: 0.003 % will do
            "acceptable_tol": 1e-2,
            "acceptable_constr_viol_tol": 1e-4,
            "acceptable_obj_change_tol": 3e-5,
            "acceptable_iter": 5,
            # the usual strategies take twice to five times as many iterations here
            "mu_strategy": "monotone",
            "mu_init": 3e-3,
            "linear_solver": "mumps",
        },
    }
    solver = ca.nlpsol("lap", "ipopt", problem, options)
    bounds = _variable_bounds(car, corridor, scale, control_scale)
    guess = np.concatenate([(begin.states / scale).ravel(), (begin.controls / control_scale).ravel()])
    found = solver(x0=guess, lbx=bounds[0], ubx=bounds[1], lbg=np.concatenate(low), ubg=np.concatenate(high))
    end = solver.stats()
    if not end["success"]:
        raise NoOptimumError(
            f"no fastest lap found: IPOPT stopped after {end['iter_count']} iterations with {end['return_status']}",
            "there is a way round between the edges that the car can steer",
            "look at the road (undercut tracks show), or try another --margin",
        )
    values = np.asarray(found["x"]).ravel()
    states = values[: 8 * count].reshape(count, 8) * scale
    controls = values[8 * count :].reshape(count, 2) * control_scale
    return Optimum(states, controls, times(corridor, car, states, controls), int(end["iter_count"]))


def times(corridor: Corridor, car: Car, states: FloatArray, controls: FloatArray) -> FloatArray:
    """(N + 1,) seconds since the first point, by the trapezoidal rule."""
    _, along = slopes(np, car, states.T, controls.T, corridor.curvature)
    pace = 1.0 / np.append(along, along[0])
    return np.concatenate([[0.0], np.cumsum(0.5 * corridor.spacing_m * (pace[:-1] + pace[1:]))])


def rim_gain(car: Car) -> float:
    """Speed of the rims for each m/s commanded."""
    return car.wheel_radius_m / car.command_radius_m


def _rim_bounds(car: Car) -> tuple[float, float]:
    gain = rim_gain(car)
    return MIN_SPEED_MPS * gain, min(MAX_SPEED_MPS * gain, car.top_speed_mps)


def _limits(ca: Any, car: Car, state: Any, control: Any) -> Any:
    """What is bounded besides the variables: the rims' commanded speed, which they follow with a lag, and the slip of
    the rear wheels."""
    _, _, u, v, r, _, _, rim = state
    return ca.vertcat(rim + car.speed_lag_s * control[1], (v - car.centre * WHEELBASE_M * r) / u)


def _limit_bounds(car: Car) -> tuple[list[float], list[float]]:
    slow, fast = _rim_bounds(car)
    return [slow, -SKID], [fast, SKID]


def _variable_bounds(
    car: Car, corridor: Corridor, scale: FloatArray, control_scale: FloatArray
) -> tuple[FloatArray, FloatArray]:
    slow, fast = _rim_bounds(car)
    low = np.array([-np.inf, -1.4, 0.05, -3.0, -20.0, -1.0, -MAX_STEERING_RAD, slow])
    high = np.array([np.inf, 1.4, 5.0, 3.0, 20.0, 1.0, MAX_STEERING_RAD, fast])
    swing = 2.0 * MAX_STEERING_RAD / STEP_S  # a step brings the command from one lock to the other
    rate = np.array([swing, (fast - slow) / STEP_S])
    count = len(corridor.x_m)
    lows = np.tile(low / scale, (count, 1))
    highs = np.tile(high / scale, (count, 1))
    # short of the centre of curvature, where these coordinates end
    room = 0.95 / np.maximum(np.abs(corridor.curvature), 1e-3) / scale[0]
    lows[:, 0] = np.where(corridor.curvature < 0.0, -room, -np.inf)
    highs[:, 0] = np.where(corridor.curvature > 0.0, room, np.inf)
    most = np.tile(rate / control_scale, count)
    return np.concatenate([lows.ravel(), -most]), np.concatenate([highs.ravel(), most])


def _edges(
    ca: Any, corridor: Corridor, car: Car, state: Any, x: Any, xs: Any, margin_m: float, wheels: str
) -> tuple[Any, FloatArray, FloatArray]:
    """Offsets of wheels (R, N) and their bounds (N * R,), point by point.

    One wheel on the road: those of the right side do not pass the left edge, nor those of the left side the right one;
    a side is taken at its middle, since at an edge the car lies along it. All wheels: each front and rear wheel keeps
    inside of the edge of its side, at the place of the edge that it is abreast of.
    """
    n, xi = state[0], state[1]
    centre_x_m = REAR_AXLE_X_M + car.centre * WHEELBASE_M
    front_x, rear_x = FRONT_AXLE_X_M - centre_x_m, REAR_AXLE_X_M - centre_x_m
    cos, sin = ca.cos(xi), ca.sin(xi)
    left, right = corridor.left_m - margin_m, corridor.right_m + margin_m
    if wheels == "one":
        middle_x, half = 0.5 * (front_x + rear_x), min(FRONT_WHEEL_Y_M, REAR_WHEEL_Y_M)
        rows = [n + middle_x * sin - half * cos, n + middle_x * sin + half * cos]
        bounds = [(np.full(len(left), -np.inf), left), (right, np.full(len(left), np.inf))]
    else:
        rows, bounds = [], []
        nowhere = np.full(len(left), np.inf)
        for ahead, half in ((front_x, FRONT_WHEEL_Y_M), (rear_x, REAR_WHEEL_Y_M)):
            rows += [n + ahead * sin + half * cos, n + ahead * sin - half * cos]
            bounds += [
                (-nowhere, _shifted(left, corridor, ahead)),
                (_shifted(right, corridor, ahead), nowhere),
            ]
    offsets = ca.Function("offsets", [x], [ca.vertcat(*rows)]).map(len(left))(xs)
    return (
        offsets,
        np.stack([low for low, _ in bounds], axis=1).ravel(),
        np.stack([high for _, high in bounds], axis=1).ravel(),
    )


def _shifted(edge: FloatArray, corridor: Corridor, ahead_m: float) -> FloatArray:
    """The edge's offsets (N,) as seen `ahead_m` further along, the reference's bend there and back taken off."""
    along = corridor.spacing_m * np.arange(len(edge) + 1)
    there = np.interp((along[:-1] + ahead_m) % corridor.length_m, along, np.append(edge, edge[0]))
    return np.asarray(there + 0.5 * corridor.curvature * ahead_m**2)


def initial(corridor: Corridor, car: Car, share: float) -> Optimum:
    """The reference itself, driven with a share of the grip: where the optimisation starts."""
    grip = share * car.friction * GRAVITY_MPS2
    _, fast = _rim_bounds(car)
    speed = speed_profile(np.abs(corridor.curvature), corridor.spacing_m, grip, grip, 0.9 * fast)
    rate = speed * corridor.curvature
    steering = np.clip(
        np.arctan(WHEELBASE_M * corridor.curvature) / 0.7, -0.9 * MAX_STEERING_RAD, 0.9 * MAX_STEERING_RAD
    )
    count = len(speed)
    zero = np.zeros(count)
    states = np.column_stack([zero, zero, speed, zero, rate, steering, steering, speed])
    controls = np.zeros((count, 2))
    return Optimum(states, controls, times(corridor, car, states, controls), 0)


def speed_profile(
    curvature: FloatArray, spacing_m: float, sideways_mps2: float, along_mps2: float, fastest_mps: float
) -> FloatArray:
    """Speeds (N,) of a point on a closed line of curvatures (N,), 1/m: at most what the sideways grip, speeding up and
    braking at `along_mps2`, and the fastest speed allow. Speeds change along the line only as v dv = a ds says."""
    square = np.minimum(sideways_mps2 / np.maximum(curvature, 1e-9), fastest_mps**2)
    gain = 2.0 * along_mps2 * spacing_m
    first = int(square.argmin())
    order = (first + np.arange(len(square) + 1)) % len(square)
    for path in (order, order[::-1]):
        for before, after in itertools.pairwise(path.tolist()):
            square[after] = min(square[after], square[before] + gain)
    return np.sqrt(square)
