"""docs/reference.md, made from what the program itself reads: commands, run.json, files of racers, YAML, environment.

.venv/bin/python -m scripts.reference          # writes it
.venv/bin/python -m scripts.reference --check  # exit code 1 when it is stale
"""

import re
import sys
from collections.abc import Iterator
from enum import Enum
from pathlib import Path
from typing import Annotated, Any, Literal, get_args, get_origin

import typer
from pydantic_core import PydanticUndefined

from contract import params
from contract.car import Car
from contract.conditions import RandomizationConfig, Within
from contract.config import EvaluationConfig, RaceConfig, RunConfig, TrainingConfig, WorldConfig
from contract.fields import fields_of, form_of
from contract.hyperparameters import Hyperparameters
from contract.learning import LearningConfig
from contract.metadata import LidarConfig, MetadataFile
from simapp.worlds.common import Paint
from undercut.backends.aws.settings import CloudSettings
from undercut.cli.main import app
from undercut.exit_codes import BAD_INPUT, FAILED, INTERRUPTED
from undercut.league.rules import LeagueFile, SubmissionLimits
from undercut.sweep.spec import RacerPaths, Range, SweepFile

PAGE = Path(__file__).resolve().parent.parent / "docs" / "reference.md"
MODELS: tuple[tuple[str, type], ...] = (
    ("model_metadata.json", MetadataFile),
    ("model_metadata.json: lidar_config", LidarConfig),
    ("run.json", RunConfig),
    ("run.json: race", RaceConfig),
    ("run.json: learning", LearningConfig),
    ("run.json: training", TrainingConfig),
    ("run.json: evaluation", EvaluationConfig),
    ("run.json: randomization", RandomizationConfig),
    ("run.json: worlds", WorldConfig),
    ("A car file (YAML), and run.json: car", Car),
    ("A track's look (NAME.look.yaml)", Paint),
    ("cloud.yaml", CloudSettings),
    ("A sweep's file", SweepFile),
    ("A sweep's file: files", RacerPaths),
    ("A sweep's file: a range in search", Range),
    ("A league's file (league.yaml)", LeagueFile),
    ("A league's file: limits", SubmissionLimits),
)
KINDS = {"int": "INTEGER", "float": "NUMBER", "Path": "PATH"}


def page() -> str:
    """The whole page."""
    lines = [
        "# Reference",
        "",
        "Every command, option and key. This page is made by `.venv/bin/python -m scripts.reference` from what the",
        "program itself reads, and a test fails where it is stale.",
        "",
        *_statuses(),
        *_commands(),
        *_hyperparameters(),
        *_yaml(),
        *_models(),
    ]
    return "\n".join(lines).rstrip() + "\n"


def _statuses() -> Iterator[str]:
    yield from ("## Exit codes", "", "| status | meaning |", "|---|---|")
    yield "| 0 | it worked |"
    yield f"| {FAILED} | what was asked for did not work out, or a check found something to mend |"
    yield f"| {BAD_INPUT} | a file, key, option or name is not right; the message names it, the rule and the fix |"
    yield f"| {INTERRUPTED} | Ctrl-C or SIGTERM; what is finished is saved |"
    yield ""


def _commands() -> Iterator[str]:
    yield from ("## Commands", "", "`undercut COMMAND --help` says the same.", "")
    for name, command in commands():
        arguments = [it for it in command.params if not it.opts[0].startswith("-")]
        shown = " ".join(_argument(it) for it in arguments)
        yield f"### undercut {name}{' ' + shown if shown else ''}"
        yield ""
        yield _flat(command.help)
        yield ""
        options = [it for it in command.params if it.opts[0].startswith("-") and "--help" not in it.opts]
        if options:
            yield from ("| option | default | meaning |", "|---|---|---|")
            for option in options:
                yield f"| {_option(option)} | {_default(option)} | {_flat(getattr(option, 'help', ''))} |"
            yield ""


def commands() -> list[tuple[str, Any]]:
    """Every command by its whole name, in the order of `--help`."""
    found: list[tuple[str, Any]] = []

    def walk(group: Any, prefix: str) -> None:
        for name in group.list_commands(None):
            command = group.commands[name]
            if hasattr(command, "commands"):
                walk(command, f"{prefix}{name} ")
            elif not command.hidden:
                found.append((prefix + name, command))

    walk(typer.main.get_command(app), "")
    return found


def _argument(argument: Any) -> str:
    name = (argument.metavar or argument.name or "").strip("[]").replace("|", "\\|")
    return name if argument.required else f"[{name}]"


def _option(option: Any) -> str:
    words = ", ".join(f"`{word}`" for word in (*option.opts, *option.secondary_opts))
    annotation = option.type_descriptor.annotation
    choices = "/".join(_choices(annotation))
    kind = "" if option.is_flag else f" {choices or KINDS.get(_type(annotation), 'TEXT')}"
    return f"{words}{kind}{', repeatable' if get_origin(annotation) is list else ''}"


