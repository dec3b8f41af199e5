"""Tracks: the route geometry, the shipped catalog, and the racer's own route files."""

from simapp.tracks.library import available_tracks, load_track
from simapp.tracks.track import Projection, Track, heading_difference

__all__ = ["Projection", "Track", "available_tracks", "heading_difference", "load_track"]
