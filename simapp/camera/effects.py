"""What randomised conditions do to a frame: the pinhole, the surfaces' tones, stains, blur and noise."""

import math
from dataclasses import dataclass, replace

import numpy as np
from numba import njit
from numpy.typing import NDArray

from contract.conditions import Conditions
from contract.state import CAMERA_HEIGHT, CAMERA_WIDTH, FloatArray, IntArray
from simapp.camera.look import ASPHALT_RGB, FIELD_RGB, GREY, LINE_RGB, SKY_RGB, WALLS_RGB, smoothed
from simapp.camera.pinhole import Pinhole

TONE = 15
"""Numbers a frame in `tones`: the slopes of the five pieces of a grey's curve, the four greys where they meet, 1 when
the ground changes at all, the stains' strength, cos and sin of their turn, and their shift x, y in metres."""

STAIN_STRENGTH = 0.5
"""A full stain changes the ground's grey by this share."""

STAIN_TEXEL_M, _STAIN_TEXELS = 0.05, 128
"""The pattern repeats after 6.4 m; stains are about half a metre wide."""

MAX_RADIUS = 15
"""A blur reaches three deviations, and at most this many pixels."""

_i, _u, _f = np.int32, np.uint32, np.float32
_ZERO, _HALF, _MOST = np.float32(0.0), np.float32(0.5), np.float32(255.0)
_LOW_BYTES, _LOW_DIGITS = np.uint32(0x00FF00FF), np.uint32(0x0F0F0F0F)


def stain_tile() -> NDArray[np.float32]:
    """Seamless blobs around 0 within -1..1, float32, the same every time."""
    rng = np.random.Generator(np.random.PCG64(20180102))
    pattern = np.zeros((_STAIN_TEXELS, _STAIN_TEXELS))
    for size_m, share in ((0.6, 1.0), (0.25, 0.5)):
        blobs = smoothed(rng.standard_normal(pattern.shape), 0.35 * size_m / STAIN_TEXEL_M)
        pattern += share * (blobs - blobs.mean()) / blobs.std()
    return np.asarray(np.clip(pattern / (2.0 * pattern.std()), -1.0, 1.0), dtype=np.float32)


Change = tuple[float, float, float]
"""camera_pitch_deg, camera_height_m and camera_fov of Conditions: what makes a pinhole."""


@dataclass(frozen=True, slots=True)
class Greys:
    """The usual greys of a world's surfaces, which conditions change; `walls` are the east, north, west, south one."""

    asphalt: float
    field: float
    line: float
    walls: tuple[float, ...]
    sky: float

    @classmethod
    def built_in(cls) -> "Greys":
        """Those of simapp.camera.look."""
        asphalt, field, line = (float(rgb @ GREY) for rgb in (ASPHALT_RGB, FIELD_RGB, LINE_RGB))
        return cls(asphalt, field, line, tuple((WALLS_RGB @ GREY).tolist()), float(SKY_RGB @ GREY))

    @property
    def is_ordered(self) -> bool:
        """Whether the ground's surfaces can be told by their greys."""
        return 1.16 * self.asphalt < 0.94 * self.field and 1.06 * self.field < 0.92 * self.line


@dataclass(frozen=True, slots=True)
class Views:
    """How each of K frames is seen: (K, ...) each, but for the pinholes.

    pinholes  which there are, as (pitch_deg, height_m, fov) of Conditions, each with the frames (R,) that have it
    shades    (K, 5) float32 greys of the east, north, west, south wall and of the sky
    tones     (K, TONE) float32
    lights    brightness factors        scenery   the same of what stands in an imported world
    blur_px, noise   standard deviations        keys   of the noise, uint64
    is_plain  neither blur nor noise anywhere
    """

    pinholes: list[tuple[Change, IntArray]]
    yaw_rad: FloatArray
    shades: NDArray[np.float32]
    tones: NDArray[np.float32]
    lights: FloatArray
    scenery: FloatArray
    blur_px: FloatArray
    noise: FloatArray
    keys: NDArray[np.uint64]
    is_plain: bool

    @classmethod
    def of(cls, conditions: Conditions, frame: IntArray, left_m: float, greys: Greys | None = None) -> "Views":
        """For frames under conditions (K,); frame (K,) counts since they began, left_m is the lens's place; greys are
        those of the built-in look unless given."""
        greys = greys or Greys.built_in()
        rows: dict[Change, list[int]] = {}
        changes = (conditions.camera_pitch_deg, conditions.camera_height_m, conditions.camera_fov)
        for k, change in enumerate(zip(*(values.tolist() for values in changes), strict=True)):
            rows.setdefault(change, []).append(k)
        return cls(
            pinholes=[(change, np.array(seen)) for change, seen in rows.items()],
            yaw_rad=np.radians(conditions.camera_yaw_deg),
            shades=shades_of(conditions, greys),
            tones=tones_of(conditions, greys),
            lights=np.array(conditions.light),
            # the range of `walls` is made for nearly black ones
            scenery=conditions.light * np.sqrt(conditions.walls),
            blur_px=np.array(conditions.blur_px),
            noise=np.array(conditions.noise),
            keys=noise_keys(conditions, frame, left_m),
            is_plain=not (conditions.blur_px.any() or conditions.noise.any()),
        )


