"""A submission's file, checked as data: its size, its archive, its graph; nothing of it is run."""

import io
import json
import re
import tarfile
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from contract.errors import UndercutError
from contract.metadata import ModelMetadata
from contract.runtime import quiet_import
from simapp.policy import NETWORK, FrozenPolicy
from tests.foreign_model import FIVE, ForeignModel
from tests.frozen import constant_graph
from trainer.common.export import car_bundle
from undercut.league.bundle import PLAIN_OPS, SubmittedModel, check_graph, read_submission, reason_of
from undercut.league.rules import SubmissionLimits

METADATA = json.dumps(
    {
        "action_space": [{"steering_angle": angle, "speed": speed} for angle, speed in FIVE],
        "sensor": ["FRONT_FACING_CAMERA"],
        "version": "5",
    }
)
MODEL = ModelMetadata.parse(METADATA)
SMALL = SubmissionLimits(bundle_mb=2, unpacked_mb=4, files=20, graph_mb=1)


def tar(files: dict[str, bytes], mode: str = "w:gz") -> bytes:
    content = io.BytesIO()
    with tarfile.open(fileobj=content, mode=mode) as packed:  # type: ignore[call-overload]
        for name, data in files.items():
            member = tarfile.TarInfo(name)
            member.size = len(data)
            packed.addfile(member, io.BytesIO(data))
    return content.getvalue()


def read(tmp_path: Path, content: bytes, limits: SubmissionLimits = SMALL) -> Any:
    path = tmp_path / "submission.tar.gz"
    path.write_bytes(content)
    return read_submission(path, "ann", limits)


def reason(tmp_path: Path, content: bytes, limits: SubmissionLimits = SMALL) -> str:
    with pytest.raises(UndercutError) as caught:
        read(tmp_path, content, limits)
    return reason_of(caught.value, "ann")


def graph_of(build: Callable[[Any, Any], Any]) -> bytes:
    """A graph whose policy is what `build` makes of TensorFlow and what is seen, (K, 5)."""
    tf = quiet_import("tensorflow")
    graph = tf.Graph()
    with graph.as_default():
        name = f"{NETWORK}/network_0/FRONT_FACING_CAMERA/FRONT_FACING_CAMERA"
        seen = tf.compat.v1.placeholder(tf.float32, [None, 120, 160, 1], name)
        tf.identity(build(tf, seen), f"{NETWORK}/network_1/ppo_head_0/policy")
    return bytes(graph.as_graph_def().SerializeToString())


def flat(tf: Any, seen: Any) -> Any:
    return tf.tile(tf.reduce_mean(seen, [1, 2]), [1, 5])


# --- what drives -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("mode", ["w:gz", "w", "w:bz2", "w:xz"])
def test_a_car_bundle_drives(tmp_path: Path, mode: str) -> None:
    graph = constant_graph(MODEL, 2)
    found = read(tmp_path, tar({"agent/model.pb": graph, "model_metadata.json": METADATA.encode()}, mode))
    assert found.metadata == MODEL and found.found == "agent/model.pb" and found.metadata_text == METADATA
    policy = FrozenPolicy(found.graph, found.metadata, threads=1, mode_only=True)
    frames = {"FRONT_FACING_CAMERA": np.zeros((3, 120, 160, 1), np.uint8)}
    said = policy.distribution(frames).probabilities
    policy.close()
    assert said is not None and (said.argmax(axis=1) == 2).all()


def test_of_a_console_model_the_best_checkpoints_graph_drives(tmp_path: Path) -> None:
    pointers = {f"{it}_checkpoint": {"name": f"{n}_Step-9.ckpt"} for it, n in (("best", 4), ("last", 7))}
    files = {
        "top/model/deepracer_checkpoints.json": json.dumps(pointers).encode(),
        **{f"top/model/model_{n}.pb": constant_graph(MODEL, n % 5) for n in (4, 7)},
        "top/model/model_metadata.json": METADATA.encode(),
        "top/reward_function.py": b"raise SystemExit('run!')",
        "top/evil.pkl": b"cos\nsystem\n(S'touch ran'\ntR.",
    }
    assert read(tmp_path, tar(files)).found == "model/model_4.pb"
    del files["top/model/model_4.pb"]
    assert read(tmp_path, tar(files)).found == "model/model_7.pb"


