from pathlib import Path

from hypothesis import settings

# the same examples every time, however slow the machine: a red suite means that the change under test broke something
settings.register_profile("fixed", derandomize=True, deadline=None)
settings.load_profile("fixed")

REPO = Path(__file__).resolve().parent.parent

SHARED_REFERENCE = REPO.parent / "shared" / "reference"
"""Recorded files of real DeepRacer runs: beside a development checkout, never inside it; tests skip without them."""
