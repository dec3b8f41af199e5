"""RunConfig: everything that makes a run repeatable, frozen and strict. The serialised config is the job."""

import json
import re
from typing import Any, Literal, Self

from pydantic import Field, ValidationError, field_serializer, field_validator, model_validator
from pydantic.config import JsonDict

from contract.car import Car
from contract.conditions import RandomizationConfig
from contract.errors import InputError
from contract.fields import Strict, broken_rule, load_object
from contract.learning import LearningConfig

RaceType = Literal["TIME_TRIAL", "OBJECT_AVOIDANCE", "HEAD_TO_BOT", "HEAD_TO_MODEL"]
CarColor = Literal["Black", "Grey", "Blue", "Red", "Orange", "White", "Purple"]
Precision = Literal["auto", "float32", "bfloat16"]
SimulatorKind = Literal["builtin", "gazebo"]
Which = Literal["best", "last"]
"""Of a run's checkpoints."""
ObjectPosition = tuple[float, Literal[1, -1]]
ParkPosition = tuple[float, float]
DoneCondition = Literal["any", "all"]

RUN_NAME_RULE = "letters, digits, '.', '_' and '-', starting with a letter or digit, at most 64 characters"


def is_run_name(name: str) -> bool:
    """Whether RUN_NAME_RULE holds, so that the name is safe as a folder and in a key."""
    return re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}", name) is not None


_NAME_FIX = "give another name"


def check_run_name(name: str, where: str) -> None:
    """InputError unless RUN_NAME_RULE holds; `where` is the option or argument that names the run."""
    if not is_run_name(name):
        near = re.sub(r"[^A-Za-z0-9._-]+", "-", name).lstrip("._-")[:64].rstrip("-")
        raise InputError(where, name, f"a name is {RUN_NAME_RULE}", f"for example {near}" if near else _NAME_FIX)


def param(key: str, default: Any, *, training_too: bool = False, description: str | None = None, **rules: Any) -> Any:
    """A field that YAMLs of run parameters and run.env files set under `key`, a name of AWS's (contract.params).

    training_too   a field of an evaluation whose key holds for training episodes as well
    rules          pydantic's, such as ge and le
    """
    extra: JsonDict = {"param": key, "training_too": training_too}
    return Field(default=default, description=description, json_schema_extra=extra, **rules)


