"""Env files as run parameters: deepracer-for-cloud's run.env, system.env and worker-N.env (its reference: DR_
variables), and deepracer-local's config.env, whose variables have the names of the YAML keys."""

import re
import shlex
import warnings
from collections.abc import Mapping
from dataclasses import replace

from contract.errors import InputError, InputWarning
from contract.fields import suggestion
from contract.params import FIELDS, KNOWN, Job, RunParams, params_of, with_workers
from contract.yamlfile import YamlEntry

_OWN_KEYS = {
    "DR_": (
        *("WORLD_NAME", "RACE_TYPE", "CAR_COLOR", "DISPLAY_NAME", "RACER_NAME", "ENABLE_DOMAIN_RANDOMIZATION"),
        *("TARGET_REWARD_SCORE", "CHANGE_START_POSITION", "ALTERNATE_DRIVING_DIRECTION", "COLLISION_PENALTY"),
    ),
    "DR_OA_": (
        *("NUMBER_OF_OBSTACLES", "MIN_DISTANCE_BETWEEN_OBSTACLES", "RANDOMIZE_OBSTACLE_LOCATIONS"),
        *("IS_OBSTACLE_BOT_CAR", "OBJECT_POSITIONS"),
    ),
    "DR_H2B_": (
        *("IS_LANE_CHANGE", "LOWER_LANE_CHANGE_TIME", "UPPER_LANE_CHANGE_TIME", "LANE_CHANGE_DISTANCE"),
        *("NUMBER_OF_BOT_CARS", "MIN_DISTANCE_BETWEEN_BOT_CARS", "RANDOMIZE_BOT_CAR_LOCATIONS", "BOT_CAR_SPEED"),
    ),
    "DR_TRAIN_": (
        *("CHANGE_START_POSITION", "ALTERNATE_DRIVING_DIRECTION", "START_POSITION_OFFSET", "ROUND_ROBIN_ADVANCE_DIST"),
        *("MIN_EVAL_TRIALS", "BEST_MODEL_METRIC"),
    ),
    "DR_EVAL_": (
        *("NUMBER_OF_TRIALS", "NUMBER_OF_RESETS", "IS_CONTINUOUS", "OFF_TRACK_PENALTY", "COLLISION_PENALTY"),
        "RESET_BEHIND_DIST",
    ),
}
"""What stands before a YAML's key in the variables that are called like it."""
VARIABLES = {f"{prefix}{key}": key for prefix, keys in _OWN_KEYS.items() for key in keys} | {
    "DR_H2B_BOT_CAR_PENALTY": "PENALTY_SECONDS",
    "DR_TRAIN_REVERSE_DIRECTION": "REVERSE_DIR",
    "DR_TRAIN_ROUND_ROBIN_ADVANCE_DISTANCE": "ROUND_ROBIN_ADVANCE_DIST",
    "DR_EVAL_REVERSE_DIRECTION": "REVERSE_DIR",
    "DR_EVAL_MAX_RESETS": "NUMBER_OF_RESETS",
}
"""Variable -> YAML key. Where a new and an old spelling both stand in a file, the one further down here counts."""

