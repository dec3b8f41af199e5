"""Following a job: its log lines as they come, the guidance's metrics in them, its end, and the limit of its cost."""

import contextlib
import re
import time
from dataclasses import dataclass, field
from datetime import datetime

from undercut.backends.aws.jobs import JobRecord, JobState, Launcher, LogSource
from undercut.backends.aws.sagemaker import METRICS, longest_s
from undercut.backends.aws.session import CloudError, CloudSession
from undercut.backends.backend import Say
from undercut.runs.notices import Facts, Notice, Notifier, addresses

TAIL = 30
"""Lines that are shown of a job that failed."""
STARTS_S = 1_800.0
"""What a job may take beyond its run time: machines, images, and stopping."""
LATE_S = 6.0
"""Log lines may come so much later than the job's end."""
ABSENT = ("ResourceNotFoundException",)
NO_CAPACITY = "no capacity"
"""Code of the error of a job that AWS had no machine for."""
FIRST_HOST = "algo-1"
_HOST = re.compile(r"(algo-\d+)-\d+")
"""A stream of SageMaker's: the machine, and when its container started."""
_ITERATION = re.compile(r"Training iteration=(\d+)")


@dataclass(frozen=True, slots=True)
class LogLine:
    """A line of a job's log. `who` wrote it, where that is not the first machine: algo-2, a simulator."""

    who: str
    text: str

    def __str__(self) -> str:
        return f"[{self.who}] {self.text}" if self.who else self.text


@dataclass
class LogReader:
    """The lines of a job's logs, each once."""

    session: CloudSession
    tokens: dict[tuple[str, str], str] = field(default_factory=dict)

    def new(self, sources: list[LogSource]) -> list[LogLine]:
        """Lines since the last call."""
        lines = []
        for source in sources:
            for stream in self._streams(source):
                host = _HOST.match(stream.removeprefix(source.prefix))
                who = source.who or ("" if host is None or host[1] == FIRST_HOST else host[1])
                lines += [LogLine(who, line) for line in self._lines(source.group, stream)]
        return lines

    def _streams(self, source: LogSource) -> list[str]:
        """The streams' names by machine and time: each machine of a job has a further one after an interruption."""
        found = self.session.everything(
            "logs",
            "DescribeLogStreams",
            "logStreams",
            logGroupName=source.group,
            logStreamNamePrefix=source.prefix,
            absent=ABSENT,
        )
        return sorted((str(stream["logStreamName"]) for stream in found), key=_by_numbers)

    def _lines(self, group: str, stream: str) -> list[str]:
        lines: list[str] = []
        while True:
            token = self.tokens.get((group, stream))
            answer = self.session.call(
                "logs",
                "GetLogEvents",
                logGroupName=group,
                logStreamName=stream,
                startFromHead=True,
                absent=ABSENT,
                **({"nextToken": token} if token else {}),
            )
            lines += [str(event["message"]).rstrip("\n") for event in answer.get("events", [])]
            following = str(answer.get("nextForwardToken", ""))
            if not following or following == token or not answer.get("events"):
                return lines
            self.tokens[group, stream] = following


def _by_numbers(name: str) -> list[tuple[int, str]]:
    """algo-2 before algo-10."""
    return [(int(part), "") if part.isdigit() else (-1, part) for part in re.split(r"(\d+)", name)]


@dataclass
class Metrics:
    """Values of the guidance's metrics, by name, in the order of the log."""

    values: dict[str, list[float]] = field(default_factory=lambda: {name: [] for name, _ in METRICS})
    iteration: int = -1

    def take(self, line: str) -> bool:
        """Whether the line has one of them."""
        found = False
        for name, regex in METRICS:
            for text in re.findall(regex, line, re.M):
                self.values[name].append(float(text))
                found = True
        if number := _ITERATION.search(line):
            self.iteration = max(self.iteration, int(number[1]))
        return found

    def summary(self) -> str:
        """The last value of each."""
        told = [f"{name} {values[-1]:g}" for name, values in self.values.items() if values]
        return ", ".join(told)


@dataclass
class Followed:
    """How a job ended, and the end of its log."""

    state: JobState
    tail: list[str]
    metrics: Metrics


