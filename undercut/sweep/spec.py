"""The file of a sweep: what its trainings share, what is searched, and what a trial's values mean for its run."""

import difflib
import hashlib
import json
import re
import warnings
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated, Any, Literal, get_args

from pydantic import BaseModel, Discriminator, Field, Tag, TypeAdapter, ValidationError, field_validator
from pydantic.fields import FieldInfo

from contract.config import RunConfig, is_run_name
from contract.errors import InputError, InputWarning
from contract.fields import Strict, broken_rule, read_text, read_value
from contract.hyperparameters import Hyperparameters
from contract.metadata import ModelMetadata
from contract.yamlfile import place_of, read_nested
from undercut.runs.run import DEFAULT_METADATA, DEFAULT_REWARD, TRACKS, RacerFiles, default_hyperparameters, overlaid
from undercut.sweep.shards import WHOLE, Shard

Objective = Literal["lap_time", "completion", "reward"]
Scalar = bool | int | float | str
FILES = ("reward", "metadata", "hyperparameters", "preset")
"""What a trial's run is made of besides its config; the names of `undercut train`'s options."""
MAX_TRIALS = 9_999
_NAME_RULE = "letters, digits, '.', '_' and '-', starting with a letter or digit, at most 59 of them"


class Range(Strict):
    """Numbers from `low` to `high`, both included."""

    low: float
    high: float
    step: float | None = Field(default=None, gt=0, description="only low, low + step, and so on")
    log: bool = Field(default=False, description="even in the logarithm: for learning rates and the like")


def _kind(value: Any) -> str:
    return "range" if isinstance(value, dict | Range) else "choices"


Searched = Annotated[
    Annotated[Range, Tag("range")] | Annotated[tuple[Scalar, ...], Field(min_length=1), Tag("choices")],
    Discriminator(_kind),
]


class RacerPaths(Strict):
    """Paths of a racer's files, from the sweep file's own folder."""

    reward: str | None = None
    metadata: str | None = None
    hyperparameters: str | None = None
    preset: str | None = None


class SweepFile(Strict):
    """The file's keys."""

    name: str = Field(default="", description="trials are the runs NAME-0001 and so on; empty: the file's name")
    trials: int = Field(
        default=0, ge=0, le=MAX_TRIALS, description="in all; 0 with the sampler grid: every combination"
    )
    objective: Objective = Field(default="lap_time", description="what the best trial has: see docs/sweep.md")
    sampler: Literal["tpe", "random", "grid"] = Field(default="tpe", description="how values are chosen")
    pruner: Literal["median", "none"] = Field(
        default="median", description="median: stop a trial that is worse than half of the others were by then"
    )
    startup_trials: int = Field(default=5, ge=1, description="trials before any is pruned")
    warmup_iterations: int = Field(default=5, ge=0, description="of a trial before it can be pruned")
    seed: int = Field(default=0, ge=0, lt=2**31, description="of the choice of values; the runs' own is run.seed")
    folder: str | None = Field(default=None, description="a racer's folder, as `undercut new` writes it")
    files: RacerPaths = RacerPaths()
    run: dict[str, Any] = Field(default={}, description="values of run.json that all trials share")
    hyperparameters: dict[str, Any] = Field(default={}, description="values of hyperparameters.json that all share")
    search: dict[str, Searched] = Field(
        min_length=1, description="reward, metadata, preset: paths; hyperparameters.KEY, run.KEY: a range or choices"
    )

    @field_validator("name")
    @classmethod
    def _name_leaves_room(cls, name: str) -> str:
        if name and (not is_run_name(name) or len(name) > 59):
            raise ValueError(_NAME_RULE + "; give another name")
        return name


@dataclass(frozen=True, slots=True)
class TrialFiles:
    """What a trial's run is made from: its config, paths, and the text of its hyperparameters.json."""

    config: RunConfig
    reward: Path
    metadata: Path
    preset: Path | None
    hyperparameters: str


