"""What several files of unit tests share: episodes of a car that really drove, in the forms that logs have."""

from pathlib import Path

import pytest

from contract.rollout import Rollout
from tests import line_support
from tests.others import some_episodes, some_laps


@pytest.fixture(scope="session", autouse=True)
def _share_the_line(folder_of_all: Path) -> None:
    line_support.kept_in = folder_of_all


@pytest.fixture(scope="session")
def driven() -> list[Rollout]:
    """Training episodes of two iterations."""
    return some_episodes()


@pytest.fixture(scope="session")
def laps() -> list[Rollout]:
    """Evaluation laps."""
    return some_laps()
