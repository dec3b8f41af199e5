"""deepracer-for-cloud's run.env and system.env, read as run parameters (its reference: DR_ variables)."""

import re
import shlex
import warnings

from contract.errors import InputError
from contract.fields import nearest
from contract.params import FIELDS, Job, RunParams, params_of
from contract.yamlfile import Entry

VARIABLES = {
    "DR_WORLD_NAME": "WORLD_NAME",
    "DR_RACE_TYPE": "RACE_TYPE",
    "DR_CAR_COLOR": "CAR_COLOR",
    "DR_DISPLAY_NAME": "DISPLAY_NAME",
    "DR_RACER_NAME": "RACER_NAME",
    "DR_ENABLE_DOMAIN_RANDOMIZATION": "ENABLE_DOMAIN_RANDOMIZATION",
    "DR_OA_NUMBER_OF_OBSTACLES": "NUMBER_OF_OBSTACLES",
    "DR_OA_MIN_DISTANCE_BETWEEN_OBSTACLES": "MIN_DISTANCE_BETWEEN_OBSTACLES",
    "DR_OA_RANDOMIZE_OBSTACLE_LOCATIONS": "RANDOMIZE_OBSTACLE_LOCATIONS",
    "DR_OA_IS_OBSTACLE_BOT_CAR": "IS_OBSTACLE_BOT_CAR",
    "DR_OA_OBJECT_POSITIONS": "OBJECT_POSITIONS",
    "DR_H2B_IS_LANE_CHANGE": "IS_LANE_CHANGE",
    "DR_H2B_LOWER_LANE_CHANGE_TIME": "LOWER_LANE_CHANGE_TIME",
    "DR_H2B_UPPER_LANE_CHANGE_TIME": "UPPER_LANE_CHANGE_TIME",
    "DR_H2B_LANE_CHANGE_DISTANCE": "LANE_CHANGE_DISTANCE",
    "DR_H2B_NUMBER_OF_BOT_CARS": "NUMBER_OF_BOT_CARS",
    "DR_H2B_MIN_DISTANCE_BETWEEN_BOT_CARS": "MIN_DISTANCE_BETWEEN_BOT_CARS",
    "DR_H2B_RANDOMIZE_BOT_CAR_LOCATIONS": "RANDOMIZE_BOT_CAR_LOCATIONS",
    "DR_H2B_BOT_CAR_SPEED": "BOT_CAR_SPEED",
    "DR_TARGET_REWARD_SCORE": "TARGET_REWARD_SCORE",
    "DR_CHANGE_START_POSITION": "CHANGE_START_POSITION",
    "DR_ALTERNATE_DRIVING_DIRECTION": "ALTERNATE_DRIVING_DIRECTION",
    "DR_COLLISION_PENALTY": "COLLISION_PENALTY",
    "DR_TRAIN_REVERSE_DIRECTION": "REVERSE_DIR",
    "DR_TRAIN_CHANGE_START_POSITION": "CHANGE_START_POSITION",
    "DR_TRAIN_ALTERNATE_DRIVING_DIRECTION": "ALTERNATE_DRIVING_DIRECTION",
    "DR_TRAIN_START_POSITION_OFFSET": "START_POSITION_OFFSET",
    "DR_TRAIN_ROUND_ROBIN_ADVANCE_DIST": "ROUND_ROBIN_ADVANCE_DIST",
    "DR_TRAIN_ROUND_ROBIN_ADVANCE_DISTANCE": "ROUND_ROBIN_ADVANCE_DIST",
    "DR_TRAIN_MIN_EVAL_TRIALS": "MIN_EVAL_TRIALS",
    "DR_TRAIN_BEST_MODEL_METRIC": "BEST_MODEL_METRIC",
    "DR_EVAL_REVERSE_DIRECTION": "REVERSE_DIR",
    "DR_EVAL_NUMBER_OF_TRIALS": "NUMBER_OF_TRIALS",
    "DR_EVAL_NUMBER_OF_RESETS": "NUMBER_OF_RESETS",
    "DR_EVAL_MAX_RESETS": "NUMBER_OF_RESETS",
    "DR_EVAL_IS_CONTINUOUS": "IS_CONTINUOUS",
    "DR_EVAL_OFF_TRACK_PENALTY": "OFF_TRACK_PENALTY",
    "DR_EVAL_COLLISION_PENALTY": "COLLISION_PENALTY",
    "DR_EVAL_RESET_BEHIND_DIST": "RESET_BEHIND_DIST",
}
"""Variable -> YAML key. Where a new and an old spelling both stand in a file, the one further down here counts."""

