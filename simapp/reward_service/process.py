"""A racer's program: started in a folder of its own, asked over its standard input, watched, and started again."""

import contextlib
import os
import selectors
import signal
import subprocess
import sys
import tempfile
import time
import weakref
from collections import deque
from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType

from contract.errors import RewardError

MAX_LINE_BYTES = 1_000_000
"""Of an answer; a longer one is a program gone wild."""
_TAIL_LINES = 40
_GRACE_S = 2.0
NOTHING: Mapping[str, str] = MappingProxyType({})


class ProgramGoneError(Exception):
    """The program ended, or gave no answer in time; str() says how."""


class Program:
    """One process. `files` are laid into its working folder, executable all; `environment` goes over this process's."""

    def __init__(
        self, command: tuple[str, ...], files: Mapping[str, bytes], environment: Mapping[str, str] = NOTHING
    ) -> None:
        """RewardError when it does not start."""
        self._folder = tempfile.TemporaryDirectory(prefix="undercut-reward-")
        for name, content in files.items():
            path = Path(self._folder.name) / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(content)
            path.chmod(0o755)
        try:
            # a session of its own: Ctrl-C is for the training, which ends the program when it has finished
            self._process = subprocess.Popen(
                command,
                cwd=self._folder.name,
                env={**os.environ, **environment},
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                bufsize=0,
                start_new_session=True,
            )
        except OSError as error:
            self._folder.cleanup()
            raise RewardError(
                f"the reward program {' '.join(command)} does not start: {error.strerror or error}",
                "it runs on every machine that drives",
                "install its interpreter there, begin a script with #!, or bring a program for this system",
            ) from None
        assert self._process.stdin and self._process.stdout and self._process.stderr
        self._in, self._out, self._err = (
            pipe.fileno() for pipe in (self._process.stdin, self._process.stdout, self._process.stderr)
        )
        for pipe in (self._in, self._out, self._err):
            os.set_blocking(pipe, False)
        self._stderr: deque[str] = deque(maxlen=_TAIL_LINES)
        self._partial = b""
        self._selector = selectors.DefaultSelector()
        self._selector.register(self._out, selectors.EVENT_READ)
        self._selector.register(self._err, selectors.EVENT_READ)
        self.close = weakref.finalize(self, _end, self._process, self._selector, self._folder)
        """Ends the program, also when this process ends."""

    @property
    def pid(self) -> int:
        return self._process.pid

    def kill(self) -> None:
        """Do not wait for what hangs or has gone wild."""
        self._process.kill()
        self.close()

    def said(self) -> str:
        """The last lines of standard error, for a message; empty when there are none."""
        lines = [*self._stderr, *([self._partial.decode(errors="replace")] if self._partial else [])]
        return "".join(f"\n  stderr: {line}" for line in lines)

    def ask(self, line: bytes, timeout_s: float) -> bytes:
        """The program's next line of standard output. ProgramGoneError when it ends or takes longer."""
        deadline_s = time.monotonic() + timeout_s
        waiting, answer = memoryview(line), bytearray()
        self._selector.register(self._in, selectors.EVENT_WRITE)
        try:
            while True:
                left_s = deadline_s - time.monotonic()
                if left_s <= 0:
                    raise ProgramGoneError(f"gave no answer for {timeout_s:g} s{self.said()}")
                for key, _ in self._selector.select(left_s):
                    if key.fd == self._in:
                        waiting = self._write(waiting)
                    elif key.fd == self._err:
                        self._hear()
                    elif self._read(answer):
                        return bytes(answer)
        finally:
            with contextlib.suppress(KeyError):
                self._selector.unregister(self._in)

    def _write(self, waiting: memoryview) -> memoryview:
        try:
            waiting = waiting[os.write(self._in, waiting) :]
        except BlockingIOError:
            return waiting
        except OSError:  # the program has closed its end: what it said and how it ended comes from the other pipes
            self._selector.unregister(self._in)
            return memoryview(b"")
        if not waiting:
            self._selector.unregister(self._in)
        return waiting

    def _read(self, answer: bytearray) -> bool:
        """Whether the answer is whole. ProgramGoneError at the end of the output."""
        with contextlib.suppress(BlockingIOError):
            part = os.read(self._out, 1 << 16)
            if not part:
                raise ProgramGoneError(self._how_it_ended())
            answer += part
        if len(answer) > MAX_LINE_BYTES:
            raise ProgramGoneError(f"wrote more than {MAX_LINE_BYTES:,} bytes in one answer{self.said()}")
        if b"\n" not in answer:
            return False
        end = answer.index(b"\n") + 1
        if end != len(answer):
            extra = bytes(answer[end:]).decode(errors="replace")
            raise RewardError(
                f"the reward program wrote more than one line for a request\n  line: {extra[:300].rstrip()}",
                "one line a request; debugging output goes to standard error",
                "print it to stderr",
            )
        return True

    def _hear(self) -> None:
        """Standard error is passed on as it comes, and its end is kept for messages."""
        with contextlib.suppress(BlockingIOError):
            part = os.read(self._err, 1 << 16)
            if not part:
                self._selector.unregister(self._err)
                return
            sys.stderr.write(part.decode(errors="replace"))
            *lines, self._partial = (self._partial + part).split(b"\n")
            self._partial = self._partial[-1000:]
            self._stderr += [line.decode(errors="replace")[:1000] for line in lines]

    def _how_it_ended(self) -> str:
        """Waits for the rest of standard error and for the exit code, but not for long."""
        deadline_s = time.monotonic() + _GRACE_S
        while self._err in self._selector.get_map() and (left_s := deadline_s - time.monotonic()) > 0:
            for key, _ in self._selector.select(left_s):
                if key.fd == self._err:
                    self._hear()
                else:
                    self._selector.unregister(key.fd)
        try:
            status = self._process.wait(max(0.0, deadline_s - time.monotonic()) + 0.1)
        except subprocess.TimeoutExpired:
            return f"closed its standard output{self.said()}"
        how = f"ended with status {status}" if status >= 0 else f"was ended by {signal.Signals(-status).name}"
        return f"{how}{self.said()}"


def _end(
    process: subprocess.Popen[bytes], selector: selectors.BaseSelector, folder: tempfile.TemporaryDirectory[str]
) -> None:
    """A program that has read the end of its input may finish; then its whole session is killed."""
    selector.close()
    assert process.stdin and process.stdout and process.stderr
    process.stdin.close()
    try:
        process.wait(_GRACE_S / 4)
    except subprocess.TimeoutExpired:
        pass
    finally:
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()
        process.stdout.close()
        process.stderr.close()
        folder.cleanup()
