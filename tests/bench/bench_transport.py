"""What it costs to bring rollouts from workers to the trainer: format, compression, channels, and the share of a run.

    python -m tests.bench.bench_transport [--rounds 5] [--train 8] [--scaling 10]

Camera frames of the real simulator, 20 episodes; each channel carries them from another process. With --train their
share of the time of a training's iteration, with --scaling what one worker and two deliver. All together 4 to 7 minutes
on 2 quiet cores. Result: results/transport.json.

"ratio_with_a_core_each" is what the workers' own CPU time would allow. What it lacks of 2 is what two smaller batches
of cars cost more than one large one; what "ratio" lacks of it the machine's cores do.
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
from contract.config import EvaluationConfig, RunConfig, TrainingConfig
from contract.metadata import ModelMetadata
from contract.protocols import ActionDistribution, Phase, RolloutOrder, TrainerEnd, WorkerEnd
from contract.rollout import Rollout
from contract.state import Observations
from contract.stores.local import LocalStore
from contract.wire import Delivery, RolloutRules, read_worker_message, rollout_of, rollout_to_bytes
from simapp.builtin import BuiltinSimulator
from simapp.race import Race, RaceRules
from simapp.rollout import collect
from simapp.starts import round_robin
from simapp.tracks import load_track
from tests.bench.record import write_result
from tests.redis_server import RedisServer
from trainer.agents import make_agent
from trainer.remote import RemoteRollouts
from undercut.backends.local.workers import LocalWorkers, job_of
from undercut.runs.run import DEFAULT_HYPERPARAMETERS, DEFAULT_METADATA, DEFAULT_REWARD, Run

WORKER, ORDER = "a" * 16, "b" * 64
EPISODES = 20
SCALING_S = 100.0
BEGIN = time.perf_counter()


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
    return collect(race, Straight(), metadata, order, round_robin(race, TrainingConfig(), EvaluationConfig()), 3)


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


def training_us_per_step(folder: Path, iterations: int) -> float:
    """Of a training in one process, without its first two iterations, which start and compile."""
    command = [sys.executable, "-P", "-m", "undercut", "train", "bench", "--iterations", str(iterations)]
    limits = ["--clean-evaluations", "0", "--laps", "1", "--seed", "1"]
    progress(f"training {iterations} iterations")
    done = subprocess.run([*command, *limits], cwd=folder, capture_output=True, text=True, check=True, timeout=1800)
    stamps = [line.split()[-2] for line in done.stdout.splitlines() if line[:5].strip().isdigit()]
    seconds = [int(m) * 60 + int(s) for m, s in (stamp.split(":") for stamp in stamps)]
    rows = json.loads((folder / "runs" / "bench" / "iterations.json").read_text())
    return float((seconds[-1] - seconds[1]) / (rows[-1]["steps"] - rows[1]["steps"]) * 1e6)


def cpu_s(pids: list[int]) -> float:
    """Seconds that processes have computed so far."""
    fields = [Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split() for pid in pids]
    return sum(int(it[11]) + int(it[12]) for it in fields) / os.sysconf("SC_CLK_TCK")


@contextlib.contextmanager
def crew_of(count: int, run: Run) -> Iterator[tuple[RemoteRollouts, LocalWorkers]]:
    """So many worker processes with one thread each, and where their rollouts come from."""
    rules = RolloutRules.of(run.files.metadata, run.config.training.max_episode_steps)
    channel = UnixChannel()
    source = RemoteRollouts(channel, job_of(run), rules, progress, expected=count)
    with LocalWorkers(count, ["--socket", str(channel.path)], count, progress, source) as crew:
        yield source, crew
    source.close()


def scaling(folder: Path, orders: int) -> list[dict[str, Any]]:
    """Training orders by one worker and by two, in turns, so that other work on the machine meets both alike; no
    updates between them. Ends early after SCALING_S of each size."""
    store = LocalStore(folder / "scaling")
    run = Run.create(RunConfig(name="scaling"), DEFAULT_REWARD, DEFAULT_METADATA, DEFAULT_HYPERPARAMETERS, place=store)
    policy = make_agent(run.files.metadata, run.files.hyperparameters, 1).export()
    rows, number = [], 0
    with crew_of(1, run) as one, crew_of(2, run) as two:
        for episodes in (EPISODES, 8 * EPISODES):
            walls: dict[int, list[float]] = {1: [], 2: []}
            cpus: dict[int, list[float]] = {1: [], 2: []}
            end_s = time.monotonic() + SCALING_S
            while len(walls[1]) < orders + 1 and (len(walls[1]) < 4 or time.monotonic() < end_s):
                order = RolloutOrder(Phase.training, number, number * episodes, episodes)
                for count, (source, crew) in ((1, one), (2, two)):
                    before = cpu_s(crew.pids)
                    walls[count].append(timed(lambda source=source, order=order: source.collect(policy, order))[0])  # type: ignore[misc]
                    cpus[count].append(cpu_s(crew.pids) - before)
                number += 1
            row: dict[str, Any] = {"episodes_an_order": episodes, "orders": len(walls[1]) - 1}
            for count in (1, 2):  # the first order compiles
                row[f"{count}_workers"] = {
                    "episodes_per_s": round(episodes / median(walls[count][1:]), 2),
                    "cpu_s_per_episode": round(median(cpus[count][1:]) / episodes, 4),
                }
            first, second = row["1_workers"], row["2_workers"]
            row["ratio"] = round(second["episodes_per_s"] / first["episodes_per_s"], 2)
            row["ratio_with_a_core_each"] = round(2 * first["cpu_s_per_episode"] / second["cpu_s_per_episode"], 2)
            rows.append(row)
            progress(f"{episodes} episodes: {row['ratio']} times the episodes with two workers")
    return rows


def progress(text: str) -> None:
    print(f"{time.perf_counter() - BEGIN:6.0f} s  {text}", file=sys.stderr, flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--train", type=int, default=0, metavar="ITERATIONS")
    parser.add_argument("--scaling", type=int, default=0, metavar="ORDERS")
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
    with tempfile.TemporaryDirectory() as folder:
        if options.scaling:
            payload["scaling"] = scaling(Path(folder), options.scaling)
        if options.train:
            per_step_us = training_us_per_step(Path(folder), options.train)
            payload["training_us_per_step"] = round(per_step_us)
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
