"""How much memory this process may still take, and the refusal where that is not enough."""

from collections.abc import Iterator, Mapping
from pathlib import Path

from contract.errors import UndercutError

RESERVE_BYTES = 256 * 2**20
"""Left alone: what allocators, libraries and the files of an iteration take on top of what is counted."""

_V1 = ("memory.limit_in_bytes", "memory.usage_in_bytes", "total_inactive_file")
_V2 = ("memory.max", "memory.current", "inactive_file")


class DoesNotFitError(UndercutError):
    """Something would need more memory than there is; the system would have killed the process."""


def free_bytes(root: Path = Path("/")) -> int | None:
    """What may still be taken before somebody is killed: of the machine, or of the container (cgroup v1 or v2) where
    that is less; None where the system does not tell. `root` is where the system's /proc and /sys are."""
    found = [machine for machine in [_machine(root)] if machine is not None]
    for group, (limit_file, usage_file, cache) in _groups(root):
        limit, usage = _number(group / limit_file), _number(group / usage_file)
        if limit is not None and usage is not None:  # "max" is no number, and v1 writes a huge one
            found.append(limit - usage + _field(group / "memory.stat", cache, 1))
    return max(min(found), 0) if found else None


def check_fits(what: str, parts: Mapping[str, float], fix: str, free: int | None) -> None:
    """DoesNotFitError with the arithmetic when the parts, description -> bytes, are more than the free bytes without
    RESERVE_BYTES. Where nobody knows what is free, everything fits."""
    needed = sum(parts.values())
    if free is None or needed + RESERVE_BYTES <= free:
        return
    sums = "\n".join(f"    {amount(size):>9s}  {name}" for name, size in parts.items())
    raise DoesNotFitError(
        f"{what} needs {amount(needed)} of memory, and {amount(max(free - RESERVE_BYTES, 0))} can be had\n{sums}",
        "what does not fit is refused before the system kills the process; finished iterations are kept",
        fix,
    )


def amount(size: float) -> str:
    """Bytes in words."""
    if size >= 2**30:
        return f"{size / 2**30:.1f} GiB"
    return f"{size / 2**20:.0f} MiB" if size >= 10 * 2**20 else f"{size / 2**20:.1f} MiB"


def _machine(root: Path) -> int | None:
    """MemAvailable: free pages, and those of caches that can be dropped."""
    known = _field(root / "proc/meminfo", "MemAvailable:", 1024)
    return known or None


def _groups(root: Path) -> Iterator[tuple[Path, tuple[str, str, str]]]:
    """Folders of this process's memory cgroup and of those above it, whose limits hold too. A container sees its own
    cgroup at the mount's root, whatever path /proc tells."""
    try:
        lines = (root / "proc/self/cgroup").read_text().splitlines()
    except OSError:
        return
    for line in lines:
        _, controllers, path = line.split(":", 2)
        if "memory" in controllers.split(","):
            mount, names = root / "sys/fs/cgroup/memory", _V1
        elif not controllers:
            mount, names = root / "sys/fs/cgroup", _V2
        else:
            continue
        group = mount / path.lstrip("/")
        while group != mount:
            yield group, names
            group = group.parent
        yield mount, names


def _number(path: Path) -> int | None:
    try:
        return int(path.read_text())
    except (OSError, ValueError):
        return None


def _field(path: Path, name: str, unit: int) -> int:
    """The number after a name in a file of lines "name number ...", 0 where it is not there."""
    try:
        lines = path.read_text().splitlines()
    except OSError:
        return 0
    return next((int(line.split()[1]) * unit for line in lines if line.split()[:1] == [name]), 0)