def follow(
    session: CloudSession, launcher: Launcher, record: JobRecord, say: Say, everything: bool = False
) -> Followed:
    """Show the job's lines until it has ended, metric lines only with `everything`. A job whose cost reaches its limit
    is stopped. Those at UNDERCUT_NOTIFY are told of that and of the end. CloudError when it takes longer than it may.
    """
    with contextlib.closing(Notifier(addresses(None), say)) as notifier:
        return _followed(session, launcher, record, say, everything, notifier)


def _followed(
    session: CloudSession, launcher: Launcher, record: JobRecord, say: Say, everything: bool, notifier: Notifier
) -> Followed:
    reader, metrics = LogReader(session), Metrics()
    tail: list[str] = []
    plan, settings = record.plan, record.plan.settings
    shown, stopped = "", False
    ended_s: float | None = None
    while True:
        state = launcher.state(record)
        if state.detail != shown:
            shown = state.detail
            say(f"{record.job}: {state.phase}{f' ({shown})' if shown.lower() != state.phase else ''}")
        for line in reader.new(list(launcher.logs(record))):
            tail = [*tail, str(line)][-TAIL:]
            if not metrics.take(line.text) or everything:
                say(str(line))
            ended_s = None  # more may come
        if state.ended:
            ended_s = ended_s or time.monotonic()
            if time.monotonic() - ended_s >= min(LATE_S, 3 * settings.poll_s):
                notifier.send(_end_of(record, state))
                return Followed(state, tail, metrics)
        elif not stopped and 0 < settings.max_cost <= spent(record, state):
            dollars = f"${spent(record, state):.2f}"
            why = f"{record.job} has cost about {dollars}: stopping it, by --max-cost {settings.max_cost:g}"
            say(why)
            facts: Facts = {
                "job": record.job,
                "cost_usd": round(spent(record, state), 2),
                "max_cost_usd": settings.max_cost,
            }
            notifier.send(Notice("cost", ", ".join(plan.runs), why, facts))
            launcher.stop(record)
            stopped = True
        elif time.time() - _began_s(record, state) > longest_s(plan) * plan.attempts + STARTS_S:
            launcher.stop(record)
            what = f"{record.job} has run for {(time.time() - record.created_s) / 60:.0f} minutes and was told to stop"
            raise CloudError(
                what, f"a job takes at most {(longest_s(plan) + STARTS_S) / 60:.0f} minutes", "see AWS's console"
            )
        time.sleep(settings.poll_s)


def _began_s(record: JobRecord, state: JobState) -> float:
    """Since when a job's time counts: its launch; in a queue, which lets it wait as long as it likes, its start."""
    if record.plan.launcher != "queue":
        return record.created_s
    began = (state.description or {}).get("TrainingStartTime")
    return began.timestamp() if isinstance(began, datetime) else time.time()


def _end_of(record: JobRecord, state: JobState) -> Notice:
    """What is told elsewhere of a job that has ended."""
    has_failed = state.phase == "failed"
    text = f"{record.job}: {state.phase}{f', {state.reason.strip()}' if has_failed and state.reason.strip() else ''}"
    facts: Facts = {"job": record.job, "cost_usd": round(spent(record, state), 2)}
    return Notice("failed" if has_failed else "finished", ", ".join(record.plan.runs), text[:500], facts)


def spent(record: JobRecord, state: JobState) -> float:
    """US dollars so far: the time since the machines were there, at the estimate's price."""
    began = (state.description or {}).get("TrainingStartTime")
    if not isinstance(began, datetime):
        return 0.0
    return record.hourly * (time.time() - began.timestamp()) / 3600


def failure(state: JobState, tail: list[str], record: JobRecord) -> CloudError:
    """The error of a job that failed: AWS's reason and the end of its log."""
    log = "\n".join(f"  | {line}" for line in tail) or "  | (no log: its container did not start)"
    reason = state.reason.strip() or "AWS gives no reason"
    return CloudError(
        f"{record.job} failed: {reason}\n{log}",
        "a job ends by itself or is stopped",
        f"see the messages above; undercut cloud logs {record.job}",
        NO_CAPACITY if state.no_capacity else "",
    )


def unwatched_failure(session: CloudSession, launcher: Launcher, record: JobRecord, state: JobState) -> CloudError:
    """The same of a job whose log was not followed."""
    lines = LogReader(session).new(list(launcher.logs(record)))
    return failure(state, [str(line) for line in lines][-TAIL:], record)
