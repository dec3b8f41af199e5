"""MP4 files, through PyAV, whose libraries are loaded only when a video is made."""

import importlib
import io
from collections.abc import Iterable
from fractions import Fraction
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


def mp4(frames: Iterable[UInt8Array], rate: int) -> bytes:
    """H.264 of frames (H, W, 3) uint8, H and W even, `rate` a second."""
    av = encoder()
    content = io.BytesIO()
    with av.open(content, mode="w", format="mp4") as container:
        stream = None
        for frame in frames:
            if stream is None:
                stream = container.add_stream("libx264", rate=Fraction(rate), options={"crf": "20", "threads": "1"})
                stream.height, stream.width = frame.shape[:2]
                stream.pix_fmt = "yuv420p"
            for packet in stream.encode(av.VideoFrame.from_ndarray(frame, format="rgb24")):
                container.mux(packet)
        if stream is None:
            raise ValueError("a video needs frames")
        for packet in stream.encode():
            container.mux(packet)
    return content.getvalue()
