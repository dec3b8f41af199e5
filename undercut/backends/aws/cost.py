"""What a job costs: before it is launched, and after it ended. Prices are those of prices.yaml, with their date."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from typing import Any

import yaml

from contract.errors import InputError
from contract.fields import Strict, nearest
from undercut.backends.aws.plan import InstanceGroup, JobPlan, groups_of
from undercut.backends.aws.settings import CloudSettings

PRICES = Path(__file__).parent / "prices.yaml"
HOURS_A_MONTH = 730.0

Line = tuple[str, str, float]
"""What, how much of it, US dollars."""


@dataclass(frozen=True, slots=True)
class Estimate:
    """US dollars. `lines` are what, how much of it, and its dollars; `hourly` counts while the job runs."""

    hourly: float
    total: float
    lines: tuple[Line, ...] = ()
    dated: str = ""
    """When and where the prices hold: YYYY-MM-DD, region."""

    def as_values(self) -> dict[str, Any]:
        """For JSON."""
        lines = [{"what": what, "amount": amount, "dollars": dollars} for what, amount, dollars in self.lines]
        return {"dollars": self.total, "dollars_an_hour": self.hourly, "prices": self.dated, "lines": lines}


class GuidanceRow(Strict):
    """A line of the guidance's table; `counts` are prices and how many of each it comes to."""

    service: str
    assumption: str
    dollars: float
    counts: tuple[tuple[str, float], ...]


class Guidance(Strict):
    """The guidance's table of what a month of five trainings costs."""

    dated: str
    total: float
    rows: tuple[GuidanceRow, ...]


class Prices(Strict):
    """prices.yaml."""

    dated: str
    region: str
    regions: dict[str, float]
    sources: dict[str, str]
    sagemaker_hour: dict[str, float]
    notebook_hour: dict[str, float]
    ec2_hour: dict[str, float]
    rates: dict[str, float]
    use: dict[str, float]
    guidance: Guidance

    def factor(self, region: str) -> float:
        """What these prices are multiplied by in a region: 1 where it is not known, see `knows`."""
        return self.regions.get(region, 1.0)

    def knows(self, region: str) -> bool:
        return region in self.regions

    def told(self, region: str) -> str:
        """When and where the prices hold."""
        if region == self.region:
            return f"{self.dated}, {region}"
        more = f" x {self.factor(region):g} for {region}" if self.knows(region) else f" ({region} may have others)"
        return f"{self.dated}, {self.region}{more}"

    def of(self, table: str, key: str) -> float:
        """A price, for example of("sagemaker_hour", "ml.c5.xlarge"); InputError when the table has none."""
        found: dict[str, float] = getattr(self, table)
        if key not in found:
            guess = nearest(key, found)
            rule = f"a job is launched when its price is known; {PRICES.name} has {', '.join(found)}"
            fix = f"take {guess or 'one of these'}, or add the price of {key} to undercut/backends/aws/{PRICES.name}"
            raise InputError(table, key, rule, fix)
        return found[key]


@cache
def prices() -> Prices:
    """The table, read once."""
    return Prices.model_validate(yaml.safe_load(PRICES.read_text(encoding="utf-8")))


def estimate(plan: JobPlan) -> Estimate:
    """What the job costs if it runs for as long as it may, as often as it may; InputError for an instance type without
    a known price.

    Spare capacity is counted at its full price, since nobody knows its price beforehand: an upper bound.
    """
    hours = plan.most_s / 3600
    return _sum([*_running(plan, plan.groups, hours), *_kept(plan)], hours, plan.region)


def least(plan: JobPlan, seconds: int) -> float:
    """What the job costs at most, if each attempt may run for so many seconds only: US dollars."""
    return estimate(replace(plan, max_runtime_s=seconds)).total


def actual(plan: JobPlan, description: Mapping[str, Any]) -> Estimate:
    """What it did cost, by what AWS says of it: DescribeTrainingJob's answer (BillableTimeInSeconds).

    Of machines outside of the training job (Batch, RoboMaker) AWS's answer knows nothing: they count as long as it."""
    planned, others = ([it for it in plan.groups if (it.service == "sagemaker") is own] for own in (True, False))
    own = groups_of(description) or planned
    billed_h = _seconds(description, "BillableTimeInSeconds", "TrainingTimeInSeconds") / 3600
    ran_h = _seconds(description, "TrainingTimeInSeconds", "BillableTimeInSeconds") / 3600
    lines = [*_running(plan, own, billed_h, machines_only=True), *_running(plan, others, ran_h)]
    lines += [*_beside(plan, sum(group.count for group in own), ran_h), *_kept(plan)]
    return _sum(lines, max(billed_h, ran_h), plan.region)


# --- a month of five models ------------------------------------------------------------------------------------------

MODELS, HOURS_EACH = 5, 1.0


