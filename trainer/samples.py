"""What a car saw and did, kept for the racer: max_sample_count steps of the training, every sampling_frequency-th."""

import io
from collections.abc import Sequence

import numpy as np

from contract.rollout import Rollout


def samples(rollouts: Sequence[Rollout], first: int, most: int, every: int) -> bytes | None:
    """An .npz of an iteration's samples, None where it has none: sensors by name (S, ...), action (S,) or (S, 2),
    reward, episode, and step in the episode from 0, (S,) each.

    first    steps that the training had driven before these; its step 0, `every`, 2 `every`, ... are samples, `most`
             of them in all, so it does not matter where a training was stopped and resumed
    """
    lengths = [len(rollout) for rollout in rollouts]
    ends = np.cumsum(lengths)
    numbers = np.arange(-(-first // every), min(-(-(first + sum(lengths)) // every), most))
    if not len(numbers):
        return None
    taken = numbers * every - first
    owners = np.searchsorted(ends, taken, side="right")
    picks = [
        (rollouts[k], step)
        for k, step in zip(owners.tolist(), (taken - (ends - lengths)[owners]).tolist(), strict=True)
    ]
    arrays = {
        name: np.stack([rollout.observations[name][step] for rollout, step in picks]) for name in rollouts[0].final
    }
    arrays |= {
        "action": np.stack([rollout.actions[step] for rollout, step in picks]),
        "reward": np.array([rollout.rewards[step] for rollout, step in picks]),
        "episode": np.array([rollout.episode for rollout, _ in picks]),
        "step": np.array([step for _, step in picks]),
    }
    file = io.BytesIO()
    np.savez_compressed(file, allow_pickle=False, **arrays)
    return file.getvalue()
