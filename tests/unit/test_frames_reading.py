"""Frames out of bags that this test makes with the message types of the car's software, of folders and of videos."""

import io
import json
import shutil
import sqlite3
import wave
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image
from rosbags.rosbag2 import CompressionMode, StoragePlugin

from contract.errors import InputError
from contract.metadata import ModelMetadata
from tests.bags import CAMERA, DELAY_NS, DISPLAY, PACKAGE, PERIOD_NS, RESULTS, SENSORS, Car, drive, stamp_ns, write_bag
from undercut.frames import source
from undercut.frames.reading import read_frames
from undercut.frames.source import as_the_car_sees
from undercut.video.lap_video import mp4

FRAMES = 7


def model(*sensors: str, actions: int = 3) -> ModelMetadata:
    space = [{"steering_angle": 10.0 * i, "speed": 1.0} for i in range(actions)]
    return ModelMetadata.parse(
        json.dumps({"action_space": space, "sensor": list(sensors or ("FRONT_FACING_CAMERA",)), "version": 5})
    )


MODEL = model()


def grey(count: int = FRAMES, seed: int = 1) -> NDArray[np.uint8]:
    return np.random.default_rng(seed).integers(0, 256, (count, 120, 160), dtype=np.uint8)


def said(count: int = FRAMES, outputs: int = 3) -> NDArray[np.float64]:
    return np.random.default_rng(2).dirichlet(np.ones(outputs), count).astype(np.float32).astype(np.float64)


@pytest.mark.parametrize(
    ("storage", "compression"),
    [
        (StoragePlugin.SQLITE3, CompressionMode.NONE),
        (StoragePlugin.SQLITE3, CompressionMode.FILE),
        (StoragePlugin.SQLITE3, CompressionMode.MESSAGE),
        (StoragePlugin.MCAP, CompressionMode.NONE),
        (StoragePlugin.MCAP, CompressionMode.FILE),
        (StoragePlugin.MCAP, CompressionMode.MESSAGE),
        (StoragePlugin.MCAP, CompressionMode.STORAGE),
    ],
)
def test_both_storages_plain_and_compressed(
    tmp_path: Path, storage: StoragePlugin, compression: CompressionMode
) -> None:
    frames, own = grey(), said()
    bag = drive(tmp_path / "fast-20260101-120000", frames, own, storage=storage, compression=compression)
    found = read_frames(bag, MODEL)
    assert (found.name, found.kind, found.topic) == ("fast-20260101-120000", "bag", RESULTS)
    np.testing.assert_array_equal(found.observations["FRONT_FACING_CAMERA"], frames[..., None])
    np.testing.assert_array_equal(found.said, own)
    assert found.times_s == pytest.approx(PERIOD_NS * 1e-9 * np.arange(FRAMES), abs=1e-6)
    assert found.delay_s == pytest.approx(np.full(FRAMES, DELAY_NS * 1e-9), abs=1e-6)
    assert found.names == tuple(map(str, range(FRAMES)))
    assert found.notes == ()


@pytest.mark.parametrize("car", [Car(raw=True), Car(raw=True, imu="imu"), Car(imu="imu_data"), Car()])
@pytest.mark.parametrize("with_definitions", [True, False])
def test_every_age_of_the_cars_messages(tmp_path: Path, car: Car, with_definitions: bool) -> None:
    """Bags of ROS 2 Foxy and Humble do not say how their messages are laid out."""
    frames, own = grey(3), said(3)
    lidar = np.linspace(0.15, 1.0, 64, dtype=np.float32)
    messages: list[Any] = []
    for k, frame in enumerate(frames):
        messages += [
            (CAMERA, car.camera([255 - frame], stamp_ns(k)), stamp_ns(k)),
            (SENSORS, car.sensors([frame], stamp_ns(k), lidar.tolist()), stamp_ns(k) + 1),
            (RESULTS, car.results([frame], stamp_ns(k), own[k].tolist()), stamp_ns(k) + DELAY_NS),
        ]
    bag = write_bag(tmp_path / "bag", car, messages, with_definitions=with_definitions)
    for metadata in (model("FRONT_FACING_CAMERA", "LIDAR"), MODEL):
        found = read_frames(bag, metadata)
        assert found.topic == (SENSORS if metadata.lidar else RESULTS), "what has all that the policy needs"
        np.testing.assert_array_equal(found.pictures(metadata), frames)
        np.testing.assert_array_equal(found.said, own)
        assert found.delay_s == pytest.approx(np.full(3, DELAY_NS * 1e-9), abs=1e-6)
        if metadata.lidar:
            np.testing.assert_array_equal(found.observations["LIDAR"], np.tile(lidar, (3, 1)))
    np.testing.assert_array_equal(read_frames(bag, MODEL, CAMERA).pictures(MODEL), 255 - frames)


