"""A run in the layout of AWS's console, DeepRacer-for-Cloud or DeepRacer on AWS, for tools and for import there."""

import gzip
import io
import json
import secrets
import shutil
import tarfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import IO, Any

import yaml

from contract import artifacts
from contract.errors import CheckpointError, InputError
from contract.fields import text_of
from contract.hyperparameters import Hyperparameters
from contract.metadata import DiscreteActions, ModelMetadata
from contract.params import CLOCKWISE, FIELDS, evaluation_params, read_training_params, training_params
from contract.simtrace import log_lines
from contract.stores.local import LocalStore, replace_folder
from simapp.road.validation import signed_area_m2
from simapp.tracks import Track
from trainer.checkpoints import CheckpointRecord, Checkpoints
from undercut.interchange.layouts import MAX_IMPORT_BYTES, Naming
from undercut.runs.run import Run

# --- Where an export goes ---------------------------------------------------------------------------------------------

ARCHIVE = ".tar.gz"
_GZIP_LEVEL = 1


class Target:
    """A folder, or an archive when the path ends in .tar.gz, whose members lie below a folder `top`.

    `mark` is a file that every export of this kind has: a folder without it is never replaced. Equal members give equal
    archives.
    """

    def __init__(self, out: Path, overwrite: bool, mark: str, top: str) -> None:
        """InputError when something is in the way."""
        self._out, self._top = out, top
        if out.exists() and not overwrite:
            raise InputError("--out", str(out), "it exists already", "give --overwrite, or another --out")
        if out.is_dir():
            if out.name.endswith(ARCHIVE):
                raise InputError("--out", str(out), "a file, and there is a folder of that name", "another --out")
            if not (out / mark).is_file() or (out / artifacts.RUN_CONFIG).exists():
                rule = f"only an earlier export, a folder with {mark} and no {artifacts.RUN_CONFIG}, is replaced"
                raise InputError("--out", str(out), rule, "another --out, or move the folder away")
        self._temporary = out.parent / f".{out.name}-{secrets.token_hex(8)}"
        self._open: list[IO[bytes] | gzip.GzipFile | tarfile.TarFile] = []
        self._tar: tarfile.TarFile | None = None

    def __enter__(self) -> "Target":
        self._out.parent.mkdir(parents=True, exist_ok=True)
        if self._out.name.endswith(ARCHIVE):
            raw = self._temporary.open("wb")
            packed = gzip.GzipFile("", "wb", _GZIP_LEVEL, raw, mtime=0)
            self._tar = tarfile.open(fileobj=packed, mode="w", format=tarfile.PAX_FORMAT)
            self._open = [self._tar, packed, raw]
        else:
            self._folder = LocalStore(self._temporary)
        return self

    def put(self, name: str, content: bytes) -> None:
        """One member."""
        if self._tar is None:
            self._folder.put(name, content)
            return
        member = tarfile.TarInfo(f"{self._top}/{name}")  # owner, group and mtime stay 0
        member.size, member.mode = len(content), 0o644
        self._tar.addfile(member, io.BytesIO(content))

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            for file in self._open:
                file.close()
            if error is None and self._tar is None:
                replace_folder(self._temporary, self._out)
            elif error is None:
                self._temporary.replace(self._out)
        finally:
            if self._temporary.is_dir():
                shutil.rmtree(self._temporary)
            else:
                self._temporary.unlink(missing_ok=True)


# --- The run in the layout --------------------------------------------------------------------------------------------

REPLAY = "replay"
"""Suffix of the checkpoint file that only this toolkit knows: SAC's replay memory."""


@dataclass(frozen=True, slots=True)
class Exported:
    """What was written, and in words what the receiver should know."""

    path: Path
    files: int
    notes: list[str]


def export(run: Run, layout: str, out: Path, overwrite: bool = False, world: str | None = None) -> Exported:
    """Write the run to `out`, a folder, or an archive when it ends in .tar.gz; it is there whole at the end, or not.

    `world` stands in for the track's name. InputError when `out` exists and is not to be overwritten, CheckpointError
    when the run has no checkpoint or a damaged one.
    """
    return _Export(run, layout, world).write(out, overwrite)


