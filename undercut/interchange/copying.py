"""A run is copied between a folder and a bucket, either way, and never over one that has gone another way."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

from contract import artifacts
from contract.errors import InputError, StoreError
from contract.protocols import Place
from trainer.checkpoints import CheckpointRecord, Checkpoints
from undercut.runs.workspace import copy_run

ROUNDS = 5
"""How often a copy begins anew because the run was trained on meanwhile."""


@dataclass(frozen=True, slots=True)
class Copied:
    """What a copy did: files that were put, files that were there already, and the last checkpoint."""

    put: int
    same: int
    last: str | None


def copy(source: Place, target: Place, tell: Callable[[int, int], None] = lambda done, of: None) -> Copied:
    """Make the target's run what the source's is; the target may be empty or an earlier state of the same run.

    `tell` hears how many files of all are done. InputError when the target has gone another way; it is then unchanged.
    A copy that is cut off leaves the target as it was, or no run where none was.
    """
    for _ in range(ROUNDS):
        told = _told(source)
        same = _common(source, target)
        try:
            put = copy_run(source, target, same, partial(_says, source, told), tell)
        except KeyError:
            continue  # pruned by its training while we copied
        if put is None:
            continue
        wanted = set(source.list(""))
        for key in target.list(""):
            if key not in wanted:
                target.delete(key)
        last = Checkpoints(target).last()
        if last is not None:
            Checkpoints(target).load(last)  # says which file differs, if one does
        return Copied(put, len(same), last.name if last else None)
    raise StoreError(
        f"{source.where()} changed {ROUNDS} times while it was copied",
        "a copy is of one moment",
        "try again between two iterations, or when the training has ended",
    )


def _told(place: Place) -> bytes:
    """What names the run's checkpoints; empty before the first one."""
    key = artifacts.DEEPRACER_CHECKPOINTS
    return place.get(key) if place.exists(key) else b""


def _says(place: Place, told: bytes) -> bool:
    return _told(place) == told


def _common(source: Place, target: Place) -> set[str]:
    """Files of checkpoints that need no copy; InputError when the target's last checkpoint is none of the source's."""
    mine, last = Checkpoints(source), Checkpoints(target).last() if target.exists(artifacts.RUN_CONFIG) else None
    if last is None:
        return set()
    manifest = artifacts.checkpoint_manifest(last.name)
    if not source.exists(manifest) or source.get(manifest) != target.get(manifest):
        newest = mine.last()
        raise InputError(
            f"run at {target.where()}",
            last.name,
            f"a copy goes over an earlier state of the same run; the last checkpoint of {source.where()} is "
            f"{newest.name if newest else 'none'}, and it has not come by that one",
            "copy it the other way, or delete one of the two",
        )

    def files(records: list[CheckpointRecord]) -> set[tuple[str, str]]:
        return {(file.key, file.sha256) for record in records for file in record.all_files}

    return {key for key, _ in files(mine.records()) & files(Checkpoints(target).records())}
