"""A racer's first steps: a folder to begin with, and a check of what is in it."""