def test_results_belong_to_the_pictures_that_they_are_of(tmp_path: Path) -> None:
    """The car drops frames while it thinks: some pictures have no result."""
    car, frames, own = Car(), grey(8), said(8)
    messages = [
        (DISPLAY, car.image(frame, "mono8", stamp_ns(10 * k)), stamp_ns(10 * k)) for k, frame in enumerate(frames)
    ]
    messages += [
        (RESULTS, car.results([frames[k]], stamp_ns(10 * k), own[k].tolist()), stamp_ns(10 * k) + DELAY_NS)
        for k in (1, 2, 5)
    ]
    found = read_frames(write_bag(tmp_path / "bag", car, messages), MODEL, DISPLAY)
    assert found.said is not None
    heard = np.isfinite(found.said).all(axis=1)
    assert heard.tolist() == [k in (1, 2, 5) for k in range(8)]
    np.testing.assert_array_equal(found.said[heard], own[[1, 2, 5]])
    assert np.isfinite(found.delay_s).tolist() == heard.tolist()


@pytest.mark.parametrize("encoding", ["mono8", "bgr8", "rgb8", "bgra8", "rgba8"])
@pytest.mark.parametrize("padding", [0, 13])
def test_plain_images_of_any_encoding(tmp_path: Path, encoding: str, padding: int) -> None:
    """Red counts 0.299, green 0.587 and blue 0.114, in whatever order they come, and rows may have a tail."""
    car, random = Car(), np.random.default_rng(3)
    rgb = random.integers(0, 256, (120, 160, 3), dtype=np.uint8)
    expected = rgb @ np.array([0.299, 0.587, 0.114])
    alpha = np.full((120, 160, 1), 9, np.uint8)
    pixels = {
        "mono8": np.round(expected).astype(np.uint8),
        "rgb8": rgb,
        "bgr8": rgb[..., ::-1],
        "rgba8": np.concatenate([rgb, alpha], axis=-1),
        "bgra8": np.concatenate([rgb[..., ::-1], alpha], axis=-1),
    }[encoding]
    message = car.image(pixels, encoding, stamp_ns(0), step=pixels[0].size + padding)
    found = read_frames(write_bag(tmp_path / "bag", car, [(DISPLAY, message, stamp_ns(0))]), MODEL)
    assert np.abs(found.pictures(MODEL)[0] - expected).max() <= 1.0


def test_stereo_takes_the_left_picture_first(tmp_path: Path) -> None:
    stereo, car = model("STEREO_CAMERAS"), Car()
    left, right = grey(2)
    bag = write_bag(tmp_path / "bag", car, [(CAMERA, car.camera([left, right], stamp_ns(0)), stamp_ns(0))])
    found = read_frames(bag, stereo)
    np.testing.assert_array_equal(found.observations["STEREO_CAMERAS"][0], np.stack([left, right], axis=-1))
    folder = tmp_path / "beside"
    folder.mkdir()
    Image.fromarray(np.concatenate([left, right], axis=1)).save(folder / "both.png")
    np.testing.assert_array_equal(read_frames(folder, stereo).observations["STEREO_CAMERAS"][0, ..., 1], right)
    alone = write_bag(tmp_path / "alone", car, [(CAMERA, car.camera([left], stamp_ns(0)), stamp_ns(0))])
    with pytest.raises(InputError, match=r"message 0: 'one picture of 160x120'(.|\n)*STEREO_CAMERAS(.|\n)*8:3"):
        read_frames(alone, stereo)


