"""A training or evaluation in the stack's containers: the run goes to its store, and its files come back."""

import contextlib
import dataclasses
import json
import os
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

from contract import artifacts
from contract.config import RunConfig, is_run_name
from contract.errors import InputError
from contract.runtime import usable_cores
from contract.stores.local import LocalStore
from trainer.iterations import read_iterations
from undercut.backends.compose.engine import Stack, StackError, ask_docker
from undercut.exit_codes import status_of
from undercut.interchange import copying
from undercut.runs.run import Run
from undercut.runs.workspace import RUNS_PREFIX, run_place

WORK = Path("/work")
"""The containers' working directory."""
RESTART_DEADLINE_S = 120.0
"""Docker waits up to a minute before it starts a container again."""
_POLL_S = 0.3
LOG_LINES = "1000"
"""Of the end of a log, in which a service's status is looked for."""

Say = Callable[[str], None]


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


def mounts(paths: Sequence[str]) -> list[dict[str, Any]]:
    """Files of this machine that a run or an option names by path, for the containers to find under the same name."""
    return [
        {
            "type": "bind",
            "source": str(Path(path).resolve()),
            "target": os.path.normpath(WORK / path),
            "read_only": True,
            "bind": {"create_host_path": False},
        }
        for path in dict.fromkeys(paths)
        if path and (Path(path).is_file() or (Path(path).is_dir() and len(Path(path).parts) > 1))
    ]


@contextlib.contextmanager
def job_file(name: str, options: Sequence[str], paths: Sequence[str]) -> Iterator[Path]:
    """A compose file for the time of one start: which run to train, and the files that it needs of this machine.

    `options` are those of `undercut train` that are no part of a run's config.
    """
    service = {"command": ["train", name, *options], "volumes": mounts(paths)}
    with tempfile.TemporaryDirectory(prefix="undercut-") as folder:
        path = Path(folder) / "job.yaml"
        path.write_text(json.dumps({"services": {"trainer": service}}))
        yield path


def training_of(stack: Stack) -> tuple[str, str] | None:
    """The trainer's container and its run, where it trains or is about to be started again."""
    container = stack.container("trainer")
    if container is None:
        return None
    state = stack.state(container)
    if not (state["Running"] or state["Restarting"]):
        return None
    command = json.loads(ask_docker(["inspect", "--format", "{{json .Config.Cmd}}", container]))
    return container, str(command[1])


def is_training(stack: Stack, name: str) -> bool:
    """Whether this run is being trained in the stack."""
    running = training_of(stack)
    return running is not None and running[1] == name


@dataclasses.dataclass
class Trainer:
    """The trainer's container of a stack, followed from here."""

    stack: Stack
    say: Say
    container: str

    @classmethod
    def start(cls, stack: Stack, name: str, workers: int, say: Say, options: Sequence[str] = ()) -> "Trainer":
        """Start trainer and workers, or take up the training of this run that goes on already."""
        running = training_of(stack)
        if running is not None and running[1] != name:
            raise StackError(
                f"the stack trains {running[1]!r} already, and it trains one run at a time\n"
                "  fix:  wait for it (undercut stack logs trainer), or stop it: undercut stack stop"
            )
        if running is None:
            with job_file(name, options, [Run.open(name).config.pretrained]) as job:
                stack.run(
                    *("up", "--detach", "--no-build", "--force-recreate", "--no-deps"),
                    *("--scale", f"simapp={workers}", "trainer", "simapp"),
                    extra=[job],
                    settings={"STACK_WORKER_THREADS": str(max(usable_cores() // workers, 1))},
                )
        container = stack.container("trainer")
        if container is None:
            raise StackError("the trainer's container is gone\n  fix:  give the same command again")
        return cls(stack, say, container)

    def follow(self) -> int:
        """Show its log until it ends, also across restarts; returns the training's exit code.

        Ctrl-C lets it finish and save its iteration, the second one stops at once.
        """
        interrupts = 0
        while True:
            started = self.stack.state(self.container)["StartedAt"]
            # not in our process group: Ctrl-C is for us
            log = subprocess.Popen(
                ["docker", "logs", "--follow", "--since", started, self.container], start_new_session=True
            )
            while log.poll() is None:
                try:
                    log.wait()
                except KeyboardInterrupt:
                    interrupts += 1
                    self._interrupt(interrupts)
            try:
                state = self._settled(started)
            except KeyboardInterrupt:
                interrupts += 1
                self._interrupt(interrupts)
                continue
            if not state["Running"]:
                end = ask_docker(["logs", "--since", started, "--tail", LOG_LINES, self.container])
                return status_of(end, int(state["ExitCode"]))
            self.say("the trainer's container died and was started again: it goes on from its last whole iteration")

    def _interrupt(self, times: int) -> None:
        signal = "INT" if times == 1 else "TERM" if times == 2 else "KILL"
        if times == 1:
            self.say("stopping the training in the stack")
        with contextlib.suppress(StackError):  # it may have ended just now
            ask_docker(["kill", "--signal", signal, self.container])

    def _settled(self, started: str) -> dict[str, Any]:
        """Its state once it has ended for good or was started again."""
        deadline_s = time.monotonic() + RESTART_DEADLINE_S
        while time.monotonic() < deadline_s:
            state = self.stack.state(self.container)
            if state["Running"] and not state["Restarting"] and state["StartedAt"] != started:
                return state
            if not state["Running"] and not state["Restarting"]:
                return state
            time.sleep(_POLL_S)
        raise StackError(
            f"the trainer's container has not come back within {RESTART_DEADLINE_S:g} s of its end\n"
            "  fix:  docker ps, and give the same command again: finished iterations are in the store"
        )


def train(stack: Stack, name: str, workers: int, say: Say, options: Sequence[str] = ()) -> int:
    """Train the run, which lies in the store, to its end; returns the exit code. Its files are then here as well.

    `options` are as in `job_file`.
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
