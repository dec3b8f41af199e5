"""What export writes, import reads: the policies bit for bit, metrics and simtraces, of a model that was trained."""

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner

from contract import artifacts
from simapp.policy import FrozenPolicy
from tests.exported import driven_run
from tests.frozen import add_track
from trainer.checkpoints import Checkpoints
from undercut.cli.main import app
from undercut.interchange.exporting import export
from undercut.interchange.importing import import_model
from undercut.interchange.layouts import LAYOUTS
from undercut.runs.run import Run

HYPERPARAMETERS = {"num_episodes_between_training": 5, "num_epochs": 3, "discount_factor": 0.95}
SPACES: dict[str, dict[str, object]] = {
    "list": {"action_space": [{"steering_angle": angle, "speed": 1.0} for angle in (-20, 0, 20)], "version": "5"},
    "ranges": {
        "action_space": {"steering_angle": {"low": -30, "high": 30}, "speed": {"low": 0.5, "high": 2.0}},
        "action_space_type": "continuous",
        "neural_network": "DEEP_CONVOLUTIONAL_NETWORK_DEEP",
        "version": "4",
    },
}
FRAMES = np.random.default_rng(0).integers(0, 256, (5, 120, 160, 1), dtype=np.uint8)


@pytest.mark.slow
@pytest.mark.parametrize("kind", SPACES)
def test_a_trained_run_comes_back(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: str) -> None:
    monkeypatch.chdir(tmp_path)
    add_track()
    Path("metadata.json").write_text(json.dumps({**SPACES[kind], "sensor": ["FRONT_FACING_CAMERA"]}))
    Path("hyper.json").write_text(json.dumps(HYPERPARAMETERS))
    trained = ["train", "mine", "--track", "ring", "--metadata", "metadata.json", "--hyperparameters", "hyper.json"]
    limits = ["--cars", "5", "--laps", "1", "--clean-evaluations", "0", "--iterations", "3"]
    done = CliRunner().invoke(app, [*trained, *limits], catch_exceptions=False)
    assert done.exit_code == 0, done.output
    run = Run.open("mine")
    before = says(run)
    for layout in LAYOUTS:
        out = Path(f"{layout}-folder" if layout == "drfc" else f"{layout}-archive.tar.gz")
        export(run, layout, out)
        made = import_model(str(out), out.name.removesuffix(".tar.gz"))
        back = Run.open(made.name)
        assert says(back).keys() == before.keys()
        for which, said in says(back).items():
            for name, values in said.items():
                np.testing.assert_array_equal(values, before[which][name], f"{layout} {which} {name}")
        for key in (artifacts.TRAINING_METRICS, artifacts.EVALUATION_METRICS, artifacts.REWARD_FUNCTION):
            assert back.store.get(key) == run.store.get(key), key
        traces = [key for key in run.store.list("iteration-data/") if artifacts.parse_simtrace(key)]
        assert len(traces) == 7
        assert [back.store.get(key) for key in traces] == [run.store.get(key) for key in traces]
        assert back.files.metadata.actions == run.files.metadata.actions
        assert back.files.hyperparameters == run.files.hyperparameters
        np.testing.assert_array_equal(back.track().route, run.track().route)
        assert not [note for note in made.notes if "optimiser" in note], made.notes
    bundle = CliRunner().invoke(app, ["car", "mine", "--no-check"], catch_exceptions=False)
    assert bundle.exit_code == 0, bundle.output
    import_model("mine.tar.gz", "bundle", track="ring")
    said = says(Run.open("bundle"))["best"]
    name = "mean" if kind == "ranges" else "probabilities"
    np.testing.assert_array_equal(said[name], before["best"][name])


def says(run: Run) -> dict[str, dict[str, np.ndarray]]:
    """What the best and the last policy say of FRAMES."""
    checkpoints, found = Checkpoints(run.store), dict[str, dict[str, np.ndarray]]()
    for which, record in (("best", checkpoints.best()), ("last", checkpoints.last())):
        assert record is not None
        policy = FrozenPolicy(checkpoints.load_policy(record), run.files.metadata)
        said = policy.distribution({"FRONT_FACING_CAMERA": FRAMES})
        policy.close()
        columns = {"probabilities": said.probabilities, "mean": said.mean, "deviation": said.deviation}
        found[which] = {name: values for name, values in columns.items() if values is not None}
    return found


PLOTS = """
import subprocess
import sys
import matplotlib
matplotlib.use("Agg")
import matplotlib.pyplot as plt
import numpy as np
from deepracer.logs import AnalysisUtils, DeepRacerLog, EvaluationUtils, PlottingUtils, TrainingMetrics
from deepracer.tracks import Track

folder, route, metrics = sys.argv[1:]
drawn = []
plt.show = lambda *arguments, **named: drawn.append(sum(len(axes.collections) + len(axes.lines) + len(axes.patches)
    + len(axes.images) for axes in plt.gcf().axes))
track = Track("ring", np.load(route))
log = DeepRacerLog(folder)
log.load_training_trace()
frame = log.dataframe()
summary = AnalysisUtils.simulation_agg(frame, secondgroup="unique_episode")
AnalysisUtils.analyze_training_progress(summary, title="progress", groupby_field="unique_episode")
AnalysisUtils.scatter_aggregates(summary, title="episodes")
PlottingUtils.plot_selected_laps([0, 4], frame, track, section_to_plot="unique_episode")
PlottingUtils.plot_track(frame, track, value_field="reward")
PlottingUtils.plot_grid_world(frame[frame["unique_episode"] == 4].copy(), track)
log.stability.print_summary()
TrainingMetrics(None, fname=metrics).plotProgress(method=["mean", "max"])
log.load_evaluation_trace(force=True)
laps = log.dataframe()
EvaluationUtils.analyse_single_evaluation(laps.copy(), track)
PlottingUtils.plot_evaluations(laps.copy(), track)
print("drawn", drawn)
"""


@pytest.mark.slow
@pytest.mark.parametrize("layout", LAYOUTS)
def test_deepracer_utils_draws_its_plots(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, layout: str) -> None:
    """In a process of its own, since it draws with pyplot's global state."""

    monkeypatch.chdir(tmp_path)
    export(driven_run().run, layout, Path("out"))
    (metrics,) = (path for path in Path("out/metrics").rglob("*.json") if "raining" in path.name)
    monkeypatch.setenv("AWS_DEFAULT_REGION", "us-east-1")
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    command = [sys.executable, "-c", PLOTS, "out", "tracks/ring.npy", str(metrics)]
    done = subprocess.run(command, check=False, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    drawn = json.loads(done.stdout.rsplit("drawn ", 1)[1])
    assert len(drawn) >= 9 and min(drawn) > 0, drawn
