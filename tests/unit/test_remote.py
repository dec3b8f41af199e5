"""Trainer and workers of one process at one channel: the same numbers as without, and errors that find their way."""

import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pytest

from contract.channels.memory import MemoryChannel
from contract.channels.unix import UnixChannel, UnixWorkerEnd
from contract.errors import ChannelError, RewardError
from contract.protocols import Phase, RolloutOrder, TrainerEnd, WorkerEnd
from contract.rollout import Rollout
from contract.wire import Job
from simapp.worker import EpisodeDriver, Worker
from tests.mini_training import JOB, RULES, CountingDriver, contents, train
from tests.patience import PATIENCE_S, until
from trainer.remote import RemoteRollouts

Load = Callable[[Job, Callable[[int], None]], EpisodeDriver]
POLICY, ORDER = b"0000001", RolloutOrder(Phase.training, 0, 0, 8)


@contextmanager
def stage(
    end: TrainerEnd, connect: Callable[[str], WorkerEnd], loads: list[Load], patience_s: float = 60.0
) -> Iterator[tuple[RemoteRollouts, list[Worker], list[str]]]:
    """A source of rollouts and a worker, in a thread, for each of `loads`."""
    said: list[str] = []
    source = RemoteRollouts(end, JOB, RULES, said.append, expected=len(loads), worker_patience_s=patience_s)
    crew = [Worker(connect, load, JOB.version, said.append, 60.0, heartbeat_s=0.1) for load in loads]

    def run(worker: Worker) -> None:
        try:
            worker.run()
        except ChannelError as error:
            said.append(str(error))

    threads = [threading.Thread(target=run, args=(worker,)) for worker in crew]
    for thread in threads:
        thread.start()
    try:
        yield source, crew, said
    finally:
        for worker in crew:
            worker.stop()
        source.close()
        for thread in threads:
            thread.join(30.0)
            assert not thread.is_alive()


def counting(job: Job, count: Callable[[int], None]) -> EpisodeDriver:
    return CountingDriver(0.0, count)


@pytest.mark.parametrize("workers", [1, 3])
@pytest.mark.parametrize("over_socket", [False, True])
def test_a_training_leaves_the_same_files_as_in_one_process(tmp_path: Path, workers: int, over_socket: bool) -> None:
    train(CountingDriver(), tmp_path / "alone", 4)
    with ExitStack() as stack:
        if over_socket:
            unix = UnixChannel()
            made = stage(unix, lambda name: UnixWorkerEnd(unix.path, name), [counting] * workers)
        else:
            memory = MemoryChannel()
            made = stage(memory, memory.worker_end, [counting] * workers)
        source, _, _ = stack.enter_context(made)
        assert train(source, tmp_path / "shared", 4) == "4 iterations are done"
        assert (source.book.counted, source.book.stale, source.book.refused) == (4 * (8 + 2), 0, 0)
    assert contents(tmp_path / "shared") == contents(tmp_path / "alone")


class Failing:
    """The racer's mistake."""

    def collect(self, policy: bytes, order: RolloutOrder) -> list[Rollout]:
        raise RewardError("reward_function.py, line 7: ZeroDivisionError")


def test_a_failing_reward_function_stops_the_training_and_not_the_worker() -> None:
    memory = MemoryChannel()
    with stage(memory, memory.worker_end, [lambda job, count: Failing()]) as (source, _, said):
        with pytest.raises(RewardError, match="line 7: ZeroDivisionError"):
            source.collect(POLICY, ORDER)
        assert source.book.workers == 1
        assert any("line 7" in line for line in said)


def test_without_a_worker_the_training_stops_and_says_how_to_start_one() -> None:
    memory = MemoryChannel()
    with (
        stage(memory, memory.worker_end, [], patience_s=0.3) as (source, _, _),
        pytest.raises(ChannelError, match="start `undercut worker`"),
    ):
        source.collect(POLICY, ORDER)


def test_a_worker_that_is_told_to_stop_delivers_its_task_first() -> None:
    memory = MemoryChannel()
    begun = threading.Event()

    def load(job: Job, count: Callable[[int], None]) -> EpisodeDriver:
        begun.set()
        return CountingDriver(0.02, count)

    with stage(memory, memory.worker_end, [load]) as (source, crew, said):

        def stop() -> None:
            begun.wait(PATIENCE_S)
            crew[0].stop()

        stopper = threading.Thread(target=stop)
        stopper.start()
        assert [it.episode for it in source.collect(POLICY, ORDER)] == list(range(8))
        stopper.join()
        # after its last episode
        until("its farewell", lambda: any("has left: told to stop" in line for line in said))
