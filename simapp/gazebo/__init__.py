"""Gazebo 11 as the second simulator: the same tracks, looks and car, with a physics engine's contacts and tyres."""
