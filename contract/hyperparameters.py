"""hyperparameters.json: names, defaults and ranges of the training knobs (contract: hyperparameters)."""

import json
import math
import warnings
from collections.abc import Callable
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any

from contract.errors import InputError, InputWarning
from contract.fields import at, check_keys, choice, load_object, number, read_text, whole

BATCH_SIZES = (32, 64, 128, 256, 512)
LOSS_TYPES = ("huber", "mean squared error")
EXPLORATION_TYPES = ("categorical", "e-greedy", "additive_noise")


@dataclass(frozen=True)
class Hyperparameters:
    """Field names are the file's keys; the defaults are those of AWS's guidance. Words are in lower case."""

    batch_size: int = 64
    num_epochs: int = 10
    lr: float = 0.0003
    beta_entropy: float = 0.01
    discount_factor: float = 0.999
    loss_type: str = "huber"
    num_episodes_between_training: int = 20
    exploration_type: str = "categorical"
    e_greedy_value: float = 1.0
    epsilon_steps: int = 10000
    stack_size: int = 1
    sac_alpha: float = 0.2
    max_sample_count: int = 0
    sampling_frequency: int = 1
    term_cond_max_episodes: int = 100000
    term_cond_avg_score: float = 100000.0
    pretrained_s3_bucket: str | None = None
    pretrained_s3_prefix: str | None = None

    @classmethod
    def load(
        cls, path: Path, algorithm: str = "clipped_ppo", strict: bool = True, limits: bool = False
    ) -> "Hyperparameters":
        return cls.parse(read_text(path, "hyperparameters.json"), str(path), algorithm, strict, limits)

    @classmethod
    def parse(
        cls,
        text: str,
        where: str = "hyperparameters.json",
        algorithm: str = "clipped_ppo",
        strict: bool = True,
        limits: bool = False,
    ) -> "Hyperparameters":
        """Check every key; InputError names file, key, value, rule, fix. With strict=False unknown keys only warn.

        What is outside of the console's form and can be computed with, as AWS's trainer does, is taken with an
        InputWarning that quotes the form's range; with limits=True it is an InputError.

        `algorithm` is the metadata's: SAC may train after every episode and explores by its own noise.
        """
        data = load_object(text, where)
        check_keys(data, [field.name for field in fields(cls)], where, strict)
        readers, wider = _readers(algorithm), {} if limits else WIDER
        values: dict[str, Any] = {}
        for key, value in data.items():
            if key not in readers:
                continue
            try:
                values[key] = readers[key](value, at(where, key))
            except InputError as error:
                if key not in wider:
                    raise
                read, told = wider[key]
                values[key] = read(value, at(where, key))
                form = error.rule.removeprefix("a number, ")
                text = f"{at(where, key)}: {value} is outside of the console's form ({form}); {told}"
                warnings.warn(text, InputWarning, stacklevel=2)
        if algorithm == "sac":
            values.setdefault("exploration_type", "additive_noise")
        return cls(**values)

    def to_dict(self) -> dict[str, Any]:
        """Keys and values for `ip/hyperparameters.json`, numbers as numbers; optional keys that are absent stay out."""
        return {key: value for key, value in asdict(self).items() if value is not None}

    def to_json(self) -> str:
        return json.dumps(self.to_dict(), indent=2) + "\n"


def _readers(algorithm: str) -> dict[str, Callable[[Any, str], Any]]:
    """Key -> function (value, place) that checks and converts it."""

    def real(low: float, high: float, above: bool = False) -> Callable[[Any, str], float]:
        return lambda value, here: number(value, here, low, high, above=above)

    def count(low: int, high: float = math.inf) -> Callable[[Any, str], int]:
        return lambda value, here: whole(value, here, low, high)

    return {
        "batch_size": _batch_size,
        "num_epochs": count(3, 10),
        "lr": real(1e-8, 1e-3),
        "beta_entropy": real(0.0, 1.0),
        "discount_factor": real(0.0, 1.0),
        "loss_type": _loss_type,
        "num_episodes_between_training": count(1 if algorithm == "sac" else 5, 100),
        "exploration_type": lambda value, here: _exploration_type(value, here, algorithm),
        "e_greedy_value": real(0.0, 1.0),
        "epsilon_steps": count(1),
        "stack_size": _stack_size,
        "sac_alpha": real(0.0, 1.0),
        "max_sample_count": count(0),
        "sampling_frequency": count(1),
        "term_cond_max_episodes": count(1),
        "term_cond_avg_score": real(-math.inf, math.inf),
        "pretrained_s3_bucket": _word_or_none,
        "pretrained_s3_prefix": _word_or_none,
    }


_TAKEN = "taken as it is, as by AWS's trainer"
WIDER: dict[str, tuple[Callable[[Any, str], Any], str]] = {
    "batch_size": (lambda value, here: whole(value, here, 1), _TAKEN),
    "num_epochs": (lambda value, here: whole(value, here, 1), _TAKEN),
    "lr": (lambda value, here: number(value, here, 0.0, math.inf, above=True), _TAKEN),
    "beta_entropy": (lambda value, here: number(value, here, -math.inf, math.inf), _TAKEN),
    "num_episodes_between_training": (lambda value, here: whole(value, here, 1), _TAKEN),
    "stack_size": (
        lambda value, here: whole(value, here, 1),
        "without effect, as in AWS's trainer",
    ),
    "sac_alpha": (lambda value, here: number(value, here, 0.0, math.inf), _TAKEN),
}
"""Key -> what can be computed with where the console's form says no, and what is then said. AWS's trainer has no bounds
(markov's sagemaker_graph_manager.py, get_updated_hyper_parameters), and stacks one frame whatever stack_size is."""


def _batch_size(value: Any, here: str) -> int:
    size = whole(value, here, 1)
    if size not in BATCH_SIZES:
        best = min(BATCH_SIZES, key=lambda known: abs(known - size))
        raise InputError(here, value, f"one of {', '.join(map(str, BATCH_SIZES))}", f"write {best}")
    return size


def _loss_type(value: Any, here: str) -> str:
    spelled = value.replace("_", " ") if isinstance(value, str) else value
    try:
        return choice(spelled, here, LOSS_TYPES)
    except InputError as error:
        raise InputError(here, value, error.rule, error.fix) from None


def _exploration_type(value: Any, here: str, algorithm: str) -> str:
    kind = choice(value, here, EXPLORATION_TYPES)
    if kind == "e-greedy" and algorithm == "sac":
        raise InputError(here, value, "SAC explores with additive noise", 'write "Additive_noise", or leave it out')
    if kind == "additive_noise" and algorithm != "sac":
        raise InputError(here, value, "additive_noise is for SAC only", 'write "categorical"')
    return kind


def _stack_size(value: Any, here: str) -> int:
    size = whole(value, here, 1)
    if size != 1:
        raise InputError(here, value, "the network sees one frame, so stack_size is 1", "write 1 or delete the key")
    return size


def _word_or_none(value: Any, here: str) -> str | None:
    if value is None or isinstance(value, str):
        return value or None
    raise InputError(here, value, "a word in quotes, or null", "write the name in quotes, or delete the key")
