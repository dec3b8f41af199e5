"""Beginning from models of other trainers: what is read, what a network takes over, and what is refused."""

import json
import tarfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from typer.testing import CliRunner

from contract import artifacts
from contract.archive import Archive
from contract.config import RunConfig
from contract.errors import CheckpointError, InputError
from contract.hyperparameters import Hyperparameters
from contract.metadata import ModelMetadata
from contract.runtime import quiet_import
from contract.state import UInt8Array
from contract.stores.local import LocalStore
from simapp.policy import FrozenPolicy
from tests.foreign_model import CAMERA, FIVE, ForeignModel, checkpoint, metadata_json, pointers, write
from tests.stock_coach import episode
from trainer.agents import CoachAgent, SacAgent
from trainer.checkpoints import Checkpoints
from trainer.common.weights import checkpoint_weights
from trainer.pretrained import ModelFolder, Pretrained, begin_from
from undercut.cli.main import app
from undercut.runs import pretraining
from undercut.runs.run import DEFAULT_HYPERPARAMETERS, DEFAULT_REWARD, Run

MODEL = ModelMetadata.parse(metadata_json())
FAST = [(angle, speed + 2.0) for angle, speed in FIVE]
SEVEN = [(-30.0, 1.0), (-20.0, 1.0), (-15.0, 1.5), (0.0, 1.0), (0.0, 2.0), (15.0, 1.5), (30.0, 1.0)]
HALF = {"data-00000-of-00001": b"data", "index": b"index", "meta": b"meta"}
"""A checkpoint that nobody reads the variables of."""


@pytest.fixture(scope="module")
def foreign() -> ForeignModel:
    return ForeignModel(seed=1)


@pytest.fixture(scope="module")
def files(foreign: ForeignModel) -> dict[str, bytes]:
    return foreign.files()


@pytest.fixture(scope="module")
def agent() -> CoachAgent:
    return CoachAgent(MODEL, Hyperparameters(batch_size=8, num_epochs=1), seed=3)


@pytest.fixture(scope="module")
def frames() -> UInt8Array:
    return np.random.default_rng(0).integers(0, 256, (3, 120, 160, 1), dtype=np.uint8)


def source(files: dict[str, bytes], metadata: str | None = None, **more: Any) -> Pretrained:
    own = ModelMetadata.parse(metadata or metadata_json())
    return Pretrained("old/7_Step-700.ckpt", 7, 700, None, own, files, **more)


def probabilities(agent: CoachAgent, model: ModelMetadata, frames: UInt8Array) -> Any:
    policy = FrozenPolicy(agent.export(), model)
    try:
        return policy.distribution({CAMERA: frames}).probabilities
    finally:
        policy.close()


@pytest.mark.slow
def test_a_new_agent_says_what_the_foreign_model_says(
    agent: CoachAgent, foreign: ForeignModel, files: dict[str, bytes], frames: UInt8Array
) -> None:
    agent.train([episode(0, 8, MODEL)], 0)  # leaves an optimiser with a state
    assert begin_from(source(files), agent, MODEL, remap=False) == []
    policy, value = foreign.says(frames)
    assert policy.std(axis=1).min() > 0.01, "a policy that says something"
    np.testing.assert_allclose(probabilities(agent, MODEL, frames), policy, atol=2e-5)
    values, _ = agent._ppo.evaluate({CAMERA: frames})
    np.testing.assert_allclose(values, value, rtol=1e-4, atol=1e-4)
    state = agent._session.run({n: v for n, v in agent._checkpoint._variables.items() if n not in foreign.weights})
    slots = [values for name, values in state.items() if name.endswith(("/Adam", "/Adam_1"))]
    assert len(slots) > 40 and not any(values.any() for values in slots), "the optimiser begins anew"


def test_a_frozen_graph_gives_the_policy_only(agent: CoachAgent, foreign: ForeignModel, frames: UInt8Array) -> None:
    before = agent.weights()
    graph = Pretrained("agent/model.pb", 0, 0, None, MODEL, policy_pb=foreign.frozen())
    assert "value network begins anew" in begin_from(graph, agent, MODEL, remap=False)[0]
    np.testing.assert_allclose(probabilities(agent, MODEL, frames), foreign.says(frames)[0], atol=2e-5)
    after = agent.weights()
    for name, value in after.items():
        assert np.array_equal(value, before[name] if "/network_0/" in name else foreign.weights[name]), name


