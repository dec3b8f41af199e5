"""Reads what a run left, ours, the console's or DeepRacer-for-Cloud's: whatever is whole is used, the rest is told."""

import csv
import dataclasses
import io
import math
import re
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from contract import artifacts
from contract.config import RunConfig
from contract.errors import InputError, StoreError
from contract.hyperparameters import Hyperparameters
from contract.metadata import ContinuousActions, DiscreteActions, ModelMetadata
from contract.metrics import (
    EvaluationRow,
    TrainingRow,
    salvage_evaluation_metrics,
    salvage_training_metrics,
)
from contract.params import read_training_params
from contract.salvage import list_of_objects
from contract.simtrace import Trace, read_csv
from contract.state import FloatArray
from simapp.analysis.folders import is_metrics, logs_in
from simapp.analysis.joining import by_iteration, check_episodes, evaluation_episodes, is_whole
from simapp.analysis.log import Episode, Kind, RunLog, same_length
from simapp.analysis.road import matching_track, oriented
from simapp.analysis.simlog import SimulatorLog, read_simulator_log
from simapp.analysis.unpacked import Readable, Unpacked, counted, is_log, minio_folder, rolled
from simapp.analysis.workers import share, training_of, worker_of_metrics, worker_of_trace
from simapp.tracks import Track, load_track

_UPDATE_LINE = re.compile(
    r"Policy training> Surrogate loss=(\S+), KL divergence=(\S+), Entropy=(\S+), training epoch=(\d+)"
)


def load_run(place: Readable, name: str, search: Sequence[Path]) -> RunLog:
    """The log of one run of ours, of which nothing need be whole. Own tracks are looked for in `search`."""
    return _Reader(place, place.list(""), name, search).read()


def load_folder(place: Readable, name: str, search: Sequence[Path], track: Track | None = None) -> list[RunLog]:
    """The logs in a folder, an archive or a file from elsewhere, one for each model whose files lie in it.

    `track` is given by the racer; InputError if no log's laps are as long as it, or if there is no log at all.
    """
    files = Unpacked(place)
    keys = files.list("")
    found = logs_in(keys)
    logs = []
    for group, its in found.items():
        log = _Reader(files, its, group.rpartition("/")[2] or name, search, track, foreign=True).read()
        if log.episodes or log.updates or any(is_metrics(key) or artifacts.parse_any_simtrace(key) for key in its):
            logs.append(log)
    if not logs:
        if files.minio:
            raise minio_folder(files.minio, place.where())
        damaged = "".join(f"; {problem}" for problem in files.problems)
        raise InputError(
            place.where(),
            (counted(len(keys), "file") if keys else "no files") + damaged,
            "logs have simtraces (*-iteration.csv), metrics (*metrics*.json) or SIM_TRACE_LOG lines (*.log)",
            "name the folder, archive or log that holds them",
        )
    if files.minio:
        text = f"{place.where()}: {counted(len(files.minio), 'object')} in MinIO's own form are passed over"
        logs[0] = dataclasses.replace(logs[0], problems=(*logs[0].problems, text))
    if files.problems:
        logs[0] = dataclasses.replace(logs[0], problems=(*files.problems, *logs[0].problems))
    if track is not None and all(log.track is None for log in logs):
        lengths = {f"{episode.track_length_m:.2f} m" for log in logs for episode in log.episodes if len(episode.steps)}
        raise InputError(
            "--track",
            f"{track.name}, {track.length_m:.2f} m",
            f"the track of these logs, whose lap is {', '.join(sorted(lengths)) or 'not known'}",
            "give another track, or leave it out",
        )
    return logs


@dataclass(slots=True)
class _Traces:
    """The episodes of simtraces, or of log lines where there are none.

    training    worker -> iteration -> episodes
    check       iteration -> episodes of the evaluation after it
    evaluation  folder or log of each evaluation apart -> (iteration of the file, episode)
    """

    training: dict[int, dict[int, list[Trace]]] = field(default_factory=dict)
    check: dict[int, list[Trace]] = field(default_factory=dict)
    evaluation: dict[str, list[tuple[int, Trace]]] = field(default_factory=dict)


