"""What can be watched: the runs and races of the workspace, read piece by piece, since any may be broken."""

from dataclasses import dataclass
from typing import Any, Literal, get_args

from contract import artifacts
from contract.config import RunConfig, check_run_name, is_run_name
from contract.errors import InputError
from contract.fields import load_object, suggestion, text_of
from contract.params import read_evaluation_params
from contract.protocols import Place
from undercut.races.params import RaceParams, read_race_params
from undercut.runs.live import SessionState, live_names, session
from undercut.runs.workspace import RUNS_PREFIX, workspace

Kind = Literal["run", "race"]
PREFIXES = {"run": RUNS_PREFIX, "race": "races/"}
_IN_RACE = (artifacts.race_result, artifacts.race_params, artifacts.race_recording)
RESULT, RACE_PARAMS, RECORDING = (key("x").removeprefix(artifacts.race_folder("x")) for key in _IN_RACE)
"""Files of a race, in its folder."""
WRITTEN_BY = "undercut writes it: restore it from a copy, or do again what made it"


@dataclass(frozen=True, slots=True)
class Subject:
    """A run or a race, by its name."""

    kind: Kind
    name: str

    @classmethod
    def named(cls, kind: str, name: str) -> "Subject":
        """InputError unless the name is one that a run may have (so it stays in its folder) and there is one."""
        if kind not in get_args(Kind):
            raise InputError("kind", kind, "run or race", "choose one from the list")
        check_run_name(name, kind)
        subject = cls(kind, name)  # type: ignore[arg-type]  # checked above
        if not subject.exists:
            known = [found.name for found in subjects() if found.kind == kind]
            place = workspace().where(PREFIXES[kind].rstrip("/"))
            rule = f"a {kind} in {place}/ (there are: {', '.join(known) or 'none yet'})"
            raise InputError(kind, name, rule, suggestion(name, known, "choose one of those"))
        return subject

    @property
    def store(self) -> Place:
        return workspace().below(PREFIXES[self.kind] + self.name)

    @property
    def marker(self) -> str:
        """The file that makes a folder a run or a race."""
        return artifacts.RUN_CONFIG if self.kind == "run" else RESULT

    @property
    def is_whole(self) -> bool:
        """Whether it is more than a session that has just begun."""
        return self.store.exists(self.marker)

    @property
    def exists(self) -> bool:
        return self.is_whole or self.live() is not None

    def live(self) -> SessionState | None:
        """The session that is at work here now."""
        return session(self.kind, self.name)

    def config(self) -> RunConfig:
        """A run's config. InputError when the file is missing or broken."""
        return RunConfig.from_json(self.text(artifacts.RUN_CONFIG), self.where(artifacts.RUN_CONFIG))

    def evaluation_config(self) -> RunConfig:
        """What the run's last evaluation was driven with: the run's config, and what the evaluation changed."""
        text, where = self.text(artifacts.EVALUATION_PARAMS), self.where(artifacts.EVALUATION_PARAMS)
        values = read_evaluation_params(text, where, strict=False).over(self.config().model_dump())
        return RunConfig.build(values, where)

    def result(self) -> dict[str, Any]:
        """A race's result."""
        return load_object(self.text(RESULT), self.where(RESULT))

    def race_params(self) -> RaceParams | None:
        """How the race was held; None for the races of a tournament."""
        if not self.store.exists(RACE_PARAMS):
            return None
        return read_race_params(self.text(RACE_PARAMS), self.where(RACE_PARAMS), strict=False)

    def text(self, key: str) -> str:
        """A file's text; InputError when there is none or it is not text."""
        return text_of(self.data(key), self.where(key))

    def data(self, key: str) -> bytes:
        """A file's content; InputError when there is none."""
        try:
            return self.store.get(key)
        except KeyError:
            raise InputError(self.where(key), "no such file", "the file is there", WRITTEN_BY) from None

    def where(self, key: str) -> str:
        """The file's name in errors."""
        return self.store.where(key)

    def last_iteration(self) -> int | None:
        """Number of the last iteration that left a simtrace."""
        prefix = artifacts.training_simtrace(0).rpartition("/")[0] + "/"
        numbers = [key.removeprefix(prefix).removesuffix("-iteration.csv") for key in self.store.list(prefix)]
        return max((int(number) for number in numbers if number.isdigit()), default=None)


def subjects() -> list[Subject]:
    """Everything that can be watched: live ones first, then the newest."""
    place = workspace()
    found: list[tuple[bool, float, Subject]] = []
    for kind in get_args(Kind):
        live = set(live_names(kind))
        for name in live | set(place.folders(PREFIXES[kind])):
            subject = Subject(kind, name)
            if not is_run_name(name):
                continue  # a folder of something else
            try:
                changed_s = place.modified_s(f"{PREFIXES[kind]}{name}/{subject.marker}")
            except KeyError:
                changed_s = 0.0
            if name in live or changed_s:
                found.append((name in live, changed_s, subject))
    return [subject for _, _, subject in sorted(found, key=lambda one: one[:2], reverse=True)]
