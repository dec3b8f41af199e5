"""Which known track some traces were driven on, and which way round."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from contract.errors import InputError
from simapp.tracks import Track, available_tracks, load_track
from undercut.analysis.log import Episode, rows_of, same_length

_SAMPLES = 2000
_NEAR_THE_ROAD = 0.95


def matching_track(episodes: Sequence[Episode], search: Sequence[Path]) -> Track | None:
    """The known track whose lap is as long as the traces say, and that 95 % of their rows are near: no further from the
    centre line than the road is wide."""
    length_m = float(np.median([episode.track_length_m for episode in episodes]))
    rows = _sample(episodes)
    best: tuple[float, Track] | None = None
    for name in available_tracks(search):
        try:
            track = load_track(name, search)
        except InputError:
            continue
        if not same_length(track.length_m, length_m):
            continue
        where = track.project(rows["x_m"], rows["y_m"])
        share = float((np.abs(where.offset_m) <= where.width_m).mean())
        if share >= _NEAR_THE_ROAD and (best is None or share > best[0]):
            best = share, track
    return best[1] if best else None


def oriented(track: Track, episodes: Sequence[Episode]) -> tuple[Track, bool]:
    """The track in the direction in which the traces count their waypoints, and whether that is not its own."""
    rows = _sample(episodes)
    if not len(rows):
        return track, False
    ways = (track, track.reversed())
    agreeing = [
        np.count_nonzero(way.project(rows["x_m"], rows["y_m"]).nearest_waypoint == rows["closest_waypoint"])
        for way in ways
    ]
    is_reversed = bool(agreeing[1] > agreeing[0])
    return ways[is_reversed], is_reversed


def _sample(episodes: Sequence[Episode]) -> np.ndarray:
    rows = rows_of(episodes)
    return rows[:: max(1, len(rows) // _SAMPLES)]
