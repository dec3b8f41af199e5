"""iterations.json: what a training plot shows, a row an iteration. Needs neither TensorFlow nor rl_coach."""

from dataclasses import dataclass
from typing import Annotated

from pydantic import Field, FiniteFloat, TypeAdapter

from contract import artifacts
from contract.fields import parse_json, validated
from contract.protocols import ObjectStore


@dataclass(frozen=True, slots=True)
class IterationRow:
    """What a training plot shows of an iteration; means over its episodes, losses over the update's last epoch."""

    iteration: Annotated[int, Field(ge=0, lt=2**53)]
    steps: Annotated[int, Field(ge=0, lt=2**53)]
    reward: FiniteFloat
    completion_pct: FiniteFloat
    evaluation_completion_pct: FiniteFloat
    entropy: FiniteFloat
    policy_loss: FiniteFloat
    value_loss: FiniteFloat
    kl_divergence: FiniteFloat


_ITERATIONS = TypeAdapter(list[IterationRow])


def read_iterations(store: ObjectStore) -> list[IterationRow]:
    """Rows of iterations.json; none in a fresh run. InputError when the file is damaged."""
    if not store.exists(artifacts.ITERATIONS):
        return []
    fix = "restore the file from a copy of the run"
    text = store.get(artifacts.ITERATIONS).decode(errors="replace")
    rows = parse_json(text, artifacts.ITERATIONS, fix)
    return validated(_ITERATIONS, rows, artifacts.ITERATIONS, fix)
