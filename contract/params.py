"""The guidance's run parameters, training_params.yaml and evaluation_params.yaml, in and out (contract: YAML).

Every key that AWS's simulator, its consoles, the guidance and DeepRacer-for-Cloud write is known: those of the tables
below set a field of RunConfig, the others (buckets, streams, accounts) mean nothing on one's own machine and are
carried along as they are.
"""

import shlex
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Literal, get_args

import yaml
from pydantic import BaseModel

from contract import artifacts
from contract.config import EvaluationConfig, RaceConfig, RunConfig, TrainingConfig
from contract.errors import InputWarning
from contract.fields import choice, truth
from contract.param_values import read_field, run_name
from contract.yamlfile import Value, YamlEntry, check_entries, read_entries

Job = Literal["TRAINING", "EVALUATION"]


def _keys(model: type[BaseModel], section: str = "", only_training_too: bool = False) -> dict[str, str]:
    """Key -> field of RunConfig that it sets, of the model's fields that have a key (contract.config.param)."""
    found = {}
    for name, field_ in model.model_fields.items():
        extra = field_.json_schema_extra
        if isinstance(extra, dict) and "param" in extra and (extra["training_too"] or not only_training_too):
            found[str(extra["param"])] = f"{section}.{name}" if section else name
    return found


SHARED = _keys(RunConfig) | _keys(RaceConfig, "race")
TRAINING = _keys(TrainingConfig, "training")
EVALUATION = _keys(EvaluationConfig, "evaluation")
RESETS = _keys(EvaluationConfig, "evaluation", only_training_too=True)
"""Of training episodes too, where they have resets."""
PER_WORLD = tuple(
    key
    for key, path in SHARED.items()
    if path in ("track", "reverse_dir", "enable_domain_randomization") or path.startswith("race.")
    if path != "race.object_positions"
)
"""Keys that may hold a list in training: one value for each of several worlds."""
FIELDS: dict[Job, dict[str, str]] = {"TRAINING": SHARED | TRAINING | RESETS, "EVALUATION": SHARED | EVALUATION}
"""YAML key -> field of RunConfig that it sets, for each job."""

CLOCKWISE = "TRACK_DIRECTION_CLOCKWISE"
"""The console's and DeepRacer on AWS's way to say _cw or _ccw of WORLD_NAME."""
NAMES = ("JOB_TYPE", "MODEL_NAME", "MODEL_S3_PREFIX")
CARRIED = (
    *("AWS_REGION", "METRICS_S3_BUCKET", "METRICS_S3_OBJECT_KEY", "METRICS_S3_PREFIX", "METRIC_NAME"),
    *("METRIC_NAMESPACE", "SIMTRACE_S3_BUCKET", "SIMTRACE_S3_PREFIX", "MP4_S3_BUCKET", "MP4_S3_OBJECT_PREFIX"),
    *("KINESIS_VIDEO_STREAM_NAME", "KINESIS_WEBRTC_SIGNALING_CHANNEL_NAME", "SQS_QUEUE_URL"),
    *("ROBOMAKER_SIMULATION_JOB_ACCOUNT_ID", "SAGEMAKER_SHARED_S3_BUCKET", "SAGEMAKER_SHARED_S3_PREFIX"),
    *("TRAINING_JOB_ARN", "REWARD_FILE_S3_KEY", "MODEL_METADATA_FILE_S3_KEY", "MODEL_S3_BUCKET", "NUM_WORKERS"),
    *("VIDEO_JOB_TYPE", "BODY_SHELL_TYPE", "CAR_NAME", "CAMERA_MAIN_ENABLE", "CAMERA_SUB_ENABLE"),
    *("ENABLE_EXTRA_KVS_OVERLAY", "EVAL_CHECKPOINT", "OBSTACLE_TYPE", "MULTI_CONFIG"),
    *("S3_ENDPOINT_URL", "S3_KMS_CMK_ARN", "PARK_LOCATION", "NUM_SECTORS", "POLICY_MODEL_S3_BUCKET"),
    *("POLICY_MODEL_SAGEMAKER_S3_PREFIX", "CAR_TOP_DECAL", "CAR_SIDES_DECAL", "CAR_BACK_DECAL"),
    *("ENABLE_EPISODE_SIMTRACE", "SIMTRACE_EPISODE_S3_PREFIX", "ENABLE_FIREHOSE_UPLOAD", "FIREHOSE_S3_BUCKET"),
    *("FIREHOSE_METRICS_STREAM_NAME", "FIREHOSE_SIMTRACE_STREAM_NAME", "FIREHOSE_METRICS_S3_PREFIX"),
    *("FIREHOSE_SIMTRACE_S3_PREFIX", "FIREHOSE_UPLOAD_FREQUENCY"),
)
"""Keys without an effect here; they are kept when the file is written back."""
KNOWN = {*SHARED, *TRAINING, *EVALUATION, CLOCKWISE, *NAMES, *CARRIED}


