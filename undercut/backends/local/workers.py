"""Training with workers: the job that they get, the processes of this machine, and where rollouts come from."""

import contextlib
import dataclasses
import importlib.metadata
import signal
import subprocess
import sys
import tempfile
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

from contract import artifacts
from contract.channels.redis import RedisChannel
from contract.channels.unix import UnixChannel
from contract.config import RunConfig
from contract.errors import RewardError, UndercutError
from contract.host import MEET_S, HostSettings
from contract.memory import DoesNotFitError
from contract.protocols import RolloutOrder, RolloutSource, TrainerEnd
from contract.rollout import Rollout
from contract.runtime import usable_cores
from contract.stores.local import LocalStore
from contract.wire import Job, RolloutRules
from simapp.policy import settled_precision
from simapp.worlds.packed import WORLD_SUFFIX, pack
from trainer.remote import RemoteRollouts
from undercut.backends.local.rollouts import LocalRollouts
from undercut.runs.run import RacerFiles, Run, route_file, track_of

OUT_OF_MEMORY = 3
"""Exit code of a worker that ran out of memory."""
MAX_RESTARTS = 5
"""Of one worker in one session."""
_STOP_S = 10.0
_WATCH_S = 0.5
_TRACK = "tracks/{}/{}.npy"


def version() -> str:
    """Of this toolkit: trainer and workers must have the same, or their simulators may differ."""
    return importlib.metadata.version("undercut")


# --- the job ---------------------------------------------------------------------------------------------------------


def job_of(run: Run) -> Job:
    """The run as workers get it: config, the racer's files with the modules beside the reward function, and the track's
    route and world, so that a worker needs none of the racer's folders. What "auto" precision means is settled here
    for all."""
    config = run.config
    routes: dict[str, tuple[str, bytes]] = {}  # what the config says -> key and content
    looks: dict[str, bytes] = {}
    for world in (config, *config.each_world()):
        if world.track not in routes:
            track = track_of(run.store, world.track)
            key = _TRACK.format(len(routes), track.name)
            routes[world.track] = key, route_file(track)
            if track.world is not None:
                looks[f"{key.removesuffix('.npy')}{WORLD_SUFFIX}"] = pack(track.world)
    files = {
        artifacts.RUN_CONFIG: on_tracks(config, lambda track_name: routes[track_name][0]).to_json().encode(),
        artifacts.MODEL_METADATA: run.store.get(artifacts.MODEL_METADATA),
        artifacts.HYPERPARAMETERS: run.store.get(artifacts.HYPERPARAMETERS),
        **run.files.kept(),
        **dict(routes.values()),
        **looks,
    }
    return Job(version(), config.name, files)


def on_tracks(config: RunConfig, name: Callable[[str], str]) -> RunConfig:
    """The config with other names for its tracks, and with what "auto" precision and all threads mean here."""
    worlds = [
        world.model_copy(update={"track": name(world.track)}) if world.track is not None else world
        for world in config.worlds
    ]
    precision = settled_precision(config.precision)
    threads = config.threads or usable_cores()
    settled = {"worlds": tuple(worlds), "precision": precision, "threads": threads}
    return config.model_copy(update={"track": name(config.track), **settled})


class JobDriver:
    """Drives for a job, in a folder of its own that lives as long as the driver. `threads` 0 means all."""

    def __init__(self, job: Job, threads: int, count: Callable[[int], None]) -> None:
        self._folder = tempfile.TemporaryDirectory(prefix="undercut-worker-")
        store = LocalStore(Path(self._folder.name))
        for key, content in job.files.items():
            store.put(key, content)
        config = RunConfig.from_json(store.get(artifacts.RUN_CONFIG).decode(), "the job's run.json")
        config = on_tracks(config, lambda key: str(store.path(key)))
        here = config.model_copy(update={"threads": threads})
        with self._readable_errors():
            self._rollouts = LocalRollouts(Run(here, RacerFiles.of(store), store), count, config.threads)

    def collect(self, policy: bytes, order: RolloutOrder) -> list[Rollout]:
        """RewardError names the file without the folder, which nobody but this process knows."""
        with self._readable_errors():
            return self._rollouts.collect(policy, order)

    @contextlib.contextmanager
    def _readable_errors(self) -> Iterator[None]:
        try:
            yield
        except DoesNotFitError:
            raise
        except UndercutError as error:
            text = str(error).replace(f"{self._folder.name}/", "")
            raise (RewardError if isinstance(error, RewardError) else UndercutError)(text) from None


# --- where rollouts come from ----------------------------------------------------------------------------------------


