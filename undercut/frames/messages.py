"""The messages of a car's software that hold pictures, as bytes in a bag and as numbers.

Their layouts are known here, and none is taken from the bag: rosbags makes Python code from a layout, and a stranger's
bag is to run nothing. Recorders before ROS 2 Iron left layouts out anyway. Sources, all of them public repositories:

- aws-deepracer-interfaces-pkg, `deepracer_interfaces_pkg/msg`: CameraMsg, EvoSensorMsg, InferResultsArray with
  `sensor_msgs/CompressedImage[] images`, before with `sensor_msgs/Image[]`, and EvoSensorMsg with an `imu` at the end
- InferResults as rosidl compiled it: int32 class_label, float32 class_prob, x_min, y_min, x_max, y_max
"""

import contextlib
import io
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from rosbags.serde import SerdeError
from rosbags.typesys import Stores, get_types_from_msg, get_typestore
from rosbags.typesys.store import Typestore

PACKAGE = "deepracer_interfaces_pkg/msg/"
CAMERA, SENSORS, RESULTS = f"{PACKAGE}CameraMsg", f"{PACKAGE}EvoSensorMsg", f"{PACKAGE}InferResultsArray"
PLAIN, COMPRESSED = "sensor_msgs/msg/Image", "sensor_msgs/msg/CompressedImage"
PICTURE_TYPES = (RESULTS, SENSORS, CAMERA, PLAIN, COMPRESSED)
"""Types with pictures."""
TOPICS = (
    "/inference_pkg/rl_results",
    "/sensor_fusion_pkg/sensor_msg",
    "/camera_pkg/video_mjpeg",
    "/camera_pkg/display_mjpeg",
    "/camera_pkg/display_mjpeg/compressed",
)
"""Where the car publishes them, what its policy saw first."""

_RESULT = "int32 class_label\nfloat32 class_prob\nfloat32 x_min\nfloat32 y_min\nfloat32 x_max\nfloat32 y_max\n"
_CHANNELS = {"mono8": 1, "8UC1": 1, "bgr8": 3, "rgb8": 3, "8UC3": 3, "bgra8": 4, "rgba8": 4}


class MessageError(ValueError):
    """A message that cannot be read: what is wrong with it."""


@dataclass(frozen=True, slots=True, eq=False)
class Message:
    """What a message holds.

    pictures  of the cameras, the left one first     stamp_s   when the first was taken, 0 where nobody said
    lidar     (values,) float32, empty without one   said      (outputs,) of the car's policy, None without one
    """

    pictures: Sequence[Image.Image]
    stamp_s: float
    lidar: NDArray[np.float32]
    said: NDArray[np.float64] | None


def layouts(picture: str, imu: str = "") -> dict[str, str]:
    """Type -> definition, of the car's messages with these pictures ("Image" or "CompressedImage") in them, and the
    IMU's field of that name at the end of EvoSensorMsg, if it has a name."""
    pictures = f"sensor_msgs/{picture}[] images\n"
    sensors = f"{pictures}float32[] lidar_data\n" + (f"sensor_msgs/Imu {imu}\n" if imu else "")
    return {
        CAMERA: pictures,
        SENSORS: sensors,
        f"{PACKAGE}InferResults": _RESULT,
        RESULTS: f"deepracer_interfaces_pkg/InferResults[] results\n{pictures}",
    }


def typestore(picture: str, imu: str = "") -> Typestore:
    """The types of ROS 2 and of `layouts`."""
    store = get_typestore(Stores.ROS2_FOXY)
    for name, definition in layouts(picture, imu).items():
        store.register(get_types_from_msg(definition, name))
    return store


@cache
def _stores() -> tuple[Typestore, ...]:
    """Of all software that is known, the newest first."""
    return tuple(typestore(picture, imu) for picture in ("CompressedImage", "Image") for imu in ("", "imu_data"))


def read(raw: bytes, msgtype: str, with_pictures: bool = True) -> Message:
    """A message of PICTURE_TYPES from its bytes (CDR), by choice with its pictures still packed. MessageError when it
    is none, or has no picture in it."""
    read_as = _decoded(raw, msgtype)
    pictures = list(read_as.images) if hasattr(read_as, "images") else [read_as]
    if not pictures:
        raise MessageError("it has no picture in it")
    stamp = pictures[0].header.stamp
    outputs = None
    if msgtype == RESULTS:
        outputs = np.full(len(read_as.results), np.nan)
        for result in read_as.results:
            if not 0 <= result.class_label < len(outputs):
                raise MessageError(f"its result has the label {result.class_label} of {len(outputs)}")
            outputs[result.class_label] = result.class_prob
    return Message(
        pictures=[picture_of(it) for it in pictures] if with_pictures else (),
        stamp_s=stamp.sec + 1e-9 * stamp.nanosec,
        lidar=np.asarray(getattr(read_as, "lidar_data", ()), np.float32),
        said=outputs,
    )


def _decoded(raw: bytes, msgtype: str) -> Any:
    """By the first layout that its bytes fit."""
    for store in _stores():
        with contextlib.suppress(SerdeError, MemoryError, OverflowError):
            return store.deserialize_cdr(raw, msgtype)
    raise MessageError(f"its {len(raw)} bytes are no {msgtype} of a software that is known")


def picture_of(message: Any) -> Image.Image:
    """The picture of a sensor_msgs Image or CompressedImage, in RGB or grey. MessageError when there is none."""
    if hasattr(message, "format"):
        return opened(bytes(message.data))
    encoding, height, width, step = message.encoding, message.height, message.width, message.step
    channels = _CHANNELS.get(encoding)
    if channels is None:
        raise MessageError(f"its picture has the encoding {encoding!r}; known are {', '.join(_CHANNELS)}")
    if not (height > 0 and width > 0 and step >= width * channels and len(message.data) == height * step):
        raise MessageError(f"its picture of {width}x{height} {encoding} has {len(message.data)} bytes, {step} a row")
    rows = np.asarray(message.data, np.uint8).reshape(height, step)[:, : width * channels]
    pixels = rows.reshape(height, width, channels)
    if channels == 1:
        return Image.fromarray(np.ascontiguousarray(pixels[..., 0]))
    colours = pixels[..., :3] if encoding.startswith("rgb") else pixels[..., 2::-1]
    return Image.fromarray(np.ascontiguousarray(colours))


def opened(content: bytes) -> Image.Image:
    """A JPEG, PNG or the like, decoded. MessageError when it is none or is cut off."""
    try:
        picture = Image.open(io.BytesIO(content))
        picture.load()
    except (OSError, ValueError, SyntaxError, Image.DecompressionBombError) as error:
        raise MessageError(f"its picture of {len(content)} bytes cannot be decoded: {error}") from error
    return picture
