"""Normal equations of small homographies against explicit Jacobians, pixel by pixel."""

import pytest
import torch

from sdme.geometry.homography import apply_homography
from sdme.geometry.increments import eliminated, increment, increment_grid, solve_spd, to_unit

CPU = torch.device("cpu")


def draw(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def jacobian(point):
    """How the entries of D move a point, by differentiating the homography I + D itself."""

    def moved(step):
        return apply_homography(increment(step[None]), point[None, None])[0, 0]

    return torch.autograd.functional.jacobian(moved, torch.zeros(8, dtype=torch.float64))


def summed_equations(fields, width, height):
    """J'WJ and J'Ws of one image, one pixel at a time."""
    hessian, right = torch.zeros(8, 8).double(), torch.zeros(8).double()
    for row in range(height):
        for column in range(width):
            point = torch.tensor([2 * column / (width - 1) - 1, 2 * row / (height - 1) - 1])
            J = jacobian(point.double())
            xx, xy, yy, bx, by = fields[:, row, column]
            hessian += J.T @ torch.stack([xx, xy, xy, yy]).view(2, 2) @ J
            right += J.T @ torch.stack([bx, by])
    return hessian, right


def systems(count, size, condition, seed=0):
    """Symmetric positive definite, with eigenvalues from 1 down to 1 / condition."""
    basis = torch.linalg.qr(draw(count, size, size, seed=seed)).Q
    values = torch.logspace(0, -torch.tensor(condition).log10().item(), size).double()
    return basis @ torch.diag(values) @ basis.mT, draw(count, size, seed=seed + 1)


def test_equations_equal_the_sum_over_pixels_of_explicit_jacobians():
    width, height = 7, 5
    fields = draw(2, 5, height, width)
    hessian, right = increment_grid(width, height, 4, CPU).equations(fields.float(), torch.float64)
    for i in range(2):
        expected = summed_equations(fields[i], width, height)
        torch.testing.assert_close(hessian[i], expected[0], rtol=1e-5, atol=1e-5)
        torch.testing.assert_close(right[i], expected[1], rtol=1e-5, atol=1e-5)


def test_equations_find_the_increment_that_every_point_asks_for():
    width, height = 9, 6
    grid = increment_grid(width, height, 8, CPU)
    step = draw(3, 8) * 0.05
    u = torch.stack(
        torch.meshgrid(torch.linspace(-1, 1, height), torch.linspace(-1, 1, width), indexing="ij")
    )
    x, y = (c.flatten().double() for c in (u[1], u[0]))
    J = torch.stack([jacobian(torch.stack([a, b])) for a, b in zip(x, y, strict=True)])
    shift = (J @ step[:, None, :, None])[..., 0].mT.unflatten(-1, (height, width))
    root = draw(3, 2, 2, height, width, seed=1)
    W = torch.einsum("bijhw,bkjhw->bikhw", root, root)
    Ws = torch.einsum("bikhw,bkhw->bihw", W, shift)
    fields = torch.cat([W[:, 0, :1], W[:, 0, 1:], W[:, 1, 1:], Ws], dim=1)
    hessian, right = grid.equations(fields.float(), torch.float64)
    torch.testing.assert_close(solve_spd(hessian, right), step, rtol=1e-3, atol=1e-5)


@pytest.mark.parametrize(("width", "height", "cell"), [(16, 12, 8), (33, 7, 2), (5, 6, 1)])
def test_grid_matrices_take_cell_centres_to_the_unit_square_and_back(width, height, cell):
    grid = increment_grid(width, height, cell, CPU)
    column, row = torch.meshgrid(torch.arange(width), torch.arange(height), indexing="xy")
    cells = torch.stack([column, row], -1).flatten(0, 1).float()
    centres = (cells + 0.5) * cell - 0.5
    unit = apply_homography(grid.to_unit, centres)
    expected = torch.stack([2 * cells[:, 0] / (width - 1) - 1, 2 * cells[:, 1] / (height - 1) - 1])
    torch.testing.assert_close(unit, expected.T, rtol=0, atol=1e-6)
    torch.testing.assert_close(apply_homography(grid.from_unit, unit), centres, rtol=0, atol=1e-4)
    moved = apply_homography(grid.from_unit, unit + torch.tensor([0.01, 0.02])) - centres
    expected = (grid.half * torch.tensor([0.01, 0.02])).expand_as(moved)
    torch.testing.assert_close(moved, expected, rtol=0, atol=1e-4)


def test_to_unit_keeps_the_precision_of_its_model():
    H = to_unit(640, 480, like=torch.zeros(1, dtype=torch.float64))
    assert H.dtype == torch.float64
    corners = torch.tensor([[0, 0], [639, 0], [639, 479], [0, 479]], dtype=torch.float64)
    expected = torch.tensor([[-1, -1], [1, -1], [1, 1], [-1, 1]], dtype=torch.float64)
    torch.testing.assert_close(apply_homography(H, corners), expected)


def test_no_step_is_no_change():
    torch.testing.assert_close(increment(torch.zeros(2, 8)), torch.eye(3).expand(2, 3, 3))


@pytest.mark.parametrize(("condition", "tolerance"), [(1e1, 1e-12), (1e4, 1e-9), (1e9, 1e-4)])
def test_elimination_equals_lapack_in_float64(condition, tolerance):
    hessian, right = systems(20, 8, condition)
    expected = torch.linalg.solve(hessian, right)
    gap = (eliminated(hessian, right) - expected).norm(dim=-1) / expected.norm(dim=-1)
    assert gap.max() < tolerance


@pytest.mark.parametrize("solver", [eliminated, solve_spd])
@pytest.mark.parametrize("condition", [1e1, 1e3, 1e5])
def test_solvers_are_as_good_as_float32_allows(solver, condition):
    """Relative error about rounding times condition, and a residual that does not grow with it."""
    hessian, right = systems(50, 8, condition)
    expected = torch.linalg.solve(hessian, right)
    found = solver(hessian.float(), right.float()).double()
    gap = (found - expected).norm(dim=-1) / expected.norm(dim=-1)
    assert gap.max() < 20 * 2**-24 * condition
    residual = (hessian @ found[..., None])[..., 0] - right
    assert (residual.norm(dim=-1) / found.norm(dim=-1)).max() < 2e-5


@pytest.mark.parametrize("solver", [eliminated, solve_spd])
def test_scales_of_the_unknowns_do_not_matter_to_the_solvers(solver):
    """Without pivoting, positive definite systems stay solvable when units differ by 1e6."""
    hessian, right = systems(20, 8, 10)
    units = torch.logspace(-3, 3, 8).double()
    expected = torch.linalg.solve(hessian, right)
    found = solver((units[:, None] * hessian * units).float(), (units * right).float())
    torch.testing.assert_close(found.double() * units, expected, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("solver", [eliminated, solve_spd])
def test_gradients_of_the_solvers(solver):
    root, right = draw(2, 8, 8).requires_grad_(), draw(2, 8, seed=3).requires_grad_()

    def solved(root, right):
        return solver(root @ root.mT + torch.eye(8).double(), right)

    assert torch.autograd.gradcheck(solved, (root, right))


def test_a_system_that_is_not_definite_leaves_the_others_alone():
    hessian, right = systems(3, 8, 10)
    hessian[1] = 0
    for solver in (eliminated, solve_spd):
        found = solver(hessian, right)
        expected = torch.linalg.solve(hessian[::2], right[::2])
        torch.testing.assert_close(found[::2], expected)


def test_a_grid_made_while_inferring_serves_training():
    size = 11, 13, 8  # of no other test here, so that it is made in inference mode
    increment_grid.cache_clear()
    with torch.inference_mode():
        made = increment_grid(*size, CPU)
    assert increment_grid(*size, CPU) is made
    fields = draw(1, 5, 13, 11).float().requires_grad_()
    hessian, right = made.equations(fields)
    (hessian.sum() + right.sum()).backward()
    assert fields.grad is not None and fields.grad.abs().sum() > 0
    point = torch.zeros(1, 1, 2, requires_grad=True)
    apply_homography(made.to_unit[None], point).sum().backward()
    assert point.grad is not None and point.grad.abs().sum() > 0
