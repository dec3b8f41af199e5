"""The process that opens a submission and runs its policy, and nothing else:

    python -P -m undercut.league.jail FOLDER NAME LIMITS_JSON

It takes its limits before it reads a byte of the submission, says over its standard output what it found, and then
answers observations with what the policy says of them until its standard input ends. The simulator, the rules and the
clock are in the league's own process: whatever happens here, it can only choose actions.
"""

import contextlib
import ctypes
import os
import resource
import signal
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any, BinaryIO

from contract.errors import UndercutError
from undercut.league.messages import Message, Unpacker, packed
from undercut.league.rules import SubmissionLimits

BUNDLE = "submission.tar.gz"
START_S = 120.0
"""Importing TensorFlow and reading the submission may take so much of a processor's time: five seconds usually."""
_MAX_FILE_BYTES = 1 << 30
_MAX_FILES = 512


_NO_NEW_PRIVS, _PDEATHSIG = 38, 1
"""Of Linux's prctl: no program that this one starts has more rights; it dies with the league's process."""


def hold_back(limits: SubmissionLimits) -> None:
    """Have the system keep this process to its memory and time, for good."""
    with contextlib.suppress(AttributeError):  # another system than Linux
        prctl = ctypes.CDLL(None).prctl
        prctl(_NO_NEW_PRIVS, 1, 0, 0, 0)
        prctl(_PDEATHSIG, int(signal.SIGKILL), 0, 0, 0)
    memory = limits.memory_mb * 10**6
    cpu_s = int(limits.seconds + START_S) + 1
    for what, most in (
        (resource.RLIMIT_DATA, memory),
        (resource.RLIMIT_CPU, cpu_s),
        (resource.RLIMIT_FSIZE, _MAX_FILE_BYTES),
        (resource.RLIMIT_NOFILE, _MAX_FILES),
        (resource.RLIMIT_CORE, 0),
    ):
        _, hard = resource.getrlimit(what)
        with contextlib.suppress(ValueError, OSError):  # this user may not have so much as it is
            most = most if hard == resource.RLIM_INFINITY else min(most, hard)
            resource.setrlimit(what, (most, most))


def main() -> None:
    """See the module."""
    folder, name, limits_json = sys.argv[1:]
    limits = SubmissionLimits.model_validate_json(limits_json)
    hold_back(limits)
    # what libraries print must not come between the messages
    out = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)
    try:
        _serve(Path(folder) / BUNDLE, name, limits, out)
    except UndercutError as error:
        _refuse(out, error, name, by_rule=True)
    except MemoryError:
        _say(out, {"failed": memory_reason(limits)})
    except Exception as error:
        _refuse(out, error, name, by_rule=False)


def memory_reason(limits: SubmissionLimits) -> str:
    """Of a submission that took too much."""
    return f"took more than {limits.memory_mb:,} MB of memory (limits.memory_mb)"


def _serve(bundle: Path, name: str, limits: SubmissionLimits, out: BinaryIO) -> None:
    from simapp.policy import FrozenPolicy
    from undercut.league.bundle import read_submission

    model = read_submission(bundle, name, limits)
    policy = FrozenPolicy(model.graph, model.metadata, threads=1, mode_only=True)
    found = {"found": model.found, "graph_sha256": model.sha256, "graph_bytes": len(model.graph)}
    _say(out, {"metadata": model.metadata_text, **found})
    for asked in _messages(sys.stdin.buffer):
        distribution = policy.distribution(dict(asked.arrays))
        values = distribution.mean if distribution.probabilities is None else distribution.probabilities
        assert values is not None
        out.write(packed({}, {"said": values}))
        out.flush()


def _messages(source: BinaryIO) -> Iterator[Message]:
    """Until the end of the input."""
    while True:
        unpacker = Unpacker()
        while unpacker.message is None:
            part = source.read(unpacker.wanted)
            if not part:
                return
            unpacker.feed(part)
        yield unpacker.message


def _refuse(out: BinaryIO, error: Exception, name: str, by_rule: bool) -> None:
    from undercut.league.bundle import reason_of

    _say(out, {"refused" if by_rule else "failed": reason_of(error, name)})


def _say(out: BinaryIO, values: dict[str, Any]) -> None:
    out.write(packed(values))
    out.flush()


if __name__ == "__main__":
    main()
