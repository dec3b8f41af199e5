"""Tracks: the route geometry, the shipped catalog, and the racer's own route files."""

from simapp.tracks.library import SHIPPED, available_tracks, load_track, parse_route
from simapp.tracks.track import Projection, Track, heading_difference

__all__ = [
    "SHIPPED",
    "Projection",
    "Track",
    "available_tracks",
    "heading_difference",
    "load_track",
    "parse_route",
]
