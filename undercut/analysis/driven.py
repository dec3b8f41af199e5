"""What was driven: episodes out of metrics files, simtraces and simulators' logs, of all workers and evaluations."""

import dataclasses
import json
import re
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from contract import artifacts
from contract.errors import InputError
from contract.hyperparameters import Hyperparameters
from contract.metadata import ContinuousActions, DiscreteActions, ModelMetadata
from contract.metrics import EvaluationRow, TrainingRow, salvage_evaluation_metrics, salvage_training_metrics
from contract.salvage import list_of_objects
from contract.simtrace import LoggedRun, Trace, read_csv, read_log
from undercut.analysis.files import LogFiles, is_metrics, rolled
from undercut.analysis.joining import by_iteration, check_episodes, evaluation_episodes, is_whole
from undercut.analysis.log import Episode, Kind
from undercut.analysis.workers import share, training_of, worker_of_metrics, worker_of_trace

# --- A simulator's log (robomaker.log, simulation.log) ----------------------------------------------------------------

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
    given = {name: word or bare for name, word, bare in _PARAMETER.findall(head)} | dict(_ROS_PARAMETER.findall(head))
    job = given.get("JOB_TYPE", "").upper()
    of_path = re.search(r"(?:^|/)(?:evaluation|leaderboard)", key.lower()) is not None
    is_evaluation = job == "EVALUATION" or (job != "TRAINING" and of_path)
    episodes = _EPISODES.search(head)
    workers = given.get("NUM_WORKERS", "1")
    log = SimulatorLog(
        key,
        Kind.evaluation if is_evaluation else Kind.training,
        runs,
        int(episodes[1]) if episodes else 0,
        int(workers) if re.fullmatch(r"[1-9][0-9]{0,2}", workers) else 1,
        given.get("WORLD_NAME", ""),
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
            metadata = json.dumps({"action_space": space, "action_space_type": kind})
            return ModelMetadata.parse(metadata, "log", strict=False).actions
        except (ValueError, RecursionError, InputError):
            return None


# --- What was driven --------------------------------------------------------------------------------------------------

USUAL_EPISODES = 20
"""In an iteration: the default of num_episodes_between_training."""
_STAMP = re.compile(r"[0-9]{14}|[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9:.]+Z")


def _stamp(key: str) -> str:
    """The last time stamp in a path, as consoles and deepracer-for-cloud name an evaluation's files by it."""
    found = _STAMP.findall(key)
    return str(found[-1]) if found else ""


@dataclass(slots=True)
class Traces:
    """The episodes of simtraces, or of log lines where there are none.

    training    worker -> iteration -> episodes
    check       iteration -> episodes of the evaluation after it
    evaluation  folder or log of each evaluation apart -> (iteration of the file, episode)
    """

    training: dict[int, dict[int, list[Trace]]] = field(default_factory=dict)
    check: dict[int, list[Trace]] = field(default_factory=dict)
    evaluation: dict[str, list[tuple[int, Trace]]] = field(default_factory=dict)


class Driven:
    """The episodes of a log's files.

    episodes    of training, of the evaluations in it, and of evaluations apart
    traces      those of them that have steps
    simulators  the logs that stood in for simtraces
    """

    def __init__(self, files: LogFiles, logs: bool) -> None:
        """With `logs`, those of simulators stand in for simtraces that are missing."""
        self._files = files
        self.simulators: list[SimulatorLog] = []
        training, evaluations = self._metrics()
        self.traces = self._traces()
        if logs:
            self._add_logged(self.traces, training)
        self.episodes = [
            *self._training(training, self.traces.training),
            *check_episodes(training.get(0, []), self.traces.check),
            *self._evaluations(evaluations, self.traces.evaluation),
        ]

    def _metrics(self) -> tuple[dict[int, list[TrainingRow]], dict[str, list[EvaluationRow]]]:
        """Training rows of each worker, and those of each evaluation's file."""
        training: dict[int, list[TrainingRow]] = {}
        evaluations: dict[str, list[EvaluationRow]] = {}
        for key in filter(is_metrics, self._files.keys):
            text = self._files.text(key)
            if text is None:
                continue
            items, problem = list_of_objects(text, key, "metrics")
            if not items and problem is not None and "metrics" not in key.rpartition("/")[2].lower():
                continue  # something else that lies in metrics/
            of_training = "phase" in items[0] if items else "evaluation" not in key.lower()
            then = "the other rows are used"
            worker = worker_of_metrics(key, self._files.keys)
            if of_training and worker in training:
                self._files.problems.append(
                    f"{self._files.where(key)} is left out: there is another file of this kind before it"
                )
            elif of_training:
                training[worker], problems = salvage_training_metrics(text, self._files.where(key))
                self._files.note(problems, then)
            else:
                evaluations[key], problems = salvage_evaluation_metrics(text, self._files.where(key))
                self._files.note(problems, then)
        return training, evaluations

    def _training(
        self, rows: Mapping[int, Sequence[TrainingRow]], traces: Mapping[int, Mapping[int, Sequence[Trace]]]
    ) -> list[Episode]:
        """Those of all workers, counted together."""
        lacking = [str(worker) for worker in sorted(set(traces) - set(rows))]
        if rows and lacking:
            self._files.problems.append(
                f"no metrics of worker {', '.join(lacking)}: its rewards and times are its simtraces'"
            )
        return training_of(rows, traces)

    def _evaluations(
        self, rows: Mapping[str, Sequence[EvaluationRow]], traces: Mapping[str, Sequence[tuple[int, Trace]]]
    ) -> list[Episode]:
        """The trials of all evaluations, one after the other: a file of metrics belongs to the simtraces with the same
        stamp in their path, or else to those that come at the same place."""
        left = list(traces)
        pairs: list[tuple[Sequence[EvaluationRow], Sequence[tuple[int, Trace]]]] = []
        several = len(rows) > 1 or len(traces) > 1
        for key in sorted(rows, key=_stamp):
            stamp = _stamp(key)
            same = [stream for stream in left if stamp and stamp == _stamp(stream)]
            other = [stream for stream in left if not stamp or not _stamp(stream) or not several]
            mine = (same or other)[:1]
            left = [stream for stream in left if stream not in mine]
            pairs.append((rows[key], traces[mine[0]] if mine else ()))
        pairs += [((), traces[stream]) for stream in sorted(left, key=_stamp)]
        episodes: list[Episode] = []
        for of_metrics, of_traces in pairs:
            for episode in evaluation_episodes(of_metrics, of_traces):
                episodes.append(dataclasses.replace(episode, number=len(episodes)))
        return episodes

    def _traces(self) -> Traces:
        traces = Traces()
        for key in self._files.keys:
            read = artifacts.parse_any_simtrace(key)
            text = self._files.text(key) if read else None
            if read is None or text is None:
                continue
            kind, iteration = Kind(read[0]), read[1]
            if not text.strip():
                self._files.problems.append(f"{self._files.where(key)} is empty: its episodes have no path")
                continue
            found, problems = read_csv(text, self._files.where(key))
            self._files.note(problems, "left out, the other rows are used")
            cut = [trace.episode for trace in found if not is_whole(trace)]
            if cut and not problems:
                self._files.problems.append(
                    f"{self._files.where(key)}: episode {cut[0]} has not all of its steps, or no end"
                )
            if not found:
                continue
            if kind is Kind.training:
                traces.training.setdefault(worker_of_trace(key), {}).setdefault(iteration, []).extend(found)
            elif kind is Kind.check:
                traces.check.setdefault(iteration, []).extend(found)
            else:
                stream = traces.evaluation.setdefault(key.rpartition("/")[0], [])
                stream += [(iteration, trace) for trace in found]
                stream.sort(key=lambda it: it[0])
        return traces

    def _add_logged(self, traces: Traces, rows: Mapping[int, Sequence[TrainingRow]]) -> None:
        """The episodes of simulators' logs, of the kinds that have no simtraces."""
        wanted = {Kind.training: not traces.training, Kind.evaluation: not traces.evaluation}
        for parts in rolled(self._files.keys).values() if any(wanted.values()) else ():
            text = "".join(self._files.text(key) or "" for key in parts)
            if "SIM_TRACE_LOG:" not in text:
                continue
            log, problems = read_simulator_log(text, parts[-1], self._files.where(parts[-1]))
            if wanted[log.kind]:
                self.simulators.append(log)
                self._files.note(problems, "left out, the other lines are used")
        for log in self.simulators:
            if log.kind is Kind.evaluation:
                for run in log.runs:
                    traces.evaluation[f"{log.key} {run.name}"] = [(0, trace) for trace in run.traces]
        told_apart = [log for log in self.simulators if log.kind is Kind.training]
        training = [(log, run) for log in told_apart for run in log.runs]
        if max([len(log.runs) for log in told_apart] + [log.workers for log in told_apart], default=1) == 1:
            training = _one_after_the_other(training)
        episodes = next((log.episodes for log, _ in training if log.episodes), 0) or self._episodes_between()
        if training and not episodes and not rows:
            self._files.problems.append(
                f"{USUAL_EPISODES} episodes are taken for an iteration: the log does not say how many"
            )
        workers = max([len(training), *(log.workers for log, _ in training)]) if training else 1
        for worker, (_, run) in enumerate(training):
            each = max(share(episodes or USUAL_EPISODES, workers, worker), 1)
            groups = enumerate(by_iteration(rows.get(0, []))[0])
            of_rows = {row.episode - 1: i for i, trained in groups for row in trained}
            for trace in run.traces:
                iteration = of_rows.get(trace.episode) if worker == 0 else None
                known = trace.episode // each if iteration is None else iteration
                traces.training.setdefault(worker, {}).setdefault(known, []).append(trace)

    def _episodes_between(self) -> int:
        """num_episodes_between_training of a file that lies beside the log; 0 where it is not known."""
        found = self._files.first(artifacts.HYPERPARAMETERS, "hyperparameters.json")
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                hyperparameters = (
                    Hyperparameters.parse(found[1], self._files.where(found[0]), "sac", strict=False) if found else None
                )
        except InputError:
            hyperparameters = None
        return hyperparameters.num_episodes_between_training if hyperparameters else 0


def _one_after_the_other(logs: Sequence[tuple[SimulatorLog, LoggedRun]]) -> list[tuple[SimulatorLog, LoggedRun]]:
    """Several logs of one worker as one log: each later one counts on."""
    if not logs:
        return []
    traces: list[Trace] = []
    for _, run in logs:
        before = traces[-1].episode + 1 if traces and run.traces and run.traces[0].episode <= traces[-1].episode else 0
        traces += [dataclasses.replace(trace, episode=trace.episode + before) for trace in run.traces]
    return [(logs[0][0], LoggedRun("", traces))]
