"""What several files of unit tests share: episodes of a car that really drove, in the forms that logs have."""

import pytest

from contract.rollout import Rollout
from tests.others import some_episodes, some_laps


@pytest.fixture(scope="session")
def driven() -> list[Rollout]:
    """Training episodes of two iterations."""
    return some_episodes()


@pytest.fixture(scope="session")
def laps() -> list[Rollout]:
    """Evaluation laps."""
    return some_laps()
