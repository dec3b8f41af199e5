"""hyperparameters.json: names, defaults and ranges of the training knobs (contract: hyperparameters)."""

import json
import warnings
from pathlib import Path
from typing import Annotated, Any, Literal, Self

from pydantic import Field
from pydantic.fields import FieldInfo

from contract.errors import InputError, InputWarning
from contract.fields import Form, Strict, at, check_keys, form_of, load_object, number, read_text, read_value, whole

BATCH_SIZES = (32, 64, 128, 256, 512)
Exploration = Literal["categorical", "e-greedy", "additive_noise"]


class Hyperparameters(Strict):
    """Field names are the file's keys; the defaults are those of AWS's guidance. Words are in lower case.

    A field's constraints are what can be computed with, its Form is what the console's form takes. AWS's trainer has no
    bounds (markov's sagemaker_graph_manager.py, get_updated_hyper_parameters), and stacks one frame whatever stack_size
    is.
    """

    batch_size: Annotated[int, Form(choices=BATCH_SIZES)] = Field(default=64, ge=1, description="steps of a minibatch")
    num_epochs: Annotated[int, Form(3, 10)] = Field(default=10, ge=1, description="passes over an iteration's steps")
    lr: Annotated[float, Form(1e-8, 1e-3)] = Field(default=0.0003, gt=0, description="Adam's learning rate")
    beta_entropy: Annotated[float, Form(0, 1)] = Field(default=0.01, description="weight of the entropy bonus")
    discount_factor: float = Field(default=0.999, ge=0, le=1, description="of a reward, for each step that it is away")
    loss_type: Literal["huber", "mean squared error"] = Field(default="huber", description="of the values")
    num_episodes_between_training: Annotated[int, Form(5, 100)] = Field(
        default=20, ge=1, description="episodes of an iteration; SAC's form begins at 1"
    )
    exploration_type: Exploration = Field(default="categorical", description="additive_noise is SAC's")
    e_greedy_value: float = Field(default=1.0, ge=0, le=1, description="with e-greedy: random actions' share at first")
    epsilon_steps: int = Field(default=10000, ge=1, description="with e-greedy: steps in which that share goes down")
    stack_size: Annotated[int, Form(1, 1, taken="without effect, as in AWS's trainer")] = Field(
        default=1, ge=1, description="frames that the network sees"
    )
    sac_alpha: Annotated[float, Form(0, 1)] = Field(default=0.2, ge=0, description="SAC: weight of the entropy")
    max_sample_count: int = Field(default=0, ge=0, description="steps of the training that are kept; 0: none")
    sampling_frequency: int = Field(default=1, ge=1, description="keep only every Nth of those")
    term_cond_max_episodes: int = Field(default=100000, ge=1, description="stop after so many episodes")
    term_cond_avg_score: float = Field(default=100000.0, description="stop at this mean reward of evaluations")
    pretrained_s3_bucket: str | None = Field(default=None, description="where the model to begin from is")
    pretrained_s3_prefix: str | None = Field(default=None, description="its prefix; without a bucket a run or a path")

    @classmethod
    def load(cls, path: Path, algorithm: str = "clipped_ppo", strict: bool = True, limits: bool = False) -> Self:
        """The file's; see `parse`."""
        return cls.parse(read_text(path, "hyperparameters.json"), str(path), algorithm, strict, limits)

    @classmethod
    def parse(
        cls,
        text: str,
        where: str = "hyperparameters.json",
        algorithm: str = "clipped_ppo",
        strict: bool = True,
        limits: bool = False,
    ) -> Self:
        """Check every key; InputError names file, key, value, rule, fix. With strict=False unknown keys only warn.

        What is outside of the console's form and can be computed with, as AWS's trainer does, is taken with an
        InputWarning that quotes the form's range; with limits=True it is an InputError.

        `algorithm` is the metadata's: SAC may train after every episode and explores by its own noise.
        """
        data = load_object(text, where)
        check_keys(data, cls.model_fields, where, strict)
        values: dict[str, Any] = {}
        for key, value in data.items():
            if key not in cls.model_fields:
                continue
            place, field = at(where, key), cls.model_fields[key]
            form = form_of(field)
            if key == "num_episodes_between_training" and algorithm == "sac":
                form = Form(1, 100)
            if form is not None:
                try:
                    values[key] = _within(form, key, field, value, place)
                    continue
                except InputError as error:
                    if limits:
                        raise
                    form_range = error.rule.removeprefix("a number, ")
                    message = f"{place}: {value} is outside of the console's form ({form_range}); {form.taken}"
                values[key] = read_value(field, value, place)
                warnings.warn(message, InputWarning, stacklevel=2)
            elif key in ("loss_type", "exploration_type"):
                values[key] = _chosen(key, field, value, place, algorithm)
            else:
                values[key] = read_value(field, value, place)
        if algorithm == "sac":
            values.setdefault("exploration_type", "additive_noise")
        return cls(**values)

    def to_dict(self) -> dict[str, Any]:
        """Keys and values for `ip/hyperparameters.json`, numbers as numbers; optional keys that are absent stay out."""
        return self.model_dump(exclude_none=True)

    def to_json(self) -> str:
        """The file's text."""
        return json.dumps(self.to_dict(), indent=2) + "\n"


def _within(form: Form, key: str, field: FieldInfo, value: Any, place: str) -> float:
    """The value if the console's form takes it, else InputError."""
    if form.choices:
        size = whole(value, place, 1)
        if size not in form.choices:
            best = min(form.choices, key=lambda known: abs(known - size))
            raise InputError(place, value, f"one of {', '.join(map(str, form.choices))}", f"write {best}")
        return size
    if key == "stack_size" and whole(value, place, 1) != 1:
        raise InputError(place, value, "the network sees one frame, so stack_size is 1", "write 1 or delete the key")
    reader = whole if field.annotation is int else number
    return reader(value, place, form.low, form.high)


def _chosen(key: str, field: FieldInfo, value: Any, place: str, algorithm: str) -> str:
    """A word of the file, as the guidance or the console writes it."""
    if key == "loss_type":
        try:
            return str(read_value(field, value.replace("_", " ") if isinstance(value, str) else value, place))
        except InputError as error:
            raise InputError(place, value, error.rule, error.fix) from None
    kind = str(read_value(field, value, place))
    if kind == "e-greedy" and algorithm == "sac":
        raise InputError(place, value, "SAC explores with additive noise", 'write "Additive_noise", or leave it out')
    if kind == "additive_noise" and algorithm != "sac":
        raise InputError(place, value, "additive_noise is for SAC only", 'write "categorical"')
    return kind
