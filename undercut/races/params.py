"""The guidance's head-to-head and tournament parameters: an evaluation whose per-racer keys are lists, in and out."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, get_args

from contract.config import CarColor, EvaluationConfig, RaceConfig, RunConfig
from contract.param_values import read_field, run_name
from contract.params import CARRIED, FIELDS, as_written, dump, params_of
from contract.vehicle import CAR_COLORS
from contract.yamlfile import Value, YamlEntry, read_entries

PER_RACER = {
    "MODEL_S3_PREFIX": "model",
    "MODEL_NAME": "model_name",
    "RACER_NAME": "racer_name",
    "DISPLAY_NAME": "display_name",
    "CAR_COLOR": "car_color",
}
"""Keys that are lists in a race -> field of RaceEntry. Keys without an effect, such as buckets, may be lists too."""
RACE_COLORS = ("Purple", "Orange", "Blue", "Red", "White", "Grey", "Black")
"""Cars of racers without a CAR_COLOR, in their order."""


@dataclass(frozen=True, slots=True)
class RaceEntry:
    """One car of a race: its run, what is shown of it, and its own keys without an effect here."""

    model: str
    """The run's name."""
    car_color: CarColor = "Black"
    model_name: str = ""
    racer_name: str = ""
    display_name: str = ""
    carried: Mapping[str, str | None] = field(default_factory=dict)

    @property
    def given_name(self) -> str:
        """What it is to be called, empty where the file does not say."""
        return self.display_name or self.racer_name or self.model_name


@dataclass(frozen=True, slots=True)
class RaceParams:
    """A race of two or more models. `track` is None where the file does not say: the first racer's."""

    racers: tuple[RaceEntry, ...]
    race: RaceConfig = field(default_factory=lambda: RaceConfig(race_type="HEAD_TO_MODEL"))
    evaluation: EvaluationConfig = field(default_factory=EvaluationConfig)
    track: str | None = None
    reverse_dir: bool = False
    enable_domain_randomization: bool = False
    leaderboard_type: str = ""
    leaderboard_name: str = ""
    carried: Mapping[str, Value] = field(default_factory=dict)
    unused: tuple[str, ...] = field(default=(), compare=False)
    """Names in the file that have no effect here."""

    def folders(self) -> tuple[str, ...]:
        """A name for each racer's files (artifacts.race_metrics): its run's, numbered where runs repeat."""
        found: list[str] = []
        for racer in self.racers:
            names = (racer.model if n == 1 else f"{racer.model}-{n}" for n in range(1, len(self.racers) + 2))
            found.append(next(name for name in names if name not in found))
        return tuple(found)

    def titles(self) -> tuple[str, ...]:
        """What tables and videos call each racer: the name that it is given, else its folder's. Where racers are given
        one name, the folder stands behind it."""
        given = [racer.given_name for racer in self.racers]
        repeated = {name for name in given if given.count(name) > 1}
        named = zip(given, self.folders(), strict=True)
        return tuple(f"{name} ({folder})" if name and name in repeated else name or folder for name, folder in named)


def race_of(models: Sequence[str]) -> RaceParams:
    """The race that a command line without a file means: these runs, each in another colour."""
    return RaceParams(tuple(RaceEntry(model, _color(place)) for place, model in enumerate(models)))


def read_race_params(text: str, where: str, strict: bool = True, models: Sequence[str] = ()) -> RaceParams:
    """A head-to-head or tournament YAML; `models` are runs named on the command line, in place of MODEL_S3_PREFIX.

    A race is HEAD_TO_MODEL also where the file says TIME_TRIAL, as the guidance's do. InputError names file, line and
    key, and for lists of different lengths both lengths.
    """
    entries = read_entries(text, where, strict)
    racers, lists = _racers(entries, where, models)
    shared = {key: entry for key, entry in entries.items() if key not in lists}
    params = params_of(shared, "EVALUATION", strict)
    values = {**params.values, "name": "race"}
    race = {**values.get("race", {})}
    if race.get("race_type", "TIME_TRIAL") == "TIME_TRIAL":
        race["race_type"] = "HEAD_TO_MODEL"
    config = RunConfig.build({**values, "race": race}, where)
    return RaceParams(
        racers=racers,
        race=config.race,
        evaluation=config.evaluation,
        track=config.track if "track" in params.values else None,
        reverse_dir=config.reverse_dir,
        enable_domain_randomization=config.enable_domain_randomization,
        leaderboard_type=config.leaderboard_type,
        leaderboard_name=config.leaderboard_name,
        carried=params.carried,
        unused=tuple({key: None for racer in racers for key in racer.carried} | dict.fromkeys(params.unused)),
    )


