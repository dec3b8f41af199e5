"""Files of run parameters on the command line: `--params training_params.yaml`, or deepracer-for-cloud's run.env."""

import re
import warnings
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path

from rich.console import Console

from contract.errors import InputError, InputWarning
from contract.fields import read_text
from contract.params import Job, RunParams, is_ours, read_evaluation_params, read_training_params, with_workers
from undercut.interchange.drfc import read_drfc_env, workers_in
from undercut.races.params import RaceParams, race_of, read_race_params
from undercut.runs.run import Run
from undercut.terminal import say

_NUMBERED = re.compile(r"(.+)_([0-9]{1,3})(\.ya?ml)")


def load_params(path: Path, job: Job, strict: bool | None = None) -> RunParams:
    """The file's parameters for `undercut train` or `undercut evaluate`.

    Their order: RunConfig's defaults or an existing run's config, then the file (RunParams.over), then the options of
    the command line. RunParams.model is the run's name where the command line gives none. `strict` makes unknown keys
    an error; None, only in files of `undercut new`.
    """
    text = read_text(path, "the file of run parameters")
    strict = is_ours(text) if strict is None else strict
    if path.suffix in (".yaml", ".yml"):
        if job == "EVALUATION":
            return read_evaluation_params(text, str(path), strict)
        return _with_numbered(read_training_params(text, str(path), strict), path, strict)
    if path.suffix == ".env" or path.name == ".env":
        beside = {number: (read_text(file, file.name), str(file)) for number, file in _worker_files(path.parent)}
        system = path.parent / "system.env"
        workers = workers_in(read_text(system, "system.env"), str(system)) if system.is_file() else None
        return _with_model_at_hand(read_drfc_env(text, str(path), job, strict, workers, beside), path)
    raise InputError("--params", str(path), "a .yaml of the guidance, or a .env of deepracer-for-cloud", "rename it")


def _with_model_at_hand(params: RunParams, path: Path) -> RunParams:
    """Without the pretrained model of the file where no run and no folder has its name: it lies in another bucket."""
    source = params.values.get("pretrained")
    if source and not (source.startswith("s3://") or Run.exists(source) or Path(source).exists()):
        text = (
            f"{path}: DR_LOCAL_S3_PRETRAINED: no run here is called {source}, so training begins from nothing; "
            f"copy the model out of its bucket and bring it in: undercut import FOLDER {source}"
        )
        warnings.warn(text, InputWarning, stacklevel=3)
        kept = {key: value for key, value in params.values.items() if not key.startswith("pretrained")}
        return replace(params, values=kept)
    return params


def load_race(path: Path | None, runs: list[str], strict: bool | None = None) -> RaceParams:
    """The race of `undercut race [RUN_A RUN_B ...] [--params head2head_params.yaml]`; runs named here come first."""
    if path is not None:
        text = read_text(path, "the file of race parameters")
        return read_race_params(text, str(path), is_ours(text) if strict is None else strict, runs)
    if len(runs) < 2:
        raise InputError("undercut race", runs, "two runs or more", "name them: undercut race RUN_A RUN_B")
    return race_of(runs)


def show_unused(console: Console, path: Path | None, names: Iterable[str]) -> None:
    """For --verbose: the names in a file that have no effect here."""
    if path is not None and (unused := ", ".join(names)):
        say(console, f"{path}: without effect here: {unused}")


def _worker_files(folder: Path) -> list[tuple[int, Path]]:
    """worker-N.env files, by N."""
    found = [(re.fullmatch(r"worker-([0-9]{1,3})\.env", file.name), file) for file in folder.glob("worker-*.env")]
    return sorted((int(match[1]), file) for match, file in found if match)


def _with_numbered(first: RunParams, path: Path, strict: bool) -> RunParams:
    """The worlds of training_params_1.yaml, _2.yaml and so on, as deepracer-for-cloud leaves them of a training with
    several configurations, where the first of them is named; another one is a training of its own."""
    match = _NUMBERED.fullmatch(path.name)
    if match is None:
        return first
    files = {
        int(it[2]): file
        for file in path.parent.iterdir()
        if (it := _NUMBERED.fullmatch(file.name)) and it[1] == match[1]
    }
    others = [files[number] for number in sorted(files) if files[number] != path]
    if not others:
        return first
    if match[2] != "1":
        text = f"{path}: one of {len(files)} workers' files: trains in its world alone; name the first for all of them"
        warnings.warn(text, InputWarning, stacklevel=3)
        return first
    read = [read_training_params(read_text(file, "the file of run parameters"), str(file), strict) for file in others]
    return with_workers(first, read)
