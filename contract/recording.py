"""Recordings: what a video of driven laps is drawn from, in one compact file: a versioned header and raw arrays.

    UNDERCUT-RECORDING\\n | length of the header (4 bytes, little-endian) | header (JSON) | arrays (zlib)

A simtrace holds one car and no more; a recording also holds what stood and drove around it, the racers' names and
colours, and how the cars of a race were placed in time. Numbers are stored as float32, which is a micrometre here.
"""

import json
import math
import re
import zlib
from collections.abc import Sequence
from dataclasses import asdict, dataclass, fields
from typing import Annotated, Any

import numpy as np
from pydantic import BaseModel, ConfigDict, Field, TypeAdapter, ValidationError

from contract.errors import InputError
from contract.fields import broken_rule
from contract.rollout import Rollout
from contract.simtrace import Trace
from contract.state import STEP_DTYPE, IntArray, TrackObjects, broken_objects, broken_steps
from contract.vehicle import CAR_COLORS

MAGIC = b"UNDERCUT-RECORDING\n"
VERSION = 1
_MAX_HEADER_BYTES = 1 << 24
_STORED = {"f": "<f4", "i": "<i4", "b": "|u1", "u": "|u1"}
"""Kinds of STEP_DTYPE's columns -> as stored."""
MAX_BYTES = 1 << 31
"""Of unpacked arrays: a thousand laps of 5,000 steps past twenty objects have less."""
_OBJECTS = {"kind": "|u1", "colour": "|u1", "x_m": "<f4", "y_m": "<f4", "heading_rad": "<f4", "speed_mps": "<f4"}
_LAYOUT = {
    **{f"steps.{name}": _STORED[STEP_DTYPE[name].kind] for name in STEP_DTYPE.names or ()},
    **{f"things.{name}": stored for name, stored in _OBJECTS.items()},
    "ticks": "<i4",
}
"""Arrays in their order -> as stored."""


@dataclass(frozen=True, slots=True)
class RecordedRacer:
    """Who drove: what videos call it, its model, its CAR_COLOR, and in a race the folder of its files."""

    title: str
    model: str = ""
    color: str = "Black"
    folder: str = ""


@dataclass(frozen=True, slots=True)
class RecordedEpisode:
    """An episode of T steps: `racer` is an index, cars of one `world` met each other; the rest as in Rollout."""

    racer: int
    world: int
    number: int
    steps: np.ndarray
    objects: TrackObjects | None = None
    ticks: IntArray | None = None


@dataclass(frozen=True, slots=True)
class Recording:
    """Laps on one track. `track` and `reverse_dir` are as in RunConfig; `title` is a run's or a race's name."""

    title: str
    track: str
    reverse_dir: bool
    track_length_m: float
    racers: tuple[RecordedRacer, ...]
    episodes: tuple[RecordedEpisode, ...]
    leaderboard: str = ""

    def to_bytes(self) -> bytes:
        """The file. Equal recordings give equal bytes."""
        places = max((episode.objects.places for episode in self.episodes if episode.objects is not None), default=0)
        arrays: dict[str, np.ndarray] = {}
        for name in STEP_DTYPE.names or ():
            arrays[f"steps.{name}"] = np.concatenate([e.steps[name] for e in self.episodes])
        for name in _OBJECTS:
            columns = [
                np.zeros((len(e.steps), places)) if e.objects is None else getattr(e.objects, name)
                for e in self.episodes
            ]
            arrays[f"things.{name}"] = np.concatenate(columns)
        ticks = [np.full(len(e.steps), -1) if e.ticks is None else e.ticks for e in self.episodes]
        arrays["ticks"] = np.concatenate(ticks)
        arrays = {name: array.astype(_LAYOUT[name]) for name, array in arrays.items()}
        # one thing after the other, each in time: what stands compresses to nothing
        data = b"".join(np.ascontiguousarray(array.T).tobytes() for array in arrays.values())
        header = {
            "version": VERSION,
            **{
                field.name: getattr(self, field.name)
                for field in fields(self)
                if field.name not in ("racers", "episodes")
            },
            "racers": [asdict(racer) for racer in self.racers],
            "episodes": [
                [e.racer, e.world, e.number, len(e.steps), e.objects is not None, e.ticks is not None]
                for e in self.episodes
            ],
            "arrays": [[name, array.dtype.str, list(array.shape)] for name, array in arrays.items()],
            "bytes": len(data),
            "crc32": zlib.crc32(data),
        }
        text = json.dumps(header, separators=(",", ":")).encode()
        return b"".join([MAGIC, len(text).to_bytes(4, "little"), text, zlib.compress(data, 1)])

    @classmethod
    def from_bytes(cls, content: bytes, where: str) -> "Recording":
        """Read the file; InputError names `where` and says whether it is cut off, damaged or of a newer version."""
        header, data = _open(content, where)
        try:
            return cls._read(header, data)
        except (KeyError, ValueError) as error:
            raise _broken(where, f"{type(error).__name__}: {error}") from None

    @classmethod
    def _read(cls, header: "_Header", data: bytes) -> "Recording":
        arrays, offset = {}, 0
        total = sum(episode[3] for episode in header.episodes)
        wide = next((shape for name, _, shape in header.arrays if name == "things.kind"), [])
        for name, dtype, shape in header.arrays:
            expected = [total, *wide[1:2]] if name.startswith("things.") else [total]
            if dtype != _LAYOUT.get(name) or shape != expected or len(wide) != 2:
                raise ValueError(f"array {name!r} of {dtype!r}, {shape}")
            kind, count = np.dtype(dtype), math.prod(shape)
            arrays[name] = np.frombuffer(data, kind, count, offset).reshape(shape[::-1]).T
            offset += count * kind.itemsize
        if any(racer.color not in CAR_COLORS for racer in header.racers):
            raise ValueError(f"colours {[racer.color for racer in header.racers]}; known are {CAR_COLORS}")
        episodes, first = [], 0
        for racer, world, number, count, has_objects, has_ticks in header.episodes:
            rows = slice(first, first + count)
            if racer >= len(header.racers):
                raise ValueError(f"episode {number} of racer {racer}")
            steps = np.zeros(count, STEP_DTYPE)
            for name in STEP_DTYPE.names or ():
                steps[name] = arrays[f"steps.{name}"][rows]
            columns: dict[str, Any] = {
                name: arrays[f"things.{name}"][rows].astype(np.uint8 if stored == "|u1" else np.float64)
                for name, stored in _OBJECTS.items()
            }
            objects = TrackObjects(**columns)
            problem = broken_steps(steps) or (broken_objects(objects) if has_objects else None)
            if problem:
                raise ValueError(f"episode {number}: {problem}")
            ticks = arrays["ticks"][rows].astype(np.int64) if has_ticks else None
            episodes.append(RecordedEpisode(racer, world, number, steps, objects if has_objects else None, ticks))
            first += count
        plain = {field.name: getattr(header, field.name) for field in fields(cls)}
        return cls(**{**plain, "racers": tuple(header.racers), "episodes": tuple(episodes)})