class RaceConfig(Strict):
    """What is on the track besides the racer."""

    race_type: RaceType = param("RACE_TYPE", "TIME_TRIAL", description="what is on the track")
    number_of_obstacles: int = param("NUMBER_OF_OBSTACLES", 0, ge=0, le=50, description="boxes on the track")
    min_distance_between_obstacles: float = param(
        "MIN_DISTANCE_BETWEEN_OBSTACLES",
        2.0,
        gt=0,
        description="apart at least, in per cent of the lap (obstacle_distance_in)",
    )
    obstacle_distance_in: Literal["metres", "percent"] = Field(
        default="percent",
        description="what that is: per cent of the lap, 0.5 m at least, as AWS's simulator since 2024-10; or metres",
    )
    objects_heading_in: Literal["degrees", "radians"] = Field(
        default="radians",
        description="a reward param: radians as AWS's simulator gives it, or degrees as its documentation says",
    )
    randomize_obstacle_locations: bool = param(
        "RANDOMIZE_OBSTACLE_LOCATIONS", False, description="new places each episode"
    )
    is_obstacle_bot_car: bool = param("IS_OBSTACLE_BOT_CAR", False, description="parked cars instead of boxes")
    object_positions: tuple[ObjectPosition, ...] = param(
        "OBJECT_POSITIONS",
        (),
        description="(lap fraction, lane +1 inner or -1 outer); goes before the rest",
    )
    number_of_bot_cars: int = param("NUMBER_OF_BOT_CARS", 0, ge=0, le=50, description="bot cars on the track")
    bot_car_speed: float = param("BOT_CAR_SPEED", 0.2, ge=0, le=4, description="m/s")
    min_distance_between_bot_cars: float = param(
        "MIN_DISTANCE_BETWEEN_BOT_CARS", 2.0, gt=0, description="m along the road"
    )
    randomize_bot_car_locations: bool = param(
        "RANDOMIZE_BOT_CAR_LOCATIONS", False, description="new places each episode"
    )
    is_lane_change: bool = param("IS_LANE_CHANGE", False, description="bot cars change lanes")
    lower_lane_change_time: float = param("LOWER_LANE_CHANGE_TIME", 3.0, gt=0, description="s between changes")
    upper_lane_change_time: float = param("UPPER_LANE_CHANGE_TIME", 5.0, gt=0, description="s between changes")
    lane_change_distance: float = param("LANE_CHANGE_DISTANCE", 1.0, gt=0, description="m along the road")
    penalty_seconds: float = param(
        "PENALTY_SECONDS", 2.0, ge=0, description="for which bot cars stand when one has run up behind a car"
    )
    bots_halt: bool = Field(
        default=True,
        description="all bot cars stand then, as in AWS's simulator; false: that one alone, while the car is there",
    )
    number_of_reverse_counts: int = param(
        "NUMBER_OF_REVERSE_COUNTS", 15, ge=1, description="steps running of falling progress are `reversed`"
    )

    @model_validator(mode="after")
    def _lane_change_times_in_order(self) -> Self:
        if self.lower_lane_change_time > self.upper_lane_change_time:
            raise ValueError(
                f"lower_lane_change_time {self.lower_lane_change_time} is above "
                f"upper_lane_change_time {self.upper_lane_change_time}; swap the two"
            )
        return self


class TrainingConfig(Strict):
    """How long to train and how episodes start."""

    max_iterations: int = Field(default=60, ge=1, description="iterations after which training ends")
    max_steps: int = Field(default=45_000, ge=1, description="training steps after which no further iteration begins")
    max_minutes: float = Field(
        default=0.0, ge=0, description="minutes of a session after which no further iteration begins; 0 means no limit"
    )
    max_episodes: int = param("NUMBER_OF_EPISODES", 0, ge=0, description="0 means no limit")
    target_reward_score: float | None = param(
        "TARGET_REWARD_SCORE", None, description="stop when an iteration's evaluations reach this mean reward"
    )
    clean_evaluations: int = Field(
        default=3, ge=0, description="stop after this many evaluations in a row with only complete laps; 0 never stops"
    )
    min_eval_trials: int = param("MIN_EVAL_TRIALS", 5, ge=1, le=100, description="laps after each iteration")
    number_of_resets: int = param("NUMBER_OF_RESETS", 0, ge=0, description="in a training episode")
    off_track_penalty: float = param("OFF_TRACK_PENALTY", 0.0, ge=0, description="s that such a reset takes")
    collision_penalty: float = param("COLLISION_PENALTY", 0.0, ge=0, description="s that such a reset takes")
    change_start_position: bool = param(
        "CHANGE_START_POSITION", True, description="the start moves on from episode to episode"
    )
    alternate_driving_direction: bool = param(
        "ALTERNATE_DRIVING_DIRECTION", False, description="every other episode the other way round"
    )
    round_robin_advance_dist: float = param(
        "ROUND_ROBIN_ADVANCE_DIST", 0.05, ge=0, le=1, description="lap fraction that it moves on by"
    )
    start_line_share: float = param(
        "START_LINE_SHARE", 0.0, ge=0, le=1, description="share of episodes that begin as an evaluation's laps do"
    )
    start_position_offset: float = param("START_POSITION_OFFSET", 0.0, ge=0, le=1, description="lap fraction")
    max_episode_steps: int = Field(default=2_000, ge=20, description="longer episodes are cut, and bootstrapped")
    best_model_metric: Literal["progress", "reward", "laptime"] = param(
        "BEST_MODEL_METRIC", "progress", description="progress, reward or laptime: what the best checkpoint is best in"
    )


