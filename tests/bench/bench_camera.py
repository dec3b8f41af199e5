"""Frames a second of the front camera on one core, plain, with objects and randomised.

python -m tests.bench.bench_camera
"""

import argparse
import os
import statistics
import time

import numpy as np

from contract.conditions import Conditions, RandomizationConfig
from contract.state import ObjectKind, TrackObjects
from contract.vehicle import CAR_COLORS
from simapp.camera import Camera
from simapp.kernels import Scope, compile_missing
from simapp.tracks import Track, available_tracks, load_track
from tests.bench.record import write_result

METHOD = (
    "Camera.render(threads=1) into one buffer, the process pinned to one core; per track 256 poses at random along the "
    "road, +-0.3 m off its centre, heading off by 0.3 rad (1 sigma), in random order, so that memory is no warmer than "
    "in training; seconds are the median of the repeats, best and worst beside it. With six obstacles: one box or car "
    "in each sixth of the lap, at random in one of the lanes, another draw each frame. Randomised: each frame has its "
    "own conditions from the default ranges; plans_ms is what a new pinhole costs once an episode. All in turn in each "
    "repeat; a share is the median over repeats of plain seconds / these seconds"
)
OBSTACLES = 6


def some_objects(track: Track, cars: int, kind: ObjectKind, rng: np.random.Generator) -> TrackObjects:
    """OBSTACLES boxes or cars for each frame, as a race would place them."""
    objects = TrackObjects.none(cars, OBSTACLES)
    sixths = np.tile(np.arange(OBSTACLES), cars)
    along = (sixths + rng.uniform(0.1, 0.9, sixths.size)) / OBSTACLES * track.length_m
    poses = track.pose_at(along, rng.choice([-0.2, 0.2], along.size))
    objects.kind[:] = kind
    for name in ("x_m", "y_m", "heading_rad"):
        getattr(objects, name)[:] = getattr(poses, name).reshape(cars, OBSTACLES)
    objects.colour[:] = rng.integers(0, len(CAR_COLORS), objects.colour.shape)
    return objects


def some_conditions(cars: int, rng: np.random.Generator) -> Conditions:
    """Another car's episode for each frame."""
    conditions = Conditions.nominal(cars)
    for car in range(cars):
        conditions.put(np.array([car]), Conditions.drawn(RandomizationConfig(), rng))
    return conditions


def measure(name: str, cars: int, repeats: int) -> dict[str, float]:
    """Frames a second on one track."""
    track = load_track(name)
    start = time.perf_counter()
    camera = Camera(track)
    built_s = time.perf_counter() - start
    rng = np.random.default_rng(0)
    poses = track.pose_at(rng.uniform(0, track.length_m, cars), rng.uniform(-0.3, 0.3, cars))
    heading = poses.heading_rad + rng.normal(0, 0.3, cars)
    out, frame = np.empty((cars, 120, 160), np.uint8), np.arange(cars)
    boxes, others = (some_objects(track, cars, kind, rng) for kind in (ObjectKind.box, ObjectKind.car))
    conditions = some_conditions(cars, rng)

    def render(objects: TrackObjects | None = None, conditions: Conditions | None = None) -> float:
        start = time.perf_counter()
        camera.render(poses.x_m, poses.y_m, heading, out, objects=objects, conditions=conditions, frame=frame)
        return time.perf_counter() - start

    first = render(conditions=conditions)  # makes the plans
    ways = {"plain": (None, None), "boxes": (boxes, None), "cars": (others, None), "randomised": (None, conditions)}
    for way in ways.values():
        render(*way)
    seconds = np.array([[render(*way) for way in ways.values()] for _ in range(repeats)])
    plain = seconds[:, 0]
    share = dict(zip(ways, np.median(plain[:, None] / seconds, axis=0).round(3).tolist(), strict=True))
    return {
        "frames_per_s": round(cars / float(np.median(plain))),
        "frames_per_s_best": round(cars / plain.min()),
        "frames_per_s_worst": round(cars / plain.max()),
        "share_with_six_boxes": share["boxes"],
        "share_with_six_cars": share["cars"],
        "share_randomised": share["randomised"],
        "plans_ms": round((first - float(np.median(seconds[:, 3]))) / cars * 1e3, 3),
        "build_s": round(built_s, 2),
        "memory_mb": round(camera.memory_bytes / 1e6, 1),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--cars", type=int, default=256)
    parser.add_argument("--repeats", type=int, default=60)
    options = parser.parse_args()
    compile_missing(scope=Scope.drives)
    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, {max(os.sched_getaffinity(0))})
    tracks = {}
    for name in available_tracks(()):
        tracks[name] = measure(name, options.cars, options.repeats)
        print(f"{name:16} {tracks[name]}")
    median = round(statistics.median(result["frames_per_s"] for result in tracks.values()))
    slowest = min(result["frames_per_s"] for result in tracks.values())
    print(f"median of tracks {median:,} frames/s, slowest track {slowest:,}")
    names = [key for key in tracks[name] if key.startswith("share")]
    shares = {key: round(statistics.median(result[key] for result in tracks.values()), 3) for key in names}
    print(shares)
    payload = {
        "frames_per_s": median,
        "frames_per_s_slowest_track": slowest,
        "target_frames_per_s": 15_000,
        **shares,
        "target_share_with_six_boxes": 0.5,
        "cars": options.cars,
        "repeats": options.repeats,
        "tracks": tracks,
    }
    print(write_result("camera", payload, METHOD))


if __name__ == "__main__":
    main()