@dataclass(frozen=True, slots=True)
class RunParams:
    """What a file of run parameters says.

    values      for RunConfig, nested as its model_dump, with only what the file sets
    model       the run that it names: MODEL_NAME in training, the last part of MODEL_S3_PREFIX in an evaluation
    carried     keys without an effect here, as they stood
    unused      names in the file that have no effect here, those of env files too
    places      field of RunConfig -> where the file sets it, "file, line 3: KEY"
    """

    values: dict[str, Any]
    model: str | None = None
    carried: dict[str, Value] = field(default_factory=dict)
    unused: tuple[str, ...] = ()
    places: dict[str, str] = field(default_factory=dict)

    def over(self, base: Mapping[str, Any]) -> dict[str, Any]:
        """The values of a RunConfig (its model_dump, or a part) with those of the file in their places."""
        merged = {key: dict(value) if isinstance(value, Mapping) else value for key, value in base.items()}
        for key, value in self.values.items():
            merged[key] = {**merged.get(key, {}), **value} if isinstance(value, dict) else value
        return merged


def read_training_params(text: str, where: str, strict: bool = True) -> RunParams:
    """A training_params.yaml, the guidance's, DeepRacer-for-Cloud's or ours; `where` names it in errors.

    InputError names file, line, key, value, rule and fix. With strict=False unknown keys and numbers beyond
    their limits only warn; such a number becomes the nearest one within.
    """
    return params_of(read_entries(text, where, strict), "TRAINING", strict)


def read_evaluation_params(text: str, where: str, strict: bool = True) -> RunParams:
    """An evaluation_params.yaml of one model; those of several are read by undercut.races.params."""
    entries = read_entries(text, where, strict)
    prefix = entries.get("MODEL_S3_PREFIX")
    if prefix and isinstance(prefix.value, list) and len(prefix.value) > 1:
        raise prefix.refuse(
            "an evaluation drives one model; several are a race", f"undercut race --params {shlex.quote(where)}"
        )
    return params_of(entries, "EVALUATION", strict)


def is_ours(text: str) -> bool:
    """Whether a YAML's first comment says that it is one of `undercut new` or of our templates: there an unknown key is
    an error, in files of other systems a warning."""
    comments = []
    for line in text.splitlines():
        if line.strip() and not line.lstrip("\ufeff").startswith("#"):
            break
        comments.append(line)
    return "undercut " in " ".join(comments)


def beside_ours(path: Path) -> bool:
    """Whether a file lies in a folder of `undercut new`, by the run parameters beside it."""
    try:
        return is_ours((path.parent / artifacts.TRAINING_PARAMS).read_text(encoding="utf-8", errors="replace"))
    except OSError:
        return False


