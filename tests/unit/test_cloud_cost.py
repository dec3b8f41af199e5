"""Cost: hand-worked sums, the guidance's own table, and what AWS says that a job took."""

import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from typer.testing import CliRunner

from contract.errors import InputError
from undercut.backends.aws import cost, launching
from undercut.backends.aws.plan import InstanceGroup, JobPlan
from undercut.backends.aws.settings import CloudSettings
from undercut.cli import cloud as cli

HOUR_S = 3600


def plan(*groups: InstanceGroup, seconds: int = HOUR_S, **changes: Any) -> JobPlan:
    made = JobPlan(
        job="undercut-a",
        work="train",
        runs=("a",),
        region="us-east-1",
        launcher="sagemaker",
        groups=groups or (InstanceGroup("trainer", "ml.c5.4xlarge", 1),),
        settings=CloudSettings(),
        max_runtime_s=seconds,
    )
    return replace(made, **changes)


def dollars(estimate: cost.Estimate) -> dict[str, float]:
    return {what: value for what, _, value in estimate.lines}


def test_one_machine_for_two_hours_by_hand() -> None:
    """0.816 x 2 h; 30 GB x 2/730 of a month x 0.14; 32,000 PUT x 0.005/1000; 0.01 GB x 0.50; 0.35 GB x 0.023."""
    told = cost.estimate(plan(seconds=2 * HOUR_S))
    assert dollars(told) == pytest.approx(
        {
            "ml.c5.4xlarge": 1.632,
            "disks": 0.0115068,
            "requests to S3": 0.16,
            "logs": 0.005,
            "the run in S3, one month": 0.00805,
        },
        rel=1e-4,
    )
    assert told.total == pytest.approx(1.81656, rel=1e-4)
    assert told.hourly == pytest.approx((1.81656 - 0.00805) / 2, rel=1e-4)
    assert told.dated == f"{cost.prices().dated}, us-east-1"


def test_simulators_of_every_kind_by_hand() -> None:
    """2 x 0.68 in Batch; 3 simulation jobs of 5 units x 0.40; 3 streams x 0.066; three machines of a cluster."""
    trainer = InstanceGroup("trainer", "ml.m5.xlarge", 1)
    batch = cost.estimate(plan(trainer, InstanceGroup("simulators", "c6i.4xlarge", 2, "batch")))
    assert dollars(batch)["c6i.4xlarge"] == pytest.approx(1.36)
    robomaker = cost.estimate(plan(trainer, InstanceGroup("simulators", "any", 3, "robomaker"), streams=3))
    assert dollars(robomaker)["simulation units"] == pytest.approx(6.0)
    assert dollars(robomaker)["video streams"] == pytest.approx(0.198)
    cluster = cost.estimate(plan(InstanceGroup("trainer", "ml.m5.xlarge", 3)))
    assert dollars(cluster)["ml.m5.xlarge"] == pytest.approx(0.69)
    assert dollars(cluster)["disks"] == pytest.approx(3 * 30 / 730 * 0.14)


def test_an_unknown_price_stops_the_launch_and_another_region_is_told() -> None:
    with pytest.raises(InputError, match=r"sagemaker_hour: 'ml\.c5\.3xlarge'.*\n.*\n.*take ml\.c5\.\d?xlarge"):
        cost.estimate(plan(InstanceGroup("trainer", "ml.c5.3xlarge", 1)))
    assert cost.estimate(plan(region="af-south-1")).dated.endswith("(af-south-1 may have others)")
    with pytest.raises(InputError, match=r"--max-cost.*\n.*af-south-1"):
        launching.within_cost(plan(region="af-south-1", settings=CloudSettings(max_cost=5.0)))


def test_other_regions_cost_what_their_factor_says() -> None:
    here, there = cost.estimate(plan()), cost.estimate(plan(region="eu-west-1"))
    assert there.total == pytest.approx(1.13 * here.total) and there.hourly == pytest.approx(1.13 * here.hourly)
    assert there.dated == f"{cost.prices().dated}, us-east-1 x 1.13 for eu-west-1"
    assert cost.prices().factor(cost.prices().region) == 1.0
    assert all(1.0 <= factor < 2.0 for factor in cost.prices().regions.values())


def test_sizes_of_a_family_cost_in_proportion() -> None:
    """Within the rounding of published prices, so that a mistyped row is seen; GPUs and c4 have rules of their own."""
    times = {"large": 0.5, "xlarge": 1.0} | {f"{n}xlarge": float(n) for n in range(2, 49)}
    for table in ("sagemaker_hour", "ec2_hour", "notebook_hour"):
        units: dict[str, list[float]] = {}
        for name, price in getattr(cost.prices(), table).items():
            family, size = name.removeprefix("ml.").split(".")
            if size in times and family[0] in "cmt":
                units.setdefault(family, []).append(price / times[size])
        for family, found in units.items():
            assert max(found) < 1.01 * min(found), (table, family, found)


