"""Downloaded models become runs: what is kept, what stands in for what is missing, and what is refused."""

import io
import json
import tarfile
import warnings
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from typer.testing import CliRunner

from contract import artifacts
from contract.errors import CheckpointError, InputError, InputWarning
from contract.metadata import ModelMetadata
from contract.metrics import EvaluationRow, TrainingRow, parse_training_metrics
from contract.simtrace import from_csv
from contract.state import FloatArray
from simapp.policy import FrozenPolicy
from tests.conftest import SHARED_REFERENCE
from tests.foreign_model import CAMERA, FIVE, ForeignModel, checkpoint, metadata_json, pointers, write
from trainer.agents import make_agent
from trainer.checkpoints import CheckpointRecord, Checkpoints
from trainer.common.weights import Weights
from trainer.journal import RunJournal
from undercut.cli.main import app
from undercut.interchange.importing import ImportedModel, import_model
from undercut.runs.run import DEFAULT_REWARD, Run

pytestmark = pytest.mark.usefixtures("racer")

REWARD = "def reward_function(params):\n    return params['progress'] / 100.0\n"
HYPERPARAMETERS = {"batch_size": "32", "num_epochs": 3, "num_episodes_between_training": 10, "some_new_key": 1}
PARAMS = (
    'JOB_TYPE: "TRAINING"\nWORLD_NAME: "paddock_cw"\nREVERSE_DIR: "True"\nNUM_WORKERS: "2"\nBEST_MODEL_METRIC: reward\n'
)
TRAINING = TrainingRow(12, 5000, 1000, 4000, 80, 10, "training", 55, "Off track")
EVALUATION = EvaluationRow(100, 9000, 0, 9000, "Lap complete", 0, 0, 0, 0, 0, 1)


FRAMES = np.random.default_rng(0).integers(0, 256, (3, 120, 160, 1), dtype=np.uint8)


@dataclass
class Saved:
    """What a foreign model says of FRAMES, and its files and weights at that time."""

    says: NDArray[np.float32]
    files: dict[str, bytes]
    weights: Weights
    frozen: bytes

    @classmethod
    def of(cls, model: ForeignModel) -> "Saved":
        return cls(model.says(FRAMES)[0], model.files(), dict(model.weights), model.frozen())


@pytest.fixture(scope="module")
def saved() -> tuple[Saved, Saved]:
    """The best and the last checkpoint."""
    model = ForeignModel(seed=1)
    best = Saved.of(model)
    model.train(seed=2)
    return best, Saved.of(model)


def download(path: Path, saved: tuple[Saved, Saved]) -> Path:
    """As the console and DeepRacer-for-Cloud leave a model."""
    names = ("7_Step-700.ckpt", "9_Step-950.ckpt")
    return write(
        path,
        {
            **checkpoint(names[0], saved[0].files),
            **checkpoint(names[1], saved[1].files),
            "model/deepracer_checkpoints.json": pointers((names[0], 97.5), (names[1], 60.0)),
            "model/.coach_checkpoint": names[1],
            "model/model_metadata.json": metadata_json(),
            "ip/hyperparameters.json": json.dumps(HYPERPARAMETERS),
            "reward_function.py": REWARD,
            "training_params.yaml": PARAMS,
            "metrics/TrainingMetrics.json": json.dumps({"metrics": [asdict(TRAINING)]}),
            "metrics/evaluation/EvaluationMetrics-2.json": json.dumps({"metrics": [asdict(EVALUATION)]}),
            "sim-trace/training/training-simtrace/9-iteration.csv": "training 9",
            "sim-trace/training/evaluation-simtrace/9-iteration.csv": "check 9",
            "sim-trace/evaluation/20240101-x/evaluation-simtrace/0-iteration.csv": "evaluation",
        },
    )


def said_by(run: Run, record: CheckpointRecord | None) -> FloatArray:
    """What a checkpoint's policy says of FRAMES."""
    assert record is not None
    policy = FrozenPolicy(Checkpoints(run.store).load_policy(record), run.files.metadata)
    said = policy.distribution({CAMERA: FRAMES}).probabilities
    policy.close()
    assert said is not None
    return said