def test_pictures_are_resized_as_opencv_does() -> None:
    """Of 640x480 each pixel is the mean of the four in the middle of its 4 x 4, and not of all sixteen."""
    big = np.random.default_rng(4).integers(0, 256, (480, 640), dtype=np.uint8)
    rows = (big[1::4].astype(float) + big[2::4]) / 2
    expected = (rows[:, 1::4] + rows[:, 2::4]) / 2
    shown = as_the_car_sees(Image.fromarray(big))
    assert shown.shape == (120, 160)
    assert np.abs(shown - expected).max() <= 1.0


def test_a_model_with_a_lidar_and_frames_without(tmp_path: Path) -> None:
    bag = drive(tmp_path / "bag", grey(2))
    for sensor, expected in (("LIDAR", 1.0), ("SECTOR_LIDAR", 0.0)):
        found = read_frames(bag, model("FRONT_FACING_CAMERA", sensor))
        assert (found.observations[sensor] == expected).all()
        assert any("no lidar" in note for note in found.notes)
    car = Car()
    wrong = write_bag(tmp_path / "w", car, [(SENSORS, car.sensors([grey(1)[0]], 1, [0.5] * 8), 1)])
    with pytest.raises(InputError, match=r"message 0: lidar_data: '8 values'(.|\n)*LIDAR has 64"):
        read_frames(wrong, model("FRONT_FACING_CAMERA", "LIDAR"))


def test_another_models_results_are_not_compared(tmp_path: Path) -> None:
    found = read_frames(drive(tmp_path / "bag", grey(2), said(2, outputs=5)), MODEL)
    assert found.said is None
    assert "5 outputs and this one 3" in found.notes[0]


def test_as_many_frames_as_asked_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    frames = grey(20)
    bag = drive(tmp_path / "bag", frames)
    np.testing.assert_array_equal(read_frames(bag, MODEL, every=6).pictures(MODEL), frames[::6])
    monkeypatch.setattr(source, "MOST_FRAMES", 7)
    found = read_frames(bag, MODEL)
    np.testing.assert_array_equal(found.pictures(MODEL), frames[::3])
    assert "one of every 3 pictures, of 20" in found.notes[0]
    assert len(read_frames(bag, MODEL, every=1)) == 20


# --- what is wrong with a bag -----------------------------------------------------------------------------------------


def cut(path: Path, share: float = 0.6) -> None:
    path.write_bytes(path.read_bytes()[: int(share * path.stat().st_size)])


def test_cut_bags(tmp_path: Path) -> None:
    frames = grey(30)
    mcap = drive(tmp_path / "mcap", frames, storage=StoragePlugin.MCAP)
    cut(mcap / "mcap.mcap")
    with pytest.raises(
        InputError, match=r"mcap(.|\n)*end magic(.|\n)*a whole bag of ROS 2(.|\n)*copy it from the car again"
    ):
        read_frames(mcap, MODEL)
    with pytest.raises(InputError, match=r"mcap recover"):
        read_frames(mcap / "mcap.mcap", MODEL)
    sqlite = drive(tmp_path / "sqlite", frames)
    cut(sqlite / "sqlite.db3")
    with pytest.raises(InputError, match=r"malformed(.|\n)*a whole bag of ROS 2(.|\n)*sqlite3 .*\.recover"):
        read_frames(sqlite, MODEL)
    packed = drive(tmp_path / "packed", frames, compression=CompressionMode.FILE)
    cut(packed / "packed.db3.zstd")
    with pytest.raises(InputError, match="a whole bag of ROS 2"):
        read_frames(packed, MODEL)
    (packed / "packed.db3.zstd").unlink()
    with pytest.raises(InputError, match="files are missing"):
        read_frames(packed, MODEL)
    yaml = drive(tmp_path / "yaml", frames[:2])
    (yaml / "metadata.yaml").write_text("rosbag2_bagfile_information: {version: 8}")
    with pytest.raises(InputError, match="metadata key is missing"):
        read_frames(yaml, MODEL)


