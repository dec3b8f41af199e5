"""Reading a racer's JSON file key by key: a broken rule becomes an InputError that names file, key, value and fix."""

import json
import math
import re
import warnings
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from difflib import get_close_matches
from pathlib import Path
from typing import Any, Literal, TypeVar, get_args, get_origin

from pydantic import BaseModel, ConfigDict, TypeAdapter, ValidationError
from pydantic.fields import FieldInfo

from contract.errors import InputError, InputWarning

_T = TypeVar("_T")


class _Missing:
    """Stands in an error message for a value that is not there."""

    def __repr__(self) -> str:
        return "(missing)"


MISSING = _Missing()
MAX_TEXT_BYTES = 16 << 20
"""Of a racer's file; the longest that is known has 0.1 MB."""


def read_text(path: Path, what: str) -> str:
    """The file's text, without a byte order mark; InputError when it cannot be read. `what` names it for the racer."""
    content = read_bytes(path, what, most=MAX_TEXT_BYTES + 1)
    if len(content) > MAX_TEXT_BYTES:
        shown = f"more than {MAX_TEXT_BYTES:,} bytes"
        raise InputError(str(path), shown, f"{what} is a short text", "check that this is the right file")
    return text_of(content, str(path), what).replace("\r\n", "\n").replace("\r", "\n")


def read_bytes(path: Path, what: str, hint: str = "check the path, or copy one to this place", most: int = -1) -> bytes:
    """The file's content, or its first `most` bytes; InputError when it cannot be read, with `hint` when it is not
    there."""
    try:
        with path.open("rb") as file:
            return file.read(most)
    except FileNotFoundError:
        raise InputError(str(path), MISSING, f"{what} must exist", hint) from None
    except OSError as error:
        reason = error.strerror or str(error)
        raise InputError(str(path), reason, f"{what} must be a readable file", "check path and permissions") from None


def text_of(content: bytes, where: str, what: str = "the file") -> str:
    """A file's text, without a byte order mark; InputError names the byte that is no UTF-8."""
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        noise = content[error.start : error.start + 8]
        fix = "save the file again as UTF-8"
        raise InputError(f"{where}, byte {error.start}", noise, f"{what} is UTF-8 text", fix) from None


def load_object(text: str, where: str) -> dict[str, Any]:
    """The one JSON object of a racer's file; InputError as parse_json."""
    data = parse_json(text, where, "look for a missing or extra comma, quote or bracket here or just before")
    if not isinstance(data, dict):
        raise InputError(where, data, "the file holds one JSON object", 'begin it with "{" and end it with "}"')
    return data


def parse_json(text: str, where: str, fix: str, strict: bool = True) -> Any:
    """What a JSON text says. InputError names line and column; strict, also repeated keys and numbers that are not
    finite are errors, as the files of others have them."""

    def unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        found: dict[str, Any] = {}
        for key, value in pairs:
            if key in found:
                raise InputError(f"{where}: {key}", value, "a key stands once in an object", "delete one of the two")
            if _endless(value):
                raise InputError(f"{where}: {key}", value, "a number is finite", "write a smaller one")
            found[key] = value
        return found

    def no_constant(name: str) -> None:
        raise InputError(where, name, "JSON numbers are finite", f"replace {name} by a number")

    try:
        if not strict:
            return json.loads(text)
        parsed = json.loads(text, object_pairs_hook=unique, parse_constant=no_constant)
        if _endless(parsed):
            raise InputError(where, text[:80], "a number is finite", "write a smaller one")
        return parsed
    except json.JSONDecodeError as error:
        line = text.split("\n")[error.lineno - 1].strip()
        place, rule = f"{where}, line {error.lineno}, column {error.colno}", f"the file must be valid JSON: {error.msg}"
        raise InputError(place, line, rule, fix) from None
    except (RecursionError, ValueError) as error:  # nesting thousands deep, integers of thousands of digits
        raise InputError(where, text[:80], f"the file must be sensible JSON: {error}", fix) from None


def _endless(value: Any) -> bool:
    """Whether a number is beyond all floats, as 1e999 is read, also in lists of lists; objects within were asked."""
    return any(map(_endless, value)) if isinstance(value, list) else value in (math.inf, -math.inf)


def validated(reader: TypeAdapter[_T], content: Any, where: str, fix: str) -> _T:
    """Content as pydantic reads it; InputError names the first place that breaks a rule."""
    try:
        return reader.validate_python(content)
    except ValidationError as error:
        broken = broken_rule(error)
        raise InputError(".".join([where, *broken.key]), broken.value, broken.rule, fix) from None


@dataclass(frozen=True, slots=True)
class Broken:
    """A rule that a value breaks: the keys that lead to it, outermost first, the value, the rule and the fix; `kind` is
    pydantic's name of it."""

    key: tuple[str, ...]
    value: object
    rule: str
    fix: str
    kind: str


