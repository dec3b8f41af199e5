"""A racer's reward file: loaded with its own imports and globals, called for every car, failing with file and line."""

import contextlib
import importlib
import inspect
import linecache
import math
import numbers
import reprlib
import sys
import threading
import traceback
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from types import CodeType, ModuleType, TracebackType
from typing import Any, cast

import numpy as np

from contract import artifacts
from contract.errors import InputError, RewardError
from contract.fields import MISSING, nearest
from contract.pythonfile import compile_python, leaves_no_bytecode, message_of, read_python, shown, syntax_error

_IMPORTS = threading.RLock()
"""Held while a racer's file is imported, since sys.path and sys.modules are the whole process's."""
MAX_REWARD = 1e5
"""A reward is finite and within plus or minus this (contract: reward function)."""

_WHAT = "the reward file"
_RACERS = (Exception, SystemExit, GeneratorExit)
"""What a racer's code may raise; Ctrl-C is not the racer's."""
_RULE = f"a reward is one finite number within -{MAX_REWARD:g}..{MAX_REWARD:g}"


@dataclass(frozen=True)
class RewardFunction:
    """A racer's file that has proved to import and to define its function.

    Every `instance()` runs the file again as a module of its own, helper modules beside it included: no two cars share
    globals, and a car's globals live as long as its run, over episodes, like those of one simulation worker at AWS.
    Modules from elsewhere (random, numpy, ...) are the process's own. One instance is not for several threads at once.
    """

    path: Path
    name: str
    source: str
    code: CodeType
    helpers: tuple[Path, ...] = ()
    """Modules beside the file that it imports, each once."""

    @classmethod
    def load(cls, path: Path, name: str = "reward_function") -> "RewardFunction":
        """Compile the file and import it once; InputError for a syntax error, an import error, or no such function."""
        source = read_python(path, _WHAT, "check the path; rewards/ holds files to begin with")
        function = cls(path, name, source, compile_python(source, path, _WHAT))
        helpers: set[Path] = set()
        function._import(helpers)
        return replace(function, helpers=tuple(sorted(helpers - {path.resolve()})))

    def instance(self) -> Callable[[dict[str, Any]], float]:
        """The function of a fresh module. RewardError from a call: the racer's code failed or returned no reward."""
        function, path = self._import(), self.path

        def reward(params: dict[str, Any]) -> float:
            try:
                value = function(params)
            except _RACERS as error:
                raise RewardError(_failure(error, path, params)) from None
            # the usual case costs two comparisons, which also sort out NaN
            if type(value) is float and -MAX_REWARD <= value <= MAX_REWARD:
                return value
            return _checked(value, function, path, params)

        return reward

    def files(self) -> dict[str, bytes]:
        """What a run keeps: the file and the modules beside it that it imports, by the keys that they have there."""
        folder = self.path.resolve().parent
        found = {helper.relative_to(folder).as_posix(): helper.read_bytes() for helper in self.helpers}
        for taken in (artifacts.REWARD_FUNCTION, artifacts.PRESET):
            if taken in found:
                rule = "a run keeps the reward function and a preset by these names"
                raise InputError(str(folder / taken), taken, rule, "rename the module that the reward function imports")
        return {artifacts.REWARD_FUNCTION: self.path.read_bytes(), **found}

    def _import(self, helpers: set[Path] | None = None) -> Callable[[dict[str, Any]], Any]:
        """Run the file as a new module and take the function out of it; tell which modules beside it were imported."""
        module = ModuleType(f"racers_{self.path.stem}")
        module.__file__ = str(self.path.resolve())
        lines = self.source.splitlines(keepends=True)
        # tracebacks show the lines that run, also after the racer has edited the file (no mtime: never checked)
        linecache.cache[str(self.path)] = (len(self.source), None, lines, str(self.path))
        own = _own_imports(self.path.resolve().parent, set() if helpers is None else helpers)
        with _IMPORTS, own, leaves_no_bytecode():
            sys.modules[module.__name__] = module  # where dataclasses look for a class's module
            try:
                exec(self.code, module.__dict__)
            except _RACERS as error:
                raise _import_failure(error, self.path) from None
        return _find(module, self.name, self.path)


