"""Frames of ROS 2 bags: sqlite3 and MCAP, with and without zstd, as the car's recorder and `ros2 bag` write them."""

import contextlib
import itertools
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from rosbags.rosbag2 import Reader

from contract.errors import InputError
from contract.fields import suggestion
from contract.metadata import ModelMetadata
from undercut.frames.messages import PICTURE_TYPES, RESULTS, TOPICS, Message, MessageError, read
from undercut.frames.source import Collected, Frames, spread

METADATA = "metadata.yaml"
STORAGES = (".db3", ".mcap")
SAME_MOMENT_S = 0.1
"""A result of the car belongs to the picture whose stamp is nearest to that of the one it saw, if no further away."""


@dataclass(frozen=True, slots=True)
class _Chosen:
    """The topic with the pictures, and that of the car's results where it is another one."""

    topic: str
    count: int
    results: str = ""


def is_bag(path: Path) -> bool:
    """Whether it is a bag's folder or one of its files."""
    if path.is_dir():
        return (path / METADATA).is_file() or any(_storages(path))
    return path.suffix in (*STORAGES, ".bag") or path.name.endswith(tuple(f"{it}.zstd" for it in STORAGES))


def read_bag(path: Path, metadata: ModelMetadata, topic: str | None, every: int | None) -> Frames:
    """The frames of a bag, with what the car's own policy said of them where that was recorded.

    topic  the one to take pictures from, by default the first of the car's TOPICS that is there
    every  every Nth picture, by default as many as MOST_FRAMES allows
    InputError for what is no bag, is damaged or cut off, and for topics that are missing or hold no pictures.
    """
    collected = Collected(metadata)
    names, times_s, own_outputs, delay_s = [], [], [], []
    notes: list[str] = []
    with _opened(path, notes) as reader:
        chosen = _chosen(reader, path, topic, metadata)
        step = spread(chosen.count, every)
        results = dict(_results(reader, path, chosen.results)) if chosen.results else {}
        stamps = np.array(sorted(results))
        for number, at_s, message in _messages(reader, path, chosen.topic, step):
            collected.add(message.pictures, message.lidar, f"{path}, {chosen.topic}, message {number}")
            names.append(str(number))
            times_s.append(message.stamp_s or at_s)
            own, result_s = message.said, at_s
            if own is None and len(stamps):
                own, result_s = _nearest_result(results, stamps, times_s[-1])
            own_outputs.append(own)
            delay_s.append(result_s - message.stamp_s if own is not None and message.stamp_s else np.nan)
    if not len(collected):
        raise InputError(f"{path}: {chosen.topic}", "no message", "a bag with pictures", "record while the car drives")
    if step > 1:
        notes.append(f"one of every {step} pictures, of {chosen.count}; --every 1 takes all")
    times = np.array(times_s) - times_s[0]
    said = _matrix(own_outputs, metadata, notes)
    return collected.frames(path, "bag", names, times, notes, chosen.topic, said, np.array(delay_s))


def _matrix(rows: list[Any], metadata: ModelMetadata, notes: list[str]) -> Any:
    """(K, outputs) of what the car said; None where it never did, or drove another model."""
    sizes = {len(it) for it in rows if it is not None}
    if not sizes:
        return None
    wanted = metadata.actions.size
    if sizes != {wanted}:
        seen = " or ".join(map(str, sorted(sizes)))
        notes.append(f"the car drove another model: it has {seen} outputs and this one {wanted}; they are not compared")
        return None
    return np.array([np.full(wanted, np.nan) if it is None else it for it in rows])


# --- files ------------------------------------------------------------------------------------------------------------


def _storages(folder: Path) -> Iterator[Path]:
    return (it for it in sorted(folder.iterdir()) if it.suffix in STORAGES)


def _opened(path: Path, notes: list[str]) -> contextlib.AbstractContextManager[Reader]:
    """The bag, or the file of one whose recorder was killed before it wrote the bag's metadata."""
    if path.suffix == ".bag":
        fix = f"rosbags-convert --src {path} --dst {path.stem}"
        raise InputError(str(path), "a bag of ROS 1", "bags of ROS 2", fix)
    if path.suffix == ".zstd":
        raise InputError(str(path), "a compressed file of a bag", "the bag's folder", f"name {path.parent}")
    if path.is_file() or (path / METADATA).is_file():
        return _reader(path)
    files = list(_storages(path))
    if len(files) > 1:
        fix = f"ros2 bag reindex {path}, or name one of the files"
        raise InputError(str(path), f"{len(files)} files and no {METADATA}", "a recording that was ended", fix)
    notes.append(f"{METADATA} is missing: the recording was not ended, so its last seconds may be missing too")
    return _reader(files[0])