def test_lambda_and_disks_of_batch_are_counted() -> None:
    """One hour, 4 processes: 1.44 million requests of $0.2 and 1,800 GB-seconds; 3 disks of 30 GB at $0.08 a month."""
    asked = plan(settings=CloudSettings(workers=4), asks_lambda=True)
    assert dollars(cost.estimate(asked))["requests to Lambda, at most"] == pytest.approx(0.288 + 1800 * 0.0000166667)
    groups = (InstanceGroup("trainer", "ml.c5.xlarge", 1), InstanceGroup("simulators", "c5.xlarge", 3, "batch"))
    assert dollars(cost.estimate(plan(*groups)))["disks of simulators"] == pytest.approx(3 * 30 / 730 * 0.08)


def test_what_aws_says_goes_before_the_plan() -> None:
    """600 s billed of 1,500 s run, on another type than was planned: 2 x 0.408 / 6."""
    told = {
        "BillableTimeInSeconds": 600,
        "TrainingTimeInSeconds": 1500,
        "ResourceConfig": {"InstanceType": "ml.c5.2xlarge", "InstanceCount": 2, "VolumeSizeInGB": 30},
    }
    spent = dollars(cost.actual(plan(spot=True), told))
    assert spent["ml.c5.2xlarge"] == pytest.approx(0.136)
    assert spent["disks"] == pytest.approx(2 * 30 * (1500 / 3600) / 730 * 0.14)
    groups = [{"InstanceGroupName": "a", "InstanceType": "ml.c5.xlarge", "InstanceCount": 1}]
    groups += [{"InstanceGroupName": "b", "InstanceType": "ml.m5.xlarge", "InstanceCount": 4}]
    mixed = {"BillableTimeInSeconds": 1800, "TrainingTimeInSeconds": 1800, "ResourceConfig": {"InstanceGroups": groups}}
    spent = dollars(cost.actual(plan(), mixed))
    assert (spent["ml.c5.xlarge"], spent["ml.m5.xlarge"]) == pytest.approx((0.102, 0.46))
    assert cost.actual(plan(), {}).hourly == 0.0


@settings(max_examples=40)
@given(limit=st.floats(0.2, 50.0), seconds=st.integers(600, 5 * 24 * HOUR_S))
def test_a_limit_of_cost_is_kept_and_used(limit: float, seconds: int) -> None:
    """The job that is launched never costs more than the limit, and no whole minute more would fit in it."""
    asked = plan(seconds=seconds, settings=CloudSettings(max_cost=limit))
    limited, estimate = launching.within_cost(asked)
    assert estimate.total <= limit + 1e-9
    assert limited.max_runtime_s <= seconds
    if limited.max_runtime_s < seconds:
        longer = cost.estimate(replace(limited, max_runtime_s=limited.max_runtime_s + 60))
        assert longer.total > limit


def test_the_guidances_table_is_reproduced() -> None:
    """$31.27 a month as published; the prices that it names come to the same within four cents."""
    told = cost.prices().guidance
    assert sum(row.dollars for row in told.rows) == pytest.approx(31.27)
    assert told.total == 31.27
    again = {row.service: value for row, value in cost.guidance_again()}
    assert again["Amazon SageMaker training"] == pytest.approx(5 * 0.478 + 32 * 0.14)  # 6.87
    for row in told.rows:
        assert again[row.service] == pytest.approx(row.dollars, abs=0.03), row.service
    assert sum(again.values()) == pytest.approx(31.27, abs=0.05)


def test_every_price_has_a_source_and_every_settings_default_a_price() -> None:
    told = cost.prices()
    tables = {"sagemaker_hour", "notebook_hour", "ec2_hour", *told.rates}
    for name in tables:
        assert any(name == key or name.startswith(f"{key}_") for key in told.sources), name
    settings = CloudSettings()
    for kind in (settings.instance_type, *settings.fallback_instance_types):
        assert told.of("sagemaker_hour", kind) > 0


def test_the_command_shows_the_three_ways(tmp_path: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(cli.console, "width", 160)  # which it takes from COLUMNS when it is imported
    shown = CliRunner().invoke(cli.app, ["cost"])
    assert shown.exit_code == 0, shown.output
    words = [re.split(r"\s*[│┃]\s*", line)[1:-1] for line in shown.output.splitlines() if line[:1] == "│"]
    rows = {row[0]: row[2:] for row in words}
    assert rows["the guidance, in all"][0] == "31.27"
    assert rows["AWS's DeepRacer console"][0] == "17.50"
    assert rows["your own machine: undercut train"][1] == "0.00"
    ours = float(rows["undercut cloud train, in all"][1])
    assert 4.0 < ours < 10.0


@pytest.mark.parametrize(
    "text", ["region: 2026-99-99", 'region: "\\UFFFFFFFF"', "region: '", "[" * 600, "[a]"], ids=lambda text: text[:25]
)
def test_settings_that_are_no_yaml_are_refused_by_name(tmp_path: Path, text: str) -> None:
    (tmp_path / "cloud.yaml").write_text(text)
    with pytest.raises(InputError, match=r"cloud\.yaml"):
        CloudSettings.load(environment={}, folder=tmp_path)
