"""Frames of folders of pictures and of videos."""

import re
from pathlib import Path

import numpy as np
from PIL import Image

from contract.errors import InputError
from contract.metadata import ModelMetadata
from undercut.frames.messages import MessageError, opened
from undercut.frames.source import Collected, Frames, spread

SUFFIXES = (".png", ".jpg", ".jpeg", ".bmp", ".webp", ".tif", ".tiff", ".pgm", ".ppm")
"""Of pictures, in any case."""
_NO_LIDAR = np.empty(0, np.float32)


def is_picture(path: Path) -> bool:
    """By its name."""
    return path.suffix.lower() in SUFFIXES


def read_folder(path: Path, metadata: ModelMetadata, every: int | None) -> Frames:
    """The pictures of a folder, by the numbers in their names, or a single one.

    every  every Nth, by default as many as MOST_FRAMES allows
    InputError where there is none, and for one that cannot be decoded.
    """
    files = [path] if path.is_file() else sorted((it for it in path.iterdir() if is_picture(it)), key=_by_number)
    if not files:
        raise InputError(
            str(path),
            "no picture, and no bag",
            f"a folder with pictures ({', '.join(SUFFIXES)}), or with a bag's metadata.yaml",
            "name the folder that holds them; folders in it are not looked into",
        )
    step = spread(len(files), every)
    collected = Collected(metadata)
    for file in files[::step]:
        try:
            picture = opened(file.read_bytes())
        except (MessageError, OSError) as error:
            raise InputError(str(file), str(error), "a whole picture", "delete it, or copy it again") from error
        collected.add([picture], _NO_LIDAR, str(file))
    notes = [f"one of every {step} pictures, of {len(files)}; --every 1 takes all"] if step > 1 else []
    names = tuple(file.name for file in files[::step])
    return collected.frames(path, "folder", names, np.full(len(names), np.nan), notes)


def _by_number(path: Path) -> list[tuple[int, str]]:
    """frame10 comes after frame9."""
    return [(int(part), "") if part.isdecimal() else (-1, part) for part in re.split(r"([0-9]{1,18})", path.name)]


def read_video(path: Path, metadata: ModelMetadata, every: int | None) -> Frames:
    """The frames of a video of any kind that FFmpeg knows.

    every  every Nth, by default as many as MOST_FRAMES allows
    InputError for what is no video, or is cut off.
    """
    import av  # its libraries take a moment to load

    collected = Collected(metadata)
    names, times_s = [], []
    step, number = 1, -1
    try:
        with av.open(str(path)) as container:
            if not container.streams.video:
                raise InputError(str(path), "no video in it", "a video, a folder of pictures or a bag", "name another")
            stream = container.streams.video[0]
            rate = float(stream.average_rate or 0) or np.nan
            step = spread(stream.frames or _frame_count(stream.duration, stream.time_base, rate), every)
            for number, frame in enumerate(container.decode(stream)):
                if number % step == 0:
                    collected.add(
                        [Image.fromarray(frame.to_ndarray(format="rgb24"))], _NO_LIDAR, f"{path}, frame {number}"
                    )
                    names.append(str(number))
                    times_s.append(number / rate if frame.time is None else float(frame.time))
    except (av.FFmpegError, OSError, MemoryError) as error:
        problem = str(getattr(error, "strerror", None) or error)
        value = f"{problem} after frame {number}" if number >= 0 else problem
        rule = "a whole video that FFmpeg can decode, a folder of pictures, or a bag of ROS 2 (.db3, .mcap, a folder)"
        raise InputError(
            str(path), value, rule, f"copy it again, or `ffmpeg -i {path.name} frames/%06d.png`"
        ) from error
    if not len(collected):
        raise InputError(str(path), "no frame in it", "a video with frames", "record it again")
    notes = [f"one of every {step} frames, of {number + 1}; --every 1 takes all"] if step > 1 else []
    return collected.frames(path, "video", names, np.array(times_s) - times_s[0], notes)


def _frame_count(duration: int | None, time_base: object, rate: float) -> int:
    """Frames of a stream that has its length in seconds alone; 0 without it, so that all are looked at."""
    seconds = float(duration * time_base) if duration and time_base else np.nan  # type: ignore[operator]
    return int(seconds * rate) if np.isfinite(seconds * rate) else 0
