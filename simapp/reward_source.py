"""A racer's reward as it comes: a Python file, or a program or function in any language."""

import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

from contract.errors import InputError, RewardError
from simapp.reward import RewardFunction
from simapp.reward_service.service import RewardService, ServiceReward, score_all


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


@dataclass(slots=True)
class RaceReward:
    """A racer's reward in a race, where laps decide: once it has failed, it pays 0 and is asked no more."""

    source: RewardSource
    failure: str = ""
    """How it failed first, with the racer's traceback; empty as long as it has not."""
    _cars: list[Callable[[dict[str, Any]], float]] = field(default_factory=list)

    def instance(self) -> ServiceReward:
        """One car's reward."""
        try:
            self._cars.append(self.source.instance())
        except InputError as error:  # the file runs anew for each car
            self.failure = self.failure or str(error)
            self._cars.append(lambda params: 0.0)
        return ServiceReward(self, len(self._cars) - 1)

    def score(self, cars: Sequence[int], params: Sequence[dict[str, Any]]) -> list[float]:
        """The rewards of K of its cars, in one request to a program or function."""
        if not self.failure:
            try:
                return score_all([self._cars[car] for car in cars], params)
            except RewardError as error:
                self.failure = str(error)
        return [0.0] * len(cars)
