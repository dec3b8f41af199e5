"""MP4s of laps: what a player finds in them, and what a viewer reads."""

import functools
import importlib
import io
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from scipy.fft import next_fast_len

from contract.errors import InputError
from contract.state import UInt8Array
from simapp.scene import VIEWS, SceneRenderer, followed
from tests.recordings import TRACK, box_at, lap_steps, race, recording, with_reset
from undercut.video.footage import frame_count, moments
from undercut.video.hud import Hud, clock, shortened, text_mask, text_width, write
from undercut.video.lap_video import VideoMaker, mp4

av: Any = importlib.import_module("av")
LAPS = recording([with_reset(lap_steps(16), 6, 0.4), lap_steps(4)], [box_at(0.6, 22), box_at(0.6, 4)])


@functools.cache
def maker() -> VideoMaker:
    return VideoMaker.of(TRACK)


def decoded(content: bytes) -> tuple[Any, list[UInt8Array]]:
    with av.open(io.BytesIO(content)) as container:
        stream = container.streams.video[0]
        about = (
            container.format.name,
            stream.codec_context.name,
            stream.codec_context.pix_fmt,
            stream.width,
            stream.height,
            stream.average_rate,
            stream.duration * stream.time_base,
        )
        return about, [frame.to_ndarray(format="rgb24") for frame in container.decode(stream)]


def reads(frame: UInt8Array, text: str, size_px: int, bold: bool = False) -> bool:
    """Whether the text stands somewhere in the frame in white or grey letters, by normalised correlation."""
    mask = np.asarray(text_mask(text, size_px, bold), float)
    (top, bottom), (left, right) = (np.flatnonzero(mask.any(axis=axis))[[0, -1]] for axis in (1, 0))
    mask = mask[top : bottom + 1, left : right + 1]
    grey = frame.astype(float).mean(axis=2)
    shape = [next_fast_len(n + m - 1) for n, m in zip(grey.shape, mask.shape, strict=True)]

    def convolved(one: np.ndarray, two: np.ndarray) -> np.ndarray:
        full = np.fft.irfft2(np.fft.rfft2(one, shape) * np.fft.rfft2(two, shape), shape)
        return np.asarray(full[mask.shape[0] - 1 : grey.shape[0], mask.shape[1] - 1 : grey.shape[1]])

    pattern = mask - mask.mean()
    window = np.ones_like(mask)
    mean, square = convolved(grey, window) / mask.size, convolved(grey**2, window) / mask.size
    spread = np.sqrt(np.maximum(square - mean**2, 1.0) * mask.size)
    return bool((convolved(grey, pattern[::-1, ::-1]) / (spread * np.linalg.norm(pattern))).max() > 0.9)


def test_a_video_plays_anywhere_and_decodes_to_the_frames_that_were_drawn() -> None:
    content = maker().videos(LAPS, ["45degree"], trials=[2])["45degree"]
    count = frame_count(LAPS, trials=[2])
    about, frames = decoded(content)
    assert about == ("mov,mp4,m4a,3gp,3g2,mj2", "h264", "yuv420p", 640, 480, 15, pytest.approx(count / 15))
    assert len(frames) == count
    for decoded_frame, drawn in zip(frames, maker().frames(LAPS, "45degree", trials=[2]), strict=True):
        assert np.abs(decoded_frame.astype(int) - drawn).mean() < 9.0
    # the index stands before the pictures: it plays while it loads
    assert 0 < content.index(b"moov") < content.index(b"mdat")


def test_all_views_are_drawn_side_by_side_to_the_same_videos_as_alone() -> None:
    done: list[str] = []
    small = VideoMaker(TRACK, SceneRenderer(TRACK, 160, 120, maker().renderer.ground))
    together = small.videos(LAPS, VIEWS, done=lambda view, _: done.append(view))
    assert set(together) == set(done) == set(VIEWS)
    assert len({len(content) for content in together.values()}) == len(VIEWS)
    # libx264 decides differently from run to run, with one thread too: what was drawn is compared, and not its bytes
    for view in ("pip", "topview"):
        _, played = decoded(together[view])
        alone = [frame.copy() for frame in small.frames(LAPS, view)]
        assert len(played) == len(alone)
        for one, other in zip(played, alone, strict=True):
            assert np.abs(one.astype(int) - other).mean() < 9.0


