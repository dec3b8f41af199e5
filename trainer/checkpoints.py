"""Checkpoints of a run in an object store: whole or not there, verified on load, pruned to what a racer needs.

A save writes files, policy graph and manifest under names that no committed checkpoint has, and only then the two
small files that name the last checkpoint: `deepracer_checkpoints.json`, which is the commit, and rl_coach's
`.coach_checkpoint`. A run that dies anywhere in between still has its previous checkpoint, untouched.
"""

import hashlib
import json
import math
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import Any, NamedTuple

from pydantic import TypeAdapter

from contract import artifacts
from contract.errors import CheckpointError
from contract.protocols import ObjectStore

RunState = dict[str, Any]
"""JSON object: the counters that a run resumes from."""

_FORMAT = 1


@dataclass(frozen=True, slots=True)
class CheckpointFile:
    """One file of a checkpoint: its key, size in bytes and SHA-256 in hex."""

    key: str
    size: int
    sha256: str


@dataclass(frozen=True, slots=True)
class CheckpointRecord:
    """A manifest: what a checkpoint consists of and how good its policy was. `files` maps suffix -> file."""

    iteration: int
    steps: int
    avg_eval_metric: float
    files: dict[str, CheckpointFile]
    policy: CheckpointFile
    run_state: RunState

    @property
    def name(self) -> str:
        return artifacts.checkpoint_name(self.iteration, self.steps)

    @property
    def all_files(self) -> list[CheckpointFile]:
        return [*self.files.values(), self.policy]


class Checkpoint(NamedTuple):
    """A checkpoint's content, verified."""

    files: dict[str, bytes]
    policy_pb: bytes
    run_state: RunState


