"""A training or evaluation in the stack's containers: the run goes to its store, and its files come back."""

import contextlib
import dataclasses
import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime
from pathlib import Path
from typing import Any

from contract import artifacts
from contract.config import RunConfig, is_run_name
from contract.errors import InputError
from contract.runtime import usable_cores
from contract.stores.local import LocalStore
from trainer.iterations import read_iterations
from undercut.backends.backend import Say
from undercut.backends.compose.engine import Stack, StackError, asking, container_of
from undercut.exit_codes import status_of
from undercut.interchange import copying
from undercut.runs.run import Run
from undercut.runs.workspace import RUNS_PREFIX, run_place

WORK = Path("/work")
"""The containers' working directory."""
RESTART_DEADLINE_S = 120.0
"""Docker waits up to a minute before it starts a container again."""
_POLL_S = 0.3
TRAINER, SWEEP = "trainer", "sweep"
"""The services that train a run, and a sweep's trials."""
LOG_LINES = 1000
"""Of the end of a log, in which a service's status is looked for."""


# --- files between this folder and the store -------------------------------------------------------------------------


def local_place(name: str) -> LocalStore:
    """The run's folder here."""
    return LocalStore(Path(RUNS_PREFIX) / name)


def bring(name: str, say: Say) -> None:
    """Let the store have the run as it is here, where this folder knows more of it. InputError when the two differ.

    Same files and seed give the same iterations, so of two copies the longer one is the continuation of the other.
    """
    here, there = local_place(name), run_place(name)
    if not here.exists(artifacts.RUN_CONFIG):
        return
    if there.exists(artifacts.RUN_CONFIG):
        for key in (artifacts.REWARD_FUNCTION, artifacts.MODEL_METADATA, artifacts.HYPERPARAMETERS):
            if not here.exists(key) or here.get(key) != there.get(key):
                raise _differ(name, key)
        seeds = [RunConfig.from_json(it.get(artifacts.RUN_CONFIG).decode(), it.where()).seed for it in (here, there)]
        if seeds[0] != seeds[1]:
            raise _differ(name, "seed")
        if len(read_iterations(here)) <= len(read_iterations(there)):
            return
    say(f"copying {here.where()} to the stack's store")
    copying.copy(here, there)


def _differ(name: str, what: str) -> InputError:
    return InputError(
        f"run {name}: {what}",
        "two runs of that name",
        f"{RUNS_PREFIX}{name} in this folder and the run in the stack's store began with the same files",
        "choose another run name, or move the folder here away and take the stack's: undercut stack pull " + name,
    )


def pull(name: str) -> Path:
    """Make the run's folder here what the store has; returns it. InputError when the store has no such run."""
    there = run_place(name)
    if not there.exists(artifacts.RUN_CONFIG):
        raise InputError(
            "run", name, f"a run in the store, {there.where()}", f"undercut train {name} --backend compose"
        )
    with LocalStore(Path()).locked(RUNS_PREFIX + name) as here:
        copying.copy(there, here)
    return here.root


def bring_pretrained(name: str, say: Say) -> None:
    """Bring the run that this one begins from, where that is one of this folder only."""
    source = Run.open(name).config.pretrained
    known = is_run_name(source) and local_place(source).exists(artifacts.RUN_CONFIG)
    if known and not run_place(source).exists(artifacts.RUN_CONFIG):
        bring(source, say)


# --- containers ------------------------------------------------------------------------------------------------------


def mount(path: Path, inside: str) -> dict[str, Any]:
    """A file or folder of this machine, which a container can read under another name."""
    return {
        "type": "bind",
        "source": str(path.resolve()),
        "target": inside,
        "read_only": True,
        "bind": {"create_host_path": False},
    }


def mounts(paths: Sequence[str]) -> list[dict[str, Any]]:
    """Files of this machine that a run or an option names by path, for the containers to find under the same name."""
    return [
        mount(Path(path), os.path.normpath(WORK / path))
        for path in dict.fromkeys(paths)
        if path and (Path(path).is_file() or (Path(path).is_dir() and len(Path(path).parts) > 1))
    ]


@contextlib.contextmanager
def job_file(service: str, command: Sequence[str], volumes: Sequence[dict[str, Any]]) -> Iterator[Path]:
    """A compose file for the time of one start: what the service is to do, and the files that it needs of this
    machine."""
    with tempfile.TemporaryDirectory(prefix="undercut-") as folder:
        path = Path(folder) / "job.yaml"
        path.write_text(json.dumps({"services": {service: {"command": command, "volumes": volumes}}}))
        yield path


def at_work(stack: Stack, service: str) -> tuple[str, str] | None:
    """The service's container and the name of its run or sweep, where it trains or is about to be started again: its
    command is `train NAME ...` or `sweep files/NAME/...`."""
    container = stack.container(service)
    if container is None:
        return None
    told = container_of(container).attrs
    if not (told["State"]["Running"] or told["State"]["Restarting"]):
        return None
    what = str(told["Config"]["Cmd"][1])
    return container, Path(what).parts[1] if service == SWEEP else what


def is_training(stack: Stack, name: str) -> bool:
    """Whether this run is being trained in the stack."""
    running = at_work(stack, TRAINER)
    return running is not None and running[1] == name


