"""Frames of two cameras from the same poses: how alike they are, where lines stand, and a picture of both."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy.ndimage import find_objects, gaussian_filter, label

from contract.state import FloatArray, UInt8Array
from undercut.figures.png import new_figure, png_of

LINE_ROWS = range(50, 110, 4)
"""Rows of a frame (120, 160) in which lines are looked for: those of the road, 0.3 to 4 m ahead."""
LINE_BRIGHTER = 60
"""Grey levels above the row's median that only lines have."""
LINE_REACH_PX = 10.0
"""Lines of two frames that are further apart than this are not the same one, where a row shows more in one of them."""

SHOWN = 6
DIFFERENCE_GAIN = 3.0


@dataclass(frozen=True, slots=True, eq=False)
class Likeness:
    """Of K pairs of frames: structural similarity and mean error in grey levels, (K,) each, and by how many pixels each
    line that both show stands further right in the first one, (L,)."""

    ssim: FloatArray
    error: FloatArray
    line_error_px: FloatArray

    @classmethod
    def of(cls, mine: UInt8Array, theirs: UInt8Array) -> "Likeness":
        """Of frames (K, 120, 160)."""
        pairs = list(zip(mine, theirs, strict=True))
        return cls(
            ssim=np.array([ssim(one, other) for one, other in pairs]),
            error=np.array([np.abs(one.astype(np.float64) - other).mean() for one, other in pairs]),
            line_error_px=np.array([error for one, other in pairs for error in line_errors(one, other)]),
        )

    def summary(self) -> dict[str, float | int | None]:
        """The numbers that a table shows; those of lines are None where no line was found."""
        lines = np.abs(self.line_error_px)

        def of_lines(value: float) -> float | None:
            return round(value, 3) if lines.size else None

        return {
            "frames": len(self.ssim),
            "ssim_median": round(float(np.median(self.ssim)), 4),
            "ssim_worst": round(float(self.ssim.min()), 4),
            "mean_error": round(float(self.error.mean()), 3),
            "worst_error": round(float(self.error.max()), 3),
            "lines": int(lines.size),
            "line_error_median_px": of_lines(float(np.median(lines)) if lines.size else 0.0),
            "line_error_95_px": of_lines(float(np.quantile(lines, 0.95)) if lines.size else 0.0),
            "line_bias_px": of_lines(float(np.median(self.line_error_px)) if lines.size else 0.0),
        }


def ssim(one: UInt8Array, other: UInt8Array) -> float:
    """Mean structural similarity of two grey frames (H, W): Wang et al. 2004, "Image quality assessment: from error
    visibility to structural similarity", with its Gaussian window of sigma 1.5, K1 0.01, K2 0.03 and range 255."""
    a, b = one.astype(np.float64), other.astype(np.float64)
    c1, c2 = (0.01 * 255) ** 2, (0.03 * 255) ** 2

    def blurred(values: FloatArray) -> FloatArray:
        return np.asarray(gaussian_filter(values, 1.5, truncate=3.5))

    mean_a, mean_b = blurred(a), blurred(b)
    spread_a, spread_b = blurred(a * a) - mean_a**2, blurred(b * b) - mean_b**2
    shared = blurred(a * b) - mean_a * mean_b
    top = (2 * mean_a * mean_b + c1) * (2 * shared + c2)
    return float((top / ((mean_a**2 + mean_b**2 + c1) * (spread_a + spread_b + c2))).mean())


def line_errors(mine: UInt8Array, theirs: UInt8Array) -> list[float]:
    """Differences in pixels of the lines that both frames (120, 160) show in a row: in order where they show as many,
    else those that are each other's nearest."""
    errors: list[float] = []
    for row in LINE_ROWS:
        one, other = (lines_of(frame[row].astype(np.float64)) for frame in (mine, theirs))
        if len(one) == len(other):
            errors += [a - b for a, b in zip(one, other, strict=True)]
        elif one and other:
            apart = np.abs(np.subtract.outer(one, other))
            for i, j in enumerate(apart.argmin(axis=1).tolist()):
                if apart[:, j].argmin() == i and apart[i, j] < LINE_REACH_PX:
                    errors.append(one[i] - other[j])
    return errors


def lines_of(row: FloatArray) -> list[float]:
    """Columns of the bright lines that are whole within one row (W,): their centroids by brightness, from the left."""
    above = np.clip(row - np.median(row) - LINE_BRIGHTER, 0.0, None)
    inside = (it for (it,) in find_objects(label(above)[0]) if it.start > 0 and it.stop < len(above))
    return [float((np.arange(it.start, it.stop) + 0.5) @ above[it] / above[it].sum()) for it in inside]


def views_picture(mine: UInt8Array, theirs: UInt8Array, likeness: Likeness, names: Sequence[str], title: str) -> bytes:
    """A PNG of some of the pairs, from the least alike to the most: the second camera's, the first one's, and how much
    they differ, three times as strong."""
    order = np.argsort(likeness.ssim, kind="stable")
    shown = order[np.unique(np.linspace(0, len(order) - 1, min(SHOWN, len(order))).round().astype(int))]
    figure = new_figure(7.5, 1.95 * len(shown) + 0.7, dpi=100)
    grid = figure.subplots(len(shown), 3, squeeze=False)
    for axes, k in zip(grid, shown.tolist(), strict=True):
        difference = np.clip(DIFFERENCE_GAIN * np.abs(mine[k].astype(np.float64) - theirs[k]), 0, 255)
        for axis, frame in zip(axes, (theirs[k], mine[k], difference), strict=True):
            axis.imshow(frame, cmap="gray", vmin=0, vmax=255)
            axis.set(xticks=[], yticks=[])
        axes[0].set_ylabel(f"pose {k}", fontsize=8)
        axes[2].set_xlabel(f"SSIM {likeness.ssim[k]:.3f}, error {likeness.error[k]:.1f}", fontsize=8)
    for axis, name in zip(grid[0], (names[1], names[0], f"difference x {DIFFERENCE_GAIN:g}"), strict=True):
        axis.set_title(name, fontsize=9)
    figure.suptitle(title, fontsize=10)
    return png_of(figure)
