from pathlib import Path

import pytest

REPO = Path(__file__).resolve().parent.parent


@pytest.fixture(scope="session")
def shared_reference() -> Path:
    """Recorded files of real DeepRacer runs, which stand beside a development checkout and never inside it."""
    folder = REPO.parent / "shared" / "reference"
    if not folder.is_dir():
        pytest.skip(f"no {folder.relative_to(REPO.parent)} beside this checkout; put it there and run: make test")
    return folder
