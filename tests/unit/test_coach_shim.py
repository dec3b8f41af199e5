"""The import shim reaches rl_coach and nothing else, and says nothing."""

import builtins
import hashlib
import random  # noqa: TID251 - the generator that rl_coach would seed
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from contract.hyperparameters import Hyperparameters
from tests.patience import PATIENCE_S
from tests.stock_coach import episode, metadata
from trainer.agents import CoachAgent
from trainer.coach import shim

SETTINGS = Hyperparameters(batch_size=8, num_epochs=1)


def train(seed: int) -> str:
    """One small update from scratch, on two threads; the checksum of everything it left."""
    agent = CoachAgent(metadata(), SETTINGS, seed, threads=2)
    agent.train([episode(0, 20, metadata())], 0)
    files = agent.save()
    return hashlib.sha256(b"".join(files[name] for name in sorted(files))).hexdigest()


def test_only_rl_coach_sees_the_stand_ins() -> None:
    real_import = builtins.__import__
    shim.install()
    shim.install()
    import rl_coach.agents.clipped_ppo_agent
    import rl_coach.architectures.tensorflow_components.layers as layers
    import tensorflow as tf

    assert builtins.__import__ is real_import
    assert hasattr(layers.tf, "layers") and hasattr(layers.tf, "contrib")
    assert not hasattr(tf, "contrib") and tf.__version__.startswith("2.")
    assert "pygame" not in sys.modules
    assert sum("shim" in type(finder).__module__ or "shim" in repr(finder) for finder in sys.meta_path) == 1
    assert rl_coach.agents.clipped_ppo_agent.__builtins__["print"] is not print


def test_rl_coach_prints_to_its_logger(capfd: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture) -> None:
    shim.install()
    from rl_coach.logger import screen

    with caplog.at_level("DEBUG", logger="rl_coach"):
        screen.log_title("Creating agent")
    assert "Creating agent" in caplog.text
    assert capfd.readouterr().out == ""


def test_every_stand_in_can_be_made() -> None:
    """rl_coach's graph manager needs distutils, which Python 3.12 dropped, and its S3 store minio's old names."""
    shim.install()
    import rl_coach.data_stores.s3_data_store
    import rl_coach.graph_managers.graph_manager
    import rl_coach.renderer

    assert callable(rl_coach.graph_managers.graph_manager.copy_tree)
    assert issubclass(rl_coach.data_stores.s3_data_store.ResponseError, Exception)
    assert rl_coach.renderer.pygame.display is not None


def test_global_generators_are_left_alone() -> None:
    random.seed(1)
    np.random.seed(1)  # noqa: NPY002
    before = random.getstate(), np.random.get_state()[1].tolist()  # type: ignore[index]  # noqa: NPY002
    CoachAgent(metadata(), SETTINGS, seed=5)
    after = random.getstate(), np.random.get_state()[1].tolist()  # type: ignore[index]  # noqa: NPY002
    assert before == after


@pytest.mark.slow
def test_another_process_trains_the_same_on_fewer_cores_too_and_says_nothing() -> None:
    """Two new processes: TensorFlow's pool of threads here is that of the first test that made a session, and how
    products are shared among threads shows in the last bits. How many cores those threads have does not."""
    code = "from tests.unit.test_coach_shim import train; print(train(3), train(4))"
    on_one = "import os; hasattr(os, 'sched_setaffinity') and os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})"
    root = Path(__file__).parents[2]
    first, second = (
        subprocess.run([sys.executable, "-c", it], cwd=root, capture_output=True, text=True, check=True)
        for it in (code, f"{on_one}; {code}")
    )
    assert first.stdout == second.stdout
    assert len(set(first.stdout.split())) == 2
    assert first.stderr == second.stderr == ""


def test_rl_coach_starts_no_process_that_would_outlive_a_killed_trainer() -> None:
    code = (
        "import multiprocessing; from trainer.coach import shim; shim.install();"
        "from rl_coach.utils import ReaderWriterLock; lock = ReaderWriterLock();"
        "lock.lock_writing(); lock.release_writing();"
        "print(len(multiprocessing.active_children()))"
    )
    done = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True, timeout=PATIENCE_S)
    assert done.stdout.strip() == "0"
