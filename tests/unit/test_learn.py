"""The training loop and its journal with an arithmetic agent: order of work, limits, resume, what a crash leaves."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from contract import artifacts
from contract.config import RunConfig, TrainingConfig
from contract.errors import StoreError, TrainingError
from contract.hyperparameters import Hyperparameters
from contract.protocols import Phase, RolloutOrder, UpdateReport
from contract.rollout import Rollout
from contract.state import STEP_DTYPE, STEP_S, EpisodeStatus
from contract.stores.local import LocalStore
from trainer.checkpoints import Checkpoints
from trainer.iterations import read_iterations
from trainer.journal import RunJournal
from trainer.learn import INTERRUPTED, Iteration, Progress, epsilon, learn, stop_reason
from undercut.runs.sessions import limits


class CountingAgent:
    """Its only weight is the sum of all rewards it learned from, mixed with the iteration and the steps before it."""

    def __init__(self) -> None:
        self.weight = 1

    def train(self, rollouts: Sequence[Rollout], iteration: int, steps: int = 0) -> UpdateReport:
        learned = int(sum(r.rewards.sum() for r in rollouts))
        self.weight = (self.weight * 31 + iteration + 7 * steps + learned) % 1_000_003
        row = {"surrogate_loss": 0.1, "kl_divergence": 0.01, "entropy": 1.0, "value_loss": 0.2}
        return UpdateReport(0.1, 0.2, 1.0, 0.01, 1, [row])

    def export(self) -> bytes:
        return str(self.weight).encode()

    def save(self) -> dict[str, bytes]:
        return {"data": self.export()}

    def restore(self, files: dict[str, bytes]) -> None:
        self.weight = int(files["data"])


class Numbers:
    """Rollouts that are a function of policy and episode; the evaluation is clean from iteration `clean_from` on."""

    def __init__(self, clean_from: int = 10**6) -> None:
        self.orders: list[RolloutOrder] = []
        self.announced: list[tuple[bytes, RolloutOrder]] = []
        self._clean_from = clean_from

    def announce(self, policy: bytes, *orders: RolloutOrder) -> None:
        self.announced += [(policy, order) for order in orders]

    def collect(self, policy: bytes, order: RolloutOrder) -> list[Rollout]:
        self.orders.append(order)
        return [self._rollout(int(policy), order, order.first + k) for k in range(order.count)]

    def _rollout(self, weight: int, order: RolloutOrder, episode: int) -> Rollout:
        length = 3 + (weight + episode) % 5
        steps = np.zeros(length, STEP_DTYPE)
        steps["reward"] = (weight * 7 + episode) % 11
        steps["time_s"] = np.arange(1, length + 1) * STEP_S
        clean = order.phase == Phase.evaluation and order.iteration >= self._clean_from
        steps["status"] = EpisodeStatus.in_progress
        steps["status"][-1] = EpisodeStatus.lap_complete if clean else EpisodeStatus.off_track
        steps["progress_pct"] = 100.0 if clean else 10.0
        return Rollout(episode, order.iteration, {}, {}, np.zeros(length, np.int64), steps, truncated=False)


class Watcher:
    """A session that remembers."""

    def __init__(self, elapsed_s: float = 0.0, stop: bool = False) -> None:
        self.seen: list[Iteration] = []
        self._elapsed_s, self._stop = elapsed_s, stop

    def elapsed_s(self) -> float:
        return self._elapsed_s

    def interrupted(self) -> bool:
        return self._stop

    def iteration(self, done: Iteration) -> None:
        self.seen.append(done)


def session(
    folder: Path, source: Numbers, store: LocalStore | None = None, **limits: Any
) -> tuple[str, list[Iteration]]:
    config = TrainingConfig.model_validate({"min_eval_trials": 2, **limits})
    journal = RunJournal(store or LocalStore(folder), "test", 10.0, "progress", 3e-4)
    watcher = Watcher()
    return learn(CountingAgent(), source, journal, config, FOUR_EPISODES, watcher), watcher.seen


FOUR_EPISODES = Hyperparameters(num_episodes_between_training=4)


def test_e_greedy_falls_from_one_to_its_value_in_a_straight_line() -> None:
    greedy = Hyperparameters(exploration_type="e-greedy", e_greedy_value=0.05, epsilon_steps=1000)
    assert [epsilon(greedy, steps) for steps in (0, 500, 1000, 9999)] == pytest.approx([1.0, 0.525, 0.05, 0.05])
    assert epsilon(Hyperparameters(), 0) is None


def contents(folder: Path) -> dict[str, bytes]:
    """All files but time stamps."""
    files = {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}
    pointers = json.loads(files.pop(artifacts.DEEPRACER_CHECKPOINTS))
    for pointer in pointers.values():
        pointer.pop("time_stamp")
    return {**files, "pointers": json.dumps(pointers).encode()}


def test_collect_update_evaluate_in_turn_with_running_numbers(tmp_path: Path) -> None:
    source = Numbers()
    _, seen = session(tmp_path, source, max_iterations=3)
    assert [(o.phase.value, o.iteration, o.first, o.count) for o in source.orders] == [
        ("training", 0, 0, 4),
        ("evaluation", 0, 0, 2),
        ("training", 1, 4, 4),
        ("evaluation", 1, 2, 2),
        ("training", 2, 8, 4),
        ("evaluation", 2, 4, 2),
    ]
    assert seen[-1].after.steps == sum(len(r) for done in seen for r in done.training)
    driven = [r for done in seen for r in [*done.training, *done.evaluation]]
    assert seen[-1].after.simulated_s == pytest.approx(sum(len(r) for r in driven) * STEP_S)
    assert [row.iteration for row in read_iterations(LocalStore(tmp_path))] == [0, 1, 2]


@pytest.mark.parametrize("first", [1, 2, 3])
def test_stopped_and_resumed_equals_uninterrupted(tmp_path: Path, first: int) -> None:
    session(tmp_path / "whole", Numbers(), max_iterations=5)
    session(tmp_path / "parts", Numbers(), max_iterations=first)
    session(tmp_path / "parts", Numbers(), max_iterations=5)
    assert contents(tmp_path / "parts") == contents(tmp_path / "whole")


class DyingStore(LocalStore):
    """Fails at its n-th put."""

    def __init__(self, root: Path, fail_at: int) -> None:
        super().__init__(root)
        self.left = fail_at

    def put(self, key: str, data: bytes) -> None:
        self.left -= 1
        if self.left < 0:
            raise StoreError(f"cannot write {key}: no space left")
        super().put(key, data)


@pytest.mark.slow
def test_a_store_that_fails_at_any_write_loses_no_saved_iteration(tmp_path: Path) -> None:
    session(tmp_path / "whole", Numbers(), max_iterations=3)
    expected = contents(tmp_path / "whole")
    fail_at, finished = 0, False
    while not finished:
        folder = tmp_path / str(fail_at)
        try:
            session(folder, Numbers(), store=DyingStore(folder, fail_at), max_iterations=3)
            finished = True
        except StoreError:
            last = Checkpoints(LocalStore(folder)).last()
            session(folder, Numbers(), max_iterations=3)
            assert contents(folder) == expected, f"after a failure at write {fail_at}, from {last}"
        fail_at += 1
    assert fail_at > 25  # every write of three iterations had its turn


def test_what_is_announced_is_what_is_collected_next_with_the_same_policy(tmp_path: Path) -> None:
    class Asked(Numbers):
        def collect(self, policy: bytes, order: RolloutOrder) -> list[Rollout]:
            if order != RolloutOrder(Phase.training, 0, 0, 4):
                assert self.announced[0] == (policy, order)
                self.announced.pop(0)
            return super().collect(policy, order)

    source = Asked()
    session(tmp_path, source, max_iterations=3)
    assert source.announced == [], "what no iteration will come for is not announced"


class UnluckyAgent(CountingAgent):
    def train(self, rollouts: Sequence[Rollout], iteration: int, steps: int = 0) -> UpdateReport:
        if iteration == 2:
            raise TrainingError("value loss is nan in iteration 2")
        return super().train(rollouts, iteration, steps)


def test_a_loss_that_is_not_finite_keeps_the_last_good_checkpoint(tmp_path: Path) -> None:
    journal = RunJournal(LocalStore(tmp_path), "test", 10.0, "progress", 3e-4)
    config = TrainingConfig(max_iterations=5)
    with pytest.raises(TrainingError, match="value loss is nan"):
        learn(UnluckyAgent(), Numbers(), journal, config, FOUR_EPISODES, Watcher())
    last = Checkpoints(LocalStore(tmp_path)).last()
    assert last is not None
    assert last.iteration == 1
    assert len(read_iterations(LocalStore(tmp_path))) == 2


@pytest.mark.parametrize(
    ("limits", "iterations", "reason"),
    [
        ({"max_iterations": 4}, 4, "4 iterations are done"),
        ({"max_episodes": 12}, 3, "12 episodes are done"),
        ({"max_steps": 1}, 1, "1 training steps are used up"),
        ({"clean_evaluations": 2}, 6, "2 evaluations in a row had only complete laps"),
    ],
)
def test_each_limit_ends_the_training(tmp_path: Path, limits: dict[str, Any], iterations: int, reason: str) -> None:
    said, seen = session(tmp_path, Numbers(clean_from=4), **limits)
    assert (len(seen), said) == (iterations, reason)


def test_the_first_evaluation_that_reaches_the_target_ends_the_training(tmp_path: Path) -> None:
    """Whatever the target is, between the lowest and the highest mean reward of six evaluations."""
    _, seen = session(tmp_path / "all", Numbers(), max_iterations=6)
    means = [sum(float(lap.rewards.sum()) for lap in it.evaluation) / len(it.evaluation) for it in seen]
    assert len(set(means)) > 2
    for target in means:
        said, stopped = session(tmp_path / str(target), Numbers(), max_iterations=6, target_reward_score=target)
        assert len(stopped) == next(k for k, mean in enumerate(means, 1) if mean >= target)
        assert said.endswith(f"reached the target {target}")


@pytest.mark.parametrize(
    ("config", "hyperparameters", "episodes", "target"),
    [
        ({}, {}, 100_000, 100_000.0),
        ({}, {"term_cond_max_episodes": "1000", "term_cond_avg_score": "350"}, 1000, 350.0),
        ({"max_episodes": 40}, {"term_cond_max_episodes": 1000}, 40, 100_000.0),
        ({"max_episodes": 2000, "target_reward_score": 90.0}, {"term_cond_max_episodes": 1000}, 1000, 90.0),
        ({"target_reward_score": 90.0}, {"term_cond_avg_score": -5}, 100_000, -5.0),
    ],
)
def test_term_conds_hold_beside_the_runs_own_limits(
    config: dict[str, Any], hyperparameters: dict[str, Any], episodes: int, target: float
) -> None:
    run = RunConfig(name="test", training=TrainingConfig.model_validate(config))
    found = limits(run, Hyperparameters.parse(json.dumps(hyperparameters), "test"))
    assert (found.max_episodes, found.target_reward_score) == (episodes, target)


def test_minutes_are_wall_clock() -> None:
    config = TrainingConfig(max_minutes=1.5)
    assert stop_reason(config, Progress(), Watcher(89.0)) is None
    assert stop_reason(config, Progress(), Watcher(90.0)) == "1.5 minutes are over"


def test_an_interrupted_training_that_has_met_a_limit_is_complete() -> None:
    """Its last iteration was being finished: nothing of it is left for the same command to go on with."""
    assert stop_reason(TrainingConfig(), Progress(), Watcher(stop=True)) == INTERRUPTED
    last = stop_reason(TrainingConfig(max_iterations=3), Progress(iteration=3), Watcher(stop=True))
    assert last == "3 iterations are done"


def test_log_lines_match_the_guidance(tmp_path: Path) -> None:
    session(tmp_path, Numbers(), max_iterations=2)
    lines = (tmp_path / artifacts.training_log(1)).read_text().splitlines()
    assert lines[0].startswith("Training> Name=main_level/agent, Worker=0, Episode=5, Total reward=")
    assert lines[0].endswith("Training iteration=1")
    assert lines[4] == (
        "Policy training> Surrogate loss=0.1, KL divergence=0.01, Entropy=1.0, training epoch=0, learning_rate=0.0003"
    )
    assert [line.split(">")[0] for line in lines] == ["Training"] * 4 + ["Policy training"] + ["Testing"] * 2
