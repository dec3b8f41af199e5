"""The model in the formats that cars' inference engines take: OpenVINO's IR and TensorFlow Lite, each checked.

The community's car software keeps a converted model beside model.pb and takes it instead of converting again
(deepracer-custom-car, `model_optimizer_node.py`): model.tflite by default and on a Raspberry Pi, model.xml with
model.bin for OpenVINO. Its engines read and write float32 whatever is inside (`tflite_inference_eng.cpp`).
"""

import contextlib
import sys
import tempfile
import time
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Any

import numpy as np

from contract import artifacts
from contract.errors import UndercutError
from contract.metadata import DiscreteActions, ModelMetadata
from contract.runtime import quiet_import, without_native_chatter
from contract.state import BoolArray, FloatArray, Observations

LEAST_AGREEMENT = 0.995
"""Share of a lap's frames in which a format has to choose TensorFlow's action."""
SAME_ACTION = 0.02
"""A continuous action is the same within this share of its range of -1..1."""
CALIBRATION_FRAMES = 200
"""Frames from which int8 learns the ranges of its numbers, spread over the lap."""
TIMED_FRAMES = 50


class CarFormat(StrEnum):
    """A converted model."""

    openvino_fp32 = "openvino-fp32"
    openvino_fp16 = "openvino-fp16"
    tflite = "tflite"
    tflite_int8 = "tflite-int8"

    @property
    def is_openvino(self) -> bool:
        return self in (CarFormat.openvino_fp32, CarFormat.openvino_fp16)


@dataclass(frozen=True, slots=True)
class Agreement:
    """A format's outputs against TensorFlow's over the frames of a lap.

    same     share of the frames with the same action: the likeliest one, or continuous ones within SAME_ACTION
    largest  largest absolute difference of an output: a probability, or an action in -1..1
    frame_ms median time of one frame on one thread of this machine
    size     bytes of the model's files
    """

    format: CarFormat
    frames: int
    same: float
    largest: float
    frame_ms: float
    size: int


Run = Callable[[Mapping[str, Any]], FloatArray]
"""Outputs (outputs,) of one frame, sensor -> (1, ...) float32."""


def converted(
    graph: bytes,
    metadata: ModelMetadata,
    observations: Observations,
    expected: FloatArray,
    formats: Sequence[CarFormat],
) -> tuple[list[Agreement], dict[CarFormat, dict[str, bytes]]]:
    """Convert a graph with one output into each format and run it over a lap's frames.

    graph         the frozen graph of a bundle, `trainer.common.export.what_drives`
    observations  sensor -> (K, ...), the lap's
    expected      (K, outputs), what TensorFlow says of them
    Returns the agreements and each format's files, name -> content. UndercutError when OpenVINO is not installed, a
    format cannot be made, or it chooses another action in more than 1 - LEAST_AGREEMENT of the frames.
    """
    agreements, files = [], {}
    for form in formats:
        files[form] = convert(graph, observations, form)
        found = agreement(form, files[form], metadata, observations, expected)
        if found.same < LEAST_AGREEMENT:
            raise UndercutError(
                f"{form}: the same action in {found.same:.1%} of {found.frames} frames, outputs differ by up to "
                f"{found.largest:.2g}",
                f"at least {LEAST_AGREEMENT:.1%}",
                f"leave {form} out of --formats; a policy that is unsure on many frames is not ready for int8",
            )
        agreements.append(found)
    return agreements, files


def convert(graph: bytes, observations: Observations, form: CarFormat) -> dict[str, bytes]:
    """A graph with one output in a format: its files, name -> content. UndercutError when that cannot be done."""
    return (_openvino_files if form.is_openvino else _lite_file)(graph, observations, form)


def agreement(
    form: CarFormat,
    files: Mapping[str, bytes],
    metadata: ModelMetadata,
    observations: Observations,
    expected: FloatArray,
) -> Agreement:
    """A format's files run over the frames as on a car, against what TensorFlow says of them (K, outputs)."""
    with _loaded(form, files) as run:
        outputs, frame_ms = _over(run, observations)
    return Agreement(
        form,
        len(outputs),
        float(same_action(outputs, expected, isinstance(metadata.actions, DiscreteActions)).mean()),
        float(np.abs(outputs - expected).max()),
        frame_ms,
        sum(map(len, files.values())),
    )


