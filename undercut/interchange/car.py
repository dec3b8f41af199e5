"""The car bundle of a run, and whether OpenVINO, which runs models on cars, gets the same actions out of it."""

import importlib.util
from collections.abc import Mapping, Sequence
from contextlib import closing
from pathlib import Path

from contract.errors import InputError, UndercutError
from contract.metadata import ModelMetadata
from contract.protocols import Phase, RolloutOrder
from contract.rollout import Rollout
from contract.state import FloatArray
from contract.stores.local import write_file
from simapp.policy import FrozenPolicy
from trainer.common.export import car_bundle, what_drives
from undercut.backends.local.rollouts import evaluation_laps
from undercut.interchange.car_formats import Agreement, CarFormat, agreement, convert, converted, in_the_bundle
from undercut.runs.run import Run
from undercut.runs.sessions import chosen_policy

TOLERANCE = 1e-3
"""How far an output may be from TensorFlow's."""
SUFFIX = ".tar.gz"


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
    _, policy = chosen_policy(run, which)
    content = car_bundle(what_drives(policy), run.files.metadata.complete_json().encode(), further or {})
    write_file(out, content)
    return out


def has_openvino() -> bool:
    """Whether it is installed; it is not among the packages that training needs."""
    return importlib.util.find_spec("openvino") is not None


def check(run: Run, which: str) -> tuple[Agreement, Agreement]:
    """Drive a lap, convert the bundle's graph as a car does, and compare all its frames: see `compare`.

    UndercutError when OpenVINO is not installed, cannot convert the graph or differs by more than TOLERANCE.
    """
    if not has_openvino():
        raise UndercutError(
            "OpenVINO is not installed",
            "--check converts the model as the car does",
            "pip install 'undercut[car]' (in a checkout: make setup), or leave --check out",
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
    record, policy = chosen_policy(run, which)
    order = RolloutOrder(Phase.evaluation, record.iteration, 0, 1)
    (lap,) = evaluation_laps(run, policy, order, keep_observations=True)
    return policy, lap


def tensorflow_says(policy: bytes, metadata: ModelMetadata, lap: Rollout) -> FloatArray:
    """(K, outputs): probabilities, or the mean action in -1..1."""
    with closing(FrozenPolicy(policy, metadata)) as tensorflow:
        return tensorflow.distribution(lap.observations).outputs


def compare(policy: bytes, metadata: ModelMetadata, lap: Rollout) -> tuple[Agreement, Agreement]:
    """A frozen graph run by TensorFlow and by OpenVINO, as a car's bundle has it, over a lap with its observations.

    Returns the agreement with float32 weights, then with float16 ones, as the converter on the car stores them.
    UndercutError when an output with float32 weights differs by more than TOLERANCE.
    """
    expected = tensorflow_says(policy, metadata, lap)
    graph = what_drives(policy)
    whole, half = (
        agreement(form, convert(graph, lap.observations, form), metadata, lap.observations, expected)
        for form in (CarFormat.openvino_fp32, CarFormat.openvino_fp16)
    )
    if not whole.largest <= TOLERANCE:
        raise UndercutError(
            f"OpenVINO's outputs differ from TensorFlow's by {whole.largest:.2g} over {whole.frames} frames",
            f"at most {TOLERANCE:g}",
            "do not put this model on a car; report the model_metadata.json and the versions of both",
        )
    return whole, half
