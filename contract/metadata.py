"""model_metadata.json: a model's action space, sensors, network and algorithm (contract: model_metadata.json).

Absent keys mean what they mean to AWS's simulation application: no `action_space_type` is discrete, no
`training_algorithm` is clipped_ppo, no `neural_network` is the shallow one, and no `sensor` is the legacy single camera
that the network calls `observation`.
"""

import json
import math
import warnings
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, cast, get_args

import numpy as np
from numpy.typing import ArrayLike
from pydantic import Field
from pydantic.dataclasses import dataclass as pydantic_dataclass

from contract.errors import InputError, InputWarning
from contract.fields import (
    MISSING,
    Strict,
    at,
    check_keys,
    fields_of,
    load_object,
    number,
    read_text,
    read_value,
    suggestion,
    whole,
)
from contract.learning import CRITIC_STATE, CRITIC_STATE_SIZE
from contract.state import CAMERA_HEIGHT, CAMERA_WIDTH, Controls, FloatArray, IntArray
from contract.vehicle import MAX_SPEED_MPS, MIN_SPEED_MPS

Algorithm = Literal["clipped_ppo", "sac"]
ActionKind = Literal["discrete", "continuous"]
Network = Literal["DEEP_CONVOLUTIONAL_NETWORK_SHALLOW", "DEEP_CONVOLUTIONAL_NETWORK", "DEEP_CONVOLUTIONAL_NETWORK_DEEP"]

CAMERAS = ("FRONT_FACING_CAMERA", "STEREO_CAMERAS", "observation")
LIDARS = ("LIDAR", "SECTOR_LIDAR", "DISCRETIZED_SECTOR_LIDAR")
NETWORKS: tuple[Network, ...] = get_args(Network)
ALGORITHMS: tuple[Algorithm, ...] = get_args(Algorithm)
MIN_ACTIONS, MAX_ACTIONS = 2, 30
"""Of the console's form; the simulator drives any number."""
MAX_STEERING_DEG = 30.0
LIDAR_RAYS = 64
"""Rays of the LIDAR sensor; its sectors must divide them evenly."""
LIDAR_SECTORS = 8
"""Values of the SECTOR_LIDAR sensor, one bit a sector."""


@pydantic_dataclass(frozen=True)
class LidarConfig:
    """What DISCRETIZED_SECTOR_LIDAR makes of the rays; the defaults are AWS's."""

    num_sectors: int = Field(default=8, ge=1, le=LIDAR_RAYS, description="sectors, which share the rays evenly")
    num_values_per_sector: int = Field(default=8, ge=1, le=LIDAR_RAYS, description="bits of a sector's distance")
    # the lidar sees 0.15..12 m (contract: vehicle and camera)
    clipping_dist: float = Field(
        default=2.0,
        ge=0.15,
        le=12.0,
        description="metres; what is farther away is not seen",
        json_schema_extra={"unit": "m"},
    )


class MetadataFile(Strict):
    """The keys of a model_metadata.json. Words may be in any case, numbers may be written as words."""

    action_space: Any = Field(
        description=f"discrete: a list of `steering_angle` (-{MAX_STEERING_DEG:g}..{MAX_STEERING_DEG:g} degrees, left "
        f"positive), `speed` ({MIN_SPEED_MPS:g}..{MAX_SPEED_MPS:g} m/s) and, if you like, `index`; continuous: `low` "
        f"and `high` of both. What is beyond is clipped with a warning; the console's form has {MIN_ACTIONS} to "
        f"{MAX_ACTIONS} actions"
    )
    action_space_type: ActionKind = "discrete"
    sensor: list[str] = Field(
        default=["observation"],
        description=f"one of {', '.join(CAMERAS)}; at most one of {', '.join(LIDARS)}",
    )
    neural_network: Network = Field(default=NETWORKS[0], description="convolutional layers, few to many")
    training_algorithm: Algorithm = Field(default="clipped_ppo", description="sac needs continuous actions")
    version: int = Field(
        default=2,
        ge=1,
        description="which of AWS's cars drives: up to 4, or from 5 on (docs/vehicle.md); without sensors 1",
    )
    preprocess_type: Literal["GREY_SCALE"] | None = Field(default=None, description="carried along")
    regional_parameters: list[float | str] | None = Field(default=None, description="carried along")
    lidar_config: LidarConfig = Field(default=LidarConfig(), description="of DISCRETIZED_SECTOR_LIDAR")


