"""Who drives what: shares, exactly-once counting, leases, and what is dropped. Time is a number here."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from contract.errors import RewardError, TrainingError, UndercutError
from contract.protocols import Phase, RolloutOrder
from contract.rollout import Rollout
from contract.state import STEP_DTYPE, EpisodeStatus
from contract.wire import Alive, Failed, Leaving, Ready, RolloutRules, Task, read_task, rollout_to_bytes
from trainer.dispatch import LEASE_S, MAX_ATTEMPTS, MAX_REFUSED, STALL_S, Dispatcher

RULES = RolloutRules({"LIDAR": (4,)}, actions=3, most_steps=20)
JOB, POLICY = "1" * 64, "2" * 64
TRAINING = RolloutOrder(Phase.training, 4, 100, 8)
EVALUATION = RolloutOrder(Phase.evaluation, 3, 20, 4)


def name(number: int) -> str:
    return f"{number:016x}"


def rollout(episode: int, iteration: int = 4, seen: bool = True, steps: int = 2) -> Rollout:
    rows = np.zeros(steps, STEP_DTYPE)
    rows["status"][-1] = EpisodeStatus.off_track
    rows["reward"] = episode
    frames = {"LIDAR": np.zeros((steps, 4), np.float32)} if seen else {}
    final = {"LIDAR": np.zeros(4, np.float32)}
    return Rollout(episode, iteration, frames, final, np.zeros(steps, np.int64), rows, truncated=False)


class Book:
    """A dispatcher with its workers' sides played by hand."""

    def __init__(self, expected: int = 1) -> None:
        self.said: list[str] = []
        self.now_s = 1000.0
        self.it = Dispatcher(JOB, "1.0", RULES, self.said.append, self.now_s, expected)
        self.numbers: dict[int, int] = {}
        self.tasks: dict[int, Task] = {}

    def wait(self, seconds: float, *alive: int, steps: int = 0) -> None:
        """Time goes by in small ticks, while these workers are heard."""
        while seconds > 0.0:
            self.now_s += min(seconds, 1.0)
            seconds -= 1.0
            for worker in alive:
                message = Alive(worker=name(worker), number=self.numbers[worker], steps=steps)
                self.it.hear(message.to_bytes(), self.now_s)
            self.it.tick(self.now_s)

    def ready(self, worker: int, again: bool = False, version: str = "1.0") -> Task | None:
        """Ask for the next task; what is handed out to anybody meanwhile is in `tasks`."""
        self.numbers[worker] = self.numbers.get(worker, 0) + (0 if again else 1)
        message = Ready(worker=name(worker), number=self.numbers[worker], host="h", pid=worker, version=version)
        self.it.hear(message.to_bytes(), self.now_s)
        self.tasks.pop(worker, None)
        self.hand_out()
        return self.tasks.get(worker)

    def hand_out(self) -> None:
        self.tasks |= {int(to, 16): read_task(letter) for to, letter in self.it.assign(self.now_s)}

    def failure(self) -> UndercutError | None:
        return self.it.failure

    def deliver(self, worker: int, task: Task, *episodes: int, seen: bool = True) -> None:
        for episode in episodes or task.episodes:
            sent = rollout(episode, task.iteration, seen)
            self.it.hear(rollout_to_bytes(sent, name(worker), task.number, task.order), self.now_s)


def test_one_worker_gets_the_whole_order_and_two_share_it() -> None:
    alone = Book()
    alone.it.open(POLICY, TRAINING)
    task = alone.ready(1)
    assert task is not None
    assert task.rollout_order() == TRAINING
    assert (task.job, task.policy) == (JOB, POLICY)
    two = Book(expected=2)
    two.it.open(POLICY, TRAINING)
    first, second = two.ready(1), two.ready(2)
    assert first is not None
    assert second is not None
    assert (first.episodes, second.episodes) == ((100, 101, 102, 103), (104, 105, 106, 107))


def test_an_evaluation_goes_to_one_worker_while_the_others_collect_already() -> None:
    book = Book(expected=3)
    for worker in (1, 2, 3):
        assert book.ready(worker) is None
    book.it.open(POLICY, EVALUATION)
    book.it.open(POLICY, TRAINING)
    book.hand_out()
    assert sorted((task.phase.value, len(task.episodes)) for task in book.tasks.values()) == [
        ("evaluation", 4),
        ("training", 3),
        ("training", 3),
    ]