_JOBS: dict[str, Job] = {"DR_TRAIN_": "TRAINING", "DR_EVAL_": "EVALUATION"}
_RACES = {"DR_OA_": "OBJECT_AVOIDANCE", "DR_H2B_": "HEAD_TO_BOT"}
_MODEL: dict[Job, str] = {"TRAINING": "MODEL_NAME", "EVALUATION": "MODEL_S3_PREFIX"}
_RACE_DEFAULTS = {
    "OBJECT_AVOIDANCE": {
        "NUMBER_OF_OBSTACLES": "6",
        "MIN_DISTANCE_BETWEEN_OBSTACLES": "2.0",
        "RANDOMIZE_OBSTACLE_LOCATIONS": "True",
    }
}
"""What deepracer-for-cloud's prepare-config.py writes for variables that are not set, where it is not our default."""
_MULTI, _WORKERS, _CHECKPOINT = "DR_TRAIN_MULTI_CONFIG", "DR_WORKERS", "DR_EVAL_CHECKPOINT"
_PRETRAINED, _PRETRAINED_PREFIX = "DR_LOCAL_S3_PRETRAINED", "DR_LOCAL_S3_PRETRAINED_PREFIX"
_PRETRAINED_CHECKPOINT = "DR_LOCAL_S3_PRETRAINED_CHECKPOINT"
_NO_EFFECT = (
    *("DR_TRAIN_RTF", "DR_TRAIN_MAX_STEPS_PER_ITERATION", "DR_EVAL_SAVE_MP4", "DR_EVAL_RTF", "DR_EVAL_DEBUG_REWARD"),
    *("DR_OA_OBSTACLE_TYPE", "DR_RUN_ID", "DR_CAR_NAME", "DR_CAR_BODY_SHELL_TYPE"),
    *("DR_CONTINUE_ON_SPOT_INTERRUPTION", "DR_CLOUD", "DR_AWS_APP_REGION", "DR_GUI_ENABLE", "DR_SAGEMAKER_IMAGE"),
    *("DR_KINESIS_STREAM_NAME", "DR_KINESIS_STREAM_ENABLE", "DR_CAMERA_MAIN_ENABLE", "DR_CAMERA_SUB_ENABLE"),
    *("DR_CAMERA_KVS_ENABLE", "DR_ROBOMAKER_IMAGE", "DR_SIMAPP_SOURCE", "DR_SIMAPP_VERSION", "DR_MINIO_IMAGE"),
    *("DR_ANALYSIS_IMAGE", "DR_COACH_IMAGE", "DR_ROBOMAKER_MOUNT_LOGS", "DR_ROBOMAKER_MOUNT_SIMAPP_DIR"),
    *("DR_ROBOMAKER_MOUNT_SCRIPTS_DIR", "DR_ROBOMAKER_CUDA_DEVICES", "DR_SAGEMAKER_CUDA_DEVICES"),
    *("DR_CLOUD_WATCH_ENABLE", "DR_CLOUD_WATCH_LOG_STREAM_PREFIX", "DR_DOCKER_STYLE", "DR_HOST_X", "DR_DISPLAY"),
    *("DR_WEBVIEWER_PORT", "DR_REMOTE_MINIO_URL", "DR_MINIO_URL", "DR_MINIO_COMPOSE_FILE", "DR_TELEGRAF_HOST"),
    *("DR_TELEGRAF_PORT", "DR_QUIET_ACTIVATE", "DR_EXPERIMENT_NAME", "DR_DIR", "DR_EVAL_OPP_MODEL_PREFIX"),
    *("DR_DROA_URL", "DR_DROA_USERNAME", "DR_CONFIG", "DR_RTF", "DR_ENABLE_EXTRA_KVS_OVERLAY"),
)
_FAMILIES = ("DR_EVAL_OPP_", "DR_LOCAL_", "DR_UPLOAD_")
"""Buckets, prefixes and profiles, and the opponent of an evaluation: any of these is known, and has no effect here."""
_LOCAL_NO_EFFECT = (
    *("APP_REGION", "AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_DEFAULT_REGION", "MINIO_ACCESS_KEY"),
    *("MINIO_SECRET_KEY", "LOCAL", "GPU_AVAILABLE", "S3_YAML_NAME", "ENABLE_KINESIS", "ENABLE_GUI"),
    *("ENABLE_GPU_TRAINING", "ENABLE_LOCAL_DESKTOP", "ENABLE_TMUX", "CUDA_VISIBLE_DEVICES"),
)
"""Variables of deepracer-local's config.env that are no keys of a YAML."""
MAX_VALUE_CHARACTERS = 10_000
"""Variables that name each other twice would otherwise grow to more than there is memory for."""
_LINE = re.compile(r"(?:export\s+)?([A-Za-z_]\w*)=(.*)")


