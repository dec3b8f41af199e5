"""One way to write a bench's numbers: with the commit, machine, date and method that make them comparable."""

import json
import os
import platform
import subprocess
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from contract.runtime import cpu_flags

RESULTS = Path(__file__).parent / "results"


def write_result(name: str, payload: Mapping[str, Any], method: str) -> Path:
    """Write tests/bench/results/{name}.json: payload plus where and how it was measured; returns the path."""
    record = {
        "name": name,
        "date": datetime.now(UTC).isoformat(timespec="seconds"),
        "commit": commit(),
        "machine": machine(),
        "method": method,
        **payload,
    }
    RESULTS.mkdir(exist_ok=True)
    path = RESULTS / f"{name}.json"
    path.write_text(json.dumps(record, indent=2) + "\n")
    return path


def commit() -> str:
    """The checked-out commit, with "+changes" when the working tree differs from it; "unknown" outside of git."""

    def git(*arguments: str) -> str:
        done = subprocess.run(["git", *arguments], cwd=RESULTS.parent, capture_output=True, text=True, check=True)
        return done.stdout.strip()

    try:
        # earlier results are rewritten by the benches themselves and say nothing about the code
        changed = git("status", "--porcelain", "--untracked-files=no", "--", ":/", ":!/tests/bench/results")
        return git("rev-parse", "--short=12", "HEAD") + ("+changes" if changed else "")
    except (OSError, subprocess.CalledProcessError):
        return "unknown"


INSTRUCTION_SETS = ("amx_bf16", "avx512_bf16", "avx512f", "avx2", "sse4_1")
"""CPU flags of the instructions that products are made of, best first."""


def instruction_set() -> str:
    """The best that this CPU has, and the cap on it if there is one."""
    flags = cpu_flags()
    best = next((name for name in INSTRUCTION_SETS if name in flags), "unknown")
    cap = os.environ.get("ONEDNN_MAX_CPU_ISA")
    return f"{best}, ONEDNN_MAX_CPU_ISA={cap}" if cap else best


def machine() -> dict[str, Any]:
    """CPU model, its instruction set, usable cores, load just now, Python and system."""
    model = platform.processor() or platform.machine()
    cpuinfo = Path("/proc/cpuinfo")
    if cpuinfo.exists():
        names = [line for line in cpuinfo.read_text().splitlines() if line.startswith("model name")]
        model = names[0].split(":", 1)[1].strip() if names else model
    affinity = getattr(os, "sched_getaffinity", None)
    return {
        "cpu": model,
        "instruction_set": instruction_set(),
        "cores": len(affinity(0)) if affinity else os.cpu_count(),
        "load_1min": round(os.getloadavg()[0], 2),
        "python": platform.python_version(),
        "system": f"{platform.system()} {platform.machine()}",
    }