class EvaluationConfig(Strict):
    """An evaluation."""

    number_of_trials: int = param("NUMBER_OF_TRIALS", 5, ge=1, le=1_000, description="laps to drive")
    number_of_resets: int = param(
        "NUMBER_OF_RESETS", 10_000, ge=0, description="of a lap; with IS_CONTINUOUS of the whole race"
    )
    is_continuous: bool = param("IS_CONTINUOUS", False, description="laps follow each other without a stop")
    off_track_penalty: float = param("OFF_TRACK_PENALTY", 2.0, ge=0, description="seconds")
    collision_penalty: float = param("COLLISION_PENALTY", 5.0, ge=0, description="seconds")
    reverse_penalty: float | None = param(
        "REVERSE_PENALTY", None, ge=0, description="seconds; none: that of leaving the road"
    )
    immobilized_penalty: float = param("IMMOBILIZED_PENALTY", 0.0, ge=0, description="seconds")
    reset_behind_dist: float = param(
        "RESET_BEHIND_DIST", 1.0, ge=0, description="m behind what was hit", training_too=True
    )
    mercy_reset: bool = param(
        "ENABLE_MERCY_RESET",
        False,
        description="past an obstacle that a car is reset at again and again",
        training_too=True,
    )
    max_resets_after_crash: int = param(
        "MAX_RESETS_AFTER_CRASH", 3, ge=1, description="the reset at one obstacle that goes past it", training_too=True
    )
    reset_ahead_dist: float = param(
        "RESET_AHEAD_DIST", 1.0, ge=0, description="m past that obstacle", training_too=True
    )
    start_pos_offset: float = param(
        "START_POS_OFFSET", 0.75, ge=0, le=1, description="m from car to car on the grid of a race"
    )
    change_grid: bool = Field(
        default=False,
        description="heats of a race change who stands where on the grid, which is fairer; AWS's simulator does not",
    )
    start_beside: bool = Field(
        default=False,
        description="who would start in an obstacle or a bot car starts in another lane, as training episodes do, or "
        "further back; AWS's simulator does not look in evaluations",
    )
    done_condition: DoneCondition = param(
        "DONE_CONDITION",
        "any",
        description="a race ends with the first car that is done, or goes on until all are",
    )
    park_positions: tuple[ParkPosition, ...] = param(
        "PARK_POSITIONS", (), description="(x, y) m where cars that are done stand; none: beside the track"
    )
    race_duration_s: float = param(
        "RACE_DURATION", 0.0, ge=0, description="s after which a race is `time_up`; 0 is no limit"
    )
    start_position_offset: float = param("START_POSITION_OFFSET", 0.0, ge=0, le=1, description="lap fraction")
    max_lap_steps: int = Field(default=5_000, ge=20, description="a lap that takes longer ends as time_up")
    start_jitter_m: float = Field(
        default=0.01, ge=0, le=0.2, description="standard deviation of the lateral start, as recorded (docs/races.md)"
    )
    start_jitter_deg: float = Field(
        default=2.0, ge=0, le=20, description="standard deviation of the start heading, as recorded"
    )


class WorldConfig(Strict):
    """What one of several worlds of a training has of its own; what is not set is the run's."""

    track: str | None = None
    reverse_dir: bool | None = None
    simulator: SimulatorKind | None = None
    race: RaceConfig | None = None
    enable_domain_randomization: bool | None = None
    randomization: RandomizationConfig | None = None

    def own(self) -> dict[str, Any]:
        """Only what is set, as plain values, nested."""
        return self.model_dump(exclude_unset=True, exclude_none=True)


