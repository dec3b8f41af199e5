"""What it costs to bring rollouts from workers to the trainer: format, compression, channels, and the share of a run.

    python -m tests.bench.bench_transport [--rounds 5] [--train]

Camera frames of the real simulator, 20 episodes; each channel carries them from another process. With --train also a
whole training in one process, with one worker and with two (minutes). Result: results/transport.json.
"""

import argparse
import contextlib
import json
import multiprocessing
import os
import subprocess
import sys
import tempfile
import time
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np

from contract.channels.redis import RedisChannel, RedisWorkerEnd
from contract.channels.unix import UnixChannel, UnixWorkerEnd
from contract.config import TrainingConfig
from contract.metadata import ModelMetadata
from contract.protocols import ActionDistribution, Phase, RolloutOrder, TrainerEnd, WorkerEnd
from contract.rollout import Rollout
from contract.state import Observations
from contract.wire import Delivery, RolloutRules, read_worker_message, rollout_of, rollout_to_bytes
from scripts.runs import DEFAULT_METADATA
from simapp.builtin import BuiltinSimulator
from simapp.race import Race, RaceRules
from simapp.rollout import collect
from simapp.starts import round_robin
from simapp.tracks import load_track
from tests.bench.record import write_result
from tests.redis_server import RedisServer

WORKER, ORDER = "a" * 16, "b" * 64
EPISODES = 20


class Straight:
    """Drives straight on, mostly."""

    def distribution(self, observations: Observations) -> ActionDistribution:
        count = len(observations["FRONT_FACING_CAMERA"])
        return ActionDistribution(probabilities=np.tile([0.05, 0.15, 0.6, 0.15, 0.05], (count, 1)))


def rollouts(metadata: ModelMetadata) -> list[Rollout]:
    simulator = BuiltinSimulator(load_track("paddock"), [metadata] * EPISODES)
    rewards: list[Callable[[dict[str, object]], float]] = [lambda params: 1.0] * EPISODES
    race = Race(simulator, load_track("paddock"), RaceRules(2_000), rewards)
    order = RolloutOrder(Phase.training, 0, 0, EPISODES)
    return collect(race, Straight(), metadata, order, round_robin(race, TrainingConfig()), 3)


def timed(work: Callable[[], Any]) -> tuple[float, Any]:
    begin = time.perf_counter()
    done = work()
    return time.perf_counter() - begin, done


def compression(frames: bytes, rounds: int) -> list[dict[str, Any]]:
    rows = []
    for level in (1, 6):
        times = [timed(lambda: zlib.compress(frames, level)) for _ in range(rounds)]  # noqa: B023
        small = times[0][1]
        back = [timed(lambda: zlib.decompress(small))[0] for _ in range(rounds)]  # noqa: B023
        rows.append(
            {
                "method": f"zlib level {level}",
                "size": round(len(small) / len(frames), 3),
                "compress_mb_s": round(len(frames) / median(t for t, _ in times) / 1e6),
                "decompress_mb_s": round(len(frames) / median(back) / 1e6),
            }
        )
    return rows


@contextlib.contextmanager
def channels() -> Iterator[dict[str, tuple[TrainerEnd, Callable[[], WorkerEnd]]]]:
    with RedisServer() as server:
        unix, over_redis = UnixChannel(), RedisChannel(server.address, "bench")
        yield {
            "unix socket": (unix, lambda: UnixWorkerEnd(unix.path, WORKER)),
            "redis, this machine": (over_redis, lambda: RedisWorkerEnd(server.address, WORKER)),
        }
        unix.close()
        over_redis.close()


def send_all(join: Callable[[], WorkerEnd], driven: list[Rollout], rounds: int, begin: Any) -> None:
    """The worker's process: encodes and sends, round by round."""
    end = join()
    for _ in range(rounds):
        begin.acquire()
        for one in driven:
            end.send(rollout_to_bytes(one, WORKER, 1, ORDER))
    time.sleep(1.0)
    end.close()


