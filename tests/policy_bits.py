"""Whether a policy gives a frame the same bits whatever is beside it: a program, since a process chooses kernels once.

    python -m tests.policy_bits FOLDER CAP...

FOLDER has NAME.pb and NAME.json of each policy. Each CAP is one of ONEDNN_MAX_CPU_ISA, or "none"; it has a process of
its own, which begins as a copy of this one with TensorFlow imported and no kernel chosen.
"""

import gc
import hashlib
import multiprocessing
import os
import sys
from pathlib import Path

import numpy as np
from hypothesis import example, given, settings
from hypothesis import strategies as st

from contract.config import Precision
from contract.metadata import ModelMetadata
from contract.runtime import bfloat16_is_barred, quiet_import
from contract.state import Observations
from simapp.policy import FrozenPolicy
from tests.stock_coach import episode

FRAMES = 20
EXAMPLES = 6
CAPPED = ("batchnorm", "lidar", "shallow")
"""Policies that are looked at under caps: all kinds of layers. To find a network's sizes of batches takes a second."""


def said(policy: FrozenPolicy, observations: Observations, rows: list[int]) -> np.ndarray:
    """Everything that the distributions of these frames say: (K, numbers)."""
    found = policy.distribution({name: values[rows] for name, values in observations.items()})
    return np.concatenate([it for it in (found.probabilities, found.mean, found.deviation) if it is not None], axis=1)


def check(policy: FrozenPolicy, observations: Observations) -> bytes:
    """Subsets, orders and numbers of frames, also with frames twice, against each frame alone: a digest of those."""
    alone = np.concatenate([said(policy, observations, [row]) for row in range(FRAMES)])
    assert len({row.tobytes() for row in alone}) > FRAMES // 2, "frames of different contents"

    @settings(max_examples=EXAMPLES, deadline=None, database=None)
    @example([*range(FRAMES), *range(FRAMES), *range(FRAMES)])  # more than there are places in the small batches
    @given(st.lists(st.integers(0, FRAMES - 1), min_size=1, max_size=3 * FRAMES))
    def beside_each_other(rows: list[int]) -> None:
        np.testing.assert_array_equal(said(policy, observations, rows), alone[rows])

    beside_each_other()
    return alone.tobytes()


def check_all(folder: Path, cap: str) -> None:
    """A line for each policy and precision, with a digest of what it says."""
    os.environ["ONEDNN_MAX_CPU_ISA"] = "" if cap == "none" else cap
    precisions: list[Precision] = ["float32"] if bfloat16_is_barred() else ["float32", "bfloat16"]
    for path in sorted(folder.glob("*.pb")):
        if cap != "none" and path.stem not in CAPPED:
            continue
        model = ModelMetadata.load(path.with_suffix(".json"))
        observations = episode(5, FRAMES, model).observations
        for precision in precisions:
            policy = FrozenPolicy(path.read_bytes(), model, precision=precision)
            digest = hashlib.sha256(check(policy, observations)).hexdigest()[:16]
            print(f"{cap} {path.stem} {precision}: the same bits {digest}", flush=True)
            policy.close()


def main() -> None:
    folder, *caps = sys.argv[1:]
    for name in ("matplotlib", "pandas", "sklearn"):
        sys.modules[name] = None  # type: ignore[assignment] # Keras imports them where they are, for a second
    gc.disable()  # nothing of what is imported is garbage, and the copies' collections pass it by
    quiet_import("tensorflow")
    gc.freeze()
    gc.enable()
    copies = multiprocessing.get_context("fork")
    failed = []
    for cap in caps:
        process = copies.Process(target=check_all, args=(Path(folder), cap))
        process.start()
        process.join()
        if process.exitcode:
            failed.append(f"{cap}: exit status {process.exitcode}")
    sys.exit("\n".join(failed) or 0)


if __name__ == "__main__":
    main()
