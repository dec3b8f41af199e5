"""What trainer and workers say to each other, as bytes: a checksummed frame with a JSON header and raw arrays.

    "UCUT" | version u16 | 0 u16 | header length u32 | body length u64 | CRC-32 of all else u32 | header | body

Readers bound every length and every field before they use it: whatever the bytes, the result is a message or a
WireError. Bodies are not compressed: zlib takes a camera's frames to 0.43 of their size at 112 MB/s, which is slower
than a network of 1 Gbit/s, not to speak of a machine's own memory (tests/bench/bench_transport.py).
"""

import math
import struct
import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated, Any, Literal, Self, TypeVar

import numpy as np
from pydantic import Field, TypeAdapter, ValidationError, model_validator

from contract.errors import WireError
from contract.fields import Strict, broken_rule
from contract.metadata import ContinuousActions, ModelMetadata
from contract.protocols import Phase, RolloutOrder
from contract.rollout import Rollout
from contract.state import STEP_DTYPE, TrackObjects, broken_objects, broken_steps

MAGIC = b"UCUT"
VERSION = 3
_PREFIX = struct.Struct("<4sHHIQ")
_CHECKSUM = struct.Struct("<I")
OVERHEAD = _PREFIX.size + _CHECKSUM.size
MAX_HEADER_BYTES = 1 << 20
MAX_SMALL_BYTES = 1 << 20
"""Of a message without arrays."""
MAX_JOB_BYTES = 64 << 20

_DTYPES: dict[str, np.dtype[Any]] = {
    "u1": np.dtype("u1"),
    "f4": np.dtype("<f4"),
    "f8": np.dtype("<f8"),
    "i8": np.dtype("<i8"),
    "step": STEP_DTYPE,
}
_OBJECTS = TrackObjects.__slots__
MAX_OBJECTS = 200
MAX_EPISODES = 100_000
"""Of an order."""

_Count = Annotated[int, Field(ge=0, lt=2**53)]
_Size = Annotated[int, Field(ge=1, lt=2**53)]
_Text = Annotated[str, Field(max_length=200)]
_LongText = Annotated[str, Field(max_length=100_000)]
_WorkerId = Annotated[str, Field(pattern=r"^[0-9a-f]{8,32}$")]
_Digest = Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]


def frame(header: bytes, *parts: bytes | memoryview) -> bytes:
    """One frame; the parts are the body, in order."""
    body = sum(map(len, parts))
    prefix = _PREFIX.pack(MAGIC, VERSION, 0, len(header), body)
    checksum = zlib.crc32(header, zlib.crc32(prefix))
    for part in parts:
        checksum = zlib.crc32(part, checksum)
    return b"".join([prefix, _CHECKSUM.pack(checksum), header, *parts])


def unframe(data: bytes, most_bytes: int) -> tuple[bytes, memoryview]:
    """(header, body) of a whole frame; WireError for anything else."""
    if len(data) > most_bytes:
        raise WireError(f"a message of {len(data):,} bytes; at most {most_bytes:,} are taken here")
    if len(data) < OVERHEAD or data[: len(MAGIC)] != MAGIC:
        raise WireError(f"no message of this toolkit: {len(data):,} bytes that begin with {bytes(data[:8])!r}")
    _, version, zero, header, body = _PREFIX.unpack_from(data)
    if version != VERSION:
        raise WireError(f"a message of wire version {version}, and this is version {VERSION}: update the older side")
    if zero or header > MAX_HEADER_BYTES or OVERHEAD + header + body != len(data):
        raise WireError(f"a message of {len(data):,} bytes whose prefix says {OVERHEAD} + {header:,} + {body:,}")
    view = memoryview(data)
    if zlib.crc32(view[OVERHEAD:], zlib.crc32(view[: _PREFIX.size])) != _CHECKSUM.unpack_from(data, _PREFIX.size)[0]:
        raise WireError(f"a message of {len(data):,} bytes whose checksum is wrong: it was changed on its way")
    return bytes(view[OVERHEAD : OVERHEAD + header]), view[OVERHEAD + header :]


class _Message(Strict):
    def to_bytes(self) -> bytes:
        return frame(self.model_dump_json().encode())


