"""The sheet that shows domain randomisation."""

import io
from dataclasses import fields

import numpy as np
import pytest
from PIL import Image

from contract.conditions import Conditions, RandomizationConfig
from simapp.camera import Camera
from simapp.media.samples import SEEN, sample_sheet
from simapp.tracks import Track


@pytest.mark.slow
def test_the_sheet_holds_the_plain_frame_and_repeats_from_its_seed() -> None:
    x, y = np.linspace(0.0, 4.0, 5), np.zeros(5)
    track = Track("street", np.column_stack([x, y, x, y + 0.5, x, y - 0.5]))
    sheet = sample_sheet(track, RandomizationConfig(), draws=4)
    assert sheet == sample_sheet(track, RandomizationConfig(), draws=4)
    assert sheet != sample_sheet(track, RandomizationConfig(), seed=1, draws=4)
    page = np.asarray(Image.open(io.BytesIO(sheet)))
    frame = Camera(track).render(np.zeros(1), np.zeros(1), np.zeros(1))[0]
    windows = np.lib.stride_tricks.sliding_window_view(page, frame.shape)
    # also once for each range whose end is nominal: texture, blur, noise
    same = (windows[:, :, ::7, ::7] == frame[::7, ::7]).all(axis=(2, 3))
    assert same.sum() == 3


def test_every_range_of_the_camera_is_shown() -> None:
    others = {"latency_steps", "speed_gain", "steering_gain", "steering_offset_deg", "friction", "seed"}
    assert set(SEEN) | others == {field.name for field in fields(Conditions)}
