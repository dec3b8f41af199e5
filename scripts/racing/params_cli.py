"""Files of run parameters on the command line: `--params training_params.yaml`, or deepracer-for-cloud's run.env."""

from pathlib import Path

from contract.drfc import read_drfc_env
from contract.errors import InputError
from contract.fields import read_text
from contract.params import Job, RunParams, read_evaluation_params, read_training_params
from contract.races import RaceParams, race_of, read_race_params


def load_params(path: Path, job: Job, strict: bool = True) -> RunParams:
    """The file's parameters for `undercut train` or `undercut evaluate`.

    Their order: RunConfig's defaults or an existing run's config, then the file (RunParams.over), then the options of
    the command line. RunParams.model is the run's name where the command line gives none.
    """
    text = read_text(path, "the file of run parameters")
    if path.suffix in (".yaml", ".yml"):
        read = read_training_params if job == "TRAINING" else read_evaluation_params
        return read(text, str(path), strict)
    if path.suffix == ".env":
        return read_drfc_env(text, str(path), job, strict)
    raise InputError("--params", str(path), "a .yaml of the guidance, or a .env of deepracer-for-cloud", "rename it")


def load_race(path: Path | None, runs: list[str], strict: bool = True) -> RaceParams:
    """The race of `undercut race [RUN_A RUN_B ...] [--params head2head_params.yaml]`; runs named here come first."""
    if path is not None:
        return read_race_params(read_text(path, "the file of race parameters"), str(path), strict, runs)
    if len(runs) < 2:
        raise InputError("undercut race", runs, "two runs or more", "name them: undercut race RUN_A RUN_B")
    return race_of(runs)
