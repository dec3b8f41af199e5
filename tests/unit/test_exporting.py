"""Exports: every layout's files, deepracer-utils on them, atomic writing, and what is refused."""

import json
import tarfile
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import yaml
from deepracer.logs import DeepRacerLog, TrainingMetrics
from deepracer.logs.handler import TarFileHandler
from deepracer.logs.misc import LogFolderType, LogType
from typer.testing import CliRunner

from contract import artifacts
from contract.errors import CheckpointError, InputError, StoreError
from contract.params import read_training_params
from contract.stores.local import LocalStore
from tests.exported import ITERATIONS, PER_ITERATION, Driven, content, driven_run, steps_of
from trainer.checkpoints import Checkpoints
from undercut.cli.main import app
from undercut.interchange import layouts
from undercut.interchange.exporting import export
from undercut.runs.run import Run

EVERYWHERE = {
    "model/3_Step-100.ckpt.index",
    "model/model_3.pb",
    "model/deepracer_checkpoints.json",
    "model/.coach_checkpoint",
    "model/model_metadata.json",
    "ip/hyperparameters.json",
    "reward_function.py",
    "training_params.yaml",
}
KINDS = {
    "console": LogFolderType.CONSOLE_MODEL_WITH_LOGS,
    "drfc": LogFolderType.DRFC_MODEL_SINGLE_WORKERS,
    "droa": LogFolderType.DROA_SOLUTION_LOGS,
}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    with pytest.MonkeyPatch.context() as patch:
        # deepracer-utils makes an S3 client even for a file on disk
        patch.setenv("AWS_DEFAULT_REGION", "us-east-1")
        patch.setenv("AWS_EC2_METADATA_DISABLED", "true")
        patch.chdir(tmp_path_factory.mktemp("racer"))
        yield Path.cwd()


@pytest.fixture(scope="module")
def driven(folder: Path) -> Driven:
    driven = driven_run()
    for layout in layouts.LAYOUTS:
        export(driven.run, layout, Path(layout))
        export(driven.run, layout, Path(f"{layout}.tar.gz"))
    return driven


@pytest.mark.usefixtures("driven")
def test_every_layout_has_its_files(folder: Path) -> None:
    found = {layout: set(content(folder / layout)) for layout in layouts.LAYOUTS}
    stamp, iso = (_one(f"{layout}/sim-trace/evaluation").removesuffix("-mine") for layout in ("console", "droa"))
    both = EVERYWHERE | {"model_metadata.json"}
    assert found["console"] == both | {
        "evaluation_params.yaml",
        f"metrics/training/training-{stamp}-mine.json",
        f"metrics/evaluation/evaluation-{stamp}-mine.json",
        *(f"sim-trace/training/training-simtrace/{i}-iteration.csv" for i in range(ITERATIONS)),
        *(f"sim-trace/training/evaluation-simtrace/{i}-iteration.csv" for i in range(ITERATIONS)),
        f"sim-trace/evaluation/{stamp}-mine/evaluation-simtrace/0-iteration.csv",
        f"logs/training/training-{stamp}-mine-robomaker.log",
        f"logs/training/training-{stamp}-mine-sagemaker.log",
        f"logs/evaluation/evaluation-{stamp}-mine-robomaker.log",
    }
    assert found["drfc"] == EVERYWHERE | {
        "eval_params.yaml",
        "metrics/TrainingMetrics.json",
        f"metrics/EvaluationMetrics-{stamp}.json",
        *(f"training-simtrace/{i}-iteration.csv" for i in range(ITERATIONS)),
        *(f"evaluation-simtrace/{i}-iteration.csv" for i in range(ITERATIONS)),
        f"evaluation-{stamp}/evaluation-simtrace/0-iteration.csv",
    }
    assert found["droa"] == both | {
        f"metrics/training/training-{iso}-mine.json",
        f"metrics/evaluation/evaluation-{iso}-mine.json",
        *(f"sim-trace/training/{iso}-mine/training-simtrace/{i}-iteration.csv" for i in range(ITERATIONS)),
        *(f"sim-trace/training/{iso}-mine/evaluation-simtrace/{i}-iteration.csv" for i in range(ITERATIONS)),
        f"sim-trace/evaluation/{iso}-mine/evaluation-simtrace/0-iteration.csv",
        f"logs/training/{iso}-mine-simulation.log",
        f"logs/training/{iso}-mine-sagemaker.log",
        f"logs/evaluation/{iso}-mine-simulation.log",
    }


