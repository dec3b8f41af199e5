import contextlib
import ctypes
import gc
import os
import signal
import sys
from collections import OrderedDict
from collections.abc import Callable, Generator, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import settings

if TYPE_CHECKING:
    from simapp.tracks import Track
    from tests.minio_server import MinioServer
    from tests.untrained import UntrainedPolicy

# the same examples every time, however slow the machine: a red suite means that the change under test broke something
settings.register_profile("fixed", derandomize=True, deadline=None)
# make fuzz: many more of them, other ones each time (--hypothesis-seed=N repeats)
settings.register_profile("fuzz", max_examples=int(os.environ.get("EXAMPLES", "10000")), deadline=None, print_blob=True)
settings.load_profile("fixed")

# started by a script in the background, this would leave its children deaf to Ctrl-C
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)

# started by make, what make was told (ARGS="-k track") would reach every make that a test starts
told = [word.partition("=")[0] for word in os.environ.get("MAKEFLAGS", "").split() if "=" in word]
for name in (*told, "MAKEFLAGS", "MFLAGS", "MAKEOVERRIDES", "MAKELEVEL"):
    os.environ.pop(name, None)

REPO = Path(__file__).resolve().parent.parent

SHARED_REFERENCE = REPO.parent / "shared" / "reference"
"""Recorded files of real DeepRacer runs: beside a development checkout, never inside it; tests skip without them."""


@pytest.fixture(scope="session")
def minio(tmp_path_factory: pytest.TempPathFactory) -> "Iterator[MinioServer]":
    """A MinIO server for tests that leave it as it is; those that break it start one of their own."""
    from tests.minio_server import MinioServer, minio_program

    server = MinioServer(tmp_path_factory.mktemp("minio"), minio_program())
    yield server
    server.kill()


@pytest.fixture
def own_minio(tmp_path: Path) -> "Iterator[MinioServer]":
    """A MinIO server of the test's own, to be killed, cut off and started again."""
    from tests.minio_server import MinioServer, minio_program

    server = MinioServer(tmp_path / "minio", minio_program())
    yield server
    server.kill()


@pytest.fixture
def racer(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A racer's empty folder, which is the working directory meanwhile."""
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture(scope="session")
def folder_of_all(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder for what all workers of this run share."""
    own = tmp_path_factory.getbasetemp()
    folder = (own.parent if "PYTEST_XDIST_WORKER" in os.environ else own) / "of-all"
    folder.mkdir(exist_ok=True)
    return folder


@pytest.fixture(scope="session")
def untrained_policy(folder_of_all: Path) -> "UntrainedPolicy":
    """`untrained_policy(model, seed, preset)` is a new agent's frozen graph, built once for all workers."""
    from tests.untrained import untrained_policies

    return untrained_policies(folder_of_all)


@pytest.hookimpl(wrapper=True)
def pytest_collection() -> Generator[None, object, object]:
    """Nothing that is imported becomes garbage; walks through all of it again and again took three seconds."""
    gc.disable()
    try:
        return (yield)
    finally:
        gc.enable()


def pytest_collection_finish() -> None:
    """What all the imports left stays for good: collections of garbage need not walk through it again and again."""
    _keep_pictures_of_roads()
    gc.collect()
    gc.freeze()
    # the oldest generation is collected below, when there is something to gain: by itself it was walked through
    # every few seconds, which was a twentieth of the suite's time
    gc.set_threshold(10_000, 10, 1_000_000)


def _keep_pictures_of_roads(count: int = 3) -> None:
    """The ground of a track takes a second to paint and drives hundreds of tests: that of the last few tracks stays."""
    if "simapp.camera.backdrop" in sys.modules:
        from simapp.camera.backdrop import Room

        Room.of = _remembering(Room.of, count)  # type: ignore[assignment, method-assign]
    if "simapp.scene.ground" in sys.modules:
        from simapp.scene.ground import ColourGround

        ColourGround.of = _remembering(ColourGround.of, count)  # type: ignore[assignment, method-assign]


def _remembering(of: "Callable[[Track], Any]", count: int) -> "Callable[[Track], Any]":
    kept = OrderedDict[tuple[bytes, bool], Any]()

    def remembered(track: "Track") -> Any:
        if track.world is not None:
            return of(track)
        road = (track.route.tobytes(), track.closed)
        kept[road] = kept.pop(road) if road in kept else of(track)
        if len(kept) > count:
            kept.popitem(last=False)
        return kept[road]

    return remembered


@pytest.hookimpl(wrapper=True)
def pytest_runtest_protocol(item: pytest.Item, nextitem: pytest.Item | None) -> Generator[None, object, object]:
    """A file's graphs and networks that lie in cycles go with it, back to the system: a worker runs dozens of files.
    So it is within a file whose tests build one network after the other, which took 8 GB before its end."""
    result = yield
    if nextitem is not None and nextitem.path == item.path:
        _GARBAGE.collect_after(256 << 20)
    elif _GARBAGE.collect_after(64 << 20):
        gc.freeze()  # what outlives its file stays for good, as what was imported does
    return result


class _Garbage:
    """Collected when the process has grown. A bound of its whole size would be passed for good in time, and each of
    a thousand small tests would then pay for a walk through all objects: that was half of the suite's time."""

    def __init__(self) -> None:
        self._left_bytes = 0

    def collect_after(self, growth_bytes: int) -> bool:
        if self._resident_bytes() <= self._left_bytes + growth_bytes:
            return False
        gc.collect()
        with contextlib.suppress(OSError, AttributeError):  # another C library than glibc
            ctypes.CDLL(None).malloc_trim(0)
        self._left_bytes = self._resident_bytes()
        return True

    @staticmethod
    def _resident_bytes() -> int:
        try:
            return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")
        except OSError:  # another system than Linux
            return 0


_GARBAGE = _Garbage()
