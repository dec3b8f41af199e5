"""What is left of a damaged JSON file: the whole objects of its list, up to where it is cut or broken."""

import json
from typing import Any

from contract.errors import InputError

_FIX = "restore the file, or go on without what is missing"


def list_of_objects(text: str, where: str, key: str | None = None) -> tuple[list[dict[str, Any]], InputError | None]:
    """The objects of the list that the text is, or that stands under `key`, and what is wrong where it breaks off.

    An undamaged file has no error. The error names the line, and how many objects before it are whole.
    """
    begin = _opening(text, key)
    if begin is None:
        what = "a JSON list" if key is None else f'a JSON object with the list "{key}"'
        return [], InputError(f"{where} line 1", text[:80], what, _FIX)
    decoder = json.JSONDecoder()
    found: list[dict[str, Any]] = []
    place = _skip(text, begin)
    while text[place : place + 1] != "]":
        try:
            item, end = decoder.raw_decode(text, place)
        except (ValueError, RecursionError):  # no JSON, integers of thousands of digits, nesting thousands deep
            return found, _broken(text, place, where, len(found))
        if not isinstance(item, dict):
            return found, _broken(text, place, where, len(found))
        found.append(item)
        end = _skip(text, end)
        if text[end : end + 1] not in (",", "]"):
            return found, _broken(text, end, where, len(found))
        place = _skip(text, end + 1) if text[end] == "," else end
    return found, None


def _opening(text: str, key: str | None) -> int | None:
    """Where the list's first item would stand."""
    if key is not None:
        name = text.find(f'"{key}"')
        colon = _skip(text, name + len(key) + 2)
        if name < 0 or text[colon : colon + 1] != ":":
            return None
        begin = _skip(text, colon + 1)
    else:
        begin = _skip(text, 0)
    return begin + 1 if text[begin : begin + 1] == "[" else None


def _skip(text: str, place: int) -> int:
    """Past white space."""
    while place < len(text) and text[place] in " \t\r\n\ufeff":
        place += 1
    return place


def _broken(text: str, place: int, where: str, whole: int) -> InputError:
    line = text.count("\n", 0, place) + 1
    rest = text[place : place + 80]
    rule = f"whole JSON objects; the {whole} before it are used"
    return InputError(f"{where} line {line}", rest or "(end of file)", rule, _FIX)
