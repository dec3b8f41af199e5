"""Notices to a web server of the test's own: what arrives, in which form, and that nobody waits for it."""

import json
import threading
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner

from contract.errors import InputError
from contract.host import NOTIFY
from contract.protocols import UpdateReport
from contract.state import EpisodeStatus
from tests.patience import until
from tests.unit.synthetic import drive
from tests.webhooks import Server, receiver
from trainer.learn import Iteration, Progress
from undercut.cli.main import app
from undercut.runs import notices
from undercut.runs.notices import Address, Notice, Notifier, StuckWatch, addresses, told_of

SECRET = "/services/T0/B0/secret"


@pytest.fixture
def server() -> Iterator[Server]:
    with receiver() as mine:
        yield mine


NOTICE = Notice("finished", "mine", "training ended; 5 of 5", {"complete": 5})


def sent(*urls: str, notice: Notice = NOTICE) -> list[str]:
    """Send a notice and wait for the end; what was said on the way."""
    said: list[str] = []
    notifier = Notifier([Address.parse(url) for url in urls], said.append)
    notifier.send(notice)
    notifier.close()
    return said


def test_a_webhook_gets_json(server: Server) -> None:
    assert sent(server.url("/ok")) == []
    [(path, headers, body)] = server.got
    told = json.loads(body)
    assert (path, headers["Content-Type"]) == ("/ok", "application/json")
    assert told.pop("time_s") > 1.7e9
    assert told == {"event": "finished", "run": "mine", "text": "training ended; 5 of 5", "complete": 5}


def test_each_service_gets_its_form(server: Server) -> None:
    urls = [f"{form}+{server.url('/' + form)}" for form in ("slack", "discord", "ntfy")]
    assert sent(*urls) == []
    slack, discord, ntfy = server.got
    assert json.loads(slack[2]) == {"text": "*undercut: mine finished*\ntraining ended; 5 of 5"}
    assert json.loads(discord[2]) == {"content": "**undercut: mine finished**\ntraining ended; 5 of 5"}
    assert ntfy[2] == b"training ended; 5 of 5"
    assert (ntfy[1]["Title"], ntfy[1]["Tags"]) == ("undercut: mine finished", "checkered_flag")


@pytest.mark.parametrize(
    ("url", "form"),
    [
        (f"https://hooks.slack.com{SECRET}", "slack"),
        ("https://discord.com/api/webhooks/1/secret", "discord"),
        ("https://ntfy.sh/my-topic", "ntfy"),
        ("https://discord.com/elsewhere", "json"),
        ("http://localhost:8080/hook?key=1", "json"),
        ("ntfy+http://ntfy.local/races", "ntfy"),
        ("desktop", "desktop"),
    ],
)
def test_the_form_is_known_by_the_address(url: str, form: str) -> None:
    assert Address.parse(url).form == form
    assert "secret" not in repr(Address.parse(url))


@pytest.mark.parametrize("url", ["", "mine", "ftp://host/x", "https://", "json+mine", "mailto:a@b"])
def test_an_address_that_is_none_is_refused(url: str) -> None:
    with pytest.raises(InputError, match=r"--notify(.|\n)*http"):
        Address.parse(url)


def test_addresses_come_from_the_environment_too() -> None:
    found = addresses(["desktop"], {NOTIFY: "https://a/x  https://b/y desktop"})
    assert [it.host for it in found] == ["desktop", "a", "b"]
    assert addresses(None, {}) == []


def test_a_redirect_is_followed_and_a_refusal_is_told(server: Server) -> None:
    assert sent(server.url("/moved")) == []
    assert [path for path, _, body in server.got if json.loads(body)["run"] == "mine"] == ["/moved", "/ok"]
    [told] = sent(server.url("/broken"))
    assert told == "the notice to 127.0.0.1 was not delivered: ValueError: it answered 500 Internal Server Error"


def test_nobody_listens() -> None:
    [told] = sent("http://127.0.0.1:1" + SECRET)
    assert told.startswith("the notice to 127.0.0.1 was not delivered:") and "secret" not in told


