"""The car bundle of a run, and whether OpenVINO, which runs models on cars, gets the same actions out of it."""

import importlib.util
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from contract.errors import InputError, UndercutError
from contract.metadata import DiscreteActions, ModelMetadata
from contract.protocols import Phase, RolloutOrder
from contract.rollout import Rollout
from contract.state import FloatArray
from simapp.policy import FrozenPolicy
from trainer.checkpoints import Checkpoints
from trainer.common.export import what_drives
from trainer.export import car_bundle
from undercut.backends.local.rollouts import evaluation_laps
from undercut.interchange.car_formats import Agreement, CarFormat, converted, in_the_bundle, openvino_outputs
from undercut.runs.run import Run
from undercut.runs.sessions import checkpoint

TOLERANCE = 1e-3
"""How far an output may be from TensorFlow's."""
SUFFIX = ".tar.gz"


@dataclass(frozen=True, slots=True)
class Comparison:
    """OpenVINO's outputs against TensorFlow's for every frame of a lap.

    frames              how many
    largest             largest absolute difference of an output: a probability, or an action in -1..1
    largest_in_float16  the same with the weights in float16, as the converter on the car stores them
    other_actions       frames whose likeliest action is another one, in float16; 0 of continuous actions
    """

    frames: int
    largest: float
    largest_in_float16: float
    other_actions: int


def default_name(run: str) -> Path:
    """A car names a model after its file, up to the first dot."""
    return Path(run.replace(".", "_") + SUFFIX)


def check_name(out: Path, overwrite: bool) -> None:
    """InputError for a name that the car does not take, or a file that is there."""
    if not out.name.endswith(SUFFIX) or "." in out.name.removesuffix(SUFFIX) or out.name == SUFFIX:
        rule = f"the car takes NAME{SUFFIX}, and its model's name is what stands before the first dot"
        raise InputError("--out", str(out), rule, f"for example {default_name(out.stem or 'model')}")
    if out.exists() and not overwrite:
        raise InputError("--out", str(out), "the file exists already", "give --overwrite, or another name")


def write_bundle(run: Run, which: str, out: Path, overwrite: bool, further: Mapping[str, bytes] | None = None) -> Path:
    """model.pb of the best or last checkpoint and the metadata, as the car's software unpacks them.

    further  more files of the archive, path -> content, as `formats_of` makes them
    """
    check_name(out, overwrite)
    policy = Checkpoints(run.store).load_policy(checkpoint(run, which))
    content = car_bundle(what_drives(policy), run.files.metadata.complete_json().encode(), further or {})
    out.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.NamedTemporaryFile(dir=out.parent, prefix=f".{out.name}-", delete=False) as file:
        temporary = Path(file.name)
        try:
            file.write(content)
            file.flush()
            temporary.chmod(0o644)
            temporary.replace(out)
        except BaseException:
            temporary.unlink(missing_ok=True)
            raise
    return out


def has_openvino() -> bool:
    """Whether it is installed; it is not among the packages that training needs."""
    return importlib.util.find_spec("openvino") is not None


def check(run: Run, which: str) -> Comparison:
    """Drive a lap, convert the bundle's graph as a car does, and compare all its frames.

    UndercutError when OpenVINO is not installed, cannot convert the graph or differs by more than TOLERANCE.
    """
    if not has_openvino():
        raise UndercutError(
            "OpenVINO is not installed\n"
            "  rule: --check converts the model as the car does\n"
            "  fix:  pip install 'undercut[car]' (in a checkout: make setup), or leave --check out"
        )
    policy, lap = driven_lap(run, which)
    return compare(policy, run.files.metadata, lap)


def formats_of(run: Run, which: str, formats: Sequence[CarFormat]) -> tuple[list[Agreement], dict[str, bytes]]:
    """The model in a car's other formats, each checked over the frames of a lap: how far they agree, and their files
    in the bundle. UndercutError when a format cannot be made or drives otherwise than TensorFlow."""
    policy, lap = driven_lap(run, which)
    expected = tensorflow_says(policy, run.files.metadata, lap)
    agreements, files = converted(what_drives(policy), run.files.metadata, lap.observations, expected, formats)
    return agreements, in_the_bundle(files)


def driven_lap(run: Run, which: str) -> tuple[bytes, Rollout]:
    """The checkpoint's policy and a lap of it with its observations."""
    record = checkpoint(run, which)
    policy = Checkpoints(run.store).load_policy(record)
    order = RolloutOrder(Phase.evaluation, record.iteration, 0, 1)
    (lap,) = evaluation_laps(run, policy, order, keep_observations=True)
    return policy, lap


def tensorflow_says(policy: bytes, metadata: ModelMetadata, lap: Rollout) -> FloatArray:
    """(K, outputs): probabilities, or the mean action in -1..1."""
    tensorflow = FrozenPolicy(policy, metadata)
    try:
        return tensorflow.distribution(lap.observations).outputs
    finally:
        tensorflow.close()


def compare(policy: bytes, metadata: ModelMetadata, lap: Rollout) -> Comparison:
    """A frozen graph run by TensorFlow and, as a car's bundle has it, by OpenVINO, over a lap with its observations."""
    expected = tensorflow_says(policy, metadata, lap)
    graph = what_drives(policy)
    whole = openvino_outputs(graph, lap.observations, in_float16=False)
    half = openvino_outputs(graph, lap.observations, in_float16=True)
    others = 0
    if isinstance(metadata.actions, DiscreteActions):
        others = int(np.count_nonzero(half.argmax(axis=1) != expected.argmax(axis=1)))
    found = Comparison(len(lap), float(np.abs(whole - expected).max()), float(np.abs(half - expected).max()), others)
    if not found.largest <= TOLERANCE:
        raise UndercutError(
            f"OpenVINO's outputs differ from TensorFlow's by {found.largest:.2g} over {found.frames} frames\n"
            f"  rule: at most {TOLERANCE:g}\n"
            f"  fix:  do not put this model on a car; report the model_metadata.json and the versions of both"
        )
    return found
