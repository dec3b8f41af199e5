"""Values of run parameters, each read and checked by the field of RunConfig that it sets."""

import math
import re
import warnings
from collections.abc import Iterable
from dataclasses import replace
from typing import Any, get_args

from pydantic import BaseModel
from pydantic.fields import FieldInfo

from contract.config import EvaluationConfig, RaceConfig, RunConfig, TrainingConfig
from contract.errors import InputError, InputWarning
from contract.fields import limits_of, read_value
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


def field_of(path: str) -> FieldInfo:
    """The field of RunConfig, such as "race.bot_car_speed"."""
    section, _, name = path.rpartition(".")
    return _SECTIONS[section].model_fields[name]


def run_name(entry: YamlEntry) -> str:
    """The run that MODEL_NAME or MODEL_S3_PREFIX names: the last part of the path."""
    text = _text(entry)
    if _PLACEHOLDER.search(text):
        raise entry.refuse("a placeholder of the template that is not filled in", "write a run's name")
    return text.strip().rstrip("/").rsplit("/", 1)[-1]


def read_field(entry: YamlEntry, path: str, strict: bool = True) -> Any:
    """The entry's value for a field of RunConfig such as "race.bot_car_speed", checked against the field's limits; not
    strict, a number beyond them becomes the nearest one within, with a warning."""
    info = field_of(path)
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
    return read_value(info, entry.value, entry.place)


def _within(entry: YamlEntry, info: FieldInfo) -> YamlEntry:
    """The entry, clipped to the field's limits where it is a number beyond them."""
    kinds = {info.annotation, *get_args(info.annotation)}
    try:
        value = float(entry.value) if kinds & {int, float} and isinstance(entry.value, str) else math.nan
    except ValueError:
        value = math.nan
    least, most, above = limits_of(info)
    nearest = min(max(value, least), most)
    if not math.isfinite(value) or nearest == value or (above and nearest == least):
        return entry
    warnings.warn(f"{entry.place}: {value:g} is beyond {least:g}..{most:g}; {nearest:g} counts", InputWarning, 4)
    return replace(entry, value=f"{nearest:g}")


def _text(entry: YamlEntry) -> str:
    if isinstance(entry.value, list):
        raise entry.refuse("one value", "write it behind the key, without a list")
    return entry.value or ""


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
