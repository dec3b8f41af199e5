"""stack.yaml, read as far as a plan needs it: which resources some parameters make, and what those cost a month."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import yaml

from undercut.backends.aws.cost import HOURS_A_MONTH, prices

TEMPLATE = Path(__file__).parent / "stack.yaml"


@dataclass(frozen=True, slots=True)
class Planned:
    """A resource of a stack; `monthly` US dollars while it stands, `why` in words where it is not free. `told` is what
    the template says of it, with the parameters that it names."""

    name: str
    kind: str
    told: str
    monthly: float
    why: str = ""


class _Loader(yaml.SafeLoader):
    """Knows CloudFormation's short forms: `!Ref X` is {"Ref": "X"}, `!Equals [...]` is {"Fn::Equals": [...]}."""


def _short_form(loader: yaml.SafeLoader, suffix: str, node: yaml.Node) -> dict[str, Any]:
    value: Any
    if isinstance(node, yaml.ScalarNode):
        value = loader.construct_scalar(node)
    elif isinstance(node, yaml.SequenceNode):
        value = loader.construct_sequence(node, deep=True)
    else:
        assert isinstance(node, yaml.MappingNode)
        value = loader.construct_mapping(node, deep=True)
    return {suffix if suffix in ("Ref", "Condition") else f"Fn::{suffix}": value}


_Loader.add_multi_constructor("!", _short_form)


def read_template(text: str) -> dict[str, Any]:
    """A template with its functions in their long form."""
    loader = _Loader(text)
    try:
        found: dict[str, Any] = loader.get_single_data()
    finally:
        loader.dispose()
    return found


@cache
def template() -> dict[str, Any]:
    """Ours."""
    return read_template(TEMPLATE.read_text(encoding="utf-8"))


def planned(body: Mapping[str, Any], parameters: Mapping[str, str]) -> list[Planned]:
    """What a stack of this template and these parameters has; other parameters take their defaults."""
    values = {name: str(parameters.get(name, told.get("Default", ""))) for name, told in body["Parameters"].items()}
    found = []
    for name, resource in body["Resources"].items():
        if "Condition" in resource and not _holds(body, {"Condition": resource["Condition"]}, values):
            continue
        text = json.dumps(resource, sort_keys=True)
        used = {key: value for key, value in values.items() if f'"{key}"' in text or f"${{{key}}}" in text}
        found.append(Planned(name, resource["Type"], f"{text} {used}", *_monthly(resource, values)))
    return found


def _holds(body: Mapping[str, Any], condition: Any, values: Mapping[str, str]) -> bool:
    if "Condition" in condition:
        return _holds(body, body["Conditions"][condition["Condition"]], values)
    if "Fn::Not" in condition:
        return not _holds(body, condition["Fn::Not"][0], values)
    if "Fn::And" in condition:
        return all(_holds(body, one, values) for one in condition["Fn::And"])
    if "Fn::Or" in condition:
        return any(_holds(body, one, values) for one in condition["Fn::Or"])
    left, right = (_value(side, values) for side in condition["Fn::Equals"])
    return left == right


def _value(side: Any, values: Mapping[str, str]) -> str:
    return values[side["Ref"]] if isinstance(side, dict) else str(side)


def _monthly(resource: Mapping[str, Any], values: Mapping[str, str]) -> tuple[float, str]:
    told = prices()
    kind = resource["Type"]
    if kind == "AWS::ECR::Repository":  # both share their layers: a half each
        size_gb = told.use["images_gb"] / 2
        return size_gb * told.rates["ecr_gb_month"], f"{size_gb:.2f} GB of images"
    if kind == "AWS::S3::Bucket":
        size_gb = told.use["run_gb"]
        return size_gb * told.rates["s3_gb_month"], f"each run of {size_gb:.2f} GB"
    if kind == "AWS::EC2::VPCEndpoint" and resource["Properties"].get("VpcEndpointType") == "Interface":
        return HOURS_A_MONTH * told.rates["endpoint_hour"], "by the hour, as long as it stands"
    if kind == "AWS::SageMaker::NotebookInstance":
        instance = values["NotebookInstanceType"]
        disk = told.use["notebook_disk_gb"] * told.rates["sagemaker_disk_gb_month"]
        return HOURS_A_MONTH * told.of(
            "notebook_hour", instance
        ) + disk, f"{instance}, if it is never stopped; its disk"
    return 0.0, ""