def params_of(entries: Mapping[str, YamlEntry], job: Job, strict: bool) -> RunParams:
    """Checked values of a job's entries; a key of the other job is carried, if strict with a warning."""
    known = check_entries(dict(entries), KNOWN, strict)
    worlds: list[dict[str, Any]] = []
    if job == "TRAINING":
        lists = {key: entry for key, entry in known.items() if key in PER_WORLD and _is_plain_list(entry)}
        worlds = _worlds(lists, strict)
        known = {key: _first(entry) if key in lists else entry for key, entry in known.items()}
    known = {key: one for key, entry in known.items() if (one := _single(entry)) is not None}
    if "JOB_TYPE" in known:
        entry = known["JOB_TYPE"]
        if choice(entry.value, entry.place, get_args(Job)) != job:
            verb = {"TRAINING": "evaluate", "EVALUATION": "train"}[job]
            raise entry.refuse(f"the job is {job} here", f"undercut {verb} --params, or a file for this job")
    values: dict[str, Any] = {}
    places: dict[str, str] = {}
    for key, entry in known.items():
        path = FIELDS[job].get(key)
        if path:
            _put(values, path, read_field(entry, path, strict))
            places[path] = entry.place
        elif strict and key not in (*CARRIED, *NAMES, CLOCKWISE):
            warnings.warn(f"{entry.place}: has no effect in {job}", InputWarning, stacklevel=3)
    if CLOCKWISE in known and "track" in values:
        values["track"] = _directed(values["track"], known[CLOCKWISE])
    if "NUMBER_OF_OBSTACLES" in known and "OBJECT_POSITIONS" not in known:
        values["race"]["object_positions"] = ()  # a file that says how many does not mean an older file's places
    if worlds:
        values["worlds"] = worlds
    _check_together(values, known)
    name = known.get("MODEL_NAME" if job == "TRAINING" else "MODEL_S3_PREFIX")
    effective = {*FIELDS[job], *NAMES, CLOCKWISE}
    carried = {key: entry.value for key, entry in known.items() if key not in effective}
    model = run_name(name) if name and name.value else None
    return RunParams(values, model, carried, tuple(carried), places)


def with_workers(first: RunParams, others: Sequence[RunParams]) -> RunParams:
    """The training of several workers with a file each, as DeepRacer-for-Cloud's DR_TRAIN_MULTI_CONFIG has it: the
    first one's, with a world for each. What a world has no place for is the first one's, which an InputWarning says
    where another one differs."""
    of_world = ("track", "reverse_dir", "enable_domain_randomization", "race")
    workers = (first, *others)
    race_keys = {key for params in workers for key in params.values.get("race", {})}
    normal = RunConfig(name="worker").model_dump()
    worlds = []
    for params in workers:
        world = {key: params.values.get(key, normal[key]) for key in of_world[:3]}
        worlds.append(
            world | {"race": {key: params.values.get("race", {}).get(key, normal["race"][key]) for key in race_keys}}
        )
    for params in others:
        for path, place in params.places.items():
            section, _, name = path.rpartition(".")
            if section == "training":
                mine, its = (
                    one.values.get(section, normal[section]).get(name, normal[section][name]) for one in (first, params)
                )
                if mine != its:
                    text = (
                        f"{place}: {its} here; one value holds for the whole training, {mine}, that of the first file"
                    )
                    warnings.warn(text, InputWarning, stacklevel=4)
    return replace(first, values={**first.values, "worlds": worlds})


def _directed(track: str, clockwise: YamlEntry) -> str:
    """The track's name with the direction that a file gives apart from it; the name's own direction goes before."""
    if track.endswith(("_cw", "_ccw")):
        return track
    return f"{track}_cw" if truth(clockwise.value, clockwise.place) else f"{track}_ccw"


def _single(entry: YamlEntry) -> YamlEntry | None:
    """DeepRacer-for-Cloud writes lists of one, and empty ones; keys without an effect may hold any."""
    if entry.key in ("OBJECT_POSITIONS", "PARK_POSITIONS") or not isinstance(entry.value, list):
        return entry
    if not entry.value:
        return None
    if len(entry.value) == 1 and not isinstance(entry.value[0], list):
        return YamlEntry(entry.key, entry.value[0], entry.place)
    if entry.key not in CARRIED:
        raise entry.refuse("one value, since this file is for one model", "keep one; several models are a race")
    return entry


def _is_plain_list(entry: YamlEntry) -> bool:
    return isinstance(entry.value, list) and len(entry.value) > 1 and not any(isinstance(v, list) for v in entry.value)


def _first(entry: YamlEntry) -> YamlEntry:
    value: Any = entry.value
    return YamlEntry(entry.key, value[0], entry.place)


