"""Bags of cars, damaged: their storage, their metadata and single messages."""

import json
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from rosbags.rosbag2 import StoragePlugin

from contract.metadata import ModelMetadata
from tests.bags import PACKAGE, Car, drive
from tests.fuzzing import damaged_bytes, damaged_text, examples, value_or_error
from undercut.frames.messages import MessageError, read
from undercut.frames.reading import read_frames
from undercut.frames.source import Frames

MODEL = ModelMetadata.parse(
    json.dumps(
        {
            "action_space": [{"steering_angle": 10.0 * i, "speed": 1.0} for i in range(3)],
            "sensor": ["FRONT_FACING_CAMERA"],
            "version": 5,
        }
    )
)
FRAMES = np.zeros((3, 120, 160), np.uint8)
SAID = np.full((3, 3), 1.0 / 3.0)


@pytest.fixture(scope="module")
def bags(tmp_path_factory: pytest.TempPathFactory) -> dict[str, tuple[Path, bytes]]:
    """Kind -> a file of a bag, which is damaged in its place, and what it holds."""
    folder = tmp_path_factory.mktemp("bags")
    sqlite = drive(folder / "sqlite", FRAMES, SAID)
    mcap = drive(folder / "mcap", FRAMES, SAID, storage=StoragePlugin.MCAP)
    named = drive(folder / "named", FRAMES, SAID)
    files = {"sqlite": sqlite / "sqlite.db3", "mcap": mcap / "mcap.mcap", "yaml": named / "metadata.yaml"}
    return {kind: (file, file.read_bytes()) for kind, file in files.items()}


def check(found: Frames | None) -> None:
    if found is not None:
        assert len(found) == len(found.observations["FRONT_FACING_CAMERA"]) > 0
        assert found.said is None or found.said.shape == (len(found), 3)


@examples(25)
@given(data=st.data(), kind=st.sampled_from(["sqlite", "mcap"]))
def test_damaged_storage(bags: dict[str, tuple[Path, bytes]], data: st.DataObject, kind: str) -> None:
    file, content = bags[kind]
    file.write_bytes(data.draw(damaged_bytes(content)))
    check(value_or_error(lambda: read_frames(file.parent, MODEL), kind))
    check(value_or_error(lambda: read_frames(file, MODEL), kind))


@examples(25)
@given(data=st.data())
def test_damaged_metadata(bags: dict[str, tuple[Path, bytes]], data: st.DataObject) -> None:
    file, content = bags["yaml"]
    file.write_text(data.draw(damaged_text(content.decode())), encoding="utf-8", errors="surrogateescape")
    check(value_or_error(lambda: read_frames(file.parent, MODEL), "named"))


CAR = Car()
MESSAGES = {
    f"{PACKAGE}CameraMsg": CAR.camera([FRAMES[0]], 1),
    f"{PACKAGE}EvoSensorMsg": CAR.sensors([FRAMES[0]], 1, [0.5] * 8),
    f"{PACKAGE}InferResultsArray": CAR.results([FRAMES[0]], 1, [0.2, 0.8]),
    "sensor_msgs/msg/Image": CAR.image(FRAMES[0, :4, :4], "mono8", 1),
}


@examples(60)
@given(data=st.data(), kind=st.sampled_from(list(MESSAGES)))
def test_damaged_messages(data: st.DataObject, kind: str) -> None:
    raw = bytes(CAR.store.serialize_cdr(MESSAGES[kind], kind))
    try:
        message = read(data.draw(damaged_bytes(raw)), kind)
    except MessageError as error:
        assert str(error)
    else:
        assert message.pictures
