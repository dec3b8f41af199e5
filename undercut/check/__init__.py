"""A check of what is in a racer's folder."""