def test_a_recording_that_was_not_ended(tmp_path: Path) -> None:
    """The car was switched off: the storage is there, and its metadata is not."""
    frames = grey(3)
    bag = drive(tmp_path / "bag", frames)
    (bag / "metadata.yaml").unlink()
    found = read_frames(bag, MODEL)
    np.testing.assert_array_equal(found.pictures(MODEL), frames)
    assert "was not ended" in found.notes[0]
    shutil.copy(bag / "bag.db3", bag / "bag_1.db3")
    with pytest.raises(InputError, match=r"2 files and no metadata\.yaml(.|\n)*ros2 bag reindex"):
        read_frames(bag, MODEL)


def test_missing_topics_and_wrong_types(tmp_path: Path) -> None:
    car = Car()
    words = car.make("std_msgs/msg/String", data="fast")
    bag = write_bag(tmp_path / "bag", car, [("/inference_pkg/model_artifact", words, 1)])
    with pytest.raises(InputError) as refused:
        read_frames(bag, MODEL)
    assert "/inference_pkg/model_artifact (std_msgs/msg/String, 1)" in str(refused.value), "what is there"
    assert RESULTS in str(refused.value), "what is looked for"
    with pytest.raises(
        InputError, match=r"model_artifact: 'std_msgs/msg/String'(.|\n)*a type with pictures: deepracer_int"
    ):
        read_frames(bag, MODEL, "/inference_pkg/model_artifact")
    good = drive(tmp_path / "good", grey(2))
    with pytest.raises(
        InputError, match=r"--topic: '/camera_pkg/video_mjpg'(.|\n)*did you mean '/camera_pkg/video_mjpeg'"
    ):
        read_frames(good, MODEL, "/camera_pkg/video_mjpg")
    empty = write_bag(tmp_path / "empty", car, [(CAMERA, "deepracer_interfaces_pkg/msg/CameraMsg", 0)])
    with pytest.raises(InputError, match=r"CameraMsg, 0\)"):
        read_frames(empty, MODEL)
    with pytest.raises(InputError, match="no message"):
        read_frames(empty, MODEL, CAMERA)
    two = write_bag(
        tmp_path / "two",
        car,
        [(name, car.image(grey(1)[0], "mono8", 1), 1) for name in ("/usb_cam/image_raw", "/rear/image_raw")],
    )
    with pytest.raises(InputError, match="--topic /rear/image_raw"):
        read_frames(two, MODEL)
    assert len(read_frames(two, MODEL, "/usb_cam/image_raw")) == 1


def test_broken_messages_are_named(tmp_path: Path) -> None:
    car, frame = Car(), grey(1)[0]
    good = car.camera([frame], stamp_ns(0))
    picture = car.compressed(frame, stamp_ns(1))
    picture.data = picture.data[:200]
    no_picture = car.make("deepracer_interfaces_pkg/msg/CameraMsg", images=[picture])
    bag = write_bag(tmp_path / "cut", car, [(CAMERA, good, 1), (CAMERA, no_picture, 2)])
    with pytest.raises(InputError, match=r"video_mjpeg, message 1: 'its picture of 200 bytes cannot be decoded"):
        read_frames(bag, MODEL)
    none = write_bag(tmp_path / "none", car, [(CAMERA, car.camera([], 1), 1)])
    with pytest.raises(InputError, match=r"message 0: 'it has no picture in it'(.|\n)*choose another --topic"):
        read_frames(none, MODEL)
    odd = car.image(frame, "32FC1", 1)
    with pytest.raises(InputError, match=r"message 0(.|\n)*encoding '32FC1'; known are mono8"):
        read_frames(write_bag(tmp_path / "odd", car, [(DISPLAY, odd, 1)]), MODEL)
    short = car.image(frame, "mono8", 1)
    short.height = 121
    with pytest.raises(InputError, match="160x121 mono8 has 19200 bytes"):
        read_frames(write_bag(tmp_path / "short", car, [(DISPLAY, short, 1)]), MODEL)
    other = write_bag(tmp_path / "other", car, [(CAMERA, car.make("std_msgs/msg/String", data="no"), 1)])
    with sqlite3.connect(other / "other.db3") as database:
        database.execute(f"UPDATE topics SET type = '{PACKAGE}CameraMsg', type_description_hash = ''")
    database.close()
    with pytest.raises(InputError, match=r"message 0: 'its \d+ bytes are no deepracer_interfaces_pkg/msg/CameraMsg"):
        read_frames(other / "other.db3", MODEL)