def test_an_order_is_done_when_every_episode_has_come_once() -> None:
    book = Book(expected=2)
    order = book.it.open(POLICY, TRAINING)
    first, second = book.ready(1), book.ready(2)
    assert first and second
    book.deliver(2, second)
    book.deliver(2, second, 105, 106)
    book.deliver(1, first, 100, 101, 102)
    assert (book.it.missing(order), book.it.counted, book.it.stale) == (1, 7, 2)
    book.deliver(1, first, 103)
    assert book.it.missing(order) == 0
    assert [it.episode for it in book.it.close(order)] == list(range(100, 108))
    book.deliver(1, first)
    assert (book.it.counted, book.it.stale) == (8, 6)


def test_a_worker_that_looks_elsewhere_is_counted_on_in_silence_until_it_is_long_gone() -> None:
    book = Book()
    for worker in (1, 2):
        assert book.ready(worker) is None
    book.it.hear(Leaving(worker=name(2), number=1, why="elsewhere", is_back=True).to_bytes(), book.now_s)
    said = list(book.said)
    book.it.open(POLICY, TRAINING)
    book.hand_out()
    assert len(book.tasks[1].episodes) == 4, "half of it is the other's, who may come back"
    task = book.ready(2)
    assert task is not None and len(task.episodes) == 4 and book.said == said
    book.it.hear(Leaving(worker=name(2), number=2, why="elsewhere", is_back=True).to_bytes(), book.now_s)
    assert book.it.workers == 1
    task = book.ready(1)  # without having delivered anything
    assert task is not None and len(task.episodes) == 4, "what the other had not delivered is free"
    book.wait(STALL_S + 1.0, 1, steps=1)
    assert book.it.last_worker_s == book.now_s
    book.wait(LEASE_S + 1.0)
    assert book.it.last_worker_s < book.now_s, "nobody is there any more"


@pytest.mark.parametrize("how", ["lease", "leaves", "asks for more", "process died"])
def test_what_a_worker_does_not_deliver_goes_to_the_others(how: str) -> None:
    book = Book()
    order = book.it.open(POLICY, TRAINING)
    task = book.ready(1)
    assert task is not None
    assert book.ready(2) is None
    book.deliver(1, task, 100, 101)
    del book.tasks[1]
    if how == "lease":
        book.wait(LEASE_S + 1, 2)
        assert "has not been heard of for 20 s; its 6 episodes go to others" in book.said[-1]
    elif how == "leaves":
        book.it.hear(Leaving(worker=name(1), number=1, why="tired").to_bytes(), book.now_s)
    elif how == "process died":
        book.it.process_died("h", 1)
    else:
        book.ready(1)
    book.hand_out()
    assert sorted(episode for more in book.tasks.values() for episode in more.episodes) == list(range(102, 108))
    for worker, more in book.tasks.items():
        book.deliver(worker, more)
    assert book.it.missing(order) == 0


def test_a_late_rollout_of_a_worker_that_was_given_up_counts_once() -> None:
    book = Book()
    order = book.it.open(POLICY, TRAINING)
    task = book.ready(1)
    assert task is not None
    book.wait(LEASE_S + 1)
    other = book.ready(2)
    assert other is not None
    assert other.episodes == task.episodes
    book.deliver(1, task)
    book.deliver(2, other)
    assert (book.it.missing(order), book.it.counted, book.it.stale) == (0, 8, 8)


def test_a_lost_answer_is_given_again() -> None:
    book = Book()
    book.it.open(POLICY, TRAINING)
    task = book.ready(1)
    assert task is not None
    assert book.ready(1, again=True) == task
    assert book.ready(1) is not None, "the next question gives back what was not delivered"


def test_rollouts_of_another_policy_or_a_closed_order_are_stale() -> None:
    book = Book()
    old = book.it.open(POLICY, TRAINING)
    task = book.ready(1)
    assert task is not None
    book.it.close(old)
    new = book.it.open("3" * 64, TRAINING)
    assert new != old
    book.deliver(1, task)
    assert (book.it.missing(new), book.it.stale) == (8, 8)


def test_the_same_order_opened_again_is_the_same() -> None:
    book = Book()
    assert book.it.open(POLICY, TRAINING) == book.it.open(POLICY, TRAINING)
    assert book.it.policies == {POLICY}


