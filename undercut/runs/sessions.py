"""A training or evaluation session of a run in this process: composes the parts, shows progress, leaves the files."""

import contextlib
import dataclasses
import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from rich.console import Console

from contract import artifacts, simtrace
from contract.car import car_of_version
from contract.config import RunConfig, TrainingConfig
from contract.errors import CheckpointError, InputError, StoreError, UndercutError
from contract.hyperparameters import Hyperparameters
from contract.metadata import DiscreteActions
from contract.metrics import evaluation_metrics_json, evaluation_rows, parse_training_metrics, whole_pct
from contract.protocols import Agent, Phase, RolloutOrder
from contract.rollout import Rollout
from contract.state import EpisodeStatus
from simapp.objects import Course
from trainer.agents import make_agent
from trainer.checkpoints import CheckpointRecord, Checkpoints
from trainer.iterations import read_iterations
from trainer.journal import RunJournal
from trainer.learn import INTERRUPTED, Iteration, Progress, learn
from undercut.analysis.gap import Gap, best_gap_of
from undercut.backends.local.rollouts import evaluation_laps
from undercut.backends.local.workers import rollout_source
from undercut.figures.plots import lap_plot, training_plot
from undercut.line.limits import gap_line, hint, kept_limit
from undercut.runs import pretraining
from undercut.runs.compiling import compile_for
from undercut.runs.live import LiveSession
from undercut.runs.notices import STUCK_AFTER, Notice, Notifier, StuckWatch
from undercut.runs.progress import NarratedRollouts, TrainingView, lap_table, statistics_line
from undercut.runs.run import Run
from undercut.runs.statistics import LapStatistics, lap_statistics
from undercut.terminal import say
from undercut.video import videos

MANY_LAPS = 20
"""From here on laps are not listed one by one."""


def train(
    run: Run,
    console: Console,
    workers: int = 0,
    video_every: int = 0,
    notifier: Notifier | None = None,
    stuck_after: int = STUCK_AFTER,
) -> None:
    """Train or resume the run, with so many processes to drive: 0 means this one, or those at a Redis.

    Every `video_every`th iteration's evaluation laps become videos, drawn beside the training; 0 means none. The
    notifier is told when the training is stuck, `stuck_after` iterations without a better evaluation among the reasons.

    On any end, also Ctrl-C, the files of the last whole iteration are complete.
    """
    config, files, track = run.config, run.files, run.track()
    spread = files.metadata.actions
    actions = f"{spread.size} actions" if isinstance(spread, DiscreteActions) else "continuous actions"
    others = len(config.worlds) - 1
    worlds = f" and {others} other world{'s' * (others != 1)}" if others > 0 else ""
    console.print(
        f"run [bold]{config.name}[/] on {track.name} ({track.length_m:.1f} m){worlds}, seed {config.seed}, "
        f"{config.cars} cars, "
        f"{actions}",
        highlight=False,
    )
    compile_for(config, [files.metadata], console)
    journal = RunJournal(
        run.store,
        config.name,
        [dataclasses.replace(run, config=world).track().length_m for world in config.each_world()],
        config.training.best_model_metric,
        files.hyperparameters.lr,
        actions=spread.size if isinstance(spread, DiscreteActions) else 0,
        max_sample_count=files.hyperparameters.max_sample_count,
        sampling_frequency=files.hyperparameters.sampling_frequency,
    )
    films = videos.IterationVideos(run, video_every)
    stuck = StuckWatch(config.name, spread.size if isinstance(spread, DiscreteActions) else 0, stuck_after)
    with (
        LiveSession("run", "training", config, console.print) as live,
        TrainingView(console, config.training, live) as view,
    ):
        try:
            view.doing("building the networks")
            agent = make_agent(
                files.metadata,
                files.hyperparameters,
                config.seed,
                config.threads or None,
                run.preset,
                config.precision,
                config.learning,
            )
            for line in pretraining.begin(run, agent):
                say(console, line)
            with rollout_source(run, workers, lambda line: say(console, line)) as source:
                reason = learn(
                    agent,
                    NarratedRollouts(source, view, live),
                    _Watched(journal, films, stuck, notifier),
                    limits(config, files.hyperparameters),
                    files.hyperparameters,
                    view,
                )
        except StoreError:
            raise  # nothing more can be written
        except BaseException:
            films.abandon()
            with contextlib.suppress(UndercutError):  # what stopped the training is the news
                _finish(run, journal)
            raise
        view.doing("writing plot and car bundle")
        _finish(run, journal)
        view.doing("drawing videos")
        films.finish(console, view.interrupted())
    say(console, f"training ended: {reason}")
    if view.interrupted():
        if reason != INTERRUPTED:
            say(console, f"the training is complete, only its evaluation is missing: undercut evaluate {config.name}")
        raise KeyboardInterrupt


