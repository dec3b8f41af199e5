"""The car bundle as the car's software takes it, and OpenVINO's actions against TensorFlow's."""

import gzip
import io
import json
import os
import sys
import tarfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from rich.console import Console
from typer.testing import CliRunner

from contract.errors import CheckpointError, InputError, UndercutError
from contract.hyperparameters import Hyperparameters
from contract.metadata import NETWORKS, ModelMetadata
from contract.rollout import Rollout
from contract.runtime import quiet_import, without_native_chatter
from contract.state import EpisodeStatus
from tests.exported import content
from tests.frozen import add_track, untrained_run
from tests.own_process import in_own_process
from tests.trained_looking import KINDS, model_of, road_frames, trained_looking
from tests.unit.synthetic import drive
from trainer.agents import make_agent
from trainer.checkpoints import Checkpoints
from trainer.common.export import what_drives
from undercut.cli.exporting import agreement_table
from undercut.cli.main import app
from undercut.interchange import car
from undercut.interchange.car_formats import (
    CarFormat,
    agreement,
    convert,
    converted,
    in_the_bundle,
    openvino_outputs,
)
from undercut.runs.run import Run
from undercut.runs.sessions import checkpoint

FRAMES = 40
LIST = [{"steering_angle": angle, "speed": 1.0} for angle in (-30, -10, 0, 10, 30)]
RANGES = {"steering_angle": {"low": -30.0, "high": 30.0}, "speed": {"low": 0.5, "high": 2.0}}
HEADS = {
    "clipped_ppo": "main_level/agent/main/online/network_1/ppo_head_0/policy",
    "sac": "main_level/agent/policy/online/network_0/sac_policy_head_0/policy",
}


def unpack_as_the_car_does(archive: Path) -> tuple[str, dict[str, bytes]]:
    """The name of the model on the car, and its files: unzipped, then untarred, one model in it (model_loader_node)."""
    assert archive.name.endswith(".tar.gz")
    with tarfile.TarFile(fileobj=io.BytesIO(gzip.decompress(archive.read_bytes()))) as tar:
        files = {member.name: file.read() for member in tar if (file := tar.extractfile(member))}
    assert sum(name.endswith(".pb") for name in files) == 1
    return archive.name[: archive.name.find(".")], files


def metadata(kind: str, network: str, *sensors: str, **more: Any) -> ModelMetadata:
    """Of "discrete", "continuous" or "sac"."""
    space: dict[str, Any] = {"action_space": RANGES, "action_space_type": "continuous"}
    if kind == "discrete":
        space = {"action_space": LIST}
    algorithm = "sac" if kind == "sac" else "clipped_ppo"
    return ModelMetadata.parse(
        json.dumps(
            {
                **space,
                "sensor": list(sensors),
                "neural_network": network,
                "training_algorithm": algorithm,
                "version": "5",
                **more,
            }
        )
    )


def a_lap(model: ModelMetadata) -> Rollout:
    """Frames like a road's: noise over a gradient, in all sensors."""
    random = np.random.default_rng(5)
    lap = drive(0, EpisodeStatus.lap_complete, length=FRAMES)
    for name, shape in model.observation_shapes().items():
        if len(shape) == 3:
            ramp = np.linspace(40, 200, shape[0])[None, :, None, None] + 30.0 * random.standard_normal((FRAMES, *shape))
            lap.observations[name] = np.clip(ramp, 0, 255).astype(np.uint8)
        else:
            lap.observations[name] = random.uniform(0.15, 1.0, (FRAMES, *shape)).astype(np.float32)
    return lap


@pytest.mark.slow
def test_the_bundle_drives_the_same_with_openvino(racer: Path) -> None:
    """The whole command over a lap that a run drives: convert, compare, write, unpack."""
    add_track()
    run = untrained_run("v1.2", 1.5)
    done = CliRunner().invoke(app, ["car", "v1.2"], catch_exceptions=False)
    assert done.exit_code == 0, done.output
    assert "OpenVINO and TensorFlow agree over" in done.output
    assert "for the car: v1_2.tar.gz" in done.output
    name, files = unpack_as_the_car_does(racer / "v1_2.tar.gz")
    assert name == "v1_2", "the car cuts a name at its first dot"
    assert list(files) == ["agent/model.pb", "model_metadata.json"]
    told = json.loads(files["model_metadata.json"])
    assert told["action_space"] == run.files.metadata.raw["action_space"]
    assert (told["training_algorithm"], told["sensor"]) == ("clipped_ppo", ["FRONT_FACING_CAMERA"])
    policy = Checkpoints(run.store).load_policy(checkpoint(run, "best"))
    assert files["agent/model.pb"] == what_drives(policy)