@dataclass(frozen=True, slots=True)
class Sweep:
    """A file that has been read and is right. `base` is the config that all trials share, as values; `paths` are the
    files that they share; `where` names the file in messages. `trials` are those of the shard."""

    file: SweepFile
    name: str
    trials: int
    base: Mapping[str, Any]
    paths: Mapping[str, Path | None]
    where: str
    folder: Path
    shard: Shard = WHOLE

    @classmethod
    def load(cls, path: Path) -> "Sweep":
        """InputError with file, line, key, value, rule and fix for what is wrong, before anything is trained."""
        text = read_text(path, "the file of a sweep")
        where = str(path)
        content, lines = read_nested(text, where, "see docs/sweep.md for one")
        file = _validated(content, lines, where)
        name = file.name or path.stem
        if not is_run_name(name) or len(name) > 59:
            raise InputError(f"{where}: name", name, _NAME_RULE, "write a name")
        reader = _Reader(file, lines, where, path.parent)
        sweep = reader.sweep(name)
        for values in corners(sweep.file):
            reader.try_out(sweep, values)
        return sweep

    def of_shard(self, shard: Shard) -> "Sweep":
        """The whole sweep's share that this shard has, with numbers of its own from 0."""
        return replace(self, trials=shard.share(self.trials), shard=shard)

    def run_name(self, number: int) -> str:
        """Of trial `number`, from 0."""
        return self.shard.run_name(self.name, number)

    def is_own_run(self, name: str) -> bool:
        """Whether a trial of it could be the run of that name."""
        prefix, _, number = name.rpartition("-")
        return prefix == self.name and number.isdecimal() and self.shard.has(int(number) - 1)

    def files_of(self, number: int, values: Mapping[str, Any]) -> TrialFiles:
        """What the trial's run is made from; InputError where its values do not go together."""
        place = f"{self.where}, trial {self.shard.number(number) + 1}"
        paths = {**self.paths, **{key: self.folder / str(values[key]) for key in FILES if key in values}}
        reward, metadata = paths["reward"] or DEFAULT_REWARD, paths["metadata"] or DEFAULT_METADATA
        own = paths["hyperparameters"] or default_hyperparameters(metadata)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", InputWarning)
            algorithm = ModelMetadata.load(metadata, strict=False).algorithm
            shared = Hyperparameters.load(own, algorithm, strict=False).to_dict()
            told = {**self.file.hyperparameters, **_below("hyperparameters.", values)}
            text = json.dumps({**shared, **told}, indent=2) + "\n"
            Hyperparameters.parse(text, f"{place}: hyperparameters", algorithm)
        config = _nested({**self.base, "name": self.run_name(number)}, _below("run.", values))
        return TrialFiles(RunConfig.build(config, place), reward, metadata, paths["preset"], text)

    def fingerprint(self) -> str:
        """What may not change while a sweep goes on, as text: all but the number of trials and when they are pruned."""
        shared = self.file.model_dump(exclude={"trials", "pruner", "startup_trials", "warmup_iterations"})
        named = {key: path for key, path in self.paths.items() if path is not None}
        for key in FILES:
            choices = self.file.search.get(key)
            if isinstance(choices, tuple):
                named |= {f"{key} {choice}": self.folder / str(choice) for choice in choices}
        digests = {key: hashlib.sha256(path.read_bytes()).hexdigest() for key, path in sorted(named.items())}
        return json.dumps({"sweep": shared, "base": dict(self.base), "files": digests}, sort_keys=True, default=str)

    @property
    def longest_s(self) -> float:
        """The longest that an evaluation lap may take, in simulated seconds."""
        from contract.state import STEP_S

        return RunConfig.build({**self.base, "name": "x"}, self.where).evaluation.max_lap_steps * STEP_S


