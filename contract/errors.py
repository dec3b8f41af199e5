"""Errors that a racer reads: each names the place, the value, the rule and the fix."""


def _printable(text: str) -> str:
    """Without what a terminal would obey, such as ESC, or cannot show: names come from files that others wrote."""
    return "".join(char if char.isprintable() or char in "\n\t" else ascii(char)[1:-1] for char in text)


class UndercutError(Exception):
    """Base of every error that the command line shows as one message instead of a traceback.

    `message` says what is wrong; `rule` what holds, `fix` what to do, each on a line of its own where it is given.
    """

    def __init__(self, message: str = "", rule: str = "", fix: str = "") -> None:
        told = [message, *([f"  rule: {rule}"] if rule else []), *([f"  fix:  {fix}"] if fix else [])]
        super().__init__(_printable("\n".join(told)))


class InputError(UndercutError):
    """A racer's file, key or argument breaks a rule.

    `where` names the file, line or key; `value` is what stood there; `rule` is what is allowed; `fix` is what to do.
    """

    def __init__(self, where: str, value: object, rule: str, fix: str) -> None:
        self.where, self.value, self.rule, self.fix = where, value, rule, fix
        shown = repr(value)
        if len(shown) > 200:
            shown = shown[:197] + "..."
        super().__init__(f"{where}: {shown} is not allowed", rule, fix)


class InputWarning(UserWarning):
    """A racer's file is taken, but not all of it as it stands: the message names its place and what is done instead."""

    def __init__(self, message: str = "") -> None:
        super().__init__(_printable(message))


class StoreError(UndercutError):
    """The object store could not do what was asked; nothing half-written is left under the key."""


class HeldError(StoreError):
    """Another process trains the run; nothing was done."""


class CheckpointError(UndercutError):
    """A checkpoint is missing, truncated or of another network."""


class TrainingError(UndercutError):
    """Training cannot go on (loss not finite); the last good checkpoint is kept."""


class RewardError(UndercutError):
    """The racer's reward function failed or returned something that is not a usable reward."""


class WireError(UndercutError):
    """Bytes from a channel are not a whole message of this version, or break one of its bounds."""


class ChannelError(UndercutError):
    """The channel between trainer and workers is down for longer than it is waited for, or refuses access."""


class SimulatorError(UndercutError):
    """A simulator outside of this process could not be started, or has gone."""
