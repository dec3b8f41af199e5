"""The run of a SageMaker job: its files from a channel, from keys of a bucket as in AWS's guidance, or the run itself
that lies in the bucket already; and the place where what it writes goes."""

import contextlib
import json
import os
import tempfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from contract import artifacts
from contract.config import RunConfig
from contract.errors import InputError
from contract.fields import read_text
from contract.host import STORE, HostSettings, S3Address
from contract.hyperparameters import Hyperparameters
from contract.params import read_training_params
from contract.protocols import Place
from contract.stores.local import LocalStore
from undercut.backends.aws.rendezvous import Meeting
from undercut.runs.run import Run, default_hyperparameters
from undercut.runs.workspace import bucket_place

OURS = ("run_config", "workers", "max_runtime_s", "job", "arguments", "rollouts", "redis_port")
GUIDANCE = (
    *("s3_bucket", "s3_prefix", "aws_region", "model_metadata_s3_key", "reward_function_s3_source"),
    *("s3_yaml_name", "world_name", "track_direction_clockwise"),
)
NO_EFFECT = (
    *("heartbeat_s3_location", "kinesis_stream_name", "s3_kms_cmk_arn", "s3_ros_log_bucket", "simulation_launch_file"),
    *("preset_s3_key", "environment_s3_key"),
)
"""What the guidance and the console pass on to their own simulator."""
TRAINING = tuple(Hyperparameters.model_fields)
_NAME = "hyperparameters.json"


@dataclass(frozen=True, slots=True)
class Folders:
    """SageMaker's, by default below /opt/ml."""

    base: Path = Path("/opt/ml")

    @property
    def config(self) -> Path:
        return self.base / "input" / "config"

    @property
    def data(self) -> Path:
        return self.base / "input" / "data"

    @property
    def model(self) -> Path:
        return self.base / "model"

    @property
    def output(self) -> Path:
        return self.base / "output"

    @property
    def checkpoints(self) -> Path:
        return self.base / "checkpoints"

    def channels(self) -> list[Path]:
        """The folders of the input channels."""
        return sorted(path for path in self.data.iterdir() if path.is_dir()) if self.data.is_dir() else []


def run_store(folders: Folders, settings: Mapping[str, str], name: str) -> Place:
    """Where the run's files go: the guidance's prefix of a bucket, else /opt/ml/checkpoints, which SageMaker copies to
    S3 all the time where the job has a checkpoint location, else /opt/ml/output/data, which it copies at the end."""
    if "s3_bucket" in settings:
        prefix = settings.get("s3_prefix", "").strip("/")
        return bucket_place(S3Address.parse(f"s3://{settings['s3_bucket']}/{prefix}", f"{_NAME}: s3_bucket"))
    kept = folders.checkpoints if folders.checkpoints.is_dir() else folders.output / "data"
    return LocalStore(kept / name)


@contextlib.contextmanager
def own_store(folders: Folders, settings: Mapping[str, str]) -> Iterator[Place | None]:
    """The bucket's place for the run, for this job alone; None without a bucket, where no one else can come."""
    prefix = settings.get("s3_prefix", "").strip("/")
    if "s3_bucket" not in settings or not prefix:
        yield None
        return
    parent, _, name = prefix.rpartition("/")
    place = bucket_place(S3Address.parse(f"s3://{settings['s3_bucket']}/{parent}", f"{_NAME}: s3_bucket"))
    with place.locked(name) as claimed:
        yield claimed


def meeting_of(settings: Mapping[str, str]) -> Meeting:
    """Where the machines of this job meet: in the store of runs, else beside the run in the guidance's bucket."""
    address = HostSettings.load().store
    if address is None and "s3_bucket" in settings:
        address = S3Address.parse(f"s3://{settings['s3_bucket']}", f"{_NAME}: s3_bucket")
    if address is None:
        rule = "machines of one job find each other in a bucket"
        raise InputError(STORE, "", rule, f"set {STORE}=s3://bucket in the job's environment, or s3_bucket")
    return Meeting(bucket_place(address.below(f"jobs/{job_name()}/meeting")))


def job_name() -> str:
    """By SageMaker's variable."""
    return os.environ.get("TRAINING_JOB_NAME", "job")


