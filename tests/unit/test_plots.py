"""Plots: what is drawn, read back from the pixels; whether it looks well is for eyes."""

import io

import numpy as np
import pytest
from matplotlib import image
from matplotlib.colors import to_rgb
from numpy.typing import NDArray

from contract.metrics import TrainingRow, training_evaluation_rows, training_rows
from contract.state import STEP_DTYPE, STEP_S, EpisodeStatus
from simapp.tracks import Track
from tests.unit.synthetic import drive
from trainer.iterations import IterationRow
from undercut.analysis.joining import by_iteration
from undercut.figures import plots
from undercut.figures.plots import lap_plot, training_plot
from undercut.figures.road import ROAD, bright


def _pixels(png: bytes) -> NDArray[np.float64]:
    return np.asarray(image.imread(io.BytesIO(png)), dtype=np.float64)[..., :3]


def _count(png: bytes, colour: str) -> int:
    return int((np.abs(_pixels(png) - to_rgb(colour)).max(axis=-1) < 0.01).sum())


def _track() -> Track:
    angle = np.linspace(0.0, 2.0 * np.pi, 61)
    angle[-1] = 0.0
    ring = [radius * np.column_stack([np.cos(angle), np.sin(angle)]) for radius in (3.0, 2.6, 3.4)]
    return Track("ring", np.concatenate(ring, axis=1))


def _lap(speed_mps: float, end: EpisodeStatus = EpisodeStatus.lap_complete, radius_m: float = 3.0) -> np.ndarray:
    steps = np.zeros(round(2.0 * np.pi * radius_m / speed_mps / STEP_S), STEP_DTYPE)
    angle = np.linspace(0.0, 2.0 * np.pi, len(steps))
    steps["x_m"], steps["y_m"] = radius_m * np.cos(angle), radius_m * np.sin(angle)
    steps["time_s"] = STEP_S * np.arange(1, len(steps) + 1)
    steps["status"] = EpisodeStatus.in_progress
    steps["status"][-1] = end
    return steps


def _rows() -> list[TrainingRow]:
    rows: list[TrainingRow] = []
    for i in range(6):
        trained = [drive(4 * i + k, EpisodeStatus.off_track, progress_pct=9.0 * i + k) for k in range(4)]
        rows += training_rows(trained, 0.0)
        rows += training_evaluation_rows([drive(0, EpisodeStatus.off_track, progress_pct=15.0 * i)], 0.0, rows[-1])
    return rows


_ENTROPY, _VALUE_LOSS = (2.6, 2.4, 2.1, 1.9, 1.6, 1.2), (3.0, 2.0, 1.0, 0.5, 0.4, 0.3)
_UPDATES = [
    IterationRow(i, steps, 0.0, 0.0, 0.0, _ENTROPY[i], -0.02, _VALUE_LOSS[i], 0.0)
    for i, steps in enumerate((100, 250, 450, 700, 1000, 1400))
]


@pytest.mark.slow
def test_training_plot_draws_both_phases_and_the_losses() -> None:
    png = training_plot(_rows(), _UPDATES, "run")
    assert _pixels(png).shape == (858, 1320, 3)
    for colour in (plots._TRAINING, plots._EVALUATION, plots._LOSS):
        assert _count(png, colour) > 300
    assert png == training_plot(_rows(), _UPDATES, "run"), "the same run, the same picture"


@pytest.mark.parametrize("rows", [[], _rows()[:2], [row for row in _rows() if row.phase == "training"]])
def test_training_plot_of_little_is_still_a_picture(rows: list[TrainingRow]) -> None:
    png = training_plot(rows, [], "just begun")
    assert _pixels(png).shape == (858, 1320, 3)


def test_rows_fall_into_iterations_by_their_trials() -> None:
    trained, evaluated = by_iteration(_rows())
    assert [len(rows) for rows in trained] == [4] * 6
    assert [len(rows) for rows in evaluated] == [1] * 6
    assert [rows[0].episode for rows in trained] == [1, 5, 9, 13, 17, 21]


def test_lap_plot_draws_the_road_true_to_scale() -> None:
    png = lap_plot(_track(), [], "empty")
    pixels = _pixels(png)
    road = np.abs(pixels - to_rgb(ROAD)).max(axis=-1) < 0.01
    road[:, 1000:] = False  # the lap list
    rows, columns = np.flatnonzero(road.sum(axis=1) > 20), np.flatnonzero(road.sum(axis=0) > 20)
    height, width = np.ptp(rows), np.ptp(columns)
    assert height == pytest.approx(width, rel=0.02)
    metre = width / 6.8
    area = np.pi * (3.4**2 - 2.6**2) * metre**2
    assert road.sum() == pytest.approx(area, rel=0.08), "a ring: neither a disc nor an outline"


def test_lap_plot_colours_by_the_speed_driven() -> None:
    slow_and_fast = [_lap(1.0, radius_m=2.8), _lap(3.0, radius_m=3.2)]
    png = lap_plot(_track(), slow_and_fast, "laps")
    colours = bright("viridis")
    pixels = _pixels(png)[:, :900]

    def drawn(value: float) -> float:
        return float((np.abs(pixels - np.array(colours(value))[:3]).max(axis=-1) < 0.02).sum())

    assert drawn(0.0) > 1000
    assert drawn(1.0) > 1000
    assert drawn(0.5) < 0.05 * drawn(1.0)


def test_speeds_leave_out_the_jump_of_a_reset() -> None:
    lap = _lap(1.0)
    lap["x_m"][100:] += 0.8
    lap["time_s"][100:] += 2.0
    segments, speeds = plots.driven_path(lap)
    assert len(segments) == len(speeds) == len(lap) - 2
    np.testing.assert_allclose(speeds, 1.0, rtol=0.01)


def test_lap_plot_marks_where_it_went_wrong() -> None:
    clean, broken = lap_plot(_track(), [_lap(2.0)], "x"), lap_plot(_track(), [_lap(2.0, EpisodeStatus.off_track)], "x")
    assert _count(clean, plots._CROSS) == 0
    assert _count(broken, plots._CROSS) > 30


def test_outcomes_read_well() -> None:
    lap = _lap(2.0)
    assert plots._outcome(lap) == f"{lap['time_s'][-1]:6.2f} s"
    lap["status"][[10, 20]] = EpisodeStatus.off_track
    assert plots._outcome(lap).endswith(" s  2 resets")
    failed = _lap(2.0, EpisodeStatus.off_track)
    failed["progress_pct"][-1] = 61.4
    assert plots._outcome(failed) == "off track at 61 %"


def test_many_laps_fit_on_the_page() -> None:
    few, many = (_pixels(lap_plot(_track(), [_lap(2.0)] * count, "x")) for count in (3, 40))
    assert few.shape == many.shape
