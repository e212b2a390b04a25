import cv2
import numpy as np
import pytest

from sdme.errors import InputError
from sdme.evaluate.methods.features import _mutual_with_ratio, build_akaze


def test_matches_are_mutual_and_pass_the_ratio_test():
    """Rows: plain match; match that is not mutual; match as near to two."""
    fixed = np.array([[0, 0], [0, 3], [50, 0]], np.float32)
    moving = np.array([[0, 1], [49, 0], [51, 0], [0, 99]], np.float32)
    np.testing.assert_array_equal(_mutual_with_ratio(fixed, moving, 0.8), [[0, 0]])


@pytest.mark.parametrize(("fixed", "moving"), [(0, 3), (3, 0), (3, 1), (0, 0)])
def test_too_few_features_give_no_matches(fixed, moving):
    features = np.zeros((fixed, 4), np.float32), np.zeros((moving, 4), np.float32)
    assert _mutual_with_ratio(*features, 0.8).shape == (0, 2)


def test_an_opencv_without_akaze_is_said_in_one_line(monkeypatch):
    for name in ("AKAZE", "xfeatures2d"):
        monkeypatch.delattr(cv2, name, raising=False)
    with pytest.raises(InputError, match="opencv-contrib-python-headless") as caught:
        build_akaze("cpu")
    assert "\n" not in str(caught.value)
