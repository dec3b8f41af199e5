"""Frames of whatever a racer names."""

from pathlib import Path

from contract.errors import InputError
from contract.metadata import ModelMetadata
from undercut.frames.bags import is_bag, read_bag
from undercut.frames.pictures import is_picture, read_folder, read_video
from undercut.frames.source import Frames


def read_frames(path: Path, metadata: ModelMetadata, topic: str | None = None, every: int | None = None) -> Frames:
    """Frames of a bag, a folder of pictures, a picture or a video, as the model's policy takes them.

    topic  of a bag: the one to take pictures from
    every  every Nth frame; by default all, or as many evenly spread ones as source.MOST_FRAMES says
    InputError for a path that does not exist, and for what cannot be read; it says where.
    """
    if not path.exists():
        rule = "a bag of ROS 2 (a folder, .db3 or .mcap), a folder of pictures, or a video"
        raise InputError("BAG|FOLDER|VIDEO", str(path), rule, "check the path")
    bag = is_bag(path)
    if topic is not None and not bag:
        raise InputError("--topic", topic, f"topics are of bags, and {path} is none", "leave --topic out")
    if bag:
        return read_bag(path, metadata, topic, every)
    if path.is_dir() or is_picture(path):
        return read_folder(path, metadata, every)
    return read_video(path, metadata, every)
