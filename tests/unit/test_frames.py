"""`undercut frames`: bags of frames that a run drove through, as it is, darker and with another car's answers."""

import contextlib
import csv
import json
import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image
from scipy.ndimage import gaussian_filter
from typer.testing import CliRunner

from contract import artifacts
from contract.errors import InputError
from contract.protocols import ActionDistribution, Phase, RolloutOrder
from simapp.policy import FrozenPolicy
from tests.bags import RESULTS, drive
from tests.exported import content
from tests.frozen import add_track, untrained_run
from tests.looking import looking_graph
from trainer.checkpoints import Checkpoints
from trainer.common.saliency import Saliency
from undercut.backends.local.rollouts import LocalRollouts
from undercut.cli.main import app
from undercut.frames.judging import Training, doubt_of, judge, summary, table
from undercut.frames.reading import read_frames
from undercut.report import frames as frames_report
from undercut.report.frames import found, groups
from undercut.runs.run import Run
from undercut.runs.sessions import checkpoint

CAMERA = "FRONT_FACING_CAMERA"
MEAN = np.full((8, 8, 1, 1), 1.0 / 64.0)


def looking_run(name: str, **config: Any) -> Run:
    """A policy that mostly holds the ring's radius, swayed by what it sees."""
    run = untrained_run(name, 1.5, **config)
    dense = np.random.default_rng(0).normal(0.0, 0.05, (15 * 20, 2))
    graph = looking_graph(run.files.metadata, [(MEAN, 8, "VALID")], dense, np.array([2.0, 0.0]))
    Checkpoints(run.store).save(4, 200, {"index": b"none"}, graph, 60.0, {})
    return run


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a run, to work in."""
    folder = tmp_path_factory.mktemp("racer")
    with contextlib.chdir(folder):
        add_track()
        looking_run("looking", training={"max_episode_steps": 60})
    return folder


@pytest.fixture(autouse=True)
def run(place: Path, monkeypatch: pytest.MonkeyPatch) -> Run:
    monkeypatch.chdir(place)
    return Run.open("looking")


@pytest.fixture(scope="module")
def training(place: Path) -> Training:
    with contextlib.chdir(place):
        return Training.of(Run.open("looking"), episodes=4)


@pytest.fixture(scope="module")
def seen(place: Path) -> NDArray[np.uint8]:
    with contextlib.chdir(place):
        return lap(Run.open("looking"))


def lap(run: Run) -> NDArray[np.uint8]:
    """Frames (K, 120, 160) that its policy drives by, at other places than in its training."""
    plain = run.config.model_copy(update={"enable_domain_randomization": False, "seed": 77})
    policy = Checkpoints(run.store).load_policy(checkpoint(run, "best"))
    driven = LocalRollouts(replace(run, config=plain)).collect(policy, RolloutOrder(Phase.training, 4, 90, 4))
    return np.concatenate([it.observations[CAMERA] for it in driven])[::5, ..., 0]


def answers(run: Run, frames: NDArray[np.uint8]) -> NDArray[np.float64]:
    """What a car with this policy says, in float32 as its messages have it."""
    frozen = FrozenPolicy(Checkpoints(run.store).load_policy(checkpoint(run, "best")), run.files.metadata)
    try:
        said = frozen.distribution({CAMERA: frames[..., None]}).outputs
    finally:
        frozen.close()
    return said.astype(np.float32).astype(np.float64)


def told(training: Training, bag: Path) -> dict[str, Any]:
    return summary(judge(training, read_frames(bag, training.metadata)))


@pytest.mark.slow
def test_the_cars_own_answers_beside_the_policys(
    run: Run, seen: NDArray[np.uint8], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The whole command, with few frames on its page."""
    monkeypatch.setattr(frames_report, "SHOWN", 2)
    own = answers(run, seen)
    assert np.ptp(own[:, 0]) > 0.0, "the frames make a difference"
    own[3] = own[3, ::-1]
    bag = drive(Path("mine-1"), seen, own)
    done = CliRunner().invoke(app, ["frames", "looking", str(bag), "--episodes", "4", "--json"], catch_exceptions=False)
    assert done.exit_code == 0, done.output
    found = json.loads(done.stdout)
    assert found["source"] == {
        "name": "mine-1",
        "kind": "bag",
        "topic": RESULTS,
        "frames": len(seen),
        "seconds": pytest.approx(0.033 * (len(seen) - 1)),
        "notes": [],
    }
    assert found["car"]["frames"] == len(seen)
    assert found["car"]["same_action"] == pytest.approx(1.0 - 1.0 / len(seen), abs=1e-6)
    assert found["car"]["largest_difference"] == pytest.approx(abs(own[3, 0] - own[3, 1]), abs=1e-5)
    assert found["car"]["delay_median_s"] == pytest.approx(0.02, abs=1e-6)
    place = Path(run.store.where()) / "frames" / "mine-1"
    assert found["files"] == {"page": str(place / "index.html"), "table": str(place / "frames.csv")}
    page = (place / "index.html").read_text()
    assert page.count("<svg") == len(list((place / "report").glob("*.png"))) >= 12
    assert not re.search(r"(src|href)=[\"'](?!#|data:)", page), "it loads nothing"
    assert "this policy takes the action that the car" in page and "Where the car did otherwise" in page
    rows = list(csv.DictReader((place / "frames.csv").open()))
    assert len(rows) == len(seen)
    for k, row in enumerate(rows):
        assert (row["frame"], row["agrees"]) == (str(k), "0" if k == 3 else "1")
        assert float(row["brightness"]) == pytest.approx(seen[k].mean(), abs=1e-3)
        assert [float(row["car_output_0"]), float(row["car_output_1"])] == pytest.approx(own[k].tolist(), abs=1e-5)
        assert int(row["action"]) == int(float(row["output_1"]) > float(row["output_0"]))


