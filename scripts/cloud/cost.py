"""What a job costs: before it is launched, and after it ended."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from scripts.cloud.plan import JobPlan


@dataclass(frozen=True, slots=True)
class Estimate:
    """US dollars. `lines` are what, how much of it, and its dollars; `hourly` counts while the job runs."""

    hourly: float
    total: float
    lines: tuple[tuple[str, str, float], ...] = ()
    dated: str = ""
    """When the prices were looked up: YYYY-MM-DD."""


def estimate(plan: JobPlan) -> Estimate:
    """What the job costs if it runs for as long as it may; InputError for an instance type without a known price."""
    return Estimate(0.0, 0.0)


def actual(plan: JobPlan, description: Mapping[str, Any]) -> Estimate:
    """What it did cost, by what AWS says of it: DescribeTrainingJob's answer (BillableTimeInSeconds)."""
    return Estimate(0.0, 0.0)
