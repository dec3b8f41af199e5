"""Pieces of recorded episodes that a car can be replayed from."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from contract.simtrace import Trace
from contract.state import STEP_S, EpisodeStatus, FloatArray, IntArray

PAST, AHEAD = 30, 15
"""Rows before the one that a replay starts from, two seconds for the slowest hinges; and after it: a second."""
FIRST_ROW = 6
"""Of an episode: the rows that a start is estimated from are driven ones; the first two stand (phase `prepare`)."""
LONGEST_ROW_S = 0.13
"""A longer one is a pause of the recorder."""
FARTHEST_M = 0.45
"""Between two rows: more is 5 m/s for a longest row, so the car was put somewhere else."""
_DRIVEN = (EpisodeStatus.prepare, EpisodeStatus.in_progress, EpisodeStatus.lap_complete)


@dataclass(frozen=True, slots=True)
class Pieces:
    """K pieces of recordings; row PAST is the one that a replay starts from.

    poses     (K, PAST + 1 + AHEAD, 3) of x, y (m) of the front point and heading (radians, without jumps)
    commands  (K, PAST + 1 + AHEAD, 2) of steering (radians) and speed (m/s)
    rows_s    (K, PAST + AHEAD) seconds from each row's pose to the next one's
    episode   (K,) which of the traces
    """

    poses: FloatArray
    commands: FloatArray
    rows_s: FloatArray
    episode: IntArray

    def __len__(self) -> int:
        return len(self.poses)

    @property
    def speed_mps(self) -> FloatArray:
        """(K,) commanded, the mean of the rows that are replayed."""
        return np.asarray(self.commands[:, PAST : PAST + AHEAD, 1].mean(axis=1))

    def of(self, some: IntArray) -> "Pieces":
        """Some of them, by indices (M,) or a mask."""
        return Pieces(*(getattr(self, name)[some] for name in self.__slots__))

    def steady(self) -> "Pieces":
        """The same with rows of exactly STEP_S, whatever the time stamps say."""
        return Pieces(self.poses, self.commands, np.full_like(self.rows_s, STEP_S), self.episode)

    def errors_m(self, path: FloatArray) -> FloatArray:
        """(K, AHEAD) distance of a replayed path (K, AHEAD, 2) from the recorded one."""
        return np.asarray(np.linalg.norm(path - self.poses[:, PAST + 1 :, :2], axis=-1))

    def start(self) -> tuple[FloatArray, FloatArray]:
        """Pose (K, 3) at row PAST and its rate of change, a parabola through it and the four rows before, which weigh
        the less the older they are.
        """
        since_s = -np.cumsum(self.rows_s[:, PAST - 4 : PAST][:, ::-1], axis=1)[:, ::-1]
        times_s = np.concatenate([since_s, np.zeros((len(self), 1))], axis=1)
        weight = 0.7 ** (np.arange(4, -1, -1) / 2)
        powers = times_s[:, :, np.newaxis] ** np.arange(3)
        solve = np.linalg.pinv(powers * weight[:, np.newaxis]) * weight
        fitted = np.einsum("kij,kjl->kil", solve, self.poses[:, PAST - 4 : PAST + 1])
        return fitted[:, 0], fitted[:, 1]


def cut(traces: Sequence[Trace], every: int = 1) -> Pieces:
    """Pieces that start at every so manieth row of each trace; before an episode the car stands uncommanded.

    A row's pose is that of the time stamp before it: recordings of version 6 show it (the way between two rows follows
    the stamps only so shifted), and the reading order of AWS's simulator says why.
    """
    width = PAST + 1 + AHEAD
    poses, commands, rows_s, episodes = [], [], [], []
    for episode, trace in enumerate(traces):
        steps = trace.steps
        if len(steps) < FIRST_ROW + AHEAD + 1:
            continue
        pose = np.column_stack([steps["x_m"], steps["y_m"], np.unwrap(steps["heading_rad"])])
        pose = np.concatenate([np.repeat(pose[:1], PAST, 0), pose])
        command = np.concatenate([np.zeros((PAST, 2)), np.column_stack([steps["steering_rad"], steps["speed_mps"]])])
        stamps = trace.timestamps_s
        row_s = np.concatenate([np.full(PAST + 1, STEP_S), np.diff(stamps)[:-1]])
        sound = np.isin(steps["status"], _DRIVEN) & np.concatenate([[True], np.diff(trace.numbers) == 1])
        sound = np.concatenate([np.ones(PAST, np.bool_), sound])
        way = np.hypot(*np.diff(pose[:, :2], axis=0).T)
        for row in range(FIRST_ROW, len(steps) - AHEAD, every):
            gaps = slice(row, row + width - 1)
            fits = (row_s[gaps] > 0.0).all() and row_s[gaps].max() < LONGEST_ROW_S and way[gaps].max() < FARTHEST_M
            if fits and sound[row : row + width].all():
                poses.append(pose[row : row + width])
                commands.append(command[row : row + width])
                rows_s.append(row_s[gaps])
                episodes.append(episode)
    return Pieces(
        np.array(poses).reshape(-1, width, 3),
        np.array(commands).reshape(-1, width, 2),
        np.array(rows_s).reshape(-1, width - 1),
        np.array(episodes, np.int64),
    )
