"""Videos: what three views of a five-lap evaluation cost against the time the laps take, and what recording them costs.

python tests/bench/bench_video.py [--track paddock] [--laps 5] [--no-write]
"""

import argparse
import os
import time
from collections.abc import Callable
from functools import partial

import numpy as np

from contract.metadata import ModelMetadata
from contract.protocols import ActionDistribution, Phase, RolloutOrder
from contract.recording import RecordedRacer, Recording, recorded
from contract.rollout import Rollout
from contract.state import Observations
from simapp.race import Race, RaceRules
from simapp.rollout import collect
from simapp.scene import VIEWS, SceneRenderer
from simapp.tracks import Track, load_track
from tests.bench.record import write_result
from tests.support import BlindSimulator
from undercut.runs.run import DEFAULT_METADATA
from undercut.video.footage import frame_count, moments
from undercut.video.lap_video import VideoMaker
from undercut.video.videos import DEFAULT_VIEWS

METHOD = (
    "Laps of a car that steers after the centre line at 1 and 2 m/s, recorded as an evaluation records them. "
    "`wall_share` and `cpu_share` are wall and processor seconds for drawing and encoding all three views, at 640x480 "
    "and 15 frames a second, over the laps' simulated seconds: below 1 is faster than real time. A picture's cost is "
    "the median thread time of 60. Where other programs run on the machine (see load_1min), wall time says little and "
    "processor time, which caches and sibling threads still inflate, more."
)


class CentreLine:
    """Steers one car after the centre line: what a trained policy does, without one."""

    def __init__(self, simulator: BlindSimulator, track: Track, metadata: ModelMetadata) -> None:
        self._simulator, self._track = simulator, track
        count = metadata.actions.size
        self._steering = metadata.actions.controls(np.arange(count)).steering_rad

    def distribution(self, observations: Observations) -> ActionDistribution:
        cars, track = self._simulator.cars, self._track
        where = track.project(cars.x_m, cars.y_m)
        ahead = track.pose_at(where.distance_m + 0.6)
        turn = np.arctan2(ahead.y_m - cars.y_m, ahead.x_m - cars.x_m) - cars.heading_rad
        turn = (turn + np.pi) % (2 * np.pi) - np.pi
        nearest = np.abs(self._steering[None] - np.clip(0.9 * turn, -0.5, 0.5)[:, None]).argmin(axis=1)
        return ActionDistribution(probabilities=np.eye(len(self._steering))[nearest])


def driven(track: Track, laps: int) -> list[Rollout]:
    """Laps, one by one."""
    metadata = ModelMetadata.load(DEFAULT_METADATA)
    simulator = BlindSimulator(1)
    race = Race(simulator, track, RaceRules(2000, 5, 2.0, 2.0), [lambda _: 1.0])

    def start(car: int, episode: int, random: np.random.Generator) -> None:
        race.start(car, 0.0)

    policy = CentreLine(simulator, track, metadata)
    return collect(race, policy, metadata, RolloutOrder(Phase.evaluation, 0, 0, laps), start, 0)


def spent(work: Callable[[], object]) -> tuple[float, float]:
    """Wall and processor seconds."""
    wall, cpu = time.perf_counter(), time.process_time()
    work()
    return time.perf_counter() - wall, time.process_time() - cpu


def picture_ms(track: Track, recording: Recording, view: str, width: int, height: int) -> float:
    """Median thread milliseconds of a picture, without words and encoding."""
    renderer = SceneRenderer(track, width, height)
    took = []
    for moment, _ in zip(moments(recording, track), range(64), strict=False):
        began = time.thread_time()
        renderer.render(view, moment.bodies, 0, None, None, moment.trail_m)
        took.append(time.thread_time() - began)
    return 1000.0 * float(np.median(took[4:]))


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--track", default="paddock")
    parser.add_argument("--laps", type=int, default=5)
    parser.add_argument("--rounds", type=int, default=1)
    parser.add_argument("--no-write", action="store_true")
    arguments = parser.parse_args()

    track = load_track(arguments.track, [])
    laps = driven(track, arguments.laps)
    simulated_s = sum(lap.time_s for lap in laps)
    racer = (RecordedRacer("Bench", "bench", "Purple"),)
    made = Recording("bench", track.name, False, track.length_m, racer, tuple(recorded(laps)), "Bench Open")
    record_wall_s, record_cpu_s = min(spent(made.to_bytes) for _ in range(5))
    content = made.to_bytes()
    recording = Recording.from_bytes(content, "bench")
    maker = VideoMaker.of(track)
    maker.videos(recording, VIEWS, trials=[1], most_s=1.0)  # compiles
    rounds = [spent(lambda: maker.videos(recording, DEFAULT_VIEWS)) for _ in range(arguments.rounds)]
    alone = {view: spent(partial(maker.videos, recording, [view], trials=[1])) for view in VIEWS}
    first = frame_count(recording, 0, [1])
    steps = sum(map(len, laps))
    result = {
        "track": track.name,
        "laps": len(laps),
        "simulated_s": round(simulated_s, 2),
        "frames": frame_count(recording),
        "cores": os.cpu_count(),
        "three_views": {
            "wall_share": [round(wall / simulated_s, 3) for wall, _ in rounds],
            "cpu_share": [round(cpu / simulated_s, 3) for _, cpu in rounds],
            "median_wall_share": round(float(np.median([wall for wall, _ in rounds])) / simulated_s, 3),
            "median_cpu_share": round(float(np.median([cpu for _, cpu in rounds])) / simulated_s, 3),
        },
        "cpu_ms_a_frame_drawn_and_encoded": {view: round(1000 * cpu / first, 2) for view, (_, cpu) in alone.items()},
        "cpu_ms_a_picture": {
            f"{width}x{height}": {view: round(picture_ms(track, recording, view, width, height), 2) for view in VIEWS}
            for width, height in ((640, 480), (320, 240))
        },
        "recording": {
            "steps": steps,
            "bytes_a_step": round(len(content) / steps, 1),
            "cpu_us_a_step": round(1e6 * record_cpu_s / steps, 2),
            "wall_us_a_step": round(1e6 * record_wall_s / steps, 2),
        },
    }
    for key, value in result.items():
        print(f"{key}: {value}")
    if not arguments.no_write:
        print(write_result("video", result, METHOD))


if __name__ == "__main__":
    main()
