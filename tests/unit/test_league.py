"""A league: submissions in jails, results that are kept, a ranking that repeats, and its page."""

import json
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from rich.console import Console
from typer.testing import CliRunner

from contract.errors import HeldError, InputError
from contract.metadata import ModelMetadata
from tests.aws_server import BUCKET, AwsServer
from tests.conftest import REPO
from tests.frozen import add_track, constant_graph, hold_deg, untrained_run
from tests.unit.test_league_bundle import METADATA, flat, graph_of
from trainer.common.export import car_bundle
from undercut.api import evaluate
from undercut.cli.main import app
from undercut.league.league import League, publish
from undercut.league.rules import SubmissionLimits
from undercut.league.sandbox import JailedPolicy, SubmissionError

QUIET = Console(quiet=True)
RULES = """\
title: Ring & Co
track: ring
laps: 2
seeds: [3, 4]
evaluation: {max_lap_steps: 300}
limits: {bundle_mb: 3, unpacked_mb: 10}
shown: 2
"""


def driver(speed: float, steering_deg: float | None = None) -> bytes:
    """A bundle that goes round the ring at this speed, or steers as it is told."""
    steering = hold_deg(speed) if steering_deg is None else steering_deg
    actions = [{"steering_angle": angle, "speed": speed} for angle in (steering, -30.0)]
    text = json.dumps({"action_space": actions, "sensor": ["FRONT_FACING_CAMERA"], "version": "5"})
    return car_bundle(constant_graph(ModelMetadata.parse(text), 0), text.encode())


@pytest.fixture
def league(racer: Path) -> Path:
    """An empty league on the ring, with the track in it."""
    add_track()
    folder = racer / "club"
    (folder / "submissions").mkdir(parents=True)
    (folder / "tracks").mkdir()
    (folder / "tracks" / "ring.npy").write_bytes((racer / "tracks" / "ring.npy").read_bytes())
    (racer / "tracks" / "ring.npy").unlink()
    (folder / "league.yaml").write_text(RULES)
    return folder


def put(league: Path, name: str, content: bytes) -> None:
    (league / "submissions" / f"{name}.tar.gz").write_bytes(content)


def made(league: Path) -> dict[str, bytes]:
    """What a run of the league leaves."""
    kept = [path for path in sorted(league.rglob("*")) if path.is_file() and not path.name.startswith(".")]
    return {str(path.relative_to(league)): path.read_bytes() for path in kept if "submissions" not in path.parts}


def undercut(*words: str) -> Any:
    return CliRunner().invoke(app, ["league", *words])


# --- one submission --------------------------------------------------------------------------------------------------


@pytest.mark.slow
def test_laps_are_those_of_an_evaluation_by_the_same_rules(league: Path, racer: Path) -> None:
    """The oracle: `undercut evaluate` of the same policy, in this process, with a reward."""
    put(league, "ann", driver(1.5))
    assert League.open("club").run(QUIET) == 1
    (result,) = League.open("club").results()
    add_track()
    run = untrained_run("ann", 1.5, reward="params['speed']", evaluation={"max_lap_steps": 300}, threads=1)
    expected = [
        (seed, lap.time_s, lap.progress_pct)
        for seed in (3, 4)
        for lap in evaluate(run, 2, config={"seed": seed}, progress=False).laps
    ]
    assert [(lap.seed, lap.time_s, lap.progress_pct) for lap in result.laps] == expected
    assert all(lap.complete for lap in result.laps) and [lap.number for lap in result.laps] == [1, 2, 3, 4]
    recording = League.open("club").recording("ann")
    assert recording is not None
    steps = recording.episodes[3].steps
    assert steps["time_s"][-1] == pytest.approx(result.laps[3].time_s) and (steps["reward"] == 0).all()