class _Reader:
    """The checks that go beyond the schema, with the lines of what they find."""

    def __init__(self, file: SweepFile, lines: Mapping[tuple[str, ...], int], where: str, folder: Path) -> None:
        self._file, self._lines, self._where, self._folder = file, lines, where, folder

    def place(self, *key: str) -> str:
        return place_of(self._where, self._lines, key)

    def sweep(self, name: str) -> Sweep:
        file = self._file
        search = {key: self._searched(key, value) for key, value in file.search.items()}
        for key, value in file.hyperparameters.items():
            field = self._field(f"hyperparameters.{key}", "hyperparameters", key)
            read_value(field, value, self.place("hyperparameters", key))
        checked = file.model_copy(update={"search": search})
        base, paths = self._shared(name)
        return Sweep(checked, name, self._trials(search), base, paths, self._where, self._folder)

    def _trials(self, search: Mapping[str, Any]) -> int:
        if self._file.sampler == "grid":
            for key, value in search.items():
                if isinstance(value, Range) and (value.step is None or value.log):
                    rule = "a grid has so many values of each key: choices, or a range with a step and without log"
                    raise InputError(self.place("search", key), value.model_dump(), rule, "add `step`, or list them")
            count = grid_size(search)
            if count > MAX_TRIALS:
                rule = f"at most {MAX_TRIALS} trials; the grid has {count}"
                raise InputError(self.place("search"), ", ".join(search), rule, "search fewer values or keys")
            return min(self._file.trials or count, count)
        if not self._file.trials:
            raise InputError(self.place("trials"), self._file.trials, "how many trials there are", "write trials: 24")
        return self._file.trials

    def _shared(self, name: str) -> tuple[dict[str, Any], dict[str, Path | None]]:
        """The config's values and the paths that all trials share."""
        from undercut.check.check import Given
        from undercut.runs.params_files import load_params

        paths: dict[str, Path | None] = dict.fromkeys(FILES)
        base: dict[str, Any] = {}
        if self._file.folder is not None:
            reward = self._folder / self._file.files.reward if self._file.files.reward else None
            given = Given.in_folder(self._folder / self._file.folder, self.place("folder"), reward)
            paths |= {key: getattr(given, key, None) for key in ("reward", "metadata", "hyperparameters")}
            if given.training_params is not None:
                base = load_params(given.training_params, "TRAINING").over({})
        for key, told in self._file.files:
            if told is not None:
                paths[key] = self._folder / told
        if self._file.objective == "lap_time":  # what finds fast laps, unless the file says otherwise
            base = overlaid(base, {"training": {"best_model_metric": "laptime", "clean_evaluations": 0}})
        base = overlaid(base, self._file.run)
        try:
            RunConfig.build({**base, "name": name}, self.place("run"))
        except InputError as error:
            wrong = error.where.rpartition(": ")[2].split(".")
            raise InputError(self.place("run", *wrong), error.value, error.rule, error.fix) from None
        return base, paths  # without defaults, which may be others in a later version

    def _searched(self, key: str, value: Range | tuple[Scalar, ...]) -> Range | tuple[Scalar, ...]:
        """The key's values as its field takes them."""
        where = self.place("search", key)
        if key in FILES:
            if isinstance(value, Range):
                raise InputError(where, value.model_dump(), "paths of files", f"list them: {key}: [a, b]")
            for path in value:
                if not (self._folder / str(path)).is_file():
                    raise InputError(where, path, "a file, from the sweep file's folder", "check the path")
            return tuple(map(str, value))
        field = self._field(key, "search", key)
        if isinstance(value, tuple):
            chosen = tuple(_coerced(field, it, where) for it in value)
            if len(set(chosen)) < len(chosen):
                raise InputError(where, list(value), "each choice once", "delete the one that is there twice")
            return chosen
        if set(get_args(field.annotation) or (field.annotation,)) & {int, float} == set():
            raise InputError(where, value.model_dump(), "a range is of numbers", "list the choices: [a, b]")
        if value.low >= value.high:
            rule = f"low is below high; {value.low:g} is not below {value.high:g}"
            raise InputError(where, value.model_dump(exclude_none=True), rule, "swap the two, or write the one value")
        if value.log and (value.low <= 0 or value.step is not None):
            rule = "with log, low is above 0 and there is no step"
            raise InputError(
                where, value.model_dump(exclude_none=True), rule, "leave `log` or `step` out, or raise low"
            )
        for name in ("low", "high"):
            _coerced(field, getattr(value, name), self.place("search", key, name))
        return value

    def _field(self, key: str, *where: str) -> FieldInfo:
        """The field of a model that a dotted key means."""
        known = [
            *FILES,
            *(f"hyperparameters.{it}" for it in Hyperparameters.model_fields),
            *_run_keys(RunConfig, "run"),
        ]
        if key in known and "." in key:
            return field_of(key)
        near = difflib.get_close_matches(key, known, n=1, cutoff=0.4)
        ends = [it for it in known if it.endswith(f".{key}")]
        guess = ends[0] if ends else near[0] if near else None
        rule = f"{', '.join(FILES)}, hyperparameters.KEY, or run.KEY of run.json that is a number, word or truth value"
        raise InputError(self.place(*where), key, rule, f"did you mean {guess!r}?" if guess else "delete the key")

    def try_out(self, sweep: Sweep, values: Mapping[str, Any]) -> None:
        """InputError unless a run can be made of these values."""
        made = sweep.files_of(0, values)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", InputWarning)
            metadata = ModelMetadata.load(made.metadata)
            hyper = Hyperparameters.parse(made.hyperparameters, f"{self._where}: hyperparameters", metadata.algorithm)
            RacerFiles.fit(hyper, metadata, Path(self._where))
            from simapp.reward_source import load_reward
            from simapp.tracks import load_track

            load_reward(made.reward)
            load_track(made.config.track, [TRACKS])


