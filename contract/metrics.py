"""training_metrics.json and evaluation_metrics.json: one row an episode, with DeepRacer's names (contract: files).

Times are whole milliseconds of simulated time since the run began; episodes count from 1, as in DeepRacer's files,
while rollouts and simtraces count from 0.
"""

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Annotated, TypeVar

from pydantic import Field, TypeAdapter

from contract.errors import InputError
from contract.fields import parse_json, validated
from contract.protocols import Phase
from contract.rollout import Rollout, added
from contract.salvage import list_of_objects
from contract.state import BROKEN, EpisodeStatus

VERSION = 2.0
_Row = TypeVar("_Row")
_Whole = Annotated[int, Field(ge=-(2**53), le=2**53)]
"""What a float holds exactly."""


@dataclass(frozen=True, slots=True)
class TrainingRow:
    """One episode of a training run. `trial` counts within an iteration, from 1.

    An evaluation episode repeats `episode` and `trial` of the last training episode before it.
    """

    reward_score: _Whole
    metric_time: _Whole
    start_time: _Whole
    elapsed_time_in_milliseconds: _Whole
    episode: _Whole
    trial: _Whole
    phase: str
    completion_percentage: _Whole
    episode_status: str


@dataclass(frozen=True, slots=True)
class EvaluationRow:
    """One trial of an evaluation, from 1. The counts are of the rules that were broken, and `reset_count` is their sum:
    the one that ended the trial is among them (s3_metrics.py EvalMetrics.append_episode_metrics)."""

    completion_percentage: _Whole
    metric_time: _Whole
    start_time: _Whole
    elapsed_time_in_milliseconds: _Whole
    episode_status: str
    crash_count: _Whole
    immobilized_count: _Whole
    off_track_count: _Whole
    reversed_count: _Whole
    reset_count: _Whole
    trial: _Whole


def whole_pct(progress_pct: float) -> int:
    """Progress in whole per cent, rounded towards 0 as in DeepRacer's files: only a complete lap is 100. What shows
    whole per cent shows these, so that tables agree with metrics."""
    return int(progress_pct)


def training_rows(rollouts: Sequence[Rollout], start_time_s: float) -> list[TrainingRow]:
    """Rows of an iteration's training episodes, all of them in order, the first begun at start_time_s."""
    return [
        _training_row(rollout, start_s, Phase.training, rollout.episode + 1, trial)
        for trial, (rollout, start_s) in enumerate(_timed(rollouts, start_time_s), start=1)
    ]


def training_evaluation_rows(rollouts: Sequence[Rollout], start_time_s: float, after: TrainingRow) -> list[TrainingRow]:
    """Rows of the evaluation episodes that follow the training episode `after`."""
    return [
        _training_row(rollout, start_s, Phase.evaluation, after.episode, after.trial)
        for rollout, start_s in _timed(rollouts, start_time_s)
    ]


def evaluation_rows(rollouts: Sequence[Rollout], start_time_s: float = 0.0) -> list[EvaluationRow]:
    """Rows of an evaluation's trials in order; a trial's clock holds its penalties."""
    rows = []
    for trial, (rollout, start_s) in enumerate(_timed(rollouts, start_time_s), start=1):
        broken = [status for status in map(EpisodeStatus, rollout.steps["status"].tolist()) if status in BROKEN]
        start_ms, elapsed_ms = _milliseconds(start_s), _milliseconds(rollout.time_s)
        rows.append(
            EvaluationRow(
                completion_percentage=whole_pct(rollout.progress_pct),
                metric_time=start_ms + elapsed_ms,
                start_time=start_ms,
                elapsed_time_in_milliseconds=elapsed_ms,
                episode_status=rollout.status.title,
                crash_count=broken.count(EpisodeStatus.crashed),
                immobilized_count=broken.count(EpisodeStatus.immobilized),
                off_track_count=broken.count(EpisodeStatus.off_track),
                reversed_count=broken.count(EpisodeStatus.reversed),
                reset_count=len(broken),
                trial=trial,
            )
        )
    return rows