@pytest.mark.slow
def test_a_jail_has_no_secrets_and_its_limits(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "do-not-tell")
    monkeypatch.setenv("UNDERCUT_NOTIFY", "https://example.com/secret")
    with JailedPolicy(driver(1.0), "ann", SubmissionLimits(memory_mb=3000, seconds=77)) as policy:
        proc = Path(f"/proc/{policy._process.pid}")
        told = (proc / "environ").read_bytes().decode()
        assert "do-not-tell" not in told and "UNDERCUT" not in told and "AWS" not in told
        assert str(Path.home()) not in re.findall(r"HOME=([^\0]*)", told)
        limits = (proc / "limits").read_text()
        assert re.search(r"Max data size +3000000000 +3000000000 ", limits)
        assert re.search(r"Max cpu time +198 +198 ", limits) and re.search(r"Max core file size +0 +0 ", limits)
        assert "NoNewPrivs:\t1" in (proc / "status").read_text()
        frames = {"FRONT_FACING_CAMERA": np.zeros((7, 120, 160, 1), np.uint8)}
        said = policy.distribution(frames).probabilities
        assert said is not None and said.tolist() == [[1.0, 0.0]] * 7
        folder = policy._folder
    assert not folder.exists() and not proc.exists()


@pytest.mark.slow
def test_a_policy_that_takes_too_long_or_too_much_is_stopped() -> None:
    def slow(tf: Any, seen: Any) -> Any:
        large = tf.ones([1200, 1200]) * tf.reduce_mean(seen)
        for _ in range(400):
            large = tf.linalg.matmul(large, large)
        return flat(tf, seen) + tf.reduce_max(large)

    frames = {"FRONT_FACING_CAMERA": np.zeros((1, 120, 160, 1), np.uint8)}
    began = time.monotonic()
    with JailedPolicy(car_bundle(graph_of(slow), METADATA.encode()), "ann", SubmissionLimits(seconds=1.5)) as policy:
        pid = policy._process.pid
        with pytest.raises(SubmissionError, match=r"more than 1\.5 s \(limits\.seconds\)") as caught:
            policy.distribution(frames)
    assert not caught.value.refused and time.monotonic() - began < 100 and not Path(f"/proc/{pid}").exists()

    def hungry(tf: Any, seen: Any) -> Any:
        size = tf.cast(tf.reduce_mean(seen), tf.int32) + 60_000
        return flat(tf, seen) + tf.reduce_max(tf.linalg.matmul(tf.fill([size, 8], 0.5), tf.fill([8, size], 0.5)))

    bundle = car_bundle(graph_of(hungry), METADATA.encode())
    limits = SubmissionLimits(memory_mb=2500)
    with pytest.raises(SubmissionError) as caught, JailedPolicy(bundle, "ann", limits) as policy:
        policy.distribution(frames)  # or when it is read, where its network is tried
    assert re.search(r"memory|OOM|ResourceExhausted", caught.value.reason) and not caught.value.refused


@pytest.mark.slow
def test_numbers_that_are_not_finite_refuse_a_submission() -> None:
    graph = graph_of(lambda tf, seen: flat(tf, seen) / 0.0)
    bundle, frames = car_bundle(graph, METADATA.encode()), np.zeros((1, 120, 160, 1), np.uint8)
    with (
        JailedPolicy(bundle, "ann", SubmissionLimits()) as policy,
        pytest.raises(SubmissionError, match="not finite") as caught,
    ):
        policy.distribution({"FRONT_FACING_CAMERA": frames})
    assert caught.value.refused


# --- a league --------------------------------------------------------------------------------------------------------