class _Watched:
    """The journal of a training whose iterations are filmed and looked at, once they are saved."""

    def __init__(
        self, journal: RunJournal, films: videos.IterationVideos, stuck: StuckWatch, notifier: Notifier | None
    ) -> None:
        self._journal, self._films, self._stuck, self._notifier = journal, films, stuck, notifier

    def resume(self, agent: Agent) -> Progress:
        return self._journal.resume(agent)

    def save(self, iteration: Iteration, agent: Agent, policy: bytes) -> None:
        self._journal.save(iteration, agent, policy)
        self._films.add(iteration.before.iteration, iteration.evaluation)
        if self._notifier is not None:
            for notice in self._stuck.after(iteration):
                self._notifier.send(notice)


def limits(run: RunConfig, hyperparameters: Hyperparameters) -> TrainingConfig:
    """The config's limits, or the hyperparameters' term_cond_* where those are met sooner, and a lap in each world."""
    config = run.training
    episodes = [limit for limit in (config.max_episodes, hyperparameters.term_cond_max_episodes) if limit > 0]
    targets = [
        target for target in (config.target_reward_score, hyperparameters.term_cond_avg_score) if target is not None
    ]
    laps = max(config.min_eval_trials, len(run.worlds))
    return config.model_copy(
        update={"max_episodes": min(episodes), "target_reward_score": min(targets), "min_eval_trials": laps}
    )


def _finish(run: Run, journal: RunJournal) -> None:
    iterations = read_iterations(run.store)
    if not iterations:
        return
    journal.bundle(run.files.metadata.complete_json().encode())
    metrics = run.store.get(artifacts.TRAINING_METRICS).decode()
    title = f"{run.config.name} on {run.config.track}"
    rows = parse_training_metrics(metrics, artifacts.TRAINING_METRICS)
    run.store.put(artifacts.TRAINING_PLOT, training_plot(rows, iterations, title))


@dataclass(frozen=True, slots=True)
class Evaluation:
    """Laps that a run's checkpoint has driven: `checkpoint` is its iteration, `laps` the rollouts, in order, `gap` that
    of the best clean one to the fastest possible lap, None where `undercut line` has not found that before."""

    run: Run
    checkpoint: int
    laps: list[Rollout]
    gap: Gap | None

    @property
    def statistics(self) -> LapStatistics:
        """Lap times and completion with their 95 % intervals."""
        return lap_statistics(self.laps)


def evaluate(run: Run, console: Console, which: str = "best") -> Evaluation:
    """Drive the config's number of laps with the best or last checkpoint; write metrics, simtrace, recording and plot;
    show the lap table."""
    (record, policy), laps = chosen_policy(run, which), run.config.evaluation.number_of_trials
    order = RolloutOrder(Phase.evaluation, record.iteration, 0, laps)
    compile_for(run.config, [run.files.metadata], console)
    doing = f"driving {laps} laps with checkpoint {record.iteration}"
    with LiveSession("run", "evaluation", run.config, console.print) as live, console.status(doing):
        live.doing(doing)
        driven = evaluation_laps(run, policy, order)
    track = run.track()
    title = f"{run.config.name}, checkpoint {record.iteration}, on {track.name}"
    videos.drop_videos(run.store, artifacts.EVALUATION_DATA)
    run.store.put(artifacts.EVALUATION_METRICS, evaluation_metrics_json(evaluation_rows(driven)).encode())
    run.store.put(artifacts.evaluation_simtrace(), simtrace.to_csv(driven, track.length_m, 0.0).encode())
    recording = videos.recording_of(run.config, track, driven)
    run.store.put(artifacts.evaluation_recording(), recording.to_bytes())
    standing = Course(track, run.config.race, run.config.reverse_dir).fixed()
    run.store.put(artifacts.LAP_PLOT, lap_plot(track, [lap.steps for lap in driven], title, standing))
    if laps <= MANY_LAPS:
        console.print(lap_table(driven, title))
    say(console, statistics_line(lap_statistics(driven)))
    gap = _gap_of_laps(run, driven)
    if gap is not None:
        say(console, gap_line(gap))
    elif track.closed and any(lap.status == EpisodeStatus.lap_complete for lap in driven):
        say(console, hint(track))
    return Evaluation(run, record.iteration, driven, gap)


