"""Compiles the simulator's kernels into numba's cache, side by side on all cores: `python -m simapp.kernels`.

Numba compiles a function when it is first called, on one core, and keeps the result beside the source or in
NUMBA_CACHE_DIR, once for each kind of CPU. Left to that, the first training of a machine would stand still for most of
a minute; `make setup` calls this instead, and `undercut train` where something is missing all the same.
"""

import argparse
import atexit
import contextlib
import importlib
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from queue import SimpleQueue
from typing import Any, TextIO

from filelock import FileLock

from contract.runtime import usable_cores

PACKAGE = Path(__file__).resolve().parent
ACTIONS = PACKAGE.parent / "actions"
FILES = ("default.json", "stereo_lidar_shallow_two_speed.json")
CARS, STEPS = 2, 20


@dataclass(frozen=True, slots=True)
class Compiled:
    """News of a compilation: so many kernels of all that were missing are done, `name` the latest."""

    done: int
    of: int
    name: str = ""


# --- what there is ---------------------------------------------------------------------------------------------------


def kernels() -> dict[str, Any]:
    """Every function of this package that numba compiles and keeps: name -> dispatcher."""
    found = {}
    for path in sorted(PACKAGE.rglob("*.py")):
        if "\nfrom numba import njit" in path.read_text(encoding="utf-8"):
            module = importlib.import_module(".".join(path.relative_to(PACKAGE.parent).with_suffix("").parts))
            for value in vars(module).values():
                if hasattr(value, "py_func") and value.py_func.__module__ == module.__name__:
                    found[_name(value)] = value
    return found


class Scope(StrEnum):
    """How much is needed; each holds the one before."""

    plain = "plain"
    """A time trial with the front camera."""
    drives = "drives"
    """Every race and sensor, with randomisation, in every world."""
    all = "all"
    """Videos and the live page's pictures, too."""


FOR_PICTURES = ("scene.",)
WORLDS = (
    "camera.flat.",
    "camera.kernel.draw_open_ground",
    "camera.mixing.",
    "camera.occlusion.",
    "camera.open_frames.",
    "camera.scenery.",
    "camera.shading.",
    "camera.sky.",
    "camera.standing.",
    "camera.textures.",
)
NOT_PLAIN = (*WORLDS, "camera.rasterise.", "camera.effects.", "bots.", "contact.", "lanes.", "lidar.")
"""How the names of kernels begin that the smaller scopes do without."""


def missing(scope: Scope = Scope.all) -> list[str]:
    """Kernels of the scope that are not compiled for this CPU, or from another text of their file."""
    without = {Scope.plain: FOR_PICTURES + NOT_PLAIN, Scope.drives: FOR_PICTURES, Scope.all: ()}[scope]
    return [name for name, kernel in kernels().items() if not name.startswith(without) and not _is_kept(kernel)]


def settle_cache() -> None:
    """Where neither this package's folder nor the user's cache can be written, keep kernels in a folder that goes with
    the process: numba would refuse to load them. To be called before any kernel is imported."""
    cache = Path(os.environ.get("XDG_CACHE_HOME") or f"{os.environ.get('HOME', '/')}/.cache") / "numba"
    if "NUMBA_CACHE_DIR" in os.environ or _is_writable(PACKAGE) or _is_writable(cache):
        return
    # one of its own, since numba loads whatever lies in it
    os.environ["NUMBA_CACHE_DIR"] = tempfile.mkdtemp(prefix="undercut-kernels-")
    atexit.register(shutil.rmtree, os.environ["NUMBA_CACHE_DIR"], ignore_errors=True)


def _is_writable(folder: Path) -> bool:
    """Whether files can be written there, or the folder and those above it made."""
    there = next((it for it in (folder, *folder.parents) if it.exists()), folder)
    return there.is_dir() and os.access(there, os.W_OK)


def _name(kernel: Any) -> str:
    function = kernel.py_func
    return f"{function.__module__.removeprefix('simapp.')}.{function.__name__}"


def _is_kept(kernel: Any) -> bool:
    """Numba has no public word for this. An index that belongs to another source, version or numba reads as empty; its
    keys are (signature, CPU, code)."""
    cpu = kernel.targetctx.codegen().magic_tuple()

    def is_there() -> bool:
        return any(key[1] == cpu for key in kernel._cache._cache_file._load_index())

    return is_there() or (_brought(kernel) and is_there())


def _brought(kernel: Any) -> bool:
    """Copy what lies compiled beside the source to where numba looks: it passes by a folder that cannot be written."""
    beside, place = Path(kernel.py_func.__code__.co_filename).parent / "__pycache__", Path(kernel._cache.cache_path)
    found = [] if beside == place else sorted(beside.glob(f"{kernel._cache._impl.filename_base}.*"), reverse=True)
    for path in found:  # the index, .nbi, last
        part = place / f"{path.name}.{os.getpid()}.part"
        shutil.copyfile(path, part)
        part.replace(place / path.name)
    return bool(found)