def _one(folder: str) -> str:
    (found,) = Path(folder).iterdir()
    return found.name


@pytest.mark.usefixtures("driven")
@pytest.mark.parametrize("layout", layouts.LAYOUTS)
def test_an_archive_holds_what_the_folder_holds(folder: Path, layout: str) -> None:
    with tarfile.open(folder / f"{layout}.tar.gz") as tar:
        members = {member.name: tar.extractfile(member) for member in tar}
        found = {name: file.read() for name, file in members.items() if file is not None}
    assert found == {f"mine/{key}": data for key, data in content(folder / layout).items()}


@pytest.mark.parametrize("layout", layouts.LAYOUTS)
def test_deepracer_utils_loads_the_training(driven: Driven, folder: Path, layout: str) -> None:
    """By its own choice of files: the console's from the log, the others' from simtraces."""
    log = DeepRacerLog(str(folder / layout))
    assert log.fh.type is KINDS[layout]
    log.load()
    _check_training(log, driven)
    assert log.hyperparameters()["num_episodes_between_training"] == PER_ITERATION
    assert log.action_space() == driven.run.files.metadata.raw["action_space"]
    assert log.agent_and_network()["network"] == "DEEP_CONVOLUTIONAL_NETWORK_SHALLOW"
    assert log.agent_and_network()["sensor_list"] == ["FRONT_FACING_CAMERA"]
    assert float(log.agent_and_network()["simapp_version"]) == 5.0
    if layout == "console":
        assert log.agent_and_network()["world"] == "ring"
    analysis = log.stability.analyze()
    assert analysis["count"].tolist() == [sum(len(lap) - 1 for lap in laps) for laps in driven.training]
    np.testing.assert_allclose(analysis["avg_ms"], 1000.0 / 15.0, rtol=1e-6)


def _check_training(log: DeepRacerLog, driven: Driven) -> None:
    frame, steps = log.dataframe(), steps_of([lap for laps in driven.training for lap in laps])
    for column, name in (("x", "x_m"), ("y", "y_m"), ("speed", "speed_mps"), ("reward", "reward")):
        np.testing.assert_array_equal(frame[column], steps[name], column)
    np.testing.assert_array_equal(frame["progress"], steps["progress_pct"])
    assert frame["unique_episode"].unique().tolist() == list(range(ITERATIONS * PER_ITERATION))
    assert frame["iteration"].unique().tolist() == list(range(ITERATIONS))


def test_deepracer_utils_reads_the_archive(driven: Driven, folder: Path) -> None:
    """Of the others it reads unpacked ones only: in an archive it takes evaluations of the console's for those of
    DeepRacer on AWS, and finds no iteration in the names of DeepRacer-for-Cloud."""
    with TarFileHandler(str(folder / "droa.tar.gz")) as handler:
        log = DeepRacerLog(filehandler=handler)
        assert log.fh.type is KINDS["droa"]
        log.load_training_trace()
        _check_training(log, driven)


@pytest.mark.parametrize("layout", layouts.LAYOUTS)
def test_deepracer_utils_loads_the_evaluation(driven: Driven, folder: Path, layout: str) -> None:
    log = DeepRacerLog(str(folder / layout))
    log.load_evaluation_trace()
    np.testing.assert_array_equal(log.dataframe()["x"], steps_of(driven.laps)["x_m"])
    assert log.dataframe()["stream"].nunique() == 1
    assert log.stability.analyze()["count"].tolist() == [sum(len(lap) - 1 for lap in driven.laps)]
    if layout != "drfc":
        log.load_robomaker_logs(LogType.EVALUATION, force=True)
        np.testing.assert_array_equal(log.dataframe()["reward"], steps_of(driven.laps)["reward"])


