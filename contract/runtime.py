"""What the trainer and the policy runtime both need of the process: quiet imports and the number of cores."""

import importlib
import os
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from contract.errors import InputError


def usable_cores() -> int:
    """Cores that this process may use, which a container or taskset may have cut down."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def is_bfloat16(precision: str, gpu: bool = False) -> bool:
    """Whether networks multiply in bfloat16: "auto" means where the CPU is faster in it than in float32, and no GPU
    does the work. InputError where it was asked for and is barred.

    So are AMD's with avx512_bf16 and Intel's with AMX. Intel's avx512_bf16 alone, which machines have whose AMX is
    hidden, took 1.7 times the CPU time of float32 for an update (tests/bench/results/update.json).
    """
    if precision != "auto":
        if precision == "bfloat16" and not gpu and bfloat16_is_barred():
            rule = f"{_CAP}={os.environ[_CAP]} keeps oneDNN from bfloat16, which TensorFlow expects of it on this CPU"
            raise InputError("precision", precision, rule, f"unset {_CAP}, or take float32")
        return precision == "bfloat16"
    flags = cpu_flags()
    is_faster = "amx_bf16" in flags or {"avx512_bf16", "AuthenticAMD"} <= flags
    return not gpu and is_faster and os.environ.get(_CAP, "").upper() not in _BELOW_BFLOAT16


def bfloat16_is_barred() -> bool:
    """Whether this process cannot multiply in bfloat16: TensorFlow leaves that to oneDNN where the CPU has AVX-512, and
    oneDNN has no bfloat16 below that, to which its variable may hold it."""
    return os.environ.get(_CAP, "").upper() in _BELOW_AVX512 and "avx512f" in cpu_flags()


def cpu_flags() -> set[str]:
    """What the CPU can do, by Linux's names; empty where the system does not say."""
    cpuinfo = Path("/proc/cpuinfo")
    return set(cpuinfo.read_text().split()) if cpuinfo.exists() else set()


_CAP = "ONEDNN_MAX_CPU_ISA"
_BELOW_AVX512 = frozenset({"SSE41", "AVX", "AVX2", "AVX2_VNNI"})
_BELOW_BFLOAT16 = _BELOW_AVX512 | {"AVX512_CORE", "AVX512_CORE_VNNI"}
"""There it is emulated at best."""


def session_threads(threads: int | None) -> tuple[int, int]:
    """Cores for one TensorFlow operation, and operations at a time, on `threads` cores (default: the usable ones).

    All cores for each operation: a critic of the simulator's state leaves one tower to update, and half of the cores
    would wait. Two towers or batches of frames then share the cores at no loss. TensorFlow keeps one pool of threads a
    process, made by the first session: trainer and policy must agree.
    """
    cores = threads or usable_cores()
    return cores, min(cores, 2)


def shows_native_chatter() -> bool:
    """Whether the user has said how much of TensorFlow's native log is to be seen."""
    return "TF_CPP_MIN_LOG_LEVEL" in os.environ


def quiet_import(name: str) -> Any:
    """Import TensorFlow-like `name`; what its native code logs below error level meanwhile is dropped.

    TensorFlow 2.21 logs to file descriptor 2 before it looks at TF_CPP_MIN_LOG_LEVEL. A user who has set that variable
    sees everything.
    """
    if name in sys.modules:
        return sys.modules[name]
    if shows_native_chatter():
        return importlib.import_module(name)
    os.environ["TF_CPP_MIN_LOG_LEVEL"] = "2"  # read once, when the native library loads
    try:
        with without_native_chatter():
            return importlib.import_module(name)
    finally:
        del os.environ["TF_CPP_MIN_LOG_LEVEL"]  # a child process would take it for the user's wish


_CHATTER = ("I0000", "W0000", "INFO: ", "WARNING: All log messages before absl", "fully_quantize: ")
_NO_ERROR = "oneDNN supports DT_"
"""Logged as an error on CPUs without AVX-512, though TensorFlow then takes an implementation of its own."""


@contextmanager
def without_native_chatter() -> Iterator[None]:
    """Drop what TensorFlow's native code says on file descriptor 2 and is no error; the rest is passed on."""
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
                if not line.startswith(_CHATTER) and _NO_ERROR not in line:
                    sys.stderr.write(line)
