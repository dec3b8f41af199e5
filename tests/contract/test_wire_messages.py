"""Frames, messages, tasks and jobs on the wire, without rollouts: what comes back, and which bounds are kept."""

import json
import struct
import zlib

import pytest
from pydantic import ValidationError

from contract.errors import WireError
from contract.metadata import ModelMetadata
from contract.protocols import Phase, RolloutOrder
from contract.state import EpisodeStatus, ObjectKind
from contract.wire import (
    MAX_SMALL_BYTES,
    Alive,
    Failed,
    Job,
    Leaving,
    Ready,
    RolloutRules,
    Task,
    frame,
    read_task,
    read_worker_message,
    unframe,
)

WORKER, ORDER = "0123456789abcdef", "ab" * 32


@pytest.mark.parametrize(
    "message",
    [
        Ready(worker=WORKER, number=1, host="höst", pid=7, version="1.0"),
        Alive(worker=WORKER, number=2, steps=2**40),
        Failed(worker=WORKER, number=2, order=ORDER, error="RewardError", text="line\n2"),
        Leaving(worker=WORKER, number=2, why="told to"),
    ],
)
def test_messages_come_back(message: Ready | Alive | Failed | Leaving) -> None:
    assert read_worker_message(message.to_bytes(), MAX_SMALL_BYTES)[0] == message


@pytest.mark.parametrize("episodes", [(5, 6, 7), (5, 7)])
def test_a_task_says_what_to_drive(episodes: tuple[int, ...]) -> None:
    whole = RolloutOrder(Phase.training, 2, 5, 3, 0.25)
    task = Task(
        number=4, job=ORDER, policy=ORDER, order=ORDER, phase=whole.phase, iteration=2, first=5, count=3, epsilon=0.25,
        episodes=episodes,
    )  # fmt: skip
    assert read_task(task.to_bytes()) == task
    assert task.rollout_order() == (whole if episodes == (5, 6, 7) else whole.of(episodes))


def test_a_job_comes_back() -> None:
    job = Job("1.0", "run", {"run.json": b"{}", "reward_function.py": b"x" * 1000, "empty.py": b""})
    assert Job.from_bytes(job.to_bytes()) == job


def test_a_message_that_is_no_json_breaks_a_rule_of_the_header() -> None:
    with pytest.raises(WireError, match="breaks a rule at header"):
        read_task(frame(b"{"))


def test_numbers_on_the_wire_and_in_recordings_keep_their_meaning() -> None:
    statuses = "prepare in_progress lap_complete crashed off_track immobilized reversed time_up pause park"
    assert {status.name: int(status) for status in EpisodeStatus} == {n: k for k, n in enumerate(statuses.split())}
    assert {kind.name: int(kind) for kind in ObjectKind} == {"nothing": 0, "box": 1, "car": 2}
    over = {status.name for status in EpisodeStatus if status.is_over}
    assert over == {"lap_complete", "crashed", "off_track", "immobilized", "reversed", "time_up"}


def test_counts_are_what_json_holds_exactly() -> None:
    last = Alive(worker=WORKER, number=2, steps=2**53 - 1)
    assert read_worker_message(last.to_bytes(), MAX_SMALL_BYTES)[0] == last
    with pytest.raises(ValidationError, match="steps"):
        Alive(worker=WORKER, number=2, steps=2**53)


def test_a_message_is_what_it_was_when_it_was_checked() -> None:
    message = Alive(worker=WORKER, number=2, steps=3)
    with pytest.raises(ValidationError, match="frozen"):
        message.steps = -1


def test_the_files_of_a_job_may_have_64_mebibytes_with_what_is_around_them() -> None:
    most = 64 << 20
    around = len(Job("1.0", "run", {"model": bytes(most - 200)}).to_bytes()) - (most - 200)
    whole = Job("1.0", "run", {"model": bytes(most - around)}).to_bytes()
    assert len(whole) == most
    assert len(Job.from_bytes(whole).files["model"]) == most - around
    with pytest.raises(WireError, match="at most 67,108,864 go to workers"):
        Job("1.0", "run", {"model": bytes(most - around + 1)}).to_bytes()
    with pytest.raises(WireError, match="at most 67,108,864 are taken"):
        Job.from_bytes(whole + b"0")


