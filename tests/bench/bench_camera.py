"""Frames a second of the front camera on one core: python -m tests.bench.bench_camera"""

import argparse
import os
import statistics
import time

import numpy as np

from simapp.camera import Camera, warm_up
from simapp.tracks import available_tracks, load_track
from tests.bench.record import write_result

METHOD = (
    "Camera.render(threads=1) into one buffer, the process pinned to one core; per track 256 poses at random along the "
    "road, +-0.3 m off its centre, heading off by 0.3 rad (1 sigma), in random order, so that memory is no warmer than "
    "in training; seconds are the median of the repeats, best and worst beside it"
)


def measure(name: str, cars: int, repeats: int) -> dict[str, float]:
    """Frames a second on one track."""
    track = load_track(name)
    start = time.perf_counter()
    camera = Camera(track)
    built_s = time.perf_counter() - start
    rng = np.random.default_rng(0)
    poses = track.pose_at(rng.uniform(0, track.length_m, cars), rng.uniform(-0.3, 0.3, cars))
    heading = poses.heading_rad + rng.normal(0, 0.3, cars)
    out = np.empty((cars, 120, 160), np.uint8)
    camera.render(poses.x_m, poses.y_m, heading, out)
    seconds = []
    for _ in range(repeats):
        start = time.perf_counter()
        camera.render(poses.x_m, poses.y_m, heading, out)
        seconds.append(time.perf_counter() - start)
    return {
        "frames_per_s": round(cars / statistics.median(seconds)),
        "frames_per_s_best": round(cars / min(seconds)),
        "frames_per_s_worst": round(cars / max(seconds)),
        "build_s": round(built_s, 2),
        "memory_mb": round(camera.memory_bytes / 1e6, 1),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--cars", type=int, default=256)
    parser.add_argument("--repeats", type=int, default=60)
    options = parser.parse_args()
    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, {max(os.sched_getaffinity(0))})
    warm_up()
    tracks = {}
    for name in available_tracks(()):
        tracks[name] = measure(name, options.cars, options.repeats)
        print(f"{name:16} {tracks[name]}")
    median = round(statistics.median(result["frames_per_s"] for result in tracks.values()))
    slowest = min(result["frames_per_s"] for result in tracks.values())
    print(f"median of tracks {median:,} frames/s, slowest track {slowest:,}")
    payload = {
        "frames_per_s": median,
        "frames_per_s_slowest_track": slowest,
        "target_frames_per_s": 15_000,
        "cars": options.cars,
        "repeats": options.repeats,
        "tracks": tracks,
    }
    print(write_result("camera", payload, METHOD))


if __name__ == "__main__":
    main()
