"""A YAML file of `KEY: value` lines, read with the line of every key, so that errors can name it."""

import contextlib
import warnings
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import yaml

from contract.errors import InputError, InputWarning
from contract.fields import suggestion

MAX_ITEMS = 10_000
UNREADABLE = (yaml.YAMLError, RecursionError, ValueError, OverflowError)
"""What PyYAML raises for what is no YAML: also endless nesting, dates that are none, escapes of no character."""
Value = str | list["str | list[str | None] | None"] | None
"""A word as it stands in the file, an empty place, or a list of these (and lists in it, for pairs)."""


@dataclass(frozen=True, slots=True)
class YamlEntry:
    """One key with its value and its place, `file, line 3: KEY`, for errors."""

    key: str
    value: Value
    place: str

    def refuse(self, rule: str, fix: str) -> InputError:
        return InputError(self.place, self.value, rule, fix)


def read_entries(text: str, where: str, strict: bool = True) -> dict[str, YamlEntry]:
    """The file's keys in order. Words stay as they are written ("0.20", "true"), quoted or not.

    InputError with line and column for what is no YAML, no mapping, a key that stands twice, or a nested mapping. Not
    strict, the last of a repeated key counts, as for whoever loads the file with PyYAML, with a warning.
    """
    with _readable(text, where):
        root = yaml.compose(text, Loader=yaml.SafeLoader)
    if root is None:
        return {}
    if not isinstance(root, yaml.MappingNode):
        raise InputError(f"{where}, line {_line(root)}", text[:40], "the file is lines of KEY: value", "add the keys")
    entries: dict[str, YamlEntry] = {}
    for key_node, value_node in root.value:
        key = str(key_node.value)
        place = f"{where}, line {_line(key_node)}: {key}"
        if key in entries:
            first = entries[key].place.removeprefix(f"{where}, ").split(":")[0]
            if strict:
                rule = f"a key stands once in a file; it is on {first} too"
                raise InputError(place, key, rule, "delete one of the two")
            warnings.warn(f"{place}: stands on {first} too; this one counts", InputWarning, stacklevel=3)
        entries[key] = YamlEntry(key, _value(value_node, place, iter(range(MAX_ITEMS))), place)
    return entries


@contextlib.contextmanager
def _readable(text: str, where: str) -> Iterator[None]:
    """InputError, with line and column where it has them, for what PyYAML cannot read of the text."""
    try:
        yield
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        place = f"{where}, line {mark.line + 1}, column {mark.column + 1}" if mark else where
        lines = text.splitlines()
        line = lines[mark.line].strip() if mark and mark.line < len(lines) else ""
        raise InputError(
            place, line, f"the file must be valid YAML: {error.problem}", "look for a quote, colon or indent too much"
        ) from None
    except UNREADABLE as error:
        raise InputError(where, text[:40], f"the file must be sensible YAML: {error}", "write it again") from None


def check_entries(
    entries: dict[str, YamlEntry], known: Collection[str], strict: bool, hint: str = "delete the key"
) -> dict[str, YamlEntry]:
    """The entries with known keys; others are an InputError with the nearest known name, or not strict, a warning."""
    for entry in entries.values():
        if entry.key not in known:
            fix = suggestion(entry.key, known, hint)
            if strict:
                raise InputError(entry.place, entry.key, "a key of the run parameters", fix)
            warnings.warn(f"{entry.place}: unknown key ignored; {fix}", InputWarning, stacklevel=4)
    return {key: entry for key, entry in entries.items() if key in known}


# --- files with mappings in mappings, which pydantic reads -----------------------------------------------------------

Lines = Mapping[tuple[str, ...], int]
"""The line of each key by its path."""


def read_nested(text: str, where: str, fix: str) -> tuple[dict[str, Any], Lines]:
    """The file's content, as the safe loader reads it, and the line of each key. `fix` goes with a file that is no
    mapping. InputError with line and column for what is no YAML, and for a key that stands twice."""
    with _readable(text, where):
        root, content = yaml.compose(text, Loader=yaml.SafeLoader), yaml.safe_load(text)
    if not isinstance(root, yaml.MappingNode) or not isinstance(content, dict):
        raise InputError(where, text[:40], "the file is lines of KEY: value", fix)
    lines: dict[tuple[str, ...], int] = {}
    _note_lines(root, (), lines, where)
    return content, lines


def place_of(where: str, lines: Lines, key: tuple[str, ...]) -> str:
    """`file, line 3: search.hyperparameters.lr`, by the innermost key that stands in the file."""
    found = next((lines[key[:n]] for n in range(len(key), 0, -1) if key[:n] in lines), None)
    return f"{where}{f', line {found}' if found else ''}: {'.'.join(key)}"


def _note_lines(node: yaml.Node, path: tuple[str, ...], lines: dict[tuple[str, ...], int], where: str) -> None:
    if not isinstance(node, yaml.MappingNode) or len(path) > 5:
        return
    for key_node, value_node in node.value:
        key = (*path, str(key_node.value))
        line = _line(key_node)
        if key in lines:
            place = f"{where}, line {line}: {'.'.join(key)}"
            raise InputError(place, key[-1], f"a key stands once; it is on line {lines[key]} too", "delete one of them")
        lines[key] = line
        _note_lines(value_node, key, lines, where)


def _line(node: yaml.Node) -> int:
    return int(node.start_mark.line) + 1


def _value(node: yaml.Node, place: str, left: Iterator[int], depth: int = 0) -> Value:
    """`left` counts down the items that the value may still have: aliases make many of few lines."""
    if next(left, None) is None:
        raise InputError(place, f"over {MAX_ITEMS:,} items", "a value is a word or a short list", "shorten the list")
    if isinstance(node, yaml.ScalarNode):
        return None if node.tag == "tag:yaml.org,2002:null" else str(node.value)
    if isinstance(node, yaml.SequenceNode) and depth < 2:
        return [_value(item, place, left, depth + 1) for item in node.value]  # type: ignore[misc]
    raise InputError(
        place, "a mapping or a list too deep", "a value is a word, a number or a list of them", "write it in one line"
    )
