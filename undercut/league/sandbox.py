"""A submission's policy in a process of its own: without this one's environment, held to its memory and time, killed
when it does not answer."""

import contextlib
import os
import re
import selectors
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Self

import numpy as np

from contract.errors import UndercutError
from contract.metadata import DiscreteActions, ModelMetadata
from contract.protocols import ActionDistribution
from contract.state import Observations
from undercut.league.jail import BUNDLE, START_S, memory_reason
from undercut.league.messages import Message, Unpacker, packed
from undercut.league.rules import SubmissionLimits

PASSED_ON = ("PATH", "LD_LIBRARY_PATH", "PYTHONPATH", "ONEDNN_MAX_CPU_ISA", "SYSTEMROOT")
"""Of the environment: where programs and libraries are. No keys, tokens, addresses or folders of the user."""
START_DEADLINE_S = 10 * START_S
"""By the clock, on a machine that has others to serve; the jail ends a process that works all the while sooner."""
_TAIL_BYTES = 1 << 16
_CHUNK = 1 << 20


class SubmissionError(UndercutError):
    """A submission cannot drive. `refused`: by a rule, as it would be anywhere; otherwise its process went wrong."""

    def __init__(self, reason: str, *, refused: bool) -> None:
        super().__init__(reason)
        self.reason, self.refused = str(self), refused


