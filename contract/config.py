"""RunConfig: everything that makes a run repeatable, frozen and strict. The serialised config is the job."""

import difflib
import json
from typing import Any, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator

from contract.errors import InputError

RUN_NAME_RULE = "letters, digits, '.', '_' and '-', starting with a letter or digit, at most 64 characters"


class TrainingConfig(BaseModel):
    """How long to train and how episodes start. The names in brackets are the guidance's YAML keys."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    max_iterations: int = Field(default=60, ge=1)
    max_steps: int = Field(default=45_000, ge=1, description="training steps after which no further iteration begins")
    max_minutes: float = Field(default=0.0, ge=0, description="wall-clock budget of one session; 0 means none")
    max_episodes: int = Field(default=0, ge=0, description="[NUMBER_OF_EPISODES] 0 means no limit")
    clean_evaluations: int = Field(
        default=5, ge=0, description="stop after this many evaluations in a row with only complete laps; 0 never stops"
    )
    min_eval_trials: int = Field(default=5, ge=1, le=100, description="[MIN_EVAL_TRIALS] laps after each iteration")
    change_start_position: bool = Field(default=True, description="[CHANGE_START_POSITION]")
    round_robin_advance_dist: float = Field(default=0.05, ge=0, le=1, description="[ROUND_ROBIN_ADVANCE_DIST]")
    start_position_offset: float = Field(default=0.0, ge=0, le=1, description="[START_POSITION_OFFSET] lap fraction")
    max_episode_steps: int = Field(default=2_000, ge=20, description="longer episodes are cut, and bootstrapped")
    best_model_metric: Literal["progress", "reward"] = Field(default="progress", description="[BEST_MODEL_METRIC]")


class EvaluationConfig(BaseModel):
    """A time-trial evaluation. The names in brackets are the guidance's YAML keys."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    number_of_trials: int = Field(default=5, ge=1, le=1_000, description="[NUMBER_OF_TRIALS]")
    number_of_resets: int = Field(default=10_000, ge=0, description="[NUMBER_OF_RESETS] a lap")
    off_track_penalty: float = Field(default=2.0, ge=0, description="[OFF_TRACK_PENALTY] seconds")
    max_lap_steps: int = Field(default=5_000, ge=20, description="a lap that takes longer ends as time_up")
    start_jitter_m: float = Field(
        default=0.02, ge=0, le=0.2, description="standard deviation of the lateral start; a simulator that repeats "
        "bit for bit would otherwise drive the same lap every trial"
    )  # fmt: skip
    start_jitter_deg: float = Field(default=2.0, ge=0, le=20, description="standard deviation of the start heading")


class RunConfig(BaseModel):
    """One run: what is trained, on what, from which seed. `to_json` and `from_json` round-trip."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str
    track: str = "paddock"
    reverse_dir: bool = Field(default=False, description="[REVERSE_DIR] drive the track the other way round")
    seed: int = Field(default=0, ge=0, lt=2**31)
    cars: int = Field(default=20, ge=1, le=1_000, description="cars simulated side by side")
    threads: int = Field(default=0, ge=0, le=1_024, description="threads of the update and the camera; 0 means all")
    training: TrainingConfig = TrainingConfig()
    evaluation: EvaluationConfig = EvaluationConfig()

    @field_validator("name")
    @classmethod
    def _name_is_a_folder(cls, name: str) -> str:
        plain = name.replace("-", "a").replace("_", "a").replace(".", "a")
        if not (plain.isascii() and plain.isalnum() and name[0].isalnum() and len(name) <= 64):
            raise ValueError(f"a run name is {RUN_NAME_RULE}")
        return name

    def to_json(self) -> str:
        return json.dumps(self.model_dump(), indent=2) + "\n"

    @classmethod
    def from_json(cls, text: str, where: str) -> Self:
        """Raise InputError naming `where` and the key for anything that is not a RunConfig."""
        try:
            return cls.build(json.loads(text), where)
        except json.JSONDecodeError as err:
            raise InputError(f"{where}:{err.lineno}:{err.colno}", text[:40], "the file is JSON", err.msg) from None

    @classmethod
    def build(cls, values: dict[str, Any], where: str) -> Self:
        """From plain values; InputError names the key, the value, the rule and the nearest known key."""
        try:
            return cls.model_validate(values)
        except ValidationError as err:
            first = err.errors()[0]
            key = ".".join(str(part) for part in first["loc"])
            fix = "change the value"
            if first["type"] == "extra_forbidden":
                near = difflib.get_close_matches(key.split(".")[-1], _all_keys(), n=1)
                fix = f"did you mean {near[0]!r}?" if near else "remove the key"
            raise InputError(f"{where}: {key}", first.get("input"), first["msg"], fix) from None


def _all_keys() -> list[str]:
    return [*RunConfig.model_fields, *TrainingConfig.model_fields, *EvaluationConfig.model_fields]