class RunConfig(Strict):
    """One run: what is trained, on what, from which seed. `to_json` and `from_json` round-trip."""

    name: str
    track: str = param("WORLD_NAME", "paddock", description="its name, NAME_cw, NAME_ccw, or a .npy route")
    reverse_dir: bool = param("REVERSE_DIR", False, description="drive the track the other way round")
    simulator: SimulatorKind = Field(default="builtin", description="the built-in one, or Gazebo (`make gazebo`)")
    race: RaceConfig = RaceConfig()
    enable_domain_randomization: bool = param(
        "ENABLE_DOMAIN_RANDOMIZATION", False, description="in training light, colours, camera and car vary by episode"
    )
    randomization: RandomizationConfig = RandomizationConfig()
    car: Car | None = Field(default=None, description="a car file; none: the car of the metadata's version")
    car_color: CarColor = param("CAR_COLOR", "Black")
    racer_name: str = param("RACER_NAME", "", max_length=64)
    display_name: str = param("DISPLAY_NAME", "", max_length=64, description="shown in races; empty: the run's")
    leaderboard_type: str = param("LEADERBOARD_TYPE", "", max_length=64)
    leaderboard_name: str = param("LEADERBOARD_NAME", "", max_length=64, description="shown in videos")
    seed: int = Field(default=0, ge=0, le=2**31 - 1, description="same seed, same numbers")
    cars: int = Field(default=20, ge=1, le=1_000, description="cars simulated side by side")
    threads: int = Field(default=0, ge=0, le=1_024, description="threads of the update and the camera; 0 means all")
    precision: Precision = Field(
        default="auto",
        description="of products in training; auto is bfloat16 where the CPU is faster in it. Evaluations: float32",
    )
    pretrained: str = Field(default="", description="run, model folder, archive or s3://bucket/prefix to begin from")
    pretrained_checkpoint: Which = Field(default="best", description="of the pretrained model")
    remap_actions: bool = Field(default=False, description="begin from a model with other actions")
    worlds: tuple[WorldConfig, ...] = Field(
        default=(),
        max_length=100,
        description="episode n drives in world n modulo their number; none: all in that of the run",
    )
    learning: LearningConfig = LearningConfig()
    training: TrainingConfig = TrainingConfig()
    evaluation: EvaluationConfig = EvaluationConfig()

    @field_validator("name")
    @classmethod
    def _name_is_a_folder(cls, name: str) -> str:
        if not is_run_name(name):
            raise ValueError(f"a name is {RUN_NAME_RULE}; {_NAME_FIX}")
        return name

    @field_serializer("worlds")
    def _only_what_is_set(self, worlds: tuple[WorldConfig, ...]) -> list[dict[str, Any]]:
        return [world.own() for world in worlds]

    @model_validator(mode="after")
    def _worlds_fit_the_run(self) -> Self:
        self.each_world()
        return self

    def each_world(self) -> "list[RunConfig]":
        """The config of every world, itself without worlds; at least one."""
        return [self.in_world(number) for number in range(max(len(self.worlds), 1))]

    def in_world(self, number: int) -> "RunConfig":
        """The config of a world: the run's with what the world has of its own."""
        if not self.worlds:
            return self
        values = self.model_dump(exclude={"worlds"})
        for key, value in self.worlds[number].own().items():
            values[key] = {**values[key], **value} if isinstance(value, dict) else value
        return RunConfig.model_validate(values)

    def to_json(self) -> str:
        return json.dumps(self.model_dump(), indent=2) + "\n"

    @classmethod
    def from_json(cls, text: str, where: str) -> Self:
        """Raise InputError naming `where` and the key for anything that is not a RunConfig."""
        return cls.build(load_object(text, where), where)

    @classmethod
    def build(cls, values: dict[str, Any], where: str) -> Self:
        """From plain values; InputError names the key, the value, the rule and the nearest known key."""
        try:
            return cls.model_validate(values)
        except ValidationError as err:
            broken = broken_rule(err, cls)
            raise InputError(f"{where}: {'.'.join(broken.key)}", broken.value, broken.rule, broken.fix) from None