class JailedPolicy:
    """Implements contract.protocols.Policy. Use as a context.

    `metadata` is the submission's; `facts` what the process says of the model: not to be trusted, only shown.
    """

    def __init__(self, bundle: bytes, name: str, limits: SubmissionLimits) -> None:
        """SubmissionError when it is refused, or its process fails."""
        self._limits = limits
        self._left_s = limits.seconds
        self._folder = Path(tempfile.mkdtemp(prefix="undercut-league-"))
        try:
            (self._folder / BUNDLE).write_bytes(bundle)
            self._stderr = (self._folder / "said").open("w+b")
            self._process = self._start(name)
        except BaseException:
            shutil.rmtree(self._folder, ignore_errors=True)
            raise
        try:
            self._in, self._out = self._pipes()
            ready = self._exchange(b"", time.monotonic() + START_DEADLINE_S)
            self._check(ready)
            text = ready.values.get("metadata")
            if not isinstance(text, str):
                raise self._gone_wrong("its process said nothing of its model")
            try:
                self.metadata = ModelMetadata.parse(text, name, strict=False)
            except UndercutError as error:
                raise SubmissionError(str(error).splitlines()[0], refused=True) from None
            self.facts = ready.values
        except BaseException:
            self.close()
            raise

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _start(self, name: str) -> "subprocess.Popen[bytes]":
        home = str(self._folder)
        environment = {key: os.environ[key] for key in PASSED_ON if key in os.environ}
        environment |= {"HOME": home, "TMPDIR": home, "XDG_CACHE_HOME": home, "LANG": "C.UTF-8"}
        environment |= {"CUDA_VISIBLE_DEVICES": "", "TF_CPP_MIN_LOG_LEVEL": "2", "PYTHONNOUSERSITE": "1"}
        limits = self._limits.model_dump_json()
        return subprocess.Popen(
            [sys.executable, "-P", "-m", "undercut.league.jail", home, name, limits],
            cwd=home,
            env=environment,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._stderr,
            bufsize=0,
            start_new_session=True,
        )

    def _pipes(self) -> tuple[int, int]:
        assert self._process.stdin and self._process.stdout
        ends = self._process.stdin.fileno(), self._process.stdout.fileno()
        for end in ends:
            os.set_blocking(end, False)
        return ends

    def distribution(self, observations: Observations) -> ActionDistribution:
        """What the policy says; SubmissionError when it fails, or its time is used up."""
        begun_s = time.monotonic()
        answer = self._exchange(packed({}, observations), begun_s + self._left_s)
        self._left_s -= time.monotonic() - begun_s
        self._check(answer)
        outputs, count = answer.arrays.get("said"), len(observations[self.metadata.camera])
        if outputs is None or outputs.shape != (count, self.metadata.actions.size):
            raise self._gone_wrong("its network gives other numbers of actions than its model_metadata.json has")
        if not np.isfinite(outputs).all():
            raise SubmissionError("its network gives numbers that are not finite", refused=True)
        outputs = outputs.astype(np.float64)
        if isinstance(self.metadata.actions, DiscreteActions):
            return ActionDistribution(probabilities=outputs)
        return ActionDistribution(mean=outputs)

    def _check(self, answer: Message) -> None:
        for kind in ("refused", "failed"):
            if kind in answer.values:
                reason = re.sub(r"\s+", " ", str(answer.values[kind]))[:600]
                raise SubmissionError(reason, refused=kind == "refused")

    def _exchange(self, request: bytes, deadline_s: float) -> Message:
        """Write the request and read the answer, side by side."""
        waiting, unpacker = memoryview(request), Unpacker()
        with selectors.DefaultSelector() as selector:
            selector.register(self._out, selectors.EVENT_READ)
            if waiting:
                selector.register(self._in, selectors.EVENT_WRITE)
            while unpacker.message is None:
                left_s = deadline_s - time.monotonic()
                if left_s <= 0:
                    raise self._too_slow()
                for key, _ in selector.select(left_s):
                    if key.fd == self._in:
                        waiting = self._write(waiting)
                        if not waiting:
                            selector.unregister(self._in)
                    else:
                        self._read(unpacker)
        return unpacker.message

    def _write(self, waiting: memoryview) -> memoryview:
        try:
            return waiting[os.write(self._in, waiting[:_CHUNK]) :]
        except BlockingIOError:
            return waiting
        except OSError:  # it has ended: its output says how
            return memoryview(b"")

    def _read(self, unpacker: Unpacker) -> None:
        try:
            part = os.read(self._out, min(unpacker.wanted, _CHUNK))
        except BlockingIOError:
            return
        if not part:
            raise self._ended()
        try:
            unpacker.feed(part)
        except (ValueError, TypeError, KeyError) as error:
            raise self._gone_wrong(f"its process wrote {error}"[:200]) from None

    def _too_slow(self) -> SubmissionError:
        if hasattr(self, "metadata"):
            reason = f"its policy took more than {self._limits.seconds:g} s (limits.seconds)"
        else:
            working_s = START_S + self._limits.seconds
            reason = f"it was not read within {START_DEADLINE_S:g} s, or {working_s:g} s of a processor's time"
        return self._gone_wrong(reason)

    def _ended(self) -> SubmissionError:
        """By the exit code and, where memory ran out in native code, what that printed."""
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._process.wait(5.0)
        status = self._process.poll()
        if status == -signal.SIGXCPU:
            return self._too_slow()
        self._stderr.seek(max(self._stderr.seek(0, os.SEEK_END) - _TAIL_BYTES, 0))
        errors = self._stderr.read()
        if status in (-signal.SIGKILL, -signal.SIGABRT, -signal.SIGSEGV) and _OUT_OF_MEMORY.search(errors):
            return SubmissionError(memory_reason(self._limits), refused=False)
        if status is None or status >= 0:
            return self._gone_wrong("its process ended without an answer")
        return self._gone_wrong(f"its process was ended by {signal.Signals(-status).name}")

    def _gone_wrong(self, reason: str) -> SubmissionError:
        return SubmissionError(reason, refused=False)

    def close(self) -> None:
        """End the process and all that it started, and delete its folder."""
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(self._process.pid, signal.SIGKILL)
        self._process.wait()
        for pipe in (self._process.stdin, self._process.stdout, self._stderr):
            if pipe is not None:
                pipe.close()
        shutil.rmtree(self._folder, ignore_errors=True)


_OUT_OF_MEMORY = re.compile(rb"bad_alloc|out of memory|cannot allocate|ENOMEM|thread creation failed|MemoryError", re.I)
