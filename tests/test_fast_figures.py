"""Figures that tell right answers from wrong ones, by a network whose maps are the images."""

import numpy as np
import pytest
import torch
from hand_made_fast import HandMadeFast

from sdme.config import RegisterSettings
from sdme.fast_figures import FIGURES, figures_of
from sdme.fast_stages import Views, match_cells
from sdme.fast_verdict import Prediction
from sdme.frames import Pair, make_frame
from sdme.geometry.sampling import pixel_grid
from sdme.stages import Clock

TRUTH = np.array([[1.0, 0, 4], [0, 1.0, -4], [0, 0, 1]])


def texture(seed):
    """Waves of several lengths, so that refinement has a wide basin."""
    x, y = pixel_grid(160, 128, torch.zeros(1)).unflatten(0, (128, 160)).unbind(-1)
    rng = np.random.default_rng(seed)
    out = torch.zeros(128, 160)
    for length in (20, 33, 50, 80):
        for _ in range(2):
            angle, phase = rng.uniform(0, 2 * np.pi, 2)
            out += torch.sin((x * np.cos(angle) + y * np.sin(angle)) * 2 * np.pi / length + phase)
    out = (out - out.min()) / (out.max() - out.min())
    return (255 * out).numpy().astype(np.uint8)


def told(fixed, moving, matrix=TRUTH, error=0.7):
    network = HandMadeFast(torch.eye(3))
    pair = Pair(make_frame(fixed, "fixed image", 512), make_frame(moving, "moving image", 512))
    with torch.inference_mode():
        views = Views(network, pair)
        sparse = match_cells(views, RegisterSettings(), Clock())
        found = Prediction(matrix, error, 1.0, True)
        return figures_of(views, found, sparse), figures_of(views, found, None)


@pytest.fixture(scope="module")
def pair():
    """A moving image, and the fixed one that it shows 4 px further right and 4 px higher."""
    moving = texture(0)
    return np.roll(moving, (4, -4), (0, 1)), moving


def test_a_right_answer(pair):
    figures, alone = told(*pair)
    assert tuple(figures) == FIGURES
    assert figures["predicted_error"] == 0.7
    assert figures["instability"] < 0.3
    assert figures["likeness"] > 0.2  # the maps are no unit vectors
    assert figures["match_distance"] < 1
    assert "match_distance" not in alone
    assert {name: figures[name] for name in alone} == pytest.approx(alone)


def test_a_wrong_answer_is_left_by_what_begins_beside_it(pair):
    right, _ = told(*pair)
    wrong, _ = told(*pair, matrix=TRUTH + np.array([[0, 0, 9], [0, 0, 7], [0, 0, 0]]))
    assert wrong["instability"] > 1 > 10 * right["instability"]
    assert wrong["likeness"] < right["likeness"]
    assert wrong["match_distance"] > right["match_distance"]


def test_pictures_of_different_things(pair):
    right, _ = told(*pair)
    wrong, _ = told(pair[0], texture(5))
    assert wrong["instability"] > 1
    assert wrong["match_distance"] > right["match_distance"]


def test_where_nothing_overlaps(pair):
    away = np.array([[1.0, 0, 900], [0, 1, 0], [0, 0, 1]])
    figures, _ = told(*pair, matrix=away)
    assert figures["weight"] == 0
    assert figures["match_distance"] == 4
    assert figures["instability"] == pytest.approx(2, abs=1e-3)  # it stays where it began
