"""What a policy is shown: frames of the real world, as the car's software makes observations of pictures."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from contract.errors import InputError
from contract.metadata import ModelMetadata
from contract.state import CAMERA_HEIGHT, CAMERA_WIDTH, FloatArray, Observations, UInt8Array
from simapp.lidar.lidar import LIDAR_CLIP_M

MOST_FRAMES = 3000
"""As many are looked at unless every frame is asked for; each takes 19 kB, and some milliseconds."""
_ASPECT, _SQUEEZED = CAMERA_WIDTH / CAMERA_HEIGHT, 0.02


@dataclass(frozen=True, slots=True, eq=False)
class Frames:
    """K frames of a bag, a folder or a video.

    name, kind    of the source; the kind is "bag", "folder" or "video"
    topic         of a bag, else empty
    observations  sensor -> (K, ...), as the policy takes them
    names         (K,) the picture's file, or where in the source the frame is
    times_s       (K,) since the first frame; NaN where nobody knows
    said          (K, outputs) of the car's own policy, rows of NaN where it said nothing; None without any
    delay_s       (K,) from the picture's stamp to the car's result in the bag, NaN where that is not known
    notes         what a reader has to know about how they were read
    """

    name: str
    kind: str
    topic: str
    observations: Observations
    names: tuple[str, ...]
    times_s: FloatArray
    said: FloatArray | None
    delay_s: FloatArray
    notes: tuple[str, ...]

    def __len__(self) -> int:
        return len(self.names)

    def pictures(self, metadata: ModelMetadata) -> UInt8Array:
        """(K, 120, 160), the left one of stereo cameras."""
        return np.asarray(self.observations[metadata.camera][..., 0])


def as_the_car_sees(picture: Image.Image) -> UInt8Array:
    """(120, 160) grey: resized by interpolation between the nearest pixels, then turned grey, as the car does it
    (aws-deepracer-inference-pkg, `image_process.cpp`: cv::resize, then COLOR_BGR2GRAY)."""
    colours = picture.convert("RGB")
    if colours.size != (CAMERA_WIDTH, CAMERA_HEIGHT):
        # `transform` takes the two nearest pixels each way, as cv::resize does; `resize` would average all
        box = (0, 0, *colours.size)
        size = (CAMERA_WIDTH, CAMERA_HEIGHT)
        colours = colours.transform(size, Image.Transform.EXTENT, box, Image.Resampling.BILINEAR)
    return np.asarray(colours.convert("L"))


class Collected:
    """Observations as they come in, frame by frame."""

    def __init__(self, metadata: ModelMetadata) -> None:
        self.metadata = metadata
        self._camera: list[UInt8Array] = []
        self._lidar: list[NDArray[np.float32]] = []
        self._cameras = metadata.observation_shapes()[metadata.camera][-1]
        self._squeezed: tuple[int, int] | None = None
        self._no_lidar = False

    def __len__(self) -> int:
        return len(self._camera)

    def add(self, pictures: Sequence[Image.Image], lidar: NDArray[np.float32], where: str) -> None:
        """InputError, which says `where`, for cameras or lidar values that the model does not have."""
        shown = list(self._cut(pictures, where))
        width, height = shown[0].size
        if abs(width / height / _ASPECT - 1.0) > _SQUEEZED:
            self._squeezed = shown[0].size
        self._camera.append(np.stack([as_the_car_sees(it) for it in shown], axis=-1))
        if self.metadata.lidar is None:
            return
        (values,) = self.metadata.observation_shapes()[self.metadata.lidar]
        if not lidar.size:
            self._no_lidar = True
            lidar = np.full(values, LIDAR_CLIP_M if self.metadata.lidar == "LIDAR" else 0.0, np.float32)
        if len(lidar) != values or not np.isfinite(lidar).all():
            raise InputError(
                f"{where}: lidar_data",
                f"{len(lidar)} values",
                f"the model's {self.metadata.lidar} has {values} numbers",
                "give a bag that was recorded while the car had this model loaded",
            )
        self._lidar.append(lidar)

    def _cut(self, pictures: Sequence[Image.Image], where: str) -> Iterator[Image.Image]:
        """As many as the model has cameras; one picture of two side by side is cut in the middle."""
        if self._cameras == 1:
            yield pictures[0]
        elif len(pictures) >= self._cameras:
            yield from pictures[: self._cameras]
        else:
            width, height = pictures[0].size
            if abs(width / height / (2 * _ASPECT) - 1.0) > _SQUEEZED:
                raise InputError(
                    where,
                    f"one picture of {width}x{height}",
                    "the model has STEREO_CAMERAS: two pictures a message, or both side by side in one of 8:3",
                    "give a bag of a car with both cameras, or pictures of 320x120",
                )
            yield pictures[0].crop((0, 0, width // 2, height))
            yield pictures[0].crop((width - width // 2, 0, width, height))

    def frames(
        self,
        path: Path,
        kind: str,
        names: Sequence[str],
        times_s: FloatArray,
        notes: Sequence[str],
        topic: str = "",
        said: FloatArray | None = None,
        delay_s: FloatArray | None = None,
    ) -> Frames:
        """All of them, of the source at that path; the other arguments are Frames'."""
        found: Observations = {self.metadata.camera: np.stack(self._camera)}
        if self.metadata.lidar is not None:
            found[self.metadata.lidar] = np.stack(self._lidar)
        delay = np.full(len(names), np.nan) if delay_s is None else delay_s
        told = (*notes, *self._notes())
        return Frames(name_of(path), kind, topic, found, tuple(names), times_s, said, delay, told)

    def _notes(self) -> Iterator[str]:
        """What was done to them."""
        if self._squeezed is not None:
            width, height = self._squeezed
            yield f"pictures of {width}x{height} are squeezed to 4:3, as the car's software does"
        if self._no_lidar:
            yield f"the source has no lidar: {self.metadata.lidar} is taken to see nothing within reach"


def name_of(path: Path) -> str:
    """Of a source: its folder's, or its file's without the ending."""
    whole = path.resolve()
    return whole.name if whole.is_dir() else whole.stem


def spread(count: int, every: int | None) -> int:
    """N, where every Nth of `count` frames is looked at: as told, else as MOST_FRAMES asks."""
    return every or max(1, -(-count // MOST_FRAMES))
