import cv2
import numpy as np
import pytest
import torch

from sdme.refine.agreement import agreement, chance_agreement

EYE = torch.eye(3)[None]


def texture(seed, width=64, height=48):
    coarse = np.random.default_rng(seed).random((height // 6, width // 6), dtype=np.float32)
    return torch.from_numpy(cv2.resize(coarse, (width, height), interpolation=cv2.INTER_CUBIC))[
        None, None
    ]


def test_equal_opposite_and_unrelated_maps():
    image, one = texture(0), torch.ones(1, 1, 48, 64)
    assert agreement(image, 3 * image + 1, EYE, one, one).item() == pytest.approx(1)
    assert agreement(image, -image, EYE, one, one).item() == pytest.approx(-1)
    assert abs(agreement(image, texture(1), EYE, one, one).item()) < 0.4


def test_it_is_taken_where_the_matrix_says():
    image, one = texture(0), torch.ones(1, 1, 48, 64)
    H = EYE.clone()
    H[0, 0, 2] = 10
    moved = torch.roll(image, 10, dims=-1)
    assert agreement(image, moved, H, one, one).item() == pytest.approx(1)
    assert agreement(image, moved, EYE, one, one).item() < 0.7


def test_it_agrees_with_numpy_under_weights():
    first, second = texture(0), texture(1)
    weight = torch.rand(1, 1, 48, 64, generator=torch.Generator().manual_seed(0))
    found = agreement(first, second, EYE, weight, torch.ones_like(weight))
    table = np.cov(
        first.flatten().numpy(), second.flatten().numpy(), aweights=weight.flatten().numpy()
    )
    assert found.item() == pytest.approx(table[0, 1] / np.sqrt(table[0, 0] * table[1, 1]), abs=1e-5)


def test_nothing_to_compare_is_no_agreement():
    image, one = texture(0), torch.ones(1, 1, 48, 64)
    away = EYE.clone()
    away[0, 0, 2] = 1000
    assert agreement(image, image, away, one, one).item() == 0
    assert agreement(image, torch.full_like(image, 0.5), EYE, one, one).item() == 0
    assert agreement(image, image, EYE, 0 * one, one).item() == 0


def test_chance_stays_below_the_truth_and_knows_symmetry():
    image, one = texture(0), torch.ones(1, 1, 48, 64)
    assert chance_agreement(image, image, EYE, one, one).max() < 0.8
    symmetric = (image + image.flip(-1)) / 2
    assert chance_agreement(symmetric, symmetric, EYE, one, one).max().item() == pytest.approx(1)