@pytest.mark.slow
def test_another_models_answers_are_seen(training: Training, run: Run, seen: NDArray[np.uint8]) -> None:
    frames = read_frames(drive(Path("theirs"), seen, answers(run, seen)[:, ::-1]), training.metadata)
    judged = judge(training, frames)
    assert not judged.agrees.any() and judged.compared.all()
    first = found(judged)[0]
    assert first.mood == "bad" and "the car had another model or checkpoint loaded" in first.text
    assert groups(judged)[-1].anchor == "apart"


@pytest.mark.slow
def test_frames_like_trainings_are_near_and_others_far(training: Training, seen: NDArray[np.uint8]) -> None:
    soft = gaussian_filter(seen * 0.45, (0.0, 1.5, 1.5), mode="nearest")
    other = np.clip(np.round(soft), 0, 255).astype(np.uint8)
    same = told(training, drive(Path("same"), seen))
    dark = told(training, drive(Path("dark"), other))
    noise = np.random.default_rng(6).integers(0, 256, seen.shape, dtype=np.uint8)
    wild = judge(training, read_frames(drive(Path("wild"), noise), training.metadata))
    assert same["car"] is None
    assert same["far"]["share"] < 0.2 and wild.far.all()
    assert same["unsure"]["share"] < 0.3
    light, blur = dark["randomization"]["light"], dark["randomization"]["blur_px"]
    assert np.mean(light["needed"]) == pytest.approx(0.45, abs=0.08)
    assert np.mean(blur["needed"]) == pytest.approx(1.5, abs=0.5)
    assert light["trained"] == [1.0, 1.0] and light["suggested"][0] <= 0.45 and light["suggested"][1] >= 1.0
    assert light["covered"] < 0.1 < 0.8 < light["would_be_covered"]
    assert same["randomization"]["light"]["covered"] > 0.5


@pytest.mark.slow
def test_a_randomised_run_is_measured_by_its_own_ranges(place: Path) -> None:
    """Against nominal frames, which it is driven for once more."""
    ranges = {"light": (0.4, 1.0)}
    limits = {"max_episode_steps": 60}
    run = looking_run("varied", training=limits, enable_domain_randomization=True, randomization=ranges)
    dark = np.round(lap(run) * 0.6).astype(np.uint8)
    found = told(Training.of(run, episodes=4), drive(Path("darker"), dark))["randomization"]["light"]
    assert found["trained"] == [0.4, 1.0]
    assert found["needed"] == pytest.approx([0.6, 0.6], abs=0.1)
    assert found["suggested"] == [0.4, 1.0], "the range is wide enough as it is"