@contextlib.contextmanager
def _own_imports(folder: Path, helpers: set[Path]) -> Iterator[None]:
    """While open, modules beside the racer's file come first and are new; afterwards the process is as it was."""
    # a module of the same name from elsewhere must neither be taken for the racer's nor be lost
    beside = {child.stem for child in folder.glob("*.py")} | {
        child.parent.name for child in folder.glob("*/__init__.py")
    }
    beside -= sys.stdlib_module_names
    hidden = {
        name: module
        for name, module in list(sys.modules.items())  # another thread may import something meanwhile
        if name.partition(".")[0] in beside and not _is_racers(getattr(module, "__file__", None), folder)
    }
    for name in hidden:
        del sys.modules[name]
    before = set(sys.modules)
    sys.path.insert(0, str(folder))
    importlib.invalidate_caches()
    try:
        yield
    finally:
        with contextlib.suppress(ValueError):  # the racer's file may have changed sys.path itself
            sys.path.remove(str(folder))
        for name in set(sys.modules) - before:
            file = getattr(sys.modules[name], "__file__", None)
            if file and _is_racers(file, folder):
                helpers.add(Path(file))
                del sys.modules[name]
        sys.modules.update(hidden)


def _is_racers(file: str | None, folder: Path) -> bool:
    """Whether a source file is the racer's: in the folder, but not in an environment that lies in it (./.venv)."""
    if not file or not Path(file).is_relative_to(folder):
        return False
    return not {"site-packages", "dist-packages"} & set(Path(file).parts)


def _import_failure(error: BaseException, path: Path) -> InputError:
    """Why a racer's file did not import, at the deepest line of the racer's own."""
    if isinstance(error, SyntaxError):
        return syntax_error(error, str(path), _WHAT)
    file, line = _deepest(error.__traceback__, path)
    where, text = f"{file}, line {line}", message_of(error)
    if isinstance(error, ImportError):
        missing = error.name or "the module"
        fix = f"name {missing} in a requirements.txt beside the reward file, put the module there, or import another"
        if not isinstance(error, ModuleNotFoundError):
            fix = f"correct the line: {missing} has nothing of this name"
        return InputError(where, text, "every module that the reward file imports must be found", fix)
    return InputError(where, text, "the reward file must run to its end when it is imported", "correct this line")


def _find(module: ModuleType, name: str, path: Path) -> Callable[[dict[str, Any]], Any]:
    function = getattr(module, name, MISSING)
    rule = f"the file defines a function {name}(params)"
    if function is MISSING:
        own = [key for key, value in vars(module).items() if callable(value) and not key.startswith("_")]
        guess = nearest(name, own)
        fix = f"rename {guess!r} to {name!r}?" if guess else f"add: def {name}(params): ..."
        raise InputError(f"{path}: {name}", MISSING, rule, fix)
    if not callable(function):
        raise InputError(f"{path}: {name}", function, rule, f"rename the variable and add: def {name}(params): ...")
    try:
        signature = inspect.signature(function)
    except (TypeError, ValueError):  # a C function tells no signature
        return cast(Callable[[dict[str, Any]], Any], function)
    try:
        signature.bind({})
    except TypeError:
        where = f"{path}, line {_first_line(function)}"
        raise InputError(
            where, f"def {name}{signature}", "the function takes one argument, params", f"write def {name}(params):"
        ) from None
    return cast(Callable[[dict[str, Any]], Any], function)


def _first_line(function: Callable[..., Any]) -> int:
    code = getattr(inspect.unwrap(function), "__code__", None)
    return int(code.co_firstlineno) if code else 1


