"""S3Store on a real MinIO that is killed, cut off, full, or asked with the wrong key."""

import datetime
import hashlib
import logging
import os
import re
import socket
import subprocess
import threading
import time
from collections.abc import Callable
from pathlib import Path

import boto3
import botocore.auth
import numpy as np
import pytest
from botocore import UNSIGNED
from botocore.config import Config

from contract.errors import StoreError
from contract.host import S3Address
from contract.stores.s3 import PART_BYTES, S3Store
from tests.minio_server import BUCKET, MinioServer, free_port, minio_program
from tests.patience import until
from tests.proxy import Proxy
from trainer.checkpoints import Checkpoints

pytestmark = pytest.mark.minio
KILLS = int(os.environ.get("FAULT_ROUNDS", "12"))


def told(problem: Callable[[], object]) -> str:
    """The message of the StoreError, which must come without delay."""
    began_s = time.monotonic()
    with pytest.raises(StoreError) as error:
        problem()
    assert time.monotonic() - began_s < 15.0, "what does not pass by itself is not waited for"
    return str(error.value)


# --- what does not pass by itself ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("changed", "code"),
    [("aws_access_key_id", "InvalidAccessKeyId"), ("aws_secret_access_key", "SignatureDoesNotMatch")],
)
def test_wrong_credentials(minio: MinioServer, changed: str, code: str) -> None:
    client = minio.client(retries={"total_max_attempts": 1}, **{changed: "wrong"})
    store = S3Store(S3Address(BUCKET, "p"), client=client)
    for problem in (
        lambda: store.put("a", b"1"),
        lambda: store.get("a"),
        lambda: store.list(""),
        lambda: store.exists("a"),
        lambda: store.delete("a"),
    ):
        message = told(problem)
        for words in (code, BUCKET, minio.endpoint, "AWS_SHARED_CREDENTIALS_FILE", "p/"):
            assert words in message
        assert minio.password not in message


def test_a_bucket_that_is_missing(minio: MinioServer) -> None:
    store = S3Store(S3Address("nowhere", "p"), client=minio.store().client)
    for problem in (
        lambda: store.put("a", b"1"),
        lambda: store.put("a", bytes(2 * PART_BYTES)),
        lambda: store.get("a"),
        lambda: store.list(""),
        lambda: store.exists("a"),
    ):
        message = told(problem)
        for words in ("NoSuchBucket", "aws s3 mb s3://nowhere", minio.endpoint):
            assert words in message


def test_rights_that_are_missing_are_named(minio: MinioServer) -> None:
    """A request without any credentials has none."""
    config = Config(signature_version=UNSIGNED, s3={"addressing_style": "path"}, retries={"total_max_attempts": 1})
    client = boto3.session.Session().client("s3", endpoint_url=minio.endpoint, region_name="us-east-1", config=config)
    store = S3Store(S3Address(BUCKET, "p"), client=client)
    problems: dict[str, Callable[[], object]] = {
        "s3:PutObject on arn:aws:s3:::undercut/p/*": lambda: store.put("a", b"1"),
        "s3:GetObject on arn:aws:s3:::undercut/p/*": lambda: store.get("a"),
        "s3:ListBucket on arn:aws:s3:::undercut": lambda: store.list(""),
    }
    for words, problem in problems.items():
        message = told(problem)
        assert "AccessDenied" in message and words in message


@pytest.mark.parametrize("hours", [-2, 2])
def test_a_clock_that_is_wrong(minio: MinioServer, monkeypatch: pytest.MonkeyPatch, hours: int) -> None:
    """As after a jump in the middle of a training: signatures carry the time, and the server refuses them."""
    store, now = minio.empty_store(), botocore.auth.get_current_datetime
    store.put("a", b"before")
    monkeypatch.setattr(
        botocore.auth, "get_current_datetime", lambda **how: now(**how) + datetime.timedelta(hours=hours)
    )
    monkeypatch.setattr(time, "time", lambda was=time.time: was() + hours * 3600.0)
    message = told(lambda: store.put("a", b"after"))
    assert "RequestTimeTooSkewed" in message and "timedatectl" in message
    off = re.search(r"it is ([\d,]+) s (ahead|behind)", message)
    assert off is not None
    assert abs(int(off[1].replace(",", "")) - 7_200) < 60 and off[2] == ("ahead" if hours > 0 else "behind")
    monkeypatch.undo()
    assert store.get("a") == b"before"


def test_what_answers_there_does_not_speak_s3(minio: MinioServer, tmp_path: Path) -> None:
    with subprocess.Popen(
        ["python3", "-m", "http.server", str(port := free_port()), "--directory", str(tmp_path)]
    ) as web:
        try:
            until("the server to answer", lambda: _answers(port))
            there = minio.client(retries={"total_max_attempts": 1}, endpoint_url=f"http://127.0.0.1:{port}")
            store = S3Store(S3Address("bucket"), client=there, patience_s=20.0)
            for problem in (lambda: store.put("a", b"1"), lambda: store.get("a"), lambda: store.list("")):
                assert "AWS_ENDPOINT_URL_S3; MinIO's API and its console" in told(problem)
        finally:
            web.kill()