@pytest.mark.parametrize("layout", ["console", "droa"])
def test_deepracer_utils_loads_the_simulation_log(driven: Driven, folder: Path, layout: str) -> None:
    log = DeepRacerLog(str(folder / layout))
    log.load_robomaker_logs()
    _check_training(log, driven)


@pytest.mark.usefixtures("driven")
@pytest.mark.parametrize("layout", layouts.LAYOUTS)
def test_deepracer_utils_loads_the_metrics(folder: Path, layout: str) -> None:
    (path,) = [path for path in (folder / layout / "metrics").rglob("*.json") if "raining" in path.name]
    tool = TrainingMetrics(None, fname=str(path))
    assert len(tool.getTraining()) == ITERATIONS * PER_ITERATION
    assert tool.getTraining()["complete"].sum() == 2 * ITERATIONS
    assert tool.getEvaluation()["completion"].tolist() == [100] * ITERATIONS
    assert tool.getSummary()["eval_completion"].tolist() == [100.0] * ITERATIONS
    (laps,) = [path for path in (folder / layout / "metrics").rglob("*.json") if "valuation" in path.name]
    assert [row["trial"] for row in json.loads(laps.read_text())["metrics"]] == [1, 2]


def test_metadata_is_written_with_what_its_absent_keys_mean(driven: Driven, folder: Path) -> None:
    assert set(driven.run.files.metadata.raw) == {"action_space", "sensor", "version"}
    for layout in layouts.LAYOUTS:
        written = json.loads((folder / layout / "model/model_metadata.json").read_text())
        assert written == {
            "action_space": driven.run.files.metadata.raw["action_space"],
            "sensor": ["FRONT_FACING_CAMERA"],
            "version": "5",
            "action_space_type": "discrete",
            "neural_network": "DEEP_CONVOLUTIONAL_NETWORK_SHALLOW",
            "training_algorithm": "clipped_ppo",
        }


@pytest.mark.usefixtures("driven")
@pytest.mark.parametrize("layout", layouts.LAYOUTS)
def test_params_name_the_files_of_the_layout(folder: Path, layout: str) -> None:
    params = yaml.safe_load((folder / layout / "training_params.yaml").read_text())
    files = content(folder / layout)
    prefix = params["SAGEMAKER_SHARED_S3_PREFIX"]
    for key in ("REWARD_FILE_S3_KEY", "MODEL_METADATA_FILE_S3_KEY", "METRICS_S3_OBJECT_KEY"):
        assert params[key].removeprefix(f"{prefix}/") in files, key
    traces = f"{params['SIMTRACE_S3_PREFIX']}/training-simtrace/0-iteration.csv"
    assert traces.removeprefix(f"{prefix}/") in files


@pytest.mark.parametrize(
    ("config", "world", "clockwise", "track"),
    [
        ({"track": "ring"}, "ring", False, "ring_ccw"),
        ({"track": "ring_cw"}, "ring", True, "ring_cw"),
        ({"track": "ring", "reverse_dir": True}, "ring", True, "ring_cw"),
    ],
)
def test_deepracer_on_aws_gets_the_driving_direction(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, config: dict[str, object], world: str, clockwise: bool, track: str
) -> None:
    """As a boolean apart from the track's name, and numbers that are numbers."""
    monkeypatch.chdir(tmp_path)
    run = driven_run("there", **config, race={"race_type": "OBJECT_AVOIDANCE", "number_of_obstacles": 2}).run
    export(run, "droa", Path("out"))
    text = Path("out/training_params.yaml").read_text()
    params = yaml.safe_load(text)
    assert (params["WORLD_NAME"], params["TRACK_DIRECTION_CLOCKWISE"]) == (world, clockwise)
    assert params["NUMBER_OF_OBSTACLES"] == 2
    assert params["RANDOMIZE_OBSTACLE_LOCATIONS"] is False
    read = read_training_params(text, "there").values
    assert (read["track"], read["reverse_dir"]) == (track, False)
    export(run, "droa", Path("out"), overwrite=True, world="reinvent_base")
    assert yaml.safe_load(Path("out/training_params.yaml").read_text())["WORLD_NAME"] == "reinvent_base"


