"""What stands in an imported world, as the lidar meets it: the lines that cut its height, in a grid of squares."""

import math
from dataclasses import dataclass

import numpy as np
from numba import njit

from contract.state import FloatArray, IntArray
from simapp.worlds.form import World

CELL_M = 0.5


@dataclass(frozen=True, slots=True)
class Outlines:
    """segments (S, 4) x, y to x, y in metres; those of square (row, column) of CELL_M from origin_m are
    listed[starts[row * columns + column] : starts[... + 1]]. bounds_m: xmin, ymin, xmax, ymax of all squares."""

    segments: FloatArray
    origin_m: tuple[float, float]
    rows: int
    columns: int
    starts: IntArray
    listed: IntArray

    @classmethod
    def of(cls, world: World, height_m: float) -> "Outlines":
        """Where the world's triangles pass through the height."""
        segments = cut_at(world.triangles.astype(np.float64), height_m)
        if len(segments) == 0:
            return cls(segments, (0.0, 0.0), 0, 0, np.zeros(1, np.int64), np.zeros(0, np.int64))
        points = segments.reshape(-1, 2)
        low = np.floor(points.min(axis=0) / CELL_M) * CELL_M
        columns, rows = (np.floor((points.max(axis=0) - low) / CELL_M).astype(int) + 1).tolist()
        first = np.floor((np.minimum(segments[:, :2], segments[:, 2:]) - low) / CELL_M).astype(int)
        last = np.floor((np.maximum(segments[:, :2], segments[:, 2:]) - low) / CELL_M).astype(int)
        cells: list[IntArray] = []
        names: list[IntArray] = []
        for s, (begin, end) in enumerate(zip(first.tolist(), last.tolist(), strict=True)):
            across, up = np.meshgrid(np.arange(begin[0], end[0] + 1), np.arange(begin[1], end[1] + 1))
            cell = (up * columns + across).ravel()
            # of a long slanted line only the squares that it comes near to
            x, y = low[0] + (across.ravel() + 0.5) * CELL_M, low[1] + (up.ravel() + 0.5) * CELL_M
            ax, ay, bx, by = segments[s]
            length = math.hypot(bx - ax, by - ay)
            away = np.abs((bx - ax) * (y - ay) - (by - ay) * (x - ax)) / max(length, 1e-9)
            near = away <= 0.75 * CELL_M
            cells.append(cell[near])
            names.append(np.full(int(near.sum()), s))
        cell, name = np.concatenate(cells), np.concatenate(names)
        order = np.argsort(cell, kind="stable")
        counts = np.bincount(cell, minlength=rows * columns)
        starts = np.concatenate([[0], np.cumsum(counts)])
        origin = (float(low[0]), float(low[1]))
        return cls(segments, origin, rows, columns, starts.astype(np.int64), name[order].astype(np.int64))

    @property
    def arrays(self) -> tuple[object, ...]:
        """What `meet_outlines` takes."""
        return self.segments, *self.origin_m, self.rows, self.columns, self.starts, self.listed


def cut_at(triangles: FloatArray, height_m: float) -> FloatArray:
    """Segments (S, 4) in which triangles (N, 3, 3) pass through a height."""
    above = triangles[..., 2] > height_m
    crossing = triangles[above.any(axis=1) & ~above.all(axis=1)]
    if len(crossing) == 0:
        return np.zeros((0, 4))
    above = crossing[..., 2] > height_m
    # the corner that is alone on its side, and the two others
    alone = np.where(above.sum(axis=1) == 1, np.argmax(above, axis=1), np.argmin(above, axis=1))
    which = np.arange(len(crossing))
    a, b, c = (crossing[which, (alone + i) % 3] for i in range(3))
    ends = []
    for other in (b, c):
        t = (height_m - a[:, 2]) / (other[:, 2] - a[:, 2])
        ends.append(a[:, :2] + t[:, None] * (other[:, :2] - a[:, :2]))
    return np.concatenate(ends, axis=1)


@njit(cache=True, nogil=True, error_model="numpy")
def meet_outlines(poses, mount_m, fan, most_m, outlines, out):  # type: ignore[no-untyped-def]
    """Fill out (K, R) with how far rays from cars at poses (3, K) reach until an outline, at most about most_m.

    mount_m and fan (2, R) as in simapp.lidar.kernel.cast_rays.
    """
    segments, x0, y0, rows, columns, starts, listed = outlines
    for k in range(out.shape[0]):
        cos, sin = math.cos(poses[2, k]), math.sin(poses[2, k])
        x, y = poses[0, k] + mount_m * cos, poses[1, k] + mount_m * sin
        for r in range(out.shape[1]):
            dx, dy = cos * fan[0, r] - sin * fan[1, r], sin * fan[0, r] + cos * fan[1, r]
            found = most_m
            column, row = math.floor((x - x0) / CELL_M), math.floor((y - y0) / CELL_M)
            step_x, step_y = 1 if dx > 0.0 else -1, 1 if dy > 0.0 else -1
            every_x = CELL_M / abs(dx) if dx != 0.0 else math.inf
            every_y = CELL_M / abs(dy) if dy != 0.0 else math.inf
            next_x = (x0 + (column + (dx > 0.0)) * CELL_M - x) / dx if dx != 0.0 else math.inf
            next_y = (y0 + (row + (dy > 0.0)) * CELL_M - y) / dy if dy != 0.0 else math.inf
            entered = 0.0
            while entered < found:
                if 0 <= row < rows and 0 <= column < columns:
                    cell = row * columns + column
                    for i in range(starts[cell], starts[cell + 1]):
                        s = listed[i]
                        ax, ay = segments[s, 0] - x, segments[s, 1] - y
                        ex, ey = segments[s, 2] - segments[s, 0], segments[s, 3] - segments[s, 1]
                        across = dx * ey - dy * ex
                        if across == 0.0:
                            continue
                        reach, along = (ax * ey - ay * ex) / across, (ax * dy - ay * dx) / across
                        if reach >= 0.0 and -1e-9 <= along <= 1.0 + 1e-9:
                            found = min(found, reach)
                if next_x < next_y:
                    entered, next_x, column = next_x, next_x + every_x, column + step_x
                else:
                    entered, next_y, row = next_y, next_y + every_y, row + step_y
            out[k, r] = found
