"""Whether a policy gives a frame the same bits whatever is beside it: a program, since a process chooses kernels once.

    ONEDNN_MAX_CPU_ISA=SSE41 python -m tests.policy_bits FOLDER

FOLDER has NAME.pb and NAME.json of each policy.
"""

import sys
from pathlib import Path

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from contract.config import Precision
from contract.metadata import ModelMetadata
from contract.runtime import bfloat16_is_barred
from contract.state import Observations
from simapp.policy import FrozenPolicy
from tests.stock_coach import episode

FRAMES = 30
EXAMPLES = 8
PRECISIONS: tuple[Precision, ...] = ("float32",) if bfloat16_is_barred() else ("float32", "bfloat16")


def said(policy: FrozenPolicy, observations: Observations, rows: list[int]) -> np.ndarray:
    """Everything that the distributions of these frames say: (K, numbers)."""
    found = policy.distribution({name: values[rows] for name, values in observations.items()})
    return np.concatenate([it for it in (found.probabilities, found.mean, found.deviation) if it is not None], axis=1)


def check(policy: FrozenPolicy, observations: Observations) -> None:
    """Subsets, orders and numbers of frames, also with frames twice, against each frame alone."""
    alone = np.concatenate([said(policy, observations, [row]) for row in range(FRAMES)])
    assert len({row.tobytes() for row in alone}) > FRAMES // 2, "frames of different contents"

    @settings(max_examples=EXAMPLES, deadline=None, database=None)
    @given(st.lists(st.integers(0, FRAMES - 1), min_size=1, max_size=60))
    def beside_each_other(rows: list[int]) -> None:
        np.testing.assert_array_equal(said(policy, observations, rows), alone[rows])

    beside_each_other()


def main() -> None:
    for path in sorted(Path(sys.argv[1]).glob("*.pb")):
        model = ModelMetadata.load(path.with_suffix(".json"))
        observations = episode(5, FRAMES, model).observations
        for precision in PRECISIONS:
            policy = FrozenPolicy(path.read_bytes(), model, precision=precision)
            check(policy, observations)
            print(f"{path.stem} {precision}: the same bits")
            policy.close()


if __name__ == "__main__":
    main()