# --- compiling -------------------------------------------------------------------------------------------------------


def _plain() -> None:
    """What every training needs: the front camera, the track and the car."""
    _drive(FILES[0], [0], randomised=False)


def _objects_and_effects() -> None:
    """Boxes and cars, blur and noise, without the camera around them."""
    import numpy as np

    from contract.conditions import Conditions
    from contract.state import CAMERA_HEIGHT, CAMERA_WIDTH, TrackObjects
    from simapp.camera.bodies import REACH_M, looks_of, tables
    from simapp.camera.effects import Views, finish_frames
    from simapp.camera.rasterise import draw_bodies

    objects, pose, one = TrackObjects.none(1, 1), np.zeros((1, 1)), np.ones((1, 4))
    frames, room = np.zeros((1, CAMERA_HEIGHT, CAMERA_WIDTH), np.uint8), (-1.0, -1.0, 1.0, 1.0, 1.0)
    draw_bodies(one, one, np.ones(1), looks_of(objects), pose, pose, pose, tables(), REACH_M, room, frames)
    views = Views.of(Conditions.nominal(1), np.zeros(1, np.int64), 0.0)
    finish_frames(views.blur_px, views.noise, views.keys, frames)


def _worlds() -> None:
    """Imported worlds and looks in the front camera."""
    import numpy as np

    from contract.metadata import LIDAR_RAYS
    from contract.state import ObjectKind, TrackObjects
    from simapp.camera import Camera
    from simapp.lidar.standing import Outlines, meet_outlines
    from simapp.tracks import load_track
    from simapp.worlds.common import common_world

    track, box = load_track("paddock"), TrackObjects.none(1, 1)
    box.kind[:] = ObjectKind.box
    world, (x, y) = common_world(track), track.route[:1, :2].T
    Camera(track, world).render(x, y, np.zeros(1), objects=box)
    fan, walls = np.ones((2, LIDAR_RAYS)), np.empty((1, LIDAR_RAYS))
    meet_outlines(np.zeros((3, 1)), 0.0, fan, 1.0, Outlines.of(world, 0.2).arrays, walls)


def _videos() -> None:
    """The pictures of videos and of the live page."""
    import numpy as np

    from contract.state import TrackObjects
    from simapp.scene import VIEWS, Bodies, SceneRenderer
    from simapp.tracks import load_track

    track, still = load_track("first_oval"), [0.0]
    renderer = SceneRenderer(track, 64, 48)
    bodies, trail = Bodies.cars(still, still, still, still, [0]), np.zeros((2, 2))
    for view in VIEWS:
        renderer.render(view, bodies, trail_m=trail)
    Bodies.of_objects(TrackObjects.none(1, 1))


def _races_and_sensors() -> None:
    """Races with obstacles and bots; lidars."""
    _drive(FILES[0], [1, 2], randomised=True)
    _drive(FILES[1], [0], randomised=False)


PARTS: dict[str, tuple[Scope, Callable[[], None]]] = {
    "plain": (Scope.plain, _plain),
    "objects": (Scope.drives, _objects_and_effects),
    "worlds": (Scope.drives, _worlds),
    "videos": (Scope.all, _videos),
    "races": (Scope.drives, _races_and_sensors),
}
"""Name -> smallest scope, work. Taken in this order by processes side by side: the first two have nothing in common,
and the others find track and camera compiled by then, where there are two cores."""


def _drive(file: str, races: Sequence[int], randomised: bool) -> None:
    """Drive a little with an action file, in races without and with obstacles and with bots."""
    import numpy as np

    from contract.conditions import RandomizationConfig
    from contract.config import EvaluationConfig, RaceConfig, TrainingConfig
    from contract.metadata import ContinuousActions, ModelMetadata
    from contract.protocols import ActionDistribution, Phase, RolloutOrder
    from contract.state import Observations
    from simapp.builtin import BuiltinSimulator
    from simapp.race import Race, RaceRules
    from simapp.rollout import collect
    from simapp.starts import conditioned, round_robin
    from simapp.tracks import load_track

    class AnyAction:
        """A `Policy` that has no preference."""

        def distribution(self, observations: Observations) -> ActionDistribution:
            cars = len(next(iter(observations.values())))
            if isinstance(metadata.actions, ContinuousActions):
                return ActionDistribution(mean=np.zeros((cars, 2)), deviation=np.ones((cars, 2)))
            return ActionDistribution(probabilities=np.full((cars, metadata.actions.size), 1.0 / metadata.actions.size))

    configs = (
        RaceConfig(),
        RaceConfig(race_type="OBJECT_AVOIDANCE", number_of_obstacles=2, randomize_obstacle_locations=True),
        RaceConfig(race_type="HEAD_TO_BOT", number_of_bot_cars=2, is_lane_change=True),
    )
    track, metadata = load_track("paddock"), ModelMetadata.load(ACTIONS / file)
    simulator = BuiltinSimulator(track, [metadata] * CARS)
    order = RolloutOrder(Phase.training, 0, 0, CARS)
    for k in races:
        race = Race(simulator, track, RaceRules(STEPS), [lambda params: 1.0] * CARS, False, configs[k])
        ranges = RandomizationConfig() if randomised else None
        start = conditioned(race, ranges, round_robin(race, TrainingConfig(), EvaluationConfig()))
        collect(race, AnyAction(), metadata, order, start, seed=0)


