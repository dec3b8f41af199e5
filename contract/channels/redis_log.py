"""A list of lines on a Redis that only grows, and claims that expire, for processes on several machines that share one
piece of work. Redis may be killed and come back: a line is there once, however often its command had to be tried.
Unlike rollouts, lines are needed to go on: Redis has to keep its data (appendonly yes)."""

import contextlib
import secrets
import threading
from collections.abc import Iterator, Sequence

from contract.channels.redis import PATIENCE_S, RedisConnection
from contract.errors import ChannelError
from contract.host import RedisAddress

CLAIM_S = 60
"""A claim whose holder has not been heard of for so long is free."""
_BEAT_S = 10.0
_ASKED_AGAIN_S = 3_600
_APPEND = """
if redis.call('set', KEYS[2], '1', 'NX', 'EX', ARGV[1]) then
  for i = 2, #ARGV do redis.call('rpush', KEYS[1], ARGV[i]) end
end
return redis.call('llen', KEYS[1])
"""
"""Once for each name of a command, and whole or not at all."""
_RENEW = """
local held = redis.call('get', KEYS[1])
if held and held ~= ARGV[1] then return 0 end
redis.call('set', KEYS[1], ARGV[1], 'PX', ARGV[2])
return 1
"""
_RELEASE = "if redis.call('get', KEYS[1]) == ARGV[1] then return redis.call('del', KEYS[1]) end return 0"


class RedisLog:
    """Lines and claims below `prefix`, which must not begin with "undercut:": a trainer's end sweeps that."""

    def __init__(self, address: RedisAddress, prefix: str, patience_s: float = PATIENCE_S) -> None:
        self._server, self._prefix = RedisConnection(address, patience_s), prefix

    def append(self, lines: Sequence[str]) -> None:
        """Add the lines, together and once."""
        keys = (f"{self._prefix}:log", f"{self._prefix}:done:{secrets.token_hex(16)}")
        self._server.ask("add to the log", lambda r: r.eval(_APPEND, 2, *keys, _ASKED_AGAIN_S, *lines))

    def read(self, first: int) -> list[str]:
        """Lines from number `first` on; ChannelError when there were more before."""

        def lines(client: object) -> tuple[int, list[bytes]]:
            with client.pipeline(transaction=True) as both:  # type: ignore[attr-defined]
                both.llen(f"{self._prefix}:log")
                both.lrange(f"{self._prefix}:log", first, -1)
                count, found = both.execute()
            return int(count), list(found)

        count, found = self._server.ask("read the log", lines)
        if count < first:
            raise ChannelError(
                f"Redis at {self._server.address} has lost what was written: {count} lines, and there were {first}",
                "it keeps its data on disk, since what is lost here is lost for all machines",
                "start it with `appendonly yes`, then begin the sweep anew under another name",
            )
        return [line.decode() for line in found]

    @contextlib.contextmanager
    def claimed(self, what: str) -> "Iterator[RedisClaim | None]":
        """The claim of `what` until the block ends; None where another process holds it."""
        claim = RedisClaim(self._server, f"{self._prefix}:claim:{what}")
        if not claim.take():
            yield None
            return
        with claim:
            yield claim

    def close(self) -> None:
        self._server.client.close()


class RedisClaim:
    """One claim. A thread renews it as long as it is open."""

    def __init__(self, server: RedisConnection, key: str) -> None:
        self._server, self._key, self._me = server, key, secrets.token_hex(16)
        self._stop, self._lost = threading.Event(), False

    def take(self) -> bool:
        return self._renewed()

    def is_held(self) -> bool:
        """Whether no other process is known to have taken it."""
        return not self._lost

    def __enter__(self) -> "RedisClaim":
        self._heart = threading.Thread(target=self._beat, name="claim", daemon=True)
        self._heart.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        with contextlib.suppress(ChannelError):  # if it cannot be let go of, its time is up in a minute
            self._server.ask("let go", lambda r: r.eval(_RELEASE, 1, self._key, self._me), patience_s=5.0)

    def _renewed(self) -> bool:
        answer = self._server.ask("claim a trial", lambda r: r.eval(_RENEW, 1, self._key, self._me, CLAIM_S * 1000))
        return int(str(answer)) == 1

    def _beat(self) -> None:
        while not self._stop.wait(_BEAT_S):
            try:
                self._lost = not self._renewed()
            except ChannelError:
                self._lost = True
            if self._lost:
                return
