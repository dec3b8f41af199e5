"""Saliency: graphs whose answer is known, places of receptive fields, and covering parts of the frame as an oracle."""

import json

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy.stats import spearmanr

from contract.errors import InputError
from contract.metadata import ModelMetadata
from tests.frozen import constant_graph
from tests.looking import Conv, looking_graph
from trainer.common.saliency import CHUNK, Saliency

CAMERA = "FRONT_FACING_CAMERA"
MEAN_8: Conv = (np.full((8, 8, 1, 1), 1.0 / 64.0), 8, "VALID")
PLACES = (15, 20)
"""Rows and columns that MEAN_8 leaves of a frame."""


def metadata(actions: int = 2, continuous: bool = False) -> ModelMetadata:
    space = [{"steering_angle": float(i), "speed": 1.0} for i in range(actions)]
    ranges = {"steering_angle": {"low": -30, "high": 30}, "speed": {"low": 1, "high": 2}}
    kind = "continuous" if continuous else "discrete"
    raw = {"action_space": ranges if continuous else space, "action_space_type": kind, "sensor": [CAMERA], "version": 5}
    return ModelMetadata.parse(json.dumps(raw))


def weights(actions: int, **cells: tuple[int, int, int, float]) -> NDArray[np.float64]:
    """Zero but for cells (row, column, action, weight)."""
    dense = np.zeros((*PLACES, actions))
    for row, column, action, weight in cells.values():
        dense[row, column, action] = weight
    return dense.reshape(-1, actions)


def frame(row_of_8: int | None = None, column_of_8: int | None = None, value: int = 255) -> NDArray[np.uint8]:
    """Black but for one 8 x 8 tile, or evenly grey."""
    picture = np.full((1, 120, 160, 1), value if row_of_8 is None else 0, np.uint8)
    if row_of_8 is not None and column_of_8 is not None:
        picture[:, 8 * row_of_8 : 8 * row_of_8 + 8, 8 * column_of_8 : 8 * column_of_8 + 8] = value
    return picture


def test_heat_is_activation_times_weight_at_its_place() -> None:
    """Two actions: log odds = z0 - z1, so evidence is 2 at one tile, 1 at another, and nothing anywhere else."""
    model = metadata()
    dense = weights(2, for_it=(3, 5, 0, 2.0), against_it=(9, 14, 1, 1.0))
    saliency = Saliency(looking_graph(model, [MEAN_8], dense, np.zeros(2)), model)
    told = saliency.maps({CAMERA: frame()})
    heat = told.maps[0]
    assert heat.dtype == np.float32
    assert told.chosen.tolist() == [0]
    assert told.outputs[0] == pytest.approx([1 / (1 + np.exp(-1.0)), 1 / (1 + np.exp(1.0))], abs=1e-6)
    # the tiles' middles lie between two pixels each way
    assert heat[27:29, 43:45] == pytest.approx(np.ones((2, 2)))
    assert heat[75:77, 115:117] == pytest.approx(np.full((2, 2), 0.5))
    rows, columns = np.indices(heat.shape)
    far = (np.maximum(abs(rows - 27.5), abs(columns - 43.5)) > 8) & (
        np.maximum(abs(rows - 75.5), abs(columns - 115.5)) > 8
    )
    assert not heat[far].any()
    saliency.close()


def test_the_action_asked_for_is_explained() -> None:
    model = metadata(3)
    dense = weights(3, a=(2, 2, 0, 1.0), b=(7, 10, 1, 1.0), c=(12, 17, 2, 1.0))
    saliency = Saliency(looking_graph(model, [MEAN_8], dense, np.array([0.0, 0.0, 9.0])), model)
    for action, tile in enumerate([(2, 2), (7, 10), (12, 17)]):
        heat = saliency.maps({CAMERA: frame()}, np.array([action])).maps[0]
        assert heat[8 * tile[0] + 3, 8 * tile[1] + 3] == heat.max() == 1.0
    assert saliency.maps({CAMERA: frame()}).chosen.tolist() == [2]
    saliency.close()


def test_a_sure_policy_is_still_explained() -> None:
    """p = 1 in float32: the gradient of log p is 0, that of the log odds is not."""
    model = metadata()
    dense = weights(2, for_it=(3, 5, 0, 2.0))
    told = Saliency(looking_graph(model, [MEAN_8], dense, np.array([200.0, 0.0])), model).maps({CAMERA: frame()})
    assert told.outputs[0].tolist() == [1.0, 0.0]
    assert told.maps[0, 27, 43] == 1.0


def test_continuous_actions_add_steering_and_speed() -> None:
    model = metadata(continuous=True)
    dense = weights(2, steering=(3, 5, 0, -0.25), speed=(9, 14, 1, 0.5))
    told = Saliency(looking_graph(model, [MEAN_8], dense, np.zeros(2)), model).maps({CAMERA: frame()})
    assert told.outputs[0] == pytest.approx([-0.25, 0.5])
    assert told.maps[0, 75, 115] == 1.0
    assert told.maps[0, 27, 43] == pytest.approx(0.5)