def compile_missing(
    tell: Callable[[Compiled], None] = lambda news: None, scope: Scope = Scope.all, jobs: int | None = None
) -> int:
    """Compile what `missing()` names, in `jobs` processes (default: the usable cores), and tell of each kernel.

    Returns how many kernels were missing. Processes that ask at the same time wait for the first. Raises RuntimeError
    with what a process said when one fails.
    """
    if not missing(scope):
        return 0
    with _alone():
        wanted = set(missing(scope))
        done: set[str] = set()
        tell(Compiled(0, len(wanted)))
        order = [*Scope]
        parts = [name for name, (smallest, _) in PARTS.items() if order.index(smallest) <= order.index(scope)]
        for name in _compiled_by(parts, jobs or usable_cores()) if wanted else ():
            if name in wanted - done:
                done.add(name)
                tell(Compiled(len(done), len(wanted), name))
    return len(wanted)


@contextlib.contextmanager
def _alone() -> Iterator[None]:
    """Hold a lock in the folder of the first kernel; where there are no locks, go on without."""
    place = Path(next(iter(kernels().values()))._cache.cache_path)
    with contextlib.ExitStack() as stack:
        with contextlib.suppress(OSError):
            place.mkdir(parents=True, exist_ok=True)
            stack.enter_context(FileLock(place / "compiling.lock", fallback_to_soft=False))
        yield


def _compiled_by(parts: Sequence[str], jobs: int) -> Iterator[str]:
    """Names of kernels as processes for these parts compile them."""
    results = SimpleQueue[str | Future[None]]()
    running: list[subprocess.Popen[str]] = []
    pool = ThreadPoolExecutor(min(jobs, len(parts)))
    try:
        for part in parts:
            pool.submit(_one_part, part, running, results.put).add_done_callback(results.put)
        left = len(parts)
        while left:
            news = results.get()
            if isinstance(news, Future):
                news.result()
                left -= 1
            else:
                yield news
    finally:
        pool.shutdown(wait=False, cancel_futures=True)
        for process in running:
            with contextlib.suppress(OSError):
                process.kill()


def _one_part(part: str, running: list[subprocess.Popen[str]], say: Callable[[str], None]) -> None:
    command = [sys.executable, "-m", "simapp.kernels", "--part", part]
    pipe = subprocess.PIPE
    with subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=pipe, stderr=subprocess.STDOUT, text=True) as it:
        running.append(it)
        assert it.stdout is not None
        other = []
        for line in it.stdout:
            if line.startswith(DONE):
                say(line[len(DONE) :].strip())
            else:
                other.append(line)
    if it.returncode != 0:
        raise RuntimeError(f"compiling the simulator ({part}) ended with status {it.returncode}\n{''.join(other)}")


# --- as a program ----------------------------------------------------------------------------------------------------

DONE = "compiled "
"""How a part's lines begin, one a kernel."""


def _run_part(part: str) -> None:
    from numba.core import event

    class Told(event.Listener):
        def on_start(self, event: Any) -> None:
            """Of the end only."""

        def on_end(self, event: Any) -> None:
            kernel = event.data["dispatcher"]
            if kernel.py_func.__module__.startswith("simapp."):
                _write(sys.stdout, f"{DONE}{_name(kernel)}\n")

    event.register("numba:compile", Told())  # type: ignore[no-untyped-call]
    _, work = PARTS[part]
    work()


def _show(news: Compiled) -> None:
    """A line that is written over on a terminal, a line now and then elsewhere."""
    line = f"compiling the simulator for this CPU: {news.done} of {news.of} {news.name}"
    if sys.stderr.isatty():
        _write(sys.stderr, f"\r\x1b[K{line[:79]}" + "\n" * (news.done == news.of))
    elif news.done % 20 == 0 or news.done == news.of:
        _write(sys.stderr, f"{line.rstrip()}\n")


def _write(stream: TextIO, text: str) -> None:
    stream.write(text)
    stream.flush()


def main(arguments: Sequence[str]) -> int:
    """Command line; returns the exit code."""
    parser = argparse.ArgumentParser(prog="python -m simapp.kernels", description="Compile the simulator ahead.")
    parser.add_argument("--part", choices=PARTS, help=argparse.SUPPRESS)
    parser.add_argument("scope", nargs="?", choices=[*Scope], default=Scope.all, type=Scope)
    options = parser.parse_args(arguments)
    if options.part:
        _run_part(options.part)
        return 0
    settle_cache()
    try:
        compile_missing(_show, options.scope)
    except RuntimeError as error:
        _write(sys.stderr, f"\n{error}\n")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
