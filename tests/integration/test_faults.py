"""Parts die, the network is cut, messages are broken: the training goes on, and ends with the numbers of one process.

FAULT_ROUNDS (default 6) is how many times something is killed; FAULT_CUT_S (default 6) how long the network is cut.
"""

import contextlib
import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from types import MappingProxyType

import numpy as np
import pytest

from contract.channels.redis import LOCK_S, RedisChannel, RedisWorkerEnd
from contract.errors import ChannelError
from contract.host import RedisAddress
from contract.protocols import Phase, RolloutOrder
from contract.wire import rollout_to_bytes
from tests.cable import Cable
from tests.conftest import REPO
from tests.jumping_clock import JumpingClock
from tests.mini_training import JOB, LEASE_S, RULES, RUN, CountingDriver, address_json, contents, train
from tests.proxy import Proxy
from tests.redis_server import RedisServer
from trainer.remote import RemoteRollouts

pytestmark = [pytest.mark.redis]

ROUNDS = int(os.environ.get("FAULT_ROUNDS", "6"))
CUT_S = float(os.environ.get("FAULT_CUT_S", "6"))
PATIENCE_S = 600.0
OTHER = "other"
"""A second training on the same Redis."""
NOTHING: Mapping[str, str] = MappingProxyType({})


class Cast:
    """The processes of a training, by name; killed with -9 and started again."""

    def __init__(
        self, folder: Path, address: RedisAddress, iterations: int, environment: Mapping[str, str] = NOTHING
    ) -> None:
        self._folder, self._address, self._environment = folder, address_json(address), {**os.environ, **environment}
        self._processes: dict[str, subprocess.Popen[bytes]] = {}
        self._arguments = {
            "trainer": ["trainer", self._address, str(folder / "run"), str(iterations)],
            OTHER: ["trainer", self._address, str(folder / OTHER), str(iterations), OTHER],
        }

    def start(self, name: str, *more: str, address: RedisAddress | None = None) -> None:
        where = self._address if address is None else address_json(address)
        arguments = self._arguments.setdefault(name, ["worker", where, *more])
        with (self._folder / f"{name}.log").open("ab") as log:
            command = [sys.executable, "-m", "tests.mini_training", *arguments]
            self._processes[name] = subprocess.Popen(command, cwd=REPO, stdout=log, stderr=log, env=self._environment)

    def kill(self, name: str) -> None:
        self._processes[name].kill()
        self._processes[name].wait()

    def status(self, name: str) -> int | None:
        return self._processes[name].poll()

    def log(self, name: str) -> str:
        path = self._folder / f"{name}.log"
        return path.read_text() if path.exists() else ""

    def wait_for(self, what: str, happened: Callable[[], bool]) -> None:
        deadline_s = time.monotonic() + PATIENCE_S
        while not happened():
            logs = "\n".join(f"--- {name}\n{self.log(name)[-3000:]}" for name in self._processes)
            assert time.monotonic() < deadline_s, f"waited {PATIENCE_S:g} s for {what}\n{logs}"
            assert self.status("trainer") in (None, 0), logs
            time.sleep(0.02)

    def iterations(self, trainer: str = "trainer") -> int:
        """That any trainer of this run has finished."""
        lines = self.log(trainer).splitlines()
        return max((int(line.split()[1]) for line in lines if line[:9] == "iteration"), default=-1)

    def close(self) -> None:
        for process in self._processes.values():
            process.kill()
            process.wait()


@pytest.fixture
def server() -> Iterator[RedisServer]:
    with RedisServer() as server:
        yield server


def expected(folder: Path, iterations: int, run: str = RUN) -> dict[str, bytes]:
    """What the same training in one process leaves."""
    train(CountingDriver(), folder, iterations, run)
    return contents(folder)