def read_drfc_env(
    text: str,
    where: str,
    job: Job,
    strict: bool = True,
    workers: int | None = None,
    worker_files: Mapping[int, tuple[str, str]] | None = None,
) -> RunParams:
    """What a run.env (system.env, or both together) says for a training or an evaluation.

    As there, obstacle variables count in OBJECT_AVOIDANCE only and bot variables in HEAD_TO_BOT only. Unknown DR_
    variables are an InputError, or with strict=False a warning. A file without any may be deepracer-local's, whose
    variables are YAML keys; what is neither is an InputError.

    With DR_TRAIN_MULTI_CONFIG the training has a world for each worker: `worker_files` are the worker-N.env beside the
    file, N -> (text, name), `workers` is what system.env says of DR_WORKERS.
    """
    found = _lines(text, where, strict)
    if not any(name.startswith("DR_") for name in found):
        return _plain_keys(found, where, job, strict)
    _check_names(found, strict)
    params = _params(found, job, strict)
    on = _MULTI in found and str(found[_MULTI].value).strip().lower() == "true"
    if on and job == "TRAINING":
        count = _count(found[_WORKERS]) if _WORKERS in found else workers
        params = _with_workers(params, found, strict, count, worker_files or {})
    if job == "TRAINING":
        params.values.update(_pretrained(found))
    return params


def _pretrained(found: Mapping[str, YamlEntry]) -> dict[str, str]:
    """The model to begin from, as the run's settings have it: by its prefix in deepracer-for-cloud's bucket."""
    on = _PRETRAINED in found and str(found[_PRETRAINED].value).strip().lower() == "true"
    if not on or _PRETRAINED_PREFIX not in found:
        return {}
    values = {"pretrained": str(found[_PRETRAINED_PREFIX].value).strip().rstrip("/")}
    if _PRETRAINED_CHECKPOINT in found:
        checkpoint = found[_PRETRAINED_CHECKPOINT]
        values["pretrained_checkpoint"] = str(checkpoint.value).strip().lower()
        if values["pretrained_checkpoint"] not in ("best", "last"):
            raise checkpoint.refuse("a checkpoint is best or last", "change it in the file")
    return values


def workers_in(text: str, where: str) -> int | None:
    """DR_WORKERS of a system.env, None where it does not say."""
    found = _lines(text, where, strict=False)
    return _count(found[_WORKERS]) if _WORKERS in found else None


def _count(entry: YamlEntry) -> int | None:
    word = str(entry.value).strip()
    return int(word) if word.isascii() and word.isdigit() and len(word) < 4 else None


def _params(found: Mapping[str, YamlEntry], job: Job, strict: bool) -> RunParams:
    race_type = str(found["DR_RACE_TYPE"].value).strip().upper() if "DR_RACE_TYPE" in found else "TIME_TRIAL"
    entries: dict[str, YamlEntry] = {}
    for variable, key in VARIABLES.items():
        of_job = next((to for start, to in _JOBS.items() if variable.startswith(start)), job)
        of_race = next((to for start, to in _RACES.items() if variable.startswith(start)), race_type)
        if variable in found and of_job == job and of_race == race_type and key in FIELDS[job]:
            entries[key] = YamlEntry(key, found[variable].value, found[variable].place)
    for key, value in _RACE_DEFAULTS.get(race_type, {}).items():
        entries.setdefault(key, YamlEntry(key, value, found["DR_RACE_TYPE"].place))
    if "DR_LOCAL_S3_MODEL_PREFIX" in found:
        model = found["DR_LOCAL_S3_MODEL_PREFIX"]
        entries[_MODEL[job]] = YamlEntry(_MODEL[job], model.value, model.place)
    if job == "EVALUATION" and _CHECKPOINT in found:
        entries["EVAL_CHECKPOINT"] = replace(found[_CHECKPOINT], key="EVAL_CHECKPOINT")
    params = params_of(entries, job, strict)
    positions = params.values.get("race", {}).get("object_positions")
    if positions:
        params.values["race"]["number_of_obstacles"] = len(positions)
    used = {*VARIABLES, _MULTI, _CHECKPOINT, _PRETRAINED, _PRETRAINED_PREFIX, _PRETRAINED_CHECKPOINT}
    used.add("DR_LOCAL_S3_MODEL_PREFIX")
    known = [name for name in found if name in _NO_EFFECT or name.startswith(_FAMILIES)]
    unused = tuple(name for name in known if name not in used)
    return replace(params, unused=unused)


