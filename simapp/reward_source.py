"""A racer's reward as it comes: a Python file, or a program or function in any language."""

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, Protocol

from simapp.reward import RewardFunction
from simapp.reward_service.service import RewardService


class RewardSource(Protocol):
    """What RewardFunction and RewardService have in common."""

    @property
    def path(self) -> Path: ...

    @property
    def source(self) -> str:
        """Text in which names of params can be searched for."""

    def instance(self) -> Callable[[dict[str, Any]], float]:
        """The reward of one car."""

    def files(self) -> dict[str, bytes]:
        """What a run keeps of it, by key."""


def load_reward(path: Path, packages: Path | None = None) -> RewardSource:
    """Of a .py file, a .yaml or .json description, or an executable. InputError when it is of no use.

    `packages` is a folder of installed packages that it may import, beside those of this environment, which go first.
    """
    if path.suffix.lower() != ".py":
        return RewardService.load(path, {"PYTHONPATH": str(packages)} if packages else None)
    if packages is not None and str(packages) not in sys.path:
        sys.path.append(str(packages))  # for good: packages import parts of themselves when they are first used
    return RewardFunction.load(path)