@dataclass(frozen=True, eq=False)
class DiscreteActions:
    """A list of actions: steering_deg (A,) degrees, left positive; speed_mps (A,)."""

    steering_deg: FloatArray
    speed_mps: FloatArray

    def __post_init__(self) -> None:
        for name in ("steering_deg", "speed_mps"):
            values = np.array(getattr(self, name), dtype=np.float64)
            values.flags.writeable = False
            object.__setattr__(self, name, values)

    def __eq__(self, other: object) -> bool:
        return (
            isinstance(other, DiscreteActions)
            and np.array_equal(self.steering_deg, other.steering_deg)
            and np.array_equal(self.speed_mps, other.speed_mps)
        )

    def __hash__(self) -> int:
        return hash((self.steering_deg.tobytes(), self.speed_mps.tobytes()))

    @property
    def size(self) -> int:
        """Outputs of the policy: one per action."""
        return len(self.steering_deg)

    def controls(self, actions: IntArray) -> Controls:
        """Action indices (K,) -> controls (K,)."""
        return Controls(np.radians(self.steering_deg[actions]), self.speed_mps[actions])


@dataclass(frozen=True)
class ContinuousActions:
    """Ranges (low, high) of steering in degrees, left positive, and of speed."""

    steering_deg: tuple[float, float]
    speed_mps: tuple[float, float]

    @property
    def size(self) -> int:
        """Outputs of the policy: [steering, speed]."""
        return 2

    def controls(self, actions: ArrayLike) -> Controls:
        """Policy outputs (K, 2) as [steering, speed] -> controls (K,): -1 is low, +1 is high, beyond is clipped."""
        unit = (np.clip(np.asarray(actions, dtype=np.float64), -1.0, 1.0) + 1.0) / 2.0
        steering, speed = (low + unit[:, i] * (high - low) for i, (low, high) in enumerate(self._ranges))
        return Controls(np.radians(steering), speed)

    @property
    def _ranges(self) -> tuple[tuple[float, float], tuple[float, float]]:
        return self.steering_deg, self.speed_mps


