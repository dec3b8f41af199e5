from pathlib import Path

import pytest
from hypothesis import settings

# the same examples every time, however slow the machine: a red suite means that the change under test broke something
settings.register_profile("fixed", derandomize=True, deadline=None)
settings.load_profile("fixed")

REPO = Path(__file__).resolve().parent.parent


@pytest.fixture(scope="session")
def shared_reference() -> Path:
    """Recorded files of real DeepRacer runs, which stand beside a development checkout and never inside it."""
    folder = REPO.parent / "shared" / "reference"
    if not folder.is_dir():
        pytest.skip(f"no {folder.relative_to(REPO.parent)} beside this checkout; put it there and run: make test")
    return folder