@pytest.mark.parametrize("padding", ["VALID", "SAME"])
@pytest.mark.parametrize(("sizes", "strides"), [((8, 4, 3), (4, 2, 1)), ((5, 3), (2, 2))])
def test_heat_is_where_the_light_is(sizes: tuple[int, ...], strides: tuple[int, ...], padding: str) -> None:
    """One lit pixel in the dark: the heat's middle is there, whatever the layers' sizes and strides."""
    places = [(60, 80), (34, 121)]
    model = metadata()
    convolutions: list[Conv] = [(np.ones((n, n, 1, 1)), s, padding) for n, s in zip(sizes, strides, strict=True)]
    rows, columns = 120, 160
    for size, stride in zip(sizes, strides, strict=True):
        lost = size - 1 if padding == "VALID" else 0
        rows, columns = -(-(rows - lost) // stride), -(-(columns - lost) // stride)
    dense = np.stack([np.full(rows * columns, 1e-3), np.zeros(rows * columns)], axis=1)
    lit = np.zeros((2, 120, 160, 1), np.uint8)
    for picture, place in zip(lit, places, strict=True):
        picture[place] = 255
    maps = Saliency(looking_graph(model, convolutions, dense, np.zeros(2)), model).maps({CAMERA: lit}).maps
    for heat, place in zip(maps, places, strict=True):
        middle = [float((np.indices(heat.shape)[i] * heat).sum() / heat.sum()) for i in (0, 1)]
        assert middle == pytest.approx(place, abs=0.5 * float(np.prod(strides)))


def random_policy(model: ModelMetadata, seed: int) -> bytes:
    random = np.random.default_rng(seed)
    convolutions: list[Conv] = [
        (random.normal(0.0, 0.15, (8, 8, 1, 8)), 4, "VALID"),
        (random.normal(0.0, 0.10, (4, 4, 8, 8)), 2, "VALID"),
    ]
    # places differ in weight, as they do in a trained network
    importance = np.zeros((13, 18, 8, model.actions.size))
    importance[4:9, 2:7] = importance[9:12, 12:16] = 1.0
    dense = (importance * random.normal(0.0, 1.0, importance.shape)).reshape(-1, model.actions.size)
    return looking_graph(model, convolutions, dense, np.zeros(model.actions.size))


def test_covering_what_is_hot_changes_the_decision_more() -> None:
    """Occlusion as an oracle: the change of log p / (1 - p) when a patch is painted with the frame's mean."""
    model = metadata(5)
    saliency = Saliency(random_policy(model, 1), model)
    seen = np.random.default_rng(2).integers(0, 256, (1, 15, 20, 1)).repeat(8, axis=1).repeat(8, axis=2)
    told = saliency.maps({CAMERA: seen})
    corners = [(y, x) for y in range(0, 105, 15) for x in range(0, 145, 16)]
    covered = np.repeat(seen, len(corners), axis=0)
    for patch, (y, x) in zip(covered, corners, strict=True):
        patch[y : y + 15, x : x + 16] = seen.mean()
    chosen = np.repeat(told.chosen, len(corners))
    outputs = saliency.maps({CAMERA: covered}, chosen).outputs[:, told.chosen[0]]
    before = told.outputs[0, told.chosen[0]]
    change = np.abs(np.log(outputs / (1 - outputs)) - np.log(before / (1 - before)))
    hot = [told.maps[0, y : y + 15, x : x + 16].mean() for y, x in corners]
    assert spearmanr(hot, change).statistic > 0.6
    order = np.argsort(hot)
    assert change[order[-10:]].mean() > 5 * change[order[:30]].mean()


def test_frames_are_explained_one_by_one() -> None:
    model = metadata(5)
    saliency = Saliency(random_policy(model, 3), model)
    seen = np.random.default_rng(4).integers(0, 256, (CHUNK + 3, 120, 160, 1), dtype=np.uint8)
    whole = saliency.maps({CAMERA: seen})
    last = saliency.maps({CAMERA: seen[-1:]})
    assert whole.maps.shape == (CHUNK + 3, 120, 160)
    assert whole.maps.max(axis=(1, 2)) == pytest.approx(np.ones(CHUNK + 3))
    assert whole.maps.min() >= 0.0
    np.testing.assert_allclose(whole.maps[-1], last.maps[0], atol=1e-4)
    np.testing.assert_allclose(whole.outputs[-1], last.outputs[0], atol=1e-5)


def test_graphs_that_look_at_nothing_are_refused() -> None:
    model = metadata()
    with pytest.raises(InputError, match="depend on a convolution"):
        Saliency(constant_graph(model, 1), model)
    with pytest.raises(InputError, match="depend on a convolution"):
        Saliency(constant_graph(model, 1), metadata(continuous=True))
