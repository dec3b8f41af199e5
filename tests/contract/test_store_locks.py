"""One training at a time, in a folder and in a bucket: refused, let go of, taken over, and never written past."""

import json
import os
import signal
import socket
import subprocess
import sys
import textwrap
import threading
import time
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import asdict, replace
from pathlib import Path

import pytest

from contract.errors import StoreError
from contract.host import S3Address
from contract.protocols import Place
from contract.stores.lease import LeaseTimes
from contract.stores.local import LocalStore
from contract.stores.locks import Holder
from tests.minio_server import BUCKET, MinioServer
from tests.patience import PATIENCE_S

QUICK = LeaseTimes(heartbeat_s=0.2, proof_s=0.4, takeover_s=3.0)
LOCK = "runs/.a.lock"


@pytest.fixture(params=["local", pytest.param("s3", marks=pytest.mark.minio)])
def twice(request: pytest.FixtureRequest, tmp_path: Path) -> tuple[Place, Place]:
    """One place as two processes see it."""
    if request.param == "local":
        return LocalStore(tmp_path), LocalStore(tmp_path)
    minio: MinioServer = request.getfixturevalue("minio")
    prefix = minio.empty_store().address.prefix
    return minio.store(prefix, lease_times=QUICK), minio.store(prefix, lease_times=QUICK)


def test_a_second_one_is_refused_by_name_until_the_first_lets_go(twice: tuple[Place, Place]) -> None:
    first, second = twice
    with first.locked("runs/a") as mine:
        mine.put("run.json", b"1")
        with pytest.raises(StoreError) as error, second.locked("runs/a"):
            pass
        for words in (f"process {os.getpid()}", socket.gethostname(), "since 20", "fix:", mine.where()):
            assert words in str(error.value)
        with second.locked("runs/b") as other:
            other.put("run.json", b"2")
        mine.put("run.json", b"3")
    with second.locked("runs/a") as theirs:
        assert theirs.get("run.json") == b"3"
        theirs.delete("run.json")
    assert second.below("runs/b").list("") == ["run.json"]


def test_of_many_at_once_one_gets_it(twice: tuple[Place, Place]) -> None:
    inside, refused, most = 0, 0, 0
    turn, gate = threading.Lock(), threading.Barrier(6)

    def attempt(place: Place) -> None:
        nonlocal inside, refused, most
        gate.wait()
        try:
            with place.locked("runs/a"):
                with turn:
                    inside += 1
                    most = max(most, inside)
                gate.wait()  # the others have tried by then
        except StoreError:
            with turn:
                refused += 1
            gate.wait()

    threads = [threading.Thread(target=attempt, args=(twice[number % 2],)) for number in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(PATIENCE_S)
    assert (inside, refused, most) == (1, 5, 1)


def test_what_nobody_wrote_to_leaves_nothing(tmp_path: Path) -> None:
    with pytest.raises(ZeroDivisionError), LocalStore(tmp_path).locked("runs/a"):
        raise ZeroDivisionError
    assert list(tmp_path.iterdir()) == []


CHILD = """
    import sys
    from contract.host import S3Address
    from contract.stores.lease import LeaseTimes
    from contract.stores.local import LocalStore
    from contract.stores.s3 import S3Store
    from pathlib import Path
    where, times = sys.argv[1], LeaseTimes(0.2, 0.4, 3.0)
    place = S3Store(S3Address.parse(where, "test"), lease_times=times) if where.startswith("s3:") else LocalStore(Path(where))
    with place.locked("runs/a") as mine:
        mine.put("model", b"child's")
        print("held", flush=True)
        sys.stdin.readline()
        mine.put("model", b"child's again")
"""  # noqa: E501


def _child(place: Place, environment: dict[str, str]) -> "subprocess.Popen[str]":
    command = [sys.executable, "-c", textwrap.dedent(CHILD), place.where()]
    child = subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment
    )
    assert child.stdout is not None
    assert child.stdout.readline() == "held\n", child.communicate()[1]
    return child


def _environment(request: pytest.FixtureRequest, place: Place) -> dict[str, str]:
    if isinstance(place, LocalStore):
        return {"PATH": "/usr/bin:/bin"}
    minio: MinioServer = request.getfixturevalue("minio")
    return {"PATH": "/usr/bin:/bin", **minio.environment()}


def test_a_killed_one_on_this_machine_is_followed_at_once(
    twice: tuple[Place, Place], request: pytest.FixtureRequest
) -> None:
    with _child(twice[0], _environment(request, twice[0])) as child:
        with pytest.raises(StoreError, match=f"process {child.pid} on"), twice[1].locked("runs/a"):
            pass
        child.kill()
        child.wait(PATIENCE_S)
    follower = twice[1]
    if not isinstance(follower, LocalStore):  # that a sign of life is not waited for shows where the wait is long
        server: MinioServer = request.getfixturevalue("minio")
        follower = server.store(
            follower.where().removeprefix(f"s3://{BUCKET}/"), lease_times=replace(QUICK, takeover_s=PATIENCE_S)
        )
    began_s = time.monotonic()
    with follower.locked("runs/a") as mine:
        assert mine.get("model") == b"child's"
    assert time.monotonic() - began_s < PATIENCE_S


