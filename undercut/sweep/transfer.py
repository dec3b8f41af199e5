"""Shards that are trained elsewhere: what they need goes to the place of their runs, and what they have found comes
from there, while they train and at their end."""

import os
import shlex
from collections.abc import Iterable, Iterator
from pathlib import Path

from contract import artifacts
from contract.config import is_run_name
from contract.errors import HeldError, InputError
from contract.protocols import Place
from contract.stores.local import LocalStore
from simapp.reward import RewardFunction
from simapp.reward_service.service import RewardService
from simapp.reward_source import load_reward
from undercut.backends.backend import Say
from undercut.check.check import Given
from undercut.interchange import copying
from undercut.runs.packages import folder_for, locked_for
from undercut.runs.run import TRACKS
from undercut.runs.workspace import RUNS_PREFIX
from undercut.sweep.shards import JOURNAL, SWEEPS, Shard
from undercut.sweep.spec import FILES, Sweep, corners
from undercut.sweep.storage import Studies, kept_studies

FILES_PREFIX = "files/"
"""Below the sweep's folder: its file, and what that names, as they lie to each other."""


def place_of(name: str, there: Place) -> Place:
    """The sweep's folder in the place that holds runs/."""
    return there.below(f"{SWEEPS}/{name}")


# --- what goes there -------------------------------------------------------------------------------------------------


def packed(sweep: Sweep, path: Path) -> tuple[dict[str, bytes], str]:
    """All that the sweep's trials are made from, by keys below the sweep's folder, and the key of its own file.

    Files lie to each other as they do here, so that the same words of the sweep's file find them: files/ has what it
    names, tracks/ your own tracks. InputError for a path or a track that another machine could not have.
    """
    named = {_resolved(it): content for it, content in _named(sweep)} | {_resolved(path): path.read_bytes()}
    root = Path(os.path.commonpath([it.parent for it in named]))
    found = {f"{FILES_PREFIX}{it.relative_to(root).as_posix()}": content for it, content in named.items()}
    tracks = {it.as_posix(): it.read_bytes() for it in _own_tracks(sweep)}
    return {**found, **tracks}, f"{FILES_PREFIX}{_resolved(path).relative_to(root).as_posix()}"


def _resolved(path: Path) -> Path:
    """With its folder's real name and its own."""
    return path.absolute().parent.resolve() / path.name


def _named(sweep: Sweep) -> Iterator[tuple[Path, bytes]]:
    """The files that the sweep's file names, and what those bring along, with their contents."""
    choices = [(key, str(it)) for key in FILES for it in _choices(sweep, key)]
    told = [(key, value) for key, value in sweep.file.files if value is not None]
    folder = [("folder", sweep.file.folder)] if sweep.file.folder else []
    for key, name in (*choices, *told, *folder):
        if Path(name).is_absolute():
            rule = "a sweep that is trained elsewhere takes its files along, by their paths from its own file"
            raise InputError(f"{sweep.where}: {key}", name, rule, "write the path from the sweep's file on")
    rewards = [sweep.folder / name for key, name in choices if key == "reward"]
    others = [sweep.folder / name for key, name in choices if key != "reward"]
    for key, path in sweep.paths.items():
        if path is not None:
            (rewards if key == "reward" else others).append(path)
    if sweep.file.folder:
        params = Given.in_folder(sweep.folder / sweep.file.folder, reward=sweep.paths["reward"]).training_params
        others += [params] if params else []
    yield from ((path, path.read_bytes()) for path in others)
    for reward in rewards:
        yield from _of_reward(reward)


def _choices(sweep: Sweep, key: str) -> Iterable[object]:
    found = sweep.file.search.get(key)
    return found if isinstance(found, tuple) else ()


def _of_reward(path: Path) -> Iterator[tuple[Path, bytes]]:
    """A reward's file, what it imports or runs from beside it, and the lock of the packages that it asks for, by which
    every machine takes the same ones."""
    reward = load_reward(path, folder_for(path))
    yield path, path.read_bytes()
    if isinstance(reward, RewardFunction):
        yield from ((it, it.read_bytes()) for it in reward.helpers)
    elif isinstance(reward, RewardService):
        yield from ((path.parent / name, content) for name, content in reward.content.items())
    if packages := locked_for(path):
        yield from ((path.parent / key, content) for key, content in packages.files().items())


def _own_tracks(sweep: Sweep) -> list[Path]:
    """Files of the racer's tracks that the trials drive on."""
    configs = [sweep.files_of(0, values).config for values in corners(sweep.file)]
    names = {world.track for config in configs for world in config.each_world()}
    found: set[Path] = set()
    for name in names:
        if Path(name).suffix in (".npy", ".track") or Path(name).name != name:
            rule = "a sweep that is trained elsewhere has tracks by their names"
            fix = f"undercut tracks add {shlex.quote(name)}, then write its name"
            raise InputError(f"{sweep.where}: run.track", name, rule, fix)
        parts = set(name.split("@"))
        wanted = parts | {part.removesuffix(turn) for part in parts for turn in ("_cw", "_ccw")}
        for path in sorted(TRACKS.glob("[!.]*")):
            if path.name in wanted or path.name.partition(".")[0] in wanted:
                found |= {it for it in path.rglob("*") if it.is_file()} if path.is_dir() else {path}
    return sorted(found)


def unpack(name: str, there: Place, here: LocalStore) -> None:
    """The files of the sweep of that name, as `packed` has laid them, into a folder."""
    source = place_of(name, there)
    for prefix in (FILES_PREFIX, f"{TRACKS}/"):
        for key in source.list(prefix):
            put_file(here, key, source.get(key))