def guidance_again() -> list[tuple[GuidanceRow, float]]:
    """The guidance's rows beside what they come to by the prices here."""
    told = prices()
    found = []
    for row in told.guidance.rows:
        dollars = 0.0
        for name, amount in row.counts:
            table, _, key = name.partition(" ")
            dollars += told.of(table, key) * amount
        found.append((row, dollars))
    return found


def ours_a_month(settings: CloudSettings) -> Estimate:
    """The same five models by `undercut cloud train` with these settings, and what stays in the account for a month."""
    told = prices()
    seconds = int(HOURS_EACH * 3600)
    groups = (InstanceGroup("trainer", settings.instance_type, 1),)
    plan = JobPlan(
        "model", "train", ("model",), told.region, "sagemaker", groups, settings, seconds, settings.volume_gb
    )
    one = estimate(plan)
    lines = [(what, f"{MODELS} x {amount}", MODELS * dollars) for what, amount, dollars in one.lines]
    images_gb = told.use["images_gb"]
    lines.append(("images in the registry, one month", f"{images_gb:g} GB", images_gb * told.rates["ecr_gb_month"]))
    return Estimate(one.hourly, sum(line[2] for line in lines), tuple(lines), one.dated)


def console_a_month() -> float:
    """The same by the console while there was one."""
    return MODELS * HOURS_EACH * prices().rates["console_hour"]


# --- what a job uses -------------------------------------------------------------------------------------------------


def _running(
    plan: JobPlan, groups: Sequence[InstanceGroup], hours: float, machines_only: bool = False
) -> Iterator[tuple[bool, Line]]:
    """What counts by the hour: (True, line)."""
    told = prices()
    for group in groups:
        if group.service == "robomaker":
            units = told.use["robomaker_units"] * group.count
            dollars = units * hours * told.rates["robomaker_unit_hour"]
            yield True, ("simulation units", f"{units:g} x {hours:.2f} h", dollars)
            continue
        table = "sagemaker_hour" if group.service == "sagemaker" else "ec2_hour"
        price = told.of(table, group.instance_type)
        yield True, (group.instance_type, f"{group.count} x {hours:.2f} h", group.count * hours * price)
        if group.service == "batch":
            size_gb = told.use["batch_disk_gb"]
            disk = group.count * size_gb * hours / HOURS_A_MONTH * told.rates["ebs_gb_month"]
            yield True, ("disks of simulators", f"{group.count} x {size_gb:g} GB", disk)
    if not machines_only and any(group.service == "sagemaker" for group in groups):
        yield from _beside(plan, sum(group.count for group in groups if group.service == "sagemaker"), hours)


def _beside(plan: JobPlan, machines: int, hours: float) -> Iterator[tuple[bool, Line]]:
    """Disks, requests, logs and streams while the job runs."""
    told, rates, use = prices(), prices().rates, prices().use
    disk = machines * plan.volume_gb * hours / HOURS_A_MONTH * rates["sagemaker_disk_gb_month"]
    yield True, ("disks", f"{machines} x {plan.volume_gb} GB", disk)
    puts = use["puts_an_hour"] / 1000 * hours
    yield True, ("requests to S3", f"{puts * 1000:,.0f}", puts * rates["s3_thousand_puts"])
    logs_gb = use["logs_gb_an_hour"] * hours
    yield True, ("logs", f"{logs_gb:.3f} GB", logs_gb * rates["logs_gb"])
    if plan.asks_lambda:
        driving = max(plan.settings.workers, 1) + sum(group.count for group in plan.groups) - 1
        asked = driving * use["lambda_requests_an_hour"] * hours
        each = rates["lambda_million_requests"] / 1e6 + use["lambda_gb_seconds_a_request"] * rates["lambda_gb_second"]
        yield True, ("requests to Lambda, at most", f"{asked:,.0f}", asked * each)
    if plan.streams:
        dollars = plan.streams * hours * told.rates["kinesis_stream_hour"]
        yield True, ("video streams", f"{plan.streams} x {hours:.2f} h", dollars)


def _kept(plan: JobPlan) -> Iterator[tuple[bool, Line]]:
    """What stays after the job, for one month: (False, line)."""
    told = prices()
    size_gb = told.use["run_gb"] * max(len(plan.runs), plan.trials)
    yield False, ("the run in S3, one month", f"{size_gb:.2f} GB", size_gb * told.rates["s3_gb_month"])


def _sum(lines: list[tuple[bool, Line]], hours: float, region: str) -> Estimate:
    told = prices()
    here = [(by_hour, (what, amount, told.factor(region) * dollars)) for by_hour, (what, amount, dollars) in lines]
    running = sum(line[2] for by_hour, line in here if by_hour)
    total = sum(line[2] for _, line in here)
    return Estimate(running / hours if hours else 0.0, total, tuple(line for _, line in here), told.told(region))


def _seconds(description: Mapping[str, Any], *keys: str) -> float:
    return next((float(description[key]) for key in keys if description.get(key) is not None), 0.0)
