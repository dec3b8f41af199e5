"""What a check found, line by line."""

from dataclasses import dataclass, field
from typing import Literal

Level = Literal["ok", "note", "warn", "fail"]


@dataclass(frozen=True, slots=True)
class CheckFinding:
    """`what` was looked at (a file, or a place in it), how it is, and what to do about it unless it is fine.

    `params` are those of the call at which a reward function failed, shortened for a reader; none elsewhere.

    fail  training would stop, or not begin
    warn  it trains, but most likely not what was meant
    note  worth knowing
    """

    level: Level
    what: str
    text: str
    fix: str = ""
    params: dict[str, str] = field(default_factory=dict)
