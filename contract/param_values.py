"""Values of run parameters, each read and checked by the field of RunConfig that it sets."""

import math
import re
import warnings
from collections.abc import Callable, Iterable
from dataclasses import replace
from types import UnionType
from typing import Any, Literal, get_args, get_origin

from pydantic import BaseModel
from pydantic.fields import FieldInfo

from contract.config import EvaluationConfig, RaceConfig, RunConfig, TrainingConfig
from contract.errors import InputError, InputWarning
from contract.fields import choice, number, whole
from contract.yamlfile import YamlEntry

RACE_TYPES = {"HEAD_TO_HEAD_RACING": "HEAD_TO_BOT"}
"""Older names of RACE_TYPE."""

_SECTIONS: dict[str, type[BaseModel]] = {
    "": RunConfig,
    "race": RaceConfig,
    "training": TrainingConfig,
    "evaluation": EvaluationConfig,
}
_PLACEHOLDER = re.compile(r"\$\{[^{}]*\}|\$\w+|<[^<>]*>|\{\{[^{}]*\}\}")


def run_name(entry: YamlEntry) -> str:
    """The run that MODEL_NAME or MODEL_S3_PREFIX names: the last part of the path."""
    text = _text(entry)
    if _PLACEHOLDER.search(text):
        raise entry.refuse("a placeholder of the template that is not filled in", "write a run's name")
    return text.strip().rstrip("/").rsplit("/", 1)[-1]


def read_field(entry: YamlEntry, path: str, strict: bool = True) -> Any:
    """The entry's value for a field of RunConfig such as "race.bot_car_speed", checked against the field's limits; not
    strict, a number beyond them becomes the nearest one within, with a warning."""
    section, _, name = path.rpartition(".")
    info = _SECTIONS[section].model_fields[name]
    if not strict:
        entry = _within(entry, info)
    if path == "track" and (not entry.value or _PLACEHOLDER.search(_text(entry))):
        raise entry.refuse("the name of a track; the template is not filled in", "undercut tracks lists them")
    if path == "race.object_positions":
        return _positions(entry)
    if path == "evaluation.park_positions":
        return _park_positions(entry)
    if path == "race.race_type":
        entry = replace(entry, value=RACE_TYPES.get(str(entry.value), entry.value))
    return _reader(info)(entry, info)


def _reader(info: FieldInfo) -> Callable[[YamlEntry, FieldInfo], Any]:
    kind = info.annotation
    if kind is bool:
        return _boolean
    if kind is int:
        return lambda entry, info: int(whole(entry.value, entry.place, int(_limits(info)[0]), _limits(info)[1]))
    if kind is str:
        return _bounded_text
    if get_origin(kind) is Literal:
        return lambda entry, info: choice(entry.value, entry.place, get_args(info.annotation))
    if get_origin(kind) is UnionType:  # float | None
        return lambda entry, info: None if str(entry.value).lower() in ("none", "") else _number(entry, info)
    return _number


def _within(entry: YamlEntry, info: FieldInfo) -> YamlEntry:
    """The entry, clipped to the field's limits where it is a number beyond them."""
    kinds = {info.annotation, *get_args(info.annotation)}
    try:
        value = float(entry.value) if kinds & {int, float} and isinstance(entry.value, str) else math.nan
    except ValueError:
        value = math.nan
    least, most, above = _limits(info)
    nearest = min(max(value, least), most)
    if not math.isfinite(value) or nearest == value or (above and nearest == least):
        return entry
    warnings.warn(f"{entry.place}: {value:g} is beyond {least:g}..{most:g}; {nearest:g} counts", InputWarning, 4)
    return replace(entry, value=f"{nearest:g}")


def _limits(info: FieldInfo) -> tuple[float, float, bool]:
    """(least, most, whether least itself is out) from the field's own constraints."""
    least, most, above = float("-inf"), float("inf"), False
    for limit in info.metadata:
        least = getattr(limit, "ge", getattr(limit, "gt", least))
        above = above or hasattr(limit, "gt")
        most = getattr(limit, "le", most)
    return least, most, above


def _number(entry: YamlEntry, info: FieldInfo) -> float:
    least, most, above = _limits(info)
    return number(entry.value, entry.place, least, most, above=above)


def _boolean(entry: YamlEntry, _: FieldInfo) -> bool:
    return truth(entry)


def truth(entry: YamlEntry) -> bool:
    """Of true or false in any case; InputError for another word."""
    word = str(entry.value).strip().lower()
    if word not in ("true", "false"):
        raise entry.refuse("true or false", 'write "true" or "false"')
    return word == "true"


def _text(entry: YamlEntry) -> str:
    if isinstance(entry.value, list):
        raise entry.refuse("one value", "write it behind the key, without a list")
    return entry.value or ""


def _bounded_text(entry: YamlEntry, info: FieldInfo) -> str:
    text = _text(entry)
    most = min((limit.max_length for limit in info.metadata if hasattr(limit, "max_length")), default=len(text))
    if len(text) > most:
        raise entry.refuse(f"at most {most} characters; these are {len(text)}", "shorten it")
    return text


def _positions(entry: YamlEntry) -> tuple[tuple[float, int], ...]:
    """["0.25, +1", ...], [[0.25, 1], ...] or "0.25,+1;0.09,-1"."""
    items: Iterable[Any] = entry.value or ()
    if isinstance(items, str):
        items = [item for item in items.strip().strip("\"'").split(";") if item.strip()]
    found = []
    for item in items:
        parts = item.strip("\"' ").split(",") if isinstance(item, str) else item or []
        try:
            fraction, lane = float(parts[0]), float(parts[1])
        except (ValueError, IndexError, TypeError):
            fraction = lane = float("nan")
        if len(parts) != 2 or not 0.0 <= fraction <= 1.0 or lane not in (-1.0, 1.0):
            raise InputError(
                entry.place,
                item,
                '"lap fraction, lane": 0..1 and +1 (inner) or -1 (outer)',
                'write it as "0.25, +1"',
            )
        found.append((fraction, int(lane)))
    return tuple(found)


def _park_positions(entry: YamlEntry) -> tuple[tuple[float, float], ...]:
    """["1.5, 2.0", ...] or [[1.5, 2.0], ...], metres."""
    found = []
    for item in entry.value if isinstance(entry.value, list) else [entry.value] if entry.value else ():
        parts = item.strip("()[] ").split(",") if isinstance(item, str) else item or []
        try:
            x_m, y_m = (float(part) for part in parts if part is not None)
        except (ValueError, TypeError):
            x_m = y_m = math.nan
        if not math.isfinite(x_m) or not math.isfinite(y_m):
            raise InputError(entry.place, item, '"x, y" in metres', 'write it as "1.5, 2.0"')
        found.append((x_m, y_m))
    return tuple(found)