def test_a_zip_in_its_clothes_is_read_too(tmp_path: Path) -> None:
    content = io.BytesIO()
    with zipfile.ZipFile(content, "w") as packed:
        packed.writestr("agent/model.pb", constant_graph(MODEL, 0))
        packed.writestr("model_metadata.json", METADATA)
    assert read(tmp_path, content.getvalue()).found == "agent/model.pb"


def says_what_the_model_says(found: SubmittedModel, model: ForeignModel) -> None:
    frames = np.random.default_rng(0).integers(0, 256, (2, 120, 160, 1), np.uint8)
    policy = FrozenPolicy(found.graph, found.metadata, threads=1, mode_only=True)
    said = policy.distribution({"FRONT_FACING_CAMERA": frames}).probabilities
    policy.close()
    assert said is not None
    np.testing.assert_allclose(said, model.says(frames)[0], atol=1e-5)


def test_a_real_networks_operations_are_plain(tmp_path: Path) -> None:
    model = ForeignModel(1)
    v1 = quiet_import("tensorflow").compat.v1
    names = [f"{NETWORK}/network_1/ppo_head_0/policy"]
    session = model._session
    frozen = v1.graph_util.convert_variables_to_constants(session, session.graph.as_graph_def(), names)
    bundle = car_bundle(frozen.SerializeToString(), METADATA.encode())
    found = read(tmp_path, bundle, SubmissionLimits())
    says_what_the_model_says(found, model)


@pytest.mark.slow
def test_a_checkpoint_alone_drives_by_a_graph_of_our_own(tmp_path: Path) -> None:
    model = ForeignModel(2)
    metadata = {**json.loads(METADATA), "neural_network": "DEEP_CONVOLUTIONAL_NETWORK_DEEP"}
    files = {f"model/3_Step-40.ckpt.{suffix}": content for suffix, content in model.files().items()}
    files |= {"model/model_metadata.json": json.dumps(metadata).encode(), "model/.coach_checkpoint": b"3_Step-40.ckpt"}
    found = read(tmp_path, tar(files), SubmissionLimits())
    assert found.found == "model/3_Step-40.ckpt"
    says_what_the_model_says(found, model)


def test_a_mean_is_driven_without_a_deviation(tmp_path: Path) -> None:
    space = {"steering_angle": {"low": -30, "high": 30}, "speed": {"low": 1, "high": 4}}
    text = json.dumps({"action_space": space, "action_space_type": "continuous", "sensor": ["FRONT_FACING_CAMERA"]})
    graph = graph_of(lambda tf, seen: tf.tile(tf.reduce_mean(seen, [1, 2]) / 255.0, [1, 2]))
    found = read(tmp_path, car_bundle(graph, text.encode()))
    policy = FrozenPolicy(found.graph, found.metadata, threads=1, mode_only=True)
    said = policy.distribution({"FRONT_FACING_CAMERA": np.full((2, 120, 160, 1), 51, np.uint8)})
    policy.close()
    assert said.mean is not None and said.deviation is None and not said.squash
    np.testing.assert_allclose(said.mean, 0.2, atol=1e-6)


# --- what does not ---------------------------------------------------------------------------------------------------