class FromWorker(_Message):
    """`number` counts the tasks of this worker process, from 1: the one it asks for or is busy with."""

    worker: _WorkerId
    number: _Count


class Ready(FromWorker):
    """Asks for task `number`; all before it are finished. Asked again while no answer comes."""

    kind: Literal["ready"] = "ready"
    host: _Text
    pid: _Count
    version: _Text


class Alive(FromWorker):
    """`steps` counts what the worker has driven so far: a worker that hangs says the same number again and again."""

    kind: Literal["alive"] = "alive"
    steps: _Count


class Failed(FromWorker):
    """The racer's own code failed, or the job cannot be driven: `error` is the class to raise."""

    kind: Literal["failed"] = "failed"
    order: _Digest
    error: Literal["RewardError", "UndercutError"]
    text: _LongText


class Leaving(FromWorker):
    """The worker's last words; `is_back` if it looks for another trainer's work and comes again when it has none."""

    kind: Literal["leaving"] = "leaving"
    why: _Text
    is_back: bool = False


class _Array(_Message):
    name: _Text
    dtype: Literal["u1", "f4", "f8", "i8", "step"]
    shape: Annotated[tuple[_Size, ...], Field(max_length=5)]


class Delivery(FromWorker):
    """A rollout's header; the arrays follow as the body."""

    kind: Literal["rollout"] = "rollout"
    order: _Digest
    episode: _Count
    iteration: _Count
    truncated: bool
    arrays: Annotated[tuple[_Array, ...], Field(max_length=20)]


class Task(_Message):
    """The trainer's answer to Ready: drive these episodes of an order. Job and policy are fetched by their digests."""

    kind: Literal["task"] = "task"
    number: _Count
    job: _Digest
    policy: _Digest
    order: _Digest
    phase: Phase
    iteration: _Count
    first: _Count
    count: Annotated[int, Field(ge=1, le=MAX_EPISODES)]
    epsilon: Annotated[float, Field(ge=0, le=1)] | None
    trained: _Count = 0
    episodes: Annotated[tuple[_Count, ...], Field(min_length=1, max_length=MAX_EPISODES)]

    @model_validator(mode="after")
    def _episodes_are_of_the_order(self) -> Self:
        last = self.first - 1
        for episode in self.episodes:
            if not last < episode < self.first + self.count:
                raise ValueError(f"episode {episode} is not one of {self.count} from {self.first}, in their order")
            last = episode
        return self

    def rollout_order(self) -> RolloutOrder:
        whole = RolloutOrder(self.phase, self.iteration, self.first, self.count, self.epsilon, trained=self.trained)
        return whole if len(self.episodes) == self.count else whole.of(self.episodes)


WorkerMessage = Ready | Alive | Failed | Leaving | Delivery
_FROM_WORKER: TypeAdapter[WorkerMessage] = TypeAdapter(Annotated[WorkerMessage, Field(discriminator="kind")])
_TASK: TypeAdapter[Task] = TypeAdapter(Task)
_T = TypeVar("_T")


def read_worker_message(data: bytes, most_bytes: int) -> tuple[WorkerMessage, memoryview]:
    """A message of a worker with the arrays behind it, those of a Delivery; WireError."""
    header, body = unframe(data, most_bytes)
    message = _parse(_FROM_WORKER, header)
    if len(body) and not isinstance(message, Delivery):
        raise WireError(f"a {message.kind!r} message with a body of {len(body):,} bytes; only rollouts have one")
    return message, body


def read_task(data: bytes) -> Task:
    """WireError when it is none."""
    header, body = unframe(data, MAX_SMALL_BYTES)
    if len(body):
        raise WireError(f"a task with a body of {len(body):,} bytes")
    return _parse(_TASK, header)


def _parse(reader: TypeAdapter[_T], header: bytes) -> _T:
    try:
        return reader.validate_json(header)
    except ValidationError as error:
        broken = broken_rule(error)
        raise WireError(f"a message that breaks a rule at {'.'.join(broken.key) or 'header'}: {broken.rule}") from None


# --- rollouts --------------------------------------------------------------------------------------------------------