@dataclasses.dataclass
class Trainer:
    """A container of a stack that trains, followed from here."""

    stack: Stack
    say: Say
    container: str
    service: str = TRAINER

    @classmethod
    def start(cls, stack: Stack, name: str, workers: int, say: Say, options: Sequence[str] = ()) -> "Trainer":
        """Start trainer and workers, or take up the training of this run that goes on already. `options` are those of
        `undercut train` that are no part of a run's config."""
        if (running := cls.taken_up(stack, TRAINER, name, say)) is not None:
            return running
        volumes = mounts([Run.open(name).config.pretrained])
        with job_file(TRAINER, ["train", name, *options], volumes) as job:
            return cls.started(stack, TRAINER, job, workers, say)

    @classmethod
    def taken_up(cls, stack: Stack, service: str, name: str, say: Say) -> "Trainer | None":
        """The service that trains this very run or sweep already. StackError when the stack trains something else."""
        for one in (TRAINER, SWEEP):
            running = at_work(stack, one)
            if running is not None and (one, running[1]) != (service, name):
                what = f"{'the sweep ' if one == SWEEP else ''}{running[1]!r}"
                raise StackError(
                    f"the stack trains {what} already, and it trains one run or sweep at a time",
                    fix="wait for it (undercut stack logs), or stop it: undercut stack stop",
                )
            if running is not None:
                return cls(stack, say, running[0], service)
        return None

    @classmethod
    def started(
        cls, stack: Stack, service: str, job: Path, workers: int, say: Say, settings: Mapping[str, str] | None = None
    ) -> "Trainer":
        """The service's new container, by the job's file, with so many simulators."""
        stack.run(
            *("up", "--detach", "--no-build", "--force-recreate", "--no-deps"),
            *("--scale", f"simapp={workers}", service, "simapp"),
            extra=[job],
            settings={**(settings or {}), "STACK_WORKER_THREADS": str(max(usable_cores() // max(workers, 1), 1))},
        )
        container = stack.container(service)
        if container is None:
            raise StackError(f"the container of the {service} is gone", fix="give the same command again")
        return cls(stack, say, container, service)

    def follow(self) -> int:
        """Show its log until it ends, also across restarts; returns the training's exit code.

        Ctrl-C lets it finish and save its iteration, the second one stops at once.
        """
        with self._interruptible(), asking(f"show the log of the {self.service}"):
            while True:
                container = container_of(self.container)
                state = container.attrs["State"]
                # from where the life before ended: the first lines of one are often older than its StartedAt
                ended_s = datetime.fromisoformat(state["FinishedAt"]).timestamp()
                since = {"since": ended_s} if ended_s > 0 else {}
                for part in container.logs(stream=True, follow=True, **since):
                    sys.stdout.buffer.write(part)
                    sys.stdout.flush()
                state = self._settled(state["StartedAt"])
                if not state["Running"]:
                    end = container.logs(tail=LOG_LINES, **since).decode(errors="replace")
                    return status_of(end, int(state["ExitCode"]))
                again = f"the container of the {self.service} died and was started again"
                self.say(f"{again}: it goes on from its last whole iteration")

    @contextlib.contextmanager
    def _interruptible(self) -> Iterator[None]:
        """Ctrl-C, and a SIGTERM like it, go on to the container meanwhile, and leave what is done here undisturbed."""
        pressed = iter(("SIGINT", "SIGTERM"))

        def interrupt(*_: object) -> None:
            name = next(pressed, "SIGKILL")
            if name == "SIGINT":
                self.say("stopping the training in the stack")
            with contextlib.suppress(StackError), asking(f"stop the {self.service}"):  # it may have ended just now
                container_of(self.container).kill(name)

        before = {number: signal.signal(number, interrupt) for number in (signal.SIGINT, signal.SIGTERM)}
        try:
            yield
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)

    def _settled(self, started: str) -> dict[str, Any]:
        """Its state once it has ended for good or was started again."""
        deadline_s = time.monotonic() + RESTART_DEADLINE_S
        while time.monotonic() < deadline_s:
            state: dict[str, Any] = container_of(self.container).attrs["State"]
            if not state["Restarting"] and (not state["Running"] or state["StartedAt"] != started):
                return state
            time.sleep(_POLL_S)
        raise StackError(
            f"the container of the {self.service} has not come back within {RESTART_DEADLINE_S:g} s of its end",
            fix="docker ps, and give the same command again: finished iterations are in the store",
        )


def train(stack: Stack, name: str, workers: int, say: Say, options: Sequence[str] = ()) -> int:
    """Train the run, which lies in the store, to its end; returns the exit code. Its files are then here as well.

    `options` are as in `Trainer.start`.
    """
    bring_pretrained(name, say)
    trainer = Trainer.start(stack, name, workers, say, options)
    try:
        status = trainer.follow()
    finally:
        stack.run("rm", "--stop", "--force", "simapp")
    say(f"fetching the files of {name} from the stack's store")
    pull(name)
    return status


def evaluate(stack: Stack, name: str, options: Sequence[str], paths: Sequence[str], say: Say) -> int:
    """`undercut evaluate OPTIONS` of a run in a container; `paths` are those of the options that may be files."""
    terminal = [] if os.isatty(1) else ["-T"]
    volumes = [f"{it['source']}:{it['target']}:ro" for it in mounts(paths)]
    start = "/opt/undercut/compose/image/start"
    command = stack.command(
        *("run", "--rm", "--no-deps", *terminal, "--entrypoint", start),
        *(part for volume in volumes for part in ("--volume", volume)),
        *("trainer", "undercut", "evaluate", *options),
    )
    status = subprocess.run(command, check=False, env=stack.environment()).returncode
    say(f"fetching the files of {name} from the stack's store")
    pull(name)
    return status
