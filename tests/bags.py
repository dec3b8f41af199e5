"""ROS 2 bags as a car's recorder writes them. The definitions are those of the car's software, word for word."""

import io
import sqlite3
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from rosbags.rosbag2 import CompressionFormat, CompressionMode, StoragePlugin, Writer
from rosbags.typesys import Stores, get_types_from_msg, get_typestore

PACKAGE = "deepracer_interfaces_pkg/msg/"
CAMERA_MSG = "sensor_msgs/CompressedImage[] images  # Image data read from cameras."
EVO_SENSOR_MSG = """
sensor_msgs/CompressedImage[] images    # Image data read from cameras.
float32[] lidar_data          # LiDAR distance data read from LiDAR sensor.
"""
INFER_RESULTS = "int32 class_label\nfloat32 class_prob\nfloat32 x_min\nfloat32 y_min\nfloat32 x_max\nfloat32 y_max\n"
INFER_RESULTS_ARRAY = """
InferResults[] results      # Array of inference results.
sensor_msgs/CompressedImage[] images  # Array of input images on which the inference was run.
"""
RESULTS, SENSORS, CAMERA = "/inference_pkg/rl_results", "/sensor_fusion_pkg/sensor_msg", "/camera_pkg/video_mjpeg"
DISPLAY = "/camera_pkg/display_mjpeg"
BEGIN_NS, PERIOD_NS, DELAY_NS = 1_700_000_000_000_000_000, 33_000_000, 20_000_000
"""Of the first picture, between two of them, and from a picture to the car's result."""


