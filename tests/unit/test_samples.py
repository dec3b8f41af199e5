"""max_sample_count and sampling_frequency: which steps of a training are kept, whatever its iterations are."""

import io
from pathlib import Path

import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from contract import artifacts
from contract.protocols import UpdateReport
from contract.rollout import Rollout
from contract.state import STEP_DTYPE, EpisodeStatus
from contract.stores.local import LocalStore
from trainer.journal import RunJournal, samples
from trainer.learn import Iteration, Progress

CAMERA = "FRONT_FACING_CAMERA"


def drive(episode: int, length: int) -> Rollout:
    """Each step's frame, action and reward say which one it is."""
    steps = np.zeros(length, STEP_DTYPE)
    steps["reward"] = 100 * episode + np.arange(length)
    steps["status"] = EpisodeStatus.off_track
    frames = (100 * episode + np.arange(length + 1)).astype(np.int64).reshape(-1, 1, 1, 1)
    return Rollout(episode, 0, {CAMERA: frames[:-1]}, {CAMERA: frames[-1]}, np.arange(length), steps, False)


def read(data: bytes | None) -> dict[str, NDArray[np.float64]]:
    if data is None:
        return {}
    with np.load(io.BytesIO(data), allow_pickle=False) as arrays:
        return {name: arrays[name] for name in arrays.files}


@given(
    st.lists(st.lists(st.integers(1, 9), min_size=1, max_size=4), min_size=1, max_size=5),
    st.integers(0, 30),
    st.integers(1, 12),
)
def test_every_nth_step_up_to_the_most(iterations: list[list[int]], most: int, every: int) -> None:
    """Against a plain walk over all steps of the training."""
    kept, everything, first, episode = [], [], 0, 0
    for lengths in iterations:
        rollouts = [drive(episode + k, length) for k, length in enumerate(lengths)]
        found = read(samples(rollouts, first, most, every))
        rows = zip(found["episode"], found["step"], strict=True) if found else ()
        for k, (number, step) in enumerate(rows):
            assert found[CAMERA][k].shape == (1, 1, 1)
            assert found[CAMERA][k].item() == found["reward"][k] == 100 * number + step
            assert found["action"][k] == step
            kept.append((int(number), int(step)))
        everything += [(rollout.episode, step) for rollout in rollouts for step in range(len(rollout))]
        first, episode = first + sum(lengths), episode + len(lengths)
    assert kept == everything[::every][:most]


def test_a_run_keeps_them_iteration_by_iteration(tmp_path: Path) -> None:
    class Agent:
        def save(self) -> dict[str, bytes]:
            return {"data": b"weights"}

    store = LocalStore(tmp_path)
    journal = RunJournal(store, "test", 10.0, "progress", 3e-4, max_sample_count=5, sampling_frequency=3)
    before = Progress()
    for number in range(4):
        training, evaluation = [drive(number, 7)], [drive(number, 2)]
        row = {"surrogate_loss": 0.0, "kl_divergence": 0.0, "entropy": 0.0, "value_loss": 0.0}
        after = before.trained(training).evaluated(evaluation)
        update = UpdateReport(0.0, 0.0, 0.0, 0.0, 1, [row])
        journal.save(Iteration(before, after, training, evaluation, update), Agent(), b"policy")  # type: ignore[arg-type]
        before = after
    kept = [
        read(store.get(artifacts.samples(number)))["step"].tolist() if store.exists(artifacts.samples(number)) else None
        for number in range(4)
    ]
    assert kept == [[0, 3, 6], [2, 5], None, None], "steps 0, 3, 6, 9 and 12 of the training, 7 in each iteration"
