"""One shard of a sweep on this machine: what `undercut sweep --shard` does here, in the stack's container, in a job."""

import contextlib
from collections.abc import Iterator
from pathlib import Path

from rich.console import Console

from contract.errors import UndercutError
from contract.protocols import Place
from contract.runtime import usable_cores
from contract.stores.local import LocalStore
from undercut.backends.local.trials import LocalTrials
from undercut.runs.workspace import workspace
from undercut.sweep.results import SweepResult
from undercut.sweep.scores import DIRECTIONS
from undercut.sweep.shards import JOURNAL, SWEEPS, Shard
from undercut.sweep.spec import Sweep
from undercut.sweep.storage import same_shares, shard_studies
from undercut.sweep.sweeping import sweep_runs
from undercut.terminal import say

CORES_EACH = 2
"""Of a trial, where as many run as the cores allow: AWS counts each core as two, and a training that drives its own
episodes keeps about one busy."""


def side_by_side(trials: int, cores: int | None = None) -> int:
    """Trials at once on so many cores, by default this machine's."""
    return max(min(trials, (cores or usable_cores()) // CORES_EACH), 1)


def sweep_shard(file: Path, shard: Shard, parallel: int, has_workers: bool, console: Console) -> None:
    """Do the shard's trials, so many at a time, 0: as many as the cores allow. The journal is then here as well, when
    it lies in a bucket. InputError where the sweep was begun in other shards here, UndercutError when no trial is
    completed."""
    sweep = Sweep.load(file).of_shard(shard)
    direction, store = DIRECTIONS[sweep.file.objective], workspace()
    same_shares(sweep.name, shard.count)
    with shard_studies(sweep.name, direction, shard, store) as studies, _copied(sweep, store):
        parallel = parallel or side_by_side(sweep.trials)
        where = (
            f"shard {shard} of sweep {sweep.name}: {sweep.trials} trials, {parallel} at a time; kept in {studies.where}"
        )
        say(console, where)
        sweep_runs(sweep, studies, LocalTrials(studies.folder / "logs", has_workers), parallel, console)
        complain(SweepResult.of(sweep, studies))


@contextlib.contextmanager
def _copied(sweep: Sweep, store: Place) -> Iterator[None]:
    """The journal of a shard in a bucket is here as well when the block ends, for tables and pages."""
    try:
        yield
    finally:
        key = f"{SWEEPS}/{sweep.name}/{sweep.shard.folder}/{JOURNAL}"
        if not isinstance(store, LocalStore):
            LocalStore(Path()).put(key, store.get(key))


def complain(result: SweepResult) -> None:
    """UndercutError with the first reason when no trial was completed."""
    if result.counted()["complete"] == 0:
        reasons = next((it.why for it in result.trials if it.why), "")
        raise UndercutError(f"no trial of the sweep {result.sweep.name} was completed\n{reasons}".rstrip())
