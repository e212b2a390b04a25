"""Increments along a family's basis stay in it, between frames that are stretched differently."""

import numpy as np
import pytest
import torch

from sdme.config import KINDS
from sdme.geometry.family import Family
from sdme.geometry.homography import invert, normalise
from sdme.geometry.increments import increment_grid
from sdme.geometry.sampling import resize_matrix
from sdme.transform import Transform

CPU = torch.device("cpu")
START = np.array([[np.cos(0.3), -np.sin(0.3), 9], [np.sin(0.3), np.cos(0.3), -4], [0, 0, 1]])
FRAME, IMAGES = (48, 40), (100, 50)
SCALES = [(48 / 100, 40 / 50), (0.3, 0.9)]  # of the fixed and of the moving frame, in x and y
FRAMED = 48 / 100, 0.0, 0.0, 40 / 50
DEGREES = dict(zip(KINDS, (2, 3, 4, 6, 8), strict=True))


def between_images(step, family, cell):
    """What a step makes of a start between the frames, told between the images, in float64."""
    grid = increment_grid(FRAME[0] // cell, FRAME[1] // cell, cell, CPU)
    scale0, scale1 = (resize_matrix(*scale) for scale in SCALES)
    start = torch.eye(3).double() if family.kind == "translation" else torch.from_numpy(START)
    H = scale1 @ start @ invert(scale0)
    moved = H @ grid.from_unit.double() @ family.increment(step) @ grid.to_unit.double()
    return normalise(invert(scale1) @ moved @ scale0)[0].numpy()


def steps(family, cell, seed=0):
    grid = increment_grid(FRAME[0] // cell, FRAME[1] // cell, cell, CPU)
    basis = family.basis(grid, like=torch.zeros(1).double())
    generator = torch.Generator().manual_seed(seed)
    return [0.1 * torch.randn(1, basis.shape[1], generator=generator).double() @ basis.T
            for _ in range(10)]  # fmt: skip


@pytest.mark.parametrize("cell", [1, 8])
@pytest.mark.parametrize("kind", KINDS)
def test_steps_between_stretched_frames_keep_the_kind_between_the_images(kind, cell):
    family = Family(kind, FRAMED)
    for step in steps(family, cell):
        matrix = between_images(step, family, cell)
        matrix[2, :2] = np.where(np.abs(matrix[2, :2]) < 1e-9, 0, matrix[2, :2])
        rounded = np.round(matrix, 6) if kind == "translation" else matrix  # grids are float32
        assert Transform(rounded, IMAGES, IMAGES, kind).kind == kind


@pytest.mark.parametrize("kind", ["euclidean", "similarity"])
def test_without_the_stretch_they_would_not(kind):
    family = Family(kind)
    worst = 0.0
    for step in steps(family, 1):
        linear = between_images(step, family, 1)[:2, :2]
        gram = linear.T @ linear
        worst = max(worst, np.abs(gram / gram[0, 0] - np.eye(2)).max())
    assert worst > 0.01


@pytest.mark.parametrize("kind", KINDS)
def test_a_basis_has_as_many_columns_as_the_kind_has_freedom(kind):
    basis = Family(kind, (1.7, 0.0, 0.0, 1.0)).basis(
        increment_grid(12, 7, 4, CPU), torch.zeros(1).double()
    )
    assert basis.shape == (8, DEGREES[kind])
    assert torch.linalg.matrix_rank(basis) == DEGREES[kind]


@pytest.mark.parametrize("kind", KINDS)
def test_the_step_solves_the_equations_within_the_family(kind):
    generator = torch.Generator().manual_seed(3)
    grid, family = increment_grid(12, 7, 4, CPU), Family(kind, (0.8, 0.0, 0.0, 1.0))
    root = torch.randn(2, 8, 8, generator=generator).double()
    hessian, gradient = root @ root.mT, torch.randn(2, 8, generator=generator).double()
    step = family.step(hessian, gradient, grid, largest=1e9)
    basis = family.basis(grid, hessian)
    left = ((hessian @ step[..., None])[..., 0] - gradient) @ basis
    assert left.abs().max() < 1e-8  # nothing is to be gained along the basis
    outside = step - step @ basis @ torch.linalg.pinv(basis)
    assert outside.abs().max() < 1e-8


def test_a_long_step_is_shortened_and_not_bent():
    grid, family = increment_grid(12, 7, 4, CPU), Family("euclidean", (0.8, 0.0, 0.0, 1.0))
    hessian, gradient = torch.eye(8)[None].double(), torch.full((1, 8), 5.0).double()
    free = family.step(hessian, gradient, grid, largest=1e9)
    short = family.step(hessian, gradient, grid, largest=0.3)
    assert short.abs().max() == pytest.approx(0.3)
    torch.testing.assert_close(short / short.norm(), free / free.norm())


@pytest.mark.parametrize("kind", KINDS)
def test_a_frame_may_also_be_turned_and_sheared(kind):
    """The group of a frame ``F`` is ``F G inv(F)``: brought back, a step is of the kind."""
    frame = torch.tensor([[0.6, -0.5, 3], [0.7, 0.4, -8], [0, 0, 1]]).double()
    family = Family(kind, tuple(frame[:2, :2].flatten().tolist()))
    grid = increment_grid(48, 40, 1, CPU)
    to_unit, from_unit = grid.to_unit.double(), grid.from_unit.double()
    basis = family.basis(grid, like=frame)
    generator = torch.Generator().manual_seed(0)
    for _ in range(5):
        step = 0.1 * torch.randn(1, basis.shape[1], generator=generator).double() @ basis.T
        moved = from_unit @ family.increment(step)[0] @ to_unit
        matrix = normalise(invert(frame) @ moved @ frame).numpy()
        matrix[2, :2] = np.where(np.abs(matrix[2, :2]) < 1e-9, 0, matrix[2, :2])
        rounded = np.round(matrix, 6) if kind == "translation" else matrix
        assert Transform(rounded, IMAGES, IMAGES, kind).kind == kind