@pytest.mark.slow
def test_other_actions_are_remapped_on_request(agent: CoachAgent, frames: UInt8Array) -> None:
    wide = ForeignModel(seed=2, actions=7)
    seven = source(wide.files(), metadata_json(SEVEN))
    with pytest.raises(InputError, match="--remap-actions"):
        begin_from(seven, agent, MODEL, remap=False)
    assert begin_from(seven, agent, MODEL, remap=True) == ["actions: 5 kept"]
    said = wide.says(frames)[0][:, [0, 2, 4, 5, 6]]
    np.testing.assert_allclose(probabilities(agent, MODEL, frames), said / said.sum(axis=1, keepdims=True), atol=5e-5)


@pytest.mark.slow
def test_soft_actor_critic_takes_over_its_networks_and_their_target() -> None:
    """AWS saves neither the target network nor the replay memory."""
    ranges = {"steering_angle": {"low": -30, "high": 30}, "speed": {"low": 1, "high": 2}}
    kind: dict[str, Any] = {"training_algorithm": "sac", "action_space_type": "continuous", "action_space": ranges}
    old, other = (
        metadata_json(**kind),
        metadata_json(**{**kind, "action_space": {**ranges, "speed": {"low": 1, "high": 4}}}),
    )
    first, second = (SacAgent(ModelMetadata.parse(old), Hyperparameters(), seed=seed) for seed in (1, 2))
    files = {suffix: content for suffix, content in first.save().items() if suffix in HALF}
    assert begin_from(source(files, old), second, ModelMetadata.parse(old), remap=False) == []
    wanted, found = first.weights(), second.weights()
    assert {name.split("/")[2] for name in found} == {"policy", "q", "v"}
    assert all(np.array_equal(value, wanted[name]) for name, value in found.items())
    target = {n: v for n, v in second._checkpoint._variables.items() if "/target/" in n and not n.endswith("_step")}
    for name, value in second._session.run(target).items():
        assert np.array_equal(value, wanted[name.replace("/target/", "/online/")]), name
    with pytest.raises(InputError, match="with sac actions cannot be remapped"):
        begin_from(source(files, other), second, ModelMetadata.parse(old), remap=True)


def test_only_the_online_or_shared_weights_are_read(tmp_path: Path) -> None:
    """A stock rl_coach saves more than AWS does, and calls the network of several trainers global."""
    v1 = quiet_import("tensorflow").compat.v1
    towers = {f"main_level/agent/main/{kind}/network_0/{CAMERA}/Conv2d_0/kernel": kind for kind in ("global", "target")}
    online = "main_level/agent/main/online"
    others = {"global_step", f"{online}/global_step", f"{online}/beta1_power", f"{online}/network_0/v/kernel/Adam"}
    names = {*towers, *others, *(f"{online}/{name}/Adam_1" for name in towers)}
    with v1.Graph().as_default(), v1.Session() as session:
        variables = {name: v1.Variable([float(len(name))]) for name in names}
        session.run(v1.global_variables_initializer())
        v1.train.Saver(variables).save(session, str(tmp_path / "m"), write_state=False)
    found = checkpoint_weights({path.name.removeprefix("m."): path.read_bytes() for path in tmp_path.iterdir()}, "x")
    kernel = next(name for name, kind in towers.items() if kind == "global")
    assert found == {kernel.replace("global", "online"): [float(len(kernel))]}