def test_a_folder_has_no_times_and_no_car(training: Training, seen: NDArray[np.uint8]) -> None:
    folder = Path("a folder, of mine")
    folder.mkdir()
    for k, frame in enumerate(seen[:9]):
        Image.fromarray(frame).save(folder / f"{k}.png")
    judged = judge(training, read_frames(folder, training.metadata))
    row = next(csv.DictReader(table(judged, ["a", "b"]).splitlines()))
    assert row["time_s"] == "" and "agrees" not in row
    assert [group.anchor for group in groups(judged)] == ["even", "farthest", "doubt"]


@pytest.mark.slow
def test_continuous_actions(place: Path) -> None:
    """Deviations for doubts, and steering and speed beside the car's."""
    ranges = {"steering_angle": {"low": -30.0, "high": 30.0}, "speed": {"low": 0.5, "high": 2.0}}
    model = {"action_space": ranges, "action_space_type": "continuous", "sensor": [CAMERA], "version": "5"}
    run = looking_run("ranging", training={"max_episode_steps": 60})
    run.store.put(artifacts.MODEL_METADATA, json.dumps(model).encode())
    run = Run.open("ranging")
    dense = np.random.default_rng(0).normal(0.0, 0.05, (15 * 20, 2))
    graph = looking_graph(run.files.metadata, [(MEAN, 8, "VALID")], dense, np.array([0.3, 0.0]))
    Checkpoints(run.store).save(5, 300, {"index": b"none"}, graph, 70.0, {})
    frames = lap(run)
    own = answers(run, frames)
    own[2] += 0.2
    bag = drive(Path("wide"), frames, own)
    done = CliRunner().invoke(app, ["frames", "ranging", str(bag), "--episodes", "3"], catch_exceptions=False)
    assert done.exit_code == 0, done.output
    told = " ".join(done.output.split())
    assert f"On {100 - 100 / len(frames):.1f} % of {len(frames)} frames" in told
    assert '"randomization": {"light"' in told
    page = (Path(run.store.where()) / "frames" / "wide" / "index.html").read_text()
    assert "Where the car did otherwise" in page and "(by 0.20)" in page


def test_nothing_is_written_for_what_cannot_be_read(seen: NDArray[np.uint8], place: Path) -> None:
    bag = drive(Path("cut"), seen[:5])
    (bag / "cut.db3").write_bytes(b"")
    before = content(place)
    for arguments in (["looking", str(bag)], ["looking", "nowhere"], ["looking", str(bag), "--topic", "/x"]):
        with pytest.raises(InputError):
            CliRunner().invoke(app, ["frames", *arguments, "--out", "page"], catch_exceptions=False)
    assert content(place) == before
    with pytest.raises(InputError, match="did you mean 'looking'"):
        CliRunner().invoke(app, ["frames", "lookin", str(bag)], catch_exceptions=False)


def test_embeddings_are_what_the_last_layer_reads(run: Run) -> None:
    """Here the means of 8 x 8 tiles, which numpy can work out."""
    frames = np.random.default_rng(5).integers(0, 256, (40, 120, 160, 1), dtype=np.uint8)
    saliency = Saliency(Checkpoints(run.store).load_policy(checkpoint(run, "best")), run.files.metadata)
    try:
        found = saliency.embeddings({CAMERA: frames})
    finally:
        saliency.close()
    tiles = frames.reshape(40, 15, 8, 20, 8).mean(axis=(2, 4)) / 255.0
    np.testing.assert_allclose(found, tiles.reshape(40, -1), atol=1e-5)


def test_doubt_is_0_when_sure_and_1_at_chance() -> None:
    rows = np.array([[1.0, 0.0, 0.0, 0.0], [0.25, 0.25, 0.25, 0.25], [0.5, 0.5, 0.0, 0.0]])
    assert doubt_of(ActionDistribution(probabilities=rows)) == pytest.approx([0.0, 1.0, 0.5], abs=1e-6)
    wide = ActionDistribution(mean=np.zeros((2, 2)), deviation=np.array([[0.1, 0.3], [5.0, 5.0]]))
    assert doubt_of(wide) == pytest.approx([0.2, 1.0])
    assert ActionDistribution(mean=np.array([[0.5, -2.0]]), squash=True).outputs == pytest.approx(
        np.tanh([[0.5, -2.0]])
    )
