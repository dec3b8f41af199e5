"""Gazebo's frames beside the built-in simulator's from the same poses: likeness, and where the road's edge lines stand.

python -m tests.tools.compare_views [PICTURE.png]

An edge line is the brightest spot of a frame's row where the pinhole says that the line is to be; its position is the
centroid of what is brighter than the asphalt there, in pixels of the 160x120 frames.
"""

import json
import sys
from pathlib import Path

import numpy as np
from PIL import Image

from contract.metadata import ModelMetadata
from contract.state import FloatArray, UInt8Array
from simapp.builtin import BuiltinSimulator
from simapp.gazebo.simulator import GazeboSimulator
from simapp.simulation import Simulation
from simapp.tracks import Track, load_track
from tests.camera_reference import ssim
from tests.conftest import REPO
from undercut.runs.simulators import gazebo_root

CAMERA = "FRONT_FACING_CAMERA"
TRACKS = ("paddock", "first_oval", "needle")
POSES, ROWS = 40, range(50, 110, 4)
BRIGHT = 60
"""Grey levels above the row's median that only lines have."""


def frames(simulator: Simulation, track: Track, seed: int = 4) -> UInt8Array:
    """(POSES, 120, 160) from random poses on the road."""
    random = np.random.default_rng(seed)
    one, seen = np.array([0]), []
    for _ in range(POSES):
        pose = track.pose_at(random.uniform(0, track.length_m, 1), random.uniform(-0.25, 0.25, 1))
        pose.heading_rad = pose.heading_rad + random.normal(0, 0.25, 1)
        simulator.place(one, pose)
        seen.append(simulator.observe(one)[CAMERA][0, ..., 0])
    return np.array(seen)


def lines_of(row: FloatArray) -> list[float]:
    """Columns of the bright lines in one row: centroids weighted by brightness, the left ones first."""
    above = np.clip(row - np.median(row) - BRIGHT, 0.0, None)
    found, column = [], 0
    while column < len(above):
        end = column
        while end < len(above) and above[end] > 0:
            end += 1
        if end > column:
            if column > 0 and end < len(above):  # whole within the frame
                found.append(float((np.arange(column, end) + 0.5) @ above[column:end] / above[column:end].sum()))
            column = end
        column += 1
    return found


def line_errors(mine: UInt8Array, theirs: UInt8Array) -> list[float]:
    """Differences in pixels of lines that both frames (120, 160) show in a row."""
    errors = []
    for row in ROWS:
        one, other = (lines_of(frame[row].astype(np.float64)) for frame in (mine, theirs))
        if len(one) == len(other):
            errors += [a - b for a, b in zip(one, other, strict=True)]
    return errors


def main() -> None:
    """Print the numbers; write the picture."""
    model = ModelMetadata.load(REPO / "actions" / "default.json")
    told, strips = {}, []
    for name in TRACKS:
        track = load_track(name, [])
        gazebo = GazeboSimulator(track, [model], gazebo_root())
        try:
            drawn = frames(gazebo, track)
        finally:
            gazebo.close()
        ours = frames(BuiltinSimulator(track, [model]), track)
        likeness = [ssim(one, other) for one, other in zip(drawn, ours, strict=True)]
        errors = np.array([e for one, other in zip(drawn, ours, strict=True) for e in line_errors(one, other)])
        told[name] = {
            "frames": POSES,
            "ssim_median": round(float(np.median(likeness)), 4),
            "ssim_worst": round(float(min(likeness)), 4),
            "mean_difference": round(float(np.abs(drawn.astype(float) - ours).mean()), 3),
            "lines": len(errors),
            "line_error_median_px": round(float(np.median(np.abs(errors))), 3),
            "line_error_95_px": round(float(np.quantile(np.abs(errors), 0.95)), 3),
            "line_bias_px": round(float(np.median(errors)), 3),
        }
        for k in (0, 7):
            difference = np.clip(3.0 * np.abs(drawn[k].astype(float) - ours[k]), 0, 255).astype(np.uint8)
            strips.append(np.hstack([drawn[k], ours[k], difference]))
    print(json.dumps(told, indent=2))
    if len(sys.argv) > 1:
        picture = Image.fromarray(np.vstack(strips))
        picture.resize((2 * picture.width, 2 * picture.height), Image.Resampling.NEAREST).save(Path(sys.argv[1]))


if __name__ == "__main__":
    main()