def test_the_sender_does_not_wait(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    """Hundreds of notices are taken while the first one's receiver has not answered; the newest are kept."""
    monkeypatch.setattr(notices, "_CLOSE_S", 0.05)
    said: list[str] = []
    notifier = Notifier([Address.parse(server.url("/hold"))], said.append)
    for number in range(300):
        notifier.send(Notice("stuck", "mine", f"number {number}"))
    assert server.got == []
    until("the first request", lambda: server.begun == ["/hold"])
    notifier.close()
    assert said == ["a notice to 127.0.0.1 was not delivered within 0.05 s: left behind"]
    server.release.set()
    until("the last one", lambda: any(b"number 299" in body for _, _, body in server.got))
    assert len(server.got) <= notices._MOST_WAITING + 1


def test_without_addresses_no_thread_is_begun() -> None:
    before = threading.active_count()
    notifier = Notifier([], print)
    notifier.send(NOTICE)
    notifier.close()
    assert threading.active_count() == before


def test_a_failure_is_told_and_goes_on(server: Server) -> None:
    notifier = Notifier([Address.parse(server.url("/ok"))], print)
    with pytest.raises(ZeroDivisionError), told_of("mine", notifier):
        1 / 0  # noqa: B018
    [(_, _, body)] = server.got
    told = json.loads(body)
    assert (told["event"], told["error"]) == ("failed", "ZeroDivisionError")
    assert told["text"] == "ZeroDivisionError: division by zero"
    with pytest.raises(KeyboardInterrupt), told_of("mine", notifier):
        raise KeyboardInterrupt
    assert len(server.got) == 1, "who stops a run knows it"


def test_a_message_on_the_desktop(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    [told] = sent("desktop")
    assert "notify-send is not installed" in told
    program = tmp_path / "notify-send"
    program.write_text(f'#!/bin/sh\nprintf "%s|" "$@" > {tmp_path}/shown\n')
    program.chmod(0o755)
    assert sent("desktop") == []
    assert (tmp_path / "shown").read_text() == "undercut: mine finished|training ended; 5 of 5|"


# --- stuck ------------------------------------------------------------------------------------------------------------


def iteration(number: int, way: int, entropy: float = 1.0, reward: float | None = None) -> Iteration:
    """One whose evaluation drove `way` steps of some road, and whose training had this reward at every step."""
    training = [drive(k, EpisodeStatus.off_track, length=20) for k in range(3)]
    for rollout in training:
        rollout.steps["reward"] = np.linspace(0.0, 1.0, 20) if reward is None else reward
    lap = drive(0, EpisodeStatus.off_track, length=10)
    lap.steps["progress_pct"] = np.linspace(0.0, way, 10)
    update = UpdateReport(0.0, 0.0, entropy, 0.0, 1, [])
    return Iteration(Progress(number), Progress(number + 1, steps=60), training, [lap], update)


def test_no_better_evaluation_is_told_once_until_there_is_one() -> None:
    watch = StuckWatch("mine", actions=5, after=3)
    ways = [10, 20, 15, 20, 18, 12, 30, 1, 2, 3, 4]
    told = {number: watch.after(iteration(number, way)) for number, way in enumerate(ways)}
    assert [number for number, found in told.items() if found] == [4, 9]
    [notice] = told[4]
    assert notice.text == "no better evaluation for 3 iterations: the best is iteration 1's, 20 % of the lap"
    assert (notice.event, notice.facts["reason"], notice.facts["iteration"]) == ("stuck", "evaluation", 4)


def test_a_collapsed_entropy_and_a_constant_reward_are_told() -> None:
    watch = StuckWatch("mine", actions=5)
    assert watch.after(iteration(0, 10, entropy=0.09)) == []
    [entropy] = watch.after(iteration(1, 20, entropy=0.05))
    assert "entropy has collapsed to 0.050" in entropy.text
    [constant] = watch.after(iteration(2, 30, entropy=0.05, reward=0.001))
    assert constant.text == "every step's reward was 0.001: there is nothing to learn from"
    assert StuckWatch("mine", actions=0).after(iteration(0, 10, entropy=-3.0)) == [], "continuous: no such measure"


@pytest.mark.slow
def test_a_training_tells_its_end_and_keeps_the_address_to_itself(
    server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    url = server.url(SECRET)
    monkeypatch.setenv(NOTIFY, url)
    arguments = ["train", "mine", "--quick", "--cars", "4", "--iterations", "1"]
    done = CliRunner().invoke(app, arguments, catch_exceptions=False)
    assert done.exit_code == 0, done.output
    [(_, _, body)] = server.got
    told = json.loads(body)
    assert (told["event"], told["run"], told["laps"]) == ("finished", "mine", 1)
    kept = b"".join(path.read_bytes() for path in tmp_path.rglob("*") if path.is_file())
    assert b"secret" not in kept