_Whole = Annotated[int, Field(ge=-(2**31), lt=2**31)]
_Count = Annotated[int, Field(ge=0, lt=2**31)]
_Size = Annotated[int, Field(ge=1, lt=2**31)]


class _Header(BaseModel):
    """What stands before the arrays. An episode: racer, world, number, steps, has objects, has ticks."""

    model_config = ConfigDict(allow_inf_nan=False)

    version: int
    title: str
    track: str
    reverse_dir: bool
    track_length_m: float
    leaderboard: str
    racers: list[RecordedRacer]
    episodes: list[tuple[_Count, _Whole, _Whole, _Size, bool, bool]]
    arrays: list[tuple[str, str, list[_Count]]]
    size: Annotated[int, Field(alias="bytes", ge=0, le=MAX_BYTES)]
    crc32: int


_HEADER = TypeAdapter(_Header)


def recorded(rollouts: Sequence[Rollout], racer: int = 0, in_a_row: int = 1) -> list[RecordedEpisode]:
    """Rollouts of one racer; `in_a_row` episodes each share a world (race_laps)."""
    return [
        RecordedEpisode(racer, lap.episode // in_a_row, lap.episode, lap.steps, lap.objects, lap.ticks)
        for lap in rollouts
    ]


def of_traces(traces: Sequence[Trace], standing: TrackObjects | None = None) -> list[RecordedEpisode]:
    """Episodes of a simtrace, which knows nothing but the car; `standing` (1, M) is what is known to stand there."""
    return [
        RecordedEpisode(
            0,
            place,
            trace.episode,
            trace.steps,
            standing.of(np.zeros(len(trace.steps), np.int64)) if standing is not None and standing.places else None,
        )
        for place, trace in enumerate(traces)
    ]


def _open(content: bytes, where: str) -> tuple[_Header, bytes]:
    """Header and unpacked arrays."""
    if not content.startswith(MAGIC):
        raise InputError(where, content[:20], "a recording begins with UNDERCUT-RECORDING", "name a .rec file of a run")
    begin = len(MAGIC) + 4
    length = int.from_bytes(content[len(MAGIC) : begin], "little")
    text, packed = content[begin : begin + length], content[begin + length :]
    if len(text) < length or length > _MAX_HEADER_BYTES:
        raise _broken(where, f"{len(content)} bytes, and a header of {length}")
    try:
        version = re.match(rb'{"version": ?(\d{1,9}),', text)
        if version and int(version[1]) > VERSION:
            raise InputError(
                where, f"version {int(version[1])}", f"this undercut reads versions up to {VERSION}", "update undercut"
            )
        header = _HEADER.validate_json(text)
        data = zlib.decompressobj().decompress(packed, max(header.size, 1))
    except ValidationError as error:
        rule = broken_rule(error)
        raise _broken(where, f"{'.'.join(rule.key) or 'header'}: {rule.value!r}, not {rule.rule}") from None
    except (zlib.error, ValueError) as error:
        raise _broken(where, str(error)) from None
    if len(data) != header.size or zlib.crc32(data) != header.crc32:
        raise _broken(where, f"{len(data)} bytes of arrays; the header says {header.size}")
    return header, data


def _broken(where: str, what: str) -> InputError:
    return InputError(
        where,
        what,
        "a whole recording, as it was written",
        "the file was cut off or changed: evaluate again, or delete it to have the video drawn from the simtrace",
    )
