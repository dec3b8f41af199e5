"""Rollouts and messages to bytes and back, on one core, without a channel (bench_transport has those).

    python -m tests.bench.bench_wire [--rounds 15]

Result: results/wire.json. Takes some seconds.
"""

import argparse
import json
import os
import time
from collections.abc import Callable
from statistics import median
from typing import Any

from contract.wire import Alive, Delivery, RolloutRules, read_worker_message, rollout_of, rollout_to_bytes
from tests.bench.record import write_result
from tests.stock_coach import episode, metadata

WORKER, ORDER = "0123456789abcdef", "ab" * 32
LENGTHS = (20, 100, 400)
RULES = RolloutRules.of(metadata(), max(LENGTHS))


def read(data: bytes) -> int:
    """Steps of a message's rollout, all of it checked."""
    message, body = read_worker_message(data, RULES.most_bytes)
    assert isinstance(message, Delivery)
    return len(rollout_of(message, body, RULES))


def seconds(work: Callable[[], Any], rounds: int, times: int) -> float:
    """CPU seconds of one call, median over rounds."""
    found = []
    for _ in range(rounds):
        began = time.process_time()
        for _ in range(times):
            work()
        found.append((time.process_time() - began) / times)
    return median(found)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=15)
    rounds = parser.parse_args().rounds
    os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})
    rows = []
    for length in LENGTHS:
        rollout = episode(1, length, metadata())
        data = rollout_to_bytes(rollout, WORKER, 1, ORDER)
        assert read(data) == length
        there = seconds(lambda r=rollout: rollout_to_bytes(r, WORKER, 1, ORDER), rounds, 5)  # type: ignore[misc]
        back = seconds(lambda d=data: read(d), rounds, 5)  # type: ignore[misc]
        rows.append(
            {
                "steps": length,
                "megabytes": round(len(data) / 1e6, 3),
                "encode_mb_s": round(len(data) / 1e6 / there),
                "decode_mb_s": round(len(data) / 1e6 / back),
                "us_per_step": round((there + back) / length * 1e6, 2),
            }
        )
    alive = Alive(worker=WORKER, number=3, steps=1000)
    said = alive.to_bytes()
    message_us = seconds(lambda: read_worker_message(alive.to_bytes(), 1 << 20), rounds, 200) * 1e6
    payload = {"rollouts": rows, "message_us": round(message_us, 1), "message_bytes": len(said)}
    print(json.dumps(payload, indent=2))
    write_result(
        "wire",
        payload,
        "one process pinned to one core; episodes of camera frames to bytes, and back with every check of "
        "contract.wire; CPU time, medians; message: a sign of life there and back",
    )


if __name__ == "__main__":
    main()