def _checked(value: object, function: Callable[..., Any], path: Path, params: dict[str, Any]) -> float:
    """The reward as a float: ints, bools, NumPy scalars and 0-d arrays are fine; RewardError for all else."""
    is_number = isinstance(value, numbers.Real | np.bool_)
    if isinstance(value, np.ndarray):
        is_number = value.ndim == 0 and value.dtype.kind in "biuf"
    result = math.nan
    if is_number:
        # an int of hundreds of digits does not fit a float
        with contextlib.suppress(OverflowError):
            result = float(value)  # type: ignore[arg-type]
    if -MAX_REWARD <= result <= MAX_REWARD:
        return result
    fix = "return a number" if not is_number else "look for a division by almost zero, or a sum that grows"
    if value is None:
        fix = "every way through the function must end in a return with a number"
    name = getattr(function, "__name__", "reward_function")
    raise RewardError(
        f"{path}, line {_first_line(function)}: {name} returned {shown(value)} ({type(value).__name__})",
        _RULE,
        f"{fix}\n{show_params(params)}",
    )


def _failure(error: BaseException, path: Path, params: dict[str, Any]) -> str:
    """The racer's own traceback, headed by the deepest line of the racer's own."""
    own = _racers(error.__traceback__, path)
    file, line = _deepest(own, path)
    fix = "correct the line; the params of the failing call are below"
    key = error.args[0] if isinstance(error, KeyError) and error.args else None
    if isinstance(key, str) and isinstance(params, dict):
        guess = nearest(key, filter(_is_text, dict.keys(params)))
        fix = f"did you mean {guess!r}?" if guess and guess != key else fix
    if isinstance(error, ImportError):
        fix = "import at the top of the file: modules beside it are found only while the file is loaded"
    trace = "".join(traceback.format_exception(type(error), error, own)).rstrip()
    return (
        f"{file}, line {line}: {message_of(error)}\n"
        f"  rule: the reward function must not fail\n  fix:  {fix}\n{trace}\n{show_params(params)}"
    )


def _racers(trace: TracebackType | None, path: Path) -> TracebackType | None:
    """The traceback from the first frame of the racer's file on; ours above it say nothing to a racer."""
    frame = trace
    while frame is not None and frame.tb_frame.f_code.co_filename != str(path):
        frame = frame.tb_next
    return frame or trace


def _deepest(trace: TracebackType | None, path: Path) -> tuple[str, int]:
    """(file, line) of the last frame in the racer's file or a helper beside it."""
    folder, place = path.resolve().parent, (str(path), 1)
    while trace is not None:
        file = trace.tb_frame.f_code.co_filename
        if file == str(path) or _is_racers(file, folder):
            place = (file, trace.tb_lineno)
        trace = trace.tb_next
    return place


class _Short(reprlib.Repr):
    """Six digits of a number, which are enough to see what it is, and four things of a list."""

    def __init__(self) -> None:
        super().__init__()
        self.maxlist, self.maxother = 4, 80

    def repr_float(self, value: float, level: int) -> str:
        return repr(float(f"{value:.6g}"))


def shown_params(params: dict[str, Any]) -> dict[str, str]:
    """One car's params for a reader, by their keys: numbers in six digits, long lists shortened, with their lengths."""
    short, found = _Short(), {}
    for key, value in dict.items(params):  # a dict of the caller's own may note what is read of it
        count = f"  ({len(value)} in all)" if isinstance(value, list) and len(value) > short.maxlist else ""
        found[key if _is_text(key) else shown(key)] = f"{shown(value, short)}{count}"
    return found


def show_params(params: object) -> str:
    """The same for a message, one a line. They are as the reward function left them."""
    if not isinstance(params, dict):
        return f"params: {shown(params)}"
    return "\n".join(["params:", *(f"  {key}: {value}" for key, value in shown_params(params).items())])


def _is_text(key: object) -> bool:
    return isinstance(key, str)
