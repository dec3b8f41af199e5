"""`undercut new`: a racer's folder that passes the check and trains, ready to be changed."""

import json
import secrets
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import get_args

from contract.car import car_of_version
from contract.config import RUN_NAME_RULE, is_run_name
from contract.errors import InputError
from contract.fields import choice
from contract.metadata import ALGORITHMS, ActionKind, ModelMetadata
from contract.param_values import field_of
from contract.params import FIELDS
from simapp.tracks import Track, load_track
from undercut.runs.run import DEFAULT_METADATA, TRACKS, default_hyperparameters
from undercut.scaffold import RaceKind

RACING_PPO = {"discount_factor": 0.97, "num_episodes_between_training": 40}
"""What goes with a racing line besides the default: at 3.5 m/s a car brakes for what is two seconds away, and episodes
are short."""
_TEMPLATES = Path(__file__).parent / "templates"


@dataclass(frozen=True, slots=True)
class Wish:
    """What the folder is for. `new_folder` checks the words.

    `race_line` has the reward function follow the track's racing line, found with the wheels `margin_m` further inside
    than the rules ask for, and the actions (`count` of them, where they are discrete) are those that it needs.
    """

    name: str
    actions: str | None = None
    algorithm: str | None = None
    race: str = "TIME_TRIAL"
    track: str = "paddock"
    race_line: bool = False
    margin_m: float = 0.05
    count: int = 21


def new_folder(wish: Wish, at: Path) -> list[Path]:
    """Write `at`/NAME whole or not at all; its files. InputError where there is something of that name already."""
    target = at / wish.name
    if not is_run_name(wish.name):
        raise InputError("NAME", wish.name, f"a folder of this name: {RUN_NAME_RULE}", "choose another name")
    if target.exists():
        raise InputError(
            "NAME", str(target), "a folder that does not exist yet", "choose another name, or move it away"
        )
    contents = _contents(wish)
    stage = at / f".new-{secrets.token_hex(8)}"
    try:
        stage.mkdir(parents=True)
        for name, text in contents.items():
            (stage / name).write_text(text, encoding="utf-8")
        stage.rename(target)
    except OSError as error:
        rule = f"a folder that can be written: {error.strerror or error}"
        raise InputError("NAME", str(target), rule, "begin in a folder of your own, on a disk with room") from error
    finally:
        shutil.rmtree(stage, ignore_errors=True)
    return [target / name for name in contents]


def _contents(wish: Wish) -> dict[str, str]:
    race = choice(wish.race, "--race", get_args(RaceKind))
    algorithm = choice(wish.algorithm or "clipped_ppo", "--algorithm", ALGORITHMS)
    default = "continuous" if algorithm == "sac" else "discrete"
    kind = choice(wish.actions or default, "--actions", get_args(ActionKind))
    if algorithm == "sac" and kind == "discrete":
        raise InputError("--actions", kind, "SAC needs a continuous action space", "leave --actions out")
    track = load_track(wish.track, [TRACKS])
    metadata = DEFAULT_METADATA
    if wish.race_line and race != "TIME_TRIAL":
        raise InputError("--race", race, "a racing line is for a time trial", "leave --race out, or --race-line")
    if kind == "continuous":
        metadata = metadata.with_name(f"front_shallow_continuous_{'sac' if algorithm == 'sac' else 'ppo'}.json")
    if wish.race_line:
        return _following(wish, track, kind, metadata) | _words(wish, race)
    reward = (_TEMPLATES / ("time_trial.py" if race == "TIME_TRIAL" else "objects.py")).read_text(encoding="utf-8")
    speeds = json.loads(metadata.read_text(encoding="utf-8"))["action_space"]
    if isinstance(speeds, dict):
        slow, fast = speeds["speed"]["low"], speeds["speed"]["high"]
        reward = reward.replace("SLOWEST, FASTEST = 1.0, 2.0", f"SLOWEST, FASTEST = {float(slow)}, {float(fast)}")
    return {
        "reward_function.py": reward,
        "model_metadata.json": metadata.read_text(encoding="utf-8"),
        "hyperparameters.json": default_hyperparameters(metadata).read_text(encoding="utf-8"),
        **_words(wish, race),
    }


