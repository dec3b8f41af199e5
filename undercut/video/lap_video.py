"""Videos of recorded laps: frames of one racer in one view, and several views encoded side by side."""

import importlib
import tempfile
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from fractions import Fraction
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np

from contract.errors import InputError
from contract.fields import suggestion
from contract.recording import Recording
from contract.state import STEP_S, UInt8Array
from simapp.scene import VIEWS, SceneRenderer, followed
from simapp.tracks import Track
from undercut.video.footage import FRAMES_PER_S, Moment, moments
from undercut.video.hud import BOTTOM_PX, TOP_PX, Hud

# --- MP4 files, through PyAV, whose libraries are loaded only when a video is made ------------------------------------


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


# --- Videos of recorded laps ------------------------------------------------------------------------------------------

_PRESET, _QUALITY = "veryfast", 26
"""libx264's; sharp enough, and half the size and time of its defaults."""


@dataclass(frozen=True, slots=True)
class VideoMaker:
    """Draws videos of recordings on one track; the ground is painted once."""

    track: Track
    renderer: SceneRenderer

    @classmethod
    def of(cls, track: Track, width: int = 640, height: int = 480) -> "VideoMaker":
        """InputError where no encoder is installed, or for a size that H.264 in yuv420p has not."""
        encoder()
        if width % 2 or height % 2:
            raise InputError("size of a video", f"{width}x{height}", "even numbers of pixels", "add a pixel")
        margins = (TOP_PX * width / 640, BOTTOM_PX * width / 640)
        return cls(track, SceneRenderer(track, width, height, map_margin_px=margins))

    def frames(
        self,
        recording: Recording,
        view: str,
        racer: int = 0,
        trials: Sequence[int] | None = None,
        most_s: float | None = None,
    ) -> Iterator[UInt8Array]:
        """Frames (H, W, 3) of a racer's laps, FRAMES_PER_S a second, of so many seconds at most.

        All are one array, filled anew each time.
        """
        who = recording.racers[racer]
        named = [part for part in (recording.leaderboard, who.model or recording.title) if part and part != who.title]
        hud = Hud(who.title, " · ".join(named), len(recording.racers))
        frame = np.empty((self.renderer.height, self.renderer.width, 3), np.uint8)
        yaw, before = None, None
        most = None if most_s is None else round(most_s * FRAMES_PER_S)
        for moment in islice(moments(recording, self.track, racer, trials), most):
            yaw = _follow(yaw, moment, before)
            before = moment
            self.renderer.render(view, moment.bodies, moment.focus, yaw, frame, moment.trail_m)
            hud.draw(frame, moment)
            yield frame

    def videos(
        self,
        recording: Recording,
        views: Sequence[str],
        racer: int = 0,
        trials: Sequence[int] | None = None,
        most_s: float | None = None,
        done: Callable[[str, bytes], None] | None = None,
    ) -> dict[str, bytes]:
        """MP4s by view, drawn and encoded side by side in threads; `done` is told of each (in its thread).

        InputError for a view that is none of VIEWS, and where no trial is left to show.
        """
        check_views(views)
        mine = sum(episode.racer == racer for episode in recording.episodes)
        if not mine or (trials is not None and not any(1 <= trial <= mine for trial in trials)):
            raise InputError("--trial", trials, f"a trial from 1 to {mine}", "name one of them, or none for all")

        def one(view: str) -> bytes:
            content = mp4(self.frames(recording, view, racer, trials, most_s), FRAMES_PER_S, _PRESET, _QUALITY)
            if done is not None:
                done(view, content)
            return content

        with ThreadPoolExecutor(len(views)) as pool:
            return dict(zip(views, pool.map(one, views), strict=True))


def check_views(views: Sequence[str]) -> None:
    """InputError for a view that does not exist."""
    for view in views:
        if view not in VIEWS:
            fix = suggestion(view, VIEWS, "choose one of them, or leave it out")
            raise InputError("--view", view, f"one of {', '.join(VIEWS)}", fix)


def _follow(yaw_rad: float | None, moment: Moment, before: Moment | None) -> float:
    """Where the chase camera looks at this moment."""
    own, focus = moment.bodies, moment.focus
    x, y, heading = (float(values[focus]) for values in (own.x_m, own.y_m, own.heading_rad))
    moved = 0.0
    if before is not None:
        moved = float(np.hypot(x - before.bodies.x_m[before.focus], y - before.bodies.y_m[before.focus]))
    return followed(None if moment.is_cut else yaw_rad, x, y, heading, moved, STEP_S)
