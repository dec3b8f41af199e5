"""The training loop: collect, update, evaluate, save; resumed where the last saved iteration ended."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Protocol

from contract.config import TrainingConfig
from contract.hyperparameters import Hyperparameters
from contract.protocols import Agent, Phase, RolloutOrder, RolloutSource, UpdateReport
from contract.rollout import Rollout, added
from contract.simtrace import end_time_s
from contract.state import EpisodeStatus


@dataclass(frozen=True, slots=True)
class Progress:
    """Counters to resume from; after a resume they are those of an uninterrupted run."""

    iteration: int = 0
    episodes: int = 0
    steps: int = 0
    simulated_s: float = 0.0
    clean_in_a_row: int = 0
    evaluation_reward: float | None = None

    def trained(self, training: Sequence[Rollout]) -> "Progress":
        """After an iteration's training; its evaluation is still to come."""
        return replace(
            self,
            iteration=self.iteration + 1,
            episodes=self.episodes + len(training),
            steps=self.steps + sum(len(rollout) for rollout in training),
            simulated_s=end_time_s(training, self.simulated_s),
        )

    def evaluated(self, evaluation: Sequence[Rollout]) -> "Progress":
        clean = all(lap.status == EpisodeStatus.lap_complete for lap in evaluation)
        return replace(
            self,
            simulated_s=end_time_s(evaluation, self.simulated_s),
            clean_in_a_row=self.clean_in_a_row + 1 if clean else 0,
            evaluation_reward=added(float(lap.rewards.sum()) for lap in evaluation) / len(evaluation),
        )


@dataclass(frozen=True, slots=True)
class Iteration:
    """One finished round of the loop, for whoever saves or shows it."""

    before: Progress
    after: Progress
    training: list[Rollout]
    evaluation: list[Rollout]
    update: UpdateReport


class Journal(Protocol):
    """What makes iterations durable."""

    def resume(self, agent: Agent) -> Progress:
        """Restore the agent from the last saved iteration, if there is one."""

    def save(self, iteration: Iteration, agent: Agent, policy: bytes) -> None:
        """Return only when the iteration can be resumed from."""


class Session(Protocol):
    """Who started the training and watches it."""

    def elapsed_s(self) -> float:
        """Wall-clock seconds since the session began."""

    def interrupted(self) -> bool:
        """Whether somebody asked to stop; the iteration under way is finished and saved."""

    def iteration(self, done: Iteration) -> None:
        """Told of every saved iteration."""


def learn(
    agent: Agent,
    rollouts: RolloutSource,
    journal: Journal,
    config: TrainingConfig,
    hyperparameters: Hyperparameters,
    session: Session,
) -> str:
    """Train until a limit of the config is met; returns which."""
    progress = journal.resume(agent)
    policy = agent.export()
    while (reason := stop_reason(config, progress, session)) is None:
        training = rollouts.collect(policy, training_order(progress, hyperparameters))
        update = agent.train(training, progress.iteration, progress.steps)
        policy = agent.export()
        trained = progress.trained(training)
        trials = config.min_eval_trials
        first = progress.iteration * trials
        laps = RolloutOrder(Phase.evaluation, progress.iteration, first, trials, trained=trained.episodes)
        may_go_on = stop_reason(config, trained, session) is None  # and then the next episodes need not wait for laps
        rollouts.announce(policy, laps, *([training_order(trained, hyperparameters)] if may_go_on else []))
        evaluation = rollouts.collect(policy, laps)
        iteration = Iteration(progress, trained.evaluated(evaluation), training, evaluation, update)
        journal.save(iteration, agent, policy)
        session.iteration(iteration)
        progress = iteration.after
    return reason


def training_order(progress: Progress, hyperparameters: Hyperparameters) -> RolloutOrder:
    """The episodes that the next update learns from."""
    count = hyperparameters.num_episodes_between_training
    share = epsilon(hyperparameters, progress.steps)
    return RolloutOrder(Phase.training, progress.iteration, progress.episodes, count, share)


def epsilon(hyperparameters: Hyperparameters, steps: int) -> float | None:
    """Share of random actions after so many steps: from 1 to e_greedy_value in a straight line over epsilon_steps, as
    rl_coach's schedule in AWS's presets. None where actions are drawn from the policy's own distribution."""
    if hyperparameters.exploration_type != "e-greedy":
        return None
    done = min(steps / hyperparameters.epsilon_steps, 1.0)
    return 1.0 + done * (hyperparameters.e_greedy_value - 1.0)


INTERRUPTED = "interrupted"


def stop_reason(config: TrainingConfig, progress: Progress, session: Session) -> str | None:
    """Why no further iteration begins, in words, or None; INTERRUPTED where no limit is met."""
    target, reached = config.target_reward_score, progress.evaluation_reward
    limits = [
        (
            0 < config.clean_evaluations <= progress.clean_in_a_row,
            f"{progress.clean_in_a_row} evaluations in a row had only complete laps",
        ),
        (
            target is not None and reached is not None and reached >= target,
            f"the evaluations' mean reward {reached} reached the target {target}",
        ),
        (progress.iteration >= config.max_iterations, f"{config.max_iterations} iterations are done"),
        (progress.steps >= config.max_steps, f"{config.max_steps} training steps are used up"),
        (0 < config.max_episodes <= progress.episodes, f"{config.max_episodes} episodes are done"),
        (0 < config.max_minutes * 60 <= session.elapsed_s(), f"{config.max_minutes:g} minutes are over"),
        (session.interrupted(), INTERRUPTED),
    ]
    return next((reason for met, reason in limits if met), None)
