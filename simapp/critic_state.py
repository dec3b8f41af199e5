"""The simulator's state as a critic reads it: where the car is on the road, how it moves, and what lies ahead.

A value estimated from it needs no convolutions (asymmetric actor-critic: Pinto et al. 2017, arXiv 1710.06542). Numbers
are scaled to about -1..1. The reward function is the racer's own and may depend on anything, so the place on the lap is
in it, and how long the episode has lasted.
"""

import numpy as np
from numpy.typing import NDArray

from contract.learning import CRITIC_STATE_SIZE
from contract.state import CarBatch, FloatArray, IntArray, ObjectKind
from contract.vehicle import MAX_SPEED_MPS, MAX_STEERING_RAD
from simapp.nearby import Neighbours
from simapp.road import Track, heading_difference

AHEAD_M = np.array([0.25, 0.5, 1.0, 1.5, 2.0, 3.0, 4.5, 6.0])
"""Where the road ahead is looked at, along its centre line."""
HARMONICS = np.arange(1, 5)
"""Of the place on the lap."""
OBJECTS = 3
"""The nearest ahead, with their gap, offset, speed, and whether they are there."""
_GAP_M, _LENGTH_M, _STEPS = 2.0, 25.0, 300.0
_SIDEWAYS_MPS, _YAW_RPS = 1.0, 5.0


def critic_state(
    track: Track,
    cars: CarBatch,
    chosen: IntArray,
    front: tuple[FloatArray, FloatArray, FloatArray],
    progress: FloatArray,
    steps: IntArray,
    held: FloatArray,
    neighbours: Neighbours | None,
) -> NDArray[np.float32]:
    """(K, CRITIC_STATE_SIZE) float32 of the chosen cars (indices, (K,)).

    front       x, y of their front points, and headings, (K,) each
    progress    (K,) share of the lap since the start
    steps       (K,) since the episode began
    held        (K,) 1 where the car is held, before its first step or after a reset
    """
    x_m, y_m, heading = front
    where = track.project(x_m, y_m)
    half_m = 0.5 * where.width_m
    turn = heading_difference(heading, where.heading_rad)
    own = [where.offset_m / half_m, half_m, np.sin(turn), np.cos(turn)]
    own += [cars.speed_mps[chosen] / MAX_SPEED_MPS, cars.rim_mps[chosen] / MAX_SPEED_MPS]
    own += [cars.sideways_mps[chosen] / _SIDEWAYS_MPS, cars.yaw_rate_rps[chosen] / _YAW_RPS]
    own += [cars.steering_rad[chosen] / MAX_STEERING_RAD, cars.commanded_steering_rad[chosen] / MAX_STEERING_RAD]
    own += [cars.commanded_speed_mps[chosen] / MAX_SPEED_MPS]
    own += [progress, steps / _STEPS, held, np.full(len(chosen), track.length_m / _LENGTH_M)]
    lap = 2.0 * np.pi * where.distance_m[:, None] / track.length_m * HARMONICS
    columns = [np.stack(own, axis=1), np.sin(lap), np.cos(lap), _ahead(track, where.distance_m, front)]
    columns += [cars.earlier_steering_rad[chosen] / MAX_STEERING_RAD, cars.earlier_speed_mps[chosen] / MAX_SPEED_MPS]
    columns.append(_objects(track, where.distance_m, where.offset_m, neighbours))
    state = np.concatenate(columns, axis=1).astype(np.float32)
    assert state.shape == (len(chosen), CRITIC_STATE_SIZE), state.shape
    return state


def _ahead(track: Track, distance_m: FloatArray, front: tuple[FloatArray, FloatArray, FloatArray]) -> FloatArray:
    """(K, 4 len(AHEAD_M)) the centre line ahead in the car's frame, by the distance, and its direction there."""
    x_m, y_m, heading = (part[:, None] for part in front)
    poses = track.pose_at((distance_m[:, None] + AHEAD_M).ravel())
    shape = (len(distance_m), len(AHEAD_M))
    dx, dy = poses.x_m.reshape(shape) - x_m, poses.y_m.reshape(shape) - y_m
    turn = poses.heading_rad.reshape(shape) - heading
    cos, sin = np.cos(heading), np.sin(heading)
    along, left = (cos * dx + sin * dy) / AHEAD_M, (cos * dy - sin * dx) / AHEAD_M
    return np.concatenate([along, left, np.sin(turn), np.cos(turn)], axis=1)


def _objects(track: Track, distance_m: FloatArray, offset_m: FloatArray, neighbours: Neighbours | None) -> FloatArray:
    """(K, 4 OBJECTS); zeros where there are fewer."""
    found = np.zeros((len(distance_m), OBJECTS, 4))
    if neighbours is not None:
        objects = neighbours.objects
        gap_m = (neighbours.distance_m - distance_m[:, None]) % track.length_m
        gap_m = np.where(objects.kind == ObjectKind.nothing, np.inf, gap_m)
        nearest = np.argsort(gap_m, axis=1, kind="stable")[:, :OBJECTS]
        rows = np.arange(len(distance_m))[:, None]
        there = np.isfinite(gap_m[rows, nearest])
        near = np.exp(-np.where(there, gap_m[rows, nearest], 0.0) / _GAP_M)
        aside = neighbours.offset_m[rows, nearest] - offset_m[:, None]
        values = np.stack([near, aside, objects.speed_mps[rows, nearest] / MAX_SPEED_MPS, np.ones_like(near)], axis=2)
        found[:, : nearest.shape[1]] = values * there[:, :, None]
    return found.reshape(len(distance_m), -1)
