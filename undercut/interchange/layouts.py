"""Where others keep a model's files: AWS's console, DeepRacer-for-Cloud (DRfC) and DeepRacer on AWS (DRoA).

docs/interchange.md names the public source of every line here. In the names, {run} is the model's, {stamp} and {iso}
are when its training ended, {iteration} counts from 0.
"""

from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Literal

from contract.errors import InputError


@dataclass(frozen=True, slots=True, kw_only=True)
class ExportLayout:
    """Names of a model's files; an empty one means that the layout has no such file."""

    metadata: tuple[str, ...]
    evaluation_params: str
    training_metrics: str
    evaluation_metrics: str
    training_simtrace: str
    training_evaluation_simtrace: str
    evaluation_simtrace: str
    reward: str = "reward_function.py"
    hyperparameters: str = "ip/hyperparameters.json"
    training_params: str = "training_params.yaml"
    simulation_log: str = ""
    trainer_log: str = ""
    evaluation_log: str = ""


_IN_MODEL, _AT_ROOT = "model/model_metadata.json", "model_metadata.json"

LayoutName = Literal["console", "drfc", "droa"]
LAYOUTS = {
    "console": ExportLayout(
        metadata=(_IN_MODEL, _AT_ROOT),
        evaluation_params="evaluation_params.yaml",
        training_metrics="metrics/training/training-{stamp}-{run}.json",
        evaluation_metrics="metrics/evaluation/evaluation-{stamp}-{run}.json",
        training_simtrace="sim-trace/training/training-simtrace/{iteration}-iteration.csv",
        training_evaluation_simtrace="sim-trace/training/evaluation-simtrace/{iteration}-iteration.csv",
        evaluation_simtrace="sim-trace/evaluation/{stamp}-{run}/evaluation-simtrace/{iteration}-iteration.csv",
        simulation_log="logs/training/training-{stamp}-{run}-robomaker.log",
        trainer_log="logs/training/training-{stamp}-{run}-sagemaker.log",
        evaluation_log="logs/evaluation/evaluation-{stamp}-{run}-robomaker.log",
    ),
    "drfc": ExportLayout(
        metadata=(_IN_MODEL,),
        evaluation_params="eval_params.yaml",
        training_metrics="metrics/TrainingMetrics.json",
        evaluation_metrics="metrics/EvaluationMetrics-{stamp}.json",
        training_simtrace="training-simtrace/{iteration}-iteration.csv",
        training_evaluation_simtrace="evaluation-simtrace/{iteration}-iteration.csv",
        evaluation_simtrace="evaluation-{stamp}/evaluation-simtrace/{iteration}-iteration.csv",
    ),
    "droa": ExportLayout(
        metadata=(_IN_MODEL, _AT_ROOT),
        evaluation_params="",
        training_metrics="metrics/training/training-{iso}-{run}.json",
        evaluation_metrics="metrics/evaluation/evaluation-{iso}-{run}.json",
        training_simtrace="sim-trace/training/{iso}-{run}/training-simtrace/{iteration}-iteration.csv",
        training_evaluation_simtrace="sim-trace/training/{iso}-{run}/evaluation-simtrace/{iteration}-iteration.csv",
        evaluation_simtrace="sim-trace/evaluation/{iso}-{run}/evaluation-simtrace/{iteration}-iteration.csv",
        simulation_log="logs/training/{iso}-{run}-simulation.log",
        trainer_log="logs/training/{iso}-{run}-sagemaker.log",
        evaluation_log="logs/evaluation/{iso}-{run}-simulation.log",
    ),
}

MAX_IMPORT_BYTES = 1024**3
"""The most that DeepRacer on AWS takes in one import."""


@dataclass(frozen=True, slots=True)
class Naming:
    """The layout's names with a run's own words in them."""

    layout: ExportLayout
    run: str
    ended: datetime

    @classmethod
    def of(cls, layout: str, run: str, ended_s: float) -> "Naming":
        """`ended_s` counts from the epoch; InputError when there is no such layout."""
        if layout not in LAYOUTS:
            rule = f"one of {', '.join(LAYOUTS)}"
            raise InputError("--layout", layout, rule, "drfc is DeepRacer-for-Cloud's, droa DeepRacer on AWS's")
        return cls(LAYOUTS[layout], run, datetime.fromtimestamp(ended_s, UTC))

    def __call__(self, name: str, iteration: int = 0) -> str:
        iso = self.ended.strftime("%Y-%m-%dT%H:%M:%S.") + f"{self.ended.microsecond // 1000:03d}Z"
        return name.format(run=self.run, stamp=self.ended.strftime("%Y%m%d%H%M%S"), iso=iso, iteration=iteration)