@pytest.mark.slow
def test_a_download_becomes_a_run(racer: Path, saved: tuple[Saved, Saved]) -> None:
    download(racer / "My model (1)" / "inner", saved)
    result = CliRunner().invoke(app, ["import", "My model (1)"], catch_exceptions=False)
    assert result.exit_code == 0, result.output
    run = Run.open("My-model-1")
    assert f"undercut evaluate {run.config.name}" in result.output and "some_new_key" in result.output
    assert (run.config.track, run.config.reverse_dir, run.config.training.best_model_metric) == (
        "paddock_cw",
        True,
        "reward",
    )
    assert (run.config.training.max_iterations, run.config.training.max_steps) == (70, 45_950), (
        "as much as a new run has"
    )
    assert (run.files.hyperparameters.batch_size, run.files.hyperparameters.num_episodes_between_training) == (32, 10)
    assert run.store.get(artifacts.REWARD_FUNCTION).decode() == REWARD
    assert b"NUM_WORKERS: '2'" in run.store.get(artifacts.TRAINING_PARAMS)
    for key, content in (
        (artifacts.training_simtrace(9), b"training 9"),
        (artifacts.training_evaluation_simtrace(9), b"check 9"),
        (artifacts.evaluation_simtrace(), b"evaluation"),
    ):
        assert run.store.get(key) == content
    assert json.loads(run.store.get(artifacts.EVALUATION_METRICS))["metrics"] == [asdict(EVALUATION)]

    checkpoints = Checkpoints(run.store)
    best, last = checkpoints.best(), checkpoints.last()
    assert best is not None and last is not None
    assert (best.name, best.avg_eval_metric, last.name) == ("7_Step-700.ckpt", 97.5, "9_Step-950.ckpt")
    for record, model in zip((best, last), saved, strict=True):
        np.testing.assert_allclose(said_by(run, record), model.says, atol=2e-5)
    text = run.store.get(artifacts.TRAINING_METRICS).decode()
    assert parse_training_metrics(text, "x") == [TRAINING]
    _check_a_copied_run(run)


@pytest.mark.slow
def test_an_imported_run_is_trained_on_from_its_last_checkpoint(racer: Path, saved: tuple[Saved, Saved]) -> None:
    import_model(str(download(racer / "old", saved)))
    run = Run.open("old")
    agent = make_agent(run.files.metadata, run.files.hyperparameters, seed=5)
    journal = RunJournal(run.store, run.config.name, 10.0, "reward", 3e-4)
    progress = journal.resume(agent)
    assert (progress.iteration, progress.episodes, progress.steps, progress.simulated_s) == (10, 80, 950, 5.0)
    weights = agent.weights()
    assert all(np.array_equal(value, saved[1].weights[name]) for name, value in weights.items())


def _check_a_copied_run(run: Run) -> None:
    """Runs are imported as they are, optimiser included; a broken one not at all."""
    made = import_model(str(Path(run.store.where())), "copied")
    assert made == ImportedModel("copied", ["7_Step-700.ckpt", "9_Step-950.ckpt"], [f"it was run {run.config.name}"])
    copied = Run.open("copied")
    assert copied.config == run.config.model_copy(update={"name": "copied"})
    same = [key for key in run.store.list("model/") if run.store.get(key) == copied.store.get(key)]
    assert same == run.store.list("model/")
    assert copied.store.exists(artifacts.car_bundle("copied"))
    data = next(Path(run.store.where()).glob("model/7_*.data-*"))
    data.write_bytes(data.read_bytes()[:1000])
    with pytest.raises(CheckpointError, match=r"7_Step-700\.ckpt\.data-00000-of-00001 has 1,000 bytes"):
        import_model(str(Path(run.store.where())), "broken")
    assert [path.name for path in Path("runs").iterdir() if path.name not in (run.config.name, "copied")] == []


@pytest.mark.slow
def test_a_car_bundle_drives_and_says_what_is_missing(racer: Path, saved: tuple[Saved, Saved]) -> None:
    with tarfile.open("bundle.tar.gz", "w:gz") as tar:
        for name, content in (
            ("agent/model.pb", saved[0].frozen),
            ("model_metadata.json", metadata_json().encode()),
        ):
            member = tarfile.TarInfo(name)
            member.size = len(content)
            tar.addfile(member, io.BytesIO(content))
    made = import_model("bundle.tar.gz")
    run = Run.open("bundle")
    assert run.config.track == "paddock"
    assert run.store.get(artifacts.REWARD_FUNCTION) == DEFAULT_REWARD.read_bytes()
    for words in (
        "no checkpoint: evaluate drives its frozen policy",
        "no ip/hyperparameters.json: ",
        "no reward_function.py: ",
        "no training_params.yaml: ",
        "no training metrics: ",
        "no simtraces: ",
        "value network begins anew",
    ):
        assert any(note.startswith(words) or words in note for note in made.notes), words
    np.testing.assert_allclose(said_by(run, Checkpoints(run.store).best()), saved[0].says, atol=2e-5)


@pytest.mark.slow
def test_checkpoints_that_cannot_be_used_leave_no_run(racer: Path, saved: tuple[Saved, Saved]) -> None:
    download(racer / "old", saved)
    data = racer / "old" / "model" / "9_Step-950.ckpt.data-00000-of-00001"
    whole = data.read_bytes()
    data.write_bytes(whole[:1000])
    with pytest.raises(CheckpointError, match=r"old/model/9_Step-950\.ckpt is corrupt"):
        import_model("old")
    data.write_bytes(whole)
    six = metadata_json([*FIVE, (0.0, 1.0)])
    write(racer, {"six.json": six})
    with pytest.raises(InputError, match=r"ppo_head_0/policy_fc/bias: pretrained \[5\], new \[6\]"):
        import_model("old", metadata=racer / "six.json")
    assert list((racer / "runs").glob("*")) == []


