"""Makes iterations of a run durable: simtraces, metrics, log lines, and last the checkpoint that commits them."""

import io
import json
import logging
from collections.abc import Sequence
from dataclasses import asdict

import numpy as np

from contract import artifacts, simtrace
from contract.metrics import (
    parse_training_metrics,
    rows_text,
    training_evaluation_rows,
    training_metrics_json,
    training_rows,
    up_to_episode,
)
from contract.protocols import Agent, ObjectStore
from contract.rollout import Rollout
from contract.state import EpisodeStatus
from trainer.checkpoints import Checkpoints
from trainer.common.chained_arrays import located
from trainer.common.export import car_bundle, what_drives
from trainer.diagnostics import Diagnostics
from trainer.iterations import IterationRow, read_iterations
from trainer.learn import Iteration, Progress

# --- What a car saw and did, kept for the racer -----------------------------------------------------------------------


def samples(rollouts: Sequence[Rollout], first: int, most: int, every: int) -> bytes | None:
    """An .npz of an iteration's samples, None where it has none: sensors by name (S, ...), action (S,) or (S, 2),
    reward, episode, and step in the episode from 0, (S,) each.

    first    steps that the training had driven before these; its step 0, `every`, 2 `every`, ... are samples, `most`
             of them in all, so it does not matter where a training was stopped and resumed
    """
    lengths = [len(rollout) for rollout in rollouts]
    numbers = np.arange(-(-first // every), min(-(-(first + sum(lengths)) // every), most))
    if not len(numbers):
        return None
    picks = [(rollouts[k], step) for k, step in located(lengths, numbers * every - first)]
    arrays = {
        name: np.stack([rollout.observations[name][step] for rollout, step in picks]) for name in rollouts[0].final
    }
    arrays |= {
        "action": np.stack([rollout.actions[step] for rollout, step in picks]),
        "reward": np.array([rollout.rewards[step] for rollout, step in picks]),
        "episode": np.array([rollout.episode for rollout, _ in picks]),
        "step": np.array([step for _, step in picks]),
    }
    file = io.BytesIO()
    np.savez_compressed(file, allow_pickle=False, **arrays)
    return file.getvalue()


# --- Makes iterations of a run durable --------------------------------------------------------------------------------

_log = logging.getLogger(__name__)


class RunJournal:
    """`trainer.learn.Journal` in an object store.

    A crash between two puts leaves the run at its previous iteration: rows and traces of the unfinished one are cut off
    or overwritten when it is resumed.
    """

    def __init__(
        self,
        store: ObjectStore,
        run: str,
        track_length_m: float | Sequence[float],
        best_model_metric: str,
        lr: float,
        actions: int = 0,
        max_sample_count: int = 0,
        sampling_frequency: int = 1,
    ) -> None:
        """`actions` is the number of discrete actions, 0 of continuous ones; the last two are hyperparameters, of what
        the training sees and does (trainer.journal)."""
        self._store, self._run, self._track_length_m = store, run, track_length_m
        self._best_model_metric, self._lr = best_model_metric, lr
        self._checkpoints = Checkpoints(store)
        self._metrics = ""  # as text: it is written anew every iteration and grows with every episode
        self._iterations: list[IterationRow] = []
        self._diagnostics = Diagnostics(store, actions)
        self._max_samples, self._sample_every = max_sample_count, sampling_frequency

    def resume(self, agent: Agent) -> Progress:
        """Restore the agent and the metrics so far from the last checkpoint, if there is one."""
        record = self._checkpoints.last()
        if record is None:
            return Progress()
        saved = self._checkpoints.load(record)
        agent.restore(saved.files)
        self._checkpoints.rewind(record)  # finishes what a crash right after the commit left undone
        progress = Progress(**saved.run_state)
        metrics = self._store.get(artifacts.TRAINING_METRICS).decode()
        rows = parse_training_metrics(metrics, artifacts.TRAINING_METRICS)
        self._metrics = rows_text(up_to_episode(rows, progress.episodes))
        self._iterations = [row for row in read_iterations(self._store) if row.iteration < progress.iteration]
        self._diagnostics.resume(progress.iteration)
        return progress

    def save(self, done: Iteration, agent: Agent, policy: bytes) -> None:
        """Write everything of the iteration; it counts once the checkpoint is in."""
        number = done.before.iteration
        evaluation_start_s = simtrace.end_time_s(done.training, done.before.simulated_s)
        rows = training_rows(done.training, done.before.simulated_s)
        rows += training_evaluation_rows(done.evaluation, evaluation_start_s, rows[-1])
        self._metrics += (", " if self._metrics else "") + rows_text(rows)
        self._iterations.append(_iteration_row(done))
        texts = {
            artifacts.training_simtrace(number): self._trace(done.training, done.before.simulated_s),
            artifacts.training_evaluation_simtrace(number): self._trace(done.evaluation, evaluation_start_s),
            artifacts.training_log(number): "".join(line + "\n" for line in log_lines(done, self._lr)),
            artifacts.TRAINING_METRICS: training_metrics_json(self._metrics, self._best_model_metric),
            artifacts.ITERATIONS: json.dumps([asdict(row) for row in self._iterations], indent=1) + "\n",
        }
        for key, text in texts.items():
            self._store.put(key, text.encode())
        kept = samples(done.training, done.before.steps, self._max_samples, self._sample_every)
        if kept is not None:
            self._store.put(artifacts.samples(number), kept)
        _log.info(texts[artifacts.training_log(number)].rstrip())  # for services that read metrics there
        values = asdict(self._iterations[-1]) | done.update.diagnostics
        self._diagnostics.add(values, done.training, done.after.simulated_s)
        metric = _score(done.evaluation, self._best_model_metric)
        self._checkpoints.save(number, done.after.steps, agent.save(), policy, metric, asdict(done.after))

    def bundle(self, metadata_json: bytes) -> None:
        """Write the car bundle of the best checkpoint."""
        best = self._checkpoints.best()
        if best is not None:
            policy = what_drives(self._checkpoints.load_policy(best))
            self._store.put(artifacts.car_bundle(self._run), car_bundle(policy, metadata_json))

    def _trace(self, rollouts: Sequence[Rollout], start_s: float) -> str:
        return simtrace.to_csv(rollouts, self._track_length_m, start_s)


def log_lines(done: Iteration, lr: float) -> list[str]:
    """The lines that the guidance's metric filters match (contract: log lines). Episodes count from 1, as in them."""
    number, steps = done.before.iteration, done.before.steps
    lines = []
    for rollout in done.training:
        steps += len(rollout)
        lines.append(_episode_line("Training", rollout, steps, number))
    for epoch, values in enumerate(done.update.epochs):
        lines.append(
            f"Policy training> Surrogate loss={values['surrogate_loss']}, KL divergence={values['kl_divergence']}, "
            f"Entropy={values['entropy']}, training epoch={epoch}, learning_rate={lr}"
        )
    lines += [_episode_line("Testing", rollout, steps, number) for rollout in done.evaluation]
    return lines


def _episode_line(phase: str, rollout: Rollout, steps: int, iteration: int) -> str:
    return (
        f"{phase}> Name=main_level/agent, Worker=0, Episode={rollout.episode + 1}, "
        f"Total reward={round(float(rollout.rewards.sum()), 2)}, Steps={steps}, Training iteration={iteration}"
    )


def _iteration_row(done: Iteration) -> IterationRow:
    return IterationRow(
        iteration=done.before.iteration,
        steps=done.after.steps,
        reward=float(np.mean([rollout.rewards.sum() for rollout in done.training])),
        completion_pct=_score(done.training, "progress"),
        evaluation_completion_pct=_score(done.evaluation, "progress"),
        entropy=done.update.entropy,
        policy_loss=done.update.policy_loss,
        value_loss=done.update.value_loss,
        kl_divergence=done.update.kl_divergence,
    )


UNFINISHED_LAP_S = 10_000.0
"""What a lap that was not completed counts for BEST_MODEL_METRIC laptime, so that complete ones always win."""


def _score(rollouts: Sequence[Rollout], metric: str) -> float:
    """Mean progress, reward or negative lap time of the episodes: more is better."""
    if metric == "progress":
        return float(np.mean([lap.progress_pct for lap in rollouts]))
    if metric == "reward":
        return float(np.mean([lap.rewards.sum() for lap in rollouts]))
    complete = [lap.status == EpisodeStatus.lap_complete for lap in rollouts]
    times = [lap.time_s if whole else UNFINISHED_LAP_S for lap, whole in zip(rollouts, complete, strict=True)]
    return -float(np.mean(times))
