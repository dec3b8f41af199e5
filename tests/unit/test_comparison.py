import io

import numpy as np
import pytest
from PIL import Image

from contract.state import STEP_DTYPE
from simapp.tracks import load_track
from undercut.figures.comparison import PARTED_M, comparison_plot, path_difference

TRACK = load_track("paddock", [])


def lap(offset_m: float, until_m: float | None = None, swerve_at_m: float | None = None) -> np.ndarray:
    """A lap at 1 m/s, that far left of the centre line, and 0.3 m further left from a place on."""
    distance = np.arange(0.0, until_m or TRACK.length_m, 1 / 15)
    offset = np.full(len(distance), offset_m)
    if swerve_at_m is not None:
        offset[distance >= swerve_at_m] += 0.3
    pose = TRACK.pose_at(distance, offset)
    steps = np.zeros(len(distance), STEP_DTYPE)
    steps["x_m"], steps["y_m"], steps["heading_rad"] = pose.x_m, pose.y_m, pose.heading_rad
    return steps


def test_parallel_paths_are_as_far_apart_as_they_were_driven() -> None:
    difference = path_difference(TRACK, lap(0.06), lap(-0.04))
    assert difference.mean_m == pytest.approx(0.1, abs=0.005)
    assert difference.most_m == pytest.approx(0.1, abs=0.03)  # offsets are measured to a polygon
    assert difference.parted_at_m is None


def test_paths_part_where_one_swerves() -> None:
    difference = path_difference(TRACK, lap(0.0), lap(0.0, swerve_at_m=6.0))
    assert difference.parted_at_m == pytest.approx(6.0, abs=0.1)
    assert difference.most_m > PARTED_M


def test_what_only_one_car_has_seen_is_not_compared() -> None:
    difference = path_difference(TRACK, lap(0.0), lap(0.1, until_m=5.0))
    known = np.isfinite(difference.gap_m)
    assert known[: int(4.5 / 0.05)].all()
    assert not known[int(6.0 / 0.05) : int(TRACK.length_m / 0.05) - 20].any()
    assert difference.mean_m == pytest.approx(0.1, abs=0.01)


def test_the_plot_shows_both() -> None:
    laps = [[lap(0.0)], [lap(0.1)]]
    png = comparison_plot(TRACK, laps, ("builtin", "gazebo"), [path_difference(TRACK, laps[0][0], laps[1][0])], "title")
    picture = np.asarray(Image.open(io.BytesIO(png)).convert("RGB")).astype(int)
    for red, green, blue in ((47, 111, 176), (209, 73, 91)):  # COLOURS: each path is seen, a little transparent
        near = np.abs(picture - [red, green, blue]).sum(axis=2) < 60
        assert near.sum() > 500