def _worlds(lists: Mapping[str, YamlEntry], strict: bool) -> list[dict[str, Any]]:
    """The worlds that lists ask for, one value a world, nested as in RunConfig; the run's own is the first of each."""
    worlds: list[dict[str, Any]] = []
    for key, entry in lists.items():
        several: list[Any] = entry.value if isinstance(entry.value, list) else []
        worlds = worlds or [{} for _ in several]
        if len(several) != len(worlds):
            rule = f"as many values as {next(iter(lists))}, {len(worlds)}: one for each world"
            raise entry.refuse(rule, "write one value for all, or one for each world")
        for world, value in zip(worlds, several, strict=True):
            _put(world, SHARED[key], read_field(YamlEntry(key, value, entry.place), SHARED[key], strict))
    return worlds


def _put(values: dict[str, Any], path: str, value: Any) -> None:
    section, _, name = path.rpartition(".")
    (values.setdefault(section, {}) if section else values)[name] = value


def _check_together(values: Mapping[str, Any], entries: Mapping[str, YamlEntry]) -> None:
    """Rules between two keys of one file, with a line; those between file and command line are RunConfig's."""
    keys = ("LOWER_LANE_CHANGE_TIME", "UPPER_LANE_CHANGE_TIME")
    if all(key in entries for key in keys):
        lower, upper = (values["race"][key.lower()] for key in keys)
        if lower > upper:
            raise entries[keys[0]].refuse(f"at most {keys[1]}, which is {upper:g}", "swap the two")


def training_params(config: RunConfig, carried: Mapping[str, Value] | None = None) -> str:
    """The run as the guidance's training job would be told; a local run writes no buckets but those carried along."""
    return _write(
        config,
        "TRAINING",
        {
            "MODEL_NAME": config.name,
            "REWARD_FILE_S3_KEY": artifacts.REWARD_FUNCTION,
            "MODEL_METADATA_FILE_S3_KEY": artifacts.MODEL_METADATA,
            "METRICS_S3_OBJECT_KEY": artifacts.TRAINING_METRICS,
            "SIMTRACE_S3_PREFIX": "iteration-data/training",
            "MP4_S3_OBJECT_PREFIX": "iteration-data/training",
            "NUM_WORKERS": "1",
            **(carried or {}),
        },
    )


def evaluation_params(config: RunConfig, carried: Mapping[str, Value] | None = None) -> str:
    """The run's evaluation as the guidance's evaluation job would be told."""
    return _write(
        config,
        "EVALUATION",
        {
            "MODEL_S3_PREFIX": config.name,
            "MODEL_NAME": config.name,
            "MODEL_METADATA_FILE_S3_KEY": artifacts.MODEL_METADATA,
            "METRICS_S3_OBJECT_KEY": artifacts.EVALUATION_METRICS,
            "SIMTRACE_S3_PREFIX": "iteration-data/evaluation",
            "MP4_S3_OBJECT_PREFIX": "iteration-data/evaluation",
            **(carried or {}),
        },
    )


def _write(config: RunConfig, job: Job, rest: Mapping[str, Value]) -> str:
    lines: dict[str, Value] = {"JOB_TYPE": job}
    worlds = [world.model_dump() for world in config.each_world()]
    for key, path in FIELDS[job].items():
        found: list[Any] = [as_written(_at(values, path)) for values in worlds]
        differ = job == "TRAINING" and key in PER_WORLD and any(one != found[0] for one in found)
        lines[key] = found if differ else found[0] if job == "TRAINING" else as_written(_at(config.model_dump(), path))
    return dump({**lines, **rest})


def _at(values: Mapping[str, Any], path: str) -> Any:
    section, _, name = path.rpartition(".")
    return (values[section] if section else values)[name]


def as_written(value: Any) -> Value:
    """A value of RunConfig as the guidance's files have it: words, and a list of words for positions."""
    if isinstance(value, tuple):
        return [f"{a!r}, {b:+d}" if isinstance(b, int) else f"{a!r}, {b!r}" for a, b in value]
    return str(value).lower() if isinstance(value, bool) else str(value)


def dump(lines: Mapping[str, Value]) -> str:
    """The text of a YAML file; all values are words, as in the guidance's own files."""
    return yaml.safe_dump(dict(lines), sort_keys=False, allow_unicode=True)
