"""What runs a trial: processes of this machine, jobs in AWS, whatever can take a prepared run and train it."""

from collections.abc import Callable
from typing import Protocol

from contract.errors import UndercutError


class TrialLostError(UndercutError):
    """The process or machine that trained the run has died. The same call again goes on from the last iteration."""


class TrialBackend(Protocol):
    """Trains runs to their end."""

    shares_this_machine: bool
    """Whether trials that run at once have this machine's cores between them."""

    def run(self, name: str, is_wanted: Callable[[], bool]) -> None:
        """Train the prepared run of that name to its end and evaluate it; it goes on where it stopped, if it has begun.

        `is_wanted` is to be asked every few seconds, from this thread. Once it says no, the run is stopped, after the
        iteration under way where that can be, and the call returns.

        Raises TrialLostError where the same call again would go on, and another UndercutError, with what the run said
        last, for what would only happen again. May be called from several threads, for a run each.
        """
