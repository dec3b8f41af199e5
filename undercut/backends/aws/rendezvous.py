"""The machines of one job: the first one trains and keeps the Redis, the others drive. They find each other in the
job's bucket, where the first one leaves its address; simulators of AWS Batch or RoboMaker come the same way."""

import contextlib
import json
import os
import secrets
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from contract.errors import ChannelError, InputError
from contract.host import DEFAULT_REDIS_PORT, MEET_S, REDIS_PASSWORD_FILE, REDIS_URL
from contract.protocols import Place
from undercut.backends.backend import Say

TRAINER_GROUP = "trainer"
"""Of a heterogeneous cluster."""
REDIS_STARTS_S = 60.0
LEAVES_S = 60.0
"""For the task in hand, when this machine is stopped; once the trainer has ended, nobody waits for that task."""
POLL_S = 5.0
RESTARTS = 5
_ADDRESS, _ENDED, _INTERRUPTED = "redis.json", "ended", "interrupted"


@dataclass(frozen=True, slots=True)
class Hosts:
    """Of a SageMaker job: who this machine is, and who trains."""

    current: str
    trainer: str
    count: int

    @classmethod
    def of(cls, resources: Mapping[str, Any]) -> "Hosts":
        """By resourceconfig.json; InputError for a cluster without a group of the name TRAINER_GROUP."""
        hosts = [str(host) for host in resources.get("hosts", ["algo-1"])]
        current = str(resources.get("current_host", hosts[0]))
        groups = resources.get("instance_groups") or []
        trainers = [group for group in groups if group.get("instance_group_name") == TRAINER_GROUP]
        if len(groups) > 1 and not trainers:
            names = [group.get("instance_group_name") for group in groups]
            rule = (
                f"of several instance groups one is called {TRAINER_GROUP}; its first machine trains, all others drive"
            )
            raise InputError("resourceconfig.json: instance_groups", names, rule, f"call one {TRAINER_GROUP}")
        first = (trainers[0]["hosts"] if trainers else hosts)[0]
        return cls(current, str(first), len(hosts))

    @property
    def trains(self) -> bool:
        return self.current == self.trainer


class Meeting:
    """Where the machines of a job find each other: two small objects below the job's place in the bucket.

    Every start of the trainer has an address of its own, with a new password, so what an interrupted one left is told
    from what counts. The password is good for this start only, and goes with it."""

    def __init__(self, place: Place) -> None:
        self._place = place

    def announce(self, address: dict[str, Any]) -> None:
        self._place.put(_ADDRESS, json.dumps(address).encode())

    def close(self, start: str, interrupted: bool = False) -> None:
        """Tell simulators that this start of the trainer has ended, and whether it was `interrupted`: then the job may
        be started again."""
        self._place.put(_ENDED, f"{start} {_INTERRUPTED if interrupted else ''}".strip().encode())
        self._place.delete(_ADDRESS)

    def ended(self, start: str) -> bool:
        return self._end()[:1] == [start]

    def interrupted(self, start: str) -> bool:
        return self._end() == [start, _INTERRUPTED]

    def _end(self) -> list[str]:
        with contextlib.suppress(KeyError):
            return self._place.get(_ENDED).decode().split()
        return []

    def address(self) -> dict[str, Any] | None:
        """What a trainer announced, None when none has."""
        with contextlib.suppress(KeyError):
            found: dict[str, Any] = json.loads(self._place.get(_ADDRESS))
            return None if self.ended(found["start"]) else found
        return None

    def where(self) -> str:
        return self._place.where()


@contextlib.contextmanager
def serving(meeting: Meeting, names: list[str], port: int = DEFAULT_REDIS_PORT) -> Iterator[None]:
    """A Redis of this job on this machine, announced to the simulators by the host names; this process's rollouts come
    over it. InputError when the image has no redis-server."""
    program = shutil.which("redis-server")
    if program is None:
        rule = "a trainer whose simulators are elsewhere keeps a Redis"
        raise InputError("redis-server", "", rule, "install it in the image: apt-get install redis-server")
    password, start = secrets.token_urlsafe(32), secrets.token_hex(8)
    with tempfile.TemporaryDirectory(prefix="undercut-redis-") as folder:
        file = Path(folder) / "password"
        file.touch(mode=0o600)
        file.write_text(password)
        # settings go in by stdin: a command line can be read by every process
        settings = (
            f'port {port}\nbind 0.0.0.0\nrequirepass {password}\ndir {folder}\nsave ""\nappendonly no\n'
            "maxmemory 1gb\nmaxmemory-policy noeviction\n"
        )
        server = subprocess.Popen([program, "-"], stdin=subprocess.PIPE, stdout=subprocess.DEVNULL)
        try:
            assert server.stdin is not None
            server.stdin.write(settings.encode())
            server.stdin.close()
            _until_up(server, port, password)
            os.environ[REDIS_URL], os.environ[REDIS_PASSWORD_FILE] = f"redis://127.0.0.1:{port}/0", str(file)
            meeting.announce({"start": start, "hosts": names, "port": port, "password": password})
            interrupted = False
            try:
                yield
            except KeyboardInterrupt:  # SIGTERM, by which spare capacity is taken back
                interrupted = True
                raise
            finally:
                with contextlib.suppress(Exception):  # what ended the training is the news
                    meeting.close(start, interrupted)
        finally:
            os.environ.pop(REDIS_URL, None)
            os.environ.pop(REDIS_PASSWORD_FILE, None)
            server.terminate()
            server.wait()