class _Reader:
    """One log, read file by file; `problems` grow on the way."""

    def __init__(
        self,
        place: Readable,
        keys: Sequence[str],
        name: str,
        search: Sequence[Path],
        track: Track | None = None,
        foreign: bool = False,
    ) -> None:
        self._place, self._keys, self._name = place, keys, name
        self._search, self._given, self._foreign = search, track, foreign
        self._simulators: list[SimulatorLog] = []
        self.problems: list[str] = []

    def read(self) -> RunLog:
        """Everything; never fails on what a file says."""
        config = self._config()
        metadata = self._metadata()
        training, evaluations = self._metrics()
        traces = self._traces()
        if self._foreign:
            self._add_logged(traces, training)
        episodes = [
            *self._training(training, traces.training),
            *check_episodes(training.get(0, []), traces.check),
            *self._evaluations(evaluations, traces.evaluation),
        ]
        updates = self._updates()
        told = config.track if config else self._told_track()
        track, is_reversed = self._track(told, config, episodes)
        log = RunLog(
            name=self._name,
            source=self._place.where(),
            episodes=tuple(episodes),
            updates=updates,
            track=track,
            told_track=told,
            is_reversed=is_reversed,
            actions=metadata.actions if metadata else self._logged_actions(),
            race=config.race if config else None,
            facts=tuple(_facts(config, metadata, track, told)),
        )
        self._missing(log, traces)
        return dataclasses.replace(log, problems=tuple(self.problems))

    def _text(self, key: str) -> str | None:
        """A file's text; bytes that are no UTF-8 become marks that no number has."""
        try:
            return self._place.get(key).decode("utf-8-sig", errors="replace")
        except KeyError:
            return None
        except StoreError as error:
            self.problems.append(str(error).splitlines()[0])
            return None

    def _tell(self, problems: Sequence[InputError], then: str) -> None:
        """The first problem of a file and how many more there are."""
        if problems:
            more = f" (and {len(problems) - 1} more like it)" if len(problems) > 1 else ""
            self.problems.append(f"{_line(problems[0])}{more}: {then}")

    def _first(self, *endings: str) -> tuple[str, str] | None:
        """Key and text of the first file with one of these names."""
        for ending in endings:
            for key in self._keys:
                if key == ending or key.endswith(f"/{ending}"):
                    text = self._text(key)
                    if text is not None:
                        return key, text
        return None

    def _where(self, key: str) -> str:
        return self._place.where(key)

    def _config(self) -> RunConfig | None:
        found = self._first(artifacts.RUN_CONFIG)
        if found is None:
            if not self._foreign:
                self.problems.append(
                    f"{self._where(artifacts.RUN_CONFIG)} is missing: track and settings are not known"
                )
            return None
        try:
            return RunConfig.from_json(found[1], self._where(found[0]))
        except InputError as error:
            self._tell([error], "track and settings are not known")
            return None

    def _told_track(self) -> str:
        """The track's name by a file of run parameters."""
        found = self._first(artifacts.TRAINING_PARAMS, "training_params_1.yaml")
        if found is None:
            return next((log.track for log in self._simulators if log.track), "")
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            try:
                return str(read_training_params(found[1], self._where(found[0]), strict=False).values.get("track", ""))
            except InputError as error:
                self._tell([error], "it is passed over")
                return ""

    def _logged_actions(self) -> DiscreteActions | ContinuousActions | None:
        return next((log.actions for log in self._simulators if log.actions is not None), None)

    def _metadata(self) -> ModelMetadata | None:
        found = self._first(artifacts.MODEL_METADATA, "model_metadata.json")
        if found is None:
            if not self._foreign:
                where = self._where(artifacts.MODEL_METADATA)
                self.problems.append(f"{where} is missing: actions are named by what the simtraces command")
            return None
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            try:
                return ModelMetadata.parse(found[1], self._where(found[0]), strict=False)
            except InputError as error:
                self._tell([error], "actions are named by what the simtraces command")
                return None

    def _metrics(self) -> tuple[dict[int, list[TrainingRow]], dict[str, list[EvaluationRow]]]:
        """Training rows of each worker, and those of each evaluation's file."""
        training: dict[int, list[TrainingRow]] = {}
        evaluations: dict[str, list[EvaluationRow]] = {}
        for key in filter(is_metrics, self._keys):
            text = self._text(key)
            if text is None:
                continue
            items, problem = list_of_objects(text, key, "metrics")
            if not items and problem is not None and "metrics" not in key.rpartition("/")[2].lower():
                continue  # something else that lies in metrics/
            of_training = "phase" in items[0] if items else "evaluation" not in key.lower()
            then = "the other rows are used"
            worker = worker_of_metrics(key, self._keys)
            if of_training and worker in training:
                self.problems.append(f"{self._where(key)} is left out: there is another file of this kind before it")
            elif of_training:
                training[worker], problems = salvage_training_metrics(text, self._where(key))
                self._tell(problems, then)
            else:
                evaluations[key], problems = salvage_evaluation_metrics(text, self._where(key))
                self._tell(problems, then)
        return training, evaluations

    def _training(
        self, rows: Mapping[int, Sequence[TrainingRow]], traces: Mapping[int, Mapping[int, Sequence[Trace]]]
    ) -> list[Episode]:
        """Those of all workers, counted together."""
        lacking = [str(worker) for worker in sorted(set(traces) - set(rows))]
        if rows and lacking:
            self.problems.append(f"no metrics of worker {', '.join(lacking)}: its rewards and times are its simtraces'")
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

    def _traces(self) -> _Traces:
        traces = _Traces()
        for key in self._keys:
            read = artifacts.parse_any_simtrace(key)
            text = self._text(key) if read else None
            if read is None or text is None:
                continue
            kind, iteration = Kind(read[0]), read[1]
            if not text.strip():
                self.problems.append(f"{self._where(key)} is empty: its episodes have no path")
                continue
            found, problems = read_csv(text, self._where(key))
            self._tell(problems, "left out, the other rows are used")
            cut = [trace.episode for trace in found if not is_whole(trace)]
            if cut and not problems:
                self.problems.append(f"{self._where(key)}: episode {cut[0]} has not all of its steps, or no end")
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

    def _add_logged(self, traces: _Traces, rows: Mapping[int, Sequence[TrainingRow]]) -> None:
        """The episodes of simulators' logs, of the kinds that have no simtraces."""
        wanted = {Kind.training: not traces.training, Kind.evaluation: not traces.evaluation}
        for parts in rolled(self._keys).values() if any(wanted.values()) else ():
            text = "".join(self._text(key) or "" for key in parts)
            if "SIM_TRACE_LOG:" not in text:
                continue
            log, problems = read_simulator_log(text, parts[-1], self._where(parts[-1]))
            if wanted[log.kind]:
                self._simulators.append(log)
                self._tell(problems, "left out, the other lines are used")
        for log in self._simulators:
            if log.kind is Kind.evaluation:
                for run in log.runs:
                    traces.evaluation[f"{log.key} {run.name}"] = [(0, trace) for trace in run.traces]
        training = [(log, run) for log in self._simulators if log.kind is Kind.training for run in log.runs]
        episodes = next((log.episodes for log, _ in training if log.episodes), 0) or self._episodes_between()
        if training and not episodes and not rows:
            self.problems.append(f"{USUAL_EPISODES} episodes are taken for an iteration: the log does not say how many")
        workers = max([len(training), *(log.workers for log, _ in training)]) if training else 1
        for worker, (_, run) in enumerate(training):
            each = max(share(episodes or USUAL_EPISODES, workers, worker), 1)
            told = enumerate(by_iteration(rows.get(0, []))[0])
            of_rows = {row.episode - 1: i for i, trained in told for row in trained}
            for trace in run.traces:
                iteration = of_rows.get(trace.episode) if worker == 0 else None
                known = trace.episode // each if iteration is None else iteration
                traces.training.setdefault(worker, {}).setdefault(known, []).append(trace)

    def _episodes_between(self) -> int:
        """num_episodes_between_training of a file that lies beside the log; 0 where it is not known."""
        found = self._first(artifacts.HYPERPARAMETERS, "hyperparameters.json")
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                told = Hyperparameters.parse(found[1], self._where(found[0]), "sac", strict=False) if found else None
        except InputError:
            told = None
        return told.num_episodes_between_training if told else 0

    def _updates(self) -> dict[str, FloatArray]:
        """Columns by iteration: of iterations.json and diagnostics.csv, else of log lines."""
        rows: dict[int, dict[str, float]] = {}
        found = self._first(artifacts.ITERATIONS)
        if found is not None:
            items, problem = list_of_objects(found[1], self._where(found[0]))
            self._tell([problem] if problem else [], "the iterations before it are used")
            self._add(rows, items, found[0])
        found = self._first(artifacts.DIAGNOSTICS)
        if found is not None:
            self._add(rows, list(csv.DictReader(io.StringIO(found[1].replace("\0", "\ufffd"), newline=None))), found[0])
        if not rows:
            rows = self._logged_updates()
        if not rows:
            self.problems.append("no iterations.json, diagnostics.csv or log lines: entropy and losses are not known")
            return {}
        names = dict.fromkeys(name for row in rows.values() for name in row)
        order = sorted(rows)
        return {name: np.array([rows[number].get(name, math.nan) for number in order]) for name in names}

    def _add(self, rows: dict[int, dict[str, float]], items: Sequence[dict[str, Any]], key: str) -> None:
        """Numbers of each item under its iteration; a row without a whole one, or with more or fewer values than the
        header, is told."""
        problems = []
        for place, item in enumerate(items):
            numbers = {name: number for name, value in item.items() if (number := _number(value)) is not None}
            iteration = numbers.get("iteration", math.nan)
            if not 0 <= iteration < 1e9 or iteration != int(iteration) or None in item or None in item.values():
                where = f"{self._where(key)} row {place + 1}"
                rule = "a whole row with the number of its iteration"
                problems.append(InputError(where, str(item)[:80], rule, "restore the file"))
            else:
                rows.setdefault(int(iteration), {}).update(numbers)
        self._tell(problems, "this row is left out")

    def _logged_updates(self) -> dict[int, dict[str, float]]:
        """Of the lines that training logs; an update's numbers are those of its last epoch."""
        updates: list[dict[str, float]] = []
        for key in self._keys:
            if is_log(key):
                for match in _UPDATE_LINE.finditer(self._text(key) or ""):
                    if int(match[4]) == 0 or not updates:
                        updates.append({"iteration": float(len(updates))})
                    told = zip(("policy_loss", "kl_divergence", "entropy"), match.groups(), strict=False)
                    updates[-1] |= {name: _number(value) or math.nan for name, value in told}
        return dict(enumerate(updates))

    def _track(
        self, told: str, config: RunConfig | None, episodes: Sequence[Episode]
    ) -> tuple[Track | None, bool | None]:
        """The track as it was driven, and whether that is against its route's own order."""
        traced = [episode for episode in episodes if len(episode.steps)]
        track = self._given
        if track is None and told:
            try:
                track = load_track(told, self._search)
            except InputError as error:
                self.problems.append(f"the track {told!r} is not here ({error.rule}): maps show the cars' paths alone")
        lengths = sorted({episode.track_length_m for episode in traced})
        if track is not None and lengths and not any(same_length(it, track.length_m) for it in lengths):
            self.problems.append(
                f"the simtraces' laps are {', '.join(f'{it:.2f}' for it in lengths)} m, and that of {track.name} is "
                f"{track.length_m:.2f} m: another track, so maps show the cars' paths alone"
            )
            return None, None
        if track is None and not told and traced:
            track = matching_track(traced, self._search)
        if track is None:
            return None, config.reverse_dir if config else None
        if config is not None and self._given is None:
            return (track.reversed() if config.reverse_dir else track), config.reverse_dir
        return oriented(track, traced)

    def _missing(self, log: RunLog, traces: _Traces) -> None:
        """Tell what is not there at all."""
        if not log.of(Kind.training):
            self.problems.append("no training episodes: neither metrics nor simtraces of training are here")
        elif not any(map(is_metrics, self._keys)):
            self.problems.append("no metrics file: rewards, times and completion are the simtraces'")
        if not log.of(Kind.evaluation):
            hint = "" if self._foreign else f"; make one with: undercut evaluate {self._name}"
            self.problems.append(f"no evaluation of the trained model{hint}")
        lacking = sorted(set(log.iterations) - {i for found in traces.training.values() for i in found})
        if lacking and log.of(Kind.training):
            iterations = f"iteration{'' if len(lacking) == 1 else 's'} {_ranges(lacking)}"
            self.problems.append(
                f"no simtraces of training {iterations}: their episodes have no path, and are missing from maps, exits "
                "and action use"
            )
        others = sum(len(episode.steps) > 0 for episode in log.episodes) - len(log.traced(*Kind))
        if log.track is not None and others:
            driven = "episode was" if others == 1 else "episodes were"
            self.problems.append(
                f"{others} {driven} driven on another track than {log.track.name}: they are not on maps"
            )


