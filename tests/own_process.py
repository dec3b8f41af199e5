"""Functions that run in a process of their own, so that what they take of memory ends with them."""

from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from typing import ParamSpec, TypeVar

from tests.patience import PATIENCE_S

P = ParamSpec("P")
T = TypeVar("T")


def in_own_process(function: Callable[P, T], *arguments: P.args, **options: P.kwargs) -> T:
    """What a module's function returns in a new process. TensorFlow gives no memory back to the system, and a worker of
    the tests would have what the largest networks took until its end."""
    with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as pool:
        return pool.submit(function, *arguments, **options).result(PATIENCE_S)