@pytest.mark.slow
@pytest.mark.parametrize("keep_data", [False, True], ids=["redis forgets", "redis keeps its data"])
def test_kill_9_of_trainer_worker_or_redis_at_random_moments(tmp_path: Path, keep_data: bool) -> None:
    random = np.random.default_rng(5)
    iterations = 6 * ROUNDS + 20
    with RedisServer(keep_data=keep_data) as server:
        cast = Cast(tmp_path, server.address, iterations)
        try:
            for name in ("trainer", "ann", "ben"):
                cast.start(name)
            killed = []
            for round_ in range(ROUNDS):
                reached = cast.iterations() + int(random.integers(1, 3))
                cast.wait_for(
                    f"iteration {reached} in round {round_}",
                    lambda reached=reached: cast.iterations() >= reached or cast.status("trainer") == 0,  # type: ignore[misc]
                )
                if cast.status("trainer") == 0:
                    break
                time.sleep(float(random.uniform(0.0, 0.2)))
                victim = ("trainer", "ann", "redis")[int(random.integers(0, 3))]
                killed.append(victim)
                print(round_, victim, cast.iterations(), flush=True)
                if victim == "redis":
                    server.kill()
                    time.sleep(float(random.uniform(0.0, 0.5)))
                    server.start()
                else:
                    cast.kill(victim)
                    cast.start(victim)
            cast.wait_for("the end of the training", lambda: cast.status("trainer") == 0)
        finally:
            cast.close()
    assert len(killed) == ROUNDS, killed
    got = contents(tmp_path / "run")
    assert got == expected(tmp_path / "expected", iterations)


@pytest.mark.parametrize("kind", [Cable, Proxy], ids=["nothing goes through", "connections break"])
def test_network_cut_between_worker_and_redis(
    tmp_path: Path, server: RedisServer, kind: type[Cable] | type[Proxy]
) -> None:
    iterations = 80
    with kind(server.address.port) as proxy:
        far = RedisAddress("127.0.0.1", proxy.port, 0, "default", tls=False, password_file=server.address.password_file)
        cast = Cast(tmp_path, server.address, iterations)
        try:
            cast.start("trainer")
            cast.start("far", address=far)
            cast.wait_for("the second iteration", lambda: cast.iterations() >= 1)
            proxy.cut()
            time.sleep(CUT_S)
            assert cast.status("trainer") is None
            proxy.mend()
            cast.wait_for("the end of the training", lambda: cast.status("trainer") == 0)
        finally:
            cast.close()
    assert contents(tmp_path / "run") == expected(tmp_path / "expected", iterations)
    assert CUT_S < LEASE_S or "has not been heard of" in cast.log("trainer")


def test_a_worker_that_runs_out_of_memory_is_named_and_the_others_go_on(tmp_path: Path, server: RedisServer) -> None:
    cast = Cast(tmp_path, server.address, 3)
    try:
        cast.start("trainer")
        cast.start("greedy", "300")
        cast.wait_for("the greedy worker's end", lambda: cast.status("greedy") is not None)
        assert cast.status("trainer") is None
        assert "MemoryError" in cast.log("greedy")
        assert "has left: out of memory; its" in cast.log("trainer")
        cast.start("ann")
        cast.wait_for("the end of the training", lambda: cast.status("trainer") == 0)
    finally:
        cast.close()
    assert contents(tmp_path / "run") == expected(tmp_path / "expected", 3)


def test_redis_that_forgets_everything_again_and_again(tmp_path: Path, server: RedisServer) -> None:
    cast = Cast(tmp_path, server.address, 5)
    try:
        cast.start("trainer")
        cast.start("ann")
        for iteration in range(3):
            cast.wait_for(f"iteration {iteration}", lambda iteration=iteration: cast.iterations() >= iteration)  # type: ignore[misc]
            server.client().flushall()
        cast.wait_for("the end of the training", lambda: cast.status("trainer") == 0)
    finally:
        cast.close()
    assert contents(tmp_path / "run") == expected(tmp_path / "expected", 5)


