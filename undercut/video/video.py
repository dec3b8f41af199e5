"""MP4 files, through PyAV, whose libraries are loaded only when a video is made."""

import importlib
import tempfile
from collections.abc import Iterable
from fractions import Fraction
from pathlib import Path
from typing import Any

from contract.errors import InputError
from contract.state import UInt8Array


def encoder() -> Any:
    """PyAV; InputError, with what to do, where it cannot be loaded."""
    try:
        return importlib.import_module("av")
    except ImportError:
        raise InputError(
            "--video", "no video encoder", "videos need the Python package av", "pip install av (or uv pip install av)"
        ) from None


def mp4(frames: Iterable[UInt8Array], rate: int, preset: str = "medium", quality: int = 20) -> bytes:
    """H.264 of frames (H, W, 3) uint8, H and W even, `rate` a second, that begins to play before it is loaded.

    `preset` and `quality` (crf: less is better) are libx264's. Each frame is taken before the next is asked for.
    """
    av = encoder()
    # the index goes to the front when all is written, which needs a file that can be read again
    with tempfile.TemporaryDirectory(prefix="undercut-video-") as folder:
        path = Path(folder) / "video.mp4"
        with av.open(str(path), mode="w", format="mp4", options={"movflags": "+faststart"}) as container:
            stream = None
            for frame in frames:
                if stream is None:
                    options = {"crf": str(quality), "preset": preset, "threads": "1"}
                    stream = container.add_stream("libx264", rate=Fraction(rate), options=options)
                    stream.height, stream.width = frame.shape[:2]
                    stream.pix_fmt = "yuv420p"
                for packet in stream.encode(av.VideoFrame.from_ndarray(frame, format="rgb24")):
                    container.mux(packet)
            if stream is None:
                raise ValueError("a video needs frames")
            for packet in stream.encode():
                container.mux(packet)
        return path.read_bytes()
