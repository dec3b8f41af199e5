"""league.yaml: the rules and seeds that all submissions of a league are driven by, and what a submission may be."""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict
from typing import TYPE_CHECKING, Any, Literal, Self

import numpy as np
from pydantic import BaseModel, Field, TypeAdapter, ValidationError, field_validator, model_validator

from contract.car import Car, car_of_version
from contract.conditions import RandomizationConfig
from contract.config import EvaluationConfig, RaceConfig, RunConfig
from contract.errors import InputError
from contract.fields import Strict, broken_rule, fields_of, suggestion
from contract.yamlfile import place_of, read_nested

if TYPE_CHECKING:
    from simapp.tracks import Track

RULES = "league.yaml"
MAX_LAPS = 1_000
RankBy = Literal["best_lap", "mean_lap"]
LeagueCar = Literal["v5", "v4", "own"]
_FIX = "see docs/league.md for one"
_CAR = TypeAdapter(Car)


class SubmissionLimits(Strict):
    """What a submission may be and take. All is checked, or held by the system, before or while it drives."""

    bundle_mb: float = Field(default=256.0, gt=0, le=2_048, description="MB of a submission's file")
    unpacked_mb: float = Field(default=1_024.0, gt=0, le=2_048, description="MB that it unpacks to")
    files: int = Field(default=5_000, ge=1, le=100_000, description="files and folders in it")
    graph_mb: float = Field(default=64.0, gt=0, le=1_024, description="MB of the network that drives: its weights")
    memory_mb: int = Field(default=4_096, ge=512, le=1_000_000, description="MB that its process may take")
    seconds: float = Field(
        default=600.0, gt=0, le=86_400, description="its policy may take for all laps, of CPU time and by the clock"
    )


class LeagueFile(Strict):
    """The file's keys."""

    title: str = Field(default="League", max_length=100, description="of the page; none: the folder's name")
    track: str = Field(description="its name, NAME_cw or NAME_ccw; the league's own lie in its tracks/")
    reverse_dir: bool = Field(default=False, description="drive the track the other way round")
    rank_by: RankBy = Field(
        default="best_lap",
        description="best_lap, or mean_lap: the mean of all laps, where who has completed more is ahead",
    )
    laps: int = Field(default=5, ge=1, le=MAX_LAPS, description="that each submission drives with each seed")
    seeds: tuple[int, ...] = Field(default=(0,), min_length=1, description="the same for all")
    car: LeagueCar | Car = Field(
        default="v5",
        description="that all drive: v5, v4, the keys of a car file, or own: the one of each model's version",
    )
    race: RaceConfig = RaceConfig()
    evaluation: EvaluationConfig = EvaluationConfig()
    enable_domain_randomization: bool = Field(default=False, description="in the laps, the same for all")
    randomization: RandomizationConfig = RandomizationConfig()
    limits: SubmissionLimits = SubmissionLimits()
    shown: int = Field(default=5, ge=0, le=100, description="of the ranking, with a map and a video")

    @field_validator("car", mode="before")
    @classmethod
    def _keys_of_a_car_file(cls, car: Any) -> Any:
        """What they leave out is version 5's, as in a file."""
        if not isinstance(car, dict):
            return car
        for key in car:
            if key not in fields_of(Car):
                rule = f"v5, v4, own, or keys of a car file, and {key!r} is none"
                raise ValueError(f"{rule}; {suggestion(str(key), fields_of(Car), 'delete the key')}")
        try:
            return _CAR.validate_python({**asdict(car_of_version(5)), "name": "league", **car})
        except ValidationError as error:
            broken = broken_rule(error, Car)
            raise ValueError(f"{'.'.join(broken.key)}: {broken.rule}; {broken.fix}") from None

    @model_validator(mode="after")
    def _fits_together(self) -> Self:
        if any(not 0 <= seed < 2**31 for seed in self.seeds) or len(set(self.seeds)) < len(self.seeds):
            raise ValueError("seeds are different whole numbers from 0 to 2147483647; change them")
        if len(self.seeds) * self.laps > MAX_LAPS:
            raise ValueError(f"{len(self.seeds)} seeds of {self.laps} laps are more than {MAX_LAPS} laps; drive fewer")
        if "number_of_trials" in self.evaluation.model_fields_set:
            raise ValueError("how many laps are driven is said by `laps`; delete evaluation.number_of_trials")
        if self.race.race_type == "HEAD_TO_MODEL":
            raise ValueError(
                "submissions drive alone, past boxes or bot cars at most; undercut race has races of models"
            )
        return self

    def config(self, seed: int) -> RunConfig:
        """What a submission is driven by with one of the seeds."""
        return RunConfig(
            name="league",
            track=self.track,
            reverse_dir=self.reverse_dir,
            race=self.race,
            evaluation=self.evaluation.model_copy(update={"number_of_trials": self.laps}),
            enable_domain_randomization=self.enable_domain_randomization,
            randomization=self.randomization,
            car=None if self.car == "own" else self.car_for(5),
            seed=seed,
            threads=1,
        )

    def car_for(self, version: float) -> Car:
        """The car that a model of this version drives."""
        if isinstance(self.car, Car):
            return self.car
        return car_of_version({"own": version, "v4": 4, "v5": 5}[self.car])

    def digest(self, track: "Track", toolkit: str) -> str:
        """Of all that lap times depend on beside the submission, and of what refuses one. Results of another digest are
        driven anew. `toolkit` is the version of this one."""
        rules = self.model_dump(mode="json", exclude={"title", "shown", "rank_by"})
        digest = hashlib.sha256(json.dumps([rules, toolkit], sort_keys=True).encode())
        digest.update(np.ascontiguousarray(track.route, "<f8").tobytes())
        return digest.hexdigest()

    @classmethod
    def parse(cls, text: str, where: str) -> Self:
        """InputError with file, line, key, value, rule and fix."""
        content, lines = read_nested(text, where, _FIX)
        try:
            return cls.model_validate(content)
        except ValidationError as error:
            broken = broken_rule(error, cls, ("Car",))
            raise InputError(place_of(where, lines, broken.key), broken.value, broken.rule, broken.fix) from None


def new_file(track: str, title: str, laps: int, seeds: tuple[int, ...], rank_by: str, car: str) -> str:
    """The text of a new league's file: the keys that are changed most, with what they mean."""
    given = {"title": title, "track": track, "rank_by": rank_by, "laps": laps, "seeds": list(seeds), "car": car}
    parts: tuple[tuple[type[BaseModel], str, Mapping[str, Any]], ...] = (
        (LeagueFile, "", given),
        (RaceConfig, "race", _defaults(RaceConfig, "race_type")),
        (EvaluationConfig, "evaluation", _defaults(EvaluationConfig, *_EVALUATION)),
        (SubmissionLimits, "limits", _defaults(SubmissionLimits, *SubmissionLimits.model_fields)),
        (LeagueFile, "", _defaults(LeagueFile, "shown")),
    )
    lines = ["# The rules of this league. Who has submitted is driven anew when what lap times depend on changes."]
    for model, section, values in parts:
        lines += [f"{section}:"] if section else []
        for key, value in values.items():
            line = f"{'  ' * bool(section)}{key}: {json.dumps(value)}"
            lines.append(f"{line:<28s}# {model.model_fields[key].description}")
    return "\n".join(lines) + "\n"


_EVALUATION = ("number_of_resets", "off_track_penalty", "collision_penalty")


def _defaults(model: type[BaseModel], *keys: str) -> dict[str, Any]:
    return {key: model.model_fields[key].default for key in keys}
