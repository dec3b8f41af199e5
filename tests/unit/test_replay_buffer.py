"""ReplayBuffer against plain lists of transitions."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from contract.errors import CheckpointError, TrainingError
from contract.rollout import Rollout
from contract.state import STEP_DTYPE, Observations
from trainer.common.replay_buffer import ReplayBuffer, Sensors

SENSORS: Sensors = {
    "CAMERA": ((2, 3, 1), np.dtype(np.uint8)),
    "LIDAR": ((4,), np.dtype(np.float32)),
}


def rollout(number: int, steps: int, truncated: bool) -> Rollout:
    """Step t of episode n shows n in the camera and t in the lidar, is rewarded by t, acts (n, t) / 100."""
    rows = np.zeros(steps, STEP_DTYPE)
    rows["reward"] = np.arange(steps)
    camera = np.full((steps + 1, 2, 3, 1), number, np.uint8)
    lidar = np.repeat(np.arange(steps + 1, dtype=np.float32)[:, None], 4, axis=1)
    actions = np.column_stack([np.full(steps, number), np.arange(steps)]) / 100.0
    seen: Observations = {"CAMERA": camera, "LIDAR": lidar}
    before = {name: values[:-1] for name, values in seen.items()}
    final: Observations = {name: values[-1] for name, values in seen.items()}
    return Rollout(number, 0, before, final, actions, rows, truncated)


def transitions(memory: ReplayBuffer, draws: int = 400) -> dict[tuple[int, int], tuple[float, ...]]:
    """(episode, step) -> how often drawn, and what the batch says of it; checks that a draw is of one piece."""
    batch = memory.sample(np.random.default_rng(1), draws)
    assert batch.states["CAMERA"].dtype == np.uint8 and batch.next_states["LIDAR"].dtype == np.float32
    found: dict[tuple[int, int], tuple[float, ...]] = {}
    for k in range(draws):
        number, step = int(batch.states["CAMERA"][k, 0, 0, 0]), int(batch.states["LIDAR"][k, 0])
        assert (batch.next_states["CAMERA"][k] == number).all(), "never across episodes"
        assert (batch.next_states["LIDAR"][k] == step + 1).all()
        np.testing.assert_allclose(batch.actions[k], [number / 100.0, step / 100.0], rtol=1e-6)
        assert batch.rewards[k, 0] == step
        count = found.get((number, step), (0.0,))[0]
        found[number, step] = (count + 1, float(batch.terminals[k, 0]))
    return found


def test_only_the_end_by_the_rules_is_terminal() -> None:
    memory = ReplayBuffer(SENSORS)
    memory.add([rollout(1, 3, truncated=False), rollout(2, 2, truncated=True)])
    found = transitions(memory)
    assert {key: terminal for key, (_, terminal) in found.items()} == {
        (1, 0): 0.0, (1, 1): 0.0, (1, 2): 1.0, (2, 0): 0.0, (2, 1): 0.0
    }  # fmt: skip


def test_every_transition_is_as_likely() -> None:
    memory = ReplayBuffer(SENSORS)
    memory.add([rollout(1, 1, False), rollout(2, 5, False), rollout(3, 14, False)])
    counts = [count for count, _ in transitions(memory, 4000).values()]
    assert len(counts) == len(memory) == 20
    sigma = np.sqrt(4000 * 0.05 * 0.95)
    assert max(abs(np.array(counts) - 200)) < 5 * sigma


@settings(max_examples=25)
@given(st.lists(st.tuples(st.integers(1, 12), st.booleans()), min_size=1, max_size=12), st.integers(600, 4000))
def test_bytes_are_bounded_by_forgetting_the_oldest(episodes: list[tuple[int, bool]], limit: int) -> None:
    """What is left is a run of whole newest episodes, as many as fit; and it survives save and restore."""
    memory = ReplayBuffer(SENSORS, limit)
    sizes = []
    for number, (steps, truncated) in enumerate(episodes):
        alone = ReplayBuffer(SENSORS)
        alone.add([rollout(number, steps, truncated)])
        sizes.append(alone.num_bytes)
        if sizes[-1] > limit:
            with pytest.raises(TrainingError, match="max_episode_steps"):
                memory.add([rollout(number, steps, truncated)])
            return
        memory.add([rollout(number, steps, truncated)])
    fits = [first for first in range(len(sizes)) if sum(sizes[first:]) <= limit]
    kept = episodes[fits[0] :]
    assert memory.num_bytes == sum(sizes[fits[0] :]) <= limit
    assert len(memory) == sum(steps for steps, _ in kept)
    again = ReplayBuffer(SENSORS, limit)
    again.restore(memory.save())
    assert again.save() == memory.save()
    assert transitions(again, 20) == transitions(memory, 20)


def test_an_empty_memory_survives_too() -> None:
    memory = ReplayBuffer(SENSORS)
    memory.restore(ReplayBuffer(SENSORS).save())
    assert len(memory) == memory.num_bytes == 0


@pytest.mark.parametrize("cut", [0, 10, 300])
def test_a_cut_file_is_refused(cut: int) -> None:
    memory = ReplayBuffer(SENSORS)
    memory.add([rollout(1, 3, truncated=False)])
    whole = memory.save()
    with pytest.raises(CheckpointError, match="replay memory is corrupt"):
        memory.restore(whole[:cut])
    assert memory.save() == whole


def test_frames_are_stored_once_and_compressed() -> None:
    """100 steps of a plain camera frame, 19,200 bytes each, take far less than 101 frames, let alone 200."""
    memory = ReplayBuffer({"CAMERA": ((120, 160, 1), np.dtype(np.uint8))})
    long = rollout(1, 100, truncated=False)
    rng = np.random.default_rng(0)
    frames = rng.integers(0, 4, (101, 120, 160, 1)).astype(np.uint8)  # two bits of noise a byte
    long.observations, long.final = {"CAMERA": frames[:-1]}, {"CAMERA": frames[-1]}
    memory.add([long])
    assert memory.num_bytes < 0.4 * 101 * 19_200
    batch = memory.sample(np.random.default_rng(0), 50)
    steps = batch.rewards[:, 0].astype(int)
    assert np.array_equal(batch.states["CAMERA"], frames[steps])
    assert np.array_equal(batch.next_states["CAMERA"], frames[steps + 1])


def test_discrete_actions() -> None:
    memory = ReplayBuffer(SENSORS)
    discrete = rollout(1, 3, truncated=False)
    discrete.actions = np.arange(3)
    memory.add([discrete])
    memory.restore(memory.save())
    batch = memory.sample(np.random.default_rng(0), 9)
    assert batch.actions.dtype == np.int64 and batch.actions.shape == (9,)
    assert (batch.actions == batch.rewards[:, 0]).all()
