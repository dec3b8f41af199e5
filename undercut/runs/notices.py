"""Tell people elsewhere when a training finishes, fails or gets stuck: webhooks, ntfy, Slack, Discord, the desktop.

Notices are sent by a thread of their own, so a training never waits for a slow or broken receiver. Addresses may hold
secrets: they come from the command line or UNDERCUT_NOTIFY, are never saved, and messages name their host alone.
"""

import contextlib
import json
import math
import os
import queue
import shutil
import subprocess
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal
from urllib.parse import urlsplit

import urllib3

from contract.errors import InputError
from contract.host import NOTIFY
from contract.state import EpisodeStatus

if TYPE_CHECKING:
    from trainer.learn import Iteration

Event = Literal["finished", "stuck", "failed", "cost"]
Facts = Mapping[str, float | int | str | None]
Form = Literal["json", "ntfy", "slack", "discord", "desktop"]

STUCK_AFTER = 10
"""Iterations without a better evaluation after which a training is stuck."""
COLLAPSED = 0.05
"""A policy whose entropy is below this share of an even choice's takes one action on nearly every frame."""

_CONNECT_S, _READ_S = 5.0, 10.0
_CLOSE_S = 15.0
"""How long the end of a run waits for notices under way."""
_MOST_WAITING = 100
_FORMS: tuple[Form, ...] = ("json", "ntfy", "slack", "discord")


@dataclass(frozen=True, slots=True)
class Notice:
    """What happened to a run: `text` is one sentence, `facts` are further numbers and words of the JSON."""

    event: Event
    run: str
    text: str
    facts: Facts = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Address:
    """Where notices go, in the form that is understood there."""

    form: Form
    url: str = field(default="", repr=False)

    @staticmethod
    def parse(text: str) -> "Address":
        """`desktop`, or a URL: Slack's, Discord's and ntfy.sh's are known, `slack+https://...` names the form of
        another host's, and any other URL gets JSON. InputError for anything else."""
        if text == "desktop":
            return Address("desktop")
        form, plus, rest = text.partition("+")
        named = plus == "+" and form in _FORMS
        url = rest if named else text
        parts = urlsplit(url)
        if parts.scheme not in ("http", "https") or not parts.hostname:
            rule = "desktop, a URL of http or https, or one with its form before it: ntfy+https://HOST/TOPIC"
            raise InputError("--notify", text.partition("://")[0] or text, rule, "for example https://ntfy.sh/my-topic")
        if named:
            return Address(form, url)  # type: ignore[arg-type]  # one of _FORMS
        host = parts.hostname
        if host == "hooks.slack.com":
            return Address("slack", url)
        if host in ("discord.com", "discordapp.com") and parts.path.startswith("/api/webhooks/"):
            return Address("discord", url)
        return Address("ntfy" if host == "ntfy.sh" else "json", url)

    @property
    def host(self) -> str:
        """What messages call it."""
        return urlsplit(self.url).hostname or self.form

    def send(self, notice: Notice, pool: urllib3.PoolManager) -> None:
        """Deliver a notice; OSError, HTTPError or ValueError when that cannot be done in some seconds."""
        title = f"undercut: {notice.run} {notice.event}"
        if self.form == "desktop":
            program = shutil.which("notify-send")
            if program is None:
                raise OSError("notify-send is not installed (Debian: libnotify-bin)")
            subprocess.run([program, title, notice.text], check=True, timeout=_READ_S, capture_output=True)
            return
        headers = {"Content-Type": "application/json"}
        if self.form == "ntfy":
            body = notice.text.encode()
            headers = {"Title": title.encode("ascii", "replace").decode(), "Tags": _TAGS[notice.event]}
        elif self.form == "slack":
            body = json.dumps({"text": f"*{title}*\n{notice.text}"}).encode()
        elif self.form == "discord":
            body = json.dumps({"content": f"**{title}**\n{notice.text}"}).encode()
        else:
            facts = {"event": notice.event, "run": notice.run, "text": notice.text, "time_s": round(time.time(), 3)}
            body = json.dumps({**facts, **notice.facts}).encode()
        answer = pool.request("POST", self.url, body=body, headers=headers)
        if answer.status >= 300:
            raise ValueError(f"it answered {answer.status} {answer.reason or ''}".rstrip())


_TAGS: Mapping[Event, str] = {
    "finished": "checkered_flag",
    "stuck": "snail",
    "failed": "rotating_light",
    "cost": "moneybag",
}


def addresses(options: Sequence[str] | None, environment: Mapping[str, str] = os.environ) -> list[Address]:
    """Of the command line's --notify, and of UNDERCUT_NOTIFY, each once."""
    return [Address.parse(text) for text in dict.fromkeys([*(options or ()), *environment.get(NOTIFY, "").split()])]


