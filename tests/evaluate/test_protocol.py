import tarfile

import cv2
import numpy as np
import pytest

from sdme.errors import InputError
from sdme.evaluate.metrics import corner_error
from sdme.evaluate.protocol import PaperProtocol, cases_from_pack
from sdme.transform import warp_array

PROTOCOL = PaperProtocol()


def textured(height, width, seed=0, fineness=4):
    noise = np.random.default_rng(seed).uniform(0, 255, (height // fineness, width // fineness, 3))
    image = cv2.resize(noise.astype(np.float32), (width, height), interpolation=cv2.INTER_CUBIC)
    return image.clip(0, 255).astype(np.uint8)


def write_pack(path, images):
    with tarfile.open(path, "w") as archive:
        for name, image in images.items():
            file = path.parent / name
            file.write_bytes(cv2.imencode(".png", image[..., ::-1])[1].tobytes())
            archive.add(file, arcname=name)
    return path


@pytest.fixture
def pair_pack(tmp_path):
    images = {}
    for i, size in enumerate([(300, 400), (512, 640), (180, 200)]):
        picture = textured(*size, seed=i)
        images[f"p{i}.a.png"] = picture
        images[f"p{i}.b.png"] = 255 - picture // 2
    return write_pack(tmp_path / "pack.tar", images)


def test_shapes_types_and_ranges(pair_pack):
    for case in cases_from_pack(pair_pack, 7, PROTOCOL):
        assert case.fixed.shape == (128, 128, 3)
        assert case.fixed.dtype == np.uint8
        assert case.moving.shape == (192, 192, 3)
        assert case.moving.dtype == np.uint8
        assert case.H_true.dtype == np.float64
        square = np.array([[0, 0, 1], [127, 0, 1], [127, 127, 1], [0, 127, 1.0]])
        mapped = square @ case.H_true.T
        gap = mapped[:, :2] / mapped[:, 2:] - square[:, :2] - 32
        assert np.abs(gap).max() <= 32 + 1e-6


def test_convention_moving_warped_by_the_truth_is_the_fixed_patch(pair_pack):
    """Photometrically inverted b image; shrunk, kept and enlarged sources all align.

    A half-pixel shift or the wrong direction would leave several times the difference.
    """
    for case in cases_from_pack(pair_pack, 6, PROTOCOL):
        fixed, moving = case.fixed.astype(float), case.moving
        if case.fixed_modality == "a":
            fixed = 255 - fixed / 2
        else:
            moving = (255 - case.moving / 2).astype(np.uint8)
        aligned = difference(moving, case.H_true, fixed)
        shifted = difference(
            moving, np.array([[1, 0, 0.5], [0, 1, 0.5], [0, 0, 1]]) @ case.H_true, fixed
        )
        assert aligned < 5
        assert aligned < shifted / 1.7
        assert difference(moving, np.linalg.inv(case.H_true), fixed) > 3 * aligned


def difference(moving, H, fixed):
    warped = warp_array(moving, H, (128, 128), "cubic").astype(float)
    return np.abs(warped - fixed)[8:-8, 8:-8].mean()


def test_same_cases_again_and_the_start_of_a_longer_list(pair_pack):
    first, second = cases_from_pack(pair_pack, 4, PROTOCOL), cases_from_pack(pair_pack, 9, PROTOCOL)
    for one, other in zip(first, second, strict=False):
        assert one.name == other.name
        assert np.array_equal(one.fixed, other.fixed)
        assert np.array_equal(one.moving, other.moving)
        assert np.array_equal(one.H_true, other.H_true)


def test_draws_do_not_depend_on_the_machine(pair_pack):
    case = cases_from_pack(pair_pack, 1, PROTOCOL)[0]
    assert case.name == "pack/p1#0"
    np.testing.assert_allclose(case.H_true[:2, 2], [32.91472309421753, 8.42409016240498], atol=1e-9)


def test_seed_and_pack_name_change_the_cases(pair_pack):
    case = cases_from_pack(pair_pack, 1, PROTOCOL)[0]
    other = cases_from_pack(pair_pack, 1, PaperProtocol(seed=1))[0]
    assert corner_error(other.H_true, case.H_true, (128, 128)) > 1
    renamed = cases_from_pack(pair_pack.rename(pair_pack.with_name("other.tar")), 1, PROTOCOL)[0]
    assert corner_error(renamed.H_true, case.H_true, (128, 128)) > 1


def test_pairs_are_cycled_and_modalities_alternate(pair_pack):
    cases = cases_from_pack(pair_pack, 12, PROTOCOL)
    assert [c.pair for c in cases[:3]] == [c.pair for c in cases[3:6]]
    seen = {(c.pair, c.fixed_modality) for c in cases}
    assert len(seen) == 6
    assert len({c.H_true.tobytes() for c in cases}) == 12
    assert sum(c.fixed_modality == "a" for c in cases) == 6


def test_photo_gives_a_single_modal_case(tmp_path):
    pack = write_pack(tmp_path / "photos.tar", {"one.png": textured(240, 320)})
    for case in cases_from_pack(pack, 2, PROTOCOL):
        assert difference(case.moving, case.H_true, case.fixed.astype(float)) < 5


def test_blank_patches_are_drawn_again_and_counted(tmp_path):
    picture = np.zeros((256, 1500, 3), np.uint8)
    picture[:, :500] = textured(256, 500, fineness=16)
    cases = cases_from_pack(write_pack(tmp_path / "p.tar", {"x.png": picture}), 12, PROTOCOL)
    assert sum(case.redraws for case in cases) > 0
    assert all(case.fixed.std() > 2 for case in cases)


def test_all_blank_images_are_kept_at_the_limit_not_dropped(tmp_path):
    pack = write_pack(tmp_path / "p.tar", {"x.png": np.full((256, 256, 3), 9, np.uint8)})
    cases = cases_from_pack(pack, 2, PaperProtocol(max_redraws=3))
    assert [case.redraws for case in cases] == [3, 3]


def test_no_shift_is_the_centred_placement(pair_pack):
    protocol = PaperProtocol(max_shift=0)
    case = cases_from_pack(pair_pack, 1, protocol)[0]
    np.testing.assert_allclose(case.H_true, protocol.initial, atol=1e-9)
    np.testing.assert_array_equal(protocol.initial, [[1, 0, 32], [0, 1, 32], [0, 0, 1]])


def test_empty_pack_is_an_error_of_the_package(tmp_path):
    with tarfile.open(tmp_path / "empty.tar", "w"):
        pass
    with pytest.raises(InputError, match="is empty"):
        cases_from_pack(tmp_path / "empty.tar", 1, PROTOCOL)


def test_working_scale_never_falls_below_the_moving_patch(pair_pack):
    case = cases_from_pack(pair_pack, 1, PaperProtocol(max_short_side=100))[0]
    assert case.moving.shape == (192, 192, 3)
