"""Tracks by their names: the shipped catalog, the racer's own route files, and imported worlds."""

from simapp.road import Projection, Track, heading_difference
from simapp.tracks.library import SHIPPED, available_tracks, load_track, readable_tracks

__all__ = [
    "SHIPPED",
    "Projection",
    "Track",
    "available_tracks",
    "heading_difference",
    "load_track",
    "readable_tracks",
]
