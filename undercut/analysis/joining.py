"""Episodes out of metrics rows and simtraces: which row belongs to which trace, and which of the two is believed."""

import dataclasses
import math
from collections.abc import Iterable, Mapping, Sequence

import numpy as np

from contract.metrics import EvaluationRow, TrainingRow
from contract.protocols import Phase
from contract.simtrace import Trace
from contract.state import EpisodeStatus
from undercut.analysis.log import Episode, Kind

_TITLES = {status.title.lower(): status for status in EpisodeStatus}

Iterations = list[list[TrainingRow]]


def by_iteration(rows: Iterable[TrainingRow]) -> tuple[Iterations, Iterations]:
    """Training and evaluation rows of each iteration, which begins at a training row of trial 1; evaluation rows belong
    to the iteration that they follow."""
    trained: Iterations = []
    evaluated: Iterations = []
    for row in rows:
        training = row.phase == Phase.training
        if not trained or (training and row.trial == 1):
            trained.append([])
            evaluated.append([])
        (trained if training else evaluated)[-1].append(row)
    return trained, evaluated


def training_episodes(rows: Sequence[TrainingRow], traces: Mapping[int, Sequence[Trace]]) -> list[Episode]:
    """Training episodes in their order; `traces` are those of each iteration's file."""
    known = {
        row.episode - 1: _of_row(row, Kind.training, row.episode - 1, iteration)
        for iteration, trained in enumerate(by_iteration(rows)[0])
        for row in trained
    }
    for iteration, found in sorted(traces.items()):
        for trace in found:
            known[trace.episode] = _joined(known.get(trace.episode), trace, Kind.training, trace.episode, iteration)
    return [known[number] for number in sorted(known)]


def check_episodes(rows: Sequence[TrainingRow], traces: Mapping[int, Sequence[Trace]]) -> list[Episode]:
    """Evaluation episodes of a training, in the order of iterations, numbered within each."""
    known = {
        (iteration, number): _of_row(row, Kind.check, number, iteration)
        for iteration, evaluated in enumerate(by_iteration(rows)[1])
        for number, row in enumerate(evaluated)
    }
    for iteration, found in traces.items():
        for number, trace in enumerate(found):
            place = (iteration, number)
            known[place] = _joined(known.get(place), trace, Kind.check, number, iteration)
    return [known[place] for place in sorted(known)]


def evaluation_episodes(rows: Sequence[EvaluationRow], traces: Sequence[tuple[int, Trace]]) -> list[Episode]:
    """Trials of an evaluation apart, in their order; `traces` with their file's iteration."""
    known = {row.trial - 1: _of_row(row, Kind.evaluation, row.trial - 1, 0) for row in rows}
    for number, (iteration, trace) in enumerate(traces):
        known[number] = _joined(known.get(number), trace, Kind.evaluation, number, iteration)
    return [known[number] for number in sorted(known)]


def _of_row(row: TrainingRow | EvaluationRow, kind: Kind, number: int, iteration: int) -> Episode:
    """AWS's evaluation metrics have no rewards."""
    return Episode(
        kind,
        number,
        iteration,
        float(row.reward_score) if isinstance(row, TrainingRow) else math.nan,
        float(row.completion_percentage),
        row.elapsed_time_in_milliseconds / 1000.0,
        _outcome(row.episode_status, row.completion_percentage),
    )


def _outcome(title: str, completion_pct: int) -> EpisodeStatus:
    status = _TITLES.get(title.lower(), EpisodeStatus.in_progress)
    complete = status is EpisodeStatus.in_progress and completion_pct >= 100
    return EpisodeStatus.lap_complete if complete else status


def _joined(row: Episode | None, trace: Trace, kind: Kind, number: int, iteration: int) -> Episode:
    """The trace's numbers where it is whole, which are exact; else those of the metrics, where there are any. The clock
    is the metrics' own, since recorded traces miss the time before their first row."""
    steps = trace.steps
    traced = Episode(
        kind,
        number,
        iteration,
        float(steps["reward"].sum()),
        float(steps["progress_pct"][-1]),
        float(steps["time_s"][-1]),
        EpisodeStatus(int(steps["status"][-1])),
        steps,
        trace.numbers,
        trace.actions,
        trace.track_length_m,
    )
    if traced.outcome in (EpisodeStatus.prepare, EpisodeStatus.in_progress):
        # no end is logged of a lap that another follows without a stop (IS_CONTINUOUS)
        complete = traced.completion_pct >= 100.0
        outcome = EpisodeStatus.lap_complete if complete else EpisodeStatus.in_progress
        traced = dataclasses.replace(traced, outcome=outcome)
    if row is None or math.floor(traced.completion_pct) > row.completion_pct + 1.0:
        return traced  # the row is of another episode
    if is_whole(trace):
        return dataclasses.replace(traced, time_s=row.time_s)
    return dataclasses.replace(
        traced,
        reward=traced.reward if math.isnan(row.reward) else row.reward,
        completion_pct=row.completion_pct,
        time_s=row.time_s,
        outcome=row.outcome,
    )


def is_whole(trace: Trace) -> bool:
    """Whether the trace has every step of its episode from the first to the one that ended it."""
    return trace.done and bool(np.array_equal(trace.numbers, np.arange(1, len(trace.numbers) + 1)))