def test_what_is_refused(racer: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    add_track()
    run = untrained_run("mine", 1.5)
    for out in ("model.zip", "v1.2.tar.gz", ".tar.gz"):
        with pytest.raises(InputError, match=r"the car takes NAME\.tar\.gz"):
            car.write_bundle(run, "best", Path(out), overwrite=False)
    Path("mine.tar.gz").write_text("mine")
    with pytest.raises(InputError, match="exists already"):
        car.write_bundle(run, "best", Path("mine.tar.gz"), overwrite=False)
    assert Path("mine.tar.gz").read_text() == "mine"
    car.write_bundle(run, "last", Path("mine.tar.gz"), overwrite=True)
    unpack_as_the_car_does(racer / "mine.tar.gz")
    before = content(racer)
    with pytest.raises(InputError, match="best or last"):
        car.write_bundle(run, "first", Path("other.tar.gz"), overwrite=False)
    assert content(racer) == before
    with pytest.raises(CheckpointError, match=r"model\.pb is no policy(.|\n)*one output"):
        what_drives(b"")
    with pytest.raises(CheckpointError, match=r"model\.pb is no policy"):
        what_drives(b"not a graph")
    monkeypatch.setitem(sys.modules, "openvino", None)
    monkeypatch.setattr(car, "has_openvino", lambda: False)
    with pytest.raises(UndercutError, match=r"OpenVINO is not installed(.|\n)*undercut\[car\]"):
        CliRunner().invoke(app, ["car", "mine", "--check", "--overwrite"], catch_exceptions=False)
    done = CliRunner().invoke(app, ["car", "mine", "--overwrite"], catch_exceptions=False)
    assert "OpenVINO" not in done.output and "for the car" in done.output


@pytest.mark.slow
def test_another_answer_is_an_error(racer: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    add_track()
    run = untrained_run("mine", 1.5)
    policy = Checkpoints(run.store).load_policy(checkpoint(run, "best"))
    model = run.files.metadata
    hyperparameters = Hyperparameters.parse("{}", "hyperparameters.json", model.algorithm)
    other = what_drives(make_agent(model, hyperparameters, seed=7).export())
    monkeypatch.setattr(car, "convert", lambda _, observations, form: convert(other, observations, form))
    with pytest.raises(UndercutError, match=r"differ from TensorFlow's by 0\.\d+ over 40 frames(.|\n)*at most 0\.001"):
        car.compare(policy, model, a_lap(model))


@pytest.mark.slow
@pytest.mark.parametrize("network", NETWORKS)
@pytest.mark.parametrize(
    ("kind", "sensors", "more"),
    [
        ("discrete", ("FRONT_FACING_CAMERA",), {}),
        ("discrete", ("STEREO_CAMERAS", "SECTOR_LIDAR"), {}),
        ("continuous", ("FRONT_FACING_CAMERA", "LIDAR"), {}),
        ("continuous", ("STEREO_CAMERAS",), {}),
        ("sac", ("FRONT_FACING_CAMERA",), {}),
        ("sac", ("STEREO_CAMERAS", "DISCRETIZED_SECTOR_LIDAR"), {"lidar_config": {"num_sectors": 4}}),
    ],
)
def test_every_network_drives_the_same_with_openvino(
    network: str, kind: str, sensors: tuple[str, ...], more: dict[str, Any]
) -> None:
    model = metadata(kind, network, *sensors, **more)
    # the deep ones' variables, up to 2.2 GB, would stay with this process
    policy = policy_of(model) if network.endswith("SHALLOW") else in_own_process(policy_of, model)
    graph = what_drives(policy)
    nodes = {node.name: node for node in quiet_import("tensorflow").compat.v1.GraphDef.FromString(graph).node}
    read = {name.split(":")[0].lstrip("^") for node in nodes.values() for name in node.input}
    assert set(nodes) - read == {HEADS[model.algorithm]}, "one node that nothing reads: the output"
    whole, half = car.compare(policy, model, a_lap(model))
    print(network, kind, sensors, whole, half)
    assert whole.frames == half.frames == FRAMES
    assert (whole.format, half.format) == (CarFormat.openvino_fp32, CarFormat.openvino_fp16)
    assert whole.largest <= car.TOLERANCE
    assert half.largest <= 10 * car.TOLERANCE
    assert sys.modules["openvino.tools.ovc.telemetry_utils"].tm.__name__.endswith("telemetry_stub"), "nobody is told"
    said = openvino_outputs(graph, a_lap(model).observations, in_float16=False)
    assert np.ptp(said, axis=0).max() > 1e-6, "the frames make a difference"
    if kind == "discrete":
        np.testing.assert_allclose(said.sum(axis=1), 1.0, atol=1e-5)


@pytest.mark.slow
@pytest.mark.parametrize("preset", ["wider", "regularised", "attention", "double_dqn"])
def test_the_shipped_presets_drive_the_same_with_openvino(preset: str) -> None:
    model = metadata("discrete", NETWORKS[0], "FRONT_FACING_CAMERA")
    path = Path(__file__).parents[2] / "actions" / "presets" / f"{preset}.py"
    hyperparameters = Hyperparameters.parse("{}", "hyperparameters.json", model.algorithm)
    policy = make_agent(model, hyperparameters, 2, None, path).export()
    whole, half = car.compare(policy, model, a_lap(model))
    print(preset, whole, half)
    assert whole.largest <= car.TOLERANCE


def policy_of(model: ModelMetadata) -> bytes:
    hyperparameters = Hyperparameters.parse("{}", "hyperparameters.json", model.algorithm)
    return bytes(make_agent(model, hyperparameters, seed=2).export())


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:.*Interpreter is deprecated")
@pytest.mark.parametrize("form", list(CarFormat))
@pytest.mark.parametrize(
    ("kind", "sensors"),
    [
        ("discrete", ("FRONT_FACING_CAMERA",)),
        ("continuous", ("FRONT_FACING_CAMERA", "LIDAR")),
        ("sac", ("FRONT_FACING_CAMERA",)),
        ("discrete", ("STEREO_CAMERAS", "SECTOR_LIDAR")),
    ],
)
def test_every_format_drives_the_same(
    kind: str, sensors: tuple[str, ...], form: CarFormat, capfd: pytest.CaptureFixture[str]
) -> None:
    """The engines read float32 frames and give float32 outputs, by the names that the car's software looks for."""
    model = metadata(kind, NETWORKS[0], *sensors)
    graph, lap = what_drives(policy_of(model)), a_lap(model)
    expected = openvino_outputs(graph, lap.observations, in_float16=False)
    if form == CarFormat.tflite_int8:
        # an untrained policy's actions are nearly as likely as each other, which int8 may not tell apart: see how near
        files = convert(graph, lap.observations, form)
        found = agreement(form, files, model, lap.observations, expected)
        assert found.largest <= 0.02
        assert found.size < 0.3 * len(graph), "a byte a weight"
    else:
        [found], all_files = converted(graph, model, lap.observations, expected, [form])
        files = all_files[form]
        assert found.same >= 0.995
    assert capfd.readouterr().err == "", "converters' own notes are not the racer's"
    print(kind, sensors, found)
    assert found.frames == FRAMES and found.frame_ms > 0 and found.size == sum(map(len, files.values()))
    assert set(files) == ({"model.xml", "model.bin"} if form.is_openvino else {"model.tflite"})
    if not form.is_openvino:
        lite = quiet_import("tensorflow").lite.Interpreter(model_content=files["model.tflite"])
        assert all(it["dtype"] is np.float32 for it in lite.get_input_details() + lite.get_output_details())
        named = " ".join(it["name"] for it in lite.get_input_details())
        assert all(sensor in named for sensor in lap.observations), "the car tells its inputs apart by these words"


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:.*Interpreter is deprecated")
@pytest.mark.parametrize("kind", KINDS)
def test_formats_of_trained_looking_policies_agree(kind: str) -> None:
    """The table of docs/interchange.md, with the time of a frame; `pytest -s` shows it."""
    model = model_of(kind)
    lap = road_frames(model)
    policy = trained_looking(model, lap)
    expected = car.tensorflow_says(policy, model, lap)
    if kind == "continuous":
        assert np.ptp(expected, axis=0).min() > 0.5, "both actions use their ranges"
    else:
        assert expected.max(axis=1).mean() > 0.6, "sure, most of the time"
        assert len(np.unique(expected.argmax(axis=1))) >= 3, "and not always of the same"
    graph = what_drives(policy)
    found = [
        agreement(form, convert(graph, lap.observations, form), model, lap.observations, expected) for form in CarFormat
    ]
    Console(width=120).print(kind, agreement_table(found))
    for it in found:
        assert it.frames == len(lap) and 0.0 < it.frame_ms < 1000.0
        assert it.same >= (0.97 if it.format == CarFormat.tflite_int8 else 0.995), it
        most = {CarFormat.tflite_int8: 0.5, CarFormat.openvino_fp16: 0.05}
        assert it.largest <= most.get(it.format, car.TOLERANCE), it
    by_format = {it.format: it for it in found}
    assert by_format[CarFormat.tflite_int8].size < 0.3 * by_format[CarFormat.tflite].size


@pytest.mark.slow
def test_a_format_that_drives_otherwise_is_refused() -> None:
    model = metadata("discrete", NETWORKS[0], "FRONT_FACING_CAMERA")
    lap, graph = a_lap(model), what_drives(policy_of(model))
    other = np.roll(openvino_outputs(graph, lap.observations, in_float16=False), 1, axis=1)
    with pytest.raises(UndercutError, match=r"openvino-fp16: the same action in 0\.0% of 40 frames(.|\n)*99\.5"):
        converted(graph, model, lap.observations, other, [CarFormat.openvino_fp16])


def test_the_first_of_two_of_a_kind_is_the_cars() -> None:
    files = {
        CarFormat.tflite_int8: {"model.tflite": b"8"},
        CarFormat.tflite: {"model.tflite": b"32"},
        CarFormat.openvino_fp16: {"model.xml": b"x", "model.bin": b"b"},
    }
    placed = in_the_bundle(files)
    assert placed == {"model.tflite": b"8", "tflite/model.tflite": b"32", "model.xml": b"x", "model.bin": b"b"}


@pytest.mark.slow
def test_formats_of_a_run_lie_in_its_bundle(racer: Path) -> None:
    add_track()
    untrained_run("mine", 1.5)
    done = CliRunner().invoke(app, ["car", "mine", "--formats", "openvino-fp32", "--formats", "tflite"])
    assert done.exit_code == 0, done.output
    assert "100.0%" in done.output and "for the car: mine.tar.gz" in done.output
    files = unpack_as_the_car_does(racer / "mine.tar.gz")[1]
    assert set(files) == {"agent/model.pb", "model_metadata.json", "model.xml", "model.bin", "model.tflite"}


def test_a_run_without_a_checkpoint(racer: Path) -> None:
    add_track()
    run = untrained_run("mine", 1.5)
    run.store.delete("model/deepracer_checkpoints.json")
    with pytest.raises(CheckpointError, match="undercut train mine"):
        car.write_bundle(Run.open("mine"), "best", Path("mine.tar.gz"), overwrite=False)
    assert not Path("mine.tar.gz").exists()


def test_what_native_code_logs_and_is_no_error_is_dropped(capfd: pytest.CaptureFixture[str]) -> None:
    lines = (
        "W0000 00:00:1 1 a.cc:1] a warning",
        "E0000 00:00:1 1 util.cc:131] oneDNN supports DT_INT32 only on platforms with AVX-512. Falling back to ...",
        "E0000 00:00:1 1 b.cc:2] an error",
        "a racer's own line",
    )
    with without_native_chatter():
        os.write(2, "".join(f"{line}\n" for line in lines).encode())
    assert capfd.readouterr().err.splitlines() == list(lines[2:])
