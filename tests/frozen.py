"""Frozen policies that were never trained: graphs of constants with the contract's node names, and runs of them."""

import functools
import json
import math
from pathlib import Path

import numpy as np

from contract.config import RunConfig
from contract.metadata import ModelMetadata
from contract.runtime import quiet_import
from simapp.policy import NETWORK
from tests.support import hold_rad, ring
from trainer.checkpoints import Checkpoints
from undercut.runs.run import TRACKS, Run

RADIUS_M, WIDTH_M = 1.5, 1.0


@functools.cache
def hold_deg(speed_mps: float) -> float:
    """Steering that goes round the track of `add_track`."""
    return math.degrees(hold_rad(RADIUS_M, speed_mps))


def constant_graph(metadata: ModelMetadata, action: int) -> bytes:
    """A discrete policy that always takes the action, whatever it sees."""
    tf = quiet_import("tensorflow")
    v1 = tf.compat.v1
    graph = tf.Graph()
    with graph.as_default():
        seen = [
            v1.placeholder(tf.float32, [None, *shape], f"{NETWORK}/network_0/{name}/{name}")
            for name, shape in metadata.observation_shapes().items()
        ]
        row = np.eye(metadata.actions.size, dtype=np.float32)[action]
        tf.tile(row[None], [tf.shape(seen[0])[0], 1], f"{NETWORK}/network_1/ppo_head_0/policy")
    return bytes(graph.as_graph_def().SerializeToString())


def add_track(name: str = "ring") -> None:
    """A round track in the working directory's tracks/, counter-clockwise, small enough to draw quickly."""
    TRACKS.mkdir(exist_ok=True)
    np.save(TRACKS / f"{name}.npy", ring(61, RADIUS_M, WIDTH_M))


def untrained_run(
    name: str, speed: float, steering_deg: float | None = None, reward: str = "1.0", **config: object
) -> Run:
    """A run in the working directory whose only checkpoint always steers and drives like this, by default so that it
    goes round the track; see `add_track`."""
    steering_deg = hold_deg(speed) if steering_deg is None else steering_deg
    files = {
        "metadata.json": {
            "action_space": [{"steering_angle": s, "speed": speed} for s in (steering_deg, -30.0)],
            "sensor": ["FRONT_FACING_CAMERA"],
            "version": "5",
        },
        "hyperparameters.json": {},
    }
    for file, content in files.items():
        Path(file).write_text(json.dumps(content))
    Path("reward.py").write_text(f"def reward_function(params):\n    return {reward}\n")
    values = {"name": name, "track": "ring", "threads": 1, **config}
    run = Run.create(
        RunConfig.build(values, "test"), Path("reward.py"), Path("metadata.json"), Path("hyperparameters.json")
    )
    Checkpoints(run.store).save(3, 100, {"index": b"none"}, constant_graph(run.files.metadata, 0), 50.0, {})
    return run
