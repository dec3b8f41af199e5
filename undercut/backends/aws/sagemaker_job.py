"""A SageMaker training job: what the trainer's image does when it is started as `docker run IMAGE train`.

The racer's files come from a channel (/opt/ml/input/data/NAME) or, as in AWS's guidance, by their keys in a bucket; the
run's files go to that bucket, else to /opt/ml/checkpoints, from where an interrupted job goes on. Of several machines
the first one trains, the others drive. See docs/compose.md and docs/cloud.md.
"""

import contextlib
import dataclasses
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
from collections.abc import Iterator, Mapping
from functools import partial
from pathlib import Path
from typing import Any

from rich.console import Console

from contract import artifacts
from contract.errors import InputError, UndercutError
from contract.fields import check_keys, choice, load_object, read_text, whole
from contract.host import DEFAULT_REDIS_PORT, S3Address
from contract.stores.local import LocalStore
from undercut.backends.aws import rendezvous
from undercut.backends.aws.job_run import (
    GUIDANCE,
    NO_EFFECT,
    OURS,
    TRAINING,
    Folders,
    meeting_of,
    open_or_create,
    own_store,
)
from undercut.runs.run import Run
from undercut.runs.workspace import bucket_place, workspace
from undercut.terminal import say

FAILURE_CHARACTERS = 1024
"""So much of the failure file SageMaker shows as the job's FailureReason."""
_NAME = "hyperparameters.json"
_RUNTIME = f"{_NAME}: max_runtime_s"


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
    names = resources.get("hosts", ["algo-1"])
    values = {
        "SM_HOSTS": json.dumps(names),
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
    if "aws_region" in settings:
        os.environ.setdefault("AWS_REGION", settings["aws_region"])


def _config(folders: Folders, name: str) -> dict[str, Any]:
    path = folders.config / name
    return load_object(read_text(path, name), name) if path.exists() else {}


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
    """Do what the job asks. UndercutError when it cannot be done; KeyboardInterrupt when it is stopped, with what is
    finished exported."""
    settings = settings_of(folders)
    set_variables(folders, settings)
    ignored = [key for key in NO_EFFECT if key in settings]
    if ignored:
        console.print(f"without effect here: {', '.join(ignored)}", highlight=False)
    machines = rendezvous.Hosts.of(_config(folders, "resourceconfig.json"))
    if not machines.trains:
        rendezvous.drive(meeting_of(settings), partial(say, console))
        return
    with _rollouts(machines, settings):
        if settings.get("job", "train") == "train":
            train(folders, settings, console)
        elif settings["job"] == "sweep":
            sweep(settings, console)
        else:
            command(settings)


def train(folders: Folders, settings: Mapping[str, str], console: Console) -> None:
    """Train, evaluate, and leave SageMaker the car's bundle."""
    from undercut.runs import sessions  # TensorFlow takes seconds to import; wrong settings should not

    with own_store(folders, settings) as claimed:
        run = within(open_or_create(folders, settings, claimed), whole(settings.get("max_runtime_s", 0), _RUNTIME, 0))
        console.print(f"files of the run go to {run.store.where()}", highlight=False)
        try:
            sessions.train(run, console, whole(settings.get("workers", 0), f"{_NAME}: workers", 0))
            sessions.evaluate(run, console)
        finally:
            if run.store.exists(artifacts.car_bundle(run.config.name)):
                export(run, folders)


def within(run: Run, max_runtime_s: int) -> Run:
    """The run with so much less time to train that the iteration under way and the last evaluation still end before
    SageMaker stops the job: a fifth of it, five minutes at least. 0: no limit."""
    if not max_runtime_s:
        return run
    minutes = max(max_runtime_s - max(0.2 * max_runtime_s, 300.0), 60.0) / 60.0
    own = run.config.training.max_minutes
    training = run.config.training.model_copy(update={"max_minutes": min(own, minutes) if own else minutes})
    return dataclasses.replace(run, config=run.config.model_copy(update={"training": training}))


def sweep(settings: Mapping[str, str], console: Console) -> None:
    """Do one shard of a sweep: its name, its file below its folder in the store, and the options of `undercut sweep`.

    Journal and runs are in the store, so that a job that is begun again, or a next one, goes on."""
    from undercut.backends.local.shard import sweep_shard
    from undercut.sweep.shards import Shard
    from undercut.sweep.transfer import unpack

    arguments = _arguments(settings)
    if len(arguments) != 6 or arguments[2] != "--shard" or arguments[4] != "--parallel":
        rule = "NAME FILE --shard I/N --parallel P"
        raise InputError(f"{_NAME}: arguments", arguments, rule, "launch it by undercut sweep --backend cloud --shards")
    name, key, _, shard, _, parallel = arguments
    with tempfile.TemporaryDirectory(prefix="undercut-sweep-") as folder, contextlib.chdir(folder):
        unpack(name, workspace(), LocalStore(Path()))
        side_by_side = whole(parallel, f"{_NAME}: --parallel", 0)
        sweep_shard(Path(key), Shard.parse(shard, f"{_NAME}: --shard"), side_by_side, False, console)


def _arguments(settings: Mapping[str, str]) -> list[str]:
    arguments = json.loads(settings.get("arguments", "[]"))
    if not isinstance(arguments, list) or not all(isinstance(one, str) for one in arguments):
        raise InputError(f"{_NAME}: arguments", arguments, "a JSON list of strings", '["mine", "--laps", "5"]')
    return arguments


def command(settings: Mapping[str, str]) -> None:
    """Evaluate or race runs of the store, by the arguments of the command line's own commands."""
    name = choice(settings["job"], f"{_NAME}: job", ("train", "evaluate", "race", "sweep"))
    arguments = _arguments(settings)
    from undercut.cli.main import app

    with tempfile.TemporaryDirectory(prefix="undercut-job-") as folder:
        app([name, *(brought(one, Path(folder)) for one in arguments)], standalone_mode=False)


def brought(argument: str, into: Path) -> str:
    """An argument as it is, or the path of a copy of the file that it names in a bucket: the YAML of `--params`."""
    if not argument.startswith("s3://"):
        return argument
    address = S3Address.parse(argument, f"{_NAME}: arguments")
    parent, _, name = address.prefix.rpartition("/")
    try:
        (into / name).write_bytes(bucket_place(S3Address(address.bucket, parent)).get(name))
    except KeyError:
        raise InputError(f"{_NAME}: arguments", argument, "the object exists", "launch the job again") from None
    return str(into / name)


def worker(console: Console) -> None:
    """A simulator of AWS Batch or RoboMaker: drives for the training job TRAINING_JOB_NAME until that ends."""
    rendezvous.drive(meeting_of({}), partial(say, console), outlives=True)


@contextlib.contextmanager
def _rollouts(machines: rendezvous.Hosts, settings: Mapping[str, str]) -> Iterator[None]:
    """Over Redis where simulators are on other machines, else nothing of it."""
    where = f"{_NAME}: rollouts"
    if machines.count == 1 and choice(settings.get("rollouts", "local"), where, ("local", "redis")) == "local":
        yield
        return
    port = whole(settings.get("redis_port", DEFAULT_REDIS_PORT), f"{_NAME}: redis_port", 1, 65_535)
    with rendezvous.serving(meeting_of(settings), rendezvous.own_names(machines), port):
        yield


def main(folders: Folders | None = None) -> None:
    """`undercut-job train` or `worker`. Exit code 0 when it is done or was stopped, 1 when it failed."""
    folders = folders or Folders()
    arguments = sys.argv[1:]
    if arguments not in (["train"], ["worker"]):
        print(f"this image runs as a training job: docker run IMAGE train, not {arguments}", file=sys.stderr)
        sys.exit(2)
    signal.signal(signal.SIGTERM, _stop)
    logging.basicConfig(stream=sys.stdout, format="%(message)s", level=logging.WARNING)
    logging.getLogger("trainer.journal").setLevel(logging.INFO)  # the lines that metric definitions match
    console = Console(width=shutil.get_terminal_size((120, 25)).columns)
    try:
        if arguments == ["worker"]:
            worker(console)
        else:
            job(folders, console)
    except KeyboardInterrupt:
        console.print("stopped; finished iterations are kept")
    except Exception as error:
        text = str(error) if isinstance(error, UndercutError) else f"{type(error).__name__}: {error}"
        if not isinstance(error, UndercutError):
            traceback.print_exc()
        print(f"error: {text}", file=sys.stderr, flush=True)
        if arguments == ["train"]:
            LocalStore(folders.output).put("failure", text[:FAILURE_CHARACTERS].encode())
        sys.exit(1)


def _stop(*_: object) -> None:
    """SageMaker kills two minutes after its first SIGTERM; a second one must not disturb what is written meanwhile."""
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    raise KeyboardInterrupt


if __name__ == "__main__":
    main()