def in_the_bundle(files: Mapping[CarFormat, Mapping[str, bytes]]) -> dict[str, bytes]:
    """Path in the archive -> content: the first format of a kind where the car looks, others in a folder each."""
    placed: dict[str, bytes] = {}
    for form, contents in files.items():
        is_taken = any(name in placed for name in contents)
        placed |= {f"{form}/{name}" if is_taken else name: content for name, content in contents.items()}
    return placed


def same_action(outputs: FloatArray, expected: FloatArray, is_discrete: bool) -> BoolArray:
    """(K,) whether two ways to run a policy take the same action, from their outputs (K, outputs)."""
    if is_discrete:
        return np.asarray(outputs.argmax(axis=1) == expected.argmax(axis=1))
    return np.asarray(np.abs(outputs - expected).max(axis=1) <= 2.0 * SAME_ACTION)


def _over(run: Run, observations: Observations) -> tuple[FloatArray, float]:
    """(K, outputs) of all frames, and the median milliseconds of the first TIMED_FRAMES after one to warm up."""
    frames = {sensor: values.astype(np.float32) for sensor, values in observations.items()}
    count = len(next(iter(frames.values())))
    rows, seconds = [], []
    for k in range(count):
        one = {sensor: values[[k]] for sensor, values in frames.items()}
        begin = time.perf_counter()
        rows.append(run(one))
        seconds.append(time.perf_counter() - begin)
    return np.array(rows, np.float64), 1000.0 * float(np.median(seconds[1 : TIMED_FRAMES + 1] or seconds))


@contextlib.contextmanager
def _loaded(form: CarFormat, files: Mapping[str, bytes]) -> Iterator[Run]:
    """The files, loaded as a car's engine does."""
    if form.is_openvino:
        with _openvino_loaded(files) as run:
            yield run
    else:
        yield _lite_loaded(files[_LITE])


# --- TensorFlow Lite --------------------------------------------------------------------------------------------------

_LITE = "model.tflite"


@contextlib.contextmanager
def _quietly() -> Iterator[None]:
    """Without TensorFlow Lite's notes: its successor is a package of its own, which it says at each call."""
    with warnings.catch_warnings(), without_native_chatter():
        warnings.simplefilter("ignore", UserWarning)
        yield


def _lite_file(graph: bytes, observations: Observations, form: CarFormat) -> dict[str, bytes]:
    tensorflow = quiet_import("tensorflow")
    definition = tensorflow.compat.v1.GraphDef.FromString(graph)
    read = {name.split(":")[0].lstrip("^") for node in definition.node for name in node.input}
    outputs = [node.name for node in definition.node if node.name not in read]
    inputs = {_sensor([node.name]): node.name for node in definition.node if node.op == "Placeholder"}
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "model.pb"
        path.write_bytes(graph)
        try:
            converter = tensorflow.compat.v1.lite.TFLiteConverter.from_frozen_graph(
                str(path),
                input_arrays=[inputs[sensor] for sensor in observations],
                output_arrays=outputs,
                input_shapes={inputs[sensor]: [1, *values.shape[1:]] for sensor, values in observations.items()},
            )
            with _quietly():
                if form == CarFormat.tflite_int8:
                    return {_LITE: _in_int8(tensorflow.lite, converter, observations)}
                return {_LITE: bytes(converter.convert())}
        except Exception as error:
            raise _not_convertible("TensorFlow Lite", tensorflow.__version__, error) from error


def _in_int8(lite: Any, converter: Any, observations: Observations) -> bytes:
    """The model with dense layers in int8 and convolutions in float32.

    The dense layers have 95 % of the weights. Convolutions in int8 took another action in up to 7 % of a lap's frames,
    and save a fifth of a millisecond.
    """
    converter.optimizations = [lite.Optimize.DEFAULT]
    converter.representative_dataset = lambda: _calibration(observations)
    options = lite.experimental.QuantizationDebugOptions(denylisted_ops=["CONV_2D"])
    # despite its name: the converter's own way to leave operations in float
    debugger = lite.experimental.QuantizationDebugger(
        converter=converter, debug_dataset=converter.representative_dataset, debug_options=options
    )
    return bytes(debugger.get_nondebug_quantized_model())


def _calibration(observations: Observations) -> Iterator[list[Any]]:
    """Frames of the whole lap, in the order of the graph's inputs."""
    count = len(next(iter(observations.values())))
    for k in np.unique(np.linspace(0, count - 1, min(count, CALIBRATION_FRAMES)).astype(int)):
        yield [values[[k]].astype(np.float32) for values in observations.values()]


