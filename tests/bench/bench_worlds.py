"""Frames a second of the front camera in imported worlds on one core, and of the slowest pose.

python -m tests.bench.bench_worlds FOLDER [NAME...]     of the worlds imported there, ./tracks unless given
"""

import argparse
import os
import time
from pathlib import Path

import numpy as np

from contract.state import FloatArray, UInt8Array
from simapp.camera import Camera
from simapp.camera.backdrop import OpenWorld
from simapp.kernels import Scope, compile_missing
from simapp.tracks import Track, load_track
from tests.bench.record import write_result

METHOD = (
    "Camera.render(threads=1) by CPU time, the process pinned to one core; per world 256 poses at random along the "
    "road, +-0.3 m off its centre, heading off by 0.3 rad (1 sigma), median of the repeats; of_room is the same over "
    "the built-in room's on first_oval, in turn in each repeat; slowest is the slowest of 64 poses alone, each the "
    "best of 5; first_s are the seconds until the first frames of all poses"
)
ROOM = "first_oval"
Where = tuple[FloatArray, FloatArray, FloatArray]
"""x, y, heading (K,) each."""


def some_poses(track: Track, count: int) -> Where:
    """x, y, heading along the road."""
    rng = np.random.default_rng(0)
    pose = track.pose_at(rng.uniform(0, track.length_m, count), rng.uniform(-0.3, 0.3, count))
    return pose.x_m, pose.y_m, pose.heading_rad + rng.normal(0, 0.3, count)


def seconds(camera: Camera, poses: Where, out: UInt8Array) -> float:
    """CPU seconds of one rendering."""
    start = time.process_time()
    x, y, heading = poses
    camera.render(x, y, heading, out[: len(x)])
    return time.process_time() - start


def measure(track: Track, count: int, repeats: int) -> dict[str, float]:
    """Frames a second in one world."""
    start = time.process_time()
    camera, poses = Camera(track), some_poses(track, count)
    out = np.empty((count, 120, 160), np.uint8)
    seconds(camera, poses, out)
    first_s = time.process_time() - start
    x, y, heading = poses
    room, room_poses = Camera(load_track(ROOM)), some_poses(load_track(ROOM), count)
    seconds(room, room_poses, out)
    both = np.array([[seconds(camera, poses, out), seconds(room, room_poses, out)] for _ in range(repeats)])
    alone = [
        min(seconds(camera, (x[k : k + 1], y[k : k + 1], heading[k : k + 1]), out) for _ in range(5))
        for k in range(min(count, 64))
    ]
    backdrop = camera.backdrop
    assert isinstance(backdrop, OpenWorld)
    return {
        "frames_per_s": round(count / float(np.median(both[:, 0]))),
        "of_room": round(float(np.median(both[:, 1] / both[:, 0])), 3),
        "frames_per_s_slowest_pose": round(1.0 / max(alone)),
        "first_s": round(first_s, 2),
        "memory_mb": round(camera.memory_bytes / 1e6, 1),
        "triangles_standing": len(backdrop.solids[2]),
        "triangles_listed": round(float(backdrop.lists.lengths[1:].mean())),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path, nargs="?", default=Path("tracks"))
    parser.add_argument("names", nargs="*")
    parser.add_argument("--poses", type=int, default=256)
    parser.add_argument("--repeats", type=int, default=20)
    options = parser.parse_args()
    names = options.names or sorted(path.parent.name for path in options.folder.glob("*/world.json"))
    if not names:
        print(f"no imported worlds in {options.folder}: `undercut worlds import FOLDER` brings them")
        return
    compile_missing(scope=Scope.drives)
    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, {max(os.sched_getaffinity(0))})
    worlds = {}
    for name in names:
        worlds[name] = measure(load_track(name, [options.folder]), options.poses, options.repeats)
        print(f"{name:24} {worlds[name]}", flush=True)
    slowest = min(result["frames_per_s"] for result in worlds.values())
    payload = {"frames_per_s_slowest_world": slowest, "target_frames_per_s": 10_000, "worlds": worlds}
    print(write_result("worlds", payload, METHOD))


if __name__ == "__main__":
    main()
