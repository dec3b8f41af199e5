"""A sweep in the stack's containers: one container has its trials, side by side, simulators may drive for all of them,
and runs and journal are in the stack's store, as one shard of one."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from contract.stores.local import LocalStore
from undercut.backends.backend import Say
from undercut.backends.compose.engine import Stack, use_store
from undercut.backends.compose.training import SWEEP, WORK, Trainer, job_file, mount
from undercut.runs.workspace import workspace
from undercut.sweep.shards import SWEEPS, WHOLE
from undercut.sweep.spec import Sweep
from undercut.sweep.storage import same_shares
from undercut.sweep.transfer import FILES_PREFIX, Fetcher, packed, place_of, put_file, send

GB_A_TRIAL = 4
"""Memory limit of the sweep's container, for each trial at once, unless STACK_SWEEP_LIMIT says another one."""


def job_of(name: str, key: str, parallel: int, scale: int) -> tuple[list[str], list[dict[str, Any]]]:
    """Command and volumes of the sweep's container: the sweep's file, its options, and the folder with its files here.
    `key` is the file's own, below the sweep's folder."""
    inside = Path("files") / name / Path(key).relative_to(FILES_PREFIX.rstrip("/"))
    options = ["--shard", str(WHOLE), "--parallel", str(parallel), *(["--workers"] if scale else [])]
    files = mount(SWEEPS / name / FILES_PREFIX, str(WORK / "files" / name))
    return ["sweep", inside.as_posix(), *options], [files]


def unpacked(sweep: Sweep, content: Mapping[str, bytes]) -> None:
    """The sweep's files in sweeps/NAME/files, of which the container sees nothing else of this machine."""
    here = LocalStore(SWEEPS / sweep.name)
    wanted = {key: data for key, data in content.items() if key.startswith(FILES_PREFIX)}
    for key in here.list(FILES_PREFIX):
        if key not in wanted:
            here.delete(key)
    for key, data in wanted.items():
        put_file(here, key, data)


def start(stack: Stack, sweep: Sweep, path: Path, parallel: int, scale: int, say: Say) -> Trainer:
    """Start the sweep's container and simulators, or take up the one of this sweep that goes on already."""
    if (running := Trainer.taken_up(stack, SWEEP, sweep.name, say)) is not None:
        say(f"the sweep {sweep.name} goes on already: following it")
        return running
    content, key = packed(sweep, path)
    unpacked(sweep, content)
    send(sweep, path, workspace(), [WHOLE])
    with job_file(SWEEP, *job_of(sweep.name, key, parallel, scale)) as job:
        return Trainer.started(stack, SWEEP, job, scale, say, {"STACK_SWEEP_MEMORY": f"{GB_A_TRIAL * parallel}g"})


def sweep_in_stack(stack: Stack, sweep: Sweep, path: Path, parallel: int, scale: int, say: Say) -> int:
    """The whole sweep in the stack, with `scale` simulators for all trials, 0: each trial drives its own episodes.
    Returns the exit code; runs and journal are then here as well. Ctrl-C lets every trial save its iteration."""
    same_shares(sweep.name, WHOLE.count)
    say("starting the stack; the first time this builds its images, which takes some minutes")
    stack.up()
    use_store(stack)
    trainer = start(stack, sweep, path, parallel, scale, say)
    try:
        status = trainer.follow()
    finally:
        stack.run("rm", "--stop", "--force", "simapp")
    fetch(sweep, say)
    return status


def fetch(sweep: Sweep, say: Say) -> None:
    """Bring what the stack's store has of the sweep; this process's runs live there (`use_store`)."""
    there = workspace()
    if place_of(sweep.name, there).folders(""):
        say(f"fetching the runs of the sweep {sweep.name} from the stack's store")
        Fetcher(sweep.name, there, say).fetch(unfinished=True)