@pytest.mark.slow
def test_clocks_that_jump_by_hours_and_back(tmp_path: Path) -> None:
    """Of Redis, trainer and worker at once: Redis lets keys expire by it, or keeps them for hours too long."""
    clock = JumpingClock(tmp_path)
    with RedisServer(environment=clock.environment) as server:
        cast = Cast(tmp_path, server.address, 9, clock.environment)
        try:
            cast.start("trainer")
            cast.start("ann")
            for iteration, hours in enumerate((3, -3, 30, 0, -30, 1)):
                cast.wait_for(f"iteration {iteration}", lambda iteration=iteration: cast.iterations() >= iteration)  # type: ignore[misc]
                clock.jump(hours)
                off_h = (server.client().time()[0] - time.time()) / 3600
                assert round(off_h) == hours, "the clock did not jump"
            cast.wait_for("the end of the training", lambda: cast.status("trainer") == 0)
        finally:
            cast.close()
    assert contents(tmp_path / "run") == expected(tmp_path / "expected", 9)


def test_broken_and_oversized_messages_are_refused(tmp_path: Path, server: RedisServer) -> None:
    said: list[str] = []
    source = RemoteRollouts(RedisChannel(server.address, "mini"), JOB, RULES, said.append, lease_s=LEASE_S)
    stop = threading.Event()

    def spoil() -> None:
        """Whoever knows the password can write into the list."""
        whole = rollout_to_bytes(
            CountingDriver().collect(b"0000001", RolloutOrder(Phase.training, 0, 3, 1))[0], "a" * 16, 1, "b" * 64
        )
        client, random = server.client(), np.random.default_rng(1)
        while not stop.wait(0.05):
            place = int(random.integers(0, len(whole)))
            for message in (whole[:place] + b"!" + whole[place + 1 :], whole[:place], bytes(RULES.most_bytes + 1), b""):
                client.rpush("undercut:mini:inbox", message)

    spoiler = threading.Thread(target=spoil)
    spoiler.start()
    cast = Cast(tmp_path, server.address, 3)
    try:
        cast.start("ann")
        assert "3 iterations" in train(source, tmp_path / "run", 3)
    finally:
        stop.set()
        spoiler.join()
        source.close()
        cast.close()
    assert source.book.refused > 3
    assert any("are taken here" in line for line in said)
    assert any("checksum is wrong" in line for line in said)
    assert contents(tmp_path / "run") == expected(tmp_path / "expected", 3)


def test_a_wrong_password_is_said_at_once_without_the_password(server: RedisServer, tmp_path: Path) -> None:
    wrong = tmp_path / "password"
    wrong.write_text("not-the-password")
    address = RedisAddress("127.0.0.1", server.address.port, 0, "default", tls=False, password_file=wrong)
    none = RedisAddress("127.0.0.1", server.address.port, 0, "default", tls=False, password_file=None)
    for bad in (address, none):
        for use in (lambda bad=bad: RedisChannel(bad, "x"), RedisWorkerEnd(bad, "a" * 16).attended):
            with pytest.raises(ChannelError, match="user and password are those of the server") as error:
                use()
            assert "not-the-password" not in str(error.value)
            assert f":{server.address.port}" in str(error.value)


def test_no_redis_is_said_after_the_patience(server: RedisServer) -> None:
    server.kill()
    with pytest.raises(ChannelError, match=r"does not answer(.|\n)*waited 0.3 s to become its trainer"):
        RedisChannel(server.address, "x", patience_s=0.3)


def test_a_second_trainer_of_one_run_is_refused_with_the_firsts_name(server: RedisServer) -> None:
    first = RedisChannel(server.address, "mine")
    stop = threading.Event()

    def live() -> None:
        while not stop.is_set():
            first.receive(0.2)

    living = threading.Thread(target=live)
    living.start()
    try:
        with pytest.raises(ChannelError, match=rf"a trainer of this run: run mine, process {os.getpid()} on"):
            RedisChannel(server.address, "mine")
        RedisChannel(server.address, "yours").close()
    finally:
        stop.set()
        living.join()
    first.close()
    RedisChannel(server.address, "mine").close()
    assert server.client().keys("*") == []