def racers_files(folders: Folders, settings: Mapping[str, str], into: Path, needed: bool = True) -> dict[str, Path]:
    """Name -> path of what the job brings: reward_function.py, model_metadata.json and the rest. A channel's file goes
    before the bucket's. InputError when reward function or metadata are `needed` and nowhere."""
    keys = {
        artifacts.REWARD_FUNCTION: settings.get("reward_function_s3_source"),
        "model_metadata.json": settings.get("model_metadata_s3_key"),
        "training_params.yaml": settings.get("s3_yaml_name"),
    }
    found: dict[str, Path] = {}
    for channel in folders.channels():
        for name in (*keys, _NAME, artifacts.PRESET, artifacts.RUN_CONFIG, artifacts.REWARD_DESCRIPTION):
            if (channel / name).is_file():
                found.setdefault(name, channel / name)
    for name, key in keys.items():
        if not key or name in found:
            continue
        bucket = settings.get("s3_bucket", "")
        if key.startswith("s3://"):
            bucket, _, key = key.removeprefix("s3://").partition("/")
        elif name == "training_params.yaml":
            key = f"{settings.get('s3_prefix', '').strip('/')}/{key}".strip("/")
        place = bucket_place(S3Address.parse(f"s3://{bucket}", f"{_NAME}: s3_bucket"))
        try:
            (into / name).write_bytes(place.get(key.strip("/")))
        except KeyError:
            raise InputError(
                name, f"s3://{bucket}/{key}", "the object exists", "upload it, or correct the key"
            ) from None
        found[name] = into / name
    for name, key in ((artifacts.REWARD_FUNCTION, "reward_function_s3_source"), ("model_metadata.json", GUIDANCE[3])):
        if name not in found and needed:
            looked = ", ".join(str(channel) for channel in folders.channels()) or "no channel"
            rule = f"a job brings its {name}: in an input channel ({looked}), or in a bucket under the key {key}"
            raise InputError(_NAME, sorted(settings), rule, f"upload {name} and name it")
    return found


def config_of(
    settings: Mapping[str, str], files: Mapping[str, Path], name: str, kept: RunConfig | None = None
) -> RunConfig:
    """run_config or the channel's run.json or the run's own, the guidance's YAML over it, single settings over both."""
    base: dict[str, Any] = kept.model_dump() if kept else {"name": name}
    if "run_config" in settings:
        base = RunConfig.from_json(settings["run_config"], f"{_NAME}: run_config").model_dump()
    elif artifacts.RUN_CONFIG in files:
        path = files[artifacts.RUN_CONFIG]
        base = RunConfig.from_json(read_text(path, artifacts.RUN_CONFIG), str(path)).model_dump()
    if "training_params.yaml" in files:
        path = files["training_params.yaml"]
        base = {**read_training_params(read_text(path, path.name), str(path)).over(base), "name": base["name"]}
    if world := settings.get("world_name"):
        clockwise = settings.get("track_direction_clockwise", "").lower()
        turned = clockwise in ("true", "false") and not world.endswith(("_cw", "_ccw"))
        base["track"] = f"{world}_{'cw' if clockwise == 'true' else 'ccw'}" if turned else world
    return RunConfig.build(base, _NAME)


def open_or_create(folders: Folders, settings: Mapping[str, str], claimed: Place | None = None) -> Run:
    """The job's run: one that is in its place goes on, such as what an interrupted try of the job left, or a run that
    was brought there. What the job brings besides must be the run's own."""
    with tempfile.TemporaryDirectory(prefix="undercut-job-") as folder:
        there = claimed is not None and claimed.exists(artifacts.RUN_CONFIG)
        files = racers_files(folders, settings, Path(folder), needed=not there)
        kept = Run.open(job_name(), claimed) if there else None
        config = config_of(settings, files, job_name(), kept.config if kept else None)
        store = claimed or run_store(folders, settings, config.name)
        if kept is None and store.exists(artifacts.RUN_CONFIG):
            kept = Run.open(config.name, store)
        hyperparameters = Path(folder) / "given" / _NAME
        hyperparameters.parent.mkdir()
        hyperparameters.write_text(_hyperparameters_of(settings, files, kept))
        preset = files.get(artifacts.PRESET)
        reward = files.get(artifacts.REWARD_DESCRIPTION, files.get(artifacts.REWARD_FUNCTION))
        if kept is not None:
            metadata = files.get("model_metadata.json")
            kept.same_files(reward, metadata, hyperparameters, preset)
            return kept.remake(config)
        assert reward is not None  # racers_files has seen to it
        metadata = files["model_metadata.json"]
        return Run.create(config, reward, metadata, hyperparameters, place=store, preset=preset)


def _hyperparameters_of(settings: Mapping[str, str], files: Mapping[str, Path], kept: Run | None) -> str:
    """The channel's file, the run's own or the shipped one, and the job's single settings over it."""
    if _NAME not in files and kept is not None:
        text = kept.store.get(artifacts.HYPERPARAMETERS).decode()
    else:
        text = read_text(files.get(_NAME) or default_hyperparameters(files["model_metadata.json"]), _NAME)
    return json.dumps(json.loads(text) | {key: settings[key] for key in TRAINING if key in settings})