def _choices(annotation: Any) -> list[str]:
    """Words of an Enum or a Literal, also in a list; empty for other types."""
    if isinstance(annotation, type) and issubclass(annotation, Enum):
        return [str(word.value) for word in annotation]
    if get_origin(annotation) is Literal:
        return [str(word) for word in get_args(annotation)]
    return [word for inner in get_args(annotation) for word in _choices(inner)]


def _default(option: Any) -> str:
    value = option.default
    if isinstance(getattr(option, "show_default", None), str):  # of a file of the project: without this machine's path
        value = option.show_default
    if callable(value) or value is None or value in ((), []):
        return ""
    if isinstance(value, bool):
        return "yes" if value else ""
    return f"`{getattr(value, 'value', value)}`" if str(value) else ""


def _hyperparameters() -> Iterator[str]:
    fields = Hyperparameters.model_fields
    yield from ("## hyperparameters.json", "")
    yield "Values outside of these, which are the console's form's, are taken with a warning for"
    yield f"`{'`, `'.join(name for name, field in fields.items() if form_of(field))}`."
    yield from ("", "| key | default | values | meaning |", "|---|---|---|---|")
    for name, field in fields.items():
        default = "" if field.default is None else f"`{field.default}`"
        yield f"| `{name}` | {default} | {_type(field.annotation)}{_limits(field)} | {_flat(field.description)} |"
    yield ""


def _yaml() -> Iterator[str]:
    yield from ("## Run parameters (YAML)", "")
    yield "`--params FILE`; `actions/params/` has whole files with a comment on each key. A training reads:"
    yield from ("", "| key | what it sets in run.json |", "|---|---|")
    yield from (f"| `{key}` | `{path}` |" for key, path in params.FIELDS["TRAINING"].items())
    yield from ("", "An evaluation reads the keys of track and race above, and:", "")
    yield from ("| key | what it sets in run.json |", "|---|---|")
    yield from (f"| `{key}` | `{path}` |" for key, path in params.EVALUATION.items())
    yield ""
    yield f"Both know `{'`, `'.join((*params.NAMES, params.CLOCKWISE))}`. Known, kept and without an effect here:"
    yield f"`{'`, `'.join(params.CARRIED)}`."
    yield ""


def _models() -> Iterator[str]:
    for title, model in MODELS:
        yield from (
            f"## {title}",
            "",
            _flat(model.__doc__),
            "",
            "| key | type | default | meaning |",
            "|---|---|---|---|",
        )
        for name, field in fields_of(model).items():
            default = field.get_default(call_default_factory=True)
            is_section = hasattr(default, "__pydantic_fields__")
            shown = "" if default is PydanticUndefined or is_section else f"`{default!r}`"
            yield f"| `{name}` | {_type(field.annotation)}{_limits(field)} | {shown} | {_meaning(field)} |"
        yield ""


def _meaning(field: Any) -> str:
    """The field's description, after its key in YAMLs."""
    extra = field.json_schema_extra
    key = f"[{extra['param']}] " if isinstance(extra, dict) and "param" in extra else ""
    return f"{key}{_flat(field.description)}".strip()


def _type(annotation: Any) -> str:
    if get_origin(annotation) is Annotated:
        return _type(get_args(annotation)[0])
    if get_origin(annotation) is not None and get_args(annotation):
        if "Literal" in str(get_origin(annotation)):
            return ", ".join(map(str, get_args(annotation)))
        if get_origin(annotation) is list:
            return f"list of {_type(get_args(annotation)[0])}"
        if get_origin(annotation) is dict:
            return "KEY: value"
        if get_origin(annotation) is tuple:
            inner = [_type(it) for it in get_args(annotation) if it is not Ellipsis]
            return f"list of {inner[0]}" if Ellipsis in get_args(annotation) else f"({', '.join(inner)})"
        return " or ".join(_type(it) for it in get_args(annotation) if it is not type(None))
    if hasattr(annotation, "__pydantic_fields__"):
        return "see below"
    return str(getattr(annotation, "__name__", annotation))


def _limits(field: Any) -> str:
    form = form_of(field)
    if form is not None:
        return f", {' '.join(map(str, form.choices)) or f'{form.low:g}..{form.high:g}'}"
    within = next((limit for limit in field.metadata if isinstance(limit, Within)), None)
    if within is not None:
        return f", within {within.least:g}..{within.most:g}"
    signs = {"ge": "at least", "gt": "above", "le": "at most", "lt": "below"}
    found = [
        f"{word} {_number(getattr(limit, key))}"
        for limit in field.metadata
        for key, word in signs.items()
        if getattr(limit, key, None) is not None
    ]
    return f", {', '.join(found)}" if found else ""


def _number(value: float) -> str:
    return str(value) if isinstance(value, int) else f"{value:g}"


def _flat(text: str | None) -> str:
    """One line that may stand in a table."""
    return re.sub(r"\s+", " ", text or "").strip().replace("|", "\\|")


def main(arguments: list[str]) -> int:
    """Command line; returns the exit code."""
    made = page()
    if "--check" in arguments:
        return int(PAGE.read_text(encoding="utf-8") != made)
    PAGE.write_text(made, encoding="utf-8")
    print(PAGE)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