def up_to_episode(rows: Sequence[TrainingRow], episodes: int) -> list[TrainingRow]:
    """The rows of the first `episodes` training episodes and of the evaluations among them; what a resume keeps."""
    return [row for row in rows if row.episode <= episodes]


def training_metrics_json(rows: Sequence[TrainingRow] | str, best_model_metric: str) -> str:
    """The whole training_metrics.json, of rows or of their `rows_text`."""
    text = rows if isinstance(rows, str) else rows_text(rows)
    return f'{{"metrics": [{text}], "version": {VERSION}, "best_model_metric": {json.dumps(best_model_metric)}}}'


def rows_text(rows: Sequence[TrainingRow]) -> str:
    """Rows as they stand in training_metrics.json; a training that grows the file encodes each once."""
    return ", ".join(json.dumps(asdict(row)) for row in rows)


def evaluation_metrics_json(rows: Sequence[EvaluationRow]) -> str:
    """The whole evaluation_metrics.json."""
    return json.dumps({"metrics": [asdict(row) for row in rows]})


def parse_training_metrics(text: str, where: str) -> list[TrainingRow]:
    """Rows of a training_metrics.json, ours or DeepRacer's; InputError names the row and key that is wrong."""
    return _validated(TypeAdapter(list[TrainingRow]), text, where)


def parse_evaluation_metrics(text: str, where: str) -> list[EvaluationRow]:
    """Rows of an evaluation_metrics.json, ours or DeepRacer's; InputError names the row and key that is wrong."""
    return _validated(TypeAdapter(list[EvaluationRow]), text, where)


def salvage_training_metrics(text: str, where: str) -> tuple[list[TrainingRow], list[InputError]]:
    """Rows of a training_metrics.json that may be cut off or damaged, and what is wrong with it."""
    return _salvaged(TypeAdapter(TrainingRow), text, where)


def salvage_evaluation_metrics(text: str, where: str) -> tuple[list[EvaluationRow], list[InputError]]:
    """Rows of an evaluation_metrics.json that may be cut off or damaged, and what is wrong with it."""
    return _salvaged(TypeAdapter(EvaluationRow), text, where)


def _timed(rollouts: Sequence[Rollout], start_s: float) -> list[tuple[Rollout, float]]:
    """Each rollout with its start, one after the other."""
    timed = []
    for rollout in rollouts:
        timed.append((rollout, start_s))
        start_s += rollout.time_s
    return timed


def _training_row(rollout: Rollout, start_s: float, phase: Phase, episode: int, trial: int) -> TrainingRow:
    start_ms, elapsed_ms = _milliseconds(start_s), _milliseconds(rollout.time_s)
    return TrainingRow(
        reward_score=round(added(rollout.rewards.tolist())),
        metric_time=start_ms + elapsed_ms,
        start_time=start_ms,
        elapsed_time_in_milliseconds=elapsed_ms,
        episode=episode,
        trial=trial,
        phase=phase.value,
        completion_percentage=whole_pct(rollout.progress_pct),
        episode_status=rollout.status.title,
    )


def _milliseconds(time_s: float) -> int:
    return round(1000.0 * time_s)


def _salvaged(reader: TypeAdapter[_Row], text: str, where: str) -> tuple[list[_Row], list[InputError]]:
    items, cut = list_of_objects(text, where, "metrics")
    rows, problems = [], [cut] if cut else []
    for number, item in enumerate(items):
        try:
            rows.append(validated(reader, item, f"{where} metrics.{number}", "restore it, or go on without this row"))
        except InputError as error:
            problems.append(error)
    return rows, problems


def _validated(reader: TypeAdapter[list[_Row]], text: str, where: str) -> list[_Row]:
    fix = "restore the file, or delete it to begin a new one"
    content = parse_json(text, where, fix, strict=False)
    if not isinstance(content, dict) or not isinstance(content.get("metrics"), list):
        raise InputError(where, text[:80], 'an object with the list "metrics"', fix)
    return validated(reader, content["metrics"], f"{where} metrics", fix)
