"""Frames of two cameras beside each other: similarity against its definition, lines against drawn ones, files."""

import json
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image
from rich.console import Console
from typer.testing import CliRunner

from contract.errors import InputError
from contract.state import FloatArray, UInt8Array
from simapp.camera import Camera
from simapp.tracks import load_track
from tests.conftest import SHARED_REFERENCE
from undercut.cli.main import app
from undercut.figures.views import LINE_ROWS, Likeness, line_errors, lines_of, ssim, views_picture
from undercut.runs.viewing import agreement_pct, random_poses, read_frames

REAL = SHARED_REFERENCE / "worlds"


def noise(seed: int, *shape: int) -> UInt8Array:
    return np.random.default_rng(seed).integers(0, 256, shape, np.uint8)


def ssim_by_definition(one: UInt8Array, other: UInt8Array) -> float:
    """Wang et al. 2004, pixel by pixel: a Gaussian window of 11 x 11, edges mirrored."""
    x = np.arange(-5, 6)
    window = np.exp(-(x[:, None] ** 2 + x[None, :] ** 2) / (2 * 1.5**2))
    window /= window.sum()
    a, b = (np.pad(frame.astype(float), 5, mode="symmetric") for frame in (one, other))
    found = []
    for r in range(one.shape[0]):
        for c in range(one.shape[1]):
            p, q = a[r : r + 11, c : c + 11], b[r : r + 11, c : c + 11]
            mean_p, mean_q = (window * p).sum(), (window * q).sum()
            var_p, var_q = (window * (p - mean_p) ** 2).sum(), (window * (q - mean_q) ** 2).sum()
            cov = (window * (p - mean_p) * (q - mean_q)).sum()
            c1, c2 = (0.01 * 255) ** 2, (0.03 * 255) ** 2
            top = (2 * mean_p * mean_q + c1) * (2 * cov + c2)
            found.append(top / ((mean_p**2 + mean_q**2 + c1) * (var_p + var_q + c2)))
    return float(np.mean(found))


def test_similarity_is_that_of_its_definition() -> None:
    smooth = np.asarray(Image.fromarray(noise(1, 6, 8)).resize((20, 16), Image.Resampling.BICUBIC))
    for one, other in ((noise(2, 16, 20), noise(3, 16, 20)), (smooth, np.roll(smooth, 1, axis=1))):
        assert ssim(one, other) == pytest.approx(ssim_by_definition(one, other), abs=1e-6)


@given(st.integers(0, 1000), st.integers(0, 1000))
def test_similarity_is_one_of_the_same_and_less_of_others(a: int, b: int) -> None:
    one, other = noise(a, 24, 32), noise(b, 24, 32)
    assert ssim(one, one) == pytest.approx(1.0)
    assert ssim(one, other) == pytest.approx(ssim(other, one))
    assert -1.0 <= ssim(one, other) <= 1.0 and (a == b) == (ssim(one, other) > 0.999)


def frame_with_lines(*middles: float, width: float = 4.0, dark: float = 60.0, bright: float = 220.0) -> UInt8Array:
    """Upright lines whose edges lie between pixels: each pixel is the share that the line covers."""
    column = np.arange(160)
    row: FloatArray = np.full(160, dark)
    for middle in middles:
        share = np.clip(np.minimum(column + 1, middle + width / 2) - np.maximum(column, middle - width / 2), 0.0, 1.0)
        row = row + share * (bright - dark)
    return np.tile(np.rint(row).astype(np.uint8), (120, 1))


@given(st.floats(10.0, 140.0), st.floats(-3.0, 3.0))
def test_lines_are_found_where_they_were_drawn(middle: float, moved: float) -> None:
    one, other = frame_with_lines(middle), frame_with_lines(middle + moved)
    assert lines_of(one[0].astype(float)) == pytest.approx([middle], abs=0.12)
    assert line_errors(other, one) == pytest.approx([moved] * len(LINE_ROWS), abs=0.2)


def test_a_line_that_only_one_shows_is_left_out_and_the_others_are_matched() -> None:
    errors = line_errors(frame_with_lines(30.0, 101.0), frame_with_lines(31.0, 70.0, 100.0))
    assert sorted(errors) == pytest.approx([-1.0] * len(LINE_ROWS) + [1.0] * len(LINE_ROWS), abs=0.1)
    assert line_errors(frame_with_lines(30.0), frame_with_lines(60.0, 100.0)) == []
    assert line_errors(frame_with_lines(), frame_with_lines()) == []


def test_a_summary_of_frames_without_lines_has_no_number_for_them() -> None:
    frames = np.full((2, 120, 160), 90, np.uint8)
    told = Likeness.of(frames, frames + np.uint8(3)).summary()
    assert (told["mean_error"], told["lines"], told["line_error_median_px"]) == (3.0, 0, None)
    json.dumps(told, allow_nan=False)


