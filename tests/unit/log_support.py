"""What tests of logs share: a whole run of episodes that a car drove, and a copy of it to damage."""

import shutil
from pathlib import Path

import pytest

from contract.stores.local import LocalStore
from tests import recorded
from undercut.analysis.loading import load_run
from undercut.analysis.log import RunLog


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> LocalStore:
    root = tmp_path_factory.mktemp("runs")
    recorded.add_circle(root / "tracks")
    return recorded.record(root / "oval", recorded.episodes())


@pytest.fixture
def copy(store: LocalStore, tmp_path: Path) -> LocalStore:
    """To damage."""
    shutil.copytree(store.root, tmp_path / "oval")
    shutil.copytree(store.root.parent / "tracks", tmp_path / "tracks")
    return LocalStore(tmp_path / "oval")


def load(store: LocalStore) -> RunLog:
    return load_run(store, "oval", [store.root.parent / "tracks"])
