"""What every channel must do; each implementation is a parameter of the `channel` fixture."""

import hashlib
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass, field

import pytest

from contract.channels.memory import MemoryChannel
from contract.channels.redis import RedisChannel, RedisWorkerEnd
from contract.channels.unix import UnixChannel, UnixWorkerEnd
from contract.errors import ChannelError
from contract.protocols import TrainerEnd, WorkerEnd
from tests.redis_server import RedisServer

ANN, BEN = "a" * 16, "b" * 16
SMALL_ROOM = 300_000


@dataclass
class Ends:
    trainer: TrainerEnd
    worker: Callable[[str], WorkerEnd]
    stack: ExitStack = field(default_factory=ExitStack)

    def join(self, name: str) -> WorkerEnd:
        end = self.worker(name)
        self.stack.callback(end.close)
        return end


def _memory(stack: ExitStack) -> Ends:
    channel = MemoryChannel(SMALL_ROOM)
    return Ends(channel, channel.worker_end)


def _unix(stack: ExitStack) -> Ends:
    channel = UnixChannel(SMALL_ROOM)
    return Ends(channel, lambda name: UnixWorkerEnd(channel.path, name))


def _redis(stack: ExitStack) -> Ends:
    server = stack.enter_context(RedisServer())
    channel = RedisChannel(server.address, "test", patience_s=10.0)
    return Ends(channel, lambda name: RedisWorkerEnd(server.address, name, SMALL_ROOM, patience_s=10.0))


@pytest.fixture(params=[_memory, _unix, pytest.param(_redis, marks=pytest.mark.redis)], ids=["memory", "unix", "redis"])
def ends(request: pytest.FixtureRequest) -> Iterator[Ends]:
    with ExitStack() as stack:
        made: Ends = request.param(stack)
        stack.callback(made.trainer.close)
        with made.stack:
            yield made


def received(end: TrainerEnd | WorkerEnd, count: int) -> list[bytes]:
    messages: list[bytes] = []
    for _ in range(200):
        message = end.receive(0.1)
        if message is not None:
            messages.append(message)
        if len(messages) == count:
            return messages
    raise AssertionError(f"{len(messages)} of {count} messages came")


def test_messages_of_a_worker_come_in_their_order(ends: Ends) -> None:
    ann = ends.join(ANN)
    sent = [b"", b"one", bytes(200_000), b"three" * 1000]
    for message in sent:
        ann.send(message)
    assert received(ends.trainer, 4) == sent
    assert ends.trainer.receive(0.01) is None


def test_messages_of_all_workers_come(ends: Ends) -> None:
    for name in (ANN, BEN):
        ends.join(name).send(name.encode())
    assert sorted(received(ends.trainer, 2)) == [ANN.encode(), BEN.encode()]


def test_each_worker_gets_its_own_messages(ends: Ends) -> None:
    ann, ben = ends.join(ANN), ends.join(BEN)
    for end in (ann, ben):  # a worker can be written to once it has spoken
        end.send(b"here")
    received(ends.trainer, 2)
    for number in range(3):
        ends.trainer.send(ANN, b"ann %d" % number)
        ends.trainer.send(BEN, b"ben %d" % number)
    assert received(ann, 3) == [b"ann 0", b"ann 1", b"ann 2"]
    assert received(ben, 3) == [b"ben 0", b"ben 1", b"ben 2"]
    assert ann.receive(0.01) is None
    ends.trainer.send("c" * 16, b"nobody")


def test_blobs_are_there_until_they_are_withdrawn(ends: Ends) -> None:
    ann = ends.join(ANN)
    blob = bytes(range(256)) * 40_000
    digest = ends.trainer.publish(blob)
    assert digest == hashlib.sha256(blob).hexdigest()
    assert ends.trainer.publish(blob) == digest
    assert ann.fetch(digest) == blob
    assert ann.fetch("0" * 64) is None
    ends.trainer.withdraw(digest)
    ends.trainer.withdraw(digest)
    assert ann.fetch(digest) is None


def test_a_worker_waits_while_the_trainer_takes_nothing(ends: Ends) -> None:
    """200 messages of 100 kB against room for 300 kB: all come, in order, and never many at once."""
    ann = ends.join(ANN)
    sent = [bytes([number]) * 100_000 for number in range(200)]
    progress = []

    def send_all() -> None:
        for message in sent:
            ann.send(message)
            progress.append(1)

    sender = threading.Thread(target=send_all)
    sender.start()
    sender.join(0.5)
    assert sender.is_alive()
    assert len(progress) < 20  # 300 kB in the channel, some in the socket's buffers
    assert received(ends.trainer, 200) == sent
    sender.join(10.0)
    assert not sender.is_alive()


def test_a_message_from_the_trainers_other_threads_comes_while_it_receives(ends: Ends) -> None:
    ann = ends.join(ANN)
    ann.send(b"here")
    received(ends.trainer, 1)
    sender = threading.Timer(0.2, lambda: ends.trainer.send(ANN, b"hello"))
    sender.start()
    assert ends.trainer.receive(0.5) is None
    assert received(ann, 1) == [b"hello"]


def test_with_one_trainer_there_is_no_other_to_turn_to(ends: Ends) -> None:
    ann = ends.join(ANN)
    ann.send(b"here")
    received(ends.trainer, 1)
    assert not ann.others()
    ann.turn()
    ends.trainer.send(ANN, b"hello")
    assert ann.attended() and received(ann, 1) == [b"hello"]


def test_a_worker_sees_that_the_trainer_has_left(ends: Ends) -> None:
    ann = ends.join(ANN)
    assert ann.attended()
    ends.trainer.close()
    with ExitStack() as stack:
        if not isinstance(ann, RedisWorkerEnd):  # over Redis another trainer may come
            stack.enter_context(pytest.raises(ChannelError, match="the trainer is gone"))
        for _ in range(200):
            ann.receive(0.05)
            if not ann.attended():
                return
        raise AssertionError("the worker has not noticed")


def test_a_worker_that_joins_while_the_trainer_leaves_sees_it() -> None:
    for _ in range(50):  # it may be accepted just then
        channel = UnixChannel(SMALL_ROOM)
        worker = UnixWorkerEnd(channel.path, ANN)
        channel.close()
        with pytest.raises(ChannelError, match="the trainer is gone"):
            worker.receive(10.0)
        worker.close()