# --- what is refused, with both sides ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("old", "words"),
    [
        (metadata_json(FAST), ["5 actions", "-30° 3 m/s", "-30° 1 m/s", "30° 3 m/s", "30° 1 m/s"]),
        (metadata_json(neural_network="DEEP_CONVOLUTIONAL_NETWORK"), ["NETWORK\n", "NETWORK_DEEP", "neural_network"]),
        (metadata_json(sensor=["STEREO_CAMERAS", "LIDAR"]), ["LIDAR, STEREO_CAMERAS", f"new: {CAMERA}", "sensor"]),
        (
            metadata_json(
                training_algorithm="sac",
                action_space_type="continuous",
                action_space={k: {"low": 1, "high": 2} for k in ("steering_angle", "speed")},
            ),
            ["pretrained: sac", "new: clipped_ppo"],
        ),
    ],
)
def test_models_of_another_kind_are_refused(
    agent: CoachAgent, files: dict[str, bytes], old: str, words: list[str]
) -> None:
    before = agent.weights()
    with pytest.raises(InputError) as caught:
        begin_from(source(files, old), agent, MODEL, remap=False)
    for word in ["old/7_Step-700.ckpt", *words]:
        assert word in str(caught.value)
    assert all(np.array_equal(value, before[name]) for name, value in agent.weights().items())


def test_weights_of_another_shape_are_listed(agent: CoachAgent) -> None:
    narrow = source(ForeignModel(seed=1, middleware=(64,)).files())
    with pytest.raises(InputError) as caught:
        begin_from(narrow, agent, MODEL, remap=False)
    for word in (
        "10 of 36 weights differ",  # of each tower, the two middle layers and the kernel of the head
        "network_1/middleware_fc_embedder/Dense_0/kernel: pretrained [9216, 64], new [9216, 256]",
        "network_0/middleware_fc_embedder/Dense_2/bias: pretrained none, new [128]",
    ):
        assert word in str(caught.value)


def test_metadata_that_is_not_the_models_is_refused(agent: CoachAgent, files: dict[str, bytes]) -> None:
    with pytest.raises(InputError, match="this one's head has 5 outputs"):
        begin_from(source(files, metadata_json(SEVEN)), agent, MODEL, remap=True)