USUAL_EPISODES = 20
"""In an iteration: the default of num_episodes_between_training."""
_STAMP = re.compile(r"[0-9]{14}|[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9:.]+Z")


def _stamp(key: str) -> str:
    """The last time stamp in a path, as consoles and deepracer-for-cloud name an evaluation's files by it."""
    found = _STAMP.findall(key)
    return str(found[-1]) if found else ""


def _line(error: InputError) -> str:
    shown = repr(error.value)
    return f"{error.where}: {shown if len(shown) <= 60 else shown[:57] + '...'} is not {error.rule}"


def _number(value: object) -> float | None:
    """A JSON or CSV value as a number, None when it is none."""
    if isinstance(value, str | int | float) and not isinstance(value, bool):
        try:
            return float(value)
        except (ValueError, OverflowError):
            return None
    return None


def _ranges(numbers: Sequence[int]) -> str:
    """For example "3, 7 to 9"."""
    parts: list[str] = []
    begin = numbers[0]
    for number, following in zip(numbers, [*numbers[1:], None], strict=True):
        if following != number + 1:
            parts.append(str(begin) if begin == number else f"{begin} to {number}")
            begin = following if following is not None else 0
    return ", ".join(parts)


def _facts(
    config: RunConfig | None, metadata: ModelMetadata | None, track: Track | None, told: str
) -> list[tuple[str, str]]:
    """What the run was, to read."""
    facts = []
    if track is not None:
        facts.append(("track", f"{track.name}, lap {track.length_m:.2f} m"))
    elif told:
        facts.append(("track", told))
    if config is not None:
        facts.append(("race", config.race.race_type.replace("_", " ").lower()))
        facts.append(("seed", str(config.seed)))
        if config.reverse_dir:
            facts.append(("direction", "reversed"))
        if config.enable_domain_randomization:
            facts.append(("training", "with domain randomisation"))
        if config.pretrained:
            facts.append(("began from", config.pretrained))
    if metadata is not None:
        actions = metadata.actions
        discrete = isinstance(actions, DiscreteActions)
        facts.append(("actions", f"{actions.size} discrete" if discrete else "continuous"))
        facts.append(("algorithm", metadata.algorithm.replace("_", " ")))
        facts.append(("network", metadata.network.removeprefix("DEEP_CONVOLUTIONAL_NETWORK").strip("_") or "DEEP"))
        facts.append(("sensors", ", ".join(metadata.sensors)))
    return facts