_JOBS: dict[str, Job] = {"DR_TRAIN_": "TRAINING", "DR_EVAL_": "EVALUATION"}
_RACES = {"DR_OA_": "OBJECT_AVOIDANCE", "DR_H2B_": "HEAD_TO_BOT"}
_MODEL: dict[Job, str] = {"TRAINING": "MODEL_NAME", "EVALUATION": "MODEL_S3_PREFIX"}
_NO_EFFECT = (
    *("DR_TRAIN_MULTI_CONFIG", "DR_TRAIN_RTF", "DR_TRAIN_MAX_STEPS_PER_ITERATION", "DR_EVAL_SAVE_MP4", "DR_EVAL_RTF"),
    *("DR_EVAL_CHECKPOINT", "DR_EVAL_DEBUG_REWARD", "DR_OA_OBSTACLE_TYPE", "DR_H2B_BOT_CAR_PENALTY"),
)
MOST_VALUE_CHARACTERS = 10_000
"""Variables that name each other twice would otherwise grow to more than there is memory for."""
_LINE = re.compile(r"(?:export\s+)?([A-Za-z_]\w*)=(.*)")


def read_drfc_env(text: str, where: str, job: Job, strict: bool = True) -> RunParams:
    """What a run.env (system.env, or both together) says for a training or an evaluation.

    As there, obstacle variables count in OBJECT_AVOIDANCE only and bot variables in HEAD_TO_BOT only. Of the many
    others, those that begin like ours but are unknown are an InputError, or with strict=False a warning.
    """
    found = _lines(text, where, strict)
    race_type = str(found["DR_RACE_TYPE"].value).strip().upper() if "DR_RACE_TYPE" in found else "TIME_TRIAL"
    entries: dict[str, Entry] = {}
    for variable, key in VARIABLES.items():
        of_job = next((to for start, to in _JOBS.items() if variable.startswith(start)), job)
        of_race = next((to for start, to in _RACES.items() if variable.startswith(start)), race_type)
        if variable in found and of_job == job and of_race == race_type and key in FIELDS[job]:
            entries[key] = Entry(key, found[variable].value, found[variable].place)
    if "DR_LOCAL_S3_MODEL_PREFIX" in found:
        model = found["DR_LOCAL_S3_MODEL_PREFIX"]
        entries[_MODEL[job]] = Entry(_MODEL[job], model.value, model.place)
    params = params_of(entries, job, strict)
    positions = params.values.get("race", {}).get("object_positions")
    if positions:
        params.values["race"]["number_of_obstacles"] = len(positions)
    return params


def _lines(text: str, where: str, strict: bool) -> dict[str, Entry]:
    """Variable -> entry with shell quotes, comments and $OTHER references resolved; the last one of a name counts."""
    found: dict[str, Entry] = {}
    for number, line in enumerate(text.splitlines(), 1):
        if not line.strip() or line.lstrip().startswith("#"):
            continue
        match = _LINE.fullmatch(line.strip())
        place = f"{where}, line {number}"
        if not match:
            raise InputError(place, line, "lines of NAME=value, and comments after #", "correct the line, or delete it")
        name, place = match[1], f"{place}: {match[1]}"
        try:
            words = shlex.split(match[2], comments=True)
        except ValueError as error:
            raise InputError(place, match[2], f"a shell word: {error}", "close the quote") from None
        value = re.sub(r"\$\{?(\w+)\}?", lambda m: str(found[m[1]].value) if m[1] in found else m[0], " ".join(words))
        if len(value) > MOST_VALUE_CHARACTERS:
            rule = f"at most {MOST_VALUE_CHARACTERS:,} characters, with those of the variables in it"
            raise InputError(place, f"{value[:40]}...", rule, "shorten it")
        if name.startswith((*_JOBS, *_RACES)) and not (
            name in VARIABLES or name in _NO_EFFECT or name.startswith("DR_EVAL_OPP_")
        ):
            guess = nearest(name, [*VARIABLES, *_NO_EFFECT])
            fix = f"did you mean {guess!r}?" if guess else "delete the line"
            if strict:
                raise InputError(place, name, "a variable of deepracer-for-cloud", fix)
            warnings.warn(f"{place}: unknown variable ignored; {fix}", stacklevel=3)
        found[name] = Entry(name, value, place)
    return found