def finished(evaluation: Evaluation) -> Notice:
    """What is told elsewhere of a training that has ended with this evaluation."""
    found, best_s = evaluation.statistics, evaluation.statistics.best_lap_time_s
    best = f", the best in {best_s:.2f} s" if best_s is not None else ""
    text = f"training ended; checkpoint {evaluation.checkpoint} finished {found.complete} of {found.laps} laps{best}"
    facts = {"laps": found.laps, "complete": found.complete, "best_lap_s": best_s, "checkpoint": evaluation.checkpoint}
    return Notice("finished", evaluation.run.config.name, text, facts)


def _gap_of_laps(run: Run, driven: Sequence[Rollout]) -> Gap | None:
    """Of the best clean lap to the fastest possible one, where `undercut line` has found that before."""
    track = run.track()
    limit = kept_limit(track, run.config.car or car_of_version(run.files.metadata.version))
    return None if limit is None else best_gap_of([lap.steps for lap in driven], limit, track)


def checkpoint(run: Run, which: str) -> CheckpointRecord:
    """The `best` or `last` checkpoint of the run."""
    if which not in ("best", "last"):
        raise InputError("--checkpoint", which, "best or last", "leave it out for the best one")
    checkpoints = Checkpoints(run.store)
    record = checkpoints.best() if which == "best" else checkpoints.last()
    if record is None:
        raise CheckpointError(
            f"run {run.config.name} has no checkpoint yet",
            "an evaluation drives a trained policy",
            f"undercut train {run.config.name}",
        )
    return record


def chosen_policy(run: Run, which: str) -> tuple[CheckpointRecord, bytes]:
    """The `best` or `last` checkpoint of the run, and the frozen graph of its policy."""
    record = checkpoint(run, which)
    return record, Checkpoints(run.store).load_policy(record)


def show_files(run: Run, console: Console) -> None:
    """Name the files that a person would open next."""
    for key, what in (
        (artifacts.TRAINING_PLOT, "training plot"),
        (artifacts.LAP_PLOT, "laps of the evaluation"),
        (artifacts.TRAINING_METRICS, "training metrics"),
        (artifacts.EVALUATION_METRICS, "evaluation metrics"),
        (artifacts.car_bundle(run.config.name), "bundle for the car"),
    ):
        if run.store.exists(key):
            say(console, f"{what + ':':24s}{run.store.where(key)}")
    say(console, f"{'a page about all this:':24s}undercut report {run.config.name}")


def summary(run: Run) -> dict[str, Any]:
    """One row of `undercut runs`."""
    iterations = read_iterations(run.store)
    best = max((row.evaluation_completion_pct for row in iterations), default=None)
    laps = None
    if run.store.exists(artifacts.EVALUATION_METRICS):
        rows = json.loads(run.store.get(artifacts.EVALUATION_METRICS))["metrics"]
        laps = f"{sum(row['completion_percentage'] == 100 for row in rows)}/{len(rows)}"
    return {
        "run": run.config.name,
        "track": run.config.track,
        "iterations": len(iterations),
        "steps": iterations[-1].steps if iterations else 0,
        "best_evaluation": None if best is None else f"{whole_pct(best)} %",
        "laps": laps,
    }