def test_sizes(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    told = reason(tmp_path, rng.bytes(2_000_001))
    assert "2,000,001 bytes; rule: a submission has at most 2 MB (limits.bundle_mb)" in told
    bomb = tar({"agent/model.pb": b"\0" * 4_000_001, "model_metadata.json": METADATA.encode()})
    assert len(bomb) < 10_000
    assert "4,000,000 bytes together" in reason(tmp_path, bomb)
    many = tar({f"{k}": b"" for k in range(21)})
    assert "at most 20 files" in reason(tmp_path, many)
    heavy = graph_of(lambda tf, seen: flat(tf, seen) * tf.reduce_sum(tf.constant(rng.normal(size=300_000), tf.float32)))
    assert "a network that drives has at most 1 MB (limits.graph_mb)" in reason(
        tmp_path, car_bundle(heavy, METADATA.encode())
    )


def test_a_constant_that_says_a_billion_times_the_same(tmp_path: Path) -> None:
    graph = graph_of(lambda tf, seen: flat(tf, seen) * tf.reduce_sum(tf.constant(1.0, shape=(1000, 1000))))
    assert len(graph) < 10_000
    assert "4.0 MB of weights" in reason(tmp_path, car_bundle(graph, METADATA.encode()))


def test_a_header_that_unpacks_to_a_gigabyte_is_stopped_on_its_way(tmp_path: Path) -> None:
    """A pax header is read whole into the memory by Python's tarfile, and no member's size counts it."""
    content = io.BytesIO()
    with tarfile.open(fileobj=content, mode="w:gz", format=tarfile.PAX_FORMAT, pax_headers={"a": "x" * 120_000_000}):
        pass
    assert len(content.getvalue()) < 200_000
    assert "4,000,000 bytes together" in reason(tmp_path, content.getvalue())


@pytest.mark.parametrize(
    ("build", "op"),
    [
        (lambda tf, seen: flat(tf, seen) + tf.strings.to_number(tf.io.read_file("/etc/hostname")), "ReadFile"),
        (lambda tf, seen: flat(tf, seen) * tf.random.uniform([]), "RandomUniform"),
        (lambda tf, seen: flat(tf, seen) + tf.compat.v1.py_func(lambda: np.float32(1), [], tf.float32), "PyFunc"),
        (lambda tf, seen: tf.while_loop(lambda x: True, lambda x: x + 1, [flat(tf, seen)])[0], "While|Enter"),
        (lambda tf, seen: tf.compat.v1.Print(flat(tf, seen), [seen]), "Print"),
    ],
)
def test_operations_that_do_more_than_arithmetic(tmp_path: Path, build: Any, op: str) -> None:
    told = reason(tmp_path, car_bundle(graph_of(build), METADATA.encode()))
    assert re.search(rf"({op}).*arithmetic alone|functions of its own", told)
    assert not any(re.search(op, it) for it in PLAIN_OPS)


def test_what_is_no_model(tmp_path: Path) -> None:
    graph = constant_graph(MODEL, 0)
    assert "a whole .tar.gz or .zip" in reason(tmp_path, b"hello")
    assert "a whole .tar.gz or .zip" in reason(tmp_path, car_bundle(graph, METADATA.encode())[:-50])
    assert "a model's folder" in reason(tmp_path, tar({"readme.txt": b"hello"}))
    assert "no model_metadata.json" in reason(tmp_path, tar({"agent/model.pb": graph}))
    assert "valid JSON" in reason(tmp_path, car_bundle(graph, b"{"))
    assert "is no policy" in reason(tmp_path, car_bundle(b"\0\1\2", METADATA.encode()))
    assert "has 0 nodes named policy" in reason(tmp_path, car_bundle(b"", METADATA.encode()))


def test_links_and_names_that_leave_the_folder_are_nothing(tmp_path: Path) -> None:
    content = io.BytesIO()
    with tarfile.open(fileobj=content, mode="w:gz") as packed:
        for name, target in (("agent/model.pb", "/etc/passwd"), ("model_metadata.json", "../../secret")):
            link = tarfile.TarInfo(name)
            link.type, link.linkname = tarfile.SYMTYPE, target
            packed.addfile(link)
        outside = tarfile.TarInfo("../agent/model.pb")
        packed.addfile(outside, io.BytesIO())
    assert "a model's folder" in reason(tmp_path, content.getvalue())


def test_a_graph_with_functions_is_refused() -> None:
    tf = quiet_import("tensorflow")
    definition = tf.compat.v1.GraphDef()
    definition.library.function.add().signature.name = "sneaky"
    with pytest.raises(UndercutError, match="no functions of its own"):
        check_graph(definition.SerializeToString(), "graph", SMALL)