def test_rewards_by_a_program_are_told_since_others_do_not_know_them(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    run = driven_run("there").run
    assert "program" not in str(export(run, "droa", Path("plain"), world="reinvent_base").notes)
    run.store.put(artifacts.REWARD_DESCRIPTION, b"{}")
    assert "put a Python function in its place" in str(export(run, "droa", Path("out")).notes)


def test_the_same_run_gives_the_same_bytes(driven: Driven, folder: Path) -> None:
    export(driven.run, "console", folder / "again.tar.gz")
    assert (folder / "again.tar.gz").read_bytes() == (folder / "console.tar.gz").read_bytes()


def test_a_failure_leaves_nothing_or_what_was_there(driven: Driven, folder: Path, tmp_path: Path) -> None:
    class Failing(LocalStore):
        def get(self, key: str) -> bytes:
            if key == artifacts.evaluation_simtrace():
                raise StoreError("the disk is gone")
            return super().get(key)

    broken = Run(driven.run.config, driven.run.files, Failing(folder / "runs/mine"))
    for out in (tmp_path / "new", tmp_path / "new.tar.gz"):
        with pytest.raises(StoreError, match="the disk is gone"):
            export(broken, "drfc", out)
    assert list(tmp_path.iterdir()) == []
    export(driven.run, "drfc", tmp_path / "old")
    before = content(tmp_path / "old")
    with pytest.raises(StoreError):
        export(broken, "drfc", tmp_path / "old", overwrite=True)
    assert content(tmp_path / "old") == before
    assert [path.name for path in tmp_path.iterdir()] == ["old"]


def test_only_an_earlier_export_is_replaced(driven: Driven, folder: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    export(driven.run, "console", out)
    with pytest.raises(InputError, match="exists already"):
        export(driven.run, "drfc", out)
    export(driven.run, "drfc", out, overwrite=True)
    assert (out / "eval_params.yaml").is_file() and not (out / "logs").exists()
    documents = tmp_path / "documents"
    documents.mkdir()
    (documents / "thesis.txt").touch()
    for other in (documents, folder / "runs/mine"):
        with pytest.raises(InputError, match="only an earlier export"):
            export(driven.run, "drfc", other, overwrite=True)
    assert (documents / "thesis.txt").exists()


def test_bad_input(driven: Driven, folder: Path) -> None:
    with pytest.raises(InputError, match=r"'gym' is not allowed(.|\n)*one of console, drfc, droa"):
        export(driven.run, "gym", folder / "gym")
    with pytest.raises(InputError, match="a run in runs/"):
        CliRunner().invoke(app, ["export", "nobody", "--layout", "drfc"], catch_exceptions=False)
    graph = folder / "runs/mine/model/model_3.pb"
    whole = graph.read_bytes()
    graph.write_bytes(whole[:-1])
    try:
        with pytest.raises(CheckpointError, match=r"model/model_3\.pb has"):
            export(driven.run, "drfc", folder / "damaged")
    finally:
        graph.write_bytes(whole)
    assert not (folder / "damaged").exists()
    keys = (artifacts.REWARD_FUNCTION, artifacts.MODEL_METADATA, artifacts.HYPERPARAMETERS)
    reward, metadata, hyperparameters = (folder / "runs/mine" / key for key in keys)
    config = driven.run.config.model_copy(update={"name": "fresh"})
    run = Run.create(config, reward, metadata, hyperparameters)
    with pytest.raises(CheckpointError, match="undercut train fresh"):
        export(run, "drfc", folder / "fresh")


@pytest.mark.usefixtures("driven")
def test_the_command_names_what_it_wrote(folder: Path) -> None:
    done = CliRunner().invoke(app, ["export", "mine", "--layout", "droa", "--out", "said"], catch_exceptions=False)
    assert done.exit_code == 0
    assert "exported mine to said" in done.output
    assert "give --world NAME" in done.output
    assert Checkpoints(LocalStore(folder / "runs" / "mine")).last() is not None
