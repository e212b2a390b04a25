import json
import math

import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sdme import InputError, Transform

H = np.array([[1.05, 0.12, 6.4], [-0.08, 0.93, 9.7], [4e-4, -3e-4, 1.0]])
FIXED, MOVING = (60, 50), (90, 80)


@pytest.fixture
def transform():
    return Transform(H, FIXED, MOVING)


def test_apply_agrees_with_opencv(transform):
    points = np.random.default_rng(0).uniform(0, 60, (30, 2))
    expected = cv2.perspectiveTransform(points[None], H)[0]
    np.testing.assert_allclose(transform.apply(points), expected)
    assert transform.apply([1, 2]).shape == (2,)
    assert transform.apply(np.zeros((4, 5, 2))).shape == (4, 5, 2)
    assert transform.apply(np.zeros((0, 2))).shape == (0, 2)
    with pytest.raises(InputError, match=r"\(3, 3\)"):
        transform.apply(np.zeros((3, 3)))


def test_points_beyond_the_horizon_are_nan():
    tilted = Transform([[1, 0, 0], [0, 1, 0], [-0.01, 0, 1]], FIXED, MOVING)
    mapped = tilted.apply([[50, 0], [100, 0], [150, 0]])
    assert mapped[0].tolist() == [100, 0]
    assert np.isnan(mapped[1:]).all()


def test_inverse_undoes_a_map_that_turns_the_depth_over():
    folding = Transform([[-1 / 3, 0, 100], [0, 1 / 3, 0], [-0.01, 0, 1]], (50, 50), (150, 150))
    points = np.random.default_rng(1).uniform(0, 33, (20, 2))
    mapped = folding.apply(points)
    expected = np.c_[points, np.ones(20)] @ folding.matrix.T
    np.testing.assert_allclose(mapped, expected[:, :2] / expected[:, 2:])
    np.testing.assert_allclose(folding.inverse.apply(mapped), points)
    unity = folding.inverse @ folding
    np.testing.assert_allclose(unity.apply(points), points)


@pytest.mark.parametrize("shift", [1e6, 1e9])
@pytest.mark.parametrize("unit", [1e-6, 1, 1e6])
def test_far_translations_and_units_can_be_inverted(shift, unit):
    matrix = np.diag([unit, unit, 1]) @ [[1, 0, shift], [0, 1, -shift], [0, 0, 1]]
    far = Transform(matrix, FIXED, MOVING, "similarity")
    np.testing.assert_allclose(far.inverse.apply(far.apply([3, 4])), [3, 4], atol=1e-6)


def test_inverse_with_the_origin_on_the_horizon_is_an_error():
    singular_corner = Transform([[0, 0, 1], [0, 1, 0], [1, 0, 1]], FIXED, MOVING)
    with pytest.raises(InputError, match="origin to infinity"):
        _ = singular_corner.inverse


def test_inverse_undoes(transform):
    points = np.random.default_rng(1).uniform(0, 50, (20, 2))
    np.testing.assert_allclose(transform.inverse.apply(transform.apply(points)), points)
    assert (transform.inverse.fixed_size, transform.inverse.moving_size) == (MOVING, FIXED)
    assert transform.inverse.inverse.corner_error(transform) < 1e-9


def test_composition_applies_the_right_one_first(transform):
    second = Transform([[0, -1, 79], [1, 0, 0], [0, 0, 1]], MOVING, (80, 90), "euclidean")
    both = second @ transform
    points = np.random.default_rng(2).uniform(0, 50, (20, 2))
    np.testing.assert_allclose(both.apply(points), second.apply(transform.apply(points)))
    assert (both.fixed_size, both.moving_size) == (FIXED, (80, 90))
    assert both.kind == "homography"
    assert (second @ second.inverse).kind == "euclidean"
    with pytest.raises(TypeError):
        transform @ 3


@given(st.floats(-math.pi, math.pi), st.floats(0.2, 5), st.floats(-50, 50), st.floats(-50, 50))
def test_similarities_stay_similarities(angle, scale, x, y):
    cos, sin = scale * math.cos(angle), scale * math.sin(angle)
    one = Transform([[cos, -sin, x], [sin, cos, y], [0, 0, 1]], FIXED, FIXED, "similarity")
    assert one.inverse.kind == "similarity"
    unity = one @ one.inverse
    assert unity.corner_error(Transform(np.eye(3), FIXED, FIXED)) < 1e-7


def test_scale_of_the_matrix_means_nothing(transform):
    assert Transform(-3 * H, FIXED, MOVING).corner_error(transform) < 1e-12
    assert Transform(-3 * H, FIXED, MOVING).matrix[2, 2] == 1


def test_value_cannot_be_changed(transform):
    with pytest.raises(ValueError, match="read-only"):
        transform.matrix[0, 0] = 2
    with pytest.raises(AttributeError):
        transform.kind = "affine"
    source = H.copy()
    kept = Transform(source, FIXED, MOVING)
    source[0, 0] = 99
    assert kept == transform and hash(kept) == hash(transform)
    assert kept != Transform(H, FIXED, FIXED)


def test_equal_values_have_equal_hashes():
    plus, minus = (Transform([[1, 0, 0], [0, 1, z], [0, 0, 1]], FIXED, MOVING) for z in (0.0, -0.0))
    assert plus == minus and hash(plus) == hash(minus)


KINDS = {
    "translation": [[1, 0, 5], [0, 1, -3], [0, 0, 1]],
    "euclidean": [[0.6, -0.8, 5], [0.8, 0.6, -3], [0, 0, 1]],
    "similarity": [[1.2, -1.6, 5], [1.6, 1.2, -3], [0, 0, 1]],
    "affine": [[1.2, 0.3, 5], [0.1, 0.9, -3], [0, 0, 1]],
    "homography": H.tolist(),
}