def _elsewhere(place: Place) -> bytes:
    """A lease of a process on another machine, of which nobody here can tell whether it lives."""
    stranger = replace(Holder.this_process(), host="far-away", pid=7, machine="another boot")
    content = json.dumps({"holder": asdict(stranger), "beat": 0}).encode()
    place.put(LOCK, content)
    return content


@pytest.mark.minio
def test_one_elsewhere_without_a_sign_of_life_is_followed_after_the_stated_time(minio: MinioServer) -> None:
    place = minio.store(minio.empty_store().address.prefix, lease_times=QUICK)
    _elsewhere(place)
    began_s = time.monotonic()
    with place.locked("runs/a"):
        assert time.monotonic() - began_s >= QUICK.takeover_s


@pytest.mark.minio
def test_one_elsewhere_that_lives_is_not_followed_unless_asked_to(minio: MinioServer) -> None:
    place = minio.store(minio.empty_store().address.prefix, lease_times=replace(QUICK, takeover_s=60.0))
    content = _elsewhere(place)
    beat = threading.Timer(0.5, lambda: place.put(LOCK, content.replace(b'"beat": 0', b'"beat": 1')))
    beat.start()
    with pytest.raises(StoreError, match=r"process 7 on far-away.*\n.*\n.*--takeover"), place.locked("runs/a"):
        pass
    beat.join()
    with place.locked("runs/a", takeover=True) as mine:
        mine.put("model", b"mine")


@pytest.mark.minio
def test_a_holder_outlives_pauses_that_nobody_used(minio: MinioServer, request: pytest.FixtureRequest) -> None:
    place = minio.store(minio.empty_store().address.prefix, lease_times=QUICK)
    with _child(place, minio.environment()) as child:
        child.send_signal(signal.SIGSTOP)
        time.sleep(2 * QUICK.proof_s)
        child.send_signal(signal.SIGCONT)
        _, said = child.communicate("go on\n", timeout=PATIENCE_S)
    assert (child.returncode, said) == (0, "")
    assert place.get("runs/a/model") == b"child's again"


@pytest.mark.minio
@pytest.mark.parametrize("by_force", [False, True])
def test_a_suspended_one_writes_nothing_after_it_was_followed(minio: MinioServer, by_force: bool) -> None:
    """As a laptop that slept: it wakes up, believes that it still holds the run, and must not publish."""
    place = minio.store(minio.empty_store().address.prefix, lease_times=QUICK)
    with _child(place, minio.environment()) as child:
        child.send_signal(signal.SIGSTOP)
        with place.locked("runs/a", takeover=by_force) as mine:
            mine.put("model", b"mine")
            child.send_signal(signal.SIGCONT)
            _, said = child.communicate("go on\n", timeout=PATIENCE_S)
            assert child.returncode == 1
            assert f"was taken over by {Holder.this_process()}".rpartition(",")[0] in said
            assert mine.get("model") == b"mine"
            mine.put("model", b"mine still")
    assert place.get("runs/a/model") == b"mine still"


@pytest.mark.minio
def test_a_lost_answer_to_a_heartbeat_loses_nothing(minio: MinioServer) -> None:
    """The server renewed the lease, but its holder never heard of it and knows the old ETag only."""
    place = minio.store(minio.empty_store().address.prefix, lease_times=replace(QUICK, heartbeat_s=60.0))
    with place.locked("runs/a") as mine:
        content = json.loads(place.get(LOCK)) | {"beat": 99}
        place.put(LOCK, json.dumps(content).encode())
        time.sleep(1.5 * QUICK.proof_s)
        mine.put("model", b"mine")
    assert place.get("runs/a/model") == b"mine"


@pytest.mark.minio
def test_an_endpoint_that_ignores_conditions_is_refused(minio: MinioServer, monkeypatch: pytest.MonkeyPatch) -> None:
    place = minio.empty_store()

    def without_condition(put: Callable[..., object]) -> Callable[..., object]:
        return lambda **told: put(**{name: value for name, value in told.items() if name != "IfNoneMatch"})

    client = minio.client()
    monkeypatch.setattr(client, "put_object", without_condition(client.put_object))
    careless = type(place)(S3Address(place.address.bucket, place.address.prefix), client=client)
    with ExitStack() as stack, pytest.raises(StoreError, match="does not honour If-None-Match"):
        stack.enter_context(careless.locked("runs/a"))