def _following(wish: Wish, track: Track, kind: str, pattern: Path) -> dict[str, str]:
    """Reward, metadata and hyperparameters of the track's racing line."""
    from undercut.line.actions import action_space
    from undercut.line.raceline import racing_line
    from undercut.line.reporting import metadata_json, reward_source

    line = racing_line(track, car_of_version(ModelMetadata.load(pattern).version), wish.margin_m)
    actions = action_space(line, None if kind == "continuous" else wish.count)
    hyperparameters = json.loads(default_hyperparameters(pattern).read_text(encoding="utf-8"))
    hyperparameters |= RACING_PPO if "discount_factor" in hyperparameters and "sac_alpha" not in hyperparameters else {}
    return {
        "reward_function.py": reward_source(line),
        "model_metadata.json": metadata_json(actions, line, pattern),
        "hyperparameters.json": json.dumps(hyperparameters, indent=2) + "\n",
    }


def _params(wish: Wish, race: str) -> str:
    """training_params.yaml: the keys that are changed most, with what they mean."""
    lines = [
        f"# How {wish.name} is trained: undercut train {wish.name} --folder {wish.name}",
        "# Every key, with what it means: actions/params/training_params.yaml",
        "",
        'JOB_TYPE: "TRAINING"',
        f'MODEL_NAME: "{wish.name}"',
    ]
    best = {"BEST_MODEL_METRIC": "laptime", "START_LINE_SHARE": "0.5"} if wish.race_line else {}
    for key, value in {"WORLD_NAME": wish.track, "RACE_TYPE": race, **_EPISODES, **best, **_OBJECTS[race]}.items():
        line = f'{key}: "{value}"'
        lines.append(f"{line:<39s} # {field_of(FIELDS['TRAINING'][key]).description}")
    return "\n".join(lines) + "\n"


def _words(wish: Wish, race: str) -> dict[str, str]:
    train = _PACE if wish.race_line else _TRAIN
    readme = _README.format(name=wish.name, train=train.format(name=wish.name))
    return {"training_params.yaml": _params(wish, race), "README.md": readme}


_EPISODES = {
    "CHANGE_START_POSITION": "true",
    "ALTERNATE_DRIVING_DIRECTION": "false",
    "ENABLE_DOMAIN_RANDOMIZATION": "false",
    "MIN_EVAL_TRIALS": "5",
    "BEST_MODEL_METRIC": "progress",
}
_OBJECTS = {
    "TIME_TRIAL": {},
    "OBJECT_AVOIDANCE": {
        "NUMBER_OF_OBSTACLES": "6",
        "MIN_DISTANCE_BETWEEN_OBSTACLES": "10.0",
        "RANDOMIZE_OBSTACLE_LOCATIONS": "true",
        "IS_OBSTACLE_BOT_CAR": "false",
    },
    "HEAD_TO_BOT": {
        "NUMBER_OF_BOT_CARS": "3",
        "BOT_CAR_SPEED": "0.2",
        "MIN_DISTANCE_BETWEEN_BOT_CARS": "2.0",
        "RANDOMIZE_BOT_CAR_LOCATIONS": "true",
        "IS_LANE_CHANGE": "false",
    },
}
_TRAIN = "undercut train {name} --folder {name}"
_PACE = f"""{_TRAIN} --minutes 30 --iterations 10000 --steps 100000000 \\
    --clean-evaluations 0 --workers 2 --learning critic=state --learning anneal_steps=400000"""
"""Half an hour of two cores, where a training to clean laps would stop at the first ones."""
_README = """\
# {name}

```
undercut check {name}
{train}
undercut evaluate {name}
```

The first says in a second whether everything fits together, and what the reward function pays for. The second trains
into `runs/{name}/` and goes on where it stopped when it is run again. The third drives laps and makes videos.

| file | what it is |
|---|---|
| `reward_function.py` | what the car is told to want |
| `model_metadata.json` | actions, sensors, network |
| `hyperparameters.json` | how it learns |
| `training_params.yaml` | track, race and how episodes begin |
"""
