"""Recordings of cars that drive as told, for tests of videos."""

import math
from collections.abc import Sequence

import numpy as np

from contract.recording import RecordedEpisode, RecordedRacer, Recording
from contract.state import STEP_DTYPE, STEP_S, EpisodeStatus, IntArray, ObjectKind, TrackObjects
from contract.vehicle import FRONT_POINT_X_M
from simapp.tracks import Track
from tests.support import ring

RADIUS_M = 1.2
TRACK = Track("circle", ring(121, RADIUS_M, 0.8))
"""Small: its ground is painted in a moment."""


def lap_steps(
    count: int, speed_mps: float = 1.5, first_rad: float = 0.0, status: EpisodeStatus = EpisodeStatus.lap_complete
) -> np.ndarray:
    """Steps (count,) of a car whose middle goes round the circle, and how its episode ends."""
    steps = np.zeros(count, STEP_DTYPE)
    done_m = speed_mps * STEP_S * np.arange(1, count + 1)
    angle = first_rad + done_m / RADIUS_M
    heading = angle + math.pi / 2
    steps["x_m"] = RADIUS_M * np.cos(angle) + FRONT_POINT_X_M * np.cos(heading)
    steps["y_m"] = RADIUS_M * np.sin(angle) + FRONT_POINT_X_M * np.sin(heading)
    steps["heading_rad"], steps["steering_rad"], steps["speed_mps"] = heading, 0.05, speed_mps
    steps["progress_pct"] = np.minimum(100.0 * done_m / TRACK.length_m, 100.0)
    steps["time_s"] = STEP_S * np.arange(1, count + 1)
    steps["status"] = EpisodeStatus.in_progress
    steps["status"][-1] = status
    return steps


def with_reset(steps: np.ndarray, at: int, penalty_s: float, back_rad: float = 1.0) -> np.ndarray:
    """The same, but after step `at` the car has left the road, is put back by an angle of the circle, and is held there
    for the penalty."""
    pauses = round(penalty_s / STEP_S)
    driven = steps.copy()
    driven["status"][at] = EpisodeStatus.off_track
    driven["pause_s"][at] = penalty_s
    driven["time_s"][at + 1 :] += penalty_s
    cos, sin = math.cos(-back_rad), math.sin(-back_rad)
    x, y = steps["x_m"][at + 1 :], steps["y_m"][at + 1 :]
    driven["x_m"][at + 1 :], driven["y_m"][at + 1 :] = cos * x - sin * y, sin * x + cos * y
    driven["heading_rad"][at + 1 :] -= back_rad
    held = np.repeat(driven[at + 1 : at + 2], pauses)
    held["status"], held["reward"] = EpisodeStatus.pause, 0.0
    held["time_s"] = driven["time_s"][at] + STEP_S * np.arange(1, pauses + 1)
    held["pause_s"] = penalty_s - STEP_S * np.arange(1, pauses + 1)
    return np.concatenate([driven[: at + 1], held, driven[at + 1 :]])


def box_at(angle_rad: float, count: int) -> TrackObjects:
    """A box that stands on the circle for so many steps."""
    objects = TrackObjects.none(count, 1)
    objects.kind[:] = ObjectKind.box
    objects.x_m[:], objects.y_m[:] = RADIUS_M * math.cos(angle_rad), RADIUS_M * math.sin(angle_rad)
    return objects


def recording(
    laps: Sequence[np.ndarray],
    objects: Sequence[TrackObjects | None] | None = None,
    title: str = "Zoë",
    color: str = "Orange",
    track: str = "circle",
) -> Recording:
    """One racer's laps, each in a world of its own."""
    episodes = [
        RecordedEpisode(0, place, place, steps, objects[place] if objects else None) for place, steps in enumerate(laps)
    ]
    racers = (RecordedRacer(title, "fast", color),)
    return Recording("run", track, False, TRACK.length_m, racers, tuple(episodes), "August Open")


def race(steps: Sequence[np.ndarray], ticks: Sequence[IntArray]) -> Recording:
    """One heat of two racers."""
    racers = (RecordedRacer("A", "a", "Purple", "a"), RecordedRacer("B", "b", "Orange", "b"))
    episodes = tuple(RecordedEpisode(r, 0, 0, steps[r], None, ticks[r]) for r in range(2))
    return Recording("final", "circle", False, TRACK.length_m, racers, episodes)