@pytest.mark.slow
def test_five_runs_one_broken_one_cheating_in_size_rank_the_same_twice(league: Path, racer: Path) -> None:
    put(league, "quick", driver(1.8))
    put(league, "steady", driver(1.4))
    put(league, "lost", driver(1.4, -10.0))
    put(league, "broken", driver(1.5)[:-100])
    put(league, "huge", np.random.default_rng(0).bytes(3_000_001))
    first = undercut("run", "club", "--json")
    assert first.exit_code == 0, first.output
    told = json.loads(first.stdout)
    assert [it["name"] for it in told["ranking"]] == ["quick", "steady", "lost"]
    assert told["ranking"][0]["to_leader_s"] == 0.0 < told["ranking"][1]["to_leader_s"]
    assert told["ranking"][0]["complete"] == 4 and told["ranking"][2]["resets"] > 0
    reasons = {it["name"]: (it["state"], it["reason"]) for it in told["not_ranked"]}
    assert reasons["broken"][0] == "refused" and "a whole .tar.gz or .zip" in reasons["broken"][1]
    assert reasons["huge"] == ("refused", "3,000,001 bytes; rule: a submission has at most 3 MB (limits.bundle_mb)")
    before = made(league)
    assert {"standings.json", "index.html", "results/quick.json", "recordings/lost.rec"} <= set(before)
    assert sum(name.endswith(".mp4") for name in before) == 2
    page = before["index.html"].decode()
    assert page.count("<video") == 2 and "Ring &amp; Co" in page and "limits.bundle_mb" in page

    again = undercut("run", "club", "--json")  # nothing to do
    assert again.stdout == first.stdout and "0 new, 5 known already" in again.stderr
    assert made(league) == before

    for name in ("results", "recordings", "videos"):  # and all of it anew
        subprocess.run(["rm", "-r", str(league / name)], check=True)
    (league / "standings.json").unlink()
    third = undercut("run", "club", "--json")
    assert third.stdout == first.stdout and "5 new, 0 known already" in third.stderr
    after = made(league)
    for name in before:
        assert name.endswith(".mp4") or after[name] == before[name], name


@pytest.mark.slow
def test_a_run_that_is_killed_goes_on_with_what_is_missing(league: Path) -> None:
    for number in range(3):
        put(league, f"car{number}", driver(1.3 + 0.1 * number))
    command = [sys.executable, "-m", "undercut", "league", "run", "club", "--no-video"]
    with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as process:
        deadline = time.monotonic() + 300
        while not (league / "results" / "car0.json").exists():
            assert time.monotonic() < deadline and process.poll() is None
            time.sleep(0.02)
        with pytest.raises(HeldError):
            League.open("club").run(QUIET)
        process.send_signal(signal.SIGKILL)
    first = (league / "results" / "car0.json").stat().st_mtime_ns
    known = League.open("club").results()
    opened = League.open("club")
    assert opened.run(QUIET) == 3 - len(known) >= 1
    assert (league / "results" / "car0.json").stat().st_mtime_ns == first
    assert [it.result.name for it in publish(opened, QUIET, video=False).ranking] == ["car2", "car1", "car0"]
    assert not _jails_left()


def _jails_left() -> list[str]:
    """Processes of jails that nobody waits for any more."""
    left = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit() and int(entry.name) != os.getpid():
            try:
                words = (entry / "cmdline").read_bytes().split(b"\0")
            except OSError:
                continue
            if b"undercut.league.jail" in words:
                left.append(entry.name)
    return left


def test_files_that_are_refused_need_no_driving(league: Path) -> None:
    put(league, "huge", b"\0" * 3_000_001)
    (league / "submissions" / "my model.tar.gz").write_bytes(b"")
    (league / "submissions" / "notes.txt").write_text("hello")
    (league / "submissions" / ".DS_Store").write_text("")
    (league / "submissions" / "folder").mkdir()
    (league / "submissions" / "folder" / "model.pb").write_text("")
    os.mkfifo(league / "submissions" / "pipe.tar.gz")
    opened = League.open("club")
    assert opened.run(QUIET) == 2  # by their names the others are known
    reasons = {it.name: it.reason for it in opened.results()}
    assert set(reasons) == {"huge", "my model.tar.gz", "notes.txt", "folder/", "pipe"}
    assert "at most 3 MB" in reasons["huge"] and reasons["pipe"] == "is no plain file"
    assert all("submissions/NAME.tar.gz" in reasons[name] for name in ("my model.tar.gz", "notes.txt", "folder/"))
    assert League.open("club").run(QUIET) == 0
    standings = publish(opened, QUIET, video=False)
    assert not standings.ranking and len(standings.others) == 5
    page = (league / "index.html").read_text()
    assert "my model.tar.gz" in page and "<video" not in page


def test_what_is_no_longer_submitted_is_forgotten(league: Path) -> None:
    put(league, "huge", b"\0" * 3_000_001)
    League.open("club").run(QUIET)
    assert (league / "results" / "huge.json").exists()
    (league / "submissions" / "huge.tar.gz").unlink()
    League.open("club").run(QUIET)
    assert not (league / "results" / "huge.json").exists()