def test_views_drawn_at_the_same_time_are_those_drawn_alone() -> None:
    small = VideoMaker(TRACK, SceneRenderer(TRACK, 160, 120, maker().renderer.ground))

    def drawn(view: str) -> list[bytes]:
        return [frame.tobytes() for frame in small.frames(LAPS, view)]

    with ThreadPoolExecutor(len(VIEWS)) as pool:
        assert list(pool.map(drawn, VIEWS)) == [drawn(view) for view in VIEWS]


def test_the_hud_tells_who_when_and_how() -> None:
    found = list(moments(LAPS, TRACK))
    moment = found[8]  # while the penalty runs
    assert moment.banner == "Off track  0.3 s"
    yaw = followed(None, 0.0, 0.0, moment.bodies.heading_rad[0], 0.0)
    frame = maker().renderer.render("45degree", moment.bodies, 0, yaw)
    bare = frame.copy()
    Hud("Zoë", "August Open · fast").draw(frame, moment)
    for text, size, bold in [
        ("Zoë", 17, True),
        ("August Open · fast", 12, False),
        (clock(moment.time_s), 21, True),
        ("Lap 1/2", 12, False),
        ("0.00", 18, True),
        (f"{int(moment.progress_pct)} %", 15, True),
        ("1 reset", 13, True),
        ("+0.1 s penalty", 12, False),
        ("Off track  0.3 s", 22, True),
    ]:
        assert reads(frame, text, size, bold), text
        assert not reads(bare, text, size, bold), text
    assert not reads(frame, "0 resets", 13, False)
    frame = bare.copy()
    Hud("Zoë").draw(frame, found[20])
    assert reads(frame, "1 reset", 13, True)
    assert reads(frame, "+0.4 s penalty", 12)


def test_a_race_tells_the_place() -> None:
    both = race([lap_steps(10, 1.0), lap_steps(10, 2.0)], [np.arange(10), np.arange(10)])
    for racer, place in ((0, "P2/2"), (1, "P1/2")):
        *_, frame = maker().frames(both, "topview", racer)
        assert reads(frame, f"Lap 1/1   {place}", 12)


def test_names_of_any_length_and_script_fit() -> None:
    frame = np.zeros((240, 320, 3), np.uint8)
    Hud("Лев " * 40, "\n\t").draw(frame, next(moments(LAPS, TRACK)))
    assert frame[:24, 200:].max() > 0  # the clock is not covered
    assert text_width(shortened("W" * 400, 17, True, 200), 17, True) <= 200
    assert shortened("short", 17, True, 200) == "short"
    picture = Image.fromarray(frame)
    write(picture, "cut off at the rim", 300, 230, 17, (255, 255, 255))
    write(picture, "nowhere", -900, -900, 17, (255, 255, 255))


@pytest.mark.parametrize(
    ("time_s", "text"), [(0.0, "0:00.000"), (7.35, "0:07.350"), (59.9996, "1:00.000"), (754.2, "12:34.200")]
)
def test_the_clock(time_s: float, text: str) -> None:
    assert clock(time_s) == text


def test_bad_orders_are_refused() -> None:
    with pytest.raises(InputError, match="sideways"):
        maker().videos(LAPS, ["pip", "sideways"])
    with pytest.raises(InputError, match="a trial from 1 to 2"):
        maker().videos(LAPS, ["pip"], trials=[3])
    with pytest.raises(InputError, match="even numbers"):
        VideoMaker.of(TRACK, 321, 240)
    with pytest.raises(ValueError, match="needs frames"):
        mp4(iter(()), 15)


def test_a_failure_while_drawing_leaves_no_file_behind(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))

    def frames() -> Any:
        yield np.zeros((48, 64, 3), np.uint8)
        raise RuntimeError("the renderer fails")

    with pytest.raises(RuntimeError, match="the renderer fails"):
        mp4(frames(), 15)
    assert list(tmp_path.iterdir()) == []
