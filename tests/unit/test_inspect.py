"""`undercut inspect`: the numbers behind the pictures, and the whole command on a policy that looks."""

import io
import json
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from matplotlib import image
from rich.console import Console

from contract import artifacts
from contract.errors import InputError
from contract.metadata import ContinuousActions, ModelMetadata
from contract.protocols import Phase, RolloutOrder
from contract.state import HELD, STEP_DTYPE
from tests.frozen import add_track, hold_deg, untrained_run
from tests.looking import looking_graph
from tests.support import circle
from trainer.checkpoints import Checkpoints
from undercut.analysis.places import SECTORS, STEERING_BINS, command_label
from undercut.backends.local.rollouts import evaluation_laps
from undercut.figures.diagnostics_plot import diagnostics_plot
from undercut.figures.inspection import InspectedLap, action_use, heat_over
from undercut.report import inspecting
from undercut.runs.run import Run
from undercut.runs.sessions import checkpoint
from undercut.video import lap_video
from undercut.video.saliency_video import saliency_frames

PNG = b"\x89PNG"


def model(actions: int = 3) -> ModelMetadata:
    space = [{"steering_angle": 10.0 * i, "speed": 1.0 + i} for i in range(actions)]
    return ModelMetadata.parse(json.dumps({"action_space": space, "sensor": ["FRONT_FACING_CAMERA"], "version": 5}))


def lap(chosen: list[int]) -> InspectedLap:
    """Evenly round the circle; the policy is sure."""
    track, count = circle(), len(chosen)
    steps = np.zeros(count, STEP_DTYPE)
    steps["progress_pct"] = 100.0 * np.arange(1, count + 1) / count
    poses = track.pose_at(steps["progress_pct"] / 100.0 * track.length_m)
    steps["x_m"], steps["y_m"] = poses.x_m, poses.y_m
    actions = model().actions
    assert not isinstance(actions, ContinuousActions)
    steps["steering_rad"], steps["speed_mps"] = np.radians(actions.steering_deg[chosen]), actions.speed_mps[chosen]
    maps = np.zeros((count, 120, 160), np.float32)
    maps[:, 30:60, 100:140] = 1.0
    return InspectedLap(
        track=track,
        actions=actions,
        steps=steps,
        frames=np.full((count, 120, 160), 100, np.uint8),
        maps=maps,
        outputs=np.eye(3)[chosen],
        chosen=np.array(chosen),
    )


def test_action_use_counts_by_the_place_where_the_decision_fell() -> None:
    shares, labels = action_use([lap([0] * 10 + [1] * 10), lap([2] * 20)])
    assert labels == ["0° 1.0 m/s", "+10° 2.0 m/s", "+20° 3.0 m/s"]
    assert shares.shape == (SECTORS, 3)
    assert shares.sum(axis=1) == pytest.approx(np.ones(SECTORS))
    assert shares[:5] == pytest.approx(np.tile([0.5, 0.0, 0.5], (5, 1)))
    assert shares[5:] == pytest.approx(np.tile([0.0, 0.5, 0.5], (5, 1)))


def test_action_use_of_continuous_actions_is_by_steering() -> None:
    driven = replace(lap([0] * 10 + [1] * 10), actions=ContinuousActions((-30.0, 30.0), (1.0, 2.0)))
    shares, labels = action_use([driven])
    assert len(labels) == STEERING_BINS == 12
    assert labels[5:7] == ["-5 to 0°", "0 to +5°"]
    assert shares[:5, 6] == pytest.approx(np.ones(5)), "0°"
    assert shares[5:, 8] == pytest.approx(np.ones(5)), "10°"


def test_commands_to_read() -> None:
    told = [command_label(steering, 1.0) for steering in (0.0, -0.04, 15.0, -7.54)]
    assert told == ["0° 1.0 m/s", "0° 1.0 m/s", "+15° 1.0 m/s", "-7.5° 1.0 m/s"]


def test_heat_reddens_only_where_it_is() -> None:
    heat = np.zeros((120, 160), np.float32)
    heat[10:20, 30:40] = 1.0
    shown = heat_over(np.full((120, 160), 100, np.uint8), heat).astype(int)
    cold = heat == 0.0
    assert (shown[cold] == 100).all()
    assert (shown[~cold][:, 0] > shown[~cold][:, 1:].max(axis=1) + 50).all()


