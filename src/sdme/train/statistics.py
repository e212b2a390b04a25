"""What batch norms remember for evaluation."""

import torch
from jaxtyping import Float
from torch import Tensor, nn


def freeze_statistics(network: nn.Module) -> None:
    """Let the batch norms use and keep their running statistics, also while training."""
    for module in network.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.eval()


def running_statistics(network: nn.Module) -> list[Tensor]:
    """Running means and variances, in place; none where there is no batch norm."""
    return [b for name, b in network.named_buffers() if "running_" in name]


def joined(statistics: list[Tensor]) -> Float[Tensor, " n"] | None:
    """A copy of all of them."""
    return torch.cat(statistics) if statistics else None


def put_back(
    statistics: list[Tensor], before: Float[Tensor, " n"] | None, undone: Float[Tensor, ""]
) -> None:
    """Make them what they were ``before`` if ``undone`` is not 0, without waiting to know."""
    if before is not None:
        kept = torch.where(undone > 0, before, torch.cat(statistics))
        parts = list(kept.split([len(s) for s in statistics]))
        torch._foreach_copy_(statistics, parts)  # pyright: ignore[reportPrivateImportUsage]
