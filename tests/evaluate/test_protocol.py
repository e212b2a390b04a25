import cv2
import numpy as np
import pytest

from sdme.data.pairs import ImageFile, ImagePair, Landmarks
from sdme.errors import InputError
from sdme.evaluate.case import CaseKey
from sdme.evaluate.metrics import case_error, corner_error
from sdme.evaluate.protocol import (
    PROTOCOLS,
    PaperProtocol,
    ViewProtocol,
    case_keys,
    draw_case,
)
from sdme.warping import warp_array

PAPER = PROTOCOLS["paper"]


def textured(height, width, seed=0, fineness=4):
    noise = np.random.default_rng(seed).uniform(0, 255, (height // fineness, width // fineness, 3))
    image = cv2.resize(noise.astype(np.float32), (width, height), interpolation=cv2.INTER_CUBIC)
    return image.clip(0, 255).astype(np.uint8)


def stored(path, image):
    cv2.imwrite(str(path), image[..., ::-1])
    return ImageFile(path)


@pytest.fixture
def pairs(tmp_path):
    """Three pairs whose second picture is the first one, inverted and halved in contrast."""
    out = []
    for i, size in enumerate([(300, 400), (512, 640), (180, 200)]):
        picture = textured(*size, seed=i)
        first = stored(tmp_path / f"p{i}.a.png", picture)
        second = stored(tmp_path / f"p{i}.b.png", 255 - picture // 2)
        out.append(ImagePair("pack", f"p{i}", first, second))
    return out


@pytest.fixture
def photo(tmp_path):
    file = stored(tmp_path / "one.png", textured(240, 320))
    return ImagePair("photos", "one", file, file, group="photo")


def drawn(pairs, protocol, count=None):
    return [draw_case(key, protocol) for key in case_keys(pairs, protocol, count)]


def difference(case, H):
    """Mean grey difference of the moving picture, warped, and the fixed one, within its frame."""
    fixed, moving = case.fixed.astype(float), case.moving
    if not case.key.pair.is_photo and case.key.fixed_side == "a":
        fixed = 255 - fixed / 2
    elif not case.key.pair.is_photo:
        moving = (255 - case.moving / 2).astype(np.uint8)
    warped = warp_array(moving, H, case.fixed_size, "cubic").astype(float)
    return np.abs(warped - fixed)[8:-8, 8:-8].mean()


def test_patches_of_the_paper(pairs):
    for case in drawn(pairs, PAPER, 7):
        assert case.fixed.shape == (128, 128, 3)
        assert case.moving.shape == (192, 192, 3)
        assert case.fixed.dtype == case.moving.dtype == np.uint8
        square = np.array([[0, 0, 1], [127, 0, 1], [127, 127, 1], [0, 127, 1.0]])
        mapped = square @ case.H_true.T
        gap = mapped[:, :2] / mapped[:, 2:] - square[:, :2] - 32
        assert np.abs(gap).max() <= 32 + 1e-6


@pytest.mark.parametrize("name", ["paper", "native", "hard"])
def test_convention_moving_warped_by_the_truth_is_the_fixed_picture(pairs, name):
    """Photometrically inverted b image; shrunk, kept and enlarged sources all align.

    A half-pixel shift or the wrong direction would leave several times the difference.
    """
    for case in drawn(pairs, PROTOCOLS[name], 6):
        half = np.array([[1, 0, 0.5], [0, 1, 0.5], [0, 0, 1]])
        shrink = np.abs(np.linalg.det(case.H_true[:2, :2])) ** 0.5
        aligned = difference(case, case.H_true)
        if shrink < 1.25:  # a warped picture is not low-pass filtered, a drawn one is
            assert aligned < 5
            assert aligned < difference(case, half @ case.H_true) / 1.5
        assert difference(case, np.linalg.inv(case.H_true)) > 2 * aligned


def test_photo_gives_a_single_modal_case(photo):
    for case in drawn([photo], PAPER, 2):
        assert difference(case, case.H_true) < 5


def test_same_cases_again_and_the_start_of_a_longer_list(pairs):
    first, second = drawn(pairs, PAPER, 4), drawn(pairs, PAPER, 9)
    for one, other in zip(first, second, strict=False):
        assert one.key == other.key
        assert np.array_equal(one.fixed, other.fixed)
        assert np.array_equal(one.moving, other.moving)
        assert np.array_equal(one.H_true, other.H_true)


def test_draws_do_not_depend_on_the_machine(pairs):
    case = drawn(pairs, PAPER, 1)[0]
    assert case.key.name == "pack/p1#0"
    np.testing.assert_allclose(case.H_true[:2, 2], [32.91472309421753, 8.42409016240498], atol=1e-9)


def test_seed_and_dataset_change_the_cases(pairs):
    case = drawn(pairs, PAPER, 1)[0]
    other = drawn(pairs, PaperProtocol(seed=1), 1)[0]
    assert corner_error(other.H_true, case.H_true, (128, 128)) > 1
    renamed = [ImagePair("other", p.id, p.fixed, p.moving) for p in pairs]
    assert corner_error(drawn(renamed, PAPER, 1)[0].H_true, case.H_true, (128, 128)) > 1


def test_pairs_are_cycled_and_modalities_alternate(pairs):
    cases = drawn(pairs, PAPER, 12)
    keys = [case.key for case in cases]
    assert [k.pair for k in keys[:3]] == [k.pair for k in keys[3:6]]
    assert len({(k.pair.id, k.fixed_side) for k in keys}) == 6
    assert len({c.H_true.tobytes() for c in cases}) == 12
    assert sum(k.fixed_side == "a" for k in keys) == 6


def test_without_a_count_every_pair_gives_one_case(pairs, photo):
    keys = case_keys([*pairs, photo], PAPER)
    assert sorted(key.pair.id for key in keys) == ["one", "p0", "p1", "p2"]
    assert [key.pair.dataset for key in case_keys([*pairs, photo], PAPER, 2)] == [
        "pack",
        "pack",
        "photos",
        "photos",
    ]


def test_blank_patches_are_drawn_again_and_counted(tmp_path):
    picture = np.zeros((256, 1500, 3), np.uint8)
    picture[:, :500] = textured(256, 500, fineness=16)
    file = stored(tmp_path / "x.png", picture)
    cases = drawn([ImagePair("d", "x", file, file)], PAPER, 12)
    assert sum(case.redraws for case in cases) > 0
    assert all(case.fixed.std() > 2 for case in cases)


def test_all_blank_images_are_kept_at_the_limit_not_dropped(tmp_path):
    file = stored(tmp_path / "x.png", np.full((256, 256, 3), 9, np.uint8))
    cases = drawn([ImagePair("d", "x", file, file)], PaperProtocol(max_redraws=3), 2)
    assert [case.redraws for case in cases] == [3, 3]


def test_no_shift_is_the_centred_placement(pairs):
    case = drawn(pairs, PaperProtocol(max_shift=0), 1)[0]
    np.testing.assert_allclose(case.H_true, case.initial, atol=1e-9)
    np.testing.assert_array_equal(case.initial, [[1, 0, 32], [0, 1, 32], [0, 0, 1]])


def test_working_scale_never_falls_below_the_moving_patch(pairs):
    case = drawn(pairs, PaperProtocol(max_short_side=100), 1)[0]
    assert case.moving.shape == (192, 192, 3)


@pytest.mark.parametrize("name", ["native", "hard"])
def test_views_stay_inside_the_whole_moving_image_and_within_their_limits(pairs, name):
    protocol = PROTOCOLS[name]
    angles, scales = [], []
    for case in drawn(pairs, protocol, 60):
        height, width = case.moving.shape[:2]
        source = case.key.pair.moving if case.key.fixed_side == "a" else case.key.pair.fixed
        assert np.array_equal(case.moving, source.read())
        right, bottom = case.fixed_size[0] - 1, case.fixed_size[1] - 1
        quad = cv2.perspectiveTransform(
            np.array([[[0, 0], [right, 0], [right, bottom], [0, bottom]]], float), case.H_true
        )[0]
        assert (quad > -1e-6).all()
        assert (quad[:, 0] < width - 1 + 1e-6).all()
        assert (quad[:, 1] < height - 1 + 1e-6).all()
        middle = (quad[1] + quad[2] - quad[0] - quad[3]) / 2
        angles.append(np.degrees(np.arctan2(middle[1], middle[0])))
        scales.append(np.hypot(*middle) / right)
    # tilting turns the middle line by up to 2 * 0.02 rad and scales it by up to 4 %
    assert np.abs(angles).max() <= protocol.rotation + 2.5
    assert max(angles) > 0.8 * protocol.rotation
    assert min(angles) < -0.8 * protocol.rotation
    assert protocol.min_scale / 1.06 < min(scales) < protocol.min_scale * 1.1
    assert protocol.max_scale / 1.1 < max(scales) < protocol.max_scale * 1.06


def test_pairs_with_a_transform_of_their_own_are_taken_as_they_are(tmp_path):
    H = np.array([[1, 0, 20], [0, 1, 10], [0, 0, 1.0]])
    moving = textured(192, 192)
    for side, protocol in ((80, PROTOCOLS["real"]), (128, PROTOCOLS["real"]), (128, PAPER)):
        fixed = moving[10 : 10 + side, 20 : 20 + side]
        files = stored(tmp_path / "f.png", fixed), stored(tmp_path / "m.png", moving)
        (case,) = drawn([ImagePair("mine", "one", *files, H)], protocol, 5)
        assert np.array_equal(case.fixed, fixed)
        assert np.array_equal(case.moving, moving)
        assert np.array_equal(case.H_true, H)
        if protocol is PAPER:
            np.testing.assert_allclose(case.initial, [[1, 0, 32], [0, 1, 32], [0, 0, 1]])
        else:  # pixel borders fall on pixel borders: x = -0.5 on -0.5, the right one on 191.5
            edge = side - 0.5
            np.testing.assert_allclose(case.initial @ [edge, edge, 1], [191.5, 191.5, 1])


def test_the_paper_protocol_refuses_pairs_of_other_sizes(tmp_path):
    files = [stored(tmp_path / f"{n}.png", textured(96, 96)) for n in "fm"]
    with pytest.raises(InputError, match="choose protocol real"):
        drawn([ImagePair("mine", "one", *files, np.eye(3))], PAPER)


def test_pairs_with_a_truth_give_one_case_each_beside_others_that_go_round(pairs):
    given = ImagePair("pack", "given", pairs[0].fixed, pairs[0].moving, np.eye(3))
    keys = case_keys([*pairs[:2], given], PAPER, 9)
    assert [key.pair.id for key in keys].count("given") == 1
    assert len({key.name for key in keys}) == 9
    assert len({key.index for key in keys}) == 9


def test_landmarks_are_the_truth_of_real_pairs(tmp_path):
    files = [stored(tmp_path / f"{n}.png", textured(64, 64)) for n in "fm"]
    points = Landmarks(np.array([[1.0, 2]]), np.array([[3.0, 4]]))
    (case,) = drawn([ImagePair("mine", "one", *files, points)], PROTOCOLS["real"])
    assert case.H_true is None
    assert case.landmarks is points
    assert case_error(case, case.initial) == pytest.approx(8**0.5)


def test_protocols_refuse_what_they_cannot_draw_from(pairs, tmp_path):
    given = ImagePair("mine", "one", pairs[0].fixed, pairs[0].moving, np.eye(3))
    marked = ImagePair(
        "mine", "two", pairs[0].fixed, pairs[0].moving, Landmarks(np.ones((4, 2)), np.ones((4, 2)))
    )
    with pytest.raises(InputError, match="neither a transform nor landmarks"):
        case_keys(pairs, PROTOCOLS["real"])
    with pytest.raises(InputError, match="choose real"):
        case_keys([given], ViewProtocol())
    with pytest.raises(InputError, match="choose real"):
        case_keys([marked], PAPER)
    uneven = ImagePair("mine", "x", pairs[0].fixed, pairs[1].moving)
    with pytest.raises(InputError, match="differ in size"):
        draw_case(CaseKey(uneven, 0), PAPER)
    lost = ImageFile(tmp_path / "lost.png")
    with pytest.raises(InputError, match=r"lost\.png"):
        draw_case(CaseKey(ImagePair("mine", "x", lost, lost), 0), PAPER)
