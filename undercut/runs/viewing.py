"""Frames of a track from poses: drawn by either simulator, or recorded."""

import zipfile
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from contract.config import RunConfig
from contract.errors import InputError
from contract.metadata import ModelMetadata
from contract.state import CAMERA_HEIGHT, CAMERA_WIDTH, FloatArray, Poses, UInt8Array
from simapp.tracks import Track
from undercut.runs.run import DEFAULT_METADATA
from undercut.runs.simulators import make_simulator

OFFSET_M, TURN_RAD = 0.25, 0.25
"""How far from the centre line, at most, and from its direction, as a standard deviation, poses are drawn."""


@dataclass(frozen=True, slots=True, eq=False)
class Recorded:
    """Frames (K, 120, 160) uint8 of somebody's camera, and the poses (K, 3) of base_link that they were taken from:
    x, y in metres and heading in radians."""

    poses: FloatArray
    grey: UInt8Array


def read_frames(path: Path) -> Recorded:
    """Frames of a .npz with the arrays `poses` and `grey`; InputError for another file."""
    rule = f"frames are a .npz with `poses` (K, 3) and `grey` (K, {CAMERA_HEIGHT}, {CAMERA_WIDTH}) uint8, K at least 1"
    fix = "save them with numpy.savez(path, poses=poses, grey=grey)"
    try:
        with np.load(path, allow_pickle=False) as arrays:
            poses, grey = np.asarray(arrays["poses"], np.float64), np.asarray(arrays["grey"])
    except OSError as problem:
        raise InputError(str(path), problem.strerror or str(problem), rule, "check the path") from problem
    except (ValueError, TypeError, KeyError, AttributeError, EOFError, zipfile.BadZipFile) as problem:
        raise InputError(str(path), str(problem), rule, fix) from problem
    fits = poses.ndim == 2 and len(poses) > 0 and poses.shape[1] == 3 and grey.dtype == np.uint8
    if not fits or grey.shape != (len(poses), CAMERA_HEIGHT, CAMERA_WIDTH):
        raise InputError(str(path), f"poses {poses.shape}, grey {grey.dtype} {grey.shape}", rule, fix)
    if not np.isfinite(poses).all():
        raise InputError(str(path), "a pose that is not finite", "poses are numbers", fix)
    return Recorded(poses, grey)


def random_poses(track: Track, count: int, seed: int) -> FloatArray:
    """(count, 3) x, y, heading on the road, all along it."""
    random = np.random.Generator(np.random.PCG64(seed))
    along, offset = random.uniform(0.0, track.length_m, count), random.uniform(-OFFSET_M, OFFSET_M, count)
    poses = track.pose_at(along, offset)
    return np.column_stack([poses.x_m, poses.y_m, poses.heading_rad + random.normal(0.0, TURN_RAD, count)])


def drawn(track: Track, poses: FloatArray, simulator: str) -> UInt8Array:
    """Frames (K, 120, 160) that a simulator, builtin or gazebo, shows from poses (K, 3).

    SimulatorError when Gazebo is asked for and is not installed.
    """
    config = RunConfig.build({"name": "views", "simulator": simulator}, "command line")
    model = ModelMetadata.load(DEFAULT_METADATA)
    one, frames = np.array([0]), []
    with closing(make_simulator(config, track, [model])) as made:
        for x, y, heading in poses:
            made.place(one, Poses(np.array([x]), np.array([y]), np.array([heading])))
            frames.append(made.observe(one)[model.camera][0, ..., 0].copy())
    return np.array(frames)


def best_actions(policy: bytes, metadata: ModelMetadata, frames: UInt8Array) -> FloatArray:
    """(K, A) what a policy of one camera and no other sensor says to frames (K, 120, 160): probabilities of discrete
    actions, or the means of continuous ones. InputError for another policy."""
    from simapp.policy import FrozenPolicy  # TensorFlow takes seconds to import

    shapes = metadata.observation_shapes()
    if list(shapes.values()) != [(CAMERA_HEIGHT, CAMERA_WIDTH, 1)]:
        rule = "recorded frames are those of one camera, and the policy sees nothing else"
        raise InputError("RUN", ", ".join(shapes), rule, "name a run with one front camera, or none")
    with closing(FrozenPolicy(policy, metadata)) as made:
        distribution = made.distribution({metadata.camera: frames[..., np.newaxis]})
    values = distribution.probabilities if distribution.probabilities is not None else distribution.mean
    assert values is not None
    return values


def agreement_pct(mine: FloatArray, theirs: FloatArray) -> float:
    """Per cent of frames of which both say the same best action, from `best_actions` of discrete ones."""
    return float(100.0 * np.mean(mine.argmax(axis=1) == theirs.argmax(axis=1)))