def _lite_loaded(content: bytes) -> Run:
    lite = quiet_import("tensorflow").lite
    with _quietly():
        interpreter = lite.Interpreter(model_content=content, num_threads=1)
        interpreter.allocate_tensors()
    inputs = {_sensor([it["name"]]): it["index"] for it in interpreter.get_input_details()}
    (output,) = interpreter.get_output_details()

    def run(frame: Mapping[str, Any]) -> FloatArray:
        for sensor, value in frame.items():
            interpreter.set_tensor(inputs[sensor], value)
        interpreter.invoke()
        return np.asarray(interpreter.get_tensor(output["index"])[0], np.float64)

    return run


# --- OpenVINO ---------------------------------------------------------------------------------------------------------


def openvino_outputs(graph: bytes, observations: Observations, in_float16: bool) -> FloatArray:
    """What the graph says for K frames, sensor -> (K, ...), one by one as on a car: (K, outputs)."""
    form = CarFormat.openvino_fp16 if in_float16 else CarFormat.openvino_fp32
    with _openvino_loaded(_openvino_files(graph, observations, form)) as run:
        return _over(run, observations)[0]


def _openvino_files(graph: bytes, observations: Observations, form: CarFormat) -> dict[str, bytes]:
    ov = _openvino()
    with tempfile.TemporaryDirectory() as folder:
        model_pb, model_xml = Path(folder) / "model.pb", Path(folder) / "model.xml"
        model_pb.write_bytes(graph)
        try:
            model = ov.convert_model(model_pb)
            inputs = {_sensor(port.get_names()): port.get_any_name() for port in model.inputs}
            if set(inputs) != set(observations) or len(model.outputs) != 1:
                raise RuntimeError(f"the graph has the inputs {sorted(inputs)} and {len(model.outputs)} outputs")
            model.reshape({name: [1, *observations[sensor].shape[1:]] for sensor, name in inputs.items()})
            ov.save_model(model, model_xml, compress_to_fp16=form == CarFormat.openvino_fp16)
        except Exception as error:
            raise _not_convertible("OpenVINO", ov.__version__, error) from error
        return {path.name: path.read_bytes() for path in (model_xml, model_xml.with_suffix(".bin"))}


@contextlib.contextmanager
def _openvino_loaded(files: Mapping[str, bytes]) -> Iterator[Run]:
    ov = _openvino()
    with tempfile.TemporaryDirectory() as folder:
        for name, content in files.items():
            (Path(folder) / name).write_bytes(content)
        # the plugin would compute in bfloat16 where the CPU can; cars' CPUs cannot
        settings = {"INFERENCE_PRECISION_HINT": "f32", "INFERENCE_NUM_THREADS": "1"}
        compiled = ov.Core().compile_model(Path(folder) / "model.xml", "CPU", settings)
        inputs = {_sensor(port.get_names()): port.get_any_name() for port in compiled.inputs}
        request = compiled.create_infer_request()

        def run(frame: Mapping[str, Any]) -> FloatArray:
            output = request.infer({inputs[sensor]: value for sensor, value in frame.items()})[0]
            return np.array(output[0], np.float64)

        yield run


def _openvino() -> Any:
    # Its converter tells Google Analytics of each step, in a copy of this process each time. It goes without this
    # package, as where that is not installed.
    sys.modules.setdefault("openvino_telemetry", None)  # type: ignore[arg-type]
    try:
        import openvino
    except ImportError:
        raise UndercutError(
            "OpenVINO is not installed",
            "its formats are made and checked by it",
            "pip install 'undercut[car]' (in a checkout: make setup), or name --formats tflite",
        ) from None
    return openvino


def _not_convertible(what: str, version: str, error: Exception) -> UndercutError:
    return UndercutError(
        f"{what} {version} cannot convert the model: {str(error)[:500]}",
        f"{artifacts.BUNDLE_MODEL} has layers that a car's runtime knows",
        "choose one of the three networks of model_metadata.json, or a preset without that layer",
    )


def _sensor(names: Any) -> str:
    """main_level/agent/main/online/network_0/SENSOR/SENSOR:0 among the names of an input."""
    parts = [name.split(":")[0].split("/") for name in names]
    found = (it[-1] for it in parts if len(it) > 1 and it[-1] == it[-2])
    return str(next(found, parts[0][-1]))