class _Export:
    def __init__(self, run: Run, layout: str, world: str | None) -> None:
        self._run, self._layout, self._store = run, layout, run.store
        checkpoints = Checkpoints(run.store)
        last, best = checkpoints.last(), checkpoints.best()
        if last is None or best is None:
            raise CheckpointError(
                f"run {run.config.name} has no checkpoint yet",
                "an export is a trained model",
                f"undercut train {run.config.name}",
            )
        self._checkpoints, self._records = checkpoints, {record.name: record for record in (best, last)}
        self._pointers = run.store.get(artifacts.DEEPRACER_CHECKPOINTS)
        ended_s = float(json.loads(self._pointers)["last_checkpoint"]["time_stamp"])
        self._last, self._naming = last, Naming.of(layout, run.config.name, ended_s)
        self._world = world or _track_name(run.config.track, with_direction=layout != "droa")
        self._is_world_given = world is not None
        self._notes: list[str] = []

    def write(self, out: Path, overwrite: bool) -> Exported:
        files = 0
        size = 0
        with Target(out, overwrite, "model/deepracer_checkpoints.json", self._run.config.name) as target:
            for name, content in self._members():
                target.put(name, content)
                files, size = files + 1, size + len(content)
        if self._store.exists(artifacts.REWARD_DESCRIPTION):
            self._notes.append(
                "its rewards come from a program, which others do not know: reward_function.py only says so. To train "
                "it there, or to import it into DeepRacer on AWS, put a Python function in its place"
            )
        if self._layout == "droa":
            if size > MAX_IMPORT_BYTES:
                self._notes.append(f"it has {size:,} bytes, and DeepRacer on AWS imports at most {MAX_IMPORT_BYTES:,}")
            if not self._is_world_given:
                self._notes.append(
                    f"DeepRacer on AWS imports models of its own tracks; if it has no {self._world}, give --world NAME"
                )
        return Exported(out, files, self._notes)

    def _members(self) -> Iterator[tuple[str, bytes]]:
        """Every file, the model's first."""
        names, naming, run = self._naming.layout, self._naming, self._run
        for record in self._records.values():
            yield from self._checkpoint(record)
        yield artifacts.DEEPRACER_CHECKPOINTS, self._pointers
        yield artifacts.COACH_CHECKPOINT, self._last.name.encode()
        for name in names.metadata:
            yield name, run.files.metadata.complete_json().encode()
        yield names.hyperparameters, self._hyperparameters()
        yield names.reward, self._store.get(artifacts.REWARD_FUNCTION)
        if self._store.exists(artifacts.PRESET):
            yield artifacts.PRESET, self._store.get(artifacts.PRESET)
        yield names.training_params, self._training_params()
        if names.evaluation_params:
            yield names.evaluation_params, self._evaluation_params()
        for key, name in (
            (artifacts.TRAINING_METRICS, names.training_metrics),
            (artifacts.EVALUATION_METRICS, names.evaluation_metrics),
        ):
            if self._store.exists(key):
                yield naming(name), self._store.get(key)
        yield from self._traces_and_logs()

    def _checkpoint(self, record: CheckpointRecord) -> Iterator[tuple[str, bytes]]:
        content = self._checkpoints.load(record)
        for suffix, data in content.files.items():
            if suffix == REPLAY:
                self._notes.append(f"{record.name} goes without its replay memory, which others do not know")
            else:
                yield artifacts.checkpoint_file(record.name, suffix), data
        yield artifacts.policy_graph(record.iteration), content.policy_pb

    def _hyperparameters(self) -> bytes:
        """DeepRacer on AWS takes SAC models only with one episode between trainings."""
        own = self._run.files.hyperparameters
        key = "num_episodes_between_training"
        if self._layout == "droa" and self._run.files.metadata.algorithm == "sac" and getattr(own, key) != 1:
            self._notes.append(f"{key} is 1 in the export, the only value that DeepRacer on AWS takes for SAC")
            return json.dumps({**json.loads(own.to_json()), key: 1}, indent=2).encode()
        return own.to_json().encode()

    def _training_params(self) -> bytes:
        naming, names, prefix = self._naming, self._naming.layout, self._run.config.name
        where = f"run {prefix}: {artifacts.TRAINING_PARAMS}"
        carried = read_training_params(text_of(self._store.get(artifacts.TRAINING_PARAMS), where), where).carried
        keys = {
            "WORLD_NAME": self._world,
            "BODY_SHELL_TYPE": "deepracer",
            "SAGEMAKER_SHARED_S3_PREFIX": prefix,
            "REWARD_FILE_S3_KEY": f"{prefix}/{names.reward}",
            "MODEL_METADATA_FILE_S3_KEY": f"{prefix}/{names.metadata[0]}",
            "METRICS_S3_OBJECT_KEY": f"{prefix}/{naming(names.training_metrics)}",
            "SIMTRACE_S3_PREFIX": _above(f"{prefix}/{naming(names.training_simtrace)}"),
        }
        text = training_params(self._run.config, {**carried, **keys})
        return (self._typed(text) if self._layout == "droa" else text).encode()

    def _typed(self, text: str) -> str:
        """As DeepRacer on AWS wants it: numbers and booleans as such, the direction apart from the track's name."""
        words: dict[str, Any] = yaml.safe_load(text)
        config = self._run.config.model_dump()
        for key, path in FIELDS["TRAINING"].items():
            section, _, name = path.rpartition(".")
            value = (config[section] if section else config)[name]
            if isinstance(value, bool | int | float):
                words[key] = value
        track = self._run.track()
        if track.closed:
            words[CLOCKWISE] = is_clockwise(track)
        words["REVERSE_DIR"] = False  # the direction says it already
        return yaml.safe_dump(words, sort_keys=False, allow_unicode=True)

    def _evaluation_params(self) -> bytes:
        naming, names, prefix = self._naming, self._naming.layout, self._run.config.name
        keys = {
            "MODEL_METADATA_FILE_S3_KEY": f"{prefix}/{names.metadata[0]}",
            "METRICS_S3_OBJECT_KEY": f"{prefix}/{naming(names.evaluation_metrics)}",
            "SIMTRACE_S3_PREFIX": _above(f"{prefix}/{naming(names.evaluation_simtrace)}"),
        }
        return evaluation_params(self._run.config, keys).encode()

    def _traces_and_logs(self) -> Iterator[tuple[str, bytes]]:
        naming, names = self._naming, self._naming.layout
        found = sorted(
            (*parsed, key) for key in self._store.list("iteration-data/") if (parsed := artifacts.parse_simtrace(key))
        )
        logs: dict[str, list[str]] = {"training": [], "evaluation": []}
        targets = {
            "training": names.training_simtrace,
            "training_evaluation": names.training_evaluation_simtrace,
            "evaluation": names.evaluation_simtrace,
        }
        for kind, iteration, key in found:
            content = self._store.get(key)
            yield naming(targets[kind], iteration), content
            if kind in logs and names.simulation_log:
                logs[kind] += log_lines(text_of(content, key), key)
        for kind, name in (("training", names.simulation_log), ("evaluation", names.evaluation_log)):
            if name and logs[kind]:
                head = simulation_log_head(self._run.files.metadata, self._run.files.hyperparameters, self._world)
                yield naming(name), "".join(f"{line}\n" for line in [*head, *logs[kind]]).encode()
        keys = {artifacts.parse_training_log(key): key for key in self._store.list("logs/training/")}
        own = [keys[number] for number in sorted(number for number in keys if number is not None)]
        if names.trainer_log and own:
            yield naming(names.trainer_log), b"".join(self._store.get(key) for key in own)