_KINDS = {
    "int": "a whole number",
    "float": "a number",
    "finite_number": "a finite number",
    "bool": "true or false",
    "string": "a word in quotes",
    "tuple": "a list",
    "list": "a list",
    "dict": "keys with their values",
    "model": "keys with their values",
    "dataclass": "keys with their values",
    "path": "a path",
}
_LIMITS = {
    "greater_than_equal": ("a number, at least {ge:g}", "write a number that is at least {ge:g}"),
    "greater_than": ("a number, above {gt:g}", "write a number that is above {gt:g}"),
    "less_than_equal": ("a number, at most {le:g}", "write a number that is at most {le:g}"),
    "less_than": ("a number, below {lt:g}", "write a number that is below {lt:g}"),
    "string_too_long": ("at most {max_length} characters", "shorten it"),
    "too_long": ("at most {max_length} of them", "take some out"),
    "too_short": ("at least {min_length} of them", "add some"),
}


def broken_rule(error: ValidationError, schema: type | None = None, members: Collection[str] = ()) -> Broken:
    """The first rule that pydantic found broken, in the words of our own messages. `schema` is the model that was read:
    it tells the keys that may stand where one is not known. `members` are pydantic's names of what a value may be one
    of, such as a class; they are no keys.

    A validator of ours raises ValueError("RULE; FIX").
    """
    first = error.errors(include_url=False)[0]
    kind, context = first["type"], first.get("ctx", {})
    key = tuple(str(part) for part in first["loc"] if "[" not in str(part) and part not in members)
    if kind == "missing":
        return Broken(key, MISSING, "the key must be there", f"add {key[-1]}", kind)
    if kind in ("extra_forbidden", "unexpected_keyword_argument"):
        known = () if schema is None else keys_at(schema, key[:-1])
        rule = f"the keys here are {', '.join(known)}"
        return Broken(key, first["input"], rule, suggestion(key[-1], known, "delete the key"), kind)
    if kind in _LIMITS:
        rule, fix = (words.format(**context) for words in _LIMITS[kind])
        return Broken(key, first["input"], rule, fix, kind)
    said = first["msg"].removeprefix("Value error, ").removeprefix("Input should be ")
    choices = context.get("expected") or re.match(r".* is not one of ((?:'[^']*'(?:, )?)+)\.$", said)
    if choices:  # the second is what typer says of its choices
        words = re.findall(r"'([^']*)'", choices if isinstance(choices, str) else choices[1])
        fix = suggestion(str(first["input"]), words, "choose one of them")
        return Broken(key, first["input"], f"one of {', '.join(words)}", fix, kind)
    named = next((words for name, words in _KINDS.items() if re.match(rf"{name}(_|$)", kind)), None)
    if named is not None:
        return Broken(key, first["input"], named, f"write {named}", kind)
    rule, _, fix = said.partition("; ")
    return Broken(key, first["input"], rule, fix or "write it so", kind)


def keys_at(schema: type, path: Iterable[str]) -> Mapping[str, FieldInfo]:
    """The keys that stand behind the keys of `path` in what a model reads; those of the innermost that it tells."""
    fields = fields_of(schema)
    for part in path:
        inner = _schema_in(fields[part].annotation) if part in fields else None
        fields = fields if inner is None else fields_of(inner)
    return fields


def _schema_in(kind: Any) -> type | None:
    """The model or dataclass that a field holds, also one of several, or none."""
    if isinstance(kind, type) and "__pydantic_fields__" in vars(kind):
        return kind
    return next((found for part in get_args(kind) if (found := _schema_in(part)) is not None), None)


def nearest(word: str, known: Iterable[str]) -> str | None:
    """The known word that `word` was most likely meant to be, or None when none is close."""
    by_lower = {name.lower(): name for name in known}
    parts = [name for name in by_lower if len(word) >= 3 and word.lower() in name]
    if len(parts) == 1:  # "ppo" for clipped_ppo
        return by_lower[parts[0]]
    close = get_close_matches(word.lower(), by_lower, n=1, cutoff=0.5)
    return by_lower[close[0]] if close else None


def suggestion(word: str, known: Iterable[str], otherwise: str) -> str:
    """How an error is mended: by the known word that was most likely meant, `otherwise` where none is close."""
    guess = nearest(word, known)
    return f"did you mean {guess!r}?" if guess else otherwise


def check_keys(data: Mapping[str, Any], known: Collection[str], where: str, strict: bool = True) -> None:
    """InputError for a key that is not known; with strict=False a warning instead (files in the wild carry extras)."""
    for key in data:
        if key in known:
            continue
        rule = f"the keys here are {', '.join(known)}"
        fix = suggestion(key, known, "delete the key")
        if strict:
            raise InputError(at(where, key), key, rule, fix)
        warnings.warn(f"{at(where, key)}: unknown key ignored; {fix}", InputWarning, stacklevel=3)