def rollout_to_bytes(rollout: Rollout, worker: str, number: int, order: str) -> bytes:
    """A rollout as a worker's message. `ticks` are of races between racers, which no worker drives."""
    arrays: list[tuple[_Array, np.ndarray[Any, Any]]] = [
        _described("actions", rollout.actions),
        _described("steps", rollout.steps),
        *(_described(f"final/{name}", values) for name, values in rollout.final.items()),
        *(_described(f"observations/{name}", values) for name, values in rollout.observations.items()),
    ]
    if rollout.objects is not None:
        arrays += [_described(f"objects/{name}", getattr(rollout.objects, name)) for name in _OBJECTS]
    header = Delivery(
        worker=worker,
        number=number,
        order=order,
        episode=rollout.episode,
        iteration=rollout.iteration,
        truncated=rollout.truncated,
        arrays=tuple(description for description, _ in arrays),
    )
    return frame(header.model_dump_json().encode(), *(values.reshape(-1).view(np.uint8).data for _, values in arrays))


def _described(name: str, values: np.ndarray[Any, Any]) -> tuple[_Array, np.ndarray[Any, Any]]:
    """Big-endian machines would swap here; nobody has one."""
    kind = next((kind for kind, dtype in _DTYPES.items() if values.dtype == dtype), None)
    if kind is None:
        raise WireError(f"array {name} is {values.dtype}; a rollout's are {', '.join(_DTYPES)}")
    return _Array.model_validate({"name": name, "dtype": kind, "shape": values.shape}), np.ascontiguousarray(values)


@dataclass(frozen=True, slots=True)
class RolloutRules:
    """What a rollout of a job must look like.

    sensors      name -> shape of one observation
    actions      number of discrete ones; 0 for continuous ones
    most_steps   of an episode
    """

    sensors: dict[str, tuple[int, ...]]
    actions: int
    most_steps: int

    @classmethod
    def of(cls, metadata: ModelMetadata, most_steps: int, with_state: bool = False) -> Self:
        """`with_state` is whether the critic reads the simulator's state, which then comes with the sensors."""
        actions = 0 if isinstance(metadata.actions, ContinuousActions) else metadata.actions.size
        return cls(metadata.observation_shapes(with_state), actions, most_steps)

    @property
    def most_bytes(self) -> int:
        """Of a message with one rollout."""
        observed = sum(math.prod(shape) * _sensor_dtype(shape).itemsize for shape in self.sensors.values())
        return (
            OVERHEAD
            + MAX_HEADER_BYTES
            + (self.most_steps + 1) * (observed + STEP_DTYPE.itemsize + 16 + 34 * MAX_OBJECTS)
        )


def _sensor_dtype(shape: tuple[int, ...]) -> np.dtype[Any]:
    """Cameras see bytes, (height, width, channels); lidars numbers."""
    return _DTYPES["u1"] if len(shape) == 3 else _DTYPES["f4"]


def rollout_of(delivery: Delivery, body: memoryview, rules: RolloutRules) -> Rollout:
    """The rollout of a message; its arrays are read-only views of the body. WireError where it breaks a rule."""
    found: dict[str, np.ndarray[Any, Any]] = {}
    at = 0
    for array in delivery.arrays:
        dtype = _DTYPES[array.dtype]
        size = math.prod(array.shape) * dtype.itemsize
        if array.name in found or at + size > len(body):
            raise WireError(f"rollout of episode {delivery.episode}: array {array.name!r} {array.shape} does not fit")
        found[array.name] = np.frombuffer(body[at : at + size], dtype).reshape(array.shape)
        at += size
    if at != len(body):
        raise WireError(f"rollout of episode {delivery.episode}: {len(body) - at:,} bytes behind its arrays")
    steps = _checked_steps(found.pop("steps", None), delivery, rules)
    length = len(steps)
    _expect(found, "actions", (length,) if rules.actions else (length, 2), _DTYPES["i8" if rules.actions else "f8"])
    for name, shape in rules.sensors.items():
        _expect(found, f"final/{name}", shape, _sensor_dtype(shape))
        if f"observations/{name}" in found:
            _expect(found, f"observations/{name}", (length, *shape), _sensor_dtype(shape))
    objects = _checked_objects(found, length)
    sensors = list(rules.sensors)
    observed = [name for name in sensors if f"observations/{name}" in found]
    if len(found) != 1 + len(sensors) + len(observed) or observed not in ([], sensors):
        raise WireError(f"rollout of episode {delivery.episode}: arrays {', '.join(found)}; sensors {sensors}")
    actions = found["actions"]
    if rules.actions and not bool(((actions >= 0) & (actions < rules.actions)).all()):
        raise WireError(f"rollout of episode {delivery.episode}: an action that is not in 0..{rules.actions - 1}")
    floats = [actions, *(values for values in found.values() if values.dtype.kind == "f")]
    if not all(bool(np.isfinite(values).all()) for values in floats):
        raise WireError(f"rollout of episode {delivery.episode}: a number that is not finite")
    return Rollout(
        episode=delivery.episode,
        iteration=delivery.iteration,
        observations={name: found[f"observations/{name}"] for name in observed},
        final={name: found[f"final/{name}"] for name in sensors},
        actions=actions,
        steps=steps,
        truncated=delivery.truncated,
        objects=objects,
    )


