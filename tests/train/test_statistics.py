"""Batch norms that stand still, or forget a step."""

import torch
from torch import nn

from sdme.config import NetworkSettings
from sdme.model.network import SdmeNetwork
from sdme.train.statistics import freeze_statistics, joined, put_back, running_statistics


def test_statistics_can_be_frozen():
    network = SdmeNetwork(NetworkSettings(use_agents=False)).train()
    images = torch.rand(2, 3, 32, 32)
    network(images)
    before = [b.clone() for b in running_statistics(network)]
    freeze_statistics(network)
    network(images)
    after = running_statistics(network)
    assert len(before) == 2 * (4 + 4 + 4) and network.training
    assert all(torch.equal(a, b) for a, b in zip(before, after, strict=True))
    network.train()(images)
    assert not torch.equal(before[0], after[0])


def test_an_undone_step_is_forgotten_and_another_one_not():
    norm = nn.BatchNorm2d(3).train()
    for undone in (0.0, 1.0):
        statistics = running_statistics(norm)
        before = joined(statistics)
        norm(torch.randn(4, 3, 5, 5) + 7)
        after = joined(statistics)
        put_back(statistics, before, torch.tensor(undone))
        assert torch.equal(joined(statistics), before if undone else after)
        assert not torch.equal(before, after)


def test_without_batch_norm_there_is_nothing_to_remember():
    statistics = running_statistics(nn.GroupNorm(1, 3))
    assert statistics == [] and joined(statistics) is None
    put_back(statistics, None, torch.tensor(1.0))