def test_what_is_refused_leaves_no_run(racer: Path) -> None:
    def refused(error: type[Exception], source: str = "old", name: str | None = None, track: str | None = None) -> str:
        with pytest.raises(error) as caught:
            import_model(source, name, track)
        assert not (racer / "runs").exists() or list((racer / "runs").iterdir()) == []
        return str(caught.value)

    assert "nowhere" in refused(InputError, "nowhere")
    write(racer / "traces", {"training-simtrace/0-iteration.csv": "x"})
    assert "only simtraces" in refused(InputError, "traces")
    write(racer / "old", checkpoint("4_Step-4.ckpt", {"index": b"i", "data-00000-of-00001": b"d"}))
    assert "give it with --metadata" in refused(InputError)
    write(racer / "old", {"model_metadata.json": metadata_json()})
    assert "letters, digits" in refused(InputError, name="a/b")
    assert "nurburgring" in refused(InputError, track="nurburgring")
    write(racer / "old", {"reward_function.py": "def reward_function(params:\n"})
    assert "old/reward_function.py, line 1" in refused(InputError)
    write(racer / "old", {"reward_function.py": REWARD, "ip/hyperparameters.json": '{"lr": "fast"}'})
    assert "old/ip/hyperparameters.json: lr" in refused(InputError)
    write(racer / "old", {"ip/hyperparameters.json": "{}", "training_params.yaml": 'WORLD_NAME: "nurburgring"\n'})
    assert "nurburgring" in refused(InputError)
    write(racer / "old", {"model/.coach_checkpoint": "6_Step-6.ckpt"})
    said = refused(CheckpointError)
    assert "6_Step-6.ckpt.index missing" in said and "whole (4_Step-4.ckpt)" in said
    write(racer, {"runs/taken/notes.txt": "mine"})
    with pytest.raises(InputError, match="taken exists"):
        import_model("old", "taken")


@pytest.mark.slow
def test_a_model_of_2019_is_imported_and_drives_what_the_car_can(racer: Path, saved: tuple[Saved, Saved]) -> None:
    """35 degrees and 6 m/s were the limits of the console's first year."""
    wide = [(-35.0, 1.0), (-35.0, 6.0), (0.0, 6.0), (35.0, 6.0), (35.0, 1.0)]
    download(racer / "old", saved)
    write(
        racer / "old",
        {
            "model/model_metadata.json": metadata_json(wide),
            "ip/hyperparameters.json": '{"batch_size": 1024, "num_epochs": 1, "stack_size": 3}',
        },
    )
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        made = import_model("old")
    [note] = [note for note in made.notes if "degrees" in note]
    assert note.startswith("old/model_metadata.json: action_space[0].steering_angle: -35.0")
    assert "drives with -30 to 30 degrees, 1 to 4 m/s" in note
    assert sum("outside of the console's form" in note for note in made.notes) == 3
    write(
        racer, {"eval.yaml": "NUMBER_OF_TRIALS: 1\nNUMBER_OF_RESETS: 0\nEVAL_CHECKPOINT: last\nWORLD_NAME: paddock\n"}
    )
    with warnings.catch_warnings():
        warnings.simplefilter("error", InputWarning)  # it was said when the model was imported
        told = CliRunner().invoke(
            app, ["evaluate", "old", "--params", "eval.yaml", "--no-video", "--json"], catch_exceptions=False
        )
    assert told.exit_code == 0, told.output
    assert json.loads(told.stdout)["checkpoint"] == 9
    run = Run.open("old")
    traces = from_csv(run.store.get(artifacts.evaluation_simtrace()).decode(), "x")
    assert traces[0].steps["speed_mps"].max() > 0.0
    moved_m = np.hypot(np.diff(traces[0].steps["x_m"]), np.diff(traces[0].steps["y_m"]))
    assert moved_m.max() < 4.5 / 15, "the car does 4 m/s"


@pytest.mark.slow
@pytest.mark.skipif(not SHARED_REFERENCE.is_dir(), reason="recorded files of real runs are not here")
def test_recorded_files_of_a_real_run(racer: Path) -> None:
    recorded = SHARED_REFERENCE / "metrics"
    text = (recorded / "drfc-model_metadata.json").read_text()
    size = ModelMetadata.parse(text).actions.size
    assert ModelMetadata.parse(text).network == "DEEP_CONVOLUTIONAL_NETWORK_SHALLOW"
    write(
        racer / "real",
        {
            **checkpoint("20_Step-41300.ckpt", ForeignModel(3, size, shallow=True).files()),
            "model/model_metadata.json": text,
            "ip/hyperparameters.json": (recorded / "drfc-hyperparameters.json").read_text(),
            "metrics/TrainingMetrics.json": (recorded / "drfc-TrainingMetrics.json").read_text(),
            "metrics/EvaluationMetrics-1.json": (recorded / "drfc-EvaluationMetrics.json").read_text(),
            "training-simtrace/0-iteration.csv": (
                SHARED_REFERENCE / "simtraces" / "drfc-reinvent_base" / "0-iteration.csv"
            ).read_text(),
        },
    )
    made = import_model("real", track="paddock")
    assert made.checkpoints == ["20_Step-41300.ckpt"]
    assert [note.split(":")[0] for note in made.notes] == ["no reward_function.py", "no optimiser's state"]
    assert Run.open("real").store.exists(artifacts.training_simtrace(0))
