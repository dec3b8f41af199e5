"""The road itself: a route's geometry, where a point lies on it, and what makes a route one that can be driven."""

from simapp.road.track import Projection, Track, heading_difference

__all__ = ["Projection", "Track", "heading_difference"]