def simulation_log_head(metadata: ModelMetadata, hyperparameters: Hyperparameters, world: str) -> list[str]:
    """How a log of AWS's simulation application begins, as far as log readers look: they take world, hyperparameters,
    actions, sensors and network from here."""
    kind = "discrete" if isinstance(metadata.actions, DiscreteActions) else "continuous"
    return [
        f" * /WORLD_NAME: {world}",
        "Using the following hyper-parameters",
        *hyperparameters.to_json().strip().splitlines(),
        f"Action space from file: {metadata.raw['action_space']}",
        f"Sensor list {list(metadata.sensors)}, network {metadata.network}, simapp_version {metadata.version}.0, "
        f"training_algorithm {metadata.algorithm}, action_space_type {kind}",
    ]


def is_clockwise(track: Track) -> bool:
    """Whether a loop is driven clockwise."""
    return signed_area_m2(track.route) < 0.0


def _above(simtrace: str) -> str:
    """The prefix below which a simulation application puts training-simtrace/ and evaluation-simtrace/."""
    return simtrace.rsplit("/", 2)[0]


def _track_name(track: str, with_direction: bool) -> str:
    """The name of a track that may be a file."""
    name = Path(track).name.removesuffix(".npy").removesuffix(".track")
    return name if with_direction else name.removesuffix("_cw").removesuffix("_ccw")
