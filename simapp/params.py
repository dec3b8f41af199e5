"""The 27 params of a DeepRacer reward function: the one place where units become degrees and 0..100."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from contract.state import BoolArray, FloatArray, IntArray, ObjectKind
from contract.vehicle import (
    CAMERA_HFOV_RAD,
    CAMERA_X_M,
    FRONT_AXLE_X_M,
    FRONT_POINT_X_M,
    FRONT_WHEEL_Y_M,
    REAR_AXLE_X_M,
    REAR_WHEEL_Y_M,
)
from simapp.contact import outlines
from simapp.nearby import Neighbours
from simapp.road import Projection, Track

_WHEELS = np.array(
    [
        (FRONT_AXLE_X_M, FRONT_WHEEL_Y_M),
        (FRONT_AXLE_X_M, -FRONT_WHEEL_Y_M),
        (REAR_AXLE_X_M, REAR_WHEEL_Y_M),
        (REAR_AXLE_X_M, -REAR_WHEEL_Y_M),
    ]
)


def wheels_on_road(track: Track, x_m: FloatArray, y_m: FloatArray, heading_rad: FloatArray) -> BoolArray:
    """(K,) poses of base_link -> (K, 4): front left, front right, rear left, rear right."""
    cos, sin = np.cos(heading_rad)[:, None], np.sin(heading_rad)[:, None]
    return track.on_road(
        x_m[:, None] + cos * _WHEELS[:, 0] - sin * _WHEELS[:, 1],
        y_m[:, None] + sin * _WHEELS[:, 0] + cos * _WHEELS[:, 1],
    )


@dataclass(slots=True)
class RaceState:
    """K cars in a step.

    rows         (K,) of contract.state.STEP_DTYPE; the reward column is not read
    where        Projection of the front points, (K,) each
    steps        (K,) steps since the episode began, this one included
    neighbours       the objects and cars near each car, None when there is nothing
    is_crashed   (K,) who has run into something, whatever else happened in the step
    is_offtrack  (K,) who has no wheel on the road, whatever else happened
    clock_s      (K,) of the simulator when the step begins
    """

    rows: np.ndarray
    where: Projection
    steps: IntArray
    neighbours: Neighbours | None
    is_crashed: BoolArray
    is_offtrack: BoolArray
    clock_s: FloatArray


class RewardParams:
    """Builds params (contract: reward function) for cars on one track."""

    def __init__(self, track: Track, is_reversed: bool = False, heading_in_radians: bool = True) -> None:
        """`is_reversed` tells that `track` is driven against its route's own order (REVERSE_DIR, or every other episode
        of ALTERNATE_DRIVING_DIRECTION): as in AWS's simulator it is the race's setting, not what the car does.
        `heading_in_radians` is of `objects_heading` alone: AWS's simulator gives radians, its documentation says
        degrees."""
        self._is_reversed = is_reversed
        self._heading_in_radians = heading_in_radians
        self._track_length_m = float(track.length_m)
        self._waypoints: list[tuple[float, float]] = [(x, y) for x, y in track.route[:, :2].tolist()]

    def build(self, state: RaceState) -> list[dict[str, Any]]:
        """One dict a car, K of them. The racer owns it: dicts and lists are new, so changes stay within the call."""
        rows, where, count = state.rows, state.where, len(state.rows)
        # one tolist() a column instead of one scalar conversion a car and param
        columns: dict[str, Sequence[Any]] = {
            "all_wheels_on_track": rows["all_wheels_on_track"].tolist(),
            "x": rows["x_m"].tolist(),
            "y": rows["y_m"].tolist(),
            "heading": ((np.degrees(rows["heading_rad"]) + 180.0) % 360.0 - 180.0).tolist(),
            "distance_from_center": np.abs(where.offset_m).tolist(),
            "projection_distance": where.distance_m.tolist(),
            "progress": rows["progress_pct"].tolist(),
            "steps": state.steps.astype(np.float64).tolist(),
            "speed": rows["speed_mps"].tolist(),
            "steering_angle": np.degrees(rows["steering_rad"]).tolist(),
            "track_width": where.width_m.tolist(),
            "track_length": [self._track_length_m] * count,
            "waypoints": [self._waypoints[:] for _ in range(count)],
            "closest_waypoints": _waypoints_of(where),
            "is_left_of_center": where.is_left.tolist(),
            "is_reversed": [self._is_reversed] * count,
            "is_crashed": state.is_crashed.tolist(),
            "is_offtrack": state.is_offtrack.tolist(),
            "sim_time": state.clock_s.tolist(),
            **(_no_objects(count) if state.neighbours is None else self._objects(state, state.neighbours)),
        }
        return [dict(zip(columns, values, strict=True)) for values in zip(*columns.values(), strict=True)]

    def _objects(self, state: RaceState, neighbours: Neighbours) -> dict[str, Sequence[Any]]:
        """The objects_* params of K cars. A box's heading is 0."""
        objects = neighbours.objects
        heading_rad = np.where(objects.kind == ObjectKind.car, objects.heading_rad, 0.0)
        heading_rad = (heading_rad + np.pi) % (2.0 * np.pi) - np.pi
        gap = (neighbours.distance_m - state.where.distance_m[:, None]) % self._track_length_m
        ahead, behind = gap.argmin(axis=1), gap.argmax(axis=1)
        locations = np.stack([objects.x_m, objects.y_m], axis=2).tolist()
        return {
            "closest_objects": np.stack([behind, ahead], axis=1).tolist(),
            "objects_location": [[(x, y) for x, y in of_car] for of_car in locations],
            "objects_left_of_center": (neighbours.offset_m > 0.0).tolist(),
            "objects_speed": objects.speed_mps.tolist(),
            "objects_heading": (heading_rad if self._heading_in_radians else np.degrees(heading_rad)).tolist(),
            "objects_distance_from_center": np.abs(neighbours.offset_m).tolist(),
            "objects_distance": neighbours.distance_m.tolist(),
            "object_in_camera": _in_camera(state.rows, neighbours, ahead).tolist(),
        }


