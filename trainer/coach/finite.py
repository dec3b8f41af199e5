"""The one way to say that an update has come to numbers that are not finite."""

from contract.errors import TrainingError


def not_finite(what: str, place: str, lower: str) -> TrainingError:
    """`what` is not finite, `place` says where training stood, `lower` what the racer may lower."""
    return TrainingError(
        f"{what} in {place}\n"
        "  rule: losses and weights stay finite; the last checkpoint is from before this update\n"
        f"  fix:  lower {lower}, and check that the reward stays within a few units a step"
    )