def test_the_picture_shows_the_worst_and_the_best() -> None:
    frames = np.stack([frame_with_lines(20.0 + 8 * k) for k in range(9)])
    other = frames.copy()
    other[4] = 0
    content = views_picture(frames, other, Likeness.of(frames, other), ("mine", "theirs"), "title")
    assert content.startswith(b"\x89PNG") and len(content) > 10_000


def test_agreement_counts_the_best_actions() -> None:
    one = np.eye(4)[[0, 1, 2, 3]]
    assert agreement_pct(one, one) == 100.0
    assert agreement_pct(one, np.eye(4)[[0, 1, 3, 3]]) == 75.0


def test_poses_are_on_the_road_and_repeat() -> None:
    track = load_track("paddock")
    poses = random_poses(track, 200, 4)
    assert np.array_equal(poses, random_poses(track, 200, 4))
    assert track.on_road(poses[:, 0], poses[:, 1]).all()
    along, _ = track.along(poses[:, 0], poses[:, 1])
    assert np.histogram(along, 8, (0.0, track.length_m))[0].min() > 10


@pytest.mark.parametrize(
    "arrays",
    [
        {"poses": np.zeros((2, 3))},
        {"poses": np.zeros((2, 2)), "grey": np.zeros((2, 120, 160), np.uint8)},
        {"poses": np.zeros((3, 3)), "grey": np.zeros((2, 120, 160), np.uint8)},
        {"poses": np.zeros((0, 3)), "grey": np.zeros((0, 120, 160), np.uint8)},
        {"poses": np.full((1, 3), np.nan), "grey": np.zeros((1, 120, 160), np.uint8)},
        {"poses": np.zeros((1, 3)), "grey": np.zeros((1, 120, 160))},
        {"poses": np.array([[object()] * 3]), "grey": np.zeros((1, 120, 160), np.uint8)},
    ],
)
def test_frames_of_another_form_are_refused(arrays: dict[str, np.ndarray], tmp_path: Path) -> None:
    np.savez(tmp_path / "f.npz", **arrays)  # type: ignore[arg-type]
    with pytest.raises(InputError, match=r"f\.npz"):
        read_frames(tmp_path / "f.npz")


@pytest.mark.parametrize("content", [None, b"", b"PK\x03\x04", b"nothing"])
def test_files_that_are_no_frames_are_refused(content: bytes | None, tmp_path: Path) -> None:
    if content is not None:
        (tmp_path / "f.npz").write_bytes(content)
    with pytest.raises(InputError, match=r"f\.npz"):
        read_frames(tmp_path / "f.npz")


@pytest.fixture
def workdir(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("undercut.cli.compare.console", Console(width=200))
    return tmp_path


def test_the_command_compares_with_recorded_frames(workdir: Path) -> None:
    track = load_track("paddock")
    poses = random_poses(track, 5, 1)
    grey = Camera(track).render(*poses.T)
    np.savez(workdir / "f.npz", poses=poses, grey=np.clip(grey.astype(int) + 4, 0, 255).astype(np.uint8))
    arguments = ["compare", "--views", "--track", "paddock", "--frames", "f.npz"]
    result = CliRunner().invoke(app, [*arguments, "--json"], catch_exceptions=False)
    assert result.exit_code == 0
    told = json.loads(result.stdout)
    assert told["mean_error"] == pytest.approx(4.0, abs=0.1) and told["ssim_median"] > 0.98
    assert told["line_error_median_px"] < 0.1 and len(told["poses"]) == told["frames"] == 5
    assert (workdir / told["picture"]).read_bytes().startswith(b"\x89PNG")
    shown = CliRunner().invoke(app, arguments, catch_exceptions=False).stdout
    assert "ssim median" in shown and "views-paddock.png" in shown


def test_views_need_a_track(workdir: Path) -> None:
    with pytest.raises(InputError, match="--track"):
        CliRunner().invoke(app, ["compare", "--views"], catch_exceptions=False)


@pytest.mark.skipif(not REAL.is_dir(), reason="the official worlds lie beside a development checkout only")
@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "least"),
    [("reinvent_base", 0.95), ("reInvent2019_track", 0.95)]
    + [(name, 0.9) for name in ("Bowtie_track", "2022_april_open", "Vegas_track")],
)
def test_imported_worlds_look_as_gazebo_drew_them(name: str, least: float, workdir: Path) -> None:
    """make test-all ARGS="-k gazebo_drew" """
    run = CliRunner().invoke
    assert run(app, ["worlds", "import", str(REAL / "bundle"), name], catch_exceptions=False).exit_code == 0
    frames = str(REAL / "frames" / f"{name}.npz")
    arguments = ["compare", "--views", "--track", name, "--frames", frames, "--json"]
    told = json.loads(run(app, arguments, catch_exceptions=False).stdout)
    assert told["ssim_median"] >= least
    assert told["mean_error"] <= 6.0 and told["line_error_median_px"] <= 1.0
