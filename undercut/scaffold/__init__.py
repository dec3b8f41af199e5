"""A new folder of a racer."""

from typing import Literal

RaceKind = Literal["TIME_TRIAL", "OBJECT_AVOIDANCE", "HEAD_TO_BOT"]
"""What a new folder can be for."""