def test_time_in_which_the_trainer_was_away_counts_for_nobody() -> None:
    book = Book()
    book.it.open(POLICY, TRAINING)
    book.ready(1)
    book.now_s += 3600.0  # stopped, or its Redis was gone
    book.it.tick(book.now_s)
    book.wait(LEASE_S - 2)
    assert not any("heard of" in line for line in book.said)
    book.wait(4)
    assert "heard of" in book.said[-1]


def test_a_worker_that_drives_no_step_loses_its_task() -> None:
    book = Book()
    book.it.open(POLICY, TRAINING)
    book.ready(1)
    book.wait(STALL_S - 5, 1, steps=10)
    assert not any("driven" in line for line in book.said)
    book.wait(STALL_S, 1, steps=10)
    assert f"has not driven a step for {STALL_S:g} s" in book.said[-1]


def test_an_episode_that_kills_every_worker_stops_the_training() -> None:
    book = Book()
    book.it.open(POLICY, TRAINING)
    for worker in range(1, MAX_ATTEMPTS + 1):
        assert book.failure() is None
        assert book.ready(worker) is not None
        book.it.process_died("h", worker)
    assert isinstance(book.failure(), TrainingError)
    assert "was begun 10 times and never delivered" in str(book.failure())


def test_broken_rollouts_are_refused_and_their_episodes_driven_again() -> None:
    book = Book()
    order = book.it.open(POLICY, TRAINING)
    for _ in range(MAX_REFUSED):
        task = book.ready(1)
        assert task is not None
        bad = rollout(100)
        bad.steps["reward"] = np.nan
        book.it.hear(rollout_to_bytes(bad, name(1), task.number, task.order), book.now_s)
    assert (book.it.refused, book.it.missing(order)) == (MAX_REFUSED, 8)
    assert book.ready(1) is None, "no more work for it"
    assert "gets no more work" in book.said[-1]
    assert book.ready(2) is not None


@given(st.binary(max_size=200))
def test_noise_changes_nothing(noise: bytes) -> None:
    book = Book()
    order = book.it.open(POLICY, TRAINING)
    book.it.hear(noise, book.now_s)
    assert (book.it.refused, book.it.missing(order), book.it.workers) == (1, 8, 0)


def test_a_failing_reward_function_is_the_trainings_error_unless_its_order_is_closed() -> None:
    book = Book()
    order = book.it.open(POLICY, TRAINING)
    task = book.ready(1)
    assert task is not None
    late = Failed(worker=name(1), number=1, order="9" * 64, error="RewardError", text="old")
    book.it.hear(late.to_bytes(), book.now_s)
    assert book.failure() is None
    told = Failed(worker=name(1), number=1, order=order, error="RewardError", text="reward.py, line 3: KeyError")
    book.it.hear(told.to_bytes(), book.now_s)
    assert isinstance(book.failure(), RewardError)
    assert "line 3" in str(book.failure())


def test_a_worker_of_another_version_gets_no_work_and_is_named_once() -> None:
    book = Book()
    book.it.open(POLICY, TRAINING)
    assert book.ready(1, version="0.9") is None
    assert book.ready(1, again=True, version="0.9") is None
    assert [line for line in book.said if "version" in line] == [
        "worker 00000000 on h gets no work: it is version 0.9, and this trainer is 1.0"
    ]


@given(
    st.lists(st.tuples(st.integers(1, 4), st.sampled_from(["ready", "deliver", "half", "die", "tick"])), max_size=60)
)
def test_whatever_workers_do_each_episode_counts_once(happenings: list[tuple[int, str]]) -> None:
    book = Book(expected=2)
    order = book.it.open(POLICY, TRAINING)
    for worker, what in happenings:
        task = book.tasks.get(worker)
        if what == "ready":
            book.ready(worker)
        elif what == "die":
            book.it.process_died("h", worker)
        elif what == "tick":
            book.wait(3)
        elif task is not None:
            book.deliver(worker, task, *task.episodes[: 1 if what == "half" else None])
    if book.failure() is not None:
        return
    while book.it.missing(order):
        task = book.ready(9)
        book.wait(LEASE_S + 1, 9)
        if task is not None:
            book.deliver(9, task)
    assert book.it.counted == 8
    assert [it.rewards[0] for it in book.it.close(order)] == list(range(100, 108))
