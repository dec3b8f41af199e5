"""What the trainer and the policy runtime both need of the process: quiet imports and the number of cores."""

import importlib
import os
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any


def usable_cores() -> int:
    """Cores that this process may use, which a container or taskset may have cut down."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def is_bfloat16(precision: str, gpu: bool = False) -> bool:
    """Whether networks multiply in bfloat16: "auto" means where the CPU has instructions for it, about twice as fast
    as float32's, and no GPU does the work."""
    if precision != "auto":
        return precision == "bfloat16"
    if gpu:
        return False
    cpuinfo = Path("/proc/cpuinfo")
    flags = cpuinfo.read_text().split() if cpuinfo.exists() else []
    return "avx512_bf16" in flags or "amx_bf16" in flags


def session_threads(threads: int | None) -> tuple[int, int]:
    """Cores for one TensorFlow operation, and operations at a time, on `threads` cores (default: the usable ones).

    Two towers, or two batches of frames, side by side on half the cores each are faster than one after the other on all
    of them. TensorFlow keeps one pool of threads a process, made by the first session: trainer and policy must agree.
    """
    cores = threads or usable_cores()
    streams = min(cores, 2)
    return -(-cores // streams), streams


def quiet_import(name: str) -> Any:
    """Import TensorFlow-like `name`; what its native code logs below error level meanwhile is dropped.

    TensorFlow 2.21 logs to file descriptor 2 before it looks at TF_CPP_MIN_LOG_LEVEL. A user who has set that variable
    sees everything.
    """
    if name in sys.modules:
        return sys.modules[name]
    if "TF_CPP_MIN_LOG_LEVEL" in os.environ:
        return importlib.import_module(name)
    os.environ["TF_CPP_MIN_LOG_LEVEL"] = "2"  # read once, when the native library loads
    try:
        with _without_native_chatter():
            return importlib.import_module(name)
    finally:
        del os.environ["TF_CPP_MIN_LOG_LEVEL"]  # a child process would take it for the user's wish


@contextmanager
def _without_native_chatter() -> Iterator[None]:
    sys.stderr.flush()
    kept = os.dup(2)
    with tempfile.TemporaryFile() as sink:
        os.dup2(sink.fileno(), 2)
        try:
            yield
        finally:
            sys.stderr.flush()
            os.dup2(kept, 2)
            os.close(kept)
            sink.seek(0)
            for line in sink.read().decode(errors="replace").splitlines(keepends=True):
                if not line.startswith(("I0000", "W0000", "WARNING: All log messages before absl")):
                    sys.stderr.write(line)