def put_file(here: LocalStore, key: str, data: bytes) -> None:
    """A file that can be run, if it is a program that rewards."""
    here.put(key, data)
    here.path(key).chmod(0o755)


def pretrained_runs(sweep: Sweep) -> list[str]:
    """Runs that trials begin from; InputError for one that is a file of this machine."""
    found = [sweep.files_of(0, values).config.pretrained for values in corners(sweep.file)]
    names = [name for name in dict.fromkeys(found) if name and not name.startswith("s3://")]
    for name in names:
        if not is_run_name(name):
            rule = (
                "a sweep that is trained elsewhere begins from a run or from s3://bucket/prefix, not from a file here"
            )
            fix = f"undercut import {shlex.quote(name)}, then name the run that it makes"
            raise InputError(f"{sweep.where}: run.pretrained", name, rule, fix)
    return names


def send(sweep: Sweep, path: Path, there: Place, shards: Iterable[Shard]) -> str:
    """Let the place have the sweep's files, the runs that trials begin from, and what this folder knows of the shards
    beyond it. Returns the key of the sweep's own file, below the sweep's folder."""
    content, key = packed(sweep, path)
    here, target = LocalStore(Path()), place_of(sweep.name, there)
    for name in pretrained_runs(sweep):
        if here.below(RUNS_PREFIX + name).exists(artifacts.RUN_CONFIG):
            with there.locked(RUNS_PREFIX + name) as run:
                copying.copy(here.below(RUNS_PREFIX + name), run)
        elif not there.below(RUNS_PREFIX + name).exists(artifacts.RUN_CONFIG):
            rule = f"a run of this folder or of {there.where()}"
            raise InputError(f"{sweep.where}: run.pretrained", name, rule, "check its name")
    for name, data in content.items():
        target.put(name, data)
    for prefix in (FILES_PREFIX, f"{TRACKS}/"):
        for name in target.list(prefix):
            if name not in content:
                target.delete(name)
    for shard in shards:
        _send_journal(sweep.of_shard(shard), here, there)
    return key


def _send_journal(sweep: Sweep, here: LocalStore, there: Place) -> None:
    """What this folder knows of a shard beyond the place, with the runs that have begun."""
    journal = f"{SWEEPS}/{sweep.name}/{sweep.shard.folder}/{JOURNAL}"
    if not here.exists(journal) or not _goes_on(here, there, journal):
        return
    studies = Studies(sweep.name, None, None, sweep.shard)
    for trial in studies.study().get_trials(deepcopy=False):
        run = RUNS_PREFIX + sweep.run_name(trial.number)
        if not trial.state.is_finished() and here.below(run).exists(artifacts.RUN_CONFIG):
            with there.locked(run) as place:
                copying.copy(here.below(run), place)
    there.put(journal, here.get(journal))


def _goes_on(source: Place, target: Place, journal: str) -> bool:
    """Whether the source's journal is the target's and more. InputError when the two have gone different ways, since
    the trials of one would be lost."""
    if not target.exists(journal):
        return True
    more, known = source.get(journal), target.get(journal)
    if more.startswith(known):
        return len(more) > len(known)
    if known.startswith(more):
        return False
    rule = f"{source.where()} and {target.where()} have the same shard, of which one goes on with the other"
    raise InputError(journal, "two journals", rule, "move one of the two away, with its runs, or write another `name:`")


# --- what comes from there -------------------------------------------------------------------------------------------


class Fetcher:
    """Brings journals and runs of a sweep's shards to the working directory."""

    def __init__(self, name: str, there: Place, say: Say) -> None:
        """`name` is the sweep's; `there` holds runs/ and sweeps/."""
        self._name, self._there, self._say = name, there, say
        self._brought: set[str] = set()

    def fetch(self, unfinished: bool = False) -> None:
        """The journals as they are now, then runs whose trials have come to their end, each once, or also those that
        have not. A run that another process of this folder holds comes the next time."""
        here, source = LocalStore(Path()), place_of(self._name, self._there)
        for folder in source.folders(""):
            key = f"{SWEEPS}/{self._name}/{folder}/{JOURNAL}"
            if Shard.of_folder(folder) and self._there.exists(key) and _goes_on(self._there, here, key):
                here.put(key, self._there.get(key))
        for studies in kept_studies(self._name):
            assert studies.shard is not None
            for trial in studies.study().get_trials(deepcopy=False):
                if trial.state.is_finished() or unfinished:
                    self._bring(studies.shard.run_name(self._name, trial.number), here)

    def _bring(self, run: str, here: LocalStore) -> None:
        there, own = self._there.below(RUNS_PREFIX + run), here.below(RUNS_PREFIX + run)
        if run in self._brought or not there.exists(artifacts.RUN_CONFIG):
            return
        whole = all(own.exists(key) for key in (artifacts.RUN_CONFIG, artifacts.EVALUATION_METRICS))
        if not whole:
            try:
                with here.locked(RUNS_PREFIX + run) as place:
                    copying.copy(there, place)
            except HeldError:
                return
            self._say(f"brought {RUNS_PREFIX}{run}")
        self._brought.add(run)


def is_done(sweep: Sweep, shard: Shard) -> bool:
    """Whether every trial of the shard has come to its end, by its journal in the working directory."""
    if not (SWEEPS / sweep.name / shard.folder / JOURNAL).is_file():
        return False
    studies = Studies(sweep.name, None, None, shard)
    trials = studies.study().get_trials(deepcopy=False)
    return sum(it.state.is_finished() for it in trials) >= shard.share(sweep.trials)