def _waypoints_of(where: Projection) -> list[list[int]]:
    """Indices of the waypoints behind and ahead of each point; at the end of an open road those are the last one and
    the first, as AWS's simulator has it (track_geom/utils.py `find_prev_next`)."""
    is_end = where.fraction == 1.0
    behind, ahead = np.where(is_end, where.ahead, where.behind), np.where(is_end, 0, where.ahead)
    found: list[list[int]] = np.stack([behind, ahead], axis=1).tolist()
    return found


def _no_objects(count: int) -> dict[str, Sequence[Any]]:
    """What AWS's simulator gives when there is nothing on the track."""
    lists = ("location", "left_of_center", "speed", "heading", "distance_from_center", "distance")
    return {
        "closest_objects": [[0, 0] for _ in range(count)],
        **{f"objects_{name}": [[] for _ in range(count)] for name in lists},
        "object_in_camera": [False] * count,
    }


def _in_camera(rows: np.ndarray, neighbours: Neighbours, places: IntArray) -> FloatArray:
    """(K,) whether the middle or a corner of the given place's outline is within the camera's horizontal view."""
    k, objects = np.arange(len(rows)), neighbours.objects
    heading = rows["heading_rad"]
    outline = np.stack([size[k, places] for size in outlines(objects)], axis=1)[:, None, :] * _OUTLINE_POINTS
    turn = objects.heading_rad[k, places] - heading
    cos, sin = np.cos(turn)[:, None], np.sin(turn)[:, None]
    # relative to the lens, in the car's frame; rows hold the front point
    dx, dy = objects.x_m[k, places] - rows["x_m"], objects.y_m[k, places] - rows["y_m"]
    ahead = (dx * np.cos(heading) + dy * np.sin(heading) + FRONT_POINT_X_M - CAMERA_X_M)[:, None]
    left = (dy * np.cos(heading) - dx * np.sin(heading))[:, None]
    ahead = ahead + outline[..., 0] * cos - outline[..., 1] * sin
    left = left + outline[..., 0] * sin + outline[..., 1] * cos
    within = (ahead > 0.0) & (np.abs(left) <= ahead * np.tan(CAMERA_HFOV_RAD / 2))
    return np.asarray(within.any(axis=1))


_OUTLINE_POINTS = np.array([(0.0, 0.0), (0.5, 0.5), (0.5, -0.5), (-0.5, 0.5), (-0.5, -0.5)])
