"""The balance of two tasks against a search over all shares."""

import pytest
import torch

from sdme.losses.min_norm import min_norm_share


def share_by_search(gradients1, gradients2, loss1, loss2):
    """The share on a fine grid whose combination of normalised gradients is shortest."""
    first, second = (
        torch.cat([g.flatten() for g in gs]).double() for gs in (gradients1, gradients2)
    )
    first, second = first / (loss1 * first.norm()), second / (loss2 * second.norm())
    shares = torch.linspace(0, 1, 20_001, dtype=torch.float64)[:, None]
    best = (shares * first + (1 - shares) * second).norm(dim=1).argmin()
    return shares[best].clamp(0.001, 0.999).item()


def gradients(angle, scale1=1.0, scale2=1.0, seed=0):
    """Gradients at two images' features that enclose an angle, given as their cosine."""
    generator = torch.Generator().manual_seed(seed)
    one, two = torch.randn(2, 2 * 60, generator=generator)
    one, two = one / one.norm(), two - two @ one / one.norm() ** 2 * one
    other = angle * one + (1 - angle**2) ** 0.5 * two / two.norm()
    return list((scale1 * one).view(2, 60)), list((scale2 * other).view(2, 60))


@pytest.mark.parametrize("cosine", [-1.0, -0.6, 0.0, 0.5, 0.95])
@pytest.mark.parametrize("loss1, loss2", [(1.0, 1.0), (3.0, 0.2), (0.01, 8.0), (2.0, 2.5)])
def test_share_is_the_shortest_combination(cosine, loss1, loss2):
    first, second = gradients(cosine, 1e-3, 20)
    found = min_norm_share(first, second, torch.tensor(loss1), torch.tensor(loss2))
    assert found.item() == pytest.approx(share_by_search(first, second, loss1, loss2), abs=1e-3)


def test_hand_worked_shares():
    first, second = (
        [torch.tensor([1.0, 0]), torch.zeros(1)],
        [torch.tensor([0, 4.0]), torch.zeros(1)],
    )
    one = torch.tensor(1.0)
    # Lengths are 1 / loss: perpendicular vectors of lengths 1 and 1/2 meet at 1/5 of the first.
    assert min_norm_share(first, second, one, one).item() == pytest.approx(0.5)
    assert min_norm_share(first, second, one, 2 * one).item() == pytest.approx(0.2)
    assert min_norm_share(first, second, 2 * one, one).item() == pytest.approx(0.8)


def test_the_longer_of_parallel_gradients_gets_almost_nothing():
    first, second = gradients(1.0)
    small, large = torch.tensor(0.5), torch.tensor(4.0)
    assert min_norm_share(first, second, small, large).item() == pytest.approx(0.001)
    assert min_norm_share(first, second, large, small).item() == pytest.approx(0.999)


def test_both_images_count():
    """A share from the first image's gradients alone would differ."""
    first = [torch.tensor([1.0, 0.0]), torch.tensor([3.0, 0.0])]
    second = [torch.tensor([0.0, 1.0]), torch.tensor([2.0, -1.0])]
    loss1, loss2 = torch.tensor(1.0), torch.tensor(2.0)
    both = min_norm_share(first, second, loss1, loss2).item()
    assert both == pytest.approx(share_by_search(first, second, 1.0, 2.0), abs=1e-3)
    assert abs(both - min_norm_share(first[:1], second[:1], loss1, loss2).item()) > 0.05


def test_share_of_a_task_without_gradient_is_finite():
    first, second = gradients(0.3)
    nothing, one = [torch.zeros(60), torch.zeros(60)], torch.tensor(1.0)
    for pair in ((first, nothing), (nothing, second), (nothing, nothing)):
        assert 0.0009 < min_norm_share(*pair, one, one).item() < 0.9991


def test_half_precision_and_no_graph():
    first, second = ([g.bfloat16() for g in gs] for gs in gradients(0.2))
    loss = torch.tensor(1.0, requires_grad=True)
    share = min_norm_share(first, second, loss, 2 * loss)
    assert share.dtype == torch.float32 and not share.requires_grad
    expected = share_by_search(first, second, 1.0, 2.0)
    assert share.item() == pytest.approx(expected, abs=1e-3)