@contextlib.contextmanager
def _reader(path: Path) -> Iterator[Reader]:
    with contextlib.ExitStack() as stack:
        try:
            reader = stack.enter_context(Reader(path))
        except Exception as error:  # SQLite, YAML, zstd and struct each have their own
            raise _damaged(path, error) from error
        yield reader


def _damaged(path: Path, error: Exception) -> InputError:
    file = next(_storages(path), path) if path.is_dir() else path
    recover = f"sqlite3 {file} .recover" if file.suffix == ".db3" else f"mcap recover {file}"
    problem = " ".join(str(error).split())[:300] or type(error).__name__
    fix = f"copy it from the car again, after the recording ended; or try `{recover}`"
    return InputError(str(path), problem, "a whole bag of ROS 2; this one is cut off or damaged", fix)


# --- topics -----------------------------------------------------------------------------------------------------------


def _chosen(reader: Reader, path: Path, topic: str | None, metadata: ModelMetadata) -> _Chosen:
    """InputError for a topic that is missing or has no pictures."""
    types = {name: info.msgtype or "several types" for name, info in reader.topics.items()}
    counts = {name: info.msgcount for name, info in reader.topics.items()}
    there = ", ".join(f"{name} ({types[name]}, {counts[name]})" for name in sorted(types)) or "none"
    if topic is None:
        order = TOPICS if metadata.lidar is None else (TOPICS[1], *TOPICS)
        known = [name for name in order if types.get(name) in PICTURE_TYPES and counts[name]]
        others = [name for name, kind in sorted(types.items()) if kind in PICTURE_TYPES and counts[name]]
        if not known and len(others) != 1:
            rule = f"a topic with pictures: {', '.join(TOPICS)}, or the only one of those types"
            fix = f"--topic {others[0]}" if others else "record with one of them"
            raise InputError(f"{path}: topics", there, rule, fix)
        topic = (known or others)[0]
    elif topic not in types:
        fix = suggestion(topic, types, "choose one of them")
        raise InputError(f"{path}: --topic", topic, f"a topic of the bag: {there}", fix)
    elif types[topic] not in PICTURE_TYPES:
        rule = f"a type with pictures: {', '.join(PICTURE_TYPES)}"
        raise InputError(f"{path}: {topic}", types[topic], rule, f"choose another --topic; there are {there}")
    results = TOPICS[0] if types[topic] != RESULTS and types.get(TOPICS[0]) == RESULTS else ""
    return _Chosen(topic, counts[topic], results)


def _messages(
    reader: Reader, path: Path, topic: str, step: int = 1, with_pictures: bool = True
) -> Iterator[tuple[int, float, Message]]:
    """Number, time of recording in seconds, and what it holds, of every Nth message of the topic. InputError for
    a broken one."""
    raw = reader.messages([it for it in reader.connections if it.topic == topic])
    for number in itertools.count():
        try:
            connection, at_ns, content = next(raw)
        except StopIteration:
            return
        except Exception as error:
            raise _damaged(path, error) from error
        if number % step:
            continue
        try:
            message = read(bytes(content), connection.msgtype, with_pictures)
        except MessageError as error:
            rule = f"a whole {connection.msgtype} with a picture"
            fix = f"copy the bag from the car again, or choose another --topic than {topic}"
            raise InputError(f"{path}, {topic}, message {number}", str(error), rule, fix) from error
        yield number, 1e-9 * at_ns, message


def _results(reader: Reader, path: Path, topic: str) -> Iterator[tuple[float, tuple[Any, float]]]:
    """Stamp of the pictures that the car's policy saw -> what it said, and when that was recorded."""
    for _, at_s, message in _messages(reader, path, topic, with_pictures=False):
        yield message.stamp_s or at_s, (message.said, at_s)


def _nearest_result(results: dict[float, tuple[Any, float]], stamps: Any, stamp_s: float) -> tuple[Any, float]:
    """Of the picture with that stamp, or of the one nearest to it."""
    k = int(np.abs(stamps - stamp_s).argmin())
    if abs(stamps[k] - stamp_s) > SAME_MOMENT_S:
        return None, np.nan
    return results[float(stamps[k])]