@pytest.mark.parametrize("of", KINDS)
@pytest.mark.parametrize("declared", KINDS)
def test_kind_is_checked(of, declared):
    order = list(KINDS)
    if order.index(of) <= order.index(declared):
        assert Transform(KINDS[of], FIXED, MOVING, declared).kind == declared
    else:
        with pytest.raises(InputError, match=declared):
            Transform(KINDS[of], FIXED, MOVING, declared)


def test_mirrored_matrix_is_affine_but_no_similarity():
    mirror = [[-1, 0, 59], [0, 1, 0], [0, 0, 1]]
    assert Transform(mirror, FIXED, FIXED, "affine")
    for kind in ("similarity", "euclidean"):
        with pytest.raises(InputError, match=kind):
            Transform(mirror, FIXED, FIXED, kind)


@pytest.mark.parametrize(
    ("matrix", "expected"),
    [
        (np.eye(2), r"shape \(2, 2\)"),
        ([[1, 0, 0], [0, 1, 0], [0, 0, math.nan]], "not finite"),
        ([[1, 0, 0], [0, 1, 0], [0, 0, math.inf]], "not finite"),
        (np.zeros((3, 3)), "inverted"),
        ([[1, 2, 0], [2, 4, 0], [0, 0, 1]], "inverted"),
        ([[0, 0, 1], [0, 1, 0], [1, 0, 0]], "inverted"),
        ("abc", "table of numbers"),
        ([[1, 0], [0]], "table of numbers"),
        ([[10**400, 0, 0], [0, 1, 0], [0, 0, 1]], "table of numbers"),
        ([[1, 0, 0], [0, 1, 0], [0, 0, 1e-310]], "inverted"),
    ],
)
def test_unusable_matrix(matrix, expected):
    with pytest.raises(InputError, match=expected) as error:
        Transform(matrix, FIXED, MOVING)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    "size",
    [
        (0, 5),
        (5, -1),
        (5.5, 5),
        (5,),
        None,
        "ab",
        (5, 5, 5),
        (math.inf, 5),
        (math.nan, 5),
        (2**31, 5),
    ],
)
def test_unusable_size(size):
    with pytest.raises(InputError, match="fixed_size"):
        Transform(H, size, MOVING)


def test_unknown_kind():
    with pytest.raises(InputError, match="thin-plate"):
        Transform(H, FIXED, MOVING, "thin-plate")


def test_file_keeps_every_digit(transform, tmp_path):
    path = tmp_path / "transform.json"
    transform.save(path)
    loaded = Transform.load(path)
    assert loaded == transform
    assert np.array_equal(loaded.matrix, transform.matrix)
    assert list(tmp_path.iterdir()) == [path]
    content = json.loads(path.read_text())
    assert content["format"] == "sdme-transform" and content["version"] == 1
    assert content["moving_from_fixed"] == H.tolist()
    assert (content["fixed_size"], content["moving_size"]) == ([60, 50], [90, 80])


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        ({"version": 2}, "version 2"),
        ({"version": None}, "version None"),
        ({"format": "other"}, "no transform file"),
        ({"moving_from_fixed": [[1, 2, 0], [2, 4, 0], [0, 0, 1]]}, "inverted"),
        ({"moving_from_fixed": "x"}, "table of numbers"),
        ({"kind": "affine"}, "no affine"),
        ({"fixed_size": [0, 0]}, "fixed_size"),
        ({"fixed_size": [math.inf, 10]}, "fixed_size"),
    ],
)
def test_wrong_files(transform, tmp_path, change, expected):
    path = tmp_path / "t.json"
    path.write_text(json.dumps(transform.to_dict() | change))
    with pytest.raises(InputError, match=expected) as error:
        Transform.load(path)
    assert str(path) in str(error.value) and "\n" not in str(error.value)


@pytest.mark.parametrize("key", ["kind", "moving_from_fixed", "fixed_size", "moving_size"])
def test_missing_keys(transform, key):
    content = transform.to_dict()
    del content[key]
    with pytest.raises(InputError, match=key):
        Transform.from_dict(content)


def test_files_that_are_none(tmp_path):
    with pytest.raises(InputError, match=r"none\.json"):
        Transform.load(tmp_path / "none.json")
    for content in ("", "{", "[1, 2]", "42", "null"):
        (tmp_path / "t.json").write_text(content)
        with pytest.raises(InputError, match="no transform file"):
            Transform.load(tmp_path / "t.json")
    (tmp_path / "t.json").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(InputError, match="no transform file"):
        Transform.load(tmp_path / "t.json")


def test_warp_refuses_an_image_of_another_size(transform):
    with pytest.raises(InputError, match=r"10x20 px but the transform was made for .* 90x80"):
        transform.warp(np.zeros((20, 10)))


def test_warp_on_another_grid(transform):
    moving = np.random.default_rng(0).random((80, 90)).astype(np.float32)
    like = np.zeros((30, 20))
    expected = transform.warp(moving)[:30, :20]
    np.testing.assert_allclose(transform.warp(moving, like=like), expected, atol=1e-5)


def test_corner_error_is_infinite_beyond_the_horizon(transform):
    assert transform.corner_error(transform) == 0
    folded = Transform([[1, 0, 0], [0, 1, 0], [-0.1, 0, 1]], FIXED, MOVING)
    assert folded.corner_error(transform) == math.inf