def changed(pinhole: Pinhole, change: Change) -> Pinhole:
    """The pinhole with its pitch and height raised and its horizontal field of view multiplied."""
    pitch_deg, height_m, fov = change
    return replace(
        pinhole,
        height_m=pinhole.height_m + height_m,
        pitch_rad=pinhole.pitch_rad + math.radians(pitch_deg),
        hfov_rad=pinhole.hfov_rad * fov,
    )


def shades_of(conditions: Conditions, greys: Greys) -> NDArray[np.float32]:
    """Greys (K, 5) float32 of the four walls and the sky."""
    shades = np.array([*greys.walls, greys.sky]) * conditions.light[:, None]
    shades[:, :4] *= conditions.walls[:, None]
    shades[:, 4] *= conditions.sky
    return np.minimum(shades, 255.0).astype(np.float32)


def tones_of(conditions: Conditions, greys: Greys) -> NDArray[np.float32]:
    """`tones` (K, TONE) for the kernel.

    The ground is one grey picture, so its tones go by grey: asphalt is darkest, lines are lightest, the field (and with
    it the dashes) lies between. A surface's own greys, up to a deviation of its texture off the mean, are scaled by its
    factor; the greys between two surfaces, those of mixed pixels, run straight from the one to the other.
    """
    ends = (1.16 * greys.asphalt, 0.94 * greys.field, 1.06 * greys.field, 0.92 * greys.line)
    a, f, w = (factor * conditions.light for factor in (conditions.asphalt, conditions.field, conditions.lines))
    if not greys.is_ordered:  # the surfaces cannot be told apart: all of the ground has the asphalt's tone
        ends, f, w = (64.0, 128.0, 160.0, 192.0), a, a
    tones = np.zeros((len(a), TONE))
    tones[:, 0] = a
    tones[:, 1] = (ends[1] * f - ends[0] * a) / (ends[1] - ends[0])
    tones[:, 2] = f
    tones[:, 3] = (ends[3] * w - ends[2] * f) / (ends[3] - ends[2])
    tones[:, 4] = w
    tones[:, 5:9] = ends
    tones[:, 9] = (a != 1.0) | (f != 1.0) | (w != 1.0) | (conditions.texture != 0.0)
    tones[:, 10] = conditions.texture * STAIN_STRENGTH
    # three numbers of 16 bits out of the seed: the stains' turn and place
    turn, x, y = (((conditions.seed >> np.uint64(16 * i)) & np.uint64(0xFFFF)) / 65536.0 for i in range(3))
    tones[:, 11], tones[:, 12] = np.cos(2.0 * np.pi * turn), np.sin(2.0 * np.pi * turn)
    tones[:, 13], tones[:, 14] = (STAIN_TEXEL_M * _STAIN_TEXELS * share for share in (x, y))
    return tones.astype(np.float32)


