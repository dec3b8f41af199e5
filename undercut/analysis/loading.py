"""Reads what a run left, ours, the console's or DeepRacer-for-Cloud's: whatever is whole is used, the rest is told."""

import csv
import dataclasses
import io
import math
import re
import warnings
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

import numpy as np

from contract import artifacts
from contract.car import Car, car_of_version
from contract.config import RunConfig
from contract.errors import InputError
from contract.metadata import DiscreteActions, ModelMetadata
from contract.params import read_training_params
from contract.salvage import list_of_objects
from contract.state import FloatArray
from simapp.tracks import Track, load_track, readable_tracks
from undercut.analysis.driven import Driven, Traces
from undercut.analysis.files import LogFiles, Readable, Unpacked, counted, is_log, is_metrics, logs_in, minio_folder
from undercut.analysis.log import Episode, Kind, RunLog, rows_of, same_length

# --- Which known track some traces were driven on, and which way round ------------------------------------------------

_T = TypeVar("_T")
_SAMPLES = 2000
_NEAR_THE_ROAD = 0.95


def matching_track(episodes: Sequence[Episode], search: Sequence[Path]) -> Track | None:
    """The known track whose lap is as long as the traces say, and that 95 % of their rows are near: no further from the
    centre line than the road is wide."""
    length_m = float(np.median([episode.track_length_m for episode in episodes]))
    rows = _sample(episodes)
    best: tuple[float, Track] | None = None
    for track in readable_tracks(search):
        if not same_length(track.length_m, length_m):
            continue
        where = track.project(rows["x_m"], rows["y_m"])
        share = float((np.abs(where.offset_m) <= where.width_m).mean())
        if share >= _NEAR_THE_ROAD and (best is None or share > best[0]):
            best = share, track
    return best[1] if best else None


def oriented(track: Track, episodes: Sequence[Episode]) -> tuple[Track, bool]:
    """The track in the direction in which the traces count their waypoints, and whether that is not its own."""
    rows = _sample(episodes)
    if not len(rows):
        return track, False
    ways = (track, track.reversed())
    agreeing = [
        np.count_nonzero(way.project(rows["x_m"], rows["y_m"]).nearest_waypoint == rows["closest_waypoint"])
        for way in ways
    ]
    is_reversed = bool(agreeing[1] > agreeing[0])
    return ways[is_reversed], is_reversed


