"""The car bundle of a run, and whether OpenVINO, which runs models on cars, gets the same actions out of it."""

import importlib.util
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from contract import artifacts
from contract.errors import InputError, UndercutError
from contract.metadata import DiscreteActions, ModelMetadata
from contract.protocols import Phase, RolloutOrder
from contract.rollout import Rollout
from contract.state import FloatArray, Observations
from simapp.policy import FrozenPolicy
from trainer.checkpoints import Checkpoints
from trainer.common.export import what_drives
from trainer.export import car_bundle
from undercut.backends.local.rollouts import evaluation_laps
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


def write_bundle(run: Run, which: str, out: Path, overwrite: bool) -> Path:
    """model.pb of the best or last checkpoint and the metadata, as the car's software unpacks them."""
    if not out.name.endswith(SUFFIX) or "." in out.name.removesuffix(SUFFIX) or out.name == SUFFIX:
        rule = f"the car takes NAME{SUFFIX}, and its model's name is what stands before the first dot"
        raise InputError("--out", str(out), rule, f"for example {default_name(run.config.name)}")
    if out.exists() and not overwrite:
        raise InputError("--out", str(out), "the file exists already", "give --overwrite, or another name")
    policy = Checkpoints(run.store).load_policy(checkpoint(run, which))
    content = car_bundle(what_drives(policy), run.files.metadata.complete_json().encode())
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
    record = checkpoint(run, which)
    policy = Checkpoints(run.store).load_policy(record)
    order = RolloutOrder(Phase.evaluation, record.iteration, 0, 1)
    (lap,) = evaluation_laps(run, policy, order, keep_observations=True)
    return compare(policy, run.files.metadata, lap)


def compare(policy: bytes, metadata: ModelMetadata, lap: Rollout) -> Comparison:
    """A frozen graph run by TensorFlow and, as a car's bundle has it, by OpenVINO, over a lap with its observations."""
    tensorflow = FrozenPolicy(policy, metadata)
    try:
        said = tensorflow.distribution(lap.observations)
    finally:
        tensorflow.close()
    expected = said.probabilities if said.probabilities is not None else said.mean
    assert expected is not None
    if said.squash:
        expected = np.tanh(expected)
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


def openvino_outputs(graph: bytes, observations: Observations, in_float16: bool) -> FloatArray:
    """What the graph says for K frames, sensor -> (K, ...), one by one as on a car: (K, outputs)."""
    import openvino as ov

    with tempfile.TemporaryDirectory() as folder:
        model_pb, model_xml = Path(folder) / "model.pb", Path(folder) / "model.xml"
        model_pb.write_bytes(graph)
        try:
            model = ov.convert_model(model_pb)
            inputs = {_sensor(port): port.get_any_name() for port in model.inputs}
            if set(inputs) != set(observations) or len(model.outputs) != 1:
                raise RuntimeError(f"the graph has the inputs {sorted(inputs)} and {len(model.outputs)} outputs")
            model.reshape({name: [1, *observations[sensor].shape[1:]] for sensor, name in inputs.items()})
            ov.save_model(model, model_xml, compress_to_fp16=in_float16)
            # the plugin would compute in bfloat16 where the CPU can; cars' CPUs cannot
            compiled = ov.Core().compile_model(model_xml, "CPU", {"INFERENCE_PRECISION_HINT": "f32"})
        except Exception as error:
            raise UndercutError(
                f"OpenVINO {ov.__version__} cannot convert the model: {str(error)[:500]}\n"
                f"  rule: {artifacts.BUNDLE_MODEL} has layers that a car's runtime knows\n"
                f"  fix:  choose one of the three networks of model_metadata.json, or a preset without that layer"
            ) from error
        request = compiled.create_infer_request()
        frames = {inputs[sensor]: values.astype(np.float32) for sensor, values in observations.items()}
        count = len(next(iter(frames.values())))
        rows = [request.infer({name: values[[k]] for name, values in frames.items()})[0].copy() for k in range(count)]
        return np.concatenate(rows).astype(np.float64)


def _sensor(port: Any) -> str:
    """main_level/agent/main/online/network_0/SENSOR/SENSOR:0 among the names of an input."""
    names = (name.split(":")[0].split("/") for name in port.get_names())
    found = (parts[-1] for parts in names if len(parts) > 1 and parts[-1] == parts[-2])
    return str(next(found, port.get_any_name()))