@pytest.mark.parametrize(("first", "second"), [(3, 2), (2, 3), (0, 4)])
def test_a_job_whose_files_have_other_lengths_is_refused(first: int, second: int) -> None:
    header = {"kind": "job", "version": "1.0", "run": "run", "files": {"a": first, "b": second}}
    said = json.dumps(header).encode()
    assert Job.from_bytes(frame(said, bytes(range(first + second)))).files == {
        "a": bytes(range(first)),
        "b": bytes(range(first, first + second)),
    }
    for length in (first + second - 1, first + second + 1):
        with pytest.raises(WireError, match=f"a job whose files have {first + second} bytes, and {length} follow"):
            Job.from_bytes(frame(said, bytes(length)))


@pytest.mark.parametrize("continuous", [True, False])
def test_the_rules_of_a_job_are_those_of_its_model(continuous: bool) -> None:
    space = '{"steering_angle": {"low": -30, "high": 30}, "speed": {"low": 1, "high": 2}}' if continuous else (
        '[{"steering_angle": 30, "speed": 1}, {"steering_angle": 0, "speed": 1}, {"steering_angle": -30, "speed": 1}]'
    )  # fmt: skip
    kind = "continuous" if continuous else "discrete"
    metadata = ModelMetadata.parse(
        f'{{"action_space_type": "{kind}", "action_space": {space}, "sensor": ["FRONT_FACING_CAMERA", "LIDAR"],'
        ' "neural_network": "DEEP_CONVOLUTIONAL_NETWORK_SHALLOW", "version": "5"}'
    )
    sensors: dict[str, tuple[int, ...]] = {"FRONT_FACING_CAMERA": (120, 160, 1), "LIDAR": (64,)}
    assert RolloutRules.of(metadata, 7) == RolloutRules(sensors, 0 if continuous else 3, 7)


def test_another_version_says_so() -> None:
    prefix = struct.pack("<4sHHIQ", b"UCUT", 1, 0, 0, 0)
    with pytest.raises(WireError, match="wire version 1, and this is version 3: update the older side"):
        unframe(prefix + struct.pack("<I", zlib.crc32(prefix)), 100)


def _prefixed(version: int, zero: int, header: int, body: int, content: bytes) -> bytes:
    """A frame whose checksum is right and whose prefix may lie."""
    prefix = struct.pack("<4sHHIQ", b"UCUT", version, zero, header, body)
    return prefix + struct.pack("<I", zlib.crc32(content, zlib.crc32(prefix))) + content


@pytest.mark.parametrize(
    ("zero", "header", "body"), [(1, 4, 2), (0, 5, 2), (0, 4, 1), (0, 4, 3), (0, 2**32 - 1, 2), (0, 4, 2**64 - 1)]
)
def test_a_prefix_that_lies_is_refused_though_its_checksum_is_right(zero: int, header: int, body: int) -> None:
    header_bytes, body_bytes = unframe(_prefixed(3, 0, 4, 2, b"headbo"), 100)
    assert header_bytes + bytes(body_bytes) == b"headbo" and len(body_bytes) == 2
    with pytest.raises(WireError, match="whose prefix says"):
        unframe(_prefixed(3, zero, header, body, b"headbo"), 100)


def test_an_empty_frame_is_a_frame() -> None:
    header, body = unframe(frame(b""), 100)
    assert (header, len(body)) == (b"", 0)


def test_a_header_may_have_a_mebibyte() -> None:
    most = 1 << 20
    assert len(unframe(frame(bytes(most)), 2 * most)[0]) == most
    with pytest.raises(WireError, match="whose prefix says"):
        unframe(frame(bytes(most + 1)), 2 * most)


def test_only_rollouts_have_a_body() -> None:
    ready = Ready(worker=WORKER, number=1, host="h", pid=7, version="1.0")
    with pytest.raises(WireError, match="only rollouts have one"):
        read_worker_message(frame(ready.model_dump_json().encode(), b"more"), MAX_SMALL_BYTES)
    task = {"kind": "task", "number": 1, "job": ORDER, "policy": ORDER, "order": ORDER, "phase": "training"}
    task |= {"iteration": 0, "first": 5, "count": 3, "epsilon": None, "episodes": [5, 6, 7]}
    assert list(read_task(frame(json.dumps(task).encode())).episodes) == [5, 6, 7]
    with pytest.raises(WireError, match="a task with a body of 4 bytes"):
        read_task(frame(json.dumps(task).encode(), b"more"))
    for episodes in ([5, 6, 8], [4, 5], [6, 5], [5, 5]):
        with pytest.raises(WireError, match="in their order"):
            read_task(frame(json.dumps({**task, "episodes": episodes}).encode()))
    for epsilon in (-0.1, 1.1):
        with pytest.raises(WireError, match="epsilon"):
            read_task(frame(json.dumps({**task, "epsilon": epsilon}).encode()))