def noise_keys(conditions: Conditions, frame: IntArray, left_m: float) -> NDArray[np.uint64]:
    """(K,) a number for each frame of each lens, all different."""
    lens = np.uint64(round(left_m * 1e6) & 0xFFFFFFFF)
    count = frame.astype(np.uint64) + (lens << np.uint64(32))
    # splitmix64 (Steele, Lea, Flood 2014)
    with np.errstate(over="ignore"):
        key = conditions.seed + (count + np.uint64(1)) * np.uint64(0x9E3779B97F4A7C15)
        key = (key ^ (key >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
        key = (key ^ (key >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
        return np.asarray(key ^ (key >> np.uint64(31)))


@njit(cache=True, nogil=True, error_model="numpy")
def _blur(frame, deviation, weights, padded, line):  # type: ignore[no-untyped-def]
    """Gaussian blur of a frame in place; what lies outside is as the border.

    padded (CAMERA_HEIGHT + 2 * MAX_RADIUS, CAMERA_WIDTH) and line (CAMERA_WIDTH + 2 * MAX_RADIUS,) float32 are scratch.
    Three pairs of pixels are added at a time, so the radius is a multiple of three with zeros at the end.
    """
    radius = min(math.ceil(3.0 * deviation), MAX_RADIUS)
    total = 0.0
    for i in range(-radius, radius + 1):
        total += math.exp(-0.5 * (i / deviation) ** 2)
    weights[:] = _ZERO
    for i in range(radius + 1):
        weights[i] = math.exp(-0.5 * (i / deviation) ** 2) / total
    radius = (radius + 2) // 3 * 3
    for r in range(CAMERA_HEIGHT):
        row, out, middle = frame[r], padded[radius + r], line[radius:]
        for j in range(CAMERA_WIDTH):
            middle[j] = _f(row[j])
        for i in range(radius):
            line[i], line[radius + CAMERA_WIDTH + i] = _f(row[0]), _f(row[CAMERA_WIDTH - 1])
        for j in range(CAMERA_WIDTH):
            out[j] = _f(weights[0] * middle[j])
        for i in range(radius, 0, -3):
            w1, w2, w3 = weights[i - 2], weights[i - 1], weights[i]
            # views, since an index that might be negative is not vectorised
            a3, a2, a1 = line[radius - i :], line[radius - i + 1 :], line[radius - i + 2 :]
            b1, b2, b3 = line[radius + i - 2 :], line[radius + i - 1 :], line[radius + i :]
            for j in range(CAMERA_WIDTH):
                pairs = _f(_f(w3 * _f(a3[j] + b3[j])) + _f(w2 * _f(a2[j] + b2[j])))
                out[j] = _f(out[j] + _f(pairs + _f(w1 * _f(a1[j] + b1[j]))))
    for i in range(radius):
        padded[i], padded[radius + CAMERA_HEIGHT + i] = padded[radius], padded[radius + CAMERA_HEIGHT - 1]
    for r in range(CAMERA_HEIGHT):
        row, middle = frame[r], padded[radius + r]
        for j in range(CAMERA_WIDTH):
            line[j] = _f(_f(weights[0] * middle[j]) + _HALF)
        for i in range(radius, 0, -3):
            w1, w2, w3 = weights[i - 2], weights[i - 1], weights[i]
            a3, a2, a1 = padded[radius + r - i], padded[radius + r - i + 1], padded[radius + r - i + 2]
            b1, b2, b3 = padded[radius + r + i - 2], padded[radius + r + i - 1], padded[radius + r + i]
            for j in range(CAMERA_WIDTH):
                pairs = _f(_f(w3 * _f(a3[j] + b3[j])) + _f(w2 * _f(a2[j] + b2[j])))
                line[j] = _f(line[j] + _f(pairs + _f(w1 * _f(a1[j] + b1[j]))))
        for j in range(CAMERA_WIDTH):
            row[j] = np.uint8(_i(min(line[j], _MOST)))


@njit(cache=True, nogil=True, error_model="numpy")
def _add_noise(frame, deviation, key):  # type: ignore[no-untyped-def]
    """Add normal noise to a frame: the sum of four hashed digits of 0..15, mean 30 and variance 85, for each pixel.

    One hash serves two pixels, half a row apart.
    """
    low, high = _u(key & np.uint64(0xFFFFFFFF)), _u(key >> np.uint64(32))
    scale = _f(deviation / math.sqrt(85.0))
    half = CAMERA_WIDTH // 2
    for r in range(CAMERA_HEIGHT):
        left, right, first = frame[r, :half], frame[r, half:], _u(r * half)
        for j in range(half):
            # murmur3's finaliser (Appleby 2011) between the key's halves
            h = _u(_u(_u(first + _u(j)) * _u(0x9E3779B1)) ^ low)
            h = _u(_u(h ^ _u(h >> _u(16))) * _u(0x85EBCA6B))
            h = _u(h + high)
            h = _u(_u(h ^ _u(h >> _u(13))) * _u(0xC2B2AE35))
            h = _u(h ^ _u(h >> _u(16)))
            twos = _u(_u(h & _LOW_DIGITS) + _u(_u(h >> _u(4)) & _LOW_DIGITS))
            fours = _u(_u(twos + _u(twos >> _u(8))) & _LOW_BYTES)
            for_left, for_right = _i(_i(fours & _u(0xFFFF)) - _i(30)), _i(_i(fours >> _u(16)) - _i(30))
            value = _f(_f(_f(left[j]) + _HALF) + _f(scale * _f(for_left)))
            left[j] = np.uint8(_i(min(max(value, _ZERO), _MOST)))
            value = _f(_f(_f(right[j]) + _HALF) + _f(scale * _f(for_right)))
            right[j] = np.uint8(_i(min(max(value, _ZERO), _MOST)))


@njit(cache=True, nogil=True, error_model="numpy")
def finish_frames(blur_px, noise, keys, frames):  # type: ignore[no-untyped-def]
    """Blur frames (K, CAMERA_HEIGHT, CAMERA_WIDTH) uint8 and then add noise, each with its own (K,) deviations."""
    weights = np.empty(MAX_RADIUS + 1, np.float32)
    padded = np.empty((CAMERA_HEIGHT + 2 * MAX_RADIUS, CAMERA_WIDTH), np.float32)
    line = np.empty(CAMERA_WIDTH + 2 * MAX_RADIUS, np.float32)
    for k in range(frames.shape[0]):
        if blur_px[k] > 0.0:
            _blur(frames[k], blur_px[k], weights, padded, line)
        if noise[k] > 0.0:
            _add_noise(frames[k], noise[k], keys[k])
