"""A frame's distribution does not depend on the batch, on any CPU; training neither on the number of cars."""

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from contract import runtime
from contract.errors import InputError
from contract.runtime import cpu_flags
from simapp.blocks import ONE_BY_ONE, Blocks, Results, found_blocks
from tests.policy_bits import CAPPED
from tests.untrained import POLICIES, UntrainedPolicy

CAPS = {"": "", "SSE41": "avx", "AVX2": "avx512f", "AVX512_CORE": "avx512_bf16"}
"""Caps of oneDNN's instructions, and the CPU flag without which one changes nothing."""


@pytest.fixture(scope="module")
def policies(tmp_path_factory: pytest.TempPathFactory, untrained_policy: UntrainedPolicy) -> Path:
    """Untrained policies of all kinds of outputs, inputs and layers."""
    folder = tmp_path_factory.mktemp("policies")
    for name, (model, preset) in reversed(POLICIES.items()):  # test_precision, beside this file, builds the first ones
        (folder / f"{name}.json").write_text(model.to_json())
        (folder / f"{name}.pb").write_bytes(untrained_policy(model, preset=preset))
    return folder


@pytest.fixture(scope="module")
def told(policies: Path) -> str:
    """What the program says with each cap that changes something here: one import of TensorFlow for all."""
    caps = [cap or "none" for cap, flag in CAPS.items() if not flag or flag in cpu_flags()]
    command = [sys.executable, "-m", "tests.policy_bits", str(policies), *caps]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=900)
    return done.stdout + done.stderr


@pytest.mark.parametrize("cap", CAPS)
def test_a_frame_gives_the_same_bits_beside_any_others(cap: str, told: str) -> None:
    if CAPS[cap] and CAPS[cap] not in cpu_flags():
        pytest.skip(f"this CPU has no {CAPS[cap]}, so ONEDNN_MAX_CPU_ISA={cap} changes nothing: run it on one that has")
    lines = [line for line in told.splitlines() if line.startswith(f"{cap or 'none'} ")]
    in_float32, in_bfloat16 = (sum(f"{it}: the same bits" in line for line in lines) for it in ("float32", "bfloat16"))
    # capped below AVX-512 a CPU with it has no bfloat16: oneDNN refuses what TensorFlow leaves to it
    is_barred = cap in ("SSE41", "AVX2") and "avx512f" in cpu_flags()
    count = len(CAPPED if cap else POLICIES)
    assert (in_float32, in_bfloat16) == (count, 0 if is_barred else count), told


@pytest.mark.skipif("avx2" not in cpu_flags(), reason="needs kernels to choose from: run it on a CPU with AVX2")
def test_a_cap_changes_the_kernels(told: str) -> None:
    """Bits that no cap changed would have been looked at with the same kernels again and again."""
    digests = [
        [line.rpartition(" ")[2] for line in told.splitlines() if line.startswith(f"{cap} shallow float32: the same")]
        for cap in ("none", "SSE41")
    ]
    assert len(digests[0]) == len(digests[1]) == 1 and digests[0] != digests[1], told


@pytest.mark.parametrize(
    ("cap", "flags", "expected"),
    [
        ("", {"AuthenticAMD", "avx2", "avx512f", "avx512_bf16"}, True),
        ("", {"GenuineIntel", "avx2", "avx512f", "avx512_bf16", "amx_bf16"}, True),
        ("", {"GenuineIntel", "avx2", "avx512f", "avx512_bf16"}, False),
        ("", {"avx2", "avx512f"}, False),
        ("AVX512_CORE", {"AuthenticAMD", "avx2", "avx512f", "avx512_bf16"}, False),
        ("AVX2", {"avx2", "avx512f", "avx512_bf16"}, None),
        ("sse41", {"avx2", "avx512f"}, None),
        ("AVX2", {"avx2"}, False),
        ("AVX512_CORE_BF16", {"AuthenticAMD", "avx2", "avx512f", "avx512_bf16"}, True),
    ],
)
def test_bfloat16_is_taken_where_it_is_faster_and_refused_where_it_cannot_be(
    cap: str, flags: set[str], expected: bool | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(runtime, "cpu_flags", lambda: flags)
    monkeypatch.setenv("ONEDNN_MAX_CPU_ISA", cap)
    assert runtime.is_bfloat16("auto") == (expected is True)
    assert not runtime.is_bfloat16("auto", gpu=True) and runtime.is_bfloat16("bfloat16", gpu=True)
    assert not runtime.is_bfloat16("float32")
    if expected is None:
        with pytest.raises(InputError, match="ONEDNN_MAX_CPU_ISA"):
            runtime.is_bfloat16("bfloat16")
    else:
        assert runtime.is_bfloat16("bfloat16")


# --- which sizes -----------------------------------------------------------------------------------------------------


@given(
    st.integers(1, 500),
    st.lists(st.integers(1, 64), min_size=1, max_size=6, unique=True).map(sorted),
    st.integers(1, 3),
)
def test_every_frame_is_in_one_batch_of_a_known_size(count: int, sizes: list[int], streams: int) -> None:
    parts = Blocks(tuple(sizes)).split(count, streams)
    assert sum(frames for frames, _ in parts) == count
    assert all(1 <= frames <= size and size in sizes for frames, size in parts)
    assert parts[0][0] == max(frames for frames, _ in parts)
    if count <= streams * sizes[-1]:
        assert len(parts) <= streams


def test_sizes_are_those_whose_places_agree_with_each_other() -> None:
    """A kernel with another order for one or two rows that six leave over, and from 40 rows on."""

    def run(size: int) -> Results:
        rows = np.full((size, 3), 1.0, np.float32)
        if size % 6 in (1, 2):
            rows[-1, 2] = np.nextafter(np.float32(1), np.float32(2))
        if size >= 40:
            rows += np.float32(1e-6)
        return [np.zeros((size, 2, 2), np.float32), rows]

    assert found_blocks(run, (6, 8, 12, 16, 20, 24, 48, 64), streams=2).sizes == (6, 12, 16, 24)
    assert found_blocks(run, (8, 48, 64)).sizes == (48, 64)
    known = found_blocks(run, (6, 12))
    assert found_blocks(run, (30, 32, 36, 48), known=known).sizes == (6, 12, 30, 36)


def test_without_any_such_size_frames_go_one_by_one() -> None:
    blocks = found_blocks(lambda size: [np.arange(size, dtype=np.float32)[:, None]], (6, 8, 24))
    assert blocks == ONE_BY_ONE
    assert blocks.split(3, 2) == [(1, 1)] * 3