def test_files_that_are_of_no_use(agent: CoachAgent, foreign: ForeignModel, files: dict[str, bytes]) -> None:
    data = files["data-00000-of-00001"]
    flipped = bytearray(data)
    flipped[len(data) // 2] ^= 1
    for broken, words in (
        ({**files, "data-00000-of-00001": data[: len(data) // 2]}, "is corrupt"),
        ({**files, "data-00000-of-00001": bytes(flipped)}, "is corrupt"),
        ({**files, "index": files["index"][:100]}, "is corrupt"),
        ({"index": files["index"]}, r"lacks \.data-00000-of-00001"),
    ):
        with pytest.raises(CheckpointError, match=rf"old/7_Step-700.ckpt {words}(.|\n)*fix:  copy or download"):
            begin_from(source(broken), agent, MODEL, remap=False)
    for graph, words in ((b"\xff" * 50, "corrupt"), (b"", "no weights named"), (foreign.frozen()[:-5000], "corrupt")):
        with pytest.raises(CheckpointError, match=f"model.pb.*{words}"):
            begin_from(Pretrained("model.pb", 0, 0, None, MODEL, policy_pb=graph), agent, MODEL, remap=False)


# --- where a model's files are ----------------------------------------------------------------------------------------


def folder(path: Path, prefix: str, **more: str) -> Path:
    content = checkpoint("3_Step-300.ckpt", HALF, prefix) | checkpoint("11_Step-900.ckpt", HALF, prefix)
    return write(path, {**content, f"{prefix}model_metadata.json": metadata_json(), **more})


@pytest.mark.parametrize("prefix", ["", "model/"])
def test_best_and_last_with_and_without_a_model_folder(tmp_path: Path, prefix: str) -> None:
    path = folder(tmp_path, prefix)
    model = ModelFolder(LocalStore(path), "m")
    assert model.load("best").iteration == model.load("last").iteration == 11, "nothing says: the newest"
    write(path, {f"{prefix}.coach_checkpoint": "3_Step-300.ckpt\n"})
    assert ModelFolder(LocalStore(path), "m").load("last").steps == 300
    write(
        path, {f"{prefix}deepracer_checkpoints.json": pointers(("3_Step-300.ckpt", 97.5), ("11_Step-900.ckpt", 60.0))}
    )
    best, last = (ModelFolder(LocalStore(path), "m").load(which) for which in ("best", "last"))
    assert (best.iteration, best.steps, best.avg_eval_metric, last.iteration) == (3, 300, 97.5, 11)
    assert best.metadata == MODEL and best.files == HALF and best.where == f"m/{prefix}3_Step-300.ckpt"


def test_archives_and_folders_around_a_model(tmp_path: Path) -> None:
    folder(tmp_path / "in" / "download", "model/")
    with tarfile.open(tmp_path / "m.tar.gz", "w:gz") as tar:
        tar.add(tmp_path / "in", ".")
    for files in (LocalStore(tmp_path / "in"), Archive(tmp_path / "m.tar.gz")):
        assert ModelFolder(files, "m").load("last").files == HALF
    whole = (tmp_path / "m.tar.gz").read_bytes()
    (tmp_path / "half.tar.gz").write_bytes(whole[: len(whole) // 2])
    with pytest.raises(InputError, match=r"half.tar.gz.*\n.*whole .tar.gz"):
        Archive(tmp_path / "half.tar.gz")


def test_folders_that_are_not_a_models(tmp_path: Path) -> None:
    def refused(error: type[Exception], which: Any = "last") -> str:
        with pytest.raises(error) as caught:
            ModelFolder(LocalStore(tmp_path), "m").load(which)
        return str(caught.value)

    assert "'nothing'" in refused(InputError)
    write(tmp_path, {"sim-trace/training/training-simtrace/0-iteration.csv": "episode,steps"})
    said = refused(InputError)
    assert "only simtraces" in said and "model/N_Step-S.ckpt.index" in said and "agent/model.pb" in said
    write(tmp_path, {"model/5_Step-50.ckpt.index": b"x"})
    assert "not whole: 5_Step-50.ckpt.data-00000-of-00001 missing" in refused(CheckpointError)
    folder(tmp_path, "model/")
    write(tmp_path, {"model/deepracer_checkpoints.json": pointers(("9_Step-9.ckpt", 1.0), ("3_Step-300.ckpt", 1.0))})
    assert "choose one that is whole (3_Step-300.ckpt, 11_Step-900.ckpt)" in refused(CheckpointError, "best")
    write(tmp_path, {"model/deepracer_checkpoints.json": '{"best_checkpoint": {}}'})
    assert "last_checkpoint and its name" in refused(InputError)
    write(tmp_path, {"model/deepracer_checkpoints.json": pointers(("../../x", 1.0), ("../../x", 1.0))})
    assert "a checkpoint's name, such as" in refused(InputError)
    write(tmp_path / "two", {"a/model/model_1.pb": b"", "b/model/model_2.pb": b""})
    with pytest.raises(InputError, match="a/, b/"):
        ModelFolder(LocalStore(tmp_path / "two"), "m")


# --- runs that begin from another model -------------------------------------------------------------------------------


def test_only_a_run_without_a_checkpoint_begins_from_the_pretrained_model(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, agent: CoachAgent, foreign: ForeignModel, files: dict[str, bytes]
) -> None:
    monkeypatch.chdir(tmp_path)
    write(tmp_path, {**checkpoint("7_Step-700.ckpt", files, "old/model/"), "actions.json": metadata_json()})
    hyper = json.dumps({"pretrained_s3_bucket": "local", "pretrained_s3_prefix": "old"})
    write(tmp_path, {"hyper.json": hyper})
    config = pretraining.settled(RunConfig(name="new"), Path("actions.json"), Path("hyper.json"))
    assert config.pretrained == "old"
    run = Run.create(config, DEFAULT_REWARD, Path("actions.json"), Path("hyper.json"))
    agent.load_weights({name: 0.0 * value for name, value in agent.weights().items()})
    said = pretraining.begin(run, agent)
    assert said[0] == "pretrained: old/model/7_Step-700.ckpt" and "no model_metadata.json" in said[1]
    assert all(np.array_equal(value, foreign.weights[name]) for name, value in agent.weights().items())
    Checkpoints(run.store).save(0, 10, HALF, b"", 0.0, {})
    agent.load_weights({name: 2.0 * value for name, value in agent.weights().items()})
    later = agent.weights()
    assert pretraining.begin(run, agent) == []
    assert all(np.array_equal(value, later[name]) for name, value in agent.weights().items())
    with pytest.raises(InputError, match="keeps its pretrained: 'old'"):
        run.remake(config.model_copy(update={"pretrained": "other"}))


@pytest.mark.parametrize(
    ("bucket", "prefix", "expected"),
    [
        (None, None, ""),
        (None, "runs/first", "runs/first"),
        ("local", "first", "first"),
        ("my-bucket", "/rl-deepracer/1/", "s3://my-bucket/rl-deepracer/1"),
    ],
)
def test_hyperparameters_name_the_pretrained_model(bucket: str | None, prefix: str | None, expected: str) -> None:
    assert pretraining.source_of(Hyperparameters(pretrained_s3_bucket=bucket, pretrained_s3_prefix=prefix)) == expected


def test_a_bucket_without_a_prefix_and_a_bucket_that_is_none() -> None:
    with pytest.raises(InputError, match="pretrained_s3_prefix"):
        pretraining.source_of(Hyperparameters(pretrained_s3_bucket="local"))
    with pytest.raises(InputError, match="s3://my-bucket"):
        pretraining.model_folder("s3://No_Bucket/prefix")


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--pretrained", "nobody"], ["nobody", "a run in runs/"]),
        (["--pretrained", "s3://b/p"], ["s3://b/p", "a bucket is 3 to 63"]),
        (["--pretrained", "old", "--actions", "fast.json"], ["-30° 1 m/s", "-30° 3 m/s", "--remap-actions"]),
        (["--pretrained", "old"], ["neural_network", "NETWORK_SHALLOW"]),
        (["--remap-actions"], ["remap_actions", "--pretrained RUN"]),
    ],
)
def test_what_cannot_be_begun_from_leaves_no_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, arguments: list[str], words: list[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    folder(tmp_path / "old", "model/")
    write(tmp_path, {"fast.json": metadata_json(FAST)})
    with pytest.raises(InputError) as caught:
        CliRunner().invoke(app, ["train", "x", *arguments], catch_exceptions=False)
    for word in words:
        assert word in str(caught.value)
    assert not (tmp_path / "runs").exists()


def test_a_checkpoint_is_the_best_or_the_last(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    folder(tmp_path / "old", "model/")
    done = CliRunner().invoke(app, ["train", "x", "--pretrained", "old", "--pretrained-checkpoint", "first"])
    told = " ".join(done.output.replace("│", " ").split())
    assert done.exit_code == 2 and "'first' is not one of 'best', 'last'" in told
    assert not (tmp_path / "runs").exists()


@pytest.mark.slow
def test_a_run_begun_from_a_foreign_model_resumes_as_if_never_stopped(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, files: dict[str, bytes]
) -> None:
    monkeypatch.chdir(tmp_path)
    write(tmp_path, {**checkpoint("7_Step-700.ckpt", files, "old/model/"), "old/model_metadata.json": metadata_json()})
    write(tmp_path, {"actions.json": metadata_json(SEVEN)})
    hyper = json.loads(DEFAULT_HYPERPARAMETERS.read_text()) | {"num_episodes_between_training": 5}
    write(tmp_path, {"hyper.json": json.dumps(hyper)})

    def train(name: str, iterations: int) -> Path:
        new = ["--actions", "actions.json", "--hyper", "hyper.json", "--pretrained", "old", "--remap-actions"]
        short = ["--cars", "5", "--laps", "1", "--clean-evaluations", "0", "--iterations", str(iterations)]
        result = CliRunner().invoke(app, ["train", name, *new, *short], catch_exceptions=False)
        assert result.exit_code == 0, result.output
        return tmp_path / "runs" / name

    whole = train("whole", 2)
    train("parts", 1)
    parts = train("parts", 2)
    assert (whole / artifacts.TRAINING_METRICS).read_bytes() == (parts / artifacts.TRAINING_METRICS).read_bytes()
    data = next(whole.glob("model/1_*.data-*"))
    assert data.read_bytes() == (parts / "model" / data.name).read_bytes()
    assert json.loads((parts / artifacts.RUN_CONFIG).read_text())["pretrained"] == "old"
