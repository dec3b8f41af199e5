"""Where tests of bfloat16 can run."""

import pytest

from contract.runtime import bfloat16_is_barred

needs_bfloat16 = pytest.mark.skipif(
    bfloat16_is_barred(),
    reason="ONEDNN_MAX_CPU_ISA keeps oneDNN from bfloat16, which TensorFlow leaves to it on this CPU: run it without",
)
