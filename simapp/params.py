"""The 27 params of a DeepRacer reward function: the one place where units become degrees and 0..100."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from contract.state import EpisodeStatus, IntArray
from simapp.tracks import Projection, Track


@dataclass(slots=True)
class RaceState:
    """K cars after a step.

    rows    (K,) of contract.state.STEP_DTYPE; the reward column is not read
    where   Projection of the front points, (K,) each
    steps   (K,) steps since the episode began, this one included
    """

    rows: np.ndarray
    where: Projection
    steps: IntArray


class RewardParams:
    """Builds params (contract: reward function) for cars on one track."""

    def __init__(self, track: Track, is_reversed: bool = False) -> None:
        """`is_reversed` tells that `track` is driven against its route's own order (REVERSE_DIR, or every other episode
        of ALTERNATE_DRIVING_DIRECTION). As in AWS's simulator it is the race's setting, not what the car does."""
        self._is_reversed = is_reversed
        self._track_length_m = float(track.length_m)
        self._waypoints: list[tuple[float, float]] = [(x, y) for x, y in track.route[:, :2].tolist()]

    def build(self, state: RaceState) -> list[dict[str, Any]]:
        """One dict a car, K of them. The racer owns it: dicts and lists are new, so changes stay within the call."""
        rows, where, waypoints = state.rows, state.where, self._waypoints
        is_reversed, track_length = self._is_reversed, self._track_length_m
        status = rows["status"]
        # one tolist() a column instead of one scalar conversion a car and param
        columns: tuple[Sequence[Any], ...] = (
            rows["x_m"].tolist(),
            rows["y_m"].tolist(),
            ((np.degrees(rows["heading_rad"]) + 180.0) % 360.0 - 180.0).tolist(),
            np.degrees(rows["steering_rad"]).tolist(),
            rows["speed_mps"].tolist(),
            rows["progress_pct"].tolist(),
            rows["time_s"].tolist(),
            rows["all_wheels_on_track"].tolist(),
            (status == EpisodeStatus.crashed).tolist(),
            (status == EpisodeStatus.off_track).tolist(),
            state.steps.astype(np.float64).tolist(),
            where.distance_m.tolist(),
            np.abs(where.offset_m).tolist(),
            (where.offset_m > 0.0).tolist(),
            where.width_m.tolist(),
            where.behind.tolist(),
            where.ahead.tolist(),
        )
        return [
            {
                "all_wheels_on_track": wheels_on,
                "x": x,
                "y": y,
                "heading": heading,
                "distance_from_center": from_center,
                "projection_distance": distance,
                "progress": progress,
                "steps": steps,
                "speed": speed,
                "steering_angle": steering,
                "track_width": width,
                "track_length": track_length,
                "waypoints": waypoints[:],
                "closest_waypoints": [behind, ahead],
                "is_left_of_center": left,
                "is_reversed": is_reversed,
                "is_crashed": crashed,
                "is_offtrack": off_track,
                "sim_time": time_s,
                # no objects on the track: the values that AWS's simulator gives then
                "closest_objects": [0, 0],
                "objects_location": [],
                "objects_left_of_center": [],
                "objects_speed": [],
                "objects_heading": [],
                "objects_distance_from_center": [],
                "objects_distance": [],
                "object_in_camera": False,
            }
            for (
                x,
                y,
                heading,
                steering,
                speed,
                progress,
                time_s,
                wheels_on,
                crashed,
                off_track,
                steps,
                distance,
                from_center,
                left,
                width,
                behind,
                ahead,
            ) in zip(*columns, strict=True)
        ]
