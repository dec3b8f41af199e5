"""The built-in simulator and Gazebo's side of it.

Importing it forgets compiled kernels of other sources. Numba keeps each compiled function with the time and size of its
own file alone, but compiles what it calls into it: after an update of another file the old code would still run.
"""

import hashlib
import os
from contextlib import suppress
from pathlib import Path


def _forget_stale(package: Path) -> None:
    """Delete numba's indices beside the sources where any source is not what it was when they were made."""
    told = []
    for folder, folders, files in os.walk(package):
        folders[:] = [name for name in folders if name != "__pycache__"]
        for path in (Path(folder, name) for name in files if name.endswith(".py")):
            state = path.stat()
            told.append(f"{path.relative_to(package)} {state.st_size} {state.st_mtime_ns}")
    stamp = hashlib.sha256("\n".join(sorted(told)).encode()).hexdigest()
    kept = package / "__pycache__" / "kernels.stamp"
    with suppress(OSError):  # a folder that cannot be written is not updated either
        if kept.exists() and kept.read_text(encoding="ascii") == stamp:
            return
        for index in package.rglob("__pycache__/*.nbi"):
            index.unlink(missing_ok=True)
        kept.parent.mkdir(exist_ok=True)
        part = kept.with_name(f"{kept.name}.{os.getpid()}")
        part.write_text(stamp, encoding="ascii")
        part.replace(kept)


_forget_stale(Path(__file__).parent)