def test_what_a_dead_trainer_left_is_swept_out_and_what_others_have_stays(server: RedisServer) -> None:
    dead, other = RedisChannel(server.address, "dead"), RedisChannel(server.address, "trainer")
    name = "a" * 16
    worker = RedisWorkerEnd(server.address, name, run="dead")
    worker.send(b"taken")
    assert dead.receive(5.0) == b"taken"
    digest = other.publish(b"policy")
    server.client().delete("undercut:trainer/dead")  # its time is up
    RedisChannel(server.address, "next").close()
    left = {f"undercut:trainer:blob:{digest}".encode(), b"undercut:trainer/trainer"}
    assert set(server.client().keys("*")) == left
    other.close()
    assert server.client().keys("*") == []


def test_workers_serve_two_trainings_at_once_and_both_get_their_own_numbers(
    tmp_path: Path, server: RedisServer
) -> None:
    """One is killed and started again meanwhile, and a worker too."""
    cast = Cast(tmp_path, server.address, 12)
    try:
        cast.start("trainer")
        for name in (OTHER, "ann", "ben"):
            cast.start(name)
        cast.wait_for("both to be under way", lambda: min(cast.iterations(), cast.iterations(OTHER)) >= 2)
        for name in (OTHER, "ben"):
            cast.kill(name)
            cast.start(name)
        for name in ("trainer", OTHER):
            cast.wait_for(f"the end of {name}", lambda name=name: cast.status(name) == 0)  # type: ignore[misc]
    finally:
        cast.close()
    assert contents(tmp_path / "run") == expected(tmp_path / "expected", 12)
    assert contents(tmp_path / OTHER) == expected(tmp_path / "others", 12, OTHER)
    for name in ("ann", "ben"):
        assert {f"driving for run {RUN}", f"driving for run {OTHER}"} <= set(cast.log(name).splitlines())


def test_a_trainer_that_was_replaced_says_so(server: RedisServer) -> None:
    first = RedisChannel(server.address, "mine", patience_s=5.0)
    server.client().delete("undercut:trainer/mine")  # its time was up while it was stopped
    second = RedisChannel(server.address, "mine")
    first._renewed_s -= LOCK_S
    with pytest.raises(ChannelError, match="has another trainer of this run now: run mine"):
        first.receive(0.01)
    first.close()
    assert server.client().exists("undercut:trainer/mine"), "the second one's, which stays"
    second.close()


def test_a_full_redis_holds_workers_back_and_then_says_so() -> None:
    with RedisServer(options=("maxmemory 20mb", "maxmemory-policy noeviction")) as server:
        trainer = RedisChannel(server.address, "x")
        worker = RedisWorkerEnd(server.address, "a" * 16, patience_s=0.5)
        with contextlib.suppress(ChannelError):
            for _ in range(10):
                worker.send(bytes(5_000_000))
        with pytest.raises(ChannelError, match=r"is full(.|\n)*raise its maxmemory"):
            worker.send(bytes(5_000_000))
        while trainer.receive(0.01) is not None:
            pass
        worker.send(b"room again")
        assert trainer.receive(5.0) == b"room again"
        worker.close()
        trainer.close()


def test_no_secret_is_in_any_log(tmp_path: Path, server: RedisServer) -> None:
    cast = Cast(tmp_path, server.address, 1)
    try:
        cast.start("trainer")
        cast.start("ann")
        cast.wait_for("the end of the training", lambda: cast.status("trainer") == 0)
    finally:
        cast.close()
    password = server.address.password() or ""
    assert password
    assert password not in cast.log("trainer") + cast.log("ann")
