"""A SageMaker training job: what the trainer's image does when it is started as `docker run IMAGE train`.

The racer's files come from a channel (/opt/ml/input/data/NAME) or, as in AWS's guidance, by their keys in a bucket; the
run's files go to that bucket, else to /opt/ml/checkpoints, from where an interrupted job goes on. See docs/compose.md.
"""

import contextlib
import io
import json
import logging
import os
import shutil
import signal
import sys
import tarfile
import tempfile
import traceback
from collections.abc import Mapping
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

from rich.console import Console

from contract import artifacts
from contract.config import RunConfig
from contract.errors import InputError, UndercutError
from contract.fields import check_keys, load_object, read_text, whole
from contract.host import S3Address
from contract.hyperparameters import Hyperparameters
from contract.params import read_training_params
from contract.protocols import Place
from contract.stores.local import LocalStore
from scripts.runs import Run, default_hyperparameters
from scripts.workspace import bucket_place

OURS = ("run_config", "workers")
GUIDANCE = (
    *("s3_bucket", "s3_prefix", "aws_region", "model_metadata_s3_key", "reward_function_s3_source"),
    *("s3_yaml_name", "world_name", "track_direction_clockwise"),
)
NO_EFFECT = (
    *("heartbeat_s3_location", "kinesis_stream_name", "s3_kms_cmk_arn", "s3_ros_log_bucket", "simulation_launch_file"),
    *("preset_s3_key", "environment_s3_key"),
)
"""What the guidance and the console pass on to their own simulator."""
TRAINING = tuple(field.name for field in fields(Hyperparameters))
FAILURE_CHARACTERS = 1024
"""So much of the failure file SageMaker shows as the job's FailureReason."""
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


def settings_of(folders: Folders) -> dict[str, str]:
    """The job's hyperparameters, all strings; InputError for an unknown one. SageMaker's own (sagemaker_...) are left
    out, and values that its Python client wrote as JSON strings are taken out of their quotes."""
    path = folders.config / _NAME
    if not path.exists():
        return {}
    found = {
        key: value for key, value in load_object(read_text(path, _NAME), _NAME).items() if key[:10] != "sagemaker_"
    }
    check_keys(found, (*OURS, *GUIDANCE, *NO_EFFECT, *TRAINING), _NAME)
    settings = {}
    for key, value in found.items():
        text = value if isinstance(value, str) else json.dumps(value)
        if text.startswith('"') and text.endswith('"'):
            with contextlib.suppress(json.JSONDecodeError):
                text = str(json.loads(text))
        settings[key] = text
    return settings


def set_variables(folders: Folders, settings: Mapping[str, str]) -> None:
    """SageMaker's SM_ variables, for racers' code that reads them; those that are set already stay."""
    resources = _config(folders, "resourceconfig.json")
    hosts = resources.get("hosts", ["algo-1"])
    values = {
        "SM_HOSTS": json.dumps(hosts),
        "SM_CURRENT_HOST": resources.get("current_host", "algo-1"),
        "SM_NETWORK_INTERFACE_NAME": resources.get("network_interface_name", "eth0"),
        "SM_RESOURCE_CONFIG": json.dumps(resources),
        "SM_INPUT_DATA_CONFIG": json.dumps(_config(folders, "inputdataconfig.json")),
        "SM_CHANNELS": json.dumps([channel.name for channel in folders.channels()]),
        "SM_HPS": json.dumps(dict(settings)),
        "SM_INPUT_DIR": str(folders.base / "input"),
        "SM_INPUT_CONFIG_DIR": str(folders.config),
        "SM_MODEL_DIR": str(folders.model),
        "SM_OUTPUT_DIR": str(folders.output),
        "SM_OUTPUT_DATA_DIR": str(folders.output / "data"),
        "SM_NUM_CPUS": str(os.cpu_count() or 1),
        "SM_NUM_GPUS": str(len(list(Path("/proc/driver/nvidia/gpus").glob("*")))),
        **{f"SM_CHANNEL_{channel.name.upper()}": str(channel) for channel in folders.channels()},
        **{f"SM_HP_{key.upper()}": value for key, value in settings.items()},
    }
    for key, value in values.items():
        os.environ.setdefault(key, value)
    if len(hosts) > 1:
        rule = "trainer and simulators of a job share one machine"
        raise InputError("resourceconfig.json: hosts", hosts, rule, "start the job with an instance count of 1")
    if "aws_region" in settings:
        os.environ.setdefault("AWS_REGION", settings["aws_region"])


def _config(folders: Folders, name: str) -> dict[str, Any]:
    path = folders.config / name
    return load_object(read_text(path, name), name) if path.exists() else {}


def run_store(folders: Folders, settings: Mapping[str, str], name: str) -> Place:
    """Where the run's files go: the guidance's prefix of a bucket, else /opt/ml/checkpoints, which SageMaker copies to
    S3 all the time where the job has a checkpoint location, else /opt/ml/output/data, which it copies at the end."""
    if "s3_bucket" in settings:
        prefix = settings.get("s3_prefix", "").strip("/")
        return bucket_place(S3Address.parse(f"s3://{settings['s3_bucket']}/{prefix}", f"{_NAME}: s3_bucket"))
    kept = folders.checkpoints if folders.checkpoints.is_dir() else folders.output / "data"
    return LocalStore(kept / name)


