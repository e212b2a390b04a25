"""Both dense stages within a family of transforms, between frames stretched differently."""

import math

import numpy as np
import pytest
import torch

from sdme.config import KINDS, FastRegisterSettings
from sdme.geometry.family import Family
from sdme.geometry.fit import nearest_of_kind
from sdme.geometry.homography import apply_homography, corner_error, invert, normalise
from sdme.geometry.sampling import pixel_grid, resize_matrix
from sdme.model.fast import FastFeatures, Level
from sdme.refine.lucas_kanade import refine
from sdme.refine.unrolled import refine_unrolled

IMAGES, FRAME = (240, 100), (96, 80)
FIXED_SCALE = resize_matrix(96 / 240, 80 / 100)
MOVING_SCALE = resize_matrix(0.45, 0.7)
STRETCHED = 96 / 240, 0.0, 0.0, 80 / 100
STEPS = FastRegisterSettings().steps


def truth(kind):
    """Between the images."""
    turn = 0.0 if kind == "translation" else 0.08
    size = 1.0 if kind in ("translation", "euclidean") else 1.06
    out = torch.eye(3).double()
    out[:2, :2] = size * torch.tensor(
        [[math.cos(turn), -math.sin(turn)], [math.sin(turn), math.cos(turn)]]
    )
    if kind in ("affine", "homography"):
        out[0, :2] *= 0.96
    if kind == "homography":
        out[2, 0] = 1e-4
    out[:2, 2] = torch.tensor([5.0, -3.0])
    return out


def off(kind):
    """A transform of the kind a few pixels from the truth."""
    wrong = truth(kind)
    wrong[:2, 2] += torch.tensor([4.0, 2.0])
    if kind != "translation":
        turn = torch.tensor([[math.cos(0.03), -math.sin(0.03)], [math.sin(0.03), math.cos(0.03)]])
        wrong[:2, :2] = turn.double() @ wrong[:2, :2]
    return wrong


def in_frames(matrix):
    return normalise(MOVING_SCALE @ matrix @ invert(FIXED_SCALE))


def in_images(matrix):
    return normalise(invert(MOVING_SCALE) @ matrix.double() @ FIXED_SCALE).numpy()


def field(points):
    """A smooth function of the moving frame's pixels, of several channels."""
    generator = torch.Generator().manual_seed(4)
    angle = 2 * math.pi * torch.rand(3, 8, generator=generator)
    length = 40 + 50 * torch.rand(3, 8, generator=generator)
    frequency = torch.stack([angle.cos(), angle.sin()], -1) * (2 * math.pi / length)[..., None]
    phase = 2 * math.pi * torch.rand(3, 8, generator=generator)
    wave = torch.einsum("nd,cwd->cnw", points.float(), frequency) + phase[:, None]
    return 0.6 * wave.sin().sum(-1)


def maps(H, cell=1, size=FRAME):
    w, h = size[0] // cell, size[1] // cell
    points = apply_homography(H, (pixel_grid(w, h, like=H) + 0.5) * cell - 0.5)
    return field(points).unflatten(1, (h, w))[None]


def features(H):
    def level(cell):
        values = maps(H, cell)
        values = torch.cat([values.cos(), values.sin()], 1) / 3**0.5
        return Level(values, torch.ones_like(values[:, :1]))

    rest, cells = torch.zeros(1, 1, 10, 12), torch.zeros(1, 1, 20, 24)
    return FastFeatures(FRAME, cells, cells, rest, rest, (level(2), level(4), level(8)))


def is_in(matrix, kind):
    """How far, px of the moving image, a matrix between the images is from its kind."""
    near = nearest_of_kind(matrix, kind, IMAGES)
    found, near = torch.from_numpy(matrix)[None], torch.from_numpy(near)[None]
    return corner_error(found, near, *IMAGES).item()


@pytest.mark.parametrize("kind", KINDS)
def test_lucas_kanade_finds_the_truth_within_its_family(kind):
    family, H = Family(kind, STRETCHED), in_frames(truth(kind))
    moving = maps(torch.eye(3).double())
    found = refine(maps(H), moving, in_frames(off(kind))[None].float(), family=family)
    assert found.accepted.all()
    assert corner_error(found.matrix, H[None].float(), *FRAME).item() < 0.02
    assert is_in(in_images(found.proposed[0]), kind) < 1e-3


@pytest.mark.parametrize("kind", KINDS)
def test_unrolled_steps_find_the_truth_within_their_family(kind):
    family, H = Family(kind, STRETCHED), in_frames(truth(kind))
    pair = features(H), features(torch.eye(3).double())
    damping = torch.full((3, 8), -6.0)
    start = in_frames(off(kind))[None].float()
    iterates = refine_unrolled(*pair, start, damping, STEPS, family)
    assert corner_error(iterates[-1], H[None].float(), *FRAME).item() < 0.05
    assert max(is_in(in_images(iterate[0]), kind) for iterate in iterates) < 2e-3


@pytest.mark.parametrize("kind", KINDS[:-1])
def test_the_best_of_a_family_is_not_the_nearest_to_the_best_of_all(kind):
    """With a truth beyond the family the answer still keeps to it, and is no worse than nearest."""
    H = in_frames(truth("homography"))
    start = torch.from_numpy(nearest_of_kind(truth("homography").numpy(), kind, IMAGES))
    fixed, moving = maps(H), maps(torch.eye(3).double())
    family = Family(kind, STRETCHED)
    found = refine(fixed, moving, in_frames(start)[None].float(), family=family)
    assert is_in(in_images(found.proposed[0]), kind) < 1e-3
    assert (found.residual_after <= found.residual_before).all()


@pytest.mark.parametrize("kind", ["euclidean", "similarity"])
def test_a_family_that_ignores_the_stretch_would_leave_the_kind(kind):
    H = in_frames(truth(kind))
    start = in_frames(off(kind))[None].float()
    wrong = refine(maps(H), maps(torch.eye(3).double()), start, family=Family(kind))
    assert is_in(in_images(wrong.proposed[0]), kind) > 0.05


def test_the_family_of_everything_is_the_default():
    H = in_frames(truth("homography"))
    given = maps(H), maps(torch.eye(3).double()), in_frames(off("homography"))[None].float()
    assert torch.equal(refine(*given).matrix, refine(*given, family=Family()).matrix)


@pytest.mark.slow
def test_fewer_freedoms_bear_more_noise():
    """What a family is for: on a noisy map the shift alone is found more closely."""
    errors = {kind: [] for kind in ("translation", "homography")}
    H = in_frames(truth("translation"))
    for seed in range(4):
        noise = torch.randn(maps(H).shape, generator=torch.Generator().manual_seed(seed))
        for kind, found in errors.items():
            start = in_frames(off("translation"))[None].float()
            fixed, moving = maps(H) + 0.2 * noise, maps(torch.eye(3).double())
            matrix = refine(fixed, moving, start, family=Family(kind, STRETCHED)).matrix
            found.append(corner_error(matrix, H[None].float(), *FRAME).item())
    assert np.mean(errors["translation"]) < 0.5 * np.mean(errors["homography"])