def _checked_objects(found: "dict[str, np.ndarray[Any, Any]]", length: int) -> TrackObjects | None:
    """Takes them out of the arrays."""
    if "objects/kind" not in found:
        return None
    shape = (length, found["objects/kind"].size // length)
    if shape[1] > MAX_OBJECTS:
        raise WireError(f"a rollout with {shape[1]} objects on the road; at most {MAX_OBJECTS} can be")
    for name in _OBJECTS:
        _expect(found, f"objects/{name}", shape, _DTYPES["u1" if name in ("kind", "colour") else "f8"])
    objects = TrackObjects(**{name: found.pop(f"objects/{name}") for name in _OBJECTS})
    if problem := broken_objects(objects):
        raise WireError(f"a rollout with {problem}")
    return objects


def _checked_steps(
    steps: "np.ndarray[Any, Any] | None", delivery: Delivery, rules: RolloutRules
) -> "np.ndarray[Any, Any]":
    where = f"rollout of episode {delivery.episode}"
    if steps is None or steps.dtype != STEP_DTYPE or steps.ndim != 1 or not 0 < len(steps) <= rules.most_steps:
        raise WireError(f"{where}: 1 to {rules.most_steps} steps are a whole episode")
    if problem := broken_steps(steps):
        raise WireError(f"{where}: {problem}")
    return steps


def _expect(found: "dict[str, np.ndarray[Any, Any]]", name: str, shape: Sequence[int], dtype: "np.dtype[Any]") -> None:
    array = found.get(name)
    if array is None or array.shape != tuple(shape) or array.dtype != dtype:
        got = "missing" if array is None else f"{array.dtype} {array.shape}"
        raise WireError(f"array {name!r} of a rollout is {got}; it must be {dtype} {tuple(shape)}")


# --- jobs ------------------------------------------------------------------------------------------------------------


class _JobHeader(_Message):
    kind: Literal["job"] = "job"
    version: _Text
    run: _Text
    files: Annotated[dict[Annotated[str, Field(max_length=400)], _Count], Field(max_length=2_000)]


@dataclass(frozen=True, slots=True)
class Job:
    """What a worker needs to drive for a run: its files by their keys, and the version of this toolkit."""

    version: str
    run: str
    files: dict[str, bytes]

    def to_bytes(self) -> bytes:
        """WireError when it is too large."""
        header = _JobHeader(version=self.version, run=self.run, files={k: len(v) for k, v in self.files.items()})
        data = frame(header.model_dump_json().encode(), *self.files.values())
        if len(data) > MAX_JOB_BYTES:
            raise WireError(f"the run's files are {len(data):,} bytes; at most {MAX_JOB_BYTES:,} go to workers")
        return data

    @classmethod
    def from_bytes(cls, data: bytes) -> Self:
        """WireError when they are no job."""
        header, body = unframe(data, MAX_JOB_BYTES)
        read = _parse(_JOB, header)
        if sum(read.files.values()) != len(body):
            raise WireError(f"a job whose files have {sum(read.files.values()):,} bytes, and {len(body):,} follow")
        files, at = {}, 0
        for key, size in read.files.items():
            files[key] = bytes(body[at : at + size])
            at += size
        return cls(read.version, read.run, files)


_JOB: TypeAdapter[_JobHeader] = TypeAdapter(_JobHeader)