@pytest.mark.slow
def test_other_rules_and_other_files_are_driven_anew(league: Path) -> None:
    put(league, "huge", b"\0" * 3_000_001)
    assert League.open("club").run(QUIET) == 1
    (league / "league.yaml").write_text(RULES.replace("Ring & Co", "Another title"))
    assert League.open("club").run(QUIET) == 0
    (league / "league.yaml").write_text(RULES.replace("laps: 2", "laps: 3"))
    assert League.open("club").run(QUIET) == 1
    put(league, "huge", b"\0" * 3_000_002)
    assert League.open("club").run(QUIET) == 1


@pytest.mark.slow
def test_init_submit_and_page(racer: Path) -> None:
    add_track()
    done = undercut("init", "club", "--track", "tracks/ring.npy", "--laps", "1", "--seed", "3", "--title", "Club")
    assert done.exit_code == 0, done.output
    assert undercut("init", "club", "--track", "ring").exit_code != 0
    (racer / "tracks" / "ring.npy").rename(racer / "elsewhere.npy")
    assert League.open("club").track.length_m == pytest.approx(2 * np.pi * 1.5, rel=0.01)
    (racer / "elsewhere.npy").rename(racer / "tracks" / "ring.npy")
    untrained_run("ann", 1.2, reward="1 / 0")
    done = undercut("submit", "club", "ann")
    assert done.exit_code == 0, done.output
    assert (racer / "club" / "submissions" / "ann.tar.gz").exists()
    with pytest.raises(InputError, match="one submission a name"):
        League.open("club").submit("ann", b"", overwrite=False)
    with pytest.raises(InputError, match="letters, digits"):
        League.open("club").submit("a b", b"", overwrite=False)
    with pytest.raises(InputError, match=r"a whole \.tar\.gz"):
        League.open("club").submit("bob", b"no archive", overwrite=False)
    assert not (racer / "club" / "submissions" / "bob.tar.gz").exists()
    done = undercut("page", "club", "--out", "site", "--no-video")
    assert done.exit_code == 0, done.output
    assert "1 not driven by these rules yet: undercut league run club" in done.output
    assert (racer / "site" / "index.html").read_bytes() == (racer / "club" / "index.html").read_bytes()


@pytest.mark.slow
def test_a_league_in_a_bucket(racer: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with AwsServer() as aws:
        for name, value in aws.environment().items():
            monkeypatch.setenv(name, value)
        where, store = f"s3://{BUCKET}/leagues/club", aws.client("s3")
        assert undercut("init", where, "--track", "paddock").exit_code == 0
        for name, content in (
            ("bad.tar.gz", b"no archive"),
            ("notes.txt", b"hello"),
            ("huge.tar.gz", bytes(9_000_000)),
        ):
            store.put_object(Bucket=BUCKET, Key=f"leagues/club/submissions/{name}", Body=content)
        rules = store.get_object(Bucket=BUCKET, Key="leagues/club/league.yaml")["Body"].read()
        small = rules.replace(b"bundle_mb: 256", b"bundle_mb: 8")
        store.put_object(Bucket=BUCKET, Key="leagues/club/league.yaml", Body=small)
        done = undercut("run", where, "--json")
        assert done.exit_code == 0, done.output
        reasons = {it["name"]: it["reason"] for it in json.loads(done.stdout)["not_ranked"]}
        assert set(reasons) == {"bad", "huge", "notes.txt"} and "at most 8 MB" in reasons["huge"]
        page = store.get_object(Bucket=BUCKET, Key="leagues/club/index.html")
        assert page["ContentType"] == "text/html; charset=utf-8" and b"at most 8 MB" in page["Body"].read()
        assert undercut("run", where, "--json").stdout == done.stdout


def test_there_is_no_league(racer: Path) -> None:
    with pytest.raises(InputError, match=r"league\.yaml(.|\n)*undercut league init nowhere"):
        League.open("nowhere")


def test_the_page_of_security_names_the_jail() -> None:
    text = (REPO / "docs" / "security.md").read_text()
    assert "undercut/league/jail.py" in text and "undercut/league/bundle.py" in text