def _sample(episodes: Sequence[Episode]) -> np.ndarray:
    rows = rows_of(episodes)
    return rows[:: max(1, len(rows) // _SAMPLES)]


# --- Reads what a run left, ours, the console's or DeepRacer-for-Cloud's ----------------------------------------------

_UPDATE_LINE = re.compile(
    r"Policy training> Surrogate loss=(\S+), KL divergence=(\S+), Entropy=(\S+), training epoch=(\d+)"
)


def load_run(place: Readable, name: str, search: Sequence[Path]) -> RunLog:
    """The log of one run of ours, of which nothing need be whole. Own tracks are looked for in `search`."""
    return _LogReader(place, place.list(""), name, search).read()


def load_folder(place: Readable, name: str, search: Sequence[Path], track: Track | None = None) -> list[RunLog]:
    """The logs in a folder, an archive or a file from elsewhere, one for each model whose files lie in it.

    `track` is given by the racer; InputError if no log's laps are as long as it, or if there is no log at all.
    """
    files = Unpacked(place)
    keys = files.list("")
    found = logs_in(keys)
    logs = []
    for group, its in found.items():
        log = _LogReader(files, its, group.rpartition("/")[2] or name, search, track, foreign=True).read()
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


class _LogReader:
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
        self._files, self._name = LogFiles(place, keys), name
        self._search, self._given, self._foreign = search, track, foreign

    def read(self) -> RunLog:
        """Everything; never fails on what a file says."""
        config = self._told([artifacts.RUN_CONFIG], RunConfig.from_json, "track and settings are not known")
        keys, read = [artifacts.MODEL_METADATA, "model_metadata.json"], partial(ModelMetadata.parse, strict=False)
        metadata = self._told(keys, read, "actions are named by what the simtraces command")
        driven = Driven(self._files, logs=self._foreign)
        updates = self._updates()
        track_name = config.track if config else self._track_name(driven)
        track, is_reversed = self._track(track_name, config, driven.episodes)
        log = RunLog(
            name=self._name,
            source=self._files.where(),
            episodes=tuple(driven.episodes),
            updates=updates,
            track=track,
            track_name=track_name,
            is_reversed=is_reversed,
            actions=metadata.actions
            if metadata
            else next((it.actions for it in driven.simulators if it.actions), None),
            race=config.race if config else None,
            car=_car(config, metadata),
            facts=tuple(_facts(config, metadata, track, track_name)),
        )
        self._missing(log, driven.traces)
        return dataclasses.replace(log, problems=tuple(self._files.problems))

    def _told(
        self, keys: Sequence[str], parse: Callable[[str, str], _T], otherwise: str, is_needed: bool = True
    ) -> _T | None:
        """What the first of the files that is there says; None where it is broken, or there is none. Either is told,
        with what follows `otherwise`; that a file is missing, of one that a run of ours needs."""
        found = self._files.first(*keys)
        if found is None:
            if is_needed and not self._foreign:
                self._files.problems.append(f"{self._files.where(keys[0])} is missing: {otherwise}")
            return None
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            try:
                return parse(found[1], self._files.where(found[0]))
            except InputError as error:
                self._files.note([error], otherwise)
                return None

    def _track_name(self, driven: Driven) -> str:
        """The track's name by a file of run parameters, else by what simulators logged."""
        keys, read = (artifacts.TRAINING_PARAMS, "training_params_1.yaml"), partial(read_training_params, strict=False)
        params = self._told(keys, read, "it is passed over", is_needed=False)
        if params is not None:
            return str(params.values.get("track", ""))
        return next((log.track for log in driven.simulators if log.track), "")

    def _updates(self) -> dict[str, FloatArray]:
        """Columns by iteration: of iterations.json and diagnostics.csv, else of log lines."""
        rows: dict[int, dict[str, float]] = {}
        found = self._files.first(artifacts.ITERATIONS)
        if found is not None:
            items, problem = list_of_objects(found[1], self._files.where(found[0]))
            self._files.note([problem] if problem else [], "the iterations before it are used")
            self._add(rows, items, found[0])
        found = self._files.first(artifacts.DIAGNOSTICS)
        if found is not None:
            self._add(rows, list(csv.DictReader(io.StringIO(found[1].replace("\0", "\ufffd"), newline=None))), found[0])
        if not rows:
            rows = self._logged_updates()
        if not rows:
            self._files.problems.append(
                "no iterations.json, diagnostics.csv or log lines: entropy and losses are not known"
            )
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
                where = f"{self._files.where(key)} row {place + 1}"
                rule = "a whole row with the number of its iteration"
                problems.append(InputError(where, str(item)[:80], rule, "restore the file"))
            else:
                rows.setdefault(int(iteration), {}).update(numbers)
        self._files.note(problems, "this row is left out")

    def _logged_updates(self) -> dict[int, dict[str, float]]:
        """Of the lines that training logs; an update's numbers are those of its last epoch."""
        updates: list[dict[str, float]] = []
        for key in self._files.keys:
            if is_log(key):
                for match in _UPDATE_LINE.finditer(self._files.text(key) or ""):
                    if int(match[4]) == 0 or not updates:
                        updates.append({"iteration": float(len(updates))})
                    pairs = zip(("policy_loss", "kl_divergence", "entropy"), match.groups(), strict=False)
                    updates[-1] |= {name: _number(value) or math.nan for name, value in pairs}
        return dict(enumerate(updates))

    def _track(
        self, track_name: str, config: RunConfig | None, episodes: Sequence[Episode]
    ) -> tuple[Track | None, bool | None]:
        """The track as it was driven, and whether that is against its route's own order."""
        traced = [episode for episode in episodes if len(episode.steps)]
        track = self._given
        if track is None and track_name:
            try:
                track = load_track(track_name, self._search)
            except InputError as error:
                self._files.problems.append(
                    f"the track {track_name!r} is not here ({error.rule}): maps show the cars' paths alone"
                )
        lengths = sorted({episode.track_length_m for episode in traced})
        if track is not None and lengths and not any(same_length(it, track.length_m) for it in lengths):
            self._files.problems.append(
                f"the simtraces' laps are {', '.join(f'{it:.2f}' for it in lengths)} m, and that of {track.name} is "
                f"{track.length_m:.2f} m: another track, so maps show the cars' paths alone"
            )
            return None, None
        if track is None and not track_name and traced:
            track = matching_track(traced, self._search)
        if track is None:
            return None, config.reverse_dir if config else None
        if config is not None and self._given is None:
            return (track.reversed() if config.reverse_dir else track), config.reverse_dir
        return oriented(track, traced)

    def _missing(self, log: RunLog, traces: Traces) -> None:
        """Tell what is not there at all."""
        if not log.of(Kind.training):
            self._files.problems.append("no training episodes: neither metrics nor simtraces of training are here")
        elif not any(map(is_metrics, self._files.keys)):
            self._files.problems.append("no metrics file: rewards, times and completion are the simtraces'")
        if not log.of(Kind.evaluation):
            hint = "" if self._foreign else f"; make one with: undercut evaluate {self._name}"
            self._files.problems.append(f"no evaluation of the trained model{hint}")
        lacking = sorted(set(log.iterations) - {i for found in traces.training.values() for i in found})
        if lacking and log.of(Kind.training):
            iterations = f"iteration{'' if len(lacking) == 1 else 's'} {_ranges(lacking)}"
            self._files.problems.append(
                f"no simtraces of training {iterations}: their episodes have no path, and are missing from maps, exits "
                "and action use"
            )
        others = sum(len(episode.steps) > 0 for episode in log.episodes) - len(log.traced(*Kind))
        if log.track is not None and others:
            driven = "episode was" if others == 1 else "episodes were"
            self._files.problems.append(
                f"{others} {driven} driven on another track than {log.track.name}: they are not on maps"
            )


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


def _car(config: RunConfig | None, metadata: ModelMetadata | None) -> Car | None:
    """The car that was driven: the racer's own, or the one of the metadata's version."""
    if config is not None and config.car is not None:
        return config.car
    return None if metadata is None else car_of_version(metadata.version)


def _facts(
    config: RunConfig | None, metadata: ModelMetadata | None, track: Track | None, track_name: str
) -> list[tuple[str, str]]:
    """What the run was, to read."""
    facts = []
    if track is not None:
        facts.append(("track", f"{track.name}, lap {track.length_m:.2f} m"))
    elif track_name:
        facts.append(("track", track_name))
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