def own_names(hosts: Hosts) -> list[str]:
    """By what names other machines may reach this one: the job's own, and its address in the network."""
    names = [hosts.current] if hosts.count > 1 else []
    with contextlib.suppress(OSError), socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        probe.connect(("192.0.2.1", 9))  # sends nothing; asks which address a packet would leave by
        names.append(str(probe.getsockname()[0]))
    with contextlib.suppress(OSError):
        names += socket.gethostbyname_ex(socket.gethostname())[2]
    return list(dict.fromkeys(names)) or ["127.0.0.1"]


def _until_up(server: "subprocess.Popen[bytes]", port: int, password: str) -> None:
    """Until the server that knows the password answers: another one may have the port already."""
    end_s = time.monotonic() + REDIS_STARTS_S
    while not _knows(port, password):
        if server.poll() is not None or time.monotonic() > end_s:
            rule = f"redis-server answers on port {port} within {REDIS_STARTS_S:g} s"
            raise InputError("redis_port", port, rule, "take another port: hyperparameter redis_port")
        time.sleep(0.1)


def _knows(port: int, password: str) -> bool:
    with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), timeout=5) as line:
        line.sendall(f"AUTH {password}\r\n".encode())
        return line.recv(5).startswith(b"+OK")
    return False


def _reaches(host: str, port: int) -> bool:
    try:
        with socket.create_connection((host, port), timeout=5):
            return True
    except OSError:
        return False


def drive(meeting: Meeting, say: Say, patience_s: float = MEET_S, outlives: bool = False) -> None:
    """Be a simulator of the job until its trainer has ended: worker processes, started again when they die. One that
    `outlives` the trainer's machine waits for its next start when it was interrupted; others are started again with it.

    ChannelError when no trainer can be reached in time.
    """
    say(f"a simulator: waiting for the trainer's address in {meeting.where()}")
    while True:
        host, address = _met(meeting, patience_s)
        _work(meeting, host, address)
        if not outlives or not meeting.interrupted(address["start"]):
            say("the trainer has ended")
            return
        say("the trainer was interrupted: waiting for its next start")


def _met(meeting: Meeting, patience_s: float) -> tuple[str, dict[str, Any]]:
    """By which name the trainer answers, and what it announced."""
    end_s = time.monotonic() + patience_s
    while True:
        address = meeting.address()
        host = next((name for name in address["hosts"] if _reaches(name, address["port"])), None) if address else None
        if host and address:
            return host, address
        if time.monotonic() > end_s:
            raise ChannelError(
                f"no trainer {'answers at ' + ', '.join(address['hosts']) if address else 'left its address'} "
                f"({meeting.where()})\n  waited: {patience_s:g} s",
                fix=(
                    "see the trainer's log; simulators and trainer have to be in one VPC whose security group lets"
                    " them reach each other"
                ),
            )
        time.sleep(min(POLL_S, patience_s))


def _work(meeting: Meeting, host: str, address: Mapping[str, Any]) -> None:
    with tempfile.TemporaryDirectory(prefix="undercut-redis-") as folder:
        file = Path(folder) / "password"
        file.touch(mode=0o600)
        file.write_text(address["password"])
        environment = {
            **os.environ,
            REDIS_URL: f"redis://{host}:{address['port']}/0",
            REDIS_PASSWORD_FILE: str(file),
        }
        command = [sys.executable, "-P", "-m", "undercut", "worker"]
        failures, over = 0, False
        worker = subprocess.Popen(command, env=environment, stdin=subprocess.DEVNULL)
        try:
            while not (over := meeting.ended(address["start"])):
                with contextlib.suppress(subprocess.TimeoutExpired):
                    status = worker.wait(POLL_S)
                    if meeting.ended(address["start"]):
                        continue
                    failures += status != 0
                    if failures > RESTARTS:
                        raise ChannelError(
                            f"the simulator ended {failures} times, last with status {status}",
                            "it drives until its trainer ends",
                            "see its messages above",
                        )
                    worker = subprocess.Popen(command, env=environment, stdin=subprocess.DEVNULL)
        finally:
            worker.terminate()
            with contextlib.suppress(subprocess.TimeoutExpired):
                worker.wait(0.0 if over else LEAVES_S)
            worker.kill()
            worker.wait()