@dataclass(frozen=True)
class ModelMetadata:
    """A parsed model_metadata.json; `raw` is the file's object as it was read.

    preprocess_type and regional_parameters are checked and carried along only: AWS's simulation application and the
    car's software read neither, and feed grey frames whatever they say.
    """

    actions: DiscreteActions | ContinuousActions
    sensors: tuple[str, ...]
    network: str
    algorithm: Algorithm
    version: int
    lidar_config: LidarConfig
    raw: dict[str, Any]

    @property
    def camera(self) -> str:
        """The one camera sensor as the file spells it: the name of the network's input."""
        return next(name for name in self.sensors if name in CAMERAS)

    @property
    def lidar(self) -> str | None:
        return next((name for name in self.sensors if name in LIDARS), None)

    def observation_shapes(self, with_state: bool = False) -> dict[str, tuple[int, ...]]:
        """Sensor name -> shape of one observation: (120, 160, channels) of a camera, (values,) of a lidar; and of the
        simulator's state for a critic."""
        config = self.lidar_config
        shapes = {name: (CAMERA_HEIGHT, CAMERA_WIDTH, 2 if name == "STEREO_CAMERAS" else 1) for name in CAMERAS}
        values = {
            "LIDAR": LIDAR_RAYS,
            "SECTOR_LIDAR": LIDAR_SECTORS,
            "DISCRETIZED_SECTOR_LIDAR": config.num_sectors * config.num_values_per_sector,
            CRITIC_STATE: CRITIC_STATE_SIZE,
        }
        names = (*self.sensors, *([CRITIC_STATE] if with_state else []))
        return {name: shapes[name] if name in shapes else (values[name],) for name in names}

    @classmethod
    def load(cls, path: Path, strict: bool = True, limits: bool = False) -> "ModelMetadata":
        return cls.parse(read_text(path, "model_metadata.json"), str(path), strict, limits)

    @classmethod
    def parse(
        cls, text: str, where: str = "model_metadata.json", strict: bool = True, limits: bool = False
    ) -> "ModelMetadata":
        """Check every key; InputError names file, key, value, rule, fix. With strict=False unknown keys only warn.

        Commands beyond the car's limits, other numbers of actions than the console's form has, and an `index` that is
        not an action's place are taken as AWS's simulator takes them, with an InputWarning each; with limits=True they
        are an InputError.
        """
        data = load_object(text, where)
        fields = MetadataFile.model_fields
        check_keys(data, fields, where, strict)

        def read(key: str) -> Any:
            field = fields[key]
            return read_value(field, data[key], at(where, key)) if key in data else field.default

        sensors, version = _sensors_and_version(data, where)
        beyond = _Beyond()
        actions = _actions(data, where, strict, beyond)
        beyond.warn(where, actions, limits)
        algorithm: Algorithm = read("training_algorithm")
        if algorithm == "sac" and isinstance(actions, DiscreteActions):
            raise InputError(
                at(where, "training_algorithm"),
                "sac",
                "SAC needs a continuous action space",
                'set "action_space_type" to "continuous" with low and high for both, or train with "clipped_ppo"',
            )
        read("preprocess_type")
        _check_regional(data.get("regional_parameters"), at(where, "regional_parameters"))
        return cls(
            actions=actions,
            sensors=sensors,
            network=read("neural_network"),
            algorithm=algorithm,
            version=version,
            lidar_config=_lidar_config(data.get("lidar_config"), at(where, "lidar_config"), strict),
            raw=data,
        )

    def to_json(self) -> str:
        """The file's text for writing back: the keys and values as they were read."""
        return json.dumps(self.raw, indent=2) + "\n"

    def complete_json(self) -> str:
        """The same with what its absent keys mean written out, for consoles, cars and tools that need them all.

        A file of version 1 still has no sensor list, since there is no name for its camera in one.
        """
        meant = {
            "action_space_type": "discrete" if isinstance(self.actions, DiscreteActions) else "continuous",
            "neural_network": self.network,
            "training_algorithm": self.algorithm,
            "version": str(self.version),
        }
        absent = {key: value for key, value in meant.items() if key not in self.raw}
        return json.dumps({**self.raw, **absent}, indent=2) + "\n"


def _sensors_and_version(data: dict[str, Any], where: str) -> tuple[tuple[str, ...], int]:
    """Sensors and version stand together: an unversioned file is version 2 when it lists sensors, else version 1."""
    place = at(where, "sensor")
    listed = data.get("sensor", ["observation"])
    if not isinstance(listed, list) or not all(isinstance(name, str) for name in listed):
        raise InputError(place, listed, "a list of sensor names", 'write for example ["FRONT_FACING_CAMERA"]')
    known = CAMERAS + LIDARS
    for i, name in enumerate(listed):
        if name not in known:
            fix = suggestion(name, known, "choose one of them")
            raise InputError(f"{place}[{i}]", name, f"one of {', '.join(known)}", fix)
    if sum(name in CAMERAS for name in listed) != 1:
        raise InputError(
            place, listed, f"exactly one camera: one of {', '.join(CAMERAS)}", "name one of them, and no other"
        )
    if sum(name in LIDARS for name in listed) > 1:
        raise InputError(place, listed, f"at most one of {', '.join(LIDARS)}", "keep one lidar and delete the others")
    version = whole(data.get("version", 2 if "sensor" in data else 1), at(where, "version"), 1)
    if version == 1 and listed != ["observation"]:
        raise InputError(
            at(where, "version"),
            data["version"],
            "version 1 files know only the legacy camera and have no sensor list",
            'set "version" to 4, or delete "sensor"',
        )
    return tuple(listed), version