@contextlib.contextmanager
def rollout_source(run: Run, workers: int, say: Callable[[str], None]) -> Iterator[RolloutSource]:
    """This process without workers and Redis; else workers at a channel, `workers` of them started here."""
    redis = HostSettings.load().redis
    if redis is None and not workers:
        yield LocalRollouts(run)
        return
    end: TrainerEnd
    if redis is None:
        end = unix = UnixChannel()
        arguments = ["--socket", str(unix.path)]
    else:
        end, arguments = RedisChannel(redis, run.config.name), ["--run", run.config.name]
        say(f"rollouts come over Redis at {redis}")
    patience = {} if redis is None or workers else {"worker_patience_s": MEET_S}
    reads_state = run.config.learning.reads_state
    rules = RolloutRules.of(run.files.metadata, run.config.training.max_episode_steps, reads_state)
    try:
        source = RemoteRollouts(end, job_of(run), rules, say, expected=max(workers, 1), **patience)
    except BaseException:
        end.close()
        raise
    try:
        with LocalWorkers(workers, arguments, run.config.threads, say, source):
            yield source
    finally:
        source.close()


@dataclasses.dataclass(slots=True)
class _Process:
    process: "subprocess.Popen[bytes]"
    log: Path
    restarts: int = 0
    given_up: bool = False


class LocalWorkers:
    """Worker processes of this machine, started again when they die, MAX_RESTARTS times each."""

    def __init__(
        self,
        count: int,
        arguments: list[str],
        threads: int,
        say: Callable[[str], None],
        source: RemoteRollouts,
    ) -> None:
        """`threads` in all, 0 for all cores; `source` hears of workers that died."""
        share = max((threads or usable_cores()) // max(count, 1), 1)
        self._command = [sys.executable, "-P", "-m", "undercut", "worker", "--threads", str(share), *arguments]
        self._count, self._say, self._source = count, say, source
        self._workers: list[_Process] = []
        self._stop = threading.Event()
        self._watcher = threading.Thread(target=self._watch, name="workers", daemon=True)

    def __enter__(self) -> "LocalWorkers":
        self._logs = tempfile.TemporaryDirectory(prefix="undercut-logs-")
        for number in range(self._count):
            log = Path(self._logs.name) / f"worker-{number}.log"
            self._workers.append(_Process(self._start(log), log))
        if self._count:
            self._watcher.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        if self._count:
            self._watcher.join()
        for worker in self._workers:
            worker.process.terminate()
        for worker in self._workers:
            with contextlib.suppress(subprocess.TimeoutExpired):
                worker.process.wait(_STOP_S)
            if worker.process.poll() is None:
                worker.process.kill()
                worker.process.wait()
        self._logs.cleanup()

    @property
    def pids(self) -> list[int]:
        return [worker.process.pid for worker in self._workers if worker.process.poll() is None]

    def _start(self, log: Path) -> "subprocess.Popen[bytes]":
        """In a session of its own: Ctrl-C is the trainer's, which lets workers finish."""
        with log.open("ab") as file:
            return subprocess.Popen(
                self._command, stdin=subprocess.DEVNULL, stdout=file, stderr=file, start_new_session=True
            )

    def _watch(self) -> None:
        while not self._stop.wait(_WATCH_S):
            for number, worker in enumerate(self._workers):
                if worker.given_up or worker.process.poll() is None:
                    continue
                self._source.process_died(worker.process.pid)
                why = reason_of_death(worker.process.returncode, _tail(worker.log))
                if worker.restarts < MAX_RESTARTS:
                    worker.restarts += 1
                    self._say(f"worker {number} {why}; started again ({worker.restarts} of {MAX_RESTARTS} times)")
                    worker.process = self._start(worker.log)
                    continue
                worker.given_up = True
                self._say(f"worker {number} {why}; it is not started again after {MAX_RESTARTS} times")
                if all(it.given_up for it in self._workers):
                    self._source.fail(UndercutError(f"all workers keep dying; the last one {why}\n{_tail(worker.log)}"))


def reason_of_death(status: int, log: str) -> str:
    """Why a worker process ended, in words, from its exit code and the end of its log."""
    starved = ("MemoryError", "bad_alloc", "Cannot allocate memory", "OOM when allocating", "out of memory")
    if status == OUT_OF_MEMORY or (status != 0 and any(word in log for word in starved)):
        return "ran out of memory: let fewer workers run, or fewer cars"
    if status == -signal.SIGKILL:
        return "was killed (SIGKILL), by somebody or by the kernel when memory ran out"
    if status < 0:
        return f"was ended by {signal.Signals(-status).name}"
    last = log.strip().splitlines()[-1:] or ["no message"]
    return f"ended with status {status}: {last[0]}"


def _tail(log: Path, size: int = 4_000) -> str:
    with contextlib.suppress(OSError):
        return log.read_bytes()[-size:].decode(errors="replace")
    return ""
