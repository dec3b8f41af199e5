"""How frames look in numbers, whatever they show, and how far they are from others in a policy's own embedding."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter

from contract.state import FloatArray, IntArray, UInt8Array

_CHUNK = 128
_BLURS_PX = (1.0, 2.0)
_EDGES = 0.02
"""Share of a frame's pixels, the steepest ones, that its softness is measured at."""
_FLAT = 0.8
"""Share of its pixels, the least steep ones, that its noise is measured at."""
NEIGHBOUR = 5
"""The distance to the so manieth nearest frame counts: one frame alone may be like any other by chance."""


@dataclass(frozen=True, slots=True, eq=False)
class Looks:
    """Of K frames, (K,) each.

    brightness  mean grey level, 0 to 255
    softness    0 to 1: what a blur of two pixels leaves of the steepest gradients, by what one of a pixel does, which
                takes noise away: half of a sharp edge. It is the ratio that Zhuo and Sim 2011, "Defocus map estimation
                from a single image", find the blur of an edge by: whatever its contrast. NaN of an even frame
    noise       standard deviation in grey levels: Immerkaer 1996, "Fast noise variance estimation", where it is flat
    """

    brightness: FloatArray
    softness: FloatArray
    noise: FloatArray

    @classmethod
    def of(cls, frames: UInt8Array) -> "Looks":
        """Of frames (K, H, W)."""
        return cls(*(measured(frames, name) for name in cls.__slots__))

    def named(self) -> dict[str, FloatArray]:
        return {name: getattr(self, name) for name in self.__slots__}


def measured(frames: UInt8Array, name: str) -> FloatArray:
    """One of Looks, (K,), of frames (K, H, W)."""
    measure = {"brightness": _brightness, "softness": _softness, "noise": _noise}[name]
    parts = [measure(frames[i : i + _CHUNK].astype(np.float32)) for i in range(0, len(frames), _CHUNK)]
    return np.concatenate(parts).astype(np.float64)


def _brightness(frames: NDArray[np.float32]) -> NDArray[np.float32]:
    return np.asarray(frames.mean(axis=(1, 2)))


def _softness(frames: NDArray[np.float32]) -> NDArray[np.float32]:
    slope, softer = (
        _slope(gaussian_filter(frames, (0.0, blur, blur), mode="nearest")).reshape(len(frames), -1)
        for blur in _BLURS_PX
    )
    edges = max(1, round(_EDGES * slope.shape[1]))
    steepest = np.argpartition(slope, slope.shape[1] - edges, axis=1)[:, -edges:]
    top = np.take_along_axis(slope, steepest, axis=1).sum(axis=1)
    left = np.take_along_axis(softer, steepest, axis=1).sum(axis=1)
    return np.asarray(np.divide(left, top, out=np.full(len(frames), np.nan, np.float32), where=top > edges))


def _noise(frames: NDArray[np.float32]) -> NDArray[np.float32]:
    """The difference of two Laplacians knows neither planes nor slow curves: what it leaves is noise."""
    rows = frames[:, :-2] - 2.0 * frames[:, 1:-1] + frames[:, 2:]
    left = np.abs(rows[:, :, :-2] - 2.0 * rows[:, :, 1:-1] + rows[:, :, 2:]).reshape(len(frames), -1)
    slope = _slope(frames).reshape(len(frames), -1)
    count = round(_FLAT * slope.shape[1])
    flattest = np.argpartition(slope, count - 1, axis=1)[:, :count]
    mean = np.take_along_axis(left, flattest, axis=1).mean(axis=1)
    return np.asarray(np.sqrt(np.pi / 2.0) / 6.0 * mean, np.float32)


def _slope(frames: NDArray[np.float32]) -> NDArray[np.float32]:
    """Size of the gradient of (K, H, W) but for the border, (K, H - 2, W - 2)."""
    across = frames[:, 1:-1, 2:] - frames[:, 1:-1, :-2]
    down = frames[:, 2:, 1:-1] - frames[:, :-2, 1:-1]
    return np.asarray(np.hypot(across, down) * np.float32(0.5))


def distances(
    embeddings: NDArray[np.float32],
    reference: NDArray[np.float32],
    own: IntArray | None = None,
    others: IntArray | None = None,
) -> FloatArray:
    """(K,) from embeddings (K, D) to their NEIGHBOURth nearest of a reference (N, D), both scaled to length 1: 0 to 2
    (Sun et al. 2022, "Out-of-distribution detection with deep nearest neighbors").

    own, others  (K,) and (N,) of episodes, say: those of the same number are no neighbours
    """
    mine, theirs = _unit(embeddings), _unit(reference)
    found = np.empty(len(mine))
    for i in range(0, len(mine), _CHUNK):
        squared = np.maximum(2.0 - 2.0 * (mine[i : i + _CHUNK] @ theirs.T), 0.0)
        if own is not None and others is not None:
            squared[own[i : i + _CHUNK, None] == others[None]] = np.inf
        order = min(NEIGHBOUR, squared.shape[1]) - 1
        nearest = np.partition(squared, order, axis=1)
        there = np.isfinite(nearest[:, : order + 1]).sum(axis=1)
        found[i : i + _CHUNK] = np.sqrt(np.sort(nearest[:, : order + 1], axis=1)[range(len(there)), there - 1])
    return found


def _unit(rows: NDArray[np.float32]) -> NDArray[np.float32]:
    lengths = np.linalg.norm(rows, axis=1, keepdims=True)
    return np.asarray(np.divide(rows, lengths, out=np.zeros_like(rows), where=lengths > 0.0))