class _Beyond:
    """What is beyond the console's form in an action space: the refusals that it would be, by kind."""

    def __init__(self) -> None:
        self.commands: list[InputError] = []
        self.others: list[tuple[InputError, str]] = []

    def warn(self, where: str, actions: DiscreteActions | ContinuousActions, limits: bool) -> None:
        """Raise the first, or warn of each kind, once."""
        refusals = [*self.commands, *(error for error, _ in self.others)]
        if limits and refusals:
            raise refusals[0]
        if self.commands:
            first = self.commands[0]
            more = f" and {len(self.commands) - 1} more are" if len(self.commands) > 1 else " is"
            text = (
                f"{first.where}: {first.value}{more} beyond what the car does; it drives with {_clipped(actions)}, "
                f"as in AWS's simulator, which clips to -{MAX_STEERING_DEG:g}..{MAX_STEERING_DEG:g} degrees and "
                f"{MIN_SPEED_MPS:g}..{MAX_SPEED_MPS:g} m/s"
            )
            warnings.warn(text, InputWarning, stacklevel=4)
        for error, instead in {hint: (error, hint) for error, hint in reversed(self.others)}.values():
            warnings.warn(f"{error.where}: {error.value}: {instead}", InputWarning, stacklevel=4)


def _clipped(actions: DiscreteActions | ContinuousActions) -> str:
    """For example "-30 to 30 degrees, 1 to 4 m/s"."""
    angles = np.clip(actions.steering_deg, -MAX_STEERING_DEG, MAX_STEERING_DEG)
    speeds = np.clip(actions.speed_mps, MIN_SPEED_MPS, MAX_SPEED_MPS)
    return f"{angles.min():g} to {angles.max():g} degrees, {speeds.min():g} to {speeds.max():g} m/s"


def _actions(data: dict[str, Any], where: str, strict: bool, beyond: _Beyond) -> DiscreteActions | ContinuousActions:
    place = at(where, "action_space")
    space = data.get("action_space", MISSING)
    if space is MISSING:
        raise InputError(place, MISSING, "a model has an action space", "add the key; actions/default.json shows one")
    field = MetadataFile.model_fields["action_space_type"]
    kind = read_value(field, data.get("action_space_type", field.default), at(where, "action_space_type"))
    read: Any = _discrete if kind == "discrete" else _continuous
    return cast(DiscreteActions | ContinuousActions, read(space, place, strict, beyond))


def _discrete(space: Any, place: str, strict: bool, beyond: _Beyond) -> DiscreteActions:
    rule = f"a discrete action space is a list of {MIN_ACTIONS} to {MAX_ACTIONS} actions"
    if isinstance(space, dict):
        raise InputError(place, space, rule, 'for low and high ranges set "action_space_type" to "continuous"')
    if not isinstance(space, list):
        raise InputError(place, space, rule, 'write for example [{"steering_angle": -30, "speed": 1.0}, ...]')
    if not MIN_ACTIONS <= len(space) <= MAX_ACTIONS:
        fix = "delete some" if len(space) > MAX_ACTIONS else "add some"
        refusal = InputError(place, f"{len(space)} action{'s' * (len(space) != 1)}", rule, f"{fix} actions")
        if not space:
            raise refusal
        form = f"the console's form has {MIN_ACTIONS} to {MAX_ACTIONS}; AWS's simulator drives any number, and so here"
        beyond.others.append((refusal, form))
    steering, speed = [], []
    for i, action in enumerate(space):
        here = f"{place}[{i}]"
        _check_object(action, here, ("steering_angle", "speed"), ("index",), strict)
        steering.append(_steering_deg(action["steering_angle"], f"{here}.steering_angle", beyond))
        speed.append(_speed_mps(action["speed"], f"{here}.speed", beyond))
        if "index" in action and whole(action["index"], f"{here}.index", 0) != i:
            rule = "an action's index is its position in the list, from 0"
            refusal = InputError(f"{here}.index", action["index"], rule, f"write {i}, or leave every index out")
            beyond.others.append((refusal, "the place in the list counts, from 0; nobody reads index"))
    return DiscreteActions(np.array(steering), np.array(speed))


