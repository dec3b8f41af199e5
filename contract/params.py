"""training_params.yaml and evaluation_params.yaml of a run, with the guidance's keys (contract: YAML parameters)."""

from typing import Any

import yaml

from contract import artifacts
from contract.config import RunConfig


def training_params(config: RunConfig) -> str:
    """The run as the guidance's training job would be told; bucket keys stay out, since a local run has none."""
    training = config.training
    return _yaml(
        {
            **_both(config, "TRAINING"),
            "REWARD_FILE_S3_KEY": artifacts.REWARD_FUNCTION,
            "METRICS_S3_OBJECT_KEY": artifacts.TRAINING_METRICS,
            "SIMTRACE_S3_PREFIX": "iteration-data/training",
            "NUMBER_OF_EPISODES": training.max_episodes,
            "CHANGE_START_POSITION": training.change_start_position,
            "ROUND_ROBIN_ADVANCE_DIST": training.round_robin_advance_dist,
            "START_POSITION_OFFSET": training.start_position_offset,
            "MIN_EVAL_TRIALS": training.min_eval_trials,
            "BEST_MODEL_METRIC": training.best_model_metric,
        }
    )


def evaluation_params(config: RunConfig) -> str:
    """The run's evaluation as the guidance's evaluation job would be told."""
    evaluation = config.evaluation
    return _yaml(
        {
            **_both(config, "EVALUATION"),
            "METRICS_S3_OBJECT_KEY": artifacts.EVALUATION_METRICS,
            "SIMTRACE_S3_PREFIX": "iteration-data/evaluation",
            "NUMBER_OF_TRIALS": evaluation.number_of_trials,
            "NUMBER_OF_RESETS": evaluation.number_of_resets,
            "IS_CONTINUOUS": False,
            "OFF_TRACK_PENALTY": evaluation.off_track_penalty,
            "START_POSITION_OFFSET": config.training.start_position_offset,
        }
    )


def _both(config: RunConfig, job: str) -> dict[str, Any]:
    return {
        "JOB_TYPE": job,
        "WORLD_NAME": config.track,
        "RACE_TYPE": "TIME_TRIAL",
        "MODEL_NAME": config.name,
        "MODEL_METADATA_FILE_S3_KEY": artifacts.MODEL_METADATA,
        "REVERSE_DIR": config.reverse_dir,
        "NUM_WORKERS": 1,
    }


def _yaml(values: dict[str, Any]) -> str:
    """All values as strings, as the guidance's own files have them."""
    return yaml.safe_dump({key: str(value) for key, value in values.items()}, sort_keys=False)