def test_a_full_disk_keeps_what_was_there(tmp_path: Path) -> None:
    """A real one: a file system of 64 MB in memory."""
    folder = tmp_path / "minio"
    (folder / "data").mkdir(parents=True)
    mount = ["mount", "-t", "tmpfs", "-o", "size=64m", "tmpfs", str(folder / "data")]
    if subprocess.run(mount, check=False, capture_output=True).returncode:
        pytest.skip("may not mount a file system here; as root: make test-all ARGS='-k full_disk'")
    try:
        server = MinioServer(folder, minio_program())
    except BaseException:
        subprocess.run(["umount", str(folder / "data")], check=True)
        raise
    try:
        store = server.empty_store()
        content = np.random.default_rng(0).bytes(5 * 2**20)
        store.put("model/kept", content)
        message = ""
        for number in range(40):
            try:
                store.put(f"model/{number}", content)
            except StoreError as error:
                message = str(error)
                break
        for words in ("5,242,880 bytes", "XMinioStorageFull", "room on the server's disk", "kept:"):
            assert words in message
        with pytest.raises(StoreError, match="room on the server's disk"):
            store.put("model/kept", bytes(6 * 2**20))
        assert store.get("model/kept") == content
        assert all(store.get(key) == content for key in store.list(""))
        store.delete("model/0")
        store.delete("model/1")
        store.put("model/kept", b"room again")
        assert store.get("model/kept") == b"room again"
    finally:
        server.kill()
        subprocess.run(["umount", str(folder / "data")], check=True)


# --- what passes by itself -------------------------------------------------------------------------------------------


def test_a_server_that_stays_away_is_waited_for_and_no_longer(own_minio: MinioServer) -> None:
    store = own_minio.store("p", patience_s=1.0)
    store.put("a", b"1")
    own_minio.kill()
    message = told(lambda: store.put("a", b"2"))
    for words in ("waited: 1 s", own_minio.endpoint, "kept:", "'p/a'", "see that the server runs"):
        assert words in message
    own_minio.start()
    assert store.get("a") == b"1"


def test_a_cut_network_is_waited_for_and_said(minio: MinioServer, caplog: pytest.LogCaptureFixture) -> None:
    with Proxy(minio.port) as proxy:
        store = minio.store(minio.empty_store().address.prefix, endpoint_url=proxy.endpoint)
        store.put("a", b"1")
        proxy.cut()
        mend = threading.Timer(2.0, proxy.mend)
        mend.start()
        with caplog.at_level(logging.WARNING):
            store.put("a", b"2")
        mend.join()
        assert [record.message for record in caplog.records if "trying again for 30 s" in record.message]
        assert store.get("a") == b"2"


def test_an_object_in_parts_survives_a_connection_that_breaks_in_the_middle(minio: MinioServer) -> None:
    content = np.random.default_rng(1).bytes(3 * PART_BYTES + 5)
    with Proxy(minio.port) as proxy:
        store = minio.store(minio.empty_store().address.prefix, endpoint_url=proxy.endpoint)
        for cut in (1_000, PART_BYTES + 1_000, 3 * PART_BYTES + 2_000):
            store.put("large", b"old")
            proxy.cut_after(cut)
            store.put("large", content)
            assert proxy.has_broken_one()
            assert store.get("large") == content
    assert not own_uploads(minio, store.address.prefix)


def own_uploads(minio: MinioServer, prefix: str) -> list[object]:
    """Uploads that were begun and neither finished nor taken back."""
    found = minio.client().list_multipart_uploads(Bucket=BUCKET, Prefix=f"{prefix}/large")
    return list(found.get("Uploads", []))


@pytest.mark.slow
def test_kill_9_at_random_moments_loses_no_acknowledged_checkpoint(own_minio: MinioServer) -> None:
    """A training saves checkpoint after checkpoint while the server dies again and again, and a reader looks on."""
    rng = np.random.default_rng(2)
    store = own_minio.store("run")
    saved: list[int] = []
    trouble: list[BaseException] = []
    stop = threading.Event()

    def train() -> None:
        try:
            checkpoints = Checkpoints(store)
            while not stop.is_set():
                number = len(saved)
                files = {"index": bytes(2_000), "data-00000-of-00001": _content(number)}
                checkpoints.save(number, number * 10, files, _content(number), 1.0, {"iteration": number})
                saved.append(number)
        except BaseException as error:
            trouble.append(error)

    def read() -> None:
        try:
            while not stop.is_set():
                try:
                    data = store.get("model/model_0.pb" if not saved else f"model/model_{saved[-1]}.pb")
                except KeyError:
                    continue  # not there yet, or pruned
                number = int.from_bytes(data[:4], "little")
                assert hashlib.sha256(data).digest() == hashlib.sha256(_content(number)).digest(), "half an object"
        except BaseException as error:
            trouble.append(error)

    threads = [threading.Thread(target=train), threading.Thread(target=read)]
    for thread in threads:
        thread.start()
    killed = 0
    try:
        for _ in range(KILLS):
            time.sleep(float(rng.uniform(0.05, 0.6)))
            own_minio.kill()
            killed += 1
            acknowledged = saved[-1] if saved else -1
            own_minio.start()
            last = Checkpoints(own_minio.store("run")).last()
            assert acknowledged == -1 or (last is not None and last.iteration >= acknowledged)
            if last is not None and last.iteration == acknowledged:
                assert Checkpoints(own_minio.store("run")).load(last).policy_pb == _content(acknowledged)
        before = len(saved)
        until("more saved checkpoints, or trouble", lambda: len(saved) > before + 1 or len(trouble) > 0)
    finally:
        stop.set()
        for thread in threads:
            thread.join(60)
    assert not trouble, trouble
    assert killed == KILLS
    last = Checkpoints(store).last()
    assert last is not None and last.iteration == saved[-1]
    assert Checkpoints(store).load(last).run_state == {"iteration": saved[-1]}


def _content(number: int) -> bytes:
    """1 MiB that tells its number."""
    return number.to_bytes(4, "little") + np.random.default_rng(number).bytes(2**20)


def _answers(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0