def test_what_is_no_source(tmp_path: Path) -> None:
    for name, text in (("old.bag", "a bag of ROS 1(.|\n)*rosbags-convert"), ("bag.db3.zstd", "the bag's folder")):
        (tmp_path / name).write_bytes(b"#ROSBAG V2.0\n")
        with pytest.raises(InputError, match=text):
            read_frames(tmp_path / name, MODEL)
    with pytest.raises(InputError, match="check the path"):
        read_frames(tmp_path / "nowhere", MODEL)
    (tmp_path / "folder").mkdir()
    with pytest.raises(InputError, match=r"no picture, and no bag(.|\n)*metadata\.yaml"):
        read_frames(tmp_path / "folder", MODEL)
    (tmp_path / "notes.txt").write_text("no video")
    with pytest.raises(InputError, match=r"notes\.txt(.|\n)*a whole video"):
        read_frames(tmp_path / "notes.txt", MODEL)
    with pytest.raises(InputError, match="topics are of bags"):
        read_frames(tmp_path / "folder", MODEL, CAMERA)


# --- folders and videos -----------------------------------------------------------------------------------------------


def test_a_folder_in_the_order_of_its_numbers(tmp_path: Path) -> None:
    frames = grey(12)
    for k, frame in enumerate(frames):
        Image.fromarray(frame).save(tmp_path / f"frame{k}.png")
    (tmp_path / "notes.txt").write_text("no picture")
    found = read_frames(tmp_path, MODEL)
    np.testing.assert_array_equal(found.pictures(MODEL), frames)
    assert (found.kind, found.names[10], found.said) == ("folder", "frame10.png", None)
    assert np.isnan(found.times_s).all()
    np.testing.assert_array_equal(read_frames(tmp_path / "frame3.png", MODEL).pictures(MODEL)[0], frames[3])
    cut(tmp_path / "frame5.png")
    with pytest.raises(InputError, match=r"frame5\.png(.|\n)*cannot be decoded(.|\n)*delete it"):
        read_frames(tmp_path, MODEL)


def test_wide_pictures_are_squeezed_and_told(tmp_path: Path) -> None:
    Image.new("RGB", (320, 180), "white").save(tmp_path / "wide.jpg")
    found = read_frames(tmp_path, MODEL)
    assert found.pictures(MODEL).min() >= 254
    assert "320x180 are squeezed to 4:3" in found.notes[0]


def test_a_video(tmp_path: Path) -> None:
    levels = np.arange(20, 220, 10)
    shown = [np.full((120, 160, 3), level, np.uint8) for level in levels]
    video = tmp_path / "drive.mp4"
    video.write_bytes(mp4(shown, 15))
    found = read_frames(video, MODEL)
    assert (found.kind, len(found)) == ("video", len(levels))
    assert np.abs(found.pictures(MODEL).mean(axis=(1, 2)) - levels).max() < 4.0
    assert found.times_s == pytest.approx(np.arange(len(levels)) / 15, abs=1e-3)
    assert len(read_frames(video, MODEL, every=4)) == 5
    cut(video, 0.5)
    with pytest.raises(InputError, match=r"drive\.mp4(.|\n)*a whole video that FFmpeg can decode"):
        read_frames(video, MODEL)


def test_a_sound_is_no_video(tmp_path: Path) -> None:
    content = io.BytesIO()
    with wave.open(content, "wb") as sound:
        sound.setnchannels(1)
        sound.setsampwidth(2)
        sound.setframerate(8000)
        sound.writeframes(bytes(1600))
    (tmp_path / "sound.wav").write_bytes(content.getvalue())
    with pytest.raises(InputError, match="no video in it"):
        read_frames(tmp_path / "sound.wav", MODEL)