class Notifier:
    """Sends notices to addresses in the background."""

    def __init__(self, to: Sequence[Address], say: Callable[[str], None]) -> None:
        """say: shows a line to whoever sits at the training, for what could not be delivered."""
        self._to, self._say = list(to), say
        self._waiting: queue.Queue[Notice | None] = queue.Queue(_MOST_WAITING)
        self._thread: threading.Thread | None = None

    def send(self, notice: Notice) -> None:
        """Take a notice to deliver; returns at once. The oldest one gives way when too many wait."""
        if not self._to:
            return
        if self._thread is None:
            self._thread = threading.Thread(target=self._deliver, name="notices", daemon=True)
            self._thread.start()
        self._put(notice)

    def close(self) -> None:
        """Wait for the notices under way, some seconds at most."""
        if self._thread is None:
            return
        self._put(None)
        self._thread.join(_CLOSE_S)
        if self._thread.is_alive():
            hosts = ", ".join(address.host for address in self._to)
            self._say(f"a notice to {hosts} was not delivered within {_CLOSE_S:g} s: left behind")

    def _put(self, notice: Notice | None) -> None:
        while True:
            try:
                self._waiting.put_nowait(notice)
                return
            except queue.Full:
                self._waiting.get()

    def _deliver(self) -> None:
        timeout = urllib3.Timeout(connect=_CONNECT_S, read=_READ_S)
        retries = urllib3.Retry(total=3, connect=1, read=0, redirect=2, status=0, raise_on_redirect=False)
        pool = urllib3.PoolManager(timeout=timeout, retries=retries)
        while (notice := self._waiting.get()) is not None:
            for address in self._to:
                try:
                    address.send(notice, pool)
                except (OSError, ValueError, urllib3.exceptions.HTTPError, subprocess.SubprocessError) as error:
                    why = _without_address(str(error), address)
                    self._say(f"the notice to {address.host} was not delivered: {type(error).__name__}: {why}")


def _without_address(text: str, address: Address) -> str:
    """An error's text without the path of a webhook, which is a secret."""
    path = urlsplit(address.url).path
    return (text.replace(path, "/...") if len(path) > 1 else text)[:300]


@contextlib.contextmanager
def told_of(run: str, notifier: Notifier) -> Iterator[None]:
    """Around a session of a run: its failure is a notice, and at its end notices under way are waited for."""
    try:
        yield
    except Exception as error:
        first = next(iter(str(error).splitlines()), "")
        notifier.send(Notice("failed", run, f"{type(error).__name__}: {first}"[:500], {"error": type(error).__name__}))
        raise
    finally:
        notifier.close()


# --- when a training is stuck -----------------------------------------------------------------------------------------


class StuckWatch:
    """Looks at each iteration of a training and says, once for each reason, when it is stuck."""

    def __init__(self, run: str, actions: int, after: int = STUCK_AFTER) -> None:
        """actions: number of discrete ones, 0 of continuous ones; after: iterations without a better evaluation."""
        self._run, self._actions, self._after = run, actions, after
        self._best: tuple[float, ...] = (-1.0,)
        self._best_at = 0
        self._sent: set[str] = set()

    def after(self, done: "Iteration") -> list[Notice]:
        """The notices of a finished iteration."""
        number = done.before.iteration
        score = _score(done)
        if score > self._best:
            self._best, self._best_at = score, number
            self._sent.discard("evaluation")
        found = {}
        if number - self._best_at >= self._after:
            since, way = number - self._best_at, self._best[1]
            found["evaluation"] = (
                f"no better evaluation for {since} iterations: the best is iteration {self._best_at}'s, "
                f"{way:.0f} % of the lap"
            )
        entropy = done.update.entropy
        if self._actions > 1 and entropy < COLLAPSED * math.log(self._actions) and score[0] < 1.0:
            found["entropy"] = (
                f"the policy's entropy has collapsed to {entropy:.3f}: it takes one action on nearly every frame, and "
                f"does not finish its laps"
            )
        rewards = {float(value) for rollout in done.training for value in rollout.rewards[1:]}
        if len(rewards) == 1:
            found["reward"] = f"every step's reward was {rewards.pop():g}: there is nothing to learn from"
        new = [
            Notice("stuck", self._run, text, _facts(done, reason))
            for reason, text in found.items()
            if reason not in self._sent
        ]
        self._sent |= found.keys()
        return new


def _score(done: "Iteration") -> tuple[float, float, float]:
    """What makes an evaluation better: laps finished, then the mean way driven in per cent, then shorter laps."""
    laps = done.evaluation
    finished = sum(lap.status == EpisodeStatus.lap_complete for lap in laps) / len(laps)
    way = sum(lap.progress_pct for lap in laps) / len(laps)
    return finished, way, -sum(len(lap) for lap in laps) / len(laps)


def _facts(done: "Iteration", reason: str) -> Facts:
    return {
        "reason": reason,
        "iteration": done.before.iteration,
        "steps": done.after.steps,
        "entropy": round(float(done.update.entropy), 4),
    }