class Checkpoints:
    """The checkpoints of one run.

    store      the run's store
    keep       how many of the latest checkpoints stay whole, beside the best one; all manifests stay
    keep_all   prune nothing
    clock      seconds since the epoch, for `time_stamp` in deepracer_checkpoints.json only
    """

    def __init__(
        self,
        store: ObjectStore,
        *,
        keep: int = 2,
        keep_all: bool = False,
        clock: Callable[[], float] = time.time,
    ) -> None:
        if keep < 1:
            raise ValueError(f"keep={keep}: at least the last checkpoint has to stay")
        self._store, self._keep, self._keep_all, self._clock = store, keep, keep_all, clock

    def save(
        self,
        iteration: int,
        steps: int,
        files: dict[str, bytes],
        policy_pb: bytes,
        avg_eval_metric: float,
        run_state: RunState,
    ) -> CheckpointRecord:
        """Write a checkpoint, make it the last one (and the best one if no other beats it), then prune.

        `iteration` must be later than the last checkpoint's (see `rewind`); `files` is `Agent.save()`, suffix ->
        content. StoreError when the store fails: the previous checkpoint is then still the last one.
        """
        last = self.last()
        if last is not None and iteration <= last.iteration:
            raise CheckpointError(
                f"iteration {iteration} cannot be saved after {last.name}",
                "a save never overwrites a checkpoint that a run may need",
                "rewind to an earlier checkpoint first",
            )
        if not math.isfinite(avg_eval_metric):
            raise CheckpointError(
                f"avg_eval_metric of iteration {iteration} is {avg_eval_metric}",
                "a finite number, since the best checkpoint is chosen by it",
                "check the evaluation's rewards and progress",
            )
        for stale in self._manifests(later_than=last.iteration if last else -1):
            self._store.delete(artifacts.checkpoint_manifest(stale))  # of a save that never got to its commit
        name = artifacts.checkpoint_name(iteration, steps)
        record = CheckpointRecord(
            iteration,
            steps,
            avg_eval_metric,
            {suffix: self._put(artifacts.checkpoint_file(name, suffix), data) for suffix, data in files.items()},
            self._put(artifacts.policy_graph(iteration), policy_pb),
            run_state,
        )
        self._store.put(artifacts.checkpoint_manifest(name), _manifest_bytes(record))
        self._commit(record)
        self.prune()
        return record

    def last(self) -> CheckpointRecord | None:
        """The checkpoint to resume from; None in a fresh run."""
        return self._pointed("last_checkpoint")

    def best(self) -> CheckpointRecord | None:
        """The checkpoint with the highest avg_eval_metric, the later one of equals; None in a fresh run."""
        return self._pointed("best_checkpoint")

    def records(self) -> list[CheckpointRecord]:
        """Committed checkpoints whose files are all there, oldest first."""
        pointers = self._pointers()
        committed = artifacts.parse_checkpoint_name(pointers["last_checkpoint"]["name"]) if pointers else None
        if committed is None:
            return []
        present = set(self._store.list(artifacts.MODEL_PREFIX))
        found = []
        for name in self._manifests():
            try:
                record = self._read_manifest(name)
            except CheckpointError:
                continue  # whoever asks for this one by name gets the reason
            if record.iteration <= committed[0] and all(file.key in present for file in record.all_files):
                found.append(record)
        return found

    def load(self, record: CheckpointRecord) -> Checkpoint:
        """The content of a checkpoint. CheckpointError names the file that is missing or differs from its checksum."""
        policy_pb = self.load_policy(record)
        files = {suffix: self._get(record, file) for suffix, file in record.files.items()}
        return Checkpoint(files, policy_pb, record.run_state)

    def load_policy(self, record: CheckpointRecord) -> bytes:
        """The checkpoint's policy graph alone, verified; CheckpointError as `load`."""
        return self._get(record, record.policy)

    def rewind(self, record: CheckpointRecord) -> None:
        """Make an earlier checkpoint the last one and forget the later ones, so that training goes on from there."""
        earlier = [other for other in self.records() if other.iteration < record.iteration]
        self._commit(record, best=max([*earlier, record], key=lambda it: (it.avg_eval_metric, it.iteration)))
        for name in self._manifests(later_than=record.iteration):
            self._store.delete(artifacts.checkpoint_manifest(name))
        self.prune()

    def prune(self) -> None:
        """Delete the files of every checkpoint but the best and the latest ones, and of saves that were cut off."""
        records = self.records()
        best = self.best()
        kept = records if self._keep_all else records[-self._keep :]
        keys = {file.key for record in [*kept, *([best] if best else [])] for file in record.all_files}
        for key in self._store.list(artifacts.MODEL_PREFIX):
            if artifacts.is_checkpoint_content(key) and key not in keys:
                self._store.delete(key)

    def _put(self, key: str, data: bytes) -> CheckpointFile:
        self._store.put(key, data)
        return CheckpointFile(key, len(data), hashlib.sha256(data).hexdigest())

    def _get(self, record: CheckpointRecord, file: CheckpointFile) -> bytes:
        try:
            data = self._store.get(file.key)
        except KeyError:
            raise self._broken(record, file.key, "is missing") from None
        if len(data) != file.size:
            raise self._broken(record, file.key, f"has {len(data):,} bytes, the manifest says {file.size:,}")
        digest = hashlib.sha256(data).hexdigest()
        if digest != file.sha256:
            raise self._broken(record, file.key, f"has SHA-256 {digest}, the manifest says {file.sha256}")
        return data

    def _broken(self, record: CheckpointRecord, key: str, problem: str) -> CheckpointError:
        good = [other.name for other in self.records() if other.name != record.name and self._verifies(other)]
        fix = f"go on from a checkpoint that is whole: {', '.join(good)}" if good else _NO_OTHER
        return CheckpointError(
            f"checkpoint {record.name}: {key} {problem}", "every file of a checkpoint is as it was saved", fix
        )

    def _verifies(self, record: CheckpointRecord) -> bool:
        for file in record.all_files:
            try:
                data = self._store.get(file.key)
            except KeyError:
                return False
            if hashlib.sha256(data).hexdigest() != file.sha256:
                return False
        return True

    def _commit(self, record: CheckpointRecord, best: CheckpointRecord | None = None) -> None:
        """Point to the record as the last one. Without `best`, the record competes with the best one so far."""
        last = {
            "name": record.name,
            "avg_eval_metric": record.avg_eval_metric,
            "time_stamp": self._clock(),
        }
        pointers = self._pointers()
        if best is not None:
            champion = {**last, "name": best.name, "avg_eval_metric": best.avg_eval_metric}
        elif pointers and pointers["best_checkpoint"]["avg_eval_metric"] > record.avg_eval_metric:
            champion = pointers["best_checkpoint"]
        else:
            champion = last
        content = {"best_checkpoint": champion, "last_checkpoint": last}
        self._store.put(artifacts.DEEPRACER_CHECKPOINTS, _json_bytes(content))
        self._store.put(artifacts.COACH_CHECKPOINT, record.name.encode())

    def _pointers(self) -> dict[str, dict[str, Any]] | None:
        try:
            data = self._store.get(artifacts.DEEPRACER_CHECKPOINTS)
        except KeyError:
            return None
        try:
            pointers: dict[str, dict[str, Any]] = json.loads(data)
            for which in ("best_checkpoint", "last_checkpoint"):
                pointer = pointers[which]
                if not math.isfinite(pointer["avg_eval_metric"]):
                    raise ValueError(f"avg_eval_metric of {which} is {pointer['avg_eval_metric']}")
                if artifacts.parse_checkpoint_name(pointer["name"]) is None:
                    raise ValueError(f"{which} is {pointer['name']!r}")
        except (ValueError, TypeError, KeyError, OverflowError, RecursionError) as error:
            raise CheckpointError(
                f"{artifacts.DEEPRACER_CHECKPOINTS} cannot be read: {error!r}; it begins {data[:80]!r}",
                "best_checkpoint and last_checkpoint, each with a name and its avg_eval_metric",
                f"write it by hand with the newest name of {', '.join(self._manifests()) or 'a checkpoint'}",
            ) from error
        return pointers

    def _pointed(self, which: str) -> CheckpointRecord | None:
        pointers = self._pointers()
        return self._read_manifest(pointers[which]["name"]) if pointers else None

    def _manifests(self, later_than: int = -1) -> list[str]:
        """Names of the checkpoints that have a manifest, by iteration and steps."""
        names = []
        for key in self._store.list(artifacts.MODEL_PREFIX):
            parsed = artifacts.parse_checkpoint_manifest(key)
            if parsed is not None and parsed[0] > later_than:
                names.append(parsed)
        return [artifacts.checkpoint_name(*parsed) for parsed in sorted(names)]

    def _read_manifest(self, name: str) -> CheckpointRecord:
        key = artifacts.checkpoint_manifest(name)
        try:
            return _parse_manifest(self._store.get(key))
        except (ValueError, TypeError, KeyError, RecursionError) as error:
            problem = "is missing" if isinstance(error, KeyError) and error.args == (key,) else f"is broken ({error})"
            others = [other for other in self._manifests() if other != name]
            fix = f"go on from another checkpoint: {', '.join(others)}" if others else _NO_OTHER
            raise CheckpointError(
                f"checkpoint {name}: its manifest {key} {problem}",
                "a checkpoint has a manifest with the sizes and checksums of its files",
                fix,
            ) from error


_RECORD = TypeAdapter(CheckpointRecord)
_NO_OTHER = "no other checkpoint of this run is whole: copy the run from a backup, or start a new run"


def _json_bytes(content: object) -> bytes:
    return (json.dumps(content, indent=1, allow_nan=False) + "\n").encode()


def _manifest_bytes(record: CheckpointRecord) -> bytes:
    body = {"format": _FORMAT, **asdict(record)}
    return _json_bytes({**body, "sha256": _digest(body)})


def _digest(body: dict[str, Any]) -> str:
    return hashlib.sha256(json.dumps(body, sort_keys=True).encode()).hexdigest()


def _parse_manifest(data: bytes) -> CheckpointRecord:
    """ValueError, TypeError, KeyError or RecursionError when it is no manifest, whole and of this format."""
    body: dict[str, Any] = json.loads(data)
    if body["format"] != _FORMAT:
        raise ValueError(f"format {body['format']}, this version reads {_FORMAT}")
    stated = body.pop("sha256")
    if stated != _digest(body):
        raise ValueError(f"its content has SHA-256 {_digest(body)}, it says {stated}")
    del body["format"]
    return _RECORD.validate_python(body)