def field_of(key: str) -> FieldInfo:
    """The field that `hyperparameters.KEY` or `run.KEY` means."""
    model: type[BaseModel]
    first, *inner, last = key.split(".")
    model = Hyperparameters if first == "hyperparameters" else RunConfig
    for part in inner:
        kind = model.model_fields[part].annotation
        assert isinstance(kind, type) and issubclass(kind, BaseModel)
        model = kind
    return model.model_fields[last]


def grid_size(search: Mapping[str, Any]) -> int:
    """How many combinations a grid has."""
    count = 1
    for value in search.values():
        count *= len(grid_values(value))
    return count


def grid_values(value: Range | tuple[Scalar, ...]) -> tuple[Scalar, ...]:
    """The values of one key of a grid."""
    if isinstance(value, tuple):
        return value
    assert value.step is not None
    count = int((value.high - value.low) / value.step + 1e-9) + 1
    numbers = [value.low + k * value.step for k in range(count)]
    return tuple(int(it) if it == int(it) and value.step == int(value.step) else it for it in numbers)


def corners(file: SweepFile) -> Iterator[dict[str, Any]]:
    """Each end and choice of each key once, with the first of all others."""
    ends = {key: (it.low, it.high) if isinstance(it, Range) else it for key, it in file.search.items()}
    first = {key: values[0] for key, values in ends.items()}
    yield first
    for key, values in ends.items():
        for value in values[1:]:
            yield {**first, key: value}


def _coerced(field: FieldInfo, value: Any, where: str) -> Scalar:
    """A value as the model's field has it."""
    kind: Any = Annotated[field.annotation, *field.metadata] if field.metadata else field.annotation
    try:
        read = TypeAdapter(kind).validate_python(value)
    except ValidationError:
        read = read_value(field, value, where)
    if not isinstance(read, bool | int | float | str):
        raise InputError(where, value, "a number, a word or a truth value", "choose another key")
    return read


def _run_keys(model: type[BaseModel], prefix: str) -> Iterator[str]:
    """Dotted keys of the config's plain values; a trial's name is the sweep's matter."""
    for name, field in model.model_fields.items():
        kind = field.annotation
        if isinstance(kind, type) and issubclass(kind, BaseModel):
            yield from _run_keys(kind, f"{prefix}.{name}")
        elif (prefix, name) != ("run", "name") and not re.search(r"tuple|list|dict|Car\b", str(kind)):
            yield f"{prefix}.{name}"


def _below(prefix: str, values: Mapping[str, Any]) -> dict[str, Any]:
    return {key.removeprefix(prefix): value for key, value in values.items() if key.startswith(prefix)}


def _nested(base: dict[str, Any], dotted: Mapping[str, Any]) -> dict[str, Any]:
    """A copy of the base with values at dotted keys."""
    copy: dict[str, Any] = json.loads(json.dumps(base))
    for key, value in dotted.items():
        *outer, last = key.split(".")
        inner = copy
        for part in outer:
            inner = inner.setdefault(part, {})
        inner[last] = value
    return copy


# --- YAML ------------------------------------------------------------------------------------------------------------


def _validated(content: dict[str, Any], lines: Mapping[tuple[str, ...], int], where: str) -> SweepFile:
    try:
        return SweepFile.model_validate(content)
    except ValidationError as error:
        broken = broken_rule(error, SweepFile, ("range", "choices"))
        key, rule, fix = broken.key, broken.rule, broken.fix
        if key[:1] == ("search",) and len(key) > 1 and broken.kind in ("tuple_type", "missing"):
            rule, fix = "a list of choices, or a range", f"write {key[1]}: [a, b] or {key[1]}: {{low: 1, high: 2}}"
        raise InputError(place_of(where, lines, key), broken.value, rule, fix) from None
