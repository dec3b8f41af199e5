"""The wire between trainer and workers: whatever arrives, it is a message within its bounds or a WireError."""

import json
import socket
import struct
import threading
from typing import Any

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from contract.channels.unix import UnixChannel, UnixWorkerEnd
from contract.errors import WireError
from contract.protocols import Phase
from contract.rollout import Rollout
from contract.state import STEP_DTYPE, EpisodeStatus, Observations, TrackObjects
from contract.wire import (
    MAX_SMALL_BYTES,
    Alive,
    Delivery,
    Failed,
    Job,
    Leaving,
    Ready,
    RolloutRules,
    Task,
    frame,
    read_task,
    read_worker_message,
    rollout_of,
    rollout_to_bytes,
    unframe,
)
from tests.fuzzing import DEEP, damaged_bytes, damaged_values, examples, value_or_error

WORKER, DIGEST = "0123456789abcdef", "ab" * 32
RULES = RolloutRules({"LIDAR": (4,), "FRONT_FACING_CAMERA": (3, 4, 1)}, actions=5, most_steps=9)


def rollout(length: int = 3) -> Rollout:
    steps = np.zeros(length, STEP_DTYPE)
    steps["status"][-1] = EpisodeStatus.off_track
    objects = TrackObjects.none(length, 2)
    objects.kind[:, 0] = 1
    camera = np.zeros((length, 3, 4, 1), np.uint8)
    seen: Observations = {"LIDAR": np.zeros((length, 4), np.float32), "FRONT_FACING_CAMERA": camera}
    return Rollout(4, 1, seen, {k: v[0] for k, v in seen.items()}, np.zeros(length, np.int64), steps, False, objects)


ROLLOUT = rollout_to_bytes(rollout(), WORKER, 3, DIGEST)
TASK = Task(
    number=1, job=DIGEST, policy=DIGEST, order=DIGEST, phase=Phase.training, iteration=0, first=2, count=3,
    epsilon=None, episodes=(2, 4),
)  # fmt: skip
JOB = Job("1.0", "run", {"run.json": b"{}", "reward_function.py": b"x" * 100})
MESSAGES = [
    ROLLOUT,
    Ready(worker=WORKER, number=1, host="h", pid=7, version="1").to_bytes(),
    Alive(worker=WORKER, number=2, steps=9).to_bytes(),
    Failed(worker=WORKER, number=2, order=DIGEST, error="RewardError", text="it").to_bytes(),
    Leaving(worker=WORKER, number=2, why="told to").to_bytes(),
]
HEADERS = [json.loads(unframe(data, 1 << 20)[0]) for data in MESSAGES]
_, BODY = unframe(ROLLOUT, 1 << 20)


def read(data: bytes) -> Rollout | None:
    message, body = read_worker_message(data, RULES.most_bytes)
    return rollout_of(message, body, RULES) if isinstance(message, Delivery) else None


def forged(header: Any, body: bytes | memoryview = b"") -> bytes:
    """A frame with a right checksum, as only one who knows the protocol sends it."""
    text = header if isinstance(header, str) else json.dumps(header)
    return frame(text.encode("utf-8", "surrogatepass"), body)


@examples(60)
@given(st.one_of(*map(damaged_bytes, MESSAGES)))
def test_damaged_frames(data: bytes) -> None:
    got = value_or_error(lambda: read(data), errors=WireError)
    assert got is None or data == ROLLOUT


@examples(150)
@given(
    damaged_values(HEADERS[0]).map(lambda header: forged(header, BODY))
    | damaged_bytes(bytes(BODY)).map(lambda body: forged(HEADERS[0], body))
    | st.one_of(*(damaged_values(header).map(forged) for header in HEADERS))
    | DEEP.map(forged)
)
def test_forged_messages(data: bytes) -> None:
    got = value_or_error(lambda: read(data), errors=WireError)
    if got is not None:
        again = read(rollout_to_bytes(got, WORKER, 3, DIGEST))
        assert again is not None and again.steps.tobytes() == got.steps.tobytes()
        assert len(got) == len(got.actions) and got.steps["status"].max() <= max(EpisodeStatus)
        assert got.objects is None or got.objects.x_m.shape[0] == len(got)


@examples(60)
@given(damaged_values(json.loads(TASK.model_dump_json())).map(forged) | damaged_bytes(TASK.to_bytes()))
def test_tasks(data: bytes) -> None:
    task = value_or_error(lambda: read_task(data), errors=WireError)
    if task is not None:
        assert read_task(task.to_bytes()) == task
        order = task.rollout_order()
        assert tuple(order.episodes) == task.episodes and set(order.episodes) <= set(
            range(task.first, task.first + task.count)
        )


@examples(60)
@given(
    damaged_values(json.loads(unframe(JOB.to_bytes(), 1 << 20)[0])).map(lambda h: forged(h, b"{}" + b"x" * 100))
    | damaged_bytes(JOB.to_bytes())
)
def test_jobs(data: bytes) -> None:
    job = value_or_error(lambda: Job.from_bytes(data), errors=WireError)
    if job is not None:
        assert Job.from_bytes(job.to_bytes()) == job


def test_lengths_that_lie_take_no_memory() -> None:
    """Prefixes that promise more than there is, and more than there may be."""
    for header, body in ((2**32 - 1, 0), (0, 2**64 - 1), (8, 2**40), (1 << 20, 1 << 30)):
        data = struct.pack("<4sHHIQ", b"UCUT", 2, 0, header, body) + bytes(12)
        for reader in (read, read_task, Job.from_bytes):
            assert value_or_error(lambda r=reader, d=data: r(d), errors=WireError) is None  # type: ignore[misc]


def test_a_socket_that_is_told_nonsense_serves_the_next_worker() -> None:
    channel = UnixChannel()
    try:
        digest = channel.publish(b"blob")
        nonsense = [
            *(b"", b"X", bytes(9), b"W" + struct.pack("<Q", 2**63), b"W" + struct.pack("<Q", 3) + b"\xff\xfe\xfd"),
            struct.pack("<cQ", b"W", 16) + WORKER.encode() + b"F" + struct.pack("<Q", 2**40),
            struct.pack("<cQ", b"W", 16) + WORKER.encode() + struct.pack("<cQ", b"F", 2) + b"\xff\xff",
            struct.pack("<cQ", b"W", 16) + WORKER.encode() + struct.pack("<cQ", b"Z", 4) + b"what",
        ]
        for said in nonsense:
            with socket.socket(socket.AF_UNIX) as connection:
                connection.connect(str(channel.path))
                connection.sendall(said)
        end = UnixWorkerEnd(channel.path, "fedcba9876543210")
        try:
            assert end.fetch(digest) == b"blob"
            end.send(b"hello")
            assert channel.receive(10.0) == b"hello"
        finally:
            end.close()
    finally:
        channel.close()
    assert threading.active_count() < 50


def test_a_message_may_be_as_long_as_it_may_be_and_no_longer() -> None:
    header = json.dumps(HEADERS[1]).encode()
    text = header + b" " * (MAX_SMALL_BYTES - len(frame(header)))
    assert read_worker_message(frame(text), MAX_SMALL_BYTES)[0].number == 1
    assert value_or_error(lambda: read_worker_message(frame(text + b" "), MAX_SMALL_BYTES), errors=WireError) is None