def _continuous(space: Any, place: str, strict: bool, beyond: _Beyond) -> ContinuousActions:
    if isinstance(space, list):
        rule = "a continuous action space is an object with the ranges of steering_angle and speed"
        raise InputError(place, space, rule, 'for a list of actions set "action_space_type" to "discrete"')
    _check_object(space, place, ("steering_angle", "speed"), (), strict)
    ranges = []
    for key, read in (("steering_angle", _steering_deg), ("speed", _speed_mps)):
        here = f"{place}.{key}"
        _check_object(space[key], here, ("low", "high"), (), strict)
        low, high = read(space[key]["low"], f"{here}.low", beyond), read(space[key]["high"], f"{here}.high", beyond)
        if low > high:
            raise InputError(here, space[key], "low is at most high", "swap the two values")
        ranges.append((low, high))
    return ContinuousActions(*ranges)


def _check_object(value: Any, here: str, required: tuple[str, ...], optional: tuple[str, ...], strict: bool) -> None:
    """An object with every required key, and no other than the optional ones."""
    if not isinstance(value, dict):
        shape = ", ".join(f'"{key}": ...' for key in required)
        raise InputError(here, value, f"an object with {' and '.join(required)}", f"write {{{shape}}}")
    check_keys(value, required + optional, here, strict)
    for key in required:
        if key not in value:
            raise InputError(f"{here}.{key}", MISSING, f"an object with {' and '.join(required)}", f"add {key!r}")


def _steering_deg(value: Any, here: str, beyond: _Beyond) -> float:
    return _command(value, here, -MAX_STEERING_DEG, MAX_STEERING_DEG, "degrees", beyond)


def _speed_mps(value: Any, here: str, beyond: _Beyond) -> float:
    return _command(value, here, MIN_SPEED_MPS, MAX_SPEED_MPS, "m/s", beyond)


def _command(value: Any, here: str, low: float, high: float, unit: str, beyond: _Beyond) -> float:
    try:
        return number(value, here, low, high, unit)
    except InputError as error:
        command = number(value, here, -math.inf, math.inf)
        beyond.commands.append(error)
        return command


def _check_regional(value: Any, here: str) -> None:
    """Carried along unread, as AWS's consoles write it: a list of plain values."""
    plain = isinstance(value, list) and all(isinstance(item, int | float | str) for item in value)
    if value is not None and not plain:
        raise InputError(here, value, "a list of numbers or words, or null", "write for example [0, 0, 0, 0]")


def _lidar_config(value: Any, here: str, strict: bool) -> LidarConfig:
    if value is None:
        return LidarConfig()
    fields = fields_of(LidarConfig)
    _check_object(value, here, (), tuple(fields), strict)
    given = {key: read_value(fields[key], value[key], f"{here}.{key}") for key in fields if key in value}
    config = LidarConfig(**given)
    if LIDAR_RAYS % config.num_sectors:
        rule = f"the sectors share {LIDAR_RAYS} rays evenly"
        raise InputError(f"{here}.num_sectors", value["num_sectors"], rule, "choose 1, 2, 4, 8, 16, 32 or 64")
    return config
