import pytest
import torch

from sdme.config import KeypointSettings
from sdme.model.keypoints import detect_keypoints, gather_descriptors


def with_peaks(peaks, height=20, width=30):
    values = 0.01 * torch.rand(1, height, width, generator=torch.Generator().manual_seed(0))
    for (x, y), score in peaks.items():
        values[0, y, x] = score
    return values


def strong(keypoints, above=0.1):
    return [tuple(p) for p in keypoints.points[keypoints.scores > above].int().tolist()]


def test_peaks_come_as_x_y_best_first():
    found = detect_keypoints(with_peaks({(5, 8): 0.5, (20, 3): 0.9, (12, 15): 0.7}))
    assert strong(found) == [(20, 3), (12, 15), (5, 8)]
    assert (found.scores.diff() <= 0).all()
    torch.testing.assert_close(found.scores[:3], torch.tensor([0.9, 0.7, 0.5]))


def test_only_the_largest_of_a_window_stays():
    values = with_peaks({(10, 10): 0.9, (11, 11): 0.8, (13, 10): 0.7})
    assert strong(detect_keypoints(values)) == [(10, 10), (13, 10)]
    assert strong(detect_keypoints(values, KeypointSettings(radius=3))) == [(10, 10)]


def test_top_k_takes_the_best():
    values = torch.rand(1, 60, 60, generator=torch.Generator().manual_seed(1))
    everything = detect_keypoints(values)
    best = detect_keypoints(values, KeypointSettings(top_k=7))
    assert len(everything) > 100 and len(best) == 7
    assert torch.equal(best.points, everything.points[:7])


def test_border_holds_no_keypoints():
    values = with_peaks({(1, 10): 0.9, (2, 5): 0.8, (27, 17): 0.7, (28, 9): 0.6, (9, 18): 0.5})
    assert strong(detect_keypoints(values, KeypointSettings(border=2))) == [(2, 5), (27, 17)]
    assert len(strong(detect_keypoints(values, KeypointSettings(border=0)))) == 5
    assert len(detect_keypoints(values, KeypointSettings(border=10))) == 0


def test_masked_pixels_are_no_keypoints_but_hide_weaker_neighbours():
    values = with_peaks({(10, 10): 0.9, (11, 10): 0.8, (20, 10): 0.7})
    mask = torch.ones_like(values, dtype=torch.bool)
    mask[0, 10, 10] = False
    assert strong(detect_keypoints(values, mask=mask)) == [(20, 10)]
    assert len(detect_keypoints(values, mask=torch.zeros_like(mask))) == 0


def test_constant_map_has_no_keypoints():
    assert len(detect_keypoints(torch.full((1, 40, 40), 0.3))) == 0


def test_plateau_counts_once():
    values = torch.zeros(1, 40, 40)
    values[0, 10:12, 10:12] = 0.5
    values[0, 25, 8:30] = 0.7
    found = detect_keypoints(values)
    assert strong(found) == [(8, 25), (10, 10)]


def test_large_flat_blob_yields_few():
    values = torch.zeros(1, 60, 60)
    values[0, 15:45, 15:45] = 1.0
    assert len(detect_keypoints(values)) < 10


@pytest.mark.parametrize("dtype", [torch.float32, torch.float16, torch.bfloat16])
def test_every_floating_dtype(dtype):
    found = detect_keypoints(with_peaks({(5, 8): 0.5, (20, 3): 0.75}).to(dtype))
    assert strong(found) == [(20, 3), (5, 8)]


def test_convention_descriptor_is_that_of_the_pixel():
    descriptors = torch.rand(8, 20, 30)
    points = torch.tensor([[5.0, 8.0], [29.0, 0.0], [0.0, 19.0]])
    gathered = gather_descriptors(descriptors, points)
    expected = [descriptors[:, 8, 5], descriptors[:, 0, 29], descriptors[:, 19, 0]]
    assert torch.equal(gathered, torch.stack(expected))
    assert gather_descriptors(descriptors, points[:0]).shape == (0, 8)
