"""Run the released rl_coach 1.0.1 wheel on TensorFlow 2.x without touching its files or the rest of the process.

rl_coach was written for TensorFlow 1.14 and Python 3.6. `install()` puts one finder on `sys.meta_path` that answers
only for `rl_coach.*`. Those modules get a `__builtins__` mapping of their own, in which `__import__` hands out a few
stand-ins (TensorFlow's 1.x face, absent optional packages) and `print` goes to the `rl_coach` logger. Everybody else
imports the real objects.
"""

import builtins
import importlib.machinery
import logging
import sys
import types
import warnings
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from contract.runtime import quiet_import

_log = logging.getLogger("rl_coach")


def tensorflow() -> Any:
    """TensorFlow, without its deprecation warnings about the 1.x interface, which is the one that rl_coach uses."""
    tf = quiet_import("tensorflow")
    tf.compat.v1.logging.set_verbosity(tf.compat.v1.logging.ERROR)
    return tf


def training_switch(network: Any) -> Any:
    """The boolean tensor that turns dropout and batch statistics on in an rl_coach network, to feed: False if not fed.

    rl_coach loses the variable behind it once the network is built; feeding it leaves no state behind.
    """
    assign = network.assign_is_training.op
    return assign.graph.get_tensor_by_name(f"{assign.inputs[0].op.name}/read:0")


def _tensorflow_1() -> types.ModuleType:
    tf = tensorflow()
    from trainer.coach import shim_tf

    return shim_tf.facade(tf)


def _pygame() -> types.ModuleType:
    """Only imported for rl_coach's renderer, which is never opened here."""
    module = types.ModuleType("pygame")
    names = types.ModuleType("pygame.locals")
    vars(names).update(HWSURFACE=0, DOUBLEBUF=0)
    vars(module).update(locals=names, time=types.SimpleNamespace(), display=types.SimpleNamespace())
    return module


def _pygame_locals() -> types.ModuleType:
    return _stand_in("pygame").locals  # type: ignore[no-any-return]


def _skimage_transform() -> types.ModuleType:
    def resize(*args: object, **kwargs: object) -> None:
        raise NotImplementedError("rl_coach's rescaling filter needs scikit-image, which is not installed")

    module = types.ModuleType("skimage.transform")
    vars(module).update(resize=resize)
    return module


def _minio_error() -> types.ModuleType:
    """minio 7 renamed ResponseError to S3Error."""
    import minio.error

    module = types.ModuleType("minio.error")
    vars(module).update({k: v for k, v in vars(minio.error).items() if not k.startswith("__")})
    vars(module).update(ResponseError=minio.error.S3Error)
    return module


def _multiprocessing() -> types.ModuleType:
    """rl_coach takes its memory's locks from manager processes, which outlive a killed trainer and hold its pipes."""
    import multiprocessing
    import threading

    module = types.ModuleType("multiprocessing")
    vars(module).update({k: v for k, v in vars(multiprocessing).items() if not k.startswith("__")})
    vars(module).update(Manager=lambda: types.SimpleNamespace(Lock=threading.Lock))
    return module


def _distutils_dir_util() -> types.ModuleType:
    """Python 3.12 has no distutils; setuptools carries it on."""
    import importlib

    return importlib.import_module("setuptools._distutils.dir_util")


_FACTORIES: Mapping[str, Callable[[], types.ModuleType]] = {
    "tensorflow": _tensorflow_1,
    "pygame": _pygame,
    "pygame.locals": _pygame_locals,
    "skimage.transform": _skimage_transform,
    "multiprocessing": _multiprocessing,
    "minio.error": _minio_error,
    "distutils.dir_util": _distutils_dir_util,
}
_made: dict[str, types.ModuleType] = {}


def _stand_in(name: str) -> Any:
    if name not in _made:
        _made[name] = _FACTORIES[name]()
    return _made[name]


def _import(
    name: str,
    globals: Mapping[str, object] | None = None,  # noqa: A002 - the signature of __import__
    locals: Mapping[str, object] | None = None,  # noqa: A002
    fromlist: Sequence[str] | None = (),
    level: int = 0,
) -> types.ModuleType:
    # `import a.b` binds `a`, so a dotted stand-in serves only `from a.b import c`, which is all that rl_coach uses
    if level == 0 and name in _FACTORIES and (fromlist or "." not in name):
        return _stand_in(name)  # type: ignore[no-any-return]
    return builtins.__import__(name, globals, locals, fromlist or (), level)


def _print(*values: object, **kwargs: object) -> None:
    _log.debug(" ".join(str(value) for value in values))


# A module looks names up in its own `__builtins__`, and `import` statements call the `__import__` there. So rl_coach
# can be given other modules without changing sys.modules, in which racers and other libraries find the real ones.
_BUILTINS: dict[str, object] = {**vars(builtins), "__import__": _import, "print": _print}


class _CoachLoader(importlib.machinery.SourceFileLoader):
    def exec_module(self, module: types.ModuleType) -> None:
        module.__dict__["__builtins__"] = _BUILTINS
        with warnings.catch_warnings():
            # old code: `is not 0`, invalid escapes in strings
            warnings.simplefilter("ignore", SyntaxWarning)
            warnings.simplefilter("ignore", DeprecationWarning)
            super().exec_module(module)


# Only rl_coach's own modules get that loader: its name is asked for before all other finders are.
class _Finder:
    @staticmethod
    def find_spec(
        fullname: str, path: Sequence[str] | None = None, target: types.ModuleType | None = None
    ) -> importlib.machinery.ModuleSpec | None:
        if fullname != "rl_coach" and not fullname.startswith("rl_coach."):
            return None
        spec = importlib.machinery.PathFinder.find_spec(fullname, path, target)
        if spec is not None and isinstance(spec.loader, importlib.machinery.SourceFileLoader):
            spec.loader = _CoachLoader(spec.loader.name, spec.loader.path)
        return spec


def install() -> None:
    """Make `import rl_coach...` work in this process; calling it again changes nothing."""
    if _Finder in sys.meta_path:
        return
    if "rl_coach" in sys.modules:
        raise RuntimeError("rl_coach was imported before trainer.coach.shim.install() was called")
    sys.meta_path.insert(0, _Finder)
