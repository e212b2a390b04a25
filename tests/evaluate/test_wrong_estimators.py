"""Estimators with a typical mistake of convention get the error that one computes by hand."""

import math

import cv2
import numpy as np
import pytest

from sdme.data.pairs import ImageFile, ImagePair
from sdme.evaluate.case import CaseKey
from sdme.evaluate.method import MethodResult
from sdme.evaluate.metrics import score_result
from sdme.evaluate.protocol import PROTOCOLS, ViewProtocol, draw_case

DOUBLED = ViewProtocol(rotation=0, min_scale=2, max_scale=2, perspective=0)
TO_CORNER_ORIGIN = np.array([[1, 0, 0.5], [0, 1, 0.5], [0, 0, 1]])


@pytest.fixture
def drawn(tmp_path):
    """Draw a case of a protocol from one made picture."""
    noise = np.random.default_rng(0).uniform(0, 255, (60, 80, 3)).astype(np.float32)
    cv2.imwrite(str(tmp_path / "one.png"), cv2.resize(noise, (640, 480)))
    file = ImageFile(tmp_path / "one.png")
    return lambda protocol: draw_case(CaseKey(ImagePair("made", "one", file, file), 0), protocol)


def error(case, H):
    (row,) = score_result(case, "estimator", MethodResult({"estimator": H}), 0.0, 0.0)
    return row.error


def by_hand(case, H):
    """The corner error, one corner and one coordinate at a time."""
    width, height = case.fixed_size
    total = 0.0
    for x, y in [(0, 0), (width - 1, 0), (width - 1, height - 1), (0, height - 1)]:
        ends = []
        for (a, b, c), (d, e, f), (g, h, i) in (H, case.H_true):
            depth = g * x + h * y + i
            ends.append(((a * x + b * y + c) / depth, (d * x + e * y + f) / depth))
        total += math.dist(*ends)
    return total / 4


@pytest.mark.parametrize("name", ["paper", "native", "hard"])
def test_convention_wrong_direction_is_caught(drawn, name):
    case = drawn(PROTOCOLS[name])
    assert error(case, case.H_true) < 1e-9
    backwards = np.linalg.inv(case.H_true)
    assert by_hand(case, backwards) > 5
    assert error(case, backwards) == pytest.approx(by_hand(case, backwards))


def test_convention_half_pixel_is_caught_by_hand(drawn):
    """A matrix for coordinates x + 0.5 maps x to s (x - 0.5) + t + 0.5: it is off by (1 - s) / 2
    where the truth is s x + t, in x and in y alike: by sqrt(0.5) px at a scale of two.
    """
    case = drawn(DOUBLED)
    (across, down), off_diagonal = np.diag(case.H_true)[:2], case.H_true[[0, 1, 2, 2], [1, 0, 0, 1]]
    assert (across, down) == pytest.approx((2, 2), abs=0.01)
    assert off_diagonal == pytest.approx(0, abs=1e-9)
    corner_origin = TO_CORNER_ORIGIN @ case.H_true @ np.linalg.inv(TO_CORNER_ORIGIN)
    expected = math.hypot((across - 1) / 2, (down - 1) / 2)
    assert error(case, corner_origin) == pytest.approx(expected)
    assert expected == pytest.approx(math.sqrt(0.5), abs=0.01)
    one_sided = TO_CORNER_ORIGIN @ case.H_true
    assert error(case, one_sided) == pytest.approx(math.sqrt(0.5))


@pytest.mark.parametrize("name", ["paper", "hard"])
def test_convention_half_pixel_is_caught_with_perspective(drawn, name):
    case = drawn(PROTOCOLS[name])
    corner_origin = TO_CORNER_ORIGIN @ case.H_true @ np.linalg.inv(TO_CORNER_ORIGIN)
    assert by_hand(case, corner_origin) > 0.05
    assert error(case, corner_origin) == pytest.approx(by_hand(case, corner_origin))
