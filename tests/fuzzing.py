"""What fuzz tests share: damaged files, and the property that whatever a file holds, it is read or refused in words.

The default suite tries a few examples of each parser; `make fuzz` tries thousands, other ones each time.
"""

import json
import resource
import time
import warnings
from collections.abc import Callable
from typing import Any, TypeVar

from hypothesis import settings
from hypothesis import strategies as st

from contract.errors import InputError, UndercutError

_T = TypeVar("_T")
MAX_CPU_S = 20.0
MAX_MIB = 512
"""One small file may take no more than this of the processor, and of memory beyond what was taken before."""
LONG_PROFILE = "fuzz"


def examples(few: int) -> settings:
    """So many examples in the default suite, and all of the long profile's in `make fuzz`."""
    many = settings.get_current_profile_name() == LONG_PROFILE
    return settings(max_examples=settings().max_examples if many else few)


def value_or_error(
    read: Callable[[], _T], *names: str, errors: type[UndercutError] | tuple[type[UndercutError], ...] = InputError
) -> _T | None:
    """What `read` gives, None where it raised one of the errors, whose text must hold one of the names and be fit to
    show; anything else that is raised is a finding, and so are minutes and gigabytes."""
    began_s, before_kib = time.process_time(), resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    value = None
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # unknown keys of lenient readers
        try:
            value = read()
        except errors as error:
            said = str(error)
            assert said.encode(), "cannot be printed"
            assert not names or any(name in said for name in names), said
    assert time.process_time() - began_s < MAX_CPU_S
    assert (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before_kib) / 1024 < MAX_MIB
    return value


ODD_WORDS = st.sampled_from(
    [
        *("", " ", "\0", "\x1b[2J", "\ufeff", "\u2028", "٣", "ß", "😀", "NaN", "nan", "-inf", "1e999", "-1", "0"),
        *("null", "true", "None", "9" * 5000, "1" * 400, "../../etc/passwd", "/", "\\", "%s", "${HOME}", "<x>", "{{"),
        *("[", "]", "{", "}", ",", ":", '"', "'", "#", "\n", "\r\n", "\t", "- ", "&a ", "*a", "!!python/object:os "),
        *('"\\U0011FFFF"', '"\\ud800"', "%YAML 1.9", "---\n", "? ", "| ", "> ", "<<: ", "1e5", "0x10", "1:30", "~"),
        *("<" * 40, "1_0", '"\\UFFFFFFFF"'),
    ]
)  # fmt: skip
ODD_VALUES: st.SearchStrategy[Any] = st.one_of(
    st.integers(-(2**70), 2**70),
    st.sampled_from([10**400, -(10**400), 2**31, 2**53, 2**63, 1e308, -1e308, 5e-324, -0.0]),
    st.floats(),
    st.booleans(),
    st.none(),
    st.text(max_size=6),
    ODD_WORDS.filter(lambda word: len(word) < 1000),
    st.lists(st.integers(-2, 2), max_size=3),
    st.dictionaries(st.text(max_size=3), st.integers(), max_size=2),
    st.builds(lambda: [[[[[]]]]]),
)
DEEP = st.sampled_from(["[" * 100_000, '{"a":' * 100_000, "[" * 900 + "]" * 900, "- " * 2_000, "{" * 3_000])
"""Nested deeper than parsers recurse."""


@st.composite
def damaged_values(draw: st.DrawFn, content: Any, most: int = 3) -> Any:
    """JSON content in which up to `most` places hold something else, are missing or are new."""
    content = json.loads(json.dumps(content))
    for _ in range(draw(st.integers(1, most))):
        places = places_in(content)
        if not places:
            return draw(ODD_VALUES)
        path = draw(st.sampled_from(places))
        inner = content
        for key in path[:-1]:
            inner = inner[key]
        what = draw(st.sampled_from(["replace", "replace", "replace", "delete", "add"]))
        if what == "delete":
            del inner[path[-1]]
        elif what == "add" and isinstance(inner, dict):
            inner[draw(st.text(max_size=8) | ODD_WORDS.filter(lambda word: len(word) < 1000))] = draw(ODD_VALUES)
        else:
            inner[path[-1]] = draw(ODD_VALUES)
    return content


def damaged_json(content: Any) -> st.SearchStrategy[str]:
    """The text of such content, or that of the content itself, damaged as text."""
    return (
        damaged_values(content).map(lambda value: json.dumps(value, ensure_ascii=False))
        | damaged_text(json.dumps(content, indent=1))
        | st.builds(json.dumps, ODD_VALUES)
        | DEEP
    )


@st.composite
def damaged_text(draw: st.DrawFn, text: str, most: int = 4) -> str:
    """Text with parts cut out, repeated, overwritten, or with odd words put in between."""
    for _ in range(draw(st.integers(1, most))):
        begin = draw(st.integers(0, len(text)))
        end = min(begin + draw(st.integers(0, 12)), len(text))
        what = draw(st.sampled_from(["cut", "insert", "overwrite", "repeat", "truncate", "move"]))
        if what == "cut":
            text = text[:begin] + text[end:]
        elif what == "insert":
            text = text[:begin] + draw(ODD_WORDS | st.text(max_size=4)) + text[begin:]
        elif what == "overwrite":
            text = text[:begin] + draw(ODD_WORDS | st.text(max_size=4)) + text[end:]
        elif what == "repeat":
            text = text[:end] + text[begin:end] * draw(st.integers(1, 50)) + text[end:]
        elif what == "truncate":
            text = text[:begin]
        else:
            place = draw(st.integers(0, len(text)))
            text = text[:place] + text[begin:end] + text[place:]
    return text


@st.composite
def damaged_bytes(draw: st.DrawFn, content: bytes, most: int = 4) -> bytes:
    """Bytes with flipped bits, and parts cut out, repeated, overwritten or put in."""
    for _ in range(draw(st.integers(1, most))):
        begin = draw(st.integers(0, len(content)))
        end = min(begin + draw(st.integers(0, 12)), len(content))
        what = draw(st.sampled_from(["flip", "flip", "cut", "insert", "overwrite", "repeat", "truncate"]))
        if what == "flip" and begin < len(content):
            flipped = content[begin] ^ (1 << draw(st.integers(0, 7)))
            content = content[:begin] + bytes([flipped]) + content[begin + 1 :]
        elif what == "cut":
            content = content[:begin] + content[end:]
        elif what == "insert":
            content = content[:begin] + draw(st.binary(max_size=8)) + content[begin:]
        elif what == "overwrite":
            content = content[:begin] + draw(st.binary(max_size=8)) + content[end:]
        elif what == "repeat":
            content = content[:end] + content[begin:end] * draw(st.integers(1, 50)) + content[end:]
        elif what == "truncate":
            content = content[:begin]
    return content


def places_in(value: Any, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    """Every key and index of a JSON value, nested."""
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else []
    return [place for key, inner in items for place in [(*path, key), *places_in(inner, (*path, key))]]
