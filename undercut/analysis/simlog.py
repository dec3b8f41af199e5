"""A simulator's log (robomaker.log, simulation.log): its episodes, and what its first lines say of the job."""

import json
import re
import warnings
from dataclasses import dataclass, field

from contract.errors import InputError
from contract.metadata import ContinuousActions, DiscreteActions, ModelMetadata
from contract.simtrace import LoggedRun, read_log
from undercut.analysis.log import Kind

_PARAMETER = re.compile(r"['\"]([A-Z0-9_]+)['\"]: (?:\[?['\"]([^'\"]*)['\"]|(\w+))")
_ROS_PARAMETER = re.compile(r"\* /([A-Z][A-Z0-9_]+): (\S+)")
_EPISODES = re.compile(r'"num_episodes_between_training": "?([0-9]{1,6})')
_ACTIONS = re.compile(r"[aA]ction space from file: (\[.*?\]|\{.*\})")
_HEAD = 2_000_000
"""Characters of a log in which the job says what it is."""


@dataclass(frozen=True, slots=True)
class SimulatorLog:
    """One log.

    runs      the simulators that wrote into it; several of a training are its workers
    episodes  of an iteration, all workers together; 0 where it does not say
    workers   of the training, of which some may have logs of their own
    track     WORLD_NAME, "" where it does not say
    """

    key: str
    kind: Kind
    runs: list[LoggedRun] = field(default_factory=list)
    episodes: int = 0
    workers: int = 1
    track: str = ""
    actions: DiscreteActions | ContinuousActions | None = None


def read_simulator_log(text: str, key: str, where: str) -> tuple[SimulatorLog, list[InputError]]:
    """The log, and what is not whole in it. What it was driven for is what its JOB_TYPE says, or else its path."""
    runs, problems = read_log(text, where)
    head = text[:_HEAD]
    told = {name: word or bare for name, word, bare in _PARAMETER.findall(head)} | dict(_ROS_PARAMETER.findall(head))
    job = told.get("JOB_TYPE", "").upper()
    of_path = re.search(r"(?:^|/)(?:evaluation|leaderboard)", key.lower()) is not None
    is_evaluation = job == "EVALUATION" or (job != "TRAINING" and of_path)
    episodes = _EPISODES.search(head)
    workers = told.get("NUM_WORKERS", "1")
    log = SimulatorLog(
        key,
        Kind.evaluation if is_evaluation else Kind.training,
        runs,
        int(episodes[1]) if episodes else 0,
        int(workers) if re.fullmatch(r"[1-9][0-9]{0,2}", workers) else 1,
        told.get("WORLD_NAME", ""),
        _actions(head),
    )
    return log, problems


def _actions(head: str) -> DiscreteActions | ContinuousActions | None:
    match = _ACTIONS.search(head)
    if match is None:
        return None
    text = match[1].replace("u'", "'").replace("'", '"')
    kind = "discrete" if text.startswith("[") else "continuous"
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            space = json.loads(text)
            told = json.dumps({"action_space": space, "action_space_type": kind})
            return ModelMetadata.parse(told, "log", strict=False).actions
        except (ValueError, RecursionError, InputError):
            return None