class Car:
    """Messages of the car's software: of today's with compressed pictures, or of the first ones (`raw`), or of those
    with an IMU in the sensors' message."""

    def __init__(self, raw: bool = False, imu: str = "") -> None:
        self.raw = raw
        kind = "Image" if raw else "CompressedImage"
        more = f"sensor_msgs/Imu {imu}\n" if imu else ""
        self.imu = imu
        self.store = get_typestore(Stores.ROS2_FOXY)
        for name, text in (
            ("CameraMsg", CAMERA_MSG),
            ("EvoSensorMsg", EVO_SENSOR_MSG + more),
            ("InferResults", INFER_RESULTS),
            ("InferResultsArray", INFER_RESULTS_ARRAY),
        ):
            self.store.register(get_types_from_msg(text.replace("CompressedImage", kind), PACKAGE + name))

    def make(self, name: str, **fields: Any) -> Any:
        return self.store.types[name](**fields)

    def header(self, at_ns: int) -> Any:
        stamp = self.make("builtin_interfaces/msg/Time", sec=at_ns // 10**9, nanosec=at_ns % 10**9)
        return self.make("std_msgs/msg/Header", stamp=stamp, frame_id="0")

    def compressed(self, frame: NDArray[np.uint8], at_ns: int, form: str = "png") -> Any:
        """PNG, which loses nothing, in the place of the car's JPEG."""
        content = io.BytesIO()
        Image.fromarray(frame).save(content, form)
        data = np.frombuffer(content.getvalue(), np.uint8)
        return self.make("sensor_msgs/msg/CompressedImage", header=self.header(at_ns), format=form, data=data)

    def image(self, pixels: NDArray[np.uint8], encoding: str, at_ns: int, step: int = 0) -> Any:
        """(H, W) or (H, W, channels) with rows of `step` bytes, where it is given."""
        rows = pixels.reshape(len(pixels), -1)
        step = step or rows.shape[1]
        padded = np.full((len(rows), step), 77, np.uint8)
        padded[:, : rows.shape[1]] = rows
        return self.make(
            "sensor_msgs/msg/Image",
            header=self.header(at_ns),
            height=pixels.shape[0],
            width=pixels.shape[1],
            encoding=encoding,
            is_bigendian=0,
            step=step,
            data=padded.ravel(),
        )

    def picture(self, frame: NDArray[np.uint8], at_ns: int) -> Any:
        """A grey frame (H, W) as this software sends it."""
        if not self.raw:
            return self.compressed(frame, at_ns)
        return self.image(np.repeat(frame[..., None], 3, axis=-1), "bgr8", at_ns)

    def camera(self, frames: Sequence[NDArray[np.uint8]], at_ns: int) -> Any:
        return self.make(f"{PACKAGE}CameraMsg", images=[self.picture(it, at_ns) for it in frames])

    def sensors(self, frames: Sequence[NDArray[np.uint8]], at_ns: int, lidar: Sequence[float] = ()) -> Any:
        more: dict[str, Any] = {}
        if self.imu:
            zeros, vector = np.zeros(9), self.make("geometry_msgs/msg/Vector3", x=0.0, y=0.0, z=9.8)
            turn = self.make("geometry_msgs/msg/Quaternion", x=0.0, y=0.0, z=0.0, w=1.0)
            more[self.imu] = self.make(
                "sensor_msgs/msg/Imu",
                header=self.header(at_ns),
                orientation=turn,
                orientation_covariance=zeros,
                angular_velocity=vector,
                angular_velocity_covariance=zeros,
                linear_acceleration=vector,
                linear_acceleration_covariance=zeros,
            )
        images = [self.picture(it, at_ns) for it in frames]
        return self.make(f"{PACKAGE}EvoSensorMsg", images=images, lidar_data=np.array(lidar, np.float32), **more)

    def results(self, frames: Sequence[NDArray[np.uint8]], at_ns: int, said: Sequence[float]) -> Any:
        nowhere = dict.fromkeys(("x_min", "y_min", "x_max", "y_max"), -1.0)
        results = [
            self.make(f"{PACKAGE}InferResults", class_label=label, class_prob=float(value), **nowhere)
            for label, value in enumerate(said)
        ]
        images = [self.picture(it, at_ns) for it in frames]
        return self.make(f"{PACKAGE}InferResultsArray", results=results, images=images)


def stamp_ns(number: int) -> int:
    """Of the camera's so manieth picture."""
    return BEGIN_NS + number * PERIOD_NS


def write_bag(
    path: Path,
    car: Car,
    messages: Sequence[tuple[str, Any, int]],
    storage: StoragePlugin = StoragePlugin.SQLITE3,
    compression: CompressionMode = CompressionMode.NONE,
    with_definitions: bool = True,
) -> Path:
    """A bag's folder with the messages (topic, message, time of recording); a type's name makes an empty topic.

    Without definitions it is as recorders wrote them until ROS 2 Humble.
    """
    writer = Writer(path, version=8, storage_plugin=storage)
    writer.set_compression(compression, CompressionFormat.ZSTD)
    with writer:
        topics = {}
        for topic, message, at_ns in messages:
            if topic not in topics:
                kind = message if isinstance(message, str) else message.__msgtype__
                topics[topic] = writer.add_connection(topic, kind, typestore=car.store)
            if not isinstance(message, str):
                writer.write(topics[topic], at_ns, car.store.serialize_cdr(message, message.__msgtype__))
    if not with_definitions:
        (file,) = path.glob("*.db3")
        with sqlite3.connect(file) as database:
            database.execute("DELETE FROM message_definitions")
            database.execute("UPDATE schema SET schema_version = 3")
        database.close()
    return path


def drive(
    path: Path, frames: NDArray[np.uint8], said: NDArray[np.float64] | None = None, car: Car | None = None, **more: Any
) -> Path:
    """A bag of frames (K, 120, 160) as the recorder of a car leaves it: with what its policy said (K, outputs), 20 ms
    later, else of the camera alone."""
    car, messages = car or Car(), list[tuple[str, Any, int]]()
    for k, frame in enumerate(frames):
        if said is None:
            messages.append((CAMERA, car.camera([frame], stamp_ns(k)), stamp_ns(k)))
        else:
            message = car.results([frame], stamp_ns(k), said[k].tolist())
            messages.append((RESULTS, message, stamp_ns(k) + DELAY_NS))
    return write_bag(path, car, messages, **more)
