"""A new folder of a racer."""