def race_params(params: RaceParams, track: str) -> str:
    """The race as the guidance's job would be told; `track` stands in for a RaceParams without one."""
    values: dict[str, Any] = {
        "track": params.track or track,
        "reverse_dir": params.reverse_dir,
        "enable_domain_randomization": params.enable_domain_randomization,
        "leaderboard_type": params.leaderboard_type,
        "leaderboard_name": params.leaderboard_name,
        **{f"race.{key}": value for key, value in params.race},
        **{f"evaluation.{key}": value for key, value in params.evaluation},
    }
    lines: dict[str, Value] = {"JOB_TYPE": "EVALUATION"}
    lines |= {key: as_written(values[path]) for key, path in FIELDS["EVALUATION"].items() if key not in PER_RACER}
    lines |= {key: [getattr(racer, name) for racer in params.racers] for key, name in PER_RACER.items()}
    for key in {key: None for racer in params.racers for key in racer.carried}:
        lines[key] = [racer.carried.get(key) for racer in params.racers]
    return dump({**lines, **params.carried})


def _racers(
    entries: Mapping[str, YamlEntry], where: str, models: Sequence[str]
) -> tuple[tuple[RaceEntry, ...], set[str]]:
    """The racers, and the keys that are theirs. A single word counts for all racers."""
    prefix = entries.get("MODEL_S3_PREFIX")
    listed = prefix.value if prefix and isinstance(prefix.value, list) else []
    count = len(models) or len(listed)
    if count < 2:
        entry = prefix or YamlEntry("MODEL_S3_PREFIX", None, where)
        raise entry.refuse(
            "a list of two or more models, one for each racer",
            "list their runs, or name them: undercut race RUN_A RUN_B",
        )
    own = {key: entry for key, entry in entries.items() if key in PER_RACER}
    own |= {
        key: entry for key, entry in entries.items() if key in CARRIED and isinstance(entry.value, list) and entry.value
    }
    rows: list[dict[str, Any]] = [{} for _ in range(count)]
    for key, entry in own.items():
        if models and key == "MODEL_S3_PREFIX":
            continue
        items = entry.value if isinstance(entry.value, list) and entry.value else [entry.value]
        if len(items) == 1 and (key in CARRIED or not isinstance(entry.value, list)):
            items = items * count
        if len(items) != count:
            of = "runs on the command line" if models else "models in MODEL_S3_PREFIX"
            raise entry.refuse(f"one value for each racer: {count} {of}, but {len(items)} here", f"give {count} values")
        for place, item in enumerate(items):
            rows[place][key] = _one(YamlEntry(key, item, f"{entry.place}[{place}]"))  # type: ignore[arg-type]
    racers = []
    for place, own_values in enumerate(rows):
        model = models[place] if models else own_values["MODEL_S3_PREFIX"]
        named = {name: own_values[key] for key, name in PER_RACER.items() if key in own_values and name != "model"}
        named["car_color"] = named.get("car_color") or _color(place)
        racers.append(RaceEntry(model, **named, carried={k: v for k, v in own_values.items() if k not in PER_RACER}))
    return tuple(racers), set(own)


def _one(entry: YamlEntry) -> Any:
    """One racer's value of one key."""
    if entry.key == "MODEL_S3_PREFIX":
        if not entry.value:
            raise entry.refuse(
                "a model; the template is not filled in", "write a run's name, or a path that ends with it"
            )
        return run_name(entry)
    if entry.key in CARRIED:
        return entry.value
    if entry.key == "CAR_COLOR":
        return read_field(entry, "car_color") if entry.value else None
    return read_field(entry, "display_name")


def _color(place: int) -> CarColor:
    colors: tuple[CarColor, ...] = get_args(CarColor)
    return colors[CAR_COLORS.index(RACE_COLORS[place % len(RACE_COLORS)])]