def at(where: str, key: str) -> str:
    """Place of a key: `file: key`, then `file: key.inner`."""
    return f"{where}.{key}" if ": " in where else f"{where}: {key}"


def number(value: Any, where: str, low: float, high: float, unit: str = "", above: bool = False) -> float:
    """A finite number within low..high (low excluded when `above`); numbers written as strings are accepted."""
    limits = f"above {low:g}" if above else f"{low:g}..{high:g}" if math.isfinite(high) else f"at least {low:g}"
    if above and math.isfinite(high):
        limits += f", at most {high:g}"
    if math.isinf(low):
        limits = "any finite value"
    rule = f"a number, {limits}{' ' + unit if unit else ''}"
    result = math.nan
    if isinstance(value, int | float | str) and not isinstance(value, bool):
        try:
            result = float(value)
        except (ValueError, OverflowError):
            result = math.nan
    if not math.isfinite(result):
        raise InputError(where, value, rule, "write a plain number")
    if not low <= result <= high or (above and result == low):
        raise InputError(where, value, rule, f"change it to a value that is {limits}{' ' + unit if unit else ''}")
    return result


def whole(value: Any, where: str, low: float, high: float = math.inf) -> int:
    """A whole number within low..high; "64" and 64.0 are accepted."""
    result = number(value, where, low, high)
    if result != int(result):
        raise InputError(where, value, "a whole number", f"write {int(result)} or {int(result) + 1}")
    return int(result)


def choice(value: Any, where: str, allowed: Collection[str]) -> str:
    """One of the allowed words, in any case and with surrounding blanks; returns the spelling of `allowed`."""
    rule = f"one of {', '.join(allowed)}"
    if not isinstance(value, str):
        raise InputError(where, value, rule, f'write it as a word in quotes, for example "{next(iter(allowed))}"')
    for word in allowed:
        if value.strip().lower() == word.lower():
            return word
    raise InputError(where, value, rule, suggestion(value, allowed, "choose one of them"))


# --- fields of models ------------------------------------------------------------------------------------------------


class Strict(BaseModel):
    """A model that never changes, refuses unknown keys and takes finite numbers alone."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


@dataclass(frozen=True, slots=True)
class Form:
    """Metadata of a field: what a console's form takes of it, where more can be computed with. `taken` says what
    becomes of other values."""

    low: float = -math.inf
    high: float = math.inf
    choices: tuple[int, ...] = ()
    taken: str = "taken as it is, as by AWS's trainer"


def fields_of(schema: type) -> Mapping[str, FieldInfo]:
    """The fields of a pydantic model or dataclass, by name."""
    found: Mapping[str, FieldInfo] = vars(schema)["__pydantic_fields__"]
    return found


def form_of(field: FieldInfo) -> Form | None:
    """The field's Form, if it has one."""
    return next((one for one in field.metadata if isinstance(one, Form)), None)


def limits_of(field: FieldInfo) -> tuple[float, float, bool]:
    """(least, most, whether least itself is out) of a number, from the field's constraints."""
    least, most, above = -math.inf, math.inf, False
    for limit in field.metadata:
        least = getattr(limit, "ge", getattr(limit, "gt", least))
        above = above or hasattr(limit, "gt")
        most = getattr(limit, "le", most)
    return least, most, above


def read_value(field: FieldInfo, value: Any, where: str) -> Any:
    """A racer's value for a field of a model, by the field's type and constraints; numbers and truth may be written as
    words. InputError names place, value, rule and fix."""
    kinds = set(get_args(field.annotation) or (field.annotation,))
    if kinds == {bool}:
        return truth(value, where)
    if type(None) in kinds and str(value).lower() in ("none", ""):
        return None
    for kind in (field.annotation, *kinds):
        if get_origin(kind) is Literal:
            return choice(value, where, get_args(kind))
    if str in kinds:
        return _word(field, value, where)
    least, most, above = limits_of(field)
    if int in kinds:
        return whole(value, where, least, most)
    extra = field.json_schema_extra
    unit = str(extra.get("unit", "")) if isinstance(extra, dict) else ""
    return number(value, where, least, most, unit, above)


def truth(value: Any, where: str) -> bool:
    """Of true or false in any case."""
    word = str(value).strip().lower()
    if word not in ("true", "false"):
        raise InputError(where, value, "true or false", 'write "true" or "false"')
    return word == "true"


def _word(field: FieldInfo, value: Any, where: str) -> str:
    if isinstance(value, list):
        raise InputError(
            where, value, "one value, a word in quotes", "write it behind the key, in quotes, without a list"
        )
    text = "" if value is None else value
    if not isinstance(text, str):
        raise InputError(where, value, "a word in quotes, or null", "write the name in quotes, or delete the key")
    most = min((limit.max_length for limit in field.metadata if hasattr(limit, "max_length")), default=len(text))
    if len(text) > most:
        raise InputError(where, value, f"at most {most} characters; these are {len(text)}", "shorten it")
    return text