def racers_files(folders: Folders, settings: Mapping[str, str], into: Path) -> dict[str, Path]:
    """Name -> path of what the job brings: reward_function.py, model_metadata.json and the rest. A channel's file goes
    before the bucket's. InputError when reward function or metadata are nowhere."""
    keys = {
        artifacts.REWARD_FUNCTION: settings.get("reward_function_s3_source"),
        "model_metadata.json": settings.get("model_metadata_s3_key"),
        "training_params.yaml": settings.get("s3_yaml_name"),
    }
    found: dict[str, Path] = {}
    for channel in folders.channels():
        for name in (*keys, _NAME, artifacts.PRESET, artifacts.RUN_CONFIG):
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
        if name not in found:
            looked = ", ".join(str(channel) for channel in folders.channels()) or "no channel"
            rule = f"a job brings its {name}: in an input channel ({looked}), or in a bucket under the key {key}"
            raise InputError(_NAME, sorted(settings), rule, f"upload {name} and name it")
    return found


def config_of(settings: Mapping[str, str], files: Mapping[str, Path], name: str) -> RunConfig:
    """run_config or the channel's run.json, the guidance's YAML over it, and the single settings over both."""
    base: dict[str, Any] = {"name": name}
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


def open_or_create(folders: Folders, settings: Mapping[str, str]) -> Run:
    """The job's run: what an interrupted try of the same job left is gone on with."""
    name = os.environ.get("TRAINING_JOB_NAME", "job")
    with tempfile.TemporaryDirectory(prefix="undercut-job-") as folder:
        files = racers_files(folders, settings, Path(folder))
        config = config_of(settings, files, name)
        metadata = files["model_metadata.json"]
        hyper = json.loads(read_text(files.get(_NAME, default_hyperparameters(metadata)), _NAME))
        hyper |= {key: settings[key] for key in TRAINING if key in settings}
        hyperparameters = Path(folder) / "given" / _NAME
        hyperparameters.parent.mkdir()
        hyperparameters.write_text(json.dumps(hyper))
        reward, preset = files[artifacts.REWARD_FUNCTION], files.get(artifacts.PRESET)
        store = run_store(folders, settings, config.name)
        if store.exists(artifacts.RUN_CONFIG):
            run = Run.open(config.name, store)
            run.same_files(reward, metadata, hyperparameters, preset)
            return run.remake(config)
        return Run.create(config, reward, metadata, hyperparameters, place=store, preset=preset)


def export(run: Run, folders: Folders) -> None:
    """Fill /opt/ml/model, of which SageMaker makes model.tar.gz: the car's bundle, and what the run was told."""
    model = LocalStore(folders.model)
    with tarfile.open(fileobj=io.BytesIO(run.store.get(artifacts.car_bundle(run.config.name)))) as tar:
        for member in tar:
            if (content := tar.extractfile(member)) is not None:
                model.put(member.name, content.read())
    for key in (artifacts.RUN_CONFIG, artifacts.REWARD_FUNCTION, artifacts.HYPERPARAMETERS):
        model.put(key, run.store.get(key))


def job(folders: Folders, console: Console) -> None:
    """Train and evaluate as the job asks. UndercutError when it cannot be done; KeyboardInterrupt when it is stopped,
    with what is finished exported."""
    settings = settings_of(folders)
    set_variables(folders, settings)
    ignored = [key for key in NO_EFFECT if key in settings]
    if ignored:
        console.print(f"without effect here: {', '.join(ignored)}", highlight=False)
    from scripts.training import sessions  # TensorFlow takes seconds to import; wrong settings should not

    run = open_or_create(folders, settings)
    console.print(f"files of the run go to {run.store.where()}", highlight=False)
    try:
        sessions.train(run, console, whole(settings.get("workers", 0), f"{_NAME}: workers", 0))
        sessions.evaluate(run, console, run.config.evaluation.number_of_trials, "best")
    finally:
        if run.store.exists(artifacts.car_bundle(run.config.name)):
            export(run, folders)


def main(folders: Folders | None = None) -> None:
    """`undercut-job train`. Exit status 0 when the job is done or was stopped, 1 when it failed."""
    folders = folders or Folders()
    arguments = sys.argv[1:]
    if arguments != ["train"]:
        print(f"this image runs as a training job: docker run IMAGE train, not {arguments}", file=sys.stderr)
        sys.exit(2)
    signal.signal(signal.SIGTERM, _stop)
    logging.basicConfig(stream=sys.stdout, format="%(message)s", level=logging.WARNING)
    logging.getLogger("trainer.journal").setLevel(logging.INFO)  # the lines that metric definitions match
    console = Console(width=shutil.get_terminal_size((120, 25)).columns)
    try:
        job(folders, console)
    except KeyboardInterrupt:
        console.print("stopped; finished iterations are kept")
    except Exception as error:
        text = str(error) if isinstance(error, UndercutError) else f"{type(error).__name__}: {error}"
        if not isinstance(error, UndercutError):
            traceback.print_exc()
        print(f"error: {text}", file=sys.stderr, flush=True)
        LocalStore(folders.output).put("failure", text[:FAILURE_CHARACTERS].encode())
        sys.exit(1)


def _stop(*_: object) -> None:
    """SageMaker kills two minutes after its first SIGTERM; a second one must not disturb what is written meanwhile."""
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    raise KeyboardInterrupt


if __name__ == "__main__":
    main()
