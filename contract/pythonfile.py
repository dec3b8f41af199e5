"""A racer's Python file: read and compiled by Python's own rules, and its exceptions and values put into words."""

import importlib.util
import reprlib
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import CodeType

from contract.errors import InputError
from contract.fields import read_bytes


def read_python(path: Path, what: str, hint: str = "check the path") -> str:
    """The file's text by its byte order mark and coding line; InputError when it cannot be read. `what` names it for
    the racer."""
    try:
        return importlib.util.decode_source(read_bytes(path, what, hint))
    except (SyntaxError, ValueError, LookupError) as error:  # no such coding, or other bytes than it has
        raise InputError(str(path), str(error), f"{what} is UTF-8 text", "save it again as UTF-8") from None


def compile_python(source: str, path: Path, what: str) -> CodeType:
    """InputError with line and column for a syntax error."""
    try:
        return compile(source, str(path), "exec", dont_inherit=True)
    except SyntaxError as error:
        raise syntax_error(error, str(path), what) from None
    except (ValueError, RecursionError, MemoryError) as error:  # null bytes, absurd nesting
        raise InputError(str(path), str(error), f"{what} must be valid Python", "save it as plain text") from None


def syntax_error(error: SyntaxError, file: str, what: str) -> InputError:
    """In `file`, or a module that it imports."""
    return InputError(
        f"{error.filename or file}, line {error.lineno}, column {error.offset}",
        (error.text or "").strip(),
        f"{what} must be valid Python: {error.msg}",
        "correct this line or the one just before",
    )


def message_of(error: BaseException) -> str:
    """The exception's class and words. A racer's own class may fail to tell them."""
    try:
        return f"{type(error).__name__}: {error}"
    except Exception:
        return type(error).__name__


def shown(value: object, short: reprlib.Repr = reprlib.aRepr) -> str:
    """The value's repr, shortened; its class where it has none, as integers of thousands of digits."""
    try:
        return short.repr(value)
    except Exception:
        return f"<{type(value).__name__}>"


@contextmanager
def leaves_no_bytecode() -> Iterator[None]:
    """While open, imports write no __pycache__: a racer's folder holds what the racer put there, and a module that was
    edited twice in a second, to the same length, is not taken for its older self."""
    kept, sys.dont_write_bytecode = sys.dont_write_bytecode, True
    try:
        yield
    finally:
        sys.dont_write_bytecode = kept