def _with_workers(
    params: RunParams,
    found: Mapping[str, YamlEntry],
    strict: bool,
    count: int | None,
    files: Mapping[int, tuple[str, str]],
) -> RunParams:
    """With a world for each of `count` workers, or where that is not known, for each file."""
    multi = found[_MULTI]
    wanted = range(2, count + 1) if count is not None else sorted(number for number in files if number > 1)
    for number in wanted:
        if number not in files:
            rule = f"DR_WORKERS is {count}, so there is a worker-{number}.env beside the file"
            raise multi.refuse(rule, f"write worker-{number}.env, lower DR_WORKERS, or set it to False")
    if not wanted:
        why = "DR_WORKERS is 1" if count is not None else "there is no worker-2.env beside it"
        text = f"{multi.place}: {why}: trains in the one world of this file"
        warnings.warn(text, InputWarning, stacklevel=3)
        return params
    others, known = [], dict(found)
    for number in wanted:
        text, where = files[number]
        own = _lines(text, where, strict)
        _check_names(own, strict)
        known |= own  # as there, where each file's variables stay set for the next one
        others.append(_params(known, "TRAINING", strict))
    return with_workers(params, others)


def _plain_keys(found: Mapping[str, YamlEntry], where: str, job: Job, strict: bool) -> RunParams:
    """deepracer-local's config.env."""
    keys = {name: entry for name, entry in found.items() if name in KNOWN}
    if not keys:
        raise InputError(
            where,
            ", ".join(found)[:80] or "no variables",
            "a run.env of deepracer-for-cloud, with DR_ names, or one with the names of YAML keys, such as WORLD_NAME",
            "check that this is the right file",
        )
    unknown = [entry for name, entry in found.items() if name not in KNOWN and name not in _LOCAL_NO_EFFECT]
    for entry in unknown:
        fix = suggestion(entry.key, [*KNOWN, *_LOCAL_NO_EFFECT], "delete the line")
        if strict:
            raise InputError(entry.place, entry.key, "a variable of deepracer-for-cloud or deepracer-local", fix)
        warnings.warn(f"{entry.place}: unknown variable ignored; {fix}", InputWarning, stacklevel=3)
    params = params_of(keys, job, strict=False)
    return replace(params, unused=(*params.unused, *(name for name in found if name in _LOCAL_NO_EFFECT)))


def _check_names(found: Mapping[str, YamlEntry], strict: bool) -> None:
    """Of a file's many variables, those that begin as deepracer-for-cloud's and are none."""
    known = {*VARIABLES, *_NO_EFFECT, _MULTI, _WORKERS, _CHECKPOINT}
    for name, entry in found.items():
        if name.startswith("DR_") and name not in known and not name.startswith(_FAMILIES):
            fix = suggestion(name, [*VARIABLES, _MULTI, _WORKERS, _CHECKPOINT], "delete the line")
            if strict:
                raise InputError(entry.place, name, "a variable of deepracer-for-cloud", fix)
            warnings.warn(f"{entry.place}: unknown variable ignored; {fix}", InputWarning, stacklevel=3)


def _lines(text: str, where: str, strict: bool) -> dict[str, YamlEntry]:
    """Variable -> entry with shell quotes, comments and $OTHER references resolved; the last one of a name counts."""
    found: dict[str, YamlEntry] = {}
    for number, line in enumerate(text.splitlines(), 1):
        if not line.strip() or line.lstrip().startswith("#"):
            continue
        match = _LINE.fullmatch(line.strip())
        place = f"{where}, line {number}"
        if not match:
            if strict:
                rule = "lines of NAME=value, and comments after #"
                raise InputError(place, line, rule, "correct the line, or delete it")
            warnings.warn(f"{place}: {line.strip()[:60]}: no NAME=value, passed over", InputWarning, stacklevel=3)
            continue
        name, place = match[1], f"{place}: {match[1]}"
        try:
            words = shlex.split(match[2], comments=True)
        except ValueError as error:
            raise InputError(place, match[2], f"a shell word: {error}", "close the quote") from None
        value = re.sub(r"\$\{?(\w+)\}?", lambda m: str(found[m[1]].value) if m[1] in found else m[0], " ".join(words))
        if len(value) > MAX_VALUE_CHARACTERS:
            rule = f"at most {MAX_VALUE_CHARACTERS:,} characters, with those of the variables in it"
            raise InputError(place, f"{value[:40]}...", rule, "shorten it")
        found[name] = YamlEntry(name, value, place)
    return found
