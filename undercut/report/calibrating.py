"""The tracks of recordings."""

from collections.abc import Sequence

import numpy as np

from contract.errors import InputError
from simapp.tracks import Track, load_track, readable_tracks
from undercut.analysis.log import same_length
from undercut.calibration.recordings import DrivenLog
from undercut.runs.run import TRACKS

ON_THE_ROAD = 0.9
"""Share of a recording's rows that lie no further from the centre line than the road is wide."""


def tracks_of(recordings: Sequence[DrivenLog], name: str | None) -> list[Track | None]:
    """The track of each recording: the one that the racer names, or a known one that fits it; None where none does.

    InputError when the named one does not exist, or when a recording was driven on another.
    """
    if name is None:
        found: list[Track | None] = []
        for recording in recordings:
            fits = (track for track in found if track is not None and _why_not(recording, track) is None)
            found.append(next(fits, None) or _known(recording))
        return found
    track = load_track(name, [TRACKS])
    for recording in recordings:
        why = _why_not(recording, track)
        if why is not None:
            raise InputError(
                "--track", f"{track.name}, {track.length_m:.2f} m", f"the track of {recording.name}: {why}", "give that"
            )
    return [track] * len(recordings)


def _known(recording: DrivenLog) -> Track | None:
    fitting = (track for track in readable_tracks([TRACKS]) if _why_not(recording, track) is None)
    return next(fitting, None)


def _why_not(recording: DrivenLog, track: Track) -> str | None:
    if not same_length(track.length_m, recording.track_length_m):
        return f"its lap is {recording.track_length_m:.2f} m"
    steps = np.concatenate([trace.steps for trace in recording.traces])
    steps = steps[:: max(1, len(steps) // 2000)]
    where = track.project(steps["x_m"], steps["y_m"])
    share = float((np.abs(where.offset_m) <= where.width_m).mean())
    return None if share >= ON_THE_ROAD else f"only {share:.0%} of its rows lie near that road"