def carry(
    trainer: TrainerEnd, join: Callable[[], WorkerEnd], driven: list[Rollout], rules: RolloutRules, rounds: int
) -> float:
    """Median seconds for all rollouts from one process's objects to the other's."""
    fork = multiprocessing.get_context("fork")
    begin = fork.Semaphore(0)
    worker = fork.Process(target=send_all, args=(join, driven, rounds, begin))
    worker.start()
    times = []
    for _ in range(rounds):
        start = time.perf_counter()
        begin.release()
        got = 0
        while got < len(driven):
            data = trainer.receive(5.0)
            if data is not None:
                message, body = read_worker_message(data, rules.most_bytes)
                assert isinstance(message, Delivery)
                rollout_of(message, body, rules)
                got += 1
        times.append(time.perf_counter() - start)
    worker.join()
    return median(times[1:] or times)


def training(workers: int, folder: Path, cores: str, iterations: int) -> dict[str, Any]:
    """One training as a racer would start it; seconds an iteration without the first two, which start and compile."""
    name = f"bench{workers}"
    command = [
        "taskset",
        "-c",
        cores,
        sys.executable,
        "-P",
        "-m",
        "scripts.cli",
        "train",
        name,
        "--workers",
        str(workers),
    ]
    limits = ["--iterations", str(iterations), "--clean-evaluations", "0", "--laps", "1", "--seed", "1"]
    begin = time.perf_counter()
    done = subprocess.run([*command, *limits], cwd=folder, capture_output=True, text=True, check=True)
    stamps = [line.split()[-2] for line in done.stdout.splitlines() if line[:5].strip().isdigit()]
    seconds = [int(m) * 60 + int(s) for m, s in (stamp.split(":") for stamp in stamps)]
    rows = json.loads((folder / "runs" / name / "iterations.json").read_text())
    return {
        "workers": workers,
        "cores": cores,
        "whole_s": round(time.perf_counter() - begin, 1),
        "iteration_s": round((seconds[-1] - seconds[1]) / (len(seconds) - 2), 2),
        "steps_per_iteration": round((rows[-1]["steps"] - rows[1]["steps"]) / (len(rows) - 2)),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--train", type=int, default=0, metavar="ITERATIONS")
    options = parser.parse_args()
    metadata = ModelMetadata.load(DEFAULT_METADATA)
    rules = RolloutRules.of(metadata, 2_000)
    driven = rollouts(metadata)
    encoded = [rollout_to_bytes(one, WORKER, 1, ORDER) for one in driven]
    total = sum(map(len, encoded))
    steps = sum(map(len, driven))

    def decode() -> None:
        for data in encoded:
            message, body = read_worker_message(data, rules.most_bytes)
            assert isinstance(message, Delivery)
            rollout_of(message, body, rules)

    encode_s = median(
        timed(lambda: [rollout_to_bytes(one, WORKER, 1, ORDER) for one in driven])[0] for _ in range(options.rounds)
    )
    decode_s = median(timed(decode)[0] for _ in range(options.rounds))
    frames = b"".join(one.observations["FRONT_FACING_CAMERA"].tobytes() for one in driven)
    payload: dict[str, Any] = {
        "episodes": EPISODES,
        "steps": steps,
        "megabytes": round(total / 1e6, 2),
        "encode_mb_s": round(total / encode_s / 1e6),
        "decode_mb_s": round(total / decode_s / 1e6),
        "compression": compression(frames, options.rounds),
        "channels": [],
    }
    with channels() as made:
        for name, (trainer, join) in made.items():
            seconds = carry(trainer, join, driven, rules, options.rounds)
            payload["channels"].append(
                {"channel": name, "mb_s": round(total / seconds / 1e6), "us_per_step": round(seconds / steps * 1e6, 1)}
            )
    if options.train:
        cores = sorted(os.sched_getaffinity(0))
        everything = ",".join(map(str, cores))
        with tempfile.TemporaryDirectory() as folder:
            payload["training"] = [training(workers, Path(folder), everything, options.train) for workers in (0, 1, 2)]
        alone = payload["training"][0]
        per_step_us = alone["iteration_s"] / alone["steps_per_iteration"] * 1e6
        for row in payload["channels"]:
            row["share_of_an_iteration"] = round(row["us_per_step"] / per_step_us, 4)
    print(json.dumps(payload, indent=2))
    write_result(
        "transport",
        payload,
        "camera episodes of the built-in simulator from a second process; encode, send, receive and check, medians; "
        "share: time on the way per step over one process's time for an iteration per step",
    )


if __name__ == "__main__":
    main()