def test_frames_of_the_video_show_heat_and_bars() -> None:
    (first, *others) = saliency_frames(lap([1, 2, 0]), "test")
    assert first.shape == (480, 920, 3)
    assert (first.dtype, len(others)) == (np.dtype(np.uint8), 2)
    picture, panel = first[:, :640].astype(int), first[:, 640:].astype(int)
    red = picture[..., 0] > picture[..., 1] + 60
    rows, columns = np.nonzero(red)
    assert (rows.min() // 4, rows.max() // 4) == pytest.approx((30, 60), abs=1)
    assert (columns.min() // 4, columns.max() // 4) == pytest.approx((100, 140), abs=1)
    orange = np.abs(panel - (0xD9, 0x77, 0x2B)).max(axis=-1) < 3
    assert orange.sum() > 1000, "the bar of the action taken"
    assert np.abs(first.astype(int) - others[0]).max() > 50, "another bar"


def test_a_missing_encoder_is_told_with_its_remedy(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "av", None)
    with pytest.raises(InputError, match="pip install av"):
        lap_video.encoder()


def test_a_video_read_back_has_every_frame() -> None:
    av = lap_video.encoder()
    frames = list(saliency_frames(lap([0, 1, 2, 0, 1]), "test"))
    with av.open(io.BytesIO(lap_video.mp4(frames, 15))) as container:
        stream = container.streams.video[0]
        assert stream.average_rate == 15
        shown = [frame.to_ndarray(format="rgb24") for frame in container.decode(stream)]
    assert len(shown) == 5
    for frame, original in zip(shown, frames, strict=True):
        assert np.abs(frame.astype(int) - original).mean() < 3.0


def test_diagnostics_of_whatever_a_run_has() -> None:
    """Few columns, blanks, and gradient norms of 0, which have no logarithm."""
    iterations = np.arange(4.0)
    few = {"iteration": iterations, "entropy": np.array([np.nan, 1.0, 0.5, 0.2]), "policy_gradient_norm": np.zeros(4)}
    assert diagnostics_plot(few, "few").startswith(PNG)


def looking_run(name: str) -> Run:
    """A policy that holds the ring's radius, a little swayed by what it sees."""
    run = untrained_run(name, 1.5)
    metadata = run.files.metadata
    mean = np.full((8, 8, 1, 1), 1.0 / 64.0)
    dense = np.random.default_rng(0).normal(0.0, 0.01, (15 * 20, 2))
    graph = looking_graph(metadata, [(mean, 8, "VALID")], dense, np.array([5.0, 0.0]))
    Checkpoints(run.store).save(4, 200, {"index": b"none"}, graph, 60.0, {})
    return run


@pytest.mark.slow
def test_inspect_leaves_its_pictures(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    add_track()
    run = looking_run("looking")
    text = "iteration,steps,entropy\n0,10,1.5\n1,20,1.25\n"
    run.store.put(artifacts.DIAGNOSTICS, text.encode())
    with (tmp_path / "said.txt").open("w") as said:
        inspecting.inspect(run, Console(file=said, width=200), "best", 1, with_video=False)
    made = sorted(path.name for path in (Path(run.store.where()) / "inspect").iterdir())
    assert made == ["action_use.png", "actions.png", "diagnostics.png", "saliency.png"]
    told = (tmp_path / "said.txt").read_text()
    assert "checkpoint 4" in told
    assert all(name in told for name in made)
    sheet = image.imread(Path(run.store.where()) / "inspect" / "saliency.png")
    assert sheet.shape[:2] > (1000, 2000)


def test_observations_are_kept_only_when_asked_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """They are what the policy saw before each action, and keeping them changes no lap."""
    monkeypatch.chdir(tmp_path)
    add_track()
    run = looking_run("looking")
    policy = Checkpoints(run.store).load_policy(checkpoint(run, "best"))
    order = RolloutOrder(Phase.evaluation, 4, 0, 1)
    bare, kept = (evaluation_laps(run, policy, order, keep_observations=keep) for keep in (False, True))
    assert [it.observations for it in bare] == [{}]
    for one, other in zip(bare, kept, strict=True):
        assert one.steps.tobytes() == other.steps.tobytes()
        frames = other.observations["FRONT_FACING_CAMERA"]
        assert frames.shape == (len(other), 120, 160, 1)
        moved = (frames[1:] != frames[:-1]).any(axis=(1, 2, 3))
        assert moved.tolist() == (~np.isin(other.steps["status"][:-1], HELD)).tolist(), "it moves but where it is held"
        assert other.steps["steering_rad"] == pytest.approx(np.full(len(other), np.radians(hold_deg(1.5))))
